//! Checkpoints: all unfinished headers at one position of the log, in one file.
//!
//! Owns the file's content; the journal's snapshot container makes it whole or absent. A
//! checkpoint bounds how much log a start must read. It is never the only truth: without one,
//! the log is read from its oldest kept record.
//!
//! Layout: a first chunk (position, next id, names, redirects), then chunks of headers in id
//! order, then an empty chunk. A chunk is a u32 length and that many bytes; numbers are varints,
//! ids the difference to the header before in the chunk.

use std::{
    io::{BufReader, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use hie_journal::{
    Position,
    file::{OpenMode, Storage},
    snapshot::{SnapshotError, SnapshotReader, SnapshotWriter},
};

use crate::{
    BodyRef, ItemId, Live, MessageId, SessionId, StoreError,
    live::Redirects,
    names::Names,
    record::{DecodeError, In, Out, marks, priority_and_state, put_marks},
};

const KIND: &str = "hie-live";
const VERSION: u32 = 1;
const CHUNK: usize = 32 << 10;
const CHUNK_LIMIT: usize = 1 << 30;

/// What a checkpoint says before its headers.
pub(crate) struct Head {
    /// The records below are in it.
    pub(crate) position: Position,
    pub(crate) next_id: u64,
    pub(crate) redirects: Redirects,
}

/// Where the checkpoint of a store stands, and through which file layer it is reached.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) path: PathBuf,
}

impl Place {
    pub(crate) fn new(storage: Arc<dyn Storage>, dir: &Path) -> Self {
        Self {
            storage,
            path: dir.join("checkpoint"),
        }
    }

    /// Its size; zero where there is none.
    pub(crate) fn bytes(&self) -> u64 {
        let file = self.storage.open(&self.path, OpenMode::Read);
        file.and_then(|file| file.size()).unwrap_or(0)
    }
}

/// Writes one checkpoint; dropped before [`finish`](Self::finish) it leaves the old one.
pub(crate) struct Writer {
    out: SnapshotWriter,
    place: Place,
    chunk: Vec<u8>,
    last_id: u64,
}

impl Writer {
    pub(crate) fn create(
        place: &Place,
        head: &Head,
        names: &[Arc<str>],
    ) -> Result<Self, StoreError> {
        let out = SnapshotWriter::create(place.storage.clone(), &place.path, KIND, VERSION)
            .map_err(StoreError::io("write", &place.path))?;
        let mut writer = Self {
            out,
            place: place.clone(),
            chunk: Vec::new(),
            last_id: 0,
        };
        let chunk = &mut writer.chunk;
        chunk.fixed(head.position.0);
        chunk.fixed(head.next_id);
        chunk.varint(names.len() as u64);
        names.iter().for_each(|name| chunk.string(name));
        chunk.varint(head.redirects.0.len() as u64);
        for (&(position, index), new) in &head.redirects.0 {
            chunk.varint(position.0);
            chunk.varint(index.into());
            put_ref(chunk, *new);
        }
        writer.put_chunk()?;
        Ok(writer)
    }

    /// Adds the next header; ids must grow.
    pub(crate) fn push(&mut self, live: &Live) -> Result<(), StoreError> {
        let chunk = &mut self.chunk;
        chunk.varint(live.id.0.wrapping_sub(self.last_id));
        chunk.varint(live.id.0.wrapping_sub(live.session.0));
        put_ref(chunk, live.body);
        chunk.varint(live.created_ms);
        chunk.varint(live.source.0.into());
        chunk.varint(live.target.0.into());
        chunk.varint(live.attempts.into());
        chunk.byte((live.priority as u8) << 4 | live.state as u8);
        put_marks(chunk, live);
        self.last_id = live.id.0;
        if self.chunk.len() >= CHUNK {
            self.put_chunk()
        } else {
            Ok(())
        }
    }

    fn put_chunk(&mut self) -> Result<(), StoreError> {
        let len = self.chunk.len() as u32;
        self.out
            .write_all(&len.to_le_bytes())
            .and_then(|()| self.out.write_all(&self.chunk))
            .map_err(StoreError::io("write", &self.place.path))?;
        self.chunk.clear();
        self.last_id = 0;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<(), StoreError> {
        if !self.chunk.is_empty() {
            self.put_chunk()?;
        }
        self.put_chunk()?;
        self.out
            .finish()
            .map_err(StoreError::io("write", &self.place.path))
    }
}

fn put_ref(out: &mut impl Out, body: BodyRef) {
    out.varint(body.position.0);
    out.varint(body.index.into());
    out.varint(body.len.into());
}

fn reference(input: &mut In<'_>) -> Result<BodyRef, DecodeError> {
    let position = Position(input.varint()?);
    Ok(BodyRef {
        position,
        index: input.small()?,
        len: input.small()?,
    })
}

/// Reads a checkpoint: its head at once, its headers one by one.
pub(crate) struct Reader {
    input: BufReader<SnapshotReader>,
    path: PathBuf,
    pub(crate) head: Head,
    /// The names in the file, as numbers of this opening.
    items: Vec<ItemId>,
    chunk: Vec<u8>,
    used: usize,
    last_id: u64,
    ended: bool,
}

impl Reader {
    /// None where there is no checkpoint.
    pub(crate) fn open(place: &Place, names: &Names) -> Result<Option<Self>, StoreError> {
        let file = match SnapshotReader::open(&*place.storage, &place.path, KIND, VERSION) {
            Ok(file) => file,
            Err(SnapshotError::Missing) => return Ok(None),
            Err(error) => return Err(damaged(&place.path, &error.to_string())),
        };
        let mut reader = Self {
            input: BufReader::with_capacity(64 << 10, file),
            path: place.path.clone(),
            head: Head {
                position: Position(0),
                next_id: 1,
                redirects: Redirects::default(),
            },
            items: Vec::new(),
            chunk: Vec::new(),
            used: 0,
            last_id: 0,
            ended: false,
        };
        reader.next_chunk()?;
        let (head, items) = head(&reader.chunk, names)
            .map_err(|DecodeError(reason)| damaged(&reader.path, reason))??;
        (reader.head, reader.items) = (head, items);
        reader.next_chunk()?;
        Ok(Some(reader))
    }

    fn next_chunk(&mut self) -> Result<(), StoreError> {
        let mut len = [0; 4];
        let read = self.input.read_exact(&mut len);
        read.map_err(|error| damaged(&self.path, &error.to_string()))?;
        let len = u32::from_le_bytes(len) as usize;
        if len > CHUNK_LIMIT {
            return Err(damaged(&self.path, "a chunk has no sane length"));
        }
        self.chunk.resize(len, 0);
        let read = self.input.read_exact(&mut self.chunk);
        read.map_err(|error| damaged(&self.path, &error.to_string()))?;
        (self.used, self.last_id, self.ended) = (0, 0, len == 0);
        Ok(())
    }

    fn entry(&mut self) -> Result<Live, DecodeError> {
        let mut input = In::new(self.chunk.get(self.used..).unwrap_or_default());
        let before = input.left();
        let id = self.last_id.wrapping_add(input.varint()?);
        let session = id.wrapping_sub(input.varint()?);
        let body = reference(&mut input)?;
        let created_ms = input.varint()?;
        let mut item = || {
            let number: usize = input.small()?;
            self.items
                .get(number)
                .copied()
                .ok_or(DecodeError("an item has no name"))
        };
        let (source, target) = (item()?, item()?);
        let attempts = input.small()?;
        let (priority, state) = priority_and_state(input.byte()?)?;
        let (content, possible_duplicate, hops) = marks(&mut input)?;
        self.used += before - input.left();
        self.last_id = id;
        Ok(Live {
            id: MessageId(id),
            session: SessionId(session),
            body,
            created_ms,
            source,
            target,
            attempts,
            priority,
            state,
            content,
            possible_duplicate,
            hops,
        })
    }
}

impl Iterator for Reader {
    type Item = Result<Live, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.ended
            && self.used >= self.chunk.len()
            && let Err(error) = self.next_chunk()
        {
            self.ended = true;
            return Some(Err(error));
        }
        if self.ended {
            return None;
        }
        Some(self.entry().map_err(|DecodeError(reason)| {
            self.ended = true;
            damaged(&self.path, reason)
        }))
    }
}

type HeadAndItems = (Head, Vec<ItemId>);

fn head(chunk: &[u8], names: &Names) -> Result<Result<HeadAndItems, StoreError>, DecodeError> {
    let mut input = In::new(chunk);
    let position = Position(input.fixed()?);
    let next_id = input.fixed()?;
    let mut items = Vec::new();
    for _ in 0..input.varint()? {
        match names.intern(input.string()?) {
            Ok(item) => items.push(item),
            Err(error) => return Ok(Err(error)),
        }
    }
    let mut redirects = Redirects::default();
    for _ in 0..input.varint()? {
        let old = Position(input.varint()?);
        let index = input.small()?;
        redirects.0.insert((old, index), reference(&mut input)?);
    }
    Ok(Ok((
        Head {
            position,
            next_id,
            redirects,
        },
        items,
    )))
}

fn damaged(path: &Path, reason: &str) -> StoreError {
    StoreError::Io {
        action: "use the checkpoint",
        path: path.to_owned(),
        reason: reason.into(),
    }
}
