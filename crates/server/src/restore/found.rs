//! Tables that are in the warehouse and not in the catalog: those that were made after the backup, or all when there is none.
//!
//! They become tables of schema `public` under the name they were made with, which their metadata tell. What is not told there is
//! lost: another schema, a later name, comments, keys and checks. A clone does not become a table, since nobody would know any more
//! that it needs files of another.

use std::sync::Arc;

use futures::StreamExt;
use wharf_catalog::{Command, RelationName, State, oids};
use wharf_lake::recover::{self, Lineage};
use wharf_lake::{LakeError, LakeTable, Warehouse};

use super::heads::{CONCURRENT_TABLES, Chosen, run};
use super::{Finding, store_failure};
use crate::failure::Failure;
use crate::node;

/// The property that tells the name a table was made with.
const NAME_PROPERTY: &str = "wharf.created-as";
/// Where found tables go.
const SCHEMA: &str = "public";

/// Makes tables of what is found.
///
/// # Errors
/// A store that does not answer.
pub(super) async fn register(
    warehouse: &Arc<Warehouse>,
    mut state: State,
    chosen: &Chosen,
    findings: &mut Vec<Finding>,
) -> Result<State, Failure> {
    let all = recover::find_tables(warehouse).await.map_err(|error| store_failure(&error))?;
    let unknown =
        all.into_iter().filter(|(id, _)| state.table_by_id(*id).is_none() && state.dropped_by_id(*id).is_none());
    let looks = unknown.map(|(id, location)| async move {
        let lineage = recover::lineage(warehouse, &format!("{location}/metadata"), id, None).await;
        (id, location, lineage)
    });
    let looks: Vec<_> = looks.collect();
    let mut found = futures::stream::iter(looks).buffered(CONCURRENT_TABLES);
    while let Some((id, location, lineage)) = found.next().await {
        let Lineage { newest, others, .. } = lineage.map_err(|error| store_failure(&error))?;
        let left = |why: String| Finding::Left { location: location.clone(), why };
        let (head, others) = match (chosen.get(&id), newest) {
            (Some(chosen), _) => (chosen.metadata_location().to_owned(), Vec::new()),
            (None, Some(newest)) => (newest, others),
            (None, None) => {
                findings.push(left("it has no metadata that can be read".to_owned()));
                continue;
            }
        };
        match table(warehouse, &state, &head).await {
            Ok((next, table)) => {
                state = next;
                if !others.is_empty() {
                    findings.push(Finding::Forked { table: table.clone(), head: head.clone(), others });
                }
                findings.push(Finding::Registered { table, head });
            }
            Err(why) => findings.push(left(why)),
        }
    }
    Ok(state)
}

/// The state with a table of this metadata file, and its name; why there is none.
async fn table(warehouse: &Arc<Warehouse>, state: &State, head: &str) -> Result<(State, String), String> {
    let failed = |error: LakeError| error.to_string();
    let table = warehouse.load(head).await.map_err(failed)?;
    if recover::refers_elsewhere(&table).await.map_err(failed)? {
        return Err(format!("it needs files of another table, as a clone does; its metadata file is {head}"));
    }
    let database = state.database_by_name(node::DATABASE).ok_or("there is no database for it")?.oid;
    let name = free_name(state, database, &table);
    let create = Command::CreateTable {
        database,
        id: table.id(),
        name: RelationName::new(SCHEMA, name.clone()),
        columns: table.columns().to_vec(),
        metadata_location: table.metadata_location().to_owned(),
        owner: oids::BOOTSTRAP_SUPERUSER,
        if_not_exists: false,
        constraints: Vec::new(),
    };
    Ok((run(state, create)?, format!("{SCHEMA}.{name}")))
}

/// The name a table was made with; with its id where that is taken or not known.
fn free_name(state: &State, database: u32, table: &LakeTable) -> String {
    let made_with = table.properties().get(NAME_PROPERTY).map_or("table", String::as_str);
    let schema = state.namespace_by_name(database, SCHEMA);
    match schema.and_then(|schema| state.relation(schema.oid, made_with)) {
        None if table.properties().contains_key(NAME_PROPERTY) => made_with.to_owned(),
        _ => format!("{made_with}_{}", table.id().simple()),
    }
}
