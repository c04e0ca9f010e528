//! Groups of files that other nodes write anew.
//!
//! What always holds:
//! - A group is named by the table's metadata file and the paths of its files, so that whoever rewrites it reads exactly those.
//! - A node that was lost may have committed its group. Whoever rewrites it again then finds the files gone, and commits nothing.
//! - A node does not rewrite more groups for others at a time than it has room for, and says so (`crate::helpers`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tracing::Instrument;
use uuid::Uuid;
use wharf_lake::LakeProvider;
use wharf_lake::maintain::{CompactionGroup, CompactionOptions};
use wharf_lake::partition::Layout;
use wharf_values::{SqlError, SqlState};

use super::Rewrite;
use super::group::rewrite;
use crate::engine::Engine;
use crate::error::from_lake;
use crate::files::progress::Progress;
use crate::helpers::{Helper, asked};
use crate::layout_text;
use crate::procedures::parse_order;
use crate::queries::Question;
use crate::session::conflict;

/// How long a group may take. A node that is gone is found within seconds.
const TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// A group for another node.
#[derive(Deserialize, Serialize)]
struct Request {
    table: Uuid,
    metadata_location: String,
    files: Vec<String>,
    bytes: u64,
    rows: u64,
    target_file_bytes: Option<u64>,
    /// As SORT BY has it; empty: the table's.
    order: Option<String>,
}

/// What has become of it.
#[derive(Deserialize, Serialize)]
enum Answer {
    /// So many files.
    Added(usize),
    Failed {
        code: String,
        message: String,
    },
    /// It was not begun.
    Busy,
}

/// Has another node rewrite a group; gives the number of new files, or the conflict that the group was given up for.
///
/// # Errors
/// Why somebody else has to see to the group, which may have been rewritten all the same.
pub(super) async fn rewrite_at(
    helper: &Helper,
    table: Uuid,
    provider: &LakeProvider,
    group: &CompactionGroup,
    asked: &Rewrite,
) -> Result<Result<usize, SqlError>, String> {
    let sort = |sort: &Vec<_>| layout_text::sort_by(&Layout { sort: sort.clone(), ..Layout::default() });
    let request = Request {
        table,
        metadata_location: provider.table().metadata_location().to_owned(),
        files: provider.paths(&group.files),
        bytes: group.bytes,
        rows: group.rows,
        target_file_bytes: asked.options.target_file_bytes,
        order: asked.order.as_ref().map(|order| sort(order).unwrap_or_default()),
    };
    let answer: Answer = helper.ask(Question::RewriteFiles, &request, TIMEOUT).await?;
    match answer {
        Answer::Added(files) => Ok(Ok(files)),
        Answer::Failed { code, message } if code == SqlState::SERIALIZATION_FAILURE.as_str() => {
            Ok(Err(SqlError::new(SqlState::SERIALIZATION_FAILURE, message)))
        }
        // It may be stopping, or have no room; where it is not to blame, whoever has the group next fails, too.
        Answer::Failed { code, message } => Err(format!("{message} ({code})")),
        Answer::Busy => Err("it rewrites files for others already".to_owned()),
    }
}

impl Engine {
    /// Rewrites a group of files for another node that asks.
    pub(crate) async fn rewrite_files(&self, request: &[u8]) -> Bytes {
        let answer = match self.helping.rewrites.try_acquire() {
            Ok(_permit) => {
                let rewritten = match asked(request) {
                    Ok((request, span)) => self.rewrite_group(request).instrument(span).await,
                    Err(error) => Err(SqlError::internal(format!("a group of files: {error}"))),
                };
                match rewritten {
                    Ok(added) => Answer::Added(added),
                    Err(error) => Answer::Failed { code: error.code.as_str().to_owned(), message: error.message },
                }
            }
            Err(_) => Answer::Busy,
        };
        // What is in it has no key that could not be written.
        serde_json::to_vec(&answer).map(Bytes::from).unwrap_or_default()
    }

    async fn rewrite_group(&self, request: Request) -> Result<usize, SqlError> {
        let order = match request.order.as_deref() {
            Some("") => Some(Vec::new()),
            Some(text) => Some(parse_order(text)?),
            None => None,
        };
        let table = self.warehouse.load(&request.metadata_location).await.map_err(|error| from_lake(&error))?;
        let provider = table.rewritable().await.map_err(|error| from_lake(&error))?;
        let files: BTreeSet<i64> = provider.numbers_of(&request.files);
        if files.len() != request.files.len() {
            return Err(conflict());
        }
        let group = CompactionGroup::new(files, request.bytes, request.rows);
        let options =
            CompactionOptions { target_file_bytes: request.target_file_bytes, ..CompactionOptions::default() };
        let asked = Rewrite { options, order, helped_from_bytes: None, query_id: None };
        let state = Arc::new(self.base.clone());
        let added = rewrite(self, &state, request.table, &provider, &group, &asked, &Progress::unlisted()).await?;
        self.statistics.groups_for_others.inc();
        Ok(added)
    }
}
