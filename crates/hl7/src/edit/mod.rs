//! Changing a message as a series of splices: bytes that no edit names stay
//! identical. Owns padding, what a value may contain, and what cannot be
//! changed; the message edited from is never touched.

use thiserror::Error;

mod rewrite;

use crate::{
    charset::Charset,
    delimiters::Delimiters,
    escape::{self, EscapeError},
    message::Message,
    parts::Segment,
    path::{FieldPath, Path, is_segment_name},
    scan::{LineEnd, Segments},
};

/// Why an edit cannot be made. Names places, never values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EditError {
    /// MSH-1, MSH-2 or MSH as a whole: they say how all else is read. BHS and
    /// FHS begin alike.
    #[error("{path} cannot be changed: it says how the message is read")]
    Protected {
        /// The place named.
        path: Path,
    },
    /// The message has no such segment.
    #[error("{path} cannot be set: the message has no such segment (append it first)")]
    SegmentAbsent {
        /// The place named.
        path: Path,
    },
    /// The value would split the place it is put into.
    #[error(
        "{path} cannot be set: byte {offset} of the value is a delimiter or line end that ends that place (escape it, or name a larger place)"
    )]
    Delimiter {
        /// The place named.
        path: Path,
        /// Offset into the value.
        offset: usize,
    },
    /// The message declares no subcomponent delimiter in MSH-2.
    #[error("{path} cannot be set: the message declares no subcomponent delimiter in MSH-2")]
    NoSubcomponents {
        /// The place named.
        path: Path,
    },
    /// The text needs an escape character that the message lacks.
    #[error("{path} cannot be set: {source}")]
    Escape {
        /// The place named.
        path: Path,
        /// What needs escaping.
        source: EscapeError,
    },
    /// The text has a character that the set of MSH-18 lacks.
    #[error(
        "{path} cannot be set: the text has a character that the message's character set (MSH-18) lacks or the set is not known"
    )]
    Unencodable {
        /// The place named.
        path: Path,
    },
    /// A whole segment that is not one line beginning with a fitting name.
    #[error("not one segment: expected a segment name (not MSH) and fields, without line ends")]
    NotASegment,
}

impl EditError {
    /// Stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Protected { .. } => "edit.protected",
            Self::SegmentAbsent { .. } => "edit.segment_absent",
            Self::Delimiter { .. } => "edit.delimiter",
            Self::NoSubcomponents { .. } => "edit.no_subcomponents",
            Self::Escape { .. } => "edit.escape",
            Self::Unencodable { .. } => "edit.unencodable",
            Self::NotASegment => "edit.not_a_segment",
        }
    }
}

/// Edits to a copy of one message, applied one after another.
///
/// A path without index means the first segment and the first repetition, as
/// [`Message::get`] does; `[*]` means every one there is.
#[derive(Clone)]
pub struct Edit {
    bytes: Vec<u8>,
    start: usize,
    line_end: LineEnd,
    delimiters: Delimiters,
}

impl Edit {
    /// Begins with the bytes of `message`.
    pub fn new(message: &Message<'_>) -> Self {
        Self {
            bytes: message.raw().to_vec(),
            start: message.prefix().len(),
            line_end: message.line_end(),
            delimiters: message.delimiters(),
        }
    }

    /// The message with all edits.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// The bytes as they stand now, for reading between edits.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Puts raw bytes at a place; fields, repetitions and components that do
    /// not exist yet are made with delimiters.
    ///
    /// # Errors
    /// If the segment is absent, the place protected, or the value contains a
    /// line end or a delimiter of the place's own or a larger level.
    pub fn set(&mut self, path: &Path, value: &[u8]) -> Result<&mut Self, EditError> {
        self.check_target(path)?;
        self.check_value(path, value)?;
        let (bytes, written) = self.copy_changing(path, |out, segment| {
            match path.field() {
                None => out.extend_from_slice(value),
                Some(place) => self.set_in(out, segment, &place, value),
            }
            true
        });
        if written == 0 {
            return Err(EditError::SegmentAbsent { path: *path });
        }
        self.bytes = bytes;
        Ok(self)
    }

    /// Puts text at a place: encoded in the character set of MSH-18, its
    /// delimiters and control characters escaped.
    ///
    /// # Errors
    /// As [`Edit::set`], and if the text cannot be encoded or escaped.
    pub fn set_text(&mut self, path: &Path, text: &str) -> Result<&mut Self, EditError> {
        let charset = self
            .charset()
            .ok_or(EditError::Unencodable { path: *path })?;
        let encoded = charset
            .encode(text)
            .ok_or(EditError::Unencodable { path: *path })?;
        let value =
            escape::escape(&encoded, &self.delimiters).map_err(|source| EditError::Escape {
                path: *path,
                source,
            })?;
        self.set(path, &value)
    }

    /// Takes away what stands at a place; absent places are left absent.
    ///
    /// A segment goes with its terminator. A field is emptied with all its
    /// repetitions, a component or subcomponent is emptied: what follows keeps
    /// its number. A repetition named by `[n]` is removed with its delimiter.
    ///
    /// # Errors
    /// If the place is protected.
    pub fn delete(&mut self, path: &Path) -> Result<&mut Self, EditError> {
        self.check_target(path)?;
        let (bytes, written) = self.copy_changing(path, |out, segment| {
            let Some(place) = path.field() else {
                return false;
            };
            self.delete_in(out, segment, &place);
            true
        });
        if written > 0 {
            self.bytes = bytes;
        }
        Ok(self)
    }

    /// Adds a segment (without line end) behind the last one, and a terminator
    /// where the last one has none.
    ///
    /// # Errors
    /// If `raw` is not one segment, or is an MSH.
    pub fn append_segment(&mut self, raw: &[u8]) -> Result<&mut Self, EditError> {
        self.check_segment(raw, None)?;
        // Not by the last byte: with CR an LF there may be text.
        if self
            .segments()
            .last()
            .is_some_and(|last| last.terminator().is_empty())
        {
            self.bytes.extend_from_slice(self.line_end.as_bytes());
        }
        self.bytes.extend_from_slice(raw);
        self.bytes.extend_from_slice(self.line_end.as_bytes());
        Ok(self)
    }

    fn charset(&self) -> Option<Charset> {
        Message::parse(&self.bytes).ok()?.charset().ok()
    }

    fn segments(&self) -> Segments<'_> {
        let bytes = self.bytes.get(self.start..).unwrap_or_default();
        Segments::new(bytes, self.line_end, self.delimiters)
    }

    fn check_target(&self, path: &Path) -> Result<(), EditError> {
        let header = matches!(path.segment(), b"MSH" | b"BHS" | b"FHS");
        match path.field() {
            None if path.segment() == b"MSH" => Err(EditError::Protected { path: *path }),
            Some(place) if header && place.field <= 2 => Err(EditError::Protected { path: *path }),
            Some(FieldPath {
                subcomponent: Some(2..),
                ..
            }) if self.delimiters.subcomponent.is_none() => {
                Err(EditError::NoSubcomponents { path: *path })
            }
            _ => Ok(()),
        }
    }

    /// A value may contain only delimiters of smaller levels than its place.
    fn check_value(&self, path: &Path, value: &[u8]) -> Result<(), EditError> {
        let Some(place) = path.field() else {
            return self.check_segment(value, Some(path));
        };
        let d = &self.delimiters;
        let component = place.component.map(|_| d.component);
        let subcomponent = place.subcomponent.and(d.subcomponent);
        let ends = |&b: &u8| {
            let some = Some(b);
            b == b'\r'
                || b == b'\n'
                || b == d.field
                || b == d.repetition
                || some == component
                || some == subcomponent
        };
        match value.iter().position(ends) {
            Some(offset) => Err(EditError::Delimiter {
                path: *path,
                offset,
            }),
            None => Ok(()),
        }
    }

    fn check_segment(&self, raw: &[u8], path: Option<&Path>) -> Result<(), EditError> {
        let name = Segment::new(raw, &[], self.delimiters).name();
        let valid = <&[u8; 3]>::try_from(name).is_ok_and(is_segment_name)
            && name != b"MSH"
            && path.is_none_or(|p| name == p.segment())
            && !raw.iter().any(|b| matches!(b, b'\r' | b'\n'));
        if valid {
            Ok(())
        } else {
            Err(EditError::NotASegment)
        }
    }
}

#[cfg(test)]
mod tests;
