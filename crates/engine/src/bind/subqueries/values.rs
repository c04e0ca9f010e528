//! What a subquery is worth in an expression: the joins that bring its value to every row, and the expression that reads
//! it there.

use std::sync::Arc;

use datafusion::common::{Column, ExprSchema, ScalarValue, TableReference};
use datafusion::error::Result as DfResult;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::{AggregateFunction, Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Projection, Subquery, binary_expr,
    lit, not, when,
};
use wharf_values::SqlError;

use super::Rewriter;
use super::dependent::{Domain, join_on_domain, refused};
use super::references::{free, subquery};
use crate::aggregates::{max, min};
use crate::error::to_datafusion;
use crate::operators::single_value;

/// Rows, and what was joined to them so far.
pub(super) struct Rows<'a> {
    /// The rows as they were, from which domains are made.
    pub(super) base: &'a LogicalPlan,
    /// The rows with the values that were joined to them.
    pub(super) plan: LogicalPlan,
}

const UNKNOWN: Expr = Expr::Literal(ScalarValue::Boolean(None), None);

impl Rewriter {
    /// The value of an expression that is a subquery, for each of the rows.
    pub(super) fn value(&mut self, rows: &mut Rows<'_>, expr: Expr) -> DfResult<Expr> {
        match expr {
            Expr::ScalarSubquery(subquery) => self.scalar(rows, &subquery),
            Expr::Exists(Exists { subquery, negated }) => {
                let exists = self.exists(rows, &subquery)?;
                Ok(if negated { not(exists) } else { exists })
            }
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                let contained = self.contained(rows, *expr, &subquery)?;
                Ok(if negated { not(contained) } else { contained })
            }
            Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => match (op, quantifier) {
                (Operator::Eq, SetQuantifier::Any) => self.contained(rows, *expr, &subquery),
                (Operator::NotEq, SetQuantifier::All) => Ok(not(self.contained(rows, *expr, &subquery)?)),
                (op, quantifier) => self.compared(rows, *expr, op, quantifier, &subquery),
            },
            other => Err(to_datafusion(SqlError::internal(format!("subquery {other}")))),
        }
    }

    /// A subquery without outer columns stays an expression: DataFusion computes it once.
    fn constant(&mut self, plan: LogicalPlan, like: &Subquery) -> DfResult<Expr> {
        Ok(Expr::ScalarSubquery(subquery(self.rewrite(plan)?, like)?))
    }

    fn scalar(&mut self, rows: &mut Rows<'_>, subquery: &Subquery) -> DfResult<Expr> {
        let plan = subquery.subquery.as_ref().clone();
        if free(&plan)?.is_empty() {
            return self.constant(plan, subquery);
        }
        let one = at_most_one(&plan);
        let (carried, domain, value) = self.carried(rows, plan)?;
        let name = self.carrier().name();
        let carried = if one {
            let exprs = with(&domain, vec![Expr::Column(value).alias(&name)]);
            LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(carried))?)
        } else {
            let call = single_value(Expr::Column(value)).alias(&name);
            LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(carried), domain.exprs(), vec![call])?)
        };
        self.attach(rows, &domain, carried, None)?;
        Ok(Expr::Column(Column::new_unqualified(name)))
    }

    fn exists(&mut self, rows: &mut Rows<'_>, subquery: &Subquery) -> DfResult<Expr> {
        let plan = subquery.subquery.as_ref().clone();
        if free(&plan)?.is_empty() {
            let any = LogicalPlanBuilder::from(plan)
                .limit(0, Some(1))?
                .aggregate(Vec::<Expr>::new(), vec![count(lit(1i64)).alias("rows")])?
                .project(vec![Expr::Column(Column::new_unqualified("rows")).gt(lit(0i64)).alias("exists")])?
                .build()?;
            return self.constant(any, subquery);
        }
        // `EXISTS (SELECT FROM t)` has no column.
        let plan = match plan.schema().fields().is_empty() {
            true => LogicalPlanBuilder::from(plan).project(vec![lit(true).alias("there")])?.build()?,
            false => plan,
        };
        let (carried, domain, _) = self.carried(rows, plan)?;
        let found = self.mark(rows, &domain, carried, Vec::new(), None)?;
        Ok(found)
    }

    /// Joins the distinct rows of the domain's and some more columns; says whether there was one.
    fn mark(
        &mut self,
        rows: &mut Rows<'_>,
        domain: &Domain,
        plan: LogicalPlan,
        more: Vec<Expr>,
        condition: Option<Expr>,
    ) -> DfResult<Expr> {
        let plan = LogicalPlan::Projection(Projection::try_new(with(domain, more), Arc::new(plan))?);
        let plan = LogicalPlan::Distinct(Distinct::All(Arc::new(plan)));
        let name = self.carrier().name();
        let mut exprs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        exprs.push(lit(true).alias(&name));
        let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?);
        self.attach(rows, domain, plan, condition)?;
        Ok(Expr::Column(Column::new_unqualified(name)).is_not_null())
    }

    /// `x IN (subquery)`.
    fn contained(&mut self, rows: &mut Rows<'_>, item: Expr, subquery: &Subquery) -> DfResult<Expr> {
        let (carried, domain, value) = self.carried(rows, subquery.subquery.as_ref().clone())?;
        let value = Expr::Column(value);
        let name = self.carrier().name();
        let known = LogicalPlan::Filter(Filter::try_new(value.clone().is_not_null(), Arc::new(carried.clone()))?);
        let equal = item.clone().eq(Expr::Column(Column::new_unqualified(&name)));
        let found = self.mark(rows, &domain, known, vec![value.clone().alias(&name)], Some(equal))?;
        let counts = self.count(rows, &domain, carried, value, Vec::new())?;
        when(found, lit(true))
            .when(counts.empty(), lit(false))
            .when(item.is_null().or(counts.with_null()), UNKNOWN)
            .otherwise(lit(false))
    }

    /// `x < ANY (subquery)` and its like, by the least and the greatest value.
    fn compared(
        &mut self,
        rows: &mut Rows<'_>,
        item: Expr,
        op: Operator,
        quantifier: SetQuantifier,
        subquery: &Subquery,
    ) -> DfResult<Expr> {
        use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
        let Some(opposite) = op.negate().filter(|_| matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)) else {
            return Err(refused(&format!("operator {op} with ANY or ALL of a subquery")));
        };
        let (carried, domain, value) = self.carried(rows, subquery.subquery.as_ref().clone())?;
        let value = Expr::Column(value);
        let (least, greatest) = (self.carrier().name(), self.carrier().name());
        let bounds = vec![min(value.clone()).alias(&least), max(value.clone()).alias(&greatest)];
        let counts = self.count(rows, &domain, carried, value, bounds)?;
        let against =
            |op: Operator, name: &str| binary_expr(item.clone(), op, Expr::Column(Column::new_unqualified(name)));
        // Is there a value for which `item op value` holds?
        let some = |op: Operator| match op {
            Lt | LtEq => against(op, &greatest),
            Gt | GtEq => against(op, &least),
            _ => against(op, &least).or(against(op, &greatest)),
        };
        let all = quantifier == SetQuantifier::All;
        let decided = some(if all { opposite } else { op });
        when(counts.empty(), lit(all))
            .when(decided, lit(!all))
            .when(item.clone().is_null().or(counts.with_null()), UNKNOWN)
            .otherwise(lit(all))
    }

    /// Joins how many rows, and how many values that are not NULL, each combination of the domain has, with more
    /// aggregates.
    fn count(
        &mut self,
        rows: &mut Rows<'_>,
        domain: &Domain,
        plan: LogicalPlan,
        value: Expr,
        more: Vec<Expr>,
    ) -> DfResult<Counts> {
        let counts = Counts { rows: self.carrier().name(), values: self.carrier().name() };
        let mut calls = vec![count(lit(1i64)).alias(&counts.rows), count(value).alias(&counts.values)];
        calls.extend(more);
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(plan), domain.exprs(), calls)?);
        self.attach(rows, domain, plan, None)?;
        Ok(counts)
    }

    /// `ARRAY(subquery)`: the values in the subquery's order; no rows make an empty array.
    pub(super) fn array(&mut self, rows: &mut Rows<'_>, inner: &Subquery) -> DfResult<Expr> {
        let plan = inner.subquery.as_ref().clone();
        let value = Column::from(plan.schema().qualified_field(0));
        let domain = self.domain(rows.base, &free(&plan)?)?;
        let numbered = self.carrier().numbered(&domain, plan)?;
        let name = self.carrier().name();
        let order = vec![Expr::Column(numbered.number).sort(true, false)];
        let function = datafusion::functions_aggregate::array_agg::array_agg_udaf();
        let call = AggregateFunction::new_udf(function, vec![Expr::Column(value)], false, None, order, None);
        let call = Expr::AggregateFunction(call).alias(&name);
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(numbered.plan), domain.exprs(), vec![call])?);
        let data_type = plan.schema().field_from_column(&Column::new_unqualified(&name))?.data_type().clone();
        let list = if domain.plan.is_none() {
            self.constant(plan, inner)?
        } else {
            let plan = self.rewrite(plan)?;
            self.attach(rows, &domain, plan, None)?;
            Expr::Column(Column::new_unqualified(&name))
        };
        let empty = Expr::Literal(ScalarValue::new_default(&data_type)?, None);
        when(list.clone().is_null(), empty).otherwise(list)
    }

    /// A subquery's plan for every combination of the outer columns it refers to, and the column of its value.
    fn carried(&mut self, rows: &Rows<'_>, plan: LogicalPlan) -> DfResult<(LogicalPlan, Domain, Column)> {
        let value = Column::from(plan.schema().qualified_field(0));
        let domain = self.domain(rows.base, &free(&plan)?)?;
        let carried = self.carrier().carry(&domain, plan)?;
        Ok((self.rewrite(carried)?, domain, value))
    }

    /// Joins a plan that carries a domain to the rows.
    fn attach(
        &mut self,
        rows: &mut Rows<'_>,
        domain: &Domain,
        plan: LogicalPlan,
        condition: Option<Expr>,
    ) -> DfResult<()> {
        let left = std::mem::replace(&mut rows.plan, LogicalPlanBuilder::empty(false).build()?);
        let outer: Vec<Column> = domain.columns.iter().map(|(outer, _)| outer.clone()).collect();
        if outer.is_empty() && condition.is_none() {
            rows.plan = LogicalPlanBuilder::from(left).cross_join(plan)?.build()?;
            return Ok(());
        }
        let own = domain.names();
        let joined = join_on_domain(left, &outer, plan, &own, condition)?;
        let kept = joined.schema().columns().into_iter().filter(|column| !own.contains(column)).map(Expr::Column);
        rows.plan = LogicalPlan::Projection(Projection::try_new(kept.collect(), Arc::new(joined))?);
        Ok(())
    }

    /// The distinct combinations that the rows have in these columns.
    pub(super) fn domain(
        &mut self,
        base: &LogicalPlan,
        references: &[super::references::Reference],
    ) -> DfResult<Domain> {
        if references.is_empty() {
            return Ok(Domain::none());
        }
        let base = super::stable_rows(base)?;
        let qualifier = TableReference::bare(self.carrier().name());
        let mut columns = Vec::with_capacity(references.len());
        let mut exprs = Vec::with_capacity(references.len());
        for (index, (column, _)) in references.iter().enumerate() {
            if !base.schema().has_column(column) {
                return Err(ungrouped(column));
            }
            let own = Column::new(Some(qualifier.clone()), format!("{}_{index}", qualifier.table()));
            exprs.push(Expr::Column(column.clone()).alias_qualified(own.relation.clone(), &own.name));
            columns.push((column.clone(), own));
        }
        let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(base))?);
        Ok(Domain {
            plan: Some(LogicalPlan::Distinct(Distinct::All(Arc::new(plan)))),
            columns,
            work_tables: Vec::new(),
        })
    }
}

/// The names of the counts that [`Rewriter::count`] joined.
struct Counts {
    rows: String,
    values: String,
}

impl Counts {
    fn empty(&self) -> Expr {
        let rows = Expr::Column(Column::new_unqualified(&self.rows));
        rows.clone().is_null().or(rows.eq(lit(0i64)))
    }

    fn with_null(&self) -> Expr {
        Expr::Column(Column::new_unqualified(&self.values)).lt(Expr::Column(Column::new_unqualified(&self.rows)))
    }
}

fn with(domain: &Domain, more: Vec<Expr>) -> Vec<Expr> {
    domain.exprs().into_iter().chain(more).collect()
}

/// Can a plan have one row at most, whatever the data?
fn at_most_one(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => at_most_one(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => at_most_one(&alias.input),
        LogicalPlan::Filter(filter) => at_most_one(&filter.input),
        LogicalPlan::Sort(sort) => at_most_one(&sort.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Limit(limit) => {
            matches!(limit.fetch.as_deref(), Some(Expr::Literal(ScalarValue::Int64(Some(0 | 1)), _)))
                || at_most_one(&limit.input)
        }
        _ => false,
    }
}

fn ungrouped(column: &Column) -> datafusion::error::DataFusionError {
    to_datafusion(SqlError::new(
        wharf_values::SqlState::GROUPING_ERROR,
        format!("subquery uses ungrouped column \"{}\" from outer query", column.flat_name()),
    ))
}
