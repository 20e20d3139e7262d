//! The vocabulary: which words are operators, functions and variables, and what each means. It owns the
//! tables from which both the parser and its "did you mean" read, so that they can't differ.

use crate::expr::Relation;
use crate::path;
use crate::value::Value;

/// A test that is written as a word, between two values or as a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Test {
    In,
    Like,
    Relation(Relation),
}

/// A function, by what it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Exists,
    /// A test and whether it is negated.
    Test(Test, bool),
    ToUpper,
    ToLower,
    Length,
    SubString,
    Piece,
}

impl Function {
    /// Least and most arguments, and the form to show who got them wrong.
    pub(crate) fn arity(self) -> (usize, usize, &'static str) {
        match self {
            Function::Exists => (1, 1, "Exists(PID-7)"),
            Function::Test(Test::In, _) => (2, usize::MAX, "In(PID-8, \"U\", \"O\")"),
            Function::Test(..) => (2, 2, "Contains(PID-5.1, \"text\")"),
            Function::ToUpper => (1, 1, "ToUpper(PID-5.1)"),
            Function::ToLower => (1, 1, "ToLower(PID-5.1)"),
            Function::Length => (1, 1, "Length(PID-3.1)"),
            Function::SubString => (2, 3, "SubString(PID-7, from, to), counted from 1"),
            Function::Piece => (2, 4, "Piece(PID-3.1, \"-\", from, to), counted from 1"),
        }
    }
}

const TESTS: &[(&str, Test, bool)] = &[
    ("In", Test::In, false),
    ("NotIn", Test::In, true),
    ("Contains", Test::Relation(Relation::Contains), false),
    ("DoesNotContain", Test::Relation(Relation::Contains), true),
    ("StartsWith", Test::Relation(Relation::StartsWith), false),
    (
        "DoesNotStartWith",
        Test::Relation(Relation::StartsWith),
        true,
    ),
    ("EndsWith", Test::Relation(Relation::EndsWith), false),
    ("DoesNotEndWith", Test::Relation(Relation::EndsWith), true),
    ("Like", Test::Like, false),
    ("NotLike", Test::Like, true),
];

const FUNCTIONS: &[(&str, Function)] = &[
    ("Exists", Function::Exists),
    ("ToUpper", Function::ToUpper),
    ("ToLower", Function::ToLower),
    ("Length", Function::Length),
    ("SubString", Function::SubString),
    ("Piece", Function::Piece),
];

/// Words that stand for a value or a constant.
const VARIABLES: &[&str] = &[
    "Source",
    "MessageType",
    "DocName",
    "DocType",
    "MsgType",
    "ControlId",
    "HL7.Name",
    "HL7.Identifier",
    "true",
    "false",
];

/// A word that a condition may use besides those of the language, because whoever asks knows its value:
/// `Verdict` where a message has been processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// As it is written, in any case.
    pub name: &'static str,
    /// Whether it is compared by number.
    pub numeric: bool,
}

/// What a variable stands for.
pub(crate) enum Variable {
    Const(bool),
    Value(Value),
}

/// The test of that name in any case, and whether it is negated.
pub(crate) fn test(word: &str) -> Option<(Test, bool)> {
    TESTS
        .iter()
        .find(|(name, ..)| name.eq_ignore_ascii_case(word))
        .map(|(_, test, negated)| (*test, *negated))
}

/// The function of that name, in any case.
pub(crate) fn function(word: &str) -> Option<Function> {
    let plain = FUNCTIONS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(word))
        .map(|(_, function)| *function);
    plain.or_else(|| test(word).map(|(test, negated)| Function::Test(test, negated)))
}

/// The variable or constant of that name, in any case.
pub(crate) fn variable(word: &str) -> Option<Variable> {
    let name = VARIABLES
        .iter()
        .find(|name| name.eq_ignore_ascii_case(word))?;
    let typed = Box::new([1, 2].map(|component| path::known(b"MSH", 9, component).into()));
    Some(match *name {
        "true" => Variable::Const(true),
        "false" => Variable::Const(false),
        "Source" => Variable::Value(Value::Source),
        "MessageType" => Variable::Value(Value::Joined(typed, "^")),
        "ControlId" | "HL7.Identifier" => {
            Variable::Value(Value::Path(path::known(b"MSH", 10, 0).into()))
        }
        _ => Variable::Value(Value::Joined(typed, "_")),
    })
}

/// `and`, `or`, `not` in any case.
pub(crate) fn is_operator(word: &str) -> bool {
    ["and", "or", "not"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(word))
}

pub(crate) fn functions() -> impl Iterator<Item = &'static str> {
    FUNCTIONS
        .iter()
        .map(|(name, _)| *name)
        .chain(TESTS.iter().map(|(name, ..)| *name))
}

/// What can stand for a value: for "did you mean".
pub(crate) fn operands() -> impl Iterator<Item = &'static str> {
    VARIABLES
        .iter()
        .copied()
        .chain(FUNCTIONS.iter().map(|(name, _)| *name))
}

/// What can stand between two values: for "did you mean".
pub(crate) fn operators() -> impl Iterator<Item = &'static str> {
    ["and", "or", "not"]
        .into_iter()
        .chain(TESTS.iter().map(|(name, ..)| *name))
}
