//! Comparisons, lists and patterns: from operands to a condition. It owns what may be compared with
//! what, and refuses what would look right and never hold.

use crate::error::CompileError;
use crate::expr::{Compare, Cond};
use crate::number;
use crate::pattern::Pattern;
use crate::value::Value;
use crate::words::Test;

use super::node::{Kind, Node, Operand};

/// `left symbol right`, of two values or of a condition and a constant.
pub(super) fn compare(left: Node, symbol: &str, right: Node) -> Result<Kind, CompileError> {
    let span = left.span.start..right.span.end;
    let (equality, negated) = (matches!(symbol, "=" | "!="), symbol == "!=");
    let cond = match (left.kind, right.kind) {
        (constant @ Kind::Cond(Cond::Const(_)), Kind::Cond(cond))
        | (Kind::Cond(cond), constant)
        | (constant, Kind::Cond(cond))
            if equality =>
        {
            match constant.constant() {
                Some(wanted) => return Ok(Kind::cond(cond, wanted == negated)),
                None => {
                    let fault = "a condition is true or false and has no other value";
                    return Err(CompileError::new(span.start, span.len(), fault)
                        .help("compare it with 1 or 0 alone, or join conditions with and, or"));
                }
            }
        }
        (l, r) => {
            let left = Node {
                kind: l,
                span: left.span,
            }
            .operand()?;
            let right = Node {
                kind: r,
                span: right.span,
            }
            .operand()?;
            compare_values(left, symbol, right)?
        }
    };
    Ok(Kind::cond(cond, negated))
}

fn compare_values(left: Operand, symbol: &str, right: Operand) -> Result<Cond, CompileError> {
    one_many(&left, &right)?;
    let numeric = left.numeric || right.numeric;
    let op = match symbol {
        "<" => Compare::Less,
        "<=" => Compare::LessEqual,
        ">" => Compare::Greater,
        ">=" => Compare::GreaterEqual,
        _ => Compare::Equal,
    };
    for (side, other) in [(&left, &right), (&right, &left)] {
        let Some(text) = side.literal() else { continue };
        if numeric && number::compare(text, "0").is_none() {
            return Err(side
                .fault("this text is compared with a number, and is none")
                .help("write both as text or both as numbers"));
        }
        if op == Compare::Equal && other.literal().is_none() {
            no_wildcard(side, text)?;
        }
    }
    Ok(Cond::Compare {
        left: left.value,
        op,
        right: right.value,
        numeric,
    })
}

/// Two sides with many values each would be the product of both: a message with ten thousand OBX could
/// hold up its queue.
fn one_many(left: &Operand, right: &Operand) -> Result<(), CompileError> {
    match left.value.is_many() && right.value.is_many() {
        false => Ok(()),
        true => Err(right
            .fault("both sides name many values")
            .help("only one side can have (*): name one on the other, such as OBX(1)-5")),
    }
}

/// `=` compares as written; who writes a wildcard means a pattern, and must not get a silent false.
fn no_wildcard(item: &Operand, text: &str) -> Result<(), CompileError> {
    if !text.contains(['*', '?']) {
        return Ok(());
    }
    let escaped = text
        .replace('\\', "\\\\")
        .replace('*', "\\*")
        .replace('?', "\\?");
    let ways = format!(
        "for a pattern write Like \"{text}\"; for the characters themselves Like \"{escaped}\""
    );
    Err(item
        .fault("= and In compare letter by letter and know no wildcards")
        .help(ways))
}

/// `value Contains part` and its like.
pub(super) fn relate(test: Test, value: Operand, part: Operand) -> Result<Cond, CompileError> {
    one_many(&value, &part)?;
    let Operand { value, .. } = value;
    match (test, part.literal()) {
        (Test::Relation(_), Some("")) => Err(part
            .fault("an empty text is in every value")
            .help("ask for a value with Exists(...), or for none with = \"\"")),
        (Test::Relation(relation), _) => Ok(Cond::Holds {
            value,
            relation,
            part: part.value,
        }),
        (_, Some(text)) => {
            let pattern = Pattern::parse(text, part.span.start, part.span.len())?;
            Ok(Cond::Like { value, pattern })
        }
        (_, None) => Err(part
            .fault("the pattern of Like must be written in the rule")
            .help("such as Like \"A0?\"")),
    }
}

/// `value In (items)`.
pub(super) fn one_of(value: Operand, items: Vec<Operand>) -> Result<Cond, CompileError> {
    let (mut texts, mut numbers) = (Vec::new(), Vec::new());
    for item in items {
        let Some(text) = item.literal() else {
            return Err(item
                .fault("a list holds texts and numbers only")
                .help("to compare with another value write = ... or ..."));
        };
        no_wildcard(&item, text)?;
        let list = if item.numeric {
            &mut numbers
        } else {
            &mut texts
        };
        list.push(text.into());
    }
    texts.sort_unstable();
    Ok(Cond::OneOf {
        value: value.value,
        texts: texts.into(),
        numbers: numbers.into(),
    })
}

/// The values of a list as IRIS writes it, in one text: `"A,B"`; a number alone is a list of one.
pub(super) fn comma_list(item: Operand) -> Result<Vec<Operand>, CompileError> {
    const FORM: &str = "such as In (\"A\", \"B\")";
    let Some(text) = item.literal() else {
        return Err(item.fault("a list should stand here").help(FORM));
    };
    let literal = |part: &str| {
        let (value, span) = (Value::Literal(part.trim().into()), item.span.clone());
        Operand {
            value,
            numeric: item.numeric,
            span,
        }
    };
    let parts: Vec<Operand> = text.split(',').map(literal).collect();
    match parts.iter().any(|part| part.literal() == Some("")) {
        true => Err(item.fault("a value of the list is empty").help(FORM)),
        false => Ok(parts),
    }
}
