//! The rows of a subquery for every combination of the outer columns it refers to, as one plan without outer columns.
//!
//! This is the way of Neumann and Kemper, "Unnesting Arbitrary Queries" (BTW 2015): the distinct combinations, the
//! *domain*, are joined in where the plan begins to depend on nothing, and carried up through every operator, which then
//! works for each of them apart: aggregates group by them, windows and limits partition by them.
//!
//! What always holds: the plan that comes out has the columns of the domain under their own names and the columns of the
//! subquery under theirs, in any order. An operator that cannot be carried through is refused.

use std::sync::Arc;

use datafusion::common::{Column, ExprSchema, ScalarValue, TableReference};
use datafusion::error::Result as DfResult;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, Filter, Join, JoinType, Limit, LogicalPlan, LogicalPlanBuilder, Projection,
    Sort, Union, Unnest, Window, cast, lit, when,
};
use wharf_values::SqlError;

use super::recursion::WorkTable;
use super::references::{Target, Targets, free, lateral, rebind, rebind_plan, subquery};
use crate::error::to_datafusion;
use crate::operators::null_safe_equal;

/// The distinct combinations of outer columns, and the names these have.
#[derive(Clone)]
pub(super) struct Domain {
    /// Nothing when the subquery refers to nothing outside.
    pub(super) plan: Option<LogicalPlan>,
    /// The outer columns and their names in the plan.
    pub(super) columns: Vec<(Column, Column)>,
    /// The working tables of recursive queries around the plan at hand, which carry the domain already.
    pub(super) work_tables: Vec<WorkTable>,
}

/// Carries domains through plans; names what it makes.
pub(super) struct Carrier<'a> {
    /// The number of the next name.
    pub(super) next: &'a mut usize,
}

/// A refusal of what has no plan.
pub(super) fn refused(what: &str) -> datafusion::error::DataFusionError {
    to_datafusion(
        SqlError::unsupported(format!("{what} is not supported"))
            .with_hint("Write it as a join, or compute it in a subquery of its own."),
    )
}

impl Domain {
    /// The domain of a subquery that refers to nothing.
    pub(super) fn none() -> Domain {
        Domain { plan: None, columns: Vec::new(), work_tables: Vec::new() }
    }

    /// The domain's columns in plans that carry it.
    pub(super) fn exprs(&self) -> Vec<Expr> {
        self.columns.iter().map(|(_, own)| Expr::Column(own.clone())).collect()
    }

    /// The names of the domain's columns in plans that carry it.
    pub(super) fn names(&self) -> Vec<Column> {
        self.columns.iter().map(|(_, own)| own.clone()).collect()
    }

    fn targets(&self) -> Targets {
        self.columns.iter().map(|(outer, own)| (outer.clone(), Target::Column(own.clone()))).collect()
    }

    /// Does a plan refer to the domain, or carry it already?
    fn concerns(&self, plan: &LogicalPlan) -> DfResult<bool> {
        for table in &self.work_tables {
            if table.is_read_by(plan)? {
                return Ok(true);
            }
        }
        Ok(free(plan)?.iter().any(|(column, _)| self.columns.iter().any(|(outer, _)| outer == column)))
    }
}

/// A plan that carries a domain, its rows numbered in their order within each combination.
pub(super) struct Numbered {
    pub(super) plan: LogicalPlan,
    pub(super) number: Column,
}

impl Carrier<'_> {
    /// A name that nothing else has.
    pub(super) fn name(&mut self) -> String {
        *self.next += 1;
        format!("__subquery_{}", self.next)
    }

    /// The plan for every combination of the domain.
    pub(super) fn carry(&mut self, domain: &Domain, plan: LogicalPlan) -> DfResult<LogicalPlan> {
        let Some(rows) = &domain.plan else { return Ok(plan) };
        if !domain.concerns(&plan)? {
            return match &plan {
                LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => Ok(rows.clone()),
                _ => LogicalPlanBuilder::from(rows.clone()).cross_join(plan)?.build(),
            };
        }
        match plan {
            LogicalPlan::Projection(projection) => {
                let input = self.carry(domain, Arc::unwrap_or_clone(projection.input))?;
                let exprs = domain.exprs().into_iter().chain(self.rebound(projection.expr, &input, domain)?).collect();
                Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?))
            }
            LogicalPlan::Filter(filter) => {
                let input = self.carry(domain, Arc::unwrap_or_clone(filter.input))?;
                let predicate = rebind(filter.predicate, input.schema(), &domain.targets())?;
                Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let old: Vec<Column> = alias.input.schema().columns();
                let input = self.carry(domain, Arc::unwrap_or_clone(alias.input))?;
                let renamed = old.into_iter().zip(alias.schema.iter()).map(|(column, (qualifier, field))| {
                    Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())
                });
                let exprs: Vec<Expr> = domain.exprs().into_iter().chain(renamed).collect();
                Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?))
            }
            LogicalPlan::Sort(Sort { input, fetch: None, .. }) => self.carry(domain, Arc::unwrap_or_clone(input)),
            LogicalPlan::Sort(Sort { expr, input, fetch: Some(fetch) }) => {
                let sort = LogicalPlan::Sort(Sort { expr, input, fetch: None });
                let fetch = i64::try_from(fetch).unwrap_or(i64::MAX);
                self.carry(
                    domain,
                    LogicalPlan::Limit(Limit { skip: None, fetch: Some(Box::new(lit(fetch))), input: Arc::new(sort) }),
                )
            }
            plan @ LogicalPlan::Limit(_) => {
                let columns = plan.schema().columns();
                let numbered = self.numbered(domain, plan)?;
                let exprs: Vec<Expr> =
                    domain.exprs().into_iter().chain(columns.into_iter().map(Expr::Column)).collect();
                Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(numbered.plan))?))
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let columns = input.schema().columns();
                let input = self.carry(domain, Arc::unwrap_or_clone(input))?;
                let exprs: Vec<Expr> =
                    domain.exprs().into_iter().chain(columns.into_iter().map(Expr::Column)).collect();
                let input = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?);
                Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(input))))
            }
            LogicalPlan::Distinct(Distinct::On(on)) => {
                let input = self.carry(domain, Arc::unwrap_or_clone(on.input))?;
                let own = || domain.exprs().into_iter();
                let on_exprs = own().chain(self.rebound(on.on_expr, &input, domain)?).collect();
                let select = own().chain(self.rebound(on.select_expr, &input, domain)?).collect();
                let sort = match on.sort_expr {
                    Some(keys) => {
                        let keys = self.rebound_keys(keys, &input, domain)?;
                        Some(own().map(|expr| expr.sort(true, false)).chain(keys).collect())
                    }
                    None => None,
                };
                let on = DistinctOn::try_new(on_exprs, select, sort, Arc::new(input))?;
                Ok(LogicalPlan::Distinct(Distinct::On(on)))
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(domain, aggregate),
            LogicalPlan::Window(window) => {
                let input = self.carry(domain, Arc::unwrap_or_clone(window.input))?;
                let names = NamePreserver::new_for_projection();
                let exprs = window
                    .window_expr
                    .into_iter()
                    .map(|expr| {
                        let name = names.save(&expr);
                        let expr = rebind(expr, input.schema(), &domain.targets())?;
                        Ok(name.restore(partitioned(expr, domain)?))
                    })
                    .collect::<DfResult<Vec<_>>>()?;
                Ok(LogicalPlan::Window(Window::try_new(exprs, Arc::new(input))?))
            }
            LogicalPlan::Join(join) => self.join(domain, join),
            LogicalPlan::Union(union) => self.union(domain, union),
            LogicalPlan::Unnest(unnest) => {
                let input = self.carry(domain, Arc::unwrap_or_clone(unnest.input))?;
                Ok(LogicalPlan::Unnest(Unnest::try_new(Arc::new(input), unnest.exec_columns, unnest.options)?))
            }
            LogicalPlan::Values(values) => {
                let names: Vec<String> = values.schema.fields().iter().map(|field| field.name().clone()).collect();
                let rows = values
                    .values
                    .into_iter()
                    .map(|row| {
                        let row = self.rebound(row, rows, domain)?;
                        let row = row.into_iter().zip(&names).map(|(expr, name)| expr.alias(name));
                        let exprs: Vec<Expr> = domain.exprs().into_iter().chain(row).collect();
                        Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(rows.clone()))?)))
                    })
                    .collect::<DfResult<Vec<_>>>()?;
                let columns: Vec<Column> = names.into_iter().map(Column::new_unqualified).collect();
                self.union_of(domain, rows, &columns)
            }
            LogicalPlan::RecursiveQuery(query) => self.recursive(domain, query),
            LogicalPlan::TableScan(ref scan) => match self.work_table(domain, scan)? {
                Some(carried) => Ok(carried),
                None => Err(refused("an outer column inside of a function in FROM")),
            },
            _ => Err(refused("an outer column inside of this query")),
        }
    }

    /// The plan for every combination, with the number each row has in the plan's own order, from 1.
    pub(super) fn numbered(&mut self, domain: &Domain, plan: LogicalPlan) -> DfResult<Numbered> {
        match plan {
            LogicalPlan::Sort(Sort { expr, input, fetch: None }) => {
                let input = self.carry(domain, Arc::unwrap_or_clone(input))?;
                let keys = self.rebound_keys(expr, &input, domain)?;
                self.number(domain, input, keys)
            }
            LogicalPlan::Projection(projection) if !matches!(*projection.input, LogicalPlan::EmptyRelation(_)) => {
                let below = self.numbered(domain, Arc::unwrap_or_clone(projection.input))?;
                let mut exprs = domain.exprs();
                exprs.extend(self.rebound(projection.expr, &below.plan, domain)?);
                exprs.push(Expr::Column(below.number.clone()));
                let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(below.plan))?);
                Ok(Numbered { plan, number: below.number })
            }
            LogicalPlan::Limit(limit) => {
                let below = self.numbered(domain, Arc::unwrap_or_clone(limit.input))?;
                let count = |expr: Option<Box<Expr>>| -> DfResult<Option<Expr>> {
                    match expr {
                        Some(expr) => Ok(Some(rebind(*expr, below.plan.schema(), &domain.targets())?)),
                        None => Ok(None),
                    }
                };
                let (skip, fetch) = (count(limit.skip)?, count(limit.fetch)?);
                let plan = within(below.plan, &below.number, skip, fetch)?;
                Ok(Numbered { plan, number: below.number })
            }
            plan => {
                let plan = self.carry(domain, plan)?;
                self.number(domain, plan, Vec::new())
            }
        }
    }

    /// Rows with their number in the order of the keys, for each combination of the domain.
    fn number(&mut self, domain: &Domain, plan: LogicalPlan, keys: Vec<SortExpr>) -> DfResult<Numbered> {
        let mut window = WindowFunction::new(row_number_udwf(), Vec::new());
        window.params.partition_by = domain.exprs();
        if !keys.is_empty() {
            // In rows, for which the types of the keys do not matter; a number has no frame.
            window.params.window_frame = datafusion::logical_expr::WindowFrame::new(Some(true));
        }
        window.params.order_by = keys;
        let name = self.name();
        let number = Expr::WindowFunction(Box::new(window)).alias(&name);
        let plan = LogicalPlan::Window(Window::try_new(vec![number], Arc::new(plan))?);
        Ok(Numbered { plan, number: Column::new_unqualified(name) })
    }

    fn rebound(&self, exprs: Vec<Expr>, input: &LogicalPlan, domain: &Domain) -> DfResult<Vec<Expr>> {
        let names = NamePreserver::new_for_projection();
        let targets = domain.targets();
        exprs
            .into_iter()
            .map(|expr| {
                let name = names.save(&expr);
                Ok(name.restore(rebind(expr, input.schema(), &targets)?))
            })
            .collect()
    }

    fn rebound_keys(&self, keys: Vec<SortExpr>, input: &LogicalPlan, domain: &Domain) -> DfResult<Vec<SortExpr>> {
        let targets = domain.targets();
        keys.into_iter().map(|key| Ok(SortExpr { expr: rebind(key.expr, input.schema(), &targets)?, ..key })).collect()
    }

    /// An aggregate without GROUP BY has a row for a combination without rows too.
    fn aggregate(&mut self, domain: &Domain, aggregate: Aggregate) -> DfResult<LogicalPlan> {
        if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            return Err(refused("an outer column inside of a query with grouping sets"));
        }
        for call in &aggregate.aggr_expr {
            if call.contains_outer() && call.column_refs().is_empty() {
                // PostgreSQL would compute it over the outer query's rows.
                return Err(refused("an aggregate of an outer query's columns alone"));
            }
        }
        let input = self.carry(domain, Arc::unwrap_or_clone(aggregate.input))?;
        let single = aggregate.group_expr.is_empty();
        let group: Vec<Expr> =
            domain.exprs().into_iter().chain(self.rebound(aggregate.group_expr, &input, domain)?).collect();
        let calls = self.rebound(aggregate.aggr_expr, &input, domain)?;
        let width = calls.len();
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), group, calls.clone())?);
        let Some(rows) = domain.plan.as_ref().filter(|_| single) else { return Ok(plan) };
        let found = self.name();
        let outputs: Vec<Column> = plan.schema().columns().split_off(plan.schema().fields().len() - width);
        let (plan, renamed) = self.renamed(domain, plan, &outputs, vec![lit(true).alias(&found)])?;
        let joined = join_on_domain(rows.clone(), &domain.names(), plan, &renamed.names(), None)?;
        let found = Expr::Column(Column::new_unqualified(found));
        let mut exprs = domain.exprs();
        for (call, output) in calls.iter().zip(outputs) {
            let column = Expr::Column(output.clone());
            let empty = value_of_nothing(call, &joined, &output)?;
            exprs.push(match empty {
                Some(empty) => {
                    when(found.clone().is_null(), Expr::Literal(empty, None)).otherwise(column)?.alias(output.name)
                }
                None => column,
            });
        }
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(joined))?))
    }

    /// A plan whose domain columns have new names, for a join with a plan that has them under the old ones: the plan, and
    /// the domain with the new names.
    pub(super) fn renamed(
        &mut self,
        domain: &Domain,
        plan: LogicalPlan,
        columns: &[Column],
        more: Vec<Expr>,
    ) -> DfResult<(LogicalPlan, Domain)> {
        let qualifier = TableReference::bare(self.name());
        let mut exprs = Vec::new();
        let mut renamed = Vec::new();
        for (outer, own) in &domain.columns {
            exprs.push(Expr::Column(own.clone()).alias_qualified(Some(qualifier.clone()), &own.name));
            renamed.push((outer.clone(), Column::new(Some(qualifier.clone()), &own.name)));
        }
        exprs.extend(columns.iter().cloned().map(Expr::Column));
        exprs.extend(more);
        let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?);
        Ok((plan, Domain { plan: None, columns: renamed, work_tables: Vec::new() }))
    }

    fn join(&mut self, domain: &Domain, join: Join) -> DfResult<LogicalPlan> {
        let left_columns = join.left.schema().columns();
        let right_columns = join.right.schema().columns();
        if lateral(&join.right).is_some() {
            // The inner lateral join sees the domain among the columns of its left side.
            let left = self.carry(domain, Arc::unwrap_or_clone(join.left))?;
            let mut targets = Targets::new();
            for (outer, own) in &domain.columns {
                let field = Arc::clone(left.schema().qualified_field_from_column(own)?.1);
                if !left_columns.contains(outer) {
                    targets.insert(outer.clone(), Target::Outer(field, own.clone()));
                }
            }
            let right = match Arc::unwrap_or_clone(join.right) {
                LogicalPlan::Subquery(old) => {
                    LogicalPlan::Subquery(subquery(rebind_plan(old.subquery.as_ref().clone(), &targets)?, &old)?)
                }
                other => rebind_plan(other, &targets)?,
            };
            let filter = self.rebound_filter(join.filter, &left, &right, domain)?;
            let join = Join { left: Arc::new(left), right: Arc::new(right), filter, ..join };
            return LogicalPlan::Join(join).recompute_schema();
        }
        let (left_depends, right_depends) = (domain.concerns(&join.left)?, domain.concerns(&join.right)?);
        let (keep_left, keep_right) = match join.join_type {
            JoinType::Inner => (left_depends || !right_depends, right_depends),
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => (true, right_depends),
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (left_depends, true),
            JoinType::Full => (true, true),
        };
        if join.null_aware && keep_left && keep_right {
            return Err(refused("NOT IN with outer columns in this place"));
        }
        let left = if keep_left {
            self.carry(domain, Arc::unwrap_or_clone(join.left))?
        } else {
            Arc::unwrap_or_clone(join.left)
        };
        let mut right = if keep_right {
            self.carry(domain, Arc::unwrap_or_clone(join.right))?
        } else {
            Arc::unwrap_or_clone(join.right)
        };
        let mut copy = None;
        if keep_left && keep_right {
            let (plan, renamed) = self.renamed(domain, right, &right_columns, Vec::new())?;
            right = plan;
            copy = Some(renamed);
        }
        let targets = domain.targets();
        let scope = merge_schema(&[&left, &right]);
        let mut on = Vec::with_capacity(join.on.len());
        for (l, r) in join.on {
            on.push((rebind(l, &scope, &targets)?, rebind(r, &scope, &targets)?));
        }
        let mut filter = self.rebound_filter(join.filter, &left, &right, domain)?;
        if let Some(copy) = &copy {
            for ((_, own), (_, other)) in domain.columns.iter().zip(&copy.columns) {
                let same = null_safe_equal(Expr::Column(own.clone()), Expr::Column(other.clone()), &scope)?;
                filter = Some(match filter {
                    Some(filter) => filter.and(same),
                    None => same,
                });
            }
        }
        let join = Join { left: Arc::new(left), right: Arc::new(right), on, filter, ..join };
        let join_type = join.join_type;
        let plan = LogicalPlan::Join(join).recompute_schema()?;
        let Some(copy) = copy else { return Ok(plan) };
        let mut exprs = Vec::new();
        for ((_, own), (_, other)) in domain.columns.iter().zip(&copy.columns) {
            let (own_column, other) = (Expr::Column(own.clone()), Expr::Column(other.clone()));
            exprs.push(match join_type {
                JoinType::Full | JoinType::Right => {
                    // Rows of the right side alone have their combination there.
                    let both = datafusion::functions::core::expr_fn::coalesce(vec![own_column, other]);
                    both.alias_qualified(own.relation.clone(), &own.name)
                }
                JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                    other.alias_qualified(own.relation.clone(), &own.name)
                }
                _ => own_column,
            });
        }
        let shown = plan.schema().columns();
        let kept = left_columns.into_iter().chain(right_columns).filter(|column| shown.contains(column));
        exprs.extend(kept.map(Expr::Column));
        if matches!(join_type, JoinType::LeftMark | JoinType::RightMark) {
            exprs.extend(shown.last().cloned().map(Expr::Column));
        }
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
    }

    fn rebound_filter(
        &self,
        filter: Option<Expr>,
        left: &LogicalPlan,
        right: &LogicalPlan,
        domain: &Domain,
    ) -> DfResult<Option<Expr>> {
        filter.map(|filter| rebind(filter, &merge_schema(&[left, right]), &domain.targets())).transpose()
    }

    fn union(&mut self, domain: &Domain, union: Union) -> DfResult<LogicalPlan> {
        let mut inputs = Vec::with_capacity(union.inputs.len());
        for input in union.inputs {
            let columns = input.schema().columns();
            let input = self.carry(domain, Arc::unwrap_or_clone(input))?;
            let exprs: Vec<Expr> = domain.exprs().into_iter().chain(columns.into_iter().map(Expr::Column)).collect();
            inputs.push(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?)));
        }
        self.union_of(domain, inputs, &union.schema.columns())
    }

    /// The rows of inputs that begin with the domain's columns, under the given names.
    fn union_of(&self, domain: &Domain, inputs: Vec<Arc<LogicalPlan>>, columns: &[Column]) -> DfResult<LogicalPlan> {
        let plan = LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?);
        let names = domain.columns.iter().map(|(_, own)| own).chain(columns);
        let exprs: Vec<Expr> = plan
            .schema()
            .columns()
            .into_iter()
            .zip(names)
            .map(|(column, name)| Expr::Column(column).alias_qualified(name.relation.clone(), &name.name))
            .collect();
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
    }
}

/// The rows whose number is past `skip` and no more than `fetch` after it; no number is no limit.
pub(super) fn within(
    plan: LogicalPlan,
    number: &Column,
    skip: Option<Expr>,
    fetch: Option<Expr>,
) -> DfResult<LogicalPlan> {
    let int64 = arrow::datatypes::DataType::Int64;
    let skip = match skip {
        Some(Expr::Literal(ScalarValue::Int64(None), _)) | None => lit(0i64),
        Some(literal @ Expr::Literal(..)) => literal,
        Some(expr) => datafusion::functions::core::expr_fn::coalesce(vec![cast(expr, int64.clone()), lit(0i64)]),
    };
    let place = cast(Expr::Column(number.clone()), int64.clone()) - skip;
    let mut predicate = place.clone().gt(lit(0i64));
    match fetch {
        None | Some(Expr::Literal(ScalarValue::Int64(None), _)) => {}
        Some(fetch @ Expr::Literal(..)) => predicate = predicate.and(place.lt_eq(fetch)),
        Some(fetch) => {
            let fetch = cast(fetch, int64);
            predicate = predicate.and(fetch.clone().is_null().or(place.lt_eq(fetch)));
        }
    }
    Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?))
}

/// Every row of the left plan, with the right plan's columns for its combination of outer columns; NULLs where the right
/// plan has none. The left plan has the domain's columns under the names `left` says.
pub(super) fn join_on_domain(
    left: LogicalPlan,
    left_names: &[Column],
    right: LogicalPlan,
    right_names: &[Column],
    more: Option<Expr>,
) -> DfResult<LogicalPlan> {
    let scope = merge_schema(&[&left, &right]);
    let mut conditions = Vec::with_capacity(left_names.len() + 1);
    for (l, r) in left_names.iter().zip(right_names) {
        conditions.push(null_safe_equal(Expr::Column(l.clone()), Expr::Column(r.clone()), &scope)?);
    }
    conditions.extend(more);
    if conditions.is_empty() {
        // A lateral item that refers to nothing: every row goes with every row.
        conditions.push(lit(true));
    }
    LogicalPlanBuilder::from(left).join_on(right, JoinType::Left, conditions)?.build()
}

/// What an aggregate gives for no rows, where that is not NULL.
fn value_of_nothing(call: &Expr, plan: &LogicalPlan, output: &Column) -> DfResult<Option<ScalarValue>> {
    match call {
        Expr::Alias(alias) => value_of_nothing(&alias.expr, plan, output),
        Expr::AggregateFunction(function) => {
            let data_type = plan.schema().field_from_column(output)?.data_type();
            if function.func.name() == "regr_count" {
                return Ok(Some(ScalarValue::new_zero(data_type)?));
            }
            let value = function.func.default_value(data_type)?;
            Ok((!value.is_null()).then_some(value))
        }
        _ => Ok(None),
    }
}

/// A window function that works within each combination of the domain.
fn partitioned(expr: Expr, domain: &Domain) -> DfResult<Expr> {
    Ok(match expr {
        Expr::Alias(mut alias) => {
            alias.expr = Box::new(partitioned(*alias.expr, domain)?);
            Expr::Alias(alias)
        }
        Expr::WindowFunction(mut window) => {
            window.params.partition_by.extend(domain.exprs());
            Expr::WindowFunction(window)
        }
        other => return Err(to_datafusion(SqlError::internal(format!("window function {other}")))),
    })
}
