//! Writing a batch into the file, in the order of ids, by few prepared statements.
//!
//! Owns the statements. Runs inside the transaction that also moves the watermark.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use crate::StoreError;

use super::{
    STRETCH_SHIFT,
    batch::{Batch, ChangeOut, HeaderOut},
    to_sql,
};

/// Changes of the counts of headers by route and state.
pub(super) type Tally = HashMap<(i64, i64), i64>;

impl Batch {
    /// Writes all rows and leaves the batch empty.
    pub(super) fn write(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let batch = std::mem::take(self);
        let mut tally = Tally::new();
        batch.write_bodies(conn)?;
        write_headers(conn, &batch.headers, &mut tally)?;
        write_changes(conn, &batch.changes, &mut tally)?;
        batch.write_moved(conn)?;
        batch.write_blocks(conn)?;
        write_tally(conn, &tally)
    }

    fn write_bodies(&self, conn: &Connection) -> Result<(), StoreError> {
        let mut body = conn.prepare_cached(
            "INSERT INTO body (id, session, position, idx, len, content, kind, control, patient, origin, resent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?;
        let mut alias = conn.prepare_cached("INSERT OR IGNORE INTO alias VALUES (?1, ?2, ?3)")?;
        for row in &self.bodies {
            let mut patients = row.keys.patients.iter();
            body.execute(params![
                row.id,
                row.session,
                to_sql(row.place.position.0),
                row.place.index,
                row.place.len,
                row.content as u8,
                row.kind,
                row.keys.control,
                patients.next(),
                row.origin,
                row.resent,
            ])?;
            for patient in patients {
                alias.execute(params![row.id.abs() >> STRETCH_SHIFT, patient, row.id])?;
            }
        }
        Ok(())
    }

    fn write_moved(&self, conn: &Connection) -> Result<(), StoreError> {
        let mut update = conn.prepare_cached(
            "UPDATE body SET position = ?4, idx = ?5 WHERE id = ?1 AND position = ?2 AND idx = ?3",
        )?;
        for (id, old, new) in &self.moved {
            let (old_at, new_at) = (to_sql(old.position.0), to_sql(new.position.0));
            update.execute(params![id, old_at, old.index, new_at, new.index])?;
        }
        Ok(())
    }

    fn write_blocks(&self, conn: &Connection) -> Result<(), StoreError> {
        let mut block = conn.prepare_cached(
            "INSERT INTO block VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE SET
             min_ms = min(min_ms, excluded.min_ms), max_ms = max(max_ms, excluded.max_ms),
             position = min(position, excluded.position)",
        )?;
        for (id, gained) in &self.blocks {
            block.execute(params![id, gained.min_ms, gained.max_ms, gained.position])?;
        }
        let mut route = conn.prepare_cached(
            "INSERT INTO block_route VALUES (?1, ?2, ?3, ?4) ON CONFLICT (route, block) DO UPDATE
             SET headers = headers + excluded.headers, bytes = bytes + excluded.bytes",
        )?;
        for ((id, block), (headers, bytes)) in &self.block_routes {
            route.execute(params![id, block, headers, bytes])?;
        }
        let mut kind = conn.prepare_cached("INSERT OR IGNORE INTO block_kind VALUES (?1, ?2)")?;
        for (id, block) in &self.block_kinds {
            kind.execute(params![id, block])?;
        }
        Ok(())
    }
}

fn write_headers<'a>(
    conn: &Connection,
    headers: impl IntoIterator<Item = (&'a i64, &'a HeaderOut)>,
    tally: &mut Tally,
) -> Result<(), StoreError> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO header (id, session, route, state, created, took, attempts, flags, body, reason, note, reply, reply_len,
         cause) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    for (id, row) in headers {
        insert.execute(params![
            id,
            row.session,
            row.route,
            row.state,
            row.created,
            row.took,
            row.attempts,
            row.flags,
            row.body,
            row.reason,
            row.note,
            row.reply,
            row.reply_len,
            row.cause,
        ])?;
        *tally.entry((row.route, row.state)).or_default() += 1;
    }
    Ok(())
}

/// Steps of headers that are in the file. One that is not there has left by retention or purge.
fn write_changes<'a>(
    conn: &Connection,
    changes: impl IntoIterator<Item = (&'a i64, &'a ChangeOut)>,
    tally: &mut Tally,
) -> Result<(), StoreError> {
    let mut before = conn.prepare_cached("SELECT route, state FROM header WHERE id = ?1")?;
    let mut update = conn.prepare_cached(
        "UPDATE header SET state = ?2, took = CASE WHEN ?3 THEN max(?4 - created, 0) END,
         attempts = ?5, reason = ?7, note = coalesce(?8, note), reply = coalesce(?9, reply),
         reply_len = coalesce(?10, reply_len),
         flags = nullif((coalesce(flags, 4) & 14) | ?6, 4) WHERE id = ?1",
    )?;
    for (id, row) in changes {
        let Some((route, old)) = before
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?
        else {
            continue;
        };
        let new = row.state as i64;
        update.execute(params![
            id,
            new,
            !row.state.is_unfinished(),
            row.time_ms,
            row.attempts,
            i64::from(row.duplicate) | (row.answered as i64) << 4,
            row.reason,
            row.note,
            row.reply,
            row.reply_len,
        ])?;
        *tally.entry((route, old)).or_default() -= 1;
        *tally.entry((route, new)).or_default() += 1;
    }
    Ok(())
}

pub(super) fn write_tally(conn: &Connection, tally: &Tally) -> Result<(), StoreError> {
    let mut add = conn.prepare_cached(
        "INSERT INTO tally VALUES (?1, ?2, ?3)
         ON CONFLICT (route, state) DO UPDATE SET headers = headers + excluded.headers",
    )?;
    for ((route, state), headers) in tally.iter().filter(|(_, headers)| **headers != 0) {
        add.execute(params![route, state, headers])?;
    }
    Ok(())
}
