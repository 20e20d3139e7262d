//! The credit of a worker, step by step. Every order of events is tried in `tests/loom`.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::credit::{CREDIT_MAX, Closed, Credit, Take, TooMuch};

fn poll(take: &mut Take<'_>) -> Poll<Result<(), Closed>> {
    Pin::new(take).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn turns_come_in_the_order_in_which_they_were_asked_for() {
    let credit = Credit::new();
    let (mut first, mut second, mut third) = (credit.take(), credit.take(), credit.take());
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    credit.grant(1).unwrap();
    assert!(poll(&mut third).is_pending() && poll(&mut second).is_pending());
    assert_eq!(poll(&mut first), Poll::Ready(Ok(())));
    assert!(poll(&mut second).is_pending());
    drop(second);
    credit.give_back();
    assert_eq!(poll(&mut third), Poll::Ready(Ok(())));
    assert_eq!(credit.in_flight(), 1);
}

#[test]
fn a_grant_beyond_all_reason_is_refused_whole_and_changes_nothing() {
    let credit = Credit::new();
    credit.grant(CREDIT_MAX).unwrap();
    assert_eq!(poll(&mut credit.take()), Poll::Ready(Ok(())));
    // What is in flight counts too.
    assert_eq!(credit.grant(1), Err(TooMuch));
    assert_eq!(credit.grant(usize::MAX), Err(TooMuch));
    assert_eq!(poll(&mut credit.take()), Poll::Ready(Ok(())));
}

#[test]
fn what_is_closed_gives_nothing_though_some_is_left() {
    let credit = Credit::new();
    let mut early = credit.take();
    assert!(poll(&mut early).is_pending());
    credit.close();
    credit.grant(1).unwrap();
    assert_eq!(poll(&mut early), Poll::Ready(Err(Closed)));
    assert_eq!(poll(&mut credit.take()), Poll::Ready(Err(Closed)));
}
