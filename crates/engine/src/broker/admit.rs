//! Who may put a message on a queue, and who waits until there is room.
//!
//! Owns `QueueSize` and `OverflowStrategy`: a message gets a place in the queue of each of its
//! targets before it is written to the log, so that however many senders there are, none goes
//! beyond the limit, and what is refused was never stored. Nobody holds a place in one queue while
//! it waits for another.

use std::{pin::pin, sync::Arc, time::Duration};

use hie_store::{ItemId, MessageId, State, StoreError};
use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Broker, WaitingForRoom as Waiting};
use crate::queue::{Counters, ItemQueue, Overflow};

/// A queue that takes no more and says so (`OverflowStrategy` reject).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the queue of {item} is full: {limit} messages wait (QueueSize)")]
pub struct QueueFull {
    /// The item whose queue it is.
    pub item: Arc<str>,
    /// Its `QueueSize`.
    pub limit: usize,
}

/// Why a message is not let in. Nothing of it is stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AcceptError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The item stops; its sender keeps the message and sends it again.
    #[error("the item is stopping")]
    Stopping,
    /// The queue of a target is full.
    #[error(transparent)]
    Full(#[from] QueueFull),
}

impl AcceptError {
    /// A stable short name for logs, metrics and exit codes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Stopping => "item-stopping",
            Self::Full(_) => "queue-full",
        }
    }
}

impl From<AcceptError> for StoreError {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Store(error) => error,
            other => Self::elsewhere(other.code(), &other.to_string()),
        }
    }
}

/// Who sends.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// The item.
    pub item: ItemId,
    /// The message that its job has in hand; none for a service.
    pub message: Option<MessageId>,
}

/// What becomes of one leg.
enum Place {
    /// It has its place in this queue.
    Promised(Arc<ItemQueue>),
    /// It is recorded and discarded.
    Dropped(String),
    /// The place was used.
    Used,
}

/// Places for the legs of one message, in their order. What is not used is given back.
#[derive(Default)]
pub struct Admission(SmallVec<[Place; 4]>);

impl Admission {
    /// A place in each of these queues, whether there is room or not.
    pub(super) fn forced(queues: impl Iterator<Item = Arc<ItemQueue>>) -> Self {
        Self(
            queues
                .map(|queue| {
                    queue.room.force(1);
                    Place::Promised(queue)
                })
                .collect(),
        )
    }

    /// The state in which this leg is recorded.
    pub(super) fn state(&self, leg: usize) -> State {
        match self.dropped(leg) {
            Some(_) => State::Discarded,
            None => State::Queued,
        }
    }

    /// Why this leg is discarded, if it is.
    pub fn dropped(&self, leg: usize) -> Option<&str> {
        match self.0.get(leg) {
            Some(Place::Dropped(reason)) => Some(reason),
            _ => None,
        }
    }

    /// The place of this leg, to be used once; none if it was dropped.
    pub(super) fn take(&mut self, leg: usize) -> Option<Arc<ItemQueue>> {
        match std::mem::replace(self.0.get_mut(leg)?, Place::Used) {
            Place::Promised(queue) => Some(queue),
            Place::Dropped(_) | Place::Used => None,
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        for place in self.0.drain(..) {
            if let Place::Promised(queue) = place {
                queue.give_room(1);
            }
        }
    }
}

/// Places in one queue while the others are asked; given back unless they are handed on.
struct Got {
    queue: Arc<ItemQueue>,
    places: usize,
}

impl Drop for Got {
    fn drop(&mut self) {
        if self.places > 0 {
            self.queue.give_room(self.places);
        }
    }
}

fn legs_to(queues: &[(ItemId, Arc<ItemQueue>)], to: ItemId) -> usize {
    queues.iter().filter(|(other, _)| *other == to).count()
}

/// How a try for all places ended.
enum Tried {
    All(Admission),
    /// This target has no room, and its senders wait.
    Wait(ItemId, Arc<ItemQueue>),
    Full(QueueFull),
}

impl Broker {
    /// Gets a place in the queue of each target, waiting for room where the target wants that.
    /// Ends without one when `stopping` is done.
    pub async fn admit(
        &self,
        from: Sender,
        targets: &[ItemId],
        stopping: Option<&CancellationToken>,
    ) -> Result<Admission, AcceptError> {
        let queues: SmallVec<[_; 4]> = targets.iter().map(|to| (*to, self.queue(*to))).collect();
        let limited = |(_, queue): &(ItemId, Arc<ItemQueue>)| queue.room.limit() > 0;
        if !queues.iter().any(limited) {
            return match self.try_all(&queues, &[]) {
                Tried::All(admission) => Ok(admission),
                Tried::Full(full) => Err(full.into()),
                // A limit was set this moment.
                Tried::Wait(..) => self.admit_in_turn(from, &queues, stopping).await,
            };
        }
        self.admit_in_turn(from, &queues, stopping).await
    }

    /// One sender after the other: the messages of one file must not overtake each other at the
    /// door. Jobs wait for themselves, each has one message.
    async fn admit_in_turn(
        &self,
        from: Sender,
        queues: &[(ItemId, Arc<ItemQueue>)],
        stopping: Option<&CancellationToken>,
    ) -> Result<Admission, AcceptError> {
        let door = from.message.is_none().then(|| self.door(from.item));
        let waiting = async {
            let _turn = match &door {
                Some(door) => Some(door.lock().await),
                None => None,
            };
            self.wait_for_room(from, queues).await
        };
        let Some(stopping) = stopping else {
            return waiting.await;
        };
        tokio::select! {
            biased;
            // Asked first, so that a stop while there is room refuses nobody.
            admitted = waiting => admitted,
            () = stopping.cancelled() => Err(AcceptError::Stopping),
        }
    }

    async fn wait_for_room(
        &self,
        from: Sender,
        queues: &[(ItemId, Arc<ItemQueue>)],
    ) -> Result<Admission, AcceptError> {
        let mut over: SmallVec<[ItemId; 4]> = SmallVec::new();
        let mut counted = false;
        let mut rung: Option<Arc<ItemQueue>> = None;
        loop {
            let tried = self.try_all(queues, &over);
            if let Some(queue) = rung.take()
                && !matches!(&tried, Tried::Wait(_, other) if Arc::ptr_eq(other, &queue))
                && !matches!(tried, Tried::All(_))
            {
                // The bell was for this one, and it does not go in: the next may.
                queue.freed.notify_one();
            }
            let (to, queue) = match tried {
                Tried::All(admission) => return Ok(admission),
                Tried::Full(full) => return Err(full.into()),
                Tried::Wait(to, queue) => (to, queue),
            };
            if !std::mem::replace(&mut counted, true) {
                Counters::add(&queue.counters.blocked, 1);
            }
            let count = legs_to(queues, to);
            if self.waits_in_vain(from, to, &queue, count).await {
                self.let_past(from, to, &queue);
                over.push(to);
            }
            rung = Some(queue);
        }
    }

    /// Waits until there may be room. True if there can never be.
    async fn waits_in_vain(
        &self,
        from: Sender,
        to: ItemId,
        queue: &Arc<ItemQueue>,
        count: usize,
    ) -> bool {
        /// How often a wait is looked at anew: its neighbours may have gone meanwhile.
        const LOOK: Duration = Duration::from_secs(1);
        let waiting: Option<Waiting<'_>> = match from.message {
            Some(message) => match self.waits.begin(message, from.item, to) {
                None => return true,
                waiting => waiting,
            },
            None => None, // A service has no queue: nobody waits for it.
        };
        let mut room = pin!(queue.wait_for_room(count));
        loop {
            let rung = tokio::time::timeout(LOOK, room.as_mut()).await.is_ok();
            if rung || queue.room.has(count) {
                return false;
            }
            if waiting.as_ref().is_some_and(Waiting::is_hopeless) {
                return true;
            }
        }
    }

    fn let_past(&self, from: Sender, to: ItemId, queue: &ItemQueue) {
        Counters::add(&queue.counters.over_limit, 1);
        let (from_name, to_name) = (self.store.item_name(from.item), self.store.item_name(to));
        warn!(
            item = &*to_name,
            sender = &*from_name,
            limit = queue.room.limit(),
            "items wait for each other's queues in a circle; a message is let past QueueSize: \
             enlarge it, or break the circle"
        );
    }

    /// Tries to get all places at once; on failure none is kept.
    fn try_all(&self, queues: &[(ItemId, Arc<ItemQueue>)], over: &[ItemId]) -> Tried {
        let mut got: SmallVec<[(ItemId, Got); 4]> = SmallVec::new();
        for (to, queue) in queues {
            if got.iter().any(|(known, _)| known == to) {
                continue;
            }
            let plan = queue.plan();
            let count = legs_to(queues, *to);
            let places = if plan.overflow == Overflow::DropOldest || over.contains(to) {
                queue.room.force(count);
                count
            } else if plan.overflow == Overflow::DropNewest {
                (0..count).take_while(|_| queue.room.try_take(1)).count()
            } else if queue.room.try_take(count) {
                count
            } else if plan.overflow == Overflow::Reject {
                Counters::add(&queue.counters.rejected, 1);
                return Tried::Full(self.full(*to, queue));
            } else {
                return Tried::Wait(*to, queue.clone());
            };
            let held = Got {
                queue: queue.clone(),
                places,
            };
            got.push((*to, held));
        }
        let mut admission = Admission::default();
        for (to, queue) in queues {
            let held = got.iter_mut().find(|(known, _)| known == to);
            let place = match held {
                Some((_, held)) if held.places > 0 => {
                    held.places -= 1;
                    Place::Promised(queue.clone())
                }
                _ => {
                    Counters::add(&queue.counters.dropped, 1);
                    let full = self.full(*to, queue);
                    Place::Dropped(format!("{full}; OverflowStrategy drop_newest dropped it"))
                }
            };
            admission.0.push(place);
        }
        Tried::All(admission)
    }

    fn full(&self, item: ItemId, queue: &ItemQueue) -> QueueFull {
        QueueFull {
            item: self.store.item_name(item),
            limit: queue.room.limit(),
        }
    }
}
