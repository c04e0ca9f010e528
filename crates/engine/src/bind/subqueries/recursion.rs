//! A recursive query for every combination of outer columns.
//!
//! The domain is joined in once, below the non-recursive term; from there the combination of a row is a column of the
//! working table, so that each round goes on with the combinations it began with.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, TableReference};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, Projection, RecursiveQuery, TableScan, TableScanBuilder,
};

use super::dependent::{Carrier, Domain};

/// A recursive query around the plan at hand whose working table carries the domain.
#[derive(Clone)]
pub(super) struct WorkTable {
    name: String,
    /// The domain's columns in the working table.
    fields: Vec<Field>,
}

impl WorkTable {
    /// Does a plan read the working table?
    pub(super) fn is_read_by(&self, plan: &LogicalPlan) -> DfResult<bool> {
        let mut found = false;
        plan.apply_with_subqueries(|plan| {
            found |= matches!(plan, LogicalPlan::TableScan(scan) if is_work_table(scan, &self.name));
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(found)
    }
}

impl Carrier<'_> {
    /// The recursive query for every combination of the domain.
    pub(super) fn recursive(&mut self, domain: &Domain, query: RecursiveQuery) -> DfResult<LogicalPlan> {
        let columns = query.static_term.schema().columns();
        let static_term = self.carry(domain, Arc::unwrap_or_clone(query.static_term))?;
        let static_term = with_domain_first(domain, static_term, columns)?;
        let fields = (0..domain.columns.len())
            .map(|index| static_term.schema().field(index).as_ref().clone().with_name(self.name()).with_nullable(true))
            .collect();
        let mut inner = domain.clone();
        inner.work_tables.retain(|table| table.name != query.name);
        inner.work_tables.push(WorkTable { name: query.name.clone(), fields });
        let columns = query.recursive_term.schema().columns();
        let recursive_term = self.carry(&inner, Arc::unwrap_or_clone(query.recursive_term))?;
        let recursive_term = with_domain_first(domain, recursive_term, columns)?;
        LogicalPlanBuilder::from(static_term).to_recursive_query(query.name, recursive_term, query.is_distinct)?.build()
    }

    /// The working table with the domain's columns, if the scan is one of a recursive query that carries them.
    pub(super) fn work_table(&mut self, domain: &Domain, scan: &TableScan) -> DfResult<Option<LogicalPlan>> {
        let Some(table) = domain.work_tables.iter().find(|table| is_work_table(scan, &table.name)) else {
            return Ok(None);
        };
        let source = scan.source.schema();
        let fields: Vec<Field> =
            table.fields.iter().cloned().chain(source.fields().iter().map(|field| field.as_ref().clone())).collect();
        let provider = CteWorkTable::new(&table.name, Arc::new(Schema::new(fields)));
        let name: TableReference = scan.table_name.clone();
        let carried = TableScanBuilder::new(name.clone(), provider_as_source(Arc::new(provider))).build()?;
        let own = table.fields.iter().zip(&domain.columns).map(|(field, (_, own))| {
            Expr::Column(Column::new(Some(name.clone()), field.name())).alias_qualified(own.relation.clone(), &own.name)
        });
        let exprs = own.chain(scan.projected_schema.columns().into_iter().map(Expr::Column)).collect();
        Ok(Some(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(LogicalPlan::TableScan(carried)))?)))
    }
}

/// The columns of the domain, then those of the plan itself.
fn with_domain_first(domain: &Domain, plan: LogicalPlan, columns: Vec<Column>) -> DfResult<LogicalPlan> {
    let exprs = domain.exprs().into_iter().chain(columns.into_iter().map(Expr::Column)).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}

/// Is this the reference of a recursive query to itself?
pub(in crate::bind) fn is_work_table(scan: &TableScan, name: &str) -> bool {
    scan.table_name.table() == name
        && source_as_provider(&scan.source).is_ok_and(|provider| provider.downcast_ref::<CteWorkTable>().is_some())
}
