//! A message as rows to show: every value with the path that names it. Owns
//! the walk and the numbering; layout, colour and decoding are the caller's.

use std::collections::HashMap;

use crate::{
    message::Message,
    parts::{Component, Field, Repetition, Segment},
    path::{FieldPath, Index, Path},
};

/// One segment and its number among those of its name.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The segment.
    pub segment: Segment<'a>,
    /// Its place in the message, from 1, empty lines counted.
    pub position: usize,
    /// Its number among the segments of its name, from 1.
    pub occurrence: usize,
    /// Whether the message has others of its name.
    pub repeats: bool,
}

/// One value that splits no further, or a header field shown whole.
#[derive(Clone, Copy)]
pub struct Leaf<'a> {
    /// The path that gives this value; `None` if the segment's name is not one.
    pub path: Option<Path>,
    /// Where it stands in the segment. Component and subcomponent are named
    /// only where there are several.
    pub place: FieldPath,
    /// The bytes as they stand in the message.
    pub raw: &'a [u8],
}

impl std::fmt::Debug for Leaf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Leaf({:?}, {} bytes)", self.path, self.raw.len())
    }
}

/// The segments of a message, numbered. Counts the names first.
pub fn rows<'a>(message: &Message<'a>) -> impl Iterator<Item = Row<'a>> + use<'a> {
    let mut counts: HashMap<&'a [u8], (usize, usize)> = HashMap::new();
    for segment in message.segments() {
        counts.entry(segment.name()).or_default().0 += 1;
    }
    message.segments().zip(1..).map(move |(segment, position)| {
        let (total, seen) = counts.entry(segment.name()).or_default();
        *seen += 1;
        Row {
            segment,
            position,
            occurrence: *seen,
            repeats: *total > 1,
        }
    })
}

impl<'a> Row<'a> {
    /// Every value of the segment that is not empty, in order.
    pub fn leaves(&self) -> impl Iterator<Item = Leaf<'a>> + use<'a> {
        let row = *self;
        (1..)
            .zip(self.segment.fields())
            .flat_map(fields)
            .map(move |(place, raw)| Leaf {
                path: row.path(place),
                place,
                raw,
            })
    }

    fn path(&self, place: FieldPath) -> Option<Path> {
        let nth = u32::try_from(self.occurrence).ok()?;
        let occurrence = if self.repeats {
            Index::Nth(nth)
        } else {
            Index::Default
        };
        Path::from_parts(self.segment.name(), occurrence, Some(place))
    }
}

type Value<'a> = (FieldPath, &'a [u8]);

fn fields<'a>((n, field): (u32, Field<'a>)) -> impl Iterator<Item = Value<'a>> {
    let several = field.repetition(2).is_some();
    (1..)
        .zip(field.repetitions())
        .flat_map(move |(r, repetition)| {
            let index = if several {
                Index::Nth(r)
            } else {
                Index::Default
            };
            let place = FieldPath {
                field: n,
                repetition: index,
                component: None,
                subcomponent: None,
            };
            components(place, repetition)
        })
}

fn components<'a>(place: FieldPath, repetition: Repetition<'a>) -> impl Iterator<Item = Value<'a>> {
    let several = repetition.component(2).is_some()
        || repetition
            .component(1)
            .is_some_and(|c| c.subcomponent(2).is_some());
    (1..)
        .zip(repetition.components())
        .flat_map(move |(c, component)| {
            let place = FieldPath {
                component: several.then_some(c),
                ..place
            };
            subcomponents(place, component)
        })
}

fn subcomponents<'a>(
    place: FieldPath,
    component: Component<'a>,
) -> impl Iterator<Item = Value<'a>> {
    let several = component.subcomponent(2).is_some();
    (1..)
        .zip(component.subcomponents())
        .filter(|(_, part)| !part.raw().is_empty())
        .map(move |(s, part)| {
            (
                FieldPath {
                    subcomponent: several.then_some(s),
                    ..place
                },
                part.raw(),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_with_the_path_that_gives_it() {
        let raw = b"MSH|^~\\&|A\rPID|1||7^^^H&1.2~8||D^J\rOBX|1\r\rOBX||a&b\rz9|x\r";
        let message = Message::parse(raw).unwrap();
        let shown: Vec<String> = rows(&message)
            .flat_map(|row| row.leaves().collect::<Vec<_>>())
            .map(|leaf| {
                let path = leaf.path.map_or("-".to_owned(), |p| p.to_string());
                format!("{path}={}", String::from_utf8_lossy(leaf.raw))
            })
            .collect();
        let want = [
            "MSH-1=|",
            "MSH-2=^~\\&",
            "MSH-3=A",
            "PID-1=1",
            "PID-3[1].1=7",
            "PID-3[1].4.1=H",
            "PID-3[1].4.2=1.2",
            "PID-3[2]=8",
            "PID-5.1=D",
            "PID-5.2=J",
            "OBX[1]-1=1",
            "OBX[2]-2.1.1=a",
            "OBX[2]-2.1.2=b",
            "-=x",
        ];
        assert_eq!(shown, want);
        for leaf in rows(&message).flat_map(|row| row.leaves()) {
            let Some(path) = leaf.path else { continue };
            assert_eq!(message.get(&path), Some(leaf.raw), "{path}");
        }
    }
}
