//! Finding what a path means in a message. Owns the lazy look-up: it stops at
//! the byte where the answer ends, and allocates nothing.

use crate::{
    parts::{Field, Repetition, Segment},
    path::{FieldPath, Path},
    scan::Segments,
};

/// The first match.
#[inline]
pub(crate) fn first<'a>(mut segments: Segments<'a>, path: &Path) -> Option<&'a [u8]> {
    let within = |segment: Segment<'a>| match path.field() {
        None => Some(segment.raw()),
        Some(place) => first_in_field(segment.field(place.field as usize)?, &place),
    };
    match path.occurrence().single() {
        Some(nth) => segments.find_nth(path.segment(), nth).and_then(within),
        None => std::iter::from_fn(|| segments.find_nth(path.segment(), 1)).find_map(within),
    }
}

#[inline]
fn first_in_field<'a>(field: Field<'a>, place: &FieldPath) -> Option<&'a [u8]> {
    match place.repetition.single() {
        Some(nth) => in_repetition(field.repetition(nth)?, place),
        None => field.repetitions().find_map(|r| in_repetition(r, place)),
    }
}

/// The component or subcomponent of one repetition.
#[inline]
fn in_repetition<'a>(repetition: Repetition<'a>, place: &FieldPath) -> Option<&'a [u8]> {
    let Some(component) = place.component else {
        return Some(repetition.raw());
    };
    let component = repetition.component(component as usize)?;
    let Some(subcomponent) = place.subcomponent else {
        return Some(component.raw());
    };
    component
        .subcomponent(subcomponent as usize)
        .map(|s| s.raw())
}

/// Every match of a path, in message order. See [`crate::Message::get_all`].
#[derive(Clone)]
pub struct Matches<'a> {
    segments: Segments<'a>,
    path: Path,
    /// What is left of the field being looked at.
    field: Option<Field<'a>>,
    done: bool,
}

impl<'a> Matches<'a> {
    pub(crate) fn new(segments: Segments<'a>, path: &Path) -> Self {
        Self {
            segments,
            path: *path,
            field: None,
            done: false,
        }
    }

    fn next_segment(&mut self) -> Option<Segment<'a>> {
        if self.done {
            return None;
        }
        let nth = self.path.occurrence().single();
        self.done = nth.is_some();
        self.segments
            .find_nth(self.path.segment(), nth.unwrap_or(1))
    }

    /// The next match within the field at hand.
    fn next_in_field(&mut self, place: &FieldPath) -> Option<&'a [u8]> {
        while let Some(field) = self.field.take() {
            let repetition = match place.repetition.single() {
                Some(nth) => field.repetition(nth)?,
                None => {
                    let (first, rest) = field.split_first();
                    self.field = rest;
                    first
                }
            };
            if let Some(found) = in_repetition(repetition, place) {
                return Some(found);
            }
        }
        None
    }
}

impl<'a> Iterator for Matches<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let Some(place) = self.path.field() else {
            return self.next_segment().map(|s| s.raw());
        };
        loop {
            if let Some(found) = self.next_in_field(&place) {
                return Some(found);
            }
            let segment = self.next_segment()?;
            self.field = segment.field(place.field as usize);
        }
    }
}

impl std::fmt::Debug for Matches<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Matches({})", self.path)
    }
}
