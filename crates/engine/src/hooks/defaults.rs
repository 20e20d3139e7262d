//! The hooks of a host that has none: they cost nothing.
//!
//! An `async fn` of a trait allocates at each call even if it does nothing. A future without size
//! does not, so the default methods are written out and return one; a host overrides them with
//! plain `async fn` under `#[async_trait]` like any other method.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::Before;
use crate::{HostError, host::Outcome};

/// Of `on_before_process`: go on.
#[doc(hidden)]
pub struct GoOn;

impl Future for GoOn {
    type Output = Result<Before, HostError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(Before::Go))
    }
}

/// Of `on_after_process` and `on_process_error`: the outcome stands.
#[doc(hidden)]
pub struct AsItIs;

impl Future for AsItIs {
    type Output = Result<Option<Outcome>, HostError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(None))
    }
}

/// The three hooks of a host that works off a queue, for use within its trait.
macro_rules! message_hooks {
    () => {
        /// Before a message is processed, at each try, always with the bytes as they came (so a
        /// hook may be run again). May change `message.body`: the changed bytes are processed and
        /// sent on, the stored ones stay. An error ends the message as failed.
        fn on_before_process<'life0, 'life1, 'life2, 'async_trait>(
            &'life0 mut self,
            _ctx: &'life1 HostContext,
            _message: &'life2 mut Message,
        ) -> std::pin::Pin<
            Box<
                dyn Future<Output = Result<crate::hooks::Before, HostError>>
                    + std::marker::Send
                    + 'async_trait,
            >,
        >
        where
            'life0: 'async_trait,
            'life1: 'async_trait,
            'life2: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(crate::hooks::GoOn)
        }

        /// Once this host has come to an end with a message (whatever the end, but not when it is
        /// to be tried again). May return another outcome, which then counts. An error is noted,
        /// and the outcome stands.
        fn on_after_process<'life0, 'life1, 'life2, 'life3, 'async_trait>(
            &'life0 mut self,
            _ctx: &'life1 HostContext,
            _message: &'life2 Message,
            _outcome: &'life3 Outcome,
        ) -> std::pin::Pin<
            Box<
                dyn Future<Output = Result<Option<Outcome>, HostError>>
                    + std::marker::Send
                    + 'async_trait,
            >,
        >
        where
            'life0: 'async_trait,
            'life1: 'async_trait,
            'life2: 'async_trait,
            'life3: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(crate::hooks::AsItIs)
        }

        /// When a try did not end well: `outcome` is neither Completed nor Discarded. May return
        /// another outcome (a reply for the caller, another verdict), which then counts. Not asked
        /// about a rejection. An error is noted, and the first error stands.
        fn on_process_error<'life0, 'life1, 'life2, 'life3, 'async_trait>(
            &'life0 mut self,
            _ctx: &'life1 HostContext,
            _message: &'life2 Message,
            _outcome: &'life3 Outcome,
        ) -> std::pin::Pin<
            Box<
                dyn Future<Output = Result<Option<Outcome>, HostError>>
                    + std::marker::Send
                    + 'async_trait,
            >,
        >
        where
            'life0: 'async_trait,
            'life1: 'async_trait,
            'life2: 'async_trait,
            'life3: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(crate::hooks::AsItIs)
        }
    };
}

pub(crate) use message_hooks;
