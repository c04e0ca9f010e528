//! UNION, INTERSECT and EXCEPT: one type for each column of the branches, and how often a row appears.
//!
//! DataFusion plans INTERSECT and EXCEPT as joins in which NULL equals NULL, those with ALL without regard for how often
//! a row appears on either side; here the rows are numbered among their equals first.

use std::sync::Arc;

use datafusion::common::NullEquality;
use datafusion::error::Result as DfResult;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Distinct, Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Projection, Union, Window,
};
use wharf_catalog::SqlType;
use wharf_values::mapping;

use super::context::BindContext;
use super::equality::by_equality;
use super::resolve::{Known, Resolver, common_type};

/// The names of the number of a row among its equals, on either side: a join has no name twice.
const NUMBERS: [&str; 2] = ["__row_among_equals_left", "__row_among_equals_right"];

/// An INTERSECT or EXCEPT as DataFusion's SQL planner left it: every column of the left side joined with the right one's.
pub(super) fn intersect_or_except(join: Join, context: &BindContext) -> DfResult<LogicalPlan> {
    let clause = if join.join_type == JoinType::LeftAnti { "EXCEPT" } else { "INTERSECT" };
    let inputs = [join.left, join.right];
    let targets = common_columns(&inputs, clause, context)?;
    let [left, right] = inputs.map(Arc::unwrap_or_clone);
    let all = !matches!(left, LogicalPlan::Distinct(Distinct::All(_)));
    let mut left = coerced(left, &targets, context)?;
    let mut right = coerced(right, &targets, context)?;
    let columns = left.schema().columns();
    if all {
        left = numbered(left, NUMBERS[0], context)?;
        right = numbered(right, NUMBERS[1], context)?;
    }
    let keys = (left.schema().columns(), right.schema().columns());
    let plan = LogicalPlanBuilder::from(left)
        .join_detailed(right, join.join_type, keys, None, NullEquality::NullEqualsNull)?
        .build()?;
    let plan = joined_by_keys(plan, context)?;
    if !all {
        return Ok(plan);
    }
    let exprs = columns.into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}

/// A branch at these types; the distinct rows of a branch are still so, as no two values become one by a wider type.
fn coerced(plan: LogicalPlan, targets: &[SqlType], context: &BindContext) -> DfResult<LogicalPlan> {
    match plan {
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let input = coerce_columns(Arc::unwrap_or_clone(input), targets, context)?;
            Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(input))))
        }
        plan => coerce_columns(plan, targets, context),
    }
}

/// A join in which equal values meet, the same or not.
fn joined_by_keys(plan: LogicalPlan, context: &BindContext) -> DfResult<LogicalPlan> {
    let LogicalPlan::Join(mut join) = plan else { return Ok(plan) };
    let key = |side: Expr, input: &LogicalPlan| {
        let resolver = Resolver { context, schema: input.schema() };
        by_equality(side, &resolver)
    };
    join.on = join
        .on
        .into_iter()
        .map(|(left, right)| Ok((key(left, &join.left)?, key(right, &join.right)?)))
        .collect::<DfResult<_>>()?;
    Ok(LogicalPlan::Join(join))
}

/// Rows with their number among the rows that equal them.
fn numbered(plan: LogicalPlan, name: &str, context: &BindContext) -> DfResult<LogicalPlan> {
    let resolver = Resolver { context, schema: plan.schema() };
    let key = |column| by_equality(Expr::Column(column), &resolver);
    let mut window = WindowFunction::new(row_number_udwf(), Vec::new());
    window.params.partition_by = plan.schema().columns().into_iter().map(key).collect::<DfResult<_>>()?;
    let number = Expr::WindowFunction(Box::new(window)).alias(name);
    Ok(LogicalPlan::Window(Window::try_new(vec![number], Arc::new(plan))?))
}

/// Branches at one type per column; the names are the first branch's.
pub(super) fn union(union: Union, context: &BindContext) -> DfResult<LogicalPlan> {
    let targets = common_columns(&union.inputs, "UNION", context)?;
    let inputs = union
        .inputs
        .into_iter()
        .map(|input| coerce_columns(Arc::unwrap_or_clone(input), &targets, context).map(Arc::new))
        .collect::<DfResult<Vec<_>>>()?;
    Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
}

/// The types of the columns of all branches.
fn common_columns(inputs: &[Arc<LogicalPlan>], clause: &str, context: &BindContext) -> DfResult<Vec<SqlType>> {
    let width = inputs.first().map_or(0, |input| input.schema().fields().len());
    let mut targets = Vec::with_capacity(width);
    for column in 0..width {
        let mut types = Vec::with_capacity(inputs.len());
        for input in inputs {
            let resolver = Resolver { context, schema: input.schema() };
            types.push(match top_expression(input, column) {
                Some((expr, below)) => Resolver { context, schema: below.schema() }.known(expr)?,
                None => resolver.known(&Expr::Column(input.schema().columns()[column].clone()))?,
            });
        }
        targets.push(common_type(&types, clause)?);
    }
    Ok(targets)
}

/// The expression behind an output column, where the plan is a projection.
fn top_expression(plan: &LogicalPlan, column: usize) -> Option<(&Expr, &LogicalPlan)> {
    match plan {
        LogicalPlan::Distinct(Distinct::All(input)) => top_expression(input, column),
        LogicalPlan::Projection(projection) => Some((projection.expr.get(column)?, projection.input.as_ref())),
        _ => None,
    }
}

/// A plan whose output columns have the given types; untyped literals are read as those types.
pub(crate) fn coerce_columns(plan: LogicalPlan, targets: &[SqlType], context: &BindContext) -> DfResult<LogicalPlan> {
    if let LogicalPlan::Projection(projection) = plan {
        let schema = Arc::clone(projection.input.schema());
        let resolver = Resolver { context, schema: &schema };
        let exprs = projection
            .expr
            .into_iter()
            .zip(targets)
            .map(|(expr, target)| {
                let untyped = resolver.known(&expr)? == Known::Unknown;
                let name = NamePreserver::new_for_projection().save(&expr);
                match expr {
                    Expr::Alias(alias) if untyped => {
                        Ok(resolver.coerce(*alias.expr, target)?.alias_qualified(alias.relation, alias.name))
                    }
                    expr => Ok(name.restore(to_target(expr, target, &resolver)?)),
                }
            })
            .collect::<DfResult<Vec<_>>>()?;
        return Ok(LogicalPlan::Projection(Projection::try_new(exprs, projection.input)?));
    }
    let schema = Arc::clone(plan.schema());
    let same = schema.fields().iter().zip(targets).all(|(field, target)| mapping::sql_type(field) == *target);
    if same {
        return Ok(plan);
    }
    let resolver = Resolver { context, schema: &schema };
    let exprs = schema
        .iter()
        .zip(targets)
        .map(|((qualifier, field), target)| {
            let column = Expr::from((qualifier, field));
            let coerced = to_target(column.clone(), target, &resolver)?;
            Ok(if coerced == column { column } else { coerced.alias_qualified(qualifier.cloned(), field.name()) })
        })
        .collect::<DfResult<Vec<_>>>()?;
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

fn to_target(expr: Expr, target: &SqlType, resolver: &Resolver<'_>) -> DfResult<Expr> {
    match resolver.known(&expr)? {
        Known::Type(SqlType::Numeric(_)) if matches!(target, SqlType::Numeric(_)) => Ok(expr),
        _ => resolver.coerce(expr, target),
    }
}
