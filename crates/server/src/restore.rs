//! Making a data folder from a backup of the catalog, from a backup and the tables' own files, or from these alone.
//!
//! Always holds: nothing is written before the backup was read whole and the folder was found empty, and nothing but the folder is
//! written: the warehouse is only read. The folder is there whole or not at all. Of every table that is not as the backup has it, or
//! that lacks files, something is said.

mod check;
mod found;
mod heads;
mod source;

use std::path::Path;
use std::sync::Arc;

use wharf_catalog::{Relation, State};
use wharf_consensus::Backup;
use wharf_lake::{CacheOptions, Warehouse, WarehouseOptions};

use crate::config::Config;
use crate::data_directory::DataDirectory;
use crate::demo::say;
use crate::failure::Failure;
use crate::{backup, node};
use source::Source;

/// What is asked for.
pub(crate) struct Wanted {
    /// The file of a backup, or a warehouse.
    pub(crate) from: String,
    /// Make nothing, and look for every file.
    pub(crate) check: bool,
    /// Move heads forward also when a file was named.
    pub(crate) newest: bool,
    /// Use no backup.
    pub(crate) scan: bool,
    /// Metadata files that are to be the heads of their tables.
    pub(crate) heads: Vec<String>,
}

/// A table and what is to be said of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The head is further than in the backup.
    Moved { table: String, steps: usize, head: String },
    /// It was said which file is the head.
    Chosen { table: String, head: String },
    /// There are several candidates.
    Forked { table: String, head: String, others: Vec<String> },
    /// It is not in the backup.
    Registered { table: String, head: String },
    /// A folder of a table that did not become one.
    Left { location: String, why: String },
    /// It stays as the backup has it.
    NotMoved { table: String, why: String },
    /// Metadata files that nothing can be said of.
    Unreadable { table: String, files: Vec<String> },
    /// Files it needs are not there.
    Missing { table: String, files: Vec<String> },
}

impl Finding {
    /// Does somebody have to look into it?
    fn is_warning(&self) -> bool {
        !matches!(self, Finding::Moved { .. } | Finding::Chosen { .. } | Finding::Registered { .. })
    }

    fn lines(&self) -> Vec<String> {
        match self {
            Finding::Moved { table, steps, head } => {
                vec![format!("table {table}: moved {} past the backup, to {head}", counted(*steps, "step"))]
            }
            Finding::Chosen { table, head } => vec![format!("table {table}: {head}, as was said")],
            Finding::Registered { table, head } => {
                vec![format!("table {table}: was not in the backup; found as {head}")]
            }
            Finding::Left { location, why } => vec![format!("not a table now: {location}: {why}")],
            Finding::NotMoved { table, why } => vec![format!("table {table}: stays as the backup has it: {why}")],
            Finding::Forked { table, head, others } => {
                let mut lines = vec![
                    format!(
                        "table {table}: several metadata files may be the last that was committed; at most one was"
                    ),
                    format!("  taken: {head}"),
                ];
                lines.extend(others.iter().map(|other| format!("  other: {other}")));
                lines.push("  if another is right, restore again with --head and that file".to_owned());
                lines
            }
            Finding::Unreadable { table, files } => {
                let head = format!("table {table}: these metadata files cannot be read, and may have been committed:");
                std::iter::once(head).chain(files.iter().map(|file| format!("  {file}"))).collect()
            }
            Finding::Missing { table, files } => {
                let mut lines = vec![format!("table {table}: cannot be read, since these files are gone:")];
                lines.extend(files.iter().take(SHOWN_FILES).map(|file| format!("  {file}")));
                if files.len() > SHOWN_FILES {
                    lines.push(format!("  and {} more", files.len() - SHOWN_FILES));
                }
                lines
            }
        }
    }
}

/// How many missing files of a table are named.
const SHOWN_FILES: usize = 10;

/// Restores.
///
/// # Errors
/// A backup that cannot be used, a folder that is not empty, a store that does not answer; when it is only checked, missing files.
pub(crate) async fn run(config: &Config, wanted: &Wanted) -> Result<(), Failure> {
    let directory = &config.server.data_directory;
    if !wanted.check {
        DataDirectory::check_unused(directory)?;
    }
    let source = source::open(config, wanted).await?;
    let Source { backup, warehouse: url, moves, password } = source;
    let warehouse = open_warehouse(config, &url)?;
    say(format_args!("from {}", describe(&backup)));

    let mut findings = Vec::new();
    let mut state = State::clone(backup.state());
    if moves || !wanted.heads.is_empty() {
        let chosen = heads::chosen(&warehouse, &wanted.heads).await?;
        state = heads::move_all(&warehouse, state, &chosen, moves, &mut findings).await?;
        if moves {
            state = found::register(&warehouse, state, &chosen, &mut findings).await?;
        }
    }
    check::look(&warehouse, &state, wanted.check, &mut findings).await?;
    for finding in &findings {
        for line in finding.lines() {
            say(if finding.is_warning() { format!("warning: {line}") } else { line });
        }
    }
    let missing = findings.iter().filter(|finding| matches!(finding, Finding::Missing { .. })).count();
    let tables = tables(&state).count();
    if wanted.check {
        if missing > 0 {
            return Err(Failure::new(
                format!("files of {missing} of {} are missing", counted(tables, "table")),
                "use another backup, or --newest, which takes what is left of each table; such tables can be dropped once \
                 the catalog is restored",
            ));
        }
        say(format_args!("all files of {} are there; nothing was made", counted(tables, "table")));
        return Ok(());
    }

    let data = DataDirectory::open(directory)?;
    let restored = wharf_consensus::restore(&data.catalog(), &backup.with_state(state))
        .map_err(|error| node::consensus_failure("cannot make the catalog", &error))?;
    say(format_args!(
        "restored {} into {}: node {} of a new cluster, {}",
        counted(tables, "table"),
        data.root().display(),
        restored.node,
        restored.cluster
    ));
    if let Some(password) = password {
        say(format_args!("created superuser {} with password {password} (shown only this once)", node::SUPERUSER));
    }
    let default = Config { warehouse: crate::config::WarehouseConfig::default(), ..config.clone() };
    let default = default.warehouse_url(data.root())?;
    let shown = directory.display();
    match default.trim_end_matches('/') == warehouse.url() {
        true => say(format_args!("start it with: wharf serve --data {shown}")),
        false => say(format_args!("start it with: wharf serve --data {shown} --warehouse {}", warehouse.url())),
    }
    Ok(())
}

/// A backup in a few words.
pub(crate) fn describe(backup: &Backup) -> String {
    let info = backup.info();
    let tables = tables(backup.state()).count();
    if info.cluster.is_nil() {
        return format!("the warehouse {}, without a backup", info.warehouse);
    }
    let taken = arrow::temporal_conversions::timestamp_ms_to_datetime(info.taken_ms);
    let taken = taken.map_or_else(|| info.taken_ms.to_string(), |taken| format!("{taken} UTC"));
    format!(
        "{} of cluster {} as of {taken}, log index {}, term {}",
        counted(tables, "table"),
        info.cluster,
        info.log_index,
        info.term
    )
}

/// A number of things.
fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// All tables and their names with those of their schemas.
pub(crate) fn tables(state: &State) -> impl Iterator<Item = (String, &Arc<wharf_catalog::Table>)> {
    state.relations().filter_map(Relation::as_table).map(|table| {
        let schema = state.namespace(table.namespace).map_or("?", |schema| schema.name.as_str());
        (format!("{schema}.{}", table.name), table)
    })
}

fn open_warehouse(config: &Config, url: &str) -> Result<Arc<Warehouse>, Failure> {
    if backup::is_local(url) && !Path::new(url).is_dir() {
        return Err(Failure::new(
            format!("there is no folder {url}"),
            "name the warehouse, or a backup, that is there with --from",
        ));
    }
    let options = WarehouseOptions {
        store: node::store_options(config),
        cache: CacheOptions { memory_bytes: config.cache.memory_bytes, ..CacheOptions::default() },
        ..WarehouseOptions::default()
    };
    Warehouse::open(url, options).map_err(|error| {
        Failure::from_error(
            format_args!("cannot open the warehouse {url}"),
            &error,
            "name it with --warehouse; correct [store] and the credentials of the store in the environment",
        )
    })
}

/// A store that does not answer.
fn store_failure(error: &wharf_lake::LakeError) -> Failure {
    Failure::from_error("cannot read the warehouse", error, "try again when the store answers")
}
