//! Varints, short strings and fixed integers: the alphabet of the records and checkpoints.
//!
//! Owns how one value is written and read. Knows nothing of what the values mean. Reading never
//! panics, whatever the bytes.

use super::DecodeError;

/// Where encoded values go: either a count of them or the log's own slice, so that one function
/// describes both the length and the bytes of a record.
pub(crate) trait Out {
    fn bytes(&mut self, bytes: &[u8]);

    fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    fn fixed(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    fn varint(&mut self, mut value: u64) {
        let mut buffer = [0u8; 10];
        let mut used = 0;
        for slot in &mut buffer {
            used += 1;
            *slot = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 {
                break;
            }
            *slot |= 0x80;
        }
        self.bytes(&buffer[..used]);
    }

    fn string(&mut self, text: &str) {
        self.varint(text.len() as u64);
        self.bytes(text.as_bytes());
    }
}

/// Counts what would be written.
#[derive(Default)]
pub(crate) struct Count(pub(crate) usize);

impl Out for Count {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// Writes into a slice that is exactly as long as [`Count`] said.
pub(crate) struct Fill<'a> {
    rest: &'a mut [u8],
}

impl<'a> Fill<'a> {
    pub(crate) fn new(rest: &'a mut [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rest.is_empty()
    }
}

impl Out for Fill<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        let rest = std::mem::take(&mut self.rest);
        let (here, rest) = rest.split_at_mut(bytes.len());
        here.copy_from_slice(bytes);
        self.rest = rest;
    }
}

impl Out for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Reads values off a slice.
#[derive(Clone)]
pub(crate) struct In<'a> {
    rest: &'a [u8],
}

impl<'a> In<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (here, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(DecodeError("it ends early"))?;
        self.rest = rest;
        Ok(here)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&first, rest) = self
            .rest
            .split_first()
            .ok_or(DecodeError("it ends early"))?;
        self.rest = rest;
        Ok(first)
    }

    pub(crate) fn fixed(&mut self) -> Result<u64, DecodeError> {
        let bytes = self
            .bytes(8)?
            .try_into()
            .map_err(|_| DecodeError("it ends early"))?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError("a number is too long"))
    }

    /// A varint that must fit a smaller type.
    pub(crate) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, DecodeError> {
        T::try_from(self.varint()?).map_err(|_| DecodeError("a number is out of range"))
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, DecodeError> {
        let len = self.small()?;
        std::str::from_utf8(self.bytes(len)?).map_err(|_| DecodeError("a text is not UTF-8"))
    }
}
