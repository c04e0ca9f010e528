//! Branches and tags: names for snapshots. Making, dropping and moving them changes the metadata file alone.
//!
//! Which snapshot is meant was decided when the statement ran: made again on another head, an edit names the same one. What always holds: a
//! branch goes to no snapshot whose rows are not known to fit the table as it is then (`crate::fit`).

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use iceberg::spec::{
    MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadataBuildResult, TableMetadataBuilder,
};

use super::super::snapshot::{new_state_with, write_metadata};
use crate::error::LakeError;
use crate::fit::Unproven;
use crate::metadata::{self, Refs};
use crate::table::LakeTable;
use crate::travel::{NoVersion, Version};
use crate::warehouse::Warehouse;

/// What a name of a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefKind {
    /// Writes can move it.
    Branch,
    /// It stays where it is.
    Tag,
}

impl RefKind {
    /// The word in messages: `branch`, `tag`.
    pub fn noun(self) -> &'static str {
        match self {
            RefKind::Branch => "branch",
            RefKind::Tag => "tag",
        }
    }
}

/// How long a branch or tag is kept, and what of a branch; what is not given is up to the table's properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefRetention {
    /// It may be removed when its snapshot is older.
    pub max_ref_age_ms: Option<i64>,
    /// Of a branch: this many snapshots stay, however old they are.
    pub min_snapshots_to_keep: Option<i32>,
    /// Of a branch: snapshots that are not older stay.
    pub max_snapshot_age_ms: Option<i64>,
}

/// What is done where a name is taken, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfTaken {
    /// CREATE: an error.
    Fail,
    /// CREATE IF NOT EXISTS: nothing.
    Keep,
    /// CREATE OR REPLACE: it is made anew.
    Replace,
    /// REPLACE: the same, and a name that is not there is an error.
    Require,
}

/// What somebody has seen of the rows of a snapshot that a branch is to go to.
#[derive(Clone, Debug)]
pub struct SeenRows {
    /// The snapshot.
    pub snapshot_id: i64,
    /// What its rows were held against, and satisfy.
    pub fit: Unproven,
}

/// A change of branches and tags.
#[derive(Clone, Debug)]
pub enum RefEdit {
    /// Gives a snapshot a name.
    Create {
        /// What it is.
        kind: RefKind,
        /// Its name.
        name: String,
        /// The snapshot.
        snapshot_id: i64,
        /// How long it is kept.
        retention: RefRetention,
        /// What happens when the name is taken.
        if_taken: IfTaken,
    },
    /// Takes a name away.
    Drop {
        /// What it is.
        kind: RefKind,
        /// Its name.
        name: String,
        /// A missing one is no error.
        if_exists: bool,
    },
    /// Moves a branch to where another branch or tag is, which must be ahead of it.
    FastForward {
        /// The branch that moves.
        branch: String,
        /// The branch or tag it moves to.
        to: String,
    },
    /// Makes a snapshot the current one.
    Rollback {
        /// The snapshot.
        snapshot_id: i64,
        /// Only an ancestor of the current one.
        to_ancestor: bool,
    },
}

/// Why branches and tags cannot be changed so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefError {
    /// The name is taken.
    Exists {
        /// What has it.
        kind: RefKind,
        /// The name.
        name: String,
    },
    /// Nothing has the name.
    Missing {
        /// What was wanted; none: either.
        kind: Option<RefKind>,
        /// The name.
        name: String,
    },
    /// It is the other thing.
    WrongKind {
        /// What was wanted.
        kind: RefKind,
        /// The name.
        name: String,
    },
    /// Nothing was ever written, so there is nothing to name.
    NoSnapshot,
    /// `main` is always there.
    Main,
    /// A branch would lose snapshots.
    NotAhead {
        /// The branch.
        branch: String,
        /// Where it was to go.
        to: String,
    },
    /// The snapshot is not an ancestor of the current one.
    NotAncestor {
        /// The snapshot.
        snapshot_id: i64,
    },
}

impl fmt::Display for RefError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RefError::Exists { kind, name } => write!(f, "{} \"{name}\" already exists", kind.noun()),
            RefError::Missing { kind: Some(kind), name } => write!(f, "{} \"{name}\" does not exist", kind.noun()),
            RefError::Missing { kind: None, name } => write!(f, "branch or tag \"{name}\" does not exist"),
            RefError::WrongKind { kind, name } => write!(f, "\"{name}\" is not a {}", kind.noun()),
            RefError::NoSnapshot => write!(f, "the table has no snapshot yet"),
            RefError::Main => write!(f, "branch \"{MAIN_BRANCH}\" cannot be replaced or dropped"),
            RefError::NotAhead { branch, to } => {
                write!(f, "cannot fast-forward branch \"{branch}\": \"{to}\" is not ahead of it")
            }
            RefError::NotAncestor { snapshot_id } => {
                write!(f, "snapshot {snapshot_id} is not an ancestor of the current snapshot")
            }
        }
    }
}

impl RefEdit {
    /// Does it move what queries read, so that what was committed meanwhile would be lost?
    pub fn moves_main(&self) -> bool {
        match self {
            RefEdit::Rollback { .. } => true,
            RefEdit::FastForward { branch, .. } => branch == MAIN_BRANCH,
            RefEdit::Create { .. } | RefEdit::Drop { .. } => false,
        }
    }

    /// The snapshot that a branch goes to, whose rows have to fit the table; none where no branch is made or moved.
    ///
    /// # Errors
    /// As the edit itself.
    pub fn goal(&self, base: &LakeTable) -> Result<Option<(String, i64)>, LakeError> {
        let Some((name, Some(new))) = self.change(base)? else { return Ok(None) };
        let moves = base.refs().get(&name).is_none_or(|before| before.snapshot_id != new.snapshot_id);
        Ok((new.is_branch() && moves).then_some((name, new.snapshot_id)))
    }

    /// Makes the edit; returns the location of the new metadata file, that of the base when nothing changes. None when it is not known
    /// that the rows of the snapshot that a branch goes to fit the table: it has other constraints than those that they were held against.
    pub(super) async fn apply(
        &self,
        warehouse: &Arc<Warehouse>,
        base: &LakeTable,
        seen: Option<&SeenRows>,
    ) -> Result<Option<String>, LakeError> {
        if let Some((_, snapshot_id)) = self.goal(base)? {
            let unproven = base.unproven(snapshot_id);
            let covered = |seen: &SeenRows| seen.snapshot_id == snapshot_id && seen.fit.covers(&unproven);
            if !unproven.is_nothing() && !seen.is_some_and(covered) {
                return Ok(None);
            }
        }
        self.make(warehouse, base).await.map(Some)
    }

    /// Makes the edit, whatever is known of rows.
    async fn make(&self, warehouse: &Arc<Warehouse>, base: &LakeTable) -> Result<String, LakeError> {
        let location = base.metadata_location();
        let mut refs = base.refs().clone();
        let Some((name, new)) = self.change(base)? else { return Ok(location.to_owned()) };
        if refs.get(&name) == new.as_ref() {
            return Ok(location.to_owned());
        }
        let builder = base.metadata().clone().into_builder(Some(location.to_owned()));
        let built = put(builder, &mut refs, name, new).and_then(TableMetadataBuilder::build);
        write(warehouse, base, built, refs).await
    }

    /// The name that changes and what it is then; none when there is nothing to do.
    fn change(&self, base: &LakeTable) -> Result<Option<(String, Option<SnapshotReference>)>, LakeError> {
        let refs = base.refs();
        match self {
            RefEdit::Create { kind, name, snapshot_id, retention, if_taken } => {
                if name == MAIN_BRANCH {
                    return Err(RefError::Main.into());
                }
                match (refs.get(name), if_taken) {
                    (Some(_), IfTaken::Keep) => return Ok(None),
                    (Some(found), IfTaken::Fail) => {
                        return Err(RefError::Exists { kind: kind_of(found), name: name.clone() }.into());
                    }
                    (Some(found), _) => check_kind(found, *kind, name)?,
                    (None, IfTaken::Require) => {
                        return Err(RefError::Missing { kind: Some(*kind), name: name.clone() }.into());
                    }
                    (None, _) => {}
                }
                check_snapshot(base, *snapshot_id)?;
                Ok(Some((name.clone(), Some(SnapshotReference::new(*snapshot_id, retention.of(*kind))))))
            }
            RefEdit::Drop { kind, name, if_exists } => match refs.get(name) {
                None if *if_exists => Ok(None),
                None => Err(RefError::Missing { kind: Some(*kind), name: name.clone() }.into()),
                Some(_) if name == MAIN_BRANCH => Err(RefError::Main.into()),
                Some(found) => check_kind(found, *kind, name).map(|()| Some((name.clone(), None))),
            },
            RefEdit::FastForward { branch, to } => {
                let missing = |kind, name: &String| LakeError::from(RefError::Missing { kind, name: name.clone() });
                let from = refs.get(branch).ok_or_else(|| missing(Some(RefKind::Branch), branch))?;
                check_kind(from, RefKind::Branch, branch)?;
                let target = refs.get(to).ok_or_else(|| missing(None, to))?;
                // Whose rows were written again when columns were changed has not moved from where it was.
                let was: HashSet<i64> = base.same_rows(from.snapshot_id).collect();
                if !base.ancestors(Some(target.snapshot_id)).any(|id| was.contains(&id)) {
                    return Err(RefError::NotAhead { branch: branch.clone(), to: to.clone() }.into());
                }
                let moved = SnapshotReference::new(target.snapshot_id, from.retention.clone());
                Ok(Some((branch.clone(), Some(moved))))
            }
            RefEdit::Rollback { snapshot_id, to_ancestor } => {
                check_snapshot(base, *snapshot_id)?;
                let current = base.metadata().current_snapshot_id();
                if *to_ancestor && !base.ancestors(current).any(|id| id == *snapshot_id) {
                    return Err(RefError::NotAncestor { snapshot_id: *snapshot_id }.into());
                }
                let retention = refs.get(MAIN_BRANCH).map(|main| main.retention.clone());
                let retention = retention.unwrap_or_else(|| RefRetention::default().of(RefKind::Branch));
                Ok(Some((MAIN_BRANCH.to_owned(), Some(SnapshotReference::new(*snapshot_id, retention)))))
            }
        }
    }
}

/// Brings branches to a snapshot, wherever they are; returns the location of the new metadata file.
pub(super) async fn set_branches(
    warehouse: &Arc<Warehouse>,
    base: &LakeTable,
    branches: &[String],
    snapshot_id: i64,
) -> Result<String, LakeError> {
    let mut refs = base.refs().clone();
    let mut builder = Ok(base.metadata().clone().into_builder(Some(base.metadata_location().to_owned())));
    for branch in branches {
        let retention = refs.get(branch).map(|before| before.retention.clone());
        let retention = retention.unwrap_or_else(|| RefRetention::default().of(RefKind::Branch));
        let moved = SnapshotReference::new(snapshot_id, retention);
        builder = builder.and_then(|builder| put(builder, &mut refs, branch.clone(), Some(moved)));
    }
    write(warehouse, base, builder.and_then(TableMetadataBuilder::build), refs).await
}

/// Writes metadata with other branches and tags.
async fn write(
    warehouse: &Arc<Warehouse>,
    base: &LakeTable,
    built: Result<TableMetadataBuildResult, iceberg::Error>,
    refs: Refs,
) -> Result<String, LakeError> {
    let built = built.map_err(|error| LakeError::metadata(base.metadata_location(), error))?;
    let table = new_state_with(warehouse, base, built.metadata, refs)?;
    let content = metadata::encode(table.metadata_location(), table.metadata())?;
    write_metadata(base.store(), (table.metadata_location().to_owned(), content)).await?;
    Ok(warehouse.remember(table).metadata_location().to_owned())
}

impl RefRetention {
    fn of(self, kind: RefKind) -> SnapshotRetention {
        let RefRetention { max_ref_age_ms, min_snapshots_to_keep, max_snapshot_age_ms } = self;
        match kind {
            RefKind::Branch => SnapshotRetention::branch(min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms),
            RefKind::Tag => SnapshotRetention::Tag { max_ref_age_ms },
        }
    }
}

fn kind_of(reference: &SnapshotReference) -> RefKind {
    if reference.is_branch() { RefKind::Branch } else { RefKind::Tag }
}

fn check_kind(found: &SnapshotReference, kind: RefKind, name: &str) -> Result<(), LakeError> {
    if kind_of(found) == kind { Ok(()) } else { Err(RefError::WrongKind { kind, name: name.to_owned() }.into()) }
}

fn check_snapshot(base: &LakeTable, id: i64) -> Result<(), LakeError> {
    match base.metadata().snapshot_by_id(id) {
        Some(_) => Ok(()),
        None => Err(LakeError::NoVersion(NoVersion { wanted: Version::Snapshot(id), oldest: None })),
    }
}

fn put(
    builder: TableMetadataBuilder,
    refs: &mut Refs,
    name: String,
    new: Option<SnapshotReference>,
) -> Result<TableMetadataBuilder, iceberg::Error> {
    let builder = match &new {
        Some(reference) => builder.set_ref(&name, reference.clone())?,
        None => builder.remove_ref(&name),
    };
    match new {
        Some(reference) => drop(refs.insert(name, reference)),
        None => drop(refs.remove(&name)),
    }
    Ok(builder)
}
