//! Columns from values that arrive one by one: COPY, parameters, literals.
//!
//! What always holds: a value that is refused leaves the length as it was, but a list may have taken some of its items
//! by then, so **after an error a builder is dropped**. Every value passes the same checks whether it comes as text or
//! in the binary format. The size in bytes is known at any time, so that a caller can bound it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryViewBuilder, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, NullBufferBuilder,
    StringViewBuilder, Time64MicrosecondArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, i256};
use wharf_catalog::SqlType;

use crate::error::{SqlError, SqlState};
use crate::format::{IntervalStyle, TextFormat};
use crate::jsonb::Normalizer;
use crate::mapping::{UTC, arrow_type};
use crate::text_in::array::Items;
use crate::text_in::datetime::Reader;
use crate::text_in::numeric::Target;
use crate::text_in::{boolean, bytea, float, integer, interval, json, numeric, string, uuid};

/// Builds one column of a SQL type.
pub struct ColumnBuilder {
    ty: SqlType,
    data_type: DataType,
    pub(crate) values: Values,
    nulls: NullBufferBuilder,
    length: usize,
    /// Bytes of values of no fixed width.
    variable_bytes: usize,
    /// The cast is explicit: strings that are too long are cut.
    explicit: bool,
}

/// The values of each kind of column.
pub(crate) enum Values {
    Boolean(Vec<bool>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    /// Object identifiers, and the numbers of `regclass` and `regtype`.
    Oid(Vec<u32>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal128(Vec<i128>, Target),
    Decimal256(Vec<i256>, Target),
    Text(StringViewBuilder, Text),
    Bytea(BinaryViewBuilder, Vec<u8>),
    Date(Vec<i32>, Box<Reader>),
    Time(Vec<i64>, Box<Reader>),
    Timestamp(Vec<i64>, Box<Reader>),
    TimestampTz(Vec<i64>, Box<Reader>),
    Interval(Vec<IntervalMonthDayNano>, IntervalStyle),
    List(Box<List>),
}

/// What is done with strings before they are kept.
pub(crate) enum Text {
    Plain,
    Varchar(u32),
    Char(u32),
    Name,
    Single,
    Uuid,
    Json,
    Jsonb(Box<(Normalizer, Vec<u8>)>),
    /// `void`: whatever it is, it is nothing.
    Void,
    /// `record`, which cannot be read.
    Record,
}

/// A list of items of another builder.
pub(crate) struct List {
    pub(crate) items: ColumnBuilder,
    pub(crate) ends: Vec<i32>,
    scratch: Items,
}

impl ColumnBuilder {
    /// A builder of a type's columns, reading under a session's settings. Values of `unknown` become text.
    pub fn new(ty: &SqlType, format: &TextFormat) -> ColumnBuilder {
        let reader = || Box::new(Reader::new(format));
        let text = |kind| Values::Text(StringViewBuilder::new(), kind);
        let values = match ty {
            SqlType::Boolean => Values::Boolean(Vec::new()),
            SqlType::SmallInt => Values::Int16(Vec::new()),
            SqlType::Integer => Values::Int32(Vec::new()),
            SqlType::BigInt => Values::Int64(Vec::new()),
            SqlType::Oid | SqlType::Regclass | SqlType::Regtype | SqlType::Regnamespace | SqlType::Regrole => {
                Values::Oid(Vec::new())
            }
            SqlType::Real => Values::Float32(Vec::new()),
            SqlType::Double => Values::Float64(Vec::new()),
            SqlType::Numeric(_) => match arrow_type(ty) {
                DataType::Decimal256(_, _) => Values::Decimal256(Vec::new(), Target::new(ty)),
                _ => Values::Decimal128(Vec::new(), Target::new(ty)),
            },
            SqlType::Text | SqlType::Varchar(None) | SqlType::Char(0) | SqlType::Unknown => text(Text::Plain),
            SqlType::Varchar(Some(limit)) => text(Text::Varchar(*limit)),
            SqlType::Char(limit) => text(Text::Char(*limit)),
            SqlType::Name => text(Text::Name),
            SqlType::QChar => text(Text::Single),
            SqlType::Uuid => text(Text::Uuid),
            SqlType::Json => text(Text::Json),
            SqlType::Jsonb => text(Text::Jsonb(Box::default())),
            SqlType::Void => text(Text::Void),
            SqlType::Record => text(Text::Record),
            SqlType::Bytea => Values::Bytea(BinaryViewBuilder::new(), Vec::new()),
            SqlType::Date => Values::Date(Vec::new(), reader()),
            SqlType::Time => Values::Time(Vec::new(), reader()),
            SqlType::Timestamp => Values::Timestamp(Vec::new(), reader()),
            SqlType::TimestampTz => Values::TimestampTz(Vec::new(), reader()),
            SqlType::Interval => Values::Interval(Vec::new(), format.interval_style),
            SqlType::Array(item) => Values::List(Box::new(List {
                items: ColumnBuilder::new(item, format),
                ends: Vec::new(),
                scratch: Items::default(),
            })),
        };
        let data_type = match ty {
            SqlType::Unknown => DataType::Utf8View,
            ty => arrow_type(ty),
        };
        ColumnBuilder {
            ty: ty.clone(),
            data_type,
            values,
            nulls: NullBufferBuilder::new(0),
            length: 0,
            variable_bytes: 0,
            explicit: false,
        }
    }

    /// For explicit casts, in which a string too long for `varchar(n)` or `char(n)` is cut instead of refused.
    #[must_use]
    pub fn explicit_cast(mut self) -> ColumnBuilder {
        self.explicit = true;
        if let Values::List(list) = &mut self.values {
            list.items.explicit = true;
        }
        self
    }

    /// The SQL type of the column.
    pub fn sql_type(&self) -> &SqlType {
        &self.ty
    }

    /// How many values, nulls included.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How much memory the values take, about.
    pub fn size_bytes(&self) -> usize {
        let fixed = match &self.values {
            Values::Boolean(_) => 1,
            Values::Int16(_) => 2,
            Values::Int32(_) | Values::Oid(_) | Values::Float32(_) | Values::Date(..) => 4,
            Values::Int64(_)
            | Values::Float64(_)
            | Values::Time(..)
            | Values::Timestamp(..)
            | Values::TimestampTz(..) => 8,
            Values::Decimal128(..) | Values::Interval(..) | Values::Text(..) | Values::Bytea(..) => 16,
            Values::Decimal256(..) => 32,
            Values::List(list) => return self.length * 4 + list.items.size_bytes(),
        };
        self.length * fixed + self.variable_bytes
    }

    /// Adds a null.
    #[inline]
    pub fn push_null(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.push(false),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values, _) => values.push(0),
            Values::Int64(values)
            | Values::Time(values, _)
            | Values::Timestamp(values, _)
            | Values::TimestampTz(values, _) => values.push(0),
            Values::Oid(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal128(values, _) => values.push(0),
            Values::Decimal256(values, _) => values.push(i256::ZERO),
            Values::Text(values, _) => values.append_null(),
            Values::Bytea(values, _) => values.append_null(),
            Values::Interval(values, _) => values.push(IntervalMonthDayNano::ZERO),
            Values::List(list) => list.ends.push(list.ends.last().copied().unwrap_or(0)),
        }
        self.nulls.append_null();
        self.length += 1;
    }

    /// Adds a value from its text. After an error the builder is dropped.
    #[inline]
    pub fn push_text(&mut self, text: &[u8]) -> Result<(), SqlError> {
        match &mut self.values {
            Values::Boolean(values) => values.push(boolean::parse(text)?),
            Values::Int16(values) => values.push(integer::parse(text)?),
            Values::Int32(values) => values.push(integer::parse(text)?),
            Values::Int64(values) => values.push(integer::parse(text)?),
            Values::Oid(values) => values.push(parse_oid(&self.ty, text)?),
            Values::Float32(values) => values.push(float::parse(text)?),
            Values::Float64(values) => values.push(float::parse(text)?),
            Values::Decimal128(values, target) => values.push(numeric::parse_i128(text, target)?),
            Values::Decimal256(values, target) => values.push(numeric::parse_i256(text, target)?),
            Values::Text(values, kind) => {
                let before = self.variable_bytes;
                self.variable_bytes = before + push_string(values, kind, text, self.explicit)?;
            }
            Values::Bytea(values, scratch) => {
                bytea::parse(text, scratch)?;
                self.variable_bytes += scratch.len();
                values.append_value(&*scratch);
            }
            Values::Date(values, reader) => values.push(reader.date(text)?),
            Values::Time(values, reader) => values.push(reader.time(text)?),
            Values::Timestamp(values, reader) => values.push(reader.timestamp(text)?),
            Values::TimestampTz(values, reader) => values.push(reader.timestamptz(text)?),
            Values::Interval(values, style) => values.push(interval::parse(text, *style)?),
            Values::List(list) => list.push_text(text)?,
        }
        self.added();
        Ok(())
    }

    /// Adds a value from the wire's binary format. After an error the builder is dropped.
    pub fn push_binary(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        crate::binary_in::push(self, bytes)
    }

    /// The bookkeeping after a value has been added to `values`.
    #[inline]
    pub(crate) fn added(&mut self) {
        self.nulls.append_non_null();
        self.length += 1;
    }

    /// Adds a string that is a value of the column's type once it has been checked.
    pub(crate) fn push_checked_string(&mut self, text: &[u8]) -> Result<(), SqlError> {
        if let Values::Text(values, kind) = &mut self.values {
            self.variable_bytes += push_string(values, kind, text, self.explicit)?;
            self.added();
        }
        Ok(())
    }

    /// Adds bytes as they are.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        if let Values::Bytea(values, _) = &mut self.values {
            values.append_value(bytes);
            self.variable_bytes += bytes.len();
            self.added();
        }
    }

    /// The column, of the Arrow type [`arrow_type`] gives (text for `unknown`). The builder is empty afterwards.
    pub fn finish(&mut self) -> ArrayRef {
        let nulls = self.nulls.finish();
        let length = std::mem::take(&mut self.length);
        self.variable_bytes = 0;
        fn primitive<T: arrow::datatypes::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
            ScalarBuffer::from(std::mem::take(values))
        }
        let array: ArrayRef = match &mut self.values {
            Values::Boolean(values) => {
                let bits = BooleanBuffer::from(std::mem::take(values));
                Arc::new(BooleanArray::new(bits, nulls))
            }
            Values::Int16(values) => Arc::new(Int16Array::new(primitive(values), nulls)),
            Values::Int32(values) => Arc::new(Int32Array::new(primitive(values), nulls)),
            Values::Int64(values) => Arc::new(Int64Array::new(primitive(values), nulls)),
            Values::Oid(values) => Arc::new(UInt32Array::new(primitive(values), nulls)),
            Values::Float32(values) => Arc::new(Float32Array::new(primitive(values), nulls)),
            Values::Float64(values) => Arc::new(Float64Array::new(primitive(values), nulls)),
            Values::Decimal128(values, _) => {
                let array = Decimal128Array::new(primitive(values), nulls);
                Arc::new(array.with_data_type(self.data_type.clone()))
            }
            Values::Decimal256(values, _) => {
                let array = Decimal256Array::new(primitive(values), nulls);
                Arc::new(array.with_data_type(self.data_type.clone()))
            }
            Values::Text(values, _) => Arc::new(values.finish()),
            Values::Bytea(values, _) => Arc::new(values.finish()),
            Values::Date(values, _) => Arc::new(Date32Array::new(primitive(values), nulls)),
            Values::Time(values, _) => Arc::new(Time64MicrosecondArray::new(primitive(values), nulls)),
            Values::Timestamp(values, _) => Arc::new(TimestampMicrosecondArray::new(primitive(values), nulls)),
            Values::TimestampTz(values, _) => {
                Arc::new(TimestampMicrosecondArray::new(primitive(values), nulls).with_timezone(UTC))
            }
            Values::Interval(values, _) => Arc::new(IntervalMonthDayNanoArray::new(primitive(values), nulls)),
            Values::List(list) => Arc::new(list.finish(nulls)),
        };
        debug_assert_eq!(array.len(), length);
        array
    }
}

impl List {
    fn push_text(&mut self, text: &[u8]) -> Result<(), SqlError> {
        self.scratch.read(text)?;
        for item in self.scratch.iter() {
            match item {
                Some(item) => self.items.push_text(item)?,
                None => self.items.push_null(),
            }
        }
        self.end_row()
    }

    /// Ends a list whose items have been added. `54000` when the column has more items than Arrow can count.
    pub(crate) fn end_row(&mut self) -> Result<(), SqlError> {
        let end = i32::try_from(self.items.len()).map_err(|_| {
            SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many array elements in one batch of rows")
        })?;
        self.ends.push(end);
        Ok(())
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> ListArray {
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.append(&mut self.ends);
        let items = self.items.finish();
        let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
        ListArray::new(field, OffsetBuffer::new(offsets.into()), items, nulls)
    }
}

/// Adds a string to its column and says how many bytes that took.
#[inline]
fn push_string(
    values: &mut StringViewBuilder,
    kind: &mut Text,
    text: &[u8],
    explicit: bool,
) -> Result<usize, SqlError> {
    let valid = string::utf8(text)?;
    let kept = match kind {
        Text::Plain => valid,
        Text::Varchar(limit) => string::varchar(valid, *limit, explicit)?,
        Text::Char(limit) => string::char(valid, *limit, explicit)?,
        Text::Name => string::name(valid),
        Text::Single => string::single(valid),
        Text::Uuid => {
            let canonical = uuid::parse(text)?;
            values.append_value(std::str::from_utf8(&canonical).expect("a canonical UUID is ASCII"));
            return Ok(canonical.len());
        }
        Text::Json => {
            json::validate(valid)?;
            valid
        }
        Text::Jsonb(state) => {
            let (normalizer, out) = state.as_mut();
            out.clear();
            normalizer.normalize(valid, out)?;
            let normal = std::str::from_utf8(out).map_err(|_| SqlError::internal("normalized JSON is not UTF-8"))?;
            values.append_value(normal);
            return Ok(normal.len());
        }
        Text::Void => "",
        Text::Record => {
            return Err(SqlError::unsupported("input of anonymous composite types is not implemented")
                .with_hint("Give each field as a value of its own."));
        }
    };
    values.append_value(kept);
    Ok(kept.len())
}

/// An object identifier. The names that `regclass` and `regtype` accept are looked up by the engine, which knows them.
fn parse_oid(ty: &SqlType, text: &[u8]) -> Result<u32, SqlError> {
    match ty {
        SqlType::Oid => integer::parse_oid(text),
        _ if text == b"-" => Ok(0),
        _ if !text.is_empty() && text.iter().all(u8::is_ascii_digit) => integer::parse_oid(text),
        _ => Err(SqlError::unsupported(format!("names of type {ty} are not supported here"))
            .with_hint("Use the number of the object.")),
    }
}
