//! The grammar of paths. Owns reading the written forms and saying precisely
//! what is wrong with one; the meaning is in the parent.
//!
//! ```text
//! path  = inner | "{" inner "}"
//! inner = name [index] [("-" | ":" | ".") field]
//! field = number [index] ["." number ["." number]]
//! index = "[" (number | "*") "]" | "(" [number | "*"] ")"
//! ```

use thiserror::Error;

use super::{FieldPath, Index, Path, is_segment_name};

/// A path that cannot be read: where, and what was expected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("at byte {offset} of the path: expected {}", .kind.expected())]
pub struct PathError {
    /// Byte offset into the written path.
    pub offset: usize,
    /// What is wrong.
    pub kind: PathErrorKind,
}

/// What can be wrong with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathErrorKind {
    /// No segment name of three capital letters or digits.
    Segment,
    /// Something behind the segment that is neither index nor field.
    AfterSegment,
    /// No field number.
    Field,
    /// Something behind the field number.
    AfterField,
    /// No component or subcomponent number.
    Component,
    /// Something behind a complete path.
    End,
    /// No number or `*` within an index.
    Index,
    /// An index that is not closed.
    IndexEnd,
    /// `{` without `}`.
    Brace,
    /// A number that is 0 or above [`Path::MAX_NUMBER`].
    Number,
}

impl PathErrorKind {
    /// What was expected, in words that finish "expected …".
    pub fn expected(self) -> &'static str {
        match self {
            Self::Segment => {
                "a segment name of three capital letters or digits, such as PID (names of groups need a schema)"
            }
            Self::AfterSegment => "`-`, `:` or `.` and a field number, `[n]`, or the end",
            Self::Field => "a field number, such as 5 in PID-5 (names of fields need a schema)",
            Self::AfterField => "`[n]`, `[*]`, `.` and a component number, or the end",
            Self::Component => "a component number, such as 1 in PID-5.1",
            Self::End => {
                "the end of the path (it goes down to segment, field, component, subcomponent)"
            }
            Self::Index => "a number from 1 or `*`",
            Self::IndexEnd => "the closing `]` or `)` of the index",
            Self::Brace => "the closing `}`",
            Self::Number => "a number from 1 to 99999",
        }
    }

    /// Stable name for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Segment => "path.segment",
            Self::AfterSegment => "path.after_segment",
            Self::Field => "path.field",
            Self::AfterField => "path.after_field",
            Self::Component => "path.component",
            Self::End => "path.end",
            Self::Index => "path.index",
            Self::IndexEnd => "path.index_end",
            Self::Brace => "path.brace",
            Self::Number => "path.number",
        }
    }
}

impl PathError {
    /// Stable name for programs.
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }
}

/// Reads `text` whole.
pub(super) fn parse(text: &str) -> Result<Path, PathError> {
    let mut cursor = Cursor {
        text: text.as_bytes(),
        at: 0,
    };
    let braced = cursor.take(b"{").is_some();
    let path = inner(&mut cursor)?;
    if braced && cursor.take(b"}").is_none() {
        return Err(cursor.fail(unexpected(&path, PathErrorKind::Brace)));
    }
    if cursor.at < cursor.text.len() {
        return Err(cursor.fail(unexpected(&path, PathErrorKind::End)));
    }
    Ok(path)
}

/// What to say where a path stops too early: what might have gone on there, or
/// `complete` if nothing might.
fn unexpected(path: &Path, complete: PathErrorKind) -> PathErrorKind {
    match path.field {
        None => PathErrorKind::AfterSegment,
        Some(FieldPath {
            component: None, ..
        }) => PathErrorKind::AfterField,
        Some(_) => complete,
    }
}

fn inner(cursor: &mut Cursor<'_>) -> Result<Path, PathError> {
    let segment = cursor.segment()?;
    let occurrence = cursor.index()?;
    let field = match cursor.take(b"-:.") {
        Some(_) => Some(field(cursor)?),
        None => None,
    };
    Ok(Path {
        segment,
        occurrence,
        field,
    })
}

fn field(cursor: &mut Cursor<'_>) -> Result<FieldPath, PathError> {
    let field = cursor.number(PathErrorKind::Field)?;
    let repetition = cursor.index()?;
    let component = cursor.dotted()?;
    let subcomponent = if component.is_some() {
        cursor.dotted()?
    } else {
        None
    };
    Ok(FieldPath {
        field,
        repetition,
        component,
        subcomponent,
    })
}

/// Where reading stands.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn fail(&self, kind: PathErrorKind) -> PathError {
        PathError {
            offset: self.at,
            kind,
        }
    }

    /// Takes one byte if it is one of `any`.
    fn take(&mut self, any: &[u8]) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        any.contains(&byte).then(|| self.at += 1)?;
        Some(byte)
    }

    fn segment(&mut self) -> Result<[u8; 3], PathError> {
        let name: Option<[u8; 3]> = self
            .text
            .get(self.at..self.at + 3)
            .and_then(|name| name.try_into().ok());
        match name {
            Some(name) if is_segment_name(&name) => {
                self.at += 3;
                // ORCgrp(1).OBR:4 is a path into groups, not a segment with a tail.
                match self.text.get(self.at) {
                    Some(b) if b.is_ascii_alphanumeric() => Err(PathError {
                        offset: self.at - 3,
                        kind: PathErrorKind::Segment,
                    }),
                    _ => Ok(name),
                }
            }
            _ => Err(self.fail(PathErrorKind::Segment)),
        }
    }

    /// `.` and a number, or nothing.
    fn dotted(&mut self) -> Result<Option<u32>, PathError> {
        match self.take(b".") {
            Some(_) => self.number(PathErrorKind::Component).map(Some),
            None => Ok(None),
        }
    }

    fn number(&mut self, missing: PathErrorKind) -> Result<u32, PathError> {
        let start = self.at;
        let mut value: u32 = 0;
        while let Some(digit) = self.take(b"0123456789") {
            value = value
                .saturating_mul(10)
                .saturating_add(u32::from(digit - b'0'));
        }
        if start == self.at {
            return Err(self.fail(missing));
        }
        if !(1..=Path::MAX_NUMBER).contains(&value) {
            return Err(PathError {
                offset: start,
                kind: PathErrorKind::Number,
            });
        }
        Ok(value)
    }

    fn index(&mut self) -> Result<Index, PathError> {
        let close = match self.take(b"[(") {
            None => return Ok(Index::Default),
            Some(b'[') => b']',
            Some(_) => b')',
        };
        let empty = close == b')' && self.text.get(self.at) == Some(&b')');
        let index = if empty || self.take(b"*").is_some() {
            Index::All
        } else {
            Index::Nth(self.number(PathErrorKind::Index)?)
        };
        match self.take(&[close]) {
            Some(_) => Ok(index),
            None => Err(self.fail(PathErrorKind::IndexEnd)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_one_canonical_spelling() {
        let table = [
            ("PID", "PID"),
            ("{PID}", "PID"),
            ("PID-5", "PID-5"),
            ("PID-5.1", "PID-5.1"),
            ("PID:5.1", "PID-5.1"),
            ("PID.5.1", "PID-5.1"),
            ("{PID:5.1}", "PID-5.1"),
            ("MSH:9.1", "MSH-9.1"),
            ("PID-3[2].1.2", "PID-3[2].1.2"),
            ("PID-3(2).1", "PID-3[2].1"),
            ("{PID:3(2).1}", "PID-3[2].1"),
            ("OBX(*)-5", "OBX[*]-5"),
            ("OBX[2]-5[1].1", "OBX[2]-5[1].1"),
            ("OBX(2)-5", "OBX[2]-5"),
            ("{OBX(2):5}", "OBX[2]-5"),
            ("{OBX():5()}", "OBX[*]-5[*]"),
            ("PID-3[*].1", "PID-3[*].1"),
            ("ZA1-99999", "ZA1-99999"),
        ];
        for (written, canonical) in table {
            let path = Path::parse(written).unwrap();
            assert_eq!(path.to_string(), canonical);
            assert_eq!(
                Path::parse(canonical).unwrap(),
                path,
                "{canonical} reads back"
            );
        }
    }

    #[test]
    fn a_broken_path_says_where_and_what() {
        let table = [
            ("", 0, "path.segment"),
            ("pid-5", 0, "path.segment"),
            ("PI-5", 0, "path.segment"),
            ("PIDX-5", 0, "path.segment"),
            ("ORCgrp(1).OBR:4", 0, "path.segment"),
            ("5PI-1", 0, "path.segment"),
            ("ÄID-5", 0, "path.segment"),
            ("PID/5", 3, "path.after_segment"),
            ("PID 5", 3, "path.after_segment"),
            ("PID-", 4, "path.field"),
            ("{PID:PatientName}", 5, "path.field"),
            ("PID-0", 4, "path.number"),
            ("PID-100000", 4, "path.number"),
            ("PID-99999999999999999999", 4, "path.number"),
            ("PID-5-1", 5, "path.after_field"),
            ("PID-5.", 6, "path.component"),
            ("PID-5.x", 6, "path.component"),
            ("PID-5.1.2.3", 9, "path.end"),
            ("PID-5.1 ", 7, "path.end"),
            ("PID-3[", 6, "path.index"),
            ("PID-3[]", 6, "path.index"),
            ("PID-3[0]", 6, "path.number"),
            ("PID-3[1)", 7, "path.index_end"),
            ("PID-3(-)", 6, "path.index"),
            ("{PID:5.1", 8, "path.brace"),
            ("{PID:5", 6, "path.after_field"),
            ("PID:5}", 5, "path.after_field"),
        ];
        for (written, offset, code) in table {
            let error = Path::parse(written).unwrap_err();
            assert_eq!((error.offset, error.code()), (offset, code), "{written}");
            assert!(error.to_string().contains("expected"), "{error}");
        }
    }

    #[test]
    fn parts_that_make_no_path_are_refused() {
        let field = |field, component, subcomponent| {
            Some(FieldPath {
                field,
                repetition: Index::Default,
                component,
                subcomponent,
            })
        };
        assert!(Path::from_parts(b"PID", Index::Default, field(5, Some(1), None)).is_some());
        assert!(Path::from_parts(b"pid", Index::Default, None).is_none());
        assert!(Path::from_parts(b"PIDX", Index::Default, None).is_none());
        assert!(Path::from_parts(b"PID", Index::Nth(0), None).is_none());
        assert!(Path::from_parts(b"PID", Index::Default, field(0, None, None)).is_none());
        assert!(Path::from_parts(b"PID", Index::Default, field(1, None, Some(1))).is_none());
    }
}
