//! Offsets of window frames: `RANGE BETWEEN interval '7 days' PRECEDING AND CURRENT ROW`.
//!
//! DataFusion's planner takes an offset as a text, and only as a number or as `INTERVAL '..'`, and reads that text by Arrow's rules. So
//! literals of strings and intervals go through its planner as that, marked, and are then read by PostgreSQL's. It
//! rounds a number that has more digits than the key, which is done here instead, in the direction that chooses the same rows.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunctionParams};
use datafusion::logical_expr::{WindowFrameBound, cast};
use sqlparser::ast::{
    self, DataType as AstType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Interval, Value,
    ValueWithSpan, WindowFrameUnits as AstUnits, WindowSpec,
};
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState, text_in};

use super::names;
use super::resolve::Resolver;
use crate::error::to_datafusion;

/// What an offset begins with that was no number, but an interval or a string, which the parser takes for an interval.
const MARK: char = '\u{1}';

/// The offsets of a RANGE as DataFusion's planner takes them.
pub(super) fn write_out(spec: &mut WindowSpec) {
    let Some(frame) = &mut spec.window_frame else { return };
    if frame.units != AstUnits::Range {
        return;
    }
    let bounds = [Some(&mut frame.start_bound), frame.end_bound.as_mut()];
    for bound in bounds.into_iter().flatten() {
        let (ast::WindowFrameBound::Preceding(Some(offset)) | ast::WindowFrameBound::Following(Some(offset))) = bound
        else {
            continue;
        };
        let Some(text) = literal(offset) else { continue };
        let text = format!("{MARK}{text}");
        let value = Box::new(Expr::Value(Value::SingleQuotedString(text).with_empty_span()));
        **offset = Expr::Interval(Interval {
            value,
            leading_field: None,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        });
    }
}

/// The text of an interval literal, which was made a cast of it before; or of a literal without a type.
fn literal(offset: &Expr) -> Option<String> {
    match offset {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text.clone()),
        Expr::Cast { expr, data_type: AstType::Interval { .. }, .. } => literal(expr),
        // `interval '1' day` is cut off below days, where it has nothing; `interval '36 hours' day` has.
        Expr::Function(Function { name, args: FunctionArguments::List(arguments), .. })
            if names::last_part(name) == "date_trunc" =>
        {
            let [FunctionArg::Unnamed(FunctionArgExpr::Expr(unit)), FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] =
                arguments.args.as_slice()
            else {
                return None;
            };
            let (unit, text) = (literal(unit)?, literal(value)?);
            let count = text.trim().trim_end_matches('s').strip_suffix(unit.as_str());
            let is_whole = count.is_some_and(|count| count.trim().parse::<i64>().is_ok());
            // `'1-2'` is years and months.
            let is_of_months = unit == "month" && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
            (is_whole || is_of_months).then_some(text)
        }
        _ => None,
    }
}

/// Reads the offsets of a frame over this key, and gives the key as what they are counted in.
///
/// # Errors
/// `22007` for what is no interval, `22013` for a negative offset, `0A000` for a number over dates and times, and for days and months of
/// `timestamptz` where days have different lengths.
pub(super) fn read(
    params: &mut WindowFunctionParams,
    key: SortExpr,
    ty: &DataType,
    resolver: &Resolver<'_>,
) -> DfResult<SortExpr> {
    let zoned = match ty {
        DataType::Date32 | DataType::Date64 => false,
        DataType::Timestamp(_, zone) => zone.is_some(),
        _ => {
            read_numbers(params, ty).map_err(to_datafusion)?;
            return Ok(key);
        }
    };
    for bound in [&mut params.window_frame.start_bound, &mut params.window_frame.end_bound] {
        let (WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset)) = bound else { continue };
        let ScalarValue::Utf8(Some(text)) = &*offset else { continue };
        let Some(text) = text.strip_prefix(MARK) else {
            let message = "RANGE with a number PRECEDING/FOLLOWING is not supported over dates and times";
            let hint = "Give an interval: interval '1 day' PRECEDING.";
            return Err(to_datafusion(SqlError::unsupported(message).with_hint(hint)));
        };
        let interval = interval(text, zoned, resolver).map_err(to_datafusion)?;
        *offset = ScalarValue::IntervalMonthDayNano(Some(interval));
    }
    match ty {
        // A day less an hour is none.
        DataType::Date32 | DataType::Date64 => {
            Ok(SortExpr { expr: cast(key.expr, DataType::Timestamp(TimeUnit::Microsecond, None)), ..key })
        }
        _ => Ok(key),
    }
}

/// The offsets of a frame over a number: as many digits as the key has, and no fewer rows, and no more.
fn read_numbers(params: &mut WindowFunctionParams, ty: &DataType) -> Result<(), SqlError> {
    let frame = &mut params.window_frame;
    for (is_start, bound) in [(true, &mut frame.start_bound), (false, &mut frame.end_bound)] {
        let is_preceding = matches!(bound, WindowFrameBound::Preceding(_));
        let (WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset)) = bound else { continue };
        let ScalarValue::Utf8(Some(text)) = &*offset else { continue };
        let text = text.trim_start_matches(MARK).trim();
        if text.starts_with('-') && text.bytes().any(|byte| matches!(byte, b'1'..=b'9')) {
            return Err(invalid_size());
        }
        let text = match ty {
            // The first row is one at that distance or nearer where the frame begins before, and one at that distance or farther where it
            // begins behind; the last row the other way round.
            DataType::Decimal128(_, scale) => {
                to_scale(text, usize::try_from(*scale).unwrap_or(0), is_start != is_preceding)
            }
            _ => text.to_owned(),
        };
        *offset = ScalarValue::Utf8(Some(text));
    }
    Ok(())
}

/// A number without a sign with so many digits after the point; what has more is cut off, or rounded up.
fn to_scale(text: &str, scale: usize, up: bool) -> String {
    let Some((whole, digits)) = text.split_once('.') else { return text.to_owned() };
    let all_digits = whole.bytes().chain(digits.bytes()).all(|byte| byte.is_ascii_digit());
    if digits.len() <= scale || !all_digits {
        return text.to_owned();
    }
    let (kept, rest) = digits.split_at(scale);
    let Ok(mut number) = format!("0{whole}{kept}").parse::<u128>() else { return text.to_owned() };
    if up && rest.bytes().any(|digit| digit != b'0') {
        number = number.saturating_add(1);
    }
    let number = format!("{number:0>width$}", width = scale + 1);
    match number.split_at(number.len() - scale) {
        (whole, "") => whole.to_owned(),
        (whole, digits) => format!("{whole}.{digits}"),
    }
}

fn invalid_size() -> SqlError {
    let message = "invalid preceding or following size in window function";
    SqlError::new(SqlState::INVALID_PRECEDING_OR_FOLLOWING_SIZE, message)
}

fn interval(text: &str, zoned: bool, resolver: &Resolver<'_>) -> Result<IntervalMonthDayNano, SqlError> {
    let format = &resolver.context.format;
    let read = text_in::parse(&SqlType::Interval, text, format)?;
    let interval = read.as_primitive::<IntervalMonthDayNanoType>().value(0);
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    // In the order of intervals, where a month has 30 days.
    let day_ns = 86_400_000_000_000_i128;
    if (i128::from(months) * 30 + i128::from(days)) * day_ns + i128::from(nanoseconds) < 0 {
        return Err(invalid_size());
    }
    let utc = matches!(format.time_zone.to_string().to_ascii_lowercase().as_str(), "utc" | "etc/utc" | "gmt");
    if zoned && !utc && (months != 0 || days != 0) {
        let message = "RANGE with days or months over timestamp with time zone is not supported in this time zone";
        return Err(SqlError::unsupported(message).with_hint("SET TimeZone TO 'UTC', or count in hours."));
    }
    Ok(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_have_as_many_digits_as_their_key() {
        let cases = [
            ("1.5", 0, false, "1"),
            ("1.5", 0, true, "2"),
            ("1.50", 1, true, "1.5"),
            ("0.011", 2, true, "0.02"),
            ("0.011", 2, false, "0.01"),
            ("9.99", 1, true, "10.0"),
            (".05", 1, false, "0.0"),
            ("7", 2, true, "7"),
            ("1.2e3", 0, true, "1.2e3"),
        ];
        for (text, scale, up, expected) in cases {
            assert_eq!(to_scale(text, scale, up), expected, "{text} {scale} {up}");
        }
    }
}
