//! Where a place stands as a byte range, and what must be padded if it does not
//! exist. Owns the arithmetic of edits; what may be edited is in the parent.

use std::ops::Range;

use memchr::memchr;

use super::Edit;
use crate::path::{FieldPath, Path};

/// The `nth` (from 1) piece of `within`, or how many separators are missing to
/// have one.
fn find(
    bytes: &[u8],
    within: Range<usize>,
    separator: Option<u8>,
    nth: usize,
) -> Result<Range<usize>, usize> {
    let Some(separator) = separator else {
        return if nth <= 1 { Ok(within) } else { Err(nth - 1) };
    };
    let mut start = within.start;
    for passed in 1..=nth {
        let rest = bytes.get(start..within.end).unwrap_or_default();
        match memchr(separator, rest) {
            Some(at) if passed == nth => return Ok(start..start + at),
            Some(at) => start += at + 1,
            None if passed == nth => break,
            None => return Err(nth - passed),
        }
    }
    Ok(start..within.end)
}

impl Edit {
    /// The `nth` segment of the path's name, without its terminator.
    pub(super) fn segment_range(&self, path: &Path, nth: usize) -> Option<Range<usize>> {
        self.segment_ranges(path, nth).map(|(segment, _)| segment)
    }

    /// The same, and where its terminator ends.
    fn segment_ranges(&self, path: &Path, nth: usize) -> Option<(Range<usize>, usize)> {
        let mut start = self.start;
        let mut left = nth;
        for segment in self.segments() {
            let end = start + segment.raw().len();
            let next = end + segment.terminator().len();
            if segment.name() == path.segment() {
                left -= 1;
                if left == 0 {
                    return Some((start..end, next));
                }
            }
            start = next;
        }
        None
    }

    pub(super) fn remove_segment(&mut self, path: &Path, nth: usize) {
        if let Some((segment, next)) = self.segment_ranges(path, nth) {
            self.splice(segment.start..next, b"");
        }
    }

    /// Where the fields of a segment stand and the number of a field among
    /// them: MSH-2 is the first piece behind the separator MSH-1. (A bare `BHS`
    /// has no separator yet, so the first one that is padded is BHS-1.)
    fn fields_of(&self, path: &Path, segment: Range<usize>, field: u32) -> (Range<usize>, usize) {
        let field = field as usize;
        match path.segment() {
            b"MSH" | b"BHS" | b"FHS" => match segment.start + 4 {
                first if first <= segment.end => (first..segment.end, field - 1),
                _ => (segment.end..segment.end, field),
            },
            _ => (segment, field + 1),
        }
    }

    /// Puts `value` at a place of one segment, once for each repetition meant.
    pub(super) fn set_in_segment(
        &mut self,
        path: &Path,
        nth: usize,
        place: &FieldPath,
        value: &[u8],
    ) {
        let repetitions = match place.repetition.single() {
            Some(one) => one..=one,
            None => 1..=self.count_repetitions(path, nth, place).max(1),
        };
        for repetition in repetitions {
            self.set_one(path, nth, place, repetition, value);
        }
    }

    fn set_one(
        &mut self,
        path: &Path,
        nth: usize,
        place: &FieldPath,
        repetition: usize,
        value: &[u8],
    ) {
        let Some(segment) = self.segment_range(path, nth) else {
            return;
        };
        let (mut range, field) = self.fields_of(path, segment, place.field);
        let d = self.delimiters;
        let levels = [
            (Some(d.field), field),
            (Some(d.repetition), repetition),
            (Some(d.component), place.component.unwrap_or(0) as usize),
            (d.subcomponent, place.subcomponent.unwrap_or(0) as usize),
        ];
        let mut padding = Vec::new();
        for (separator, wanted) in levels.into_iter().filter(|(_, wanted)| *wanted > 0) {
            let missing = if padding.is_empty() {
                match find(&self.bytes, range.clone(), separator, wanted) {
                    Ok(found) => {
                        range = found;
                        continue;
                    }
                    Err(missing) => missing,
                }
            } else {
                wanted - 1
            };
            range.start = range.end;
            padding.extend(separator.into_iter().cycle().take(missing));
        }
        padding.extend_from_slice(value);
        self.splice(range, &padding);
    }

    fn count_repetitions(&self, path: &Path, nth: usize, place: &FieldPath) -> usize {
        let Some(range) = self.field_range(path, nth, place) else {
            return 0;
        };
        let field = self.bytes.get(range).unwrap_or_default();
        1 + field
            .iter()
            .filter(|&&b| b == self.delimiters.repetition)
            .count()
    }

    fn field_range(&self, path: &Path, nth: usize, place: &FieldPath) -> Option<Range<usize>> {
        let segment = self.segment_range(path, nth)?;
        let (range, field) = self.fields_of(path, segment, place.field);
        find(&self.bytes, range, Some(self.delimiters.field), field).ok()
    }

    /// Empties or removes a place of one segment; absent places stay absent.
    pub(super) fn delete_in_segment(&mut self, path: &Path, nth: usize, place: &FieldPath) {
        let Some(field) = self.field_range(path, nth, place) else {
            return;
        };
        let one = place.repetition.single();
        match (place.component, one, place.repetition) {
            (None, None, _) | (None, _, crate::path::Index::Default) => self.splice(field, b""),
            (None, Some(repetition), _) => self.remove_repetition(field, repetition),
            (Some(_), Some(repetition), _) => self.empty_component(path, nth, place, repetition),
            (Some(_), None, _) => {
                for repetition in 1..=self.count_repetitions(path, nth, place) {
                    self.empty_component(path, nth, place, repetition);
                }
            }
        }
    }

    fn remove_repetition(&mut self, field: Range<usize>, nth: usize) {
        let separator = Some(self.delimiters.repetition);
        let Ok(mut range) = find(&self.bytes, field.clone(), separator, nth) else {
            return;
        };
        if range.end < field.end {
            range.end += 1;
        } else if range.start > field.start {
            range.start -= 1;
        }
        self.splice(range, b"");
    }

    fn empty_component(&mut self, path: &Path, nth: usize, place: &FieldPath, repetition: usize) {
        let Some(field) = self.field_range(path, nth, place) else {
            return;
        };
        let d = self.delimiters;
        let found = find(&self.bytes, field, Some(d.repetition), repetition)
            .and_then(|r| {
                find(
                    &self.bytes,
                    r,
                    Some(d.component),
                    place.component.unwrap_or(1) as usize,
                )
            })
            .and_then(|r| match place.subcomponent {
                Some(n) => find(&self.bytes, r, d.subcomponent, n as usize),
                None => Ok(r),
            });
        if let Ok(range) = found {
            self.splice(range, b"");
        }
    }
}
