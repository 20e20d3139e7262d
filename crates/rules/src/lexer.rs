//! Text to tokens. It owns what a word, a string, a number and a path look like; it knows nothing of
//! what may follow what: that is the parser's work.

use std::borrow::Cow;

use hie_hl7::Path;

use crate::error::CompileError;
use crate::path;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token<'a> {
    Word(&'a str),
    Text(Cow<'a, str>),
    Number(&'a str),
    Path(Path),
    /// `= == != <> < <= > >=`
    Compare(&'static str),
    And,
    Or,
    Not,
    Open,
    Close,
    Comma,
    /// `[` between operands: "contains", as in ObjectScript.
    Bracket,
    End,
}

#[derive(Debug, Clone)]
pub(crate) struct Spanned<'a> {
    pub(crate) token: Token<'a>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Longer spellings first, so that `<=` is not read as `<`.
const SYMBOLS: &[(&str, Token<'static>)] = &[
    ("==", Token::Compare("=")),
    ("!=", Token::Compare("!=")),
    ("<>", Token::Compare("!=")),
    ("<=", Token::Compare("<=")),
    (">=", Token::Compare(">=")),
    ("&&", Token::And),
    ("||", Token::Or),
    ("=", Token::Compare("=")),
    ("<", Token::Compare("<")),
    (">", Token::Compare(">")),
    ("!", Token::Not),
    ("(", Token::Open),
    (")", Token::Close),
    (",", Token::Comma),
];

/// Prefixes of a property of the message in the IRIS manner.
const PREFIXES: &[&str] = &["HL7.", "Document."];

/// All tokens of the text, with `End` as the last.
pub(crate) fn tokens(text: &str) -> Result<Vec<Spanned<'_>>, CompileError> {
    let mut found = Vec::new();
    let mut pos = 0;
    loop {
        let rest = text.get(pos..).unwrap_or("");
        let start = text.len() - rest.trim_start().len();
        let rest = text.get(start..).unwrap_or("");
        let Some(first) = rest.chars().next() else {
            found.push(Spanned {
                token: Token::End,
                start,
                end: start,
            });
            return Ok(found);
        };
        let (token, end) = one(text, start, first)?;
        found.push(Spanned { token, start, end });
        pos = end;
    }
}

fn one(text: &str, start: usize, first: char) -> Result<(Token<'_>, usize), CompileError> {
    let rest = text.get(start..).unwrap_or("");
    if is_path(rest) {
        return path::scan(text, start).map(|(path, end)| (Token::Path(path), end));
    }
    match first {
        '"' | '\'' => return string(rest, start, first),
        '0'..='9' | '-' | '.' => return number(rest, start),
        'A'..='Z' | 'a'..='z' | '_' => {
            let word = word(rest);
            return Ok((Token::Word(word), start + word.len()));
        }
        '[' => return Ok((Token::Bracket, start + 1)),
        _ => {}
    }
    match SYMBOLS.iter().find(|(symbol, _)| rest.starts_with(symbol)) {
        Some((symbol, token)) => Ok((token.clone(), start + symbol.len())),
        None => Err(stray(start, first)),
    }
}

/// A word; `HL7.Name` is one word, so that such a property can be told from a path.
fn word(rest: &str) -> &str {
    let part = |from: usize| {
        let tail = rest.get(from..).unwrap_or("");
        from + tail
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(tail.len())
    };
    let prefix = PREFIXES
        .iter()
        .find(|p| rest.starts_with(**p))
        .map_or(0, |p| p.len());
    rest.get(..part(prefix)).unwrap_or("")
}

fn is_path(rest: &str) -> bool {
    let property = PREFIXES.iter().find_map(|prefix| rest.strip_prefix(prefix));
    if let Some(property) = property {
        return property.starts_with(['{', '[', '(']) || is_bare(property);
    }
    match rest.strip_prefix('[') {
        Some(inside) => {
            path::starts_segment(inside)
                && inside
                    .get(3..)
                    .is_some_and(|r| r.starts_with([':', '-', '(']))
        }
        None => rest.starts_with('{') || is_bare(rest),
    }
}

/// `PID-5`, `PID:5`, `OBX(*)-5`, `OBX[2]`, or `OBX` alone; a word with a bracket that holds no index,
/// such as `MAX("a")`, is none, and neither are the words that happen to have three capitals.
fn is_bare(rest: &str) -> bool {
    let Some((name, after)) = rest.split_at_checked(3) else {
        return false;
    };
    if !path::starts_segment(rest) || name == "AND" || name == "NOT" {
        return false;
    }
    match after.strip_prefix(['(', '[']) {
        Some(index) => index.starts_with(|c: char| c.is_ascii_digit() || "*)]".contains(c)),
        None => true,
    }
}

/// A quote inside a string is written twice, as in YAML and ObjectScript; a backslash means itself,
/// because HL7 has its own use for it.
fn string(rest: &str, start: usize, quote: char) -> Result<(Token<'_>, usize), CompileError> {
    let mut doubled = false;
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            continue;
        }
        if chars.next_if(|(_, next)| *next == quote).is_some() {
            doubled = true;
            continue;
        }
        let inside = rest.get(1..at).unwrap_or("");
        let one = quote.to_string();
        let text = if doubled {
            Cow::Owned(inside.replace(&one.repeat(2), &one))
        } else {
            Cow::Borrowed(inside)
        };
        return Ok((Token::Text(text), start + at + 1));
    }
    Err(
        CompileError::new(start, 1, "this text is never closed").help(format!(
            "close it with {quote}; a {quote} inside is written twice"
        )),
    )
}

fn number(rest: &str, start: usize) -> Result<(Token<'_>, usize), CompileError> {
    let unsigned = rest.strip_prefix('-').unwrap_or(rest);
    let len = unsigned
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'))
        .unwrap_or(unsigned.len());
    let digits = unsigned.get(..len).unwrap_or("");
    let written = rest.get(..rest.len() - unsigned.len() + len).unwrap_or("");
    let fault = |message: String| Err(CompileError::new(start, written.len(), message));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if digits.is_empty() {
        return fault(format!("{written:?} means nothing here")).map_err(|e| {
            e.help("there is no arithmetic in rules; a path is written without blanks: PID-5.1")
        });
    }
    if !numeric(whole) || !numeric(fraction) {
        return fault(format!("{written} is no number"))
            .map_err(|e| e.help(format!("write text in quotes: \"{written}\"")));
    }
    if whole.len() > 1 && whole.starts_with('0') {
        return fault(format!(
            "{written} has a leading zero, which a number would lose"
        ))
        .map_err(|e| e.help(format!("write it as text: \"{written}\"")));
    }
    Ok((Token::Number(written), start + written.len()))
}

fn stray(start: usize, c: char) -> CompileError {
    let error = CompileError::new(start, c.len_utf8(), format!("{c:?} means nothing here"));
    match c {
        '“' | '”' | '„' | '‘' | '’' => error.help("write plain quotes: \" or '"),
        '&' => error.help("write and, or &&"),
        '|' => error.help("write or, or ||"),
        '+' | '*' | '/' => {
            error.help("there is no arithmetic in rules; wildcards belong into Like \"...\"")
        }
        '}' | ']' => error.help("nothing is open that it could close"),
        '$' | '@' | '%' => error.help("a value of the message is written PID-5.1 or {PID:5.1}"),
        _ => error,
    }
}
