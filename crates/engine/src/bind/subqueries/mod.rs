//! Subqueries wherever they stand, and lateral items in FROM, as joins.
//!
//! DataFusion plans subqueries of a few shapes in a few places ([`shapes`]); all others are replaced here, after types are
//! known, by a join that brings the subquery's value to every row ([`values`]), for which its plan is freed of outer
//! columns ([`dependent`]).
//!
//! What always holds: every node keeps its columns. Three-valued logic is PostgreSQL's: `IN`, `ANY` and `ALL` are NULL
//! where PostgreSQL's are. A subquery used as a value that has several rows fails with `21000`; it does so too for rows
//! whose value is not used in the end, such as in a branch of CASE that is not taken.

mod dependent;
mod no_row;
mod recursion;
mod references;
mod shapes;
mod values;

use std::sync::Arc;

use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, merge_schema, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Projection, Sort, Union, Volatility, lit,
};

use dependent::{Carrier, Domain, join_on_domain, refused, within};
pub(super) use no_row::null_without_rows;
pub(super) use recursion::is_work_table;
pub(super) use references::{as_lateral, map_subquery, refresh};
use references::{free, free_in_expr, has_subquery, lateral, subquery_of};
use values::Rows;

/// The call that `ARRAY(subquery)` becomes until its subquery is planned.
pub(crate) const ARRAY_OF_ROWS: &str = "wharf_array_of_rows";

/// Replaces all subqueries that DataFusion does not plan right.
pub(super) fn unnest(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let mut any = false;
    plan.apply_with_subqueries(|node| {
        any |= matches!(node, LogicalPlan::Subquery(_));
        node.apply_expressions(|expr| {
            any |= has_subquery(expr)?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if any { Rewriter { next: 0 }.rewrite(plan) } else { Ok(plan) }
}

struct Rewriter {
    /// The number of the last name made.
    next: usize,
}

impl Rewriter {
    fn carrier(&mut self) -> Carrier<'_> {
        Carrier { next: &mut self.next }
    }

    /// A plan that refers to nothing outside, without the subqueries that DataFusion does not plan right.
    fn rewrite(&mut self, plan: LogicalPlan) -> DfResult<LogicalPlan> {
        match plan {
            LogicalPlan::Join(join) if lateral(&join.right).is_some() => self.lateral_join(join),
            LogicalPlan::Subquery(subquery) => self.rewrite(Arc::unwrap_or_clone(subquery.subquery)),
            LogicalPlan::Sort(sort) if has_outer_keys(&sort)? => self.sort_by_subquery(sort),
            plan => {
                let plan = plan.map_children(|child| self.rewrite(child).map(Transformed::yes))?.data;
                self.node(plan)
            }
        }
    }

    fn node(&mut self, plan: LogicalPlan) -> DfResult<LogicalPlan> {
        let mut any = false;
        plan.apply_expressions(|expr| {
            any |= has_subquery(expr)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !any {
            return Ok(plan);
        }
        match plan {
            LogicalPlan::Filter(filter) => self.filter(filter.predicate, filter.input),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Values(values) => {
                let names: Vec<String> = values.schema.fields().iter().map(|field| field.name().clone()).collect();
                let one_row = LogicalPlanBuilder::empty(true).build()?;
                let rows = values
                    .values
                    .into_iter()
                    .map(|row| {
                        let row = row.into_iter().zip(&names).map(|(expr, name)| expr.alias(name)).collect();
                        let row = Projection::try_new(row, Arc::new(one_row.clone()))?;
                        Ok(Arc::new(self.node(LogicalPlan::Projection(row))?))
                    })
                    .collect::<DfResult<Vec<_>>>()?;
                match <[Arc<LogicalPlan>; 1]>::try_from(rows) {
                    Ok([row]) => Ok(Arc::unwrap_or_clone(row)),
                    Err(rows) => Ok(LogicalPlan::Union(Union::try_new_with_loose_types(rows)?)),
                }
            }
            LogicalPlan::Limit(limit) => {
                let numbered = self.carrier().numbered(&Domain::none(), Arc::unwrap_or_clone(limit.input))?;
                let columns = numbered.plan.schema().columns();
                let kept = columns.into_iter().filter(|column| *column != numbered.number).map(Expr::Column);
                let place = |expr: Option<Box<Expr>>| expr.map(|expr| *expr);
                let (skip, fetch) = (place(limit.skip), place(limit.fetch));
                let plan = within(numbered.plan, &numbered.number, skip, fetch)?;
                let plan = LogicalPlanBuilder::from(plan)
                    .sort(vec![Expr::Column(numbered.number.clone()).sort(true, false)])?
                    .project(kept.collect::<Vec<_>>())?
                    .build()?;
                self.rewrite(plan)
            }
            plan @ (LogicalPlan::Projection(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Sort(_)) => self.over_one_input(plan),
            plan => self.keep_plannable(plan),
        }
    }

    /// A node whose subqueries must all be such as DataFusion plans.
    fn keep_plannable(&mut self, plan: LogicalPlan) -> DfResult<LogicalPlan> {
        let scope = merge_schema(&plan.inputs());
        let mut plannable = true;
        plan.apply_expressions(|expr| {
            plannable &= shapes::plannable_values(expr, &scope)? && free_of_correlation(expr)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !plannable {
            return Err(refused("a subquery in this place"));
        }
        Ok(plan.map_expressions(|expr| self.inside(expr))?.data)
    }

    /// Rewrites inside of subqueries that stay.
    fn inside(&mut self, expr: Expr) -> DfResult<Transformed<Expr>> {
        expr.transform_down(|expr| map_subquery(expr, |plan| self.inside_plan(plan)))
    }

    /// Rewrites the parts of a subquery that stays.
    fn inside_plan(&mut self, plan: LogicalPlan) -> DfResult<LogicalPlan> {
        if free(&plan)?.is_empty() {
            return self.rewrite(plan);
        }
        let plan = plan.map_children(|child| self.inside_plan(child).map(Transformed::yes))?.data;
        Ok(plan.map_expressions(|expr| self.inside(expr))?.data)
    }

    /// Replaces the subqueries of a node with one input by columns joined to that input.
    fn over_one_input(&mut self, plan: LogicalPlan) -> DfResult<LogicalPlan> {
        let [input] = plan.inputs()[..] else { return Err(refused("a subquery in this place")) };
        let base = input.clone();
        let only_projects = matches!(plan, LogicalPlan::Projection(_));
        let names = NamePreserver::new_for_projection();
        let mut rows = Rows { base: &base, plan: base.clone() };
        let sorts = matches!(plan, LogicalPlan::Sort(_));
        let mut exprs = Vec::new();
        plan.apply_expressions(|expr| {
            exprs.push(expr.clone());
            Ok(TreeNodeRecursion::Continue)
        })?;
        let mut replaced = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let name = names.save(&expr);
            let stays = only_projects && shapes::plannable_values(&expr, base.schema())?;
            let expr = if stays { self.inside(expr)?.data } else { self.replace(&mut rows, expr)? };
            replaced.push(if sorts { expr } else { name.restore(expr) });
        }
        let columns = plan.schema().columns();
        let widened = rows.plan.schema().fields().len() > base.schema().fields().len();
        let mut replaced = replaced.into_iter();
        let plan = plan.map_expressions(|expr| Ok(Transformed::yes(replaced.next().unwrap_or(expr))))?.data;
        let mut below = Some(rows.plan);
        let plan = plan.map_children(|child| Ok(Transformed::yes(below.take().unwrap_or(child))))?.data;
        let plan = plan.recompute_schema()?;
        if widened && matches!(plan, LogicalPlan::Sort(_) | LogicalPlan::Window(_)) {
            return project(plan, columns);
        }
        Ok(plan)
    }

    /// An expression whose subqueries are columns of the rows.
    fn replace(&mut self, rows: &mut Rows<'_>, expr: Expr) -> DfResult<Expr> {
        Ok(expr
            .transform_down(|expr| match expr {
                Expr::ScalarFunction(call) if call.func.name() == ARRAY_OF_ROWS => match call.args.first() {
                    Some(Expr::ScalarSubquery(subquery)) => Ok(Transformed::yes(self.array(rows, subquery)?)),
                    _ => Err(refused("this form of ARRAY")),
                },
                expr => Ok(Transformed::no(expr)),
            })?
            .data
            .transform_up(|expr| {
                if subquery_of(&expr).is_none() {
                    return Ok(Transformed::no(expr));
                }
                Ok(Transformed::yes(self.value(rows, expr)?))
            })?
            .data)
    }

    fn filter(&mut self, predicate: Expr, input: Arc<LogicalPlan>) -> DfResult<LogicalPlan> {
        let columns = input.schema().columns();
        let mut kept = Vec::new();
        let mut replaced = Vec::new();
        for condition in split_conjunction_owned(predicate) {
            if shapes::plannable_condition(&condition, input.schema())? {
                kept.push(self.inside(condition)?.data);
            } else {
                replaced.push(condition);
            }
        }
        let base = match conjunction(kept) {
            Some(kept) => Arc::new(LogicalPlan::Filter(Filter::try_new(kept, input)?)),
            None => input,
        };
        if replaced.is_empty() {
            return Ok(Arc::unwrap_or_clone(base));
        }
        let mut rows = Rows { base: &base, plan: base.as_ref().clone() };
        let mut conditions = Vec::with_capacity(replaced.len());
        for condition in replaced {
            conditions.push(self.replace(&mut rows, condition)?);
        }
        let predicate = conjunction(conditions).unwrap_or_else(|| lit(true));
        let plan = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(rows.plan))?);
        project(plan, columns)
    }

    /// A join with subqueries in its condition.
    fn join(&mut self, join: Join) -> DfResult<LogicalPlan> {
        let Join { left, right, on, filter, join_type, .. } = join.clone();
        let Some(predicate) = filter else { return Err(refused("a subquery in USING")) };
        if join_type == JoinType::Inner {
            let plan = LogicalPlan::Join(Join { filter: None, ..join }).recompute_schema()?;
            return self.filter(predicate, Arc::new(plan));
        }
        // The value is computed on the one side that the subquery needs.
        let columns = join.schema.columns();
        let (left, right) = (Arc::unwrap_or_clone(left), Arc::unwrap_or_clone(right));
        let (left_base, right_base) = (left.clone(), right.clone());
        let mut left_rows = Rows { base: &left_base, plan: left };
        let mut right_rows = Rows { base: &right_base, plan: right };
        let mut conditions = Vec::new();
        for condition in split_conjunction_owned(predicate) {
            let condition = condition
                .transform_down(|expr| {
                    let array = matches!(&expr, Expr::ScalarFunction(call) if call.func.name() == ARRAY_OF_ROWS);
                    if !array && subquery_of(&expr).is_none() {
                        return Ok(Transformed::no(expr));
                    }
                    let needed = needs(&expr)?;
                    let side = |base: &LogicalPlan| needed.iter().all(|column| base.schema().has_column(column));
                    let rows = if side(&left_base) {
                        &mut left_rows
                    } else if side(&right_base) {
                        &mut right_rows
                    } else {
                        return Err(refused("a subquery over both sides in the condition of an outer join"));
                    };
                    let value = self.replace(rows, expr)?;
                    Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
                })?
                .data;
            conditions.push(condition);
        }
        let joined = Join {
            left: Arc::new(left_rows.plan),
            right: Arc::new(right_rows.plan),
            on,
            filter: conjunction(conditions),
            ..join
        };
        project(LogicalPlan::Join(joined).recompute_schema()?, columns)
    }

    /// `FROM a, LATERAL (subquery)`: the subquery for every combination of the columns of `a` it refers to.
    fn lateral_join(&mut self, join: Join) -> DfResult<LogicalPlan> {
        let columns = join.schema.columns();
        let left = self.rewrite(Arc::unwrap_or_clone(join.left))?;
        let Some((subquery, alias)) = lateral(&join.right) else { return Err(refused("this form of LATERAL")) };
        if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
            return Err(refused("LATERAL in this kind of join"));
        }
        let inner = subquery.subquery.as_ref().clone();
        let names = inner.schema().columns();
        let domain = self.domain(&left, &free(&inner)?)?;
        let carried = self.carrier().carry(&domain, inner)?;
        let mut exprs = domain.exprs();
        exprs.extend(names.into_iter().enumerate().map(|(index, column)| match alias {
            Some(alias) => {
                let (qualifier, field) = alias.schema.qualified_field(index);
                Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())
            }
            None => Expr::Column(column),
        }));
        let carried = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(carried))?);
        let carried = self.rewrite(carried)?;
        let mut conditions = join.filter;
        for (l, r) in join.on {
            let equal = l.eq(r);
            conditions = Some(match conditions {
                Some(conditions) => conditions.and(equal),
                None => equal,
            });
        }
        let outer: Vec<Column> = domain.columns.iter().map(|(outer, _)| outer.clone()).collect();
        let plan = match join.join_type {
            JoinType::Left => join_on_domain(left, &outer, carried, &domain.names(), conditions)?,
            _ => {
                let plan = match join_on_domain(left, &outer, carried, &domain.names(), None)? {
                    LogicalPlan::Join(join) => Join { join_type: JoinType::Inner, ..join },
                    _ => return Err(refused("this form of LATERAL")),
                };
                let plan = LogicalPlan::Join(plan).recompute_schema()?;
                match conditions {
                    Some(conditions) => {
                        let plan = LogicalPlan::Filter(Filter::try_new(conditions, Arc::new(plan))?);
                        self.node(plan)?
                    }
                    None => plan,
                }
            }
        };
        project(plan, columns)
    }

    /// `ORDER BY (subquery)` where the subquery refers to columns that the select list does not have: the key becomes a
    /// column below, and is left out above.
    fn sort_by_subquery(&mut self, sort: Sort) -> DfResult<LogicalPlan> {
        let columns = sort.input.schema().columns();
        let LogicalPlan::Projection(projection) = Arc::unwrap_or_clone(sort.input) else {
            return Err(refused("a subquery in this ORDER BY"));
        };
        let outputs: Vec<(Column, Expr)> =
            projection.schema.columns().into_iter().zip(projection.expr.iter().cloned()).collect();
        let mut exprs = projection.expr;
        let mut keys = Vec::with_capacity(sort.expr.len());
        for mut key in sort.expr {
            if has_subquery(&key.expr)? {
                let name = self.carrier().name();
                let own = key.expr.transform(|expr| {
                    let output = match &expr {
                        Expr::Column(column) => outputs.iter().find(|(output, _)| output == column),
                        _ => None,
                    };
                    Ok(match output {
                        Some((_, expr)) => Transformed::yes(expr.clone().unalias_nested().data),
                        None => Transformed::no(expr),
                    })
                })?;
                exprs.push(own.data.alias(&name));
                key.expr = Expr::Column(Column::new_unqualified(name));
            }
            keys.push(key);
        }
        let below = LogicalPlan::Projection(Projection::try_new(exprs, projection.input)?);
        let below = self.rewrite(below)?;
        let plan = LogicalPlan::Sort(Sort { expr: keys, input: Arc::new(below), fetch: sort.fetch });
        project(plan, columns)
    }
}

/// Does ORDER BY have a subquery that refers to columns its input has not?
fn has_outer_keys(sort: &Sort) -> DfResult<bool> {
    for key in &sort.expr {
        if !free_in_expr(&key.expr, sort.input.schema())?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn free_of_correlation(expr: &Expr) -> DfResult<bool> {
    let mut none = true;
    expr.apply(|expr| {
        if let Some(subquery) = subquery_of(expr) {
            none &= free(&subquery.subquery)?.is_empty();
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(none)
}

/// The columns of the rows at hand that a subquery, and what it is compared with, need.
fn needs(expr: &Expr) -> DfResult<Vec<Column>> {
    let mut needed: Vec<Column> = expr.column_refs().into_iter().cloned().collect();
    expr.apply(|expr| {
        if let Some(subquery) = subquery_of(expr) {
            needed.extend(free(&subquery.subquery)?.into_iter().map(|(column, _)| column));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(needed)
}

fn project(plan: LogicalPlan, columns: Vec<Column>) -> DfResult<LogicalPlan> {
    if plan.schema().columns() == columns {
        return Ok(plan);
    }
    let exprs = columns.into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}

/// Rows that are the same, or more, when they are read a second time: a domain is made from a second reading.
fn stable_rows(plan: &LogicalPlan) -> DfResult<LogicalPlan> {
    let plan = without_limits(plan.clone())?;
    let mut unstable = false;
    plan.apply_with_subqueries(|node| {
        unstable |= match node {
            LogicalPlan::Limit(_) => true,
            LogicalPlan::TableScan(scan) => {
                scan.fetch.is_some()
                    || source_as_provider(&scan.source)
                        .is_ok_and(|provider| provider.downcast_ref::<CteWorkTable>().is_some())
            }
            _ => false,
        };
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(call) = expr {
                    unstable |= call.func.signature().volatility == Volatility::Volatile;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    if unstable {
        return Err(refused("a subquery that depends on rows made by LIMIT, WITH RECURSIVE or a volatile function"));
    }
    Ok(plan)
}

/// A plan with more rows: without the limits above which rows only go through.
fn without_limits(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    match plan {
        LogicalPlan::Limit(limit) => {
            let negative = |expr: &Option<Box<Expr>>| matches!(expr.as_deref(), Some(Expr::Literal(ScalarValue::Int64(Some(value)), _)) if *value < 0);
            if negative(&limit.fetch) || negative(&limit.skip) {
                return Ok(LogicalPlan::Limit(limit));
            }
            without_limits(Arc::unwrap_or_clone(limit.input))
        }
        plan @ (LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Sort(_)) => Ok(plan.map_children(|child| without_limits(child).map(Transformed::yes))?.data),
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            let plan = LogicalPlan::Join(join);
            Ok(plan.map_children(|child| without_limits(child).map(Transformed::yes))?.data)
        }
        plan => Ok(plan),
    }
}
