//! The worker protocol on the wire, for both of its sides (docs/reference/worker-protocol.md).
//!
//! [`pack`] owns single values, [`frame`] where a frame begins and ends, [`to_worker`] and
//! [`from_worker`] what the frames of each direction say, [`settings`] the map that begins it.

pub mod frame;
pub mod from_worker;
pub mod pack;
pub mod settings;
pub mod to_worker;

pub use frame::{FRAME_MAX, Frame, HELLO_MAX, PROTOCOL, take, write};
pub use from_worker::FromWorker;
pub use pack::{Fields, Malformed, Packer, Unpacker};
pub use to_worker::ToWorker;

/// The types of frames, as the reference page numbers them.
pub mod kind {
    #![allow(missing_docs)] // the reference page says it
    pub const HELLO: u8 = 1;
    pub const INIT: u8 = 2;
    pub const READY: u8 = 3;
    pub const FAILED: u8 = 4;
    pub const MSG: u8 = 10;
    pub const RESULT: u8 = 11;
    pub const CREDIT: u8 = 12;
    pub const CALL: u8 = 20;
    pub const CALLED: u8 = 21;
    pub const ACCEPT: u8 = 30;
    pub const ACCEPTED: u8 = 31;
    pub const RESPONSE: u8 = 32;
    pub const LOG: u8 = 40;
    pub const STAT: u8 = 41;
    pub const STATE: u8 = 42;
    pub const PING: u8 = 50;
    pub const PONG: u8 = 51;
    pub const DRAIN: u8 = 60;
    pub const BYE: u8 = 61;
}
