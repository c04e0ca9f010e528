//! `extract` and `date_part` (chapter 9.9.1 of PostgreSQL's manual).
//!
//! What always holds: both compute the same integer with a scale; `extract` gives it as a numeric with that scale
//! (`second` and `epoch` have six digits, `milliseconds` three, most none), `date_part` as a double. A field of a
//! timestamp with time zone is that of the session's time zone. Infinity gives null for the fields that repeat, infinity
//! for those that grow; numeric has no infinity here, so `extract` refuses it with `0A000`.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Float64Type, IntervalMonthDayNano};
use wharf_catalog::SqlType;
use wharf_values::mapping::NUMERIC_KEY;
use wharf_values::{SqlError, TimeZone};

use super::calendar::{
    Fields, UNIX_EPOCH_JULIAN, USECS_PER_DAY, USECS_PER_HOUR, USECS_PER_MINUTE, USECS_PER_SEC, day_of_week,
    day_of_year, is_infinite, iso_week, timestamp_out_of_range,
};
use super::units::{Unit, not_recognized, not_supported};
use super::zone::utc_offset;
use crate::functions::call::{Call, Result, TextColumn};
use crate::functions::decimal;
use crate::functions::overload::{Declaration, ReturnArguments, immutable, stable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("extract", "text, date -> numeric", |call| as_numeric(call, &Source::Date)).returning(field),
    immutable("extract", "text, time -> numeric", |call| as_numeric(call, &Source::Time)).returning(field),
    immutable("extract", "text, timestamp -> numeric", |call| as_numeric(call, &Source::Timestamp)).returning(field),
    stable("extract", "text, timestamptz -> numeric", |call| as_numeric(call, &zoned(call))).returning(field),
    immutable("extract", "text, interval -> numeric", |call| as_numeric(call, &Source::Interval)).returning(field),
    immutable("date_part", "text, date -> float8", |call| as_double(call, &Source::Date)),
    immutable("date_part", "text, time -> float8", |call| as_double(call, &Source::Time)),
    immutable("date_part", "text, timestamp -> float8", |call| as_double(call, &Source::Timestamp)),
    stable("date_part", "text, timestamptz -> float8", |call| as_double(call, &zoned(call))),
    immutable("date_part", "text, interval -> float8", |call| as_double(call, &Source::Interval)),
];

/// What the field is taken from.
enum Source {
    Date,
    Time,
    Timestamp,
    TimestampTz(TimeZone),
    Interval,
}

fn zoned(call: &Call<'_>) -> Source {
    Source::TimestampTz(call.text_format().time_zone)
}

impl Source {
    fn ty(&self) -> SqlType {
        match self {
            Source::Date => SqlType::Date,
            Source::Time => SqlType::Time,
            Source::Timestamp => SqlType::Timestamp,
            Source::TimestampTz(_) => SqlType::TimestampTz,
            Source::Interval => SqlType::Interval,
        }
    }
}

/// A field's value.
enum Part {
    Number(i128, i8),
    Infinite { negative: bool },
    Null,
}

/// The digits after the point of the fractional Julian day.
const JULIAN_SCALE: i8 = 20;

/// The type of `extract`'s result: it depends on the field, which is a constant in SQL's own syntax.
fn field(arguments: &ReturnArguments<'_>) -> Result<Field> {
    let date = arguments.types.get(1) == Some(&SqlType::Date);
    let (precision, scale) = match arguments.text(0).map(Unit::parse) {
        None => {
            let data_type = DataType::Decimal128(decimal::MAX_PRECISION, JULIAN_SCALE);
            let metadata = [(NUMERIC_KEY.to_owned(), "trim".to_owned())].into();
            return Ok(Field::new("extract", data_type, true).with_metadata(metadata));
        }
        Some(Some(Unit::Second)) => (8, 6),
        Some(Some(Unit::Millisecond)) => (8, 3),
        Some(Some(Unit::Epoch)) if !date => (23, 6),
        Some(Some(Unit::Epoch)) => (16, 0),
        Some(Some(Unit::Julian)) if !date => (decimal::MAX_PRECISION, JULIAN_SCALE),
        Some(_) => (10, 0),
    };
    Ok(Field::new("extract", DataType::Decimal128(precision, scale), true))
}

fn as_numeric(call: &Call<'_>, source: &Source) -> Result<ArrayRef> {
    let infinite = || {
        Err(SqlError::unsupported("extract from an infinite value gives infinity, which numeric does not have here")
            .with_hint("Use date_part, whose result is double precision."))
    };
    with_parts(call, source, |call, part| {
        call.make_numeric(|row| match part(row)? {
            Part::Number(value, scale) => Ok(Some((value, scale))),
            Part::Infinite { .. } => infinite(),
            Part::Null => Ok(None),
        })
    })
}

fn as_double(call: &Call<'_>, source: &Source) -> Result<ArrayRef> {
    with_parts(call, source, |call, part| {
        call.make_optional::<Float64Type>(|row| {
            Ok(match part(row)? {
                Part::Number(value, scale) => Some(decimal::to_double(value, scale)),
                Part::Infinite { negative: false } => Some(f64::INFINITY),
                Part::Infinite { negative: true } => Some(f64::NEG_INFINITY),
                Part::Null => None,
            })
        })
    })
}

type PartOf<'a> = dyn Fn(usize) -> Result<Part> + 'a;

/// Calls `make` with the function that computes a row's part.
fn with_parts(
    call: &Call<'_>,
    source: &Source,
    make: impl Fn(&Call<'_>, &PartOf<'_>) -> Result<ArrayRef>,
) -> Result<ArrayRef> {
    let unit = Names::new(call.text(0)?, source.ty())?;
    match source {
        Source::Date => {
            let date = call.date(1)?;
            make(call, &|row| date_part(&unit, row, date.at(row)))
        }
        Source::Time => {
            let time = call.time(1)?;
            make(call, &|row| time_part(&unit, row, time.at(row)))
        }
        Source::Timestamp => {
            let timestamp = call.timestamp(1)?;
            make(call, &|row| timestamp_part(&unit, row, timestamp.at(row), None))
        }
        Source::TimestampTz(zone) => {
            let timestamp = call.timestamp(1)?;
            make(call, &|row| timestamp_part(&unit, row, timestamp.at(row), Some(zone)))
        }
        Source::Interval => {
            let interval = call.interval(1)?;
            make(call, &|row| interval_part(&unit, row, interval.at(row)))
        }
    }
}

/// The names of the fields, looked up once when it is a constant.
struct Names<'a> {
    names: TextColumn<'a>,
    constant: Option<Unit>,
    ty: SqlType,
}

impl<'a> Names<'a> {
    fn new(names: TextColumn<'a>, ty: SqlType) -> Result<Self> {
        let unit = |name| Unit::parse(name).ok_or_else(|| not_recognized(name, &ty));
        let constant = names.constant().map(unit).transpose()?;
        Ok(Names { names, constant, ty })
    }

    fn unit(&self, row: usize) -> Result<Unit> {
        match self.constant {
            Some(unit) => Ok(unit),
            None => {
                let name = self.names.at(row);
                Unit::parse(name).ok_or_else(|| not_recognized(name, &self.ty))
            }
        }
    }

    fn unsupported(&self, row: usize) -> SqlError {
        not_supported(self.names.at(row), &self.ty)
    }
}

fn whole(value: i64) -> Result<Part> {
    Ok(Part::Number(i128::from(value), 0))
}

fn micros(value: i64) -> Result<Part> {
    Ok(Part::Number(i128::from(value), 6))
}

/// The fields of a year and its divisions, which count 1 BC as the year before 1 AD.
fn year_part(unit: Unit, year: i64) -> i64 {
    match unit {
        Unit::Year | Unit::IsoYear => {
            if year > 0 {
                year
            } else {
                year - 1
            }
        }
        Unit::Decade if year >= 0 => year / 10,
        Unit::Decade => -((8 - (year - 1)) / 10),
        Unit::Century if year > 0 => (year + 99) / 100,
        Unit::Century => -((99 - (year - 1)) / 100),
        _ if year > 0 => (year + 999) / 1000,
        _ => -((999 - (year - 1)) / 1000),
    }
}

/// The fields that dates and timestamps have; `None` for the others.
fn day_part(unit: Unit, fields: &Fields) -> Option<i64> {
    Some(match unit {
        Unit::Day => i64::from(fields.day),
        Unit::Month => i64::from(fields.month),
        Unit::Quarter => (i64::from(fields.month) - 1) / 3 + 1,
        Unit::Week => iso_week(fields.days).1,
        Unit::Year | Unit::Decade | Unit::Century | Unit::Millennium => year_part(unit, fields.year),
        Unit::IsoYear => year_part(unit, iso_week(fields.days).0),
        Unit::DayOfWeek => day_of_week(fields.days),
        Unit::IsoDayOfWeek => (day_of_week(fields.days) + 6) % 7 + 1,
        Unit::DayOfYear => day_of_year(fields.days),
        _ => return None,
    })
}

/// The fields of a time of day; `None` for the others.
fn clock_part(unit: Unit, fields: &Fields) -> Option<Part> {
    let seconds = fields.time % USECS_PER_MINUTE;
    Some(match unit {
        Unit::Microsecond => Part::Number(i128::from(seconds), 0),
        Unit::Millisecond => Part::Number(i128::from(seconds), 3),
        Unit::Second => Part::Number(i128::from(seconds), 6),
        Unit::Minute => Part::Number(i128::from(fields.minute()), 0),
        Unit::Hour => Part::Number(i128::from(fields.hour()), 0),
        _ => return None,
    })
}

/// What an infinite value gives.
fn infinite_part(names: &Names<'_>, row: usize, unit: Unit, negative: bool) -> Result<Part> {
    Ok(match unit {
        Unit::Year | Unit::Decade | Unit::Century | Unit::Millennium | Unit::Julian | Unit::IsoYear | Unit::Epoch => {
            Part::Infinite { negative }
        }
        Unit::TimeZone | Unit::TimeZoneHour | Unit::TimeZoneMinute if names.ty != SqlType::TimestampTz => {
            return Err(names.unsupported(row));
        }
        _ => Part::Null,
    })
}

fn date_part(names: &Names<'_>, row: usize, date: i32) -> Result<Part> {
    let unit = names.unit(row)?;
    let has_no_clock = matches!(
        unit,
        Unit::Microsecond
            | Unit::Millisecond
            | Unit::Second
            | Unit::Minute
            | Unit::Hour
            | Unit::TimeZone
            | Unit::TimeZoneHour
            | Unit::TimeZoneMinute
    );
    if has_no_clock {
        return Err(names.unsupported(row));
    }
    if super::calendar::is_infinite_date(date) {
        return infinite_part(names, row, unit, date < 0);
    }
    let days = i64::from(date);
    match unit {
        Unit::Epoch => whole(days * (USECS_PER_DAY / USECS_PER_SEC)),
        Unit::Julian => whole(days + UNIX_EPOCH_JULIAN),
        unit => match day_part(unit, &Fields::of_days(days)) {
            Some(value) => whole(value),
            None => Err(names.unsupported(row)),
        },
    }
}

fn time_part(names: &Names<'_>, row: usize, time: i64) -> Result<Part> {
    let fields = Fields { days: 0, year: 1970, month: 1, day: 1, time };
    match names.unit(row)? {
        Unit::Epoch => micros(time),
        unit => clock_part(unit, &fields).ok_or_else(|| names.unsupported(row)),
    }
}

fn timestamp_part(names: &Names<'_>, row: usize, timestamp: i64, zone: Option<&TimeZone>) -> Result<Part> {
    let unit = names.unit(row)?;
    if is_infinite(timestamp) {
        return infinite_part(names, row, unit, timestamp < 0);
    }
    let offset = zone.map(|zone| utc_offset(zone, timestamp));
    let local = timestamp.checked_add(offset.unwrap_or(0)).ok_or_else(timestamp_out_of_range)?;
    match (unit, offset) {
        // The epoch counts from 1970 in UTC with a time zone, and from the local 1970 without.
        (Unit::Epoch, _) => micros(timestamp),
        (Unit::TimeZone, Some(offset)) => whole(offset / USECS_PER_SEC),
        (Unit::TimeZoneHour, Some(offset)) => whole(offset / USECS_PER_HOUR),
        (Unit::TimeZoneMinute, Some(offset)) => whole(offset % USECS_PER_HOUR / USECS_PER_MINUTE),
        (Unit::Julian, _) => {
            let scale = decimal::power_of_ten(JULIAN_SCALE as u32);
            let day = i128::from(local.div_euclid(USECS_PER_DAY) + UNIX_EPOCH_JULIAN);
            let time = i128::from(local.rem_euclid(USECS_PER_DAY));
            // 10^20 / 86400000000 is not whole, but 10^20 * time fits.
            let unit = i128::from(USECS_PER_DAY);
            Ok(Part::Number(day * scale + (time * scale + unit / 2) / unit, JULIAN_SCALE))
        }
        _ => {
            let fields = Fields::of_timestamp(local);
            if let Some(part) = clock_part(unit, &fields) {
                return Ok(part);
            }
            match day_part(unit, &fields) {
                Some(value) => whole(value),
                None => Err(names.unsupported(row)),
            }
        }
    }
}

fn interval_part(names: &Names<'_>, row: usize, interval: IntervalMonthDayNano) -> Result<Part> {
    let time = interval.nanoseconds / 1000;
    let months = i64::from(interval.months);
    let seconds = time % USECS_PER_MINUTE;
    match names.unit(row)? {
        Unit::Microsecond => whole(seconds),
        Unit::Millisecond => Ok(Part::Number(i128::from(seconds), 3)),
        Unit::Second => micros(seconds),
        Unit::Minute => whole(time / USECS_PER_MINUTE % 60),
        Unit::Hour => whole(time / USECS_PER_HOUR),
        Unit::Day => whole(i64::from(interval.days)),
        Unit::Month => whole(months % 12),
        Unit::Quarter => whole(months % 12 / 3 + 1),
        Unit::Year => whole(months / 12),
        Unit::Decade => whole(months / 120),
        Unit::Century => whole(months / 1200),
        Unit::Millennium => whole(months / 12_000),
        Unit::Epoch => {
            // A year has 365.25 days, a month 30.
            let quarter_days = months / 12 * 1461 + months % 12 * 120 + i64::from(interval.days) * 4;
            let days = i128::from(quarter_days) * i128::from(USECS_PER_DAY / 4);
            Ok(Part::Number(days + i128::from(time), 6))
        }
        _ => Err(names.unsupported(row)),
    }
}
