//! The store over a log in memory and over the disk: what goes in is there after a restart.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use hie_journal::{
    LogError, MemoryLog,
    file::OsStorage,
    testing::{Faults, SimStorage},
};
use proptest::prelude::*;

use crate::*;

pub(crate) fn small() -> StoreOptions {
    StoreOptions {
        segment_bytes: 64 << 10,
        checkpoint_log_bytes: 4 << 10,
        index_gather: std::time::Duration::ZERO,
        ..StoreOptions::default()
    }
}

pub(crate) fn open_memory(log: &Arc<MemoryLog>, dir: &Path) -> (Store, Recovered) {
    Store::open_on(log.clone(), Arc::new(OsStorage), dir, small(), 1).unwrap()
}

pub(crate) fn leg(target: ItemId) -> NewLeg<'static> {
    NewLeg {
        target,
        priority: Priority::Normal,
        state: State::Queued,
        reason: "",
        body: LegBody::Same,
    }
}

pub(crate) fn message<'a>(
    time_ms: u64,
    source: ItemId,
    body: &'a [u8],
    legs: &'a [NewLeg<'a>],
) -> NewMessage<'a> {
    NewMessage {
        time_ms,
        source,
        origin: "test",
        content: Content::Plain,
        body: NewBody::Bytes(body),
        resent_from: None,
        legs,
    }
}

pub(crate) fn finish(header: &Live) -> Step<'_> {
    Step {
        answered: crate::Answered::Nobody,
        time_ms: header.created_ms + 5,
        header,
        state: State::Completed,
        attempts: 1,
        reason: "",
        note: "",
        reply: None,
        legs: &[],
    }
}

/// The header that a leg of an accepted message or step is.
pub(crate) fn live_of(
    appended: &Appended,
    leg: usize,
    source: ItemId,
    target: ItemId,
    time_ms: u64,
) -> Live {
    Live {
        hops: 0,
        id: MessageId(appended.first_id.0 + leg as u64),
        session: appended.session,
        body: appended.bodies[leg],
        created_ms: time_ms,
        source,
        target,
        attempts: 0,
        priority: Priority::Normal,
        state: State::Queued,
        content: Content::Plain,
        possible_duplicate: false,
    }
}

#[test]
fn a_header_in_a_queue_is_small() {
    assert!(size_of::<Live>() <= 64);
}

#[test]
fn a_route_survives_restarts_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let reply = {
        let (store, recovered) = Store::open(dir.path(), small(), 1).unwrap();
        assert!(recovered.live.is_empty());
        let [service, router, epr] = ["ADT in", "Router", "EPR out"].map(|name| store.item(name));
        let accepted = store
            .accept(&message(10, service, b"one", &[leg(router)]))
            .unwrap();
        let _durable = accepted.ticket.wait_durable().unwrap();
        let header = live_of(&accepted, 0, service, router, 10);
        let legs = [
            leg(epr),
            NewLeg {
                body: LegBody::New(b"changed"),
                ..leg(epr)
            },
        ];
        let routed = store
            .step(&Step {
                legs: &legs,
                ..finish(&header)
            })
            .unwrap();
        let first = live_of(&routed, 0, router, epr, 15);
        let sent = store
            .step(&Step {
                reply: Some(b"AA"),
                ..finish(&first)
            })
            .unwrap();
        let reply = BodyRef {
            position: sent.ticket.position(),
            index: 0,
            len: 2,
        };
        assert_eq!(store.body(accepted.bodies[0]).unwrap(), "one");
        assert_eq!(store.body(routed.bodies[1]).unwrap(), "changed");
        store.flush().unwrap();
        reply
    };
    for closed in [false, true] {
        let (store, recovered) = Store::open(dir.path(), small(), 2).unwrap();
        assert_eq!(recovered.live.len(), 1);
        let header = recovered.live[0];
        assert_eq!((header.id, header.session), (MessageId(3), SessionId(1)));
        assert_eq!(&*store.item_name(header.source), "Router");
        assert_eq!(&*store.item_name(header.target), "EPR out");
        assert_eq!(store.body(header.body).unwrap(), "changed");
        assert_eq!(store.body(reply).unwrap(), "AA");
        assert_eq!(recovered.names.len(), 3);
        if closed {
            let next = store
                .accept(&message(20, header.source, b"", &[leg(header.target)]))
                .unwrap();
            assert_eq!(next.first_id, MessageId(4));
        }
        store.close().unwrap();
        let late = store.accept(&message(20, header.source, b"", &[leg(header.target)]));
        assert_eq!(late.err().map(|error| error.code()), Some("journal-closed"));
        store.close().unwrap_or_default();
    }
}

/// Two crashes in a row: the second must not make the engine forget what it knew after the first.
#[test]
fn what_a_possible_duplicate_leads_to_is_one_too_after_a_restart() {
    let (log, dir) = (Arc::new(MemoryLog::new()), tempfile::tempdir().unwrap());
    let (store, _) = open_memory(&log, dir.path());
    let [service, router, epr] = ["in", "router", "epr"].map(|name| store.item(name));
    for marked in [false, true] {
        let accepted = store
            .accept(&message(10, service, b"one", &[leg(router)]))
            .unwrap();
        let header = Live {
            possible_duplicate: marked,
            ..live_of(&accepted, 0, service, router, 10)
        };
        let legs = [leg(epr), leg(epr)];
        store
            .step(&Step {
                legs: &legs,
                ..finish(&header)
            })
            .unwrap();
    }
    drop(store);
    let (_store, recovered) = open_memory(&log, dir.path());
    let marked: Vec<_> = recovered
        .live
        .iter()
        .map(|live| live.possible_duplicate)
        .collect();
    assert_eq!(marked, [false, false, true, true]);
}

#[test]
fn a_closed_store_reads_no_log_at_its_next_start() {
    let (log, dir) = (Arc::new(MemoryLog::new()), tempfile::tempdir().unwrap());
    let (store, _) = open_memory(&log, dir.path());
    let [a, b] = ["a", "b"].map(|name| store.item(name));
    for n in 0..100 {
        store.accept(&message(n, a, b"body", &[leg(b)])).unwrap();
    }
    store.on_tail(tail::Tail::finish).unwrap().unwrap();
    drop(store);
    let (_store, recovered) = open_memory(&log, dir.path());
    assert_eq!(
        (recovered.live.len(), recovered.report.tail_records),
        (100, 0)
    );
    assert!(recovered.report.checkpoint.is_some());
}

#[test]
fn a_broken_checkpoint_is_told_and_not_needed() {
    let (log, dir) = (Arc::new(MemoryLog::new()), tempfile::tempdir().unwrap());
    let (store, _) = open_memory(&log, dir.path());
    let [a, b] = ["a", "b"].map(|name| store.item(name));
    store.accept(&message(1, a, b"body", &[leg(b)])).unwrap();
    store.on_tail(tail::Tail::finish).unwrap().unwrap();
    drop(store);
    let file = dir.path().join("checkpoint");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (_store, recovered) = open_memory(&log, dir.path());
    assert_eq!(recovered.live.len(), 1);
    assert!(recovered.report.checkpoint_refused.is_some());
}

#[test]
fn what_the_log_refuses_is_told() {
    let (log, dir) = (Arc::new(MemoryLog::new()), tempfile::tempdir().unwrap());
    let (store, _) = open_memory(&log, dir.path());
    let [a, b] = ["a", "b"].map(|name| store.item(name));
    let accepted = store.accept(&message(1, a, b"body", &[leg(b)])).unwrap();
    log.set_disk_full(true);
    let refused = store.accept(&message(2, a, b"body", &[leg(b)]));
    assert_eq!(refused.err().map(|error| error.code()), Some("disk-full"));
    let header = live_of(&accepted, 0, a, b, 1);
    store.step(&finish(&header)).unwrap();
    log.set_disk_full(false);
    log.poison("the disk is gone");
    let refused = store.accept(&message(3, a, b"body", &[leg(b)]));
    assert_eq!(
        refused.err().map(|error| error.code()),
        Some("journal-poisoned")
    );
    assert!(matches!(store.log_trouble(), Some(LogError::Poisoned(_))));
    let nothing = store.accept(&message(3, a, b"body", &[]));
    assert_eq!(
        nothing.err().map(|error| error.code()),
        Some("store-misused")
    );
}

/// One thing that may happen to a store in a random history.
#[derive(Clone, Debug)]
enum Act {
    Accept {
        legs: usize,
    },
    Step {
        pick: usize,
        state: State,
        legs: usize,
    },
    Checkpoint,
    Crash,
}

fn act() -> impl Strategy<Value = Act> {
    let state = prop::sample::select(vec![
        State::Queued,
        State::Completed,
        State::Completed,
        State::Error,
        State::Suspended,
        State::Discarded,
        State::Deferred,
    ]);
    prop_oneof![
        4 => (1usize..4).prop_map(|legs| Act::Accept { legs }),
        6 => (any::<usize>(), state, 0usize..3)
            .prop_map(|(pick, state, legs)| Act::Step { pick, state, legs }),
        1 => Just(Act::Checkpoint),
        1 => Just(Act::Crash),
    ]
}

/// Does one act on the store and on a plain map of what must be unfinished.
fn perform(store: &Store, expected: &mut BTreeMap<u64, Live>, act: &Act, now: u64) {
    let [a, b] = ["a", "b"].map(|name| store.item(name));
    let body = format!("body {now}");
    match *act {
        Act::Accept { legs } => {
            let legs = vec![leg(b); legs];
            let accepted = store
                .accept(&message(now, a, body.as_bytes(), &legs))
                .unwrap();
            for n in 0..legs.len() {
                let live = live_of(&accepted, n, a, b, now);
                expected.insert(live.id.0, live);
            }
        }
        Act::Step { pick, state, legs } => {
            let Some(id) = expected.keys().nth(pick % expected.len().max(1)).copied() else {
                return;
            };
            let header = expected[&id];
            let legs = vec![
                NewLeg {
                    body: LegBody::New(body.as_bytes()),
                    ..leg(a)
                };
                legs
            ];
            let attempts = header.attempts + 1;
            let step = Step {
                answered: crate::Answered::Nobody,
                state,
                attempts,
                time_ms: now,
                legs: &legs,
                ..finish(&header)
            };
            let done = store.step(&step).unwrap();
            for n in 0..legs.len() {
                let live = live_of(&done, n, b, a, now);
                let live = Live {
                    source: header.target,
                    hops: header.hops + 1,
                    ..live
                };
                expected.insert(live.id.0, live);
            }
            match state.is_unfinished() {
                true => expected.insert(
                    id,
                    Live {
                        state,
                        attempts,
                        ..header
                    },
                ),
                false => expected.remove(&id),
            };
        }
        Act::Checkpoint => store.on_tail(tail::Tail::finish).unwrap().unwrap(),
        Act::Crash => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn recovery_is_the_same_with_and_without_checkpoints(acts in prop::collection::vec(act(), 1..60)) {
        let (log, dir) = (Arc::new(MemoryLog::new()), tempfile::tempdir().unwrap());
        let bare = tempfile::tempdir().unwrap();
        let (mut store, _) = open_memory(&log, dir.path());
        let mut expected = BTreeMap::new();
        for (now, act) in acts.iter().enumerate() {
            perform(&store, &mut expected, act, now as u64);
            if matches!(act, Act::Crash) {
                drop(store);
                let recovered;
                (store, recovered) = open_memory(&log, dir.path());
                let expected: Vec<_> = expected.values().copied().collect();
                prop_assert_eq!(&recovered.live, &expected);
            }
        }
        drop(store);
        let expected: Vec<_> = expected.values().copied().collect();
        let (store, recovered) = open_memory(&log, dir.path());
        prop_assert_eq!(&recovered.live, &expected);
        drop(store);
        let (store, recovered) = open_memory(&log, bare.path());
        prop_assert_eq!(&recovered.live, &expected);
        for header in &recovered.live {
            prop_assert!(store.body(header.body).unwrap().starts_with(b"body "));
        }
    }
}

/// What must hold after a crash, by the text of each body.
#[derive(Default)]
struct Ledger {
    /// Told durable, never stepped: must be there.
    owed: BTreeSet<String>,
    /// Their end was told durable: must not come back.
    ended: BTreeSet<String>,
}

/// Works until the disk dies; everything that is owed is in the ledger before anybody was told.
fn work_until_death(store: &Store, round: u64, ledger: &mut Ledger) -> Result<(), StoreError> {
    let [a, b] = ["a", "b"].map(|name| store.item(name));
    for n in 0..400 {
        let text = format!("{round}-{n}");
        let accepted = store.accept(&message(n, a, text.as_bytes(), &[leg(b)]))?;
        if n % 3 == 0 {
            let step = store.step(&finish(&live_of(&accepted, 0, a, b, n)))?;
            if n % 2 == 0 {
                let _durable = step.ticket.wait_durable()?;
                ledger.ended.insert(text);
            }
        } else if n % 2 == 0 {
            let _durable = accepted.ticket.wait_durable()?;
            ledger.owed.insert(text);
        }
    }
    Ok(())
}

#[test]
fn a_power_cut_loses_nothing_that_was_told_durable() {
    let dir = Path::new("/store");
    let mut told = (0, 0);
    for seed in 0..12u64 {
        let disk = SimStorage::new(seed + 1);
        let mut ledger = Ledger::default();
        for round in 0..5u64 {
            let options = StoreOptions {
                index: false,
                ..small()
            };
            let dies = 10 + (seed * 37 + round * 101) % 260;
            disk.set_faults(Faults {
                dies_in: Some(dies),
                ..Faults::default()
            });
            if let Ok((store, _)) = Store::open_in(disk.process(), dir, options.clone(), round) {
                let _died = work_until_death(&store, round, &mut ledger);
            }
            disk.crash();
            let (store, recovered) = Store::open_in(disk.process(), dir, options, round).unwrap();
            let body = |header: &Live| store.body(header.body).unwrap().to_vec();
            let texts: Vec<String> = recovered
                .live
                .iter()
                .map(|h| String::from_utf8(body(h)).unwrap())
                .collect();
            let there: BTreeSet<&String> = texts.iter().collect();
            let place = format!("seed {seed} round {round}");
            assert_eq!(there.len(), texts.len(), "{place}: twice");
            assert!(
                ledger.owed.iter().all(|text| there.contains(text)),
                "{place}: lost"
            );
            assert!(
                !ledger.ended.iter().any(|text| there.contains(text)),
                "{place}: came back"
            );
            assert!(
                recovered.live.is_sorted_by_key(|header| header.id),
                "{place}: order"
            );
        }
        told = (told.0 + ledger.owed.len(), told.1 + ledger.ended.len());
    }
    assert!(
        told.0 > 100 && told.1 > 50,
        "too little was put at risk: {told:?}"
    );
}

#[test]
fn the_index_shows_only_what_is_durable() {
    let (log, dir) = (Arc::new(MemoryLog::new()), tempfile::tempdir().unwrap());
    let (store, _) = open_memory(&log, dir.path());
    let [a, b] = ["a", "b"].map(|name| store.item(name));
    log.hold();
    store.accept(&message(1, a, b"body", &[leg(b)])).unwrap();
    store.on_tail(|tail| tail.follow_all()).unwrap().unwrap();
    assert_eq!(store.search(&Query::default()).unwrap().rows.len(), 0);
    log.release();
    store.catch_up(std::time::Duration::from_secs(30)).unwrap();
    assert_eq!(store.search(&Query::default()).unwrap().rows.len(), 1);
    assert_eq!(store.index_lag_bytes(), 0);
}
