//! What a part of the text stands for, and the check that a condition stands where a condition is
//! needed and a value where a value is. It owns these types and the errors of confusing them.

use std::ops::Range;

use hie_hl7::Path;

use crate::error::CompileError;
use crate::expr::{Clause, Cond};
use crate::value::Value;

/// A part of the text, before it is known whether a value or a condition is needed.
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) span: Range<usize>,
}

pub(super) enum Kind {
    Cond(Cond),
    /// A value, and whether it is a number by its kind: written without quotes, or a `Length`.
    Value(Value, bool),
    /// A path to a whole segment, good for `Exists` alone.
    Segment(Path),
}

/// A node that is known to be a value.
pub(super) struct Operand {
    pub(super) value: Value,
    pub(super) numeric: bool,
    pub(super) span: Range<usize>,
}

impl Kind {
    pub(super) fn text(value: Value) -> Self {
        Kind::Value(value, false)
    }

    pub(super) fn number(value: Value) -> Self {
        Kind::Value(value, true)
    }

    /// The condition, or its opposite.
    pub(super) fn cond(cond: Cond, negated: bool) -> Self {
        match negated {
            true => Kind::Cond(Cond::Not(Box::new(cond))),
            false => Kind::Cond(cond),
        }
    }

    /// The answer of 1, 0, true and false.
    pub(super) fn constant(&self) -> Option<bool> {
        match self {
            Kind::Cond(Cond::Const(answer)) => Some(*answer),
            Kind::Value(Value::Literal(text), true) => match &**text {
                "1" => Some(true),
                "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Node {
    pub(super) fn fault(&self, message: impl Into<String>) -> CompileError {
        fault(&self.span, message)
    }

    /// This node as a condition.
    pub(super) fn cond(self) -> Result<Cond, CompileError> {
        if let Some(answer) = self.kind.constant() {
            return Ok(Cond::Const(answer));
        }
        let span = self.span;
        Err(match self.kind {
            Kind::Cond(cond) => return Ok(cond),
            Kind::Segment(path) => fault(&span, format!("{path} names a segment, not a condition"))
                .help(format!("ask for it: Exists({path})")),
            Kind::Value(Value::Path(place), _) => {
                let path = place.path;
                let ways = format!("compare it, {path} = \"...\", or ask for it, Exists({path})");
                fault(&span, format!("{path} is a value, not a condition")).help(ways)
            }
            Kind::Value(..) => fault(&span, "this is a value, not a condition")
                .help("compare it with =, In, Contains ..."),
        })
    }

    pub(super) fn clause(self) -> Result<Clause, CompileError> {
        let span = self.span.clone();
        let cond = self.cond()?;
        Ok(Clause { cond, span })
    }

    /// This node as a value.
    pub(super) fn operand(self) -> Result<Operand, CompileError> {
        let span = self.span;
        Err(match self.kind {
            Kind::Value(value, numeric) => {
                return Ok(Operand {
                    value,
                    numeric,
                    span,
                });
            }
            Kind::Segment(path) => {
                fault(&span, format!("{path} names a whole segment, not a value")).help(format!(
                    "for the text write \"{path}\"; for a field {path}-1"
                ))
            }
            Kind::Cond(_) => fault(&span, "this is a condition, not a value")
                .help("join conditions with and, or; compare values with =, In, Contains ..."),
        })
    }
}

impl Operand {
    /// The text, when it is written in the rule itself.
    pub(super) fn literal(&self) -> Option<&str> {
        match &self.value {
            Value::Literal(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn fault(&self, message: impl Into<String>) -> CompileError {
        fault(&self.span, message)
    }
}

fn fault(span: &Range<usize>, message: impl Into<String>) -> CompileError {
    CompileError::new(span.start, span.len(), message)
}
