//! Arithmetic on unscaled decimals that reading and writing share: powers of ten, rounding, PostgreSQL's scale of a
//! quotient.
//!
//! What always holds: rounding is half away from zero, as everywhere in PostgreSQL's `numeric`; nothing wraps.

use arrow::datatypes::i256;

use crate::mapping::NumericDisplay;

/// Powers of ten that an `i128` has.
pub(crate) const POWERS: [i128; 39] = {
    let mut powers = [1_i128; 39];
    let mut n = 1;
    while n < 39 {
        powers[n] = powers[n - 1] * 10;
        n += 1;
    }
    powers
};

/// The integers decimals are stored in.
pub(crate) trait Unscaled: Copy + PartialEq {
    const ZERO: Self;
    /// The most digits every number of which fits.
    const DIGITS: u32;

    fn is_negative(self) -> bool;
    fn negated(self) -> Self;
    /// Calls with the digits of the absolute value, in ASCII, without leading zeros (`0` for zero).
    fn with_digits<R>(self, f: impl FnOnce(&[u8]) -> R) -> R;
    fn power_of_ten(exponent: u32) -> Option<Self>;
    fn times(self, other: Self) -> Option<Self>;
    /// The quotient, rounded half away from zero; the divisor is positive.
    fn divided(self, divisor: Self) -> Self;
    /// How many digits the number has; 0 for zero.
    fn digit_count(self) -> u32;
}

impl Unscaled for i128 {
    const ZERO: Self = 0;
    const DIGITS: u32 = 38;

    #[inline]
    fn is_negative(self) -> bool {
        self < 0
    }
    #[inline]
    fn with_digits<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        let size = self.unsigned_abs();
        let mut buffer = itoa::Buffer::new();
        // Most decimals fit in 64 bits, where division is much faster.
        let digits = match u64::try_from(size) {
            Ok(size) => buffer.format(size),
            Err(_) => buffer.format(size),
        };
        f(digits.as_bytes())
    }
    fn negated(self) -> Self {
        self.wrapping_neg()
    }
    #[inline]
    fn power_of_ten(exponent: u32) -> Option<Self> {
        POWERS.get(exponent as usize).copied()
    }
    #[inline]
    fn times(self, other: Self) -> Option<Self> {
        self.checked_mul(other)
    }
    fn divided(self, divisor: Self) -> Self {
        let quotient = self / divisor;
        let remainder = (self % divisor).unsigned_abs();
        if remainder >= divisor.unsigned_abs().div_ceil(2) { quotient + self.signum() } else { quotient }
    }
    fn digit_count(self) -> u32 {
        self.unsigned_abs().checked_ilog10().map_or(0, |digits| digits + 1)
    }
}

impl Unscaled for i256 {
    const ZERO: Self = i256::ZERO;
    const DIGITS: u32 = 76;

    fn is_negative(self) -> bool {
        self < i256::ZERO
    }
    fn with_digits<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        const CHUNK: usize = 38;
        let mut buffer = [b'0'; 3 * CHUNK];
        // Taken apart with its sign, since the least number has no absolute value.
        let mut rest = self;
        for end in [3 * CHUNK, 2 * CHUNK, CHUNK] {
            let chunk = i256::from_i128(POWERS[CHUNK]);
            let mut itoa = itoa::Buffer::new();
            let digits = itoa.format((rest % chunk).as_i128().unsigned_abs()).as_bytes();
            buffer[end - digits.len()..end].copy_from_slice(digits);
            rest /= chunk;
        }
        let zeros = buffer.iter().take_while(|digit| **digit == b'0').count();
        f(&buffer[zeros.min(buffer.len() - 1)..])
    }
    fn negated(self) -> Self {
        self.wrapping_neg()
    }
    fn power_of_ten(exponent: u32) -> Option<Self> {
        if exponent > Self::DIGITS {
            return None;
        }
        let low = i256::from_i128(POWERS[exponent.min(38) as usize]);
        let high = i256::from_i128(POWERS[exponent.saturating_sub(38) as usize]);
        low.checked_mul(high)
    }
    fn times(self, other: Self) -> Option<Self> {
        self.checked_mul(other)
    }
    fn divided(self, divisor: Self) -> Self {
        let quotient = self / divisor;
        let remainder = (self % divisor).wrapping_abs();
        let half = divisor / i256::from_i128(2) + divisor % i256::from_i128(2);
        if remainder < half {
            quotient
        } else if self < i256::ZERO {
            quotient - i256::ONE
        } else {
            quotient + i256::ONE
        }
    }
    fn digit_count(self) -> u32 {
        let mut rest = self;
        let mut digits = 0;
        let chunk = i256::from_i128(POWERS[38]);
        while rest / chunk != i256::ZERO {
            rest /= chunk;
            digits += 38;
        }
        digits + rest.as_i128().digit_count()
    }
}

/// A value at another scale; `None` when it does not fit.
pub(crate) fn rescale<N: Unscaled>(value: N, from: i32, to: i32) -> Option<N> {
    if to >= from {
        if value == N::ZERO {
            return Some(value);
        }
        value.times(N::power_of_ten((to - from).unsigned_abs())?)
    } else {
        match N::power_of_ten((from - to).unsigned_abs()) {
            Some(divisor) => Some(value.divided(divisor)),
            // Divided by more than it can hold, nothing is left.
            None => Some(N::ZERO),
        }
    }
}

/// The scale PostgreSQL's division gives a quotient, from the quotient alone: sixteen significant digits, counted
/// in groups of four from the decimal point.
///
/// PostgreSQL compares the leading groups of dividend and divisor to guess the quotient's weight before it divides; for
/// a quotient that is exactly a power of 10,000 the groups are equal and it takes the lower weight, as here.
pub(crate) fn division_scale<N: Unscaled>(value: N, scale: i32) -> i32 {
    scale_by_weight(value, scale, 4)
}

/// The scale of the root of a quotient, from the root: that of the quotient, whose groups have twice as many digits.
fn root_scale<N: Unscaled>(value: N, scale: i32) -> i32 {
    scale_by_weight(value, scale, 2)
}

fn scale_by_weight<N: Unscaled>(value: N, scale: i32, group: i32) -> i32 {
    const SIGNIFICANT_DIGITS: i32 = 16;
    let digits = value.digit_count() as i32;
    // The power of ten of the first digit.
    let exponent = digits - 1 - scale;
    let mut weight = if digits == 0 { -1 } else { exponent.div_euclid(group) };
    if digits > 0 && exponent.rem_euclid(group) == 0 {
        let leading = N::power_of_ten((digits - 1).unsigned_abs());
        if leading.is_some_and(|power| value == power || value == power.negated()) {
            weight -= 1;
        }
    }
    (SIGNIFICANT_DIGITS - 4 * weight).clamp(0, 1000)
}

/// The digits after the point without zeros at the end.
fn significant_scale<N: Unscaled>(value: N, scale: i32) -> i32 {
    let zeros = value.with_digits(|digits| digits.iter().rev().take_while(|digit| **digit == b'0').count());
    (scale - zeros as i32).max(0)
}

/// How the decimals of a column are displayed: what text and binary output agree on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecimalDisplay {
    scale: i32,
    display: NumericDisplay,
}

impl DecimalDisplay {
    pub(crate) fn new(scale: i8, display: NumericDisplay) -> Self {
        DecimalDisplay { scale: i32::from(scale), display }
    }

    /// The scale of a value that is rounded already: more digits than it should have are those of a quotient whose weight
    /// PostgreSQL took to be less than it is.
    fn unless_zero<N: Unscaled>(&self, value: N, scale: i32, least: u8) -> i32 {
        if value == N::ZERO {
            return 0;
        }
        scale.max(significant_scale(value, self.scale)).max(i32::from(least).min(self.scale))
    }

    /// Whether zeros at the end of the fraction are left out.
    #[inline]
    pub(crate) fn trims(&self) -> bool {
        self.display == NumericDisplay::Trim
    }

    /// The value and scale to display: only quotients and what is made of them change.
    #[inline]
    pub(crate) fn apply<N: Unscaled>(&self, value: N) -> (N, i32) {
        let wanted = match self.display {
            NumericDisplay::Scale | NumericDisplay::Trim => return (value, self.scale),
            NumericDisplay::Division => division_scale(value, self.scale),
            NumericDisplay::Variance { least_scale } => {
                self.unless_zero(value, division_scale(value, self.scale), least_scale)
            }
            NumericDisplay::Deviation { least_scale } => {
                self.unless_zero(value, root_scale(value, self.scale), least_scale)
            }
        };
        match rescale(value, self.scale, wanted) {
            Some(rescaled) => (rescaled, wanted),
            // More zeros than the integer has room for: displayed as far as it goes.
            None => (value, self.scale),
        }
    }
}
