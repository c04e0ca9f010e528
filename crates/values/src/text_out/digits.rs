//! Small unsigned numbers with leading zeros, two digits at a time.

const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// The two digits of a number below 100.
#[inline]
pub(super) fn pair(value: u32) -> [u8; 2] {
    let at = value as usize * 2;
    [PAIRS[at], PAIRS[at + 1]]
}

/// Appends a number below 100 as two digits.
#[inline]
pub(super) fn push_pair(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&pair(value));
}

/// Appends a number in decimal.
#[inline]
pub(super) fn push_integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a year: four digits at least.
#[inline]
pub(super) fn push_year(year: u32, out: &mut Vec<u8>) {
    if year < 10_000 {
        let high = pair(year / 100);
        let low = pair(year % 100);
        out.extend_from_slice(&[high[0], high[1], low[0], low[1]]);
    } else {
        push_integer(year, out);
    }
}

/// Appends the fraction of a second, below 1,000,000 microseconds, with its point and without trailing zeros;
/// nothing when it is zero.
#[inline]
pub(super) fn push_fraction(micros: u32, out: &mut Vec<u8>) {
    if micros == 0 {
        return;
    }
    let (a, b, c) = (pair(micros / 10_000), pair(micros / 100 % 100), pair(micros % 100));
    let digits = [b'.', a[0], a[1], b[0], b[1], c[0], c[1]];
    let length = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    out.extend_from_slice(&digits[..length]);
}

/// Appends `hh:mm:ss` and the fraction of a time of day.
#[inline]
pub(super) fn push_time(micros_of_day: i64, out: &mut Vec<u8>) {
    let seconds = (micros_of_day / 1_000_000) as u32;
    let micros = (micros_of_day % 1_000_000) as u32;
    let (h, m, s) = (pair(seconds / 3600), pair(seconds / 60 % 60), pair(seconds % 60));
    out.extend_from_slice(&[h[0], h[1], b':', m[0], m[1], b':', s[0], s[1]]);
    push_fraction(micros, out);
}
