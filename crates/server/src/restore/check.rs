//! Looking whether the files that tables need are there.

use std::sync::Arc;

use futures::StreamExt;
use wharf_catalog::State;
use wharf_lake::recover;
use wharf_lake::{LakeError, Warehouse};

use super::heads::CONCURRENT_TABLES;
use super::{Finding, store_failure, tables};
use crate::failure::Failure;

/// Looks for the metadata file of every table's head and for the manifest list of its snapshot; with `all`, for everything that these
/// lead to.
///
/// # Errors
/// A store that does not answer.
pub(super) async fn look(
    warehouse: &Arc<Warehouse>,
    state: &State,
    all: bool,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let looks = tables(state).map(|(name, table)| {
        let head = table.metadata_location.clone();
        async move {
            let missing = match warehouse.load(&head).await {
                Ok(table) => recover::missing_files(&table, all).await,
                Err(error) => Err(error),
            };
            match missing {
                Ok(files) => Ok((name, files)),
                Err(
                    LakeError::NotFound { location }
                    | LakeError::Corrupt { location, .. }
                    | LakeError::ForeignLocation { location, .. },
                ) => Ok((name, vec![location])),
                Err(error) => Err(error),
            }
        }
    });
    let looks: Vec<_> = looks.collect();
    let mut looked = futures::stream::iter(looks).buffered(CONCURRENT_TABLES);
    while let Some(found) = looked.next().await {
        let (table, files) = found.map_err(|error| store_failure(&error))?;
        if !files.is_empty() {
            findings.push(Finding::Missing { table, files });
        }
    }
    Ok(())
}
