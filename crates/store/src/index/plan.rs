//! From a question to conditions: names become numbers, filters become SQL.
//!
//! Owns what each filter means. How rows that fulfil it are reached is `read`'s.

use std::fmt::Write as _;

use rusqlite::types::Value;

use crate::{Query, SessionId, State, StoreError};

use super::{keys::as_key, read::View, to_sql};

/// Conditions on `h` (header) and `b` (body), with their values.
#[derive(Clone, Default)]
pub(super) struct Where {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Where {
    pub(super) fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        let joint = if self.sql.is_empty() {
            " WHERE "
        } else {
            " AND "
        };
        self.sql.push_str(joint);
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    fn and_in(&mut self, column: &str, numbers: &[i64]) {
        self.and(&format!("{column} IN ({})", list(numbers)), []);
    }
}

pub(super) fn list(numbers: &[i64]) -> String {
    let mut text = String::new();
    for number in numbers {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{number}"); // writing to a String does not fail
    }
    text
}

/// A question with names turned into numbers.
pub(super) struct Plan {
    pub(super) routes: Option<Vec<i64>>,
    pub(super) kinds: Option<Vec<i64>>,
    /// What every row must fulfil, however it is reached.
    pub(super) conditions: Where,
    /// Set if Completed is not asked for: then the small index helps.
    pub(super) waiting: Option<Vec<i64>>,
}

impl View<'_> {
    /// None where a name is asked for that the index has never seen.
    pub(super) fn plan(&self, query: &Query) -> Result<Option<Plan>, StoreError> {
        let mut conditions = Where::default();
        let routes = match &query.item {
            None => None,
            Some(name) => Some(self.routes(name)?),
        };
        let kinds = match &query.message_type {
            None => None,
            Some(name) => Some(self.kinds(name)?),
        };
        if routes.as_ref().is_some_and(Vec::is_empty) || kinds.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        if let Some(routes) = &routes {
            conditions.and_in("h.route", routes);
        }
        if let Some(kinds) = &kinds {
            conditions.and_in("b.kind", kinds);
        }
        if let Some(from) = query.from_ms {
            conditions.and("h.created >= ?", [Value::Integer(to_sql(from))]);
        }
        if let Some(to) = query.to_ms {
            conditions.and("h.created < ?", [Value::Integer(to_sql(to))]);
        }
        if let Some(control) = &query.control_id {
            conditions.and("b.control = ?", [Value::Text(as_key(control))]);
        }
        if let Some(patient) = &query.patient_id {
            let sql = "(b.patient = ? OR EXISTS (SELECT 1 FROM alias
                 WHERE stretch = abs(b.id) >> 16 AND patient = ? AND body = b.id))";
            let patient = Value::Text(as_key(patient));
            conditions.and(sql, [patient.clone(), patient]);
        }
        let states: Vec<i64> = query.states.iter().map(|&state| state as i64).collect();
        let completed = query.states.contains(&State::Completed);
        let waiting = (!states.is_empty() && !completed).then(|| states.clone());
        if !states.is_empty() {
            conditions.and_in("h.state", &states);
        }
        Ok(Some(Plan {
            routes,
            kinds,
            conditions,
            waiting,
        }))
    }

    fn routes(&self, name: &str) -> Result<Vec<i64>, StoreError> {
        self.numbers(
            "SELECT route.id FROM route JOIN item ON item.id IN (source, target) WHERE item.text = ?1",
            [Value::Text(name.to_owned())],
        )
    }

    fn kinds(&self, name: &str) -> Result<Vec<i64>, StoreError> {
        let name = name.replace('^', "_");
        // `ADT` means every event of it; `ADT^A01^ADT_A01` means `ADT_A01`.
        let whole = name.splitn(3, '_').take(2).collect::<Vec<_>>().join("_");
        let any = if name.contains('_') {
            String::new()
        } else {
            format!("{name}_")
        };
        self.numbers(
            "SELECT id FROM kind WHERE text = ?1 OR (?2 <> '' AND substr(text, 1, length(?2)) = ?2)",
            [Value::Text(whole), Value::Text(any)],
        )
    }
}

pub(super) fn in_session(condition: &mut Where, session: SessionId) {
    let session = Value::Integer(to_sql(session.0));
    let sql = "h.id IN (SELECT ? UNION ALL SELECT id FROM header WHERE session = ?)";
    condition.and(sql, [session.clone(), session]);
}
