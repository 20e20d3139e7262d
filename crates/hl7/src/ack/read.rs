//! Reading a reply: the MSA segment of whatever came back. Owns telling apart
//! no message, no MSA and an unknown code; what follows from it is not here.

use thiserror::Error;

use super::AckCode;
use crate::message::{Message, ParseError};

/// Why a reply tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AckReadError {
    /// The reply is not a message.
    #[error("the reply is not a message: {0}")]
    Parse(#[from] ParseError),
    /// The reply is a message without an MSA segment.
    #[error("the reply ({bytes} bytes) has no MSA segment")]
    NoMsa {
        /// Size of the reply.
        bytes: usize,
    },
}

impl AckReadError {
    /// Stable name for programs, rules and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Parse(error) => error.code(),
            Self::NoMsa { .. } => "hl7.no_msa",
        }
    }
}

/// What a reply says.
#[derive(Clone, Copy)]
pub struct Ack<'a> {
    /// MSA-1 as it stands; empty if absent.
    pub raw_code: &'a [u8],
    /// MSA-1 if it is one of table 0008, blanks around it ignored.
    pub code: Option<AckCode>,
    /// MSA-2: which message is answered; empty if absent.
    pub control_id: &'a [u8],
    /// MSA-3; from 2.7 on, or if MSA-3 is empty, ERR-8. Raw, escapes and all.
    pub text: &'a [u8],
    /// The whole reply.
    pub message: Message<'a>,
}

impl std::fmt::Debug for Ack<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ack({:?}, {:?})", self.code, self.message)
    }
}

/// Reads a reply.
///
/// # Errors
/// If it is no message, or has no MSA.
pub fn read(reply: &[u8]) -> Result<Ack<'_>, AckReadError> {
    let message = Message::parse(reply)?;
    let msa = message
        .segment(b"MSA", 1)
        .ok_or(AckReadError::NoMsa { bytes: reply.len() })?;
    let field = |n| msa.field(n).map(|f| f.raw()).unwrap_or_default();
    let user_message = || message.segment(b"ERR", 1)?.field(8).map(|f| f.raw());
    let text = match field(3) {
        b"" => user_message().unwrap_or_default(),
        text => text,
    };
    let raw_code = field(1);
    let code = AckCode::from_bytes(raw_code.trim_ascii());
    Ok(Ack {
        raw_code,
        code,
        control_id: field(2),
        text,
        message,
    })
}
