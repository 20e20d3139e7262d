//! Letting rows go: by retention and by purge, in bounded chunks.
//!
//! Owns which rows leave. What is unfinished never does. Each chunk is a transaction of its own,
//! and all of it may be done twice.

use std::collections::HashMap;

use hie_journal::Position;
use rusqlite::{Connection, params_from_iter, types::Value};

use crate::{StoreError, record::Purged};

use super::{
    BLOCK_SHIFT, Index, to_sql,
    write::{Tally, write_tally},
};

/// Ids looked at in one transaction.
const CHUNK: i64 = 4096;

/// The states that end a header: Discarded, Aborted, Error, Completed.
const FINISHED: &str = "h.state IN (4, 7, 8, 9)";

/// How many rows left.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Cleared {
    pub(crate) headers: u64,
    pub(crate) bodies: u64,
}

/// Which headers leave: a condition on `header h` and the id below which it can hold.
struct Sweep {
    condition: String,
    values: Vec<Value>,
    end: i64,
}

impl Index {
    /// Lets go of what is finished and has its body below `first`: those bytes have left the log.
    pub(crate) fn forget_below(&mut self, first: Position) -> Result<Cleared, StoreError> {
        let bound = Value::Integer(to_sql(first.0));
        let condition = format!(
            "{FINISHED} AND coalesce((SELECT position FROM body WHERE
             body.id = coalesce(h.body, h.session, h.id)), -1) < ?3"
        );
        let end = end_of(&self.conn, "position < ?1", bound.clone())?;
        Sweep {
            condition,
            values: vec![bound],
            end,
        }
        .run(&self.conn)
    }

    /// What a purge would let go, without doing it.
    pub(crate) fn count_purge(&self, purged: &Purged<'_>) -> Result<Cleared, StoreError> {
        let sweep = of_purge(&self.conn, purged)?;
        let sql = format!(
            "SELECT count(*), count(DISTINCT coalesce(h.body, h.session, h.id))
             FROM header h WHERE h.id >= ?1 AND h.id < ?2 AND {}",
            sweep.condition
        );
        let range = [Value::Integer(0), Value::Integer(sweep.end)];
        let values = range.into_iter().chain(sweep.values);
        let counts = self.conn.query_row(&sql, params_from_iter(values), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })?;
        Ok(Cleared {
            headers: counts.0.unsigned_abs(),
            bodies: counts.1.unsigned_abs(),
        })
    }

    /// Lets go of what an operator purged.
    pub(super) fn purge(&mut self, purged: &Purged<'_>) -> Result<Cleared, StoreError> {
        of_purge(&self.conn, purged)?.run(&self.conn)
    }
}

fn of_purge(conn: &Connection, purged: &Purged<'_>) -> Result<Sweep, StoreError> {
    let before = Value::Integer(to_sql(purged.before_ms));
    let mut condition = format!("{FINISHED} AND h.created < ?3");
    let mut values = vec![before.clone()];
    if !purged.items.is_empty() {
        let marks = vec!["?"; purged.items.len()].join(",");
        condition.push_str(&format!(
            " AND h.route IN (SELECT route.id FROM route JOIN item ON item.id IN (source, target)
              WHERE item.text IN ({marks}))"
        ));
        values.extend(
            purged
                .items
                .iter()
                .map(|item| Value::Text((*item).to_owned())),
        );
    }
    if purged.whole_sessions {
        conn.execute_batch(
            "DROP TABLE IF EXISTS temp.kept;
             CREATE TEMP TABLE kept (session INTEGER PRIMARY KEY);
             INSERT OR IGNORE INTO temp.kept SELECT coalesce(session, id) FROM header
                 WHERE state <> 9 AND state IN (1, 2, 3, 5, 6);",
        )?;
        condition.push_str(
            " AND NOT EXISTS (SELECT 1 FROM temp.kept WHERE kept.session = coalesce(h.session, h.id))",
        );
    }
    Ok(Sweep {
        condition,
        values,
        end: end_of(conn, "min_ms < ?1", before)?,
    })
}

/// The id behind the last block for which the condition holds.
fn end_of(conn: &Connection, condition: &str, value: Value) -> Result<i64, StoreError> {
    let sql = format!("SELECT max(id) FROM block WHERE {condition}");
    let block: Option<i64> = conn.query_row(&sql, [value], |row| row.get(0))?;
    Ok(block.map_or(0, |block| (block + 1) << BLOCK_SHIFT))
}

impl Sweep {
    fn run(self, conn: &Connection) -> Result<Cleared, StoreError> {
        let mut cleared = Cleared::default();
        let first = "SELECT min(id) FROM header";
        let begin = conn.query_row(first, [], |row| row.get::<_, Option<i64>>(0))?;
        let mut at = begin.unwrap_or(self.end);
        while at < self.end {
            let end = at.saturating_add(CHUNK).min(self.end);
            in_transaction(conn, || {
                cleared.headers += self.headers(conn, at, end)?;
                Ok(())
            })?;
            at = end;
        }
        // Bodies go when all headers of their session are gone, so after all headers.
        let first = "SELECT min(abs(id)) FROM body";
        let begin = conn.query_row(first, [], |row| row.get::<_, Option<i64>>(0))?;
        let mut at = begin.unwrap_or(self.end);
        while at < self.end {
            let end = at.saturating_add(CHUNK).min(self.end);
            in_transaction(conn, || {
                cleared.bodies += delete_bodies(conn, at, end)?;
                Ok(())
            })?;
            at = end;
        }
        in_transaction(conn, || forget_blocks(conn))?;
        Ok(cleared)
    }

    fn headers(&self, conn: &Connection, at: i64, end: i64) -> Result<u64, StoreError> {
        let sql = format!(
            "DELETE FROM header AS h WHERE h.id >= ?1 AND h.id < ?2 AND {} RETURNING id, route, state",
            self.condition
        );
        let mut statement = conn.prepare_cached(&sql)?;
        let range = [Value::Integer(at), Value::Integer(end)];
        let values = range.into_iter().chain(self.values.iter().cloned());
        let gone = statement.query_map(params_from_iter(values), |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?,
            ))
        })?;
        let (mut tally, mut blocks, mut count) = (Tally::new(), HashMap::new(), 0);
        for row in gone {
            let (id, route, state) = row?;
            *tally.entry((route, state)).or_default() -= 1;
            *blocks.entry((route, id >> BLOCK_SHIFT)).or_insert(0i64) += 1;
            count += 1;
        }
        write_tally(conn, &tally)?;
        let mut less = conn.prepare_cached(
            "UPDATE block_route SET headers = headers - ?3 WHERE route = ?1 AND block = ?2",
        )?;
        for ((route, block), headers) in blocks {
            less.execute([route, block, headers])?;
        }
        Ok(count)
    }
}

fn delete_bodies(conn: &Connection, at: i64, end: i64) -> Result<u64, StoreError> {
    let mut gone = 0;
    // The second range is that of the bodies whose ids are negative.
    for (from, to) in [(at, end), (1 - end, 1 - at)] {
        let mut statement = conn.prepare_cached(
            "DELETE FROM body AS b WHERE b.id >= ?1 AND b.id < ?2
             AND NOT EXISTS (SELECT 1 FROM header WHERE id = coalesce(b.session, abs(b.id)))
             AND NOT EXISTS (SELECT 1 FROM header WHERE session = coalesce(b.session, abs(b.id)))",
        )?;
        gone += statement.execute([from, to])? as u64;
    }
    Ok(gone)
}

fn forget_blocks(conn: &Connection) -> Result<(), StoreError> {
    Ok(conn.execute_batch(
        "DELETE FROM block_route WHERE headers <= 0;
         DELETE FROM block WHERE id NOT IN (SELECT block FROM block_route);
         DELETE FROM block_kind WHERE block NOT IN (SELECT id FROM block);
         DELETE FROM alias WHERE body NOT IN (SELECT id FROM body);
         DELETE FROM tally WHERE headers = 0;",
    )?)
}

fn in_transaction(
    conn: &Connection,
    work: impl FnOnce() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    match work() {
        Ok(()) => Ok(conn.execute_batch("COMMIT")?),
        Err(error) => {
            let _ = conn.execute_batch("ROLLBACK"); // the first error is the one to tell
            Err(error)
        }
    }
}
