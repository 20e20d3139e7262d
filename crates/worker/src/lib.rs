//! Hosts in processes of their own (`ExecutionMode: multiprocess`).
//!
//! Owns the worker protocol, both of its sides: [`pool`] starts, watches and ends the processes of
//! an item and stands in for their hosts inside the engine; [`child`] is the other end, the hosts
//! of built-in classes in a worker process. [`python`] makes classes of the engine out of Python
//! classes. Knows no concrete class: the registry is passed in.
//!
//! *Invariant:* the engine owns the queue. A worker holds what it has credit for, and when it is
//! gone, it is really gone before its messages are given to anybody else.

#![forbid(unsafe_code)]

pub mod child;
mod credit;
#[cfg(test)]
mod credit_tests;
mod far_host;
mod far_service;
mod link;
mod outbox;
mod pipes;
pub mod pool;
mod process;
pub mod python;
mod slot;
mod sync;
mod usage;
pub mod wire;

pub use pool::ProcessWorkers;
