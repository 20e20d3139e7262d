//! The words on the control socket: requests, rows, answers.
//!
//! Owns their JSON form, which is also what `--json` prints; its fields only ever grow. An unknown
//! request or field is an error.

use std::collections::BTreeMap;

use hie_store::{Answered, HeaderRow, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use super::changes::{Commanded, Configuration, Health, ItemVerb, Recovered, Reloaded};
pub(crate) use super::waiting::QueueRow;
use crate::{exit::Failure, times};

/// The version of this protocol; another one is refused with a sentence.
pub(crate) const VERSION: u32 = 1;

/// A line from a client.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Envelope {
    pub(crate) v: u32,
    pub(crate) request: Request,
}

/// What may be asked.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// All that is known of the engine and its items.
    Status,
    /// What waits, one row an item.
    Queues,
    /// Search: a page of rows, newest first.
    Messages(Filter),
    /// One message with its body and reply.
    Show { id: u64 },
    /// The session of a message, one row a hop.
    Trace { id: u64 },
    /// Send stored messages again, one row each.
    Resend {
        ids: Vec<u64>,
        target: Option<String>,
    },
    /// Do something with single items, one row each.
    Item { verb: ItemVerb, names: Vec<String> },
    /// Take the changed configuration file over.
    Reload { dry_run: bool },
    /// Let go of finished messages.
    Purge {
        before_ms: u64,
        items: Vec<String>,
        dry_run: bool,
    },
}

impl Request {
    /// Whether it only reads the store, so that a stopped one can answer it too.
    pub(crate) fn is_reading(&self) -> bool {
        !matches!(
            self,
            Self::Resend { .. } | Self::Purge { .. } | Self::Item { .. } | Self::Reload { .. }
        )
    }
}

/// What to look for; as options of commands and as JSON.
#[derive(clap::Args, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// Made at or after this time, e.g. 10:30, -2h, 2026-11-23T10:30
    #[arg(long = "from", value_name = "TIME", value_parser = times::parse, allow_hyphen_values = true)]
    pub(crate) from_ms: Option<u64>,
    /// Made before this time
    #[arg(long = "to", value_name = "TIME", value_parser = times::parse, allow_hyphen_values = true)]
    pub(crate) to_ms: Option<u64>,
    /// Source or target is this item
    #[arg(long, value_name = "NAME")]
    pub(crate) item: Option<String>,
    /// In one of these states, e.g. Error,Suspended
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = state_name)]
    pub(crate) states: Vec<String>,
    /// Message type (MSH-9): ADT^A01, ADT_A01, or ADT for all of them
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) message_type: Option<String>,
    /// Control id (MSH-10), exactly
    #[arg(long, value_name = "ID")]
    pub(crate) control_id: Option<String>,
    /// Belongs to this session
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<u64>,
    /// Patient identifier (PID-3.1), exactly
    #[arg(long = "patient", value_name = "ID")]
    pub(crate) patient_id: Option<String>,
    /// Body has this text (letters of either case); slow, so narrow the time as well
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// Rows at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    /// Only messages with a smaller id (where the last page ended)
    #[arg(long, value_name = "ID")]
    pub(crate) before: Option<u64>,
}

impl Filter {
    /// Whether it says anything about which messages are meant.
    pub(crate) fn is_open(&self) -> bool {
        self.from_ms.is_none()
            && self.to_ms.is_none()
            && self.item.is_none()
            && self.states.is_empty()
            && self.message_type.is_none()
            && self.control_id.is_none()
            && self.session.is_none()
            && self.patient_id.is_none()
            && self.text.is_none()
    }
}

/// The state of this name, whatever the case of its letters.
pub(crate) fn state(name: &str) -> Option<State> {
    State::ALL
        .into_iter()
        .find(|state| state.name().eq_ignore_ascii_case(name))
}

fn state_name(name: &str) -> Result<String, String> {
    let names = || State::ALL.map(State::name).join(", ");
    state(name.trim())
        .map(|state| state.name().to_owned())
        .ok_or_else(|| format!("the states are {}", names()))
}

/// One header, without anything that identifies a patient.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) id: u64,
    pub(crate) session: u64,
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) state: String,
    /// RFC 3339, for people and programs.
    pub(crate) created: String,
    pub(crate) created_ms: u64,
    pub(crate) done_ms: Option<u64>,
    pub(crate) attempts: u16,
    pub(crate) priority: u8,
    pub(crate) possible_duplicate: bool,
    pub(crate) reason: String,
    pub(crate) note: String,
    pub(crate) bytes: u32,
    pub(crate) reply_bytes: Option<u32>,
    pub(crate) message_type: String,
    pub(crate) control_id: String,
    pub(crate) origin: String,
    pub(crate) resent_from: Option<u64>,
    /// The message whose handling led to this one; none for what a service let in.
    #[serde(default)]
    pub(crate) causation_id: Option<u64>,
    /// What came back, where somebody waited for it.
    #[serde(default)]
    pub(crate) response: Option<ResponseRow>,
}

/// The response to a request, as a message from its target to its source.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ResponseRow {
    /// The request that it answers.
    pub(crate) correlation_id: u64,
    pub(crate) source: String,
    pub(crate) target: String,
    /// How the request ended.
    pub(crate) state: String,
    pub(crate) created: String,
    pub(crate) created_ms: u64,
    /// Length of the reply; 0 for an end without one.
    pub(crate) bytes: u32,
    /// Nobody waited any more when it came.
    pub(crate) late: bool,
}

impl ResponseRow {
    fn of(row: &HeaderRow) -> Option<Self> {
        let created_ms = row.done_ms.filter(|_| row.answered != Answered::Nobody)?;
        Some(Self {
            correlation_id: row.id.0,
            source: row.target.clone(),
            target: row.source.clone(),
            state: row.state.name().to_owned(),
            created: times::rfc3339(created_ms),
            created_ms,
            bytes: row.reply.map_or(0, |reply| reply.len),
            late: row.answered == Answered::Late,
        })
    }
}

impl From<&HeaderRow> for Row {
    fn from(row: &HeaderRow) -> Self {
        Self {
            id: row.id.0,
            session: row.session.0,
            source: row.source.clone(),
            target: row.target.clone(),
            state: row.state.name().to_owned(),
            created: times::rfc3339(row.created_ms),
            created_ms: row.created_ms,
            done_ms: row.done_ms,
            attempts: row.attempts,
            priority: row.priority as u8,
            possible_duplicate: row.possible_duplicate,
            reason: row.reason.clone(),
            note: row.note.clone(),
            bytes: row.body.len,
            reply_bytes: row.reply.map(|reply| reply.len),
            message_type: row.message_type.clone(),
            control_id: row.control_id.clone(),
            origin: row.origin.clone(),
            resent_from: row.resent_from.map(|id| id.0),
            causation_id: row.cause.map(|id| id.0),
            response: ResponseRow::of(row),
        }
    }
}

/// A body on the wire: text where it is UTF-8, hexadecimal otherwise, so that it stays exact.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Payload {
    Text(String),
    Hex(String),
}

impl Payload {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }

    /// The bytes; none if the hexadecimal is none.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.clone().into_bytes()),
            Self::Hex(hex) => hex.as_bytes().chunks(2).map(byte_of).collect(),
        }
    }
}

fn byte_of(pair: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16)
        .ok()
        .filter(|_| pair.len() == 2)
}

/// The answer to [`Request::Show`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Shown {
    pub(crate) header: Row,
    pub(crate) body: Payload,
    pub(crate) reply: Option<Payload>,
}

/// The last line of a page of [`Request::Messages`].
#[derive(Serialize, Deserialize)]
pub(crate) struct PageEnd {
    /// `before` of the next page; none at the end.
    pub(crate) next: Option<u64>,
}

/// One message that was sent again, or was not.
#[derive(Serialize, Deserialize)]
pub(crate) struct Resent {
    pub(crate) id: u64,
    pub(crate) target: String,
    /// Its new session.
    pub(crate) session: Option<u64>,
    pub(crate) error: Option<WireError>,
}

/// The state of an engine and its items. A running engine gives it all; a stopped one what its
/// store knows.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) running: bool,
    pub(crate) version: String,
    pub(crate) pid: Option<u32>,
    pub(crate) data: String,
    pub(crate) metrics: Option<String>,
    pub(crate) production: String,
    pub(crate) uptime_s: u64,
    pub(crate) ready: bool,
    /// Why it is not ready.
    pub(crate) reasons: Vec<String>,
    pub(crate) trouble: Option<String>,
    pub(crate) journal_bytes: u64,
    pub(crate) index_lag_bytes: u64,
    /// Why search and trace do not work, if they do not.
    pub(crate) index_trouble: Option<String>,
    pub(crate) recovered: Recovered,
    pub(crate) configuration: Configuration,
    pub(crate) items: Vec<Item>,
    pub(crate) orphans: Vec<(String, u64)>,
}

/// One item. Counters are since the start of the engine.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) class: String,
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) pool_size: u16,
    pub(crate) queued: u64,
    pub(crate) queue_high_water: u64,
    pub(crate) oldest_s: Option<u64>,
    pub(crate) received: u64,
    pub(crate) received_bytes: u64,
    pub(crate) rejected: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) suspended: u64,
    pub(crate) discarded: u64,
    pub(crate) retries: u64,
    pub(crate) panics: u64,
    pub(crate) connections: u64,
    pub(crate) busy_us: u64,
    pub(crate) address: Option<String>,
    pub(crate) trying: Option<String>,
    /// Messages that jobs have taken and not ended yet.
    pub(crate) in_hand: u64,
    /// Starts after a failure.
    pub(crate) restarts: u64,
    /// How often it was given up.
    pub(crate) give_ups: u64,
    pub(crate) health: Health,
    pub(crate) last_error: Option<String>,
    pub(crate) last_error_ms: Option<u64>,
    /// Its worker processes, in mode multiprocess.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) workers: Vec<super::workers::Worker>,
    /// Headers kept with this target, by state; of a stopped engine only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) stored: BTreeMap<String, u64>,
}

/// A refusal on the wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WireError {
    pub(crate) code: String,
    pub(crate) message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
}

impl From<Failure> for WireError {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code,
            message: failure.message,
            help: failure.help,
        }
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self {
            help: error.help,
            ..Self::new(&error.code, error.message)
        }
    }
}

/// A line of an answer: rows, then exactly one of the others.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    Row(Value),
    Done(Value),
    Error(WireError),
}

/// A whole answer.
#[derive(Default)]
pub(crate) struct Reply {
    pub(crate) rows: Vec<Value>,
    pub(crate) done: Value,
}

impl Reply {
    /// An answer that is one value.
    pub(crate) fn one(done: &impl Serialize) -> Result<Self, Failure> {
        Ok(Self {
            rows: Vec::new(),
            done: value(done)?,
        })
    }

    /// An answer of rows.
    pub(crate) fn rows(
        rows: impl IntoIterator<Item = impl Serialize>,
        done: &impl Serialize,
    ) -> Result<Self, Failure> {
        let rows = rows
            .into_iter()
            .map(|row| value(&row))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            rows,
            done: value(done)?,
        })
    }

    /// The rows as their type.
    pub(crate) fn typed_rows<T: serde::de::DeserializeOwned>(&self) -> Result<Vec<T>, Failure> {
        self.rows.iter().map(typed).collect()
    }

    /// The last line as its type.
    pub(crate) fn typed_done<T: serde::de::DeserializeOwned>(&self) -> Result<T, Failure> {
        typed(&self.done)
    }
}

/// Any of our types as JSON.
pub(crate) fn value(of: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(of).map_err(|error| Failure::new("protocol", error.to_string()))
}

fn typed<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, Failure> {
    T::deserialize(value).map_err(|error| {
        let message = format!("the engine answered something this command does not know: {error}");
        Failure::new("protocol", message).help("run the command of the same build as the engine")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_readable_json_and_unknown_words_are_errors() {
        let parse = |text: &str| serde_json::from_str::<Envelope>(text);
        for good in [
            r#"{"v":1,"request":"status"}"#,
            r#"{"v":1,"request":{"show":{"id":7}}}"#,
            r#"{"v":1,"request":{"messages":{"item":"EPR","states":["Error"],"limit":5}}}"#,
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            r#"{"v":1,"request":"stop-everything"}"#,
            r#"{"v":1,"request":{"show":{"id":7,"colour":1}}}"#,
            r#"{"v":1,"request":{"messages":{"itm":"EPR"}}}"#,
            r#"{"v":1,"request":"status","x":1}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bodies_stay_exact_whatever_their_bytes() {
        for bytes in [&b"MSH|^~\\&|\r"[..], b"\xff\x00\x80", b""] {
            let json = serde_json::to_string(&Payload::new(bytes)).unwrap();
            let back: Payload = serde_json::from_str(&json).unwrap();
            assert_eq!(back.bytes().as_deref(), Some(bytes));
        }
        assert_eq!(Payload::Hex("abc".into()).bytes(), None);
        assert_eq!(Payload::Hex("zz".into()).bytes(), None);
    }
}
