//! Where a catalog is restored from: the file of a backup, the newest backup in a warehouse, or nothing but a warehouse.

use std::collections::BTreeMap;
use std::path::Path;

use uuid::Uuid;
use wharf_catalog::{Envelope, State, apply};
use wharf_consensus::Backup;
use wharf_engine::{BACKUP_EXTENSION, BACKUP_FOLDER};
use wharf_lake::Warehouse;

use super::{Wanted, open_warehouse, store_failure};
use crate::config::Config;
use crate::demo::say;
use crate::failure::Failure;
use crate::{backup, node};

/// What is restored.
pub(super) struct Source {
    /// The catalog.
    pub(super) backup: Backup,
    /// Where the tables are.
    pub(super) warehouse: String,
    /// Heads move forward.
    pub(super) moves: bool,
    /// The superuser's password, if one was made up.
    pub(super) password: Option<String>,
}

/// Finds and reads it.
///
/// # Errors
/// As [`super::run`].
pub(super) async fn open(config: &Config, wanted: &Wanted) -> Result<Source, Failure> {
    let from = wanted.from.as_str();
    let configured = Some(config.warehouse.url.clone()).filter(|url| !url.is_empty());
    let is_file = from.ends_with(BACKUP_EXTENSION) || (backup::is_local(from) && Path::new(from).is_file());
    if is_file && !wanted.scan {
        let backup = backup::load(config, from).await?;
        let warehouse = configured.unwrap_or_else(|| backup.info().warehouse.clone());
        return Ok(Source { backup, warehouse, moves: wanted.newest, password: None });
    }
    let warehouse = open_warehouse(config, from)?;
    let url = configured.unwrap_or_else(|| warehouse.url());
    if wanted.scan {
        let (state, password) = empty()?;
        let backup = Backup::of_state(state, node::now_ms(), url.clone());
        return Ok(Source { backup, warehouse: url, moves: true, password });
    }
    let backup = newest(&warehouse).await?;
    Ok(Source { backup, warehouse: url, moves: true, password: None })
}

/// The newest backup in a warehouse that can be read: of each cluster the one that reaches furthest in its log, of these the youngest.
async fn newest(warehouse: &Warehouse) -> Result<Backup, Failure> {
    let folder = warehouse.folder(BACKUP_FOLDER);
    let names = folder.names().await.map_err(|error| store_failure(&error))?;
    let mut clusters: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in names.iter().filter(|name| name.ends_with(BACKUP_EXTENSION)) {
        clusters.entry(name.split('/').next().unwrap_or_default()).or_default().push(name);
    }
    let several = clusters.len() > 1;
    let (mut found, mut unusable): (Option<Backup>, Option<Failure>) = (None, None);
    for names in clusters.into_values() {
        for name in names.into_iter().rev() {
            let location = folder.location(name);
            let bytes = folder.get(name).await.map_err(|error| store_failure(&error))?;
            match backup::read(&location, &bytes) {
                Ok(backup) => {
                    if several {
                        say(format_args!("found {}", super::describe(&backup)));
                    }
                    if found.as_ref().is_none_or(|found| found.info().taken_ms < backup.info().taken_ms) {
                        found = Some(backup);
                    }
                    break;
                }
                Err(failure) => {
                    say(format_args!("warning: passed over: {}", failure.what()));
                    unusable = Some(failure);
                }
            }
        }
    }
    found.ok_or_else(|| {
        unusable.unwrap_or_else(|| {
            Failure::new(
                format!("there is no backup of a catalog in {}", warehouse.url()),
                "name the file of a backup with --from, or take the tables that are there without one with --scan",
            )
        })
    })
}

/// A catalog with nothing in it, and its superuser's password if none was given.
fn empty() -> Result<(State, Option<String>), Failure> {
    let (command, password) = node::bootstrap_command()?;
    let envelope = Envelope { request_id: Uuid::new_v4(), now_ms: node::now_ms(), command };
    match apply(&State::new(), &envelope) {
        (state, Ok(_)) => Ok((state, password)),
        (_, Err(error)) => Err(Failure::from_error("cannot create the first database", &error, "report this")),
    }
}
