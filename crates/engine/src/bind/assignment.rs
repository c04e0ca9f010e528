//! Queries whose rows are stored in the columns of a table: PostgreSQL's assignment casts.

use std::sync::Arc;

use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection};
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState};

use super::context::BindContext;
use super::resolve::{Known, Resolver};
use crate::cast::{CastMode, is_multidimensional, several_dimensions};
use crate::error::to_datafusion;

/// A plan whose first columns are stored in the given columns of a table; those behind them stay as they are. Strings of a
/// constant source are read as the columns' types; a column of text in a query is not.
///
/// # Errors
/// `42804` where PostgreSQL has no assignment cast, `0A000` for arrays of several dimensions.
pub(crate) fn assign_columns(
    plan: LogicalPlan,
    columns: &[&wharf_catalog::Column],
    constant: bool,
    context: &BindContext,
) -> DfResult<LogicalPlan> {
    let assign = |expr: Expr, index: usize, resolver: &Resolver<'_>| -> DfResult<Expr> {
        let Some(column) = columns.get(index) else { return Ok(expr) };
        let known = resolver.known(&expr)?;
        if let Known::Type(from) = &known
            && !assignable(from, &column.ty, constant)
        {
            return Err(to_datafusion(
                SqlError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!("column \"{}\" is of type {} but expression is of type {from}", column.name, column.ty),
                )
                .with_hint("You will need to rewrite or cast the expression."),
            ));
        }
        if matches!((&known, &column.ty), (Known::Type(SqlType::Array(_)), SqlType::Array(_)))
            && is_multidimensional(resolver.field(&expr)?.data_type())
        {
            return Err(to_datafusion(several_dimensions()));
        }
        resolver.convert(expr, &column.ty, CastMode::Assignment)
    };
    if let LogicalPlan::Projection(projection) = plan {
        let schema = Arc::clone(projection.input.schema());
        let resolver = Resolver { context, schema: &schema };
        let exprs = projection
            .expr
            .into_iter()
            .enumerate()
            .map(|(index, expr)| {
                let inner = match expr {
                    Expr::Alias(alias) => *alias.expr,
                    other => other,
                };
                Ok(assign(inner, index, &resolver)?.alias(format!("column{}", index + 1)))
            })
            .collect::<DfResult<Vec<_>>>()?;
        return Ok(LogicalPlan::Projection(Projection::try_new(exprs, projection.input)?));
    }
    let schema = Arc::clone(plan.schema());
    let resolver = Resolver { context, schema: &schema };
    let exprs = schema
        .iter()
        .enumerate()
        .map(|(index, field)| Ok(assign(Expr::from(field), index, &resolver)?.alias(format!("column{}", index + 1))))
        .collect::<DfResult<Vec<_>>>()?;
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

/// PostgreSQL's assignment casts.
fn assignable(from: &SqlType, to: &SqlType, constant: bool) -> bool {
    use SqlType as T;
    match (from, to) {
        (from, to) if from == to => true,
        (from, to) if from.is_number() && to.is_number() => true,
        // Everything has an assignment cast to the string types.
        (_, to) if to.is_string() => true,
        (from, _) if from.is_string() => constant,
        (T::Date, T::Timestamp | T::TimestampTz) => true,
        (T::Timestamp, T::Date | T::Time | T::TimestampTz) => true,
        (T::TimestampTz, T::Date | T::Time | T::Timestamp) => true,
        (T::Json, T::Jsonb) | (T::Jsonb, T::Json) => true,
        (T::Oid, T::Integer | T::BigInt) | (T::Integer | T::BigInt, T::Oid) => true,
        (T::Array(a), T::Array(b)) => assignable(a, b, constant),
        _ => false,
    }
}
