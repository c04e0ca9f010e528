//! `min` and `max`, of floats as PostgreSQL orders them: NaN is greater than all other values.
//!
//! Where there are groups DataFusion takes a NaN for the extreme whatever there was before, and whatever comes after it for the
//! next; without groups it is right. What always holds: all but the groups of floats is DataFusion's own.

use std::sync::Arc;

use arrow::datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, ReversedUDAF, SetMonotonicity,
    Signature, StatisticsArgs,
};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

/// Both of them.
pub(super) fn functions() -> Vec<AggregateUDF> {
    [min_udaf(), max_udaf()].into_iter().map(|own| AggregateUDF::new_from_impl(Extreme { own })).collect()
}

/// `min` of an expression.
pub(crate) fn min(expr: Expr) -> Expr {
    call(min_udaf(), expr)
}

/// `max` of an expression.
pub(crate) fn max(expr: Expr) -> Expr {
    call(max_udaf(), expr)
}

fn call(own: Arc<AggregateUDF>, expr: Expr) -> Expr {
    let function = Arc::new(AggregateUDF::new_from_impl(Extreme { own }));
    Expr::AggregateFunction(AggregateFunction::new_udf(function, vec![expr], false, None, Vec::new(), None))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme {
    /// DataFusion's.
    own: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        self.own.name()
    }

    fn signature(&self) -> &Signature {
        self.own.signature()
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        self.own.inner().return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        self.own.inner().accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.own.inner().groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn GroupsAccumulator>> {
        let greatest = self.is_descending() == Some(true);
        match args.return_field.data_type() {
            DataType::Float32 if greatest => Ok(greatest_of::<Float32Type>(&DataType::Float32, f32::NEG_INFINITY)),
            DataType::Float32 => Ok(least_of::<Float32Type>(&DataType::Float32, f32::NAN)),
            DataType::Float64 if greatest => Ok(greatest_of::<Float64Type>(&DataType::Float64, f64::NEG_INFINITY)),
            DataType::Float64 => Ok(least_of::<Float64Type>(&DataType::Float64, f64::NAN)),
            _ => self.own.inner().create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        self.own.inner().create_sliding_accumulator(args)
    }

    fn is_descending(&self) -> Option<bool> {
        self.own.inner().is_descending()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.own.inner().order_sensitivity()
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        self.own.inner().coerce_types(types)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.own.inner().reverse_expr()
    }

    fn value_from_stats(&self, statistics: &StatisticsArgs) -> Option<ScalarValue> {
        self.own.inner().value_from_stats(statistics)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.own.inner().documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.own.inner().set_monotonicity(data_type)
    }
}

/// The least value of each group; `greatest` is the one that all others are less than.
fn least_of<T: ArrowPrimitiveType + Send>(data_type: &DataType, greatest: T::Native) -> Box<dyn GroupsAccumulator>
where
    T::Native: PartialOrd,
{
    let take = |least: &mut T::Native, value| {
        if is_less(&value, least) {
            *least = value;
        }
    };
    Box::new(PrimitiveGroupsAccumulator::<T, _>::new(data_type, take).with_starting_value(greatest))
}

/// The greatest value of each group; `least` is the one that all others are greater than, or equal to.
fn greatest_of<T: ArrowPrimitiveType + Send>(data_type: &DataType, least: T::Native) -> Box<dyn GroupsAccumulator>
where
    T::Native: PartialOrd,
{
    let take = |greatest: &mut T::Native, value| {
        if is_less(greatest, &value) {
            *greatest = value;
        }
    };
    Box::new(PrimitiveGroupsAccumulator::<T, _>::new(data_type, take).with_starting_value(least))
}

/// Is one float less than another, where NaN is the greatest, and equal to itself?
fn is_less<F: PartialOrd>(one: &F, other: &F) -> bool {
    let is_nan = |value: &F| value.partial_cmp(value).is_none();
    match one.partial_cmp(other) {
        Some(order) => order.is_lt(),
        None => !is_nan(one) && is_nan(other),
    }
}
