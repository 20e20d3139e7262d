//! The command's end: a running engine behind its socket, or the store that it left.
//!
//! Owns the choice between the two. A command that only reads works on both and says on stderr
//! when no engine runs.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use hie_store::{Reader, Recovered, State};

use super::{
    protocol::{self, Envelope, Line, Reply, Request, Status, VERSION},
    socket_path,
};
use crate::{exit::Failure, out, query};

/// A connection to a running engine.
pub(crate) struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the engine of this data folder; none if there is no engine.
    fn connect(data: &Path) -> Result<Option<Self>, Failure> {
        match UnixStream::connect(socket_path(data)) {
            Ok(stream) => Ok(Some(Self {
                stream: BufReader::new(stream),
            })),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::NotADirectory => Ok(None),
                _ => {
                    let message =
                        format!("cannot talk to the engine of {}: {error}", data.display());
                    Err(Failure::new("folder", message)
                        .help("run the command as the user that runs the engine"))
                }
            },
        }
    }

    /// Connects to an engine that must be there.
    pub(crate) fn require(data: &Path) -> Result<Self, Failure> {
        let missing = || {
            Failure::new(
                "not-running",
                format!("no engine runs on the data folder {}", data.display()),
            )
            .help("start it with `hie run CONFIG`, or name its data folder with --data DIR")
        };
        Self::connect(data)?.ok_or_else(missing)
    }

    /// Asks, and waits for the whole answer.
    pub(crate) fn ask(&mut self, request: Request) -> Result<Reply, Failure> {
        let gone = |error: io::Error| {
            Failure::new(
                "not-running",
                format!("the engine went away while it was asked: {error}"),
            )
        };
        let mut line = protocol::value(&Envelope {
            v: VERSION,
            request,
        })?
        .to_string();
        line.push('\n');
        self.stream
            .get_mut()
            .write_all(line.as_bytes())
            .map_err(gone)?;
        let mut reply = Reply::default();
        loop {
            line.clear();
            if self.stream.read_line(&mut line).map_err(gone)? == 0 {
                return Err(gone(io::ErrorKind::UnexpectedEof.into()));
            }
            let parsed = serde_json::from_str(&line);
            match parsed.map_err(|error| {
                Failure::new(
                    "protocol",
                    format!("the engine's answer is not readable: {error}"),
                )
            })? {
                Line::Row(row) => reply.rows.push(row),
                Line::Done(done) => {
                    reply.done = done;
                    return Ok(reply);
                }
                Line::Error(error) => return Err(error.into()),
            }
        }
    }
}

/// Who answers a command that only reads.
pub(crate) enum Link {
    /// The engine.
    Live(Client),
    /// Nobody: the store as it lies there.
    AtRest(Box<AtRest>),
}

/// A store without an engine.
pub(crate) struct AtRest {
    data: PathBuf,
    reader: Reader,
    recovered: Recovered,
}

impl Link {
    /// Finds the engine of a data folder, or opens what it left and says so on stderr.
    pub(crate) fn open(data: &Path) -> Result<Self, Failure> {
        if let Some(client) = Client::connect(data)? {
            return Ok(Self::Live(client));
        }
        let (reader, recovered) = Reader::open_read_only(data)?;
        eprintln!(
            "note: no engine runs on {}; this is what the last one left",
            data.display()
        );
        let lag = reader.index_lag_bytes();
        if lag > 0 {
            eprintln!(
                "note: {} of the journal are not in the index yet, so the newest messages may be missing here; the next start of the engine completes it",
                out::bytes(lag)
            );
        }
        Ok(Self::AtRest(Box::new(AtRest {
            data: data.to_owned(),
            reader,
            recovered,
        })))
    }

    /// Asks whoever is there.
    pub(crate) fn ask(&mut self, request: Request) -> Result<Reply, Failure> {
        debug_assert!(request.is_reading());
        match self {
            Self::Live(client) => client.ask(request),
            Self::AtRest(store) => store.answer(&request),
        }
    }
}

impl AtRest {
    fn answer(&self, request: &Request) -> Result<Reply, Failure> {
        match request {
            Request::Status => Reply::one(&self.status()),
            Request::Queues => Reply::rows(
                query::queues_at_rest(&self.reader, &self.recovered)?,
                &serde_json::json!({}),
            ),
            request => query::answer(&self.reader, request)
                .unwrap_or_else(|| Err(Failure::new("not-running", "this needs a running engine"))),
        }
    }

    fn status(&self) -> Status {
        let waiting =
            |live: &&hie_store::Live| matches!(live.state, State::Suspended | State::Deferred);
        let waiting = self.recovered.live.iter().filter(waiting).count() as u64;
        let states = query::states_by_item(&self.reader).unwrap_or_default();
        let queues = query::queues_at_rest(&self.reader, &self.recovered).unwrap_or_default();
        let item = |(name, states): (String, std::collections::BTreeMap<&'static str, u64>)| {
            let queue = queues
                .iter()
                .find(|row| row.item == name)
                .cloned()
                .unwrap_or_default();
            protocol::Item {
                name,
                state: "stopped".into(),
                queued: queue.queued,
                oldest_s: queue.oldest_s,
                stored: states
                    .into_iter()
                    .map(|(state, count)| (state.to_owned(), count))
                    .collect(),
                ..protocol::Item::default()
            }
        };
        Status {
            running: false,
            version: env!("CARGO_PKG_VERSION").into(),
            data: self.data.display().to_string(),
            reasons: vec!["no engine runs on this data folder".into()],
            journal_bytes: self.reader.extent().bytes,
            index_lag_bytes: self.reader.index_lag_bytes(),
            recovered: protocol::Recovered {
                queued: self.recovered.live.len() as u64 - waiting,
                waiting,
                ..protocol::Recovered::default()
            },
            items: states.into_iter().map(item).collect(),
            ..Status::default()
        }
    }
}
