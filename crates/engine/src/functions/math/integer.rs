//! Functions on integers.

use arrow::array::{ArrayRef, ArrowPrimitiveType};
use arrow::datatypes::{DataType, Decimal128Type, Field, Int16Type, Int32Type, Int64Type};
use wharf_values::{SqlError, SqlState};

use crate::functions::call::{Call, Result, division_by_zero, out_of_range};
use crate::functions::decimal;
use crate::functions::overload::{Declaration, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("abs", "int2 -> int2", abs::<Int16Type>),
    immutable("abs", "int4 -> int4", abs::<Int32Type>),
    immutable("abs", "int8 -> int8", abs::<Int64Type>),
    immutable("mod", "int2, int2 -> int2", modulo::<Int16Type>),
    immutable("mod", "int4, int4 -> int4", modulo::<Int32Type>),
    immutable("mod", "int8, int8 -> int8", modulo::<Int64Type>),
    immutable("gcd", "int4, int4 -> int4", gcd::<Int32Type>),
    immutable("gcd", "int8, int8 -> int8", gcd::<Int64Type>),
    immutable("lcm", "int4, int4 -> int4", lcm::<Int32Type>),
    immutable("lcm", "int8, int8 -> int8", lcm::<Int64Type>),
    immutable("factorial", "int8 -> numeric", factorial)
        .returning(|_| Ok(Field::new("factorial", DataType::Decimal128(decimal::MAX_PRECISION, 0), true))),
];

/// What the three integer types share here.
trait Integer: ArrowPrimitiveType {
    const NAME: &'static str;
    fn widen(value: Self::Native) -> i128;
    fn narrow(value: i128) -> Option<Self::Native>;

    fn checked(value: i128) -> Result<Self::Native> {
        Self::narrow(value).ok_or_else(|| out_of_range(Self::NAME))
    }
}

macro_rules! integer {
    ($ty:ty, $name:literal) => {
        impl Integer for $ty {
            const NAME: &'static str = $name;
            fn widen(value: Self::Native) -> i128 {
                i128::from(value)
            }
            fn narrow(value: i128) -> Option<Self::Native> {
                value.try_into().ok()
            }
        }
    };
}

integer!(Int16Type, "smallint");
integer!(Int32Type, "integer");
integer!(Int64Type, "bigint");

fn abs<T: Integer>(call: &Call<'_>) -> Result<ArrayRef> {
    let value = call.primitive::<T>(0)?;
    call.make::<T>(|row| T::checked(T::widen(value.at(row)).abs()))
}

fn modulo<T: Integer>(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.primitive::<T>(0)?, call.primitive::<T>(1)?);
    call.make::<T>(|row| match T::widen(right.at(row)) {
        0 => Err(division_by_zero()),
        right => T::checked(T::widen(left.at(row)) % right),
    })
}

/// The greatest common divisor of magnitudes; 0 and 0 give 0.
pub(super) fn greatest_common_divisor(left: i128, right: i128) -> i128 {
    let (mut left, mut right) = (left.abs(), right.abs());
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

fn gcd<T: Integer>(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.primitive::<T>(0)?, call.primitive::<T>(1)?);
    call.make::<T>(|row| T::checked(greatest_common_divisor(T::widen(left.at(row)), T::widen(right.at(row)))))
}

fn lcm<T: Integer>(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.primitive::<T>(0)?, call.primitive::<T>(1)?);
    call.make::<T>(|row| {
        let (left, right) = (T::widen(left.at(row)), T::widen(right.at(row)));
        if left == 0 || right == 0 {
            return T::checked(0);
        }
        // Of 64 bits each, so the product fits.
        T::checked((left / greatest_common_divisor(left, right) * right).abs())
    })
}

fn factorial(call: &Call<'_>) -> Result<ArrayRef> {
    let value = call.int8(0)?;
    call.make::<Decimal128Type>(|row| {
        let value = value.at(row);
        if value < 0 {
            let message = "factorial of a negative number is undefined";
            return Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message));
        }
        let mut product = 1_i128;
        for factor in 2..=value {
            product = product.checked_mul(i128::from(factor)).ok_or_else(decimal::overflow)?;
        }
        decimal::fit(product, 0, decimal::MAX_PRECISION, 0)
    })
}
