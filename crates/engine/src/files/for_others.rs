//! Files that this node loads for a COPY of another node.
//!
//! What always holds: what is written here is removed unless the answer that names it leaves: when the call is dropped, since the session's
//! statement has ended or its node is gone, the work ends with it.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use tracing::Instrument;
use wharf_fanout::Fanout;
use wharf_lake::WrittenFile;
use wharf_lake::commit::Uncommitted;
use wharf_values::{SqlError, SqlState};

use super::job::{Absent, Job};
use super::progress::Progress;
use super::travelling::{Answer, LoadedUnit, Request};
use crate::bind::BindContext;
use crate::copy::CopyOptions;
use crate::engine::Engine;
use crate::error::{from_datafusion, from_lake};
use crate::functions::FunctionContext;
use crate::helpers::asked;
use crate::search_path::SearchPath;

/// Bytes of an answer, at most: rejected rows can be many.
const MAX_ANSWER_BYTES: usize = 16 << 20;

impl Engine {
    /// Loads a unit of files for another node that asks.
    pub(crate) async fn load_files(&self, request: &[u8]) -> Bytes {
        let Ok(_permit) = self.helping.loads.try_acquire() else { return written(&Answer::Busy) };
        let loaded = match asked(request) {
            Ok((request, span)) => self.load_unit(request).instrument(span).await,
            Err(error) => Err(SqlError::internal(format!("files to be loaded: {error}"))),
        };
        match loaded {
            Ok((unit, mut uncommitted, files)) => {
                let answer = written(&Answer::Loaded(unit));
                if answer.is_empty() || answer.len() > MAX_ANSWER_BYTES {
                    return written(&Answer::Cannot("it has more to say than a message may have".to_owned()));
                }
                self.statistics.units_for_others.inc();
                uncommitted.let_go(&files);
                answer
            }
            Err(error) if is_of_the_data(error.code) => written(&Answer::Failed(error.into())),
            Err(error) => written(&Answer::Cannot(format!("{} ({})", error.message, error.code.as_str()))),
        }
    }

    async fn load_unit(&self, request: Request) -> Result<(LoadedUnit, Uncommitted, Vec<WrittenFile>), SqlError> {
        let Request { common, files } = request;
        // Asked before work was given, but a node may have been another since.
        if common.format != Fanout::format() {
            return Err(SqlError::internal(format!("its format is \"{}\"", Fanout::format())));
        }
        let mut state = self.base.clone();
        let config = self.fanout.read_settings(&common.settings, state.config().clone()).map_err(from_datafusion)?;
        *state.config_mut() = config;
        let context = BindContext {
            catalog: self.group.local(),
            database: common.database,
            // No name is looked up here: all names were, on the node of the session.
            search_path: SearchPath::parse("", ""),
            format: FunctionContext::of(state.config_options()).text,
            session: Arc::new(state),
            locals: HashMap::new(),
            parameters: Default::default(),
            values: None,
            unstable: Default::default(),
        };
        let file_options = common.file_options();
        let options = CopyOptions::new(&common.options, false)?;
        let rejects = Arc::new(options.rejects(common.keeps_rejects));
        let intake = common.intake.open(self, &context.session, &context.format).await?;
        let job = Job {
            engine: self,
            intake: &intake,
            options: &options,
            file_options: &file_options,
            rejects: &rejects,
            progress: &Progress::unlisted(),
            context: &context,
            names_files: common.names_files,
            absent: Absent::Null,
        };
        let files = files.into_iter().map(|file| file.open(self, &file_options)).collect::<Result<Vec<_>, _>>()?;
        let mut uncommitted = Uncommitted::new(&self.warehouse);
        let (mut count, mut data_files) = (0, Vec::new());
        for rows in job.load(files, Vec::new()).await? {
            let (rows, files) = rows.into_files().await?;
            uncommitted.add_files(&files);
            count += rows;
            data_files.extend(files);
        }
        let files = match data_files.is_empty() {
            true => None,
            false => {
                let written = WrittenFile::hand_on(intake.lake_table(), &data_files).await;
                Some(BASE64.encode(written.map_err(|error| from_lake(&error))?))
            }
        };
        let unit = LoadedUnit { rows: count, files, rejected: rejects.depart() };
        Ok((unit, uncommitted, data_files))
    }
}

/// Whether an error is about the data, so that every node would find it, and not about this node.
fn is_of_the_data(code: SqlState) -> bool {
    matches!(code.class(), "0A" | "22" | "23" | "42" | "54") && code != SqlState::INSUFFICIENT_PRIVILEGE
}

/// Empty when it cannot be written, which no message is.
fn written(answer: &Answer) -> Bytes {
    serde_json::to_vec(answer).map(Bytes::from).unwrap_or_default()
}
