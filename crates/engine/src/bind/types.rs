//! Types as they are written in SQL, resolved to [`SqlType`] and from there to Arrow fields.
//!
//! What always holds: a type PostgreSQL has and Wharf lacks is refused by name, never replaced by a similar one.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::planner::TypePlanner;
use sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, TimezoneInfo};
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState};

use crate::error::to_datafusion;

/// The longest `varchar(n)` and `char(n)` PostgreSQL accepts.
const MAX_CHARACTER_LENGTH: u64 = 10_485_760;
/// The digits of Iceberg's decimal.
const MAX_NUMERIC_PRECISION: u64 = 38;

/// Resolves the types in casts for DataFusion's SQL planner; the field keeps what Arrow alone cannot say.
#[derive(Debug)]
pub(crate) struct PostgresTypes;

impl TypePlanner for PostgresTypes {
    fn plan_type_field(&self, sql_type: &DataType) -> DfResult<Option<FieldRef>> {
        let ty = sql_type_of_ast(sql_type).map_err(to_datafusion)?;
        Ok(Some(Arc::new(cast_field(&ty))))
    }
}

/// The field of a cast to `ty`: always says the SQL type in full, so that the binder does not have to guess.
pub(crate) fn cast_field(ty: &SqlType) -> arrow::datatypes::Field {
    let field = wharf_values::mapping::field("cast", ty, true);
    let mut metadata = field.metadata().clone();
    metadata.insert(wharf_values::mapping::TYPE_KEY.to_owned(), ty.to_string());
    field.with_metadata(metadata)
}

/// The SQL type that a type name in a statement stands for.
///
/// # Errors
/// `42704` for an unknown type, `0A000` for one that Wharf lacks, `22023` for a length or precision out of range.
pub(crate) fn sql_type_of_ast(data_type: &DataType) -> Result<SqlType, SqlError> {
    use DataType as T;
    Ok(match data_type {
        T::Bool | T::Boolean => SqlType::Boolean,
        T::SmallInt(None) | T::Int2(None) => SqlType::SmallInt,
        T::Int(None) | T::Int4(None) | T::Integer(None) => SqlType::Integer,
        T::BigInt(None) | T::Int8(None) => SqlType::BigInt,
        T::Real | T::Float4 => SqlType::Real,
        T::Float8 | T::DoublePrecision => SqlType::Double,
        T::Float(ExactNumberInfo::None) => SqlType::Double,
        T::Float(ExactNumberInfo::Precision(precision)) => match precision {
            1..=24 => SqlType::Real,
            25..=53 => SqlType::Double,
            0 => return Err(invalid("precision for type float must be at least 1 bit")),
            _ => return Err(invalid("precision for type float must be less than 54 bits")),
        },
        T::Numeric(info) | T::Decimal(info) | T::Dec(info) => numeric(info)?,
        T::Text => SqlType::Text,
        T::Varchar(length) | T::CharacterVarying(length) | T::CharVarying(length) => {
            SqlType::Varchar(character_length(length.as_ref(), "varchar")?)
        }
        T::Char(length) | T::Character(length) => {
            SqlType::Char(character_length(length.as_ref(), "char")?.unwrap_or(1))
        }
        T::Bytea => SqlType::Bytea,
        T::Date => SqlType::Date,
        T::Time(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            microseconds(*precision, "time")?;
            SqlType::Time
        }
        T::Timestamp(precision, zone) => {
            microseconds(*precision, "timestamp")?;
            match zone {
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => SqlType::Timestamp,
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => SqlType::TimestampTz,
            }
        }
        T::Interval { fields: None, precision: None } => SqlType::Interval,
        T::Uuid => SqlType::Uuid,
        T::JSON => SqlType::Json,
        T::JSONB => SqlType::Jsonb,
        T::Regclass => SqlType::Regclass,
        T::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) => {
            match sql_type_of_ast(element)? {
                // PostgreSQL's arrays know no dimensions: integer[][] is integer[].
                SqlType::Array(inner) => SqlType::Array(inner),
                inner => SqlType::Array(Box::new(inner)),
            }
        }
        T::Custom(name, modifiers) => custom(&super::names::last_part(name), modifiers)?,
        T::Time(_, _) => return Err(lacks("time with time zone", "Use timestamp with time zone or time.")),
        T::Bit(_) | T::BitVarying(_) | T::VarBit(_) => return Err(lacks("bit", "Use bytea or text.")),
        T::GeometricType(_) => return Err(lacks(&data_type.to_string(), "Geometric types are not supported.")),
        T::TsVector | T::TsQuery => return Err(lacks(&data_type.to_string(), "Text search is not supported.")),
        T::Interval { .. } => {
            return Err(lacks("interval with fields or precision", "Use interval, which keeps microseconds."));
        }
        other => return Err(undefined_type(&other.to_string().to_lowercase())),
    })
}

/// Types sqlparser has no variant for.
fn custom(name: &str, modifiers: &[String]) -> Result<SqlType, SqlError> {
    Ok(match name {
        "bpchar" => match modifiers.first().and_then(|m| m.parse().ok()) {
            Some(length) => SqlType::Char(length),
            None => SqlType::Char(0),
        },
        "oid" => SqlType::Oid,
        "name" => SqlType::Name,
        "regclass" => SqlType::Regclass,
        "regtype" => SqlType::Regtype,
        "regnamespace" => SqlType::Regnamespace,
        "regrole" => SqlType::Regrole,
        "char" => SqlType::QChar,
        "timestamptz" => SqlType::TimestampTz,
        "json" => SqlType::Json,
        "jsonb" => SqlType::Jsonb,
        "uuid" => SqlType::Uuid,
        "money" | "hstore" | "xml" | "inet" | "cidr" | "macaddr" | "point" | "line" | "box" | "polygon" | "circle"
        | "timetz" | "tsvector" | "tsquery" | "regproc" | "regprocedure" | "regoper" | "serial" | "bigserial"
        | "smallserial" | "xid" | "pg_lsn" | "int4range" | "int8range" | "numrange" | "tsrange" | "tstzrange"
        | "daterange" => {
            return Err(lacks(name, "See docs/postgres-compatibility.md for the types Wharf has."));
        }
        // Types written with their schema, such as pg_catalog.text.
        // A name in quotes keeps its capitals, and no type has any.
        _ if name.bytes().any(|byte| byte.is_ascii_uppercase()) => return Err(undefined_type(name)),
        _ => match name.parse::<SqlType>() {
            Ok(ty) if modifiers.is_empty() && !matches!(ty, SqlType::Unknown | SqlType::Void | SqlType::Record) => ty,
            _ => return Err(undefined_type(name)),
        },
    })
}

fn numeric(info: &ExactNumberInfo) -> Result<SqlType, SqlError> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(SqlType::Numeric(None)),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    if precision == 0 || precision > 1000 {
        return Err(invalid(&format!("NUMERIC precision {precision} must be between 1 and 1000")));
    }
    if !(-1000..=1000).contains(&scale) {
        return Err(invalid(&format!("NUMERIC scale {scale} must be between -1000 and 1000")));
    }
    if precision > MAX_NUMERIC_PRECISION || scale < 0 || scale as u64 > precision {
        return Err(lacks(
            &format!("numeric({precision},{scale})"),
            "Iceberg's decimal has up to 38 digits, of which up to all may be fractional.",
        ));
    }
    Ok(SqlType::Numeric(Some((precision as u8, scale as i8))))
}

fn character_length(length: Option<&CharacterLength>, name: &str) -> Result<Option<u32>, SqlError> {
    match length {
        None | Some(CharacterLength::Max) => Ok(None),
        Some(CharacterLength::IntegerLength { length: 0, .. }) => {
            Err(invalid(&format!("length for type {name} must be at least 1")))
        }
        Some(CharacterLength::IntegerLength { length, .. }) if *length > MAX_CHARACTER_LENGTH => {
            Err(invalid(&format!("length for type {name} cannot exceed {MAX_CHARACTER_LENGTH}")))
        }
        Some(CharacterLength::IntegerLength { length, .. }) => Ok(Some(*length as u32)),
    }
}

/// Wharf keeps microseconds; rounding to fewer digits is not done, so it is not accepted either.
fn microseconds(precision: Option<u64>, name: &str) -> Result<(), SqlError> {
    match precision {
        None | Some(6) => Ok(()),
        Some(digits) => Err(lacks(&format!("{name}({digits})"), &format!("Use {name}, which keeps microseconds."))),
    }
}

fn invalid(message: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn lacks(name: &str, hint: &str) -> SqlError {
    SqlError::unsupported(format!("type {name} is not supported")).with_hint(hint)
}

fn undefined_type(name: &str) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist"))
}
