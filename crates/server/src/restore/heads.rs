//! Moving the heads of tables past a backup, as far as their own files go.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use uuid::Uuid;
use wharf_catalog::{Column, Command, Envelope, State, Table, TableChange, apply, decode_state, encode_state};
use wharf_lake::recover::{self, Lineage};
use wharf_lake::{LakeError, LakeTable, Warehouse};

use super::{Finding, store_failure, tables};
use crate::failure::Failure;
use crate::node;

/// How many tables are looked at at the same time.
pub(super) const CONCURRENT_TABLES: usize = 16;

/// The heads that were named, by table.
pub(super) type Chosen = HashMap<Uuid, Arc<LakeTable>>;

/// Loads the heads that were named.
///
/// # Errors
/// What is no metadata file of this warehouse, and two of one table.
pub(super) async fn chosen(warehouse: &Arc<Warehouse>, heads: &[String]) -> Result<Chosen, Failure> {
    let mut chosen = Chosen::new();
    for head in heads {
        let remedy = "name metadata files of tables in the warehouse with --head, one of each table";
        let table = warehouse.load(head).await;
        let table = table.map_err(|error| Failure::from_error("cannot use --head", &error, remedy))?;
        if chosen.insert(table.id(), table).is_some() {
            return Err(Failure::new(format!("--head {head} is of a table that another --head is of"), remedy));
        }
    }
    Ok(chosen)
}

/// Moves the heads of all tables that are in a state: to the files that were chosen, or, with `newest`, to the newest there are.
///
/// # Errors
/// A store that does not answer.
pub(super) async fn move_all(
    warehouse: &Arc<Warehouse>,
    mut state: State,
    chosen: &Chosen,
    newest: bool,
    findings: &mut Vec<Finding>,
) -> Result<State, Failure> {
    let known: Vec<(String, Arc<Table>)> = tables(&state).map(|(name, table)| (name, Arc::clone(table))).collect();
    let looks = known.iter().map(|(_, table)| async {
        match newest && !chosen.contains_key(&table.id) {
            true => after(warehouse, table).await.map(Some),
            false => Ok(None),
        }
    });
    let looks: Vec<_> = looks.collect();
    let found: Vec<_> = futures::stream::iter(looks).buffered(CONCURRENT_TABLES).collect().await;
    for ((name, table), found) in known.into_iter().zip(found) {
        let not_moved = |why: String| Finding::NotMoved { table: name.clone(), why };
        if let Some(head) = chosen.get(&table.id) {
            if head.metadata_location() != table.metadata_location {
                match moved(&state, &table, head) {
                    Ok(next) => state = next,
                    Err(why) => {
                        findings.push(not_moved(why));
                        continue;
                    }
                }
            }
            findings.push(Finding::Chosen { table: name, head: head.metadata_location().to_owned() });
            continue;
        }
        let lineage = match found {
            Ok(Some(lineage)) => lineage,
            Ok(None) => continue,
            Err(LakeError::ForeignLocation { .. }) => {
                findings.push(not_moved("its files are not in this warehouse".to_owned()));
                continue;
            }
            Err(error) => return Err(store_failure(&error)),
        };
        let Lineage { newest, steps, others, unreadable } = lineage;
        if !unreadable.is_empty() {
            findings.push(Finding::Unreadable { table: name.clone(), files: unreadable });
        }
        let Some(newest) = newest else { continue };
        let next = match warehouse.load(&newest).await {
            Ok(head) => moved(&state, &table, &head),
            Err(error) => Err(error.to_string()),
        };
        match next {
            Ok(next) => state = next,
            Err(why) => {
                findings.push(not_moved(why));
                continue;
            }
        }
        if !others.is_empty() {
            findings.push(Finding::Forked { table: name.clone(), head: newest.clone(), others });
        }
        findings.push(Finding::Moved { table: name, steps, head: newest });
    }
    Ok(state)
}

async fn after(warehouse: &Arc<Warehouse>, table: &Table) -> Result<Lineage, LakeError> {
    let head = &table.metadata_location;
    let folder = recover::metadata_folder(warehouse, head).await;
    recover::lineage(warehouse, &folder, table.id, Some(head)).await
}

/// The state with another head of a table; why there is none.
fn moved(state: &State, known: &Table, head: &LakeTable) -> Result<State, String> {
    let change = TableChange {
        id: known.id,
        expected: known.metadata_location.clone(),
        new: head.metadata_location().to_owned(),
        columns: changed_columns(known, head.columns()),
    };
    let definitions = change.columns.is_some();
    let next = run(state, Command::CommitTables { changes: vec![change] })?;
    // A view or a constraint may know of columns that are gone: such a catalog would not be read again.
    match definitions.then(|| decode_state(&encode_state(&next))) {
        Some(Err(error)) => Err(format!("its columns have changed, which does not fit: {error}")),
        _ => Ok(next),
    }
}

/// The columns that metadata have when they are not those that the catalog knows. Comments are the catalog's.
fn changed_columns(known: &Table, columns: &[Column]) -> Option<Vec<Column>> {
    let commented = columns.iter().map(|column| {
        let comment = || known.columns.iter().find(|old| old.field_id == column.field_id)?.comment.clone();
        Column { comment: column.comment.clone().or_else(comment), ..column.clone() }
    });
    let commented: Vec<Column> = commented.collect();
    (commented != known.columns).then_some(commented)
}

/// Does a command to a state, here and now.
pub(super) fn run(state: &State, command: Command) -> Result<State, String> {
    match apply(state, &Envelope { request_id: Uuid::new_v4(), now_ms: node::now_ms(), command }) {
        (next, Ok(_)) => Ok(next),
        (_, Err(error)) => Err(error.to_string()),
    }
}
