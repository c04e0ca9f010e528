//! The golden files of `tests/functions` against the functions themselves, without the SQL engine around them.
//!
//! An expression is read by sqlparser and evaluated here with PostgreSQL's types for literals, once with constant
//! arguments and once with columns (in which a null row is put between the values of strict functions).
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, NullArray, StringArray, StringViewArray, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs};
use sqlparser::ast::{
    self, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, TextFormat, TimeZone, arrow_type, text_in, text_out};

use super::context::FunctionContext;
use super::overload::{choose_leniently, overloads};
use super::udf::{argument_type, scalar_udf};

/// One value with what a plan knows of it.
#[derive(Clone)]
struct Datum {
    array: ArrayRef,
    field: FieldRef,
}

type Evaluated = Result<Datum, SqlError>;

fn format() -> TextFormat {
    TextFormat {
        time_zone: TimeZone::parse("America/New_York").unwrap(),
        now: Some(1_700_000_000_000_000),
        ..TextFormat::default()
    }
}

fn config() -> Arc<ConfigOptions> {
    let mut config = ConfigOptions::default();
    config.extensions.insert(FunctionContext { text: format(), statement_start_us: None });
    Arc::new(config)
}

fn datum(array: ArrayRef, ty: &SqlType) -> Datum {
    let field = wharf_values::field("value", ty, true).with_data_type(array.data_type().clone());
    Datum { array, field: Arc::new(field) }
}

fn unknown(text: &str) -> Datum {
    let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
    Datum { field: Arc::new(Field::new("value", DataType::Utf8, true)), array }
}

fn parsed(ty: &SqlType, text: &str) -> Evaluated {
    Ok(datum(text_in::parse(ty, text, &format())?, ty))
}

fn number(digits: &str) -> Evaluated {
    if digits.contains(['e', 'E']) {
        return parsed(&SqlType::Double, digits);
    }
    match digits.split_once('.') {
        None => match digits.parse::<i128>().unwrap() {
            value if i32::try_from(value).is_ok() => parsed(&SqlType::Integer, digits),
            value if i64::try_from(value).is_ok() => parsed(&SqlType::BigInt, digits),
            _ => parsed(&SqlType::Numeric(Some((38, 0))), digits),
        },
        Some((whole, fraction)) => {
            let scale = fraction.len();
            let precision = (whole.trim_start_matches('0').len() + scale).max(1);
            parsed(&SqlType::Numeric(Some((precision as u8, scale as i8))), digits)
        }
    }
}

fn evaluate(expr: &Expr, columns: bool) -> Evaluated {
    let call = |name: &str, arguments: &[&Expr]| {
        let arguments = arguments.iter().map(|argument| evaluate(argument, columns)).collect::<Result<Vec<_>, _>>()?;
        call(name, arguments, columns)
    };
    match expr {
        Expr::Nested(inner) => evaluate(inner, columns),
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => number(digits),
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) | Value::UnicodeStringLiteral(text) => {
                Ok(unknown(text))
            }
            Value::Boolean(value) => parsed(&SqlType::Boolean, if *value { "t" } else { "f" }),
            Value::Null => Ok(Datum {
                array: Arc::new(NullArray::new(1)),
                field: Arc::new(Field::new("value", DataType::Null, true)),
            }),
            other => panic!("literal {other}"),
        },
        Expr::TypedString(typed) => match &typed.value.value {
            Value::SingleQuotedString(text) => parsed(&sql_type(&typed.data_type), text),
            other => panic!("literal {other}"),
        },
        Expr::Interval(interval) => match interval.value.as_ref() {
            Expr::Value(value) => parsed(&SqlType::Interval, &value.value.clone().into_string().unwrap()),
            other => panic!("interval {other}"),
        },
        Expr::Cast { expr, data_type, .. } => convert(evaluate(expr, columns)?, &sql_type(data_type)),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => number(&format!("-{digits}")),
                other => panic!("minus {other}"),
            },
            Expr::Cast { expr, data_type, .. } => {
                let negative = Expr::UnaryOp { op: UnaryOperator::Minus, expr: expr.clone() };
                convert(evaluate(&negative, columns)?, &sql_type(data_type))
            }
            other => panic!("minus {other}"),
        },
        Expr::Array(array) => {
            list(array.elem.iter().map(|item| evaluate(item, columns)).collect::<Result<Vec<_>, _>>()?)
        }
        Expr::Function(function) => {
            let FunctionArguments::List(list) = &function.args else {
                return call(&function.name.to_string(), &[]);
            };
            let arguments = list.args.iter().map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => expr,
                other => panic!("argument {other}"),
            });
            call(&function.name.to_string(), &arguments.collect::<Vec<_>>())
        }
        Expr::Extract { field, expr, .. } => {
            let field = field.to_string();
            let arguments = vec![unknown(&field), evaluate(expr, columns)?];
            self::call("extract", arguments, columns)
        }
        Expr::Position { expr, r#in } => call("position", &[r#in, expr]),
        Expr::Substring { expr, substring_from, substring_for, .. } => match (substring_from, substring_for) {
            (Some(from), Some(length)) => call("substring", &[expr, from, length]),
            (Some(from), None) => call("substring", &[expr, from]),
            (None, Some(length)) => {
                let arguments = vec![evaluate(expr, columns)?, number("1")?, evaluate(length, columns)?];
                self::call("substring", arguments, columns)
            }
            (None, None) => panic!("{expr}"),
        },
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => match overlay_for {
            Some(length) => call("overlay", &[expr, overlay_what, overlay_from, length]),
            None => call("overlay", &[expr, overlay_what, overlay_from]),
        },
        Expr::Trim { expr, trim_where, trim_what, trim_characters } => {
            let name = match trim_where {
                Some(ast::TrimWhereField::Leading) => "ltrim",
                Some(ast::TrimWhereField::Trailing) => "rtrim",
                _ => "btrim",
            };
            let mut arguments = vec![expr.as_ref()];
            arguments.extend(trim_what.as_deref());
            arguments.extend(trim_characters.iter().flatten());
            call(name, &arguments)
        }
        Expr::Ceil { expr, .. } => call("ceil", &[expr]),
        Expr::Floor { expr, .. } => call("floor", &[expr]),
        Expr::AtTimeZone { timestamp, time_zone } => call("timezone", &[time_zone, timestamp]),
        Expr::SimilarTo { expr, pattern, negated: false, escape_char: None } => call("similar_to", &[expr, pattern]),
        Expr::BinaryOp { left, op, right } => match op {
            BinaryOperator::StringConcat => call("concat", &[left, right]),
            BinaryOperator::Arrow => call("json_get", &[left, right]),
            BinaryOperator::LongArrow => call("json_get_text", &[left, right]),
            BinaryOperator::HashArrow => call("json_get_path", &[left, right]),
            BinaryOperator::HashLongArrow => call("json_get_path_text", &[left, right]),
            BinaryOperator::Minus => call("jsonb_delete", &[left, right]),
            BinaryOperator::PGRegexMatch => call("textregexeq", &[left, right]),
            other => panic!("operator {other}"),
        },
        // A form of normalization.
        Expr::Identifier(word) => Ok(unknown(&word.value)),
        other => panic!("expression {other:?}"),
    }
}

fn sql_type(data_type: &ast::DataType) -> SqlType {
    data_type.to_string().parse().unwrap()
}

fn convert(value: Datum, ty: &SqlType) -> Evaluated {
    let from = argument_type(&value.field);
    if *value.array.data_type() == DataType::Null {
        return Ok(datum(new_null_array(&arrow_type(ty), 1), ty));
    }
    if from == SqlType::Unknown {
        return parsed(ty, value.array.as_string::<i32>().value(0));
    }
    match ty {
        SqlType::Text => {
            let text = text_out::value_to_text(&value.field, &value.array, 0, &format())?.unwrap();
            Ok(datum(Arc::new(StringViewArray::from(vec![text])), ty))
        }
        SqlType::Numeric(None) if from != SqlType::Double => {
            Ok(datum(cast(&value.array, &DataType::Decimal128(38, 0)).unwrap(), &SqlType::Numeric(Some((38, 0)))))
        }
        SqlType::Double | SqlType::Real if matches!(from, SqlType::Numeric(_)) => {
            let text = text_out::value_to_text(&value.field, &value.array, 0, &format())?.unwrap();
            parsed(ty, &text)
        }
        ty => Ok(datum(cast(&value.array, &arrow_type(ty)).unwrap(), ty)),
    }
}

/// `ARRAY[..]`
fn list(items: Vec<Datum>) -> Evaluated {
    let types = items.iter().map(|item| argument_type(&item.field)).collect::<Vec<_>>();
    let known = types.iter().find(|ty| **ty != SqlType::Unknown).cloned().unwrap_or(SqlType::Text);
    let scale = types
        .iter()
        .filter_map(|ty| if let SqlType::Numeric(Some((_, scale))) = ty { Some(*scale) } else { None })
        .max();
    let item_type = scale.map_or(known, |scale| SqlType::Numeric(Some((38, scale))));
    let data_type = match &item_type {
        SqlType::Array(_) => items[0].array.data_type().clone(),
        ty => arrow_type(ty),
    };
    let items = items
        .into_iter()
        .map(|item| match *item.array.data_type() {
            DataType::Null => new_null_array(&data_type, 1),
            _ if argument_type(&item.field) == SqlType::Unknown => {
                convert(item, &item_type).map(|datum| datum.array).unwrap()
            }
            _ => cast(&item.array, &data_type).unwrap(),
        })
        .collect::<Vec<_>>();
    let values = match items.is_empty() {
        true => new_null_array(&data_type, 0),
        false => concat(&items.iter().map(|item| item.as_ref()).collect::<Vec<_>>()).unwrap(),
    };
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    let array = ListArray::new(Arc::new(Field::new_list_field(data_type, true)), offsets, values, None);
    Ok(datum(Arc::new(array), &SqlType::Array(Box::new(item_type.innermost().clone()))))
}

fn call(name: &str, arguments: Vec<Datum>, columns: bool) -> Evaluated {
    let name = name.to_lowercase();
    let function = scalar_udf(Box::leak(name.clone().into_boxed_str())).unwrap_or_else(|| panic!("no function {name}"));
    let fields = arguments.iter().map(|argument| Arc::clone(&argument.field)).collect::<Vec<_>>();
    let types = fields.iter().map(|field| argument_type(field)).collect::<Vec<_>>();
    let chosen = choose_leniently(&name, overloads(&name).unwrap(), &types)?;
    let strict = chosen.overload.declaration.strict;
    let scalars =
        arguments.iter().map(|argument| ScalarValue::try_from_array(&argument.array, 0).unwrap()).collect::<Vec<_>>();
    let columns = columns && !arguments.is_empty();
    let constants = scalars.iter().map(|scalar| (!columns).then_some(scalar)).collect::<Vec<_>>();
    let sql_error = |error: DataFusionError| match error {
        DataFusionError::External(error) => *error.downcast::<SqlError>().unwrap(),
        other => panic!("{name}: {other}"),
    };
    let return_field = function
        .return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &constants })
        .map_err(sql_error)?;
    let (args, rows) = if columns {
        let args = arguments
            .iter()
            .map(|argument| {
                let middle =
                    if strict { new_null_array(argument.array.data_type(), 1) } else { argument.array.clone() };
                ColumnarValue::Array(concat(&[&argument.array, &middle, &argument.array]).unwrap())
            })
            .collect();
        (args, 3)
    } else {
        (scalars.into_iter().map(ColumnarValue::Scalar).collect(), 1)
    };
    let result = function
        .invoke_with_args(ScalarFunctionArgs {
            args,
            arg_fields: fields,
            number_rows: rows,
            return_field: Arc::clone(&return_field),
            config_options: config(),
        })
        .map_err(sql_error)?;
    let array = result.to_array(rows).unwrap();
    assert_eq!(array.len(), rows, "{name}");
    assert_eq!(array.data_type(), return_field.data_type(), "{name}");
    if columns && strict {
        assert!(array.is_null(1), "{name} is strict");
    }
    Ok(Datum { array: array.slice(rows - 1, 1), field: return_field })
}

/// A question of a golden file and the answer Wharf should give.
struct Golden {
    line: usize,
    question: String,
    answer: String,
}

fn read(text: &str) -> Vec<Golden> {
    let mut golden: Vec<Golden> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(own) = line.strip_prefix("    ~ ") {
            golden.last_mut().unwrap().answer = own.to_owned();
        } else if let Some(answer) = line.strip_prefix("    ") {
            golden.last_mut().unwrap().answer = answer.to_owned();
        } else if !line.is_empty() && !line.starts_with('#') {
            golden.push(Golden { line: index + 1, question: line.to_owned(), answer: String::new() });
        }
    }
    golden
}

fn answer(question: &str, columns: bool) -> (String, bool) {
    let expr = Parser::new(&PostgreSqlDialect {}).try_with_sql(question).unwrap().parse_expr();
    let expr = expr.unwrap_or_else(|error| panic!("{question}: {error}"));
    let result = evaluate(&expr, columns).and_then(|value| {
        let numeric = matches!(argument_type(&value.field), SqlType::Numeric(_) | SqlType::Array(_));
        text_out::value_to_text(&value.field, &value.array, 0, &format()).map(|text| (text, numeric))
    });
    match result {
        Ok((None, _)) => ("-> NULL".to_owned(), false),
        Ok((Some(text), numeric)) => {
            let escaped = text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
            let shown = if text == "NULL" { "\\NULL" } else { &escaped };
            (format!("-> {shown}").trim_end_matches(' ').to_owned(), numeric)
        }
        Err(error) => (format!("! {} {}", error.code, error.message), false),
    }
}

/// Numbers without the zeros whose number PostgreSQL derives from the values of constants.
fn without_trailing_zeros(text: &str) -> String {
    let number = |text: &str| match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => text.to_owned(),
    };
    text.split_inclusive([',', '{', '}', ' ']).map(number).collect()
}

fn check(text: &str) {
    let mut wrong = Vec::new();
    let golden = read(text);
    assert!(golden.len() > 20);
    for Golden { line, question, answer: expected } in golden {
        let expected = expected.trim_end_matches(' ').to_owned();
        let found = answer(&question, false).0;
        if found != expected {
            wrong.push(format!("{line}: {question}\n    expected {expected}\n    found    {found}"));
            continue;
        }
        let (found, numeric) = answer(&question, true);
        let digits = expected.bytes().filter(u8::is_ascii_digit).count();
        // A column has one scale for all its values, which can leave too little room before the point.
        let same = if digits > 20 && found == "! 22003 value overflows numeric format" {
            true
        } else if numeric {
            without_trailing_zeros(&found) == without_trailing_zeros(&expected)
        } else {
            found == expected
        };
        if !same {
            wrong.push(format!("{line}: {question}\n    expected {expected}\n    columns  {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong answers\n{}", wrong.len(), wrong.join("\n"));
}

macro_rules! golden {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                check(include_str!(concat!("../../tests/functions/", stringify!($name), ".txt")));
            }
        )*
    };
}

golden! { arrays bytea datetime formatting json math patterns strings }

#[test]
fn every_declaration_can_be_read() {
    let names = super::declarations().map(|declaration| declaration.name).collect::<HashSet<_>>();
    assert_eq!(super::scalar_functions().len(), names.len());
    assert!(names.len() > 200);
}

#[test]
fn errors_of_resolution_are_those_of_postgresql() {
    let error = |name: &str, types: &[SqlType]| super::resolve(name, types).unwrap().unwrap_err();
    let missing = error("length", &[SqlType::Integer]);
    assert_eq!(missing.code.as_str(), "42883");
    assert_eq!(missing.message, "function length(integer) does not exist");
    let ambiguous = error("date_trunc", &[SqlType::Unknown, SqlType::Unknown]);
    assert_eq!(ambiguous.code.as_str(), "42725");
    assert_eq!(ambiguous.message, "function date_trunc(unknown, unknown) is not unique");
}

#[test]
fn overloads_are_chosen_as_postgresql_chooses() {
    let chosen = |name: &str, types: &[SqlType]| {
        let resolved = super::resolve(name, types).unwrap().unwrap();
        (resolved.arguments, resolved.returns)
    };
    let numeric = SqlType::Numeric(None);
    assert_eq!(chosen("sqrt", &[SqlType::Integer]), (vec![SqlType::Double], SqlType::Double));
    assert_eq!(chosen("sqrt", std::slice::from_ref(&numeric)), (vec![numeric.clone()], numeric.clone()));
    assert_eq!(chosen("round", &[SqlType::Integer, SqlType::Integer]).0, [numeric, SqlType::Integer]);
    assert_eq!(chosen("substring", &[SqlType::Unknown, SqlType::Integer]).0, [SqlType::Text, SqlType::Integer]);
    assert_eq!(chosen("age", &[SqlType::Date, SqlType::Date]).0, [SqlType::TimestampTz, SqlType::TimestampTz]);
    assert_eq!(chosen("abs", &[SqlType::SmallInt]).1, SqlType::SmallInt);
    assert_eq!(chosen("length", &[SqlType::Varchar(Some(3))]).0, [SqlType::Text]);
    assert_eq!(
        chosen("array_append", &[SqlType::Array(Box::new(SqlType::Integer)), SqlType::BigInt]).1,
        SqlType::Array(Box::new(SqlType::BigInt))
    );
}
