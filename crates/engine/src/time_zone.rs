//! Between local timestamps and instants, by the session's time zone.
//!
//! PostgreSQL's rules: a local time that the clock skipped moves on by the size of the gap, one that came twice is the
//! earlier one (standard time's second reading is not chosen). Infinite timestamps stay infinite.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use wharf_values::TextFormat;
use wharf_values::mapping::UTC;
use wharf_values::{SqlError, SqlState};

const SECOND_MICROS: i64 = 1_000_000;

/// `timestamp` to `timestamp with time zone`.
pub(crate) fn local_to_instant(array: &ArrayRef, format: &TextFormat) -> Result<ArrayRef, SqlError> {
    convert(array, Some(UTC), |micros| {
        let offset = format.time_zone.offset_at_local(micros.div_euclid(SECOND_MICROS));
        micros.checked_sub(i64::from(offset) * SECOND_MICROS)
    })
}

/// `timestamp with time zone` to `timestamp`.
pub(crate) fn instant_to_local(array: &ArrayRef, format: &TextFormat) -> Result<ArrayRef, SqlError> {
    convert(array, None, |micros| {
        let offset = format.time_zone.offset_at_utc(micros.div_euclid(SECOND_MICROS));
        micros.checked_add(i64::from(offset) * SECOND_MICROS)
    })
}

fn convert(array: &ArrayRef, zone: Option<&str>, shift: impl Fn(i64) -> Option<i64>) -> Result<ArrayRef, SqlError> {
    let micros = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))
        .map_err(|error| SqlError::internal(error.to_string()))?;
    let shifted: TimestampMicrosecondArray =
        micros.as_primitive::<TimestampMicrosecondType>().try_unary(|value| match value {
            i64::MAX | i64::MIN => Ok(value),
            value => {
                shift(value).ok_or_else(|| SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range"))
            }
        })?;
    Ok(Arc::new(shifted.with_timezone_opt(zone)))
}
