//! `hie trace`: a session as a tree, from the message that entered to the last hop.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use clap::Args;

use super::messages::state_style;
use crate::{
    cli::DataArgs,
    control::{
        client::Link,
        protocol::{Request, ResponseRow, Row},
    },
    exit::Failure,
    out::{self, Out, Style, safe},
    times,
};

/// Options of `hie trace`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  hie trace 42           the session that message 42 belongs to
  hie trace 42 --json    one object a hop")]
pub(crate) struct Trace {
    /// A session, or any message of it
    #[arg(value_name = "ID")]
    id: u64,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

pub(crate) fn run(args: &Trace) -> Result<(), Failure> {
    let reply = Link::open(&args.data.data)?.ask(Request::Trace { id: args.id })?;
    let mut out = Out::new();
    if args.json {
        for row in &reply.rows {
            out.json(row)?;
        }
    } else {
        print(&mut out, &reply.typed_rows()?)?;
    }
    Ok(out.flush()?)
}

fn print(out: &mut Out, rows: &[Row]) -> io::Result<()> {
    let Some(first) = rows.first() else {
        return Ok(());
    };
    let title = format!("session {}", first.session);
    let title = out.paint(Style::Bold, &title).into_owned();
    let (kind, origin) = (safe(&first.message_type), safe(&first.origin));
    writeln!(
        out,
        "{title}  {}  {kind} {}  from {origin}",
        times::local(first.created_ms, true),
        safe(&first.control_id)
    )?;
    if let Some(id) = first.resent_from {
        writeln!(
            out,
            "repeats message {id}, sent again by an operator (hie trace {id})"
        )?;
    }
    let parents: Vec<Option<usize>> = (0..rows.len()).map(|at| parent(rows, at)).collect();
    let mut open = Tree {
        rows,
        parents,
        shown: BTreeSet::new(),
    };
    open.children(out, None, "")
}

/// Which hop led to this one, as the engine says. What an index rebuilt from half a journal does
/// not know is guessed: its sender got a message before it, and finished it when this one was made.
/// Where several fit, the latest.
fn parent(rows: &[Row], at: usize) -> Option<usize> {
    let row = rows.get(at)?;
    if let Some(cause) = row.causation_id {
        return rows.iter().position(|other| other.id == cause);
    }
    let fits = |other: &&(usize, &Row)| other.1.target == row.source && other.1.id < row.id;
    let candidates: Vec<(usize, &Row)> = rows
        .iter()
        .enumerate()
        .filter(|other| fits(&other))
        .collect();
    let made_it = candidates
        .iter()
        .rev()
        .find(|(_, other)| other.done_ms == Some(row.created_ms));
    made_it.or(candidates.last()).map(|(at, _)| *at)
}

struct Tree<'r> {
    rows: &'r [Row],
    parents: Vec<Option<usize>>,
    shown: BTreeSet<usize>,
}

impl Tree<'_> {
    fn children(&mut self, out: &mut Out, of: Option<usize>, indent: &str) -> io::Result<()> {
        let children = self
            .parents
            .iter()
            .enumerate()
            .filter(|(_, parent)| **parent == of);
        let children: Vec<usize> = children.map(|(at, _)| at).collect();
        for (nth, at) in children.iter().enumerate() {
            let last = nth + 1 == children.len();
            let (branch, below) = if last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            if self.shown.insert(*at)
                && let Some(row) = self.rows.get(*at)
            {
                hop(out, row, indent, branch, below)?;
                self.children(out, Some(*at), &format!("{indent}{below}"))?;
            }
        }
        Ok(())
    }
}

/// One hop: who to whom, how it ended and when, then what is to be said of it.
fn hop(out: &mut Out, row: &Row, indent: &str, branch: &str, below: &str) -> io::Result<()> {
    let state = out.paint(state_style(&row.state), &row.state).into_owned();
    let took = row
        .done_ms
        .map(|done| times::span(done.saturating_sub(row.created_ms)));
    let took = took.map(|took| format!(" in {took}")).unwrap_or_default();
    let (from, to) = (safe(&row.source), safe(&row.target));
    writeln!(
        out,
        "{indent}{branch}{}  {from} → {to}  {state}{took}  (message {})",
        times::local(row.created_ms, false),
        row.id
    )?;
    let mut remark = |text: String| writeln!(out, "{indent}{below}   {text}");
    if !row.reason.is_empty() {
        remark(format!("reason: {}", safe(&row.reason)))?;
    }
    if !row.note.is_empty() {
        remark(format!("decision: {}", safe(&row.note)))?;
    }
    if row.attempts > 1 || (row.attempts > 0 && row.done_ms.is_none()) {
        remark(format!("tried {}", out::count(row.attempts.into(), "time")))?;
    }
    if row.possible_duplicate {
        remark("possible duplicate: it may have been delivered before a crash".into())?;
    }
    if let Some(response) = &row.response {
        return writeln!(out, "{indent}{below}↩ {}", answer(out, response));
    }
    if let Some(bytes) = row.reply_bytes {
        remark(format!(
            "reply of {} (hie show {} --reply)",
            out::bytes(bytes.into()),
            row.id
        ))?;
    }
    Ok(())
}

/// The response to a request: a line of its own, the other way round.
fn answer(out: &Out, response: &ResponseRow) -> String {
    let state = out.paint(state_style(&response.state), &response.state);
    let (from, to) = (safe(&response.source), safe(&response.target));
    let at = times::local(response.created_ms, false);
    let late = if response.late {
        "  late: nobody waited any more"
    } else {
        ""
    };
    let what = match response.bytes {
        0 => "without a reply".to_owned(),
        bytes => format!(
            "{} (hie show {} --reply)",
            out::bytes(bytes.into()),
            response.correlation_id
        ),
    };
    format!("{at}  {from} → {to}  {state} response, {what}{late}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u64, source: &str, target: &str, created_ms: u64, done_ms: Option<u64>) -> Row {
        let json = serde_json::json!({
            "id": id, "session": 1, "source": source, "target": target, "state": "Completed",
            "created": "", "created_ms": created_ms, "done_ms": done_ms, "attempts": 1, "priority": 2,
            "possible_duplicate": false, "reason": "", "note": "", "bytes": 0, "reply_bytes": null,
            "message_type": "", "control_id": "", "origin": "", "resent_from": null,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn each_hop_hangs_below_the_one_that_made_it() {
        let rows = [
            row(1, "In", "Router", 10, Some(20)),
            row(2, "In", "Router", 10, Some(30)),
            row(3, "Router", "A", 20, Some(40)),
            row(4, "Router", "B", 30, None),
            row(5, "A", "In", 40, None),
        ];
        let parents: Vec<_> = (0..rows.len()).map(|at| parent(&rows, at)).collect();
        assert_eq!(parents, [None, None, Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn a_process_that_sends_to_itself_makes_no_circle() {
        let rows = [row(1, "P", "P", 1, Some(2)), row(2, "P", "P", 2, Some(3))];
        assert_eq!((parent(&rows, 0), parent(&rows, 1)), (None, Some(0)));
    }
}
