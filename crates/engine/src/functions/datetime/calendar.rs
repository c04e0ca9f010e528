//! The calendar: days and microseconds since 1970 to and from the fields of a date and a time.
//!
//! What always holds: the calendar is the proleptic Gregorian one; years are astronomical (0 is 1 BC, -1 is 2 BC);
//! everything here is integer arithmetic on a value without time zone. Infinite dates and timestamps (the extremes of
//! their types) are the caller's to handle.

use wharf_values::{SqlError, SqlState};

use crate::functions::call::Result;

pub(in crate::functions) const USECS_PER_SEC: i64 = 1_000_000;
pub(in crate::functions) const USECS_PER_MINUTE: i64 = 60 * USECS_PER_SEC;
pub(in crate::functions) const USECS_PER_HOUR: i64 = 60 * USECS_PER_MINUTE;
pub(in crate::functions) const USECS_PER_DAY: i64 = 24 * USECS_PER_HOUR;

/// The Julian day number of 1970-01-01.
pub(in crate::functions) const UNIX_EPOCH_JULIAN: i64 = 2_440_588;
/// 4713-11-24 BC, PostgreSQL's first timestamp.
const MIN_TIMESTAMP: i64 = -210_866_803_200_000_000;
/// PostgreSQL's dates: from 4713-11-24 BC to before 5874898-06-03.
const MIN_DATE: i64 = -UNIX_EPOCH_JULIAN;
const END_DATE: i64 = 2_147_483_494 - UNIX_EPOCH_JULIAN;

/// Year (astronomical), month (1 to 12) and day of a day counted from 1970-01-01.
///
/// The algorithm is Howard Hinnant's `civil_from_days`: the year is made to begin in March, so that the leap day is its
/// last.
#[inline]
pub(in crate::functions) fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097) as u32;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (i64::from(year_of_era) + era * 400 + i64::from(month <= 2), month, day)
}

/// The day counted from 1970-01-01; the inverse of [`civil_from_days`]. Month and day are taken as they are.
#[inline]
pub(in crate::functions) fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let march_month = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let day_of_year = (153 * march_month + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

pub(in crate::functions) fn is_leap_year(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub(in crate::functions) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if is_leap_year(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// 0 for Sunday to 6 for Saturday.
#[inline]
pub(in crate::functions) fn day_of_week(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// 1 for the first of January.
pub(in crate::functions) fn day_of_year(days: i64) -> i64 {
    let (year, _, _) = civil_from_days(days);
    days - days_from_civil(year, 1, 1) + 1
}

/// The Monday of the ISO week of a day.
#[inline]
pub(in crate::functions) fn iso_week_start(days: i64) -> i64 {
    days - (day_of_week(days) + 6) % 7
}

/// ISO year and week: week 1 has the year's first Thursday.
pub(in crate::functions) fn iso_week(days: i64) -> (i64, i64) {
    let thursday = iso_week_start(days) + 3;
    let (year, _, _) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// The Monday of week 1 of an ISO year.
pub(in crate::functions) fn iso_year_start(year: i64) -> i64 {
    iso_week_start(days_from_civil(year, 1, 4))
}

/// A timestamp taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::functions) struct Fields {
    pub(in crate::functions) days: i64,
    pub(in crate::functions) year: i64,
    pub(in crate::functions) month: u32,
    pub(in crate::functions) day: u32,
    /// Microseconds since midnight.
    pub(in crate::functions) time: i64,
}

impl Fields {
    pub(in crate::functions) fn of_timestamp(timestamp: i64) -> Fields {
        let fields = Fields::of_days(timestamp.div_euclid(USECS_PER_DAY));
        Fields { time: timestamp.rem_euclid(USECS_PER_DAY), ..fields }
    }

    pub(in crate::functions) fn of_days(days: i64) -> Fields {
        let (year, month, day) = civil_from_days(days);
        Fields { days, year, month, day, time: 0 }
    }

    pub(in crate::functions) fn hour(&self) -> i64 {
        self.time / USECS_PER_HOUR
    }

    pub(in crate::functions) fn minute(&self) -> i64 {
        self.time / USECS_PER_MINUTE % 60
    }

    pub(in crate::functions) fn second(&self) -> i64 {
        self.time / USECS_PER_SEC % 60
    }

    /// Microseconds of the second.
    pub(in crate::functions) fn micros(&self) -> i64 {
        self.time % USECS_PER_SEC
    }
}

/// A timestamp from a day and a time of day.
///
/// # Errors
/// `22008` when it is beyond what a timestamp holds.
#[inline]
pub(in crate::functions) fn timestamp_of(days: i64, time: i64) -> Result<i64> {
    // The day may be beyond the range by less than the time brings back.
    let timestamp = i128::from(days) * i128::from(USECS_PER_DAY) + i128::from(time);
    i64::try_from(timestamp).map_err(|_| timestamp_out_of_range()).and_then(checked_timestamp)
}

/// # Errors
/// `22008` for a timestamp before 4713 BC, and for the value that stands for infinity.
pub(in crate::functions) fn checked_timestamp(timestamp: i64) -> Result<i64> {
    if (MIN_TIMESTAMP..i64::MAX).contains(&timestamp) { Ok(timestamp) } else { Err(timestamp_out_of_range()) }
}

/// # Errors
/// `22008` for a day beyond PostgreSQL's range of dates.
pub(in crate::functions) fn checked_date(days: i64) -> Result<i32> {
    i32::try_from(days)
        .ok()
        .filter(|_| (MIN_DATE..END_DATE).contains(&days))
        .ok_or_else(|| SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "date out of range"))
}

pub(in crate::functions) fn timestamp_out_of_range() -> SqlError {
    SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "timestamp out of range")
}

pub(in crate::functions) fn interval_out_of_range() -> SqlError {
    SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "interval out of range")
}

pub(in crate::functions) fn is_infinite(timestamp: i64) -> bool {
    timestamp == i64::MIN || timestamp == i64::MAX
}

pub(in crate::functions) fn is_infinite_date(days: i32) -> bool {
    days == i32::MIN || days == i32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse_over_four_thousand_years() {
        let mut expected = civil_from_days(-1_500_000);
        for days in -1_500_000..100_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!((year, month, day), expected);
            assert_eq!(days_from_civil(year, month, day), days);
            expected = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (month, day) if day == days_in_month(year, month) => (year, month + 1, 1),
                (month, day) => (year, month, day + 1),
            };
        }
    }

    #[test]
    fn known_days() {
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(day_of_week(0), 4);
        assert_eq!(iso_week(days_from_civil(2005, 1, 1)), (2004, 53));
        assert_eq!(iso_week(days_from_civil(2012, 12, 31)), (2013, 1));
        assert_eq!(iso_year_start(2013), days_from_civil(2012, 12, 31));
        assert_eq!(day_of_year(days_from_civil(2020, 12, 31)), 366);
    }
}
