//! What a job has in hand: taken off its queue and not ended yet.
//!
//! Owns that nothing of it is forgotten: a job that is cut off puts it back.

use std::sync::{Arc, atomic::Ordering};

use hie_store::Live;
use parking_lot::Mutex;

use crate::{queue::ItemQueue, stats::ItemStats};

/// The message that a job has in hand, if it has one.
pub(crate) struct InHand {
    live: Mutex<Option<Live>>,
    queue: Arc<ItemQueue>,
    stats: Arc<ItemStats>,
    /// Whether it leaves something outside that being cut off does not undo.
    pub(crate) delivers: bool,
}

impl InHand {
    pub(crate) fn new(queue: Arc<ItemQueue>, stats: Arc<ItemStats>, delivers: bool) -> Self {
        Self {
            live: Mutex::default(),
            queue,
            stats,
            delivers,
        }
    }

    pub(crate) fn hold(&self, live: Live) {
        *self.live.lock() = Some(live);
        self.stats.in_hand.fetch_add(1, Ordering::Relaxed);
    }

    /// It has its end, or somebody else has it.
    pub(crate) fn let_go(&self) -> Option<Live> {
        let held = self.live.lock().take();
        if held.is_some() {
            self.stats.in_hand.fetch_sub(1, Ordering::Relaxed);
        }
        held
    }
}

/// The item may start again without the engine, and nobody else would bring the message.
impl Drop for InHand {
    fn drop(&mut self) {
        if let Some(mut live) = self.let_go() {
            live.possible_duplicate |= self.delivers;
            self.queue.put_back(live);
        }
    }
}
