//! The set of unfinished headers, as records make and end them.
//!
//! Owns what a record means for the queues. Holds only the difference to the last checkpoint, so
//! that it stays small while a million headers wait: a header that came and went between two
//! checkpoints leaves no trace here.

use std::collections::{BTreeMap, HashMap};

use hie_journal::Position;

use crate::{
    BodyRef, Content, ItemId, Live, MessageId, SessionId, State, StoreError,
    names::Names,
    record::{Accepted, Leg, Moved, Record, Stepped},
};

/// Bodies that were copied forward: old place to new.
#[derive(Clone, Default, Debug, PartialEq)]
pub(crate) struct Redirects(pub(crate) HashMap<(Position, u16), BodyRef>);

impl Redirects {
    pub(crate) fn resolve(&self, body: BodyRef) -> BodyRef {
        let mut at = body;
        // Bounded, so that no damaged table can make it a circle.
        for _ in 0..=self.0.len() {
            match self.0.get(&(at.position, at.index)) {
                Some(&next) => at = next,
                None => break,
            }
        }
        at
    }

    pub(crate) fn insert(&mut self, old: BodyRef, new: BodyRef) {
        self.0.insert((old.position, old.index), new);
    }
}

/// What happened to one header since the last checkpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// It was made and is unfinished.
    New(Live),
    /// The checkpoint has it; this changed.
    Patch {
        progress: Option<(State, u16, bool)>,
        body: Option<BodyRef>,
    },
    /// The checkpoint has it; it is finished.
    Gone,
}

/// The difference between a checkpoint and the records that follow it.
#[derive(Debug)]
pub(crate) struct Delta {
    pub(crate) changes: BTreeMap<u64, Change>,
    pub(crate) redirects: Redirects,
    /// The id that the next header gets.
    pub(crate) next_id: u64,
    /// Headers from here on were made after the checkpoint, so a missing one is finished.
    first_new: u64,
    has_base: bool,
}

impl Delta {
    /// Nothing is known of what came before the first record.
    pub(crate) fn without_base() -> Self {
        Self {
            changes: BTreeMap::new(),
            redirects: Redirects::default(),
            next_id: 1,
            first_new: u64::MAX,
            has_base: false,
        }
    }

    /// A checkpoint holds what came before.
    pub(crate) fn over_base(next_id: u64, redirects: Redirects) -> Self {
        Self {
            changes: BTreeMap::new(),
            redirects,
            next_id,
            first_new: next_id,
            has_base: true,
        }
    }

    pub(crate) fn apply(&mut self, record: &Record<'_>, names: &Names) -> Result<(), StoreError> {
        match record {
            Record::Accept(accepted) => self.accept(accepted, names),
            Record::Step(stepped) => self.step(stepped, names),
            Record::Moved(moved) => self.moved(moved, names),
            Record::Started(started) => {
                self.saw_id(started.next_id);
                Ok(())
            }
            Record::Purged(_) => Ok(()),
        }
    }

    fn saw_id(&mut self, next: u64) {
        self.next_id = self.next_id.max(next);
    }

    fn accept(&mut self, accepted: &Accepted<'_>, names: &Names) -> Result<(), StoreError> {
        let source = names.intern(accepted.source)?;
        let session = SessionId(accepted.first_id.0);
        let made = Made {
            time_ms: accepted.time_ms,
            session,
            source,
            content: accepted.content,
            hops: 0,
            possible_duplicate: false,
        };
        accepted
            .legs
            .iter()
            .try_for_each(|leg| self.leg(leg, made, names))
    }

    fn leg(&mut self, leg: &Leg<'_>, made: Made, names: &Names) -> Result<(), StoreError> {
        self.first_new = self.first_new.min(leg.id.0);
        self.saw_id(leg.id.0.saturating_add(1));
        if !leg.state.is_unfinished() {
            return Ok(());
        }
        let live = Live {
            id: leg.id,
            session: made.session,
            body: self.redirects.resolve(leg.body),
            created_ms: made.time_ms,
            source: made.source,
            target: names.intern(leg.target)?,
            attempts: 0,
            hops: made.hops,
            priority: leg.priority,
            state: leg.state,
            content: made.content,
            possible_duplicate: made.possible_duplicate,
        };
        self.changes.insert(leg.id.0, Change::New(live));
        Ok(())
    }

    fn step(&mut self, stepped: &Stepped<'_>, names: &Names) -> Result<(), StoreError> {
        self.progress(stepped);
        if stepped.legs.is_empty() {
            return Ok(());
        }
        let made = Made {
            time_ms: stepped.time_ms,
            session: stepped.session,
            source: names.intern(stepped.source)?,
            content: stepped.content,
            hops: stepped.hops,
            possible_duplicate: stepped.possible_duplicate,
        };
        stepped
            .legs
            .iter()
            .try_for_each(|leg| self.leg(leg, made, names))
    }

    fn progress(&mut self, stepped: &Stepped<'_>) {
        let id = stepped.id.0;
        let now = (stepped.state, stepped.attempts, stepped.possible_duplicate);
        match self.changes.get_mut(&id) {
            Some(Change::Gone) => {}
            Some(Change::New(_)) if !stepped.state.is_unfinished() => {
                self.changes.remove(&id);
                if id < self.first_new {
                    self.changes.insert(id, Change::Gone);
                }
            }
            Some(change) if !stepped.state.is_unfinished() => *change = Change::Gone,
            Some(Change::New(live)) => set_progress(live, now),
            Some(Change::Patch { progress, .. }) => *progress = Some(now),
            // Made and finished since the checkpoint: what is finished stays so.
            None if id >= self.first_new => {}
            None if stepped.state.is_unfinished() => {
                self.changes.insert(
                    id,
                    Change::Patch {
                        progress: Some(now),
                        body: None,
                    },
                );
            }
            None => {
                self.changes.insert(id, Change::Gone);
            }
        }
    }

    fn moved(&mut self, moved: &Moved<'_>, names: &Names) -> Result<(), StoreError> {
        self.redirects.insert(moved.old, moved.new);
        for told in &moved.live {
            self.saw_id(told.id.0.saturating_add(1));
            let mut live = Live {
                id: told.id,
                session: told.session,
                body: moved.new,
                created_ms: told.created_ms,
                source: names.intern(told.source)?,
                target: names.intern(told.target)?,
                attempts: told.attempts,
                hops: told.hops,
                priority: told.priority,
                state: told.state,
                content: told.content,
                possible_duplicate: told.possible_duplicate,
            };
            match self.changes.get_mut(&told.id.0) {
                Some(Change::Gone) => {}
                Some(Change::New(known)) => known.body = moved.new,
                Some(Change::Patch { body, .. }) if self.has_base => *body = Some(moved.new),
                Some(change) => {
                    // Its own record has left with a trimmed segment; a later step was seen.
                    if let Change::Patch {
                        progress: Some(now),
                        ..
                    } = *change
                    {
                        set_progress(&mut live, now);
                    }
                    *change = Change::New(live);
                }
                None if told.id.0 >= self.first_new => {}
                None if self.has_base => {
                    let patch = Change::Patch {
                        progress: None,
                        body: Some(moved.new),
                    };
                    self.changes.insert(told.id.0, patch);
                }
                None => {
                    self.changes.insert(told.id.0, Change::New(live));
                }
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Made {
    time_ms: u64,
    session: SessionId,
    source: ItemId,
    content: Content,
    hops: u16,
    /// What follows from something that may have been done before may have been sent before.
    possible_duplicate: bool,
}

fn set_progress(live: &mut Live, (state, attempts, duplicate): (State, u16, bool)) {
    live.state = state;
    live.attempts = attempts;
    live.possible_duplicate = duplicate;
}

/// Walks a checkpoint (sorted by id, which is log order) and the delta over it at once, and shows
/// every header that is unfinished now, in the same order. Returns how many patches had no header
/// to go to: headers that the log no longer explains.
pub(crate) fn merge(
    base: impl Iterator<Item = Result<Live, StoreError>>,
    delta: &Delta,
    mut visit: impl FnMut(Live) -> Result<(), StoreError>,
) -> Result<u64, StoreError> {
    let mut orphans = 0;
    let mut changes = delta
        .changes
        .iter()
        .map(|(&id, &change)| (MessageId(id), change))
        .peekable();
    let mut show = |mut live: Live| {
        live.body = delta.redirects.resolve(live.body);
        visit(live)
    };
    for live in base {
        let live = live?;
        while let Some((_, change)) = changes.next_if(|(id, _)| *id < live.id) {
            match change {
                Change::New(live) => show(live)?,
                Change::Patch { .. } => orphans += 1,
                Change::Gone => {}
            }
        }
        match changes.next_if(|(id, _)| *id == live.id) {
            None => show(live)?,
            Some((_, Change::New(new))) => show(new)?,
            Some((_, Change::Gone)) => {}
            Some((_, Change::Patch { progress, body })) => {
                let mut live = live;
                if let Some(now) = progress {
                    set_progress(&mut live, now);
                }
                live.body = body.unwrap_or(live.body);
                show(live)?;
            }
        }
    }
    for (_, change) in changes {
        match change {
            Change::New(live) => show(live)?,
            Change::Patch { .. } => orphans += 1,
            Change::Gone => {}
        }
    }
    Ok(orphans)
}
