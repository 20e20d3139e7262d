//! What waits to be written to the other side: frames of all jobs in one buffer, one write for all
//! that gathered while the last one ran, so that wake-ups do not dominate.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::Notify,
};

/// A buffer larger than this is given back after it was written.
const KEPT_MAX: usize = 1 << 20;

#[derive(Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Vec<u8>>,
    more: Notify,
    closing: AtomicBool,
}

impl Outbox {
    /// Puts a frame in line.
    pub(crate) fn push(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut waiting = self.waiting.lock();
        let first = waiting.is_empty();
        write(&mut waiting);
        drop(waiting);
        if first {
            self.more.notify_one();
        }
    }

    /// Nothing more comes: [`run`](Self::run) returns when everything is written.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.more.notify_one();
    }

    /// Writes until the outbox is closed or the other side is gone.
    pub(crate) async fn run(&self, mut socket: impl AsyncWrite + Unpin) -> io::Result<()> {
        let mut batch = Vec::new();
        loop {
            let closing = self.closing.load(Ordering::Acquire);
            std::mem::swap(&mut *self.waiting.lock(), &mut batch);
            if batch.is_empty() {
                if closing {
                    return Ok(());
                }
                self.more.notified().await;
                // Whoever is ready to run may have something for the same write.
                tokio::task::yield_now().await;
                continue;
            }
            socket.write_all(&batch).await?;
            batch.clear();
            batch.shrink_to(KEPT_MAX);
        }
    }
}
