//! The judgement: what each destination received against what each feed sent, and the trace.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use hie_load::ledger::{Received, Sent};
use serde_json::Value;

use crate::{
    Kills,
    common::Place,
    production::{Destination, FEEDS, Order, feed_of},
};

/// How long the queues may take to empty once nobody is killed any more.
const DRAIN: Duration = Duration::from_secs(180);

/// What the trace says of the messages of one control ID at one item.
#[derive(Clone, Copy, Default, Debug)]
struct Told {
    messages: u64,
    /// Of these, marked as possibly delivered before a crash.
    marked: u64,
    /// Of these, tried again after a worker died under them, and not marked.
    retried: u64,
}

/// Everything in the trace, by target and control ID.
pub(crate) struct Trace(HashMap<(String, String), Told>);

impl Trace {
    fn of(&self, item: &str, control_id: &str) -> Told {
        let key = (item.to_owned(), control_id.to_owned());
        self.0.get(&key).copied().unwrap_or_default()
    }

    fn marked_at(&self, item: &str) -> u64 {
        let there = self.0.iter().filter(|((target, _), _)| target == item);
        there.map(|(_, told)| told.marked).sum()
    }
}

/// Waits until nothing is under way any more; every message must have ended well.
pub(crate) fn drained(place: &Place, tail: impl Fn() -> String) -> Trace {
    let deadline = Instant::now() + DRAIN;
    let rows = loop {
        let queues = place.hie(["queues", "--json"]).ok().rows();
        let waiting: u64 = queues.iter().filter_map(|row| row["queued"].as_u64()).sum();
        let open = ["messages", "--json", "--state", "Created,Queued,Delivered"];
        if waiting == 0 && place.hie(open).ok().rows().is_empty() {
            break place
                .hie(["messages", "--json", "--limit", "100000000"])
                .ok()
                .rows();
        }
        assert!(
            Instant::now() < deadline,
            "the queues do not empty: {queues:?}\n{}",
            tail()
        );
        std::thread::sleep(Duration::from_millis(100));
    };
    let mut trace: HashMap<(String, String), Told> = HashMap::new();
    for row in &rows {
        assert_eq!(row["state"], "Completed", "{row}\n{}", tail());
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let told = trace
            .entry((text("target"), text("control_id")))
            .or_default();
        told.messages += 1;
        if row["possible_duplicate"] == Value::Bool(true) {
            told.marked += 1;
        } else if row["attempts"].as_u64().unwrap_or(0) > 0 {
            told.retried += 1;
        }
    }
    println!("{} messages in the trace, all Completed", rows.len());
    Trace(trace)
}

/// Judges one destination: what is missing, changed or out of order, and what came twice.
pub(crate) fn judge(
    destination: &Destination,
    received: &Received,
    sent: &[Sent],
    kills: &Kills,
    trace: &Trace,
) {
    let name = destination.name;
    let mut doubled = 0;
    let mut delivered = 0;
    for (run, order) in destination.gets {
        let own = received.of_run(run);
        let feed = FEEDS.iter().position(|feed| feed.run == *run).unwrap();
        let verdict = own.verdict(&sent[feed]);
        assert!(verdict.is_whole(), "{run} at {name}: {verdict:?}");
        let disorder = match order {
            Order::Connection => verdict.inversions,
            Order::Key => verdict.key_inversions,
            Order::None => 0,
        };
        assert_eq!(disorder, 0, "{run} at {name} by {order:?}: {verdict:?}");
        doubled += verdict.repeated_by_engine;
        delivered += verdict.delivered;
        judge_marks(name, run, &own, trace);
    }
    let all = received.summary();
    assert_eq!(all.distinct, delivered, "{name} got what nobody sent it");
    let of_its_workers = kills.workers.get(name).copied().unwrap_or(0);
    let explained = kills.engine * destination.doubles_an_engine()
        + of_its_workers * destination.doubles_a_worker();
    println!(
        "{name}: {delivered} delivered, none lost, {} repeats, {doubled} of them the engine's own \
         (the kills explain up to {explained}), {} messages marked",
        all.duplicates,
        trace.marked_at(name)
    );
    assert!(
        doubled <= explained,
        "{name}: {doubled} came twice, and the kills explain {explained}"
    );
}

/// What the engine itself did twice is marked as possibly delivered, or was tried again after a
/// worker died.
fn judge_marks(name: &str, run: &str, received: &Received, trace: &Trace) {
    let process = feed_of(run).process;
    for (control_id, count) in received.repeated() {
        let (entered, there) = (trace.of(process, &control_id), trace.of(name, &control_id));
        let told =
            || format!("{control_id} came {count} times at {name}: {there:?}, entered {entered:?}");
        // A process that did its work twice after a crash sends twice, and what it sends is marked.
        assert!(
            there.marked + entered.messages >= there.messages,
            "{}",
            told()
        );
        // One message that was delivered twice is marked, or was tried again.
        let twice = u64::from(count) > there.messages;
        assert!(!twice || there.marked + there.retried > 0, "{}", told());
    }
}
