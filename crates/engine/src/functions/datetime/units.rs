//! The names of date and time fields, as `date_trunc`, `extract` and `date_part` take them.
//!
//! What always holds: the names, abbreviations and the ten letters that count are those of PostgreSQL's token tables.

use wharf_catalog::SqlType;
use wharf_values::SqlError;

use crate::functions::call::invalid_parameter;

/// A field of a date, time, timestamp or interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::functions) enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Epoch,
    Julian,
    IsoYear,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    TimeZone,
    TimeZoneHour,
    TimeZoneMinute,
}

impl Unit {
    /// The unit of a name, in any case.
    pub(in crate::functions) fn parse(name: &str) -> Option<Unit> {
        let mut lower = name.to_ascii_lowercase();
        // PostgreSQL compares ten letters ("microsecon").
        if lower.is_ascii() {
            lower.truncate(10);
        }
        Some(match lower.as_str() {
            "microsecon" | "us" | "usec" | "usecond" | "useconds" | "usecs" => Unit::Microsecond,
            "millisecon" | "ms" | "msec" | "msecond" | "mseconds" | "msecs" => Unit::Millisecond,
            "s" | "sec" | "second" | "seconds" | "secs" => Unit::Second,
            "m" | "min" | "mins" | "minute" | "minutes" | "mm" => Unit::Minute,
            "h" | "hour" | "hours" | "hr" | "hrs" => Unit::Hour,
            "d" | "day" | "days" => Unit::Day,
            "w" | "week" | "weeks" => Unit::Week,
            "mon" | "mons" | "month" | "months" => Unit::Month,
            "qtr" | "quarter" => Unit::Quarter,
            "y" | "year" | "years" | "yr" | "yrs" => Unit::Year,
            "dec" | "decade" | "decades" | "decs" => Unit::Decade,
            "c" | "cent" | "centuries" | "century" => Unit::Century,
            "mil" | "mils" | "millennia" | "millennium" => Unit::Millennium,
            "epoch" => Unit::Epoch,
            "j" | "jd" | "julian" => Unit::Julian,
            "isoyear" => Unit::IsoYear,
            "dow" => Unit::DayOfWeek,
            "isodow" => Unit::IsoDayOfWeek,
            "doy" => Unit::DayOfYear,
            "timezone" => Unit::TimeZone,
            "timezone_h" => Unit::TimeZoneHour,
            "timezone_m" => Unit::TimeZoneMinute,
            _ => return None,
        })
    }
}

/// `22023`: there is no such unit.
pub(in crate::functions) fn not_recognized(name: &str, ty: &SqlType) -> SqlError {
    invalid_parameter(format!("unit \"{}\" not recognized for type {ty}", name.to_ascii_lowercase()))
}

/// `0A000`: the type has no such unit.
pub(in crate::functions) fn not_supported(name: &str, ty: &SqlType) -> SqlError {
    let message = format!("unit \"{}\" not supported for type {ty}", name.to_ascii_lowercase());
    SqlError::unsupported(message).with_hint("Use a unit that the type has, or cast the value to a type that has it.")
}
