//! What is searched is found, by the road that was meant, and a rebuilt index is the same.

use std::{path::Path, sync::Arc, time::Duration};

use hie_journal::MemoryLog;
use rusqlite::Connection;

use crate::{tests::*, *};

const WAIT: Duration = Duration::from_secs(30);

fn adt(event: &str, control: &str, patient: &str) -> Vec<u8> {
    format!("MSH|^~\\&|PAS|TRUST|EPR|TRUST|20260101||ADT^{event}^ADT_A01|{control}|P|2.4\rPID|1||{patient}^^^TRUST~N{patient}^^^NHS||TEST^Anna\r").into_bytes()
}

fn hl7<'a>(time_ms: u64, source: ItemId, body: &'a [u8], legs: &'a [NewLeg<'a>]) -> NewMessage<'a> {
    NewMessage {
        content: Content::Hl7v2,
        ..message(time_ms, source, body, legs)
    }
}

/// Sends one message all the way: service, router, operation. Returns the three ids of the trace.
fn route(store: &Store, n: u64, event: &str, error: bool) -> SessionId {
    let [service, router, epr] = ["ADT in", "Router", "EPR out"].map(|name| store.item(name));
    let body = adt(event, &format!("C{n}"), &format!("P{}", n % 10));
    let time = 1_000 + n * 10;
    let accepted = store
        .accept(&hl7(time, service, &body, &[leg(router)]))
        .unwrap();
    let first = Live {
        content: Content::Hl7v2,
        ..live_of(&accepted, 0, service, router, time)
    };
    let routed = store
        .step(&Step {
            legs: &[leg(epr)],
            note: "rule 1",
            ..finish(&first)
        })
        .unwrap();
    let second = live_of(&routed, 0, router, epr, time + 5);
    let (state, reason) = if error {
        (State::Error, "AR of the receiver")
    } else {
        (State::Completed, "")
    };
    store
        .step(&Step {
            state,
            reason,
            reply: Some(b"MSA|AA"),
            ..finish(&second)
        })
        .unwrap();
    accepted.session
}

fn ids(page: &Page) -> Vec<u64> {
    page.rows.iter().map(|row| row.id.0).collect()
}

fn found(store: &Store, query: Query) -> Vec<u64> {
    ids(&store.search(&query).unwrap())
}

fn filled(messages: u64) -> (Arc<MemoryLog>, tempfile::TempDir, Store) {
    let (log, dir) = (Arc::new(MemoryLog::new()), tempfile::tempdir().unwrap());
    let (store, _) = open_memory(&log, dir.path());
    for n in 0..messages {
        route(
            &store,
            n,
            if n % 4 == 0 { "A08" } else { "A01" },
            n % 20 == 7,
        );
    }
    store.catch_up(WAIT).unwrap();
    (log, dir, store)
}

/// All that the index says, to compare two of them.
fn dump(store: &Store) -> Vec<HeaderRow> {
    store
        .search(&Query {
            limit: 10_000,
            ..Query::default()
        })
        .unwrap()
        .rows
}

/// Both ways into the file: with the header, and as a change of one that stands there already.
#[test]
fn who_was_answered_is_told_and_leaves_the_priority_alone() {
    let (_log, _dir, store) = filled(0);
    let [service, epr] = ["ADT in", "EPR out"].map(|name| store.item(name));
    let high = NewLeg {
        priority: Priority::High,
        ..leg(epr)
    };
    for between in [false, true] {
        let body = adt("A01", "C1", "P1");
        let accepted = store.accept(&hl7(1, service, &body, &[high])).unwrap();
        let live = live_of(&accepted, 0, service, epr, 1);
        if between {
            store.catch_up(WAIT).unwrap();
        }
        let late = Step {
            answered: Answered::Late,
            ..finish(&live)
        };
        store.step(&late).unwrap();
        store.catch_up(WAIT).unwrap();
        let row = store.header(live.id).unwrap().unwrap();
        assert_eq!(
            (row.answered, row.priority, row.possible_duplicate),
            (Answered::Late, Priority::High, false)
        );
    }
}

#[test]
fn a_header_is_told_in_full() {
    let (_log, _dir, store) = filled(8);
    let rows = store.session(SessionId(15)).unwrap();
    assert_eq!(rows.len(), 2);
    let [first, second] = &rows[..] else {
        panic!("two rows")
    };
    assert_eq!((first.id, second.id), (MessageId(15), MessageId(16)));
    assert_eq!(
        (&*first.source, &*first.target, &*first.note),
        ("ADT in", "Router", "rule 1")
    );
    assert_eq!((&*second.source, &*second.target), ("Router", "EPR out"));
    assert_eq!(
        (first.state, second.state),
        (State::Completed, State::Error)
    );
    assert_eq!((first.cause, second.cause), (None, Some(first.id)));
    assert_eq!(
        (second.reason.as_str(), second.attempts),
        ("AR of the receiver", 1)
    );
    assert_eq!((first.created_ms, first.done_ms), (1_070, Some(1_075)));
    assert_eq!((&*first.control_id, &*first.patient_id), ("C7", "P7"));
    assert_eq!((&*first.message_type, &*first.origin), ("ADT_A01", "test"));
    assert_eq!(first.body, second.body);
    assert_eq!(store.body(first.body).unwrap(), adt("A01", "C7", "P7"));
    assert_eq!(store.body(second.reply.unwrap()).unwrap(), "MSA|AA");
    assert_eq!(store.header(MessageId(16)).unwrap().as_ref(), Some(second));
    assert_eq!(store.header(MessageId(999)).unwrap(), None);
    let shown = format!("{first:?}");
    assert!(!shown.contains("P7") && !shown.contains("C7"), "{shown}");
}

#[test]
fn every_filter_finds_what_it_says() {
    let (_log, _dir, store) = filled(40);
    let all = Query::default;
    assert_eq!(found(&store, all()).len(), 50);
    assert_eq!(
        found(
            &store,
            Query {
                limit: 100,
                ..all()
            }
        )
        .len(),
        80
    );
    let by_control = Query {
        control_id: Some("C7".into()),
        ..all()
    };
    assert_eq!(found(&store, by_control.clone()), [16, 15]);
    assert_eq!(
        found(
            &store,
            Query {
                states: vec![State::Error],
                ..by_control
            }
        ),
        [16]
    );
    let patient = |id: &str| Query {
        patient_id: Some(id.into()),
        ..all()
    };
    assert_eq!(
        found(&store, patient("P7")),
        [76, 75, 56, 55, 36, 35, 16, 15]
    );
    assert_eq!(
        found(&store, patient("NP7")),
        [76, 75, 56, 55, 36, 35, 16, 15]
    );
    assert_eq!(found(&store, patient("nobody")).len(), 0);
    let failed = Query {
        states: vec![State::Error, State::Suspended],
        ..all()
    };
    assert_eq!(found(&store, failed), [56, 16]);
    let item = |name: &str| Query {
        item: Some(name.into()),
        limit: 100,
        ..all()
    };
    assert_eq!(found(&store, item("Router")).len(), 80);
    assert_eq!(found(&store, item("EPR out")).len(), 40);
    assert_eq!(found(&store, item("no such")).len(), 0);
    let kind = |name: &str| Query {
        message_type: Some(name.into()),
        limit: 100,
        ..all()
    };
    assert_eq!(found(&store, kind("ADT_A08")).len(), 20);
    assert_eq!(found(&store, kind("ADT^A08^ADT_A01")).len(), 20);
    assert_eq!(found(&store, kind("ADT")).len(), 80);
    assert_eq!(found(&store, kind("ORU")).len(), 0);
    let window = Query {
        from_ms: Some(1_100),
        to_ms: Some(1_120),
        ..all()
    };
    assert_eq!(found(&store, window), [24, 23, 22, 21]);
    let session = Query {
        session: Some(SessionId(15)),
        ..all()
    };
    assert_eq!(found(&store, session), [16, 15]);
    let text = Query {
        text: Some("|c7|".into()),
        ..all()
    };
    assert_eq!(found(&store, text), [16, 15]);
}

#[test]
fn pages_follow_each_other() {
    let (_log, _dir, store) = filled(20);
    for query in [
        Query::default(),
        Query {
            text: Some("ANNA".into()),
            ..Query::default()
        },
    ] {
        let (mut seen, mut query) = (Vec::new(), Query { limit: 7, ..query });
        loop {
            let page = store.search(&query).unwrap();
            seen.extend(ids(&page));
            match page.next {
                Some(next) => query.before = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, (1..=40).rev().collect::<Vec<_>>());
    }
}

#[test]
fn counts_follow_the_states() {
    let (_log, _dir, store) = filled(20);
    let count = |item: &str, state, headers| Count {
        item: item.into(),
        state,
        headers,
    };
    let expected = [
        count("EPR out", State::Error, 1),
        count("EPR out", State::Completed, 19),
        count("Router", State::Completed, 20),
    ];
    assert_eq!(store.counts().unwrap(), expected);
}

#[test]
fn a_header_that_waits_is_updated_later() {
    let (log, dir) = (Arc::new(MemoryLog::new()), tempfile::tempdir().unwrap());
    let (store, _) = open_memory(&log, dir.path());
    let [a, b] = ["a", "b"].map(|name| store.item(name));
    let accepted = store.accept(&message(10, a, b"body", &[leg(b)])).unwrap();
    store.catch_up(WAIT).unwrap();
    let waiting = Query {
        states: vec![State::Queued],
        ..Query::default()
    };
    assert_eq!(found(&store, waiting.clone()), [1]);
    let header = live_of(&accepted, 0, a, b, 10);
    let again = Step {
        answered: crate::Answered::Nobody,
        state: State::Queued,
        attempts: 3,
        reason: "no answer",
        ..finish(&header)
    };
    store.step(&again).unwrap();
    store.catch_up(WAIT).unwrap();
    let row = store.header(MessageId(1)).unwrap().unwrap();
    assert_eq!(
        (row.attempts, &*row.reason, row.done_ms),
        (3, "no answer", None)
    );
    let header = Live {
        possible_duplicate: true,
        ..header
    };
    let legs = [
        NewLeg {
            body: LegBody::New(b"other"),
            priority: Priority::High,
            ..leg(a)
        },
        leg(b),
    ];
    store
        .step(&Step {
            legs: &legs,
            time_ms: 60,
            ..finish(&header)
        })
        .unwrap();
    store.catch_up(WAIT).unwrap();
    let rows = store.session(SessionId(1)).unwrap();
    assert_eq!(
        (rows[0].state, rows[0].done_ms),
        (State::Completed, Some(60))
    );
    // What follows from something that may have been done before may have been sent before.
    assert!(rows.iter().all(|row| row.possible_duplicate));
    assert_eq!(
        (rows[1].priority, rows[2].priority),
        (Priority::High, Priority::Normal)
    );
    assert_eq!(rows[2].body, rows[0].body);
    assert_eq!(store.body(rows[1].body).unwrap(), "other");
    assert_eq!(found(&store, waiting), [3, 2]);
}

#[test]
fn a_resend_is_linked_and_found_by_the_same_keys() {
    let (_log, _dir, store) = filled(3);
    let row = store.header(MessageId(3)).unwrap().unwrap();
    let [service, epr] = ["ADT in", "EPR out"].map(|name| store.item(name));
    let legs = [leg(epr)];
    let again = NewMessage {
        body: NewBody::Stored(row.body),
        resent_from: Some(row.id),
        ..hl7(5_000, service, b"", &legs)
    };
    let accepted = store.accept(&again).unwrap();
    assert_eq!(accepted.bodies[0], row.body);
    store.catch_up(WAIT).unwrap();
    let resent = store.header(accepted.first_id).unwrap().unwrap();
    assert_eq!((resent.resent_from, resent.body), (Some(row.id), row.body));
    assert_eq!(resent.session.0, accepted.first_id.0);
    let by_control = Query {
        control_id: Some("C1".into()),
        ..Query::default()
    };
    assert_eq!(found(&store, by_control), [7, 4, 3]);
}

fn reopen_after(log: &Arc<MemoryLog>, dir: &Path, harm: impl FnOnce(&Path)) -> Vec<HeaderRow> {
    harm(&super::path(dir));
    let (store, _) = open_memory(log, dir);
    store.catch_up(WAIT).unwrap();
    dump(&store)
}

#[test]
fn a_lost_broken_or_older_index_is_rebuilt_the_same() {
    let (log, dir, store) = filled(30);
    let before = dump(&store);
    assert_eq!(before.len(), 60);
    drop(store);
    let lost = reopen_after(&log, dir.path(), |path| std::fs::remove_file(path).unwrap());
    assert_eq!(lost, before);
    let broken = reopen_after(&log, dir.path(), |path| {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, vec![0x55; bytes.len()]).unwrap();
    });
    assert_eq!(broken, before);
    let older = reopen_after(&log, dir.path(), |path| {
        let conn = Connection::open(path).unwrap();
        conn.pragma_update(None, "user_version", 0).unwrap();
    });
    assert_eq!(older, before);
    let damaged = reopen_after(&log, dir.path(), |path| {
        // The watermark goes back: rows that are there come a second time.
        let conn = Connection::open(path).unwrap();
        conn.execute("UPDATE watermark SET position = ?1", [log_first(&log)])
            .unwrap();
    });
    assert_eq!(damaged.len(), before.len());
}

#[test]
fn an_index_that_a_power_cut_may_have_mixed_is_rebuilt_and_no_other() {
    let (log, dir, store) = filled(3);
    let before = dump(&store);
    drop(store); // as a killed process leaves it
    // A mark that is not in the log tells a file that was kept from one that was made anew.
    let run = |path: &Path, statement: &str| {
        let conn = Connection::open(path).unwrap();
        conn.execute(statement, []).unwrap();
    };
    let mark = |path: &Path| run(path, "UPDATE header SET attempts = 77 WHERE id = 1");
    let of_another_run = |path: &Path| run(path, "UPDATE opened SET boot = 'another run'");
    let marked = |rows: &[HeaderRow]| rows.iter().any(|row| row.attempts == 77);
    let killed = reopen_after(&log, dir.path(), mark);
    assert!(marked(&killed), "a killed process has lost nothing");
    let cut = reopen_after(&log, dir.path(), of_another_run);
    assert_eq!(cut, before, "the system went down while it was written");
    let (store, _) = open_memory(&log, dir.path());
    store.close().unwrap();
    drop(store);
    let conn = Connection::open(super::path(dir.path())).unwrap();
    let whole = super::is_whole(&conn, "yet another run").unwrap();
    assert!(whole, "it was closed before the system went down");
}

fn log_first(log: &MemoryLog) -> i64 {
    use hie_journal::Log as _;
    log.extent().first.0 as i64
}

#[test]
fn no_question_walks_over_all_rows() {
    let (_log, dir, store) = filled(4);
    let conn = Connection::open(super::path(dir.path())).unwrap();
    let plan = |sql: &str| -> Vec<String> {
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let count = statement.parameter_count();
        let values = vec![rusqlite::types::Value::Integer(1); count];
        let rows = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(3));
        rows.unwrap().map(Result::unwrap).collect()
    };
    for sql in super::read::statements() {
        for step in plan(&sql) {
            let walks = step.starts_with("SCAN") && !step.contains("SCAN CONSTANT ROW");
            let small = ["block", "tally", "route", "item", "kind"]
                .iter()
                .any(|table| step.starts_with(&format!("SCAN {table}")));
            assert!(!walks || small, "{step}\nin {sql}");
            assert!(
                !step.contains("TEMP B-TREE FOR ORDER BY") || sql.contains(" UNION "),
                "{step}\nin {sql}"
            );
        }
    }
    drop(store);
}
