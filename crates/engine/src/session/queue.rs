//! Which statements need a place among those that run, and when a session waits for it.
//!
//! What always holds: only what reads or writes rows of tables, or files, does. What asks the session or the catalog (settings, BEGIN,
//! COMMIT, system tables, EXPLAIN, most of DDL) goes past the queue, so that blocks end and a node that is full can be looked at; and so
//! does CALL, which is how operators put things right, and has limits of its own. A place is waited for before the tables are looked at.

use std::any::Any;
use std::sync::Arc;

use datafusion::catalog::streaming::StreamingTable;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::TableScan;
use sqlparser::ast::{AlterTableOperation as Operation, Statement as Ast};
use tokio::time::Instant;
use wharf_lake::{LakeProvider, ParquetFiles, QueriedTable};
use wharf_values::SqlError;

use super::Session;
use super::prepare::{Kind, Prepared};
use crate::bind::names::fold;
use crate::explain;
use crate::places::Places;
use crate::statement::Statement;
use crate::syntax::Own;

impl Session {
    /// Waits until the statement may work on tables. It keeps its place until it ends.
    ///
    /// # Errors
    /// `53300` when too many wait, `57014` when it is cancelled or takes too long.
    pub(super) async fn take_place(&mut self, places: &Arc<Places>) -> Result<(), SqlError> {
        let place = places.of(self.statement_id, self.connected.client(), self.limits());
        if !place.take_at_once() {
            // Who waits looks at no catalog meanwhile, whose files would have to stay.
            self.bound = None;
            let begun = Instant::now();
            place.take().await?;
            self.waited = begun.elapsed();
        }
        self.place = Some(Arc::new(place));
        Ok(())
    }

    /// Does the statement need a place?
    pub(super) fn works_on_tables(&self, prepared: &Prepared) -> bool {
        match &prepared.kind {
            Kind::Query(query) | Kind::Cursor(query, _) => query.reads_tables,
            Kind::Write(_) | Kind::With(_) => true,
            Kind::Utility => self.utility_works_on_tables(&prepared.statement),
        }
    }

    fn utility_works_on_tables(&self, statement: &Statement) -> bool {
        let own = statement.own.as_deref();
        match &*statement.ast {
            Ast::Copy { .. } => true,
            Ast::Explain { .. } => explain::analyzes(&statement.ast),
            Ast::Fetch { name, .. } => self.cursors.get(&fold(name)).is_some_and(|cursor| cursor.reads_tables),
            Ast::CreateTable(create) => match own {
                Some(Own::FromFiles(_)) => true,
                Some(_) => false,
                None => create.query.is_some(),
            },
            Ast::AlterTable(alter) => own.is_none() && alter.operations.iter().any(may_touch_rows),
            // EXECUTE does what it executes.
            _ => false,
        }
    }
}

/// Does a scan read a table or files, and not what the catalog or the session knows?
pub(super) fn is_of_table(scan: &TableScan) -> bool {
    source_as_provider(&scan.source).is_ok_and(|provider| {
        let provider = provider.as_ref() as &dyn Any;
        provider.is::<QueriedTable>()
            || provider.is::<LakeProvider>()
            || provider.is::<ParquetFiles>()
            || provider.is::<StreamingTable>()
    })
}

/// Rows are held against new constraints, and written anew for new types.
fn may_touch_rows(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::AddColumn { .. }
            | Operation::AddConstraint { .. }
            | Operation::AlterColumn { .. }
            | Operation::ValidateConstraint { .. }
    )
}
