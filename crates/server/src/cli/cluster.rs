//! `wharf cluster`: asks a running node about its cluster, and changes it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::environment;
use crate::cluster::{self, Answer, ClusterStatus, Request};
use crate::config::{self, Config, Flags};
use crate::demo::say;
use crate::failure::Failure;
use crate::node;

#[derive(Debug, Args)]
pub(crate) struct ClusterArguments {
    #[command(subcommand)]
    command: ClusterCommand,
    /// The configuration file, of which [peers] is used: its certificates are shown to the node.
    #[arg(long, value_name = "FILE", env = "WHARF_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// The node to ask [default: the configuration's peers.address or peers.listen].
    #[arg(long, value_name = "HOST:PORT", global = true)]
    at: Option<String>,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Show the nodes, who leads, and how far behind the others are.
    Status,
    /// Take a node out of the cluster. It is not taken back: it would have to join anew, with an empty data folder.
    Remove {
        /// The node's number.
        node: u64,
    },
    /// Let another node lead, before the one that does is stopped.
    TransferLeader {
        /// The node's number.
        node: u64,
    },
}

/// Asks, and shows what is answered.
///
/// # Errors
/// A node that cannot be asked, or what it refuses.
pub(crate) fn run(arguments: ClusterArguments) -> Result<(), Failure> {
    let ClusterArguments { command, config, at } = arguments;
    let config = config::load(&Config::default(), environment(), &Flags { config_file: config, values: Vec::new() })?;
    let address = match at {
        Some(at) => at,
        None if !config.peers.address.is_empty() => config.peers.address.clone(),
        None => config.peers.listen.clone(),
    };
    let request = match command {
        ClusterCommand::Status => Request::Status,
        ClusterCommand::Remove { node } => Request::Remove { node },
        ClusterCommand::TransferLeader { node } => Request::TransferLeader { node },
    };
    let answer = node::runtime(&config)?.block_on(cluster::ask(&config, &address, request))?;
    match (request, answer) {
        (_, Answer::Status(status)) => show(&status),
        (Request::Remove { node }, _) => say(format_args!("removed node {node}")),
        (Request::TransferLeader { node }, _) => say(format_args!("node {node} leads")),
        (Request::Status, _) => {
            return Err(Failure::new(
                format!("node {address} does not say how its cluster is"),
                "use a wharf of the same version as the node's",
            ));
        }
    }
    Ok(())
}

fn show(status: &ClusterStatus) {
    let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    let rows: Vec<_> = status
        .nodes
        .iter()
        .map(|node| {
            let id = node.node.to_string();
            [
                id,
                node.address.clone(),
                node.role.clone(),
                node.last_contact_ms.map_or("-".to_owned(), |ms| format!("{ms} ms ago")),
                number(node.lag),
            ]
        })
        .collect();
    for line in cluster::table(["NODE", "ADDRESS", "ROLE", "LAST CONTACT", "LAG"], &rows) {
        say(line);
    }
    match status.leader {
        Some(leader) => say(format_args!(
            "node {leader} leads in term {}; this is node {} of cluster {}",
            status.term, status.node, status.cluster
        )),
        None => say(format_args!("no node leads; node {} is in term {}", status.node, status.term)),
    }
}
