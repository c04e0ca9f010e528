//! A load on its way to other nodes, and what they say of it.
//!
//! What always holds: everything that the rows depend on travels: the options, the settings, the table's state with its defaults and rules
//! ([`WrittenIntake`]). No secrets do: a load whose statement has some stays on its node.

use std::collections::HashMap;

use object_store::ObjectMeta;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use wharf_fanout::{Fanout, WrittenError};
use wharf_values::SqlError;

use super::job::Job;
use super::{FileOptions, SourceFile};
use crate::copy::{OptionItem, OptionValue, Rejected};
use crate::copy_intake::WrittenIntake;
use crate::engine::Engine;
use crate::error::from_datafusion;

/// What all units of a load have in common.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Common {
    /// Of the node that asks.
    pub(super) format: String,
    pub(super) intake: WrittenIntake,
    pub(super) settings: String,
    pub(super) database: u32,
    /// The options of the format.
    pub(super) options: Vec<OptionItem>,
    compression: Option<String>,
    store: HashMap<String, String>,
    /// Rejected rows go to a table.
    pub(super) keeps_rejects: bool,
    pub(super) names_files: bool,
}

/// A unit for another node.
#[derive(Deserialize, Serialize)]
pub(super) struct Request {
    pub(super) common: Common,
    pub(super) files: Vec<WrittenSource>,
}

/// A file to be read.
#[derive(Deserialize, Serialize)]
pub(super) struct WrittenSource {
    name: String,
    plain: bool,
    origin: String,
    path: String,
    size: u64,
    modified_us: i64,
    e_tag: Option<String>,
    version: Option<String>,
}

/// What has become of a unit.
#[derive(Deserialize, Serialize)]
pub(super) enum Answer {
    /// It is in data files that nobody refers to yet.
    Loaded(LoadedUnit),
    /// The data are wrong: the statement's error.
    Failed(WrittenError),
    /// The node could not do it, for this reason; another may.
    Cannot(String),
    /// It was not begun.
    Busy,
}

/// A unit that was loaded.
#[derive(Deserialize, Serialize)]
pub(super) struct LoadedUnit {
    pub(super) rows: u64,
    /// As [`wharf_lake::WrittenFile::hand_on`] writes them, in base64; none: there are none.
    pub(super) files: Option<String>,
    pub(super) rejected: Rejected,
}

impl Common {
    /// What other nodes have to know of a job; `items` are its options of the format.
    ///
    /// # Errors
    /// Why it has to stay on this node.
    pub(super) fn of(job: &Job<'_>, items: &[OptionItem], keeps_rejects: bool) -> Result<Common, SqlError> {
        let state = &job.context.session;
        let mut options = items.to_vec();
        // Here it may be known by the name of the first of all files.
        if !options.iter().any(|item| item.name == "format") {
            let format = OptionValue::Text(job.options.format.name().to_owned());
            options.push(OptionItem { name: "format".to_owned(), value: format });
        }
        Ok(Common {
            format: Fanout::format().to_owned(),
            intake: job.intake.write(job.engine, state)?,
            settings: job.engine.fanout.write_settings(state.config()).map_err(from_datafusion)?,
            database: job.context.database,
            options,
            compression: job.file_options.compression.clone(),
            store: job.file_options.store.clone(),
            keeps_rejects,
            names_files: job.names_files,
        })
    }

    /// The options of the files.
    pub(super) fn file_options(&self) -> FileOptions {
        FileOptions { compression: self.compression.clone(), store: self.store.clone(), ..FileOptions::default() }
    }
}

impl WrittenSource {
    pub(super) fn of(file: &SourceFile) -> WrittenSource {
        let ObjectMeta { location, last_modified, size, e_tag, version } = file.meta.clone();
        WrittenSource {
            name: file.name.to_string(),
            plain: file.plain,
            origin: file.origin.clone(),
            path: location.into(),
            size,
            modified_us: last_modified.timestamp_micros(),
            e_tag,
            version,
        }
    }

    /// The file on this node.
    ///
    /// # Errors
    /// `42501` for a location that this node's configuration does not allow, and what its store cannot be opened with.
    pub(super) fn open(self, engine: &Engine, options: &FileOptions) -> Result<SourceFile, SqlError> {
        let WrittenSource { name, plain, origin, path, size, modified_us, e_tag, version } = self;
        let odd = || SqlError::internal(format!("another node has named the file \"{name}\" so that it is none"));
        let meta = ObjectMeta {
            location: Path::parse(&path).map_err(|_| odd())?,
            last_modified: chrono::DateTime::from_timestamp_micros(modified_us).ok_or_else(odd)?,
            size,
            e_tag,
            version,
        };
        SourceFile::reopen(engine, name.into(), plain, origin, meta, options)
    }
}
