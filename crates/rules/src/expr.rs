//! A compiled condition. It owns the limits on a rule's text, the tree that the parser builds and its
//! evaluation over a [`Context`]: no panic, no allocation on plain text, and time bounded by the
//! expression's length times the message's.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use hie_hl7::Path;

use crate::document::Context;
use crate::error::CompileError;
use crate::number;
use crate::parser;
use crate::pattern::Pattern;

/// Longest text of an expression in bytes.
pub const EXPRESSION_MAX_BYTES: usize = 16 * 1024;

/// Deepest nesting of parentheses, `not` and functions.
pub const EXPRESSION_MAX_DEPTH: usize = 64;

/// A condition over a message, compiled once and evaluated for each message.
///
/// ```
/// use hie_rules::Expr;
///
/// let adt = Expr::compile(r#"MSH-9.1 = "ADT" and not (PID-8 In ("U", "O"))"#).unwrap();
/// let typo = Expr::compile(r#"MSH-9.1 Contians "ADT""#).unwrap_err();
/// assert_eq!((typo.offset, typo.len), (8, 8));
/// assert_eq!(typo.help.as_deref(), Some("did you mean Contains?"));
/// # let _ = adt;
/// ```
#[derive(Debug, Clone)]
pub struct Expr {
    text: Box<str>,
    root: Cond,
}

impl Expr {
    /// Compiles a condition. Blank text is always true, as a rule without a condition is.
    ///
    /// # Errors
    /// The first fault with its place, and what would be right where that can be said.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        if text.len() > EXPRESSION_MAX_BYTES {
            let message = format!(
                "a condition has at most {EXPRESSION_MAX_BYTES} bytes, this one {}",
                text.len()
            );
            return Err(
                CompileError::new(0, text.len(), message).help("split it into several rules")
            );
        }
        let root = parser::parse(text)?;
        Ok(Expr {
            text: text.into(),
            root,
        })
    }

    /// Whether the message of this context fulfils the condition.
    #[must_use]
    pub fn eval(&self, context: &Context<'_>) -> bool {
        self.root.holds(context)
    }

    /// The part of the text that decided for true: the alternative of an outermost `or` that held, else the
    /// whole text. `None` when the condition does not hold.
    #[must_use]
    pub fn why(&self, context: &Context<'_>) -> Option<&str> {
        let mut clause = (&self.root, 0..self.text.len());
        while let Cond::Or(alternatives) = clause.0 {
            let held = alternatives.iter().find(|c| c.cond.holds(context))?;
            let known = matches!(held.cond, Cond::Or(_));
            clause = (&held.cond, held.span.clone());
            if !known {
                return self.text.get(clause.1);
            }
        }
        clause
            .0
            .holds(context)
            .then(|| self.text.get(clause.1))
            .flatten()
    }

    /// The text as it was compiled.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A part of an `or`, with its place in the text.
#[derive(Debug, Clone)]
pub(crate) struct Clause {
    pub(crate) cond: Cond,
    pub(crate) span: Range<usize>,
}

/// What is true or false. Chains of `and` and `or` are flat, so that depth is bounded by nesting alone.
#[derive(Debug, Clone)]
pub(crate) enum Cond {
    Const(bool),
    Not(Box<Cond>),
    And(Vec<Clause>),
    Or(Vec<Clause>),
    Exists(Value),
    Compare {
        left: Value,
        op: Compare,
        right: Value,
        numeric: bool,
    },
    Holds {
        value: Value,
        relation: Relation,
        part: Value,
    },
    Like {
        value: Value,
        pattern: Pattern,
    },
    OneOf {
        value: Value,
        texts: Box<[Box<str>]>,
        numbers: Box<[Box<str>]>,
    },
}

/// The order that a comparison asks for; `!=` is [`Cond::Not`] over `Equal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Compare {
    fn accepts(self, order: Ordering) -> bool {
        match self {
            Compare::Equal => order.is_eq(),
            Compare::Less => order.is_lt(),
            Compare::LessEqual => order.is_le(),
            Compare::Greater => order.is_gt(),
            Compare::GreaterEqual => order.is_ge(),
        }
    }

    fn holds(self, numeric: bool, left: &str, right: &str) -> bool {
        if numeric {
            return number::compare(left, right).is_some_and(|order| self.accepts(order));
        }
        if self == Compare::Equal {
            return left == right;
        }
        self.accepts(number::compare(left, right).unwrap_or_else(|| left.cmp(right)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    Contains,
    StartsWith,
    EndsWith,
}

impl Relation {
    /// An empty part is in every text; a rule that asks for it means a value that is not there, so it
    /// never matches.
    fn holds(self, value: &str, part: &str) -> bool {
        !part.is_empty()
            && match self {
                Relation::Contains => value.contains(part),
                Relation::StartsWith => value.starts_with(part),
                Relation::EndsWith => value.ends_with(part),
            }
    }
}

/// What has text: one, or several where a path says `(*)`.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Literal(Box<str>),
    Path(Path),
    Source,
    /// Two values with a separator between, when the second is not empty: `ADT_A01`.
    Joined(Path, &'static str, Path),
    Upper(Box<Value>),
    Lower(Box<Value>),
    Length(Box<Value>),
    SubString(Box<Value>, Range<usize>),
    Piece(Box<Value>, Box<str>, Range<usize>),
}

impl Cond {
    pub(crate) fn holds(&self, context: &Context<'_>) -> bool {
        match self {
            Cond::Const(answer) => *answer,
            Cond::Not(inner) => !inner.holds(context),
            Cond::And(all) => all.iter().all(|c| c.cond.holds(context)),
            Cond::Or(any) => any.iter().any(|c| c.cond.holds(context)),
            Cond::Exists(value) => value.any(context, &mut |text| !text.is_empty()),
            Cond::Compare {
                left,
                op,
                right,
                numeric,
            } => left.any(context, &mut |l| {
                right.any(context, &mut |r| op.holds(*numeric, l, r))
            }),
            Cond::Holds {
                value,
                relation,
                part,
            } => value.any(context, &mut |v| {
                part.any(context, &mut |p| relation.holds(v, p))
            }),
            Cond::Like { value, pattern } => value.any(context, &mut |text| pattern.matches(text)),
            Cond::OneOf {
                value,
                texts,
                numbers,
            } => value.any(context, &mut |text| {
                texts.binary_search_by(|known| (**known).cmp(text)).is_ok()
                    || numbers
                        .iter()
                        .any(|known| number::compare(known, text) == Some(Ordering::Equal))
            }),
        }
    }
}

impl Value {
    /// Shows each text to `visit` until it answers true. What is absent is shown once as empty text.
    fn any(&self, context: &Context<'_>, visit: &mut dyn FnMut(&str) -> bool) -> bool {
        match self {
            Value::Literal(text) => visit(text),
            Value::Path(path) => context.document.any(path, visit),
            Value::Source => visit(context.source),
            Value::Joined(first, separator, second) => {
                joined(context, first, separator, second, visit)
            }
            Value::Upper(inner) => inner.any(context, &mut |text| {
                visit(&cased(text, u8::is_ascii_lowercase, str::to_uppercase))
            }),
            Value::Lower(inner) => inner.any(context, &mut |text| {
                visit(&cased(text, u8::is_ascii_uppercase, str::to_lowercase))
            }),
            Value::Length(inner) => inner.any(context, &mut |text| {
                visit(&text.chars().count().to_string())
            }),
            Value::SubString(inner, range) => {
                inner.any(context, &mut |text| visit(sub_string(text, range)))
            }
            Value::Piece(inner, separator, range) => {
                inner.any(context, &mut |text| visit(piece(text, separator, range)))
            }
        }
    }

    /// Whether it may have several texts.
    pub(crate) fn is_many(&self) -> bool {
        match self {
            Value::Path(path) => path.is_plural(),
            Value::Upper(v) | Value::Lower(v) | Value::Length(v) => v.is_many(),
            Value::SubString(v, _) | Value::Piece(v, _, _) => v.is_many(),
            Value::Literal(_) | Value::Source | Value::Joined(..) => false,
        }
    }
}

fn joined(
    context: &Context<'_>,
    first: &Path,
    separator: &str,
    second: &Path,
    visit: &mut dyn FnMut(&str) -> bool,
) -> bool {
    context.document.any(first, &mut |first| {
        context
            .document
            .any(second, &mut |second| match second.is_empty() {
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
