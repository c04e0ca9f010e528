//! `wharf backup`: the catalog of a running cluster, as a file.

use std::path::PathBuf;

use clap::Args;

use super::environment;
use crate::backup;
use crate::config::{self, Config, Flags};
use crate::demo::say;
use crate::failure::Failure;
use crate::{node, restore};

#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// A file whose name ends with .backup, or a folder; of this machine, or of an object store by its URL.
    #[arg(long, value_name = "FILE|FOLDER|URL")]
    to: String,
    /// The configuration file, of which [peers] and [store] are used.
    #[arg(long, value_name = "FILE", env = "WHARF_CONFIG")]
    config: Option<PathBuf>,
    /// The node to ask [default: the configuration's peers.address or peers.listen].
    #[arg(long, value_name = "HOST:PORT")]
    at: Option<String>,
}

/// Asks for a backup and keeps it.
///
/// # Errors
/// A node that does not answer, or a file that cannot be written.
pub(crate) fn run(arguments: BackupArguments) -> Result<(), Failure> {
    let BackupArguments { to, config, at } = arguments;
    let config = config::load(&Config::default(), environment(), &Flags { config_file: config, values: Vec::new() })?;
    let address = match at {
        Some(at) => at,
        None if !config.peers.address.is_empty() => config.peers.address.clone(),
        None => config.peers.listen.clone(),
    };
    node::runtime(&config)?.block_on(async {
        let backup = backup::fetch(&config, &address).await?;
        let location = backup::save(&config, &backup, &to).await?;
        say(format_args!("backed up {}", restore::describe(&backup)));
        say(location);
        Ok(())
    })
}
