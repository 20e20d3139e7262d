//! Execution modes: where the jobs of an item run (`ExecutionMode`).
//!
//! Owns the threads and runtimes of items that have their own. What a job does is [`job`]'s and
//! [`service`]'s; which worker process a host lives in is not known here.
//!
//! [`job`]: crate::job
//! [`service`]: crate::service

use std::{future::Future, io, thread};

use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::JoinHandle,
};

use crate::config::ItemConfig;

/// How the jobs of an item run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Tasks of the shared runtime.
    Async,
    /// Threads of their own, where blocking slows nobody else.
    ThreadPool,
    /// One job on one thread.
    SingleProcess,
    /// Worker processes; what stays here is a task that speaks with its worker.
    MultiProcess,
}

impl Mode {
    /// What the item's `ExecutionMode` says.
    pub fn of(item: &ItemConfig) -> Self {
        match item.settings.text("ExecutionMode") {
            Some("thread_pool") => Self::ThreadPool,
            Some("single_process") => Self::SingleProcess,
            Some("multiprocess") => Self::MultiProcess,
            _ => Self::Async,
        }
    }

    /// Runs the work of an item until it ends; `threads` is how many threads its tasks may use
    /// (a service serves its connections in tasks, a job has none). The handle ends with the work.
    /// Aborting it cuts a task off; a thread is left to itself, because a thread that blocks cannot
    /// be ended from outside.
    pub(crate) fn spawn(
        self,
        name: &str,
        threads: usize,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        if matches!(self, Self::Async | Self::MultiProcess) {
            return Ok(tokio::spawn(work));
        }
        let threads = match self {
            Self::ThreadPool => threads,
            _ => 1,
        };
        let runtime = runtime(name, threads)?;
        let (done, ended) = oneshot::channel::<()>();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _done = done; // dropped, and so told, even if the work panics
                runtime.block_on(work);
                // What still blocks in the background must not hold up the thread's end.
                runtime.shutdown_background();
            })?;
        Ok(tokio::spawn(async move {
            let _ = ended.await; // an error is the end
        }))
    }
}

/// A runtime for the threads of one item: sockets and timers of its hosts live there too, so that
/// a busy item never waits for the shared one, nor the other way round.
fn runtime(name: &str, threads: usize) -> io::Result<Runtime> {
    if threads > 1 {
        return Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .enable_all()
            .build();
    }
    Builder::new_current_thread()
        .thread_name(name)
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};

    use super::*;

    #[tokio::test]
    async fn work_runs_on_a_thread_with_the_items_name_and_its_end_is_told() {
        for mode in [Mode::ThreadPool, Mode::SingleProcess] {
            let (sender, receiver) = oneshot::channel();
            let handle = mode.spawn("Lab-In", 1, async move {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                let _ = sender.send(thread::current().name().map(str::to_owned));
            });
            handle.unwrap().await.unwrap();
            assert_eq!(receiver.await.unwrap().as_deref(), Some("Lab-In"));
        }
    }

    #[tokio::test]
    async fn a_panic_ends_the_handle() {
        let handle = Mode::ThreadPool.spawn("Broken", 1, async { panic!("on purpose") });
        handle.unwrap().await.unwrap();
    }

    /// Meets the shared runtime's only thread: it could not if it ran there.
    #[tokio::test]
    async fn blocking_work_leaves_the_shared_runtime_alone() {
        let barrier = Arc::new(Barrier::new(2));
        let theirs = barrier.clone();
        let handle = Mode::ThreadPool.spawn("Blocking", 1, async move {
            theirs.wait();
        });
        tokio::task::yield_now().await;
        barrier.wait();
        handle.unwrap().await.unwrap();
    }
}
