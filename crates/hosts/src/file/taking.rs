//! One claimed file: read, its messages made durable, archived; or set aside.
//!
//! Owns what each step's failure means: try again, set aside, or stop taking files. Where files lie
//! is in [`folders`](super::folders), which files are taken and when in [`watcher`](super::watcher).

use std::{io, sync::Arc};

use bytes::Bytes;
use futures_util::future::join_all;
use hie_engine::{ServiceContext, hooks::NotAccepted, host::Origin};
use hie_store::{Content, StoreError};
use tracing::{error, warn};

use super::{
    claim::{Claim, Progress},
    folders::{Folders, Found},
};

/// One message of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// Its bytes, as they stand in the file.
    pub body: Bytes,
    /// Why it cannot be processed, if so. Never message content.
    pub bad: Option<String>,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Part({} bytes, {:?})", self.body.len(), self.bad)
    }
}

/// Takes a file apart into its messages. The same bytes always give the same parts, and the parts
/// joined are the file: a restart counts on both.
pub type Split = fn(&Bytes) -> Vec<Part>;

/// So many messages of a file are made durable at once: they share a group commit.
const AT_ONCE: usize = 24;

/// What became of one claimed file.
pub(crate) enum Taken {
    /// It has left the work folder.
    Left,
    /// It stays and is tried again; why.
    Stays(String),
    /// The service stops.
    Stopping,
}

/// Why nothing can be accepted now.
pub(crate) struct Refused(pub(crate) String);

/// What is done with every file of one item.
pub(crate) struct Taker {
    pub(crate) folders: Arc<Folders>,
    pub(crate) content: Content,
    pub(crate) split: Split,
    /// Gets what `split` finds bad.
    pub(crate) bad_handler: Option<String>,
}

impl Taker {
    /// A step on the file system, on a thread that may block.
    pub(crate) async fn on_disk<T, F>(&self, step: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Folders) -> T + Send + 'static,
    {
        let folders = self.folders.clone();
        tokio::task::spawn_blocking(move || step(&folders))
            .await
            .map_err(io::Error::other)
    }

    /// Takes one claimed file as far as it goes.
    pub(crate) async fn take(
        &self,
        ctx: &ServiceContext,
        claim: &mut Claim,
    ) -> Result<Taken, Refused> {
        if claim.progress == Progress::Done {
            return Ok(self.finish(ctx, claim).await);
        }
        let asked = claim.clone();
        let (bytes, shape) = match self
            .on_disk(move |folders| folders.read(&asked))
            .await
            .flatten()
        {
            Ok(Found::Whole(bytes, shape)) => (bytes, shape),
            Ok(Found::Changing) => {
                return Ok(Taken::Stays(format!(
                    "{} is still being written to",
                    claim.shown()
                )));
            }
            Ok(Found::Unfit(reason)) => return self.set_aside(ctx, claim, &reason).await,
            Ok(Found::Gone) => {
                warn!(item = ctx.name(), file = %claim.shown(), "a claimed file was taken out of WorkPath by somebody else");
                return Ok(Taken::Left);
            }
            Err(error) => {
                return Ok(Taken::Stays(format!(
                    "cannot read {}: {error}",
                    claim.shown()
                )));
            }
        };
        claim.read = Some(shape);
        match self.accept(ctx, claim, &bytes).await {
            Ok(()) => Ok(self.finish(ctx, claim).await),
            Err(_) if ctx.stopping().is_cancelled() => Ok(Taken::Stopping),
            Err(error) if error.code() == "record-too-large" => {
                let Progress::Accepted(before) = claim.progress else {
                    return Ok(self.finish(ctx, claim).await);
                };
                let reason = format!("behind {before} accepted messages: {error}");
                self.set_aside(ctx, claim, &reason).await
            }
            Err(error) => {
                let name = claim.shown();
                Err(Refused(format!(
                    "{name} cannot be accepted and stays in WorkPath: {error}"
                )))
            }
        }
    }

    /// Makes the messages of a file durable, from the first that is not, keeping count.
    async fn accept(
        &self,
        ctx: &ServiceContext,
        claim: &mut Claim,
        file: &Bytes,
    ) -> Result<(), StoreError> {
        let parts = (self.split)(file);
        let Progress::Accepted(mut count) = claim.progress else {
            return Ok(());
        };
        while count < parts.len() {
            let from = |at| claim.origin(at, parts.len());
            let some: Vec<(String, &Part)> = parts
                .iter()
                .enumerate()
                .skip(count)
                .take(AT_ONCE)
                .map(|(at, part)| (from(at), part))
                .collect();
            let results = join_all(
                some.iter()
                    .map(|(from, part)| self.accept_one(ctx, from, part)),
            )
            .await;
            let in_order = results.iter().take_while(|result| result.is_ok()).count();
            count += in_order;
            let accepted = results.iter().filter(|result| result.is_ok()).count();
            let failed = results.into_iter().find_map(Result::err);
            claim.progress = Progress::Accepted(count);
            if count < parts.len() || failed.is_some() {
                self.note_progress(ctx, claim).await;
            }
            if let Some(error) = failed {
                const LEFT_NOTHING: [&str; 3] = ["disk-full", "queue-full", "item-stopping"];
                // A full disk refuses before anything is written; after any other failure what was
                // appended may be durable all the same.
                claim.possible_duplicate |=
                    accepted > in_order || !LEFT_NOTHING.contains(&error.code());
                return Err(error);
            }
        }
        claim.progress = Progress::Done;
        self.note_progress(ctx, claim).await;
        Ok(())
    }

    async fn accept_one(
        &self,
        ctx: &ServiceContext,
        from: &str,
        part: &Part,
    ) -> Result<(), StoreError> {
        let origin = Origin {
            from,
            content: self.content,
        };
        match &part.bad {
            // What a hook rejects is kept, counted and logged by then: the file is done with it.
            None => match ctx.accept(origin, &part.body).await {
                Ok(_) | Err(NotAccepted::Rejected(_)) => Ok(()),
                Err(NotAccepted::Store(error)) => Err(error),
            },
            Some(reason) => {
                warn!(
                    item = ctx.name(),
                    from, "a message cannot be processed and is kept: {reason}"
                );
                ctx.accept_bad(origin, &part.body, reason, self.bad_handler.as_deref())
                    .await
                    .map(drop)
            }
        }
    }

    /// A count that cannot be kept is no reason to stop: it costs duplicates after a crash only.
    async fn note_progress(&self, ctx: &ServiceContext, claim: &mut Claim) {
        let mut counted = claim.clone();
        let noted = self
            .on_disk(move |folders| folders.note_progress(&mut counted).map(|()| counted))
            .await
            .flatten();
        match noted {
            Ok(counted) => *claim = counted,
            Err(error) => {
                warn!(item = ctx.name(), file = %claim.shown(), "cannot note in WorkPath what is accepted: {error}")
            }
        }
    }

    /// Archives or deletes what is done.
    async fn finish(&self, ctx: &ServiceContext, claim: &mut Claim) -> Taken {
        let (done, now_ms) = (claim.clone(), ctx.clock().now_ms());
        let finished = self.on_disk(move |folders| match folders.changed_since_read(&done) {
            true => Err(None),
            false => folders.finish(&done, now_ms).map_err(Some),
        });
        match finished
            .await
            .unwrap_or_else(|error| Err(Some(error.to_string())))
        {
            Ok(()) => Taken::Left,
            Err(Some(why)) => Taken::Stays(why),
            Err(None) => {
                let reason = "it was written to after its messages were accepted; what was added is not accepted";
                match self.set_aside(ctx, claim, reason).await {
                    Ok(taken) => taken,
                    Err(Refused(why)) => Taken::Stays(why),
                }
            }
        }
    }

    /// Sets a file aside that cannot become a message, and leaves a message in state Error that
    /// says so.
    async fn set_aside(
        &self,
        ctx: &ServiceContext,
        claim: &mut Claim,
        reason: &str,
    ) -> Result<Taken, Refused> {
        if !claim.recorded {
            let from = claim.origin(0, 1);
            let reason = format!("the file is set aside in ErrorPath: {reason}");
            let origin = Origin {
                from: &from,
                content: Content::Plain,
            };
            error!(item = ctx.name(), from, "{reason}");
            match ctx.accept_bad(origin, &Bytes::new(), &reason, None).await {
                Ok(_) => claim.recorded = true,
                Err(_) if ctx.stopping().is_cancelled() => return Ok(Taken::Stopping),
                Err(error) => {
                    return Err(Refused(format!(
                        "{from} cannot be recorded as bad and stays in WorkPath: {error}"
                    )));
                }
            }
        }
        let (bad, now_ms) = (claim.clone(), ctx.clock().now_ms());
        let moved = self
            .on_disk(move |folders| folders.set_aside(&bad, now_ms))
            .await;
        Ok(match moved.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(_) => Taken::Left,
            Err(why) => Taken::Stays(why),
        })
    }
}
