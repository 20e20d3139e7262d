//! A compiled condition. It owns the limits on a rule's text, the tree that the parser builds and its
//! evaluation over a [`Context`]: no panic, no allocation on plain text, and time bounded by the
//! expression's length times the message's. How values are had is in `value`.

use std::cmp::Ordering;
use std::ops::Range;

use crate::document::Context;
use crate::error::CompileError;
use crate::number;
use crate::parser;
use crate::pattern::Pattern;
use crate::scope::{Place, Places, Scope};
use crate::value::Value;
use crate::words::Word;

/// Longest text of an expression in bytes.
pub const EXPRESSION_MAX_BYTES: usize = 16 * 1024;

/// Deepest nesting of parentheses, `not` and functions.
pub const EXPRESSION_MAX_DEPTH: usize = 32;

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

/// The same text means the same.
impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Expr {
    /// Compiles a condition. Blank text is always true, as a rule without a condition is.
    ///
    /// # Errors
    /// The first fault with its place, and what would be right where that can be said.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        Self::compile_with(text, &[])
    }

    /// The same, with words that only the surroundings know. [`Expr::eval_with`] says what they stand for.
    ///
    /// # Errors
    /// As [`Expr::compile`].
    pub fn compile_with(text: &str, words: &[Word]) -> Result<Self, CompileError> {
        if text.len() > EXPRESSION_MAX_BYTES {
            let message = format!(
                "a condition has at most {EXPRESSION_MAX_BYTES} bytes, this one {}",
                text.len()
            );
            return Err(
                CompileError::new(0, text.len(), message).help("split it into several rules")
            );
        }
        let root = parser::parse(text, words)?;
        Ok(Expr {
            text: text.into(),
            root,
        })
    }

    /// Whether the message of this context fulfils the condition.
    #[must_use]
    pub fn eval(&self, context: &Context<'_>) -> bool {
        self.eval_with(context, &[])
    }

    /// The same for a condition compiled with words of its surroundings: their values, in the same order.
    #[must_use]
    pub fn eval_with(&self, context: &Context<'_>, words: &[&str]) -> bool {
        self.root.holds(&Scope {
            context,
            found: &[],
            words,
        })
    }

    /// The part of the text that decided for true: the alternative of an outermost `or` that held, else the
    /// whole text. `None` when the condition does not hold.
    #[must_use]
    pub fn why(&self, context: &Context<'_>) -> Option<&str> {
        self.why_in(&Scope {
            context,
            found: &[],
            words: &[],
        })
    }

    pub(crate) fn why_in(&self, scope: &Scope<'_, '_>) -> Option<&str> {
        let (mut cond, mut span) = (&self.root, 0..self.text.len());
        let mut known = false;
        while let Cond::Or(alternatives) = cond {
            let held = alternatives
                .iter()
                .find(|clause| clause.cond.holds(scope))?;
            (cond, span, known) = (&held.cond, held.span.clone(), true);
        }
        if known || cond.holds(scope) {
            self.text.get(span)
        } else {
            None
        }
    }

    /// Numbers the places that several rules may ask for, so that a decision looks each up once.
    pub(crate) fn number(&mut self, places: &mut Places) {
        self.root.places(&mut |place| places.number(place));
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

impl Cond {
    pub(crate) fn holds(&self, scope: &Scope<'_, '_>) -> bool {
        match self {
            Cond::Const(answer) => *answer,
            Cond::Not(inner) => !inner.holds(scope),
            Cond::And(all) => all.iter().all(|c| c.cond.holds(scope)),
            Cond::Or(any) => any.iter().any(|c| c.cond.holds(scope)),
            Cond::Exists(value) => value.any(scope, &mut |text| !text.is_empty()),
            Cond::Compare {
                left,
                op,
                right,
                numeric,
            } => left.any(scope, &mut |l| {
                right.any(scope, &mut |r| op.holds(*numeric, l, r))
            }),
            Cond::Holds {
                value,
                relation,
                part,
            } => value.any(scope, &mut |v| {
                part.any(scope, &mut |p| relation.holds(v, p))
            }),
            Cond::Like { value, pattern } => value.any(scope, &mut |text| pattern.matches(text)),
            Cond::OneOf {
                value,
                texts,
                numbers,
            } => value.any(scope, &mut |text| {
                texts.binary_search_by(|known| (**known).cmp(text)).is_ok()
                    || numbers
                        .iter()
                        .any(|known| number::compare(known, text) == Some(Ordering::Equal))
            }),
        }
    }

    /// Shows every place that the condition looks at, to number them.
    fn places(&mut self, show: &mut dyn FnMut(&mut Place)) {
        match self {
            Cond::Const(_) => {}
            Cond::Not(inner) => inner.places(show),
            Cond::And(clauses) | Cond::Or(clauses) => {
                clauses
                    .iter_mut()
                    .for_each(|clause| clause.cond.places(show));
            }
            Cond::Compare {
                left: value,
                right: part,
                ..
            }
            | Cond::Holds { value, part, .. } => {
                value.places(show);
                part.places(show);
            }
            Cond::Exists(value) | Cond::Like { value, .. } | Cond::OneOf { value, .. } => {
                value.places(show)
            }
        }
    }
}
