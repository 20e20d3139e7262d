//! Where a value stands in a message, as rules write it. It owns every spelling a rule may use
//! (`PID-5.1`, `{PID:5.1}`, `HL7.PID:PatientName.FamilyName`, `[OBX:3]`) and brings each to one
//! [`Path`]; it never looks at a message: that is the [`Document`](crate::Document)'s work.

use hie_hl7::Path;
use hie_hl7::path::{FieldPath, Index};

use crate::error::CompileError;
use crate::names;

/// Reads one path that is the whole of `text`, in any of the spellings a rule may use.
///
/// # Errors
/// The position and the nearest known form, when `text` is no path.
pub fn parse_path(text: &str) -> Result<Path, CompileError> {
    let mut cursor = Cursor {
        text,
        pos: 0,
        start: 0,
    };
    let path = cursor.path()?;
    match cursor.pos == text.len() {
        true => Ok(path),
        false => Err(cursor.unexpected("the path should end here")),
    }
}

/// The path to a field, or to one of its components when that is not 0; for places the crate itself knows.
pub(crate) fn known(segment: &[u8; 3], field: u32, component: u32) -> Path {
    let component = (component > 0).then_some(component);
    let place = FieldPath {
        field,
        repetition: Index::Default,
        component,
        subcomponent: None,
    };
    Path::from_parts(segment, Index::Default, Some(place))
        .expect("a place written in this crate is a valid path")
}

/// Whether a bare path could start at this text: three capitals or digits, then no further word character.
pub(crate) fn starts_segment(rest: &str) -> bool {
    let bytes = rest.as_bytes();
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    matches!(bytes, [a, b, c, tail @ ..] if is_segment(&[*a, *b, *c]) && !tail.first().is_some_and(word))
}

fn is_segment(name: &[u8; 3]) -> bool {
    let [first, rest @ ..] = name;
    first.is_ascii_uppercase()
        && rest
            .iter()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// Reads the path at `start` and says where it ends. The prefix `HL7.` or `Document.` is behind us.
pub(crate) fn scan(text: &str, start: usize) -> Result<(Path, usize), CompileError> {
    let mut cursor = Cursor {
        text,
        pos: start,
        start,
    };
    let path = cursor.path()?;
    Ok((path, cursor.pos))
}

struct Cursor<'a> {
    text: &'a str,
    pos: usize,
    /// Where the path starts, for errors that concern all of it.
    start: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.pos..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let hit = self.peek() == Some(wanted);
        if hit {
            self.pos += wanted.len_utf8();
        }
        hit
    }

    fn eat_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.pos += len;
        rest.get(..len).unwrap_or("")
    }

    fn unexpected(&self, wanted: &str) -> CompileError {
        let message = match self.peek() {
            Some(c) => format!("unexpected {c:?} in a path: {wanted}"),
            None => format!("the path ends too early: {wanted}"),
        };
        CompileError::new(self.pos, self.peek().map_or(0, char::len_utf8), message)
    }

    fn path(&mut self) -> Result<Path, CompileError> {
        for prefix in ["HL7.", "Document."] {
            if self.rest().starts_with(prefix) {
                self.pos += prefix.len();
            }
        }
        match self.peek() {
            Some('{') => self.enclosed('}', false),
            Some('[') => self.enclosed(']', true),
            Some('(') => self.enclosed(')', false),
            _ => self.body(),
        }
    }

    /// `{PID:5.1}`; `[PID:8]` means that field of every such segment; `(PID:3().4)` is IRIS for `(*)`.
    fn enclosed(&mut self, close: char, every: bool) -> Result<Path, CompileError> {
        let open = self.pos;
        self.pos += 1;
        self.eat_while(|c| c == ' ');
        let path = self.body()?;
        self.eat_while(|c| c == ' ');
        if !self.eat(close) {
            return Err(match self.peek() {
                None => {
                    CompileError::new(open, 1, format!("this path is never closed by {close:?}"))
                }
                Some(_) => self.unexpected(&format!("{close:?} should stand here")),
            });
        }
        match every {
            true => self.build(*path.segment(), Index::All, path.field()),
            false => Ok(path),
        }
    }

    fn body(&mut self) -> Result<Path, CompileError> {
        let segment = self.segment()?;
        let occurrence = self.index()?;
        if !(self.eat('-') || self.eat(':')) {
            return self.build(segment, occurrence, None);
        }
        let mut place = match self.peek().is_some_and(|c| c.is_ascii_digit()) {
            true => {
                let (field, repetition) = (self.number("field")?, self.index()?);
                FieldPath {
                    field,
                    repetition,
                    component: None,
                    subcomponent: None,
                }
            }
            false => self.named_field(segment)?,
        };
        self.parts(&mut place)?;
        self.build(segment, occurrence, Some(place))
    }

    fn build(
        &self,
        segment: [u8; 3],
        occurrence: Index,
        place: Option<FieldPath>,
    ) -> Result<Path, CompileError> {
        let fault = || {
            CompileError::new(
                self.start,
                self.pos.saturating_sub(self.start),
                "this is no path",
            )
        };
        Path::from_parts(&segment, occurrence, place).ok_or_else(fault)
    }

    fn segment(&mut self) -> Result<[u8; 3], CompileError> {
        let start = self.pos;
        let name = self.eat_while(|c| c.is_ascii_alphanumeric() || c == '_');
        if let Ok(bytes) = <[u8; 3]>::try_from(name.as_bytes())
            && is_segment(&bytes)
        {
            return Ok(bytes);
        }
        let error = CompileError::new(start, name.len(), format!("{name:?} is no segment name"));
        let upper = name.to_ascii_uppercase();
        Err(if name.is_empty() {
            CompileError::new(
                start,
                self.peek().map_or(0, char::len_utf8),
                "a path starts with a segment name",
            )
            .help("for example PID-5.1 or {PID:5.1}")
        } else if <[u8; 3]>::try_from(upper.as_bytes()).is_ok_and(|b| is_segment(&b)) {
            error.help(format!("segment names are written in capitals: {upper}"))
        } else if name.contains("grp") || name.ends_with("union") {
            error.help(
                "paths through groups need a schema; name the segment itself, such as OBX(*)-5",
            )
        } else if name.bytes().all(|b| b.is_ascii_digit()) {
            error.help("segments are found by name, not by place in the message: PID-8")
        } else {
            error.help("a segment name has three characters, such as PID, PV1 or ZAL")
        })
    }

    /// `(2)`, `[2]`, `(*)`, `()`, or nothing.
    fn index(&mut self) -> Result<Index, CompileError> {
        let close = match self.peek() {
            Some('(') => ')',
            Some('[') => ']',
            _ => return Ok(Index::Default),
        };
        self.pos += 1;
        if self.eat('*') || self.peek() == Some(close) {
            return match self.eat(close) {
                true => Ok(Index::All),
                false => Err(self.unexpected(&format!("{close:?} should stand after *"))),
            };
        }
        if !self.peek().is_some_and(|c| c.is_ascii_digit()) {
            return Err(self.unexpected("a repetition is a number from 1, or * for every one"));
        }
        let number = self.number("repetition")?;
        match self.eat(close) {
            true => Ok(Index::Nth(number)),
            false => Err(self.unexpected(&format!("{close:?} should stand after the number"))),
        }
    }

    fn number(&mut self, what: &str) -> Result<u32, CompileError> {
        const LARGEST: u32 = 9_999; // far above any standard segment; a larger one is a slip of the hand
        let start = self.pos;
        let digits = self.eat_while(|c| c.is_ascii_digit());
        match digits.parse::<u32>() {
            Ok(n) if (1..=LARGEST).contains(&n) => Ok(n),
            _ if digits.is_empty() => {
                Err(self.unexpected(&format!("a {what} number should stand here")))
            }
            _ => {
                Err(
                    CompileError::new(start, digits.len(), format!("{digits} is no {what} number"))
                        .help(format!("they count from 1 to {LARGEST}")),
                )
            }
        }
    }

    /// `MessageType.TriggerEvent`, names as in the IRIS property form.
    fn named_field(&mut self, segment: [u8; 3]) -> Result<FieldPath, CompileError> {
        let (start, word) = (self.pos, self.word());
        if word.is_empty() {
            return Err(self.unexpected("a field number or name should stand here"));
        }
        let segment = String::from_utf8_lossy(&segment);
        let field = names::field(&segment, word)
            .ok_or_else(|| names::unknown_field(&segment, word, start))?;
        let repetition = self.index()?;
        let mut component = field.component;
        if self
            .rest()
            .strip_prefix('.')
            .is_some_and(|r| r.starts_with(|c: char| c.is_ascii_alphabetic()))
        {
            self.pos += 1;
            let (start, part) = (self.pos, self.word());
            component =
                names::part(field, part).ok_or_else(|| names::unknown_part(field, part, start))?;
        }
        let component = (component > 0).then_some(component);
        Ok(FieldPath {
            field: field.number,
            repetition,
            component,
            subcomponent: None,
        })
    }

    fn word(&mut self) -> &'a str {
        self.eat_while(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    /// `.1.2`: component, then subcomponent.
    fn parts(&mut self, place: &mut FieldPath) -> Result<(), CompileError> {
        while self.eat('.') {
            let what = if place.component.is_none() {
                "component"
            } else {
                "subcomponent"
            };
            let number = self.number(what)?;
            match (place.component, place.subcomponent) {
                (None, _) => place.component = Some(number),
                (_, None) => place.subcomponent = Some(number),
                _ => {
                    let len = self.pos - self.start;
                    return Err(CompileError::new(
                        self.start,
                        len,
                        "a path has no level below the subcomponent",
                    )
                    .help("segment, field, component, subcomponent: PID-3.4.2"));
                }
            }
        }
        Ok(())
    }
}
