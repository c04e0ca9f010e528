//! `wharf cert`: an authority, and certificates for nodes.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cert::{self, NodeCertificate, Present};
use crate::demo::say;
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Make an authority: ca.pem, which every node needs, and ca.key.pem, which is to be kept away from all of them.
    Ca(AuthorityArguments),
    /// Make a certificate for a node, signed by such an authority: NAME.pem and NAME.key.pem.
    Node(NodeArguments),
}

#[derive(Debug, Args)]
pub(crate) struct AuthorityArguments {
    /// The folder for the files.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// How long it is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
    /// Replace what is there.
    #[arg(long)]
    force: bool,
    /// Do nothing when they are there.
    #[arg(long, conflicts_with = "force")]
    if_missing: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NodeArguments {
    /// The folder of the authority.
    #[arg(long, value_name = "FOLDER")]
    ca: PathBuf,
    /// The folder for the files [default: the authority's].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// The node's name: that of the files.
    #[arg(long)]
    name: String,
    /// The hosts and IP addresses at which other nodes reach it.
    #[arg(long, value_name = "HOST", num_args = 1.., required = true)]
    address: Vec<String>,
    /// How long it is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
    /// Replace what is there.
    #[arg(long)]
    force: bool,
    /// Do nothing when they are there.
    #[arg(long, conflicts_with = "force")]
    if_missing: bool,
}

/// What becomes of files that are there.
fn present(force: bool, if_missing: bool) -> Present {
    match (force, if_missing) {
        (true, _) => Present::Replace,
        (false, true) => Present::Keep,
        (false, false) => Present::Refuse,
    }
}

/// Makes what is asked for and says where it is.
///
/// # Errors
/// Whatever kept it from being made.
pub(crate) fn run(command: CertCommand) -> Result<(), Failure> {
    let written = match command {
        CertCommand::Ca(AuthorityArguments { out, days, force, if_missing }) => {
            cert::authority(&out, days, present(force, if_missing))?
        }
        CertCommand::Node(NodeArguments { ca, out, name, address, days, force, if_missing }) => {
            let node = NodeCertificate { name: &name, addresses: &address, days };
            cert::node(&ca, out.as_ref().unwrap_or(&ca), &node, present(force, if_missing))?
        }
    };
    say(format_args!("certificate {}", written.certificate.display()));
    say(format_args!("private key {}", written.key.display()));
    Ok(())
}
