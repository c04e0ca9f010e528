//! Literals and casts of times and intervals whose type says more than its name: fields and digits of a second; and casts
//! that are written as calls.

use sqlparser::ast::{
    DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, TimezoneInfo, Value, ValueWithSpan,
};
use wharf_values::SqlError;

use super::names;
use super::normalize::{call, cast, field_name, number, string};

/// `INTERVAL '..' DAY TO MINUTE`: a bare number counts the last field, and what is smaller than that is cut off.
pub(super) fn interval_literal(interval: &sqlparser::ast::Interval) -> Result<Expr, SqlError> {
    let text = match interval.value.as_ref() {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text) | Value::Number(text, _), .. }) => text,
        _ => {
            return Err(
                SqlError::unsupported("this form of INTERVAL is not supported").with_hint("Write INTERVAL 'n unit'.")
            );
        }
    };
    let of_text = |text: String| cast(string(text), DataType::Interval { fields: None, precision: None });
    let Some(first) = &interval.leading_field else { return Ok(of_text(text.clone())) };
    let last = interval.last_field.as_ref().unwrap_or(first);
    let (first, last) = (field_name(first), field_name(last));
    let trimmed = text.trim();
    let bare = !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    let text = match (first.as_str(), last.as_str()) {
        // `'1-2'` is years and months.
        (_, last) if bare && !trimmed.trim_start_matches(['+', '-']).contains('-') => format!("{text} {last}"),
        ("minute", "second") if trimmed.matches(':').count() == 1 => format!("00:{trimmed}"),
        _ => text.clone(),
    };
    let precision = interval.fractional_seconds_precision.or(match last.as_str() {
        "second" if interval.last_field.is_none() => interval.leading_precision,
        _ => None,
    });
    let value = of_text(text);
    Ok(match (last.as_str(), precision) {
        ("second", Some(digits)) => call("interval", vec![value, number(&digits.to_string())]),
        ("second", None) => value,
        (unit, _) => call("date_trunc", vec![string(unit), value]),
    })
}

/// A cast to a type that keeps fewer digits of a second is a cast to the type, rounded.
pub(super) fn round_seconds(expr: Expr) -> Expr {
    let Expr::Cast { kind, expr, data_type, array, format } = expr else { return expr };
    let plain = match &data_type {
        DataType::Timestamp(Some(digits), zone) => {
            let zoned = matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz);
            let name = if zoned { "timestamptz" } else { "timestamp" };
            Some((name, *digits, DataType::Timestamp(None, *zone)))
        }
        DataType::Time(Some(digits), zone @ (TimezoneInfo::None | TimezoneInfo::WithoutTimeZone)) => {
            Some(("time", *digits, DataType::Time(None, *zone)))
        }
        DataType::Interval { fields: None, precision: Some(digits) } => {
            Some(("interval", *digits, DataType::Interval { fields: None, precision: None }))
        }
        DataType::Custom(name, modifiers) if names::last_part(name) == "timestamptz" => modifiers
            .first()
            .and_then(|digits| digits.parse().ok())
            .map(|digits| ("timestamptz", digits, DataType::Timestamp(None, TimezoneInfo::Tz))),
        _ => None,
    };
    match plain {
        // PostgreSQL takes more digits for six, with a warning.
        Some((name, digits, data_type)) => {
            let inner = Expr::Cast { kind, expr, data_type, array, format };
            if digits >= 6 { inner } else { call(name, vec![inner, number(&digits.to_string())]) }
        }
        None => Expr::Cast { kind, expr, data_type, array, format },
    }
}

/// `int4(x)` is a cast when a type has the name and no function does.
pub(super) fn cast_by_name(function: &Function) -> Option<DataType> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(_))] = list.args.as_slice() else { return None };
    let plain = function.over.is_none() && function.filter.is_none() && list.duplicate_treatment.is_none();
    plain.then_some(())?;
    Some(match names::last_part(&function.name).as_str() {
        "int2" => DataType::Int2(None),
        "int4" => DataType::Int4(None),
        "int8" => DataType::Int8(None),
        "float4" => DataType::Float4,
        "float8" => DataType::Float8,
        "numeric" => DataType::Numeric(sqlparser::ast::ExactNumberInfo::None),
        "bool" => DataType::Bool,
        "text" => DataType::Text,
        "bytea" => DataType::Bytea,
        "date" => DataType::Date,
        "timestamptz" => DataType::Timestamp(None, TimezoneInfo::Tz),
        "uuid" => DataType::Uuid,
        "json" => DataType::JSON,
        "jsonb" => DataType::JSONB,
        _ => return None,
    })
}
