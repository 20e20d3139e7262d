//! From text to value, by declaration.
//!
//! The only place where the text of a file becomes a number, a time or a choice, and it happens
//! only because a setting's declaration says so. Error texts say what is allowed and never repeat
//! the value, which may be a secret; who calls quotes what stands in the file.

use std::time::Duration;

use crate::setting::{SettingType, Value};

impl SettingType {
    /// Reads a value.
    ///
    /// # Errors
    /// What is allowed here, in words for the operator.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        let wrong = || format!("expected {}", self.expected());
        match *self {
            Self::Text | Self::Path | Self::RuleSet => Ok(Value::Text(text.to_owned())),
            Self::Bool => bool_of(text.trim()).map(Value::Bool).ok_or_else(wrong),
            Self::Int { min, max } => whole(text.trim())
                .filter(|value| (min..=max).contains(value))
                .map(Value::Int)
                .ok_or_else(wrong),
            Self::Seconds {
                min,
                max,
                unlimited,
            } => {
                if text.trim() == "-1" && unlimited.is_some() {
                    return Ok(Value::Seconds(None));
                }
                seconds_of(text.trim())
                    .filter(|seconds| (min..=max).contains(seconds))
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                    .map(|time| Value::Seconds(Some(time)))
                    .ok_or_else(wrong)
            }
            Self::Bytes { min, max } => bytes_of(text.trim())
                .filter(|bytes| (min..=max).contains(bytes))
                .and_then(|bytes| i64::try_from(bytes).ok())
                .map(Value::Int)
                .ok_or_else(wrong),
            Self::Choice(choices) => choice_of(choices, text.trim()).ok_or_else(wrong),
            Self::Items => Ok(Value::List(
                split_list(text).map(|(_, name)| name.into()).collect(),
            )),
            Self::Checked(check) => check(text).map(|()| Value::Text(text.to_owned())),
        }
    }

    /// What is allowed, as it follows "expected": `a whole number from 1 to 65535`.
    pub fn expected(&self) -> String {
        match *self {
            Self::Text => "text".into(),
            Self::Bool => "true or false".into(),
            Self::Int { min, max: i64::MAX } => format!("a whole number of at least {min}"),
            Self::Int { min, max } => format!("a whole number from {min} to {max}"),
            Self::Seconds {
                min,
                max,
                unlimited,
            } => {
                let (min, max) = (seconds_text(min), seconds_text(max));
                let unlimited = unlimited.map(|means| format!(", or -1 ({means})"));
                let units = "in seconds or with one of the units ms, s, m, h, d";
                format!(
                    "a time from {min} to {max} {units}{}",
                    unlimited.unwrap_or_default()
                )
            }
            Self::Bytes { min, max } => {
                let (min, max) = (bytes_text(min), bytes_text(max));
                format!("a size from {min} to {max}, in bytes or with a unit such as MB or MiB")
            }
            Self::Choice([only]) => {
                let only = only.first().unwrap_or(&"");
                format!("`{only}`, which is all that this version supports")
            }
            Self::Choice(choices) => {
                let names: Vec<&str> = choices
                    .iter()
                    .filter_map(|names| names.first())
                    .copied()
                    .collect();
                format!("one of {}", names.join(", "))
            }
            Self::Path => "a path".into(),
            Self::Items => "names of items, separated by commas".into(),
            Self::RuleSet => "the name of a rule set under `rules:`".into(),
            Self::Checked(_) => "text in the form that the setting describes".into(),
        }
    }
}

fn bool_of(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// A whole number in decimal digits; leading zeros are digits, not octal.
fn whole(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A number without sign or exponent, and what follows it.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    if !number.starts_with(|c: char| c.is_ascii_digit()) || number.ends_with('.') {
        return None;
    }
    Some((number.parse().ok()?, unit.trim()))
}

fn seconds_of(text: &str) -> Option<f64> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Some(number * factor).filter(|seconds| seconds.is_finite())
}

/// Decimal units are powers of 1000, binary ones of 1024 (IEC 80000-13).
fn bytes_of(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn choice_of(choices: &'static [&'static [&'static str]], text: &str) -> Option<Value> {
    let names = choices
        .iter()
        .find(|names| names.iter().any(|n| n.eq_ignore_ascii_case(text)))?;
    names.first().copied().map(Value::Choice)
}

/// The entries of a comma-separated list with the byte at which each begins; empty ones left out.
pub(crate) fn split_list(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(',')
        .scan(0, |next, part| {
            let start = *next + (part.len() - part.trim_start().len());
            *next += part.len() + 1;
            Some((start, part.trim()))
        })
        .filter(|(_, name)| !name.is_empty())
}

fn seconds_text(seconds: f64) -> String {
    const DAY: f64 = 86_400.0;
    if seconds >= DAY && seconds % DAY == 0.0 {
        format!("{} d", seconds / DAY)
    } else {
        format!("{seconds} s")
    }
}

fn bytes_text(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    UNITS
        .iter()
        .find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size))
        .map_or_else(
            || format!("{bytes} bytes"),
            |(unit, size)| format!("{} {unit}", bytes / size),
        )
}
