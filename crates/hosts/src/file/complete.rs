//! Which files are complete, as far as one can know from outside.
//!
//! Owns what is remembered of a folder between two looks. Reads no file.

use std::{collections::HashMap, ffi::OsString};

use super::{disk::Shape, folders::Candidate, inbound::Confirm};

/// What was seen at the last look.
pub(crate) struct Looks {
    confirm: Confirm,
    seen: HashMap<OsString, Seen>,
}

struct Seen {
    shape: Shape,
    /// It was told that it is empty.
    told_empty: bool,
}

/// What one look gives.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// May be taken, in the order given.
    pub(crate) complete: Vec<Candidate>,
    /// Are empty and stay so; each is told of once.
    pub(crate) empty: Vec<OsString>,
}

impl Looks {
    pub(crate) fn new(confirm: Confirm) -> Self {
        Self {
            confirm,
            seen: HashMap::new(),
        }
    }

    /// One look at all files of the folder; those that are not there any more are forgotten.
    ///
    /// An empty file is never complete: its writer may not have begun, and nothing in it could be
    /// lost by waiting.
    pub(crate) fn look(&mut self, files: Vec<Candidate>) -> Look {
        let mut before = std::mem::take(&mut self.seen);
        let mut look = Look::default();
        for file in files {
            let same = before
                .remove(&file.name)
                .filter(|seen| seen.shape == file.shape);
            let stable = same.is_some() || self.confirm == Confirm::None;
            let mut told_empty = same.is_some_and(|seen| seen.told_empty);
            if stable && file.shape.bytes > 0 {
                look.complete.push(file);
                continue;
            }
            if stable && !told_empty {
                look.empty.push(file.name.clone());
                told_empty = true;
            }
            self.seen.insert(
                file.name,
                Seen {
                    shape: file.shape,
                    told_empty,
                },
            );
        }
        look
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: u64, modified: i64) -> Candidate {
        Candidate {
            name: name.into(),
            shape: Shape {
                bytes,
                modified: (modified, 0),
            },
        }
    }

    fn complete(looks: &mut Looks, files: &[(u64, i64)]) -> usize {
        let files = files
            .iter()
            .map(|(bytes, modified)| file("a", *bytes, *modified))
            .collect();
        looks.look(files).complete.len()
    }

    #[test]
    fn a_file_is_complete_when_two_looks_see_the_same() {
        let mut looks = Looks::new(Confirm::Size);
        assert_eq!(complete(&mut looks, &[(5, 1)]), 0, "first seen");
        assert_eq!(complete(&mut looks, &[(6, 1)]), 0, "it grew");
        assert_eq!(complete(&mut looks, &[(6, 2)]), 0, "it was written to");
        assert_eq!(complete(&mut looks, &[(6, 2)]), 1);
        assert_eq!(complete(&mut looks, &[]), 0);
        assert_eq!(
            complete(&mut looks, &[(6, 2)]),
            0,
            "it is a new file, though it looks the same"
        );
    }

    #[test]
    fn without_confirmation_a_file_is_complete_at_once() {
        assert_eq!(complete(&mut Looks::new(Confirm::None), &[(5, 1)]), 1);
    }

    #[test]
    fn an_empty_file_is_never_complete_and_told_of_once() {
        let mut looks = Looks::new(Confirm::Size);
        let mut told = |bytes| {
            let look = looks.look(vec![file("a", bytes, 1)]);
            (look.complete.len(), look.empty.len())
        };
        assert_eq!([told(0), told(0), told(0)], [(0, 0), (0, 1), (0, 0)]);
        assert_eq!([told(7), told(7)], [(0, 0), (1, 0)]);
    }
}
