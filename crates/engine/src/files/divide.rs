//! A load by all nodes of a cluster: whichever has time takes the next unit of files, and the node of the session commits them all.
//!
//! What always holds:
//! - The files that other nodes have written are known here before anything counts, and are removed when the load fails or is
//!   given up. Those of a node that was lost, or whose answer did not come in time, are nobody's, and go as orphans.
//! - A unit that another node has not loaded is loaded by somebody else, at last here. Its rows count once: only what was answered is
//!   committed.
//! - What is wrong with the data is the statement's error, whichever node finds it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::StreamExt;
use futures::future::try_join;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use wharf_fanout::Distribute;
use wharf_lake::WrittenFile;
use wharf_lake::commit::Uncommitted;
use wharf_values::SqlError;

use super::job::Job;
use super::options::names_secret;
use super::travelling::{Answer, Common, LoadedUnit, Request, WrittenSource};
use super::units::Units;
use super::{FileOptions, SourceFile};
use crate::copy::OptionItem;
use crate::copy_load::Rows;
use crate::distribute::distribute;
use crate::error::from_lake;
use crate::helpers::Helper;
use crate::queries::Question;
use crate::session::Session;

/// Files of so many bytes together are loaded by all nodes, where nothing is said.
const DIVIDED_FROM_BYTES: u64 = 64 << 20;
/// A unit may take so long, whatever its size. A node that is gone or hangs as a whole is found within seconds; this is for one whose
/// store does not answer.
const UNIT_TIMEOUT: Duration = Duration::from_secs(120);
/// And longer, as if so many bytes were read in a second: far fewer than are.
const LEAST_BYTES_PER_SECOND: u64 = 1 << 20;

/// How long a load that has failed waits for the others to say what they have written.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// The nodes that help with a load; none where it stays on this one.
pub(super) fn helpers(session: &Session, files: &[SourceFile], options: &FileOptions) -> Vec<Helper> {
    let engine = &session.engine;
    let bytes: u64 = files.iter().map(|file| file.meta.size).sum();
    let wanted = match distribute(&session.settings) {
        Distribute::Off => false,
        Distribute::On => true,
        Distribute::Auto => bytes >= DIVIDED_FROM_BYTES,
    };
    // Secrets of the statement stay where it is, and so do files that this node alone has.
    let here =
        || options.store.keys().any(|name| names_secret(name)) || !files.iter().all(|file| file.is_shared(engine));
    if !wanted || files.len() < 2 || here() {
        return Vec::new();
    }
    Helper::all(engine, Some(session.query_tag().id))
}

/// A load, divided where there are helpers.
pub(super) struct Division<'a> {
    job: &'a Job<'a>,
    files: Vec<SourceFile>,
    helpers: Vec<Helper>,
    items: &'a [OptionItem],
    keeps_rejects: bool,
}

/// What was loaded: data files that are removed when this is dropped.
pub(super) struct Gathered {
    uncommitted: Uncommitted,
    files: Vec<WrittenFile>,
    rows: u64,
    units_elsewhere: usize,
}

impl<'a> Division<'a> {
    /// Of files, with these helpers; `items` are the options of the format.
    pub(super) fn new(
        job: &'a Job<'a>,
        files: Vec<SourceFile>,
        helpers: Vec<Helper>,
        items: &'a [OptionItem],
        keeps_rejects: bool,
    ) -> Division<'a> {
        Division { job, files, helpers, items, keeps_rejects }
    }

    /// Loads all files.
    ///
    /// # Errors
    /// What is wrong with the data, and what the lake says.
    pub(super) async fn run(self) -> Result<Gathered, SqlError> {
        let Division { job, files, mut helpers, items, keeps_rejects } = self;
        let common = match helpers.is_empty() {
            true => None,
            false => {
                job.check_together(&files).await?;
                let common = Common::of(job, items, keeps_rejects);
                common.inspect_err(|error| tracing::debug!(%error, "a load stays on one node")).ok()
            }
        };
        if common.is_none() {
            helpers.clear();
        }
        let units = Units::new(files, helpers.len() + 1, job.workers());
        let work = Work { job, units, gathered: Mutex::new(Gathered::new(job)) };
        let asked = common.iter().flat_map(|common| helpers.iter().map(|helper| work.elsewhere(helper, common)));
        let mut asked: FuturesUnordered<_> = asked.collect();
        let elsewhere = async {
            while let Some(ended) = asked.next().await {
                ended?;
            }
            Ok(())
        };
        let rows = match try_join(work.here(Vec::new()), elsewhere).await {
            Ok((rows, ())) => rows,
            Err(error) => {
                // What others are just done with is told in their answers, and goes with what is known.
                work.units.close();
                let answers = async { while asked.next().await.is_some() {} };
                if tokio::time::timeout(LAST_ANSWERS, answers).await.is_err() {
                    tracing::debug!("nodes that help with a load that has failed are not waited for");
                }
                return Err(error);
            }
        };
        drop(asked);
        // What was given to nodes that were lost.
        let rows = work.here(rows).await?;
        let mut gathered = work.gathered.into_inner();
        for rows in rows {
            let (count, files) = rows.into_files().await?;
            gathered.take(count, files);
        }
        if !helpers.is_empty() {
            let (files, elsewhere) = (gathered.files.len(), gathered.units_elsewhere);
            tracing::info!(table = %job.intake.table.id, rows = gathered.rows, files, units_elsewhere = elsewhere, "files loaded by several nodes");
        }
        Ok(gathered)
    }
}

impl Gathered {
    fn new(job: &Job<'_>) -> Gathered {
        let uncommitted = Uncommitted::new(&job.engine.warehouse);
        Gathered { uncommitted, files: Vec::new(), rows: 0, units_elsewhere: 0 }
    }

    fn take(&mut self, rows: u64, files: Vec<WrittenFile>) {
        self.uncommitted.add_files(&files);
        self.rows += rows;
        self.files.extend(files);
    }

    /// How many rows, and their files, which are the taker's to commit or to remove.
    pub(super) fn into_files(mut self) -> (u64, Vec<WrittenFile>) {
        self.uncommitted.let_go(&self.files);
        (self.rows, self.files)
    }
}

/// A load under way.
struct Work<'a> {
    job: &'a Job<'a>,
    units: Units,
    gathered: Mutex<Gathered>,
}

impl Work<'_> {
    /// This node's share, into rows that take more.
    async fn here(&self, mut rows: Vec<Rows>) -> Result<Vec<Rows>, SqlError> {
        while let Some(unit) = self.units.next() {
            rows = self.job.load(unit, rows).await?;
        }
        Ok(rows)
    }

    /// Another node's share. One that is lost, or has too much to do, gets no further unit, and leaves the one that it had.
    async fn elsewhere(&self, helper: &Helper, common: &Common) -> Result<(), SqlError> {
        while let Some(unit) = self.units.next() {
            let bytes: u64 = unit.iter().map(|file| file.meta.size).sum();
            let files = unit.iter().map(WrittenSource::of).collect();
            let request = Request { common: common.clone(), files };
            let answer: Result<Answer, String> = helper.ask(Question::LoadFiles, &request, timeout(bytes)).await;
            let reason = match answer {
                Ok(Answer::Loaded(loaded)) => {
                    self.arrived(loaded)?;
                    self.job.progress.read(bytes);
                    unit.iter().for_each(|_| self.job.progress.file_done());
                    continue;
                }
                Ok(Answer::Failed(error)) => return Err(error.into()),
                Ok(Answer::Cannot(reason)) | Err(reason) => reason,
                Ok(Answer::Busy) => "it loads files for others already".to_owned(),
            };
            tracing::info!(node = helper.address(), reason, "a node does not help to load files");
            self.units.put_back(unit);
            return Ok(());
        }
        Ok(())
    }

    /// Takes over what another node has written.
    fn arrived(&self, loaded: LoadedUnit) -> Result<(), SqlError> {
        let LoadedUnit { rows, files, rejected } = loaded;
        let mut gathered = self.gathered.lock();
        let files = match files {
            None => Vec::new(),
            Some(files) => {
                let bytes = BASE64.decode(files).map_err(|error| SqlError::internal(format!("files: {error}")))?;
                WrittenFile::handed_on(&bytes).map_err(|error| from_lake(&error))?
            }
        };
        gathered.take(rows, files);
        gathered.units_elsewhere += 1;
        self.job.progress.rows(rows);
        self.job.rejects.absorb(rejected)
    }
}

/// How long a unit may take that has so many bytes.
fn timeout(bytes: u64) -> Duration {
    UNIT_TIMEOUT + Duration::from_secs(bytes / LEAST_BYTES_PER_SECOND)
}
