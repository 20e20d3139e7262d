//! The primitives of what is model-checked: `tests/loom` takes such modules by path and puts its own
//! primitives here, so that the code that is checked is the code that runs.

pub(crate) use std::sync::{Arc, Weak, atomic};

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};

/// Waits without the lock, and gives it back.
pub(crate) fn wait<'a, T>(condvar: &Condvar, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(&mut guard);
    guard
}
