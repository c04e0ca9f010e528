//! The numbers inside dates, times and intervals.
//!
//! What always holds: a number too large for its place is a field overflow, anything else that does not fit is bad
//! format, as in PostgreSQL, which makes two different errors of them.

use super::error::DecodeError::{self, BadFormat, FieldOverflow};
use super::error::Step;
use crate::time_zone::MAX_OFFSET_HOURS;

/// Hours, minutes and seconds with colons between them.
#[derive(Clone, Copy, Debug)]
pub(in crate::text_in) struct Clock {
    pub(in crate::text_in) hour: i64,
    pub(in crate::text_in) minute: i32,
    pub(in crate::text_in) second: i32,
    pub(in crate::text_in) micro: i32,
}

/// Reads `hh:mm`, `hh:mm:ss`, `hh:mm:ss.f` and `mm:ss.f`; the hour has no upper limit here.
pub(in crate::text_in) fn read_clock(text: &str) -> Step<Clock> {
    let (hour, rest) = leading_integer::<i64>(text)?;
    let rest = rest.strip_prefix(':').ok_or(BadFormat)?;
    let (minute, rest) = leading_integer::<i32>(rest)?;
    let mut clock = Clock { hour, minute, second: 0, micro: 0 };
    if rest.starts_with('.') {
        // Two numbers and a fraction are minutes and seconds.
        clock.micro = fraction_micros(rest)?;
        clock.second = clock.minute;
        clock.minute = i32::try_from(hour).map_err(|_| FieldOverflow)?;
        clock.hour = 0;
    } else if let Some(rest) = rest.strip_prefix(':') {
        let (second, rest) = leading_integer::<i32>(rest)?;
        clock.second = second;
        if rest.starts_with('.') {
            clock.micro = fraction_micros(rest)?;
        } else if !rest.is_empty() {
            return Err(BadFormat);
        }
    } else if !rest.is_empty() {
        return Err(BadFormat);
    }
    let fits = clock.hour >= 0
        && (0..60).contains(&clock.minute)
        && (0..=60).contains(&clock.second)
        && (0..=1_000_000).contains(&clock.micro);
    if fits { Ok(clock) } else { Err(FieldOverflow) }
}

/// Reads `+hh`, `+hhmm`, `+hh:mm`, `+hh:mm:ss` into seconds east of UTC.
pub(in crate::text_in) fn offset(text: &str) -> Step<i32> {
    let overflow = |error| {
        if error == FieldOverflow { DecodeError::OffsetOverflow } else { error }
    };
    let west = match text.as_bytes().first() {
        Some(b'+') => false,
        Some(b'-') => true,
        _ => return Err(BadFormat),
    };
    let (mut hours, mut rest) = leading_integer::<i32>(&text[1..]).map_err(overflow)?;
    let (mut minutes, mut seconds) = (0, 0);
    if let Some(tail) = rest.strip_prefix(':') {
        (minutes, rest) = leading_integer::<i32>(tail).map_err(overflow)?;
        if let Some(tail) = rest.strip_prefix(':') {
            (seconds, rest) = leading_integer::<i32>(tail).map_err(overflow)?;
        }
    } else if rest.is_empty() && text.len() > 3 {
        minutes = hours % 100;
        hours /= 100;
    }
    if !(0..=MAX_OFFSET_HOURS).contains(&hours) || !(0..60).contains(&minutes) || !(0..60).contains(&seconds) {
        return Err(DecodeError::OffsetOverflow);
    }
    if !rest.is_empty() {
        return Err(BadFormat);
    }
    let size = hours * 3600 + minutes * 60 + seconds;
    Ok(if west { -size } else { size })
}

/// The number a text begins with, with its sign (0 when it begins with none, as C has it), and what follows.
pub(in crate::text_in) fn leading_integer<N>(text: &str) -> Step<(N, &str)>
where
    N: std::str::FromStr + From<u8>,
{
    let sign = usize::from(text.starts_with(['+', '-']));
    let end = text[sign..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |digits| sign + digits);
    if end == sign {
        return Ok((N::from(0), text));
    }
    let value = text[..end].parse::<N>().map_err(|_| FieldOverflow)?;
    Ok((value, &text[end..]))
}

/// A text of nothing but digits.
pub(super) fn integer(text: &str) -> Step<i32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadFormat);
    }
    text.parse().map_err(|_| FieldOverflow)
}

/// Digits of any number, kept as far as C's `atoi` keeps them: a year too long is out of range in any case.
pub(super) fn wrapping_integer(text: &str) -> i32 {
    text.parse::<i64>().unwrap_or(i64::MAX) as i32
}

/// `.digits` as a number below 1.
pub(in crate::text_in) fn parse_fraction(text: &str) -> Step<f64> {
    match text.strip_prefix('.') {
        Some("") => Ok(0.0),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().map_err(|_| BadFormat),
        _ => Err(BadFormat),
    }
}

/// `.digits` in microseconds, rounded.
pub(in crate::text_in) fn fraction_micros(text: &str) -> Step<i32> {
    Ok((parse_fraction(text)? * 1e6).round_ties_even() as i32)
}
