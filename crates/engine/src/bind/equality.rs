//! Values that are equal and not the same: `1 month` and `30 days`, `{"a": 1}` and `{"a": 1.0}`. What asks for equal values
//! is given a key of theirs: a value that equal values share, and other values do not.
//!
//! What always holds: where equal values become one (`GROUP BY`, `DISTINCT`, set operations), the first of them is what is
//! seen, as in PostgreSQL; nodes keep the names of their columns. Types without equality are refused.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{AggregateFunction, FieldMetadata, Sort as SortExpr};
use datafusion::logical_expr::{Aggregate, Distinct, DistinctOn, Expr, LogicalPlan, Projection};
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState};

use super::array_order::{array_key, has_documents, no_order_of_arrays, sorts_by_key};
use super::context::BindContext;
use super::resolve::{Known, Resolver};
use super::two_zeros::one_zero;
use crate::error::to_datafusion;
use crate::operators::interval_key;

/// The key of a value, where equal values of its type are not the same.
///
/// # Errors
/// `42883` for a type without equality.
pub(super) fn equality_key(expr: &Expr, resolver: &Resolver<'_>) -> DfResult<Option<Expr>> {
    let Known::Type(ty) = resolver.known(expr)? else { return Ok(None) };
    if has_length(&ty) {
        return Ok(Some(interval_key(expr.clone())));
    }
    match &ty {
        SqlType::Jsonb => Ok(Some(document_key(expr.clone(), resolver.context)?)),
        SqlType::Json => Err(no_equality(&ty)),
        SqlType::Array(item) if **item == SqlType::Json => Err(no_equality(&ty)),
        _ => Ok(None),
    }
}

/// The key of a value, or the value itself where equal values of its type are the same.
///
/// # Errors
/// `42883` for a type without equality.
pub(super) fn by_equality(expr: Expr, resolver: &Resolver<'_>) -> DfResult<Expr> {
    match equality_key(&expr, resolver)? {
        Some(key) => Ok(key),
        None => {
            let field = resolver.field(&expr)?;
            Ok(one_zero(expr, field.data_type()))
        }
    }
}

/// The key of a `jsonb` document, which is in the order of the documents, too.
pub(super) fn document_key(expr: Expr, context: &BindContext) -> DfResult<Expr> {
    context.call("jsonb_key", vec![expr])
}

/// Intervals and arrays of them.
pub(super) fn has_length(ty: &SqlType) -> bool {
    match ty {
        SqlType::Interval => true,
        SqlType::Array(item) => has_length(item),
        _ => false,
    }
}

fn no_equality(ty: &SqlType) -> datafusion::error::DataFusionError {
    to_datafusion(
        SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("could not identify an equality operator for type {ty}"))
            .with_hint("Cast it to jsonb or to text."),
    )
}

/// The plan with keys where rows or groups with equal values become one. All types of the plan are resolved.
pub(super) fn keyed(plan: LogicalPlan, context: &BindContext) -> DfResult<LogicalPlan> {
    let mut changed = false;
    let plan = plan.transform_up_with_subqueries(|plan| {
        // The first of several values may be NULL by its type.
        let plan = if changed { plan.recompute_schema()? } else { plan };
        Ok(match plan {
            LogicalPlan::Distinct(Distinct::All(input)) => match distinct(&input, context)? {
                Some(plan) => {
                    changed = true;
                    Transformed::yes(plan)
                }
                None => Transformed::no(LogicalPlan::Distinct(Distinct::All(input))),
            },
            LogicalPlan::Distinct(Distinct::On(on)) => {
                Transformed::yes(LogicalPlan::Distinct(Distinct::On(distinct_on(on, context)?)))
            }
            LogicalPlan::Aggregate(aggregate) => match grouped(&aggregate, context)? {
                Some(plan) => {
                    changed = true;
                    Transformed::yes(plan)
                }
                None => Transformed::no(LogicalPlan::Aggregate(aggregate)),
            },
            LogicalPlan::RecursiveQuery(query) if query.is_distinct => {
                let schema = Arc::clone(query.static_term.schema());
                let resolver = Resolver { context, schema: &schema };
                for column in schema.columns() {
                    if matches!(resolver.known(&Expr::Column(column))?, Known::Type(ty) if has_length(&ty)) {
                        return Err(to_datafusion(
                            SqlError::unsupported("UNION of intervals in WITH RECURSIVE is not supported").with_hint(
                                "Use UNION ALL, or have extract(epoch from x) in the place of the interval.",
                            ),
                        ));
                    }
                }
                Transformed::no(LogicalPlan::RecursiveQuery(query))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(plan.data)
}

fn distinct(input: &Arc<LogicalPlan>, context: &BindContext) -> DfResult<Option<LogicalPlan>> {
    let columns = input.schema().iter().map(Expr::from).collect();
    merged(input, columns, Vec::new(), input.schema(), context)
}

fn grouped(aggregate: &Aggregate, context: &BindContext) -> DfResult<Option<LogicalPlan>> {
    let resolver = Resolver { context, schema: aggregate.input.schema() };
    if let [Expr::GroupingSet(set)] = aggregate.group_expr.as_slice() {
        for expr in set.distinct_expr() {
            if equality_key(expr, &resolver)?.is_some() {
                let message = "GROUPING SETS, ROLLUP and CUBE of intervals or jsonb are not supported";
                return Err(to_datafusion(SqlError::unsupported(message).with_hint(
                    "Group by extract(epoch from x) of an interval, or by the text of a document: doc::text.",
                )));
            }
        }
        return Ok(None);
    }
    let (group, calls) = (aggregate.group_expr.clone(), aggregate.aggr_expr.clone());
    merged(&aggregate.input, group, calls, &aggregate.schema, context)
}

/// The groups by the keys, with the first values of the groups under the names that `wanted` has; nothing where no value has
/// a key.
fn merged(
    input: &Arc<LogicalPlan>,
    group: Vec<Expr>,
    mut calls: Vec<Expr>,
    wanted: &DFSchema,
    context: &BindContext,
) -> DfResult<Option<LogicalPlan>> {
    let resolver = Resolver { context, schema: input.schema() };
    let width = group.len();
    let calls_of_query = calls.len();
    let mut keys = Vec::with_capacity(width);
    // Where the value of a group is: in a column of the groups, or behind the calls.
    let mut places = Vec::with_capacity(width);
    for (index, expr) in group.into_iter().enumerate() {
        let plain = expr.clone().unalias();
        // One key alone is not taken by its bits.
        let key = match width {
            1 => equality_key(&plain, &resolver)?,
            _ => Some(by_equality(plain.clone(), &resolver)?).filter(|key| *key != plain),
        };
        match key {
            Some(key) => {
                keys.push(key.alias(format!("__key_{index}")));
                places.push(width + calls.len());
                calls.push(first_value(plain, context)?.alias(format!("__first_{index}")));
            }
            None => {
                keys.push(expr);
                places.push(index);
            }
        }
    }
    if calls.len() == calls_of_query {
        return Ok(None);
    }
    places.extend(width..width + calls_of_query);
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::clone(input), keys, calls)?);
    let schema = Arc::clone(plan.schema());
    let exprs = places
        .into_iter()
        .zip(wanted.iter())
        .map(|(place, (qualifier, field))| {
            let (from, found) = schema.qualified_field(place);
            let column = Expr::from((from, found));
            if from == qualifier && found.name() == field.name() {
                return column;
            }
            let metadata = (!field.metadata().is_empty()).then(|| FieldMetadata::from(field.metadata()));
            column.alias_qualified_with_metadata(qualifier.cloned(), field.name(), metadata)
        })
        .collect();
    Ok(Some(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?)))
}

fn first_value(expr: Expr, context: &BindContext) -> DfResult<Expr> {
    let function = context.session.aggregate_functions().get("first_value").cloned();
    let function = function.ok_or_else(|| to_datafusion(SqlError::internal("there is no aggregate first_value")))?;
    Ok(Expr::AggregateFunction(AggregateFunction::new_udf(function, vec![expr], false, None, Vec::new(), None)))
}

/// `DISTINCT ON (x) .. ORDER BY x`: both by the key. Of the rows of one key the first is taken anyway.
fn distinct_on(on: DistinctOn, context: &BindContext) -> DfResult<DistinctOn> {
    let DistinctOn { select_expr, on_expr, sort_expr, input, schema } = on;
    let resolver = Resolver { context, schema: input.schema() };
    let key = |expr: Expr| by_equality(expr, &resolver);
    let mut arrays = Vec::new();
    let sort_expr = sort_expr
        .map(|all| {
            all.into_iter()
                .map(|SortExpr { expr, asc, nulls_first }| {
                    let expr = match resolver.known(&expr)? {
                        Known::Type(ty) if has_documents(&ty) => return Err(no_order_of_arrays()),
                        Known::Type(ty) if sorts_by_key(&ty, asc, nulls_first) => {
                            arrays.push(expr.clone());
                            array_key(expr)
                        }
                        Known::Type(ty) if has_length(&ty) => interval_key(expr),
                        Known::Type(SqlType::Jsonb) => document_key(expr, context)?,
                        _ if on_expr.contains(&expr) => key(expr)?,
                        _ => expr,
                    };
                    Ok(SortExpr { expr, asc, nulls_first })
                })
                .collect::<DfResult<Vec<_>>>()
        })
        .transpose()?;
    let on_key = |expr: Expr| if arrays.contains(&expr) { Ok(array_key(expr)) } else { key(expr) };
    let on_expr = on_expr.into_iter().map(on_key).collect::<DfResult<_>>()?;
    Ok(DistinctOn { select_expr, on_expr, sort_expr, input, schema })
}
