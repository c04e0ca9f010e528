//! Which Arrow type holds which SQL type, and the way back.
//!
//! What always holds: `sql_type(&field(name, ty, nullable)) == *ty` for every type that can be stored. Where several SQL
//! types share an Arrow type, the field says which in its metadata ([`TYPE_KEY`]); metadata that contradicts the Arrow
//! type (because an expression kept the metadata of its argument) is ignored, so it can never make a value unreadable.
//! Every other Arrow type that DataFusion may compute is accepted on reading. No values are converted here.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, IntervalUnit, TimeUnit};
use wharf_catalog::SqlType;

/// The metadata key of the SQL type, spelled as `format_type` spells it (`character varying(20)`).
pub const TYPE_KEY: &str = "wharf.type";
/// The metadata key that says how the scale of a numeric is printed; see [`NumericDisplay`].
pub const NUMERIC_KEY: &str = "wharf.numeric";
/// The scale with which a `numeric` without precision is stored.
pub const UNCONSTRAINED_SCALE: i8 = 16;
/// The Arrow time zone of `timestamp with time zone`: values are instants, and this is how Arrow says so.
pub const UTC: &str = "+00:00";

/// How many digits of a numeric's scale are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumericDisplay {
    /// All digits of the Arrow type's scale, as `numeric(p,s)` prints.
    #[default]
    Scale,
    /// Without trailing zeros after the point: values of `numeric` without precision.
    Trim,
    /// The scale PostgreSQL's numeric division would have chosen for the value.
    Division,
    /// The same for a variance, of which no digit is left out that is not zero; zero itself has none after the point.
    Variance {
        /// The digits after the point that are printed at least, as far as the type has them.
        least_scale: u8,
    },
    /// A standard deviation, which has the scale of the variance that is its square.
    Deviation {
        /// The same as of a variance.
        least_scale: u8,
    },
}

impl NumericDisplay {
    /// What the metadata of a field says.
    pub fn of(field: &Field) -> NumericDisplay {
        let Some(text) = field.metadata().get(NUMERIC_KEY) else { return NumericDisplay::Scale };
        let (kind, least_scale) = text.split_once(' ').unwrap_or((text.as_str(), "0"));
        let least_scale = least_scale.parse().unwrap_or(0);
        match kind {
            "trim" => NumericDisplay::Trim,
            "division" => NumericDisplay::Division,
            "variance" => NumericDisplay::Variance { least_scale },
            "deviation" => NumericDisplay::Deviation { least_scale },
            _ => NumericDisplay::Scale,
        }
    }

    /// The value of [`NUMERIC_KEY`]; `None` for the default, which needs no metadata.
    pub fn metadata_value(self) -> Option<String> {
        match self {
            NumericDisplay::Scale => None,
            NumericDisplay::Trim => Some("trim".to_owned()),
            NumericDisplay::Division => Some("division".to_owned()),
            NumericDisplay::Variance { least_scale } => Some(format!("variance {least_scale}")),
            NumericDisplay::Deviation { least_scale } => Some(format!("deviation {least_scale}")),
        }
    }
}

/// The Arrow type that holds values of a SQL type.
///
/// A precision that no Arrow decimal has (above 76) gets the widest decimal; DDL refuses such columns before.
/// `unknown` is Arrow's null type; a literal of type unknown that is not null is held as text.
pub fn arrow_type(ty: &SqlType) -> DataType {
    match ty {
        SqlType::Boolean => DataType::Boolean,
        SqlType::SmallInt => DataType::Int16,
        SqlType::Integer => DataType::Int32,
        SqlType::BigInt => DataType::Int64,
        SqlType::Real => DataType::Float32,
        SqlType::Double => DataType::Float64,
        SqlType::Numeric(None) => DataType::Decimal128(DECIMAL128_MAX_PRECISION, UNCONSTRAINED_SCALE),
        SqlType::Numeric(Some((precision, scale))) => decimal_type(*precision, *scale),
        SqlType::Text
        | SqlType::Varchar(_)
        | SqlType::Char(_)
        | SqlType::Name
        | SqlType::QChar
        | SqlType::Uuid
        | SqlType::Json
        | SqlType::Jsonb
        | SqlType::Record
        | SqlType::Void => DataType::Utf8View,
        SqlType::Bytea => DataType::BinaryView,
        SqlType::Date => DataType::Date32,
        SqlType::Time => DataType::Time64(TimeUnit::Microsecond),
        SqlType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        SqlType::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        SqlType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        SqlType::Oid | SqlType::Regclass | SqlType::Regtype | SqlType::Regnamespace | SqlType::Regrole => {
            DataType::UInt32
        }
        SqlType::Unknown => DataType::Null,
        SqlType::Array(item) => DataType::List(Arc::new(Field::new_list_field(arrow_type(item), true))),
    }
}

/// The narrowest decimal with room for a precision and scale. Arrow wants the scale within the precision, PostgreSQL
/// does not (`numeric(3,5)`), so such a type is widened.
fn decimal_type(precision: u8, scale: i8) -> DataType {
    let digits = precision.max(scale.max(0) as u8).max(1);
    if digits <= DECIMAL128_MAX_PRECISION {
        DataType::Decimal128(digits, scale)
    } else {
        let digits = digits.min(DECIMAL256_MAX_PRECISION);
        DataType::Decimal256(digits, scale.min(digits as i8))
    }
}

/// A field of a SQL type, with the metadata that brings the type back when Arrow's type alone does not say it.
pub fn field(name: impl Into<String>, ty: &SqlType, nullable: bool) -> Field {
    let field = Field::new(name, arrow_type(ty), nullable);
    let metadata = metadata(ty);
    if metadata.is_empty() { field } else { field.with_metadata(metadata) }
}

/// The metadata a field of this SQL type needs besides its Arrow type; empty when Arrow says it all.
pub fn metadata(ty: &SqlType) -> HashMap<String, String> {
    let mut metadata = HashMap::new();
    if sql_type_of(&arrow_type(ty)) != *ty {
        metadata.insert(TYPE_KEY.to_owned(), ty.to_string());
    }
    if *innermost(ty) == SqlType::Numeric(None) {
        metadata.insert(NUMERIC_KEY.to_owned(), "trim".to_owned());
    }
    metadata
}

/// The SQL type of a field: its metadata where that fits the Arrow type, else what the Arrow type stands for.
pub fn sql_type(field: &Field) -> SqlType {
    field
        .metadata()
        .get(TYPE_KEY)
        .and_then(|text| text.parse::<SqlType>().ok())
        .filter(|ty| fits(ty, field.data_type()))
        .unwrap_or_else(|| match field.data_type() {
            // An item may carry metadata of its own.
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _) => array_of(item_type(item)),
            other => sql_type_of(other),
        })
}

/// The type of a list's values. Lists of this width that say nothing more are made by the engine, out of oids.
fn item_type(item: &Field) -> SqlType {
    if *item.data_type() == DataType::UInt32 && item.metadata().is_empty() { SqlType::Oid } else { sql_type(item) }
}

/// The SQL type an Arrow type stands for without metadata.
pub fn sql_type_of(data_type: &DataType) -> SqlType {
    match data_type {
        DataType::Null => SqlType::Unknown,
        DataType::Boolean => SqlType::Boolean,
        DataType::Int8 | DataType::Int16 => SqlType::SmallInt,
        DataType::UInt8 | DataType::UInt16 | DataType::Int32 => SqlType::Integer,
        DataType::UInt32 | DataType::Int64 => SqlType::BigInt,
        DataType::UInt64 => SqlType::Numeric(Some((20, 0))),
        DataType::Float16 | DataType::Float32 => SqlType::Real,
        DataType::Float64 => SqlType::Double,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => SqlType::Numeric(Some((*precision, *scale))),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => SqlType::Text,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            SqlType::Bytea
        }
        DataType::Date32 | DataType::Date64 => SqlType::Date,
        DataType::Time32(_) | DataType::Time64(_) => SqlType::Time,
        DataType::Timestamp(_, None) => SqlType::Timestamp,
        DataType::Timestamp(_, Some(_)) => SqlType::TimestampTz,
        DataType::Duration(_) | DataType::Interval(_) => SqlType::Interval,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => array_of(item_type(item)),
        DataType::Dictionary(_, values) => sql_type_of(values),
        DataType::RunEndEncoded(_, values) => sql_type(values),
        DataType::Struct(_) | DataType::Map(_, _) | DataType::Union(_, _) => SqlType::Record,
    }
}

/// An array type; PostgreSQL has one array type for any number of dimensions.
fn array_of(item: SqlType) -> SqlType {
    match item {
        SqlType::Array(_) => item,
        item => SqlType::Array(Box::new(item)),
    }
}

/// The field of a list's items, which the metadata of the list itself describes where it has any.
pub(crate) fn item_field(list: &Field, ty: &SqlType, item: &Field) -> Field {
    let nested = matches!(item.data_type(), DataType::List(_));
    let item_type = match ty {
        SqlType::Array(inner) if !nested => inner,
        ty => ty,
    };
    let mut metadata = item.metadata().clone();
    if sql_type(item) != *item_type {
        metadata.insert(TYPE_KEY.to_owned(), item_type.to_string());
    }
    if let Some(display) = list.metadata().get(NUMERIC_KEY) {
        metadata.insert(NUMERIC_KEY.to_owned(), display.clone());
    }
    Field::new(item.name(), item.data_type().clone(), true).with_metadata(metadata)
}

fn innermost(ty: &SqlType) -> &SqlType {
    match ty {
        SqlType::Array(item) => innermost(item),
        ty => ty,
    }
}

/// Whether values of a SQL type can be read from an Arrow type. Stricter than what the encoders could print: a
/// `numeric(10,2)` over a decimal of another scale is metadata that an expression left behind.
fn fits(ty: &SqlType, data_type: &DataType) -> bool {
    use DataType as D;
    match data_type {
        D::Dictionary(_, values) => return fits(ty, values),
        D::RunEndEncoded(_, values) => return fits(ty, values.data_type()),
        _ => {}
    }
    match ty {
        SqlType::Boolean => matches!(data_type, D::Boolean),
        SqlType::SmallInt => matches!(data_type, D::Int8 | D::UInt8 | D::Int16),
        SqlType::Integer => matches!(data_type, D::Int8 | D::UInt8 | D::Int16 | D::UInt16 | D::Int32),
        SqlType::BigInt => matches!(data_type, D::Int32 | D::UInt32 | D::Int64),
        SqlType::Real => matches!(data_type, D::Float16 | D::Float32),
        SqlType::Double => matches!(data_type, D::Float32 | D::Float64),
        SqlType::Numeric(None) => matches!(
            data_type,
            D::Decimal32(..) | D::Decimal64(..) | D::Decimal128(..) | D::Decimal256(..) | D::UInt64 | D::Int64
        ),
        SqlType::Numeric(Some((precision, scale))) => match (decimal_type(*precision, *scale), data_type) {
            (
                D::Decimal128(wanted, scale) | D::Decimal256(wanted, scale),
                D::Decimal32(has, s) | D::Decimal64(has, s) | D::Decimal128(has, s) | D::Decimal256(has, s),
            ) => *has == wanted && *s == scale,
            (_, D::UInt64) => (*precision, *scale) == (20, 0),
            _ => false,
        },
        SqlType::Text
        | SqlType::Varchar(_)
        | SqlType::Char(_)
        | SqlType::Name
        | SqlType::QChar
        | SqlType::Json
        | SqlType::Jsonb
        | SqlType::Void
        | SqlType::Unknown => is_string(data_type) || *data_type == D::Null,
        SqlType::Record => {
            is_string(data_type) || matches!(data_type, D::Struct(_) | D::Map(..) | D::Union(..) | D::Null)
        }
        SqlType::Uuid => is_string(data_type) || *data_type == D::FixedSizeBinary(16),
        SqlType::Bytea => {
            matches!(data_type, D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_))
        }
        SqlType::Date => matches!(data_type, D::Date32 | D::Date64),
        SqlType::Time => matches!(data_type, D::Time32(_) | D::Time64(_)),
        SqlType::Timestamp => matches!(data_type, D::Timestamp(_, None)),
        SqlType::TimestampTz => matches!(data_type, D::Timestamp(_, Some(_))),
        SqlType::Interval => matches!(data_type, D::Interval(_) | D::Duration(_)),
        SqlType::Oid => matches!(data_type, D::UInt32),
        // A name where the engine has looked it up, the number where it has not.
        SqlType::Regclass | SqlType::Regtype | SqlType::Regnamespace | SqlType::Regrole => {
            is_string(data_type) || matches!(data_type, D::UInt32)
        }
        SqlType::Array(item) => match data_type {
            D::List(field)
            | D::LargeList(field)
            | D::ListView(field)
            | D::LargeListView(field)
            | D::FixedSizeList(field, _) => fits(item, field.data_type()) || fits(ty, field.data_type()),
            _ => false,
        },
    }
}

fn is_string(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storable() -> Vec<SqlType> {
        let scalars = [
            SqlType::Boolean,
            SqlType::SmallInt,
            SqlType::Integer,
            SqlType::BigInt,
            SqlType::Real,
            SqlType::Double,
            SqlType::Numeric(None),
            SqlType::Numeric(Some((15, 2))),
            SqlType::Numeric(Some((3, 5))),
            SqlType::Numeric(Some((50, 10))),
            SqlType::Text,
            SqlType::Varchar(None),
            SqlType::Varchar(Some(20)),
            SqlType::Char(3),
            SqlType::Bytea,
            SqlType::Date,
            SqlType::Time,
            SqlType::Timestamp,
            SqlType::TimestampTz,
            SqlType::Interval,
            SqlType::Uuid,
            SqlType::Json,
            SqlType::Jsonb,
            SqlType::Oid,
            SqlType::Name,
            SqlType::QChar,
            SqlType::Regclass,
            SqlType::Regtype,
            SqlType::Regnamespace,
            SqlType::Regrole,
            SqlType::Void,
            SqlType::Record,
            SqlType::Unknown,
        ];
        let arrays = scalars
            .iter()
            .filter(|ty| !matches!(ty, SqlType::Void | SqlType::Record | SqlType::Unknown))
            .map(|ty| SqlType::Array(Box::new(ty.clone())))
            .collect::<Vec<_>>();
        scalars.into_iter().chain(arrays).collect()
    }

    #[test]
    fn every_type_comes_back_from_its_field() {
        for ty in storable() {
            assert_eq!(sql_type(&field("c", &ty, true)), ty);
        }
    }

    #[test]
    fn plain_types_carry_no_metadata() {
        for ty in [SqlType::Text, SqlType::Integer, SqlType::Numeric(Some((15, 2))), SqlType::Unknown] {
            assert!(field("c", &ty, true).metadata().is_empty(), "{ty}");
        }
    }

    #[test]
    fn metadata_left_behind_by_an_expression_is_ignored() {
        let stale =
            |ty: &SqlType, data_type: DataType| sql_type(&Field::new("c", data_type, true).with_metadata(metadata(ty)));
        assert_eq!(stale(&SqlType::Varchar(Some(3)), DataType::Int32), SqlType::Integer);
        assert_eq!(stale(&SqlType::Oid, DataType::Int64), SqlType::BigInt);
        let wider = stale(&SqlType::Numeric(Some((3, 5))), DataType::Decimal128(10, 2));
        assert_eq!(wider, SqlType::Numeric(Some((10, 2))));
    }

    #[test]
    fn arrow_types_that_only_datafusion_makes_are_read() {
        let of = |data_type: DataType| sql_type(&Field::new("c", data_type, true));
        assert_eq!(of(DataType::UInt64), SqlType::Numeric(Some((20, 0))));
        assert_eq!(of(DataType::UInt32), SqlType::BigInt);
        assert_eq!(of(DataType::Int8), SqlType::SmallInt);
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        assert_eq!(of(dictionary), SqlType::Text);
        let nested = DataType::new_list(DataType::new_list(DataType::Int32, true), true);
        assert_eq!(of(nested), SqlType::Array(Box::new(SqlType::Integer)));
    }
}
