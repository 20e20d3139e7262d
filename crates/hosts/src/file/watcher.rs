//! The loop that every file service runs: look, claim, take, pause.
//!
//! Owns when files are taken, in which order, and what is told of troubles. What is done with one
//! file is in [`taking`](super::taking).
//!
//! Order: files are taken oldest first, the messages of a file in their order. When the engine
//! cannot accept (disk full, journal closed) nothing newer is taken before what is claimed is
//! accepted; a file that cannot be read or archived holds up nobody but itself.

use std::{fs::File, io, sync::Arc, time::Duration};

use async_trait::async_trait;
use hie_engine::{
    HostError, ServiceContext,
    config::{ItemConfig, ProductionConfig},
    host::BusinessService,
};
use hie_store::Content;
use tracing::{error, info, warn};

use super::{
    claim::{Claim, Progress, shown},
    complete::Looks,
    disk,
    folders::{Candidate, Folders},
    inbound::Polling,
    taking::{Refused, Split, Taken, Taker},
};

/// So many files are claimed at once: their claims share one sync.
const CLAIMS: usize = 32;

/// A file service: one of its kind for each item.
pub struct FileWatcher {
    taker: Taker,
    /// The pause between two looks.
    every: Duration,
    /// Claimed, in order.
    held: Vec<Claim>,
    looks: Looks,
    next_number: u64,
    /// What was said last, so that a trouble that lasts is said once.
    said: Option<String>,
    /// Keeps other engines out of the work folder.
    lock: Option<File>,
}

impl FileWatcher {
    /// From the settings of an item.
    ///
    /// # Errors
    /// See [`Folders::of`].
    pub fn new(
        item: &ItemConfig,
        production: &ProductionConfig,
        content: Content,
        split: Split,
    ) -> Result<Self, HostError> {
        disk::make_own_folder(item, production)?;
        let polling = Polling::of(&item.settings);
        let taker = Taker {
            folders: Arc::new(Folders::of(item, production)?),
            content,
            split,
            bad_handler: item.settings.list("BadMessageHandler").first().cloned(),
        };
        Ok(Self {
            taker,
            every: polling.every,
            held: Vec::new(),
            looks: Looks::new(polling.confirm),
            next_number: 0,
            said: None,
            lock: None,
        })
    }

    /// One look at the folder; everything that is to be told.
    async fn look(&mut self, ctx: &ServiceContext) -> Result<Vec<String>, Refused> {
        let mut troubles = self.work_off(ctx).await?;
        let look = match self.taker.on_disk(Folders::scan).await.flatten() {
            Ok(files) => self.looks.look(files),
            Err(error) => {
                let folder = self.taker.folders.folder().display();
                troubles.push(format!("cannot list FilePath {folder}: {error}"));
                return Ok(troubles);
            }
        };
        for name in look.empty {
            warn!(item = ctx.name(), file = %shown(&name), "an empty file is left where it is until there is something in it");
        }
        for batch in look.complete.chunks(CLAIMS) {
            if ctx.stopping().is_cancelled() {
                break;
            }
            self.claim(batch.to_vec(), &mut troubles).await;
            troubles.extend(self.work_off(ctx).await?);
        }
        Ok(troubles)
    }

    async fn claim(&mut self, files: Vec<Candidate>, troubles: &mut Vec<String>) {
        let (first, count) = (self.next_number, files.len() as u64);
        self.next_number = first.saturating_add(count);
        match self
            .taker
            .on_disk(move |folders| folders.claim(&files, first))
            .await
        {
            Ok((claims, failed)) => {
                self.held.extend(claims);
                troubles.extend(failed);
            }
            Err(error) => troubles.push(error.to_string()),
        }
    }

    /// Takes all claimed files, in order; those that stay are kept.
    async fn work_off(&mut self, ctx: &ServiceContext) -> Result<Vec<String>, Refused> {
        let mut troubles = Vec::new();
        let mut waiting = std::mem::take(&mut self.held).into_iter();
        while let Some(mut claim) = waiting.next() {
            let taken = match ctx.stopping().is_cancelled() {
                true => Ok(Taken::Stopping),
                false => self.taker.take(ctx, &mut claim).await,
            };
            match taken {
                Ok(Taken::Left) => {}
                Ok(Taken::Stays(why)) => {
                    troubles.push(why);
                    self.held.push(claim);
                }
                ended @ (Ok(Taken::Stopping) | Err(_)) => {
                    self.held.push(claim);
                    self.held.extend(waiting);
                    return ended.map(|_| troubles);
                }
            }
        }
        Ok(troubles)
    }

    /// Tells the operator of a trouble when it begins, and when it is over.
    fn tell(&mut self, ctx: &ServiceContext, trouble: Option<String>) {
        if self.said == trouble {
            return;
        }
        match &trouble {
            Some(trouble) => {
                error!(item = ctx.name(), "{trouble}");
                ctx.stats().note_error(trouble.clone());
            }
            None => info!(item = ctx.name(), "the trouble with files is over"),
        }
        ctx.stats().note_trying(trouble.clone());
        self.said = trouble;
    }

    /// Puts back what was claimed and not begun, so that it is not taken for a possible duplicate.
    async fn release(&mut self, ctx: &ServiceContext) {
        for claim in std::mem::take(&mut self.held) {
            if claim.progress != Progress::Accepted(0) || claim.possible_duplicate {
                continue;
            }
            let name = claim.shown();
            if let Err(error) = self
                .taker
                .on_disk(move |folders| folders.release(&claim))
                .await
                .flatten()
            {
                info!(item = ctx.name(), file = %name, "stays in WorkPath until the next start: {error}");
            }
        }
    }
}

#[async_trait]
impl BusinessService for FileWatcher {
    async fn on_start(&mut self, ctx: &ServiceContext) -> Result<(), HostError> {
        let failed = |error: io::Error| {
            HostError::new(
                "path-not-readable",
                format!("cannot list WorkPath: {error}"),
            )
        };
        let opened = self.taker.on_disk(Folders::open).await.map_err(failed)?;
        self.lock = Some(opened?);
        ctx.stats()
            .note_address(self.taker.folders.folder().display().to_string());
        let left = self
            .taker
            .on_disk(Folders::leftovers)
            .await
            .flatten()
            .map_err(failed)?;
        self.next_number = Folders::next_number(&left.claims);
        if !left.claims.is_empty() {
            let files = left.claims.len();
            warn!(
                item = ctx.name(),
                files,
                "files were in hand when the engine last ended; their messages are marked as possible duplicates"
            );
        }
        if left.strange > 0 {
            warn!(
                item = ctx.name(),
                files = left.strange,
                "there are files in WorkPath that are not ours; they are left alone"
            );
        }
        for folder in &left.abandoned {
            let lost = format!(
                "{} holds files that an item of another name has claimed; move them back to their FilePath",
                folder.display()
            );
            error!(item = ctx.name(), "{lost}");
            ctx.stats().note_error(lost);
        }
        self.held = left.claims;
        Ok(())
    }

    async fn run(&mut self, ctx: &ServiceContext) -> Result<(), HostError> {
        loop {
            ctx.resumed().await;
            if ctx.stopping().is_cancelled() {
                break;
            }
            let trouble = match self.look(ctx).await {
                Ok(troubles) if troubles.is_empty() => None,
                Ok(troubles) => Some(troubles.join("; ")),
                Err(Refused(why)) => Some(why),
            };
            self.tell(ctx, trouble);
            tokio::select! {
                biased;
                () = ctx.stopping().cancelled() => {}
                () = tokio::time::sleep(self.every) => {}
            }
        }
        self.release(ctx).await;
        Ok(())
    }
}
