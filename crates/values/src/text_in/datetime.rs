//! `date`, `time`, `timestamp` and `timestamptz`.
//!
//! What always holds: ISO text (`2001-02-03 04:05:06.789+01`) is read from the bytes here; every other form
//! PostgreSQL knows goes to [`decode`]. Where both could read a text they agree. Results are in range:
//! `22008` otherwise, `22007` for bad syntax.

mod decode;
pub(super) mod error;
pub(super) mod fields;
pub(super) mod numbers;
mod state;
mod state_words;
pub(super) mod words;

use self::decode::{decode_date_time, decode_time_only};
use self::error::DecodeError;
use self::fields::{DATE_ROOM, TIMESTAMP_ROOM, split};
use self::state::{Context, Decoded, Moment};
use super::shown;
use crate::calendar::{
    MAX_DATE, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, MIN_DATE, days_from_civil, days_in_month,
    timestamp_from_parts,
};
use crate::error::{SqlError, SqlState};
use crate::format::{DateOrder, TextFormat};
use crate::time_zone::TimeZone;

/// Reads the values of one column.
pub(crate) struct Reader {
    order: DateOrder,
    zone: TimeZone,
    constant_offset: Option<i32>,
    now: Option<i64>,
}

impl Reader {
    pub(crate) fn new(format: &TextFormat) -> Self {
        Reader {
            order: format.date_style.order,
            constant_offset: format.time_zone.constant_offset(),
            zone: format.time_zone.clone(),
            now: format.now,
        }
    }

    /// Days since 1970-01-01; infinity is the largest and smallest number.
    #[inline]
    pub(crate) fn date(&self, text: &[u8]) -> Result<i32, SqlError> {
        if text.len() == 10
            && let Some((days, _)) = iso_date(text)
        {
            return Ok(days as i32);
        }
        self.date_slowly(text)
    }

    #[cold]
    fn date_slowly(&self, text: &[u8]) -> Result<i32, SqlError> {
        let decoded = split(text, DATE_ROOM)
            .ok_or(DecodeError::BadFormat)
            .and_then(|fields| decode_date_time(&fields, &self.context()))
            .map_err(|error| error.into_sql(text, "date"))?;
        let days = match decoded {
            Decoded::Infinity => return Ok(i32::MAX),
            Decoded::MinusInfinity => return Ok(i32::MIN),
            Decoded::Epoch => 0,
            Decoded::Moment(moment) => moment.days(),
        };
        if (MIN_DATE..=MAX_DATE).contains(&days) { Ok(days as i32) } else { Err(out_of_range("date", text)) }
    }

    /// Microseconds since midnight.
    #[inline]
    pub(crate) fn time(&self, text: &[u8]) -> Result<i64, SqlError> {
        match iso_time(text) {
            Some((micros, [])) => Ok(micros),
            _ => self.time_slowly(text),
        }
    }

    #[cold]
    fn time_slowly(&self, text: &[u8]) -> Result<i64, SqlError> {
        split(text, DATE_ROOM)
            .ok_or(DecodeError::BadFormat)
            .and_then(|fields| decode_time_only(&fields, &self.context()))
            .map(|moment| moment.micros_of_day())
            .map_err(|error| error.into_sql(text, "time"))
    }

    /// Microseconds since 1970-01-01 by the clock on the wall; an offset in the text is read and ignored.
    #[inline]
    pub(crate) fn timestamp(&self, text: &[u8]) -> Result<i64, SqlError> {
        match iso_timestamp(text) {
            Some((days, micros, rest)) if rest.is_empty() || iso_offset(rest).is_some() => {
                timestamp_from_parts(days, micros).ok_or_else(|| out_of_range("timestamp", text))
            }
            _ => self.timestamp_slowly(text, false),
        }
    }

    /// Microseconds since 1970-01-01 UTC; without an offset in the text, in the session's time zone.
    #[inline]
    pub(crate) fn timestamptz(&self, text: &[u8]) -> Result<i64, SqlError> {
        if let Some((days, micros, rest)) = iso_timestamp(text) {
            let offset = if rest.is_empty() {
                let local = days * 86_400 + micros / MICROS_PER_SECOND;
                Some(self.constant_offset.unwrap_or_else(|| self.zone.offset_at_local(local)))
            } else {
                iso_offset(rest)
            };
            if let Some(offset) = offset {
                return timestamp_from_parts(days, micros - i64::from(offset) * MICROS_PER_SECOND)
                    .ok_or_else(|| out_of_range("timestamp", text));
            }
        }
        self.timestamp_slowly(text, true)
    }

    #[cold]
    fn timestamp_slowly(&self, text: &[u8], with_zone: bool) -> Result<i64, SqlError> {
        let type_name = if with_zone { "timestamp with time zone" } else { "timestamp" };
        let decoded = split(text, TIMESTAMP_ROOM)
            .ok_or(DecodeError::BadFormat)
            .and_then(|fields| decode_date_time(&fields, &self.context()))
            .map_err(|error| error.into_sql(text, type_name))?;
        match decoded {
            Decoded::Infinity => Ok(i64::MAX),
            Decoded::MinusInfinity => Ok(i64::MIN),
            Decoded::Epoch => Ok(0),
            Decoded::Moment(moment) => {
                let offset = if with_zone { i64::from(moment.offset) * MICROS_PER_SECOND } else { 0 };
                timestamp_from_parts(moment.days(), moment.micros_of_day() - offset)
                    .ok_or_else(|| out_of_range("timestamp", text))
            }
        }
    }

    fn context(&self) -> Context<'_> {
        Context { order: self.order, zone: &self.zone, now: self.now }
    }
}

fn out_of_range(what: &str, text: &[u8]) -> SqlError {
    SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, format!("{what} out of range: \"{}\"", shown(text)))
}

impl Moment {
    fn days(&self) -> i64 {
        days_from_civil(self.year, self.month as u32, i64::from(self.day))
    }

    fn micros_of_day(&self) -> i64 {
        i64::from(self.hour) * MICROS_PER_HOUR
            + i64::from(self.minute) * MICROS_PER_MINUTE
            + i64::from(self.second) * MICROS_PER_SECOND
            + i64::from(self.micro)
    }
}

/// The number of two digits.
#[inline]
fn two(a: u8, b: u8) -> Option<u32> {
    let (a, b) = (a.wrapping_sub(b'0'), b.wrapping_sub(b'0'));
    (a <= 9 && b <= 9).then(|| u32::from(a) * 10 + u32::from(b))
}

/// `yyyy-mm-dd` of a valid date after year 0, in days since 1970-01-01, and what follows it.
#[inline]
fn iso_date(text: &[u8]) -> Option<(i64, &[u8])> {
    let [a, b, c, d, b'-', e, f, b'-', g, h, rest @ ..] = text else {
        return None;
    };
    let year = two(*a, *b)? * 100 + two(*c, *d)?;
    let (month, day) = (two(*e, *f)?, two(*g, *h)?);
    let valid = year > 0 && (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year as i32, month);
    valid.then(|| (days_from_civil(year as i32, month, i64::from(day)), rest))
}

/// `hh:mm:ss` with at most six digits of fraction, in microseconds, and what follows it.
#[inline]
fn iso_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let [a, b, b':', c, d, b':', e, f, rest @ ..] = text else {
        return None;
    };
    let (hour, minute, second) = (two(*a, *b)?, two(*c, *d)?, two(*e, *f)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut micros = i64::from(hour * 3600 + minute * 60 + second) * MICROS_PER_SECOND;
    let mut rest = rest;
    if let [b'.', digits @ ..] = rest {
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 || count > 6 {
            return None;
        }
        let fraction = digits[..count].iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0'));
        micros += fraction * [100_000, 10_000, 1_000, 100, 10, 1][count - 1];
        rest = &digits[count..];
    }
    Some((micros, rest))
}

/// A date, and perhaps a time after a blank or a `T`: days, microseconds of the day, and what follows.
#[inline]
fn iso_timestamp(text: &[u8]) -> Option<(i64, i64, &[u8])> {
    let (days, rest) = iso_date(text)?;
    match rest {
        [] => Some((days, 0, rest)),
        [b' ' | b'T', time @ ..] => {
            let (micros, rest) = iso_time(time)?;
            Some((days, micros, rest))
        }
        _ => None,
    }
}

/// `Z`, `+hh` or `+hh:mm`, in seconds east of UTC.
#[inline]
fn iso_offset(text: &[u8]) -> Option<i32> {
    let (sign, hours, minutes) = match text {
        b"Z" => return Some(0),
        [sign, a, b] => (sign, two(*a, *b)?, 0),
        [sign, a, b, b':', c, d] => (sign, two(*a, *b)?, two(*c, *d)?),
        _ => return None,
    };
    if hours > 15 || minutes > 59 {
        return None;
    }
    let seconds = (hours * 3600 + minutes * 60) as i32;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}
