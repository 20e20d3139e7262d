//! The preparer: a thread that makes the next segment before it is needed.
//!
//! Owns at most one spare segment. A full disk is not an error here: it waits and tries again,
//! and tells [`Space`] so that intake is refused meanwhile.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};

use crate::{
    file::{Storage, StorageFile, is_full},
    segment::{self, Place, SegmentHeader},
    space::Space,
};

/// Between chunks of a segment nobody waits for, so that its writing does not slow commits.
const PAUSE: Duration = Duration::from_millis(2);
/// Between tries on a full disk.
const RETRY: Duration = Duration::from_millis(250);

pub(crate) struct Preparer {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    log_id: u64,
    space: Arc<Space>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    want: Option<(Place, u64)>,
    ready: Option<(Place, Arc<dyn StorageFile>)>,
    failed: Option<io::Error>,
    /// The committer waits.
    urgent: bool,
    full: bool,
    stop: bool,
}

/// Why no segment came.
pub(crate) enum NoSegment {
    /// The log closes while the disk is full.
    Full,
    /// The disk failed otherwise.
    Failed(io::Error),
}

impl Preparer {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        dir: PathBuf,
        log_id: u64,
        space: Arc<Space>,
        spare: Option<(Place, Arc<dyn StorageFile>)>,
    ) -> Self {
        let state = Mutex::new(State {
            ready: spare,
            ..State::default()
        });
        Self {
            storage,
            dir,
            log_id,
            space,
            state,
            changed: Condvar::new(),
        }
    }

    /// Asks for a segment ahead of need; cheap to repeat.
    pub(crate) fn want(&self, place: Place, epoch: u64) {
        let mut state = self.state.lock();
        let same = |p: &Place| *p == place;
        if state.ready.as_ref().is_some_and(|(p, _)| same(p))
            || state.want.as_ref().is_some_and(|(p, _)| same(p))
        {
            return;
        }
        state.want = Some((place, epoch));
        self.changed.notify_all();
    }

    /// Waits for the segment at `place`; a spare of another size is discarded.
    pub(crate) fn take(&self, place: Place, epoch: u64) -> Result<Arc<dyn StorageFile>, NoSegment> {
        let mut state = self.state.lock();
        loop {
            if let Some((_, file)) = state.ready.take_if(|(p, _)| *p == place) {
                (state.want, state.urgent) = (None, false);
                return Ok(file);
            }
            if let Some(error) = state.failed.take() {
                return Err(NoSegment::Failed(error));
            }
            if state.stop && state.full {
                return Err(NoSegment::Full);
            }
            if state.want.is_none_or(|(p, _)| p != place) {
                state.want = Some((place, epoch));
            }
            state.urgent = true;
            self.changed.notify_all();
            self.changed.wait(&mut state);
        }
    }

    /// Tells that the log closes: nothing is made any more unless the committer waits for it.
    pub(crate) fn closing(&self) {
        self.state.lock().stop = true;
        self.changed.notify_all();
    }

    /// The thread: `ended` says that the committer is gone.
    pub(crate) fn run(&self, ended: &dyn Fn() -> bool) {
        loop {
            let Some((place, epoch)) = self.next(ended) else {
                return;
            };
            let made = self.make(place, epoch, ended);
            let mut state = self.state.lock();
            match made {
                Ok(file) => {
                    state.full = false;
                    state.ready = Some((place, file));
                    state.want.take_if(|(p, _)| *p == place);
                }
                Err(e) if is_full(&e) => {
                    state.full = true;
                    self.space.refused();
                    self.changed.notify_all();
                    self.changed.wait_for(&mut state, RETRY);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    state.want = None;
                    state.failed = Some(e);
                }
            }
            self.changed.notify_all();
        }
    }

    fn next(&self, ended: &dyn Fn() -> bool) -> Option<(Place, u64)> {
        let mut state = self.state.lock();
        loop {
            if ended() {
                return None;
            }
            // While the log closes the committer still drains, and may need a segment for that.
            if let Some(want) = state.want.filter(|_| !state.stop || state.urgent) {
                return Some(want);
            }
            self.changed.wait(&mut state);
        }
    }

    fn make(
        &self,
        place: Place,
        epoch: u64,
        ended: &dyn Fn() -> bool,
    ) -> io::Result<Arc<dyn StorageFile>> {
        let unfit = self.state.lock().ready.take();
        if let Some((other, _)) = unfit {
            // Of the wrong size for a long record. Its bytes are all zero: nothing is lost, and
            // a name that survives a crash here is only an empty segment.
            self.storage.unlink(&other.path(&self.dir))?;
            self.storage.sync_dir(&self.dir)?;
        }
        let header = SegmentHeader {
            log_id: self.log_id,
            place,
            epoch,
        };
        let made = segment::create(&*self.storage, &self.dir, header, &mut || {
            self.go_on(place, ended)
        });
        self.space.refresh();
        made
    }

    /// Paces the filling, and ends it if the log closes or another segment is wanted.
    fn go_on(&self, place: Place, ended: &dyn Fn() -> bool) -> bool {
        let mut state = self.state.lock();
        if !state.urgent && !state.stop {
            self.changed.wait_for(&mut state, PAUSE);
        }
        let unwanted = state.want.is_some_and(|(p, _)| p != place);
        !(unwanted || ended() || (state.stop && !state.urgent))
    }
}
