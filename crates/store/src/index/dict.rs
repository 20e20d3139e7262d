//! Small numbers for texts that repeat: items, routes, types, reasons, notes, origins.
//!
//! Owns the tables that say a text once. What is few is held in memory whole; of the rest only
//! recent ones, so that hostile variety costs rows but no memory.

use std::collections::HashMap;

use rusqlite::{
    Connection, ToSql, params,
    types::{ToSqlOutput, Value, ValueRef},
};

use crate::StoreError;

/// Texts remembered at most in each of two generations.
const RECENT: usize = 4096;
/// Message types remembered at most; beyond it they are looked up each time.
const KINDS: usize = 4096;

#[derive(Default)]
pub(super) struct Dict {
    items: HashMap<Box<str>, i64>,
    routes: HashMap<(i64, i64), i64>,
    kinds: HashMap<Box<str>, i64>,
    /// Texts met lately; without a number those met once.
    recent: HashMap<Box<str>, Option<i64>>,
    older: HashMap<Box<str>, Option<i64>>,
}

impl Dict {
    pub(super) fn load(conn: &Connection) -> Result<Self, StoreError> {
        let mut dict = Self::default();
        let mut items = conn.prepare("SELECT text, id FROM item")?;
        for row in items.query_map([], |row| Ok((row.get::<_, Box<str>>(0)?, row.get(1)?)))? {
            let (text, id) = row?;
            dict.items.insert(text, id);
        }
        let mut routes = conn.prepare("SELECT source, target, id FROM route")?;
        for row in routes.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))? {
            let (pair, id) = row?;
            dict.routes.insert(pair, id);
        }
        Ok(dict)
    }

    fn item(&mut self, conn: &Connection, name: &str) -> Result<i64, StoreError> {
        if let Some(&id) = self.items.get(name) {
            return Ok(id);
        }
        conn.execute("INSERT INTO item (text) VALUES (?1)", [name])?;
        let id = conn.last_insert_rowid();
        self.items.insert(name.into(), id);
        Ok(id)
    }

    pub(super) fn route(
        &mut self,
        conn: &Connection,
        source: &str,
        target: &str,
    ) -> Result<i64, StoreError> {
        let pair = (self.item(conn, source)?, self.item(conn, target)?);
        if let Some(&id) = self.routes.get(&pair) {
            return Ok(id);
        }
        let sql = "INSERT INTO route (source, target) VALUES (?1, ?2)";
        conn.execute(sql, params![pair.0, pair.1])?;
        let id = conn.last_insert_rowid();
        self.routes.insert(pair, id);
        Ok(id)
    }

    /// The number of a message type.
    pub(super) fn kind(&mut self, conn: &Connection, text: &str) -> Result<i64, StoreError> {
        if let Some(&id) = self.kinds.get(text) {
            return Ok(id);
        }
        let sql = "INSERT INTO kind (text) VALUES (?1) ON CONFLICT (text) DO UPDATE SET text = text RETURNING id";
        let id = conn
            .prepare_cached(sql)?
            .query_row([text], |row| row.get(0))?;
        if self.kinds.len() < KINDS {
            self.kinds.insert(text.into(), id);
        }
        Ok(id)
    }

    /// A reason, note or origin. What is met once stands in its row and leaves with it; what is
    /// met again soon gets a number.
    pub(super) fn text(&mut self, conn: &Connection, text: &str) -> Result<Text, StoreError> {
        if text.is_empty() {
            return Ok(Text::None);
        }
        let known = match self.recent.get(text) {
            Some(Some(id)) => return Ok(Text::Number(*id)),
            Some(None) => Some(None),
            None => self.older.get(text).copied(),
        };
        let number = match known {
            None => None,
            Some(Some(id)) => Some(id),
            Some(None) => {
                conn.prepare_cached("INSERT INTO text (text) VALUES (?1)")?
                    .execute([text])?;
                Some(conn.last_insert_rowid())
            }
        };
        if self.recent.len() >= RECENT {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(text.into(), number);
        Ok(number.map_or_else(|| Text::Here(text.to_owned()), Text::Number))
    }
}

/// How a row says a text.
#[derive(Clone, Default)]
pub(super) enum Text {
    #[default]
    None,
    /// By the number of a row of `text`.
    Number(i64),
    /// Itself.
    Here(String),
}

impl Text {
    /// This one, or the other if this is none.
    pub(super) fn or(self, other: Self) -> Self {
        if matches!(self, Self::None) {
            other
        } else {
            self
        }
    }
}

impl ToSql for Text {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::None => ToSqlOutput::Owned(Value::Null),
            Self::Number(id) => ToSqlOutput::Owned(Value::Integer(*id)),
            Self::Here(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}
