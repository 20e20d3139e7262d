//! The patterns of `Like`: `*` for any text, `?` for one character, a backslash before either for the
//! character itself. It owns reading and matching them; the cost of a match is bounded by value length
//! times [`PATTERN_MAX_CHARS`].

use crate::error::CompileError;

/// Longest pattern; with it no message can make a match slow.
pub(crate) const PATTERN_MAX_CHARS: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Any,
    One,
    Char(char),
}

/// A compiled `Like` pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Box<[Step]>);

impl Pattern {
    /// Reads a pattern that stands in the rule at `offset`, `len` bytes long with its quotes.
    pub(crate) fn parse(text: &str, offset: usize, len: usize) -> Result<Self, CompileError> {
        let fault = |message: String| CompileError::new(offset, len, message);
        let mut steps = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let step = match c {
                '*' => Step::Any,
                '?' => Step::One,
                '%' => return Err(fault("% has no meaning in Like".into()).help(PERCENT)),
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '%' | '\\')) => Step::Char(c),
                    _ => {
                        return Err(fault("a backslash in Like must precede * ? % or \\".into())
                            .help(BACKSLASH));
                    }
                },
                c => Step::Char(c),
            };
            if step != Step::Any || steps.last() != Some(&Step::Any) {
                steps.push(step);
            }
        }
        if steps.len() > PATTERN_MAX_CHARS {
            return Err(fault(format!(
                "a Like pattern has at most {PATTERN_MAX_CHARS} characters"
            )));
        }
        Ok(Pattern(steps.into()))
    }

    /// Whether the whole of `value` fits. Only the last `*` is ever tried again, which is enough: a later
    /// start of an earlier one could gain nothing.
    pub(crate) fn matches(&self, value: &str) -> bool {
        let (mut rest, mut at) = (value.chars(), 0);
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let step = self.0.get(at);
            if step == Some(&Step::Any) {
                at += 1;
                retry = Some((at, rest.clone()));
                continue;
            }
            let fits = match (step, rest.next()) {
                (None, None) => return true,
                (Some(Step::One), Some(_)) => true,
                (Some(Step::Char(wanted)), Some(c)) => *wanted == c,
                _ => false,
            };
            if fits {
                at += 1;
                continue;
            }
            let Some((after_star, from)) = &mut retry else {
                return false;
            };
            if from.next().is_none() {
                return false;
            }
            (at, rest) = (*after_star, from.clone());
        }
    }
}

const PERCENT: &str =
    "write * for any text and ? for one character; \\% is the percent sign itself";
const BACKSLASH: &str = "\\* is the star itself, \\\\ a backslash";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_whole_value() {
        let rows = [
            ("A*", "A01", true),
            ("A*", "A", true),
            ("A*", "BA", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("?", "", false),
            ("A?1", "A01", true),
            ("A?1", "A001", false),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbx", false),
            ("ADT_*", "ADT_A01", true),
            ("?", "ü", true),
            (r"\*", "*", true),
            (r"\*", "x", false),
            (r"\\?", r"\x", true),
        ];
        for (pattern, value, expected) in rows {
            let compiled = Pattern::parse(pattern, 0, 0).unwrap();
            assert_eq!(compiled.matches(value), expected, "{pattern} on {value}");
        }
    }

    #[test]
    fn refuses_what_would_silently_mean_something_else() {
        assert!(
            Pattern::parse("AB%", 3, 5)
                .unwrap_err()
                .help
                .unwrap()
                .contains("write *")
        );
        assert!(Pattern::parse(r"A\B", 0, 5).is_err());
        assert!(Pattern::parse(&"a".repeat(PATTERN_MAX_CHARS + 1), 0, 0).is_err());
    }
}
