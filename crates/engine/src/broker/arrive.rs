//! The way in: an arrival is admitted, made durable and put on its queues.
//!
//! Owns what holds between a service and the log: nothing positive before the disk, and nothing
//! stranded if the service goes away half way.

use std::future::Future;

use bytes::Bytes;
use hie_journal::Durable;
use hie_store::{
    Appended, Content, ItemId, LegBody, Live, MessageId, NewBody, NewLeg, NewMessage, Priority,
    SessionId, State, StoreError,
};
use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;

use super::{AcceptError, Admission, Broker, Response, Sender};

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
    /// Ends a wait for room in the queues of its targets; the message is then not let in.
    pub stopping: Option<&'a CancellationToken>,
}

impl Arrival<'_> {
    /// Who gets it: nobody, if it is only recorded.
    fn receivers(&self) -> &[ItemId] {
        match self.state {
            State::Queued => self.targets,
            _ => &[],
        }
    }
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

impl Broker {
    /// Makes an arrival durable and puts it on the queues of its targets; nothing positive may be
    /// answered before this returns. Waits for room where the targets want that, before anything
    /// is written. Cancel-safe: once appended, the message reaches its queues even when the caller
    /// goes away (it may be on disk, and then it counts as accepted).
    pub async fn accept(&self, arrival: Arrival<'_>) -> Result<Accepted, StoreError> {
        let admission = self.admit_arrival(&arrival).await?;
        let appended = self.append_arrival(&arrival, &admission)?;
        self.settle(&arrival, &appended, admission).await
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
        let admission = self.admit_arrival(&arrival).await?;
        let appended = self.append_arrival(&arrival, &admission)?;
        let legs = 0..arrival.targets.len();
        let queued: SmallVec<[usize; 4]> = legs
            .filter(|leg| admission.dropped(*leg).is_none())
            .collect();
        let dropped = queued.is_empty().then(|| admission.dropped(0)).flatten();
        let dropped = dropped.map(str::to_owned);
        let id = |leg: usize| MessageId(appended.first_id.0 + leg as u64);
        let waiting = match dropped {
            None => self.calls.wait_for(queued.iter().map(|leg| id(*leg))),
            Some(_) => self.calls.wait_for(std::iter::once(id(0))),
        };
        match self.settle(&arrival, &appended, admission).await {
            Ok(accepted) => {
                if let Some(reason) = dropped {
                    self.tell_dropped(id(0), reason);
                }
                Ok((accepted, async move { waiting.response().await.ok() }))
            }
            Err(error) => {
                waiting.forget();
                Err(error)
            }
        }
    }

    async fn admit_arrival(&self, arrival: &Arrival<'_>) -> Result<Admission, AcceptError> {
        let from = Sender {
            item: arrival.source,
            message: None,
        };
        self.admit(from, arrival.receivers(), arrival.stopping)
            .await
    }

    /// Waits until an arrival is on disk and puts it on its queues, whatever becomes of the caller.
    async fn settle(
        &self,
        arrival: &Arrival<'_>,
        appended: &Appended,
        admission: Admission,
    ) -> Result<Accepted, StoreError> {
        let mut pending = Pending {
            broker: self,
            arrival,
            appended,
            admission: Some(admission),
        };
        match appended.ticket.durable().await {
            Ok(durable) => {
                pending.push();
                Ok(Accepted {
                    durable,
                    session: appended.session,
                    first_id: appended.first_id,
                })
            }
            Err(error) => {
                pending.admission = None;
                Err(error.into())
            }
        }
    }

    fn append_arrival(
        &self,
        arrival: &Arrival<'_>,
        admission: &Admission,
    ) -> Result<Appended, StoreError> {
        let leg = |target, state, reason| NewLeg {
            target,
            priority: Priority::Normal,
            state,
            reason,
            body: arrival
                .changed
                .map_or(LegBody::Same, |body| LegBody::New(body)),
        };
        let mut legs: SmallVec<[NewLeg<'_>; 4]> = arrival
            .targets
            .iter()
            .enumerate()
            .map(|(nth, target)| match admission.dropped(nth) {
                Some(reason) => leg(*target, State::Discarded, reason),
                None => leg(*target, arrival.state, arrival.reason),
            })
            .collect();
        if legs.is_empty() {
            legs.push(leg(arrival.source, arrival.state, arrival.reason));
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
        self.store.accept(&NewMessage {
            time_ms: self.clock.now_ms(),
            source: arrival.source,
            origin: arrival.origin,
            content: arrival.content,
            body: NewBody::Bytes(arrival.body),
            resent_from: None,
            legs: &legs,
        })
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
        // Past any limit: it is an operator who asks for it.
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
    /// None once it is done, or must not be done.
    admission: Option<Admission>,
}

impl Pending<'_> {
    fn push(&mut self) {
        let Some(mut admission) = self.admission.take() else {
            return;
        };
        let arrival = self.arrival;
        let time_ms = self.broker.clock.now_ms();
        for (nth, target) in arrival.receivers().iter().enumerate() {
            let Some(queue) = admission.take(nth) else {
                continue;
            };
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
            let evicted = queue.push_promised(live, Some(body.clone()));
            self.broker.discard(*target, &queue, &evicted);
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.push();
    }
}
