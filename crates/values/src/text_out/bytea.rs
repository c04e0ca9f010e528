//! `bytea` in its two forms.

use crate::encoder::WriteValue;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// `\x00ff`
pub(super) struct Hex;

impl WriteValue<&[u8]> for Hex {
    fn write_value(&mut self, value: &[u8], out: &mut Vec<u8>) {
        out.reserve(2 + value.len() * 2);
        out.extend_from_slice(b"\\x");
        out.extend(value.iter().flat_map(|byte| [HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]]));
    }
}

/// `\000\377`, printable ASCII as it is and the backslash doubled.
pub(super) struct Escape;

impl WriteValue<&[u8]> for Escape {
    fn write_value(&mut self, value: &[u8], out: &mut Vec<u8>) {
        out.reserve(value.len());
        for byte in value {
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                0x20..=0x7e => out.push(*byte),
                _ => out.extend_from_slice(&[b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]),
            }
        }
    }
}
