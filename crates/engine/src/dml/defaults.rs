//! Column defaults: what a row has where nothing was given.
//!
//! What always holds: a default is an expression of its own for every row (`random()` differs from row to row, `now()` does
//! not), computed anew by every statement.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use sqlparser::ast;
use wharf_catalog::{Column, Table};
use wharf_values::{SqlError, SqlState, mapping};

use super::constants;
use crate::bind::types::cast_field;
use crate::bind::{BindContext, analyze, assign_columns, planner};
use crate::error::from_datafusion;
use crate::session::Session;

/// A column's default at the column's type; NULL when it has none.
///
/// # Errors
/// `42804` for a value of another type, `0A000` for subqueries, and whatever the expression cannot be bound with.
pub(crate) async fn expression(session: &Session, column: &Column, context: &BindContext) -> Result<Expr, SqlError> {
    match &column.default {
        Some(text) => bind(session, constants::parse(text)?, column, context).await,
        None => {
            let value = ScalarValue::try_from(&mapping::arrow_type(&column.ty)).map_err(from_datafusion)?;
            Ok(Expr::Literal(value, Some(cast_field(&column.ty).metadata().clone().into())))
        }
    }
}

/// Binds what is written behind DEFAULT.
///
/// # Errors
/// As [`expression`].
pub(crate) async fn bind(
    session: &Session,
    expr: ast::Expr,
    column: &Column,
    context: &BindContext,
) -> Result<Expr, SqlError> {
    let query = constants::select(vec![expr])?;
    let planned = planner::plan_query(&query, &[], context, &session.reader()).await?;
    let plan = analyze(planned.plan, context)
        .and_then(|plan| assign_columns(plan, &[column], true, context))
        .map_err(from_datafusion)?;
    match plan {
        LogicalPlan::Projection(projection) if matches!(*projection.input, LogicalPlan::EmptyRelation(_)) => {
            let expr = projection.expr.into_iter().next();
            let expr = expr.ok_or_else(|| SqlError::internal("a default without an expression"))?;
            let has_subquery =
                expr.exists(|expr| Ok(matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_))));
            if has_subquery.map_err(from_datafusion)? {
                return Err(refused("cannot use subquery in DEFAULT expression"));
            }
            Ok(expr.unalias())
        }
        LogicalPlan::Aggregate(_) | LogicalPlan::Projection(_) | LogicalPlan::Window(_) => {
            Err(SqlError::new(SqlState::GROUPING_ERROR, "aggregate functions are not allowed in DEFAULT expressions"))
        }
        _ => Err(refused("set-returning functions are not allowed in DEFAULT expressions")),
    }
}

fn refused(message: &str) -> SqlError {
    SqlError::unsupported(message).with_hint("Give the value in the INSERT.")
}

/// Fills the columns that a source of rows does not give.
#[derive(Clone)]
pub(crate) struct Filler {
    /// For each of the table's columns: its place among the given ones, or its default.
    columns: Vec<Source>,
}

#[derive(Clone)]
enum Source {
    Given(usize),
    Default(Arc<dyn PhysicalExpr>),
}

impl Filler {
    /// For rows that have the columns `provided`, by their places in the table.
    ///
    /// # Errors
    /// As [`expression`].
    pub(crate) async fn new(
        session: &Session,
        table: &Table,
        provided: &[usize],
        context: &BindContext,
    ) -> Result<Filler, SqlError> {
        let mut columns = Vec::with_capacity(table.columns.len());
        for (index, column) in table.columns.iter().enumerate() {
            columns.push(match provided.iter().position(|place| *place == index) {
                Some(place) => Source::Given(place),
                None => {
                    let expr = expression(session, column, context).await?;
                    let physical = context.session.create_physical_expr(expr, &DFSchema::empty());
                    Source::Default(physical.map_err(from_datafusion)?)
                }
            });
        }
        Ok(Filler { columns })
    }

    /// For rows that have the columns `provided` of so many; none when one of the others has no default here.
    pub(crate) fn of(
        columns: usize,
        provided: &[usize],
        defaults: &[(usize, Arc<dyn PhysicalExpr>)],
    ) -> Option<Filler> {
        let source = |index: usize| match provided.iter().position(|place| *place == index) {
            Some(place) => Some(Source::Given(place)),
            None => {
                let found = defaults.iter().find(|(column, _)| *column == index);
                found.map(|(_, default)| Source::Default(Arc::clone(default)))
            }
        };
        Some(Filler { columns: (0..columns).map(source).collect::<Option<_>>()? })
    }

    /// The defaults by the places of their columns.
    pub(crate) fn defaults(&self) -> impl Iterator<Item = (usize, Arc<dyn PhysicalExpr>)> {
        self.columns.iter().enumerate().filter_map(|(index, source)| match source {
            Source::Given(_) => None,
            Source::Default(default) => Some((index, Arc::clone(default))),
        })
    }

    /// The same, for rows that have other columns: this has to have the defaults of all.
    pub(crate) fn giving(&self, provided: &[usize]) -> Filler {
        let source = |(index, source): (usize, &Source)| match provided.iter().position(|place| *place == index) {
            Some(place) => Source::Given(place),
            None => source.clone(),
        };
        Filler { columns: self.columns.iter().enumerate().map(source).collect() }
    }

    /// All of the table's columns, for this many rows of the given ones.
    ///
    /// # Errors
    /// What a default raises.
    pub(crate) fn complete(&self, given: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>, SqlError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let none = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
            .map_err(|error| SqlError::internal(error.to_string()))?;
        self.columns
            .iter()
            .map(|source| match source {
                Source::Given(place) => Ok(Arc::clone(&given[*place])),
                Source::Default(expr) => {
                    expr.evaluate(&none).and_then(|value| value.into_array(rows)).map_err(from_datafusion)
                }
            })
            .collect()
    }
}
