//! PostgreSQL's operators: a placeholder that SQL planning builds, and the functions that compute what DataFusion's own
//! arithmetic does not do as PostgreSQL does.
//!
//! DataFusion wraps integers on overflow, divides floats by zero to infinity and cuts the scale of decimal quotients. So
//! `a + b` first becomes an [`UnresolvedOperator`], which carries no meaning; the binder, which knows all types, replaces
//! it by DataFusion's own operator where that is right (comparisons, decimals of 256 bits) and by a function of this module elsewhere.

mod any_of_array;
mod array_order;
mod division;
mod float;
mod integer;
mod interval_code;
mod interval_key;
mod null_safe;
mod numeric;
mod single_value;
mod spread;
mod undefined;
mod unresolved;

use datafusion::logical_expr::ScalarUDF;

pub(crate) use any_of_array::any_of_array;
pub(crate) use array_order::ArrayOrder;
pub(crate) use division::divide_numeric;
pub(crate) use float::float_operator;
pub(crate) use integer::integer_operator;
pub(crate) use interval_code::IntervalCode;
pub(crate) use interval_key::interval_key;
pub(crate) use null_safe::null_safe_equal;
pub(crate) use numeric::numeric_operator;
pub(crate) use single_value::{single_value, single_value_function};
pub(crate) use spread::{MAX_COMPUTED_SCALE, Spread, Square};
pub(crate) use undefined::UndefinedFunction;
pub(crate) use unresolved::{ARRAY_BESIDE, OperatorPlanner, UNTYPED, UnresolvedOperator};

/// The arithmetic operators, by what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Arithmetic {
    /// The operator as it is written.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Arithmetic::Add => "+",
            Arithmetic::Subtract => "-",
            Arithmetic::Multiply => "*",
            Arithmetic::Divide => "/",
            Arithmetic::Modulo => "%",
        }
    }

    /// The operator with this symbol.
    pub(crate) fn of(symbol: &str) -> Option<Self> {
        [Self::Add, Self::Subtract, Self::Multiply, Self::Divide, Self::Modulo]
            .into_iter()
            .find(|operator| operator.symbol() == symbol)
    }
}

/// The function behind an operator, by the name it has in plans.
pub(crate) fn by_name(name: &str) -> Option<ScalarUDF> {
    let operators =
        [Arithmetic::Add, Arithmetic::Subtract, Arithmetic::Multiply, Arithmetic::Divide, Arithmetic::Modulo];
    let arithmetic =
        operators.into_iter().flat_map(|operator| [integer::function(operator), float::function(operator)]);
    let arithmetic = arithmetic.chain(operators.into_iter().filter_map(numeric::function));
    let others = [division::function(), any_of_array::function(), interval_key::function()];
    let coded = interval_code::functions().chain(array_order::functions()).chain(spread::functions());
    arithmetic.chain(others).chain(coded).find(|function| function.name() == name)
}
