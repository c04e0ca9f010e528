//! Backups of the catalog as an operator takes them: a node gives one to who asks on the port for peers, and the command line keeps
//! it as a file.
//!
//! Always holds: whoever has a node's certificate may ask, and nobody else; a file is there whole or not at all, and one that is
//! there is not overwritten. What a backup is made of is consensus' affair.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wharf_consensus::{Backup, ConsensusError, is_backup};
use wharf_engine::{BACKUP_EXTENSION, Engine, backup_name};
use wharf_lake::{Folder, LakeError, Warehouse, WarehouseOptions};
use wharf_peers::MessageService;

use crate::cluster::{self, Answer};
use crate::config::Config;
use crate::failure::Failure;
use crate::node;

/// The name of the service. It answers with the bytes of a backup, or says as the service of clusters does why not.
pub(crate) const SERVICE: &str = "backup";

/// Gives backups of a node's catalog.
pub(crate) struct Service {
    engine: Arc<Engine>,
}

impl Service {
    /// Of this node.
    pub(crate) fn new(engine: Arc<Engine>) -> Service {
        Service { engine }
    }
}

#[async_trait]
impl MessageService for Service {
    async fn answer(&self, _request: Bytes) -> Bytes {
        let refused = match self.engine.backup().await {
            Ok(backup) => return Bytes::from(backup.encode()),
            Err(error) => Answer::Failed { what: error.to_string(), remedy: "see the log of the node".to_owned() },
        };
        Bytes::from(serde_json::to_vec(&refused).unwrap_or_default())
    }
}

/// Asks the node at an address for a backup.
///
/// # Errors
/// A node that does not answer, or not with a backup.
pub(crate) async fn fetch(config: &Config, address: &str) -> Result<Backup, Failure> {
    let answer = cluster::call(config, address, SERVICE, Bytes::new()).await?;
    if is_backup(&answer) {
        return read(address, &answer);
    }
    cluster::read(address, &answer)?;
    Err(Failure::new(
        format!("node {address} does not answer with a backup"),
        "use a wharf of the same version as the node's",
    ))
}

/// Reads the bytes of a backup, which come from a file or a node.
///
/// # Errors
/// What is damaged, or of a newer version.
pub(crate) fn read(from: &str, bytes: &[u8]) -> Result<Backup, Failure> {
    Backup::decode(Path::new(from), bytes).map_err(|error| {
        let remedy = match &error {
            ConsensusError::NewerVersion { .. } => "use the version of wharf that wrote it, or a newer one",
            _ => "use another backup: of this one nothing can be trusted",
        };
        Failure::from_error("cannot use the backup", &error, remedy)
    })
}

/// Keeps a backup as a new file: `to` itself when it ends as backups do, else a file in the folder `to`. Returns where it is.
///
/// # Errors
/// A file that is there already, and what the store says.
pub(crate) async fn save(config: &Config, backup: &Backup, to: &str) -> Result<String, Failure> {
    let own_name = format!("catalog-{}", backup_name(backup));
    let (folder, name) = if to.ends_with(BACKUP_EXTENSION) { split(to) } else { (to, own_name.as_str()) };
    let refuse =
        |error: LakeError| Failure::from_error("cannot write the backup", &error, "choose another place with --to");
    let folder = open(config, folder)?;
    let location = folder.location(name);
    if !folder.put_new(name, Bytes::from(backup.encode())).await.map_err(refuse)? {
        return Err(Failure::new(
            format!("{location} exists already"),
            "choose another place with --to: a backup is not overwritten",
        ));
    }
    if let Some(path) = location.strip_prefix("file://").map(PathBuf::from) {
        // It has what passwords are verified by.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .map_err(|error| Failure::from_io("protect", &path, &error, "give the file to its owner alone by hand"))?;
    }
    Ok(location)
}

/// Reads the file of a backup: a local one, or one of an object store.
///
/// # Errors
/// A file that cannot be read, and a backup that cannot be used.
pub(crate) async fn load(config: &Config, from: &str) -> Result<Backup, Failure> {
    let remedy = "name a backup, or the URL of a warehouse, with --from";
    if is_local(from) {
        let bytes = std::fs::read(from).map_err(|error| Failure::from_io("read", Path::new(from), &error, remedy))?;
        return read(from, &bytes);
    }
    let (folder, name) = split(from);
    let bytes = open(config, folder)?.get(name).await;
    read(from, &bytes.map_err(|error| Failure::from_error("cannot read the backup", &error, remedy))?)
}

/// Is this a path of the local file system, not a URL?
pub(crate) fn is_local(location: &str) -> bool {
    !location.contains("://")
}

/// A folder of any store.
fn open(config: &Config, url: &str) -> Result<Folder, Failure> {
    let options = WarehouseOptions { store: node::store_options(config), ..WarehouseOptions::default() };
    let opened = Warehouse::open(url, options).map_err(|error| {
        Failure::from_error(
            format_args!("cannot open {url}"),
            &error,
            "correct the URL, [store] and the credentials of the store in the environment",
        )
    });
    Ok(opened?.folder(""))
}

/// Folder and name of a file.
fn split(location: &str) -> (&str, &str) {
    location
        .rsplit_once('/')
        .map_or((".", location), |(folder, name)| (if folder.is_empty() { "/" } else { folder }, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_folder_and_a_name() {
        assert_eq!(split("a.backup"), (".", "a.backup"));
        assert_eq!(split("/a.backup"), ("/", "a.backup"));
        assert_eq!(split("s3://b/c/a.backup"), ("s3://b/c", "a.backup"));
    }
}
