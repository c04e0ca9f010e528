//! Which subqueries DataFusion plans right by itself.
//!
//! What always holds: only shapes that were checked are left to DataFusion: subqueries that refer to nothing outside, and
//! those that refer to outer columns in their filters alone. It plans some others wrong (`IN` as a value is never NULL,
//! correlated `NOT IN` sees the NULLs of other rows) and refuses the rest.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::{merge_schema, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, JoinType, LogicalPlan, Operator};

use super::references::{free, free_in_expr, has_subquery};

/// Does DataFusion plan this condition of a WHERE right?
pub(super) fn plannable_condition(condition: &Expr, scope: &DFSchema) -> DfResult<bool> {
    match condition {
        Expr::Not(inner) => match inner.as_ref() {
            Expr::Exists(Exists { subquery, .. }) => plain_filters(&subquery.subquery),
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                in_list(expr, &subquery.subquery, !negated, scope)
            }
            _ => plannable_values(condition, scope),
        },
        Expr::Exists(Exists { subquery, .. }) => plain_filters(&subquery.subquery),
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => in_list(expr, &subquery.subquery, *negated, scope),
        other => plannable_values(other, scope),
    }
}

fn in_list(expr: &Expr, subquery: &LogicalPlan, negated: bool, scope: &DFSchema) -> DfResult<bool> {
    // DataFusion makes a join that knows of NULLs only of an equality between both sides; of `1 NOT IN (..)` and
    // `NULL IN (..)` it makes filters that do not: https://github.com/apache/datafusion/issues/25340.
    if has_subquery(expr)? || !free_in_expr(expr, scope)?.is_empty() || expr.column_refs().is_empty() {
        return Ok(false);
    }
    if negated {
        // Whether NULLs are to be looked for is decided by the columns in the two expressions, not by the expressions:
        // https://github.com/apache/datafusion/issues/25024.
        return Ok(as_nullable_as_column(expr) && output_is_column(subquery) && free(subquery)?.is_empty());
    }
    plain_filters(subquery)
}

/// Is an expression NULL exactly where a column is?
fn as_nullable_as_column(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::Cast(cast) => as_nullable_as_column(&cast.expr),
        Expr::Alias(alias) => as_nullable_as_column(&alias.expr),
        _ => false,
    }
}

fn output_is_column(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => projection.expr.iter().all(as_nullable_as_column),
        LogicalPlan::Filter(filter) => output_is_column(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => output_is_column(&alias.input),
        LogicalPlan::TableScan(_) => true,
        _ => false,
    }
}

/// Does an expression contain only scalar subqueries that DataFusion plans right?
pub(super) fn plannable_values(expr: &Expr, scope: &DFSchema) -> DfResult<bool> {
    let mut plannable = true;
    datafusion::common::tree_node::TreeNode::apply(expr, |expr| {
        plannable &= match expr {
            Expr::ScalarSubquery(subquery) => {
                let references = free(&subquery.subquery)?;
                references.is_empty()
                    || (references.iter().all(|(column, _)| scope.has_column(column))
                        && one_sum(&subquery.subquery)?
                        && names_apart(&subquery.subquery)?)
            }
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => false,
            Expr::ScalarFunction(call) => call.func.name() != super::ARRAY_OF_ROWS,
            _ => true,
        };
        Ok(if plannable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(plannable)
}

/// An aggregate without groups, over rows whose filters alone refer to outer columns, by equality.
fn one_sum(plan: &LogicalPlan) -> DfResult<bool> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let mut plain = true;
            for expr in &projection.expr {
                plain &= simple_output(expr);
            }
            Ok(plain && one_sum(&projection.input)?)
        }
        LogicalPlan::SubqueryAlias(alias) => one_sum(&alias.input),
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
            for expr in &aggregate.aggr_expr {
                if outer(expr)? || has_subquery(expr)? {
                    return Ok(false);
                }
            }
            filters(&aggregate.input, true)
        }
        _ => Ok(false),
    }
}

/// An output that is NULL whenever the aggregates in it are; others need care when there are no rows.
fn simple_output(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::Literal(value, _) => *value != ScalarValue::Null,
        Expr::Alias(alias) => simple_output(&alias.expr),
        Expr::Cast(cast) => simple_output(&cast.expr),
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => simple_output(left) && simple_output(right),
        Expr::ScalarFunction(call) => {
            !matches!(call.func.name(), "coalesce" | super::ARRAY_OF_ROWS) && call.args.iter().all(simple_output)
        }
        _ => false,
    }
}

/// Does a plan refer to outer columns, if at all, in filters alone?
fn plain_filters(plan: &LogicalPlan) -> DfResult<bool> {
    if free(plan)?.is_empty() {
        return Ok(true);
    }
    Ok(filters(plan, false)? && names_apart(plan)?)
}

/// Can the columns that are compared with outer ones be told apart by their names alone, from each other and from what the nodes above
/// them give? DataFusion takes the conditions out of the subquery and gives all columns in them its one alias: of `a.id = t.x AND b.id =
/// t.y` it makes two conditions on one column.
fn names_apart(plan: &LogicalPlan) -> DfResult<bool> {
    let mut compared = Vec::new();
    let mut given = plan.schema().columns();
    compared_columns(plan, &mut compared, &mut given)?;
    given.extend(compared.iter().cloned());
    let alike = |column: &Column| given.iter().any(|other| other.name == column.name && other != column);
    Ok(!compared.iter().any(alike))
}

fn compared_columns(plan: &LogicalPlan, compared: &mut Vec<Column>, given: &mut Vec<Column>) -> DfResult<()> {
    if free(plan)?.is_empty() {
        return Ok(());
    }
    match plan {
        LogicalPlan::Filter(filter) => {
            for condition in split_conjunction(&filter.predicate) {
                if outer(condition)? {
                    compared.extend(condition.column_refs().into_iter().cloned());
                }
            }
        }
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Aggregate(_) => {
            given.extend(plan.schema().columns());
        }
        _ => {}
    }
    plan.inputs().into_iter().try_for_each(|input| compared_columns(input, compared, given))
}

fn filters(plan: &LogicalPlan, by_equality: bool) -> DfResult<bool> {
    if free(plan)?.is_empty() {
        return Ok(true);
    }
    let inner = |expr: &Expr| -> DfResult<bool> { Ok(!outer(expr)? && !has_subquery(expr)?) };
    match plan {
        LogicalPlan::Projection(projection) => {
            for expr in &projection.expr {
                if !inner(expr)? {
                    return Ok(false);
                }
            }
            filters(&projection.input, by_equality)
        }
        LogicalPlan::SubqueryAlias(alias) => filters(&alias.input, by_equality),
        LogicalPlan::Filter(filter) => {
            let scope = merge_schema(&[&filter.input]);
            for condition in split_conjunction(&filter.predicate) {
                if outer(condition)? {
                    if has_subquery(condition)? || (by_equality && !is_equality(condition)?) {
                        return Ok(false);
                    }
                } else if !free_in_expr(condition, &scope)?.is_empty() || !plannable_condition(condition, &scope)? {
                    return Ok(false);
                }
            }
            filters(&filter.input, by_equality)
        }
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            for expr in join.on.iter().flat_map(|(left, right)| [left, right]).chain(&join.filter) {
                if !inner(expr)? {
                    return Ok(false);
                }
            }
            Ok(filters(&join.left, by_equality)? && filters(&join.right, by_equality)?)
        }
        _ => Ok(false),
    }
}

/// `column = outer column`, either way round, with expressions of one side each.
fn is_equality(condition: &Expr) -> DfResult<bool> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return Ok(false) };
    let (left_outer, right_outer) = (outer(left)?, outer(right)?);
    let inner = if left_outer { right } else { left };
    let own = if left_outer { left } else { right };
    Ok(left_outer != right_outer
        && !inner.column_refs().is_empty()
        && matches!(own.as_ref(), Expr::OuterReferenceColumn(..))
        && matches!(inner.as_ref(), Expr::Column(_)))
}

/// Does the expression itself, without its subqueries, refer to outer columns?
fn outer(expr: &Expr) -> DfResult<bool> {
    datafusion::common::tree_node::TreeNode::exists(expr, |expr| Ok(matches!(expr, Expr::OuterReferenceColumn(..))))
}
