//! The procedures that keep a table small.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use wharf_fanout::Distribute;
use wharf_lake::commit::RewriteManifests;
use wharf_lake::maintain::{CompactionOptions, ExpireOptions};
use wharf_lake::partition::SortTerm;
use wharf_values::{SqlError, SqlState};

use super::arguments::Arguments;
use crate::distribute::distribute;
use crate::engine::now_us;
use crate::maintenance::{self, Rewrite};
use crate::session::Session;
use crate::syntax::{LayoutChange, Own};

/// How old an orphan has to be at least when nothing else is said: three days, as in Iceberg's own procedure.
const ORPHAN_AGE_MS: i64 = 3 * 24 * 60 * 60 * 1000;
/// No orphan younger than this is removed, since it may belong to a write that goes on.
const LEAST_ORPHAN_AGE_MS: i64 = 60 * 60 * 1000;
/// How many times larger rows may be that are spilled than in a data file: what is sorted at once has to find room.
const SPILLED_PER_STORED: u64 = 8;

/// `wharf.expire_snapshots`
pub(super) async fn expire_snapshots(session: &mut Session, arguments: &Arguments) -> Result<Vec<ArrayRef>, SqlError> {
    let table = arguments.table()?;
    let retain_last = arguments.integer("retain_last")?;
    if retain_last.is_some_and(|count| count < 1) {
        let message = "retain_last must be at least 1";
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    let options = ExpireOptions {
        older_than_ms: arguments.moment_ms("older_than")?,
        retain_last: retain_last.and_then(|count| usize::try_from(count).ok()),
        snapshot_ids: arguments.integer("snapshot_id")?.into_iter().collect(),
    };
    let listed = session.begin_work("expire_snapshots", &table.name);
    let done = maintenance::expire(&session.engine, table.id, &options, &listed.progress).await?;
    let counts = [done.snapshots.len(), done.refs.len(), done.files.len()];
    Ok(counts.map(|count| Arc::new(Int64Array::from(vec![count as i64])) as ArrayRef).to_vec())
}

/// `wharf.remove_orphan_files`
pub(super) async fn remove_orphan_files(
    session: &mut Session,
    arguments: &Arguments,
) -> Result<Vec<ArrayRef>, SqlError> {
    let table = arguments.table()?;
    let now_ms = now_us() / 1000;
    let older_than_ms = arguments.moment_ms("older_than")?.unwrap_or(now_ms - ORPHAN_AGE_MS);
    let dry_run = arguments.boolean("dry_run")?.unwrap_or(false);
    if !dry_run && older_than_ms > now_ms - LEAST_ORPHAN_AGE_MS {
        let message = "files younger than one hour may belong to a write that goes on";
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
            .with_hint("Choose an earlier older_than, or look with dry_run => true."));
    }
    let listed = session.begin_work("remove_orphan_files", &table.name);
    let orphans =
        maintenance::remove_orphans(&session.engine, table.id, older_than_ms, dry_run, &listed.progress).await?;
    Ok(vec![Arc::new(StringViewArray::from_iter_values(orphans.locations)) as ArrayRef])
}

/// `wharf.rewrite_data_files`
pub(super) async fn rewrite_data_files(
    session: &mut Session,
    arguments: &Arguments,
) -> Result<Vec<ArrayRef>, SqlError> {
    let id = arguments.table()?.id;
    let mut options = CompactionOptions::default();
    if let Some(bytes) = arguments.integer("target_file_size_bytes")? {
        let bytes = u64::try_from(bytes).ok().filter(|bytes| *bytes >= 1024);
        options.target_file_bytes = Some(bytes.ok_or_else(|| {
            let message = "target_file_size_bytes must be at least 1024";
            SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
        })?);
    }
    if let Some(count) = arguments.integer("min_input_files")? {
        options.min_input_files = usize::try_from(count)
            .ok()
            .filter(|count| *count >= 1)
            .ok_or_else(|| SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "min_input_files must be at least 1"))?;
    }
    options.rewrite_all = arguments.boolean("rewrite_all")?.unwrap_or(false);
    let order = sort_order(arguments)?;
    if order.is_some() {
        options.sorted_bytes = Some(session.engine.options.spill_limit_bytes / SPILLED_PER_STORED);
    }
    let catalog = session.catalog().await?;
    let state = session.execution_state(&catalog);
    let listed = session.begin_work("rewrite_data_files", &arguments.table()?.name);
    let helped_from_bytes = match distribute(&session.settings) {
        Distribute::On => Some(0),
        Distribute::Auto => Some(session.settings.bytes("wharf.distribute_min_bytes")),
        Distribute::Off => None,
    };
    let query_id = Some(session.query_tag().id);
    let asked = Rewrite { options, order, helped_from_bytes, query_id };
    let done = maintenance::compact(&session.engine, &state, id, &asked, &listed.progress).await?;
    let bytes = i64::try_from(done.rewritten_bytes).unwrap_or(i64::MAX);
    let counts = [done.rewritten_files as i64, done.added_files as i64, bytes, done.failed_groups as i64];
    Ok(counts.map(|count| Arc::new(Int64Array::from(vec![count])) as ArrayRef).to_vec())
}

/// `wharf.rewrite_manifests`
pub(super) async fn rewrite_manifests(session: &mut Session, arguments: &Arguments) -> Result<Vec<ArrayRef>, SqlError> {
    let spec_id = arguments.integer("spec_id")?.and_then(|id| i32::try_from(id).ok());
    let which = RewriteManifests { spec_id, ..RewriteManifests::default() };
    let done = maintenance::rewrite_manifests(&session.engine, arguments.table()?.id, which).await?;
    let counts = [done.rewritten as i64, done.added as i64];
    Ok(counts.map(|count| Arc::new(Int64Array::from(vec![count])) as ArrayRef).to_vec())
}

/// The order that the strategy `sort` is to make, empty for that of the table; none for the strategy `binpack`.
fn sort_order(arguments: &Arguments) -> Result<Option<Vec<SortTerm>>, SqlError> {
    let invalid = |message: String| SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message);
    let asked = arguments.text("sort_order")?;
    match (arguments.text("strategy")?.map(str::to_ascii_lowercase).as_deref(), asked) {
        (None, None) | (Some("binpack"), None) => Ok(None),
        (Some("binpack"), Some(_)) => Err(invalid("sort_order cannot be given with strategy 'binpack'".to_owned())
            .with_hint("Use strategy => 'sort', or leave the order out.")),
        (None | Some("sort"), Some(text)) => parse_order(text).map(Some),
        (Some("sort"), None) => Ok(Some(Vec::new())),
        (Some(other), _) => {
            Err(invalid(format!("strategy \"{other}\" is not known")).with_hint("There are 'binpack' and 'sort'."))
        }
    }
}

/// An order as ALTER TABLE .. WRITE ORDERED BY takes it.
///
/// # Errors
/// `22023` for what is none.
pub(crate) fn parse_order(text: &str) -> Result<Vec<SortTerm>, SqlError> {
    let parsed = crate::statement::split(&format!("ALTER TABLE t WRITE ORDERED BY {text}"));
    if let Ok([statement]) = parsed.as_deref()
        && let Some(Own::Layout(LayoutChange::Sort(terms))) = statement.own.as_deref()
    {
        return Ok(terms.clone());
    }
    Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid sort order: \"{text}\""))
        .with_hint("Write it as in ORDER BY, by columns or transforms: 'a DESC NULLS LAST, days(b)'."))
}
