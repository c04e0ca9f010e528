//! `date_trunc` and `date_bin` (chapter 9.9.2 and 9.9.3 of PostgreSQL's manual).
//!
//! What always holds: a timestamp with time zone is truncated in the session's time zone, or the one that is given.
//! Infinity stays infinity. The plain case, one unit for a column without time zone, is integer arithmetic per row.

use arrow::array::ArrayRef;
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType};
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState, TimeZone};

use super::calendar::{
    USECS_PER_DAY, USECS_PER_HOUR, USECS_PER_MINUTE, USECS_PER_SEC, civil_from_days, days_from_civil, is_infinite,
    iso_week_start, timestamp_of, timestamp_out_of_range,
};
use super::units::{Unit, not_recognized, not_supported};
use super::zone::{find_zone, local_to_utc, utc_offset};
use crate::functions::call::{Call, Result, TextColumn};
use crate::functions::overload::{Declaration, immutable, stable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("date_trunc", "text, timestamp -> timestamp", trunc_timestamp),
    stable("date_trunc", "text, timestamptz -> timestamptz", trunc_timestamptz),
    stable("date_trunc", "text, timestamptz, text -> timestamptz", trunc_timestamptz_in_zone),
    immutable("date_trunc", "text, interval -> interval", trunc_interval),
    immutable("date_bin", "interval, timestamp, timestamp -> timestamp", bin),
    immutable("date_bin", "interval, timestamptz, timestamptz -> timestamptz", bin),
];

/// How a timestamp without time zone is truncated.
#[derive(Clone, Copy)]
enum Truncation {
    /// To a multiple of so many microseconds.
    Time(i64),
    Week,
    Months(i64),
    /// To the first year of a period that PostgreSQL counts in its own way.
    Years(fn(i64) -> i64),
}

fn truncation(name: &str, ty: &SqlType) -> Result<Truncation> {
    Ok(match Unit::parse(name) {
        Some(Unit::Microsecond) => Truncation::Time(1),
        Some(Unit::Millisecond) => Truncation::Time(1000),
        Some(Unit::Second) => Truncation::Time(USECS_PER_SEC),
        Some(Unit::Minute) => Truncation::Time(USECS_PER_MINUTE),
        Some(Unit::Hour) => Truncation::Time(USECS_PER_HOUR),
        Some(Unit::Day) => Truncation::Time(USECS_PER_DAY),
        Some(Unit::Week) => Truncation::Week,
        Some(Unit::Month) => Truncation::Months(1),
        Some(Unit::Quarter) => Truncation::Months(3),
        Some(Unit::Year) => Truncation::Months(12),
        Some(Unit::Decade) => Truncation::Years(first_of_decade),
        Some(Unit::Century) => Truncation::Years(first_of_century),
        Some(Unit::Millennium) => Truncation::Years(first_of_millennium),
        Some(Unit::TimeZone | Unit::TimeZoneHour | Unit::TimeZoneMinute) => return Err(not_supported(name, ty)),
        // What extract knows and date_trunc does not is not a unit of its table.
        _ => return Err(not_recognized(name, ty)),
    })
}

/// The years before the first are counted by PostgreSQL with year 1 BC as the last of its period.
fn first_of_decade(year: i64) -> i64 {
    if year > 0 { year / 10 * 10 } else { -((8 - (year - 1)) / 10) * 10 }
}

fn first_of_century(year: i64) -> i64 {
    if year > 0 { (year + 99) / 100 * 100 - 99 } else { -((99 - (year - 1)) / 100) * 100 + 1 }
}

fn first_of_millennium(year: i64) -> i64 {
    if year > 0 { (year + 999) / 1000 * 1000 - 999 } else { -((999 - (year - 1)) / 1000) * 1000 + 1 }
}

#[inline]
fn truncate(truncation: Truncation, timestamp: i64) -> Result<i64> {
    if is_infinite(timestamp) {
        return Ok(timestamp);
    }
    let days = match truncation {
        Truncation::Time(unit) => return Ok(timestamp - timestamp.rem_euclid(unit)),
        Truncation::Week => iso_week_start(timestamp.div_euclid(USECS_PER_DAY)),
        Truncation::Months(count) => {
            let (year, month, _) = civil_from_days(timestamp.div_euclid(USECS_PER_DAY));
            let month = (i64::from(month) - 1) / count * count + 1;
            days_from_civil(year, month as u32, 1)
        }
        Truncation::Years(first) => {
            let (year, _, _) = civil_from_days(timestamp.div_euclid(USECS_PER_DAY));
            days_from_civil(first(year), 1, 1)
        }
    };
    timestamp_of(days, 0)
}

/// The truncation of a row, looked up once when the unit is a constant.
fn by_row<'a>(unit: TextColumn<'a>, ty: &'a SqlType) -> Result<impl Fn(usize) -> Result<Truncation> + 'a> {
    let constant = unit.constant().map(|name| truncation(name, ty)).transpose()?;
    Ok(move |row| match constant {
        Some(truncation) => Ok(truncation),
        None => truncation(unit.at(row), ty),
    })
}

fn trunc_timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    let timestamp = call.timestamp(1)?;
    let unit = by_row(call.text(0)?, &SqlType::Timestamp)?;
    call.make::<TimestampMicrosecondType>(|row| truncate(unit(row)?, timestamp.at(row)))
}

fn truncate_in_zone(truncation: Truncation, zone: &TimeZone, timestamp: i64) -> Result<i64> {
    if is_infinite(timestamp) {
        return Ok(timestamp);
    }
    let offset = utc_offset(zone, timestamp);
    let local = timestamp.checked_add(offset).ok_or_else(timestamp_out_of_range)?;
    let truncated = truncate(truncation, local)?;
    match truncation {
        // Within a day the offset is kept, so that the hour that is repeated in autumn stays itself.
        Truncation::Time(unit) if unit < USECS_PER_DAY => Ok(truncated - offset),
        _ => local_to_utc(zone, truncated),
    }
}

fn trunc_timestamptz(call: &Call<'_>) -> Result<ArrayRef> {
    let timestamp = call.timestamp(1)?;
    let zone = call.text_format().time_zone;
    let unit = by_row(call.text(0)?, &SqlType::TimestampTz)?;
    call.make::<TimestampMicrosecondType>(|row| truncate_in_zone(unit(row)?, &zone, timestamp.at(row)))
}

fn trunc_timestamptz_in_zone(call: &Call<'_>) -> Result<ArrayRef> {
    let (timestamp, name) = (call.timestamp(1)?, call.text(2)?);
    let unit = by_row(call.text(0)?, &SqlType::TimestampTz)?;
    let constant = name.constant().map(find_zone).transpose()?;
    call.make::<TimestampMicrosecondType>(|row| {
        let unit = unit(row)?;
        match &constant {
            Some(zone) => truncate_in_zone(unit, zone, timestamp.at(row)),
            None => truncate_in_zone(unit, &find_zone(name.at(row))?, timestamp.at(row)),
        }
    })
}

fn trunc_interval(call: &Call<'_>) -> Result<ArrayRef> {
    let (unit, interval) = (call.text(0)?, call.interval(1)?);
    call.make::<IntervalMonthDayNanoType>(|row| truncate_interval(unit.at(row), interval.at(row)))
}

/// The fields below the unit become zero, each towards zero.
fn truncate_interval(name: &str, interval: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let months = |count: i32| IntervalMonthDayNano::new(interval.months / count * count, 0, 0);
    let time = |unit: i64| {
        let unit = unit * 1000;
        IntervalMonthDayNano::new(interval.months, interval.days, interval.nanoseconds / unit * unit)
    };
    Ok(match Unit::parse(name) {
        Some(Unit::Millennium) => months(12_000),
        Some(Unit::Century) => months(1200),
        Some(Unit::Decade) => months(120),
        Some(Unit::Year) => months(12),
        Some(Unit::Quarter) => months(3),
        Some(Unit::Month) => months(1),
        Some(Unit::Day) => IntervalMonthDayNano::new(interval.months, interval.days, 0),
        Some(Unit::Hour) => time(USECS_PER_HOUR),
        Some(Unit::Minute) => time(USECS_PER_MINUTE),
        Some(Unit::Second) => time(USECS_PER_SEC),
        Some(Unit::Millisecond) => time(1000),
        Some(Unit::Microsecond) => time(1),
        Some(Unit::Week) => {
            return Err(not_supported(name, &SqlType::Interval).with_detail("Months usually have fractional weeks."));
        }
        Some(Unit::TimeZone | Unit::TimeZoneHour | Unit::TimeZoneMinute) => {
            return Err(not_supported(name, &SqlType::Interval));
        }
        _ => return Err(not_recognized(name, &SqlType::Interval)),
    })
}

fn bin(call: &Call<'_>) -> Result<ArrayRef> {
    let (stride, timestamp, origin) = (call.interval(0)?, call.timestamp(1)?, call.timestamp(2)?);
    call.make::<TimestampMicrosecondType>(|row| {
        let (stride, timestamp, origin) = (stride.at(row), timestamp.at(row), origin.at(row));
        if is_infinite(timestamp) {
            return Ok(timestamp);
        }
        if is_infinite(origin) {
            return Err(SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "origin out of range"));
        }
        if stride.months != 0 {
            let message = "timestamps cannot be binned into intervals containing months or years";
            return Err(SqlError::unsupported(message).with_hint("Use date_trunc for months and years."));
        }
        let stride = i64::from(stride.days) * USECS_PER_DAY + stride.nanoseconds / 1000;
        if stride <= 0 {
            return Err(SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "stride must be greater than zero"));
        }
        let distance = timestamp.checked_sub(origin).ok_or_else(super::calendar::interval_out_of_range)?;
        origin
            .checked_add(distance)
            .and_then(|there| there.checked_sub(distance.rem_euclid(stride)))
            .ok_or_else(timestamp_out_of_range)
    })
}
