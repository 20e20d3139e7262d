//! Errors of a configuration file: how they are gathered, sorted and shown.
//!
//! Owns their look (one line, with the source line and a caret, or as JSON). Decides nothing about
//! what an error is.

use std::fmt::{self, Write};

use super::{
    ConfigError,
    lines::{Lines, Place, shown},
};

/// More than this many are counted, not listed: nobody reads them, and a hostile file is bounded.
const ERRORS_MAX: usize = 1000;

/// An error while it is being made.
#[derive(Debug)]
pub(crate) struct Problem {
    at: Place,
    item: Option<String>,
    setting: Option<String>,
    message: String,
    help: Option<String>,
}

impl Problem {
    pub(crate) fn new(at: Place, message: impl Into<String>) -> Self {
        Self {
            at,
            item: None,
            setting: None,
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn item(mut self, item: Option<&str>) -> Self {
        self.item = item.map(shown);
        self
    }

    pub(crate) fn setting(mut self, setting: &str) -> Self {
        self.setting = Some(shown(setting));
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }
}

/// The error for a key or setting that stands in two places.
pub(crate) fn given_twice(at: Place, name: &str, first: Place) -> Problem {
    let message = format!(
        "`{}` is given twice: the first is at line {}",
        shown(name),
        first.line
    );
    Problem::new(at, message).help("keep one of the two")
}

/// All errors of one file.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    problems: Vec<Problem>,
    more: usize,
}

impl Errors {
    pub(crate) fn add(&mut self, problem: Problem) {
        if self.problems.len() < ERRORS_MAX {
            self.problems.push(problem);
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.problems.len() + self.more
    }

    /// By position; those of one position in the order in which they were found.
    pub(crate) fn finish(mut self, file: &str) -> Vec<ConfigError> {
        self.problems.sort_by_key(|problem| problem.at);
        if self.more > 0 {
            let last = self
                .problems
                .last()
                .map_or(Place::START, |problem| problem.at);
            self.problems
                .push(Problem::new(last, format!("{} more errors", self.more)));
        }
        self.problems
            .into_iter()
            .map(|problem| problem.finish(file))
            .collect()
    }
}

impl Problem {
    pub(crate) fn finish(self, file: &str) -> ConfigError {
        ConfigError {
            file: file.to_owned(),
            line: self.at.line,
            column: self.at.column,
            item: self.item,
            setting: self.setting,
            message: self.message,
            help: self.help,
        }
    }
}

impl ConfigError {
    /// `item X, setting Y`, or empty where neither is known.
    fn subject(&self) -> String {
        match (&self.item, &self.setting) {
            (Some(item), Some(setting)) => format!("item {item}, setting {setting}: "),
            (Some(item), None) => format!("item {item}: "),
            (None, Some(setting)) => format!("setting {setting}: "),
            (None, None) => String::new(),
        }
    }
}

/// `file:line:column: item X, setting Y: message`, and the help on a line of its own.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
            help,
            ..
        } = self;
        write!(f, "{file}:{line}:{column}: {}{message}", self.subject())?;
        match help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// All errors for a person: each with its line of the file and a caret under its place. Without
/// the source (it could not be read) the lines are left out.
pub fn render(errors: &[ConfigError], source: Option<&str>) -> String {
    let lines = source.map(Lines::new);
    let mut out = String::new();
    for error in errors {
        render_one(&mut out, error, lines.as_ref());
    }
    let _ = match errors {
        [] => Ok(()),
        [one] => writeln!(out, "1 error in {}", one.file),
        [first, ..] => writeln!(out, "{} errors in {}", errors.len(), first.file),
    };
    out
}

fn render_one(out: &mut String, error: &ConfigError, lines: Option<&Lines<'_>>) {
    const WIDTH_MAX: usize = 160;
    let ConfigError {
        file,
        line,
        column,
        message,
        ..
    } = error;
    let _ = writeln!(out, "error: {}{message}", error.subject());
    let gutter = " ".repeat(line.to_string().len());
    let _ = writeln!(out, "{gutter}--> {file}:{line}:{column}");
    if let Some(lines) = lines.filter(|lines| *column <= WIDTH_MAX && *line <= lines.count()) {
        let text: String = lines.line(*line).chars().take(WIDTH_MAX).collect();
        let caret: String = text.chars().take(column - 1).map(tab_or_blank).collect();
        let _ = writeln!(out, "{gutter} |\n{line} | {text}\n{gutter} | {caret}^");
    }
    if let Some(help) = &error.help {
        let _ = writeln!(out, "{gutter} = help: {help}");
    }
    out.push('\n');
}

/// Tabs stay tabs under a tab, so that the caret stands right however wide they are shown.
fn tab_or_blank(c: char) -> char {
    if c == '\t' { '\t' } else { ' ' }
}

/// The known name nearest to `word`, ignoring case; none when all are far off, because a wild
/// guess helps less than silence.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const WORD_MAX: usize = 100; // the distance is quadratic; nothing we know is as long
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

/// The help that goes with an unknown name.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let near = nearest(word, known)?;
    if near.eq_ignore_ascii_case(word) {
        Some(format!("write `{near}`: upper and lower case count"))
    } else {
        Some(format!("did you mean `{near}`?"))
    }
}
