//! `hie show`: one message, for a person, as JSON, or its exact bytes.

use std::io::{self, Write};

use clap::Args;
use hie_hl7::{Message, view};

use super::messages::state_style;
use crate::{
    cli::DataArgs,
    control::{
        client::Link,
        protocol::{Payload, Request, Row, Shown},
    },
    exit::Failure,
    out::{self, Out, Style, safe},
    times,
};

/// Options of `hie show`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  hie show 42                     header, then every value with its path
  hie show 42 --raw > message     the bytes exactly as they came
  hie show 42 --reply             what the receiver answered
  hie show 42 --json

Shows patients' data. Values are unescaped and decoded by MSH-18; --raw changes nothing.")]
pub(crate) struct Show {
    /// The message, as `hie messages` numbers it
    #[arg(value_name = "ID")]
    id: u64,
    /// Write the exact bytes to stdout and nothing else
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// The reply of the receiver instead of the message
    #[arg(long)]
    reply: bool,
    /// Print JSON: header, body and reply
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

pub(crate) fn run(args: &Show) -> Result<(), Failure> {
    let reply = Link::open(&args.data.data)?.ask(Request::Show { id: args.id })?;
    let mut out = Out::new();
    if args.json {
        out.json(&reply.done)?;
        return Ok(out.flush()?);
    }
    let shown: Shown = reply.typed_done()?;
    let body = body(args, &shown)?;
    if args.raw {
        out.write_all(&body)?;
        return Ok(out.flush()?);
    }
    header(&mut out, &shown.header)?;
    writeln!(out)?;
    message(&mut out, &body)?;
    Ok(out.flush()?)
}

fn body(args: &Show, shown: &Shown) -> Result<Vec<u8>, Failure> {
    let payload = if args.reply {
        shown
            .reply
            .as_ref()
            .ok_or_else(|| Failure::new("no-reply", format!("message {} has no reply", args.id)))?
    } else {
        &shown.body
    };
    Payload::bytes(payload)
        .ok_or_else(|| Failure::new("protocol", "the engine's answer is not readable"))
}

/// What is known of a message beside its body.
fn header(out: &mut Out, row: &Row) -> io::Result<()> {
    let title = format!("message {} of session {}", row.id, row.session);
    writeln!(out, "{}", out.paint(Style::Bold, &title).into_owned())?;
    let text = |text: &str| safe(text).into_owned();
    let state = out.paint(state_style(&row.state), &row.state).into_owned();
    let resent = row
        .resent_from
        .map(|id| format!("message {id} (sent again)"));
    let warning = if row.possible_duplicate {
        "may have been delivered before a crash"
    } else {
        ""
    };
    let lines = [
        (
            "from → to",
            text(&format!("{} → {}", row.source, row.target)),
        ),
        ("came from", text(&row.origin)),
        ("type", text(&row.message_type)),
        ("control id", text(&row.control_id)),
        ("made", times::local(row.created_ms, true)),
        ("state", format!("{state}{}", effort(row))),
        ("reason", text(&row.reason)),
        ("decision", text(&row.note)),
        ("repeats", resent.unwrap_or_default()),
        ("warning", warning.to_owned()),
        ("size", size(row)),
    ];
    for (name, text) in lines.iter().filter(|(_, text)| !text.is_empty()) {
        writeln!(out, "  {name:<10} {text}")?;
    }
    Ok(())
}

/// How long it took, and how many tries.
fn effort(row: &Row) -> String {
    let took = row.done_ms.map(|done| done.saturating_sub(row.created_ms));
    let took = took.map(|took| format!(" after {}", times::span(took)));
    let tries = Some(row.attempts).filter(|tries| *tries > 1);
    let tries = tries.map(|tries| format!(", {tries} tries"));
    took.unwrap_or_default() + &tries.unwrap_or_default()
}

fn size(row: &Row) -> String {
    let reply = row.reply_bytes.map(|bytes| out::bytes(bytes.into()));
    let reply = reply.map(|bytes| format!("; reply {bytes} (--reply)"));
    out::bytes(row.bytes.into()) + &reply.unwrap_or_default()
}

/// Segments with their values, each with its path; other content as text.
fn message(out: &mut Out, body: &[u8]) -> io::Result<()> {
    let Ok(message) = Message::parse(body) else {
        return writeln!(out, "{}", plain(body));
    };
    for row in view::rows(&message) {
        let name = String::from_utf8_lossy(row.segment.name()).into_owned();
        if name.is_empty() {
            continue; // an empty line between segments
        }
        let title = if row.repeats {
            format!("{name} [{}]", row.occurrence)
        } else {
            name
        };
        writeln!(
            out,
            "{}",
            out.paint(Style::Bold, &safe(&title)).into_owned()
        )?;
        let leaves: Vec<(String, String)> = row
            .leaves()
            .map(|leaf| (path_of(&leaf), value_of(&message, &leaf)))
            .collect();
        let widest = leaves.iter().map(|(path, _)| path.len()).max().unwrap_or(0);
        for (path, value) in leaves {
            let path = format!("{path:<widest$}");
            writeln!(
                out,
                "  {}  {}",
                out.paint(Style::Cyan, &path).into_owned(),
                safe(&value)
            )?;
        }
    }
    Ok(())
}

fn path_of(leaf: &view::Leaf<'_>) -> String {
    leaf.path
        .map_or_else(|| format!("-{}", leaf.place.field), |path| path.to_string())
}

/// The separators are shown as they are; everything else unescaped and decoded.
fn value_of(message: &Message<'_>, leaf: &view::Leaf<'_>) -> String {
    let path = path_of(leaf);
    match path.as_str() {
        "MSH-1" | "MSH-2" => String::from_utf8_lossy(leaf.raw).into_owned(),
        _ => message.decode(leaf.raw).into_owned(),
    }
}

/// Bytes that are no HL7 as text, line by line, control characters made visible.
fn plain(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let lines: Vec<_> = text
        .split(['\r', '\n'])
        .map(|line| safe(line).into_owned())
        .collect();
    lines.join("\n")
}
