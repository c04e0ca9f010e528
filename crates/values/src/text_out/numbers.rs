//! Booleans, integers and UUIDs that are stored as bytes.

use super::digits::push_integer;
use crate::encoder::WriteValue;

/// `t` and `f`.
pub(super) struct Boolean;

impl WriteValue<bool> for Boolean {
    #[inline]
    fn write_value(&mut self, value: bool, out: &mut Vec<u8>) {
        out.push(if value { b't' } else { b'f' });
    }
}

/// Integers of every width.
pub(super) struct Integer;

impl<N: itoa::Integer> WriteValue<N> for Integer {
    #[inline]
    fn write_value(&mut self, value: N, out: &mut Vec<u8>) {
        push_integer(value, out);
    }
}

/// A UUID from its 16 bytes.
pub(super) struct UuidBytes;

impl WriteValue<&[u8]> for UuidBytes {
    fn write_value(&mut self, value: &[u8], out: &mut Vec<u8>) {
        let id = uuid::Uuid::from_slice(value).unwrap_or_default();
        out.extend_from_slice(id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).as_bytes());
    }
}
