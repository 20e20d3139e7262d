//! Rows as they come out of the file, and the statement that brings them.
//!
//! Owns the columns of a search and their order, which the statement and the reading of a row
//! must share.

use rusqlite::Row;

use hie_journal::Position;

use crate::{Answered, BodyRef, Content, HeaderRow, MessageId, Priority, SessionId, State};

use super::from_sql;

/// The order of the joins is said (CROSS JOIN): from the header to what it names, never back.
pub(super) const SELECT: &str = "SELECT h.id, h.session, source.text, target.text, h.state, h.created, h.took,
    h.attempts, h.flags,
    CASE WHEN typeof(h.reason) = 'text' THEN h.reason ELSE reason.text END,
    CASE WHEN typeof(h.note) = 'text' THEN h.note ELSE note.text END, b.position, b.idx, b.len, b.content, h.reply,
    h.reply_len, kind.text, b.control, b.patient,
    CASE WHEN typeof(b.origin) = 'text' THEN b.origin ELSE origin.text END, b.resent, h.cause";
pub(super) const JOINS: &str = "CROSS JOIN route ON route.id = h.route
    CROSS JOIN item source ON source.id = route.source
    CROSS JOIN item target ON target.id = route.target
    LEFT JOIN body b ON b.id = coalesce(h.body, h.session, h.id)
    LEFT JOIN kind ON kind.id = b.kind
    LEFT JOIN text reason ON reason.id = h.reason
    LEFT JOIN text note ON note.id = h.note
    LEFT JOIN text origin ON origin.id = b.origin";

/// Where in the flags it stands who was answered; below are the priority and the duplicate mark.
const ANSWERED_SHIFT: u32 = 4;
const ANSWERED_ONE: i64 = 1 << ANSWERED_SHIFT;

/// The flags of a header; none for the most frequent.
pub(super) fn flags(priority: Priority, duplicate: bool, answered: Answered) -> Option<i64> {
    let flags = priority as i64 * 2 + i64::from(duplicate) + answered as i64 * ANSWERED_ONE;
    (flags != Priority::Normal as i64 * 2).then_some(flags)
}

/// Priority of such flags.
pub(super) fn priority(flags: Option<i64>) -> Priority {
    let flags = flags.unwrap_or(Priority::Normal as i64 * 2);
    let number = u8::try_from((flags & (ANSWERED_ONE - 1)) >> 1).ok();
    number.and_then(Priority::from_number).unwrap_or_default()
}

/// An unknown number is shown as what needs to be looked at.
pub(super) fn state(number: u8) -> State {
    State::from_number(number).unwrap_or(State::Error)
}

pub(super) fn header_row(row: &Row<'_>) -> rusqlite::Result<HeaderRow> {
    let id: i64 = row.get(0)?;
    let number = |column: usize| row.get::<_, Option<i64>>(column);
    let text = |column: usize| {
        Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(column)?.unwrap_or_default())
    };
    let created = row.get::<_, i64>(5)?;
    let flags = number(8)?.unwrap_or(Priority::Normal as i64 * 2);
    let answered = u8::try_from(flags >> ANSWERED_SHIFT).unwrap_or_default();
    let content = number(14)?.and_then(|number| Content::from_number(u8::try_from(number).ok()?));
    let reply = match (number(15)?, number(16)?) {
        (Some(at), Some(len)) => {
            let len = u32::try_from(len).unwrap_or_default();
            Some(BodyRef {
                position: Position(from_sql(at)),
                index: 0,
                len,
            })
        }
        _ => None,
    };
    Ok(HeaderRow {
        id: MessageId(from_sql(id)),
        session: SessionId(from_sql(number(1)?.unwrap_or(id))),
        source: text(2)?,
        target: text(3)?,
        state: state(row.get(4)?),
        created_ms: from_sql(created),
        done_ms: number(6)?.map(|took| from_sql(created.saturating_add(took))),
        attempts: row.get(7)?,
        priority: priority(Some(flags)),
        possible_duplicate: flags & 1 == 1,
        reason: text(9)?,
        note: text(10)?,
        body: BodyRef {
            position: Position(from_sql(number(11)?.unwrap_or_default())),
            index: row.get::<_, Option<u16>>(12)?.unwrap_or_default(),
            len: row.get::<_, Option<u32>>(13)?.unwrap_or_default(),
        },
        content: content.unwrap_or_default(),
        reply,
        message_type: text(17)?,
        control_id: text(18)?,
        patient_id: text(19)?,
        origin: text(20)?,
        resent_from: number(21)?.map(|id| MessageId(from_sql(id))),
        cause: number(22)?.map(|back| MessageId(from_sql(id.saturating_sub(back)))),
        answered: Answered::from_number(answered),
    })
}
