//! The table of waiters, one thread at a time. Apart from it, because `tests/loom` takes that file.

use crate::waiters::{Claim, GAVE_UP_MAX, Waiters};

#[test]
fn the_first_response_wins_and_the_others_are_nobodys() {
    let waiters = Waiters::default();
    waiters.register([1, 2], "caller");
    assert!(matches!(waiters.claim(2), Claim::Caller("caller")));
    assert!(matches!(waiters.claim(1), Claim::Nobody));
    assert_eq!(waiters.count(), (0, 0));
}

#[test]
fn a_response_after_giving_up_is_late_once_and_then_forgotten() {
    let waiters = Waiters::default();
    let caller = waiters.register([1], ());
    assert!(waiters.give_up(caller));
    assert!(!waiters.give_up(caller));
    assert_eq!(waiters.count(), (0, 1));
    assert!(matches!(waiters.claim(1), Claim::Late));
    assert!(matches!(waiters.claim(1), Claim::Nobody));
    assert_eq!(waiters.count(), (0, 0));
}

#[test]
fn a_claimed_response_cannot_be_given_up() {
    let waiters = Waiters::default();
    let caller = waiters.register([1], ());
    assert!(matches!(waiters.claim(1), Claim::Caller(())));
    assert!(!waiters.give_up(caller));
}

#[test]
fn a_caller_follows_the_request_that_is_handed_on() {
    let waiters = Waiters::default();
    let caller = waiters.register([1], ());
    assert!(waiters.hand_on(1, &[5, 6], |_| ()).is_some());
    assert!(matches!(waiters.claim(1), Claim::Nobody));
    assert!(waiters.give_up(caller));
    assert!(waiters.hand_on(5, &[7], |_| ()).is_none());
    assert!(matches!(waiters.claim(5), Claim::Nobody));
    assert!(matches!(waiters.claim(7), Claim::Late));
    assert!(matches!(waiters.claim(6), Claim::Late));
    assert_eq!(waiters.count(), (0, 0));
}

#[test]
fn what_was_never_asked_leaves_no_trace() {
    let waiters = Waiters::default();
    let caller = waiters.register([1, 2], ());
    waiters.forget(caller);
    assert_eq!(waiters.count(), (0, 0));
}

#[test]
fn the_memory_of_those_who_gave_up_has_a_bound() {
    let waiters = Waiters::default();
    for request in 0..=GAVE_UP_MAX as u64 {
        let caller = waiters.register([request], ());
        waiters.give_up(caller);
    }
    assert_eq!(waiters.count(), (0, GAVE_UP_MAX));
    assert!(matches!(waiters.claim(0), Claim::Late));
    assert!(matches!(waiters.claim(GAVE_UP_MAX as u64), Claim::Nobody));
}
