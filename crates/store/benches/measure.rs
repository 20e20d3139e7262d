//! Measures the store on the disk: log and index bytes for message bytes, the index's speed, the
//! time to open, the time of searches.
//!
//! `cargo bench -p hie-store --bench measure -- MESSAGES FOLDER [queued] [rebuild]`
//!
//! Each message goes through a service, a router and an operation (two headers and an ACK); with
//! `queued` it stays on the router's queue; with `rebuild` the index is deleted and made anew.
#![allow(clippy::print_stdout)] // it is there to print

use std::{
    path::Path,
    time::{Duration, Instant},
};

use hie_store::{
    Content, LegBody, Live, MessageId, NewBody, NewLeg, NewMessage, Priority, Query, State, Step,
    Store, StoreError, StoreOptions,
};

const LONG: Duration = Duration::from_secs(3_600);

fn body(n: u64) -> Vec<u8> {
    let mut body = format!(
        "MSH|^~\\&|PAS|TRUST|EPR|TRUST|20260101120000||ADT^A01^ADT_A01|PAS{n:010}|P|2.4\rEVN|A01|20260101120000\rPID|1||{:08}^^^TRUST^MR~{:010}^^^NHS^NH||TEST^ANNA^B||19700101|F|||1 HIGH STREET^^TOWN^^AB1 2CD^GBR||01234567890\r",
        n * 7919 % 1_000_000,
        n * 104_729 % 1_000_000,
    )
    .into_bytes();
    body.extend_from_slice(b"PV1|1|I|WARD1^BAY2^BED3|||");
    body.resize(699, b'x');
    body.push(b'\r');
    body
}

fn leg(target: hie_store::ItemId) -> NewLeg<'static> {
    let (priority, state) = (Priority::Normal, State::Queued);
    NewLeg {
        target,
        priority,
        state,
        reason: "",
        body: LegBody::Same,
    }
}

fn fill(store: &Store, messages: u64, queued: bool) -> Result<(), StoreError> {
    let [service, router, epr] = ["ADT in", "Router", "EPR out"].map(|name| store.item(name));
    for n in 0..messages {
        let (body, time) = (body(n), 1_750_000_000_000 + n);
        let accepted = store.accept(&NewMessage {
            time_ms: time,
            source: service,
            origin: ["10.0.0.1:50000", "10.0.0.2:50001"][n as usize % 2],
            content: Content::Hl7v2,
            body: NewBody::Bytes(&body),
            resent_from: None,
            legs: &[leg(router)],
        })?;
        if queued {
            continue;
        }
        let first = Live {
            hops: 0,
            id: accepted.first_id,
            session: accepted.session,
            body: accepted.bodies[0],
            created_ms: time,
            source: service,
            target: router,
            attempts: 0,
            priority: Priority::Normal,
            state: State::Queued,
            content: Content::Hl7v2,
            possible_duplicate: false,
        };
        let done = |header, note, reply, legs| Step {
            answered: hie_store::Answered::Nobody,
            time_ms: time + 3,
            header,
            state: State::Completed,
            attempts: 1,
            reason: "",
            note,
            reply,
            legs,
        };
        let legs = [leg(epr)];
        let routed = store.step(&done(&first, "rule 1: send to EPR out", None, &legs))?;
        let second = Live {
            id: routed.first_id,
            source: router,
            target: epr,
            ..first
        };
        let ack = format!(
            "MSH|^~\\&|EPR|TRUST|PAS|TRUST|20260101120000||ACK^A01|{n}|P|2.4\rMSA|AA|PAS{n:010}\r"
        );
        store.step(&done(&second, "", Some(ack.as_bytes()), &[]))?;
    }
    store.flush()
}

fn bytes_under(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_under(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = work();
    println!("{what}: {:.3} ms", begun.elapsed().as_secs_f64() * 1e3);
    result
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let [messages, dir, rest @ ..] = &arguments[..] else {
        println!("usage: measure MESSAGES FOLDER [queued] [rebuild]");
        return Ok(());
    };
    let (messages, dir): (u64, _) = (messages.parse()?, Path::new(dir));
    let queued = rest.iter().any(|word| word == "queued");
    let begun = Instant::now();
    let (store, _) = timed("open empty", || {
        Store::open(dir, StoreOptions::default(), 0)
    })?;
    fill(&store, messages, queued)?;
    let filled = begun.elapsed().as_secs_f64();
    println!(
        "filled: {:.0} messages/s, index behind by {} MiB",
        messages as f64 / filled,
        store.index_lag_bytes() >> 20
    );
    store.catch_up(LONG)?;
    println!(
        "filled and indexed: {:.0} messages/s",
        messages as f64 / begun.elapsed().as_secs_f64()
    );
    timed("close", || store.close())?;
    drop(store);

    let (log, index) = (
        bytes_under(&dir.join("journal")),
        bytes_under(dir) - bytes_under(&dir.join("journal")),
    );
    let (store, recovered) = timed("open full", || Store::open(dir, StoreOptions::default(), 0))?;
    println!("unfinished: {}", recovered.live.len());
    let used = store.extent().end.0 - store.extent().first.0;
    let ratio = |bytes: u64| bytes as f64 / (messages * 700) as f64;
    println!(
        "log used {:.3}, on disk {:.3}, index {:.3}, used + index {:.3} of the message bytes",
        ratio(used),
        ratio(log),
        ratio(index),
        ratio(used + index)
    );
    search(&store, messages)?;
    store.close()?;
    drop(store);

    if !rest.iter().any(|word| word == "rebuild") {
        return Ok(());
    }
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(dir.join(format!("index.db{suffix}")));
    }
    let (store, _) = timed("open without index", || {
        Store::open(dir, StoreOptions::default(), 0)
    })?;
    let begun = Instant::now();
    store.catch_up(LONG)?;
    println!(
        "rebuilt: {:.0} messages/s",
        messages as f64 / begun.elapsed().as_secs_f64()
    );
    Ok(())
}

fn search(store: &Store, messages: u64) -> Result<(), StoreError> {
    let all = Query::default;
    let middle = messages / 2;
    let asked = [
        ("search newest", all()),
        (
            "search control id",
            Query {
                control_id: Some(format!("PAS{middle:010}")),
                ..all()
            },
        ),
        (
            "search patient",
            Query {
                patient_id: Some("00000000".into()),
                ..all()
            },
        ),
        (
            "search time window",
            Query {
                from_ms: Some(1_750_000_000_000 + middle),
                to_ms: Some(1_750_000_000_000 + middle + 100),
                ..all()
            },
        ),
        (
            "search errors",
            Query {
                states: vec![State::Error],
                ..all()
            },
        ),
        (
            "search item and type",
            Query {
                item: Some("EPR out".into()),
                message_type: Some("ADT_A01".into()),
                ..all()
            },
        ),
        (
            "search text, ten thousand bodies",
            Query {
                text: Some("no such text".into()),
                from_ms: Some(1_750_000_000_000 + middle),
                to_ms: Some(1_750_000_000_000 + middle + 10_000),
                ..all()
            },
        ),
    ];
    for (what, query) in asked {
        timed(what, || store.search(&query))?;
        let page = timed("  again", || store.search(&query))?;
        println!("  {} rows", page.rows.len());
    }
    timed("header by id", || store.header(MessageId(messages)))?;
    timed("counts", || store.counts()).map(drop)
}
