//! Frames and records: how a batch of records becomes bytes and is trusted again.
//!
//! Owns the layout of a batch frame and of the records in it, their checksums, and the judgement
//! whether bytes at an address are a whole frame of this log. Does no I/O and knows nothing of
//! segments. The exact layout stands in `docs/reference/journal-format.md`.
//!
//! *Invariant:* a frame starts and ends on a 512-byte boundary, so writing one never touches a
//! sector that holds acknowledged bytes.
//! *Invariant:* every byte of a frame is covered by a checksum or must be zero.

use std::ops::Range;

/// The unit in which a disk writes whole or not at all.
pub(crate) const SECTOR: u64 = 512;
/// Bytes before the first record of a frame.
pub(crate) const FRAME_HEADER: usize = 64;
/// Bytes before the content of a record.
pub(crate) const RECORD_HEADER: usize = 8;
/// Set in a record's length when repair put it in the place of lost bytes.
const SKIPPED: u32 = 1 << 31;
/// The longest content of one record: the length field has 31 bits, and a frame must hold it.
pub(crate) const RECORD_LIMIT: usize = (1 << 30) - 1;

const MAGIC: u32 = u32::from_le_bytes(*b"HIEF");
const VERSION: u16 = 1;

/// Rounds up to the next sector boundary.
pub(crate) fn align(n: u64) -> u64 {
    n.div_ceil(SECTOR) * SECTOR
}

/// Reads little-endian integers where the caller has fixed the length; out of range reads zero.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

pub(crate) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(to) = bytes.get_mut(at..at + value.len()) {
        to.copy_from_slice(value);
    }
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (head, tail) = bytes.as_chunks::<64>();
    head.iter()
        .all(|chunk| chunk.iter().fold(0, |acc, b| acc | b) == 0)
        && tail.iter().all(|b| *b == 0)
}

/// What a frame says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameHeader {
    /// The epoch of the writer.
    pub(crate) epoch: u64,
    /// Its own address in the log.
    pub(crate) position: u64,
    /// Where the frame before it ended: shows a frame that vanished without a trace.
    pub(crate) prev_end: u64,
    /// Everything below was durable when this frame was written.
    pub(crate) durable: u64,
    /// Bytes of records, without the padding.
    pub(crate) payload_len: u32,
    /// Number of records.
    pub(crate) records: u32,
    payload_crc: u32,
}

impl FrameHeader {
    pub(crate) fn new(epoch: u64, position: u64, prev_end: u64, durable: u64) -> Self {
        Self {
            epoch,
            position,
            prev_end,
            durable,
            payload_len: 0,
            records: 0,
            payload_crc: 0,
        }
    }

    /// The bytes it takes in the segment, padding included.
    pub(crate) fn span(&self) -> u64 {
        align(FRAME_HEADER as u64 + u64::from(self.payload_len))
    }

    /// Where the next frame stands if it is in the same segment.
    pub(crate) fn end(&self) -> u64 {
        self.position + self.span()
    }

    /// The address of the first record.
    pub(crate) fn first_record(&self) -> u64 {
        self.position + FRAME_HEADER as u64
    }

    fn encode(&self, log_id: u64, out: &mut [u8]) {
        put(out, 0, &MAGIC.to_le_bytes());
        put(out, 4, &VERSION.to_le_bytes());
        put(out, 6, &0u16.to_le_bytes());
        put(out, 8, &log_id.to_le_bytes());
        put(out, 16, &self.epoch.to_le_bytes());
        put(out, 24, &self.position.to_le_bytes());
        put(out, 32, &self.prev_end.to_le_bytes());
        put(out, 40, &self.durable.to_le_bytes());
        put(out, 48, &self.payload_len.to_le_bytes());
        put(out, 52, &self.records.to_le_bytes());
        put(out, 56, &self.payload_crc.to_le_bytes());
        let crc = crc32c::crc32c(out.get(..60).unwrap_or_default());
        put(out, 60, &crc.to_le_bytes());
    }
}

/// Why bytes at an address are not a whole frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Bad {
    #[error("nothing is written here")]
    Empty,
    #[error("no frame starts here")]
    Magic,
    #[error("the frame header's checksum does not match")]
    HeaderCrc,
    #[error("the frame belongs to another journal")]
    Foreign,
    #[error("the frame was written for another position")]
    Misplaced,
    #[error("the frame is longer than its segment")]
    Length,
    #[error("the frame's checksum does not match")]
    PayloadCrc,
    #[error("the frame's records do not add up")]
    Records,
    #[error("the padding after the frame is not zero")]
    Padding,
    #[error("the frame does not follow the one before it")]
    Chain,
    #[error("the frame's epoch is older than that of the one before it")]
    Epoch,
}

/// Judges the header at the start of `bytes`, which stand at `position`; `room` is what the
/// segment still holds from there.
pub(crate) fn parse_header(
    bytes: &[u8],
    log_id: u64,
    position: u64,
    room: u64,
) -> Result<FrameHeader, Bad> {
    let Some(head) = bytes.get(..FRAME_HEADER) else {
        return Err(Bad::Length);
    };
    if is_zero(head) {
        return Err(Bad::Empty);
    }
    if u32_at(head, 0) != MAGIC {
        return Err(Bad::Magic);
    }
    if u32_at(head, 60) != crc32c::crc32c(head.get(..60).unwrap_or_default()) {
        return Err(Bad::HeaderCrc);
    }
    if u64_at(head, 8) != log_id {
        return Err(Bad::Foreign);
    }
    if u64_at(head, 24) != position {
        return Err(Bad::Misplaced);
    }
    let header = FrameHeader {
        epoch: u64_at(head, 16),
        position,
        prev_end: u64_at(head, 32),
        durable: u64_at(head, 40),
        payload_len: u32_at(head, 48),
        records: u32_at(head, 52),
        payload_crc: u32_at(head, 56),
    };
    if header.span() > room {
        Err(Bad::Length)
    } else {
        Ok(header)
    }
}

/// Judges what follows the header: `body` is payload and padding.
pub(crate) fn check_body(header: &FrameHeader, body: &[u8]) -> Result<(), Bad> {
    let Some((payload, padding)) = body.split_at_checked(header.payload_len as usize) else {
        return Err(Bad::Length);
    };
    if crc32c::crc32c(payload) != header.payload_crc {
        return Err(Bad::PayloadCrc);
    }
    if !is_zero(padding) {
        return Err(Bad::Padding);
    }
    let mut walk = Records::new(header.first_record(), payload);
    let count = walk.by_ref().count();
    if walk.is_whole() && count == header.records as usize {
        Ok(())
    } else {
        Err(Bad::Records)
    }
}

/// One record inside a payload.
#[derive(Clone, Debug)]
pub(crate) struct RecordAt {
    /// Its address in the log.
    pub(crate) position: u64,
    /// Where its content lies in the payload.
    pub(crate) content: Range<usize>,
    /// Repair put it there for bytes that were lost.
    pub(crate) skipped: bool,
    crc: u32,
}

impl RecordAt {
    /// Whether the content is what was appended at this position.
    pub(crate) fn is_intact(&self, log_id: u64, payload: &[u8]) -> bool {
        payload
            .get(self.content.clone())
            .is_some_and(|c| record_crc(log_id, self.position, self.skipped, c) == self.crc)
    }
}

/// Walks the records of a payload by their lengths; stops where they no longer fit.
pub(crate) struct Records<'a> {
    start: u64,
    at: usize,
    payload: &'a [u8],
}

impl<'a> Records<'a> {
    pub(crate) fn new(start: u64, payload: &'a [u8]) -> Self {
        Self {
            start,
            at: 0,
            payload,
        }
    }

    /// Whether the walk ended exactly at the payload's end.
    pub(crate) fn is_whole(&self) -> bool {
        self.at == self.payload.len()
    }
}

impl Iterator for Records<'_> {
    type Item = RecordAt;

    fn next(&mut self) -> Option<RecordAt> {
        let head = self.payload.get(self.at..)?.get(..RECORD_HEADER)?;
        let (len, skipped, crc) = parse_record_header(head);
        let from = self.at + RECORD_HEADER;
        let to = from
            .checked_add(len)
            .filter(|to| *to <= self.payload.len())?;
        let record = RecordAt {
            position: self.start + self.at as u64,
            content: from..to,
            skipped,
            crc,
        };
        self.at = to;
        Some(record)
    }
}

/// Length, whether it stands for lost bytes, and checksum.
pub(crate) fn parse_record_header(head: &[u8]) -> (usize, bool, u32) {
    let word = u32_at(head, 0);
    (
        (word & !SKIPPED) as usize,
        word & SKIPPED != 0,
        u32_at(head, 4),
    )
}

/// The record's own checksum: over log, position, length and content, so that a record that
/// strayed to another place does not pass.
pub(crate) fn record_crc(log_id: u64, position: u64, skipped: bool, content: &[u8]) -> u32 {
    let mut seed = [0; 20];
    put(&mut seed, 0, &log_id.to_le_bytes());
    put(&mut seed, 8, &position.to_le_bytes());
    put(
        &mut seed,
        16,
        &length_word(content.len(), skipped).to_le_bytes(),
    );
    crc32c::crc32c_append(crc32c::crc32c(&seed), content)
}

fn length_word(len: usize, skipped: bool) -> u32 {
    len as u32 | if skipped { SKIPPED } else { 0 }
}

/// Writes a record header whose checksum [`seal`] fills in.
pub(crate) fn open_record(out: &mut Vec<u8>, len: usize, skipped: bool) {
    out.extend_from_slice(&length_word(len, skipped).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
}

/// Turns a buffer of header room and records into a frame: checksums of the records, of the
/// payload, of the header; padded to the sector.
pub(crate) fn seal(buf: &mut Vec<u8>, log_id: u64, mut header: FrameHeader) -> FrameHeader {
    if buf.len() < FRAME_HEADER {
        buf.resize(FRAME_HEADER, 0);
    }
    let payload = buf.get_mut(FRAME_HEADER..).unwrap_or_default();
    header.records = seal_records(log_id, header.first_record(), payload);
    header.payload_len = payload.len() as u32;
    header.payload_crc = crc32c::crc32c(payload);
    header.encode(log_id, buf);
    buf.resize(header.span() as usize, 0);
    header
}

fn seal_records(log_id: u64, start: u64, payload: &mut [u8]) -> u32 {
    let (mut at, mut count) = (0, 0);
    loop {
        let mut walk = Records { start, at, payload };
        let Some(record) = walk.next() else {
            return count;
        };
        at = walk.at;
        let content = payload.get(record.content.clone()).unwrap_or_default();
        let crc = record_crc(log_id, record.position, record.skipped, content);
        put(payload, record.content.start - 4, &crc.to_le_bytes());
        count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(records: &[&[u8]], position: u64) -> Vec<u8> {
        let mut buf = vec![0; FRAME_HEADER];
        for r in records {
            open_record(&mut buf, r.len(), false);
            buf.extend_from_slice(r);
        }
        seal(
            &mut buf,
            7,
            FrameHeader::new(3, position, position - SECTOR, position),
        );
        buf
    }

    fn judge(buf: &[u8], position: u64) -> Result<FrameHeader, Bad> {
        let header = parse_header(buf, 7, position, buf.len() as u64)?;
        check_body(&header, &buf[FRAME_HEADER..])?;
        Ok(header)
    }

    #[test]
    fn a_frame_comes_back_with_its_records() {
        let buf = frame(&[b"one", b"", b"three"], 4096);
        assert_eq!(buf.len() as u64 % SECTOR, 0);
        let header = judge(&buf, 4096).unwrap();
        assert_eq!(
            (header.records, header.epoch, header.prev_end),
            (3, 3, 3584)
        );
        let payload = &buf[FRAME_HEADER..FRAME_HEADER + header.payload_len as usize];
        let got: Vec<_> = Records::new(header.first_record(), payload).collect();
        assert_eq!(got[0].position, 4160);
        assert_eq!(&payload[got[2].content.clone()], b"three");
        assert!(got.iter().all(|r| r.is_intact(7, payload)));
        assert!(
            !got[0].is_intact(8, payload),
            "a record of another log must not pass"
        );
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let good = frame(&[b"MSH|^~\\&|", &[0; 300]], 8192);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(judge(&bad, 8192).is_err(), "bit {bit} went unseen");
        }
    }

    #[test]
    fn a_frame_does_not_pass_elsewhere_or_in_another_log() {
        let buf = frame(&[b"x"], 4096);
        assert_eq!(parse_header(&buf, 7, 8192, 512), Err(Bad::Misplaced));
        assert_eq!(parse_header(&buf, 9, 4096, 512), Err(Bad::Foreign));
        assert_eq!(parse_header(&buf, 7, 4096, 511), Err(Bad::Length));
        assert_eq!(parse_header(&[0; 64], 7, 0, 512), Err(Bad::Empty));
    }
}
