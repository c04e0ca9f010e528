//! One evaluation of a function over a batch: typed access to the arguments, and builders for the result.
//!
//! What always holds: an argument column has the Arrow type of the overload's parameter (see [`super::convert`]), text is
//! `Utf8View`, `bytea` `BinaryView`, timestamps are in microseconds. A constant argument is an array of one row whose
//! column repeats it, so a function is written once for constants and columns. For a strict function the rows with a null
//! argument are null and the closures given to the builders never see them. Nothing here allocates per row.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayAccessor, ArrayRef, ArrowPrimitiveType, BinaryViewArray, BinaryViewBuilder, BooleanArray,
    BooleanBufferBuilder, Decimal128Array, ListArray, NullBufferBuilder, PrimitiveArray, StringViewArray,
    StringViewBuilder,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, FieldRef, Float64Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use datafusion::config::ConfigOptions;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState, TextFormat};

use super::context::FunctionContext;
use super::decimal;

/// The result of everything in this module.
pub(super) type Result<T, E = SqlError> = std::result::Result<T, E>;

/// An argument: a column, or a constant as an array of one row.
#[derive(Clone, Debug)]
pub(super) struct Argument {
    pub(super) array: ArrayRef,
    pub(super) constant: bool,
}

/// A typed view of an argument.
pub(super) struct Column<'a, A> {
    pub(super) array: &'a A,
    /// 1 for a column, 0 for a constant: row `i` is at `i * step`.
    step: usize,
}

impl<A> Clone for Column<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Column<'_, A> {}

impl<'a, A: Array> Column<'a, A>
where
    &'a A: ArrayAccessor,
{
    /// The value of a row that is not null.
    #[inline]
    pub(super) fn at(self, row: usize) -> <&'a A as ArrayAccessor>::Item {
        self.array.value(row * self.step)
    }

    /// The value of a row, `None` for null.
    #[inline]
    pub(super) fn get(self, row: usize) -> Option<<&'a A as ArrayAccessor>::Item> {
        let row = row * self.step;
        self.array.is_valid(row).then(|| self.array.value(row))
    }

    /// The value when it is the same in every row and not null.
    pub(super) fn constant(self) -> Option<<&'a A as ArrayAccessor>::Item> {
        (self.step == 0).then(|| self.get(0)).flatten()
    }

    /// Whether the argument is a constant (perhaps null).
    pub(super) fn is_constant(self) -> bool {
        self.step == 0
    }
}

pub(super) type TextColumn<'a> = Column<'a, StringViewArray>;
pub(super) type PrimitiveColumn<'a, T> = Column<'a, PrimitiveArray<T>>;

/// What an implementation is given.
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: Vec<Argument>,
    /// The SQL types of the arguments after conversion to the overload's parameters.
    pub(super) types: Vec<SqlType>,
    /// The fields of the arguments as the plan has them; the type may differ from what the array was converted to.
    pub(super) fields: Vec<FieldRef>,
    pub(super) rows: usize,
    /// For a strict function: rows where no argument is null.
    pub(super) nulls: Option<NullBuffer>,
    pub(super) return_field: &'a Field,
    pub(super) config: &'a ConfigOptions,
}

impl Call<'_> {
    pub(super) fn len(&self) -> usize {
        self.arguments.len()
    }

    /// What the session tells functions: formats, time zone, times.
    pub(super) fn context(&self) -> FunctionContext {
        FunctionContext::of(self.config)
    }

    pub(super) fn text_format(&self) -> TextFormat {
        self.context().text
    }

    pub(super) fn return_type(&self) -> &DataType {
        self.return_field.data_type()
    }

    fn column<A: Array + 'static>(&self, index: usize) -> Result<Column<'_, A>> {
        let argument = self
            .arguments
            .get(index)
            .ok_or_else(|| SqlError::internal(format!("function {} misses argument {index}", self.name)))?;
        let array = argument.array.as_any().downcast_ref::<A>().ok_or_else(|| {
            SqlError::internal(format!(
                "function {}: argument {index} has the type {}",
                self.name,
                argument.array.data_type()
            ))
        })?;
        Ok(Column { array, step: usize::from(!argument.constant) })
    }

    pub(super) fn text(&self, index: usize) -> Result<TextColumn<'_>> {
        self.column(index)
    }

    pub(super) fn bytes(&self, index: usize) -> Result<Column<'_, BinaryViewArray>> {
        self.column(index)
    }

    pub(super) fn boolean(&self, index: usize) -> Result<Column<'_, BooleanArray>> {
        self.column(index)
    }

    pub(super) fn list(&self, index: usize) -> Result<Column<'_, ListArray>> {
        self.column(index)
    }

    pub(super) fn primitive<T: ArrowPrimitiveType>(&self, index: usize) -> Result<PrimitiveColumn<'_, T>> {
        self.column(index)
    }

    pub(super) fn int4(&self, index: usize) -> Result<PrimitiveColumn<'_, Int32Type>> {
        self.column(index)
    }

    pub(super) fn int8(&self, index: usize) -> Result<PrimitiveColumn<'_, Int64Type>> {
        self.column(index)
    }

    pub(super) fn float8(&self, index: usize) -> Result<PrimitiveColumn<'_, Float64Type>> {
        self.column(index)
    }

    pub(super) fn date(&self, index: usize) -> Result<PrimitiveColumn<'_, Date32Type>> {
        self.column(index)
    }

    pub(super) fn time(&self, index: usize) -> Result<PrimitiveColumn<'_, Time64MicrosecondType>> {
        self.column(index)
    }

    /// Timestamps with and without time zone: microseconds since 1970.
    pub(super) fn timestamp(&self, index: usize) -> Result<PrimitiveColumn<'_, TimestampMicrosecondType>> {
        self.column(index)
    }

    pub(super) fn interval(&self, index: usize) -> Result<PrimitiveColumn<'_, IntervalMonthDayNanoType>> {
        self.column(index)
    }

    /// A numeric argument and its scale.
    pub(super) fn numeric(&self, index: usize) -> Result<(Column<'_, Decimal128Array>, i8)> {
        let column = self.column::<Decimal128Array>(index)?;
        Ok((column, column.array.scale()))
    }

    /// Whether an argument is null in a row; for functions that are not strict.
    pub(super) fn is_null(&self, index: usize, row: usize) -> bool {
        let argument = &self.arguments[index];
        match argument.array.data_type() {
            DataType::Null => true,
            _ => argument.array.is_null(if argument.constant { 0 } else { row }),
        }
    }

    fn present(&self, row: usize) -> bool {
        self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
    }

    fn typed<T: ArrowPrimitiveType>(&self, array: PrimitiveArray<T>) -> ArrayRef {
        // A time zone, or a decimal's precision and scale, is part of the promised type.
        let wanted = self.return_type();
        let same_kind = std::mem::discriminant(wanted) == std::mem::discriminant(array.data_type());
        Arc::new(if same_kind { array.with_data_type(wanted.clone()) } else { array })
    }

    /// A result of a fixed-width type, computed for every row that is not null.
    pub(super) fn make<T: ArrowPrimitiveType>(
        &self,
        mut value: impl FnMut(usize) -> Result<T::Native>,
    ) -> Result<ArrayRef> {
        let mut values = Vec::with_capacity(self.rows);
        match &self.nulls {
            None => {
                for row in 0..self.rows {
                    values.push(value(row)?);
                }
            }
            Some(nulls) => {
                for row in 0..self.rows {
                    values.push(if nulls.is_valid(row) { value(row)? } else { T::default_value() });
                }
            }
        }
        Ok(self.typed(PrimitiveArray::<T>::new(values.into(), self.nulls.clone())))
    }

    /// The same for functions that cannot fail.
    pub(super) fn map<T: ArrowPrimitiveType>(&self, mut value: impl FnMut(usize) -> T::Native) -> Result<ArrayRef> {
        self.make::<T>(|row| Ok(value(row)))
    }

    /// The same for functions whose result may be null for arguments that are not.
    pub(super) fn make_optional<T: ArrowPrimitiveType>(
        &self,
        mut value: impl FnMut(usize) -> Result<Option<T::Native>>,
    ) -> Result<ArrayRef> {
        let mut values = Vec::with_capacity(self.rows);
        let mut nulls = NullBufferBuilder::new(self.rows);
        for row in 0..self.rows {
            let value = if self.present(row) { value(row)? } else { None };
            nulls.append(value.is_some());
            values.push(value.unwrap_or_default());
        }
        Ok(self.typed(PrimitiveArray::<T>::new(values.into(), nulls.finish())))
    }

    /// A numeric result: each value comes with its own scale and is brought to that of the promised type.
    ///
    /// # Errors
    /// `22003` for a value with more digits than the promised type has.
    pub(super) fn make_numeric(&self, mut value: impl FnMut(usize) -> Result<Option<(i128, i8)>>) -> Result<ArrayRef> {
        let (precision, scale) = match self.return_type() {
            DataType::Decimal128(precision, scale) => (*precision, *scale),
            other => return Err(SqlError::internal(format!("function {} returns {other}", self.name))),
        };
        self.make_optional::<Decimal128Type>(|row| match value(row)? {
            Some((value, has)) => decimal::fit(value, has, precision, scale).map(Some),
            None => Ok(None),
        })
    }

    pub(super) fn make_boolean(&self, mut value: impl FnMut(usize) -> Result<bool>) -> Result<ArrayRef> {
        let mut values = BooleanBufferBuilder::new(self.rows);
        for row in 0..self.rows {
            values.append(self.present(row) && value(row)?);
        }
        Ok(Arc::new(BooleanArray::new(values.finish(), self.nulls.clone())))
    }

    pub(super) fn make_optional_boolean(
        &self,
        mut value: impl FnMut(usize) -> Result<Option<bool>>,
    ) -> Result<ArrayRef> {
        let mut values = Vec::with_capacity(self.rows);
        for row in 0..self.rows {
            values.push(if self.present(row) { value(row)? } else { None });
        }
        Ok(Arc::new(BooleanArray::from(values)))
    }

    /// A text result that is a part of an argument (or a constant), copied once.
    pub(super) fn make_str<'v>(&self, mut value: impl FnMut(usize) -> Result<&'v str>) -> Result<ArrayRef> {
        self.make_optional_str(|row| value(row).map(Some))
    }

    /// The same, where the result may be null.
    pub(super) fn make_optional_str<'v>(
        &self,
        mut value: impl FnMut(usize) -> Result<Option<&'v str>>,
    ) -> Result<ArrayRef> {
        let mut builder = StringViewBuilder::with_capacity(self.rows);
        for row in 0..self.rows {
            match if self.present(row) { value(row)? } else { None } {
                Some(text) => push_text(&mut builder, text)?,
                None => builder.append_null(),
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    /// A text result written into a buffer that is reused from row to row; the closure finds it empty.
    pub(super) fn make_text(&self, mut write: impl FnMut(usize, &mut String) -> Result<()>) -> Result<ArrayRef> {
        self.make_optional_text(|row, out| write(row, out).map(|()| true))
    }

    /// The same; `false` stands for null.
    pub(super) fn make_optional_text(
        &self,
        mut write: impl FnMut(usize, &mut String) -> Result<bool>,
    ) -> Result<ArrayRef> {
        let mut builder = StringViewBuilder::with_capacity(self.rows);
        let mut scratch = String::new();
        for row in 0..self.rows {
            scratch.clear();
            if self.present(row) && write(row, &mut scratch)? {
                push_text(&mut builder, &scratch)?;
            } else {
                builder.append_null();
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    /// A `bytea` result, written as [`Call::make_text`] writes text.
    pub(super) fn make_bytes(&self, mut write: impl FnMut(usize, &mut Vec<u8>) -> Result<()>) -> Result<ArrayRef> {
        let mut builder = BinaryViewBuilder::with_capacity(self.rows);
        let mut scratch = Vec::new();
        for row in 0..self.rows {
            if self.present(row) {
                scratch.clear();
                write(row, &mut scratch)?;
                builder.try_append_value(&scratch).map_err(too_large)?;
            } else {
                builder.append_null();
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    /// A list of text per row; the closure pushes the items, and `false` stands for a null list.
    pub(super) fn make_text_list(
        &self,
        mut items: impl FnMut(usize, &mut TextItems) -> Result<bool>,
    ) -> Result<ArrayRef> {
        let mut list = TextItems { builder: StringViewBuilder::new() };
        let mut offsets = Vec::with_capacity(self.rows + 1);
        offsets.push(0_i32);
        let mut nulls = NullBufferBuilder::new(self.rows);
        for row in 0..self.rows {
            nulls.append(self.present(row) && items(row, &mut list)?);
            offsets.push(list_offset(list.len())?);
        }
        let item = match self.return_type() {
            DataType::List(item) if *item.data_type() == DataType::Utf8View => Arc::clone(item),
            _ => Arc::new(Field::new_list_field(DataType::Utf8View, true)),
        };
        let values = Arc::new(list.builder.finish());
        let list = ListArray::try_new(item, arrow::buffer::OffsetBuffer::new(offsets.into()), values, nulls.finish());
        Ok(Arc::new(list.map_err(|error| SqlError::internal(error.to_string()))?))
    }
}

/// The items of the list a function is building.
pub(super) struct TextItems {
    builder: StringViewBuilder,
}

impl TextItems {
    pub(super) fn push(&mut self, text: &str) -> Result<()> {
        push_text(&mut self.builder, text)
    }

    pub(super) fn push_null(&mut self) {
        self.builder.append_null();
    }

    pub(super) fn len(&self) -> usize {
        use arrow::array::ArrayBuilder;
        self.builder.len()
    }
}

/// An offset of Arrow's lists, which have 31 bits in one batch.
pub(super) fn list_offset(offset: usize) -> Result<i32> {
    i32::try_from(offset).map_err(|_| {
        SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "array size exceeds the maximum allowed (2147483647)")
    })
}

fn push_text(builder: &mut StringViewBuilder, text: &str) -> Result<()> {
    builder.try_append_value(text).map_err(too_large)
}

fn too_large(_: arrow::error::ArrowError) -> SqlError {
    SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "value is too large")
}

/// An arithmetic result beyond its type: `22003`, as `smallint out of range`.
pub(super) fn out_of_range(ty: &str) -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{ty} out of range"))
}

/// An argument with a value that the function does not take: `22023`.
pub(super) fn invalid_parameter(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// `22012`.
pub(super) fn division_by_zero() -> SqlError {
    SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero")
}
