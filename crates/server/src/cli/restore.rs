//! `wharf restore`: a data folder from a backup of the catalog, or from the warehouse alone.

use std::path::PathBuf;

use clap::Args;

use super::environment;
use crate::config::{self, Config, Flags};
use crate::failure::Failure;
use crate::node;
use crate::restore::{self, Wanted};

#[derive(Debug, Args)]
pub(crate) struct RestoreArguments {
    /// The file of a backup; or the URL or folder of the warehouse, in which the newest backup is taken, and each table as its newest
    /// metadata file has it.
    #[arg(long, value_name = "FILE|URL")]
    from: String,
    /// The data folder to make [default: wharf-data].
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Where the tables are [default: what the backup says].
    #[arg(long, value_name = "URL")]
    warehouse: Option<String>,
    /// The configuration file, of which [server], [warehouse] and [store] are used.
    #[arg(long, value_name = "FILE", env = "WHARF_CONFIG")]
    config: Option<PathBuf>,
    /// Make nothing: say what would be made, and look for every file that the tables need.
    #[arg(long)]
    check: bool,
    /// With the file of a backup, too, take each table as its newest metadata file has it, and tables that were made since.
    #[arg(long)]
    newest: bool,
    /// Use no backup: take the tables that are found in the warehouse, under the names they were made with.
    #[arg(long, conflicts_with = "newest")]
    scan: bool,
    /// Take this metadata file as the head of its table. Can be given several times.
    #[arg(long, value_name = "METADATA FILE")]
    head: Vec<String>,
}

/// Restores.
///
/// # Errors
/// A backup that cannot be used, a folder that is not empty, a store that does not answer; with `--check`, files that are missing.
pub(crate) fn run(arguments: RestoreArguments) -> Result<(), Failure> {
    let RestoreArguments { from, data, warehouse, config, check, newest, scan, head } = arguments;
    let mut values = Vec::new();
    if let Some(data) = data {
        values.push(("--data", "server.data_directory", data.to_string_lossy().into_owned()));
    }
    if let Some(warehouse) = warehouse {
        values.push(("--warehouse", "warehouse.url", warehouse));
    }
    let config = config::load(&Config::default(), environment(), &Flags { config_file: config, values })?;
    let wanted = Wanted { from, check, newest, scan, heads: head };
    node::runtime(&config)?.block_on(restore::run(&config, &wanted))
}
