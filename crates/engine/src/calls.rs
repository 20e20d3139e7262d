//! Calls: who waits for the response of a request, and for how long.
//!
//! The asynchronous face of [`Waiters`]. Owns the response as a caller gets it and how waiting
//! ends: with the response, with a timeout, or because the caller went away. What is late stays in
//! the trace and reaches nobody.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hie_store::{Answered, MessageId, State};
use tokio::sync::oneshot;

use crate::waiters::{Claim, Waiters};

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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoResponse {
    /// It did not come in time.
    TimedOut,
    /// Nobody is left who could answer: the engine stops, or its journal failed.
    Nobody,
}

type Sink = oneshot::Sender<Response>;

/// Who finished a request: told once its end is recorded, or dropped to say that it never will be.
pub(crate) enum Answer {
    /// Nobody ever waited.
    None,
    /// Nobody waits any more.
    Late,
    /// Somebody waits.
    To(Sink),
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
        if let Self::To(sink) = self {
            let _ = sink.send(response()); // gone: only when the caller was dropped at this moment
        }
    }
}

/// All callers of a production.
#[derive(Default)]
pub struct Calls {
    waiters: Waiters<Sink>,
}

impl Calls {
    /// Waits for the first response of any of these requests; to be called before they can be seen
    /// by anybody who could answer.
    pub fn wait_for(self: &Arc<Self>, requests: impl Iterator<Item = MessageId>) -> Waiting {
        let (sink, receiver) = oneshot::channel();
        let caller = self.waiters.register(requests.map(|id| id.0), sink);
        Waiting {
            calls: self.clone(),
            caller,
            receiver,
        }
    }

    /// A request is about to end: takes out who waits for it.
    pub(crate) fn claim(&self, request: MessageId) -> Answer {
        match self.waiters.claim(request.0) {
            Claim::Nobody => Answer::None,
            Claim::Late => Answer::Late,
            Claim::Caller(sink) => Answer::To(sink),
        }
    }

    /// The response of a request will be that of those.
    pub(crate) fn hand_on(&self, request: MessageId, to: &[u64]) {
        self.waiters.hand_on(request.0, to);
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

/// A caller that waits; dropped, it has given up.
pub struct Waiting {
    calls: Arc<Calls>,
    caller: u64,
    receiver: oneshot::Receiver<Response>,
}

impl Waiting {
    /// The response, however long it takes.
    pub async fn response(mut self) -> Result<Response, NoResponse> {
        (&mut self.receiver).await.map_err(|_| NoResponse::Nobody)
    }

    /// The response, if it comes in time. One that is claimed at the very end still counts.
    pub async fn within(mut self, timeout: Option<Duration>) -> Result<Response, NoResponse> {
        let Some(timeout) = timeout else {
            return self.response().await;
        };
        match tokio::time::timeout(timeout, &mut self.receiver).await {
            Ok(response) => response.map_err(|_| NoResponse::Nobody),
            Err(_) if self.calls.waiters.give_up(self.caller) => Err(NoResponse::TimedOut),
            Err(_) => self.response().await,
        }
    }

    /// The requests were never made.
    pub(crate) fn forget(self) {
        self.calls.waiters.forget(self.caller);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
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
        let waiting = calls.wait_for([MessageId(1)].into_iter());
        calls.claim(MessageId(1)).send(response);
        assert!(waiting.within(None).await.is_ok());
        let waiting = calls.wait_for([MessageId(2)].into_iter());
        let timed_out = waiting.within(Some(Duration::from_millis(1))).await;
        assert_eq!(timed_out.unwrap_err(), NoResponse::TimedOut);
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
}
