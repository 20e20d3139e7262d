//! The primitives of the models: loom's, with the manners of `parking_lot` (no poisoning).

pub(crate) use std::sync::{Arc, Weak};

pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::*;
}

pub(crate) type MutexGuard<'a, T> = loom::sync::MutexGuard<'a, T>;

/// `parking_lot::Mutex`.
#[derive(Debug)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0
            .lock()
            .expect("no thread of a model panics while it holds a lock")
    }
}

/// `parking_lot::Condvar`.
#[derive(Debug)]
pub(crate) struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self(loom::sync::Condvar::new())
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Waits without the lock, and gives it back.
pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    let guard = condvar.0.wait(guard);
    guard.expect("no thread of a model panics while it holds a lock")
}
