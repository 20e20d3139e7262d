//! Acknowledgements (HL7 v2 chapter 2, "Acknowledgements"). Owns the codes, the
//! writing of a reply to a message and the reading of a reply. Which code to
//! give, when to give it, and what a code leads to is the engine's business:
//! above all, that a positive one waits until the message is durable.

mod error;
mod read;
mod write;

pub use error::{AckError, Severity};
pub use read::{Ack, AckReadError, read};
pub use write::AckRequest;

/// MSA-1 (HL7 table 0008).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AckCode {
    /// Original mode: application accept.
    AA,
    /// Original mode: application error; sending it again unchanged is useless.
    AE,
    /// Original mode: application reject; may be sent again later.
    AR,
    /// Enhanced mode: commit accept.
    CA,
    /// Enhanced mode: commit error.
    CE,
    /// Enhanced mode: commit reject.
    CR,
}

impl AckCode {
    /// All codes.
    pub const ALL: [Self; 6] = [Self::AA, Self::AE, Self::AR, Self::CA, Self::CE, Self::CR];

    /// As written in MSA-1.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AA => "AA",
            Self::AE => "AE",
            Self::AR => "AR",
            Self::CA => "CA",
            Self::CE => "CE",
            Self::CR => "CR",
        }
    }

    /// Reads MSA-1; `None` for all else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|code| code.as_str().as_bytes() == bytes)
    }

    /// AA or CA.
    pub const fn is_accept(self) -> bool {
        matches!(self, Self::AA | Self::CA)
    }

    /// AE or CE.
    pub const fn is_error(self) -> bool {
        matches!(self, Self::AE | Self::CE)
    }

    /// AR or CR.
    pub const fn is_reject(self) -> bool {
        matches!(self, Self::AR | Self::CR)
    }

    /// CA, CE or CR: an answer in enhanced mode to the receipt alone.
    pub const fn is_commit(self) -> bool {
        matches!(self, Self::CA | Self::CE | Self::CR)
    }

    /// The same verdict as a commit code: AA gives CA.
    #[must_use]
    pub const fn to_commit(self) -> Self {
        match self {
            Self::AA | Self::CA => Self::CA,
            Self::AE | Self::CE => Self::CE,
            Self::AR | Self::CR => Self::CR,
        }
    }

    /// The same verdict as an application code: CA gives AA.
    #[must_use]
    pub const fn to_application(self) -> Self {
        match self {
            Self::AA | Self::CA => Self::AA,
            Self::AE | Self::CE => Self::AE,
            Self::AR | Self::CR => Self::AR,
        }
    }
}

impl std::fmt::Display for AckCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
