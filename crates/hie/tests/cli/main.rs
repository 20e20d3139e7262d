//! Behaviour tests of the command line: every command through the real binary, over real sockets.

#![allow(clippy::unwrap_used)] // a test may end so

#[path = "../common/mod.rs"]
mod common;

mod acting;
mod commanding;
mod hooks;
mod lifecycle;
mod reading;
mod reloading;
mod starting;
mod upkeep;
