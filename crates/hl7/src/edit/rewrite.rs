//! Writing a segment anew with one place changed. Owns the walk down the levels
//! and the padding; one pass over the bytes however many places are meant, so
//! that a hostile message with a million repetitions costs no more than its
//! length. What may be edited is in the parent.

use super::Edit;
use crate::{
    path::{FieldPath, Index, Path},
    pieces::Pieces,
};

/// One level of a segment: what separates its pieces, and which is meant.
#[derive(Clone, Copy)]
struct Level {
    separator: Option<u8>,
    nth: Nth,
}

#[derive(Clone, Copy, PartialEq)]
enum Nth {
    One(usize),
    Every,
    /// This one goes, and its separator with it.
    Without(usize),
}

/// What becomes of the place.
#[derive(Clone, Copy)]
enum Change<'v> {
    /// This stands there, made with separators if need be.
    Set(&'v [u8]),
    /// Nothing stands there; an absent place stays absent.
    Empty,
}

/// Writes `bytes` with the places that `levels` mean changed.
fn rewrite(out: &mut Vec<u8>, bytes: &[u8], levels: &[Level], change: Change<'_>) {
    let Some((level, inner)) = levels.split_first() else {
        if let Change::Set(value) = change {
            out.extend_from_slice(value);
        }
        return;
    };
    let mut count = 0;
    let mut first = true;
    for piece in Pieces::new(bytes, level.separator) {
        count += 1;
        if level.nth == Nth::Without(count) {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.extend(level.separator);
        }
        match level.nth {
            Nth::One(n) if n != count => out.extend_from_slice(piece),
            Nth::Without(_) => out.extend_from_slice(piece),
            _ => rewrite(out, piece, inner, change),
        }
    }
    if let (Nth::One(n), Change::Set(_), Some(separator)) = (level.nth, change, level.separator)
        && n > count
    {
        out.extend(std::iter::repeat_n(separator, n - count));
        rewrite(out, b"", inner, change);
    }
}

impl Edit {
    /// Writes one segment with `value` at a place.
    pub(super) fn set_in(
        &self,
        out: &mut Vec<u8>,
        segment: &[u8],
        place: &FieldPath,
        value: &[u8],
    ) {
        let repetition = Level {
            separator: Some(self.delimiters.repetition),
            nth: place.repetition.single().map_or(Nth::Every, Nth::One),
        };
        self.rewrite_field(out, segment, place, repetition, Change::Set(value));
    }

    /// Writes one segment with a place emptied, or its repetition removed.
    pub(super) fn delete_in(&self, out: &mut Vec<u8>, segment: &[u8], place: &FieldPath) {
        let whole = place.component.is_none();
        let (separator, nth) = match place.repetition {
            // The field with all its repetitions: one piece that does not split.
            Index::Default | Index::All if whole => (None, Nth::Every),
            Index::Nth(n) if whole => (Some(self.delimiters.repetition), Nth::Without(n as usize)),
            index => (
                Some(self.delimiters.repetition),
                index.single().map_or(Nth::Every, Nth::One),
            ),
        };
        self.rewrite_field(out, segment, place, Level { separator, nth }, Change::Empty);
    }

    fn rewrite_field(
        &self,
        out: &mut Vec<u8>,
        segment: &[u8],
        place: &FieldPath,
        repetition: Level,
        change: Change<'_>,
    ) {
        let d = &self.delimiters;
        let (fields, before) = match segment {
            // MSH-1 is the separator; MSH-2 the first piece behind it.
            [b'M', b'S', b'H', rest @ ..] | [b'B' | b'F', b'H', b'S', rest @ ..] => {
                (rest.get(1..), 3)
            }
            _ => (Some(segment), 0),
        };
        out.extend_from_slice(segment.get(..before).unwrap_or_default());
        if before > 0 && (fields.is_some() || matches!(change, Change::Set(_))) {
            out.push(d.field);
        }
        let field = place.field as usize;
        let level = |separator, n: Option<u32>| {
            n.map(|n| Level {
                separator,
                nth: Nth::One(n as usize),
            })
        };
        let nth = if before > 0 {
            field.saturating_sub(1)
        } else {
            field + 1
        };
        let mut levels = [Level {
            separator: Some(d.field),
            nth: Nth::One(nth),
        }; 4];
        let inner = [
            Some(repetition),
            level(Some(d.component), place.component),
            level(d.subcomponent, place.subcomponent),
        ];
        let mut depth = 1;
        for (slot, inner) in levels.iter_mut().skip(1).zip(inner.into_iter().flatten()) {
            *slot = inner;
            depth += 1;
        }
        rewrite(
            out,
            fields.unwrap_or_default(),
            levels.get(..depth).unwrap_or_default(),
            change,
        );
    }

    /// Copies the message, letting `write` write those segments that the path
    /// means (given without terminator); `false` from it drops the terminator.
    /// Gives the copy and the number of segments written.
    pub(super) fn copy_changing(
        &self,
        path: &Path,
        mut write: impl FnMut(&mut Vec<u8>, &[u8]) -> bool,
    ) -> (Vec<u8>, usize) {
        let nth = path.occurrence().single();
        let mut out = Vec::with_capacity(self.bytes.len() + 64);
        let (mut copied, mut at) = (0, self.start);
        let (mut seen, mut written) = (0, 0);
        for segment in self.segments() {
            let end = at + segment.raw().len();
            let next = end + segment.terminator().len();
            if segment.name() == path.segment() {
                seen += 1;
                if nth.is_none_or(|n| n == seen) {
                    out.extend_from_slice(self.bytes.get(copied..at).unwrap_or_default());
                    copied = if write(&mut out, segment.raw()) {
                        end
                    } else {
                        next
                    };
                    written += 1;
                }
                if nth == Some(seen) {
                    break;
                }
            }
            at = next;
        }
        out.extend_from_slice(self.bytes.get(copied..).unwrap_or_default());
        (out, written)
    }
}
