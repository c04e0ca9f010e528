//! `to_char` of timestamps and intervals.

use arrow::array::ArrayRef;
use arrow::datatypes::IntervalMonthDayNano;
use wharf_values::SqlError;

use super::date_template::{Case, Field, Node, parse};
use super::{DAYS, MONTHS, ROMAN_MONTHS, Templates, ordinal};
use crate::functions::call::{Call, Result};
use crate::functions::datetime::{
    Fields, UNIX_EPOCH_JULIAN, USECS_PER_HOUR, USECS_PER_MINUTE, USECS_PER_SEC, day_of_week, day_of_year,
    days_from_civil, is_infinite, iso_week, iso_year_start, utc_offset, zone_abbreviation,
};
use crate::functions::overload::{Declaration, immutable, stable};
use crate::functions::strings::write_fmt;

pub(super) const FUNCTIONS: &[Declaration] = &[
    stable("to_char", "timestamp, text -> text", timestamp_to_char),
    stable("to_char", "timestamptz, text -> text", timestamptz_to_char),
    immutable("to_char", "interval, text -> text", interval_to_char),
];

/// What a template is applied to.
struct Moment {
    interval: bool,
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    day_of_year: i64,
    /// The day counted from 1970.
    days: i64,
    /// The offset from UTC in seconds and the abbreviation of the zone.
    zone: Option<(i64, String)>,
}

impl Moment {
    fn of_timestamp(timestamp: i64) -> Moment {
        let fields = Fields::of_timestamp(timestamp);
        Moment {
            interval: false,
            year: fields.year,
            month: i64::from(fields.month),
            day: i64::from(fields.day),
            hour: fields.hour(),
            minute: fields.minute(),
            second: fields.second(),
            micros: fields.micros(),
            day_of_year: day_of_year(fields.days),
            days: fields.days,
            zone: None,
        }
    }

    fn of_interval(interval: IntervalMonthDayNano) -> Moment {
        let time = interval.nanoseconds / 1000;
        let (months, day) = (i64::from(interval.months), i64::from(interval.days));
        let (year, month) = (months / 12, months % 12);
        Moment {
            interval: true,
            year,
            month,
            day,
            hour: time / USECS_PER_HOUR,
            minute: time / USECS_PER_MINUTE % 60,
            second: time / USECS_PER_SEC % 60,
            micros: time % USECS_PER_SEC,
            // The whole span in days, with months of 30.
            day_of_year: months * 30 + day,
            days: days_from_civil(year, month.clamp(1, 12) as u32, 1) + day - 1,
            zone: None,
        }
    }

    /// The year as people count it: 1 BC is 1.
    fn people_year(&self, year: i64) -> i64 {
        if !self.interval && year <= 0 { 1 - year } else { year }
    }
}

fn timestamp_to_char(call: &Call<'_>) -> Result<ArrayRef> {
    let timestamp = call.timestamp(0)?;
    let templates = Templates::new(call.text(1)?, parse)?;
    call.make_optional_text(|row, out| {
        let (timestamp, template) = (timestamp.at(row), templates.at(row)?);
        if is_infinite(timestamp) || template.is_empty() {
            return Ok(false);
        }
        write(&template, &Moment::of_timestamp(timestamp), out).map(|()| true)
    })
}

fn timestamptz_to_char(call: &Call<'_>) -> Result<ArrayRef> {
    let timestamp = call.timestamp(0)?;
    let templates = Templates::new(call.text(1)?, parse)?;
    let zone = call.text_format().time_zone;
    let wants_zone =
        |template: &[Node]| template.iter().any(|node| matches!(node, Node::Field { field: Field::Zone, .. }));
    call.make_optional_text(|row, out| {
        let (timestamp, template) = (timestamp.at(row), templates.at(row)?);
        if is_infinite(timestamp) || template.is_empty() {
            return Ok(false);
        }
        let offset = utc_offset(&zone, timestamp);
        let mut moment = Moment::of_timestamp(timestamp + offset);
        let abbreviation = if wants_zone(&template) { zone_abbreviation(&zone, timestamp)? } else { String::new() };
        moment.zone = Some((offset / USECS_PER_SEC, abbreviation));
        write(&template, &moment, out).map(|()| true)
    })
}

fn interval_to_char(call: &Call<'_>) -> Result<ArrayRef> {
    let interval = call.interval(0)?;
    let templates = Templates::new(call.text(1)?, parse)?;
    call.make_optional_text(|row, out| {
        let template = templates.at(row)?;
        if template.is_empty() {
            return Ok(false);
        }
        write(&template, &Moment::of_interval(interval.at(row)), out).map(|()| true)
    })
}

fn write(template: &[Node], moment: &Moment, out: &mut String) -> Result<()> {
    for node in template {
        match node {
            Node::Space(letter) | Node::Separator(letter) | Node::Text(letter) => out.push(*letter),
            Node::Field { field, case, fill_mode, ordinal: suffix, .. } => {
                let start = out.len();
                write_field(*field, *case, *fill_mode, moment, out)?;
                if let Some(upper) = suffix
                    && field.is_digits()
                {
                    let suffix = ordinal(&out[start..], *upper);
                    out.push_str(suffix);
                }
            }
        }
    }
    Ok(())
}

fn no_interval(moment: &Moment) -> Result<()> {
    if moment.interval {
        let error = SqlError::new(
            wharf_values::SqlState::INVALID_DATETIME_FORMAT,
            "invalid format specification for an interval value",
        );
        return Err(error.with_hint("Intervals are not tied to specific calendar dates."));
    }
    Ok(())
}

/// Digits padded to a width, one more for a negative number.
fn number(value: i64, width: usize, fill_mode: bool, out: &mut String) -> Result<()> {
    if fill_mode {
        write_fmt(out, format_args!("{value}"))
    } else {
        write_fmt(out, format_args!("{value:0width$}", width = width + usize::from(value < 0)))
    }
}

/// A name in the case of its keyword, padded to nine characters where PostgreSQL pads.
fn name(name: &str, case: Case, width: usize, out: &mut String) {
    let start = out.len();
    out.push_str(name);
    match case {
        Case::Upper => out[start..].make_ascii_uppercase(),
        Case::Capital => {}
        Case::Lower => out[start..].make_ascii_lowercase(),
    }
    let written = out.len() - start;
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(written)));
}

fn write_field(field: Field, case: Case, fill_mode: bool, moment: &Moment, out: &mut String) -> Result<()> {
    let nine = if fill_mode { 0 } else { 9 };
    match field {
        Field::Fixed => {}
        Field::Meridiem { dots } => {
            let late = moment.hour.rem_euclid(24) >= 12;
            let text = match (late, dots) {
                (false, true) => "A.M.",
                (false, false) => "AM",
                (true, true) => "P.M.",
                (true, false) => "PM",
            };
            name(text, case, 0, out);
        }
        Field::Era { dots } => {
            no_interval(moment)?;
            let text = match (moment.year <= 0, dots) {
                (false, true) => "A.D.",
                (false, false) => "AD",
                (true, true) => "B.C.",
                (true, false) => "BC",
            };
            name(text, case, 0, out);
        }
        Field::Hour12 => {
            let hour = moment.hour % 12;
            let hour = if hour == 0 { 12 } else { hour };
            // The sign of the hours decides the width.
            if fill_mode {
                write_fmt(out, format_args!("{hour}"))?;
            } else {
                let width = if moment.hour >= 0 { 2 } else { 3 };
                write_fmt(out, format_args!("{hour:0width$}"))?;
            }
        }
        Field::Hour24 => number(moment.hour, 2, fill_mode, out)?,
        Field::Minute => number(moment.minute, 2, fill_mode, out)?,
        Field::Second => number(moment.second, 2, fill_mode, out)?,
        Field::Fraction(digits) => {
            let unit = 10_i64.pow(6 - u32::from(digits));
            write_fmt(out, format_args!("{:0width$}", moment.micros / unit, width = usize::from(digits)))?;
        }
        Field::Millisecond => write_fmt(out, format_args!("{:03}", moment.micros / 1000))?,
        Field::Microsecond => write_fmt(out, format_args!("{:06}", moment.micros))?,
        Field::SecondOfDay => {
            write_fmt(out, format_args!("{}", moment.hour * 3600 + moment.minute * 60 + moment.second))?;
        }
        Field::Zone => {
            no_interval(moment)?;
            if let Some((_, abbreviation)) = &moment.zone {
                let start = out.len();
                out.push_str(abbreviation);
                if case == Case::Lower {
                    out[start..].make_ascii_lowercase();
                }
            }
        }
        Field::ZoneHour | Field::ZoneMinute | Field::Offset => {
            no_interval(moment)?;
            zone_offset(field, fill_mode, moment.zone.as_ref().map_or(0, |(offset, _)| *offset), out)?;
        }
        Field::MonthName => {
            no_interval(moment)?;
            name(MONTHS[(moment.month - 1) as usize], case, nine, out);
        }
        Field::MonthNameShort => {
            no_interval(moment)?;
            name(&MONTHS[(moment.month - 1) as usize][..3], case, 0, out);
        }
        Field::Month => number(moment.month, 2, fill_mode, out)?,
        Field::DayName => {
            no_interval(moment)?;
            name(DAYS[day_of_week(moment.days) as usize], case, nine, out);
        }
        Field::DayNameShort => {
            no_interval(moment)?;
            name(&DAYS[day_of_week(moment.days) as usize][..3], case, 0, out);
        }
        Field::DayOfYear => padded(moment.day_of_year, 3, fill_mode, out)?,
        Field::IsoDayOfYear => {
            let (year, _) = iso_week(moment.days);
            padded(moment.days - iso_year_start(year) + 1, 3, fill_mode, out)?;
        }
        Field::Day => padded(moment.day, 2, fill_mode, out)?,
        Field::DayOfWeek => {
            no_interval(moment)?;
            write_fmt(out, format_args!("{}", day_of_week(moment.days) + 1))?;
        }
        Field::IsoDayOfWeek => {
            no_interval(moment)?;
            write_fmt(out, format_args!("{}", (day_of_week(moment.days) + 6) % 7 + 1))?;
        }
        Field::Week => padded((moment.day_of_year - 1) / 7 + 1, 2, fill_mode, out)?,
        Field::IsoWeek => padded(iso_week(moment.days).1, 2, fill_mode, out)?,
        Field::WeekOfMonth => write_fmt(out, format_args!("{}", (moment.day - 1) / 7 + 1))?,
        Field::Quarter => {
            if moment.month != 0 {
                write_fmt(out, format_args!("{}", (moment.month - 1) / 3 + 1))?;
            }
        }
        Field::Century => {
            let century = if moment.interval {
                moment.year / 100
            } else if moment.year > 0 {
                (moment.year - 1) / 100 + 1
            } else {
                moment.year / 100 - 1
            };
            number(century, 2, fill_mode, out)?;
        }
        Field::YearWithComma => {
            let year = moment.people_year(moment.year);
            write_fmt(out, format_args!("{},{:03}", year / 1000, year % 1000))?;
        }
        Field::Year(digits) => year(moment.people_year(moment.year), digits, fill_mode, out)?,
        Field::IsoYear(digits) => year(moment.people_year(iso_week(moment.days).0), digits, fill_mode, out)?,
        Field::RomanMonth => roman_month(case, fill_mode, moment, out),
        Field::Julian => write_fmt(out, format_args!("{}", moment.days + UNIX_EPOCH_JULIAN))?,
    }
    Ok(())
}

/// Digits padded to a width that is the same for negative numbers.
fn padded(value: i64, width: usize, fill_mode: bool, out: &mut String) -> Result<()> {
    if fill_mode { write_fmt(out, format_args!("{value}")) } else { write_fmt(out, format_args!("{value:0width$}")) }
}

fn year(year: i64, digits: u8, fill_mode: bool, out: &mut String) -> Result<()> {
    match digits {
        4 => number(year, 4, fill_mode, out),
        1 => write_fmt(out, format_args!("{}", year % 10)),
        digits => number(year % 10_i64.pow(u32::from(digits)), usize::from(digits), fill_mode, out),
    }
}

fn zone_offset(field: Field, fill_mode: bool, offset: i64, out: &mut String) -> Result<()> {
    let sign = if offset >= 0 { '+' } else { '-' };
    let (hours, minutes) = (offset.abs() / 3600, offset.abs() % 3600 / 60);
    match field {
        Field::ZoneHour => write_fmt(out, format_args!("{sign}{hours:02}")),
        Field::ZoneMinute => write_fmt(out, format_args!("{minutes:02}")),
        _ => {
            out.push(sign);
            padded(hours, 2, fill_mode, out)?;
            if minutes != 0 { write_fmt(out, format_args!(":{minutes:02}")) } else { Ok(()) }
        }
    }
}

fn roman_month(case: Case, fill_mode: bool, moment: &Moment, out: &mut String) {
    if moment.month == 0 && moment.year == 0 {
        return;
    }
    // Twelve months of an interval are a year, which is December again; negative months count backwards.
    let index = match moment.month {
        0 if moment.year >= 0 => 0,
        0 => 11,
        month if month < 0 => -(month + 1),
        month => 12 - month,
    };
    name(ROMAN_MONTHS[index as usize], case, if fill_mode { 0 } else { 4 }, out);
}
