//! Arithmetic of dates, times and intervals (the operators of chapter 9.9 of PostgreSQL's manual), as functions that the
//! binder calls for the operators. They have the names of PostgreSQL's own functions behind its operators.
//!
//! What always holds: months are added first and the day is clamped to the month it lands in, then days, then time;
//! with a time zone, months and days are added to the local time. An overflow is `22008`.

use arrow::array::ArrayRef;
use arrow::datatypes::{
    Date32Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use wharf_values::{SqlError, SqlState, TimeZone};

use super::calendar::{
    USECS_PER_DAY, checked_date, checked_timestamp, civil_from_days, days_from_civil, days_in_month,
    interval_out_of_range, is_infinite, is_infinite_date, timestamp_of, timestamp_out_of_range,
};
use super::zone::{local_to_utc, utc_to_local};
use crate::functions::call::{Call, Result, division_by_zero};
use crate::functions::overload::{Declaration, immutable, stable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("timestamp_pl_interval", "timestamp, interval -> timestamp", |call| timestamp_interval(call, 1)),
    immutable("timestamp_mi_interval", "timestamp, interval -> timestamp", |call| timestamp_interval(call, -1)),
    stable("timestamptz_pl_interval", "timestamptz, interval -> timestamptz", |call| timestamptz_interval(call, 1)),
    stable("timestamptz_mi_interval", "timestamptz, interval -> timestamptz", |call| timestamptz_interval(call, -1)),
    immutable("date_pl_interval", "date, interval -> timestamp", |call| date_interval(call, 1)),
    immutable("date_mi_interval", "date, interval -> timestamp", |call| date_interval(call, -1)),
    immutable("time_pl_interval", "time, interval -> time", |call| time_interval(call, 1)),
    immutable("time_mi_interval", "time, interval -> time", |call| time_interval(call, -1)),
    immutable("timestamp_mi", "timestamp, timestamp -> interval", timestamp_mi),
    immutable("timestamptz_mi", "timestamptz, timestamptz -> interval", timestamp_mi),
    immutable("time_mi_time", "time, time -> interval", time_mi_time),
    immutable("date_mi", "date, date -> int4", date_mi),
    immutable("date_pli", "date, int4 -> date", |call| date_days(call, 1)),
    immutable("date_mii", "date, int4 -> date", |call| date_days(call, -1)),
    immutable("datetime_pl", "date, time -> timestamp", datetime_pl),
    immutable("interval_pl", "interval, interval -> interval", |call| interval_sum(call, 1)),
    immutable("interval_mi", "interval, interval -> interval", |call| interval_sum(call, -1)),
    immutable("interval_um", "interval -> interval", interval_um),
    immutable("interval_mul", "interval, float8 -> interval", interval_mul),
    immutable("interval_div", "interval, float8 -> interval", interval_div),
    immutable("overlaps", "timestamp, timestamp, timestamp, timestamp -> bool", overlaps_timestamp).called_on_null(),
    immutable("overlaps", "timestamptz, timestamptz, timestamptz, timestamptz -> bool", overlaps_timestamp)
        .called_on_null(),
    immutable("overlaps", "time, time, time, time -> bool", overlaps_time).called_on_null(),
    immutable("overlaps", "timestamp, interval, timestamp, interval -> bool", overlaps_interval).called_on_null(),
];

/// `sign * interval`, whose minimum has no opposite.
fn signed(interval: IntervalMonthDayNano, sign: i32) -> Result<IntervalMonthDayNano> {
    if sign > 0 {
        return Ok(interval);
    }
    interval
        .months
        .checked_neg()
        .zip(interval.days.checked_neg())
        .zip(interval.nanoseconds.checked_neg())
        .map(|((months, days), nanos)| IntervalMonthDayNano::new(months, days, nanos))
        .ok_or_else(interval_out_of_range)
}

/// A local day moved by months and days.
fn move_day(days: i64, interval: IntervalMonthDayNano) -> i64 {
    let mut days = days;
    if interval.months != 0 {
        let (year, month, day) = civil_from_days(days);
        let months = year * 12 + i64::from(month) - 1 + i64::from(interval.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) as u32 + 1);
        days = days_from_civil(year, month, day.min(days_in_month(year, month)));
    }
    days + i64::from(interval.days)
}

/// A timestamp without time zone moved by an interval.
pub(in crate::functions) fn add_interval(timestamp: i64, interval: IntervalMonthDayNano) -> Result<i64> {
    if is_infinite(timestamp) {
        return Ok(timestamp);
    }
    let mut moved = timestamp;
    if interval.months != 0 || interval.days != 0 {
        let days = move_day(timestamp.div_euclid(USECS_PER_DAY), interval);
        moved = timestamp_of(days, timestamp.rem_euclid(USECS_PER_DAY))?;
    }
    moved.checked_add(interval.nanoseconds / 1000).ok_or_else(timestamp_out_of_range).and_then(checked_timestamp)
}

/// An instant moved by an interval, whose months and days are those of a zone's calendar.
pub(in crate::functions) fn add_interval_in_zone(
    zone: &TimeZone,
    timestamp: i64,
    interval: IntervalMonthDayNano,
) -> Result<i64> {
    if is_infinite(timestamp) {
        return Ok(timestamp);
    }
    let mut moved = timestamp;
    if interval.months != 0 || interval.days != 0 {
        let calendar_part = IntervalMonthDayNano::new(interval.months, interval.days, 0);
        moved = local_to_utc(zone, add_interval(utc_to_local(zone, timestamp)?, calendar_part)?)?;
    }
    moved.checked_add(interval.nanoseconds / 1000).ok_or_else(timestamp_out_of_range).and_then(checked_timestamp)
}

fn timestamp_interval(call: &Call<'_>, sign: i32) -> Result<ArrayRef> {
    let (timestamp, interval) = (call.timestamp(0)?, call.interval(1)?);
    call.make::<TimestampMicrosecondType>(|row| add_interval(timestamp.at(row), signed(interval.at(row), sign)?))
}

fn timestamptz_interval(call: &Call<'_>, sign: i32) -> Result<ArrayRef> {
    let (timestamp, interval) = (call.timestamp(0)?, call.interval(1)?);
    let zone = call.text_format().time_zone;
    call.make::<TimestampMicrosecondType>(|row| {
        add_interval_in_zone(&zone, timestamp.at(row), signed(interval.at(row), sign)?)
    })
}

fn midnight(date: i32) -> Result<i64> {
    match date {
        i32::MIN => Ok(i64::MIN),
        i32::MAX => Ok(i64::MAX),
        date => timestamp_of(i64::from(date), 0)
            .map_err(|_| SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "date out of range for timestamp")),
    }
}

fn date_interval(call: &Call<'_>, sign: i32) -> Result<ArrayRef> {
    let (date, interval) = (call.date(0)?, call.interval(1)?);
    call.make::<TimestampMicrosecondType>(|row| add_interval(midnight(date.at(row))?, signed(interval.at(row), sign)?))
}

/// Only the time of the interval counts, and the clock goes round.
fn time_interval(call: &Call<'_>, sign: i64) -> Result<ArrayRef> {
    let (time, interval) = (call.time(0)?, call.interval(1)?);
    call.map::<Time64MicrosecondType>(|row| {
        let moved = interval.at(row).nanoseconds / 1000 % USECS_PER_DAY * sign;
        (time.at(row) + moved).rem_euclid(USECS_PER_DAY)
    })
}

/// A difference of microseconds as days and time, as `timestamp - timestamp` gives it.
fn difference(micros: i64) -> Result<IntervalMonthDayNano> {
    let days = i32::try_from(micros / USECS_PER_DAY).map_err(|_| interval_out_of_range())?;
    Ok(IntervalMonthDayNano::new(0, days, micros % USECS_PER_DAY * 1000))
}

fn timestamp_mi(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.timestamp(0)?, call.timestamp(1)?);
    call.make::<IntervalMonthDayNanoType>(|row| {
        let (left, right) = (left.at(row), right.at(row));
        if is_infinite(left) || is_infinite(right) {
            let message = "cannot subtract infinite timestamps";
            return Err(SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, message));
        }
        left.checked_sub(right).ok_or_else(interval_out_of_range).and_then(difference)
    })
}

fn time_mi_time(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.time(0)?, call.time(1)?);
    call.map::<IntervalMonthDayNanoType>(|row| IntervalMonthDayNano::new(0, 0, (left.at(row) - right.at(row)) * 1000))
}

fn date_mi(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.date(0)?, call.date(1)?);
    call.make::<Int32Type>(|row| {
        let (left, right) = (left.at(row), right.at(row));
        if is_infinite_date(left) || is_infinite_date(right) {
            let message = "cannot subtract infinite dates";
            return Err(SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, message));
        }
        left.checked_sub(right).ok_or_else(|| crate::functions::call::out_of_range("integer"))
    })
}

fn date_days(call: &Call<'_>, sign: i64) -> Result<ArrayRef> {
    let (date, days) = (call.date(0)?, call.int4(1)?);
    call.make::<Date32Type>(|row| {
        let date = date.at(row);
        if is_infinite_date(date) {
            return Ok(date);
        }
        checked_date(i64::from(date) + sign * i64::from(days.at(row)))
    })
}

fn datetime_pl(call: &Call<'_>) -> Result<ArrayRef> {
    let (date, time) = (call.date(0)?, call.time(1)?);
    call.make::<TimestampMicrosecondType>(|row| match midnight(date.at(row))? {
        midnight if is_infinite(midnight) => Ok(midnight),
        midnight => midnight.checked_add(time.at(row)).ok_or_else(timestamp_out_of_range),
    })
}

fn interval_sum(call: &Call<'_>, sign: i32) -> Result<ArrayRef> {
    let (left, right) = (call.interval(0)?, call.interval(1)?);
    call.make::<IntervalMonthDayNanoType>(|row| {
        let (left, right) = (left.at(row), signed(right.at(row), sign)?);
        left.months
            .checked_add(right.months)
            .zip(left.days.checked_add(right.days))
            .zip(left.nanoseconds.checked_add(right.nanoseconds))
            .map(|((months, days), nanos)| IntervalMonthDayNano::new(months, days, nanos))
            .ok_or_else(interval_out_of_range)
    })
}

fn interval_um(call: &Call<'_>) -> Result<ArrayRef> {
    let interval = call.interval(0)?;
    call.make::<IntervalMonthDayNanoType>(|row| signed(interval.at(row), -1))
}

/// PostgreSQL's `TSROUND`: to microseconds.
fn round_micros(value: f64) -> f64 {
    (value * 1e6).round_ties_even() / 1e6
}

/// The fields of an interval scaled: fractions of a month become days of a 30-day month, fractions of a day time.
fn scaled(interval: IntervalMonthDayNano, scale: impl Fn(f64) -> f64) -> Result<IntervalMonthDayNano> {
    const SECONDS_PER_DAY: f64 = 86_400.0;
    let whole = |value: f64| {
        let fits = value >= f64::from(i32::MIN) && value <= f64::from(i32::MAX);
        if fits { Ok(value as i32) } else { Err(interval_out_of_range()) }
    };
    let scaled_months = scale(f64::from(interval.months));
    let months = whole(scaled_months)?;
    let scaled_days = scale(f64::from(interval.days));
    let mut days = whole(scaled_days)?;
    let month_days = round_micros((scaled_months - f64::from(months)) * 30.0);
    let mut seconds = round_micros((scaled_days - f64::from(days) + month_days - month_days.trunc()) * SECONDS_PER_DAY);
    if seconds.abs() >= SECONDS_PER_DAY {
        let carried = (seconds / SECONDS_PER_DAY).trunc();
        days = days.checked_add(carried as i32).ok_or_else(interval_out_of_range)?;
        seconds -= carried * SECONDS_PER_DAY;
    }
    days = days.checked_add(month_days as i32).ok_or_else(interval_out_of_range)?;
    let micros = (scale((interval.nanoseconds / 1000) as f64) + seconds * 1e6).round_ties_even();
    if micros.is_nan() || micros.abs() >= 9.2e15 {
        return Err(interval_out_of_range());
    }
    Ok(IntervalMonthDayNano::new(months, days, micros as i64 * 1000))
}

fn interval_mul(call: &Call<'_>) -> Result<ArrayRef> {
    let (interval, factor) = (call.interval(0)?, call.float8(1)?);
    call.make::<IntervalMonthDayNanoType>(|row| {
        let factor = factor.at(row);
        scaled(interval.at(row), |field| field * factor)
    })
}

fn interval_div(call: &Call<'_>) -> Result<ArrayRef> {
    let (interval, divisor) = (call.interval(0)?, call.float8(1)?);
    call.make::<IntervalMonthDayNanoType>(|row| {
        let divisor = divisor.at(row);
        if divisor == 0.0 {
            return Err(division_by_zero());
        }
        scaled(interval.at(row), |field| field / divisor)
    })
}

/// Whether two spans have a point in common; each begins with the smaller of its ends and does not contain the larger,
/// except that a span of one point does. An end that is null makes the answer null unless the others decide it.
fn overlap(first: (Option<i64>, Option<i64>), second: (Option<i64>, Option<i64>)) -> Option<bool> {
    let order = |span: (Option<i64>, Option<i64>)| match span {
        (None, None) => None,
        (None, Some(only)) | (Some(only), None) => Some((only, None)),
        (Some(start), Some(end)) => Some((start.min(end), Some(start.max(end)))),
    };
    let (mut first, mut second) = (order(first)?, order(second)?);
    if first.0 == second.0 {
        // Both begin at one point, which is common to them; a null end leaves the answer open.
        return if first.1.is_none() || second.1.is_none() { None } else { Some(true) };
    }
    if first.0 > second.0 {
        std::mem::swap(&mut first, &mut second);
    }
    match first.1 {
        None => None,
        Some(end) if second.0 < end => Some(true),
        Some(_) if second.1.is_none() => None,
        Some(_) => Some(false),
    }
}

fn overlaps_timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    let (a, b, c, d) = (call.timestamp(0)?, call.timestamp(1)?, call.timestamp(2)?, call.timestamp(3)?);
    call.make_optional_boolean(|row| Ok(overlap((a.get(row), b.get(row)), (c.get(row), d.get(row)))))
}

fn overlaps_time(call: &Call<'_>) -> Result<ArrayRef> {
    let (a, b, c, d) = (call.time(0)?, call.time(1)?, call.time(2)?, call.time(3)?);
    call.make_optional_boolean(|row| Ok(overlap((a.get(row), b.get(row)), (c.get(row), d.get(row)))))
}

fn overlaps_interval(call: &Call<'_>) -> Result<ArrayRef> {
    let (a, b, c, d) = (call.timestamp(0)?, call.interval(1)?, call.timestamp(2)?, call.interval(3)?);
    let end = |start: Option<i64>, length: Option<IntervalMonthDayNano>| {
        start.zip(length).map(|(start, length)| add_interval(start, length)).transpose()
    };
    call.make_optional_boolean(|row| {
        let (a, c) = (a.get(row), c.get(row));
        Ok(overlap((a, end(a, b.get(row))?), (c, end(c, d.get(row))?)))
    })
}
