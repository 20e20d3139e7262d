//! What has text in a condition: paths, variables, and functions of them. It owns how each is made to
//! text, without a copy where the message's own bytes will do.

use std::borrow::Cow;
use std::ops::Range;

use crate::scope::{Place, Scope};

/// What has text: one, or several where a path says `(*)`.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Literal(Box<str>),
    Path(Place),
    Source,
    /// The n-th of the words that the surroundings of the condition know.
    Word(usize),
    /// Two values with a separator between, when the second is not empty: `ADT_A01`.
    Joined(Box<[Place; 2]>, &'static str),
    Upper(Box<Value>),
    Lower(Box<Value>),
    Length(Box<Value>),
    SubString(Box<Value>, Range<usize>),
    Piece(Box<Value>, Box<str>, Range<usize>),
}

impl Value {
    /// Shows each text to `visit` until it answers true. What is absent is shown once as empty text.
    pub(crate) fn any(&self, scope: &Scope<'_, '_>, visit: &mut dyn FnMut(&str) -> bool) -> bool {
        match self {
            Value::Literal(text) => visit(text),
            Value::Path(path) => scope.any(path, visit),
            Value::Source => visit(scope.context.source),
            Value::Word(nth) => visit(scope.words.get(*nth).copied().unwrap_or("")),
            Value::Joined(places, separator) => joined(scope, places, separator, visit),
            Value::Upper(inner) => inner.any(scope, &mut |text| {
                visit(&cased(text, u8::is_ascii_lowercase, str::to_uppercase))
            }),
            Value::Lower(inner) => inner.any(scope, &mut |text| {
                visit(&cased(text, u8::is_ascii_uppercase, str::to_lowercase))
            }),
            Value::Length(inner) => {
                inner.any(scope, &mut |text| visit(&text.chars().count().to_string()))
            }
            Value::SubString(inner, range) => {
                inner.any(scope, &mut |text| visit(sub_string(text, range)))
            }
            Value::Piece(inner, separator, range) => {
                inner.any(scope, &mut |text| visit(piece(text, separator, range)))
            }
        }
    }

    /// Shows every place that the value looks at.
    pub(crate) fn places(&mut self, show: &mut dyn FnMut(&mut Place)) {
        match self {
            Value::Path(place) => show(place),
            Value::Joined(places, _) => places.iter_mut().for_each(show),
            Value::Upper(v) | Value::Lower(v) | Value::Length(v) => v.places(show),
            Value::SubString(v, _) | Value::Piece(v, _, _) => v.places(show),
            Value::Literal(_) | Value::Source | Value::Word(_) => {}
        }
    }

    /// Whether it may have several texts.
    pub(crate) fn is_many(&self) -> bool {
        match self {
            Value::Path(place) => place.path.is_plural(),
            Value::Upper(v) | Value::Lower(v) | Value::Length(v) => v.is_many(),
            Value::SubString(v, _) | Value::Piece(v, _, _) => v.is_many(),
            Value::Literal(_) | Value::Source | Value::Word(_) | Value::Joined(..) => false,
        }
    }
}

fn joined(
    scope: &Scope<'_, '_>,
    [first, second]: &[Place; 2],
    separator: &str,
    visit: &mut dyn FnMut(&str) -> bool,
) -> bool {
    scope.any(first, &mut |first| {
        scope.any(second, &mut |second| match second.is_empty() {
            true => visit(first),
            false => with_joined(&[first, separator, second], visit),
        })
    })
}

/// Joins on the stack: `ADT_A01` is asked for by nearly every rule, and has no need of the heap.
fn with_joined(parts: &[&str], visit: &mut dyn FnMut(&str) -> bool) -> bool {
    let mut buffer = [0_u8; 64];
    let mut used = 0;
    for part in parts {
        match buffer.get_mut(used..used + part.len()) {
            Some(room) => room.copy_from_slice(part.as_bytes()),
            None => return visit(&parts.concat()),
        }
        used += part.len();
    }
    let text = buffer
        .get(..used)
        .and_then(|bytes| std::str::from_utf8(bytes).ok());
    match text {
        Some(text) => visit(text),
        None => visit(&parts.concat()),
    }
}

/// Only text that the change would change is copied.
fn cased(text: &str, touched: fn(&u8) -> bool, change: fn(&str) -> String) -> Cow<'_, str> {
    match text.bytes().all(|b| b.is_ascii() && !touched(&b)) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(change(text)),
    }
}

/// Characters of the range, counted from 0.
fn sub_string<'t>(text: &'t str, range: &Range<usize>) -> &'t str {
    let at = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    text.get(at(range.start)..at(range.end)).unwrap_or("")
}

/// Pieces of the range, counted from 0, with the separators between them.
fn piece<'t>(text: &'t str, separator: &str, range: &Range<usize>) -> &'t str {
    let mut pieces = text
        .match_indices(separator)
        .map(|(at, found)| (at, at + found.len()));
    let start = match range.start {
        0 => Some(0),
        n => pieces.nth(n - 1).map(|(_, after)| after),
    };
    let end = pieces
        .nth(range.len().saturating_sub(1))
        .map_or(text.len(), |(at, _)| at);
    start.and_then(|start| text.get(start..end)).unwrap_or("")
}
