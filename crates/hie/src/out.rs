//! What a person sees: tables, colours, sizes, and text that cannot harm a terminal.
//!
//! Owns the look of stdout. Values that come from messages pass through [`safe`]: a field with
//! escape sequences must not drive the reader's terminal.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, BufWriter, IsTerminal, Stdout, Write},
    path::Path,
};

/// How this program is called from here: its path from the current folder, the bare name where the
/// search path finds it, else the whole path.
pub(crate) fn myself() -> String {
    let bare = || "hie".to_owned();
    let (Ok(program), Ok(here)) = (std::env::current_exe(), std::env::current_dir()) else {
        return bare();
    };
    if !program.exists() {
        return bare(); // built anew since; Linux then names it "… (deleted)"
    }
    let search = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&search).any(|folder| folder.join("hie") == program) {
        return bare();
    }
    let near = program
        .strip_prefix(&here)
        .map(|near| Path::new(".").join(near));
    near.unwrap_or(program).display().to_string()
}

/// Buffered stdout that knows whether a person looks at it.
pub(crate) struct Out {
    stream: BufWriter<Stdout>,
    /// Colours may be used: a terminal, and `NO_COLOR` is not set.
    pub(crate) colour: bool,
    /// A person looks at it.
    pub(crate) tty: bool,
}

impl Out {
    pub(crate) fn new() -> Self {
        let tty = io::stdout().is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            stream: BufWriter::new(io::stdout()),
            colour: tty && !no_colour,
            tty,
        }
    }

    /// One value as a line of JSON.
    pub(crate) fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.stream, value)?;
        self.stream.write_all(b"\n")
    }

    /// Text in a style, where colours may be used.
    pub(crate) fn paint<'t>(&self, style: Style, text: &'t str) -> Cow<'t, str> {
        if !self.colour || text.is_empty() {
            return text.into();
        }
        format!("\x1b[{}m{text}\x1b[0m", style as u8).into()
    }
}

impl Write for Out {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Styles, by their number in ECMA-48 (SGR).
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Style {
    Plain = 0,
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Cyan = 36,
}

/// Text with every control character made visible.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() {
            let _ = write!(shown, "\\x{:02X}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

/// Columns side by side, as wide as their widest cell.
pub(crate) struct Table {
    head: Vec<&'static str>,
    right: Vec<usize>,
    rows: Vec<Vec<(Style, String)>>,
}

impl Table {
    /// A table with these headings; the columns `right` are aligned to the right.
    pub(crate) fn new(head: &[&'static str], right: &[usize]) -> Self {
        Self {
            head: head.to_vec(),
            right: right.to_vec(),
            rows: Vec::new(),
        }
    }

    /// A row of plain cells.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.styled(cells.map(|cell| (Style::Plain, cell)));
    }

    /// A row of cells with their styles.
    pub(crate) fn styled<const N: usize>(&mut self, cells: [(Style, String); N]) {
        let cells = cells
            .into_iter()
            .map(|(style, cell)| (style, safe(&cell).into_owned()));
        self.rows.push(cells.collect());
    }

    /// Writes it, each line after `indent`.
    pub(crate) fn print(&self, out: &mut Out, indent: &str) -> io::Result<()> {
        let widths: Vec<usize> = (0..self.head.len())
            .map(|column| self.width(column))
            .collect();
        let head: Vec<_> = self
            .head
            .iter()
            .map(|name| (Style::Bold, (*name).to_owned()))
            .collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::from(indent);
            for (column, (style, cell)) in row.iter().enumerate() {
                let blank = widths
                    .get(column)
                    .copied()
                    .unwrap_or(0)
                    .saturating_sub(width(cell));
                let (before, after) = if self.right.contains(&column) {
                    (blank, 0)
                } else {
                    (0, blank)
                };
                let painted = if *style == Style::Plain {
                    cell.into()
                } else {
                    out.paint(*style, cell)
                };
                let _ = write!(line, "{:before$}{painted}{:after$}  ", "", "");
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn width(&self, column: usize) -> usize {
        let head = self.head.get(column).map_or(0, |name| width(name));
        self.rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|(_, cell)| width(cell))
            .fold(head, usize::max)
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Bytes as a person reads them.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut amount, mut unit) = (count as f64, 0);
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 {
        format!("{count} B")
    } else {
        format!("{amount:.1} {name}")
    }
}

/// A number with its thousands apart.
pub(crate) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `1 message`, `2 messages`.
pub(crate) fn count(how_many: u64, what: &str) -> String {
    let s = if how_many == 1 { "" } else { "s" };
    format!("{} {what}{s}", number(how_many))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_reach_no_terminal() {
        assert_eq!(safe("a\x1b[2Jb\u{9b}c\nd"), "a\\x1B[2Jb\\x9Bc\\x0Ad");
        assert!(matches!(safe("Müller 名前"), Cow::Borrowed("Müller 名前")));
    }

    #[test]
    fn sizes_and_numbers_read_well() {
        assert_eq!(
            [bytes(0), bytes(1023), bytes(1536), bytes(64 << 20)],
            ["0 B", "1023 B", "1.5 KiB", "64.0 MiB"]
        );
        assert_eq!(
            [number(7), number(1234), number(1_234_567)],
            ["7", "1,234", "1,234,567"]
        );
        assert_eq!(
            [count(1, "error"), count(0, "error")],
            ["1 error", "0 errors"]
        );
    }
}
