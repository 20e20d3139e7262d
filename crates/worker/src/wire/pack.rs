//! MessagePack, as much of it as headers use: nil, bool, int, float64, str, bin, array, map.
//!
//! Owns the bytes of single values. A reader never trusts a length: what it gives out lies within
//! what it was given, and values that it must pass over may be nested only so deep.

use std::fmt;

/// What is wrong with a header. Never carries its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// How deep values that are passed over may be nested.
const DEPTH_MAX: usize = 16;

/// Appends values to a buffer.
pub struct Packer<'a>(pub &'a mut Vec<u8>);

impl Packer<'_> {
    /// Nothing.
    pub fn nil(&mut self) {
        self.0.push(0xc0);
    }

    /// Yes or no.
    pub fn bool(&mut self, value: bool) {
        self.0.push(if value { 0xc3 } else { 0xc2 });
    }

    /// A whole number that is not negative.
    pub fn uint(&mut self, value: u64) {
        if let Ok(small) = u8::try_from(value) {
            if small >= 0x80 {
                self.0.push(0xcc);
            }
            self.0.push(small);
        } else if let Ok(short) = u16::try_from(value) {
            self.0.push(0xcd);
            self.0.extend_from_slice(&short.to_be_bytes());
        } else if let Ok(word) = u32::try_from(value) {
            self.0.push(0xce);
            self.0.extend_from_slice(&word.to_be_bytes());
        } else {
            self.0.push(0xcf);
            self.0.extend_from_slice(&value.to_be_bytes());
        }
    }

    /// A whole number.
    pub fn int(&mut self, value: i64) {
        match u64::try_from(value) {
            Ok(value) => self.uint(value),
            Err(_) => {
                self.0.push(0xd3);
                self.0.extend_from_slice(&value.to_be_bytes());
            }
        }
    }

    /// A whole number or nothing.
    pub fn opt_uint(&mut self, value: Option<u64>) {
        match value {
            Some(value) => self.uint(value),
            None => self.nil(),
        }
    }

    /// A fraction.
    pub fn float(&mut self, value: f64) {
        self.0.push(0xcb);
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// Text.
    pub fn str(&mut self, text: &str) {
        self.head(text.len(), (0xa0, 0x1f), Some(0xd9), 0xda, 0xdb);
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Text or nothing.
    pub fn opt_str(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.str(text),
            None => self.nil(),
        }
    }

    /// Begins an array of so many values.
    pub fn array(&mut self, len: usize) {
        self.head(len, (0x90, 0x0f), None, 0xdc, 0xdd);
    }

    /// Begins a map of so many pairs.
    pub fn map(&mut self, len: usize) {
        self.head(len, (0x80, 0x0f), None, 0xde, 0xdf);
    }

    /// An array of texts.
    pub fn strs<'t>(&mut self, texts: impl ExactSizeIterator<Item = &'t str>) {
        self.array(texts.len());
        texts.for_each(|text| self.str(text));
    }

    fn head(&mut self, len: usize, fix: (u8, usize), byte: Option<u8>, short: u8, long: u8) {
        let (mark, most) = fix;
        if len <= most {
            #[allow(clippy::cast_possible_truncation)] // at most 0x1f
            self.0.push(mark | len as u8);
        } else if let (Some(byte), Ok(len)) = (byte, u8::try_from(len)) {
            self.0.extend_from_slice(&[byte, len]);
        } else if let Ok(len) = u16::try_from(len) {
            self.0.push(short);
            self.0.extend_from_slice(&len.to_be_bytes());
        } else {
            // Headers are far smaller than 4 GiB: the frame limit sees to that.
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            self.0.push(long);
            self.0.extend_from_slice(&len.to_be_bytes());
        }
    }
}

/// One value as it stands.
enum Token<'a> {
    Nil,
    Bool(bool),
    Uint(u64),
    Int(i64),
    Float(f64),
    Str(&'a [u8]),
    Bin,
    Array(usize),
    Map(usize),
}

/// Reads values off a header.
#[derive(Clone)]
pub struct Unpacker<'a>(&'a [u8]);

impl<'a> Unpacker<'a> {
    /// A reader of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(Malformed("a value goes beyond the end of the header"))?;
        self.0 = rest;
        Ok(head)
    }

    fn number<const N: usize>(&mut self) -> Result<u64, Malformed> {
        let bytes = self.bytes(N)?;
        Ok(bytes
            .iter()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    }

    fn len<const N: usize>(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number::<N>()?).map_err(|_| Malformed("a length is too large"))
    }

    #[allow(clippy::cast_possible_wrap, clippy::cast_possible_truncation)] // two's complement is meant
    fn token(&mut self) -> Result<Token<'a>, Malformed> {
        let mark = self.bytes(1)?[0];
        let low = |mask: u8| usize::from(mark & mask);
        Ok(match mark {
            0x00..=0x7f => Token::Uint(mark.into()),
            0x80..=0x8f => Token::Map(low(0x0f)),
            0x90..=0x9f => Token::Array(low(0x0f)),
            0xa0..=0xbf => Token::Str(self.bytes(low(0x1f))?),
            0xc0 => Token::Nil,
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xc4..=0xc6 => {
                let len = match mark {
                    0xc4 => self.len::<1>()?,
                    0xc5 => self.len::<2>()?,
                    _ => self.len::<4>()?,
                };
                self.bytes(len)?;
                Token::Bin
            }
            0xca => Token::Float(f32::from_bits(self.number::<4>()? as u32).into()),
            0xcb => Token::Float(f64::from_bits(self.number::<8>()?)),
            0xcc => Token::Uint(self.number::<1>()?),
            0xcd => Token::Uint(self.number::<2>()?),
            0xce => Token::Uint(self.number::<4>()?),
            0xcf => Token::Uint(self.number::<8>()?),
            0xd0 => Token::Int((self.number::<1>()? as i8).into()),
            0xd1 => Token::Int((self.number::<2>()? as i16).into()),
            0xd2 => Token::Int((self.number::<4>()? as i32).into()),
            0xd3 => Token::Int(self.number::<8>()? as i64),
            0xd9 => {
                let len = self.len::<1>()?;
                Token::Str(self.bytes(len)?)
            }
            0xda => {
                let len = self.len::<2>()?;
                Token::Str(self.bytes(len)?)
            }
            0xdb => {
                let len = self.len::<4>()?;
                Token::Str(self.bytes(len)?)
            }
            0xdc => Token::Array(self.len::<2>()?),
            0xdd => Token::Array(self.len::<4>()?),
            0xde => Token::Map(self.len::<2>()?),
            0xdf => Token::Map(self.len::<4>()?),
            0xe0..=0xff => Token::Int((mark as i8).into()),
            _ => return Err(Malformed("a value has a type that headers do not use")),
        })
    }

    /// A whole number that is not negative, or nothing.
    pub fn opt_uint(&mut self) -> Result<Option<u64>, Malformed> {
        match self.token()? {
            Token::Nil => Ok(None),
            Token::Uint(value) => Ok(Some(value)),
            Token::Int(value) => u64::try_from(value)
                .map(Some)
                .map_err(|_| Malformed("a number is negative where it cannot be")),
            _ => Err(Malformed("a value is not a number where one is due")),
        }
    }

    /// A whole number that is not negative.
    pub fn uint(&mut self) -> Result<u64, Malformed> {
        self.opt_uint()?
            .ok_or(Malformed("nil where a number is due"))
    }

    /// A whole number.
    pub fn int(&mut self) -> Result<i64, Malformed> {
        match self.token()? {
            Token::Uint(value) => {
                i64::try_from(value).map_err(|_| Malformed("a number is too large"))
            }
            Token::Int(value) => Ok(value),
            _ => Err(Malformed("a value is not a number where one is due")),
        }
    }

    /// A number, whole or not.
    pub fn float(&mut self) -> Result<f64, Malformed> {
        match self.token()? {
            Token::Float(value) => Ok(value),
            #[allow(clippy::cast_precision_loss)] // durations and the like
            Token::Uint(value) => Ok(value as f64),
            #[allow(clippy::cast_precision_loss)]
            Token::Int(value) => Ok(value as f64),
            _ => Err(Malformed("a value is not a number where one is due")),
        }
    }

    /// Yes or no.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        match self.token()? {
            Token::Bool(value) => Ok(value),
            _ => Err(Malformed("a value is not true or false where one is due")),
        }
    }

    /// Text or nothing.
    pub fn opt_str(&mut self) -> Result<Option<&'a str>, Malformed> {
        match self.token()? {
            Token::Nil => Ok(None),
            Token::Str(bytes) => std::str::from_utf8(bytes)
                .map(Some)
                .map_err(|_| Malformed("a text is not UTF-8")),
            _ => Err(Malformed("a value is not text where text is due")),
        }
    }

    /// Text.
    pub fn str(&mut self) -> Result<&'a str, Malformed> {
        self.opt_str()?.ok_or(Malformed("nil where text is due"))
    }

    /// Begins an array. Every value takes a byte at least, so a length beyond the rest is a lie.
    pub fn array(&mut self) -> Result<usize, Malformed> {
        match self.token()? {
            Token::Array(len) if len <= self.0.len() => Ok(len),
            Token::Array(_) => Err(Malformed("an array goes beyond the end of the header")),
            _ => Err(Malformed("a value is not an array where one is due")),
        }
    }

    /// Begins a map.
    pub fn map(&mut self) -> Result<usize, Malformed> {
        match self.token()? {
            Token::Map(len) if len <= self.0.len() / 2 => Ok(len),
            Token::Map(_) => Err(Malformed("a map goes beyond the end of the header")),
            _ => Err(Malformed("a value is not a map where one is due")),
        }
    }

    /// An array of texts.
    pub fn strs(&mut self) -> Result<Vec<String>, Malformed> {
        let len = self.array()?;
        (0..len).map(|_| self.str().map(str::to_owned)).collect()
    }

    /// Passes over one value.
    pub fn skip(&mut self) -> Result<(), Malformed> {
        self.skip_within(DEPTH_MAX)
    }

    fn skip_within(&mut self, depth: usize) -> Result<(), Malformed> {
        let Some(below) = depth.checked_sub(1) else {
            return Err(Malformed("values are nested too deep"));
        };
        let inside = match self.token()? {
            Token::Array(len) => len,
            Token::Map(len) => len.saturating_mul(2),
            _ => 0,
        };
        (0..inside).try_for_each(|_| self.skip_within(below))
    }

    /// Whether the next value is nothing; looks only.
    pub fn is_nil(&self) -> bool {
        self.0.first() == Some(&0xc0)
    }
}

/// The elements of a positional header: those that are not there read as nothing, and those that
/// this version does not know are never looked at.
pub struct Fields<'a> {
    values: Unpacker<'a>,
    left: usize,
}

impl<'a> Fields<'a> {
    /// The elements of the array that a header is.
    pub fn of(header: &'a [u8]) -> Result<Self, Malformed> {
        let mut values = Unpacker::new(header);
        let left = values.array()?;
        Ok(Self { values, left })
    }

    /// The next element, which must be there.
    pub fn next<T>(
        &mut self,
        read: impl FnOnce(&mut Unpacker<'a>) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        if self.left == 0 {
            return Err(Malformed("the header has too few elements"));
        }
        self.left -= 1;
        read(&mut self.values)
    }

    /// The next element, if it is there and not nil.
    pub fn maybe<T>(
        &mut self,
        read: impl FnOnce(&mut Unpacker<'a>) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        if self.values.is_nil() {
            self.values.skip()?;
            return Ok(None);
        }
        read(&mut self.values).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_read_back(n: u64, i: i64, f: f64, s in ".{0,70000}", b: bool) {
            let mut out = Vec::new();
            let mut packer = Packer(&mut out);
            packer.uint(n);
            packer.int(i);
            packer.float(f);
            packer.str(&s);
            packer.bool(b);
            packer.opt_uint(None);
            packer.strs([s.as_str(), "b"].into_iter());
            let mut reader = Unpacker::new(&out);
            prop_assert_eq!(reader.uint(), Ok(n));
            prop_assert_eq!(reader.int(), Ok(i));
            prop_assert_eq!(reader.float().unwrap().to_bits(), f.to_bits());
            prop_assert_eq!(reader.str(), Ok(s.as_str()));
            prop_assert_eq!(reader.bool(), Ok(b));
            prop_assert_eq!(reader.opt_uint(), Ok(None));
            prop_assert_eq!(reader.strs(), Ok(vec![s, "b".to_owned()]));
            prop_assert!(reader.0.is_empty());
        }

        #[test]
        fn no_bytes_panic_and_every_value_is_passed_over_or_refused(bytes: Vec<u8>) {
            let mut reader = Unpacker::new(&bytes);
            while !reader.0.is_empty() && reader.skip().is_ok() {}
        }
    }

    #[test]
    fn lengths_beyond_the_header_and_deep_nests_are_refused() {
        let huge = [0xdd, 0xff, 0xff, 0xff, 0xff];
        assert!(Unpacker::new(&huge).array().is_err());
        assert!(Unpacker::new(&huge).skip().is_err());
        assert!(Unpacker::new(&[0x91; 1000]).skip().is_err());
    }
}
