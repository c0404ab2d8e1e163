//! The pieces every encoding here is made of: variable-length integers and a reader that cannot overrun.
//!
//! Integers are LEB128: seven bits a byte, least significant first, the top bit set on all but the last. Each
//! value has one encoding: overlong ones are refused, so equal messages are equal bytes.

use alloc::vec::Vec;
use thiserror::Error;

/// Reason why bytes could not be read.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end in the middle of a field.
    #[error("the bytes end in the middle of a field")]
    Truncated,
    /// An integer is longer than it needs to be, or larger than its field.
    #[error("an integer is out of its field's range or not in its shortest form")]
    Integer,
}

/// Appends `value` in its shortest form: 1 byte below 128, at most 10.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Maps small negative and positive differences to small unsigned integers.
#[inline]
#[must_use]
pub(crate) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
#[must_use]
pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The integer at `at`, and where it ends; `None` if anything is wrong with it. Most have one byte.
#[inline(always)]
pub(crate) fn varint_at(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    match *bytes.get(at)? {
        byte if byte < 0x80 => Some((byte.into(), at + 1)),
        _ => varint_at_long(bytes, at),
    }
}

/// As [`varint_at`], for integers that often have more than one byte.
#[inline(always)]
pub(crate) fn varint_at_short(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    match *bytes.get(at..at + 2)? {
        [first, _] if first < 0x80 => Some((first.into(), at + 1)),
        [first, second] if second < 0x80 && second > 0 => {
            Some((u64::from(first & 0x7f) | u64::from(second) << 7, at + 2))
        }
        _ => varint_at_long(bytes, at),
    }
}

/// Two integers, each mostly of one byte, and where they end.
#[inline(always)]
pub(crate) fn two_varints_at(bytes: &[u8], at: usize) -> Option<(u64, u64, usize)> {
    match *bytes.get(at..at + 2)? {
        [first, second] if (first | second) < 0x80 => Some((first.into(), second.into(), at + 2)),
        _ => two_varints_at_long(bytes, at),
    }
}

#[inline(never)]
fn varint_at_long(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut reader = Reader::starting(bytes, at);
    Some((reader.varint_long().ok()?, reader.position()))
}

#[inline(never)]
fn two_varints_at_long(bytes: &[u8], at: usize) -> Option<(u64, u64, usize)> {
    let (first, at) = varint_at_short(bytes, at)?;
    let (second, at) = varint_at(bytes, at)?;
    Some((first, second, at))
}

/// Reads fields off the front of a byte slice. Never panics, never reads past the end.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) const fn starting(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Returns how many bytes have been read.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Returns what has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// One byte.
    ///
    /// # Errors
    /// [`WireError::Truncated`] at the end.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, WireError> {
        let byte = *self.bytes.get(self.at).ok_or(WireError::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if there are fewer; then nothing was read.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        let end = self.at.checked_add(n).ok_or(WireError::Truncated)?;
        let taken = self.bytes.get(self.at..end).ok_or(WireError::Truncated)?;
        self.at = end;
        Ok(taken)
    }

    /// An integer in its shortest form.
    ///
    /// # Errors
    /// [`WireError::Truncated`] at the end, [`WireError::Integer`] if overlong or beyond 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireError> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            Some(_) => self.varint_long(),
            None => Err(WireError::Truncated),
        }
    }

    fn varint_long(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        let mut shift = 0;
        loop {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(WireError::Integer);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return if byte == 0 { Err(WireError::Integer) } else { Ok(value) };
            }
            shift += 7;
        }
    }

    /// An integer that must fit 32 bits.
    ///
    /// # Errors
    /// Those of [`varint`](Self::varint), and [`WireError::Integer`] beyond 32 bits.
    #[inline]
    pub fn varint_u32(&mut self) -> Result<u32, WireError> {
        u32::try_from(self.varint()?).map_err(|_| WireError::Integer)
    }

    /// A length (or count) that must not exceed what is left, and that many bytes.
    ///
    /// # Errors
    /// Those of [`varint`](Self::varint), and [`WireError::Truncated`] if fewer bytes are left.
    pub fn prefixed(&mut self) -> Result<&'a [u8], WireError> {
        let length = usize::try_from(self.varint()?).map_err(|_| WireError::Integer)?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_round_trip_in_one_way(value: u64, bits in 0u32..64) {
            let value = value >> bits;
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert!(reader.rest().is_empty());
            let end = out.len();
            prop_assert_eq!(varint_at(&out, 0), Some((value, end)));
            let more = [&out[..], &[0xff]].concat();
            prop_assert_eq!(varint_at_short(&more, 0), Some((value, end)));
            let twice = [&out[..], &out].concat();
            prop_assert_eq!(two_varints_at(&twice, 0), Some((value, value, 2 * end)));
            for cut in 0..out.len() {
                prop_assert_eq!(Reader::new(&out[..cut]).varint(), Err(WireError::Truncated));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(varint_at(&bytes, 0).map(|(value, _)| value), { reader }.varint().ok());
            if let Ok(value) = reader.varint() {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                prop_assert_eq!(&out[..], &bytes[..reader.position()]);
            }
        }

        #[test]
        fn zigzag_round_trips(value: i64) {
            prop_assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn overlong_and_too_large_are_refused() {
        assert_eq!(Reader::new(&[0x80, 0x00]).varint(), Err(WireError::Integer));
        let beyond = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(Reader::new(&beyond).varint(), Err(WireError::Integer));
        assert_eq!(Reader::new(&[0xff; 11]).varint(), Err(WireError::Integer));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).varint_u32(), Err(WireError::Integer));
    }
}
