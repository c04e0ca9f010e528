//! `corr`, `covar_*` and `regr_*`, by the algorithm of PostgreSQL's `float8_regr_accum` (Youngs and Cramer, "Some results relevant
//! to choice of sum and sum-of-product algorithms", 1971).
//!
//! DataFusion's `corr` takes sums of squares where there are groups, in which the digits of values that are far from zero are
//! lost: it was NULL for three points near 10^9. The result is the same to the last digit as PostgreSQL's over rows in one order.

use std::collections::VecDeque;
use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use wharf_values::{SqlError, SqlState};

use crate::error::to_datafusion;

/// What an aggregate says of pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Statistic {
    Correlation,
    PopulationCovariance,
    SampleCovariance,
    Slope,
    Intercept,
    Determination,
    AverageX,
    AverageY,
    SquaresX,
    SquaresY,
    Products,
}

const FUNCTIONS: &[(&str, Statistic)] = &[
    ("corr", Statistic::Correlation),
    ("covar_pop", Statistic::PopulationCovariance),
    ("covar_samp", Statistic::SampleCovariance),
    ("regr_slope", Statistic::Slope),
    ("regr_intercept", Statistic::Intercept),
    ("regr_r2", Statistic::Determination),
    ("regr_avgx", Statistic::AverageX),
    ("regr_avgy", Statistic::AverageY),
    ("regr_sxx", Statistic::SquaresX),
    ("regr_syy", Statistic::SquaresY),
    ("regr_sxy", Statistic::Products),
];

/// All of them.
pub(super) fn functions() -> Vec<AggregateUDF> {
    let signature = || Signature::exact(vec![DataType::Float64, DataType::Float64], Volatility::Immutable);
    FUNCTIONS
        .iter()
        .map(|&(name, statistic)| AggregateUDF::new_from_impl(OfPairs { name, statistic, signature: signature() }))
        .collect()
}

/// `f(y, x)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OfPairs {
    name: &'static str,
    statistic: Statistic,
    signature: Signature,
}

impl AggregateUDFImpl for OfPairs {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        Ok(Box::new(Sums { statistic: self.statistic, moments: Moments::default() }))
    }

    fn create_sliding_accumulator(&self, _: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        Ok(Box::new(Frame { statistic: self.statistic, pairs: VecDeque::new() }))
    }

    fn state_fields(&self, _: StateFieldsArgs) -> DfResult<Vec<FieldRef>> {
        let names = ["n", "sx", "sxx", "sy", "syy", "sxy"];
        Ok(names.map(|name| Arc::new(Field::new(name, DataType::Float64, false))).to_vec())
    }
}

/// Sums over pairs; those of squares and products are of the distances to the means.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    n: f64,
    sx: f64,
    sxx: f64,
    sy: f64,
    syy: f64,
    sxy: f64,
}

impl Moments {
    fn add(&mut self, y: f64, x: f64) -> Result<(), SqlError> {
        let before = *self;
        self.n += 1.0;
        self.sx += x;
        self.sy += y;
        if before.n == 0.0 {
            if !x.is_finite() {
                (self.sxx, self.sxy) = (f64::NAN, f64::NAN);
            }
            if !y.is_finite() {
                (self.syy, self.sxy) = (f64::NAN, f64::NAN);
            }
            return Ok(());
        }
        let (dx, dy) = (x * self.n - self.sx, y * self.n - self.sy);
        let scale = 1.0 / (self.n * before.n);
        self.sxx += dx * dx * scale;
        self.syy += dy * dy * scale;
        self.sxy += dx * dy * scale;
        self.keep_in_range(!before.sx.is_infinite() && !x.is_infinite(), !before.sy.is_infinite() && !y.is_infinite())
    }

    /// Infinite sums of finite values are an overflow, and squares of infinite ones are not a number.
    fn keep_in_range(&mut self, x_was_finite: bool, y_was_finite: bool) -> Result<(), SqlError> {
        let over_x = (self.sx.is_infinite() || self.sxx.is_infinite()) && x_was_finite;
        let over_y = (self.sy.is_infinite() || self.syy.is_infinite()) && y_was_finite;
        if over_x || over_y || (self.sxy.is_infinite() && x_was_finite && y_was_finite) {
            return Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow"));
        }
        for sum in [&mut self.sxx, &mut self.syy, &mut self.sxy] {
            if sum.is_infinite() {
                *sum = f64::NAN;
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: &Moments) -> Result<(), SqlError> {
        if other.n == 0.0 {
            return Ok(());
        }
        if self.n == 0.0 {
            *self = *other;
            return Ok(());
        }
        let (a, b) = (*self, other);
        let n = a.n + b.n;
        let (dx, dy) = (a.sx / a.n - b.sx / b.n, a.sy / a.n - b.sy / b.n);
        *self = Moments {
            n,
            sx: a.sx + b.sx,
            sxx: a.sxx + b.sxx + a.n * b.n * dx * dx / n,
            sy: a.sy + b.sy,
            syy: a.syy + b.syy + a.n * b.n * dy * dy / n,
            sxy: a.sxy + b.sxy + a.n * b.n * dx * dy / n,
        };
        self.keep_in_range(!a.sx.is_infinite() && !b.sx.is_infinite(), !a.sy.is_infinite() && !b.sy.is_infinite())
    }

    fn statistic(&self, statistic: Statistic) -> Option<f64> {
        let Moments { n, sx, sxx, sy, syy, sxy } = *self;
        if n < 1.0 {
            return None;
        }
        match statistic {
            Statistic::Correlation => (sxx != 0.0 && syy != 0.0).then(|| sxy / (sxx * syy).sqrt()),
            Statistic::PopulationCovariance => Some(sxy / n),
            Statistic::SampleCovariance => (n >= 2.0).then(|| sxy / (n - 1.0)),
            Statistic::Slope => (sxx != 0.0).then(|| sxy / sxx),
            Statistic::Intercept => (sxx != 0.0).then(|| (sy - sx * sxy / sxx) / n),
            Statistic::Determination if sxx == 0.0 => None,
            Statistic::Determination if syy == 0.0 => Some(1.0),
            Statistic::Determination => Some((sxy * sxy) / (sxx * syy)),
            Statistic::AverageX => Some(sx / n),
            Statistic::AverageY => Some(sy / n),
            Statistic::SquaresX => Some(sxx),
            Statistic::SquaresY => Some(syy),
            Statistic::Products => Some(sxy),
        }
    }
}

/// The pairs without a NULL.
fn pairs(values: &[ArrayRef]) -> impl Iterator<Item = (f64, f64)> + '_ {
    let (y, x) = (values[0].as_primitive::<Float64Type>(), values[1].as_primitive::<Float64Type>());
    y.iter().zip(x).filter_map(|(y, x)| Some((y?, x?)))
}

#[derive(Debug)]
struct Sums {
    statistic: Statistic,
    moments: Moments,
}

impl Accumulator for Sums {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        for (y, x) in pairs(values) {
            self.moments.add(y, x).map_err(to_datafusion)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(ScalarValue::Float64(self.moments.statistic(self.statistic)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let Moments { n, sx, sxx, sy, syy, sxy } = self.moments;
        Ok([n, sx, sxx, sy, syy, sxy].map(|sum| ScalarValue::Float64(Some(sum))).to_vec())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let sum = |column: usize, row: usize| states[column].as_primitive::<Float64Type>().value(row);
        for row in 0..states[0].len() {
            let [n, sx, sxx, sy, syy, sxy] = [0, 1, 2, 3, 4, 5].map(|column| sum(column, row));
            self.moments.merge(&Moments { n, sx, sxx, sy, syy, sxy }).map_err(to_datafusion)?;
        }
        Ok(())
    }
}

/// The pairs of a window's frame that leaves rows behind. Like PostgreSQL it begins anew for every row: a pair that is taken
/// out of the sums would leave its rounding in them.
#[derive(Debug)]
struct Frame {
    statistic: Statistic,
    pairs: VecDeque<(f64, f64)>,
}

impl Accumulator for Frame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.pairs.extend(pairs(values));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        // Rows leave in the order in which they came.
        let left = pairs(values).count().min(self.pairs.len());
        self.pairs.drain(..left);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let mut moments = Moments::default();
        for (y, x) in &self.pairs {
            moments.add(*y, *x).map_err(to_datafusion)?;
        }
        Ok(ScalarValue::Float64(moments.statistic(self.statistic)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.pairs.capacity() * size_of::<(f64, f64)>()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Err(to_datafusion(SqlError::internal("a window's frame has no state to pass on")))
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> DfResult<()> {
        Err(to_datafusion(SqlError::internal("a window's frame has no state to take in")))
    }
}
