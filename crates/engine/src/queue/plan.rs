//! What the settings of an item say of its queue.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use hie_hl7::{Message, Path};
use hie_rules::parse_path;

use super::{Fifo, Keyed, Lifo, Order, Priority, Unordered};
use crate::{config::ItemConfig, setting::Settings};

/// The order of a queue (`QueueType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    /// First in, first out; per key with `OrderBy`.
    #[default]
    Fifo,
    /// Five levels.
    Priority,
    /// Last in, first out.
    Lifo,
    /// No promise.
    Unordered,
}

impl Kind {
    /// As the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::Priority => "priority",
            Self::Lifo => "lifo",
            Self::Unordered => "unordered",
        }
    }
}

/// What happens to a message for a full queue (`OverflowStrategy`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overflow {
    /// Its sender waits.
    #[default]
    Block,
    /// The one that matters least of all that waits and itself is discarded.
    DropOldest,
    /// It is recorded and discarded.
    DropNewest,
    /// It is refused.
    Reject,
}

impl Overflow {
    /// As the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::DropOldest => "drop_oldest",
            Self::DropNewest => "drop_newest",
            Self::Reject => "reject",
        }
    }
}

/// How a queue is to be worked off, and how long it may get.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// The order.
    pub kind: Kind,
    /// Where the key of a message stands; only with [`Kind::Fifo`].
    pub order_by: Option<Path>,
    /// How long an entry waits for each level it rises; only with [`Kind::Priority`].
    pub aging: Option<Duration>,
    /// How many may wait; 0: any number.
    pub limit: usize,
    /// What happens beyond that.
    pub overflow: Overflow,
}

impl Plan {
    /// As an item's settings say.
    pub fn of(item: &ItemConfig) -> Self {
        Self::read(&item.settings)
    }

    fn read(settings: &Settings) -> Self {
        Self {
            kind: match settings.text("QueueType") {
                Some("priority") => Kind::Priority,
                Some("lifo") => Kind::Lifo,
                Some("unordered") => Kind::Unordered,
                _ => Kind::Fifo,
            },
            order_by: settings
                .text("OrderBy")
                .and_then(|text| order_by(text).ok()),
            aging: settings.duration("PriorityAging"),
            limit: settings.size("QueueSize"),
            overflow: match settings.text("OverflowStrategy") {
                Some("drop_oldest") => Overflow::DropOldest,
                Some("drop_newest") => Overflow::DropNewest,
                Some("reject") => Overflow::Reject,
                _ => Overflow::Block,
            },
        }
    }

    /// Whether entries leave in the order in which they came, so that only those at its head can
    /// have been in hand at a crash.
    pub fn is_strictly_fifo(&self) -> bool {
        self.kind == Kind::Fifo && self.order_by.is_none()
    }

    /// An empty order of this kind.
    pub(crate) fn order(&self) -> Box<dyn Order> {
        match self.kind {
            Kind::Fifo if self.order_by.is_some() => {
                Box::new(Keyed::new(self.overflow == Overflow::DropOldest))
            }
            Kind::Fifo => Box::<Fifo>::default(),
            Kind::Priority => Box::new(Priority::new(self.aging)),
            Kind::Lifo => Box::<Lifo>::default(),
            Kind::Unordered => Box::<Unordered>::default(),
        }
    }
}

/// Reads `OrderBy`: one value of the message.
pub(crate) fn order_by(text: &str) -> Result<Path, String> {
    let path = parse_path(text.trim()).map_err(|error| {
        let help = error.help.map(|help| format!("; {help}"));
        format!("{}{}", error.message, help.unwrap_or_default())
    })?;
    if path.field().is_none() {
        return Err("a key is a field or a part of one, such as PID-3.1".into());
    }
    if path.is_plural() {
        return Err("a key is one value: name one repetition, such as PID-3(1).1".into());
    }
    Ok(path)
}

/// Makes numbers of keys. Two keys with the same number are worked off as one, which costs a
/// little time and never the order.
#[derive(Debug, Default)]
pub(crate) struct Hash(RandomState);

impl Hash {
    /// The key of a message. One that cannot be read, or has nothing at that place, has the empty
    /// key: such messages keep their order among themselves.
    pub(crate) fn key(&self, path: &Path, body: &[u8]) -> u64 {
        let message = Message::parse(body).ok();
        let text = message.as_ref().and_then(|message| message.text(path));
        self.0.hash_one(text.as_deref().unwrap_or_default())
    }
}
