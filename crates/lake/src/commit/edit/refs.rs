//! Branches and tags: names for snapshots. Making, dropping and moving them changes the metadata file alone.
//!
//! Which snapshot is meant was decided when the statement ran: made again on another head, an edit names the same one.

use std::fmt;
use std::sync::Arc;

use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadataBuilder};

use super::super::snapshot::{new_state_with, write_metadata};
use crate::error::LakeError;
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

    /// Makes the edit; returns the location of the new metadata file, that of the base when nothing changes.
    pub(super) async fn apply(&self, warehouse: &Arc<Warehouse>, base: &LakeTable) -> Result<String, LakeError> {
        let location = base.metadata_location();
        let mut refs = base.refs().clone();
        let Some((name, new)) = self.change(base)? else { return Ok(location.to_owned()) };
        if refs.get(&name) == new.as_ref() {
            return Ok(location.to_owned());
        }
        let builder = base.metadata().clone().into_builder(Some(location.to_owned()));
        let table = put(builder, &mut refs, name, new).map_err(|error| LakeError::metadata(location, error))?;
        let table = new_state_with(warehouse, base, table, refs)?;
        let content = metadata::encode(table.metadata_location(), table.metadata())?;
        write_metadata(base.store(), (table.metadata_location().to_owned(), content)).await?;
        Ok(warehouse.remember(table).metadata_location().to_owned())
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
                if !base.ancestors(Some(target.snapshot_id)).any(|id| id == from.snapshot_id) {
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
) -> Result<iceberg::spec::TableMetadata, iceberg::Error> {
    let builder = match &new {
        Some(reference) => builder.set_ref(&name, reference.clone())?,
        None => builder.remove_ref(&name),
    };
    match new {
        Some(reference) => drop(refs.insert(name, reference)),
        None => drop(refs.remove(&name)),
    }
    builder.build().map(|built| built.metadata)
}
