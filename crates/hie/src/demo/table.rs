//! The demo on a terminal: a table of the items, the receivers with their keys, the ledger.
//!
//! Owns the look. Lines are cut at the edge of the terminal, never wrapped.

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use hie_engine::stats::ItemState;

use super::{
    frame::{Frame, Row},
    letters::Destination,
};
use crate::out::{Out, Style, number, safe};

/// Widths of the columns from `item` to `err/susp`.
const WIDTHS: [usize; 8] = [15, 10, 9, 7, 7, 8, 7, 9];
/// How many of the columns stand to the left.
const LEFT: usize = 3;
/// From this width on a terminal has room for the curve of the queue.
const CURVE_COLUMNS: usize = 110;
/// A queue of so few is no queue worth a high bar.
const PASSING: usize = 20;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A line of differently painted pieces.
#[derive(Default)]
struct Line(Vec<(Style, String)>);

impl Line {
    fn with(mut self, style: Style, text: impl AsRef<str>) -> Self {
        self.0.push((style, safe(text.as_ref()).into_owned()));
        self
    }

    fn plain(self, text: impl AsRef<str>) -> Self {
        self.with(Style::Plain, text)
    }

    /// Cut to `columns`.
    fn painted(&self, out: &Out, columns: usize) -> String {
        let mut left = columns;
        let mut painted = String::new();
        for (style, text) in &self.0 {
            let cut: String = text.chars().take(left).collect();
            left -= cut.chars().count();
            match style {
                Style::Plain => painted.push_str(&cut),
                style => painted.push_str(&out.paint(*style, &cut)),
            }
        }
        painted
    }
}

/// Draws the moment over the last one.
pub(crate) fn draw(
    out: &mut Out,
    frame: &Frame,
    data: &Path,
    (columns, rows): (usize, usize),
) -> io::Result<()> {
    let mut lines = vec![title(frame), Line::default(), head(columns)];
    lines.extend(frame.rows.iter().map(|row| item(row, columns)));
    lines.extend(
        frame
            .rows
            .iter()
            .filter(|row| !row.trouble.is_empty())
            .map(trouble),
    );
    lines.push(Line::default());
    lines.push(receivers(frame));
    lines.push(messages(frame));
    lines.extend(ledger(frame));
    lines.push(Line::default());
    lines.push(news(frame));
    lines.push(Line::default());
    lines.extend(footer(data));
    let text: Vec<String> = lines
        .iter()
        .take(rows)
        .map(|line| format!("{}\x1b[K", line.painted(out, columns)))
        .collect();
    // One write a frame, so that nothing flickers; `\x1b[J` clears what the last frame had below.
    write!(out, "\x1b[H{}\x1b[J", text.join("\r\n"))?;
    out.flush()
}

fn title(frame: &Frame) -> Line {
    let pace = match frame.pace {
        0 => "senders stopped".to_owned(),
        pace => format!("sending {}/s", number(pace.into())),
    };
    let title = Line::default()
        .with(Style::Bold, " HIE demo")
        .plain(format!(
            "  {}  {}  {pace}",
            frame.production,
            clock(frame.elapsed)
        ));
    match &frame.trouble {
        Some(trouble) => title.with(Style::Red, format!("  {trouble}")),
        None => title,
    }
}

fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn head(columns: usize) -> Line {
    let names = [
        "item", "kind", "state", "in/s", "out/s", "queued", "oldest", "err/susp",
    ];
    let curve = if columns >= CURVE_COLUMNS {
        format!("{:<26}", "queue of late")
    } else {
        String::new()
    };
    Line::default().with(
        Style::Dim,
        format!(" {}  {curve}where", cells(names.map(str::to_owned))),
    )
}

fn cells(texts: [String; 8]) -> String {
    let cell = |(at, (text, width)): (usize, (String, usize))| {
        let text: String = text.chars().take(width).collect();
        if at < LEFT {
            format!("{text:<width$}")
        } else {
            format!("{text:>width$}")
        }
    };
    texts
        .into_iter()
        .zip(WIDTHS)
        .enumerate()
        .map(cell)
        .collect()
}

fn item(row: &Row, columns: usize) -> Line {
    let (state, style) = state(row);
    let is_service = row.kind == "Service";
    let queued = if is_service {
        "–".into()
    } else {
        number(row.queued as u64)
    };
    let oldest = row
        .oldest_s
        .map(|seconds| format!("{seconds} s"))
        .unwrap_or_else(|| "–".into());
    let bad = match (row.failed, row.suspended) {
        (0, 0) => "–".into(),
        (failed, suspended) => format!("{failed}/{suspended}"),
    };
    let all = cells([
        row.name.clone(),
        row.kind.to_ascii_lowercase(),
        state.to_owned(),
        format!("{:.0}", row.in_rate),
        format!("{:.0}", row.out_rate),
        queued,
        oldest,
        bad,
    ]);
    let line = Line::default().with(style, format!(" {all}  "));
    let line = if columns >= CURVE_COLUMNS {
        line.with(style, format!("{:<26}", curve(row)))
    } else {
        line
    };
    line.with(Style::Dim, &row.address)
}

fn state(row: &Row) -> (&'static str, Style) {
    match row.state {
        ItemState::Running if row.retrying => ("retrying", Style::Yellow),
        ItemState::Running if row.suspended > 0 || row.failed > 0 => ("running", Style::Yellow),
        ItemState::Running if row.queued > 20 => ("running", Style::Cyan),
        ItemState::Running => ("running", Style::Plain),
        ItemState::Error => ("error", Style::Red),
        state => (state.name(), Style::Dim),
    }
}

/// What an item is in trouble with; too long for its row.
fn trouble(row: &Row) -> Line {
    Line::default().with(state(row).1, format!("   {}: {}", row.name, row.trouble))
}

/// The queue's length over the last moments. Its highest fills the line, unless that is so little
/// that it is only messages passing through.
fn curve(row: &Row) -> String {
    let highest = row.history.iter().copied().max().unwrap_or(0).max(PASSING);
    if row.kind == "Service" || row.history.iter().all(|&length| length == 0) {
        return String::new();
    }
    let bar = |&length: &usize| {
        // An empty queue shows nothing, one message at least the lowest bar.
        let step = (length * (BARS.len() - 1)).div_ceil(highest);
        if length == 0 {
            ' '
        } else {
            BARS.get(step).copied().unwrap_or('█')
        }
    };
    row.history.iter().map(bar).collect()
}

fn receivers(frame: &Frame) -> Line {
    let mut line = Line::default().with(Style::Bold, " receivers  ");
    for (at, (destination, word)) in frame.sites.iter().enumerate() {
        let style = if *word == "up" {
            Style::Green
        } else {
            Style::Red
        };
        line = line
            .plain(format!("[{}] {} ", at + 1, destination.name()))
            .with(style, word)
            .plain("   ");
    }
    line
}

fn messages(frame: &Frame) -> Line {
    let totals = frame.totals;
    let line = Line::default()
        .with(Style::Bold, " messages   ")
        .plain(format!(
            "{} sent, {} acknowledged",
            number(totals.sent),
            number(totals.acked)
        ));
    match totals.refused {
        0 => line,
        refused => line.with(Style::Red, format!(", {} refused", number(refused))),
    }
}

/// What the receivers have of what was acknowledged; kept outside the engine.
fn ledger(frame: &Frame) -> Vec<Line> {
    let mut lines = Vec::new();
    for (at, (destination, verdict)) in frame.verdicts.iter().enumerate() {
        let title = if at == 0 {
            " ledger     "
        } else {
            "            "
        };
        let delivered = verdict.delivered.saturating_sub(verdict.unknown);
        let line = Line::default().with(Style::Bold, title).plain(format!(
            "{:<15}{:>9} of {:>9} delivered, ",
            Destination::name(*destination),
            number(delivered),
            number(verdict.acked + verdict.unasked)
        ));
        let line = match verdict.lost {
            0 => line.with(Style::Green, "0 lost"),
            waiting => line.with(
                Style::Yellow,
                format!("{} wait in the engine", number(waiting)),
            ),
        };
        let line = line.plain(format!(", {} twice", number(verdict.duplicated)));
        let bad = verdict.changed + verdict.inversions;
        lines.push(if bad == 0 {
            line
        } else {
            line.with(Style::Red, format!(", {bad} changed or out of order"))
        });
    }
    lines
}

fn news(frame: &Frame) -> Line {
    Line::default().with(Style::Cyan, format!(" {}", frame.news))
}

fn footer(data: &Path) -> Vec<Line> {
    let (data, hie) = (data.display(), crate::out::myself());
    let key = |line: Line, key: &str, what: &str| {
        line.with(Style::Bold, key).plain(format!(" {what}   "))
    };
    let mut keys = Line::default().plain(" ");
    for (name, what) in [
        ("1 2 3", "stop or start a receiver"),
        ("e", "EPR answers AE"),
        ("+ -", "rate"),
        ("q", "quit"),
    ] {
        keys = key(keys, name, what);
    }
    vec![
        keys,
        Line::default(),
        Line::default().with(Style::Dim, " In another terminal, while this runs:"),
        Line::default().plain(format!("   {hie} queues --data {data}")),
        Line::default().plain(format!("   {hie} messages --data {data}")),
        Line::default().plain(format!("   {hie} trace ID --data {data}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(history: Vec<usize>) -> Row {
        Row {
            name: "EPR".into(),
            kind: "Operation",
            state: ItemState::Running,
            retrying: false,
            in_rate: 0.0,
            out_rate: 0.0,
            queued: 0,
            oldest_s: None,
            failed: 0,
            suspended: 0,
            history,
            address: String::new(),
            trouble: String::new(),
        }
    }

    #[test]
    fn the_curve_shows_a_queue_grow_and_drain() {
        assert_eq!(curve(&row(vec![0, 1, 50, 100, 0])), " ▂▅█ ");
        assert_eq!(curve(&row(vec![0, 0])), "");
    }

    #[test]
    fn lines_are_cut_at_the_edge() {
        let mut out = Out::new();
        out.colour = false;
        let line = Line::default().plain("äöü").with(Style::Red, "xyz");
        assert_eq!(line.painted(&out, 4), "äöüx");
        assert_eq!(line.painted(&out, 0), "");
    }
}
