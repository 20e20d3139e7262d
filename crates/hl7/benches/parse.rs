//! What a message costs: finding it and three fields, walking all of it,
//! answering it, editing it. Bytes a second are counted over the whole message,
//! so a look-up that need not read on is faster than memory.
//!
//! `cargo bench -p hie-hl7`

use std::fmt::Write as _;

use divan::{Bencher, black_box, counter::BytesCount};

use hie_hl7::{
    Edit, Message, Path,
    ack::{AckCode, AckRequest},
    escape::unescape,
};

/// Shows the allocations of each measure beside its time.
#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// The two messages that figures are given for.
const KINDS: [&str; 2] = ["ADT 700 B", "ORU 13 KB"];

fn message(kind: &str) -> Vec<u8> {
    let text = if kind.starts_with("ADT") {
        adt()
    } else {
        oru(108)
    };
    text.into_bytes()
}

/// An admission of about 700 bytes, as a hospital's patient administration
/// sends it.
fn adt() -> String {
    [
        "MSH|^~\\&|PAS|RXH01|EPR|RXH01|20260314091522||ADT^A01^ADT_A01|PAS0000421973|P|2.4|||AL|NE|GBR|UNICODE UTF-8",
        "EVN|A01|20260314091500||ADM|C9034882^Okafor^Ngozi^^^Mrs",
        "PID|1||4857731^^^RXH01^MR~9434765919^^^NHS^NH||Whitfield^Eleanor^Margaret^^Mrs||19570823|F|||14 Harrow Lane^^Stretham^Cambs^CB6 3LD^GBR^H||01353 550142^PRN^PH|||M|CHR|RXH01-20260314-118",
        "PD1|||Stretham Surgery^^D81042^^^NHS-ODS^GPPRAC|G8712345^Hughes^Owain^^^Dr",
        "NK1|1|Whitfield^Thomas^^^Mr|SPO|14 Harrow Lane^^Stretham^Cambs^CB6 3LD|01353 550142|01353 550977|NOK",
        "PV1|1|I|AMU^B2^04^RXH01|21|||C3345127^Raman^Priya^^^Dr|C3345127^Raman^Priya^^^Dr||300||||19|||A0|||||V2026031400118|||||||||||||||||||||||||20260314091500",
    ]
    .join("\r")
        + "\r"
}

/// A result report with `observations` lines.
fn oru(observations: usize) -> String {
    let mut text = [
        "MSH|^~\\&|WINPATH|RXH01|EPR|RXH01|20260314111806||ORU^R01^ORU_R01|WP20260314-0088172|P|2.4|||AL|NE|GBR|UNICODE UTF-8",
        "PID|1||4857731^^^RXH01^MR~9434765919^^^NHS^NH||Whitfield^Eleanor^Margaret^^Mrs||19570823|F|||14 Harrow Lane^^Stretham^Cambs^CB6 3LD",
        "PV1|1|I|AMU^B2^04^RXH01||||C3345127^Raman^Priya^^^Dr",
        "ORC|RE|ORD553201|26B0417732||CM",
        "OBR|1|ORD553201|26B0417732|FBC^Full blood count^WinPath|||20260314093000|||||||20260314094412|BLD|C3345127^Raman^Priya^^^Dr||||||20260314111700||HAE|F",
    ]
    .join("\r")
        + "\r";
    for n in 1..=observations {
        let (whole, rest) = (n * 7 % 190, n % 10);
        let _ = write!(
            text,
            "OBX|{n}|NM|T{n:04}^Analyte {n} in \\T\\ blood^WinPath||{whole}.{rest}|10*9/L^^UCUM|3.5-9.8|{}|||F|||20260314111500||AUTO^Analyser 2\r",
            if whole > 98 { "H" } else { "N" },
        );
    }
    text
}

fn three_paths() -> [Path; 3] {
    ["MSH-9", "MSH-10", "PID-3.1"].map(|path| Path::parse(path).expect("a path of ours"))
}

/// The figure of the benchmark table: parse, then MSH-9, MSH-10 and PID-3.1.
#[divan::bench(args = KINDS, sample_size = 500)]
fn parse_and_three_fields(bencher: Bencher<'_, '_>, kind: &str) {
    let (raw, paths) = (message(kind), three_paths());
    bencher.counter(BytesCount::new(raw.len())).bench(|| {
        let message = Message::parse(black_box(&raw)).expect("a message of ours");
        paths
            .each_ref()
            .map(|path| message.get(path).map(<[u8]>::len))
    });
}

/// The same three as the ACK path gets them: MSH by the header.
#[divan::bench(args = KINDS, sample_size = 500)]
fn parse_header_and_one_field(bencher: Bencher<'_, '_>, kind: &str) {
    let (raw, [.., id]) = (message(kind), three_paths());
    bencher.counter(BytesCount::new(raw.len())).bench(|| {
        let message = Message::parse(black_box(&raw)).expect("a message of ours");
        let header = message.header();
        (
            header.message_type.len(),
            header.control_id.len(),
            message.get(&id).map(<[u8]>::len),
        )
    });
}

/// A value of the last segment: nothing of the message is spared but the
/// insides of the segments before it.
#[divan::bench(sample_size = 500)]
fn parse_and_last_observation(bencher: Bencher<'_, '_>) {
    let raw = message("ORU");
    let path = Path::parse("OBX[108]-5").expect("a path of ours");
    bencher.counter(BytesCount::new(raw.len())).bench(|| {
        let message = Message::parse(black_box(&raw)).expect("a message of ours");
        message.get(&path).map(<[u8]>::len)
    });
}

/// Reads to the last byte.
#[divan::bench(args = KINDS, sample_size = 500)]
fn count_all_fields(bencher: Bencher<'_, '_>, kind: &str) {
    let raw = message(kind);
    bencher.counter(BytesCount::new(raw.len())).bench(|| {
        let message = Message::parse(black_box(&raw)).expect("a message of ours");
        message
            .segments()
            .map(|segment| segment.fields().count())
            .sum::<usize>()
    });
}

/// Every value of every OBX, unescaped.
#[divan::bench(sample_size = 50)]
fn all_observations(bencher: Bencher<'_, '_>) {
    let raw = message("ORU");
    let path = Path::parse("OBX[*]-3.2").expect("a path of ours");
    bencher.counter(BytesCount::new(raw.len())).bench(|| {
        let message = Message::parse(black_box(&raw)).expect("a message of ours");
        let delimiters = message.delimiters();
        message
            .get_all(&path)
            .map(|name| unescape(name, &delimiters).len())
            .sum::<usize>()
    });
}

/// Into a buffer that has the room.
#[divan::bench(sample_size = 50)]
fn acknowledge(bencher: Bencher<'_, '_>) {
    let raw = message("ADT");
    let mut out = Vec::with_capacity(512);
    bencher.bench_local(|| {
        out.clear();
        let message = Message::parse(black_box(&raw)).expect("a message of ours");
        AckRequest::to(&message, AckCode::CA, "20260314091522", "A0001").write(&mut out);
        black_box(out.len())
    });
}

#[divan::bench(args = KINDS, sample_size = 500)]
fn edit_one_field(bencher: Bencher<'_, '_>, kind: &str) {
    let (raw, [.., id]) = (message(kind), three_paths());
    bencher.counter(BytesCount::new(raw.len())).bench(|| {
        let message = Message::parse(black_box(&raw)).expect("a message of ours");
        let mut edit = Edit::new(&message);
        edit.set(&id, b"another").map(|edit| edit.bytes().len())
    });
}
