//! A store that no engine holds, for reading only.
//!
//! Owns the opening that changes nothing, for commands on a stopped engine. What is asked and
//! answered is that of the running [`Store`](crate::Store).

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use hie_journal::{
    Extent, Log, Position, ReadOnlyLog,
    file::{OsStorage, Storage},
};

use crate::{
    BodyRef, Count, HeaderRow, ItemId, MessageId, Page, Query, Recovered, Report, SessionId,
    StoreError,
    checkpoint::Place,
    index::{self, Pool},
    names::Names,
    recover::recover,
    shared::bytes_between,
    store::{journal_dir, read_body},
};

/// The store in a folder, as the last engine left it.
pub struct Reader {
    log: Arc<dyn Log>,
    pool: Pool,
    names: Names,
    watermark: Option<Position>,
}

impl Reader {
    /// Opens a folder for reading; takes no lock and changes no byte of the log. Also says what
    /// the next start of the engine would find.
    pub fn open_read_only(dir: &Path) -> Result<(Self, Recovered), StoreError> {
        let storage: Arc<dyn Storage> = Arc::new(OsStorage);
        let log = ReadOnlyLog::open_on(storage.clone(), &journal_dir(dir))?;
        let mut report = Report {
            journal: Some(log.report().clone()),
            ..Report::default()
        };
        let names = Names::default();
        index::check_whole(&*storage, dir)?;
        let found = recover(&log, &Place::new(storage, dir), &names, &mut report)?;
        let pool = Pool::new(index::path(dir));
        let watermark = pool.with(|view| view.watermark()).ok();
        let recovered = Recovered {
            live: found.live,
            names: names.list(),
            report,
        };
        Ok((
            Self {
                log: Arc::new(log),
                pool,
                names,
                watermark,
            },
            recovered,
        ))
    }

    /// About how many bytes of log the index has not seen: after a crash the newest messages may
    /// be missing from search and trace until the next start. All of the log if there is no index.
    pub fn index_lag_bytes(&self) -> u64 {
        bytes_between(&*self.log, self.watermark.unwrap_or_default())
    }

    /// As [`Store::search`](crate::Store::search).
    pub fn search(&self, query: &Query) -> Result<Page, StoreError> {
        self.pool
            .with(|view| view.search(query, |body| self.body(body)))
    }

    /// As [`Store::header`](crate::Store::header).
    pub fn header(&self, id: MessageId) -> Result<Option<HeaderRow>, StoreError> {
        self.pool.with(|view| view.header(id))
    }

    /// As [`Store::session`](crate::Store::session).
    pub fn session(&self, id: SessionId) -> Result<Vec<HeaderRow>, StoreError> {
        self.pool.with(|view| view.session(id))
    }

    /// As [`Store::counts`](crate::Store::counts).
    pub fn counts(&self) -> Result<Vec<Count>, StoreError> {
        self.pool.with(|view| view.counts())
    }

    /// As [`Store::body`](crate::Store::body).
    pub fn body(&self, body: BodyRef) -> Result<Bytes, StoreError> {
        read_body(&*self.log, body)
    }

    /// How much of the log is kept.
    pub fn extent(&self) -> Extent {
        self.log.extent()
    }

    /// The name of an item in the [`Live`] headers of this opening.
    pub fn item_name(&self, item: ItemId) -> Arc<str> {
        self.names.name(item)
    }
}
