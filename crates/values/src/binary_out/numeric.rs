//! `numeric` in binary: digits in base 10,000, the weight of the first of them, the sign and the display scale.

use crate::decimal::{DecimalDisplay, Unscaled};
use crate::encoder::WriteValue;
use crate::mapping::NumericDisplay;

/// Writes decimals of one scale.
pub(super) struct Decimal {
    display: DecimalDisplay,
}

impl Decimal {
    pub(super) fn new(scale: i8, display: NumericDisplay) -> Self {
        Decimal { display: DecimalDisplay::new(scale, display) }
    }
}

impl<N: Unscaled> WriteValue<N> for Decimal {
    fn write_value(&mut self, value: N, out: &mut Vec<u8>) {
        let (value, scale) = self.display.apply(value);
        let trim = self.display.trims();
        let negative = value.is_negative();
        value.with_digits(|digits| write_groups(digits, negative, scale, trim, out));
    }
}

/// Writes a number of so many digits after the point.
fn write_groups(digits: &[u8], negative: bool, scale: i32, trim: bool, out: &mut Vec<u8>) {
    let kept = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    let zeros = (digits.len() - kept) as i32;
    let display_scale = match (trim, kept) {
        (true, 0) => 0,
        (true, _) => (scale - zeros).max(0),
        (false, _) => scale.max(0),
    };
    let digits = &digits[..kept];
    // The power of ten of the first digit says how many digits the first group has.
    let exponent = kept as i32 + zeros - 1 - scale;
    let first = (exponent.rem_euclid(4) + 1) as usize;
    let weight = if kept == 0 { 0 } else { exponent.div_euclid(4) };
    let groups = if kept == 0 { 0 } else { 1 + kept.saturating_sub(first).div_ceil(4) };
    let sign: u16 = if negative { 0x4000 } else { 0 };
    out.extend_from_slice(&(groups as i16).to_be_bytes());
    out.extend_from_slice(&(weight as i16).to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&(display_scale as u16).to_be_bytes());
    let (head, tail) = digits.split_at(first.min(kept));
    if kept > 0 {
        push_group(head, first, out);
    }
    for group in tail.chunks(4) {
        push_group(group, 4, out);
    }
}

/// Writes a group; digits that are not there are zeros.
#[inline]
fn push_group(digits: &[u8], width: usize, out: &mut Vec<u8>) {
    let value = digits.iter().fold(0_u16, |value, digit| value * 10 + u16::from(digit - b'0'));
    let value = value * [1, 10, 100, 1000][width - digits.len()];
    out.extend_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(value: i128, scale: i8, display: NumericDisplay) -> Vec<i16> {
        let mut out = Vec::new();
        Decimal::new(scale, display).write_value(value, &mut out);
        out.chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect()
    }

    #[test]
    fn groups_are_aligned_on_the_point() {
        assert_eq!(send(12345, 2, NumericDisplay::Scale), [2, 0, 0, 2, 123, 4500]);
        assert_eq!(send(-5, 2, NumericDisplay::Scale), [1, -1, 0x4000, 2, 500]);
        assert_eq!(send(0, 2, NumericDisplay::Scale), [0, 0, 0, 2]);
        assert_eq!(send(100_000_000, 0, NumericDisplay::Scale), [1, 2, 0, 0, 1]);
        assert_eq!(send(15_000, 4, NumericDisplay::Trim), [2, 0, 0, 1, 1, 5000]);
        assert_eq!(send(7, -3, NumericDisplay::Scale), [1, 0, 0, 0, 7000]);
        assert_eq!(send(1, 9, NumericDisplay::Scale), [1, -3, 0, 9, 1000]);
    }
}
