//! COPY FROM files: which are loaded, each once, and their commit. `job` reads them, and `divide` has other nodes do so where there are many.
//!
//! What always holds: the rows of all files, what is remembered of the files and the rejected rows count together or not at
//! all, whichever nodes have read them. A load that ends early leaves no file of the table behind.

use std::sync::Arc;

use wharf_catalog::Table;
use wharf_lake::commit::LoadedFiles;
use wharf_values::{SqlError, SqlState};

use super::divide::{Division, helpers};
use super::job::{Absent, Job};
use super::options::default_format;
use super::place::{all_files, require_superuser};
use super::{FileOptions, glob, loaded, rejects};
use crate::bind::BindContext;
use crate::copy::{CopyOptions, OptionItem};
use crate::copy_intake::Intake;
use crate::dml::write;
use crate::session::{Branch, Session};

/// A COPY from files.
pub(crate) struct Load<'a> {
    pub(crate) table: &'a Arc<Table>,
    pub(crate) branch: Branch,
    /// The places in the table of the columns that come.
    pub(crate) provided: Vec<usize>,
    /// The file of the statement; there may be more among the options.
    pub(crate) name: &'a str,
    pub(crate) options: &'a [OptionItem],
}

/// Loads files; gives the number of rows.
///
/// # Errors
/// `42501` without the right, `58P01` for a missing file, `42704` for a branch that is not there, what the options can be refused with and what is wrong with
/// the data.
pub(crate) async fn load(session: &mut Session, load: Load<'_>, context: &BindContext) -> Result<u64, SqlError> {
    require_superuser(session)?;
    let (file_options, items) = FileOptions::split(load.options)?;
    file_options.check_direction(false)?;
    let names: Vec<String> = [load.name.to_owned()].into_iter().chain(file_options.more.iter().cloned()).collect();
    let plain = !load.name.contains("://");
    // What PostgreSQL can say too means what it means there: the file is loaded, however often that is said.
    let as_postgres = names.len() == 1 && plain && !glob::is_pattern(load.name, true);
    let limits = session.limits();
    let files = limits.within(all_files(&session.engine, &names, &file_options)).await?;
    // A pattern says less than the names of the files that it means.
    let example = files.first().filter(|_| !as_postgres).map_or(load.name, |file| &file.name);
    let options = CopyOptions::with_default(&items, false, default_format(example, as_postgres))?;
    if file_options.rejects_table.is_some() && !options.tolerates_errors() {
        return Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "COPY REJECTS_TABLE requires ON_ERROR to be set to IGNORE or SKIP",
        ));
    }
    let remember = !as_postgres || file_options.force.is_some();
    let again = file_options.force.unwrap_or(as_postgres);
    let (files, skipped) = if remember && !again {
        let table = session.open_branch(load.table, load.branch).await?;
        loaded::new_files(&table, files)
    } else {
        (files, 0)
    };
    if skipped > 0 {
        let noun = if skipped == 1 { "file was" } else { "files were" };
        let notice =
            SqlError::new(SqlState::SUCCESSFUL_COMPLETION, format!("{skipped} {noun} loaded before, skipping"));
        session.notice("NOTICE", notice.with_hint("FORCE true loads them again."));
    }
    if files.is_empty() {
        return Ok(0);
    }
    let rejects_table = match &file_options.rejects_table {
        Some(name) => Some(rejects::table(session, name).await?),
        None => None,
    };
    let rejects = Arc::new(options.rejects(rejects_table.is_some()));
    let listed = session.begin_work("COPY FROM", &load.table.name);
    listed.progress.total(files.len() as u64, files.iter().map(|file| file.meta.size).sum());
    let remembered = remember.then(|| LoadedFiles { digests: files.iter().map(loaded::digest).collect(), again });
    let intake =
        Intake::open(session, load.table, load.branch, load.provided.clone(), options.is_by_name(), context).await?;
    let engine = Arc::clone(&session.engine);
    let helpers = helpers(session, &files, &file_options);
    let job = Job {
        engine: &engine,
        intake: &intake,
        options: &options,
        file_options: &file_options,
        rejects: &rejects,
        progress: &listed.progress,
        context,
        // In PostgreSQL's spelling the statement names the only file.
        names_files: files.len() > 1 || files.iter().any(|file| !file.plain),
        absent: if helpers.is_empty() { Absent::Refused } else { Absent::Null },
    };
    let division = Division::new(&job, files, helpers, &items, rejects_table.is_some());
    let gathered = session.limits().within(division.run()).await?;
    for notice in rejects.notices() {
        session.notice("NOTICE", notice);
    }
    let rejected = match rejects_table {
        Some(table) => Some(rejects::write(session, &table, rejects.take(), context).await?),
        None => None,
    };
    let (count, data_files) = gathered.into_files();
    let mut writes = vec![write::Write {
        table: Arc::clone(load.table),
        branch: load.branch,
        files: data_files,
        loaded: remembered,
    }];
    writes.extend(rejected);
    write::finish_all(session, writes).await?;
    Ok(count)
}
