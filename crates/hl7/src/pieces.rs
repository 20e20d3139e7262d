//! Pieces between separators: the innermost loop of every look-up. Owns how
//! they are found fast; what they mean is the callers'.
//!
//! Fields are short: a call of `memchr` for each costs more than the bytes it
//! passes. So separators are found eight bytes at a time in one machine word,
//! all of them at once; `memchr` takes over where a piece turns out to be long.

use memchr::memchr;

const LOW_BITS: u64 = 0x7F7F_7F7F_7F7F_7F7F;
const ONES: u64 = 0x0101_0101_0101_0101;

/// Marks the bytes of `word` that equal `byte` by the highest bit of each.
/// Exact for every byte (the shorter well-known trick may mark one too many).
#[inline]
fn marks(word: &[u8; 8], byte: u8) -> u64 {
    let differs = u64::from_le_bytes(*word) ^ (ONES * u64::from(byte));
    !(((differs & LOW_BITS) + LOW_BITS) | differs | LOW_BITS)
}

/// How many bytes are marked.
#[inline]
fn count(marks: u64) -> usize {
    ((marks >> 7).wrapping_mul(ONES) >> 56) as usize
}

/// Takes away the first `n` marks.
#[inline]
fn without_first(mut marks: u64, n: usize) -> u64 {
    for _ in 0..n {
        marks &= marks.wrapping_sub(1);
    }
    marks
}

/// Where the first mark is.
#[inline]
fn first(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

/// Position behind the `n`th (from 1) `separator` of `bytes`.
#[inline]
fn behind_nth(bytes: &[u8], separator: u8, n: usize) -> Option<usize> {
    let mut left = n;
    let (words, tail) = bytes.as_chunks::<8>();
    for (word, at) in words.iter().zip((0..).step_by(8)) {
        let found = marks(word, separator);
        let here = count(found);
        if here >= left {
            return Some(at + first(without_first(found, left - 1)) + 1);
        }
        left -= here;
    }
    let at = tail
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == separator)
        .nth(left - 1)?
        .0;
    Some(bytes.len() - tail.len() + at + 1)
}

/// Where the piece that begins `bytes` ends.
#[inline]
fn end(bytes: &[u8], separator: u8) -> Option<usize> {
    let Some((word, rest)) = bytes.split_first_chunk::<8>() else {
        return bytes.iter().position(|&b| b == separator);
    };
    match marks(word, separator) {
        0 => memchr(separator, rest).map(|at| at + 8),
        found => Some(first(found)),
    }
}

/// The `nth` (from 1) piece of `bytes` between `separator`s; `None` for 0 and
/// behind the last. Without a separator there is one piece.
#[inline]
pub(crate) fn nth_piece(bytes: &[u8], separator: Option<u8>, nth: usize) -> Option<&[u8]> {
    let before = nth.checked_sub(1)?;
    let Some(separator) = separator else {
        return (before == 0).then_some(bytes);
    };
    let rest = match before {
        0 => bytes,
        _ => bytes.get(behind_nth(bytes, separator, before)?..)?,
    };
    match end(rest, separator) {
        Some(end) => rest.get(..end),
        None => Some(rest),
    }
}

/// Iterator over pieces between separators: always at least one.
#[derive(Clone)]
pub(crate) struct Pieces<'a> {
    rest: Option<&'a [u8]>,
    separator: Option<u8>,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(bytes: &'a [u8], separator: Option<u8>) -> Self {
        Self {
            rest: Some(bytes),
            separator,
        }
    }

    /// What has not been given yet; `None` behind the last piece.
    pub(crate) fn rest(&self) -> Option<&'a [u8]> {
        self.rest
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        match self.separator.and_then(|separator| end(rest, separator)) {
            Some(at) => {
                self.rest = rest.get(at + 1..);
                rest.get(..at)
            }
            None => {
                self.rest = None;
                Some(rest)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_what_split_says(
            bytes in proptest::collection::vec(proptest::sample::select(b"|ab\x00\x7B\x7D\xFC\xFF".to_vec()), 0..80),
            n in 0usize..40,
        ) {
            let want: Vec<&[u8]> = bytes.split(|&b| b == b'|').collect();
            prop_assert_eq!(Pieces::new(&bytes, Some(b'|')).collect::<Vec<_>>(), want.clone());
            let nth = n.checked_sub(1).and_then(|n| want.get(n).copied());
            prop_assert_eq!(nth_piece(&bytes, Some(b'|'), n), nth);
            prop_assert_eq!(nth_piece(&bytes, None, n), (n == 1).then_some(&bytes[..]));
        }
    }
}
