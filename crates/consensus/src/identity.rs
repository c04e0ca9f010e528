//! Who a node is: its number, its cluster, and where the members are, in a file.
//!
//! What always holds: a folder has one instance id, made up before anybody hears of the node; a number that was given to it is
//! written down before the node takes part. So a node that crashes while it joins asks again as the same and gets the same number,
//! and a node is never two.

use std::io;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::ConsensusError;
use crate::files::{Files, TEMPORARY};
use crate::raft_types::NodeId;

/// The name of the file.
const NAME: &str = "IDENTITY";

/// The format that is written.
const VERSION: u64 = 1;

/// What a node knows of itself before it has read a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    version: u64,
    /// The group it belongs to; nil until it has joined one.
    pub(crate) cluster: Uuid,
    /// Its number; 0 until it has joined.
    pub(crate) node: NodeId,
    /// Made up once for each folder.
    pub(crate) instance: Uuid,
    /// Number and address of every member that it knew last.
    pub(crate) members: Vec<(NodeId, String)>,
}

impl Identity {
    /// Of a node that has joined nothing.
    pub(crate) fn new(instance: Uuid) -> Self {
        Identity { version: VERSION, cluster: Uuid::nil(), node: 0, instance, members: Vec::new() }
    }

    /// Does it belong to a group?
    pub(crate) fn has_joined(&self) -> bool {
        self.node != 0
    }

    /// Reads it; none when there is none.
    ///
    /// # Errors
    /// [`ConsensusError::NewerVersion`], [`ConsensusError::Damaged`], or as the system says.
    pub(crate) fn read(files: &dyn Files) -> Result<Option<Self>, ConsensusError> {
        let path = files.folder().join(NAME);
        let bytes = match files.read(NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| ConsensusError::io(&path, &error))?,
        };
        let damaged = |reason: String| ConsensusError::damaged(&path, reason);
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(1..=VERSION) => {}
            Some(found) if found > VERSION => {
                let what = "the identity of the node".to_owned();
                return Err(ConsensusError::NewerVersion { path, what, found, supported: VERSION });
            }
            _ => return Err(damaged("it does not name a format version".to_owned())),
        }
        serde_json::from_value(value).map(Some).map_err(|error| damaged(error.to_string()))
    }

    /// Writes it, durably.
    pub(crate) fn write(&self, files: &dyn Files) -> Result<(), ConsensusError> {
        let bytes = serde_json::to_vec_pretty(self).expect("an identity has no maps");
        let temporary = format!("{NAME}{TEMPORARY}");
        files
            .write_temporary(&temporary, &[&bytes])
            .and_then(|()| files.publish(&temporary, NAME))
            .map_err(|error| ConsensusError::io(&files.folder().join(NAME), &error))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::files::FolderFiles;

    #[test]
    fn an_identity_is_read_back_and_a_newer_one_is_not_guessed_at() {
        let folder = tempfile::tempdir().unwrap();
        let files = FolderFiles::new(folder.path().to_owned());
        assert_eq!(Identity::read(&files).unwrap(), None);
        let members = vec![(1, "a:1".to_owned()), (4, "b:2".to_owned())];
        let identity = Identity { cluster: Uuid::from_u128(3), node: 4, members, ..Identity::new(Uuid::from_u128(9)) };
        identity.write(&files).unwrap();
        assert_eq!(Identity::read(&files).unwrap().as_ref(), Some(&identity));
        Identity { version: 7, ..identity }.write(&files).unwrap();
        let error = Identity::read(&files).unwrap_err();
        assert!(matches!(error, ConsensusError::NewerVersion { found: 7, supported: 1, .. }), "{error}");
        std::fs::write(folder.path().join(NAME), "{").unwrap();
        assert!(matches!(Identity::read(&files).unwrap_err(), ConsensusError::Damaged { .. }));
    }
}
