//! Differences in years, months and days (chapter 9.9 of PostgreSQL's manual): `age`, the `justify_` functions,
//! `isfinite`.
//!
//! What always holds: `age` counts whole months by the calendar of the earlier value, as PostgreSQL does.

use arrow::array::ArrayRef;
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType};
use wharf_values::{SqlError, SqlState};

use super::calendar::{Fields, USECS_PER_DAY, days_in_month, interval_out_of_range, is_infinite, is_infinite_date};
use super::current::transaction_start;
use super::zone::utc_to_local;
use crate::functions::call::{Call, Result};
use crate::functions::overload::{Declaration, immutable, stable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("age", "timestamp, timestamp -> interval", age_timestamp),
    stable("age", "timestamptz, timestamptz -> interval", age_timestamptz),
    stable("age", "timestamp -> interval", age_of_timestamp),
    stable("age", "timestamptz -> interval", age_of_timestamptz),
    immutable("justify_hours", "interval -> interval", |call| justify(call, justify_hours)),
    immutable("justify_days", "interval -> interval", |call| justify(call, justify_days)),
    immutable("justify_interval", "interval -> interval", |call| justify(call, justify_interval)),
    immutable("isfinite", "date -> bool", isfinite_date),
    immutable("isfinite", "timestamp -> bool", isfinite_timestamp),
    immutable("isfinite", "timestamptz -> bool", isfinite_timestamp),
    immutable("isfinite", "interval -> bool", |call| call.make_boolean(|_| Ok(true))),
];

/// `later - earlier` in months, days and time.
fn age(later: i64, earlier: i64) -> Result<IntervalMonthDayNano> {
    if is_infinite(later) || is_infinite(earlier) {
        let message = "cannot subtract infinite timestamps";
        return Err(SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, message));
    }
    let negative = later < earlier;
    let (from, to) = if negative { (later, earlier) } else { (earlier, later) };
    let (from, to) = (Fields::of_timestamp(from), Fields::of_timestamp(to));
    let mut months = (to.year - from.year) * 12 + i64::from(to.month) - i64::from(from.month);
    let mut days = i64::from(to.day) - i64::from(from.day);
    let mut time = to.time - from.time;
    if time < 0 {
        time += USECS_PER_DAY;
        days -= 1;
    }
    if days < 0 {
        // The month that is broken up is the one the earlier value lies in.
        days += i64::from(days_in_month(from.year, from.month));
        months -= 1;
    }
    let sign = if negative { -1 } else { 1 };
    let months = i32::try_from(sign * months).map_err(|_| interval_out_of_range())?;
    Ok(IntervalMonthDayNano::new(months, (sign * days) as i32, sign * time * 1000))
}

fn age_timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    let (later, earlier) = (call.timestamp(0)?, call.timestamp(1)?);
    call.make::<IntervalMonthDayNanoType>(|row| age(later.at(row), earlier.at(row)))
}

fn age_timestamptz(call: &Call<'_>) -> Result<ArrayRef> {
    let (later, earlier) = (call.timestamp(0)?, call.timestamp(1)?);
    let zone = call.text_format().time_zone;
    call.make::<IntervalMonthDayNanoType>(|row| {
        age(utc_to_local(&zone, later.at(row))?, utc_to_local(&zone, earlier.at(row))?)
    })
}

/// Today's midnight in the session's time zone.
fn today(call: &Call<'_>) -> Result<i64> {
    let now = utc_to_local(&call.text_format().time_zone, transaction_start(call))?;
    Ok(now - now.rem_euclid(USECS_PER_DAY))
}

fn age_of_timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    let (timestamp, today) = (call.timestamp(0)?, today(call)?);
    call.make::<IntervalMonthDayNanoType>(|row| age(today, timestamp.at(row)))
}

fn age_of_timestamptz(call: &Call<'_>) -> Result<ArrayRef> {
    let (timestamp, today) = (call.timestamp(0)?, today(call)?);
    let zone = call.text_format().time_zone;
    call.make::<IntervalMonthDayNanoType>(|row| age(today, utc_to_local(&zone, timestamp.at(row))?))
}

const NANOS_PER_DAY: i64 = USECS_PER_DAY * 1000;
const DAYS_PER_MONTH: i32 = 30;

fn justify(call: &Call<'_>, justify: fn(IntervalMonthDayNano) -> Option<IntervalMonthDayNano>) -> Result<ArrayRef> {
    let interval = call.interval(0)?;
    call.make::<IntervalMonthDayNanoType>(|row| justify(interval.at(row)).ok_or_else(interval_out_of_range))
}

fn justify_hours(interval: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let mut days = interval.days.checked_add((interval.nanoseconds / NANOS_PER_DAY) as i32)?;
    let mut nanos = interval.nanoseconds % NANOS_PER_DAY;
    if days > 0 && nanos < 0 {
        nanos += NANOS_PER_DAY;
        days -= 1;
    } else if days < 0 && nanos > 0 {
        nanos -= NANOS_PER_DAY;
        days += 1;
    }
    Some(IntervalMonthDayNano::new(interval.months, days, nanos))
}

fn justify_days(interval: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let mut months = interval.months.checked_add(interval.days / DAYS_PER_MONTH)?;
    let mut days = interval.days % DAYS_PER_MONTH;
    if months > 0 && days < 0 {
        days += DAYS_PER_MONTH;
        months -= 1;
    } else if months < 0 && days > 0 {
        days -= DAYS_PER_MONTH;
        months += 1;
    }
    Some(IntervalMonthDayNano::new(months, days, interval.nanoseconds))
}

fn justify_interval(interval: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let (mut months, mut days, mut nanos) = (interval.months, interval.days, interval.nanoseconds);
    // Days first when they and the time have one sign, so that a sum that fits does not overflow.
    if (days > 0 && nanos > 0) || (days < 0 && nanos < 0) {
        months = months.checked_add(days / DAYS_PER_MONTH)?;
        days %= DAYS_PER_MONTH;
    }
    days = days.checked_add((nanos / NANOS_PER_DAY) as i32)?;
    nanos %= NANOS_PER_DAY;
    months = months.checked_add(days / DAYS_PER_MONTH)?;
    days %= DAYS_PER_MONTH;
    if months > 0 && (days < 0 || (days == 0 && nanos < 0)) {
        days += DAYS_PER_MONTH;
        months -= 1;
    } else if months < 0 && (days > 0 || (days == 0 && nanos > 0)) {
        days -= DAYS_PER_MONTH;
        months += 1;
    }
    if days > 0 && nanos < 0 {
        nanos += NANOS_PER_DAY;
        days -= 1;
    } else if days < 0 && nanos > 0 {
        nanos -= NANOS_PER_DAY;
        days += 1;
    }
    Some(IntervalMonthDayNano::new(months, days, nanos))
}

fn isfinite_date(call: &Call<'_>) -> Result<ArrayRef> {
    let date = call.date(0)?;
    call.make_boolean(|row| Ok(!is_infinite_date(date.at(row))))
}

fn isfinite_timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    let timestamp = call.timestamp(0)?;
    call.make_boolean(|row| Ok(!is_infinite(timestamp.at(row))))
}
