//! The decoder against every way to cut its input.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What came out: a payload, or the size of a refused head.
#[derive(Debug, PartialEq, Eq)]
enum Out {
    Frame(Vec<u8>),
    TooLong(usize),
}

/// Feeds `chunks` as a reader would; also asserts that no more is held than the limit allows.
fn run<'a>(decoder: &mut Decoder, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Out> {
    let (mut buffer, mut out) = (Vec::new(), Vec::new());
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        loop {
            let (consume, done) = match decoder.step(&buffer) {
                Step::NeedMore { consume } => (consume, true),
                Step::Frame { consume, payload } => {
                    out.push(Out::Frame(buffer[payload].to_vec()));
                    (consume, false)
                }
                Step::TooLong { consume, head } => {
                    out.push(Out::TooLong(head.len()));
                    (consume, false)
                }
            };
            buffer.drain(..consume);
            if done {
                break;
            }
        }
        assert!(
            buffer.len() <= decoder.max_message_bytes(),
            "held {} bytes",
            buffer.len()
        );
    }
    out
}

fn mllp(max: usize) -> Decoder {
    Decoder::new(Framing::MLLP, max)
}

fn frames(payloads: &[&[u8]]) -> Vec<Out> {
    payloads
        .iter()
        .map(|payload| Out::Frame(payload.to_vec()))
        .collect()
}

#[test]
fn finds_several_frames_in_one_packet_and_one_over_many() {
    let wire = b"\x0bone\x1c\r\x0btwo\x1c\r\x0b\x1c\r";
    let expected = frames(&[b"one", b"two", b""]);
    assert_eq!(run(&mut mllp(10), [&wire[..]]), expected);
    assert_eq!(run(&mut mllp(10), wire.chunks(1)), expected);
}

#[test]
fn counts_noise_and_skips_it() {
    let mut decoder = mllp(10);
    let wire = b"GET /\r\n\x0bone\x1c\r\r\n\x0btwo\x1c\rbye";
    assert_eq!(run(&mut decoder, wire.chunks(3)), frames(&[b"one", b"two"]));
    assert_eq!(decoder.noise_bytes(), 7 + 2 + 3);
    assert_eq!(decoder.partial_bytes(), None);
}

#[test]
fn delivers_at_the_end_byte_without_waiting_for_the_trailer() {
    let mut decoder = mllp(10);
    assert_eq!(run(&mut decoder, [&b"\x0bone\x1c"[..]]), frames(&[b"one"]));
    assert_eq!(
        run(&mut decoder, [&b"\r"[..], b"\x0btwo\x1c", b"\x0bthree\x1c"]),
        frames(&[b"two", b"three"])
    );
    assert_eq!(decoder.noise_bytes(), 0);
}

#[test]
fn keeps_a_start_byte_inside_a_frame() {
    assert_eq!(
        run(&mut mllp(10), [&b"\x0ba\x0bb\x1c\r"[..]]),
        frames(&[b"a\x0bb"])
    );
}

#[test]
fn accepts_the_limit_refuses_one_more_and_goes_on() {
    let wire = b"\x0b12345\x1c\r\x0b123456\x1c\r\x0bok\x1c\r";
    for size in 1..wire.len() {
        let mut decoder = mllp(5);
        let out = run(&mut decoder, wire.chunks(size));
        let expected = [
            Out::Frame(b"12345".into()),
            Out::TooLong(6),
            Out::Frame(b"ok".into()),
        ];
        assert_eq!(out, expected, "chunks of {size}");
        assert_eq!((decoder.discarded_bytes(), decoder.noise_bytes()), (6, 0));
    }
}

#[test]
fn skips_an_endless_frame_without_holding_it() {
    let mut decoder = mllp(100);
    let junk = [b'x'; 1000];
    let out = run(
        &mut decoder,
        std::iter::once(&b"\x0b"[..]).chain(std::iter::repeat_n(&junk[..], 50)),
    );
    assert_eq!(out, [Out::TooLong(101)]);
    assert_eq!(decoder.discarded_bytes(), 50_000);
    assert_eq!(
        run(&mut decoder, [&b"\x1c\r\x0bok\x1c\r"[..]]),
        frames(&[b"ok"])
    );
}

#[test]
fn looks_at_each_byte_once() {
    // Were the frame scanned anew at each byte, this would take minutes, not milliseconds.
    let wire = vec![b'x'; 2 << 20];
    let mut decoder = mllp(wire.len());
    assert_eq!(decoder.step(b"\x0b"), Step::NeedMore { consume: 1 });
    for length in 0..wire.len() {
        assert_eq!(decoder.step(&wire[..length]), Step::NeedMore { consume: 0 });
    }
}

#[test]
fn honours_other_framing_bytes() {
    let framing = Framing::new(0x02, 0x03, None).unwrap();
    let mut decoder = Decoder::new(framing, 10);
    assert_eq!(
        run(&mut decoder, [&b"\x02a\x0b\x1c\r\x03\x02b\x03"[..]]),
        frames(&[b"a\x0b\x1c\r", b"b"])
    );
    assert_eq!(decoder.noise_bytes(), 0);
}

#[test]
fn survives_a_caller_who_forgets_bytes() {
    let mut decoder = mllp(10);
    assert_eq!(decoder.step(b"\x0babc"), Step::NeedMore { consume: 1 });
    assert_eq!(decoder.step(b""), Step::NeedMore { consume: 0 });
}

/// Bytes in which the special ones are frequent.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => Just(0x0Bu8), 3 => Just(0x1C), 2 => Just(0x0D), 4 => any::<u8>()];
    vec(byte, 0..300)
}

/// `bytes` cut at random places.
fn cut(bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let (mut rest, mut chunks, mut sizes) = (bytes, Vec::new(), sizes.iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().map_or(1, |&size| size.clamp(1, rest.len()));
        let (chunk, after) = rest.split_at(size);
        chunks.push(chunk.to_vec());
        rest = after;
    }
    chunks
}

proptest! {
    #[test]
    fn any_chunking_of_any_bytes_gives_the_same(bytes in hostile(), sizes in vec(1usize..20, 1..10), max in 0usize..60) {
        let (mut whole, mut pieces) = (mllp(max), mllp(max));
        let expected = run(&mut whole, [&bytes[..]].into_iter().filter(|b| b.len() <= max));
        let out = run(&mut pieces, cut(&bytes, &sizes).iter().map(Vec::as_slice));
        if bytes.len() <= max {
            prop_assert_eq!(out, expected);
            prop_assert_eq!(whole.noise_bytes(), pieces.noise_bytes());
        }
        let mut single = mllp(max);
        let again = run(&mut single, bytes.chunks(1));
        let mut pieces = mllp(max);
        prop_assert_eq!(run(&mut pieces, cut(&bytes, &sizes).iter().map(Vec::as_slice)), again);
        prop_assert_eq!(pieces.noise_bytes(), single.noise_bytes());
        prop_assert_eq!(pieces.discarded_bytes(), single.discarded_bytes());
    }

    #[test]
    fn every_byte_is_accounted_for(bytes in hostile(), max in 0usize..60) {
        let mut decoder = mllp(max);
        let out = run(&mut decoder, bytes.chunks(1));
        let delivered: u64 = out.iter().map(|o| if let Out::Frame(f) = o { f.len() as u64 } else { 0 }).sum();
        let kept = decoder.noise_bytes() + decoder.discarded_bytes() + delivered
            + decoder.partial_bytes().unwrap_or(0) as u64;
        // What is missing is framing: at most a start, an end and a trailer for each frame begun.
        let begun = out.len() as u64 + 1;
        prop_assert!(kept <= bytes.len() as u64 && bytes.len() as u64 <= kept + 3 * begun);
    }

    #[test]
    fn what_is_encoded_comes_out(payloads in vec(vec(any::<u8>().prop_filter("end byte", |&b| b != 0x1C), 0..200), 0..8), sizes in vec(1usize..50, 1..6)) {
        let mut wire = Vec::new();
        for payload in &payloads {
            crate::encode(Framing::MLLP, payload, &mut wire).unwrap();
        }
        let out = run(&mut mllp(200), cut(&wire, &sizes).iter().map(Vec::as_slice));
        prop_assert_eq!(out, payloads.into_iter().map(Out::Frame).collect::<Vec<_>>());
    }
}
