//! Fewer digits of a second: `timestamp(3)` and its kin.

use arrow::array::ArrayRef;
use arrow::datatypes::{
    IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};

use super::calendar::is_infinite;
use crate::functions::call::{Call, Result};
use crate::functions::overload::{Declaration, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("timestamp", "timestamp, int4 -> timestamp", timestamp),
    immutable("timestamptz", "timestamptz, int4 -> timestamptz", timestamp),
    immutable("time", "time, int4 -> time", time),
    immutable("interval", "interval, int4 -> interval", interval),
];

/// Rounds half away from zero to so many digits of a second.
fn round(micros: i64, digits: i32) -> i64 {
    let unit = 10_i64.pow((6 - digits.clamp(0, 6)).unsigned_abs());
    let half = unit / 2;
    // At the ends of the range the nearest whole unit may not exist: the value is kept.
    let moved = if micros >= 0 { micros.checked_add(half) } else { micros.checked_sub(half) };
    moved.map_or(micros, |moved| moved / unit * unit)
}

fn timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    let (value, digits) = (call.timestamp(0)?, call.int4(1)?);
    call.map::<TimestampMicrosecondType>(|row| match value.at(row) {
        infinite if is_infinite(infinite) => infinite,
        value => round(value, digits.at(row)),
    })
}

fn time(call: &Call<'_>) -> Result<ArrayRef> {
    let (value, digits) = (call.time(0)?, call.int4(1)?);
    call.map::<Time64MicrosecondType>(|row| round(value.at(row), digits.at(row)))
}

fn interval(call: &Call<'_>) -> Result<ArrayRef> {
    let (value, digits) = (call.interval(0)?, call.int4(1)?);
    call.map::<IntervalMonthDayNanoType>(|row| {
        let IntervalMonthDayNano { months, days, nanoseconds } = value.at(row);
        IntervalMonthDayNano::new(months, days, round(nanoseconds / 1000, digits.at(row)) * 1000)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_half_away_from_zero() {
        assert_eq!(round(1_500_000, 0), 2_000_000);
        assert_eq!(round(-1_500_000, 0), -2_000_000);
        assert_eq!(round(1_234_567, 3), 1_235_000);
        assert_eq!(round(1_234_567, 6), 1_234_567);
        assert_eq!(round(i64::MAX - 1, 0), i64::MAX - 1);
    }
}
