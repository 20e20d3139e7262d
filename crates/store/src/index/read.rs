//! Looking things up: search, trace, counts.
//!
//! Owns the statements and how a question is answered without a walk over all rows: by a key's
//! index, by the small index of what is not completed, or by blocks of ids that are known to hold
//! what is asked. Shared by the running store and the read-only reader.

use std::ops::Range;

use bytes::Bytes;
use rusqlite::{Connection, params, params_from_iter, types::Value};

use hie_journal::Position;

use crate::{BodyRef, Count, HeaderRow, MessageId, Page, Query, SessionId, StoreError};

use super::{
    BLOCK_SHIFT, STRETCH_SHIFT, from_sql,
    keys::as_key,
    plan::{Plan, Where, in_session, list},
    row::{JOINS, SELECT, header_row, state},
    to_sql,
};

/// Rows of a page that asks for nothing else.
const LIMIT_DEFAULT: usize = 50;
/// Rows of a page at most.
const LIMIT_MAX: usize = 10_000;
/// Bodies that share a key and are looked at for one page.
const KEY_BODIES: usize = 5_000;
/// Bodies that one page of a text search reads at most.
const TEXT_BODIES: usize = 20_000;
/// Bytes of bodies that one page of a text search reads at most.
const TEXT_BYTES: u64 = 256 << 20;

/// The header through its small index of what is not completed.
const WAITING: &str = "header h INDEXED BY header_waiting";

const BODIES_BY_CONTROL: &str = "SELECT id FROM body WHERE abs(id) >> 16 = ?1 AND control = ?2";
const BODIES_BY_PATIENT: &str = "SELECT id FROM body WHERE abs(id) >> 16 = ?1 AND patient = ?2
     UNION SELECT body FROM alias WHERE stretch = ?1 AND patient = ?2";
/// In two parts: SQLite walks over all rows for a minimum and a maximum at once.
const BODY_BOUNDS: &str = "SELECT coalesce((SELECT min(id) FROM body WHERE id > 0), 0),
     coalesce((SELECT max(id) FROM body), -1)";
const HEADERS_OF_BODY: &str = "SELECT header.id FROM body CROSS JOIN header
         ON header.session = coalesce(body.session, abs(body.id))
         WHERE body.id = ?1 AND coalesce(header.body, header.session) = ?1
     UNION ALL
     SELECT header.id FROM body CROSS JOIN header
         ON header.id = coalesce(body.session, abs(body.id)) AND header.session IS NULL
         WHERE body.id = ?1 AND coalesce(header.body, header.id) = ?1";

/// Questions on one connection.
pub(crate) struct View<'c> {
    conn: &'c Connection,
}

impl<'c> View<'c> {
    pub(super) fn new(conn: &'c Connection) -> Self {
        Self { conn }
    }

    /// Every record below is in what this connection sees.
    pub(crate) fn watermark(&self) -> Result<Position, StoreError> {
        let sql = "SELECT position FROM watermark";
        Ok(Position(from_sql(
            self.conn.query_row(sql, [], |row| row.get(0))?,
        )))
    }

    pub(crate) fn header(&self, id: MessageId) -> Result<Option<HeaderRow>, StoreError> {
        let mut condition = Where::default();
        condition.and("h.id = ?", [Value::Integer(to_sql(id.0))]);
        Ok(self.select("header h", &condition, 1)?.pop())
    }

    /// All headers of a session, oldest first.
    pub(crate) fn session(&self, id: SessionId) -> Result<Vec<HeaderRow>, StoreError> {
        let mut condition = Where::default();
        in_session(&mut condition, id);
        let mut rows = self.select("header h", &condition, usize::MAX)?;
        rows.reverse();
        Ok(rows)
    }

    /// Headers by target and state.
    pub(crate) fn counts(&self) -> Result<Vec<Count>, StoreError> {
        let sql = "SELECT item.text, tally.state, sum(tally.headers) FROM tally
             JOIN route ON route.id = tally.route JOIN item ON item.id = route.target
             GROUP BY item.text, tally.state HAVING sum(tally.headers) > 0 ORDER BY 1, 2";
        let mut statement = self.conn.prepare_cached(sql)?;
        let counts = statement.query_map([], |row| {
            let (item, headers) = (row.get(0)?, from_sql(row.get(2)?));
            Ok(Count {
                item,
                state: state(row.get(1)?),
                headers,
            })
        })?;
        Ok(counts.collect::<Result<_, _>>()?)
    }

    /// The blocks of ids whose headers may stand in this part of the log.
    pub(crate) fn blocks_between(
        &self,
        begin: Position,
        end: Position,
    ) -> Result<Range<i64>, StoreError> {
        // A block begins at its position and ends where the next one begins.
        let sql = "SELECT coalesce((SELECT max(id) FROM block WHERE position <= ?1), min(id)),
                 (SELECT max(id) FROM block WHERE position < ?2) FROM block";
        let ends = [to_sql(begin.0), to_sql(end.0)];
        let (low, high) = self.conn.prepare_cached(sql)?.query_row(ends, |row| {
            Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?))
        })?;
        Ok(match (low, high) {
            (Some(low), Some(high)) => low..high + 1,
            _ => 0..0,
        })
    }

    /// Whether a finished header of these blocks has its body in this part of the log.
    pub(crate) fn has_finished(
        &self,
        blocks: Range<i64>,
        begin: Position,
        end: Position,
    ) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM header h CROSS JOIN body b
             ON b.id = coalesce(h.body, h.session, h.id)
             WHERE h.id >= ?1 AND h.id < ?2 AND h.state IN (4, 7, 8, 9)
             AND b.position >= ?3 AND b.position < ?4)";
        let (low, high) = (blocks.start << BLOCK_SHIFT, blocks.end << BLOCK_SHIFT);
        let values = [low, high, to_sql(begin.0), to_sql(end.0)];
        Ok(self
            .conn
            .prepare_cached(sql)?
            .query_row(values, |row| row.get(0))?)
    }

    /// Block, newest time, source, target and bytes of bodies, of all blocks and routes.
    #[expect(clippy::type_complexity, reason = "one query, one reader")]
    pub(crate) fn block_routes(&self) -> Result<Vec<(i64, u64, String, String, u64)>, StoreError> {
        let sql = "SELECT block.id, block.max_ms, source.text, target.text, block_route.bytes
             FROM block_route JOIN block ON block.id = block_route.block
             JOIN route ON route.id = block_route.route
             JOIN item source ON source.id = route.source
             JOIN item target ON target.id = route.target WHERE block_route.headers > 0";
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            let (max_ms, bytes) = (from_sql(row.get(1)?), from_sql(row.get(4)?));
            Ok((row.get(0)?, max_ms, row.get(2)?, row.get(3)?, bytes))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(crate) fn search(
        &self,
        query: &Query,
        read_body: impl Fn(BodyRef) -> Result<Bytes, StoreError>,
    ) -> Result<Page, StoreError> {
        let limit = if query.limit == 0 {
            LIMIT_DEFAULT
        } else {
            query.limit.min(LIMIT_MAX)
        };
        let Some(plan) = self.plan(query)? else {
            return Ok(Page::default());
        };
        match &query.text {
            None => {
                let rows = self.rows(query, &plan, query.before, limit)?;
                let next = (rows.len() == limit)
                    .then(|| rows.last().map(|row| row.id))
                    .flatten();
                Ok(Page { rows, next })
            }
            Some(text) => self.search_text(query, &plan, text, limit, read_body),
        }
    }

    fn search_text(
        &self,
        query: &Query,
        plan: &Plan,
        text: &str,
        limit: usize,
        read_body: impl Fn(BodyRef) -> Result<Bytes, StoreError>,
    ) -> Result<Page, StoreError> {
        const STEP: usize = 500;
        let mut page = Page::default();
        let (mut read, mut bytes) = (0, 0u64);
        let mut before = query.before;
        let mut last: Option<(BodyRef, bool)> = None;
        loop {
            let rows = self.rows(query, plan, before, STEP)?;
            let more = rows.len() == STEP;
            for row in rows {
                before = Some(row.id);
                let found = match last {
                    Some((body, found)) if body == row.body => found,
                    _ => {
                        read += 1;
                        bytes += u64::from(row.body.len);
                        // A body that has left by retention has no text any more.
                        read_body(row.body).is_ok_and(|body| contains(&body, text.as_bytes()))
                    }
                };
                last = Some((row.body, found));
                if found {
                    page.rows.push(row);
                }
                if page.rows.len() == limit || read >= TEXT_BODIES || bytes >= TEXT_BYTES {
                    page.next = before;
                    return Ok(page);
                }
            }
            if !more {
                return Ok(page);
            }
        }
    }

    pub(super) fn numbers(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<i64>, StoreError> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let numbers = statement.query_map(params_from_iter(values), |row| row.get(0))?;
        Ok(numbers.collect::<Result<_, _>>()?)
    }

    /// Up to `limit` rows below `before`, newest first, by everything but the text.
    fn rows(
        &self,
        query: &Query,
        plan: &Plan,
        before: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<HeaderRow>, StoreError> {
        let before = before.map_or(i64::MAX, |id| to_sql(id.0));
        if let Some(session) = query.session {
            let mut condition = plan.conditions.clone();
            condition.and("h.id < ?", [Value::Integer(before)]);
            in_session(&mut condition, session);
            return self.select("header h", &condition, limit);
        }
        if query.control_id.is_some() || query.patient_id.is_some() {
            return self.rows_by_key(query, plan, before, limit);
        }
        let mut rows = Vec::new();
        for ids in self.ranges(query, plan, before)? {
            let left = limit - rows.len();
            rows.extend(self.rows_in(plan, ids, left)?);
            if rows.len() >= limit {
                break;
            }
        }
        Ok(rows)
    }

    fn rows_in(
        &self,
        plan: &Plan,
        ids: Range<i64>,
        limit: usize,
    ) -> Result<Vec<HeaderRow>, StoreError> {
        let mut within = plan.conditions.clone();
        within.and(
            "h.id >= ? AND h.id < ?",
            [Value::Integer(ids.start), Value::Integer(ids.end)],
        );
        let Some(states) = &plan.waiting else {
            return self.select("header h", &within, limit);
        };
        let mut rows = Vec::new();
        for state in states {
            // One state at a time, so that the index gives its rows in the order of the ids.
            let mut one = within.clone();
            one.and(&format!("h.state = {state} AND h.state <> 9"), []);
            rows.extend(self.select(WAITING, &one, limit)?);
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.id));
        rows.truncate(limit);
        Ok(rows)
    }

    /// The ranges of ids that may hold what is asked, newest first.
    fn ranges(
        &self,
        query: &Query,
        plan: &Plan,
        before: i64,
    ) -> Result<Vec<Range<i64>>, StoreError> {
        let (from, to) = (
            query.from_ms.unwrap_or(0),
            query.to_ms.unwrap_or(i64::MAX as u64),
        );
        let sql = "SELECT min(id), max(id) FROM block WHERE max_ms >= ?1 AND min_ms < ?2";
        let window = self.conn.prepare_cached(sql)?.query_row(
            params![to_sql(from), to_sql(to.min(i64::MAX as u64))],
            |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?)),
        )?;
        let (Some(low), Some(high)) = window else {
            return Ok(Vec::new());
        };
        let high = high.min(before >> BLOCK_SHIFT);
        let clip = |blocks: Range<i64>| {
            blocks.start << BLOCK_SHIFT..(blocks.end << BLOCK_SHIFT).min(before)
        };
        let mut sets = Vec::new();
        for (numbers, table, column) in [
            (&plan.routes, "block_route", "route"),
            (&plan.kinds, "block_kind", "kind"),
        ] {
            let Some(numbers) = numbers else { continue };
            sets.push(format!(
                "SELECT block FROM {table} WHERE {column} IN ({}) AND block BETWEEN ?1 AND ?2",
                list(numbers)
            ));
        }
        if sets.is_empty() {
            let all = clip(low..high.saturating_add(1));
            return Ok(if all.is_empty() {
                Vec::new()
            } else {
                vec![all]
            });
        }
        let sql = format!("{} ORDER BY block DESC", sets.join(" INTERSECT "));
        let blocks = self.numbers(&sql, [Value::Integer(low), Value::Integer(high)])?;
        let mut ranges: Vec<Range<i64>> = Vec::new();
        for block in blocks {
            match ranges.last_mut() {
                Some(last) if last.start == block + 1 || last.start == block => last.start = block,
                _ => ranges.push(block..block + 1),
            }
        }
        Ok(ranges.into_iter().map(clip).collect())
    }

    /// By control id or patient: from the bodies that have it to the headers that point at them.
    fn rows_by_key(
        &self,
        query: &Query,
        plan: &Plan,
        before: i64,
        limit: usize,
    ) -> Result<Vec<HeaderRow>, StoreError> {
        let (key, sql) = match (&query.control_id, &query.patient_id) {
            (Some(control), _) => (control, BODIES_BY_CONTROL),
            (None, Some(patient)) => (patient, BODIES_BY_PATIENT),
            (None, None) => return Ok(Vec::new()),
        };
        let (low, high): (i64, i64) = self
            .conn
            .prepare_cached(BODY_BOUNDS)?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut bodies = Vec::new();
        let stretches = low >> STRETCH_SHIFT..=high.min(before) >> STRETCH_SHIFT;
        for stretch in stretches.rev() {
            let values = [Value::Integer(stretch), Value::Text(as_key(key))];
            bodies.extend(self.numbers(sql, values)?);
            if bodies.len() >= KEY_BODIES {
                break;
            }
        }
        bodies.retain(|id| id.abs() < before);
        bodies.sort_by_key(|id| std::cmp::Reverse(id.abs()));
        bodies.truncate(KEY_BODIES);
        let mut ids = Vec::new();
        for body in bodies {
            ids.extend(self.headers_of_body(body)?);
        }
        ids.retain(|&id| id < before);
        ids.sort_unstable_by_key(|&id| std::cmp::Reverse(id));
        let mut rows = Vec::new();
        for id in ids {
            let mut condition = plan.conditions.clone();
            condition.and("h.id = ?", [Value::Integer(id)]);
            rows.extend(self.select("header h", &condition, 1)?);
            if rows.len() >= limit {
                break;
            }
        }
        Ok(rows)
    }

    fn headers_of_body(&self, body: i64) -> Result<Vec<i64>, StoreError> {
        self.numbers(HEADERS_OF_BODY, [Value::Integer(body)])
    }

    /// Rows by descending id.
    fn select(
        &self,
        from: &str,
        conditions: &Where,
        limit: usize,
    ) -> Result<Vec<HeaderRow>, StoreError> {
        let sql = statement(from, conditions);
        let mut statement = self.conn.prepare_cached(&sql)?;
        let limit = Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX));
        let values = conditions.values.iter().cloned().chain([limit]);
        let rows = statement.query_map(params_from_iter(values), header_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn statement(from: &str, conditions: &Where) -> String {
    format!(
        "{SELECT} FROM {from} {JOINS}{} ORDER BY h.id DESC LIMIT ?",
        conditions.sql
    )
}

/// Whether the bytes have the text in them, without regard to the case of ASCII letters.
fn contains(bytes: &[u8], text: &[u8]) -> bool {
    text.is_empty()
        || bytes
            .windows(text.len())
            .any(|here| here.eq_ignore_ascii_case(text))
}

/// The statements that touch many rows, for the test that looks at their plans.
#[cfg(test)]
pub(super) fn statements() -> Vec<String> {
    let with = |from: &str, condition: &str| {
        let mut conditions = Where::default();
        conditions.and(condition, []);
        statement(from, &conditions)
    };
    let mut session = Where::default();
    in_session(&mut session, SessionId(1));
    vec![
        with("header h", "h.id = ?"),
        statement("header h", &session),
        with("header h", "h.route IN (1,2) AND h.id >= ? AND h.id < ?"),
        with(
            "header h",
            "h.created >= ? AND h.created < ? AND h.id >= ? AND h.id < ?",
        ),
        with(
            WAITING,
            "h.id >= ? AND h.id < ? AND h.state = 8 AND h.state <> 9",
        ),
        BODIES_BY_CONTROL.to_owned(),
        BODIES_BY_PATIENT.to_owned(),
        HEADERS_OF_BODY.to_owned(),
        BODY_BOUNDS.to_owned(),
    ]
}
