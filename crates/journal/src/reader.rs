//! Reading: records at a position, frames in a row.
//!
//! Owns the walk over the frames of segments and what a reader of the log gets from it. Serves
//! the live log, the read-only one, recovery and verification alike; never writes.

use std::{io, ops::Range};

use bytes::Bytes;

use crate::{
    LogError, Position, Record,
    committer::io_error,
    file::{StorageFile, read_zero_extended},
    frame::{
        Bad, FRAME_HEADER, FrameHeader, RECORD_HEADER, Records, check_body, parse_header,
        parse_record_header, record_crc,
    },
    recovery::next_frame,
    segment::Place,
    table::Table,
};

/// Read with the header of a record, in the hope that it is all of it.
const FIRST_READ: usize = 4096;
/// Read ahead when frames are walked for their content, and for their headers only.
const AHEAD: usize = 1 << 20;
const HEADERS_AHEAD: usize = 32 << 10;

/// Walks the frames of one segment through a window of its bytes.
pub(crate) struct SegmentReader<'a> {
    file: &'a dyn StorageFile,
    place: Place,
    log_id: u64,
    ahead: usize,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> SegmentReader<'a> {
    pub(crate) fn new(file: &'a dyn StorageFile, place: Place, log_id: u64, ahead: usize) -> Self {
        Self {
            file,
            place,
            log_id,
            ahead,
            window: Vec::new(),
            window_at: 0,
        }
    }

    /// The bytes at `[position, position + len)`, which must lie in the segment.
    pub(crate) fn bytes(&mut self, position: u64, len: usize) -> io::Result<&[u8]> {
        let inside = |from: u64, have: usize| {
            position >= from && position - from + len as u64 <= have as u64
        };
        if !inside(self.window_at, self.window.len()) {
            let room = self.place.end().saturating_sub(position);
            let want = (len.max(self.ahead) as u64).min(room) as usize;
            self.window.resize(want, 0);
            self.window_at = position;
            if let Err(e) =
                read_zero_extended(self.file, &mut self.window, position - self.place.base)
            {
                self.window.clear();
                return Err(e);
            }
        }
        let from = (position - self.window_at) as usize;
        Ok(self
            .window
            .get(from..)
            .and_then(|w| w.get(..len))
            .unwrap_or_default())
    }

    /// The frame header at a position.
    pub(crate) fn header(&mut self, position: u64) -> io::Result<Result<FrameHeader, Bad>> {
        let (log_id, room) = (self.log_id, self.place.end().saturating_sub(position));
        if room < FRAME_HEADER as u64 {
            return Ok(Err(Bad::Empty));
        }
        Ok(parse_header(
            self.bytes(position, FRAME_HEADER)?,
            log_id,
            position,
            room,
        ))
    }

    /// The frame at a position, verified as a whole.
    pub(crate) fn frame(&mut self, position: u64) -> io::Result<Result<FrameHeader, Bad>> {
        let header = match self.header(position)? {
            Ok(header) => header,
            Err(bad) => return Ok(Err(bad)),
        };
        let body = self
            .bytes(position, header.span() as usize)?
            .get(FRAME_HEADER..)
            .unwrap_or_default();
        Ok(check_body(&header, body).map(|()| header))
    }

    /// The records' bytes of a frame.
    pub(crate) fn payload(&mut self, header: &FrameHeader) -> io::Result<&[u8]> {
        self.bytes(header.first_record(), header.payload_len as usize)
    }
}

/// What readers of a log share.
pub(crate) struct Reader<'a> {
    pub(crate) table: &'a Table,
    pub(crate) log_id: u64,
}

impl Reader<'_> {
    /// Reads one record from its segment and verifies it.
    pub(crate) fn read(&self, position: u64) -> Result<Bytes, LogError> {
        let Some(place) = self
            .table
            .containing(position)
            .filter(|p| position >= p.first_frame())
        else {
            return Err(LogError::NotFound(Position(position)));
        };
        let file = self.table.file(place).map_err(|e| io_error(&e))?;
        let mut first = [0; FIRST_READ];
        let room = (place.end() - position).min(FIRST_READ as u64) as usize;
        let first = first.get_mut(..room).unwrap_or_default();
        read_zero_extended(&*file, first, position - place.base).map_err(|e| io_error(&e))?;
        let (len, skipped, crc) = parse_record_header(first);
        if len as u64 + RECORD_HEADER as u64 > place.end() - position {
            return Err(self.why_unreadable(place, position, None));
        }
        let content = rest(&*file, first, len, position - place.base).map_err(|e| io_error(&e))?;
        if skipped || record_crc(self.log_id, position, false, &content) != crc {
            return Err(self.why_unreadable(place, position, Some(skipped)));
        }
        Ok(content)
    }

    /// Tells a damaged record from an address where none starts.
    fn why_unreadable(&self, place: Place, position: u64, skipped: Option<bool>) -> LogError {
        let damaged = |reason: &str| LogError::Damaged {
            position: Position(position),
            reason: reason.into(),
        };
        let starts_here = || -> io::Result<Result<bool, Bad>> {
            let frame = self.locate(place, position)?;
            let file = self.table.file(place)?;
            let mut reader = SegmentReader::new(&*file, place, self.log_id, 0);
            let header = match reader.header(frame)? {
                Ok(header) => header,
                Err(Bad::Empty) => return Ok(Ok(false)),
                Err(bad) => return Ok(Err(bad)),
            };
            let payload = reader.payload(&header)?;
            Ok(Ok(
                Records::new(header.first_record(), payload).any(|r| r.position == position)
            ))
        };
        match starts_here() {
            Ok(Ok(false)) => LogError::NotFound(Position(position)),
            Ok(Ok(true)) if skipped == Some(true) => damaged("repair set this record aside"),
            Ok(Ok(true)) => damaged("the record's checksum does not match"),
            Ok(Err(bad)) => damaged(&bad.to_string()),
            Err(e) => io_error(&e),
        }
    }

    /// The address of the frame that holds `position`, or of the first one after it.
    fn locate(&self, place: Place, position: u64) -> io::Result<u64> {
        let file = self.table.file(place)?;
        let mut reader = SegmentReader::new(&*file, place, self.log_id, HEADERS_AHEAD);
        // A scan that goes on asks for a frame's very start: nothing to search.
        if position.is_multiple_of(crate::frame::SECTOR) && reader.header(position)?.is_ok() {
            return Ok(position);
        }
        let mut at = self.table.nearest(place, position);
        while let Ok(header) = reader.header(at)? {
            if position < header.end() {
                break;
            }
            self.table.mark(place.base, at);
            at = header.end();
        }
        Ok(at)
    }

    /// Collects records of `[from, durable)` until about `max_bytes`, frame by frame.
    pub(crate) fn scan(
        &self,
        from: u64,
        durable: u64,
        max_bytes: usize,
        into: &mut Vec<Record>,
    ) -> Result<u64, LogError> {
        let from = from.max(self.table.first());
        let max_bytes = max_bytes.max(1);
        let (mut at, mut taken, already) = (from, 0, into.len());
        while at < durable && taken < max_bytes {
            let Some(place) = self.table.containing(at) else {
                return Err(LogError::NotFound(Position(at)));
            };
            let stop = self.scan_segment(place, at, from..durable, max_bytes - taken, into);
            let (next, bytes) = match stop {
                Ok(done) => done,
                // What was read before the damage is good; the next call will meet it.
                Err(LogError::Damaged { position, .. }) if into.len() > already => {
                    return Ok(position.0);
                }
                Err(error) => return Err(error),
            };
            (at, taken) = (next, taken + bytes);
        }
        Ok(at)
    }

    /// The same within one segment; the address returned may be the next segment's.
    fn scan_segment(
        &self,
        place: Place,
        at: u64,
        wanted: Range<u64>,
        max_bytes: usize,
        into: &mut Vec<Record>,
    ) -> Result<(u64, usize), LogError> {
        let io = |e: io::Error| io_error(&e);
        let file = self.table.file(place).map_err(io)?;
        let mut at = self
            .locate(place, at.max(place.first_frame()))
            .map_err(io)?;
        let due = wanted
            .end
            .saturating_sub(at)
            .min(max_bytes.max(FRAME_HEADER) as u64) as usize;
        let mut reader = SegmentReader::new(&*file, place, self.log_id, due.clamp(4096, AHEAD));
        let mut taken = 0;
        while at < wanted.end.min(place.end()) && taken < max_bytes {
            match reader.frame(at).map_err(io)? {
                Ok(header) => {
                    taken += collect(&mut reader, &header, wanted.start, into).map_err(io)?;
                    self.table.mark(place.base, at);
                    at = header.end();
                }
                Err(bad) if self.goes_on_after(place, at).map_err(io)? => {
                    debug_assert_ne!(bad, Bad::Length);
                    return Ok((place.end(), taken));
                }
                Err(bad) => {
                    let reason = bad.to_string().into();
                    return Err(LogError::Damaged {
                        position: Position(at),
                        reason,
                    });
                }
            }
        }
        Ok((at, taken))
    }

    /// The first good frame behind a damaged one at `damaged`, or the durable end.
    pub(crate) fn resume_after(&self, damaged: u64, durable: u64) -> Result<u64, LogError> {
        let io = |e: io::Error| io_error(&e);
        for place in self
            .table
            .places()
            .into_iter()
            .filter(|p| p.end() > damaged)
        {
            let file = self.table.file(place).map_err(io)?;
            let mut reader = SegmentReader::new(&*file, place, self.log_id, AHEAD);
            let mut at = damaged.max(place.first_frame());
            if damaged < place.first_frame() && reader.frame(at).map_err(io)?.is_ok() {
                return Ok(at.min(durable));
            }
            while let Some(next) = next_frame(&*file, place, self.log_id, at).map_err(io)? {
                if reader.frame(next).map_err(io)?.is_ok() {
                    return Ok(next.min(durable));
                }
                at = next;
            }
        }
        Ok(durable)
    }

    /// Whether the next segment says that this one ended at `at`: its rest was never used.
    fn goes_on_after(&self, place: Place, at: u64) -> io::Result<bool> {
        let Some(next) = self.table.containing(place.end()) else {
            return Ok(false);
        };
        let file = self.table.file(next)?;
        let header = SegmentReader::new(&*file, next, self.log_id, 0).header(next.first_frame())?;
        Ok(header.is_ok_and(|h| h.prev_end == at))
    }
}

/// Completes a record's content whose first bytes were read with its header.
fn rest(file: &dyn StorageFile, first: &[u8], len: usize, offset: u64) -> io::Result<Bytes> {
    let have = first.get(RECORD_HEADER..).unwrap_or_default();
    if let Some(content) = have.get(..len) {
        return Ok(Bytes::copy_from_slice(content));
    }
    let mut content = vec![0; len];
    let (head, tail) = content.split_at_mut(have.len());
    head.copy_from_slice(have);
    read_zero_extended(file, tail, offset + first.len() as u64)?;
    Ok(content.into())
}

/// Hands out a frame's records from `from` on; they share one copy of its bytes.
fn collect(
    reader: &mut SegmentReader<'_>,
    header: &FrameHeader,
    from: u64,
    into: &mut Vec<Record>,
) -> io::Result<usize> {
    let payload = Bytes::copy_from_slice(reader.payload(header)?);
    let mut taken = 0;
    for record in
        Records::new(header.first_record(), &payload).filter(|r| r.position >= from && !r.skipped)
    {
        taken += record.content.len().max(1);
        into.push(Record {
            position: Position(record.position),
            bytes: payload.slice(record.content),
        });
    }
    Ok(taken)
}
