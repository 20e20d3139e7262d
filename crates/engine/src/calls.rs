//! Calls: who waits for the response of a request, and for how long.
//!
//! The asynchronous face of [`Waiters`] and of the table of who waits for whom (`circle`). Owns
//! the response as a caller gets it and how waiting ends: with the response, with a timeout, or
//! because the caller went away. What is late stays in the trace and reaches nobody.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hie_store::{Answered, ItemId, MessageId, State};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    circle::{Circle, JobKey},
    waiters::{Claim, Waiters},
};

/// What a caller that waited gets.
#[derive(Clone, Debug)]
pub struct Response {
    /// How the request ended.
    pub state: State,
    /// Why, for any state but Completed.
    pub reason: String,
    /// The reply, if there was one.
    pub reply: Option<Bytes>,
}

/// Why a caller got no response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoResponse {
    /// It did not come in time. For whom the caller waited, and for whom that one waited, and so on.
    TimedOut(Vec<ItemId>),
    /// Nobody is left who could answer: the engine stops, or its journal failed.
    Nobody,
}

/// A caller: where its response goes, and, for a job, which of its waits that ends.
struct Sink {
    sender: oneshot::Sender<Response>,
    wait: Option<(JobKey, u64)>,
}

/// Who is told how a request ended: told once that is recorded, or dropped to say that it never
/// will be.
pub(crate) enum Answer {
    /// Nobody ever waited.
    None,
    /// Nobody waits any more.
    Late,
    /// Somebody waits.
    To(oneshot::Sender<Response>),
}

impl Answer {
    /// As the record of the end says it.
    pub(crate) fn answered(&self) -> Answered {
        match self {
            Self::None => Answered::Nobody,
            Self::Late => Answered::Late,
            Self::To(_) => Answered::Caller,
        }
    }

    /// Brings the response home.
    pub(crate) fn send(self, response: impl FnOnce() -> Response) {
        if let Self::To(sender) = self {
            let _ = sender.send(response()); // gone: only when the caller was dropped at this moment
        }
    }
}

/// All callers of a production.
#[derive(Default)]
pub struct Calls {
    waiters: Waiters<Sink>,
    /// Taken before the lock inside `waiters`, never after.
    circle: Mutex<Circle>,
}

impl Calls {
    /// Waits for the first response of any of these requests; to be called before they can be seen
    /// by anybody who could answer.
    pub fn wait_for(self: &Arc<Self>, requests: impl Iterator<Item = MessageId>) -> Waiting {
        self.register(requests, None)
    }

    fn register(
        self: &Arc<Self>,
        requests: impl Iterator<Item = MessageId>,
        wait: Option<(JobKey, u64)>,
    ) -> Waiting {
        let (sender, receiver) = oneshot::channel();
        let sink = Sink { sender, wait };
        let caller = self.waiters.register(requests.map(|id| id.0), sink);
        Waiting {
            calls: self.clone(),
            caller,
            receiver,
            wait,
            request: None,
        }
    }

    /// A job takes its place among those who may wait for each other.
    pub(crate) fn join(self: &Arc<Self>, item: ItemId, one_at_a_time: bool) -> Place {
        let (key, in_hand) = self.circle.lock().join(item, one_at_a_time);
        Place {
            calls: self.clone(),
            key,
            in_hand,
        }
    }

    /// A request is about to end: takes out who waits for it.
    pub(crate) fn claim(&self, request: MessageId) -> Answer {
        if self.waiters.is_empty() {
            return Answer::None;
        }
        let mut circle = self.circle.lock();
        match self.waiters.claim(request.0) {
            Claim::Nobody => Answer::None,
            Claim::Late => Answer::Late,
            Claim::Caller(sink) => {
                if let Some((job, want)) = sink.wait {
                    circle.end(job, want);
                }
                Answer::To(sink.sender)
            }
        }
    }

    /// The response of a request will be that of the first of those that answers.
    pub(crate) fn hand_on(&self, request: MessageId, to: &[(u64, ItemId)]) {
        if self.waiters.is_empty() {
            return;
        }
        let mut circle = self.circle.lock();
        let next: Vec<u64> = to.iter().map(|(id, _)| *id).collect();
        let wait = self.waiters.hand_on(request.0, &next, |sink| sink.wait);
        if let Some((job, want)) = wait.flatten() {
            circle.set(job, want, to);
        }
    }

    /// How many callers wait now.
    pub fn waiting(&self) -> usize {
        self.waiters.count().0
    }

    /// How many requests are under way whose caller gave up.
    pub fn given_up(&self) -> usize {
        self.waiters.count().1
    }
}

/// The place of one job in the table of who waits for whom; it leaves with this.
pub(crate) struct Place {
    calls: Arc<Calls>,
    key: JobKey,
    in_hand: Arc<AtomicU64>,
}

impl Place {
    /// Says what the job has in hand, until the guard goes.
    pub(crate) fn holds(&self, message: MessageId) -> InHand<'_> {
        self.in_hand.store(message.0, Ordering::Release);
        InHand(self)
    }

    /// The job is about to wait for a request to this item, which is not made yet. An error if that
    /// could never end: the items that wait for each other, the first of them again at the end.
    pub(crate) fn intend(&self, item: ItemId) -> Result<Intent, Vec<ItemId>> {
        let want = self.calls.circle.lock().want(self.key, item)?;
        Ok(Intent {
            calls: self.calls.clone(),
            wait: Some((self.key, want)),
            item,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.calls.circle.lock().leave(self.key);
    }
}

/// A job has a message in hand.
pub(crate) struct InHand<'a>(&'a Place);

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.in_hand.store(0, Ordering::Release);
    }
}

/// A job that will wait as soon as its request is made.
pub(crate) struct Intent {
    calls: Arc<Calls>,
    wait: Option<(JobKey, u64)>,
    item: ItemId,
}

impl Intent {
    /// The request is made, and nobody has seen it yet.
    pub(crate) fn wait_for(mut self, request: MessageId) -> Waiting {
        let wait = self.wait.take();
        if let Some((job, want)) = wait {
            let mut circle = self.calls.circle.lock();
            circle.set(job, want, &[(request.0, self.item)]);
        }
        let mut waiting = self.calls.register(std::iter::once(request), wait);
        waiting.request = Some((request.0, self.item));
        waiting
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        if let Some((job, want)) = self.wait {
            self.calls.circle.lock().end(job, want);
        }
    }
}

/// A caller that waits; dropped, it has given up.
pub struct Waiting {
    calls: Arc<Calls>,
    caller: u64,
    receiver: oneshot::Receiver<Response>,
    wait: Option<(JobKey, u64)>,
    /// What is awaited, where that is one request of a job.
    request: Option<(u64, ItemId)>,
}

impl Waiting {
    /// What is awaited, where that is one request of a job.
    pub(crate) fn request(&self) -> Option<(u64, ItemId)> {
        self.request
    }

    /// The response, however long it takes.
    pub async fn response(mut self) -> Result<Response, NoResponse> {
        (&mut self.receiver).await.map_err(|_| NoResponse::Nobody)
    }

    /// The response, if it comes in time. One that is claimed at the very end still counts.
    /// Cancel-safe: the caller goes on waiting until this is dropped.
    pub async fn within(&mut self, timeout: Option<Duration>) -> Result<Response, NoResponse> {
        let timeout = timeout.unwrap_or(FOR_EVER);
        match tokio::time::timeout(timeout, &mut self.receiver).await {
            Ok(response) => response.map_err(|_| NoResponse::Nobody),
            Err(_) => self.give_up().await,
        }
    }

    async fn give_up(&mut self) -> Result<Response, NoResponse> {
        let chain = self
            .wait
            .map(|(job, want)| self.calls.circle.lock().chain(job, want));
        if self.calls.waiters.give_up(self.caller) {
            self.end_wait();
            return Err(NoResponse::TimedOut(chain.unwrap_or_default()));
        }
        let late = (&mut self.receiver).await;
        late.map_err(|_| NoResponse::Nobody)
    }

    fn end_wait(&mut self) {
        if let Some((job, want)) = self.wait.take() {
            self.calls.circle.lock().end(job, want);
        }
    }

    /// Stops waiting as if it had never begun: the requests were not made, or another waits.
    pub(crate) fn forget(self) {
        self.calls.waiters.forget(self.caller);
    }
}

/// As long as a timer can be set.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400 * 10);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end_wait();
        self.calls.waiters.give_up(self.caller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response() -> Response {
        Response {
            state: State::Completed,
            reason: String::new(),
            reply: None,
        }
    }

    #[tokio::test]
    async fn a_caller_gets_its_response_or_a_timeout_and_leaves_nothing() {
        let calls = Arc::new(Calls::default());
        let mut waiting = calls.wait_for([MessageId(1)].into_iter());
        calls.claim(MessageId(1)).send(response);
        assert!(waiting.within(None).await.is_ok());
        let mut waiting = calls.wait_for([MessageId(2)].into_iter());
        let timed_out = waiting.within(Some(Duration::from_millis(1))).await;
        assert_eq!(timed_out.unwrap_err(), NoResponse::TimedOut(Vec::new()));
        assert_eq!((calls.waiting(), calls.given_up()), (0, 1));
        calls.claim(MessageId(2)).send(response);
        assert_eq!((calls.waiting(), calls.given_up()), (0, 0));
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_waits_no_more() {
        let calls = Arc::new(Calls::default());
        drop(calls.wait_for([MessageId(1)].into_iter()));
        assert_eq!((calls.waiting(), calls.given_up()), (0, 1));
        calls.wait_for([MessageId(2)].into_iter()).forget();
        assert_eq!((calls.waiting(), calls.given_up()), (0, 1));
    }

    #[tokio::test]
    async fn an_end_that_cannot_be_recorded_leaves_nobody_waiting() {
        let calls = Arc::new(Calls::default());
        let waiting = calls.wait_for([MessageId(1)].into_iter());
        drop(calls.claim(MessageId(1)));
        assert_eq!(waiting.response().await.unwrap_err(), NoResponse::Nobody);
    }

    #[tokio::test]
    async fn a_timeout_names_the_whole_chain_and_a_claim_ends_the_wait_at_once() {
        let calls = Arc::new(Calls::default());
        let [a, b, c] = [1, 2, 3].map(ItemId);
        let (first, second) = (calls.join(a, false), calls.join(b, false));
        let _first = first.holds(MessageId(1));
        let _second = second.holds(MessageId(2));
        let mut waiting = first.intend(b).unwrap().wait_for(MessageId(2));
        let deeper = second.intend(c).unwrap().wait_for(MessageId(3));
        let chain = waiting.within(Some(Duration::from_millis(1))).await;
        assert_eq!(chain.unwrap_err(), NoResponse::TimedOut(vec![b, c]));
        // The claimed wait is over before its job has woken up: a new one is no round.
        let waiting = first.intend(b).unwrap().wait_for(MessageId(4));
        drop(deeper);
        assert!(second.intend(a).is_err(), "nobody else can take 4");
        drop(calls.claim(MessageId(4)));
        assert!(second.intend(a).is_ok());
        drop(waiting);
    }
}
