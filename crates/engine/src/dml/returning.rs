//! RETURNING: expressions over the rows that a statement has written or deleted.
//!
//! What always holds: the rows are those that were really written, after defaults, casts and padding. They are computed before
//! the commit, so that an error in them takes the statement back, and given out after it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, TableReference};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_expr::PhysicalExpr;
use futures::StreamExt;
use sqlparser::ast;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState, mapping};

use super::change::stream;
use super::inputs::Inputs;
use super::kept::KeptRows;
use super::scope::{self, Bound, Scope};
use crate::bind::BindContext;
use crate::cast::as_stored;
use crate::error::from_datafusion;
use crate::session::{ResultColumn, Session, columns_of, with_object_names};

/// A bound RETURNING clause.
pub(crate) struct Returning {
    plan: LogicalPlan,
    /// It has subqueries, which are computed when all rows are known.
    waits: bool,
    /// The columns of the scope that it reads, by their places.
    pub(super) reads: Vec<usize>,
    /// Their names: relation and column.
    fields: Vec<(TableReference, Arc<Field>)>,
    /// What the client gets.
    pub(crate) columns: Arc<[ResultColumn]>,
}

impl Returning {
    /// Binds the clause.
    ///
    /// # Errors
    /// All that binding refuses, `42803` and `42P20` for aggregates and window functions.
    pub(super) async fn bind(
        session: &Session,
        scope: &Scope,
        items: Vec<ast::SelectItem>,
        with: Option<ast::With>,
        parameters: &[Option<SqlType>],
        context: &mut BindContext,
    ) -> Result<Returning, SqlError> {
        let Bound { plan, origins } = scope.bind(session, items, with, parameters, context).await?;
        let waits = !is_over_rows(&plan)?;
        let (plan, reads) = match waits {
            false => {
                let (reads, _) = scope::reads(&plan, scope)?;
                (plan, reads)
            }
            true => {
                refuse_sets(&plan)?;
                (with_object_names(plan).map_err(from_datafusion)?, (0..scope.columns().count()).collect())
            }
        };
        let all: Vec<_> = scope.columns().collect();
        let fields = reads.iter().map(|place| {
            let (relation, field) = all[*place];
            (TableReference::bare(relation.name.as_str()), Arc::clone(field))
        });
        let fields = fields.collect();
        let columns = columns_of(plan.schema(), &origins);
        Ok(Returning { plan, waits, reads, fields, columns })
    }

    /// Makes it ready to run.
    ///
    /// # Errors
    /// What DataFusion says of the expressions.
    pub(super) fn start(&self, state: &SessionState, inputs: Inputs<'_>) -> Result<Running, SqlError> {
        let plan = inputs.put(self.plan.clone())?;
        if self.waits {
            let fields = self.fields.iter().enumerate().map(|(index, (_, field))| {
                Field::new(index.to_string(), field.data_type().clone(), true).with_metadata(field.metadata().clone())
            });
            let memory = MemoryConsumer::new("RETURNING").register(&state.runtime_env().memory_pool);
            let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            return Ok(Running::Waiting(Waiting { plan, schema, batches: Vec::new(), memory }));
        }
        let LogicalPlan::Projection(projection) = plan else {
            return Err(SqlError::internal("RETURNING is no projection"));
        };
        let fields = self.fields.iter().map(|(relation, field)| (Some(relation.clone()), Arc::clone(field)));
        let input = DFSchema::new_with_metadata(fields.collect(), HashMap::new()).map_err(from_datafusion)?;
        let mut exprs = Vec::with_capacity(projection.expr.len());
        let mut output = Vec::with_capacity(projection.expr.len());
        for (expr, column) in projection.expr.into_iter().zip(self.columns.iter()) {
            let (_, field) = expr.to_field(&input).map_err(from_datafusion)?;
            let expr = with_object_name(expr.unalias(), &field);
            let expr = state.create_physical_expr(expr, &input).map_err(from_datafusion)?;
            let data_type = expr.data_type(input.as_arrow()).map_err(from_datafusion)?;
            output.push(Field::new(&column.name, data_type, true));
            exprs.push(expr);
        }
        let output = Arc::new(Schema::new(output));
        let rows = KeptRows::new(state.runtime_env(), Arc::clone(&output));
        Ok(Running::Direct(Direct { exprs, input: Arc::clone(input.inner()), output, rows }))
    }
}

/// Is the plan expressions over the rows and nothing else?
fn is_over_rows(plan: &LogicalPlan) -> Result<bool, SqlError> {
    let LogicalPlan::Projection(projection) = plan else { return Ok(false) };
    if !matches!(projection.input.as_ref(), LogicalPlan::Projection(names) if scope::is_rows(&names.input)) {
        return Ok(false);
    }
    let is_subquery = |expr: &Expr| {
        Ok(matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)))
    };
    let has_subquery = |expr: &Expr| expr.exists(is_subquery).map_err(from_datafusion);
    for expr in &projection.expr {
        if has_subquery(expr)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A value that is an oid with a name, such as `regclass`, leaves as the name.
fn with_object_name(expr: Expr, field: &Field) -> Expr {
    let ty = mapping::sql_type(field);
    if ty.is_named_oid() && *field.data_type() == arrow::datatypes::DataType::UInt32 {
        return crate::pg_catalog::name_of(expr, &ty);
    }
    expr
}

/// What makes other rows of the rows is refused.
fn refuse_sets(plan: &LogicalPlan) -> Result<(), SqlError> {
    match plan {
        LogicalPlan::Aggregate(_) => {
            Err(SqlError::new(SqlState::GROUPING_ERROR, "aggregate functions are not allowed in RETURNING"))
        }
        LogicalPlan::Window(_) => {
            Err(SqlError::new(SqlState::WINDOWING_ERROR, "window functions are not allowed in RETURNING"))
        }
        LogicalPlan::Unnest(_) => Err(SqlError::unsupported("set-returning functions are not allowed in RETURNING")
            .with_hint("Put the statement into WITH, and call the function in a SELECT of its rows.")),
        // Below a join are subqueries.
        other => match other.inputs()[..] {
            [input] => refuse_sets(input),
            _ => Ok(()),
        },
    }
}

/// A RETURNING clause and the rows it has given so far.
pub(super) enum Running {
    Direct(Direct),
    Waiting(Waiting),
}

/// One whose expressions are computed as rows come.
pub(super) struct Direct {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    input: SchemaRef,
    output: SchemaRef,
    rows: KeptRows,
}

/// One that is a query over all rows. They are kept in memory, within the limit of all queries.
pub(super) struct Waiting {
    plan: LogicalPlan,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    memory: MemoryReservation,
}

impl Running {
    /// Takes rows: the columns that it reads, in order.
    ///
    /// # Errors
    /// Whatever the expressions raise; `53200` when there are too many rows to keep.
    pub(super) fn take(&mut self, columns: Vec<ArrayRef>, rows: usize) -> Result<(), SqlError> {
        if rows == 0 {
            return Ok(());
        }
        match self {
            Running::Direct(direct) => direct.take(columns, rows),
            Running::Waiting(waiting) => {
                let batch = batch(&waiting.schema, as_written(columns, &waiting.schema)?, rows)?;
                waiting.memory.try_grow(batch.get_array_memory_size()).map_err(from_datafusion)?;
                waiting.batches.push(batch);
                Ok(())
            }
        }
    }

    /// The rows it gives, now that all are known.
    ///
    /// # Errors
    /// Whatever the expressions raise.
    pub(super) async fn finish(self, state: &Arc<SessionState>) -> Result<KeptRows, SqlError> {
        let Waiting { plan, schema, batches, memory } = match self {
            Running::Direct(direct) => return Ok(direct.rows),
            Running::Waiting(waiting) => waiting,
        };
        let table = MemTable::try_new(schema, vec![batches]).map_err(from_datafusion)?;
        let scan = LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(table)), None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        let mut rows = stream(&scope::put_rows(plan, &scan)?, state).await?;
        let mut kept = KeptRows::new(state.runtime_env(), rows.schema());
        while let Some(batch) = rows.next().await {
            kept.push(batch.map_err(from_datafusion)?)?;
        }
        drop(memory);
        Ok(kept)
    }
}

impl Direct {
    fn take(&mut self, columns: Vec<ArrayRef>, rows: usize) -> Result<(), SqlError> {
        let input = batch(&self.input, as_written(columns, &self.input)?, rows)?;
        let values = self.exprs.iter().map(|expr| {
            let value = expr.evaluate(&input).and_then(|value| value.into_array(rows));
            value.map_err(from_datafusion)
        });
        let values = values.collect::<Result<Vec<_>, _>>()?;
        self.rows.push(batch(&self.output, values, rows)?)
    }
}

/// Values at the types of the table's columns, as they are written: those of a numeric without precision may have fewer digits.
fn as_written(columns: Vec<ArrayRef>, schema: &SchemaRef) -> Result<Vec<ArrayRef>, SqlError> {
    columns.iter().zip(schema.fields()).map(|(column, field)| as_stored(column, field.data_type())).collect()
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, SqlError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options);
    batch.map_err(|error| SqlError::internal(error.to_string()))
}
