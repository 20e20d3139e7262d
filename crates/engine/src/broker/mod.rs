//! The broker: makes sessions and headers durable, puts them on queues, and brings responses home.
//!
//! Every message goes through here once on its way in ([`Broker::accept`]) and once for each hop
//! ([`Broker::finish`]); each is one log record. Owns the table of queues; who gets a place in one
//! is decided beside it (`admit`), and who waits for a response is kept by
//! [`calls`](crate::calls). Knows nothing of jobs or hosts.

mod admit;
mod arrive;
mod waits;

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use hie_store::{
    Appended, ItemId, LegBody, Live, MessageId, NewLeg, Priority, State, Step, Store, StoreError,
};
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;
use tracing::error;

pub use self::{
    admit::{AcceptError, Admission, QueueFull, Sender},
    arrive::{Accepted, Arrival},
    waits::{Waiting as WaitingForRoom, Waits},
};
pub use crate::calls::Response;
use crate::{
    HostError,
    calls::{Answer, Calls, Intent, Waiting},
    clock::Clock,
    config::did_you_mean,
    deferred::Deferrals,
    queue::{BodyBudget, ItemQueue, Plan},
};

/// One hop to make.
#[derive(Clone, Debug)]
pub struct Leg {
    /// Who gets it.
    pub target: ItemId,
    /// A new body; none: the same bytes.
    pub body: Option<Bytes>,
    /// Its priority.
    pub priority: Priority,
}

/// How one hop ended.
pub struct Finish<'a> {
    /// Its header.
    pub live: &'a Live,
    /// The state it is in now.
    pub state: State,
    /// How often it was tried.
    pub attempts: u16,
    /// Why.
    pub reason: &'a str,
    /// What was decided.
    pub note: &'a str,
    /// The reply or response.
    pub reply: Option<&'a Bytes>,
    /// The body that came with the header, for legs that send it on.
    pub body: &'a Bytes,
    /// Hops that follow.
    pub legs: &'a [Leg],
    /// The targets among `legs` whose response the caller waits for instead.
    pub response_from: &'a [ItemId],
}

impl<'a> Finish<'a> {
    /// The legs whose response the caller gets, that reach their targets.
    fn awaited(&self, admission: &Admission) -> SmallVec<[(u64, ItemId); 4]> {
        let legs = self.legs.iter().enumerate();
        legs.filter(|(nth, leg)| {
            self.response_from.contains(&leg.target) && admission.dropped(*nth).is_none()
        })
        .map(|(nth, leg)| (nth as u64, leg.target))
        .collect()
    }

    /// The end of a message that the queue of its target drops.
    fn dropped(live: &'a Live, reason: &'a str, no_body: &'a Bytes) -> Self {
        Self {
            live,
            state: State::Discarded,
            attempts: live.attempts,
            reason,
            note: "",
            reply: None,
            body: no_body,
            legs: &[],
            response_from: &[],
        }
    }
}

/// Whether a hop in this state has its response: it is not tried again, and not deferred.
fn is_end(state: State) -> bool {
    !matches!(state, State::Queued | State::Deferred)
}

/// See the module.
pub struct Broker {
    /// Where everything is kept.
    pub store: Store,
    /// Wall time.
    pub clock: Clock,
    queues: RwLock<Vec<Option<Arc<ItemQueue>>>>,
    /// Whom a message can be sent to: the processes and operations of the production as it is now.
    targets: RwLock<HashMap<String, ItemId>>,
    /// Who waits for a response.
    pub calls: Arc<Calls>,
    /// Whose response comes later.
    pub(crate) deferrals: Deferrals,
    /// Which jobs wait for which items.
    pub waits: Waits,
    /// Where the messages of one service wait for room, one behind the other.
    doors: Mutex<HashMap<ItemId, Arc<tokio::sync::Mutex<()>>>>,
    budget: Arc<BodyBudget>,
}

impl Broker {
    /// A broker over this store.
    pub fn new(store: Store, clock: Clock, body_cache_bytes: usize) -> Self {
        Self {
            store,
            clock,
            queues: RwLock::default(),
            targets: RwLock::default(),
            calls: Arc::default(),
            deferrals: Deferrals::default(),
            waits: Waits::default(),
            doors: Mutex::default(),
            budget: BodyBudget::new(body_cache_bytes),
        }
    }

    /// Says whom a message can be sent to from now on.
    pub fn set_targets(&self, targets: HashMap<String, ItemId>) {
        *self.targets.write() = targets;
    }

    /// The process or operation of this name, or the error that there is none, with the nearest.
    pub fn known(&self, name: &str) -> Result<ItemId, HostError> {
        if let Some(item) = self.target(name) {
            return Ok(item);
        }
        let targets = self.targets.read();
        let near = did_you_mean(name, targets.keys().map(String::as_str));
        let near = near.map(|near| format!("; {near}")).unwrap_or_default();
        let message = format!("there is no item called {name} in this production{near}");
        Err(HostError::new("unknown-target", message))
    }

    /// The process or operation of this name, if the production has it.
    pub fn target(&self, name: &str) -> Option<ItemId> {
        self.targets.read().get(name).copied()
    }

    /// Makes the queue of an item, or returns it.
    pub fn queue(&self, item: ItemId) -> Arc<ItemQueue> {
        let at = usize::from(item.0);
        if let Some(Some(queue)) = self.queues.read().get(at) {
            return queue.clone();
        }
        let mut queues = self.queues.write();
        if queues.len() <= at {
            queues.resize(at + 1, None);
        }
        let fresh = || {
            Arc::new(ItemQueue::new(
                Plan::default(),
                self.clock.clone(),
                self.budget.clone(),
            ))
        };
        queues[at].get_or_insert_with(fresh).clone()
    }

    /// All queues with their items.
    pub fn queues(&self) -> Vec<(ItemId, Arc<ItemQueue>)> {
        let queues = self.queues.read();
        let named = queues
            .iter()
            .zip(0..)
            .filter_map(|(queue, id)| Some((ItemId(id), queue.clone()?)));
        named.collect()
    }

    /// Says how the queue of an item is worked off from now on, and by how many jobs. What waits
    /// stays. May block: an order per key reads what waits from the log.
    pub fn set_plan(&self, item: ItemId, plan: Plan, jobs: usize) {
        self.waits.set_jobs(item, jobs);
        self.queue(item)
            .set_plan(plan, |live| self.store.body(live.body).ok());
    }

    fn door(&self, service: ItemId) -> Arc<tokio::sync::Mutex<()>> {
        self.doors.lock().entry(service).or_default().clone()
    }

    /// Puts a header on the queue of its target, whether there is room or not. May read from the
    /// log where the queue needs a body that is not given.
    pub fn push(&self, live: Live, body: Option<Bytes>) {
        let queue = self.queue(live.target);
        let evicted = if body.is_none() && queue.reads_bodies() {
            queue.push_read(live, &self.body_for_key(&live))
        } else {
            queue.push(live, body)
        };
        self.discard(live.target, &queue, &evicted);
    }

    /// Puts back on its queue what recovery found; nothing is dropped for it.
    pub(crate) fn restore(&self, live: Live) {
        let queue = self.queue(live.target);
        if queue.reads_bodies() {
            queue.restore(live, &self.body_for_key(&live));
        } else {
            queue.restore(live, &[]);
        }
    }

    /// A body that cannot be read has the empty key; its job finds the damage and says so.
    fn body_for_key(&self, live: &Live) -> Bytes {
        self.store.body(live.body).unwrap_or_default()
    }

    /// Records the end of what a full queue dropped.
    fn discard(&self, item: ItemId, queue: &ItemQueue, evicted: &[Live]) {
        if evicted.is_empty() {
            return;
        }
        let full = QueueFull {
            item: self.store.item_name(item),
            limit: queue.room.limit(),
        };
        let reason = format!("{full}; OverflowStrategy drop_oldest dropped it");
        let no_body = Bytes::new();
        for live in evicted {
            if let Err(error) = self.finish(&Finish::dropped(live, &reason, &no_body)) {
                // Unfinished in the log: it comes again with the next start.
                error!(
                    item = &*full.item,
                    message = live.id.0,
                    code = error.code(),
                    "cannot record that a message was dropped: {error}"
                );
            }
        }
    }

    /// Records how a hop ended, puts what follows on its queues whether there is room or not, and
    /// answers who waits. The record is not yet durable: replay would do the hop again.
    pub fn finish(&self, finish: &Finish<'_>) -> Result<Appended, StoreError> {
        let legs = finish.legs.iter().map(|leg| self.queue(leg.target));
        self.hop(finish, Admission::forced(legs), |_| ())
    }

    /// The same for legs that were [admitted](Self::admit).
    pub fn finish_admitted(
        &self,
        finish: &Finish<'_>,
        admission: Admission,
    ) -> Result<Appended, StoreError> {
        self.hop(finish, admission, |_| ())
    }

    /// Like [`finish_admitted`](Self::finish_admitted), for a job that waits for the response of each
    /// leg: one intent for each. They are registered before a target can see its request, so that
    /// no response is missed.
    pub(crate) fn call(
        &self,
        finish: &Finish<'_>,
        intents: Vec<Intent>,
        admission: Admission,
    ) -> Result<Vec<Waiting>, StoreError> {
        let dropped: Vec<(u64, String)> = (0..finish.legs.len())
            .filter_map(|leg| Some((leg as u64, admission.dropped(leg)?.to_owned())))
            .collect();
        let mut waiting = Vec::with_capacity(intents.len());
        let appended = self.hop(finish, admission, |appended| {
            let ids = (appended.first_id.0..).map(MessageId);
            let registered = intents.into_iter().zip(ids);
            waiting.extend(registered.map(|(intent, id)| intent.wait_for(id)));
        })?;
        for (leg, reason) in dropped {
            self.tell_dropped(MessageId(appended.first_id.0 + leg), reason);
        }
        Ok(waiting)
    }

    /// Tells a caller that its request was dropped at the door.
    fn tell_dropped(&self, request: MessageId, reason: String) {
        self.calls.claim(request).send(|| Response {
            state: State::Discarded,
            reason,
            reply: None,
        });
    }

    fn hop(
        &self,
        finish: &Finish<'_>,
        mut admission: Admission,
        before_push: impl FnOnce(&Appended),
    ) -> Result<Appended, StoreError> {
        let time_ms = self.clock.now_ms();
        let legs: SmallVec<[NewLeg<'_>; 4]> = finish
            .legs
            .iter()
            .enumerate()
            .map(|(nth, leg)| NewLeg {
                target: leg.target,
                priority: leg.priority,
                state: admission.state(nth),
                reason: admission.dropped(nth).unwrap_or_default(),
                body: leg
                    .body
                    .as_ref()
                    .map_or(LegBody::Same, |body| LegBody::New(body)),
            })
            .collect();
        let awaited = finish.awaited(&admission);
        let answer = self.claim(finish, &awaited);
        let answered = answer.answered();
        let appended = self.store.step(&Step {
            time_ms,
            header: finish.live,
            state: finish.state,
            attempts: finish.attempts,
            reason: finish.reason,
            note: finish.note,
            reply: finish.reply.map(|reply| &reply[..]),
            answered,
            legs: &legs,
        })?;
        answer.send(|| Response {
            state: finish.state,
            reason: finish.reason.into(),
            reply: finish.reply.cloned(),
        });
        if !awaited.is_empty() && is_end(finish.state) {
            let to: SmallVec<[(u64, ItemId); 4]> = awaited
                .iter()
                .map(|(nth, target)| (appended.first_id.0 + nth, *target))
                .collect();
            self.calls.hand_on(finish.live.id, &to);
        }
        before_push(&appended);
        drop(legs);
        for (nth, leg) in finish.legs.iter().enumerate() {
            let Some(queue) = admission.take(nth) else {
                continue;
            };
            let live = Live {
                id: MessageId(appended.first_id.0 + nth as u64),
                session: finish.live.session,
                body: appended
                    .bodies
                    .get(nth)
                    .copied()
                    .unwrap_or(finish.live.body),
                created_ms: time_ms,
                source: finish.live.target,
                target: leg.target,
                attempts: 0,
                hops: finish.live.hops.saturating_add(1),
                priority: leg.priority,
                state: State::Queued,
                content: finish.live.content,
                possible_duplicate: finish.live.possible_duplicate,
            };
            let body = leg.body.as_ref().unwrap_or(finish.body).clone();
            let evicted = queue.push_promised(live, Some(body));
            self.discard(leg.target, &queue, &evicted);
        }
        Ok(appended)
    }

    /// Who is answered by the end of this hop. A request that only goes on trying keeps its caller,
    /// and one whose response is that of hops that follow hands the caller on.
    fn claim(&self, finish: &Finish<'_>, awaited: &[(u64, ItemId)]) -> Answer {
        if !is_end(finish.state) || !awaited.is_empty() {
            return Answer::None;
        }
        self.calls.claim(finish.live.id)
    }
}
