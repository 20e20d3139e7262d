//! The engine: productions of items, their jobs, queues, broker and supervisor.
//!
//! Knows traits of hosts, never a concrete host or a transport. The floor above (`hie-hosts`)
//! registers classes; the floor below (`hie-store`) keeps what happens.
//!
//! *Invariant:* a host sees its context and its message, never the engine.
//! *Invariant:* a panic of a host stops at its job.
//! *Invariant:* only [`clock`] reads a clock.

#![forbid(unsafe_code)]

pub mod broker;
pub mod calls;
mod circle;
pub mod class;
pub mod clock;
pub mod config;
pub mod context;
mod deferred;
mod follow;
pub mod hold;
pub mod hooks;
pub mod host;
mod housekeeping;
mod in_hand;
mod instance;
pub mod item;
pub mod item_command;
mod job;
pub mod mode;
mod patience;
pub mod pattern;
pub mod production;
pub mod queue;
pub mod reload;
mod request;
mod requeue;
mod service;
pub mod setting;
pub mod stats;
pub mod status;
pub mod supervisor;
mod sync;
pub mod waiters;
#[cfg(test)]
mod waiters_tests;
pub mod workers;

pub use context::{HostContext, ServiceContext};
pub use host::HostError;
pub use production::Production;
