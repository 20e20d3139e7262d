//! Places in a file: its lines, and where a byte of a scalar's text stands in them.
//!
//! Owns the counting (lines and columns from 1, columns in characters) and how a piece of the file
//! is quoted in an error. Knows how scalars are folded and nothing else of YAML.

/// A place in the file, both from 1, the column in characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    /// The first character of the file.
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

/// How a scalar was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
    Folded,
}

/// A text of the file as an error quotes it: short, on one line.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let line: String = text
        .chars()
        .take(SHOWN_MAX)
        .flat_map(char::escape_debug_in_line)
        .collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        format!("{line}…")
    } else {
        line
    }
}

/// Escapes what would break a line and nothing else.
trait EscapeInLine {
    fn escape_debug_in_line(self) -> Vec<char>;
}

impl EscapeInLine for char {
    fn escape_debug_in_line(self) -> Vec<char> {
        if self.is_control() {
            self.escape_default().collect()
        } else {
            vec![self]
        }
    }
}

/// The lines of a file; CR, LF and CRLF end one.
pub(crate) struct Lines<'a> {
    lines: Vec<&'a str>,
}

impl<'a> Lines<'a> {
    /// Cuts a text into its lines.
    pub(crate) fn new(text: &'a str) -> Self {
        let mut lines = Vec::new();
        let mut rest = text;
        while let Some(end) = rest.find(['\r', '\n']) {
            let (line, tail) = rest.split_at(end);
            lines.push(line);
            rest = tail
                .strip_prefix("\r\n")
                .unwrap_or_else(|| tail.get(1..).unwrap_or(""));
        }
        lines.push(rest);
        Self { lines }
    }

    /// How many there are; at least one.
    pub(crate) fn count(&self) -> usize {
        self.lines.len()
    }

    /// The line of that number, from 1; empty beyond the end.
    pub(crate) fn line(&self, number: usize) -> &'a str {
        number
            .checked_sub(1)
            .and_then(|index| self.lines.get(index))
            .copied()
            .unwrap_or("")
    }

    /// Where the byte at `offset` of a scalar's text stands in the file, as well as that can be
    /// known: escapes in double quotes count as one character, folded lines as one blank.
    pub(crate) fn place_in(&self, at: Place, text: &str, style: Style, offset: usize) -> Place {
        let mut left = text.get(..offset).unwrap_or(text).chars().count();
        let block = matches!(style, Style::Literal | Style::Folded);
        let first = if block {
            at.line + usize::from(!self.is_content(at))
        } else {
            at.line
        };
        let quote = usize::from(matches!(style, Style::SingleQuoted | Style::DoubleQuoted));
        let indent = indent_of(self.line(first));
        for number in first..=self.count() {
            let line = self.line(number);
            let start = match (block, number == first) {
                (true, _) => indent.min(indent_of(line)),
                (false, true) => at.column - 1 + quote,
                (false, false) => indent_of(line),
            };
            match walk(line.chars().skip(start), style, left) {
                Ok(column) => {
                    return Place {
                        line: number,
                        column: start + column + 1,
                    };
                }
                Err(walked) => left = left.saturating_sub(walked + 1),
            }
        }
        at
    }

    /// Whether a block scalar's mark stands on its content and not on its `|`.
    fn is_content(&self, at: Place) -> bool {
        !matches!(
            self.line(at.line).chars().nth(at.column - 1),
            Some('|' | '>')
        )
    }
}

fn indent_of(line: &str) -> usize {
    line.chars().take_while(|c| *c == ' ').count()
}

/// Columns that `wanted` characters of text take in one line, or how many the line held.
fn walk(line: impl Iterator<Item = char>, style: Style, wanted: usize) -> Result<usize, usize> {
    let mut line = line.peekable();
    let (mut walked, mut columns) = (0, 0);
    while let Some(c) = line.next_if(|_| walked < wanted) {
        let pair = match style {
            Style::SingleQuoted => c == '\'',
            Style::DoubleQuoted => c == '\\',
            _ => false,
        };
        if pair && line.next().is_some() {
            columns += 1;
        }
        columns += 1;
        walked += 1;
    }
    if walked == wanted {
        Ok(columns)
    } else {
        Err(walked)
    }
}
