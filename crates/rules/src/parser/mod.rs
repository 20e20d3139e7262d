//! Tokens to a typed tree. It owns the grammar: `or` < `and` < `not` < comparison. What may be compared
//! with what is checked in its parts, so that whatever would be a silent false at run time is an error.

mod call;
mod node;
mod test;

use std::ops::Range;

use crate::error::{self, CompileError};
use crate::expr::{Clause, Cond, EXPRESSION_MAX_DEPTH, Relation};
use crate::lexer::{self, Spanned, Token};
use crate::value::Value;
use crate::words::{self, Test, Word};

use node::{Kind, Node, Operand};

/// Reads a whole condition, in which these words are known too.
pub(crate) fn parse(text: &str, more: &[Word]) -> Result<Cond, CompileError> {
    let tokens = lexer::tokens(text)?;
    if tokens.len() == 1 {
        return Ok(Cond::Const(true));
    }
    Parser::new(&tokens, more).whole()?.cond()
}

/// Reads a text that is one value: a path, a word or a function of them.
pub(crate) fn parse_value(text: &str) -> Result<Value, CompileError> {
    let tokens = lexer::tokens(text)?;
    Ok(Parser::new(&tokens, &[]).whole()?.operand()?.value)
}

struct Parser<'t> {
    tokens: &'t [Spanned<'t>],
    /// Words that are known besides those of the language.
    more: &'t [Word],
    next: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn new(tokens: &'t [Spanned<'t>], more: &'t [Word]) -> Self {
        Parser {
            tokens,
            more,
            next: 0,
            depth: 0,
        }
    }

    fn whole(&mut self) -> Result<Node, CompileError> {
        let node = self.or()?;
        match self.peek() {
            Token::End => Ok(node),
            _ => Err(self.misplaced()),
        }
    }

    /// The word of the surroundings, and which of them it is.
    fn word_of_surroundings(&self, word: &str) -> Option<Kind> {
        let same = |known: &Word| known.name.eq_ignore_ascii_case(word);
        let nth = self.more.iter().position(same)?;
        let value = Value::Word(nth);
        match self.more.get(nth)?.numeric {
            true => Some(Kind::number(value)),
            false => Some(Kind::text(value)),
        }
    }

    fn at(&self, ahead: usize) -> &'t Token<'t> {
        let token = self.tokens.get(self.next + ahead);
        token.map_or(&Token::End, |spanned| &spanned.token)
    }

    fn peek(&self) -> &'t Token<'t> {
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
        let hit = self.peek() == wanted;
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
        let mut clauses = vec![first.clause()?];
        while joins(self) {
            self.bump();
            clauses.push(part(self)?.clause()?);
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
            kind: Kind::cond(inner.cond()?, true),
            span,
        })
    }

    /// `value = value`, `value In (...)`, `value not Contains value`, or a primary alone.
    fn comparison(&mut self) -> Result<Node, CompileError> {
        let left = self.primary()?;
        let start = left.span.start;
        let kind = if let Token::Compare(symbol) = self.peek() {
            self.bump();
            test::compare(left, symbol, self.primary()?)?
        } else if let Some((test, negated)) = self.word_test()? {
            let value = left.operand()?;
            let cond = match test {
                Test::In => test::one_of(value, self.list()?)?,
                _ => test::relate(test, value, self.primary()?.operand()?)?,
            };
            Kind::cond(cond, negated)
        } else {
            return Ok(left);
        };
        self.no_chain()?;
        Ok(Node {
            kind,
            span: start..self.previous_end(),
        })
    }

    /// The test that is written here as a word or `[`, and whether it is negated; `None` where the
    /// comparison is over.
    fn word_test(&mut self) -> Result<Option<(Test, bool)>, CompileError> {
        let before = self.is_not();
        if before {
            self.bump();
        }
        let found = match self.peek() {
            Token::Bracket => Some((Test::Relation(Relation::Contains), false)),
            Token::Word(word) => words::test(word),
            _ => None,
        };
        match found {
            Some((_, true)) if before => Err(self.misplaced()), // not NotIn
            Some((test, negated)) => {
                self.bump();
                Ok(Some((test, before || negated)))
            }
            None if before => Err(self.misplaced()),
            None if self.is_and() || self.is_or() => Ok(None),
            None if matches!(self.peek(), Token::Word(_)) => Err(self.misplaced()),
            None => Ok(None),
        }
    }

    fn previous_end(&self) -> usize {
        let previous = self.next.checked_sub(1).and_then(|n| self.tokens.get(n));
        previous.map_or(0, |token| token.end)
    }

    /// `a = b = c` has no meaning that two people would agree on.
    fn no_chain(&self) -> Result<(), CompileError> {
        let again = match self.peek() {
            Token::Compare(_) | Token::Bracket => true,
            Token::Word(word) => words::test(word).is_some(),
            _ => false,
        };
        if !again {
            return Ok(());
        }
        Err(self
            .fault("a second comparison without and or or between")
            .help(
                "join comparisons with and, or; to compare a condition with 1 or 0 put it in ( )",
            ))
    }

    fn primary(&mut self) -> Result<Node, CompileError> {
        let kind = match self.peek() {
            Token::Open => return self.nested(Self::parenthesised),
            Token::Text(text) => Kind::text(Value::Literal((**text).into())),
            Token::Number(written) => Kind::number(Value::Literal((*written).into())),
            Token::Path(path) if path.field().is_none() => Kind::Segment(*path),
            Token::Path(path) => Kind::text(Value::Path((*path).into())),
            Token::Word(word) if *self.at(1) == Token::Open && !words::is_operator(word) => {
                return self.nested(|p| p.call(word));
            }
            Token::Word(word) => match words::variable(word) {
                Some(words::Variable::Const(answer)) => Kind::Cond(Cond::Const(answer)),
                Some(words::Variable::Value(value)) => Kind::text(value),
                None => match self.word_of_surroundings(word) {
                    Some(kind) => kind,
                    None => return Err(self.unknown_word(word)),
                },
            },
            _ => return Err(self.misplaced()),
        };
        Ok(Node {
            kind,
            span: self.bump(),
        })
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
        while *self.peek() != Token::Close {
            if !arguments.is_empty() && !self.eat(&Token::Comma) {
                break;
            }
            arguments.push(self.or()?);
        }
        let end = self.close(&open)?;
        Ok(Node {
            kind: call::build(name, function, arguments, word.start..end)?,
            span: word.start..end,
        })
    }

    /// `("A", "B")`, or `"A,B"` as IRIS writes a list.
    fn list(&mut self) -> Result<Vec<Operand>, CompileError> {
        if *self.peek() != Token::Open {
            return test::comma_list(self.primary()?.operand()?);
        }
        let open = self.bump();
        let mut items = vec![self.primary()?.operand()?];
        while self.eat(&Token::Comma) {
            items.push(self.primary()?.operand()?);
        }
        self.close(&open)?;
        match items.as_slice() {
            [only] if only.literal().is_some_and(|text| text.contains(',')) => Err(only
                .fault("one text with a comma: is it a list?")
                .help("quote each value, In (\"A\", \"B\"); if the comma is part of it, use =")),
            _ => Ok(items),
        }
    }

    fn operands(&self) -> impl Iterator<Item = &'static str> + use<'t> {
        words::operands().chain(self.more.iter().map(|word| word.name))
    }

    fn unknown_word(&self, word: &str) -> CompileError {
        if words::is_operator(word) {
            return self.fault(format!("a value or condition should stand before {word}"));
        }
        let quoted = format!("text is written in quotes: \"{word}\"");
        self.fault(format!("unknown word {word:?}")).help(
            match error::nearest(word, self.operands()) {
                Some(near) => format!("did you mean {near}? {quoted}"),
                None if word.len() == 3 => {
                    format!(
                        "{quoted}; a segment in capitals: {}-1",
                        word.to_ascii_uppercase()
                    )
                }
                None => format!("{quoted}; a path as PID-5.1"),
            },
        )
    }

    /// The next token can't stand where it does.
    fn misplaced(&self) -> CompileError {
        const VALUE: &str = "a value should stand here, such as PID-8 or \"A01\"";
        let missing = || {
            self.fault("an operator is missing before this")
                .help("such as =, In, Contains, and, or")
        };
        match self.peek() {
            Token::End => self.fault("the condition ends too early").help(VALUE),
            Token::Path(_) | Token::Text(_) | Token::Number(_) => missing(),
            Token::Word(word)
                if self
                    .operands()
                    .any(|known| known.eq_ignore_ascii_case(word)) =>
            {
                missing()
            }
            Token::Word(word) if words::operators().any(|w| w.eq_ignore_ascii_case(word)) => {
                self.fault(format!("{word} can't stand here"))
            }
            Token::Word(word) => self
                .fault(format!("unknown operator {word:?}"))
                .nearest(word, words::operators()),
            Token::Close => self
                .fault("nothing is open that this ) could close, or a value is missing before it"),
            Token::Comma => self.fault("a comma can only stand in a list or between arguments"),
            _ => self.fault("this can't stand here").help(VALUE),
        }
    }

    fn fault(&self, message: impl Into<String>) -> CompileError {
        let span = self.span();
        CompileError::new(span.start, span.len(), message)
    }
}
