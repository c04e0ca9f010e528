//! The Gregorian calendar in integers: days since 1970-01-01 to year, month and day and back, and PostgreSQL's ranges.
//!
//! What always holds: the calendar is proleptic, year 0 is 1 BC, and no conversion overflows for any `i32` day count.
//! Infinity is the largest and smallest value of the integer, as PostgreSQL stores it; callers test for it first.

/// Microseconds in a second.
pub(crate) const MICROS_PER_SECOND: i64 = 1_000_000;
/// Microseconds in a minute.
pub(crate) const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
/// Microseconds in an hour.
pub(crate) const MICROS_PER_HOUR: i64 = 3_600 * MICROS_PER_SECOND;
/// Microseconds in a day.
pub(crate) const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Seconds in a day.
pub(crate) const SECONDS_PER_DAY: i64 = 86_400;
/// Days from PostgreSQL's epoch, 2000-01-01, back to Arrow's, 1970-01-01.
pub(crate) const POSTGRES_EPOCH_DAYS: i32 = 10_957;
/// Microseconds between the two epochs.
pub(crate) const POSTGRES_EPOCH_MICROS: i64 = POSTGRES_EPOCH_DAYS as i64 * MICROS_PER_DAY;
/// The Julian day of 1970-01-01.
pub(crate) const UNIX_EPOCH_JULIAN: i64 = 2_440_588;

/// `4714-11-24 BC`, the first date PostgreSQL has (Julian day 0).
pub(crate) const MIN_DATE: i64 = -UNIX_EPOCH_JULIAN;
/// `5874897-12-31`, the last date PostgreSQL has.
pub(crate) const MAX_DATE: i64 = 2_147_483_493 - UNIX_EPOCH_JULIAN;
/// `4714-11-24 00:00:00 BC`, the first timestamp.
pub(crate) const MIN_TIMESTAMP: i64 = MIN_DATE * MICROS_PER_DAY;
/// The last timestamp that is not infinity. PostgreSQL, which counts from 2000, goes on to the end of 294276; Arrow
/// counts from 1970 and ends 30 years earlier.
pub(crate) const MAX_TIMESTAMP: i64 = i64::MAX - 1;

/// A date as year (0 is 1 BC), month and day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i32,
    pub(crate) month: u32,
    pub(crate) day: u32,
}

/// The date that is so many days after 1970-01-01.
#[inline]
pub(crate) fn civil_from_days(days: i64) -> Civil {
    // Years are counted from March, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097) as u32;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = i64::from(year_of_era) + era * 400 + i64::from(month <= 2);
    Civil { year: year as i32, month, day }
}

/// Days from 1970-01-01 to a date; the month is 1 to 12, the day may lie outside its month.
#[inline]
pub(crate) fn days_from_civil(year: i32, month: u32, day: i64) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let march_month = i64::from((month + 9) % 12);
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Whether the year (0 is 1 BC) has a February 29.
pub(crate) fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// How many days a month has.
#[inline]
pub(crate) fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        2 => 28 + u32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day of the week, 0 for Sunday, of a day count since 1970-01-01 (a Thursday).
pub(crate) fn day_of_week(days: i64) -> usize {
    (days + 4).rem_euclid(7) as usize
}

/// A wall-clock time before its time zone is known: microseconds since 1970-01-01 as if it were UTC.
/// `None` when that is outside what a timestamp can be.
pub(crate) fn timestamp_from_parts(days: i64, micros_of_day: i64) -> Option<i64> {
    let micros = days.checked_mul(MICROS_PER_DAY)?.checked_add(micros_of_day)?;
    (MIN_TIMESTAMP..=MAX_TIMESTAMP).contains(&micros).then_some(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse() {
        for days in (-3_000_000..3_000_000).step_by(97).chain([MIN_DATE, MAX_DATE, 0, -1]) {
            let civil = civil_from_days(days);
            assert_eq!(days_from_civil(civil.year, civil.month, i64::from(civil.day)), days);
            assert!(civil.day <= days_in_month(civil.year, civil.month));
        }
    }

    #[test]
    fn known_dates() {
        assert_eq!(civil_from_days(0), Civil { year: 1970, month: 1, day: 1 });
        assert_eq!(civil_from_days(11_016), Civil { year: 2000, month: 2, day: 29 });
        assert_eq!(civil_from_days(MIN_DATE), Civil { year: -4713, month: 11, day: 24 });
        assert_eq!(civil_from_days(MAX_DATE), Civil { year: 5_874_897, month: 12, day: 31 });
        assert_eq!(days_from_civil(2000, 1, 1), i64::from(POSTGRES_EPOCH_DAYS));
        assert_eq!(day_of_week(0), 4);
    }
}
