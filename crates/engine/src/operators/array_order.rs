//! PostgreSQL's order of arrays (`array_cmp` in `src/backend/utils/adt/arrayfuncs.c`): keys of arrays that compare as bytes, and
//! the greatest and the least of several arrays.
//!
//! What always holds: elements decide one after the other, whatever the dimensions; NULLs among them are equal to each other
//! and greater than all else; then the shorter array is less, then the one whose first different dimension is. Arrow's
//! comparisons take a NULL in a list for less than all else, and `-0` for another number than `0`.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeBinaryArray, LargeBinaryBuilder, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortOptions, interleave};
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::interval_key;

/// What is made of arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ArrayOrder {
    /// Bytes in the order of the arrays, the same for equal arrays of one Arrow type; NULL of NULL.
    Key,
    /// The greatest of several of one Arrow type, the first of those that are equal. NULLs do not count.
    Greatest,
    /// The least of several of one Arrow type, the first of those that are equal. NULLs do not count.
    Least,
}

impl ArrayOrder {
    const ALL: [ArrayOrder; 3] = [Self::Key, Self::Greatest, Self::Least];

    /// This of an expression, or of several for [`Self::Greatest`] and [`Self::Least`].
    pub(crate) fn call(self, arguments: Vec<Expr>) -> Expr {
        Arc::new(self.function()).call(arguments)
    }

    fn function(self) -> ScalarUDF {
        let signature = Signature::variadic_any(Volatility::Immutable);
        ScalarUDF::new_from_impl(ArrayOrderFunction { order: self, signature })
    }
}

/// The functions.
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    ArrayOrder::ALL.into_iter().map(ArrayOrder::function)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrayOrderFunction {
    order: ArrayOrder,
    signature: Signature,
}

impl ScalarUDFImpl for ArrayOrderFunction {
    fn name(&self) -> &str {
        match self.order {
            ArrayOrder::Key => "array_key",
            ArrayOrder::Greatest => "array_greatest",
            ArrayOrder::Least => "array_least",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(match self.order {
            ArrayOrder::Key => DataType::LargeBinary,
            ArrayOrder::Greatest | ArrayOrder::Least => arg_types.first().cloned().unwrap_or(DataType::Null),
        })
    }

    /// One of several arrays says of its type what the first of them does.
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let field = Field::new(self.name(), self.return_type(&types)?, true);
        Ok(Arc::new(match (self.order, args.arg_fields.first()) {
            (ArrayOrder::Greatest | ArrayOrder::Least, Some(first)) => field.with_metadata(first.metadata().clone()),
            _ => field,
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<DfResult<Vec<ArrayRef>>>()?;
        Ok(ColumnarValue::Array(match self.order {
            ArrayOrder::Key => Arc::new(keys(&arrays[0])?),
            ArrayOrder::Greatest => extreme(&arrays, args.number_rows, Ordering::Greater)?,
            ArrayOrder::Least => extreme(&arrays, args.number_rows, Ordering::Less)?,
        }))
    }
}

/// The key of each array. Arrow's row format of a list ends before that of a longer one goes on, so sizes may follow it.
fn keys(array: &ArrayRef) -> DfResult<LargeBinaryArray> {
    let lists = array.as_list::<i32>();
    let flat = flattened(lists)?;
    let nested = lists.values().as_list_opt::<i32>().is_some();
    let nulls_last = SortOptions { descending: false, nulls_first: false };
    let converter = RowConverter::new(vec![SortField::new_with_options(flat.data_type().clone(), nulls_last)])?;
    let rows = converter.convert_columns(&[Arc::new(flat) as ArrayRef])?;
    let mut keys = LargeBinaryBuilder::with_capacity(lists.len(), 0);
    let mut key = Vec::new();
    for row in 0..lists.len() {
        if lists.is_null(row) {
            keys.append_null();
        } else if nested {
            key.clear();
            key.extend_from_slice(rows.row(row).data());
            append_sizes(lists, row, &mut key);
            keys.append_value(&key);
        } else {
            keys.append_value(rows.row(row).data());
        }
    }
    Ok(keys.finish())
}

/// Lists of one dimension with the innermost elements, of which those that are equal are the same.
fn flattened(lists: &ListArray) -> DfResult<ListArray> {
    let mut offsets = lists.value_offsets().to_vec();
    let mut items = Arc::clone(lists.values());
    while let Some(inner) = items.as_list_opt::<i32>().cloned() {
        let starts = inner.value_offsets();
        offsets.iter_mut().for_each(|offset| *offset = starts[*offset as usize]);
        items = Arc::clone(inner.values());
    }
    let items: ArrayRef = match items.data_type() {
        DataType::Interval(_) => interval_key::keys(&items)?,
        DataType::Float32 => {
            let one = |value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 };
            Arc::new(items.as_primitive::<Float32Type>().unary::<_, Float32Type>(one))
        }
        DataType::Float64 => {
            let one = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
            Arc::new(items.as_primitive::<Float64Type>().unary::<_, Float64Type>(one))
        }
        _ => items,
    };
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    Ok(ListArray::try_new(field, OffsetBuffer::new(offsets.into()), items, lists.nulls().cloned())?)
}

/// The sizes of an array's dimensions, in bytes that compare as they do; all of its inner arrays have one shape.
fn append_sizes(lists: &ListArray, row: usize, key: &mut Vec<u8>) {
    let offsets = lists.value_offsets();
    let (start, end) = (offsets[row], offsets[row + 1]);
    key.extend_from_slice(&(end - start).to_be_bytes());
    if let Some(inner) = lists.values().as_list_opt::<i32>()
        && start < end
    {
        append_sizes(inner, start as usize, key);
    }
}

/// Of each row the first array than which none is more (or less) in the order.
fn extreme(arrays: &[ArrayRef], rows: usize, wanted: Ordering) -> DfResult<ArrayRef> {
    let all_keys = arrays.iter().map(keys).collect::<DfResult<Vec<_>>>()?;
    let better = |row: usize, new: usize, old: usize| all_keys[new].value(row).cmp(all_keys[old].value(row)) == wanted;
    let chosen: Vec<(usize, usize)> = (0..rows)
        .map(|row| {
            let valid = (0..arrays.len()).filter(|index| arrays[*index].is_valid(row));
            let best = valid.reduce(|old, new| if better(row, new, old) { new } else { old });
            // All are NULL: so is the first.
            (best.unwrap_or(0), row)
        })
        .collect();
    let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
    Ok(interleave(&arrays, &chosen)?)
}
