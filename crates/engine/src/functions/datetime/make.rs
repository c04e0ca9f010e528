//! Dates, times and intervals from numbers (chapter 9.9 of PostgreSQL's manual): `make_date`, `make_time`,
//! `make_timestamp`, `make_timestamptz`, `make_interval`, `to_timestamp(double precision)`.

use arrow::array::ArrayRef;
use arrow::datatypes::{
    Date32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use wharf_values::{SqlError, SqlState};

use super::calendar::{
    USECS_PER_DAY, USECS_PER_HOUR, USECS_PER_MINUTE, USECS_PER_SEC, checked_date, checked_timestamp, days_from_civil,
    days_in_month, interval_out_of_range, timestamp_of,
};
use super::zone::{find_zone, local_to_utc};
use crate::functions::call::{Call, Result};
use crate::functions::overload::{Declaration, immutable, stable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("make_date", "int4, int4, int4 -> date", make_date),
    immutable("make_time", "int4, int4, float8 -> time", make_time),
    immutable("make_timestamp", "int4, int4, int4, int4, int4, float8 -> timestamp", make_timestamp),
    stable("make_timestamptz", "int4, int4, int4, int4, int4, float8 -> timestamptz", make_timestamptz),
    stable("make_timestamptz", "int4, int4, int4, int4, int4, float8, text -> timestamptz", make_timestamptz),
    immutable("make_interval", "-> interval", make_interval),
    immutable("make_interval", "int4 -> interval", make_interval),
    immutable("make_interval", "int4, int4 -> interval", make_interval),
    immutable("make_interval", "int4, int4, int4 -> interval", make_interval),
    immutable("make_interval", "int4, int4, int4, int4 -> interval", make_interval),
    immutable("make_interval", "int4, int4, int4, int4, int4 -> interval", make_interval),
    immutable("make_interval", "int4, int4, int4, int4, int4, int4 -> interval", make_interval),
    immutable("make_interval", "int4, int4, int4, int4, int4, int4, float8 -> interval", make_interval),
    immutable("to_timestamp", "float8 -> timestamptz", to_timestamp),
];

fn overflow(message: String) -> SqlError {
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
}

/// The day of a year as people write it: negative years are before Christ, there is no year 0.
fn day(year: i32, month: i32, day: i32) -> Result<i64> {
    let error = || overflow(format!("date field value out of range: {year}-{month:02}-{day:02}"));
    if year == 0 {
        return Err(error());
    }
    let astronomical = if year < 0 { i64::from(year) + 1 } else { i64::from(year) };
    let month_number = u32::try_from(month).ok().filter(|month| (1..=12).contains(month)).ok_or_else(error)?;
    let last = days_in_month(astronomical, month_number);
    let day_number = u32::try_from(day).ok().filter(|day| (1..=last).contains(day)).ok_or_else(error)?;
    let days = days_from_civil(astronomical, month_number, day_number);
    checked_date(days).map(i64::from).map_err(|_| overflow(format!("date out of range: {year}-{month:02}-{day:02}")))
}

/// A time of day in microseconds, 24:00:00 at most.
fn time(hour: i32, minute: i32, second: f64) -> Result<i64> {
    let error = || overflow(format!("time field value out of range: {hour}:{minute:02}:{}", seconds_text(second)));
    let fits = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60.0).contains(&second);
    if !fits {
        return Err(error());
    }
    let micros = (second * USECS_PER_SEC as f64).round_ties_even() as i64;
    let time = i64::from(hour) * USECS_PER_HOUR + i64::from(minute) * USECS_PER_MINUTE + micros;
    if time > USECS_PER_DAY { Err(error()) } else { Ok(time) }
}

/// Seconds as C's `%02g` prints them.
fn seconds_text(second: f64) -> String {
    let rounded = (second * 1e4).round() / 1e4;
    if rounded.fract() == 0.0 { format!("{rounded:02.0}") } else { format!("{rounded}") }
}

fn make_date(call: &Call<'_>) -> Result<ArrayRef> {
    let (year, month, days) = (call.int4(0)?, call.int4(1)?, call.int4(2)?);
    call.make::<Date32Type>(|row| day(year.at(row), month.at(row), days.at(row)).map(|days| days as i32))
}

fn make_time(call: &Call<'_>) -> Result<ArrayRef> {
    let (hour, minute, second) = (call.int4(0)?, call.int4(1)?, call.float8(2)?);
    call.make::<Time64MicrosecondType>(|row| time(hour.at(row), minute.at(row), second.at(row)))
}

/// The timestamp of the first six arguments.
fn timestamp_argument<'a>(call: &'a Call<'_>) -> Result<impl Fn(usize) -> Result<i64> + 'a> {
    let (year, month, days) = (call.int4(0)?, call.int4(1)?, call.int4(2)?);
    let (hour, minute, second) = (call.int4(3)?, call.int4(4)?, call.float8(5)?);
    Ok(move |row| {
        let days = day(year.at(row), month.at(row), days.at(row))?;
        timestamp_of(days, time(hour.at(row), minute.at(row), second.at(row))?)
    })
}

fn make_timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    let timestamp = timestamp_argument(call)?;
    call.make::<TimestampMicrosecondType>(timestamp)
}

fn make_timestamptz(call: &Call<'_>) -> Result<ArrayRef> {
    let timestamp = timestamp_argument(call)?;
    if call.len() == 7 {
        let zone = call.text(6)?;
        return call.make::<TimestampMicrosecondType>(|row| local_to_utc(&find_zone(zone.at(row))?, timestamp(row)?));
    }
    let zone = call.text_format().time_zone;
    call.make::<TimestampMicrosecondType>(|row| local_to_utc(&zone, timestamp(row)?))
}

fn make_interval(call: &Call<'_>) -> Result<ArrayRef> {
    let parts = (0..call.len().min(6)).map(|index| call.int4(index)).collect::<Result<Vec<_>>>()?;
    let seconds = if call.len() == 7 { Some(call.float8(6)?) } else { None };
    call.make::<IntervalMonthDayNanoType>(|row| {
        let part = |index: usize| i64::from(parts.get(index).map_or(0, |part| part.at(row)));
        let seconds = seconds.map_or(0.0, |seconds| seconds.at(row));
        let nanos = (seconds * 1e6).round_ties_even() * 1e3;
        // The largest i64 is not a double; the next smaller one is well inside.
        if !nanos.is_finite() || nanos.abs() >= 9.2e18 {
            return Err(interval_out_of_range());
        }
        let time = part(4) * USECS_PER_HOUR + part(5) * USECS_PER_MINUTE;
        time.checked_mul(1000)
            .and_then(|time| time.checked_add(nanos as i64))
            .zip(i32::try_from(part(0) * 12 + part(1)).ok())
            .zip(i32::try_from(part(2) * 7 + part(3)).ok())
            .map(|((nanos, months), days)| IntervalMonthDayNano::new(months, days, nanos))
            .ok_or_else(interval_out_of_range)
    })
}

/// Between the epochs of Unix and of PostgreSQL.
const POSTGRES_EPOCH_SECONDS: i64 = 946_684_800;

/// Computed as PostgreSQL does, from its own epoch, so that the same doubles round to the same microseconds.
fn to_timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    let seconds = call.float8(0)?;
    call.make::<TimestampMicrosecondType>(|row| {
        let seconds = seconds.at(row);
        if seconds.is_nan() {
            return Err(SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "timestamp cannot be NaN"));
        }
        if seconds.is_infinite() {
            return Ok(if seconds < 0.0 { i64::MIN } else { i64::MAX });
        }
        let error = || overflow(format!("timestamp out of range: \"{}\"", general(seconds)));
        let micros = ((seconds - POSTGRES_EPOCH_SECONDS as f64) * 1e6).round_ties_even();
        if micros.abs() >= 9.22e18 {
            return Err(error());
        }
        let timestamp = (micros as i64).checked_add(POSTGRES_EPOCH_SECONDS * USECS_PER_SEC).ok_or_else(error)?;
        checked_timestamp(timestamp).map_err(|_| error())
    })
}

/// A double as C's `%g` prints it.
fn general(value: f64) -> String {
    let exponent = value.abs().log10().floor() as i32;
    if !(-5..6).contains(&exponent) {
        let text = format!("{value:.5e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let digits = digits.trim_end_matches('0').trim_end_matches('.');
        let exponent = exponent.parse::<i32>().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let text = format!("{value:.*}", (5 - exponent).max(0) as usize);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
