//! The broker: makes sessions and headers durable, puts them on queues, and brings responses home.
//!
//! Every message goes through here once on its way in ([`Broker::accept`]) and once for each hop
//! ([`Broker::finish`]); each is one log record. Owns the table of queues. Who waits for
//! a response is kept by [`calls`](crate::calls). Knows nothing of jobs or hosts.

use std::{collections::HashMap, future::Future, sync::Arc};

use bytes::Bytes;
use hie_journal::Durable;
use hie_store::{
    Appended, Content, ItemId, LegBody, Live, MessageId, NewBody, NewLeg, NewMessage, Priority,
    SessionId, State, Step, Store, StoreError,
};
use parking_lot::RwLock;
use smallvec::SmallVec;

pub use crate::calls::Response;
use crate::{
    HostError,
    calls::{Answer, Calls, Intent, Waiting},
    clock::Clock,
    config::did_you_mean,
    deferred::Deferrals,
    queue::{BodyBudget, ItemQueue},
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

/// What a service says of a message that it lets in.
pub struct Arrival<'a> {
    /// The service.
    pub source: ItemId,
    /// Peer address or file name.
    pub origin: &'a str,
    /// What the body is.
    pub content: Content,
    /// The bytes as they came.
    pub body: &'a Bytes,
    /// What the targets get instead; the bytes as they came are kept.
    pub changed: Option<&'a Bytes>,
    /// Who gets it.
    pub targets: &'a [ItemId],
    /// Queued, or the state in which it is only recorded (then no target gets it).
    pub state: State,
    /// Why, for any state but Queued.
    pub reason: &'a str,
    /// What a hook noted. A note or a change is shown in the trace as a hop of its own, from the
    /// service to itself, that holds the bytes as they came.
    pub note: &'a str,
}

/// A message that is on disk and on its way.
#[derive(Debug)]
pub struct Accepted {
    /// The proof that a positive acknowledgement asks for.
    pub durable: Durable,
    /// Its session.
    pub session: SessionId,
    /// Its first header.
    pub first_id: MessageId,
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

impl Finish<'_> {
    /// The legs whose response the caller gets.
    fn awaited(&self) -> impl Iterator<Item = (u64, ItemId)> {
        let legs = self.legs.iter().zip(0..);
        legs.filter(|(leg, _)| self.response_from.contains(&leg.target))
            .map(|(leg, nth)| (nth, leg.target))
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
                Box::<crate::queue::Fifo>::default(),
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

    /// Puts a header on the queue of its target.
    pub fn push(&self, live: Live, body: Option<Bytes>) {
        if let Some(Some(queue)) = self.queues.read().get(usize::from(live.target.0)) {
            return queue.push(live, body);
        }
        self.queue(live.target).push(live, body);
    }

    /// Makes an arrival durable and puts it on the queues of its targets; nothing positive may be
    /// answered before this returns. Cancel-safe: once appended, the message reaches its queues
    /// even when the caller goes away (it may be on disk, and then it counts as accepted).
    pub async fn accept(&self, arrival: Arrival<'_>) -> Result<Accepted, StoreError> {
        let appended = self.append_arrival(&arrival)?;
        self.settle(&arrival, &appended).await
    }

    /// Like [`accept`](Self::accept), and gives the response of the first target that answers.
    /// The response ends with an error when nobody is left who could answer.
    pub async fn request(
        &self,
        arrival: Arrival<'_>,
    ) -> Result<
        (
            Accepted,
            impl Future<Output = Option<Response>> + Send + use<>,
        ),
        StoreError,
    > {
        let appended = self.append_arrival(&arrival)?;
        let ids = (0..arrival.targets.len() as u64).map(|leg| MessageId(appended.first_id.0 + leg));
        let waiting = self.calls.wait_for(ids);
        match self.settle(&arrival, &appended).await {
            Ok(accepted) => Ok((accepted, async move { waiting.response().await.ok() })),
            Err(error) => {
                waiting.forget();
                Err(error)
            }
        }
    }

    /// Waits until an arrival is on disk and puts it on its queues, whatever becomes of the caller.
    async fn settle(
        &self,
        arrival: &Arrival<'_>,
        appended: &Appended,
    ) -> Result<Accepted, StoreError> {
        let mut pending = Pending {
            broker: self,
            arrival,
            appended,
            armed: true,
        };
        let durable = appended.ticket.durable().await;
        pending.armed = false;
        let durable = durable?;
        pending.push();
        Ok(Accepted {
            durable,
            session: appended.session,
            first_id: appended.first_id,
        })
    }

    fn append_arrival(&self, arrival: &Arrival<'_>) -> Result<Appended, StoreError> {
        let leg = |target| NewLeg {
            target,
            priority: Priority::Normal,
            state: arrival.state,
            reason: arrival.reason,
            body: arrival
                .changed
                .map_or(LegBody::Same, |body| LegBody::New(body)),
        };
        let mut legs: SmallVec<[NewLeg<'_>; 4]> =
            arrival.targets.iter().map(|target| leg(*target)).collect();
        if legs.is_empty() {
            legs.push(leg(arrival.source));
        }
        if arrival.changed.is_some() || !arrival.note.is_empty() {
            // Last, so that the ids of the targets' hops do not depend on it.
            legs.push(NewLeg {
                target: arrival.source,
                priority: Priority::Normal,
                state: State::Completed,
                reason: arrival.note,
                body: LegBody::Same,
            });
        }
        let appended = self.store.accept(&NewMessage {
            time_ms: self.clock.now_ms(),
            source: arrival.source,
            origin: arrival.origin,
            content: arrival.content,
            body: NewBody::Bytes(arrival.body),
            resent_from: None,
            legs: &legs,
        })?;
        Ok(appended)
    }

    /// Records how a hop ended, puts what follows on its queues, and answers who waits. The record
    /// is not yet durable: replay would do the hop again.
    pub fn finish(&self, finish: &Finish<'_>) -> Result<Appended, StoreError> {
        self.hop(finish, |_| ())
    }

    /// Like [`finish`](Self::finish), for a job that waits for the response of each leg: one intent
    /// for each. They are registered before a target can see its request, so that no response is
    /// missed.
    pub(crate) fn call(
        &self,
        finish: &Finish<'_>,
        intents: Vec<Intent>,
    ) -> Result<Vec<Waiting>, StoreError> {
        let mut waiting = Vec::with_capacity(intents.len());
        self.hop(finish, |appended| {
            let ids = (appended.first_id.0..).map(MessageId);
            let registered = intents.into_iter().zip(ids);
            waiting.extend(registered.map(|(intent, id)| intent.wait_for(id)));
        })?;
        Ok(waiting)
    }

    fn hop(
        &self,
        finish: &Finish<'_>,
        before_push: impl FnOnce(&Appended),
    ) -> Result<Appended, StoreError> {
        let time_ms = self.clock.now_ms();
        let legs: SmallVec<[NewLeg<'_>; 4]> = finish
            .legs
            .iter()
            .map(|leg| NewLeg {
                target: leg.target,
                priority: leg.priority,
                state: State::Queued,
                reason: "",
                body: leg
                    .body
                    .as_ref()
                    .map_or(LegBody::Same, |body| LegBody::New(body)),
            })
            .collect();
        let answer = self.claim(finish);
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
        self.hand_on(finish, &appended);
        before_push(&appended);
        for (nth, leg) in finish.legs.iter().enumerate() {
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
            self.push(live, Some(leg.body.as_ref().unwrap_or(finish.body).clone()));
        }
        Ok(appended)
    }

    /// Who is answered by the end of this hop. A request that only goes on trying keeps its caller,
    /// and one whose response is that of hops that follow hands the caller on.
    fn claim(&self, finish: &Finish<'_>) -> Answer {
        if !is_end(finish.state) || finish.awaited().next().is_some() {
            return Answer::None;
        }
        self.calls.claim(finish.live.id)
    }

    fn hand_on(&self, finish: &Finish<'_>, appended: &Appended) {
        if !is_end(finish.state) {
            return;
        }
        let to: SmallVec<[(u64, ItemId); 4]> = finish
            .awaited()
            .map(|(nth, target)| (appended.first_id.0 + nth, target))
            .collect();
        if !to.is_empty() {
            self.calls.hand_on(finish.live.id, &to);
        }
    }

    /// Sends a stored message again: same body, new session, linked to the old header.
    pub async fn resend(
        &self,
        source: ItemId,
        target: ItemId,
        content: Content,
        of: MessageId,
        body: hie_store::BodyRef,
    ) -> Result<Accepted, StoreError> {
        let time_ms = self.clock.now_ms();
        let leg = NewLeg {
            target,
            priority: Priority::Normal,
            state: State::Queued,
            reason: "",
            body: LegBody::Same,
        };
        let appended = self.store.accept(&NewMessage {
            time_ms,
            source,
            origin: "resend",
            content,
            body: NewBody::Stored(body),
            resent_from: Some(of),
            legs: &[leg],
        })?;
        let durable = appended.ticket.durable().await?;
        self.push(first_leg(&appended, source, target, content, time_ms), None);
        Ok(Accepted {
            durable,
            session: appended.session,
            first_id: appended.first_id,
        })
    }
}

fn first_leg(
    appended: &Appended,
    source: ItemId,
    target: ItemId,
    content: Content,
    created_ms: u64,
) -> Live {
    Live {
        id: appended.first_id,
        session: appended.session,
        body: appended.bodies.first().copied().unwrap_or_default(),
        created_ms,
        source,
        target,
        attempts: 0,
        hops: 0,
        priority: Priority::Normal,
        state: State::Queued,
        content,
        possible_duplicate: false,
    }
}

/// An appended arrival that must reach its queues even if its service is cancelled while it waits
/// for the disk: dropped armed, it is queued at once. Delivering it before it is known to be
/// durable is allowed (nobody was told yes); leaving it on disk and on no queue is not.
struct Pending<'a> {
    broker: &'a Broker,
    arrival: &'a Arrival<'a>,
    appended: &'a Appended,
    armed: bool,
}

impl Pending<'_> {
    fn push(&self) {
        if self.arrival.state != State::Queued {
            return;
        }
        let arrival = self.arrival;
        let time_ms = self.broker.clock.now_ms();
        for (nth, target) in arrival.targets.iter().enumerate() {
            let first = first_leg(
                self.appended,
                arrival.source,
                *target,
                arrival.content,
                time_ms,
            );
            let live = Live {
                id: MessageId(first.id.0 + nth as u64),
                body: self.appended.bodies.get(nth).copied().unwrap_or(first.body),
                ..first
            };
            let body = arrival.changed.unwrap_or(arrival.body);
            self.broker.push(live, Some(body.clone()));
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.push();
        }
    }
}
