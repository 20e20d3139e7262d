//! The table of who waits for which response: exactly one caller gets it, or none.

use loom::thread;

use crate::{
    explore,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    waiters::{Claim, Waiters},
};

/// A caller that counts the responses that it got.
type Sink = Arc<AtomicUsize>;

fn sink() -> Sink {
    Arc::new(AtomicUsize::new(0))
}

/// Answers a request; whether somebody got the response, and whether it was late.
fn answer(waiters: &Waiters<Sink>, request: u64) -> (bool, bool) {
    match waiters.claim(request) {
        Claim::Caller(sink) => {
            sink.fetch_add(1, Ordering::SeqCst);
            (true, false)
        }
        Claim::Late => (false, true),
        Claim::Nobody => (false, false),
    }
}

fn is_clean(waiters: &Waiters<Sink>) -> bool {
    waiters.count() == (0, 0) && waiters.is_empty()
}

#[test]
fn a_response_and_a_timeout_at_once_have_one_winner() {
    explore(|| {
        let (waiters, sink) = (Arc::new(Waiters::default()), sink());
        let caller = waiters.register([1], sink.clone());
        let answering = {
            let waiters = waiters.clone();
            thread::spawn(move || answer(&waiters, 1))
        };
        let gave_up = waiters.give_up(caller);
        let (answered, late) = answering.join().unwrap();
        assert_ne!(answered, gave_up);
        assert_eq!(late, gave_up);
        assert_eq!(sink.load(Ordering::SeqCst), usize::from(answered));
        assert!(is_clean(&waiters));
    });
}

#[test]
fn two_answers_of_one_caller_have_one_winner() {
    explore(|| {
        let (waiters, sink) = (Arc::new(Waiters::default()), sink());
        waiters.register([1, 2], sink.clone());
        let answering: Vec<_> = [1, 2]
            .map(|request| {
                let waiters = waiters.clone();
                thread::spawn(move || answer(&waiters, request).0)
            })
            .into();
        let answered = answering.into_iter().map(|thread| thread.join().unwrap());
        assert_eq!(answered.filter(|answered| *answered).count(), 1);
        assert_eq!(sink.load(Ordering::SeqCst), 1);
        assert!(is_clean(&waiters));
    });
}

/// The end of a request hands its caller on, while the caller gives up.
#[test]
fn a_caller_that_is_handed_on_is_lost_in_no_order_of_events() {
    explore(|| {
        let (waiters, sink) = (Arc::new(Waiters::default()), sink());
        let caller = waiters.register([1], sink.clone());
        let target = {
            let waiters = waiters.clone();
            thread::spawn(move || {
                let waits = waiters.hand_on(1, &[2], |_| ()).is_some();
                (waits, answer(&waiters, 2))
            })
        };
        let gave_up = waiters.give_up(caller);
        let (waited, (answered, late)) = target.join().unwrap();
        assert_ne!(answered, gave_up);
        assert_eq!(late, gave_up);
        assert!(waited || gave_up);
        assert_eq!(sink.load(Ordering::SeqCst), usize::from(answered));
        assert!(is_clean(&waiters));
    });
}

/// A hop that nobody waits for looks without the lock. It must see a caller that was registered
/// before its request could be taken.
#[test]
fn who_is_registered_before_the_request_is_seen_is_found() {
    explore(|| {
        let (waiters, sink) = (Arc::new(Waiters::default()), sink());
        let queue = Arc::new(crate::sync::Mutex::new(None));
        let job = {
            let (waiters, queue) = (waiters.clone(), queue.clone());
            thread::spawn(move || {
                let request = *queue.lock();
                request.map(|request| answer(&waiters, request).0)
            })
        };
        waiters.register([1], sink.clone());
        *queue.lock() = Some(1);
        assert_ne!(job.join().unwrap(), Some(false), "taken, and nobody found");
        answer(&waiters, 1); // where the job came before the request
        assert_eq!(sink.load(Ordering::SeqCst), 1);
        assert!(is_clean(&waiters));
    });
}

/// What was never asked is forgotten while another caller's response comes.
#[test]
fn forgetting_one_caller_leaves_the_other_alone() {
    explore(|| {
        let (waiters, kept) = (Arc::new(Waiters::default()), sink());
        let forgotten = waiters.register([1], sink());
        waiters.register([2], kept.clone());
        let answering = {
            let waiters = waiters.clone();
            thread::spawn(move || answer(&waiters, 2).0)
        };
        waiters.forget(forgotten);
        assert!(answering.join().unwrap());
        assert_eq!(kept.load(Ordering::SeqCst), 1);
        assert!(is_clean(&waiters));
    });
}
