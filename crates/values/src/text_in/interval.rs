//! `interval`: `1 year 2 mons 3 days 04:05:06`, `@ 1 hour ago`, `1-2 3 4:05:06`, `P1Y2M3DT4H5M6S`.
//!
//! What always holds: fields are read from right to left, so that a unit is known before its number; fractions go
//! down to the smaller units as in PostgreSQL (a month has 30 days there). A time longer than Arrow's nanoseconds reach
//! (292 years) is `22008`.

use super::datetime::error::{DecodeError, Step};
use super::datetime::fields::{Field, INTERVAL_ROOM, Kind, split};
use super::datetime::numbers::{leading_integer, parse_fraction, read_clock};
use super::datetime::words::{IntervalWord, Unit, interval_word};
use crate::calendar::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};
use crate::error::{SqlError, SqlState};
use crate::format::IntervalStyle;
use crate::interval_parts::Interval;
use arrow::datatypes::IntervalMonthDayNano;

use DecodeError::{BadFormat, FieldOverflow};

const DAYS_PER_MONTH: i32 = 30;

/// Reads an interval. The style matters for one thing: in `sql_standard` a leading minus is for every field.
pub(crate) fn parse(text: &[u8], style: IntervalStyle) -> Result<IntervalMonthDayNano, SqlError> {
    let decoded = split(text, INTERVAL_ROOM).ok_or(BadFormat).and_then(|fields| decode(&fields, style));
    let decoded = match decoded {
        Err(BadFormat) => decode_iso(text),
        decoded => decoded,
    };
    let parts = decoded.map_err(|error| {
        let error = if error == FieldOverflow { DecodeError::IntervalOverflow } else { error };
        error.into_sql(text, "interval")
    })?;
    parts.into_interval().and_then(Interval::to_arrow).ok_or_else(out_of_range)
}

/// `22008`: months, days or time beyond what an interval holds.
pub(crate) fn out_of_range() -> SqlError {
    SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "interval out of range")
}

/// An interval while it is read.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    years: i32,
    months: i32,
    days: i32,
    micros: i64,
}

impl Parts {
    fn into_interval(self) -> Option<Interval> {
        let months = i64::from(self.years) * 12 + i64::from(self.months);
        Some(Interval { months: i32::try_from(months).ok()?, days: self.days, micros: self.micros })
    }

    fn add_years(&mut self, value: i64, fraction: f64, scale: i32) -> Step<()> {
        self.years = add_scaled(self.years, value, scale)?;
        let months = (fraction * f64::from(scale) * 12.0).round_ties_even() as i32;
        self.months = self.months.checked_add(months).ok_or(FieldOverflow)?;
        Ok(())
    }

    fn add_months(&mut self, value: i64, fraction: f64) -> Step<()> {
        self.months = add_scaled(self.months, value, 1)?;
        self.add_fraction_of_days(fraction, DAYS_PER_MONTH)
    }

    fn add_days(&mut self, value: i64, fraction: f64, scale: i32) -> Step<()> {
        self.days = add_scaled(self.days, value, scale)?;
        if scale == 1 {
            self.add_fraction(fraction, MICROS_PER_DAY)
        } else {
            self.add_fraction_of_days(fraction, scale)
        }
    }

    fn add_fraction_of_days(&mut self, fraction: f64, scale: i32) -> Step<()> {
        let days = fraction * f64::from(scale);
        self.days = self.days.checked_add(days as i32).ok_or(FieldOverflow)?;
        self.add_fraction(days - days.trunc(), MICROS_PER_DAY)
    }

    fn add_micros(&mut self, value: i64, fraction: f64, scale: i64) -> Step<()> {
        self.micros =
            value.checked_mul(scale).and_then(|micros| self.micros.checked_add(micros)).ok_or(FieldOverflow)?;
        self.add_fraction(fraction, scale)
    }

    fn add_fraction(&mut self, fraction: f64, scale: i64) -> Step<()> {
        let exact = fraction * scale as f64;
        let whole = exact as i64;
        let rest = exact - whole as f64;
        let rounded = whole + i64::from(rest > 0.5) - i64::from(rest < -0.5);
        self.micros = self.micros.checked_add(rounded).ok_or(FieldOverflow)?;
        Ok(())
    }

    fn negate(&mut self) -> Step<()> {
        self.years = self.years.checked_neg().ok_or(FieldOverflow)?;
        self.months = self.months.checked_neg().ok_or(FieldOverflow)?;
        self.days = self.days.checked_neg().ok_or(FieldOverflow)?;
        self.micros = self.micros.checked_neg().ok_or(FieldOverflow)?;
        Ok(())
    }
}

fn add_scaled(sum: i32, value: i64, scale: i32) -> Step<i32> {
    i32::try_from(value)
        .ok()
        .and_then(|value| value.checked_mul(scale))
        .and_then(|value| sum.checked_add(value))
        .ok_or(FieldOverflow)
}

/// Which units have been set, one bit each; fractions of a second count as milli- and microseconds too.
fn unit_mask(unit: Unit) -> u32 {
    1 << unit as u32
}

const TIME_MASK: u32 = 1 << Unit::Hour as u32 | 1 << Unit::Minute as u32 | SECONDS_MASK;
const SECONDS_MASK: u32 = 1 << Unit::Second as u32 | 1 << Unit::Millisecond as u32 | 1 << Unit::Microsecond as u32;

/// Reads fields with units, times and the SQL standard's forms.
fn decode(fields: &[Field], style: IntervalStyle) -> Step<Parts> {
    let mut parts = Parts::default();
    let mut seen = 0;
    let mut unit: Option<Unit> = None;
    let mut ago = false;
    let signed = |field: &Field| field.text.starts_with(['+', '-']);
    let all_negative = style == IntervalStyle::SqlStandard
        && fields.first().is_some_and(|field| field.text.starts_with('-'))
        && !fields[1..].iter().any(signed);
    for field in fields.iter().rev() {
        let clock = match field.kind {
            Kind::Time => Some(clock_micros(&field.text)?),
            // A sign and a time; when it is not a time, it is a number.
            Kind::Signed if field.text.contains(':') => clock_micros(&field.text[1..]).ok(),
            _ => None,
        };
        let set = match field.kind {
            Kind::Time | Kind::Signed if clock.is_some() => {
                let mut micros = clock.unwrap_or_default();
                if field.text.starts_with('-') || (all_negative && micros > 0) {
                    micros = -micros;
                }
                parts.micros = micros;
                // The number before a time is days.
                unit = Some(Unit::Day);
                TIME_MASK
            }
            Kind::Time | Kind::Signed | Kind::Date | Kind::Number => {
                number_field(&field.text, &mut unit, all_negative, &mut parts)?
            }
            Kind::Text | Kind::Special => {
                match interval_word(&field.text).ok_or(BadFormat)? {
                    IntervalWord::Ignored => continue,
                    IntervalWord::Ago => {
                        ago = true;
                        // As a unit it is none at all.
                        unit = Some(Unit::Zone);
                    }
                    IntervalWord::Unit(word) => unit = Some(word),
                }
                0
            }
        };
        if set & seen != 0 {
            return Err(BadFormat);
        }
        seen |= set;
    }
    if seen == 0 {
        return Err(BadFormat);
    }
    if ago {
        parts.negate()?;
    }
    Ok(parts)
}

fn clock_micros(text: &str) -> Step<i64> {
    let clock = read_clock(text)?;
    let rest = i64::from(clock.minute) * MICROS_PER_MINUTE
        + i64::from(clock.second) * MICROS_PER_SECOND
        + i64::from(clock.micro);
    clock.hour.checked_mul(MICROS_PER_HOUR).and_then(|micros| micros.checked_add(rest)).ok_or(FieldOverflow)
}

/// A number with the unit after it, or years and months with a hyphen between them. Without a unit: seconds.
fn number_field(text: &str, unit: &mut Option<Unit>, all_negative: bool, parts: &mut Parts) -> Step<u32> {
    let negative = text.starts_with('-');
    let digits = text.trim_start_matches(['+', '-']);
    let (size, rest) = leading_integer::<i64>(digits)?;
    let mut value = if negative { -size } else { size };
    let mut fraction = 0.0;
    let mut kind = unit.unwrap_or(Unit::Second);
    if let Some(months) = rest.strip_prefix('-') {
        let (months, rest) = leading_integer::<i32>(months)?;
        if !(0..12).contains(&months) {
            return Err(FieldOverflow);
        }
        if !rest.is_empty() {
            return Err(BadFormat);
        }
        kind = Unit::Month;
        let months = i64::from(if negative { -months } else { months });
        value = value.checked_mul(12).and_then(|value| value.checked_add(months)).ok_or(FieldOverflow)?;
    } else if rest.starts_with('.') {
        fraction = parse_fraction(rest)?;
        if negative {
            fraction = -fraction;
        }
    } else if !rest.is_empty() {
        return Err(BadFormat);
    }
    if all_negative {
        value = -value.abs();
        fraction = -fraction.abs();
    }
    *unit = Some(kind);
    match kind {
        Unit::Microsecond => parts.add_micros(value, fraction, 1)?,
        Unit::Millisecond => parts.add_micros(value, fraction, 1_000)?,
        Unit::Second => parts.add_micros(value, fraction, MICROS_PER_SECOND)?,
        Unit::Minute => parts.add_micros(value, fraction, MICROS_PER_MINUTE)?,
        Unit::Hour => {
            parts.add_micros(value, fraction, MICROS_PER_HOUR)?;
            *unit = Some(Unit::Day);
        }
        Unit::Day => parts.add_days(value, fraction, 1)?,
        Unit::Week => parts.add_days(value, fraction, 7)?,
        Unit::Month => parts.add_months(value, fraction)?,
        Unit::Year => parts.add_years(value, fraction, 1)?,
        Unit::Decade => parts.add_years(value, fraction, 10)?,
        Unit::Century => parts.add_years(value, fraction, 100)?,
        Unit::Millennium => parts.add_years(value, fraction, 1000)?,
        Unit::Quarter | Unit::Zone => return Err(BadFormat),
    }
    Ok(if kind == Unit::Second && fraction != 0.0 { SECONDS_MASK } else { unit_mask(kind) })
}

/// Reads ISO 8601, with designators (`P1Y2M3DT4H5M6S`) or in the alternative form (`P0001-02-03T04:05:06`).
fn decode_iso(text: &[u8]) -> Step<Parts> {
    let mut rest = text.strip_prefix(b"P").filter(|rest| !rest.is_empty()).ok_or(BadFormat)?;
    let mut parts = Parts::default();
    let mut in_date = true;
    let mut have_field = false;
    while let Some(first) = rest.first() {
        if *first == b'T' {
            in_date = false;
            have_field = false;
            rest = &rest[1..];
            continue;
        }
        let (number, tail) = iso_number(rest)?;
        let Number { value, fraction, digits } = number;
        let designator = tail.first().copied();
        rest = tail.get(1..).unwrap_or_default();
        match (in_date, designator) {
            (true, Some(b'Y')) => parts.add_years(value, fraction, 1)?,
            (true, Some(b'M')) => parts.add_months(value, fraction)?,
            (true, Some(b'W')) => parts.add_days(value, fraction, 7)?,
            (true, Some(b'D')) => parts.add_days(value, fraction, 1)?,
            (true, None | Some(b'T')) if digits == 8 && !have_field => {
                parts.add_years(value / 10_000, 0.0, 1)?;
                parts.add_months(value / 100 % 100, 0.0)?;
                parts.add_days(value % 100, fraction, 1)?;
                in_date = false;
                continue;
            }
            (true, None | Some(b'T' | b'-')) => {
                if have_field {
                    return Err(BadFormat);
                }
                parts.add_years(value, fraction, 1)?;
                if designator == Some(b'-') {
                    rest = iso_month_and_day(rest, &mut parts)?;
                }
                in_date = false;
                continue;
            }
            (false, Some(b'H')) => parts.add_micros(value, fraction, MICROS_PER_HOUR)?,
            (false, Some(b'M')) => parts.add_micros(value, fraction, MICROS_PER_MINUTE)?,
            (false, Some(b'S')) => parts.add_micros(value, fraction, MICROS_PER_SECOND)?,
            (false, None) if digits == 6 && !have_field => {
                parts.add_micros(value / 10_000, 0.0, MICROS_PER_HOUR)?;
                parts.add_micros(value / 100 % 100, 0.0, MICROS_PER_MINUTE)?;
                parts.add_micros(value % 100, 0.0, MICROS_PER_SECOND)?;
                parts.add_fraction(fraction, 1)?;
                return Ok(parts);
            }
            (false, None | Some(b':')) => {
                if have_field {
                    return Err(BadFormat);
                }
                parts.add_micros(value, fraction, MICROS_PER_HOUR)?;
                if designator.is_some() {
                    iso_minutes_and_seconds(rest, &mut parts)?;
                }
                return Ok(parts);
            }
            _ => return Err(BadFormat),
        }
        have_field = true;
    }
    Ok(parts)
}

/// `mm`, `mm-dd` after a year; what follows is nothing, or begins with the `T` of the time.
fn iso_month_and_day<'a>(text: &'a [u8], parts: &mut Parts) -> Step<&'a [u8]> {
    let (month, rest) = iso_number(text)?;
    parts.add_months(month.value, month.fraction)?;
    let rest = match rest {
        [] | [b'T', ..] => rest,
        [b'-', rest @ ..] => {
            let (day, rest) = iso_number(rest)?;
            parts.add_days(day.value, day.fraction, 1)?;
            rest
        }
        _ => return Err(BadFormat),
    };
    match rest {
        [] | [b'T', ..] => Ok(rest),
        _ => Err(BadFormat),
    }
}

/// `mm`, `mm:ss` after an hour.
fn iso_minutes_and_seconds(text: &[u8], parts: &mut Parts) -> Step<()> {
    let (minute, rest) = iso_number(text)?;
    parts.add_micros(minute.value, minute.fraction, MICROS_PER_MINUTE)?;
    match rest {
        [] => Ok(()),
        [b':', rest @ ..] => {
            let (second, rest) = iso_number(rest)?;
            parts.add_micros(second.value, second.fraction, MICROS_PER_SECOND)?;
            if rest.is_empty() { Ok(()) } else { Err(BadFormat) }
        }
        _ => Err(BadFormat),
    }
}

/// A number of ISO 8601's form.
struct Number {
    value: i64,
    fraction: f64,
    /// Digits before the point.
    digits: usize,
}

fn iso_number(text: &[u8]) -> Step<(Number, &[u8])> {
    let sign = usize::from(text.first() == Some(&b'-'));
    let count = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = count(sign);
    let mut end = sign + digits;
    let mut has_digits = digits > 0;
    if text.get(end) == Some(&b'.') {
        let fraction = count(end + 1);
        has_digits |= fraction > 0;
        end += 1 + fraction;
    }
    if !has_digits {
        return Err(BadFormat);
    }
    if let Some(b'e' | b'E') = text.get(end) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent =
            text.get(end + 1 + sign..).map_or(0, |rest| rest.iter().take_while(|b| b.is_ascii_digit()).count());
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let number = std::str::from_utf8(&text[..end]).ok().and_then(|text| text.parse::<f64>().ok()).ok_or(BadFormat)?;
    if !(-1e15..=1e15).contains(&number) {
        return Err(FieldOverflow);
    }
    let value = number.trunc();
    Ok((Number { value: value as i64, fraction: number - value, digits }, &text[end..]))
}
