//! The hold on an item: on while an operator has it paused.
//!
//! Owns that one bit and waiting for it. Jobs look at it before they take a message, services
//! before they let one in.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// On, or off. Clones are the same hold.
#[derive(Clone, Debug)]
pub struct Hold(Arc<watch::Sender<bool>>);

impl Default for Hold {
    /// One that is off.
    fn default() -> Self {
        Self(Arc::new(watch::channel(false).0))
    }
}

impl Hold {
    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        *self.0.borrow()
    }

    /// Puts it on, or takes it off.
    pub fn set(&self, on: bool) {
        self.0.send_replace(on);
    }

    /// Waits until it is off.
    pub async fn released(&self) {
        self.until(false).await;
    }

    /// Waits until it is on.
    pub async fn taken(&self) {
        self.until(true).await;
    }

    /// Waits until it is off or `stopping` is done.
    pub async fn pass(&self, stopping: &CancellationToken) {
        if !self.is_on() {
            return;
        }
        tokio::select! {
            biased;
            () = stopping.cancelled() => {}
            () = self.released() => {}
        }
    }

    async fn until(&self, wanted: bool) {
        // The sender lives as long as `self`: an error cannot come.
        let _ = self.0.subscribe().wait_for(|on| *on == wanted).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_shut_hold_holds_until_it_is_released() {
        let hold = Hold::default();
        hold.released().await;
        hold.set(true);
        hold.taken().await;
        let waiting = tokio::spawn({
            let hold = hold.clone();
            async move { hold.released().await }
        });
        tokio::task::yield_now().await;
        assert!(hold.is_on() && !waiting.is_finished());
        hold.set(false);
        waiting.await.unwrap();
    }
}
