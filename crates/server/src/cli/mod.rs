//! The command line: its flags, and what each subcommand runs.
//!
//! Always holds: a flag that sets a configuration key only names that key; what the value means, and which source
//! wins, is `config`'s business.

mod backup;
mod cert;
mod cluster;
mod demo;
mod failpoints;
mod restore;
mod serve;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Authentication;
use crate::failure::Failure;

/// A data warehouse that speaks PostgreSQL and keeps its tables as Apache Iceberg.
#[derive(Debug, Parser)]
#[command(name = "wharf", version, arg_required_else_help = true)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the data folder to PostgreSQL clients until SIGTERM or Ctrl-C.
    Serve(ServeArguments),
    /// Load TPC-H, run its 22 queries, then serve: a node to look at.
    Demo(DemoArguments),
    /// Make certificates by which the nodes of a cluster know each other.
    #[command(subcommand)]
    Cert(cert::CertCommand),
    /// Ask or change the cluster that a node belongs to.
    Cluster(cluster::ClusterArguments),
    /// Back up the catalog of a running cluster: one file. The tables' own files are in the warehouse, and not copied.
    Backup(backup::BackupArguments),
    /// Make a data folder from a backup of the catalog, or from what is in the warehouse alone.
    Restore(restore::RestoreArguments),
    /// Print the names of all failpoints, which WHARF_FAILPOINTS="name=abort;name=abort@10;.." arms.
    Failpoints,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// The configuration file; conf/wharf.toml lists every key.
    #[arg(long, value_name = "FILE", env = "WHARF_CONFIG")]
    config: Option<PathBuf>,
    /// The data folder [default: wharf-data].
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The address and port to listen on [default: 127.0.0.1:5439].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// How clients prove who they are [default: scram-sha-256].
    #[arg(long, value_enum)]
    auth: Option<Authentication>,
    #[command(flatten)]
    member: MemberArguments,
}

/// What makes a node one of several.
#[derive(Debug, Args)]
pub(crate) struct MemberArguments {
    /// Join the cluster of one of these nodes at the first start, separated by commas; opens the port for peers.
    #[arg(long, value_name = "HOST:PORT")]
    join: Option<String>,
    /// The address and port for the other nodes of the cluster [default: 127.0.0.1:5442]; opens it.
    #[arg(long, value_name = "ADDRESS:PORT")]
    peers: Option<String>,
    /// Where the tables are, which is the same for all nodes of a cluster [default: a folder in the data folder].
    #[arg(long, value_name = "URL")]
    warehouse: Option<String>,
}

impl MemberArguments {
    /// Flag, key, value.
    fn values(self) -> Vec<(&'static str, &'static str, String)> {
        let MemberArguments { join, peers, warehouse } = self;
        let mut values = Vec::new();
        if let Some(join) = join {
            values.push(("--join", "peers.join", join));
            values.push(("--join", "peers.enabled", "true".to_owned()));
        }
        if let Some(peers) = peers {
            values.push(("--peers", "peers.listen", peers));
            values.push(("--peers", "peers.enabled", "true".to_owned()));
        }
        if let Some(warehouse) = warehouse {
            values.push(("--warehouse", "warehouse.url", warehouse));
        }
        values
    }
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// TPC-H's scale factor: 1 is about a gigabyte of text.
    #[arg(long, default_value_t = 0.1, value_parser = scale)]
    scale: f64,
    /// Stop after the queries instead of serving.
    #[arg(long)]
    exit: bool,
    /// The data folder.
    #[arg(long, value_name = "FOLDER", default_value = "./wharf-data")]
    data: PathBuf,
    /// The address and port to listen on.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5439")]
    listen: String,
    #[command(flatten)]
    member: MemberArguments,
}

/// Runs what the command line asks for.
///
/// # Errors
/// Whatever kept it from running, for `main` to print.
pub(crate) fn run(command_line: CommandLine) -> Result<(), Failure> {
    match command_line.command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Cert(command) => cert::run(command),
        Command::Cluster(arguments) => cluster::run(arguments),
        Command::Backup(arguments) => backup::run(arguments),
        Command::Restore(arguments) => restore::run(arguments),
        Command::Failpoints => {
            failpoints::print();
            Ok(())
        }
    }
}

/// A scale factor whose keys fit the integer columns of TPC-H's schema.
fn scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if (0.001..=300.0).contains(&scale) => Ok(scale),
        _ => Err("a number from 0.001 to 300".to_owned()),
    }
}

/// The environment as text; a variable that is not UTF-8 is none of ours.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn scales_have_bounds() {
        assert_eq!(scale("0.1"), Ok(0.1));
        for wrong in ["0", "-1", "nan", "1000", "x", ""] {
            assert!(scale(wrong).is_err(), "{wrong}");
        }
    }
}
