//! The columns of an outer query that a subquery refers to: finding them, and giving them other names or types.
//!
//! What always holds: a reference belongs to the nearest enclosing query that has the column. DataFusion's own lists of
//! outer columns (`Subquery::outer_ref_columns`) count the references of inner subqueries too and are not read here; they
//! are written anew wherever a subquery is changed.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Spans};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Subquery, SubqueryAlias};

/// A column of an outer query, with what is known of it.
pub(super) type Reference = (Column, FieldRef);

/// The columns that a plan takes from queries around it, each once.
pub(super) fn free(plan: &LogicalPlan) -> DfResult<Vec<Reference>> {
    let mut found = Vec::new();
    collect(plan, &mut found)?;
    Ok(found)
}

fn add(found: &mut Vec<Reference>, reference: Reference) {
    if !found.iter().any(|(column, _)| *column == reference.0) {
        found.push(reference);
    }
}

fn collect(plan: &LogicalPlan, found: &mut Vec<Reference>) -> DfResult<()> {
    match plan {
        LogicalPlan::Subquery(subquery) => return collect(&subquery.subquery, found),
        LogicalPlan::Join(join) if lateral(&join.right).is_some() => {
            collect(&join.left, found)?;
            for reference in free(&join.right)? {
                if !join.left.schema().has_column(&reference.0) {
                    add(found, reference);
                }
            }
        }
        plan => {
            for input in plan.inputs() {
                collect(input, found)?;
            }
        }
    }
    let scope = merge_schema(&plan.inputs());
    plan.apply_expressions(|expr| {
        for reference in free_in_expr(expr, &scope)? {
            add(found, reference);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// The columns that an expression over rows of `scope` takes from queries around it.
pub(super) fn free_in_expr(expr: &Expr, scope: &DFSchema) -> DfResult<Vec<Reference>> {
    let mut found = Vec::new();
    expr.apply(|expr| {
        if let Expr::OuterReferenceColumn(field, column) = expr {
            add(&mut found, (column.clone(), Arc::clone(field)));
        } else if let Some(subquery) = subquery_of(expr) {
            for reference in free(&subquery.subquery)? {
                if !scope.has_column(&reference.0) {
                    add(&mut found, reference);
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The subquery that an expression is.
pub(super) fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery)
        | Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. }) => Some(subquery),
        _ => None,
    }
}

/// Does an expression contain a subquery?
pub(super) fn has_subquery(expr: &Expr) -> DfResult<bool> {
    expr.exists(|expr| Ok(subquery_of(expr).is_some()))
}

/// The subquery of a lateral item in FROM, and its alias.
pub(super) fn lateral(plan: &LogicalPlan) -> Option<(&Subquery, Option<&SubqueryAlias>)> {
    match plan {
        LogicalPlan::Subquery(subquery) => Some((subquery, None)),
        LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
            LogicalPlan::Subquery(subquery) => Some((subquery, Some(alias))),
            _ => None,
        },
        _ => None,
    }
}

/// The plan of a LATERAL item in FROM, marked as what it is where DataFusion does not: it looks for outer columns everywhere but inside
/// of the subqueries of expressions.
pub(crate) fn as_lateral(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    if lateral(&plan).is_some() || !plan.all_out_ref_exprs().is_empty() || free(&plan)?.is_empty() {
        return Ok(plan);
    }
    let mark = |plan: Arc<LogicalPlan>| -> DfResult<Arc<LogicalPlan>> {
        let outer_ref_columns =
            free(&plan)?.into_iter().map(|(column, field)| Expr::OuterReferenceColumn(field, column)).collect();
        Ok(Arc::new(LogicalPlan::Subquery(Subquery { subquery: plan, outer_ref_columns, spans: Spans::new() })))
    };
    match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            SubqueryAlias::try_new(mark(alias.input)?, alias.alias).map(LogicalPlan::SubqueryAlias)
        }
        plan => mark(Arc::new(plan)).map(Arc::unwrap_or_clone),
    }
}

/// A subquery with its list of outer columns.
pub(super) fn subquery(plan: LogicalPlan, like: &Subquery) -> DfResult<Subquery> {
    let outer_ref_columns =
        free(&plan)?.into_iter().map(|(column, field)| Expr::OuterReferenceColumn(field, column)).collect();
    Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: like.spans.clone() })
}

/// What becomes of an outer column.
pub(super) enum Target {
    /// It is a column of the rows at hand.
    Column(Column),
    /// It is another column of an outer query, or the same one with another type.
    Outer(FieldRef, Column),
}

/// What becomes of each outer column; one that is not named stays.
pub(super) type Targets = HashMap<Column, Target>;

/// An expression over rows of `scope` with other outer columns.
pub(super) fn rebind(expr: Expr, scope: &DFSchema, targets: &Targets) -> DfResult<Expr> {
    Ok(expr
        .transform_down(|expr| match expr {
            Expr::OuterReferenceColumn(field, column) => Ok(match targets.get(&column) {
                Some(Target::Column(own)) => Transformed::yes(Expr::Column(own.clone())),
                Some(Target::Outer(field, other)) => {
                    Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(field), other.clone()))
                }
                None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
            }),
            expr => map_subquery(expr, |plan| rebind_plan(plan, &inner_targets(targets, scope)?)),
        })?
        .data)
}

/// An expression whose own subquery, if it is one, is mapped.
pub(crate) fn map_subquery(
    expr: Expr,
    map: impl FnOnce(LogicalPlan) -> DfResult<LogicalPlan>,
) -> DfResult<Transformed<Expr>> {
    let change = |old: Subquery| -> DfResult<Subquery> {
        let plan = map(old.subquery.as_ref().clone())?;
        subquery(plan, &old)
    };
    Ok(match expr {
        Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(change(subquery)?)),
        Expr::Exists(Exists { subquery, negated }) => {
            Transformed::yes(Expr::Exists(Exists { subquery: change(subquery)?, negated }))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery: change(subquery)?, negated }))
        }
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
            Transformed::yes(Expr::SetComparison(SetComparison { expr, subquery: change(subquery)?, op, quantifier }))
        }
        other => Transformed::no(other),
    })
}

/// What a subquery sees of the targets: columns of the rows around it are outer columns inside, and columns that those
/// rows have themselves hide the ones further out.
fn inner_targets(targets: &Targets, scope: &DFSchema) -> DfResult<Targets> {
    let mut inner = Targets::new();
    for (column, target) in targets {
        if scope.has_column(column) {
            continue;
        }
        let target = match target {
            Target::Column(own) => Target::Outer(Arc::clone(scope.qualified_field_from_column(own)?.1), own.clone()),
            Target::Outer(field, other) => Target::Outer(Arc::clone(field), other.clone()),
        };
        inner.insert(column.clone(), target);
    }
    Ok(inner)
}

/// A subquery's plan with other outer columns.
pub(super) fn rebind_plan(plan: LogicalPlan, targets: &Targets) -> DfResult<LogicalPlan> {
    if targets.is_empty() {
        return Ok(plan);
    }
    let plan = match plan {
        LogicalPlan::Subquery(old) => {
            let inner = rebind_plan(old.subquery.as_ref().clone(), targets)?;
            return Ok(LogicalPlan::Subquery(subquery(inner, &old)?));
        }
        LogicalPlan::Join(join) if lateral(&join.right).is_some() => {
            let left = rebind_plan(Arc::unwrap_or_clone(join.left), targets)?;
            let right = rebind_plan(Arc::unwrap_or_clone(join.right), &inner_targets(targets, left.schema())?)?;
            LogicalPlan::Join(Join { left: Arc::new(left), right: Arc::new(right), ..join })
        }
        plan => plan.map_children(|input| rebind_plan(input, targets).map(Transformed::yes))?.data,
    };
    let scope = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let plan = plan
        .map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(Transformed::yes(name.restore(rebind(expr, &scope, targets)?)))
        })?
        .data;
    plan.recompute_schema()
}

/// A subquery's plan in which the columns of `scope`, the rows around it, have the types that those have by now.
pub(crate) fn refresh(plan: LogicalPlan, scope: &DFSchema) -> DfResult<LogicalPlan> {
    let mut targets = Targets::new();
    for (column, _) in free(&plan)? {
        if let Ok((_, field)) = scope.qualified_field_from_column(&column) {
            targets.insert(column.clone(), Target::Outer(Arc::clone(field), column));
        }
    }
    rebind_plan(plan, &targets)
}
