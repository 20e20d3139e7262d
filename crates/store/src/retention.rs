//! Retention and purge: what leaves the store, and when.
//!
//! Owns the policy and the order of steps that makes leaving safe: what is unfinished is copied
//! forward and durable before the segment that held it goes. Bytes leave with whole segments;
//! rows of the index leave one by one.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use hie_journal::{LogError, Position};

use crate::{
    BodyRef, Live, Store, StoreError,
    record::{Encode, MovedOut, Purged, PurgedOut, StartedOut},
    store::{append_plain, read_body},
    tail::Tail,
};

/// How long messages are kept.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Keep {
    /// Milliseconds since a message was made; none keeps it for ever.
    pub max_age_ms: Option<u64>,
    /// Bytes. Of the default: what the whole log may take. Of an item: what the bodies that it
    /// made may take. None for no limit.
    pub max_bytes: Option<u64>,
}

/// How long the messages of each item are kept. A header belongs to its source and its target;
/// the longer age of the two counts. What is unfinished is kept in any case.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct RetentionPolicy {
    /// For items that have none of their own.
    pub default: Keep,
    /// By the item's name.
    pub items: HashMap<String, Keep>,
}

/// What a run of retention did.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct RetentionReport {
    /// Segments of the log that left.
    pub segments: u64,
    /// Bytes of log that left.
    pub bytes: u64,
    /// Bodies of unfinished headers that were copied forward.
    pub moved: u64,
    /// Headers that left the index.
    pub headers: u64,
    /// Why nothing more left, where something else than the policy held it.
    pub held_by: Option<&'static str>,
}

/// What an operator wants gone at once.
#[derive(Clone, Debug)]
pub struct PurgeRequest {
    /// Headers made before, in milliseconds since 1970 (UTC).
    pub before_ms: u64,
    /// Only those with this source or target; empty means all.
    pub items: Vec<String>,
    /// Keep every header of a session that has an unfinished one. True as a rule.
    pub keep_whole_sessions: bool,
    /// Only count.
    pub dry_run: bool,
}

/// What a purge did, or would do.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct PurgeReport {
    /// Headers that left the index.
    pub headers: u64,
    /// Bodies that left the index (in a dry run: that the headers point at).
    pub bodies: u64,
    /// Bytes of log that could leave at once. The rest leaves with its segment, when everything
    /// else in it may go.
    pub log_bytes: u64,
}

impl Store {
    /// Lets go of what the policy no longer keeps (blocking; call it every minute or so from a
    /// thread that may). `now_ms` is milliseconds since 1970 (UTC).
    pub fn retain(
        &self,
        policy: &RetentionPolicy,
        now_ms: u64,
    ) -> Result<RetentionReport, StoreError> {
        let policy = policy.clone();
        self.on_tail(move |tail| tail.retain(&policy, now_ms))?
    }

    /// Purges (blocking): rows leave search and trace at once, bytes as far as whole segments of
    /// the log are free. What is unfinished is kept.
    pub fn purge(&self, request: &PurgeRequest, now_ms: u64) -> Result<PurgeReport, StoreError> {
        let request = request.clone();
        self.on_tail(move |tail| tail.purge(&request, now_ms))?
    }
}

/// Bodies below a position with the unfinished headers that point at them.
type Stragglers = BTreeMap<(Position, u16), (BodyRef, Vec<Live>)>;

/// Items and their newest bytes, as one block of ids has them.
struct Presence {
    block: i64,
    max_ms: u64,
    source: String,
    target: String,
    bytes: u64,
}

impl Tail {
    fn retain(
        &mut self,
        policy: &RetentionPolicy,
        now_ms: u64,
    ) -> Result<RetentionReport, StoreError> {
        self.follow_all()?;
        let mut report = RetentionReport::default();
        let Some(keep_from) = self.keep_from(policy, now_ms)? else {
            return Ok(report);
        };
        self.let_go(keep_from, now_ms, &mut report)?;
        Ok(report)
    }

    fn purge(&mut self, request: &PurgeRequest, now_ms: u64) -> Result<PurgeReport, StoreError> {
        self.follow_all()?;
        let items = request.items.iter().map(String::as_str).collect();
        let (before_ms, whole_sessions) = (request.before_ms, request.keep_whole_sessions);
        if request.dry_run {
            let purged = Purged {
                before_ms,
                whole_sessions,
                items,
            };
            let counted = self.index()?.count_purge(&purged)?;
            return Ok(PurgeReport {
                headers: counted.headers,
                bodies: counted.bodies,
                log_bytes: 0,
            });
        }
        let items = &request.items;
        let record = PurgedOut {
            time_ms: now_ms,
            before_ms,
            whole_sessions,
            items,
        };
        self.append_durably(&record)?;
        self.follow_all()?;
        let cleared = self.index()?.last_purge();
        let freed = self.retain(&RetentionPolicy::default(), now_ms)?;
        let (headers, bodies) = (cleared.headers, cleared.bodies);
        Ok(PurgeReport {
            headers,
            bodies,
            log_bytes: freed.bytes,
        })
    }

    /// Up to where the log may leave by the policy; none if nothing may.
    fn keep_from(
        &mut self,
        policy: &RetentionPolicy,
        now_ms: u64,
    ) -> Result<Option<Position>, StoreError> {
        let points = self.shared.log.trim_points();
        let mut total: u64 = points.iter().map(|(_, bytes)| bytes).sum();
        let presences = self.presences()?;
        let newer = newer_bytes(&presences);
        let mut keep_from = None;
        for pair in points.windows(2) {
            let [(begin, bytes), (end, _)] = *pair else {
                break;
            };
            let over = policy.default.max_bytes.is_some_and(|max| total > max);
            let blocks = self.index()?.view().blocks_between(begin, end)?;
            let mut present = presences
                .iter()
                .filter(|found| blocks.contains(&found.block));
            let free = over
                || present.all(|found| expired(found, policy, &newer, now_ms))
                // Blocks are coarser than segments, and the unfinished can be copied forward.
                || !self.index()?.view().has_finished(blocks, begin, end)?;
            if !free {
                break;
            }
            keep_from = Some(end);
            total = total.saturating_sub(bytes);
        }
        Ok(keep_from)
    }

    fn presences(&mut self) -> Result<Vec<Presence>, StoreError> {
        let rows = self.index()?.view().block_routes()?;
        let presence = |(block, max_ms, source, target, bytes)| Presence {
            block,
            max_ms,
            source,
            target,
            bytes,
        };
        Ok(rows.into_iter().map(presence).collect())
    }

    /// Copies forward what is unfinished below `keep_from`, then trims the log there.
    fn let_go(
        &mut self,
        keep_from: Position,
        now_ms: u64,
        report: &mut RetentionReport,
    ) -> Result<(), StoreError> {
        let points = self.shared.log.trim_points();
        let leaving: Vec<_> = points
            .iter()
            .filter(|(begin, _)| *begin < keep_from)
            .collect();
        let bytes: u64 = leaving.iter().map(|(_, bytes)| bytes).sum();
        // From here on nobody refers to a body below without copying it; what was appended before
        // is followed below, so the stragglers are all there are.
        *self.shared.floor.write() = keep_from;
        self.shared.log.flush()?;
        self.follow_all()?;
        let stragglers = self.stragglers(keep_from)?;
        let weight: u64 = stragglers
            .values()
            .map(|(body, _)| u64::from(body.len))
            .sum();
        if weight > bytes / 4 {
            report.held_by = Some("unfinished messages: too much of the oldest segments to copy");
            return Ok(());
        }
        report.moved = stragglers.len() as u64;
        self.move_forward(stragglers, now_ms)?;
        // The counter of ids stays in the log even if all records that used it leave.
        let next_id = self
            .shared
            .next_id
            .load(std::sync::atomic::Ordering::Acquire);
        self.append_durably(&StartedOut {
            time_ms: now_ms,
            next_id,
        })?;
        self.follow_all()?;
        self.write_checkpoint()?;
        if !self.stragglers(keep_from)?.is_empty() {
            report.held_by = Some("messages that became unfinished meanwhile");
            return Ok(());
        }
        self.shared.log.trim(keep_from)?;
        (report.segments, report.bytes) = (leaving.len() as u64, bytes);
        let first = self.shared.log.extent().first;
        report.headers = self.index()?.forget_below(first)?.headers;
        Ok(())
    }

    /// Unfinished headers whose body stands below, by body.
    fn stragglers(&self, keep_from: Position) -> Result<Stragglers, StoreError> {
        let mut found = Stragglers::new();
        self.each_live(|live| {
            let body = live.body;
            if body.position < keep_from {
                let entry = found.entry((body.position, body.index));
                entry.or_insert_with(|| (body, Vec::new())).1.push(live);
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn move_forward(&mut self, stragglers: Stragglers, time_ms: u64) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let mut moved = Vec::new();
        for (old, live) in stragglers.values() {
            let body = read_body(&*shared.log, *old)?;
            let names = shared.names.list();
            let (old, body) = (*old, &body[..]);
            let record = MovedOut {
                time_ms,
                old,
                live,
                names: &names,
                body,
            };
            let ticket = append_plain(&shared, &record)?;
            let new = BodyRef {
                position: ticket.position(),
                index: 0,
                len: old.len,
            };
            moved.push((ticket, old, new));
        }
        for (ticket, old, new) in moved {
            let _durable = ticket.wait_durable()?;
            shared.moved.insert(old, new);
        }
        Ok(())
    }

    fn append_durably(&self, record: &impl Encode) -> Result<(), StoreError> {
        let ticket = append_plain(&self.shared, record)?;
        ticket
            .wait_durable()
            .map(drop)
            .map_err(|error: LogError| error.into())
    }
}

/// For each source: the bytes of its bodies in blocks from this one on.
fn newer_bytes(presences: &[Presence]) -> HashMap<(&str, i64), u64> {
    let mut by_source: HashMap<&str, BTreeMap<i64, u64>> = HashMap::new();
    for found in presences {
        let blocks = by_source.entry(&found.source).or_default();
        *blocks.entry(found.block).or_default() += found.bytes;
    }
    let mut newer = HashMap::new();
    for (source, blocks) in by_source {
        let mut sum = 0;
        for (block, bytes) in blocks.into_iter().rev() {
            sum += bytes;
            newer.insert((source, block), sum);
        }
    }
    newer
}

fn expired(
    found: &Presence,
    policy: &RetentionPolicy,
    newer: &HashMap<(&str, i64), u64>,
    now_ms: u64,
) -> bool {
    let keep = |item: &str| policy.items.get(item).copied().unwrap_or(policy.default);
    let old = |item: &str| {
        keep(item)
            .max_age_ms
            .is_some_and(|age| found.max_ms.saturating_add(age) < now_ms)
    };
    let by_size = policy
        .items
        .get(&found.source)
        .and_then(|keep| keep.max_bytes);
    let bytes = newer
        .get(&(found.source.as_str(), found.block))
        .copied()
        .unwrap_or(0);
    (old(&found.source) && old(&found.target)) || by_size.is_some_and(|max| bytes > max)
}
