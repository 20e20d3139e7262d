//! One worker process: started, signalled, ended, and reaped with everything that it started.
//!
//! Owns the operating system's side: descriptor 0 is the protocol's socket, the child leads a
//! process group of its own, and all signals go through its pidfd, so that a number that the
//! system gave to somebody else is never hit. Knows nothing of the protocol.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::OwnedFd,
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    thread,
};

use parking_lot::Mutex;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, kill_process_group, pidfd_open, pidfd_send_signal,
    prlimit,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::oneshot,
};

/// How a worker is started.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) program: PathBuf,
    /// The name that `ps` shows.
    pub(crate) arg0: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    /// RLIMIT_DATA of the child.
    pub(crate) memory_max: Option<u64>,
}

/// A process that runs, or ran.
pub(crate) struct Process {
    pub(crate) pid: u32,
    group: Pid,
    handle: AsyncFd<OwnedFd>,
    /// None once it is reaped: then its numbers belong to others.
    child: Mutex<Option<Child>>,
}

/// What a start gives.
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) socket: UnixStream,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

/// What the one thread that starts processes does.
enum Order {
    Start(
        Box<Command>,
        Option<u64>,
        oneshot::Sender<io::Result<Child>>,
    ),
    Reap(Child),
}

/// A child that asked to die with its parent dies with the *thread* that started it (prctl(2)):
/// that must be one that lives as long as the engine.
fn spawner() -> &'static mpsc::Sender<Order> {
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (sender, orders) = mpsc::channel();
        let work = move || {
            for order in orders {
                match order {
                    Order::Start(mut command, memory_max, reply) => {
                        let _ = reply.send(start_here(&mut command, memory_max));
                    }
                    Order::Reap(mut child) => drop(child.wait()),
                }
            }
        };
        // Where no thread can be started the channel is closed, and each start fails with a reason.
        let _ = thread::Builder::new().name("hie-spawn".into()).spawn(work);
        sender
    })
}

fn start_here(command: &mut Command, memory_max: Option<u64>) -> io::Result<Child> {
    let mut child = command.spawn()?;
    if let Some(bytes) = memory_max {
        let limit = Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        };
        if let Err(error) = prlimit(Pid::from_child(&child).into(), Resource::Data, limit) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error.into());
        }
    }
    Ok(child)
}

/// Starts a worker. Must be called within a runtime.
pub(crate) async fn start(plan: &Plan) -> io::Result<Started> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(&plan.program);
    command
        .arg0(&plan.arg0)
        .args(&plan.args)
        .envs(plan.env.iter().map(|(key, value)| (key, value)))
        .env("HIE_WORKER", "1")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let (reply, started) = oneshot::channel();
    let closed = || io::Error::other("the thread that starts processes is gone");
    spawner()
        .send(Order::Start(Box::new(command), plan.memory_max, reply))
        .map_err(|_| closed())?;
    let mut child = started.await.map_err(|_| closed())??;
    ours.set_nonblocking(true)?;
    let stdout = child.stdout.take().map(OwnedFd::from);
    let stderr = child.stderr.take().map(OwnedFd::from);
    let group = Pid::from_child(&child);
    // Deprecated because a type may close its descriptor early; an owned one is open until it is
    // dropped, with its registration.
    #[allow(deprecated)]
    let register = |fd| AsyncFd::with_interest(fd, Interest::READABLE);
    let handle = pidfd_open(group, PidfdFlags::NONBLOCK)
        .map_err(io::Error::from)
        .and_then(register);
    let handle = match handle {
        Ok(handle) => handle,
        Err(error) => {
            let _ = child.kill();
            let _ = spawner().send(Order::Reap(child));
            return Err(error);
        }
    };
    let process = Process {
        pid: child.id(),
        group,
        handle,
        child: Mutex::new(Some(child)),
    };
    Ok(Started {
        process,
        socket: ours,
        stdout,
        stderr,
    })
}

impl Process {
    /// Returns when it has ended; it is not reaped yet, so its numbers are still its own.
    pub(crate) async fn ended(&self) {
        if self.handle.readable().await.is_err() {
            std::future::pending().await // The runtime is going down, and the child with it.
        }
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        let _ = pidfd_send_signal(self.handle.get_ref(), Signal::TERM); // gone already: as wished
    }

    /// Ends it and everything that it started in its group.
    pub(crate) fn kill(&self) {
        // The lock keeps it from being reaped, and so the number from being another's.
        if self.child.lock().is_some() {
            let _ = pidfd_send_signal(self.handle.get_ref(), Signal::KILL);
            let _ = kill_process_group(self.group, Signal::KILL);
        }
    }

    /// After it [`ended`](Self::ended): ends what it left behind in its group, reaps it, and says
    /// how it ended.
    pub(crate) fn reap(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock();
        let mut child = child.take()?;
        let _ = kill_process_group(self.group, Signal::KILL);
        child.wait().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if let Some(child) = self.child.lock().take() {
            let _ = spawner().send(Order::Reap(child));
        }
    }
}

/// How a process ended, as it follows its name: `was killed by signal 9`.
pub(crate) fn in_words(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(0), _)) => "ended by itself".into(),
        Some((Some(code), _)) => format!("exited with code {code}"),
        Some((_, Some(signal))) => format!("was killed by signal {signal}{}", name_of(signal)),
        _ => "ended".into(),
    }
}

fn name_of(signal: i32) -> &'static str {
    match signal {
        4 => " (illegal instruction)",
        6 => " (aborted)",
        7 => " (bus error)",
        9 => " (SIGKILL)",
        11 => " (segmentation fault)",
        15 => " (SIGTERM)",
        _ => "",
    }
}
