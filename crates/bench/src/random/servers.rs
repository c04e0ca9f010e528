//! The two servers, with the same tables in both.

use std::path::Path;

use anyhow::{Context, bail};

use super::judge::Answer;
use super::render;
use super::schema::{CHANGED, tables};
use super::syntax::Statement;
use crate::peers::cluster::Cluster;
use crate::peers::postgres::{Postgres, SPECIFIED_VERSION};
use crate::peers::wharf::{Launch, Wharf};
use crate::workloads::wire::{Address, ServerError, Wire};

/// Made anew by each run.
const SCHEMA: &str = "wharf_bench_random";
/// A query that PostgreSQL needs longer for is given up.
const POSTGRES_SECONDS: u32 = 10;
/// Wharf may be built without optimizations, on a machine that does something else: only what hangs takes so long.
const WHARF_SECONDS: u32 = 120;

/// How to come by a Wharf.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) url: Option<&'a str>,
    pub(super) binary: Option<&'a Path>,
    pub(super) fanout: Option<u16>,
    pub(super) cluster: Option<u16>,
}

/// A server and a connection to it.
#[derive(Debug)]
pub(super) struct Server {
    address: Address,
    settings: Vec<String>,
    wire: Option<Wire>,
    _started: Started,
}

/// Keeps a server that was started for the run alive until the run has ended.
#[derive(Debug)]
enum Started {
    Nothing,
    Postgres { _server: Postgres },
    Wharf { _server: Wharf },
    Cluster { _servers: Cluster },
}

impl Server {
    /// The PostgreSQL at an address, or one started for the run.
    pub(super) fn postgres(url: Option<&str>, seed: u64) -> anyhow::Result<Server> {
        let (url, started) = match url {
            Some(url) => (url.to_owned(), Started::Nothing),
            None => {
                let server = Postgres::start(&[])?;
                let installation = server.installation();
                if installation.version != SPECIFIED_VERSION {
                    eprintln!("warning: PostgreSQL {}; Wharf follows {SPECIFIED_VERSION}", installation.version);
                }
                (server.url(), Started::Postgres { _server: server })
            }
        };
        let mut server = Server::open(&url, started, &[], POSTGRES_SECONDS)?;
        let version = server.ask("SELECT version()");
        if matches!(&version, Answer::Rows(rows) if rows.iter().flatten().flatten().any(|text| text.contains("Wharf")))
        {
            bail!("the server at {url} calls itself Wharf: it is PostgreSQL whose answers count");
        }
        server.create_tables(seed)?;
        Ok(server)
    }

    /// A Wharf at an address, or one or several started for the run.
    pub(super) fn wharf(wanted: &Wanted<'_>, seed: u64) -> anyhow::Result<Server> {
        let (url, started) = match wanted.url {
            Some(url) => (url.to_owned(), Started::Nothing),
            None => start(wanted)?,
        };
        let divided = wanted.fanout.is_some() || wanted.cluster.is_some();
        let settings: &[&str] = if divided { &["SET wharf.distribute = 'on'"] } else { &[] };
        let mut server = Server::open(&url, started, settings, WHARF_SECONDS)?;
        server.create_tables(seed)?;
        Ok(server)
    }

    fn open(url: &str, started: Started, settings: &[&str], seconds: u32) -> anyhow::Result<Server> {
        let mut all: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        all.extend([
            format!("SET search_path TO {SCHEMA}"),
            "SET timezone TO 'UTC'".to_owned(),
            "SET datestyle TO 'ISO, MDY'".to_owned(),
            "SET intervalstyle TO 'postgres'".to_owned(),
            "SET client_min_messages TO warning".to_owned(),
            format!("SET statement_timeout TO '{seconds}s'"),
        ]);
        let mut server = Server { address: Address::parse(url)?, settings: all, wire: None, _started: started };
        server.connect()?;
        Ok(server)
    }

    fn connect(&mut self) -> anyhow::Result<()> {
        let mut wire = Wire::connect(&self.address)?;
        for setting in &self.settings {
            wire.simple(setting)?;
        }
        self.wire = Some(wire);
        Ok(())
    }

    fn create_tables(&mut self, seed: u64) -> anyhow::Result<()> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut statements = vec![format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"), format!("CREATE SCHEMA {SCHEMA}")];
        for table in tables() {
            statements.extend(table.statements(&mut random));
        }
        for statement in statements {
            match self.ask(&statement) {
                Answer::Rows(_) => {}
                Answer::Error { code, message } => bail!("{statement}: {code} {message}"),
                Answer::Gone(why) => bail!("{statement}: {why}"),
            }
        }
        Ok(())
    }

    /// Whether the connection is there; a lost one is made anew.
    ///
    /// # Errors
    /// The server does not take connections any more.
    pub(super) fn recover(&mut self) -> anyhow::Result<()> {
        match self.wire {
            Some(_) => Ok(()),
            None => self.connect().context("the server is gone"),
        }
    }

    /// The rows of a query, or those of the table that a change leaves.
    pub(super) fn answer(&mut self, statement: &Statement) -> Answer {
        let sql = render::statement(statement);
        let Statement::Change(change) = statement else {
            return self.ask(&sql);
        };
        let copy = [
            format!("DROP TABLE IF EXISTS {CHANGED}"),
            format!("CREATE TABLE {CHANGED} (LIKE {})", change.table),
            format!("INSERT INTO {CHANGED} SELECT * FROM {}", change.table),
        ];
        for step in copy.iter().chain([&sql]) {
            match self.ask(step) {
                Answer::Rows(_) => {}
                failed => return failed,
            }
        }
        self.ask(&format!("SELECT * FROM {CHANGED}"))
    }

    fn ask(&mut self, sql: &str) -> Answer {
        let Some(wire) = &mut self.wire else {
            return Answer::Gone("there is no connection".to_owned());
        };
        match wire.rows(sql) {
            Ok((_, rows)) => Answer::Rows(rows),
            Err(error) => match error.downcast_ref::<ServerError>() {
                // The connection ends with these.
                Some(sql) if !sql.code.starts_with("57P") => {
                    Answer::Error { code: sql.code.clone(), message: sql.message.clone() }
                }
                _ => {
                    self.wire = None;
                    Answer::Gone(format!("{:#}", error.root_cause()))
                }
            },
        }
    }
}

fn start(wanted: &Wanted<'_>) -> anyhow::Result<(String, Started)> {
    let binary = Wharf::binary(wanted.binary)?;
    if let Some(nodes) = wanted.cluster {
        let servers = Cluster::start(&binary, nodes)?;
        return Ok((servers.url(), Started::Cluster { _servers: servers }));
    }
    // Maintenance in the background could conflict with a change.
    let mut launch = Launch::new(&binary).environment("WHARF_MAINTENANCE__ENABLED", "false");
    if let Some(workers) = wanted.fanout {
        launch = launch.environment("WHARF_FANOUT__IN_PROCESS_WORKERS", &workers.to_string());
    }
    let server = launch.start()?;
    Ok((server.url(), Started::Wharf { _server: server }))
}
