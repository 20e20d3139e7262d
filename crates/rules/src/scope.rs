//! The look-up of values while a decision is made. It owns the numbers of places: rules of one set ask for
//! the same few (MSH-9.1 in nearly each), and each is looked for in the message once.

use std::borrow::Cow;
use std::cell::OnceCell;

use hie_hl7::Path;

use crate::document::Context;

/// A path in a condition, and its number within the rule set.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) path: Path,
    /// `None` outside of a set, and for a path with many values.
    number: Option<u16>,
}

impl From<Path> for Place {
    fn from(path: Path) -> Self {
        Place { path, number: None }
    }
}

/// The places that the rules of a set look at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(Vec<Path>);

impl Places {
    /// Gives a place its number: that of the same path when there is one already.
    pub(crate) fn number(&mut self, place: &mut Place) {
        if place.path.is_plural() {
            return;
        }
        let known = self.0.iter().position(|path| *path == place.path);
        let index = known.unwrap_or(self.0.len());
        place.number = u16::try_from(index).ok(); // more than that are looked up each time
        if known.is_none() && place.number.is_some() {
            self.0.push(place.path);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What a value is had from: the message, and what was found in it so far.
pub(crate) struct Scope<'s, 'a> {
    pub(crate) context: &'s Context<'a>,
    /// By number of the place; empty for a condition on its own.
    pub(crate) found: &'s [OnceCell<Cow<'a, str>>],
    /// What the words stand for that the condition was compiled with.
    pub(crate) words: &'s [&'s str],
}

impl Scope<'_, '_> {
    /// Shows each value to `visit` until it answers true.
    pub(crate) fn any(&self, place: &Place, visit: &mut dyn FnMut(&str) -> bool) -> bool {
        let document = self.context.document;
        if place.path.is_plural() {
            return document.any(&place.path, visit);
        }
        match place
            .number
            .and_then(|number| self.found.get(usize::from(number)))
        {
            Some(found) => visit(found.get_or_init(|| document.value(&place.path))),
            None => visit(&document.value(&place.path)),
        }
    }
}
