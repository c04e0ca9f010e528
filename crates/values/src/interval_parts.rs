//! An interval as PostgreSQL takes it apart: years to microseconds, with signs that may differ between months, days and
//! time.
//!
//! What always holds: Arrow's nanoseconds are microseconds here (what is finer is cut towards zero). Arrow has room for
//! 292 years of time where PostgreSQL has 292,000; reading a longer one is an error, never a wrapped number.

use arrow::datatypes::IntervalMonthDayNano;

use crate::calendar::{MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};

/// Months, days and microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) months: i32,
    pub(crate) days: i32,
    pub(crate) micros: i64,
}

impl Interval {
    pub(crate) fn from_arrow(value: IntervalMonthDayNano) -> Self {
        Interval { months: value.months, days: value.days, micros: value.nanoseconds / 1_000 }
    }

    /// `None` when the time is longer than Arrow's nanoseconds reach.
    pub(crate) fn to_arrow(self) -> Option<IntervalMonthDayNano> {
        Some(IntervalMonthDayNano::new(self.months, self.days, self.micros.checked_mul(1_000)?))
    }

    pub(crate) fn fields(self) -> Fields {
        Fields {
            year: self.months / 12,
            month: self.months % 12,
            day: self.days,
            hour: self.micros / MICROS_PER_HOUR,
            minute: (self.micros % MICROS_PER_HOUR / MICROS_PER_MINUTE) as i32,
            second: (self.micros % MICROS_PER_MINUTE / MICROS_PER_SECOND) as i32,
            micro: (self.micros % MICROS_PER_SECOND) as i32,
        }
    }
}

/// The parts that are printed; those that came from the same number have the same sign.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    pub(crate) year: i32,
    pub(crate) month: i32,
    pub(crate) day: i32,
    pub(crate) hour: i64,
    pub(crate) minute: i32,
    pub(crate) second: i32,
    pub(crate) micro: i32,
}

impl Fields {
    pub(crate) fn has_time(&self) -> bool {
        self.hour != 0 || self.minute != 0 || self.second != 0 || self.micro != 0
    }

    pub(crate) fn time_is_negative(&self) -> bool {
        self.hour < 0 || self.minute < 0 || self.second < 0 || self.micro < 0
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.year == 0 && self.month == 0 && self.day == 0 && !self.has_time()
    }
}
