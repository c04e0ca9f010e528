//! Time zones for functions: local times to instants and back, `AT TIME ZONE`.
//!
//! What always holds: a local time that a change to summer time skips is read with the offset before the change, one
//! that occurs twice with the offset after it (standard time), as PostgreSQL does. Infinity stays infinity.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray, TimestampMicrosecondArray};
use arrow::datatypes::{IntervalMonthDayNano, TimestampMicrosecondType};
use wharf_catalog::SqlType;
use wharf_values::{DateOrder, DateOutput, DateStyle, TextFormat, TimeZone, text_in, text_out};

use super::calendar::{USECS_PER_SEC, checked_timestamp, is_infinite, timestamp_out_of_range};
use crate::functions::call::{Call, Result, invalid_parameter};
use crate::functions::overload::{Declaration, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("timezone", "text, timestamp -> timestamptz", timestamp_at_zone),
    immutable("timezone", "text, timestamptz -> timestamp", timestamptz_at_zone),
    immutable("timezone", "interval, timestamp -> timestamptz", timestamp_at_interval),
    immutable("timezone", "interval, timestamptz -> timestamp", timestamptz_at_interval),
];

/// The offset of a zone from UTC at an instant, in microseconds, positive in the east.
pub(in crate::functions) fn utc_offset(zone: &TimeZone, utc: i64) -> i64 {
    i64::from(zone.offset_at_utc(utc.div_euclid(USECS_PER_SEC))) * USECS_PER_SEC
}

/// The local time of an instant.
pub(in crate::functions) fn utc_to_local(zone: &TimeZone, utc: i64) -> Result<i64> {
    if is_infinite(utc) {
        return Ok(utc);
    }
    utc.checked_add(utc_offset(zone, utc)).ok_or_else(timestamp_out_of_range)
}

/// The instant of a local time.
pub(in crate::functions) fn local_to_utc(zone: &TimeZone, local: i64) -> Result<i64> {
    if is_infinite(local) {
        return Ok(local);
    }
    let offset = i64::from(zone.offset_at_local(local.div_euclid(USECS_PER_SEC))) * USECS_PER_SEC;
    local.checked_sub(offset).ok_or_else(timestamp_out_of_range).and_then(checked_timestamp)
}

/// The zone that a function was given by name: an abbreviation, a name of the time zone database, or a POSIX
/// specification, which counts offsets to the west (`+03` is three hours behind UTC).
///
/// # Errors
/// `22023` when there is none.
pub(in crate::functions) fn find_zone(name: &str) -> Result<TimeZone> {
    let unknown = || invalid_parameter(format!("time zone \"{name}\" not recognized"));
    if name.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-')) {
        return posix_offset(name).map(|seconds| TimeZone::fixed(-seconds)).ok_or_else(unknown);
    }
    if let Some(seconds) = abbreviation_offset(name) {
        return Ok(TimeZone::fixed(seconds));
    }
    TimeZone::parse(name).ok_or_else(unknown)
}

/// `[+-]hours[:minutes[:seconds]]` in seconds.
fn posix_offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let mut seconds = 0;
    for (index, part) in digits.split(':').enumerate() {
        let (unit, limit) = *[(3600, 167), (60, 59), (1, 59)].get(index)?;
        let plain = !part.is_empty() && part.len() <= 3 && part.bytes().all(|digit| digit.is_ascii_digit());
        seconds += unit * part.parse::<i32>().ok().filter(|value| plain && *value <= limit)?;
    }
    Some(sign * seconds)
}

/// What an abbreviation such as `PST` stands for, in seconds east of UTC.
fn abbreviation_offset(name: &str) -> Option<i32> {
    if name.len() > 6 || !name.bytes().all(|letter| letter.is_ascii_alphabetic()) {
        return None;
    }
    // The input of timestamps has the table of abbreviations; the date decides those whose meaning has changed.
    let noon = format!("2024-01-01 12:00:00 {name}");
    let instant = text_in::parse(&SqlType::TimestampTz, &noon, &TextFormat::default()).ok()?;
    let instant = instant.as_primitive_opt::<TimestampMicrosecondType>()?.value(0);
    const NOON_UTC: i64 = 1_704_110_400;
    i32::try_from(NOON_UTC - instant / USECS_PER_SEC).ok()
}

/// The abbreviation in use in a zone at an instant: `CET`, `+03`.
pub(in crate::functions) fn zone_abbreviation(zone: &TimeZone, utc: i64) -> Result<String> {
    let text = postgres_style(zone, utc)?;
    Ok(text.rsplit(' ').next().unwrap_or_default().to_owned())
}

/// `Wed Feb 26 13:08:12.345678 2020 CET`.
pub(super) fn postgres_style(zone: &TimeZone, utc: i64) -> Result<String> {
    let date_style = DateStyle { output: DateOutput::Postgres, order: DateOrder::Mdy };
    let format = TextFormat { date_style, time_zone: zone.clone(), ..TextFormat::default() };
    let array = TimestampMicrosecondArray::from(vec![utc]).with_timezone("+00:00");
    let field = wharf_values::field("time", &SqlType::TimestampTz, true);
    let array: ArrayRef = Arc::new(array);
    Ok(text_out::value_to_text(&field, &array, 0, &format)?.unwrap_or_default())
}

fn interval_zone(interval: IntervalMonthDayNano) -> Result<i64> {
    if interval.months != 0 || interval.days != 0 {
        let text = interval_text(interval)?;
        return Err(invalid_parameter(format!("interval time zone \"{text}\" must not include months or days")));
    }
    Ok(interval.nanoseconds / 1000 / USECS_PER_SEC * USECS_PER_SEC)
}

fn interval_text(interval: IntervalMonthDayNano) -> Result<String> {
    let array: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![interval]));
    let field = wharf_values::field("interval", &SqlType::Interval, true);
    Ok(text_out::value_to_text(&field, &array, 0, &TextFormat::default())?.unwrap_or_default())
}

fn with_zone(call: &Call<'_>, convert: impl Fn(&TimeZone, i64) -> Result<i64>) -> Result<ArrayRef> {
    let (name, timestamp) = (call.text(0)?, call.timestamp(1)?);
    let constant = name.constant().map(find_zone).transpose()?;
    call.make::<TimestampMicrosecondType>(|row| match &constant {
        Some(zone) => convert(zone, timestamp.at(row)),
        None => convert(&find_zone(name.at(row))?, timestamp.at(row)),
    })
}

fn timestamp_at_zone(call: &Call<'_>) -> Result<ArrayRef> {
    with_zone(call, local_to_utc)
}

fn timestamptz_at_zone(call: &Call<'_>) -> Result<ArrayRef> {
    with_zone(call, utc_to_local)
}

fn with_interval(call: &Call<'_>, convert: impl Fn(i64, i64) -> Option<i64>) -> Result<ArrayRef> {
    let (interval, timestamp) = (call.interval(0)?, call.timestamp(1)?);
    call.make::<TimestampMicrosecondType>(|row| {
        let timestamp = timestamp.at(row);
        if is_infinite(timestamp) {
            return Ok(timestamp);
        }
        convert(timestamp, interval_zone(interval.at(row))?)
            .ok_or_else(timestamp_out_of_range)
            .and_then(checked_timestamp)
    })
}

fn timestamp_at_interval(call: &Call<'_>) -> Result<ArrayRef> {
    with_interval(call, i64::checked_sub)
}

fn timestamptz_at_interval(call: &Call<'_>) -> Result<ArrayRef> {
    with_interval(call, i64::checked_add)
}
