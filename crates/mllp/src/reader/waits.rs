//! When a reader gives up. Owns the instants from which the timeouts count; they outlive a dropped
//! `next`, so that a caller who selects over it cannot reset them by accident.

use std::time::Duration;

use tokio::time::Instant;

use super::Timeouts;

/// A connection that was quiet for so long gives its large buffer back.
const RELEASE_AFTER: Duration = Duration::from_secs(1);

/// What happens next if nothing arrives, and when.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    Never,
    Release(Instant),
    Idle(Instant, Duration),
    Read(Instant, Duration),
    Frame(Instant, Duration),
}

impl Due {
    pub(super) fn at(&self) -> Option<Instant> {
        match *self {
            Due::Never => None,
            Due::Release(at) | Due::Idle(at, _) | Due::Read(at, _) | Due::Frame(at, _) => Some(at),
        }
    }
}

#[derive(Debug)]
pub(super) struct Waits {
    timeouts: Timeouts,
    any_frame: bool,
    released: bool,
    idle_since: Option<Instant>,
    frame_since: Option<Instant>,
    read_since: Option<Instant>,
}

impl Waits {
    pub(super) fn new(timeouts: Timeouts) -> Self {
        Self {
            timeouts,
            any_frame: false,
            released: false,
            idle_since: None,
            frame_since: None,
            read_since: None,
        }
    }

    pub(super) fn set(&mut self, timeouts: Timeouts) {
        self.timeouts = timeouts;
    }

    pub(super) fn frame_ended(&mut self) {
        *self = Self {
            any_frame: true,
            ..Self::new(self.timeouts)
        };
    }

    pub(super) fn received(&mut self) {
        self.read_since = None;
    }

    pub(super) fn released(&mut self) {
        self.released = true;
    }

    /// Called before each read. `oversized`: see `ReadBuffer::release_gain`.
    pub(super) fn due(&mut self, within_frame: bool, oversized: Option<bool>) -> Due {
        if within_frame {
            self.within_frame()
        } else {
            self.between(oversized)
        }
    }

    fn within_frame(&mut self) -> Due {
        let Timeouts { read, frame, .. } = self.timeouts;
        if read.is_none() && frame.is_none() {
            return Due::Never;
        }
        let now = Instant::now();
        let read_since = *self.read_since.get_or_insert(now);
        let frame_since = *self.frame_since.get_or_insert(now);
        let read = read.map(|after| Due::Read(read_since + after, after));
        let frame = frame.map(|after| Due::Frame(frame_since + after, after));
        earliest(read, frame)
    }

    fn between(&mut self, oversized: Option<bool>) -> Due {
        let Timeouts {
            first_byte, idle, ..
        } = self.timeouts;
        let idle = if self.any_frame {
            idle
        } else {
            first_byte.or(idle)
        };
        let release = match oversized {
            Some(worth_a_timer) if !self.released => worth_a_timer || idle.is_some(),
            _ => false,
        };
        if idle.is_none() && !release {
            return Due::Never;
        }
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        let idle = idle.map(|after| Due::Idle(since + after, after));
        earliest(idle, release.then(|| Due::Release(since + RELEASE_AFTER)))
    }
}

fn earliest(one: Option<Due>, other: Option<Due>) -> Due {
    match (one, other) {
        (Some(one), Some(other)) if other.at() < one.at() => other,
        (Some(due), _) | (None, Some(due)) => due,
        (None, None) => Due::Never,
    }
}
