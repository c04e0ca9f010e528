//! Opens tables as one transaction sees them: its catalog has the metadata that it has written itself.

use std::sync::Arc;

use wharf_catalog::Table;
use wharf_lake::{LakeError, LakeTable, NoVersion, Version, Warehouse};
use wharf_values::{SqlError, SqlState};

use crate::engine::Engine;
use crate::error::from_lake;

/// Where the tables of one statement are read from.
#[derive(Clone)]
pub(crate) struct TableReader {
    pub(crate) warehouse: Arc<Warehouse>,
    /// What finds files that are not a table's.
    pub(crate) engine: Arc<Engine>,
}

impl TableReader {
    /// The table at the metadata this transaction sees.
    pub(crate) async fn open(&self, table: &Table) -> Result<Arc<LakeTable>, LakeError> {
        self.warehouse.load(&table.metadata_location).await
    }

    /// The table as it was, as far as this transaction sees its history.
    ///
    /// # Errors
    /// `42704` for a snapshot, branch or tag that is not there, `22023` for an instant before the history begins, and what the
    /// lake says.
    pub(crate) async fn open_at(&self, table: &Table, version: &Version) -> Result<Arc<LakeTable>, SqlError> {
        self.warehouse.load_at(&table.metadata_location, version).await.map_err(|error| match error {
            LakeError::NoVersion(missing) => no_version(&table.name, &missing),
            other => from_lake(&other),
        })
    }
}

/// What the client is told of a version that a table does not have, and what the oldest is that it has.
pub(crate) fn no_version(table: &str, missing: &NoVersion) -> SqlError {
    let error = match &missing.wanted {
        Version::Snapshot(id) => {
            SqlError::new(SqlState::UNDEFINED_OBJECT, format!("snapshot {id} of table \"{table}\" does not exist"))
        }
        Version::Ref(name) => SqlError::new(
            SqlState::UNDEFINED_OBJECT,
            format!("branch or tag \"{name}\" of table \"{table}\" does not exist"),
        ),
        Version::Instant(us) => SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("table \"{table}\" has no snapshot as of {}", instant(*us)),
        ),
    };
    match (&missing.wanted, missing.oldest) {
        (Version::Ref(_), _) => error.with_hint(format!("\"{table}$refs\" lists the branches and tags there are.")),
        (_, Some((id, us))) => {
            error.with_detail(format!("The oldest snapshot of its history is {id}, as of {}.", instant(us)))
        }
        (_, None) => error.with_detail("Nothing was ever written to it."),
    }
}

fn instant(us: i64) -> String {
    match chrono::DateTime::from_timestamp_micros(us) {
        Some(instant) => instant.format("%Y-%m-%d %H:%M:%S%.3f+00").to_string(),
        None => format!("{us} microseconds since 1970"),
    }
}
