//! What is wrong with an expression, where, and what would be right. It owns the error type and the
//! search for the nearest known word; it knows nothing of the grammar.

use std::fmt;

/// The first fault of an expression.
///
/// `offset` and `len` are bytes into the text that was compiled and always lie on character borders, so
/// the configuration layer can add them to its own position. The message speaks of the rule's text only,
/// never of a message's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// First byte of the faulty part.
    pub offset: usize,
    /// Length of the faulty part in bytes; 0 where something is missing.
    pub len: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that can be said.
    pub help: Option<String>,
}

impl CompileError {
    pub(crate) fn new(offset: usize, len: usize, message: impl Into<String>) -> Self {
        CompileError {
            offset,
            len,
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds `did you mean` when a known word is near enough to what was written.
    pub(crate) fn nearest<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(word, known) {
            Some(near) => self.help(format!("did you mean {near}?")),
            None => self,
        }
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.message, self.offset)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CompileError {}

/// The known word with the fewest edits from `word`, ignoring case; none when all are further than a third
/// of its length, because a wild guess helps less than silence.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const WORD_MAX: usize = 64; // the distance is quadratic; nothing we know is as long
    if word.len() > WORD_MAX {
        return None;
    }
    let wanted = word.to_lowercase();
    let budget = (wanted.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&wanted, &name.to_lowercase()),
                name,
            )
        })
        .filter(|(edits, _)| *edits <= budget)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_ignores_case_and_refuses_wild_guesses() {
        let known = ["Contains", "StartsWith", "In"];
        assert_eq!(nearest("contians", known), Some("Contains"));
        assert_eq!(nearest("STARTWITH", known), Some("StartsWith"));
        assert_eq!(nearest("Frobnicate", known), None);
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
    }
}
