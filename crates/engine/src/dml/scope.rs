//! Rows with names: what clauses such as RETURNING can speak of, where no table has these rows.
//!
//! A clause is bound over made-up relations with the columns it may name. In the plan that comes out they are one scan of
//! [`ROWS`], which the caller replaces by what gives the rows.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, TableReference};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection};
use sqlparser::ast;
use wharf_catalog::{SqlType, Table};
use wharf_values::{SqlError, mapping};

use super::query::{self, Parts};
use crate::bind::{BindContext, Local, Origin, analyze, planner};
use crate::error::from_datafusion;
use crate::session::Session;

/// The name of the rows in plans.
const ROWS: &str = "\0rows";
/// What the names of the relations begin with.
const RELATION: &str = "\0scope";

/// A relation that a clause can name.
#[derive(Clone)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) fields: Vec<FieldRef>,
    /// The table whose columns these are.
    pub(super) oid: Option<u32>,
}

impl Relation {
    /// A table under a name.
    pub(super) fn of_table(table: &Table, name: &str) -> Relation {
        let field = |column: &wharf_catalog::Column| Arc::new(mapping::field(&column.name, &column.ty, true));
        Relation { name: name.to_owned(), fields: table.columns.iter().map(field).collect(), oid: Some(table.oid) }
    }
}

/// What a clause can speak of.
#[derive(Clone, Default)]
pub(super) struct Scope {
    pub(super) relations: Vec<Relation>,
}

/// A clause that was bound.
pub(super) struct Bound {
    /// A projection over the rows, or something with joins for its subqueries between them.
    pub(super) plan: LogicalPlan,
    /// Where the columns come from.
    pub(super) origins: Vec<Option<Origin>>,
}

impl Scope {
    /// The columns of the relations: of each, its relation and itself.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&Relation, &FieldRef)> {
        self.relations.iter().flat_map(|relation| relation.fields.iter().map(move |field| (relation, field)))
    }

    /// Binds a select list over the rows.
    ///
    /// # Errors
    /// All that binding refuses.
    pub(super) async fn bind(
        &self,
        session: &Session,
        items: Vec<ast::SelectItem>,
        with: Option<ast::With>,
        parameters: &[Option<SqlType>],
        context: &mut BindContext,
    ) -> Result<Bound, SqlError> {
        let mut from = Vec::with_capacity(self.relations.len());
        for (index, relation) in self.relations.iter().enumerate() {
            let name = format!("{RELATION}{index}");
            let schema = Arc::new(Schema::new(relation.fields.clone()));
            let source = provider_as_source(Arc::new(EmptyTable::new(schema)));
            from.push(query::alone(query::local(&name, &relation.name)?));
            context.locals.insert(name, Local { source, oid: relation.oid });
        }
        let query = Parts { with, items, from, condition: None }.query()?;
        let planned = planner::plan_query(&query, parameters, context, &session.reader()).await?;
        let plan = self.over_rows(planned.plan).and_then(|plan| analyze(plan, context)).map_err(from_datafusion)?;
        Ok(Bound { plan, origins: planned.origins })
    }

    /// The plan with one scan of [`ROWS`] in the place of the relations.
    fn over_rows(&self, plan: LogicalPlan) -> DfResult<LogicalPlan> {
        let mut rows = Some(self.rows()?);
        let replaced = plan.transform_down(|node| match rows.take_if(|_| is_of_scope(&node)) {
            Some(rows) => Ok(Transformed::new(rows, true, TreeNodeRecursion::Stop)),
            None => Ok(Transformed::no(node)),
        })?;
        Ok(replaced.data)
    }

    fn rows(&self) -> DfResult<LogicalPlan> {
        let source = provider_as_source(Arc::new(EmptyTable::new(self.schema())));
        let scan = LogicalPlanBuilder::scan(rows_name(), source, None)?.build()?;
        let exprs = self.columns().enumerate().map(|(index, (relation, field))| {
            let qualifier = TableReference::bare(relation.name.as_str());
            Expr::Column(rows_column(index)).alias_qualified(Some(qualifier), field.name())
        });
        Ok(LogicalPlan::Projection(Projection::try_new(exprs.collect(), Arc::new(scan))?))
    }

    fn schema(&self) -> SchemaRef {
        let fields = self.columns().enumerate().map(|(index, (_, field))| {
            Field::new(index.to_string(), field.data_type().clone(), true).with_metadata(field.metadata().clone())
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

fn rows_name() -> TableReference {
    TableReference::bare(ROWS)
}

fn rows_column(index: usize) -> Column {
    Column::new(Some(rows_name()), index.to_string())
}

/// Is this the made-up relations and nothing else?
fn is_of_scope(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::Join(join) => is_of_scope(&join.left) && is_of_scope(&join.right),
        LogicalPlan::SubqueryAlias(alias) => is_of_scope(&alias.input),
        LogicalPlan::TableScan(scan) => scan.table_name.table().starts_with(RELATION),
        _ => false,
    }
}

/// The plan with the rows of another in the place of [`ROWS`]; the columns of that one are those of the scope, in order.
///
/// # Errors
/// None but for a bug.
pub(super) fn put_rows(plan: LogicalPlan, rows: &LogicalPlan) -> Result<LogicalPlan, SqlError> {
    put(plan, &rows_name(), rows, |index, _| index.to_string())
}

/// The plan with the rows of another in the place of the scans of a relation; `name` says what a column is called there, by its
/// place and its name.
///
/// # Errors
/// None but for a bug.
pub(super) fn put(
    plan: LogicalPlan,
    relation: &TableReference,
    rows: &LogicalPlan,
    name: impl Fn(usize, &str) -> String,
) -> Result<LogicalPlan, SqlError> {
    let replaced = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::TableScan(scan) if scan.table_name == *relation => {
            let columns = rows.schema().iter().enumerate().map(|(index, (qualifier, field))| {
                let name = name(index, field.name());
                Expr::from((qualifier, field)).alias_qualified(Some(relation.clone()), name)
            });
            let plan = Projection::try_new(columns.collect(), Arc::new(rows.clone()))?;
            Ok(Transformed::yes(LogicalPlan::Projection(plan)))
        }
        other => Ok(Transformed::no(other)),
    });
    replaced.map(|plan| plan.data).map_err(from_datafusion)
}

/// The places of the columns of the scope that a plan reads; how often it reads the rows.
pub(super) fn reads(plan: &LogicalPlan, scope: &Scope) -> Result<(Vec<usize>, usize), SqlError> {
    let mut scans = 0;
    let mut found = vec![false; scope.columns().count()];
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) if scan.table_name.table() == ROWS => scans += 1,
            // The projection that gives the columns their names reads all of them.
            LogicalPlan::Projection(projection) if is_rows(&projection.input) => {}
            _ => {
                node.apply_expressions(|expr| {
                    let outer = |expr: &Expr| match expr {
                        Expr::OuterReferenceColumn(_, column) => Some(column.clone()),
                        Expr::Column(column) => Some(column.clone()),
                        _ => None,
                    };
                    expr.apply(|expr| {
                        if let Some(column) = outer(expr) {
                            for (index, (relation, field)) in scope.columns().enumerate() {
                                let same = column.relation.as_ref().is_none_or(|name| name.table() == relation.name);
                                found[index] |= same && column.name == *field.name();
                            }
                        }
                        Ok(TreeNodeRecursion::Continue)
                    })
                })?;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(from_datafusion)?;
    let places = found.iter().enumerate().filter(|(_, found)| **found).map(|(index, _)| index);
    Ok((places.collect(), scans))
}

/// Is this the scan of [`ROWS`]?
pub(super) fn is_rows(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::TableScan(scan) if scan.table_name.table() == ROWS)
}
