//! The primitives of what is model-checked: `tests/loom` takes such modules by path and puts its own
//! `sync` in the place of this one.

pub(crate) use parking_lot::Mutex;
