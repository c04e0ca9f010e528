//! Time travel: which of the states that a metadata file knows a query asks for.
//!
//! What always holds: an instant is looked up in the table's history (the snapshot log: what `main` was, and when), not among
//! the times of snapshots, of which some were made on branches and others rolled back. A snapshot and a tag have the schema the
//! snapshot was written with, a branch has the table's current one.

use std::fmt;
use std::sync::Arc;

use iceberg::spec::{MAIN_BRANCH, TableMetadata};

use crate::commit::RefKind;
use crate::error::LakeError;
use crate::table::{LakeTable, ROWS_OF};

/// A version of a table, as SQL names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// A snapshot by its id.
    Snapshot(i64),
    /// A branch or a tag; a number is a snapshot's id when neither has such a name.
    Ref(String),
    /// What was current at an instant, in microseconds since 1970.
    Instant(i64),
}

/// A table does not have such a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoVersion {
    /// What was asked for.
    pub wanted: Version,
    /// The oldest snapshot of the history and when it became current, in microseconds since 1970; none when nothing was ever
    /// written.
    pub oldest: Option<(i64, i64)>,
}

impl fmt::Display for NoVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wanted {
            Version::Snapshot(id) => write!(f, "snapshot {id} does not exist"),
            Version::Ref(name) => write!(f, "branch or tag \"{name}\" does not exist"),
            Version::Instant(_) => write!(f, "the history does not reach back so far"),
        }
    }
}

/// The head of one or of several branches.
#[derive(Clone)]
pub struct Head {
    /// The branches, `main` first.
    pub branches: Vec<String>,
    /// The table as a query reads it there.
    pub state: Arc<LakeTable>,
}

impl Head {
    /// Is it what queries read that name no branch?
    pub fn is_main(&self) -> bool {
        self.branches.first().is_some_and(|branch| branch == MAIN_BRANCH)
    }
}

/// One of the states that a metadata file knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// None: no rows.
    pub(crate) snapshot_id: Option<i64>,
    pub(crate) schema_id: i32,
    /// What a commit over this moves; none for a state that is no branch's, over which nothing can be written.
    pub(crate) branch: Option<String>,
}

impl Position {
    /// The head of `main`.
    pub(crate) fn head(metadata: &TableMetadata) -> Position {
        Position {
            snapshot_id: metadata.current_snapshot_id(),
            schema_id: metadata.current_schema_id(),
            branch: Some(MAIN_BRANCH.to_owned()),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { snapshot_id, schema_id, branch } = self;
        write!(f, "{}/{schema_id}/{}", snapshot_id.unwrap_or(-1), branch.as_deref().unwrap_or_default())
    }
}

impl LakeTable {
    /// The state that a version of this table is.
    pub(crate) fn find(&self, version: &Version) -> Result<Position, LakeError> {
        let metadata = self.metadata();
        let missing = || {
            let oldest = metadata.history().first().map(|entry| (entry.snapshot_id, entry.timestamp_ms * 1000));
            LakeError::NoVersion(NoVersion { wanted: version.clone(), oldest })
        };
        match version {
            Version::Snapshot(id) => self.of_snapshot(*id).ok_or_else(missing),
            // Never written to: it has been empty since it is as it is.
            Version::Instant(instant_us)
                if metadata.history().is_empty() && *instant_us >= metadata.last_updated_ms() * 1000 =>
            {
                Ok(Position::head(metadata))
            }
            Version::Instant(instant_us) => {
                let current = metadata.history().iter().rev().find(|entry| entry.timestamp_ms * 1000 <= *instant_us);
                current.and_then(|entry| self.of_snapshot(entry.snapshot_id)).ok_or_else(missing)
            }
            Version::Ref(name) if name == MAIN_BRANCH => Ok(Position::head(metadata)),
            Version::Ref(name) => match self.refs().get(name) {
                Some(found) if found.is_branch() => Ok(Position {
                    snapshot_id: Some(found.snapshot_id),
                    schema_id: metadata.current_schema_id(),
                    branch: Some(name.clone()),
                }),
                Some(tag) => self.of_snapshot(tag.snapshot_id).ok_or_else(missing),
                None => name.parse().ok().and_then(|id| self.of_snapshot(id)).ok_or_else(missing),
            },
        }
    }

    /// A snapshot as it would be the head of a branch: with the table's current columns.
    pub(crate) fn find_as_head(&self, snapshot_id: i64) -> Result<Position, LakeError> {
        let metadata = self.metadata();
        if metadata.snapshot_by_id(snapshot_id).is_none() {
            return Err(LakeError::NoVersion(NoVersion { wanted: Version::Snapshot(snapshot_id), oldest: None }));
        }
        let schema_id = metadata.current_schema_id();
        Ok(Position { snapshot_id: Some(snapshot_id), schema_id, branch: None })
    }

    /// The branches by the snapshots that they are at, `main` and its snapshot first.
    pub(crate) fn branches_by_snapshot(&self) -> Vec<Vec<String>> {
        let mut branches: Vec<_> = self.refs().iter().filter(|(_, found)| found.is_branch()).collect();
        branches.sort_by_key(|(name, _)| (*name != MAIN_BRANCH, *name));
        let mut heads: Vec<(i64, Vec<String>)> = Vec::new();
        for (name, found) in branches {
            match heads.iter_mut().find(|(id, _)| *id == found.snapshot_id) {
                Some((_, names)) => names.push(name.clone()),
                None => heads.push((found.snapshot_id, vec![name.clone()])),
            }
        }
        heads.into_iter().map(|(_, names)| names).collect()
    }

    /// What a name is; none when there is neither a branch nor a tag of the name.
    pub fn reference(&self, name: &str) -> Option<RefKind> {
        let found = self.refs().get(name)?;
        Some(if found.is_branch() { RefKind::Branch } else { RefKind::Tag })
    }

    /// A snapshot and those it was made from, as far as they are known; the youngest first.
    pub(crate) fn ancestors(&self, from: Option<i64>) -> impl Iterator<Item = i64> {
        let known = |id: i64| self.metadata().snapshot_by_id(id);
        std::iter::successors(from.and_then(known), move |snapshot| known(snapshot.parent_snapshot_id()?))
            .map(|snapshot| snapshot.snapshot_id())
    }

    /// A snapshot, and those that had its rows before columns were changed, the youngest first.
    pub(crate) fn same_rows(&self, id: i64) -> impl Iterator<Item = i64> {
        let rows_of = |id: &i64| {
            let summary = self.metadata().snapshot_by_id(*id)?.summary();
            summary.additional_properties.get(ROWS_OF)?.parse().ok()
        };
        // There is no end where another program has made a circle.
        std::iter::successors(Some(id), rows_of).take(1 + self.metadata().snapshots().len())
    }

    /// A snapshot with the schema it was written with.
    fn of_snapshot(&self, id: i64) -> Option<Position> {
        let metadata = self.metadata();
        let snapshot = metadata.snapshot_by_id(id)?;
        let own = snapshot.schema_id().filter(|id| metadata.schema_by_id(*id).is_some());
        let schema_id = own.unwrap_or_else(|| metadata.current_schema_id());
        Some(Position { snapshot_id: Some(id), schema_id, branch: None })
    }
}
