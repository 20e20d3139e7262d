//! The engine's end of the control socket.
//!
//! Owns the socket file: for its owner alone, replaced when stale, removed at the stop. What is
//! answered stands in `handle.rs`.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};

use super::{
    handle,
    protocol::{Envelope, Line, Reply, VERSION},
    socket_path,
};
use crate::{desk::Desk, exit::Failure};

/// A request is not longer than this.
const REQUEST_MAX_BYTES: u64 = 1 << 20;

/// The longest path of a Unix socket, with its end (Linux: 108, others: 104).
const PATH_MAX_BYTES: usize = 103;

/// The bound socket; its file goes when this goes.
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
}

/// Whether a data folder can have a control socket at all; asked before anything starts.
pub(crate) fn check_path(data: &Path) -> Result<(), Failure> {
    let path = socket_path(data);
    let len = path.as_os_str().len();
    if len <= PATH_MAX_BYTES {
        return Ok(());
    }
    let message = format!(
        "the path of the control socket {} has {len} bytes, Unix sockets take {PATH_MAX_BYTES}",
        path.display()
    );
    Err(Failure::new("folder", message).help("choose a DataPath with a shorter name"))
}

impl Server {
    /// Listens in the data folder. The caller holds the lock of the store in it, so a socket file
    /// that is there already was left by a dead engine.
    pub(crate) fn bind(data: &Path) -> Result<Self, Failure> {
        let path = socket_path(data);
        let bound = match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => UnixListener::bind(&path).and_then(|listener| {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
                Ok(listener)
            }),
        };
        let listener = bound.map_err(|error| {
            let message = format!("cannot make the control socket {}: {error}", path.display());
            Failure::new("folder", message)
                .help("the data folder must be on a local file system that this user may write to")
        })?;
        Ok(Self { listener, path })
    }

    /// Answers until it is dropped.
    pub(crate) async fn serve(&self, desk: Arc<Desk>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(converse(stream, desk.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot take a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // a stale one is replaced at the next start
    }
}

/// Serves one client until it goes.
async fn converse(stream: UnixStream, desk: Arc<Desk>) {
    let by = match stream.peer_cred() {
        Ok(who) => match who.pid() {
            Some(pid) => format!("a command of user {} (process {pid})", who.uid()),
            None => format!("a command of user {}", who.uid()),
        },
        Err(_) => "a command".into(),
    };
    let (input, mut output) = stream.into_split();
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut input).take(REQUEST_MAX_BYTES);
        match limited.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let whole = line.ends_with(b"\n");
        let answer = if whole {
            answer(&line, &desk, &by).await
        } else {
            Err(too_long())
        };
        if output.write_all(&lines(answer)).await.is_err() || !whole {
            return; // the client went away, or what follows is the rest of an endless line
        }
    }
}

fn too_long() -> Failure {
    Failure::new(
        "protocol",
        format!("a request is one line of at most {REQUEST_MAX_BYTES} bytes"),
    )
}

async fn answer(line: &[u8], desk: &Arc<Desk>, by: &str) -> Result<Reply, Failure> {
    let envelope: Envelope = serde_json::from_slice(line).map_err(|error| {
        // serde's text may quote the request, which may name a patient: the place is enough.
        let place = format!("column {}", error.column());
        Failure::new(
            "protocol",
            format!("this is no request that this engine knows ({place})"),
        )
        .help("run the command of the same build as the engine")
    })?;
    if envelope.v != VERSION {
        let message = format!(
            "the engine speaks version {VERSION} of the control protocol, the command {}",
            envelope.v
        );
        return Err(Failure::new("protocol", message)
            .help("run the command of the same build as the engine"));
    }
    handle::answer(desk.clone(), envelope.request, by).await
}

/// An answer as it goes over the wire: rows, then one last line.
fn lines(answer: Result<Reply, Failure>) -> Vec<u8> {
    let mut out = Vec::new();
    let (rows, last) = match answer {
        Ok(reply) => (reply.rows, Line::Done(reply.done)),
        Err(failure) => (Vec::new(), Line::Error(failure.into())),
    };
    for line in rows.into_iter().map(Line::Row).chain([last]) {
        // Values without exotic keys do not fail to become text.
        if serde_json::to_writer(&mut out, &line).is_ok() {
            out.push(b'\n');
        }
    }
    out
}
