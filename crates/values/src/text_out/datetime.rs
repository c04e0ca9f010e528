//! Dates, times and timestamps in the four output forms of `DateStyle`.
//!
//! What always holds: the ISO form, which nearly every session uses, has a writer of its own without branches on
//! the style. Years are printed as years of their era, with `BC` at the end.

use super::digits::{pair, push_pair, push_time, push_year};
use crate::calendar::{Civil, MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, day_of_week};
use crate::columns::Fixed;
use crate::encoder::{BoxedEncoder, FixedWidth, WriteValue};
use crate::format::{DateOrder, DateOutput, DateStyle, TextFormat};
use crate::time_zone::Offsets;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const DAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];

/// Days since 1970-01-01.
pub(super) struct Date {
    style: DateStyle,
}

impl Date {
    pub(super) fn new(style: DateStyle) -> Self {
        Date { style }
    }
}

impl WriteValue<i32> for Date {
    #[inline]
    fn write_value(&mut self, value: i32, out: &mut Vec<u8>) {
        match value {
            i32::MAX => return out.extend_from_slice(b"infinity"),
            i32::MIN => return out.extend_from_slice(b"-infinity"),
            _ => {}
        }
        let date = civil_from_days(i64::from(value));
        if self.style.output == DateOutput::Iso {
            push_iso_date(date, out);
        } else {
            push_styled_date(date, self.style, out);
        }
        push_era(date, out);
    }
}

/// Microseconds since midnight.
pub(super) struct Time;

impl WriteValue<i64> for Time {
    #[inline]
    fn write_value(&mut self, value: i64, out: &mut Vec<u8>) {
        push_time(value, out);
    }
}

/// The encoder of timestamps, chosen by what there is to print besides the date and time.
pub(super) fn timestamp_encoder(column: Fixed<i64>, with_zone: bool, format: &TextFormat) -> BoxedEncoder {
    let Fixed { values, nulls } = column;
    let style = format.date_style;
    match (style.output, with_zone) {
        (DateOutput::Iso, false) => FixedWidth::boxed(values, nulls, IsoTimestamp),
        (DateOutput::Iso, true) => {
            let offsets = Offsets::new(format.time_zone.clone());
            FixedWidth::boxed(values, nulls, IsoTimestampTz { offsets })
        }
        (_, with_zone) => {
            let offsets = with_zone.then(|| Offsets::new(format.time_zone.clone()));
            FixedWidth::boxed(values, nulls, StyledTimestamp { style, offsets })
        }
    }
}

struct IsoTimestamp;

impl WriteValue<i64> for IsoTimestamp {
    #[inline]
    fn write_value(&mut self, value: i64, out: &mut Vec<u8>) {
        if write_infinity(value, out) {
            return;
        }
        let (date, micros) = split(value, 0);
        push_iso_date(date, out);
        out.push(b' ');
        push_time(micros, out);
        push_era(date, out);
    }
}

struct IsoTimestampTz {
    offsets: Offsets,
}

impl WriteValue<i64> for IsoTimestampTz {
    #[inline]
    fn write_value(&mut self, value: i64, out: &mut Vec<u8>) {
        if write_infinity(value, out) {
            return;
        }
        let offset = self.offsets.at_utc(value.div_euclid(MICROS_PER_SECOND));
        let (date, micros) = split(value, offset);
        push_iso_date(date, out);
        out.push(b' ');
        push_time(micros, out);
        push_offset(offset, out);
        push_era(date, out);
    }
}

/// Timestamps in the forms that name the time zone.
struct StyledTimestamp {
    style: DateStyle,
    offsets: Option<Offsets>,
}

impl WriteValue<i64> for StyledTimestamp {
    fn write_value(&mut self, value: i64, out: &mut Vec<u8>) {
        if write_infinity(value, out) {
            return;
        }
        let seconds = value.div_euclid(MICROS_PER_SECOND);
        let offset = self.offsets.as_mut().map_or(0, |offsets| offsets.at_utc(seconds));
        let (date, micros) = split(value, offset);
        if self.style.output == DateOutput::Postgres {
            let days = value.div_euclid(MICROS_PER_SECOND) + i64::from(offset);
            out.extend_from_slice(DAYS[day_of_week(days.div_euclid(crate::calendar::SECONDS_PER_DAY))]);
            out.push(b' ');
            let month = MONTHS[date.month as usize - 1];
            if self.style.order == DateOrder::Dmy {
                push_pair(date.day, out);
                out.push(b' ');
                out.extend_from_slice(month);
            } else {
                out.extend_from_slice(month);
                out.push(b' ');
                push_pair(date.day, out);
            }
            out.push(b' ');
            push_time(micros, out);
            out.push(b' ');
            push_year(era_year(date), out);
        } else {
            push_styled_date(date, self.style, out);
            out.push(b' ');
            push_time(micros, out);
        }
        if let Some(offsets) = &self.offsets {
            out.push(b' ');
            offsets.zone().write_abbreviation(seconds, out);
        }
        push_era(date, out);
    }
}

/// `infinity` and `-infinity`; false for every other value.
#[inline]
fn write_infinity(value: i64, out: &mut Vec<u8>) -> bool {
    let text: &[u8] = match value {
        i64::MAX => b"infinity",
        i64::MIN => b"-infinity",
        _ => return false,
    };
    out.extend_from_slice(text);
    true
}

/// The date and the microseconds of the day, at an offset in seconds.
#[inline]
fn split(value: i64, offset: i32) -> (Civil, i64) {
    // In two steps, since the offset could carry the largest timestamps over the edge.
    let days = value.div_euclid(MICROS_PER_DAY);
    let local = value.rem_euclid(MICROS_PER_DAY) + i64::from(offset) * MICROS_PER_SECOND;
    let date = civil_from_days(days + local.div_euclid(MICROS_PER_DAY));
    (date, local.rem_euclid(MICROS_PER_DAY))
}

#[inline]
fn era_year(date: Civil) -> u32 {
    if date.year > 0 { date.year.unsigned_abs() } else { date.year.unsigned_abs() + 1 }
}

#[inline]
fn push_era(date: Civil, out: &mut Vec<u8>) {
    if date.year <= 0 {
        out.extend_from_slice(b" BC");
    }
}

#[inline]
fn push_iso_date(date: Civil, out: &mut Vec<u8>) {
    let (m, d) = (pair(date.month), pair(date.day));
    push_year(era_year(date), out);
    out.extend_from_slice(&[b'-', m[0], m[1], b'-', d[0], d[1]]);
}

/// A date in numbers in the forms other than ISO.
fn push_styled_date(date: Civil, style: DateStyle, out: &mut Vec<u8>) {
    let separator = match style.output {
        DateOutput::Sql => b'/',
        DateOutput::German => b'.',
        DateOutput::Postgres | DateOutput::Iso => b'-',
    };
    let day_first = style.output == DateOutput::German || style.order == DateOrder::Dmy;
    let (first, second) = if day_first { (date.day, date.month) } else { (date.month, date.day) };
    push_pair(first, out);
    out.push(separator);
    push_pair(second, out);
    out.push(separator);
    push_year(era_year(date), out);
}

/// `+02`, `-03:30`, `+00:53:28`.
#[inline]
fn push_offset(offset: i32, out: &mut Vec<u8>) {
    let size = offset.unsigned_abs();
    out.push(if offset < 0 { b'-' } else { b'+' });
    push_pair(size / 3600 % 100, out);
    let (minutes, seconds) = (size / 60 % 60, size % 60);
    if minutes != 0 || seconds != 0 {
        out.push(b':');
        push_pair(minutes, out);
    }
    if seconds != 0 {
        out.push(b':');
        push_pair(seconds, out);
    }
}
