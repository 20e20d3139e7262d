//! From bytes to segments: which line ends end a segment, and the lazy walk
//! over them. Owns the only place that looks for CR and LF; knows nothing of
//! what stands inside a segment.

use memchr::{memchr, memchr2};

use crate::{delimiters::Delimiters, parts::Segment};

/// What ends a segment, decided by the first line end after MSH.
///
/// The standard has CR only; files and careless senders use LF or CR LF, and
/// some senders with CR put a bare LF *into* a text field. The first line end
/// settles which of the two an LF is: in a message that begins with CR (or CR
/// LF) an LF is text, in one that begins with LF it ends a segment. CR always
/// ends a segment: no version allows it as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// CR ends segments; LF elsewhere is text.
    Cr,
    /// CR LF was seen first; read as [`LineEnd::Cr`].
    CrLf,
    /// LF ends segments, and so do CR and CR LF.
    Lf,
}

impl LineEnd {
    /// The bytes to write when a segment is added to the message.
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Cr => b"\r",
            Self::CrLf => b"\r\n",
            Self::Lf => b"\n",
        }
    }

    /// Where the first line of `bytes` ends, and by what. No line end: all of
    /// it, and the standard's CR for what may be appended.
    pub(crate) fn first(bytes: &[u8]) -> (usize, Self) {
        match memchr2(b'\r', b'\n', bytes) {
            None => (bytes.len(), Self::Cr),
            Some(at) => match (bytes.get(at), bytes.get(at + 1)) {
                (Some(b'\n'), _) => (at, Self::Lf),
                (_, Some(b'\n')) => (at, Self::CrLf),
                _ => (at, Self::Cr),
            },
        }
    }

    /// Splits one line off: its content, its terminator (maybe empty), the rest.
    #[inline]
    pub(crate) fn split(self, bytes: &[u8]) -> (&[u8], &[u8], &[u8]) {
        let end = match self {
            Self::Lf => memchr2(b'\r', b'\n', bytes),
            Self::Cr | Self::CrLf => memchr(b'\r', bytes),
        };
        let Some(end) = end else {
            return (bytes, &[], &[]);
        };
        let (line, rest) = bytes.split_at(end);
        let (terminator, rest) = rest.split_at(self.terminator_len(rest));
        (line, terminator, rest)
    }

    /// Length of the terminator that `rest` begins with. With CR an LF cannot
    /// begin a segment, so every LF behind a CR belongs to the terminator.
    #[inline]
    fn terminator_len(self, rest: &[u8]) -> usize {
        match (self, rest) {
            (Self::Lf, [b'\r', b'\n', ..]) => 2,
            (Self::Lf, _) => 1,
            (_, [_, tail @ ..]) => 1 + tail.iter().take_while(|&&b| b == b'\n').count(),
            _ => 0,
        }
    }
}

/// All segments of a message in their order, found as one asks for them.
///
/// Empty lines are given as empty segments. Joined, [`Segment::raw`] and
/// [`Segment::terminator`] of all are the message from MSH on.
#[derive(Clone)]
pub struct Segments<'a> {
    rest: &'a [u8],
    line_end: LineEnd,
    delimiters: Delimiters,
}

impl<'a> Segments<'a> {
    pub(crate) fn new(bytes: &'a [u8], line_end: LineEnd, delimiters: Delimiters) -> Self {
        Self {
            rest: bytes,
            line_end,
            delimiters,
        }
    }

    /// The `nth` (from 1) segment called `name`; touches no byte behind it.
    #[inline]
    pub(crate) fn find_nth(&mut self, name: &[u8], nth: usize) -> Option<Segment<'a>> {
        let mut left = nth.checked_sub(1)?;
        while !self.rest.is_empty() {
            let begins = self.rest.starts_with(name);
            let (line, terminator, rest) = self.line_end.split(self.rest);
            self.rest = rest;
            if !begins {
                continue;
            }
            let segment = Segment::new(line, terminator, self.delimiters);
            if segment.name() == name {
                match left.checked_sub(1) {
                    None => return Some(segment),
                    Some(fewer) => left = fewer,
                }
            }
        }
        None
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    #[inline]
    fn next(&mut self) -> Option<Segment<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, terminator, rest) = self.line_end.split(self.rest);
        self.rest = rest;
        Some(Segment::new(line, terminator, self.delimiters))
    }
}

impl std::iter::FusedIterator for Segments<'_> {}

impl std::fmt::Debug for Segments<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segments({} bytes left)", self.rest.len())
    }
}
