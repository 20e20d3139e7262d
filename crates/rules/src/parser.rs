//! Tokens to a typed tree. It owns the grammar (`or` < `and` < `not` < comparison) and the check that a
//! condition stands where a condition is needed and a value where a value is: whatever would be a silent
//! false at run time is an error here.

use std::ops::Range;

use hie_hl7::Path;

use crate::error::CompileError;
use crate::expr::{Clause, Compare, Cond, EXPRESSION_MAX_DEPTH, Relation, Value};
use crate::lexer::{self, Spanned, Token};
use crate::pattern::Pattern;
use crate::words::{self, Function, Test};

/// Reads a whole condition.
pub(crate) fn parse(text: &str) -> Result<Cond, CompileError> {
    let tokens = lexer::tokens(text)?;
    if tokens.len() == 1 {
        return Ok(Cond::Const(true));
    }
    let mut parser = Parser {
        tokens,
        next: 0,
        depth: 0,
    };
    let node = parser.or()?;
    match parser.peek() {
        Token::End => node.into_cond(),
        _ => Err(parser.misplaced()),
    }
}

/// What a part of the text stands for, before it is known whether a value or a condition is needed.
struct Node {
    kind: Kind,
    span: Range<usize>,
}

enum Kind {
    Cond(Cond),
    /// Text or a number; `literal` tells what was written in the rule itself.
    Value {
        value: Value,
        numeric: bool,
        literal: bool,
    },
    /// A path to a whole segment, good for `Exists` alone.
    Segment(Path),
}

struct Parser<'a> {
    tokens: Vec<Spanned<'a>>,
    next: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn at(&self, ahead: usize) -> Token<'a> {
        self.tokens
            .get(self.next + ahead)
            .map_or(Token::End, |t| t.token.clone())
    }

    fn peek(&self) -> Token<'a> {
        self.at(0)
    }

    /// Place of the next token; at the end of the text, its end.
    fn span(&self) -> Range<usize> {
        let token = self.tokens.get(self.next).or(self.tokens.last());
        token.map_or(0..0, |t| t.start..t.end)
    }

    fn bump(&mut self) -> Range<usize> {
        let span = self.span();
        self.next += 1;
        span
    }

    fn eat(&mut self, wanted: &Token<'_>) -> bool {
        let hit = self.peek() == *wanted;
        if hit {
            self.next += 1;
        }
        hit
    }

    fn nested<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, CompileError>,
    ) -> Result<T, CompileError> {
        if self.depth == EXPRESSION_MAX_DEPTH {
            let span = self.span();
            let message = format!("nested deeper than {EXPRESSION_MAX_DEPTH} levels");
            return Err(CompileError::new(span.start, span.len(), message)
                .help("split it into several rules"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn is_and(&self) -> bool {
        matches!(self.peek(), Token::And)
            || matches!(self.peek(), Token::Word(w) if w.eq_ignore_ascii_case("and"))
    }

    fn is_or(&self) -> bool {
        matches!(self.peek(), Token::Or)
            || matches!(self.peek(), Token::Word(w) if w.eq_ignore_ascii_case("or"))
    }

    fn is_not(&self) -> bool {
        matches!(self.peek(), Token::Not)
            || matches!(self.peek(), Token::Word(w) if w.eq_ignore_ascii_case("not"))
    }

    fn or(&mut self) -> Result<Node, CompileError> {
        self.chain(Self::and, Self::is_or, Cond::Or)
    }

    fn and(&mut self) -> Result<Node, CompileError> {
        self.chain(Self::not, Self::is_and, Cond::And)
    }

    fn chain(
        &mut self,
        part: fn(&mut Self) -> Result<Node, CompileError>,
        joins: fn(&Self) -> bool,
        build: fn(Vec<Clause>) -> Cond,
    ) -> Result<Node, CompileError> {
        let first = part(self)?;
        if !joins(self) {
            return Ok(first);
        }
        let start = first.span.start;
        let mut clauses = vec![first.into_clause()?];
        while joins(self) {
            self.bump();
            clauses.push(part(self)?.into_clause()?);
        }
        let end = clauses.last().map_or(start, |c| c.span.end);
        Ok(Node {
            kind: Kind::Cond(build(clauses)),
            span: start..end,
        })
    }

    fn not(&mut self) -> Result<Node, CompileError> {
        if !self.is_not() {
            return self.comparison();
        }
        let start = self.bump().start;
        let inner = self.nested(Self::not)?;
        let span = start..inner.span.end;
        Ok(Node {
            kind: Kind::Cond(Cond::Not(Box::new(inner.into_cond()?))),
            span,
        })
    }

    /// `value = value`, `value In (...)`, `value not Contains value`, or a primary alone.
    fn comparison(&mut self) -> Result<Node, CompileError> {
        let left = self.primary()?;
        let (test, negated) = match self.peek() {
            Token::Compare(symbol) => {
                self.bump();
                return self.compare(left, symbol);
            }
            Token::Bracket => (Test::Relation(Relation::Contains), false),
            Token::Word(_) if self.is_not() => {
                self.bump();
                let Token::Word(word) = self.peek() else {
                    return Err(self.misplaced());
                };
                match words::test(word) {
                    Some((test, false)) => (test, true),
                    _ => return Err(self.misplaced()),
                }
            }
            Token::Word(word) => match words::test(word) {
                Some(found) => found,
                None if self.is_and() || self.is_or() => return Ok(left),
                None => return Err(self.misplaced()),
            },
            _ => return Ok(left),
        };
        self.bump();
        let value = left.into_value()?;
        let start = value.span.start;
        let cond = match test {
            Test::In => self.infix_list(value)?,
            Test::Relation(_) | Test::Like => {
                let right = self.primary()?;
                relate(test, value, right)?
            }
        };
        let end = self.previous_end();
        let cond = if negated {
            Cond::Not(Box::new(cond))
        } else {
            cond
        };
        self.no_chain(Node {
            kind: Kind::Cond(cond),
            span: start..end,
        })
    }

    fn previous_end(&self) -> usize {
        self.next
            .checked_sub(1)
            .and_then(|n| self.tokens.get(n))
            .map_or(0, |t| t.end)
    }

    /// `a = b = c` has no meaning that two people would agree on.
    fn no_chain(&self, node: Node) -> Result<Node, CompileError> {
        let word_test = matches!(self.peek(), Token::Word(w) if words::test(w).is_some());
        match self.peek() {
            Token::Compare(_) | Token::Bracket => Err(self.chained()),
            _ if word_test => Err(self.chained()),
            _ => Ok(node),
        }
    }

    fn chained(&self) -> CompileError {
        let span = self.span();
        CompileError::new(
            span.start,
            span.len(),
            "a second comparison without and or or between",
        )
        .help("join comparisons with and, or; use parentheses to compare a condition with 1 or 0")
    }

    fn compare(&mut self, left: Node, symbol: &str) -> Result<Node, CompileError> {
        let right = self.primary()?;
        let span = left.span.start..right.span.end;
        let equality = matches!(symbol, "=" | "!=");
        let negated = symbol == "!=";
        let cond = match (left.kind, right.kind) {
            // `true = ...` is `... = true`
            (other @ Kind::Cond(Cond::Const(_)), Kind::Cond(cond))
            | (Kind::Cond(cond), other)
            | (other, Kind::Cond(cond))
                if equality =>
            {
                let wanted = constant(&other).ok_or_else(|| {
                    CompileError::new(
                        span.start,
                        span.len(),
                        "a condition is true or false and has no other value",
                    )
                    .help("compare it with 1 or 0 alone, or join conditions with and, or")
                })?;
                if wanted {
                    cond
                } else {
                    Cond::Not(Box::new(cond))
                }
            }
            (l, r) => {
                let left = Node {
                    kind: l,
                    span: left.span,
                }
                .into_value()?;
                let right = Node {
                    kind: r,
                    span: right.span,
                }
                .into_value()?;
                compare_values(left, symbol, right)?
            }
        };
        let cond = if negated {
            Cond::Not(Box::new(cond))
        } else {
            cond
        };
        self.no_chain(Node {
            kind: Kind::Cond(cond),
            span,
        })
    }

    fn primary(&mut self) -> Result<Node, CompileError> {
        let span = self.span();
        let value = |value, numeric, literal| Kind::Value {
            value,
            numeric,
            literal,
        };
        let kind = match self.peek() {
            Token::Open => return self.nested(Self::parenthesised),
            Token::Text(text) => value(Value::Literal(text.into()), false, true),
            Token::Number(written) => value(Value::Literal(written.into()), true, true),
            Token::Path(path) if path.field().is_none() => Kind::Segment(path),
            Token::Path(path) => value(Value::Path(path), false, false),
            Token::Word(word) if self.at(1) == Token::Open && !words::is_operator(word) => {
                return self.nested(|p| p.call(word));
            }
            Token::Word(word) => match words::variable(word) {
                Some(words::Variable::Const(answer)) => Kind::Cond(Cond::Const(answer)),
                Some(words::Variable::Value(found)) => value(found, false, false),
                None => return Err(self.unknown_word(word)),
            },
            _ => return Err(self.misplaced()),
        };
        self.bump();
        Ok(Node { kind, span })
    }

    fn parenthesised(&mut self) -> Result<Node, CompileError> {
        let open = self.bump();
        let inner = self.or()?;
        let end = self.close(&open)?;
        Ok(Node {
            kind: inner.kind,
            span: open.start..end,
        })
    }

    fn close(&mut self, open: &Range<usize>) -> Result<usize, CompileError> {
        let span = self.span();
        if self.eat(&Token::Close) {
            return Ok(span.end);
        }
        Err(match self.peek() {
            Token::End => CompileError::new(open.start, 1, "this ( is never closed"),
            _ => self.misplaced(),
        })
    }

    /// `Name(argument, ...)`.
    fn call(&mut self, name: &str) -> Result<Node, CompileError> {
        let word = self.bump();
        let open = self.bump();
        let Some(function) = words::function(name) else {
            let fault = format!("there is no function {name:?}");
            return Err(
                CompileError::new(word.start, word.len(), fault).nearest(name, words::functions())
            );
        };
        let mut arguments = Vec::new();
        while self.peek() != Token::Close {
            if !arguments.is_empty() && !self.eat(&Token::Comma) {
                break;
            }
            arguments.push(self.or()?);
        }
        let end = self.close(&open)?;
        Ok(Node {
            kind: build(name, function, arguments, word.start..end)?,
            span: word.start..end,
        })
    }

    /// `In ("A", "B")`, or `In "A,B"` as IRIS writes a list.
    fn infix_list(&mut self, value: Node) -> Result<Cond, CompileError> {
        if self.peek() != Token::Open {
            let item = self.primary()?;
            return one_of(value, comma_list(item)?);
        }
        let open = self.bump();
        let mut items = Vec::new();
        loop {
            items.push(self.primary()?);
            if !self.eat(&Token::Comma) {
                break;
            }
        }
        self.close(&open)?;
        if let [only] = items.as_slice()
            && only.literal().is_some_and(|text| text.contains(','))
        {
            let fault = "one text with a comma: is it a list?";
            return Err(CompileError::new(only.span.start, only.span.len(), fault)
                .help("quote each value, In (\"A\", \"B\"), or compare with = when the comma belongs to the value"));
        }
        one_of(value, items)
    }

    fn unknown_word(&self, word: &str) -> CompileError {
        let span = self.span();
        if words::is_operator(word) {
            let fault = format!("a value or condition should stand before {word}");
            return CompileError::new(span.start, span.len(), fault);
        }
        let error = CompileError::new(span.start, span.len(), format!("unknown word {word:?}"));
        match crate::error::nearest(word, words::operands()) {
            Some(near) => error.help(format!(
                "did you mean {near}? text is written in quotes: \"{word}\""
            )),
            None if word.len() == 3 => {
                let segment = word.to_ascii_uppercase();
                error.help(format!(
                    "text is written in quotes: \"{word}\"; a segment in capitals: {segment}-1"
                ))
            }
            None => error.help(format!(
                "text is written in quotes: \"{word}\"; a path as PID-5.1"
            )),
        }
    }

    /// The next token can't stand where it does.
    fn misplaced(&self) -> CompileError {
        let span = self.span();
        let fault = |message: &str| CompileError::new(span.start, span.len(), message);
        match self.peek() {
            Token::End => fault("the condition ends too early")
                .help("a value should stand here, such as PID-8 or \"A01\""),
            Token::Word(word) if words::is_operator(word) => {
                fault(&format!("{word} can't stand here"))
            }
            Token::Word(word) => {
                fault(&format!("unknown operator {word:?}")).nearest(word, words::operators())
            }
            Token::Close => {
                fault("nothing is open that this ) could close, or a value is missing before it")
            }
            Token::Comma => fault("a comma can only stand in a list or between arguments"),
            Token::Path(_) | Token::Text(_) | Token::Number(_) => {
                fault("an operator is missing before this").help("such as =, In, Contains, and, or")
            }
            _ => fault("this can't stand here")
                .help("a value should stand here, such as PID-8 or \"A01\""),
        }
    }
}

impl Node {
    fn into_cond(self) -> Result<Cond, CompileError> {
        let fault = |message: String| CompileError::new(self.span.start, self.span.len(), message);
        match self.kind {
            Kind::Cond(cond) => Ok(cond),
            ref kind if constant(kind).is_some() => Ok(Cond::Const(constant(kind) == Some(true))),
            Kind::Value {
                value: Value::Path(path),
                ..
            } => Err(
                fault(format!("{path} is a value, not a condition")).help(format!(
                    "compare it, {path} = \"...\", or ask for it, Exists({path})"
                )),
            ),
            Kind::Segment(path) => Err(fault(format!("{path} names a segment, not a condition"))
                .help(format!("ask for it: Exists({path})"))),
            Kind::Value { .. } => Err(fault("this is a value, not a condition".into())
                .help("compare it with =, In, Contains ...")),
        }
    }

    fn into_clause(self) -> Result<Clause, CompileError> {
        let span = self.span.clone();
        Ok(Clause {
            cond: self.into_cond()?,
            span,
        })
    }

    /// This node, when it is a value.
    fn into_value(self) -> Result<Node, CompileError> {
        let fault = |message: String| CompileError::new(self.span.start, self.span.len(), message);
        match self.kind {
            Kind::Value { .. } => Ok(self),
            Kind::Segment(path) => Err(fault(format!("{path} names a whole segment, not a value"))
                .help(format!(
                    "for the text write \"{path}\"; for a field {path}-1"
                ))),
            Kind::Cond(_) => Err(fault("this is a condition, not a value".into())
                .help("join conditions with and, or; compare values with =, In, Contains ...")),
        }
    }

    /// The text, when it is written in the rule itself.
    fn literal(&self) -> Option<&str> {
        match &self.kind {
            Kind::Value {
                value: Value::Literal(text),
                literal: true,
                ..
            } => Some(text),
            _ => None,
        }
    }

    fn numeric(&self) -> bool {
        matches!(self.kind, Kind::Value { numeric: true, .. })
    }

    fn is_many(&self) -> bool {
        matches!(&self.kind, Kind::Value { value, .. } if value.is_many())
    }

    fn value(self) -> Result<Value, CompileError> {
        let span = self.span.clone();
        match self.into_value()?.kind {
            Kind::Value { value, .. } => Ok(value),
            _ => Err(CompileError::new(
                span.start,
                span.len(),
                "a value should stand here",
            )),
        }
    }

    fn fault(&self, message: impl Into<String>) -> CompileError {
        CompileError::new(self.span.start, self.span.len(), message)
    }
}

/// 1, 0, true, false.
fn constant(kind: &Kind) -> Option<bool> {
    match kind {
        Kind::Cond(Cond::Const(answer)) => Some(*answer),
        Kind::Value {
            value: Value::Literal(text),
            numeric: true,
            literal: true,
        } => match &**text {
            "1" => Some(true),
            "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn one_many(left: &Node, right: &Node) -> Result<(), CompileError> {
    match left.is_many() && right.is_many() {
        false => Ok(()),
        true => Err(right
            .fault("both sides name many values")
            .help("only one side of a comparison can have (*): name one repetition on the other, such as OBX(1)-5")),
    }
}

fn compare_values(left: Node, symbol: &str, right: Node) -> Result<Cond, CompileError> {
    one_many(&left, &right)?;
    let numeric = left.numeric() || right.numeric();
    let op = match symbol {
        "<" => Compare::Less,
        "<=" => Compare::LessEqual,
        ">" => Compare::Greater,
        ">=" => Compare::GreaterEqual,
        _ => Compare::Equal,
    };
    for (side, other) in [(&left, &right), (&right, &left)] {
        let Some(text) = side.literal() else { continue };
        if numeric && crate::number::compare(text, "0").is_none() {
            return Err(side
                .fault("this text is compared with a number, and is none")
                .help("write both as text or both as numbers"));
        }
        if op == Compare::Equal && other.literal().is_none() {
            no_wildcard(side, text)?;
        }
    }
    Ok(Cond::Compare {
        left: left.value()?,
        op,
        right: right.value()?,
        numeric,
    })
}

/// `=` compares as written; who writes a wildcard means a pattern, and must not get a silent false.
fn no_wildcard(node: &Node, text: &str) -> Result<(), CompileError> {
    if !text.contains(['*', '?']) {
        return Ok(());
    }
    let escaped = text
        .replace('\\', "\\\\")
        .replace('*', "\\*")
        .replace('?', "\\?");
    Err(node
        .fault("= and In compare letter by letter and know no wildcards")
        .help(format!(
            "for a pattern write Like \"{text}\"; for the characters themselves Like \"{escaped}\""
        )))
}

fn relate(test: Test, value: Node, part: Node) -> Result<Cond, CompileError> {
    let (value, part) = (value.into_value()?, part.into_value()?);
    one_many(&value, &part)?;
    match (test, part.literal()) {
        (Test::Relation(_), Some("")) => Err(part
            .fault("an empty text is in every value")
            .help("ask whether there is a value with Exists(...), or for none with = \"\"")),
        (Test::Relation(relation), _) => Ok(Cond::Holds {
            value: value.value()?,
            relation,
            part: part.value()?,
        }),
        (_, Some(text)) => {
            let pattern = Pattern::parse(text, part.span.start, part.span.len())?;
            Ok(Cond::Like {
                value: value.value()?,
                pattern,
            })
        }
        (_, None) => Err(part
            .fault("the pattern of Like must be written in the rule")
            .help("such as Like \"A0?\"")),
    }
}

/// The values of an IRIS list in one text: `"A,B"`.
fn comma_list(item: Node) -> Result<Vec<Node>, CompileError> {
    let Some(text) = item.literal().filter(|_| !item.numeric()) else {
        return Err(item
            .fault("a list should stand here")
            .help("such as In (\"A\", \"B\")"));
    };
    let literal = |part: &str| Node {
        kind: Kind::Value {
            value: Value::Literal(part.trim().into()),
            numeric: false,
            literal: true,
        },
        span: item.span.clone(),
    };
    let parts: Vec<Node> = text.split(',').map(literal).collect();
    match parts.iter().any(|p| p.literal() == Some("")) {
        true => Err(item
            .fault("a value of the list is empty")
            .help("such as In (\"A\", \"B\")")),
        false => Ok(parts),
    }
}

fn one_of(value: Node, items: Vec<Node>) -> Result<Cond, CompileError> {
    let (mut texts, mut numbers) = (Vec::new(), Vec::new());
    for item in items {
        let Some(text) = item.literal() else {
            return Err(item
                .into_value()?
                .fault("a list holds texts and numbers only")
                .help("to compare with another value write = ... or ..."));
        };
        no_wildcard(&item, text)?;
        let list = if item.numeric() {
            &mut numbers
        } else {
            &mut texts
        };
        list.push(text.into());
    }
    texts.sort_unstable();
    Ok(Cond::OneOf {
        value: value.value()?,
        texts: texts.into(),
        numbers: numbers.into(),
    })
}

fn build(
    name: &str,
    function: Function,
    arguments: Vec<Node>,
    span: Range<usize>,
) -> Result<Kind, CompileError> {
    let (least, most, form) = function.arity();
    if arguments.len() < least || arguments.len() > most {
        let fault = format!("{name} can't take {} arguments", arguments.len());
        return Err(
            CompileError::new(span.start, span.len(), fault).help(format!("it is written {form}"))
        );
    }
    let mut arguments = arguments.into_iter();
    let missing = || CompileError::new(span.start, span.len(), "an argument is missing");
    let first = arguments.next().ok_or_else(missing)?;
    let text = |value| Kind::Value {
        value,
        numeric: false,
        literal: false,
    };
    Ok(match function {
        Function::Exists => Kind::Cond(exists(first)?),
        Function::Test(test, negated) => {
            let first = first.into_value()?;
            let cond = match test {
                Test::In if arguments.len() == 1 => {
                    let item = arguments.next().ok_or_else(missing)?;
                    let items = if item.numeric() {
                        vec![item]
                    } else {
                        comma_list(item)?
                    };
                    one_of(first, items)?
                }
                Test::In => one_of(first, arguments.collect())?,
                _ => relate(test, first, arguments.next().ok_or_else(missing)?)?,
            };
            Kind::Cond(if negated {
                Cond::Not(Box::new(cond))
            } else {
                cond
            })
        }
        Function::ToUpper => text(Value::Upper(Box::new(first.value()?))),
        Function::ToLower => text(Value::Lower(Box::new(first.value()?))),
        Function::Length => Kind::Value {
            value: Value::Length(Box::new(first.value()?)),
            numeric: true,
            literal: false,
        },
        Function::SubString => {
            let range = range(arguments, usize::MAX)?;
            text(Value::SubString(Box::new(first.value()?), range))
        }
        Function::Piece => {
            let separator = arguments.next().ok_or_else(missing)?;
            let Some(by) = separator.literal().filter(|s| !s.is_empty()) else {
                return Err(
                    separator.fault("the separator must be a text written here, and not empty")
                );
            };
            let by: Box<str> = by.into();
            let range = if arguments.len() == 0 {
                0..1
            } else {
                range(arguments, 0)?
            };
            text(Value::Piece(Box::new(first.value()?), by, range))
        }
    })
}

fn exists(node: Node) -> Result<Cond, CompileError> {
    match node.kind {
        Kind::Segment(path) => Ok(Cond::Exists(Value::Path(path))),
        Kind::Value { literal: true, .. } => Err(node
            .fault("Exists asks for a path of the message, not for a text")
            .help("such as Exists(PID-7)")),
        _ => Ok(Cond::Exists(node.value()?)),
    }
}

/// `from` and `to`, counted from 1 with `to` included, as a range from 0. `open` is where a missing `to`
/// ends; 0 says one step.
fn range(
    mut arguments: impl Iterator<Item = Node>,
    open: usize,
) -> Result<Range<usize>, CompileError> {
    let mut position = || {
        arguments.next().map(|node| {
            let n = node.literal().and_then(|text| text.parse::<usize>().ok());
            let valid = n.filter(|n| node.numeric() && (1..=100_000).contains(n));
            valid.map(|n| (n, node.span.clone())).ok_or_else(|| {
                node.fault("a position is a whole number from 1")
                    .help("the first character or piece is 1")
            })
        })
    };
    let (from, at) = match position() {
        Some(found) => found?,
        None => (1, 0..0),
    };
    match position() {
        None if open == 0 => Ok(from - 1..from),
        None => Ok(from - 1..open),
        Some(to) => {
            let (to, span) = to?;
            if to < from {
                return Err(CompileError::new(
                    at.start,
                    span.end - at.start,
                    "this range ends before it starts",
                ));
            }
            Ok(from - 1..to)
        }
    }
}
