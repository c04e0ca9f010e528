//! `interval` in the four styles of `IntervalStyle`.
//!
//! What always holds: the text reads back as the same interval in the session that printed it; how signs are spread over
//! the parts differs from style to style and follows PostgreSQL's habits exactly, odd ones included.

use arrow::datatypes::IntervalMonthDayNano;

use super::digits::{push_fraction, push_integer, push_pair};
use crate::columns::Fixed;
use crate::encoder::{BoxedEncoder, FixedWidth, WriteValue};
use crate::format::IntervalStyle;
use crate::interval_parts::{Fields, Interval};

/// The encoder of intervals in a style.
pub(super) fn interval_encoder(column: Fixed<IntervalMonthDayNano>, style: IntervalStyle) -> BoxedEncoder {
    let Fixed { values, nulls } = column;
    match style {
        IntervalStyle::Postgres => FixedWidth::boxed(values, nulls, Postgres),
        IntervalStyle::PostgresVerbose => FixedWidth::boxed(values, nulls, Verbose),
        IntervalStyle::SqlStandard => FixedWidth::boxed(values, nulls, SqlStandard),
        IntervalStyle::Iso8601 => FixedWidth::boxed(values, nulls, Iso8601),
    }
}

/// `1 year 2 mons -3 days +04:05:06`
struct Postgres;

impl WriteValue<IntervalMonthDayNano> for Postgres {
    fn write_value(&mut self, value: IntervalMonthDayNano, out: &mut Vec<u8>) {
        let fields = Interval::from_arrow(value).fields();
        let mut nothing_yet = true;
        // A part after a negative one shows its plus; only the part just before counts.
        let mut after_negative = false;
        for (value, unit) in [(fields.year, "year"), (fields.month, "mon"), (fields.day, "day")] {
            if value == 0 {
                continue;
            }
            if !nothing_yet {
                out.push(b' ');
            }
            if after_negative && value > 0 {
                out.push(b'+');
            }
            push_integer(value, out);
            out.push(b' ');
            out.extend_from_slice(unit.as_bytes());
            if value != 1 {
                out.push(b's');
            }
            after_negative = value < 0;
            nothing_yet = false;
        }
        if nothing_yet || fields.has_time() {
            if !nothing_yet {
                out.push(b' ');
            }
            if fields.time_is_negative() {
                out.push(b'-');
            } else if after_negative {
                out.push(b'+');
            }
            push_hours(fields.hour, 2, out);
            push_minutes_seconds(&fields, out);
        }
    }
}

/// `@ 1 year 2 mons 3 days 4 hours 5 mins 6 secs ago`
struct Verbose;

impl WriteValue<IntervalMonthDayNano> for Verbose {
    fn write_value(&mut self, value: IntervalMonthDayNano, out: &mut Vec<u8>) {
        let fields = Interval::from_arrow(value).fields();
        let mut nothing_yet = true;
        // The first part decides whether the whole is "ago"; the others are printed relative to that.
        let mut ago = false;
        out.push(b'@');
        let parts = [
            (i64::from(fields.year), "year"),
            (i64::from(fields.month), "mon"),
            (i64::from(fields.day), "day"),
            (fields.hour, "hour"),
            (i64::from(fields.minute), "min"),
        ];
        for (mut value, unit) in parts {
            if value == 0 {
                continue;
            }
            if nothing_yet {
                ago = value < 0;
                value = value.abs();
            } else if ago {
                value = -value;
            }
            out.push(b' ');
            push_integer(value, out);
            out.push(b' ');
            out.extend_from_slice(unit.as_bytes());
            if value != 1 {
                out.push(b's');
            }
            nothing_yet = false;
        }
        if fields.second != 0 || fields.micro != 0 {
            out.push(b' ');
            if fields.second < 0 || fields.micro < 0 {
                if nothing_yet {
                    ago = true;
                } else if !ago {
                    out.push(b'-');
                }
            } else if ago {
                out.push(b'-');
            }
            push_integer(fields.second.unsigned_abs(), out);
            push_fraction(fields.micro.unsigned_abs(), out);
            let one = fields.second.abs() == 1 && fields.micro == 0;
            out.extend_from_slice(if one { b" sec" } else { b" secs" });
            nothing_yet = false;
        }
        if nothing_yet {
            out.extend_from_slice(b" 0");
        }
        if ago {
            out.extend_from_slice(b" ago");
        }
    }
}

/// `1-2`, `3 4:05:06`, `+1-2 -3 +4:05:06`
struct SqlStandard;

impl WriteValue<IntervalMonthDayNano> for SqlStandard {
    fn write_value(&mut self, value: IntervalMonthDayNano, out: &mut Vec<u8>) {
        let fields = Interval::from_arrow(value).fields();
        if fields.is_zero() {
            return out.push(b'0');
        }
        let parts = [
            i64::from(fields.year),
            i64::from(fields.month),
            i64::from(fields.day),
            fields.hour,
            i64::from(fields.minute),
            i64::from(fields.second),
            i64::from(fields.micro),
        ];
        let has_negative = parts.iter().any(|part| *part < 0);
        let has_positive = parts.iter().any(|part| *part > 0);
        let has_months = fields.year != 0 || fields.month != 0;
        let has_days_or_time = fields.day != 0 || fields.has_time();
        if (has_negative && has_positive) || (has_months && has_days_or_time) {
            // Not an interval of the standard: every part with its sign, so that none is ambiguous.
            push_sign(fields.year < 0 || fields.month < 0, out);
            push_years_months(&fields, out);
            out.push(b' ');
            push_sign(fields.day < 0, out);
            push_integer(fields.day.unsigned_abs(), out);
            out.push(b' ');
            push_sign(fields.time_is_negative(), out);
            push_hours(fields.hour, 1, out);
            push_minutes_seconds(&fields, out);
            return;
        }
        if has_negative {
            out.push(b'-');
        }
        if has_months {
            push_years_months(&fields, out);
        } else {
            if fields.day != 0 {
                push_integer(fields.day.unsigned_abs(), out);
                out.push(b' ');
            }
            push_hours(fields.hour, 1, out);
            push_minutes_seconds(&fields, out);
        }
    }
}

/// `P1Y2M3DT4H5M6S`
struct Iso8601;

impl WriteValue<IntervalMonthDayNano> for Iso8601 {
    fn write_value(&mut self, value: IntervalMonthDayNano, out: &mut Vec<u8>) {
        let fields = Interval::from_arrow(value).fields();
        if fields.is_zero() {
            return out.extend_from_slice(b"PT0S");
        }
        fn part(value: i64, unit: u8, out: &mut Vec<u8>) {
            if value != 0 {
                push_integer(value, out);
                out.push(unit);
            }
        }
        out.push(b'P');
        part(i64::from(fields.year), b'Y', out);
        part(i64::from(fields.month), b'M', out);
        part(i64::from(fields.day), b'D', out);
        if fields.has_time() {
            out.push(b'T');
        }
        part(fields.hour, b'H', out);
        part(i64::from(fields.minute), b'M', out);
        if fields.second != 0 || fields.micro != 0 {
            if fields.second < 0 || fields.micro < 0 {
                out.push(b'-');
            }
            push_integer(fields.second.unsigned_abs(), out);
            push_fraction(fields.micro.unsigned_abs(), out);
            out.push(b'S');
        }
    }
}

fn push_sign(negative: bool, out: &mut Vec<u8>) {
    out.push(if negative { b'-' } else { b'+' });
}

fn push_years_months(fields: &Fields, out: &mut Vec<u8>) {
    push_integer(fields.year.unsigned_abs(), out);
    out.push(b'-');
    push_integer(fields.month.unsigned_abs(), out);
}

fn push_hours(hours: i64, width: usize, out: &mut Vec<u8>) {
    let hours = hours.unsigned_abs();
    if hours < 10 && width == 2 {
        out.push(b'0');
    }
    push_integer(hours, out);
}

fn push_minutes_seconds(fields: &Fields, out: &mut Vec<u8>) {
    out.push(b':');
    push_pair(fields.minute.unsigned_abs(), out);
    out.push(b':');
    push_pair(fields.second.unsigned_abs(), out);
    push_fraction(fields.micro.unsigned_abs(), out);
}
