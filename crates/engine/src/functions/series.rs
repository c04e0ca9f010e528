//! `generate_series` (chapter 9.25 of PostgreSQL's manual): in FROM as a table that makes its rows as they are read, and
//! in expressions as an array, which the binder unnests.
//!
//! What always holds: the types are PostgreSQL's: integer, bigint, numeric, and timestamps with an interval (dates count
//! as timestamps with time zone). A null argument gives no rows. Arguments of the table are constants.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Int32Array, Int64Array, ListArray, NullBufferBuilder, RecordBatch,
    TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, IntervalMonthDayNanoType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::{LazyBatchGenerator, LazyMemoryExec};
use parking_lot::RwLock;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState, TimeZone, arrow_type};

use super::call::{Call, Result, invalid_parameter, list_offset};
use super::context::FunctionContext;
use super::convert::convert;
use super::datetime::{USECS_PER_DAY, add_interval, add_interval_in_zone};
use super::decimal::{self, MAX_PRECISION, rescale};
use super::overload::{Declaration, ReturnArguments, immutable, resolve, stable};
use super::udf::external;

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("generate_series", "int4, int4 -> int4[]", series_lists),
    immutable("generate_series", "int4, int4, int4 -> int4[]", series_lists),
    immutable("generate_series", "int8, int8 -> int8[]", series_lists),
    immutable("generate_series", "int8, int8, int8 -> int8[]", series_lists),
    immutable("generate_series", "numeric, numeric -> numeric[]", series_lists).returning(numeric_list),
    immutable("generate_series", "numeric, numeric, numeric -> numeric[]", series_lists).returning(numeric_list),
    immutable("generate_series", "timestamp, timestamp, interval -> timestamp[]", series_lists),
    stable("generate_series", "timestamptz, timestamptz, interval -> timestamptz[]", series_lists),
];

/// How a series goes on.
#[derive(Clone, Debug)]
enum Step {
    Number(i128),
    Interval(IntervalMonthDayNano, Option<TimeZone>),
}

/// The values of a series: integers, unscaled numerics, or microseconds.
#[derive(Clone, Debug)]
struct Series {
    next: Option<i128>,
    end: i128,
    step: Step,
    ascending: bool,
}

impl Series {
    fn new(start: i128, end: i128, step: Step) -> Result<Series> {
        let sign = match &step {
            Step::Number(step) => step.signum(),
            Step::Interval(step, _) => {
                let days = i128::from(step.months) * 30 + i128::from(step.days);
                (days * i128::from(USECS_PER_DAY) * 1000 + i128::from(step.nanoseconds)).signum()
            }
        };
        if sign == 0 {
            return Err(invalid_parameter("step size cannot equal zero"));
        }
        Ok(Series { next: Some(start), end, step, ascending: sign > 0 })
    }

    fn empty() -> Series {
        Series { next: None, end: 0, step: Step::Number(1), ascending: true }
    }

    fn next(&mut self) -> Result<Option<i128>> {
        let Some(value) = self.next else { return Ok(None) };
        if (self.ascending && value > self.end) || (!self.ascending && value < self.end) {
            self.next = None;
            return Ok(None);
        }
        self.next = match &self.step {
            // An overflow is beyond every end.
            Step::Number(step) => value.checked_add(*step),
            Step::Interval(step, zone) => {
                let micros = value as i64;
                Some(i128::from(match zone {
                    Some(zone) => add_interval_in_zone(zone, micros, *step)?,
                    None => add_interval(micros, *step)?,
                }))
            }
        };
        Ok(Some(value))
    }
}

/// Values as an array of a type.
fn to_array(values: &[i128], data_type: &DataType) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Int32 => Arc::new(values.iter().map(|value| *value as i32).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(values.iter().map(|value| *value as i64).collect::<Int64Array>()),
        DataType::Decimal128(..) => {
            Arc::new(values.iter().copied().collect::<Decimal128Array>().with_data_type(data_type.clone()))
        }
        DataType::Timestamp(..) => {
            let micros = TimestampMicrosecondArray::from_iter_values(values.iter().map(|value| *value as i64));
            Arc::new(micros.with_data_type(data_type.clone()))
        }
        other => return Err(SqlError::internal(format!("a series of {other}"))),
    })
}

/// The arguments of a series row by row, brought to one type.
struct Arguments<'a> {
    call: &'a Call<'a>,
    zone: Option<TimeZone>,
    scale: i8,
}

impl Arguments<'_> {
    fn number(&self, index: usize, row: usize) -> Result<i128> {
        Ok(match &self.call.types[index] {
            SqlType::Integer => i128::from(self.call.int4(index)?.at(row)),
            SqlType::BigInt => i128::from(self.call.int8(index)?.at(row)),
            SqlType::Numeric(_) => {
                let (column, scale) = self.call.numeric(index)?;
                rescale(column.at(row), scale, self.scale).ok_or_else(decimal::overflow)?
            }
            _ => i128::from(self.call.timestamp(index)?.at(row)),
        })
    }

    fn series(&self, row: usize) -> Result<Series> {
        let (start, end) = (self.number(0, row)?, self.number(1, row)?);
        let step = match self.call.types.get(2) {
            None => Step::Number(i128::from(self.scale_unit())),
            Some(SqlType::Interval) => {
                let step = self.call.primitive::<IntervalMonthDayNanoType>(2)?.at(row);
                Step::Interval(step, self.zone.clone())
            }
            Some(_) => Step::Number(self.number(2, row)?),
        };
        Series::new(start, end, step)
    }

    /// The number 1 at the scale of the series.
    fn scale_unit(&self) -> i64 {
        decimal::power_of_ten(self.scale.max(0) as u32) as i64
    }
}

fn numeric_list(arguments: &ReturnArguments<'_>) -> Result<Field> {
    let scale = arguments
        .fields
        .iter()
        .zip(arguments.types)
        .map(|(field, ty)| match super::convert::converted_type(field, ty) {
            DataType::Decimal128(_, scale) => scale,
            _ => 0,
        })
        .max()
        .unwrap_or(0);
    let item = Field::new_list_field(DataType::Decimal128(MAX_PRECISION, scale.min(18)), true);
    Ok(Field::new("generate_series", DataType::List(Arc::new(item)), true))
}

fn series_lists(call: &Call<'_>) -> Result<ArrayRef> {
    let DataType::List(item) = call.return_type() else {
        return Err(SqlError::internal("generate_series returns a list"));
    };
    let scale = match item.data_type() {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    };
    let zone = (call.types[0] == SqlType::TimestampTz).then(|| call.text_format().time_zone);
    let arguments = Arguments { call, zone, scale };
    let mut values = Vec::new();
    let mut offsets = vec![0_i32];
    let mut nulls = NullBufferBuilder::new(call.rows);
    for row in 0..call.rows {
        let present = call.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        nulls.append(present);
        if present {
            let mut series = arguments.series(row)?;
            while let Some(value) = series.next()? {
                values.push(value);
                if values.len() > MAX_LIST_VALUES {
                    let message = format!("array size exceeds the maximum allowed ({MAX_LIST_VALUES})");
                    return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
                        .with_hint("Use generate_series in FROM, where its rows are made as they are read."));
                }
            }
        }
        offsets.push(list_offset(values.len())?);
    }
    let items = to_array(&values, item.data_type())?;
    let list = ListArray::try_new(Arc::clone(item), OffsetBuffer::new(offsets.into()), items, nulls.finish());
    list.map(|list| Arc::new(list) as ArrayRef).map_err(|error| SqlError::internal(error.to_string()))
}

/// Values of the arrays of one batch, at most (PostgreSQL's largest array).
const MAX_LIST_VALUES: usize = 134_217_727;

/// `generate_series` in FROM.
#[derive(Debug)]
pub(super) struct SeriesFunction;

impl TableFunctionImpl for SeriesFunction {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> DfResult<Arc<dyn TableProvider>> {
        let context = FunctionContext::of(args.session().config_options());
        let table = SeriesTable::new(args.exprs(), &context).map_err(external)?;
        Ok(Arc::new(table))
    }
}

#[derive(Debug)]
struct SeriesTable {
    schema: SchemaRef,
    series: Series,
}

impl SeriesTable {
    fn new(arguments: &[Expr], context: &FunctionContext) -> Result<SeriesTable> {
        let constants = arguments.iter().map(constant).collect::<Result<Vec<_>>>()?;
        let types = constants.iter().map(|(_, field)| literal_type(field)).collect::<Vec<_>>();
        let resolved = resolve("generate_series", &types)
            .ok_or_else(|| SqlError::internal("generate_series is not declared"))??;
        let mut arrays = Vec::with_capacity(constants.len());
        for ((value, field), ty) in constants.iter().zip(&resolved.arguments) {
            let array = value.to_array().map_err(|error| SqlError::internal(error.to_string()))?;
            arrays.push(convert(&array, field, ty, &context.text)?);
        }
        let scale = arrays
            .iter()
            .map(|array| if let DataType::Decimal128(_, scale) = array.data_type() { *scale } else { 0 })
            .max()
            .unwrap_or(0);
        let data_type = match &resolved.arguments[0] {
            SqlType::Numeric(_) => DataType::Decimal128(MAX_PRECISION, scale),
            ty => arrow_type(ty),
        };
        let field = Field::new("generate_series", data_type, false);
        let schema = Arc::new(Schema::new(vec![field]));
        if arrays.iter().any(|array| array.is_null(0)) {
            return Ok(SeriesTable { schema, series: Series::empty() });
        }
        let call = Call {
            name: "generate_series",
            arguments: arrays.into_iter().map(|array| super::call::Argument { array, constant: true }).collect(),
            types: resolved.arguments,
            fields: Vec::new(),
            rows: 1,
            nulls: None,
            return_field: schema.field(0),
            config: &Default::default(),
        };
        let zone = (call.types[0] == SqlType::TimestampTz).then(|| context.text.time_zone.clone());
        let series = Arguments { call: &call, zone, scale }.series(0)?;
        drop(call);
        Ok(SeriesTable { schema, series })
    }
}

/// The value of an argument.
///
/// # Errors
/// `0A000` for one that is not a constant.
fn constant(expr: &Expr) -> Result<(ScalarValue, Field)> {
    match expr {
        Expr::Literal(value, metadata) => {
            let field = Field::new("argument", value.data_type(), true);
            let field = match metadata {
                Some(metadata) => metadata.add_to_field(field),
                None => field,
            };
            Ok((value.clone(), field))
        }
        _ => Err(SqlError::unsupported("arguments of generate_series in FROM that are not constant are not supported")
            .with_hint("Use generate_series in the select list, or a join with a generated table.")),
    }
}

/// The SQL planner makes every integer literal 64 bits wide; PostgreSQL's are integers where they fit.
fn literal_type(field: &Field) -> SqlType {
    super::udf::argument_type(field)
}

#[async_trait]
impl TableProvider for SeriesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let generator = Generator {
            schema: Arc::clone(&self.schema),
            start: self.series.clone(),
            series: self.series.clone(),
            batch_rows: state.config_options().execution.batch_size.get(),
        };
        let exec = LazyMemoryExec::try_new(Arc::clone(&self.schema), vec![Arc::new(RwLock::new(generator))])?;
        Ok(Arc::new(exec.with_projection(projection.cloned())))
    }
}

#[derive(Clone, Debug)]
struct Generator {
    schema: SchemaRef,
    start: Series,
    series: Series,
    batch_rows: usize,
}

impl fmt::Display for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("generate_series")
    }
}

impl LazyBatchGenerator for Generator {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn generate_next_batch(&mut self) -> DfResult<Option<RecordBatch>> {
        let mut values = Vec::with_capacity(self.batch_rows);
        while values.len() < self.batch_rows {
            match self.series.next().map_err(external)? {
                Some(value) => values.push(value),
                None => break,
            }
        }
        if values.is_empty() {
            return Ok(None);
        }
        let array = to_array(&values, self.schema.field(0).data_type()).map_err(external)?;
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), vec![array])?))
    }

    fn reset_state(&self) -> Arc<RwLock<dyn LazyBatchGenerator>> {
        Arc::new(RwLock::new(Generator { series: self.start.clone(), ..self.clone() }))
    }
}
