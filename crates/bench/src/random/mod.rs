//! `wharf-bench random`: random queries and changes, asked of PostgreSQL and Wharf alike; an answer that differs fails the run.
//!
//! A statement is a tree ([`syntax`]) that is made by a seed and a number ([`generator`]), so that one that failed can be had
//! again alone. What is made has one right answer: orders have no ties, lists are ordered by what they list, and nothing depends
//! on which of equal rows a server picks. A statement that fails is made smaller ([`shrink`]) for as long as the answers differ in
//! the same way.
//!
//! What it does not do: transactions, DDL, and anything with two clients; [`model`](crate::model) and [`soak`](crate::soak) do.

mod aggregates;
mod changes;
mod expressions;
mod forms;
mod generator;
mod judge;
mod queries;
mod reduce;
mod relations;
mod render;
mod report;
mod schema;
mod servers;
mod shrink;
mod syntax;
mod types;
mod walk;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use judge::{Difference, Outcome};
use report::Report;
use servers::{Server, Wanted};
use syntax::Statement;

/// What `wharf-bench random` accepts.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many statements.
    #[arg(long, default_value_t = 1_000)]
    queries: u64,
    /// End after so many seconds, however many statements are left.
    #[arg(long)]
    seconds: Option<u64>,
    /// Repeats an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Only the statement of this number of a run.
    #[arg(long, value_name = "NUMBER", requires = "seed")]
    only: Option<u64>,
    /// The `wharf` to test. The default is the one beside this program.
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    wharf: Option<PathBuf>,
    /// A Wharf that runs, as postgres://user@host:port/database.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A PostgreSQL that runs. Without it one is started for the run.
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// Divide every query that can be among so many workers, as a cluster divides long ones.
    #[arg(long, value_name = "WORKERS", conflicts_with_all = ["url", "cluster"], value_parser = clap::value_parser!(u16).range(2..=64))]
    fanout: Option<u16>,
    /// The same among the nodes of a cluster: so many processes.
    #[arg(long, value_name = "NODES", conflicts_with = "url", value_parser = clap::value_parser!(u16).range(2..=9))]
    cluster: Option<u16>,
    /// Print every statement.
    #[arg(long)]
    verbose: bool,
}

/// A run ends after so many differences: a Wharf with a fault in something common has no end of them.
const MOST_DIFFERENCES: u64 = 20;
/// What making a statement smaller may cost.
const SHRINK_TRIES: usize = 500;
const SHRINK_LIMIT: Duration = Duration::from_secs(60);
/// How far the run is, is printed after so many statements.
const STATEMENTS_PER_LINE: u64 = 500;

/// Runs the command; the exit code is 1 when an answer differs.
///
/// # Errors
/// A server that cannot be started, or that takes no connections any more.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let wanted = Wanted {
        url: arguments.url.as_deref(),
        binary: arguments.wharf.as_deref(),
        fanout: arguments.fanout,
        cluster: arguments.cluster,
    };
    let mut servers = Servers {
        postgres: Server::postgres(arguments.postgres.as_deref(), seed)?,
        wharf: Server::wharf(&wanted, seed)?,
    };
    let begun = Instant::now();
    let limit = arguments.seconds.map(Duration::from_secs);
    let numbers = match arguments.only {
        Some(number) => number..=number,
        None => 1..=arguments.queries,
    };
    let mut report = Report::default();
    for number in numbers {
        if limit.is_some_and(|limit| begun.elapsed() >= limit) || report.different >= MOST_DIFFERENCES {
            println!("ended before statement {number}");
            break;
        }
        let statement = generator::statement(seed, number);
        let sql = render::statement(&statement);
        if arguments.verbose {
            println!("{number}: {sql}");
        }
        let outcome = servers.compare(&statement)?;
        report.count(&outcome, &sql);
        if let Outcome::Different(difference) = outcome {
            servers.explain((seed, number), &statement, &difference)?;
        }
        if number % STATEMENTS_PER_LINE == 0 {
            println!("{number} statements");
        }
    }
    report.print();
    Ok(if report.different == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// PostgreSQL and Wharf.
struct Servers {
    postgres: Server,
    wharf: Server,
}

impl Servers {
    /// # Errors
    /// A server that is gone for good.
    fn compare(&mut self, statement: &Statement) -> anyhow::Result<Outcome> {
        self.postgres.recover()?;
        self.wharf.recover()?;
        let (postgres, wharf) = (self.postgres.answer(statement), self.wharf.answer(statement));
        Ok(judge::judge(statement, &postgres, &wharf))
    }

    /// Makes a statement smaller and prints it with its answers.
    fn explain(&mut self, repeat: (u64, u64), statement: &Statement, difference: &Difference) -> anyhow::Result<()> {
        let begun = Instant::now();
        let shrunk = shrink::shrink(statement.clone(), SHRINK_TRIES, |candidate| {
            begun.elapsed() < SHRINK_LIMIT
                // A server that is gone for good is the last that is seen of it, by the next statement.
                && self.compare(candidate).is_ok_and(|outcome| outcome == Outcome::Different(difference.clone()))
        });
        self.postgres.recover()?;
        // Where a statement ends the server itself, it is still to be printed.
        let _ = self.wharf.recover();
        let (postgres, wharf) = (self.postgres.answer(&shrunk), self.wharf.answer(&shrunk));
        report::print_difference(repeat, statement, &shrunk, &postgres, &wharf);
        Ok(())
    }
}
