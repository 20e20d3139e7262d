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
