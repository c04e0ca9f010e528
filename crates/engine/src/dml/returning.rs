//! RETURNING: expressions over the rows that a statement has written or deleted.
//!
//! What always holds: the rows are those that were really written, after defaults, casts and padding. They are computed before
//! the commit, so that an error in them takes the statement back, and given out after it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, TableReference};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use sqlparser::ast;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState, mapping};

use super::kept::KeptRows;
use super::scope::{self, Bound, Scope};
use crate::bind::BindContext;
use crate::error::from_datafusion;
use crate::session::{ResultColumn, Session, columns_of, with_values};

/// A bound RETURNING clause.
pub(crate) struct Returning {
    plan: LogicalPlan,
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
        let over_rows = matches!(&plan, LogicalPlan::Projection(projection) if matches!(
            projection.input.as_ref(), LogicalPlan::Projection(names) if scope::is_rows(&names.input)));
        if !over_rows {
            return Err(refused(&plan));
        }
        let (reads, _) = scope::reads(&plan, scope)?;
        let all: Vec<_> = scope.columns().collect();
        let fields = reads.iter().map(|place| {
            let (relation, field) = all[*place];
            (TableReference::bare(relation.name.as_str()), Arc::clone(field))
        });
        let fields = fields.collect();
        let columns = columns_of(plan.schema(), &origins);
        Ok(Returning { plan, reads, fields, columns })
    }

    /// Makes it ready to run.
    ///
    /// # Errors
    /// What DataFusion says of the expressions.
    pub(super) fn start(
        &self,
        state: &SessionState,
        values: Vec<Option<ArrayRef>>,
        types: &[SqlType],
    ) -> Result<Running, SqlError> {
        let LogicalPlan::Projection(projection) = with_values(self.plan.clone(), values, types)? else {
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
            output.push(Field::new(&column.name, expr.data_type(input.as_arrow()).map_err(from_datafusion)?, true));
            exprs.push(expr);
        }
        let output = Arc::new(Schema::new(output));
        let rows = KeptRows::new(state.runtime_env(), Arc::clone(&output));
        Ok(Running { exprs, input: Arc::clone(input.inner()), output, rows })
    }
}

/// A value that is an oid with a name, such as `regclass`, leaves as the name.
fn with_object_name(expr: Expr, field: &Field) -> Expr {
    let ty = mapping::sql_type(field);
    if ty.is_named_oid() && *field.data_type() == arrow::datatypes::DataType::UInt32 {
        return crate::pg_catalog::name_of(expr, &ty);
    }
    expr
}

/// What a clause is that is more than expressions over the rows.
fn refused(plan: &LogicalPlan) -> SqlError {
    match plan {
        LogicalPlan::Aggregate(_) => {
            SqlError::new(SqlState::GROUPING_ERROR, "aggregate functions are not allowed in RETURNING")
        }
        LogicalPlan::Window(_) => {
            SqlError::new(SqlState::WINDOWING_ERROR, "window functions are not allowed in RETURNING")
        }
        LogicalPlan::Unnest(_) => SqlError::unsupported("set-returning functions are not allowed in RETURNING"),
        other => match other.inputs()[..] {
            [input] => refused(input),
            _ => SqlError::unsupported("subqueries in RETURNING are not supported")
                .with_hint("Return the columns, and ask the other query after it."),
        },
    }
}

/// A RETURNING clause and the rows it has given so far.
pub(super) struct Running {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    input: SchemaRef,
    output: SchemaRef,
    rows: KeptRows,
}

impl Running {
    /// Takes rows: the columns that it reads, in order.
    ///
    /// # Errors
    /// Whatever the expressions raise.
    pub(super) fn take(&mut self, columns: Vec<ArrayRef>, rows: usize) -> Result<(), SqlError> {
        if rows == 0 {
            return Ok(());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let bug = |error: arrow::error::ArrowError| SqlError::internal(error.to_string());
        let input = RecordBatch::try_new_with_options(Arc::clone(&self.input), columns, &options).map_err(bug)?;
        let values = self.exprs.iter().map(|expr| {
            let value = expr.evaluate(&input).and_then(|value| value.into_array(rows));
            value.map_err(from_datafusion)
        });
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.output), values, &options).map_err(bug)?;
        self.rows.push(batch)
    }

    /// The rows it has given.
    pub(super) fn finish(self) -> KeptRows {
        self.rows
    }
}
