//! Functions: from a name and arguments to a value or condition. It owns the checks of number and kind
//! of arguments; which functions there are is in the vocabulary.

use std::ops::Range;
use std::vec::IntoIter;

use crate::error::CompileError;
use crate::expr::Cond;
use crate::value::Value;
use crate::words::{Function, Test};

use super::node::{Kind, Node};
use super::test;

/// Largest position in a text that `SubString` and `Piece` take.
const POSITION_MAX: usize = 100_000;

/// The arguments that are not used yet.
struct Arguments {
    rest: IntoIter<Node>,
    span: Range<usize>,
}

impl Arguments {
    fn next(&mut self) -> Result<Node, CompileError> {
        let missing =
            || CompileError::new(self.span.start, self.span.len(), "an argument is missing");
        self.rest.next().ok_or_else(missing)
    }

    fn value(&mut self) -> Result<Box<Value>, CompileError> {
        Ok(Box::new(self.next()?.operand()?.value))
    }

    /// A position counted from 1, and where it stands; `None` when there is no further argument.
    fn position(&mut self) -> Result<Option<(usize, Range<usize>)>, CompileError> {
        let Some(node) = self.rest.next() else {
            return Ok(None);
        };
        let operand = node.operand()?;
        let number = operand
            .literal()
            .filter(|_| operand.numeric)
            .and_then(|text| text.parse().ok());
        match number {
            Some(n) if (1..=POSITION_MAX).contains(&n) => Ok(Some((n, operand.span))),
            _ => Err(operand
                .fault("a position is a whole number from 1")
                .help("the first character or piece is 1")),
        }
    }

    /// `from, to`, counted from 1 with `to` included, as a range from 0. Without `to` it ends where
    /// `open_end` says for its start.
    fn range(&mut self, open_end: fn(usize) -> usize) -> Result<Range<usize>, CompileError> {
        let (from, at) = self.position()?.unwrap_or((1, 0..0));
        let Some((to, to_at)) = self.position()? else {
            return Ok(from - 1..open_end(from));
        };
        if to < from {
            let len = to_at.end - at.start;
            return Err(CompileError::new(
                at.start,
                len,
                "this range ends before it starts",
            ));
        }
        Ok(from - 1..to)
    }
}

/// `name(arguments)`, which stands at `span`.
pub(super) fn build(
    name: &str,
    function: Function,
    arguments: Vec<Node>,
    span: Range<usize>,
) -> Result<Kind, CompileError> {
    let (least, most, form) = function.arity();
    if arguments.len() < least || arguments.len() > most {
        let fault = format!("{name} can't take {} arguments", arguments.len());
        let error = CompileError::new(span.start, span.len(), fault);
        return Err(error.help(format!("it is written {form}")));
    }
    let mut arguments = Arguments {
        rest: arguments.into_iter(),
        span,
    };
    Ok(match function {
        Function::Exists => Kind::Cond(exists(arguments.next()?)?),
        Function::Test(test, negated) => Kind::cond(tested(test, arguments)?, negated),
        Function::ToUpper => Kind::text(Value::Upper(arguments.value()?)),
        Function::ToLower => Kind::text(Value::Lower(arguments.value()?)),
        Function::Length => Kind::number(Value::Length(arguments.value()?)),
        Function::SubString => {
            let text = arguments.value()?;
            Kind::text(Value::SubString(text, arguments.range(|_| usize::MAX)?))
        }
        Function::Piece => {
            let (text, separator) = (arguments.value()?, arguments.next()?.operand()?);
            let Some(by) = separator.literal().filter(|by| !by.is_empty()) else {
                return Err(separator.fault("the separator must be a text written here, not empty"));
            };
            Kind::text(Value::Piece(text, by.into(), arguments.range(|from| from)?))
        }
    })
}

fn tested(test: Test, mut arguments: Arguments) -> Result<Cond, CompileError> {
    let value = arguments.next()?.operand()?;
    if test != Test::In {
        return test::relate(test, value, arguments.next()?.operand()?);
    }
    let mut items = Vec::new();
    for item in arguments.rest {
        items.push(item.operand()?);
    }
    match items.pop() {
        Some(only) if items.is_empty() => test::one_of(value, test::comma_list(only)?),
        last => {
            items.extend(last);
            test::one_of(value, items)
        }
    }
}

fn exists(node: Node) -> Result<Cond, CompileError> {
    match node.kind {
        Kind::Segment(path) => Ok(Cond::Exists(Value::Path(path.into()))),
        Kind::Value(Value::Literal(_), _) => Err(node
            .fault("Exists asks for a path of the message, not for a text")
            .help("such as Exists(PID-7)")),
        _ => Ok(Cond::Exists(node.operand()?.value)),
    }
}
