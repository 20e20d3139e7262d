//! HL7 v2: bytes to message and back, lossless and lenient.
//!
//! This crate owns what an HL7 v2 message *is*: where its segments, fields,
//! repetitions, components and subcomponents begin and end, how a [`Path`]
//! finds a value, how an [`Edit`] changes one and nothing else, how text is
//! escaped and which character set it is in, and how an acknowledgement is
//! written and read. It knows no network, no clock, no file and no schema.
//!
//! # Invariants
//! * Parsing never fails on bytes that have an MSH segment; nothing panics on
//!   input of any kind.
//! * The raw bytes are never changed in place: all segments with their
//!   terminators, joined, are the message again.
//! * Nothing is decoded, unescaped or allocated before somebody asks.
//! * No `Debug` and no error of this crate shows a field value: messages carry
//!   patients' data, logs must not.
//!
//! ```
//! use hie_hl7::{Message, Path};
//!
//! let raw = b"MSH|^~\\&|LAB|HOSP|EPR|HOSP|20260102||ADT^A01|42|P|2.5\rPID|1||77^^^HOSP\r";
//! let message = Message::parse(raw)?;
//! let id = Path::parse("PID-3.1")?;
//! assert_eq!(message.header().control_id, b"42");
//! assert_eq!(message.get(&id), Some(&b"77"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod ack;
pub mod charset;
mod delimiters;
pub mod edit;
pub mod escape;
mod header;
mod message;
mod parts;
pub mod path;
mod pieces;
mod resolve;
mod scan;
pub mod view;

pub use ack::AckCode;
pub use delimiters::Delimiters;
pub use edit::{Edit, EditError};
pub use header::{Header, MessageType, Version};
pub use message::{Message, ParseError};
pub use parts::{Component, Field, Repetition, Segment, Subcomponent};
pub use path::{Path, PathError};
pub use scan::{LineEnd, Segments};
