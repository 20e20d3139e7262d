//! The 27 mandatory items of the design, each by its number: `item_1_1_…` to `item_4_8_…`.
//!
//! What each demands, and what HIE does about it, stands in `docs/reference/mandatory-items.md`. Most
//! go through the real binary; where it has no class that could show the point (code that blocks, a
//! host that counts its own hooks), hosts made for it run in the engine of this process.

#![allow(clippy::unwrap_used)] // a test may end so

#[path = "../common/mod.rs"]
mod common;

mod actors;
mod defects;
mod host;
mod proc;
mod process;
mod processes;
mod production;
mod scene;
