//! What a serializable transaction has read, and whether that is still so.
//!
//! What always holds: every scan that DataFusion plans in such a transaction is noted here, with the conditions that were pushed
//! into it: a scan may read fewer rows than that, never others. The planner notes it
//! (`crate::unique_names::UniqueNamesPlanner`), so that no statement is forgotten. Plans of former executions are not used
//! in such a transaction. Not noted: the system catalog, and the columns and snapshots of a table.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::expr_rewriter::unnormalize_cols;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{LogicalPlan, TableScan, lit};
use datafusion::physical_expr::PhysicalExpr;
use parking_lot::Mutex;
use uuid::Uuid;
use wharf_catalog::State;
use wharf_lake::{LakeProvider, LakeTable, QueriedTable, may_have_changed};
use wharf_values::{SqlError, SqlState};

use crate::engine::Engine;
use crate::error::from_lake;

/// With this many conditions a table counts as read whole.
const MAX_CONDITIONS: usize = 1_000;

/// What was read, by table.
#[derive(Default)]
pub(crate) struct Reads {
    tables: Mutex<HashMap<Uuid, Vec<Arc<dyn PhysicalExpr>>>>,
}

impl Reads {
    /// Notes what a plan is going to read.
    pub(crate) fn note(&self, plan: &LogicalPlan, session: &dyn Session) {
        // The closure cannot fail.
        let _ = plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Ok(provider) = source_as_provider(&scan.source)
                && let Some(table) = table_of(provider.as_ref() as &dyn Any)
            {
                self.add(table, condition(scan, session));
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }

    fn add(&self, table: &LakeTable, condition: Option<Arc<dyn PhysicalExpr>>) {
        let mut tables = self.tables.lock();
        let conditions = tables.entry(table.id()).or_default();
        match condition {
            Some(condition) if conditions.len() < MAX_CONDITIONS => conditions.push(condition),
            _ => *conditions = vec![datafusion::physical_expr::expressions::lit(true)],
        }
    }

    /// The heads that the tables had when they were read. Tables that the transaction has made itself are not among them.
    pub(super) fn heads(&self, origin: &State) -> HashMap<Uuid, String> {
        let tables = self.tables.lock();
        let head = |id: &Uuid| Some((*id, origin.table_by_id(*id)?.metadata_location.clone()));
        tables.keys().filter_map(head).collect()
    }

    /// Is what was read at these heads the same at those of a catalog? Then they become these.
    ///
    /// # Errors
    /// `40001` when it may not be.
    pub(super) async fn check(
        &self,
        engine: &Engine,
        heads: &mut HashMap<Uuid, String>,
        fresh: &State,
    ) -> Result<(), SqlError> {
        for (id, head) in heads {
            let Some(row) = fresh.table_by_id(*id) else {
                return Err(dependency("A table that was read was dropped."));
            };
            if row.metadata_location == *head {
                continue;
            }
            let load = |location: String| async move {
                engine.warehouse.load(&location).await.map_err(|error| from_lake(&error))
            };
            let (before, now) = (load(head.clone()).await?, load(row.metadata_location.clone()).await?);
            let conditions = self.tables.lock().get(id).cloned().unwrap_or_default();
            if may_have_changed(&before, &now, &conditions).await.map_err(|error| from_lake(&error))? {
                let detail = format!("Rows of table \"{}\" that were read may have been changed since.", row.name);
                return Err(dependency(&detail));
            }
            head.clone_from(&row.metadata_location);
        }
        Ok(())
    }
}

/// The table of a provider, whether a query reads it or a statement that changes it; none for what is no table of the lake.
fn table_of(provider: &dyn Any) -> Option<&LakeTable> {
    let queried = provider.downcast_ref::<QueriedTable>().map(QueriedTable::table);
    queried.or_else(|| Some(provider.downcast_ref::<LakeProvider>()?.table())).map(Arc::as_ref)
}

/// What is true of all rows that a scan is asked for.
fn condition(scan: &TableScan, session: &dyn Session) -> Option<Arc<dyn PhysicalExpr>> {
    let filters = unnormalize_cols(scan.filters.iter().cloned());
    let filter = conjunction(filters).unwrap_or_else(|| lit(true));
    let schema = DFSchema::try_from(scan.source.schema()).ok()?;
    session.create_physical_expr(filter, &schema).ok()
}

fn dependency(detail: &str) -> SqlError {
    let message = "could not serialize access due to read/write dependencies among transactions";
    SqlError::new(SqlState::SERIALIZATION_FAILURE, message)
        .with_detail(detail)
        .with_hint("The transaction might succeed if retried.")
}
