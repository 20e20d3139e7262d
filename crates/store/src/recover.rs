//! Recovery: the newest checkpoint, then the records behind it.
//!
//! Owns the way from files to the set of unfinished headers. Changes nothing on disk, so that
//! read-only openings use it too.

use hie_journal::{Log, Position};

use crate::{
    Live, Report, State, StoreError,
    checkpoint::{Place, Reader},
    live::{Delta, merge},
    names::Names,
    record,
};

/// Bytes of records read at once.
pub(crate) const SCAN_BYTES: usize = 4 << 20;

/// What a recovery leaves.
pub(crate) struct Found {
    /// The unfinished headers, for the engine.
    pub(crate) live: Vec<Live>,
    /// What the records behind the checkpoint changed, for the tail thread to go on with.
    pub(crate) delta: Delta,
    /// All durable records below were read.
    pub(crate) position: Position,
    /// Whether the checkpoint file is the base of the delta.
    pub(crate) has_base: bool,
    /// Bytes of the records read.
    pub(crate) tail_bytes: u64,
}

/// The position that the checkpoint covers: everything below it was durable once.
pub(crate) fn checkpoint_position(place: &Place) -> Option<Position> {
    let reader = Reader::open(place, &Names::default()).ok()??;
    Some(reader.head.position)
}

/// Reads the checkpoint and the log behind it; without a usable checkpoint all of the log.
pub(crate) fn recover(
    log: &dyn Log,
    place: &Place,
    names: &Names,
    report: &mut Report,
) -> Result<Found, StoreError> {
    match with_checkpoint(log, place, names, report) {
        Ok(Some(found)) => return Ok(found),
        Ok(None) => {}
        Err(error @ StoreError::Io { .. }) => {
            report.checkpoint = None;
            report.checkpoint_refused = Some(error.to_string());
        }
        Err(error) => return Err(error),
    }
    let mut delta = Delta::without_base();
    let (position, tail_bytes) = replay(log, log.extent().first, &mut delta, names, report)?;
    let live = collect(std::iter::empty(), &delta, report)?;
    Ok(Found {
        live,
        delta,
        position,
        has_base: false,
        tail_bytes,
    })
}

fn with_checkpoint(
    log: &dyn Log,
    place: &Place,
    names: &Names,
    report: &mut Report,
) -> Result<Option<Found>, StoreError> {
    let Some(reader) = Reader::open(place, names)? else {
        return Ok(None);
    };
    let from = reader.head.position;
    let extent = log.extent();
    if from > extent.end {
        return Err(StoreError::LogCutOff {
            end: extent.end,
            checkpoint: from,
        });
    }
    if from < extent.first {
        report.checkpoint_refused = Some("it is older than the oldest record kept".into());
        return Ok(None);
    }
    let mut delta = Delta::over_base(reader.head.next_id, reader.head.redirects.clone());
    report.checkpoint = Some(from);
    let (position, tail_bytes) = replay(log, from, &mut delta, names, report)?;
    let live = collect(reader, &delta, report)?;
    Ok(Some(Found {
        live,
        delta,
        position,
        has_base: true,
        tail_bytes,
    }))
}

fn replay(
    log: &dyn Log,
    from: Position,
    delta: &mut Delta,
    names: &Names,
    report: &mut Report,
) -> Result<(Position, u64), StoreError> {
    (report.tail_records, report.tail_bytes) = (0, 0);
    let mut records = Vec::new();
    let mut at = from;
    loop {
        records.clear();
        let next = log.scan(at, SCAN_BYTES, &mut records)?;
        if records.is_empty() {
            return Ok((at, report.tail_bytes));
        }
        for found in &records {
            let position = found.position;
            let record =
                record::decode(position, &found.bytes).map_err(StoreError::unreadable(position))?;
            delta.apply(&record, names)?;
            report.tail_bytes += found.bytes.len() as u64;
        }
        report.tail_records += records.len() as u64;
        at = next;
    }
}

fn collect(
    base: impl Iterator<Item = Result<Live, StoreError>>,
    delta: &Delta,
    report: &mut Report,
) -> Result<Vec<Live>, StoreError> {
    let mut live = Vec::new();
    report.orphans = merge(base, delta, |mut header| {
        if header.state == State::Delivered {
            header.state = State::Queued; // in a job's hands when the engine ended
        }
        live.push(header);
        Ok(())
    })?;
    live.shrink_to_fit();
    Ok(live)
}
