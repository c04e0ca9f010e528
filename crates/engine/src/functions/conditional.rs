//! Functions about nulls (chapter 9.2 of PostgreSQL's manual). `coalesce`, `nullif`, `greatest` and `least` are
//! DataFusion's.

use arrow::array::ArrayRef;
use arrow::datatypes::Int32Type;

use super::call::{Call, Result};
use super::overload::{Declaration, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("num_nulls", "variadic any -> int4", num_nulls).called_on_null(),
    immutable("num_nonnulls", "variadic any -> int4", num_nonnulls).called_on_null(),
];

fn count_nulls(call: &Call<'_>, row: usize) -> usize {
    (0..call.len()).filter(|index| call.is_null(*index, row)).count()
}

fn num_nulls(call: &Call<'_>) -> Result<ArrayRef> {
    call.map::<Int32Type>(|row| count_nulls(call, row) as i32)
}

fn num_nonnulls(call: &Call<'_>) -> Result<ArrayRef> {
    call.map::<Int32Type>(|row| (call.len() - count_nulls(call, row)) as i32)
}
