//! Times on the command line: what a person writes, and what is shown.
//!
//! Owns the forms `--from` and `--to` take. Local time unless the text names an offset.

use hie_engine::clock::Clock;
use jiff::{SignedDuration, Timestamp, ZonedDateTime, civil, tz::TimeZone};

/// Now, in milliseconds since 1970 (UTC).
pub(crate) fn now_ms() -> u64 {
    Clock::system().now_ms()
}

/// What a user may write for a time; for help texts.
pub(crate) const FORMS: &str =
    "10:30, -2h, 2026-11-23, 2026-11-23T10:30, 2026-11-23T10:30:00Z or now";

/// Reads a time as clap wants it: milliseconds since 1970 (UTC).
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let now = Timestamp::from_millisecond(i64::try_from(now_ms()).unwrap_or(0))
        .map_err(|error| error.to_string())?
        .to_zoned_datetime(TimeZone::system());
    parse_at(text, &now)
}

fn parse_at(text: &str, now: &ZonedDateTime) -> Result<u64, String> {
    let unknown = || format!("write a time as {FORMS}");
    let text = text.trim();
    let found = if text == "now" {
        now.timestamp()
    } else if let Some(ago) = text.strip_prefix('-') {
        before(ago, now).ok_or_else(unknown)?
    } else if let Ok(exact) = text.parse::<Timestamp>() {
        exact
    } else {
        let local = if !text.contains('-')
            && let Ok(time) = text.parse::<civil::Time>()
        {
            // A text with a date has a time too, and must not lose its date here.
            now.date().to_datetime(time)
        } else if let Ok(time) = text.parse::<civil::DateTime>() {
            time
        } else {
            text.parse::<civil::Date>()
                .map_err(|_| unknown())?
                .at(0, 0, 0, 0)
        };
        local
            .to_zoned_datetime(now.time_zone().clone())
            .map_err(|_| unknown())?
            .timestamp()
    };
    u64::try_from(found.as_millisecond()).map_err(|_| "times before 1970 are not kept".to_owned())
}

/// `90s`, `15m`, `2h`, `3d`, `1w` before now.
fn before(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    let unit = text.chars().last()?;
    let amount: i64 = text.get(..text.len() - unit.len_utf8())?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    let amount = amount.checked_mul(seconds).filter(|amount| *amount >= 0)?;
    now.timestamp()
        .checked_sub(SignedDuration::from_secs(amount))
        .ok()
}

/// A time in the local zone, to the millisecond; `with_date` for lists that span days.
pub(crate) fn local(ms: u64, with_date: bool) -> String {
    let Ok(time) = Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(i64::MAX)) else {
        return ms.to_string();
    };
    let form = if with_date {
        "%Y-%m-%d %H:%M:%S.%3f"
    } else {
        "%H:%M:%S.%3f"
    };
    time.to_zoned_datetime(TimeZone::system())
        .strftime(form)
        .to_string()
}

/// A time as RFC 3339 in UTC, to the millisecond.
pub(crate) fn rfc3339(ms: u64) -> String {
    Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(i64::MAX)).map_or_else(
        |_| ms.to_string(),
        |time| time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
    )
}

/// A length of time as a person reads it.
pub(crate) fn span(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1000, ms / 60_000, ms / 3_600_000);
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", seconds, ms % 1000 / 100),
        60_000..3_600_000 => format!("{minutes} min {:02} s", seconds % 60),
        3_600_000..172_800_000 => format!("{hours} h {:02} min", minutes % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_times_in_many_ways() {
        let now = civil::date(2026, 11, 23)
            .at(15, 0, 0, 0)
            .to_zoned_datetime(TimeZone::UTC)
            .unwrap();
        let of = |text| parse_at(text, &now).map(rfc3339);
        for (text, want) in [
            ("now", "2026-11-23T15:00:00.000Z"),
            ("10:30", "2026-11-23T10:30:00.000Z"),
            ("10:30:15.5", "2026-11-23T10:30:15.500Z"),
            ("-2h", "2026-11-23T13:00:00.000Z"),
            ("-90s", "2026-11-23T14:58:30.000Z"),
            ("-1w", "2026-11-16T15:00:00.000Z"),
            ("2026-11-22", "2026-11-22T00:00:00.000Z"),
            ("2026-11-22T08:00", "2026-11-22T08:00:00.000Z"),
            ("2026-11-22 08:00:01", "2026-11-22T08:00:01.000Z"),
            ("2026-11-22T08:00:00+01:00", "2026-11-22T07:00:00.000Z"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(want), "{text}");
        }
        for text in [
            "",
            "-",
            "-2",
            "-2y",
            "--2h",
            "yesterday",
            "25:00",
            "-9999999999999999h",
            "1969-01-01",
        ] {
            assert!(of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_read_well() {
        let shown = [5, 1500, 61_000, 3_600_000, 200_000_000].map(span);
        assert_eq!(
            shown,
            ["5 ms", "1.5 s", "1 min 01 s", "1 h 00 min", "2 d 7 h"]
        );
    }
}
