//! What leaves, leaves whole; what is unfinished stays, wherever its bytes stood.

use std::{path::Path, sync::Arc, time::Duration};

use hie_journal::{Log as _, MemoryLog};

use crate::{tests::*, *};

const WAIT: Duration = Duration::from_secs(30);
const SEGMENT: u64 = 64 << 10;

/// Accepts messages of 2 KiB at times from `from` on, each finished at once but those that `keep`
/// picks, which are given back.
fn fill(store: &Store, from: u64, count: u64, keep: impl Fn(u64) -> bool) -> Vec<Live> {
    let [a, b] = ["a", "b"].map(|name| store.item(name));
    let mut kept = Vec::new();
    for n in from..from + count {
        let body = format!("{n:02048}");
        let accepted = store
            .accept(&message(n, a, body.as_bytes(), &[leg(b)]))
            .unwrap();
        let header = live_of(&accepted, 0, a, b, n);
        match keep(n) {
            true => kept.push(header),
            false => drop(store.step(&finish(&header)).unwrap()),
        }
    }
    kept
}

fn number_in(store: &Store, body: BodyRef) -> u64 {
    String::from_utf8(store.body(body).unwrap().to_vec())
        .unwrap()
        .parse()
        .unwrap()
}

fn age(max_age_ms: u64) -> RetentionPolicy {
    let default = Keep {
        max_age_ms: Some(max_age_ms),
        max_bytes: None,
    };
    RetentionPolicy {
        default,
        ..RetentionPolicy::default()
    }
}

fn opened() -> (Arc<MemoryLog>, tempfile::TempDir, Store) {
    let (log, dir) = (
        Arc::new(MemoryLog::with_limits(SEGMENT, 1 << 20)),
        tempfile::tempdir().unwrap(),
    );
    let (store, _) = open_memory(&log, dir.path());
    (log, dir, store)
}

fn reopened(log: &Arc<MemoryLog>, dir: &Path) -> (Store, Vec<Live>) {
    let (store, recovered) = open_memory(log, dir);
    (store, recovered.live)
}

#[test]
fn nothing_leaves_that_the_policy_keeps() {
    let (log, _dir, store) = opened();
    fill(&store, 0, 200, |_| false);
    let first = log.extent().first;
    for policy in [RetentionPolicy::default(), age(1_000)] {
        let report = store.retain(&policy, 500).unwrap();
        assert_eq!(report, RetentionReport::default());
    }
    assert_eq!(log.extent().first, first);
}

#[test]
fn old_segments_leave_and_stragglers_are_copied_forward() {
    let (log, dir, store) = opened();
    let kept = fill(&store, 0, 300, |n| n % 50 == 7);
    let report = store.retain(&age(1_000), 10_000).unwrap();
    assert!(
        report.segments >= 8 && report.moved >= 5 && report.headers > 200,
        "{report:?}"
    );
    assert!(log.extent().first > kept[4].body.position);
    // The old references of a running engine still work, and so do steps that name them.
    let numbers: Vec<_> = kept
        .iter()
        .map(|header| number_in(&store, header.body))
        .collect();
    assert_eq!(numbers, [7, 57, 107, 157, 207, 257]);
    let again = leg(store.item("b"));
    let stepped = store
        .step(&Step {
            legs: &[again],
            ..finish(&kept[0])
        })
        .unwrap();
    assert_eq!(number_in(&store, stepped.bodies[0]), 7);
    store.catch_up(WAIT).unwrap();
    let row = store.header(kept[1].id).unwrap().unwrap();
    assert_eq!(number_in(&store, row.body), 57);
    drop(store);
    let expected = [57, 107, 157, 207, 257, 7];
    let (store, live) = reopened(&log, dir.path());
    assert_eq!(
        live.iter()
            .map(|h| number_in(&store, h.body))
            .collect::<Vec<_>>(),
        expected
    );
    assert!(live[0].id == kept[1].id && live[0].created_ms == 57);
    drop(store);
    // Without checkpoint and index the log alone says the same.
    let bare = tempfile::tempdir().unwrap();
    let (store, live) = reopened(&log, bare.path());
    assert_eq!(
        live.iter()
            .map(|h| number_in(&store, h.body))
            .collect::<Vec<_>>(),
        expected
    );
    store.catch_up(WAIT).unwrap();
    let waiting = Query {
        states: vec![State::Queued],
        ..Query::default()
    };
    assert_eq!(store.search(&waiting).unwrap().rows.len(), 6);
}

#[test]
fn a_straggler_moves_as_often_as_it_must_and_ids_go_on() {
    let (log, dir, store) = opened();
    let kept = fill(&store, 0, 100, |n| n == 3);
    let mut last = 100;
    for round in 0..4 {
        fill(&store, last, 100, |_| false);
        last += 100;
        let report = store.retain(&age(1), 1_000_000).unwrap();
        assert!(report.segments > 0, "round {round}: {report:?}");
        assert_eq!(number_in(&store, kept[0].body), 3);
    }
    store.step(&finish(&kept[0])).unwrap();
    let report = store.retain(&age(1), 2_000_000).unwrap();
    assert_eq!(report.moved, 0);
    drop(store);
    let bare = tempfile::tempdir().unwrap();
    for dir in [dir.path(), bare.path()] {
        let (store, live) = reopened(&log, dir);
        assert_eq!(live, []);
        let [a, b] = ["a", "b"].map(|name| store.item(name));
        let next = store.accept(&message(1, a, b"", &[leg(b)])).unwrap();
        assert!(next.first_id.0 > 500);
        store.step(&finish(&live_of(&next, 0, a, b, 1))).unwrap();
    }
}

#[test]
fn many_unfinished_messages_hold_their_segments() {
    let (log, _dir, store) = opened();
    fill(&store, 0, 200, |n| n % 2 == 0);
    let first = log.extent().first;
    let report = store.retain(&age(1), 1_000_000).unwrap();
    assert!(report.held_by.is_some() && report.segments == 0);
    assert_eq!(log.extent().first, first);
}

#[test]
fn an_item_that_keeps_longer_holds_what_it_shares() {
    let (log, _dir, store) = opened();
    fill(&store, 0, 200, |_| false);
    let mut policy = age(1);
    policy.items.insert(
        "b".into(),
        Keep {
            max_age_ms: None,
            max_bytes: None,
        },
    );
    assert_eq!(store.retain(&policy, 1_000_000).unwrap().segments, 0);
    // A limit of size of the item that made the bodies counts more than any age.
    policy.items.insert(
        "a".into(),
        Keep {
            max_age_ms: None,
            max_bytes: Some(100),
        },
    );
    assert!(store.retain(&policy, 1_000_000).unwrap().segments > 0);
    assert!(log.extent().bytes < 200 << 10);
}

#[test]
fn a_limit_of_size_lets_the_oldest_go() {
    let (log, _dir, store) = opened();
    fill(&store, 0, 400, |_| false);
    let default = Keep {
        max_age_ms: None,
        max_bytes: Some(4 * SEGMENT),
    };
    let policy = RetentionPolicy {
        default,
        ..RetentionPolicy::default()
    };
    store.retain(&policy, 500).unwrap();
    assert!(log.extent().bytes <= 5 * SEGMENT);
    let rows = store
        .search(&Query {
            limit: 1_000,
            ..Query::default()
        })
        .unwrap()
        .rows;
    assert!(rows.len() > 50 && rows.len() < 200, "{}", rows.len());
    assert!(rows.iter().all(|row| store.body(row.body).is_ok()));
}

#[test]
fn a_resend_of_a_body_about_to_leave_is_a_copy() {
    let (log, dir, store) = opened();
    fill(&store, 0, 200, |_| false);
    store.catch_up(WAIT).unwrap();
    let row = store.header(MessageId(1)).unwrap().unwrap();
    let [a, b] = ["a", "b"].map(|name| store.item(name));
    let legs = [leg(b)];
    let resend = NewMessage {
        body: NewBody::Stored(row.body),
        resent_from: Some(row.id),
        ..message(300, a, b"", &legs)
    };
    let before = store.accept(&resend).unwrap();
    assert_eq!(before.bodies[0], row.body);
    assert!(store.retain(&age(1), 1_000_000).unwrap().segments > 0);
    assert_eq!(number_in(&store, before.bodies[0]), 0);
    let gone = NewMessage {
        body: NewBody::Stored(BodyRef {
            index: 9,
            ..row.body
        }),
        ..resend
    };
    assert!(store.accept(&gone).is_err());
    drop(store);
    let (store, live) = reopened(&log, dir.path());
    assert_eq!(
        live.iter()
            .map(|h| number_in(&store, h.body))
            .collect::<Vec<_>>(),
        [0]
    );
}

#[test]
fn a_purge_keeps_what_is_unfinished_and_stays_done() {
    let (log, dir, store) = opened();
    let [b, c] = ["b", "c"].map(|name| store.item(name));
    let kept = fill(&store, 0, 100, |n| n == 5);
    // One more header in a session that waits: kept with it.
    store
        .step(&Step {
            state: State::Queued,
            legs: &[leg(c)],
            ..finish(&kept[0])
        })
        .unwrap();
    let header = Live {
        id: MessageId(101),
        target: c,
        source: b,
        ..kept[0]
    };
    store.step(&finish(&header)).unwrap();
    let request = PurgeRequest {
        before_ms: 50,
        items: Vec::new(),
        keep_whole_sessions: true,
        dry_run: true,
    };
    let would = store.purge(&request, 1_000).unwrap();
    assert_eq!((would.headers, would.bodies), (49, 49));
    let none = PurgeRequest {
        items: vec!["no such".into()],
        ..request.clone()
    };
    assert_eq!(store.purge(&none, 1_000).unwrap().headers, 0);
    let done = store
        .purge(
            &PurgeRequest {
                dry_run: false,
                ..request.clone()
            },
            1_000,
        )
        .unwrap();
    assert_eq!((done.headers, done.bodies), (49, 49));
    assert_eq!(store.session(SessionId(6)).unwrap().len(), 2);
    let rest = |store: &Store| {
        store
            .search(&Query {
                limit: 999,
                ..Query::default()
            })
            .unwrap()
            .rows
    };
    let rows = rest(&store);
    assert_eq!(rows.len(), 52);
    assert_eq!(
        store
            .counts()
            .unwrap()
            .iter()
            .map(|count| count.headers)
            .sum::<u64>(),
        52
    );
    // An index that is made anew does not bring them back.
    drop(store);
    std::fs::remove_file(dir.path().join("index.db")).unwrap();
    let (store, _) = reopened(&log, dir.path());
    store.catch_up(WAIT).unwrap();
    assert_eq!(rest(&store), rows);
    let all = PurgeRequest {
        before_ms: 1_000,
        dry_run: false,
        keep_whole_sessions: false,
        ..request
    };
    let done = store.purge(&all, 2_000).unwrap();
    assert_eq!(done.headers, 51);
    assert!(done.log_bytes > 0);
    assert_eq!(rest(&store).len(), 1);
    assert_eq!(number_in(&store, rest(&store)[0].body), 5);
}

#[test]
fn a_stopped_store_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let options = || StoreOptions {
        index_gather: Duration::ZERO,
        ..small()
    };
    let (store, _) = Store::open(dir.path(), options(), 1).unwrap();
    fill(&store, 0, 50, |n| n % 10 == 0);
    store.close().unwrap();
    drop(store);
    for _ in 0..2 {
        let (reader, recovered) = Reader::open_read_only(dir.path()).unwrap();
        assert_eq!((recovered.live.len(), reader.index_lag_bytes()), (5, 0));
        assert_eq!(reader.search(&Query::default()).unwrap().rows.len(), 50);
        assert_eq!(reader.counts().unwrap().len(), 2);
        let row = reader.header(MessageId(31)).unwrap().unwrap();
        assert_eq!(reader.body(row.body).unwrap().len(), 2048);
        assert_eq!(reader.session(row.session).unwrap(), [row]);
        assert_eq!(&*reader.item_name(recovered.live[0].target), "b");
    }
    std::fs::remove_file(dir.path().join("index.db")).unwrap();
    let (reader, recovered) = Reader::open_read_only(dir.path()).unwrap();
    assert_eq!(recovered.live.len(), 5);
    assert!(reader.index_lag_bytes() > 100_000);
    let error = reader
        .search(&Query::default())
        .err()
        .map(|error| error.code());
    assert_eq!(error, Some("index-failed"));
    let (store, _) = Store::open(dir.path(), options(), 2).unwrap();
    store.catch_up(WAIT).unwrap();
    assert_eq!(store.search(&Query::default()).unwrap().rows.len(), 50);
}
