//! Item names and their small numbers.
//!
//! Owns the table that makes a name two bytes. The numbers hold for one opening of the store; the
//! log always says names in full.

use std::{collections::HashMap, sync::Arc};

use parking_lot::{RwLock, RwLockReadGuard};

use crate::{ItemId, StoreError};

#[derive(Default)]
struct Table {
    list: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, ItemId>,
}

/// Names to numbers and back, shared by all threads.
#[derive(Default)]
pub(crate) struct Names {
    table: RwLock<Table>,
}

impl Names {
    pub(crate) fn intern(&self, name: &str) -> Result<ItemId, StoreError> {
        if let Some(&id) = self.table.read().ids.get(name) {
            return Ok(id);
        }
        let mut table = self.table.write();
        if let Some(&id) = table.ids.get(name) {
            return Ok(id);
        }
        let id = u16::try_from(table.list.len()).map_err(|_| StoreError::TooManyItems)?;
        let name: Arc<str> = name.into();
        table.list.push(name.clone());
        table.ids.insert(name, ItemId(id));
        Ok(ItemId(id))
    }

    /// The name of an item; the empty one for a number that was never given out.
    pub(crate) fn name(&self, item: ItemId) -> Arc<str> {
        self.table
            .read()
            .list
            .get(usize::from(item.0))
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn list(&self) -> Vec<Arc<str>> {
        self.table.read().list.clone()
    }

    /// The table itself, to read many names without a copy.
    pub(crate) fn table(&self) -> parking_lot::MappedRwLockReadGuard<'_, [Arc<str>]> {
        RwLockReadGuard::map(self.table.read(), |table| table.list.as_slice())
    }
}
