//! `real` and `double precision`.
//!
//! With `extra_float_digits` above 0 (the default) the shortest digits that read back as the same number, laid out as
//! PostgreSQL does: plain from 1e-4 to below 1e15 (1e6 for real), else `1.5e+20`. Otherwise a number of significant
//! digits, as C's `%g` prints them.

use std::io::Write as _;

use crate::encoder::WriteValue;

/// The shortest digits that read back exactly.
pub(super) struct Shortest;

/// So many significant digits, of which trailing zeros are not printed.
pub(super) struct Rounded {
    /// Below 1 counts as 1.
    pub(super) digits: i32,
}

impl<F: Float> WriteValue<F> for Shortest {
    #[inline]
    fn write_value(&mut self, value: F, out: &mut Vec<u8>) {
        if write_special(value, out) {
            return;
        }
        let mut buffer = ryu::Buffer::new();
        let text = buffer.format_finite(value).as_bytes();
        if value.may_be_on_boundary()
            && let Some(decimal) = avoid_boundary(value, &Decimal::read(text))
        {
            decimal.write(F::PLAIN_DIGITS, out);
        } else if value.is_plain() {
            out.extend_from_slice(text.strip_suffix(b".0").unwrap_or(text));
        } else {
            Decimal::read(text).write(F::PLAIN_DIGITS, out);
        }
    }
}

impl<F: Float> WriteValue<F> for Rounded {
    fn write_value(&mut self, value: F, out: &mut Vec<u8>) {
        if write_special(value, out) {
            return;
        }
        let digits = self.digits.max(1);
        round_to(value, digits as usize).write(digits, out);
    }
}

/// `NaN` and the infinities; false for every other number.
#[inline]
fn write_special<F: Float>(value: F, out: &mut Vec<u8>) -> bool {
    if value.is_finite() {
        return false;
    }
    let text: &[u8] = match (value.is_nan(), value.is_negative()) {
        (true, _) => b"NaN",
        (false, false) => b"Infinity",
        (false, true) => b"-Infinity",
    };
    out.extend_from_slice(text);
    true
}

/// What the two widths do not share.
pub(super) trait Float: ryu::Float + ryu_finite::Finite + std::fmt::LowerExp + PartialEq + Copy {
    /// Numbers with at most so many digits before the point are printed without an exponent.
    const PLAIN_DIGITS: i32;

    fn is_nan(self) -> bool;
    fn is_negative(self) -> bool;
    /// Whether the number is printed without an exponent.
    fn is_plain(self) -> bool;
    /// Whether digits that fit in a number can lie exactly half way to its neighbour: only beyond the integers that are
    /// all representable, and not where even the shortest digits would have to be longer than they are.
    fn may_be_on_boundary(self) -> bool;
    /// The value as `mantissa * 2^exponent`, sign aside, and whether it is the first of its binade (and not the least).
    fn parts(self) -> (u64, i32, bool);
    fn reads_back(self, text: &str) -> bool;
}

/// `is_finite` for both widths, apart so that it does not collide with the inherent method.
mod ryu_finite {
    // The name and the receiver are those of the inherent methods, which take numbers by value.
    #[allow(clippy::wrong_self_convention)]
    pub(in crate::text_out) trait Finite {
        fn is_finite(self) -> bool;
    }
    impl Finite for f32 {
        #[inline]
        fn is_finite(self) -> bool {
            f32::is_finite(self)
        }
    }
    impl Finite for f64 {
        #[inline]
        fn is_finite(self) -> bool {
            f64::is_finite(self)
        }
    }
}

macro_rules! float {
    ($float:ty, $plain_digits:literal, $least:literal, $bound:literal, $mantissa_bits:literal, $bias:literal, $last:literal) => {
        impl Float for $float {
            const PLAIN_DIGITS: i32 = $plain_digits;

            #[inline]
            fn is_nan(self) -> bool {
                <$float>::is_nan(self)
            }
            #[inline]
            fn is_negative(self) -> bool {
                self.is_sign_negative()
            }
            #[inline]
            fn is_plain(self) -> bool {
                let size = self.abs();
                ($least..$bound).contains(&size) || size == 0.0
            }
            #[inline]
            fn may_be_on_boundary(self) -> bool {
                let size = self.abs();
                size >= (1_u64 << ($mantissa_bits + 1)) as $float && size < $last
            }
            fn parts(self) -> (u64, i32, bool) {
                let bits = u64::from(self.abs().to_bits());
                let mantissa = bits & ((1 << $mantissa_bits) - 1);
                match (bits >> $mantissa_bits) as i32 {
                    0 => (mantissa, 1 - $bias - $mantissa_bits, false),
                    exponent => {
                        let first = mantissa == 0 && exponent > 1;
                        (mantissa | 1 << $mantissa_bits, exponent - $bias - $mantissa_bits, first)
                    }
                }
            }
            fn reads_back(self, text: &str) -> bool {
                text.parse::<$float>() == Ok(self)
            }
        }
    };
}

float!(f32, 6, 1e-4, 1e6, 23, 127, 1e25);
float!(f64, 15, 1e-4, 1e15, 52, 1023, 1e41);

/// Significant digits and the exponent of the first of them.
struct Decimal {
    negative: bool,
    digits: [u8; MAX_DIGITS],
    length: usize,
    exponent: i32,
}

/// Enough for the exact value of `extra_float_digits = 0` and for the 17 digits of the shortest form.
const MAX_DIGITS: usize = 24;

impl Decimal {
    /// Reads what ryu and Rust's `{:e}` print.
    fn read(text: &[u8]) -> Decimal {
        let mut decimal = Decimal { negative: false, digits: [b'0'; MAX_DIGITS], length: 0, exponent: 0 };
        let mut point: Option<i32> = None;
        let mut seen = 0;
        let mut written_exponent = 0;
        let mut leading_zeros = 0;
        for (at, byte) in text.iter().enumerate() {
            match byte {
                b'-' => decimal.negative = true,
                b'.' => point = Some(seen),
                b'e' => {
                    let digits = std::str::from_utf8(&text[at + 1..]).unwrap_or_default();
                    written_exponent = digits.parse::<i32>().unwrap_or_default();
                    break;
                }
                digit => {
                    seen += 1;
                    if decimal.length == 0 && *digit == b'0' {
                        leading_zeros += 1;
                    } else if decimal.length < MAX_DIGITS {
                        decimal.digits[decimal.length] = *digit;
                        decimal.length += 1;
                    }
                }
            }
        }
        if decimal.length == 0 {
            decimal.length = 1;
        } else {
            decimal.exponent = point.unwrap_or(seen) - leading_zeros - 1 + written_exponent;
        }
        while decimal.length > 1 && decimal.digits[decimal.length - 1] == b'0' {
            decimal.length -= 1;
        }
        decimal
    }

    /// Writes the number, with an exponent unless it has at most `plain_digits` digits before the point and at most
    /// three zeros after it.
    fn write(&self, plain_digits: i32, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        let digits = &self.digits[..self.length];
        if self.exponent < -4 || self.exponent >= plain_digits {
            out.push(digits[0]);
            if digits.len() > 1 {
                out.push(b'.');
                out.extend_from_slice(&digits[1..]);
            }
            out.extend_from_slice(if self.exponent < 0 { b"e-" } else { b"e+" });
            let exponent = self.exponent.unsigned_abs();
            if exponent < 10 {
                out.push(b'0');
            }
            super::digits::push_integer(exponent, out);
        } else if self.exponent < 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (-self.exponent - 1) as usize, b'0');
            out.extend_from_slice(digits);
        } else {
            let whole = self.exponent as usize + 1;
            if digits.len() > whole {
                out.extend_from_slice(&digits[..whole]);
                out.push(b'.');
                out.extend_from_slice(&digits[whole..]);
            } else {
                out.extend_from_slice(digits);
                out.resize(out.len() + whole - digits.len(), b'0');
            }
        }
    }
}

/// A number rounded to so many significant digits.
fn round_to<F: Float>(value: F, digits: usize) -> Decimal {
    let mut buffer = [0_u8; 64];
    let mut rest = &mut buffer[..];
    let precision = digits.min(MAX_DIGITS) - 1;
    write!(rest, "{value:.precision$e}").expect("24 digits and an exponent fit in 64 bytes");
    let unused = rest.len();
    Decimal::read(&buffer[..64 - unused])
}

/// PostgreSQL never prints digits that lie exactly half way between a number and its neighbour, though they would read
/// back (round half to even); ryu does. When `shortest` is such, the digits PostgreSQL prints.
#[cold]
fn avoid_boundary<F: Float>(value: F, shortest: &Decimal) -> Option<Decimal> {
    if !is_boundary(value, shortest) {
        return None;
    }
    (shortest.length..=17).map(|digits| round_to(value, digits)).find(|decimal| {
        let mut text = Vec::with_capacity(32);
        decimal.write(0, &mut text);
        std::str::from_utf8(&text).is_ok_and(|text| value.reads_back(text)) && !is_boundary(value, decimal)
    })
}

/// Whether `digits * 10^k` equals `(2 * mantissa ± 1) * 2^(exponent - 1)`, compared by their odd parts.
fn is_boundary<F: Float>(value: F, decimal: &Decimal) -> bool {
    let ten_power = decimal.exponent - (decimal.length as i32 - 1);
    let Ok(ten_power) = u32::try_from(ten_power) else {
        return false;
    };
    let number = decimal.digits[..decimal.length].iter().fold(0_u64, |n, digit| n * 10 + u64::from(digit - b'0'));
    let twos = number.trailing_zeros();
    let Some(odd) = 5_u128.checked_pow(ten_power).and_then(|five| five.checked_mul(u128::from(number >> twos))) else {
        return false;
    };
    let power = (twos + ten_power) as i32;
    let (mantissa, exponent, first_of_binade) = value.parts();
    let mantissa = u128::from(mantissa);
    (power == exponent - 1 && (odd == 2 * mantissa + 1 || odd == 2 * mantissa - 1))
        || (first_of_binade && power == exponent - 2 && odd == 4 * mantissa - 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shortest<F: Float>(value: F) -> String {
        let mut out = Vec::new();
        Shortest.write_value(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn digits_half_way_to_a_neighbour_are_not_printed() {
        // ryu alone prints 1.801439850948201e+16, which is half way to the next number.
        assert_eq!(shortest(18_014_398_509_482_008_f64), "1.8014398509482008e+16");
        assert_eq!(shortest(1e23_f64), "9.999999999999999e+22");
        assert_eq!(shortest(2.0_f64.powi(64)), "1.8446744073709552e+19");
        assert_eq!(shortest(2.0_f32.powi(33)), "8.589935e+09");
    }

    #[test]
    fn the_point_moves_as_in_postgresql() {
        assert_eq!(shortest(1e14_f64), "100000000000000");
        assert_eq!(shortest(1e15_f64), "1e+15");
        assert_eq!(shortest(0.0001_f64), "0.0001");
        assert_eq!(shortest(0.00001_f64), "1e-05");
        assert_eq!(shortest(999_999.0_f32), "999999");
        assert_eq!(shortest(1e6_f32), "1e+06");
        assert_eq!(shortest(-0.0_f64), "-0");
        assert_eq!(shortest(5e-324_f64), "5e-324");
    }

    #[test]
    fn rounded_digits() {
        let rounded = |value: f64, digits: i32| {
            let mut out = Vec::new();
            Rounded { digits }.write_value(value, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(rounded(0.1 + 0.2, 15), "0.3");
        assert_eq!(rounded(1.0 / 3.0, 3), "0.333");
        assert_eq!(rounded(123_456.0, 3), "1.23e+05");
        assert_eq!(rounded(0.0, 15), "0");
        assert_eq!(rounded(99.99, 0), "1e+02");
    }
}
