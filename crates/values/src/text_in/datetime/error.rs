//! Why a date, time or interval could not be read.

use crate::error::{SqlError, SqlState};
use crate::text_in::shown;

/// Why a text could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::text_in) enum DecodeError {
    BadFormat,
    FieldOverflow,
    /// A month or day out of range, which another order of the fields might cure.
    MonthDayOverflow,
    IntervalOverflow,
    OffsetOverflow,
    UnknownZone(String),
    /// A word that means the time of reading, where there is no such time.
    NoClock(String),
}

impl DecodeError {
    /// The error in PostgreSQL's words.
    pub(in crate::text_in) fn into_sql(self, text: &[u8], type_name: &str) -> SqlError {
        let text = shown(text);
        let field = |code| SqlError::new(code, format!("date/time field value out of range: \"{text}\""));
        match self {
            DecodeError::BadFormat => {
                SqlError { code: SqlState::INVALID_DATETIME_FORMAT, ..SqlError::invalid_text(type_name, &text) }
            }
            DecodeError::FieldOverflow => field(SqlState::DATETIME_FIELD_OVERFLOW),
            DecodeError::MonthDayOverflow => field(SqlState::DATETIME_FIELD_OVERFLOW)
                .with_hint("Perhaps you need a different \"datestyle\" setting."),
            DecodeError::IntervalOverflow => SqlError::new(
                SqlState::INTERVAL_FIELD_OVERFLOW,
                format!("interval field value out of range: \"{text}\""),
            ),
            DecodeError::OffsetOverflow => SqlError::new(
                SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
                format!("time zone displacement out of range: \"{text}\""),
            ),
            DecodeError::UnknownZone(name) => {
                SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized"))
            }
            DecodeError::NoClock(word) => {
                SqlError::unsupported(format!("date/time value \"{word}\" is not supported here"))
                    .with_hint("Use current_date or current_timestamp.")
            }
        }
    }
}

/// The outcome of one step of reading.
pub(in crate::text_in) type Step<T> = Result<T, DecodeError>;
