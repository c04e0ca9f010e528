//! Dates and times (chapter 9.9 of PostgreSQL's manual).
//!
//! What always holds: dates are days and timestamps microseconds since 1970; the extremes of their types are the
//! infinities. Intervals keep months, days and time apart; their time is Arrow's nanoseconds, always whole microseconds,
//! so that it reaches 292 years and not as far as PostgreSQL's.

mod age;
mod calendar;
mod current;
mod extract;
mod intervals;
mod make;
mod precision;
mod truncate;
mod units;
mod zone;

pub(super) use calendar::{
    Fields, UNIX_EPOCH_JULIAN, USECS_PER_DAY, USECS_PER_HOUR, USECS_PER_MINUTE, USECS_PER_SEC, checked_date,
    day_of_week, day_of_year, days_from_civil, days_in_month, is_infinite, iso_week, iso_year_start, timestamp_of,
};
pub(super) use intervals::{add_interval, add_interval_in_zone};
pub(super) use zone::{local_to_utc, utc_offset, zone_abbreviation};

use super::overload::Declaration;

pub(super) const FUNCTIONS: &[&[Declaration]] = &[
    age::FUNCTIONS,
    current::FUNCTIONS,
    extract::FUNCTIONS,
    intervals::FUNCTIONS,
    make::FUNCTIONS,
    precision::FUNCTIONS,
    truncate::FUNCTIONS,
    zone::FUNCTIONS,
];
