//! Maintenance by itself: every table is looked after from time to time, one at a time.
//!
//! A table that changes now is left alone, since a compaction would only get into the way of its writers, unless it has become
//! a heap of small files. What fails is logged and tried again in the next round; nobody waits for any of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::session_state::SessionState;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharf_catalog::{Relation, Table};
use wharf_lake::commit::RewriteManifests;
use wharf_lake::maintain::{CompactionOptions, ExpireOptions};
use wharf_values::{SqlError, SqlState};

use super::dropped::purge_dropped;
use super::{Rewrite, compact, expire, remove_orphans, rewrite_manifests};
use crate::engine::{Engine, now_us};
use crate::files::progress::Work;

/// A table with so many files is compacted even while it changes.
const MANY_FILES: u64 = 500;

/// From so many bytes on other nodes help to rewrite a table's files, as they do where a session says nothing.
const HELPED_FROM_BYTES: u64 = 256 << 20;

/// How tables are looked after.
#[derive(Clone, Debug)]
pub struct MaintenanceOptions {
    /// The pause between two rounds.
    pub interval: Duration,
    /// How long a table must not have changed before its files, and its manifests, are written together.
    pub quiet: Duration,
    /// With so many small files in a partition they are written together.
    pub min_input_files: usize,
    /// How often orphans of a table are looked for, which lists all its files.
    pub orphan_interval: Duration,
    /// How old an orphan has to be.
    pub orphan_age: Duration,
}

/// What is remembered of a table between two rounds.
#[derive(Clone, Copy)]
struct Seen {
    version: u64,
    /// When its orphans were looked for last; at first, when it was first seen.
    orphans: Instant,
}

impl Engine {
    /// Looks after all tables until it is told to stop.
    pub async fn maintain(self: Arc<Self>, options: MaintenanceOptions, stop: CancellationToken) {
        let mut seen = HashMap::new();
        let rounds = async {
            loop {
                tokio::time::sleep(options.interval).await;
                self.round(&options, &mut seen).await;
            }
        };
        stop.run_until_cancelled(rounds).await;
    }

    async fn round(&self, options: &MaintenanceOptions, seen: &mut HashMap<Uuid, Seen>) {
        let tables = match self.catalog().await {
            Ok(catalog) => {
                let tables = catalog.relations().filter_map(Relation::as_table).cloned();
                let database = |table: &Table| catalog.namespace(table.namespace).map_or(0, |schema| schema.database);
                tables.map(|table| (database(&table), table)).collect::<Vec<_>>()
            }
            Err(error) => {
                tracing::warn!(%error, "maintenance could not read the catalog");
                return;
            }
        };
        let status = self.group.status();
        let another_leads = status.leader.is_some_and(|leader| leader != status.node);
        if !another_leads && let Err(error) = purge_dropped(self).await {
            tracing::warn!(%error, "dropped tables could not be purged");
        }
        seen.retain(|id, _| tables.iter().any(|(_, table)| table.id == *id));
        let state = Arc::new(self.base.clone());
        for (database, table) in tables {
            let known = *seen.entry(table.id).or_insert(Seen { version: u64::MAX, orphans: Instant::now() });
            // One node is enough. The others remember since when they know a table, and one of them may lead in the next round.
            if another_leads {
                continue;
            }
            let result = self.look_after(&table, database, known, options, &state).await;
            match result {
                // It was dropped meanwhile.
                Err(error) if error.code == SqlState::UNDEFINED_TABLE => {}
                Err(error) => tracing::warn!(table = %table.name, %error, "maintenance failed"),
                Ok(after) => drop(seen.insert(table.id, after)),
            }
        }
    }

    /// Does what is due for a table; gives what to remember of it.
    async fn look_after(
        &self,
        table: &Table,
        database: u32,
        known: Seen,
        options: &MaintenanceOptions,
        state: &Arc<SessionState>,
    ) -> Result<Seen, SqlError> {
        let mut after = known;
        let begin = |command| self.progress.begin(Work { process: None, database, command, table: table.name.clone() });
        let since_change_ms = (now_us() / 1000).saturating_sub(table.changed_ms);
        let is_quiet = u128::try_from(since_change_ms).is_ok_and(|since| since >= options.quiet.as_millis());
        if table.version != known.version {
            let files = super::head(self, table.id).await?.file_count().unwrap_or(u64::MAX);
            if is_quiet || files >= MANY_FILES {
                let compaction =
                    CompactionOptions { min_input_files: options.min_input_files, ..CompactionOptions::default() };
                let listed = begin("rewrite_data_files");
                let asked = Rewrite {
                    options: compaction,
                    order: None,
                    helped_from_bytes: Some(HELPED_FROM_BYTES),
                    query_id: None,
                };
                let compacted = compact(self, state, table.id, &asked, &listed.progress).await?;
                drop(listed);
                let small = RewriteManifests { only_many_small: true, ..RewriteManifests::default() };
                let manifests = rewrite_manifests(self, table.id, small).await?;
                let version = self.catalog().await?.table_by_id(table.id).map_or(u64::MAX, |table| table.version);
                // Each group was a commit, and the manifests were one. A table that others have changed meanwhile is looked at once more.
                let own = compacted.groups as u64 + u64::from(manifests.rewritten > 0);
                if version <= table.version.saturating_add(own) {
                    after.version = version;
                }
            }
        }
        let listed = begin("expire_snapshots");
        let expired = expire(self, table.id, &ExpireOptions::default(), &listed.progress).await?;
        drop(listed);
        if !expired.snapshots.is_empty() || !expired.refs.is_empty() {
            after.version = after.version.saturating_add(1);
        }
        if known.orphans.elapsed() >= options.orphan_interval {
            let age_ms = i64::try_from(options.orphan_age.as_millis()).unwrap_or(i64::MAX);
            let older_than_ms = (now_us() / 1000).saturating_sub(age_ms);
            let listed = begin("remove_orphan_files");
            match remove_orphans(self, table.id, older_than_ms, false, &listed.progress).await {
                Ok(_) => after.orphans = Instant::now(),
                // They are looked for in the next round; what else was done counts.
                Err(error) if error.code == SqlState::CANNOT_CONNECT_NOW => {
                    tracing::warn!(table = %table.name, %error, "orphans stay for now");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(after)
    }
}
