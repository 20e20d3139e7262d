//! A path names a place in a message: compiled once from its written form,
//! resolved by scanning. Owns the address and its canonical spelling; the
//! grammar is in `parse`, the look-up in `resolve`, writing in `edit`.

use std::fmt;

mod parse;

pub use parse::{PathError, PathErrorKind};

/// Which of several: segments of one name, repetitions of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Index {
    /// None was written: the first one, where one is wanted.
    #[default]
    Default,
    /// `[n]` or `(n)`, from 1.
    Nth(u32),
    /// `[*]`, `(*)` or `()`: every one.
    All,
}

impl Index {
    /// The one that is meant, from 1; `None` for all of them.
    #[inline]
    pub fn single(self) -> Option<usize> {
        match self {
            Self::Default => Some(1),
            Self::Nth(n) => Some(n as usize),
            Self::All => None,
        }
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => Ok(()),
            Self::Nth(n) => write!(f, "[{n}]"),
            Self::All => f.write_str("[*]"),
        }
    }
}

/// A place in a message, such as `PID-3[2].1`.
///
/// Written forms, all read by [`Path::parse`] and shown by `Display` as the
/// first of their row:
///
/// | canonical | also |
/// |---|---|
/// | `PID` | `{PID}` |
/// | `PID-5.1` | `PID:5.1`, `PID.5.1`, `{PID:5.1}` |
/// | `PID-3[2].1.2` | `PID-3(2).1.2`, `{PID:3(2).1.2}` |
/// | `OBX[2]-5` | `OBX(2)-5`, `{OBX(2):5}` |
/// | `OBX[*]-5[*]` | `OBX(*)-5(*)`, `{OBX():5()}` |
///
/// Every number counts from 1. Without an index the first is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    segment: [u8; 3],
    occurrence: Index,
    field: Option<FieldPath>,
}

/// The part of a path behind the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FieldPath {
    /// Field number, from 1.
    pub field: u32,
    /// Which repetition.
    pub repetition: Index,
    /// Component number, from 1.
    pub component: Option<u32>,
    /// Subcomponent number, from 1; only with a component.
    pub subcomponent: Option<u32>,
}

impl Path {
    /// The largest number a path may have: bounds what an edit can pad.
    pub const MAX_NUMBER: u32 = 99_999;

    /// Compiles a written path.
    ///
    /// # Errors
    /// With the byte offset and what was expected there.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        parse::parse(text)
    }

    /// The segment name: `PID`.
    pub fn segment(&self) -> &[u8; 3] {
        &self.segment
    }

    /// Which segments of that name.
    pub fn occurrence(&self) -> Index {
        self.occurrence
    }

    /// The place within the segment; `None` means the whole segment.
    pub fn field(&self) -> Option<FieldPath> {
        self.field
    }

    /// Whether the path may have more than one match.
    pub fn is_plural(&self) -> bool {
        self.occurrence == Index::All || self.field.is_some_and(|f| f.repetition == Index::All)
    }

    /// The same place in the `n`th segment of its name.
    #[must_use]
    pub fn with_occurrence(mut self, n: u32) -> Self {
        self.occurrence = Index::Nth(n);
        self
    }

    /// The same place in the `n`th repetition of its field; a path to a whole
    /// segment stays as it is.
    #[must_use]
    pub fn with_repetition(mut self, n: u32) -> Self {
        if let Some(field) = &mut self.field {
            field.repetition = Index::Nth(n);
        }
        self
    }

    /// A path from its parts; `None` if the name is not one (`A`-`Z`, then
    /// letters or digits) or a number is 0 or too large.
    pub fn from_parts(segment: &[u8], occurrence: Index, field: Option<FieldPath>) -> Option<Self> {
        let segment: [u8; 3] = segment.try_into().ok()?;
        let number = |n: u32| (1..=Self::MAX_NUMBER).contains(&n);
        let index = |i: Index| !matches!(i, Index::Nth(n) if !number(n));
        let inner = |f: FieldPath| {
            number(f.field)
                && index(f.repetition)
                && f.component.is_none_or(number)
                && f.subcomponent
                    .is_none_or(|n| number(n) && f.component.is_some())
        };
        let valid = is_segment_name(&segment) && index(occurrence) && field.is_none_or(inner);
        valid.then_some(Self {
            segment,
            occurrence,
            field,
        })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in &self.segment {
            write!(f, "{}", char::from(byte))?;
        }
        write!(f, "{}", self.occurrence)?;
        let Some(place) = self.field else {
            return Ok(());
        };
        write!(f, "-{}{}", place.field, place.repetition)?;
        for n in [place.component, place.subcomponent].into_iter().flatten() {
            write!(f, ".{n}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

/// A capital letter, then two capital letters or digits.
pub(crate) fn is_segment_name(name: &[u8; 3]) -> bool {
    let [first, rest @ ..] = name;
    first.is_ascii_uppercase()
        && rest
            .iter()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}
