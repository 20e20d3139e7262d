//! The file classes and their adapters: folders watched, files written.

mod claim;
mod complete;
pub mod disk;
pub mod folders;
pub mod inbound;
pub mod names;
pub mod operation;
pub mod outbound;
pub mod service;
pub mod taking;
pub mod watcher;
