//! The one clock of the engine: wall time for what people read, never for order or timers.
//!
//! Order comes from the log, timers run on tokio's monotonic clock. Tests set the time by hand.

use std::{
    cell::RefCell,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// Reads wall time in milliseconds since 1970 (UTC).
#[derive(Clone, Debug, Default)]
pub struct Clock {
    manual_ms: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands until the caller moves it.
    pub fn manual(start_ms: u64) -> (Self, Arc<AtomicU64>) {
        let hand = Arc::new(AtomicU64::new(start_ms));
        (
            Self {
                manual_ms: Some(hand.clone()),
            },
            hand,
        )
    }

    /// Now, in milliseconds since 1970 (UTC).
    pub fn now_ms(&self) -> u64 {
        match &self.manual_ms {
            Some(hand) => hand.load(Ordering::Relaxed),
            None => u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0),
        }
    }

    /// Monotonic time, for measuring.
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    /// Now as HL7 writes it, `YYYYMMDDHHMMSS` in local time (HL7 v2 chapter 2, TS).
    pub fn hl7_now(&self) -> [u8; 14] {
        // Calendar arithmetic is the dearest part of an acknowledgement: once a second is enough.
        thread_local!(static LAST: RefCell<(u64, [u8; 14])> = const { RefCell::new((u64::MAX, [0; 14])) });
        let second = self.now_ms() / 1000;
        LAST.with_borrow_mut(|last| {
            if last.0 != second {
                *last = (second, format_hl7(second));
            }
            last.1
        })
    }
}

fn format_hl7(second: u64) -> [u8; 14] {
    let mut out = *b"19700101000000";
    let seconds = i64::try_from(second).unwrap_or(0);
    if let Ok(timestamp) = jiff::Timestamp::from_second(seconds) {
        let local = timestamp.to_zoned_datetime(jiff::tz::TimeZone::system());
        let mut text = String::with_capacity(14);
        let written = write!(
            text,
            "{:04}{:02}{:02}{:02}{:02}{:02}",
            local.year(),
            local.month(),
            local.day(),
            local.hour(),
            local.minute(),
            local.second()
        );
        if written.is_ok() && text.len() == out.len() {
            out.copy_from_slice(text.as_bytes());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_until_it_is_moved() {
        let (clock, hand) = Clock::manual(1_000);
        assert_eq!(clock.now_ms(), 1_000);
        hand.store(2_500, Ordering::Relaxed);
        assert_eq!(clock.now_ms(), 2_500);
    }

    #[test]
    fn hl7_time_is_fourteen_digits_and_follows_the_clock() {
        let (clock, hand) = Clock::manual(1_700_000_000_000);
        let first = clock.hl7_now();
        assert!(first.iter().all(u8::is_ascii_digit));
        hand.fetch_add(1_000, Ordering::Relaxed);
        assert_ne!(first, clock.hl7_now());
    }
}
