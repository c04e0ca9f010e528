//! `numeric` from unscaled integers, without a detour over strings.
//!
//! What always holds: the digits are exact; what differs between the displays is how many stand after the point.

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
    #[inline]
    fn write_value(&mut self, value: N, out: &mut Vec<u8>) {
        let (value, scale) = self.display.apply(value);
        if value.is_negative() {
            out.push(b'-');
        }
        let trim = self.display.trims();
        value.with_digits(|digits| place_point(digits, scale, trim, out));
    }
}

/// Appends digits with the point where the scale puts it, without the zeros at the end when asked.
#[inline]
fn place_point(digits: &[u8], scale: i32, trim: bool, out: &mut Vec<u8>) {
    if scale <= 0 {
        out.extend_from_slice(digits);
        if digits != b"0" {
            out.resize(out.len() + scale.unsigned_abs() as usize, b'0');
        }
        return;
    }
    let scale = scale as usize;
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(scale));
    out.extend_from_slice(if whole.is_empty() { b"0" } else { whole });
    let point = out.len();
    out.push(b'.');
    out.resize(out.len() + scale - fraction.len(), b'0');
    out.extend_from_slice(fraction);
    if trim {
        let kept = out[point + 1..].iter().rposition(|digit| *digit != b'0');
        out.truncate(kept.map_or(point, |last| point + 2 + last));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use arrow::datatypes::i256;

    fn print(value: i128, scale: i8, display: NumericDisplay) -> String {
        let mut narrow = Vec::new();
        Decimal::new(scale, display).write_value(value, &mut narrow);
        let mut wide = Vec::new();
        Decimal::new(scale, display).write_value(i256::from_i128(value), &mut wide);
        assert_eq!(narrow, wide);
        String::from_utf8(narrow).unwrap()
    }

    #[test]
    fn every_digit_of_the_scale_is_printed() {
        assert_eq!(print(12345, 2, NumericDisplay::Scale), "123.45");
        assert_eq!(print(-5, 2, NumericDisplay::Scale), "-0.05");
        assert_eq!(print(0, 2, NumericDisplay::Scale), "0.00");
        assert_eq!(print(7, 0, NumericDisplay::Scale), "7");
        assert_eq!(print(7, -3, NumericDisplay::Scale), "7000");
        assert_eq!(print(0, -3, NumericDisplay::Scale), "0");
        assert_eq!(print(10_i128.pow(38) - 1, 38, NumericDisplay::Scale), format!("0.{}", "9".repeat(38)));
    }

    #[test]
    fn trimmed_numbers_have_no_zeros_at_the_end() {
        assert_eq!(print(15_000, 4, NumericDisplay::Trim), "1.5");
        assert_eq!(print(10_000, 4, NumericDisplay::Trim), "1");
        assert_eq!(print(0, 16, NumericDisplay::Trim), "0");
        assert_eq!(print(1000, 0, NumericDisplay::Trim), "1000");
    }

    #[test]
    fn division_prints_sixteen_significant_digits_or_more() {
        let ten20 = 10_i128.pow(20);
        assert_eq!(print(ten20 / 3, 20, NumericDisplay::Division), "0.33333333333333333333");
        assert_eq!(print(25 * ten20 / 10, 20, NumericDisplay::Division), "2.5000000000000000");
        assert_eq!(print(ten20, 20, NumericDisplay::Division), "1.00000000000000000000");
        assert_eq!(print(38_273_129_734_621_672_291, 15, NumericDisplay::Division), "38273.129734621672");
        assert_eq!(print(0, 20, NumericDisplay::Division), "0.00000000000000000000");
    }

    #[test]
    fn deviations_have_the_scale_of_their_variance() {
        let ten20 = 10_i128.pow(20);
        let variance = |value, least_scale| print(value, 20, NumericDisplay::Variance { least_scale });
        let deviation = |value, least_scale| print(value, 24, NumericDisplay::Deviation { least_scale });
        assert_eq!(variance(20_000 * ten20, 0), "20000.000000000000");
        assert_eq!(deviation(141_421_356_237_310 * 10_i128.pow(12), 4), "141.421356237310");
        assert_eq!(variance(5 * 10_i128.pow(13), 0), "0.000000500000000000000000");
        assert_eq!(deviation(5 * ten20, 0), "0.000500000000000000000000");
        assert_eq!(deviation(10_000 * ten20, 0), "1.00000000000000000000");
        assert_eq!(deviation(1_000_000 * ten20, 0), "100.0000000000000000");
        assert_eq!(deviation(1_004_091_629_284_897_485 * 10_i128.pow(8), 0), "100.4091629284897485");
        assert_eq!(deviation(4_972_446_900_122_115 * 10_i128.pow(13), 12), "49724.469001221150");
        assert_eq!((variance(0, 12), deviation(0, 0)), ("0".to_owned(), "0".to_owned()));
    }

    #[test]
    fn wide_decimals() {
        let mut out = Vec::new();
        let value = i256::from_string(&"123456789".repeat(8)).unwrap();
        Decimal::new(10, NumericDisplay::Scale).write_value(value, &mut out);
        let text = "123456789".repeat(8);
        let (whole, fraction) = text.split_at(62);
        assert_eq!(String::from_utf8(out).unwrap(), format!("{whole}.{fraction}"));
        let mut out = Vec::new();
        Decimal::new(0, NumericDisplay::Scale).write_value(i256::MIN, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), i256::MIN.to_string());
    }
}
