//! `FileService`, and the loop that every file service runs: look, claim, read, accept, archive.
//!
//! Owns when a file is taken, in which order, and what is tried again. Where files lie and what
//! their names mean is in [`folders`](super::folders); what a file holds is the class's function.
//!
//! Order: files are taken oldest first, the messages of a file in their order. When the engine
//! cannot accept (disk full, journal closed) nothing newer is taken before what is claimed is
//! accepted; a file that cannot be read or archived holds up nobody but itself.

use std::{ffi::OsStr, fs::File, io, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use hie_engine::{
    HostError, ServiceContext,
    class::{Build, Class},
    config::{Finding, ItemConfig, ProductionConfig},
    host::{BusinessService, Origin},
    setting::{SettingDef, SettingType},
};
use hie_store::{Content, StoreError};
use tracing::{error, info, warn};

use super::{
    complete::Looks,
    folders::{Candidate, Claim, Content as FileContent, Folders, Progress},
    inbound::{self, Polling},
    names::check_file_spec,
};

/// `FileService`.
pub static CLASS: Class = Class {
    name: "FileService",
    aliases: &[
        "EnsLib.File.PassthroughService",
        "li.hosts.file.FileService",
        "Engine.li.hosts.file.FileService",
    ],
    summary: "Takes files of any kind from a folder, one message a file, and sends them on unchanged.",
    settings: &[HOST, ADAPTER, inbound::SETTINGS],
    build: Build::Service(make),
    check: inbound::check,
};

const HOST: &[SettingDef] = &[TARGETS];

const ADAPTER: &[SettingDef] = &[SettingDef::adapter(
    "FileSpec",
    SettingType::Checked(check_file_spec),
    "*",
    inbound::FILE_SPEC_DOC,
)
.aliases(&["FileNamePattern"])];

/// Where a file service sends what it takes.
pub(crate) const TARGETS: SettingDef = SettingDef::host(
    "TargetConfigNames",
    SettingType::Items,
    "",
    "The items that get each message.",
)
.required();

fn make(
    item: &ItemConfig,
    production: &ProductionConfig,
) -> Result<Box<dyn BusinessService>, HostError> {
    let whole: Split = |file| {
        vec![Part {
            body: file.clone(),
            bad: None,
        }]
    };
    Ok(Box::new(FileWatcher::new(
        item,
        production,
        Content::Plain,
        whole,
    )?))
}

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

/// So many files are claimed at once: their claims share one sync.
const CLAIMS: usize = 32;
/// So many messages of a file are made durable at once: they share a group commit.
const AT_ONCE: usize = 24;

/// What became of one claimed file.
enum Taken {
    /// It has left the work folder.
    Left,
    /// It stays and is tried again; why.
    Stays(String),
    /// The service stops.
    Stopping,
}

/// Why nothing can be accepted now.
struct Refused(String);

/// A file service: one of its kind for each item.
pub struct FileWatcher {
    folders: Arc<Folders>,
    /// The pause between two looks.
    every: Duration,
    content: Content,
    split: Split,
    /// Gets what `split` finds bad.
    bad_handler: Option<String>,
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
        let polling = Polling::of(&item.settings);
        Ok(Self {
            folders: Arc::new(Folders::of(item, production)?),
            looks: Looks::new(polling.confirm),
            every: polling.every,
            content,
            split,
            bad_handler: item.settings.list("BadMessageHandler").first().cloned(),
            held: Vec::new(),
            next_number: 0,
            said: None,
            lock: None,
        })
    }

    /// A step on the file system, on a thread that may block.
    async fn on_disk<T, F>(&self, step: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Folders) -> T + Send + 'static,
    {
        let folders = self.folders.clone();
        tokio::task::spawn_blocking(move || step(&folders))
            .await
            .map_err(io::Error::other)
    }

    /// One look at the folder; everything that is to be told.
    async fn look(&mut self, ctx: &ServiceContext) -> Result<Vec<String>, Refused> {
        let mut troubles = self.work_off(ctx).await?;
        let look = match self.on_disk(Folders::scan).await.flatten() {
            Ok(files) => self.looks.look(files),
            Err(error) => {
                let folder = self.folders.folder().display();
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
                false => self.take(ctx, &mut claim).await,
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

    /// Takes one claimed file as far as it goes.
    async fn take(&self, ctx: &ServiceContext, claim: &mut Claim) -> Result<Taken, Refused> {
        if claim.progress == Progress::Done {
            return Ok(self.finish(ctx, claim).await);
        }
        let asked = claim.clone();
        let (bytes, shape) = match self
            .on_disk(move |folders| folders.read(&asked))
            .await
            .flatten()
        {
            Ok(FileContent::Whole(bytes, shape)) => (bytes, shape),
            Ok(FileContent::Changing) => {
                return Ok(Taken::Stays(format!(
                    "{} is still being written to",
                    shown(&claim.name)
                )));
            }
            Ok(FileContent::Unfit(reason)) => return self.set_aside(ctx, claim, &reason).await,
            Ok(FileContent::Gone) => {
                warn!(item = ctx.name(), file = %shown(&claim.name), "a claimed file was taken out of WorkPath by somebody else");
                return Ok(Taken::Left);
            }
            Err(error) => {
                return Ok(Taken::Stays(format!(
                    "cannot read {}: {error}",
                    shown(&claim.name)
                )));
            }
        };
        claim.read = Some(shape);
        match self.accept(ctx, claim, &bytes).await {
            Ok(()) => Ok(self.finish(ctx, claim).await),
            Err(_) if ctx.stopping().is_cancelled() => Ok(Taken::Stopping),
            Err(error) if error.code() == "record-too-large" => {
                self.set_aside(ctx, claim, &error.to_string()).await
            }
            Err(error) => {
                let name = shown(&claim.name);
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
            let from = |at| origin(claim, at, parts.len());
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
            count += results.iter().take_while(|result| result.is_ok()).count();
            let failed = results.into_iter().find_map(Result::err);
            claim.progress = Progress::Accepted(count);
            if count < parts.len() || failed.is_some() {
                self.note_progress(ctx, claim).await;
            }
            if let Some(error) = failed {
                claim.possible_duplicate = true; // what was appended may be durable all the same
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
            None => ctx.accept(origin, &part.body).await.map(drop),
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
                warn!(item = ctx.name(), file = %shown(&claim.name), "cannot note in WorkPath what is accepted: {error}")
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
            let from = origin(claim, 0, 1);
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
            let name = shown(&claim.name);
            if let Err(error) = self
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
        let opened = self.on_disk(Folders::open).await.map_err(failed)?;
        self.lock = Some(opened?);
        let left = self
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
        while !ctx.stopping().is_cancelled() {
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

/// Where a message of a file came from, for the trace.
fn origin(claim: &Claim, at: usize, of: usize) -> String {
    let name = shown(&claim.name);
    match (of > 1, claim.possible_duplicate) {
        (false, false) => name,
        (false, true) => format!("{name} (possible duplicate)"),
        (true, false) => format!("{name} (message {} of {of})", at + 1),
        (true, true) => format!("{name} (message {} of {of}, possible duplicate)", at + 1),
    }
}

/// A name as it can be shown: senders choose it, and it must not drive a terminal.
fn shown(name: &OsStr) -> String {
    name.to_string_lossy()
        .chars()
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect()
}

/// The checks of an HL7 file service: those of the folder, and one handler at most.
pub(crate) fn check_with_handler(item: &ItemConfig, production: &ProductionConfig) -> Vec<Finding> {
    let mut findings = inbound::check(item, production);
    if item.settings.list("BadMessageHandler").len() > 1 {
        findings.push(Finding {
            setting: Some("BadMessageHandler"),
            message: "more than one item".into(),
            help: Some("name the one item that gets what cannot be processed".into()),
        });
    }
    findings
}
