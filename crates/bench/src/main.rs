//! `wharf-bench`: loads, clients and peers, measured and compared side by side.
//!
//! It is a client. It knows no crate of Wharf's: what it learns about the server it learns through a socket, as a user does.
//! Each subcommand is a module; [`peers`] holds the servers that they start for themselves.

mod answers;
mod bad_input;
mod compaction;
mod compare;
mod crash;
mod inserts;
mod losses;
mod model;
mod peers;
mod planning;
mod random;
mod report;
mod scaling;
mod slt;
mod soak;
mod store;
mod throttle;
mod workloads;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tests and measures Wharf from outside.
#[derive(Debug, Parser)]
#[command(name = "wharf-bench", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run sqllogictest files against Wharf or PostgreSQL.
    Slt(slt::Arguments),
    /// Measure Wharf and its peers on the same data, side by side.
    Compare(compare::Arguments),
    /// Measure a warehouse on an object store beside one on a local disk.
    Store(store::Arguments),
    /// Measure how fast small files are written together.
    Compaction(compaction::Arguments),
    /// Hold Wharf's answers to TPC-H against PostgreSQL's, character by character.
    Answers(answers::Arguments),
    /// Kill a server that is being written to, and count what is there afterwards.
    Crash(crash::Arguments),
    /// Insert rows one by one from many connections, and count them.
    Inserts(inserts::Arguments),
    /// Lose nodes of a cluster that runs TPC-H's queries, and look at the answers.
    Losses(losses::Arguments),
    /// Do random things to tables and compare them with a model in memory.
    Model(model::Arguments),
    /// Plan queries over a table of very many data files.
    Planning(planning::Arguments),
    /// Ask PostgreSQL and Wharf the same random queries, and compare the answers.
    Random(random::Arguments),
    /// Measure one node beside three.
    Scaling(scaling::Arguments),
    /// Run a cluster for a long time, do harm to it, and check what its clients saw.
    Soak(soak::Arguments),
    /// Mistreat a server: garbage, damaged files, a full disk.
    BadInput(bad_input::Arguments),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match CommandLine::parse().command {
        Command::Slt(arguments) => slt::run(arguments).await,
        Command::Compare(arguments) => compare::run(arguments).await,
        Command::Store(arguments) => store::run(arguments).await,
        Command::Compaction(arguments) => compaction::run(arguments).await,
        Command::Answers(arguments) => answers::run(arguments).await,
        Command::Crash(arguments) => crash::run(arguments).await,
        Command::Inserts(arguments) => inserts::run(arguments).await,
        Command::Losses(arguments) => losses::run(arguments).await,
        Command::Model(arguments) => model::run(arguments).await,
        Command::Planning(arguments) => planning::run(arguments).await,
        Command::Random(arguments) => random::run(arguments).await,
        Command::Scaling(arguments) => scaling::run(arguments).await,
        Command::Soak(arguments) => soak::run(arguments).await,
        Command::BadInput(arguments) => bad_input::run(arguments).await,
    }
}
