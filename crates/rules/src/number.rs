//! Decimal numbers as text, compared exactly. It owns "is this a number" and "which is larger"; it never
//! turns them into floats, because a 20-digit identifier or a timestamp with fractions does not fit one.

use std::cmp::Ordering;

/// A decimal number still lying in its text: HL7 type NM (chapter 2A): sign, digits, point, digits.
#[derive(Debug, Clone, Copy)]
struct Decimal<'a> {
    negative: bool,
    /// Without leading zeros.
    whole: &'a str,
    /// Without trailing zeros.
    fraction: &'a str,
}

fn read(text: &str) -> Option<Decimal<'_>> {
    let text = text.trim_matches(' ');
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let numeric = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !numeric(whole) || !numeric(fraction) {
        return None;
    }
    let (whole, fraction) = (
        whole.trim_start_matches('0'),
        fraction.trim_end_matches('0'),
    );
    let zero = whole.is_empty() && fraction.is_empty();
    Some(Decimal {
        negative: negative && !zero,
        whole,
        fraction,
    })
}

fn magnitude(a: Decimal<'_>, b: Decimal<'_>) -> Ordering {
    let whole = a
        .whole
        .len()
        .cmp(&b.whole.len())
        .then_with(|| a.whole.cmp(b.whole));
    whole.then_with(|| a.fraction.cmp(b.fraction))
}

/// Which number is larger; `None` when either text is no number.
pub(crate) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (read(a)?, read(b)?);
    Some(match (a.negative, b.negative) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => magnitude(a, b),
        (true, true) => magnitude(b, a),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn orders_as_numbers_not_as_text() {
        let rows = [
            ("9", "10", Some(Ordering::Less)),
            ("007", "7", Some(Ordering::Equal)),
            ("2.3", "2.30", Some(Ordering::Equal)),
            ("2.3", "2.29", Some(Ordering::Greater)),
            ("-1", "0", Some(Ordering::Less)),
            ("-2", "-1", Some(Ordering::Less)),
            ("-0", "+0.0", Some(Ordering::Equal)),
            (".5", "0.5", Some(Ordering::Equal)),
            (" 5 ", "5.", Some(Ordering::Equal)),
            (
                "99999999999999999998",
                "99999999999999999999",
                Some(Ordering::Less),
            ),
            ("", "1", None),
            (".", "1", None),
            ("3a", "1", None),
            ("1e5", "1", None),
            ("1.2.3", "1", None),
            ("--1", "1", None),
            ("٣", "1", None),
        ];
        for (a, b, expected) in rows {
            assert_eq!(compare(a, b), expected, "{a:?} against {b:?}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_integers(a in any::<i64>(), b in any::<i64>()) {
            prop_assert_eq!(compare(&a.to_string(), &b.to_string()), Some(a.cmp(&b)));
        }

        #[test]
        fn any_text_is_answered(a in ".*", b in ".*") {
            let there = compare(&a, &b);
            prop_assert_eq!(compare(&b, &a), there.map(Ordering::reverse));
        }
    }
}
