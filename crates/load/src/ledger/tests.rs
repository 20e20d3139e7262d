//! The ledger finds what was planted: loss, repeats, changes, disorder.

use super::*;
use crate::message::ControlIds;

/// `count` messages of one stream, all acknowledged.
fn sent(count: u64) -> Sent {
    let (mut sent, mut ids) = (Sent::default(), ControlIds::new("T", 1));
    for sequence in 0..count {
        sent.sent(ids.at(sequence), &body(sequence));
        sent.answered(ids.at(sequence), Fate::Acked);
    }
    sent
}

fn body(sequence: u64) -> Vec<u8> {
    format!("body {sequence}").into_bytes()
}

fn received(order: &[u64]) -> Received {
    let (mut received, mut ids) = (Received::default(), ControlIds::new("T", 1));
    for &sequence in order {
        received.enter(ids.at(sequence), &body(sequence));
    }
    received
}

#[test]
fn all_well_is_clean() {
    let verdict = received(&[0, 1, 2, 3]).verdict(&sent(4));
    assert!(verdict.is_clean());
    assert_eq!((verdict.sent, verdict.acked, verdict.delivered), (4, 4, 4));
}

#[test]
fn finds_what_was_lost() {
    let verdict = received(&[0, 3]).verdict(&sent(5));
    assert_eq!(verdict.lost, 3);
    assert_eq!(
        verdict.lost_examples,
        ["T0001N000000001", "T0001N000000002", "T0001N000000004"]
    );
    assert!(!verdict.is_clean());
}

#[test]
fn finds_duplicates_without_calling_them_disorder() {
    let received = received(&[0, 1, 2, 1, 1]);
    let verdict = received.verdict(&sent(3));
    assert_eq!(
        (
            verdict.duplicated,
            verdict.extra_deliveries,
            verdict.inversions
        ),
        (1, 2, 0)
    );
    assert!(verdict.is_clean());
    assert_eq!(received.count_of(b"T0001N000000001"), 3);
}

#[test]
fn finds_an_inversion_of_first_deliveries() {
    assert_eq!(received(&[0, 2, 1, 3]).verdict(&sent(4)).inversions, 1);
    assert_eq!(received(&[0, 2, 0, 1, 1, 3]).summary().out_of_order, 1);
}

#[test]
fn finds_changed_bytes_in_any_delivery() {
    let mut received = received(&[0, 1]);
    received.enter(b"T0001N000000001", b"body 1 ");
    received.enter(b"T0001N000000002", b"other");
    let verdict = received.verdict(&sent(3));
    assert_eq!(verdict.changed, 2);
    assert_eq!(
        verdict.changed_examples,
        ["T0001N000000001", "T0001N000000002"]
    );
}

#[test]
fn tells_unasked_from_unknown() {
    let mut sent = sent(2);
    sent.sent(b"T0001N000000002", &body(2));
    sent.sent(b"T0001N000000003", &body(3));
    sent.answered(b"T0001N000000003", Fate::Refused);
    let mut received = received(&[0, 1, 2, 3]);
    received.enter(b"free text", b"x");
    received.enter(b"T0009N000000000", b"x");
    let verdict = received.verdict(&sent);
    assert_eq!((verdict.unasked, verdict.unknown, verdict.lost), (2, 2, 0));
    assert_eq!(
        sent.ids(Fate::Refused).collect::<Vec<_>>(),
        ["T0001N000000003"]
    );
    assert_eq!(sent.acked(), 2);
}

#[test]
fn a_leaping_sequence_costs_little_and_is_still_counted() {
    let mut received = Received::default();
    assert!(received.enter(b"XN999999999", b"x"));
    assert!(!received.enter(b"XN999999999", b"x"));
    assert_eq!(received.summary().duplicates, 1);
    assert_eq!(received.count_of(b"XN999999999"), 2);
}

#[test]
fn counts_gaps() {
    assert_eq!(received(&[0, 1, 5]).summary().gaps, 3);
}

#[test]
fn finds_disorder_within_a_key_and_leaves_others_alone() {
    let keyed = |order: &[(u64, &str)]| {
        let (mut received, mut ids) = (Received::default(), ControlIds::new("T", 1));
        for (sequence, key) in order {
            received.enter_keyed(ids.at(*sequence), Some(key.as_bytes()), &body(*sequence));
        }
        let verdict = received.verdict(&sent(4));
        assert!(verdict.is_whole(), "{verdict:?}");
        (verdict.inversions, verdict.key_inversions)
    };
    assert_eq!(keyed(&[(0, "a"), (1, "b"), (2, "a"), (3, "b")]), (0, 0));
    assert_eq!(keyed(&[(1, "b"), (0, "a"), (3, "b"), (2, "a")]), (2, 0));
    assert_eq!(keyed(&[(2, "a"), (0, "a"), (1, "b"), (3, "b")]), (2, 1));
    // A repeat of an early one is no disorder.
    assert_eq!(
        keyed(&[(0, "a"), (1, "b"), (2, "a"), (0, "a"), (3, "b")]),
        (0, 0)
    );
}

#[test]
fn streams_of_the_same_key_are_no_disorder_to_each_other() {
    let mut received = Received::default();
    for (stream, sequence) in [(1, 5), (2, 0), (1, 6), (2, 1)] {
        let mut ids = ControlIds::new("T", stream);
        received.enter_keyed(ids.at(sequence), Some(b"key"), b"body");
    }
    assert_eq!(received.verdict(&Sent::default()).key_inversions, 0);
}

#[test]
fn tells_runs_apart_and_what_came_twice() {
    let (mut received, mut sent) = (Received::default(), Sent::default());
    for (run, order) in [("AA", &[0, 1, 1][..]), ("BB", &[1, 0])] {
        let mut ids = ControlIds::new(run, 0);
        for &sequence in order {
            received.enter(ids.at(sequence), &body(sequence));
        }
        if run == "AA" {
            for sequence in 0..2 {
                sent.sent(ids.at(sequence), &body(sequence));
                sent.answered(ids.at(sequence), Fate::Acked);
            }
        }
    }
    assert_eq!(received.verdict(&sent).unknown, 2);
    let own = received.of_run("AA");
    let verdict = own.verdict(&sent);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!((verdict.delivered, verdict.extra_deliveries), (2, 1));
    let repeated: Vec<_> = own.repeated().collect();
    assert_eq!(repeated, [("AA0000N000000001".to_owned(), 2)]);
    assert_eq!(received.of_run("BB").summary().out_of_order, 1);
}
