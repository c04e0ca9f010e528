//! The current date and time (chapter 9.9.5 of PostgreSQL's manual).
//!
//! What always holds: `now()` and its kin are the start of the transaction, `statement_timestamp()` that of the
//! statement, both from the session's context, so that every row and every node sees one time. Only
//! `clock_timestamp()` and `timeofday()` ask the clock.

use arrow::array::ArrayRef;
use arrow::datatypes::{Date32Type, Time64MicrosecondType, TimestampMicrosecondType};
use wharf_values::SqlError;

use super::calendar::USECS_PER_DAY;
use super::zone::{postgres_style, utc_to_local};
use crate::functions::call::{Call, Result, invalid_parameter};
use crate::functions::overload::{Declaration, stable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    stable("now", "-> timestamptz", now),
    stable("transaction_timestamp", "-> timestamptz", now),
    stable("current_timestamp", "-> timestamptz", now),
    stable("current_timestamp", "int4 -> timestamptz", now),
    stable("statement_timestamp", "-> timestamptz", statement_timestamp),
    stable("clock_timestamp", "-> timestamptz", clock_timestamp).volatile(),
    stable("timeofday", "-> text", timeofday).volatile(),
    stable("current_date", "-> date", current_date),
    stable("current_time", "-> time", current_time),
    stable("current_time", "int4 -> time", current_time),
    stable("localtime", "-> time", localtime),
    stable("localtime", "int4 -> time", localtime),
    stable("localtimestamp", "-> timestamp", localtimestamp),
    stable("localtimestamp", "int4 -> timestamp", localtimestamp),
];

/// The clock, in microseconds since 1970.
fn clock() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

/// The start of the transaction, in microseconds since 1970; the clock when there is no session.
pub(super) fn transaction_start(call: &Call<'_>) -> i64 {
    call.text_format().now.unwrap_or_else(clock)
}

/// Rounds to the precision of the first argument, if there is one.
fn rounded(call: &Call<'_>, micros: i64, row: usize) -> Result<i64> {
    if call.len() == 0 {
        return Ok(micros);
    }
    let precision = call.int4(0)?.at(row);
    let Ok(precision) = u32::try_from(precision) else {
        return Err(invalid_parameter("TIME precision must not be negative"));
    };
    let unit = 10_i64.pow(6 - precision.min(6));
    Ok((micros + unit / 2).div_euclid(unit) * unit)
}

fn now(call: &Call<'_>) -> Result<ArrayRef> {
    let start = transaction_start(call);
    call.make::<TimestampMicrosecondType>(|row| rounded(call, start, row))
}

fn statement_timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    let start = call.context().statement_start_us.unwrap_or_else(|| transaction_start(call));
    call.map::<TimestampMicrosecondType>(|_| start)
}

fn clock_timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    call.map::<TimestampMicrosecondType>(|_| clock())
}

/// `Wed Feb 26 13:08:12.345678 2020 CET`.
fn timeofday(call: &Call<'_>) -> Result<ArrayRef> {
    let zone = call.text_format().time_zone;
    call.make_text(|_, out| {
        out.push_str(&postgres_style(&zone, clock())?);
        Ok(())
    })
}

fn local_now(call: &Call<'_>) -> Result<i64> {
    utc_to_local(&call.text_format().time_zone, transaction_start(call))
}

fn current_date(call: &Call<'_>) -> Result<ArrayRef> {
    let local = local_now(call)?;
    call.map::<Date32Type>(|_| local.div_euclid(USECS_PER_DAY) as i32)
}

fn current_time(_: &Call<'_>) -> Result<ArrayRef> {
    Err(SqlError::unsupported("type time with time zone is not supported")
        .with_hint("Use localtime or current_timestamp."))
}

fn localtime(call: &Call<'_>) -> Result<ArrayRef> {
    let local = local_now(call)?;
    call.make::<Time64MicrosecondType>(|row| rounded(call, local.rem_euclid(USECS_PER_DAY), row))
}

fn localtimestamp(call: &Call<'_>) -> Result<ArrayRef> {
    let local = local_now(call)?;
    call.make::<TimestampMicrosecondType>(|row| rounded(call, local, row))
}
