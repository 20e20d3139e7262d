//! The instrument: what sends, receives and accounts for messages around an engine, so that every
//! figure and every "nothing was lost" can be had from a clone alone. It shares no parser with the
//! engine, on purpose: an instrument must not share the faults of what it measures.
//!
//! - [`message`]: messages of a given size or your own, control IDs that carry stream and sequence.
//! - [`sender`]: closed loop and open loop over N stop-and-wait connections.
//! - [`receiver`]: answers as told, and remembers what came.
//! - [`peers`]: a null echo and a null proxy, the upper bounds of an engine.
//! - [`ledger`]: what was acknowledged against what was delivered.
//! - [`probe`]: what the machine itself can do: fdatasync, echo.
//!
//! ```
//! use hie_load::message::{Kind, Template};
//! use hie_load::receiver::Receiver;
//! use hie_load::sender::{self, Load};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let receiver = Receiver::start("127.0.0.1:0").await?;
//! let template = Template::varied(Kind::Adt, 700, 1);
//! let load = Load { messages: Some(100), keep_ledger: true, ..Load::new(receiver.addr().to_string(), template) };
//! let outcome = sender::run(load).await?;
//! assert_eq!(outcome.report.acks, 100);
//! assert!(receiver.verdict(&outcome.sent).is_clean());
//! # Ok(())
//! # }
//! ```
//!
//! Invariants: no allocation per message on the sending side; a latency in the open loop counts from
//! the planned send time; nothing here listens beyond where it is told to.
#![forbid(unsafe_code)]

mod closed;
mod feed;
pub mod ledger;
pub mod message;
mod open;
pub mod patient;
pub mod peers;
pub mod probe;
mod random;
pub mod receiver;
pub mod report;
pub mod sender;
pub mod wire;
