//! Columns of one name, told apart before a plan becomes physical.
//!
//! DataFusion's physical plans know columns by position and by unqualified name; where a filter is pushed through an
//! operator (the filters a hash join makes for its probe side among them) it is carried over by name. In a row that has
//! `a.id` and `b.id` the filter then meets the wrong one, and rows are lost.
//!
//! What always holds: in a plan that goes to DataFusion's physical planner, the two sides of a join have no name in common,
//! and no projection gives one name twice, below the root; the root has the columns it had.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DfResult;
use datafusion::execution::context::QueryPlanner;

use datafusion::logical_expr::{Expr, Join, LogicalPlan, Projection, Subquery, SubqueryAlias, Union, Unnest};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};

use crate::session::Reads;

/// DataFusion's planner over plans whose columns have been told apart.
#[derive(Debug, Default)]
pub(crate) struct UniqueNamesPlanner;

#[async_trait]
impl QueryPlanner for UniqueNamesPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        if let Some(reads) = session.config().get_extension::<Reads>() {
            reads.note(plan, session);
        }
        let plan = unique_names(plan.clone())?;
        DefaultPhysicalPlanner::default().create_physical_plan(&plan, session).await
    }
}

/// The plan with unique names below its root.
fn unique_names(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let mut renamer = Renamer { next: 0 };
    let old = plan.schema().columns();
    let plan = renamer.rename(plan)?;
    restored(plan, &old)
}

/// Old columns and the new ones in their places.
type Renamed = HashMap<Column, Column>;

struct Renamer {
    next: usize,
}

impl Renamer {
    /// The plan with other names; its columns are in the same places.
    fn rename(&mut self, plan: LogicalPlan) -> DfResult<LogicalPlan> {
        let plan = self.subqueries(plan)?;
        match plan {
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => {
                let mut inputs = Vec::with_capacity(union.inputs.len());
                for input in union.inputs {
                    let columns = input.schema().columns();
                    let input = self.rename(Arc::unwrap_or_clone(input))?;
                    inputs.push(Arc::new(restored(input, &columns)?));
                }
                let schema = union.schema;
                let plan = LogicalPlan::Union(Union { inputs, schema });
                self.told_apart(plan, &HashSet::new())
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let input = self.rename(Arc::unwrap_or_clone(alias.input))?;
                Ok(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias)?))
            }
            LogicalPlan::Unnest(unnest) => {
                let old = unnest.input.schema().columns();
                let input = self.rename(Arc::unwrap_or_clone(unnest.input))?;
                let map = renamed(&old, &input);
                let columns = unnest.exec_columns.iter().map(|column| map.get(column).unwrap_or(column).clone());
                let columns = columns.collect();
                let mut options = unnest.options;
                for recursion in &mut options.recursions {
                    for column in [&mut recursion.input_column, &mut recursion.output_column] {
                        if let Some(new) = map.get(column) {
                            *column = new.clone();
                        }
                    }
                }
                Ok(LogicalPlan::Unnest(Unnest::try_new(Arc::new(input), columns, options)?))
            }
            LogicalPlan::Projection(projection) => {
                let old = projection.input.schema().columns();
                let input = self.rename(Arc::unwrap_or_clone(projection.input))?;
                let map = renamed(&old, &input);
                let exprs = projection.expr.into_iter().map(|expr| replaced(expr, &map)).collect::<DfResult<_>>()?;
                let exprs = self.distinct_names(exprs);
                Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?))
            }
            plan @ (LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Distinct(_)) => {
                let old: Vec<Column> = plan.inputs().iter().flat_map(|input| input.schema().columns()).collect();
                let plan = plan.map_children(|input| self.rename(input).map(Transformed::yes))?.data;
                let map: Renamed = match plan.inputs()[..] {
                    [input] => renamed(&old, input),
                    _ => Renamed::new(),
                };
                let plan = plan.map_expressions(|expr| replaced(expr, &map).map(Transformed::yes))?.data;
                plan.recompute_schema()
            }
            plan => {
                // What else there is keeps the names of its inputs.
                Ok(plan
                    .map_children(|input| {
                        let columns = input.schema().columns();
                        let input = self.rename(input)?;
                        restored(input, &columns).map(Transformed::yes)
                    })?
                    .data)
            }
        }
    }

    /// Subqueries that are left are values, which have no name that matters.
    fn subqueries(&mut self, plan: LogicalPlan) -> DfResult<LogicalPlan> {
        Ok(plan
            .map_expressions(|expr| {
                expr.transform_down(|expr| match expr {
                    Expr::ScalarSubquery(subquery) => {
                        let columns = subquery.subquery.schema().columns();
                        let plan = self.rename(subquery.subquery.as_ref().clone())?;
                        let plan = Arc::new(restored(plan, &columns)?);
                        Ok(Transformed::yes(Expr::ScalarSubquery(Subquery { subquery: plan, ..subquery })))
                    }
                    other => Ok(Transformed::no(other)),
                })
            })?
            .data)
    }

    fn join(&mut self, join: Join) -> DfResult<LogicalPlan> {
        let (old_left, old_right) = (join.left.schema().columns(), join.right.schema().columns());
        let left = self.rename(Arc::unwrap_or_clone(join.left))?;
        // The column a mark join adds.
        let left = self.told_apart(left, &HashSet::from(["mark".to_owned()]))?;
        let right = self.rename(Arc::unwrap_or_clone(join.right))?;
        let taken: HashSet<String> = left.schema().fields().iter().map(|field| field.name().clone()).collect();
        let right = self.told_apart(right, &taken)?;
        let left_map = renamed(&old_left, &left);
        let right_map = renamed(&old_right, &right);
        let on = join
            .on
            .into_iter()
            .map(|(l, r)| Ok((replaced(l, &left_map)?, replaced(r, &right_map)?)))
            .collect::<DfResult<_>>()?;
        let map: Renamed = left_map.into_iter().chain(right_map).collect();
        let filter = join.filter.map(|filter| replaced(filter, &map)).transpose()?;
        let join = Join { left: Arc::new(left), right: Arc::new(right), on, filter, ..join };
        LogicalPlan::Join(join).recompute_schema()
    }

    /// A plan none of whose columns has a name that is taken, or the name of another.
    fn told_apart(&mut self, plan: LogicalPlan, taken: &HashSet<String>) -> DfResult<LogicalPlan> {
        let mut seen = taken.clone();
        let clash = plan.schema().fields().iter().any(|field| !seen.insert(field.name().clone()));
        if !clash {
            return Ok(plan);
        }
        let mut seen = taken.clone();
        let exprs = plan
            .schema()
            .columns()
            .into_iter()
            .map(|column| {
                if seen.insert(column.name.clone()) {
                    return Expr::Column(column);
                }
                let name = self.fresh(&column.name);
                let relation = column.relation.clone();
                Expr::Column(column).alias_qualified(relation, name)
            })
            .collect();
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
    }

    fn distinct_names(&mut self, exprs: Vec<Expr>) -> Vec<Expr> {
        let mut seen = HashSet::new();
        exprs
            .into_iter()
            .map(|expr| {
                let (relation, name) = expr.qualified_name();
                if seen.insert(name.clone()) {
                    return expr;
                }
                let name = self.fresh(&name);
                match expr {
                    Expr::Alias(mut alias) => {
                        alias.name = name;
                        Expr::Alias(alias)
                    }
                    expr => expr.alias_qualified(relation, name),
                }
            })
            .collect()
    }

    fn fresh(&mut self, name: &str) -> String {
        self.next += 1;
        format!("{name}{}{}", crate::bind::names::DUPLICATE_MARK, self.next)
    }
}

/// What the old columns of a plan are called now.
fn renamed(old: &[Column], plan: &LogicalPlan) -> Renamed {
    old.iter().cloned().zip(plan.schema().columns()).filter(|(old, new)| old != new).collect()
}

fn replaced(expr: Expr, map: &Renamed) -> DfResult<Expr> {
    if map.is_empty() {
        return Ok(expr);
    }
    Ok(expr
        .transform(|expr| match expr {
            Expr::Column(column) => Ok(match map.get(&column) {
                Some(new) => Transformed::yes(Expr::Column(new.clone())),
                None => Transformed::no(Expr::Column(column)),
            }),
            other => Ok(Transformed::no(other)),
        })?
        .data)
}

/// The plan with its columns under these names.
fn restored(plan: LogicalPlan, columns: &[Column]) -> DfResult<LogicalPlan> {
    let own = plan.schema().columns();
    if own == columns {
        return Ok(plan);
    }
    let exprs = own
        .into_iter()
        .zip(columns)
        .map(|(own, column)| {
            if own == *column {
                Expr::Column(own)
            } else {
                Expr::Column(own).alias_qualified(column.relation.clone(), &column.name)
            }
        })
        .collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}
