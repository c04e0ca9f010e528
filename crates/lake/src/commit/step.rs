//! Steps: what a transaction does to a table, kept so that it can be done again on another head.
//!
//! What always holds: steps that were squashed together leave the same rows and the same columns as one after the other.

use std::sync::Arc;

use super::edit::Edit;
use super::overwrite::rewrite;
use super::uncommitted::Uncommitted;
use super::{append, delta, overwrite, truncate};
use crate::deletes::{RemovedFiles, RowDeletes};
use crate::error::LakeError;
use crate::schema::{COMPUTED_PROPERTY, CONSTRAINT_PROPERTY, INITIAL_PROPERTY};
use crate::table::LakeTable;
use crate::travel::Version;
use crate::warehouse::Warehouse;
use crate::write::WrittenFile;

/// One change of a table.
#[derive(Clone)]
pub enum Step {
    /// These files come to those that are there.
    Append(Vec<WrittenFile>),
    /// Files take the place of others.
    Overwrite {
        /// The data files that go.
        removed: RemovedFiles,
        /// The files that come.
        added: Vec<WrittenFile>,
    },
    /// Files take the place of others that have the same rows.
    Rewrite {
        /// The data files that go.
        removed: RemovedFiles,
        /// The files that come.
        added: Vec<WrittenFile>,
    },
    /// Rows go where they are, and files take the place of others.
    Delta {
        /// The rows that go.
        rows: RowDeletes,
        /// The data files that go. None of those rows are in them.
        removed: RemovedFiles,
        /// The files that come.
        added: Vec<WrittenFile>,
    },
    /// These files take the place of all, which were loaded from nowhere any more: TRUNCATE, and what is written after it.
    Replace(Vec<WrittenFile>),
    /// The metadata alone changes.
    Edit(Edit),
    /// A step that is right only over the rows that it was made over: nobody has written to the table since.
    Alone {
        /// The snapshot with those rows.
        snapshot: Option<i64>,
        /// The step.
        step: Box<Step>,
    },
    /// Something of the above, of edits [`Edit::Loaded`] alone, on a branch other than `main`.
    OnBranch(String, Box<Step>),
}

impl Step {
    /// The data files that it brings.
    pub fn files(&self) -> &[WrittenFile] {
        match self {
            Step::Append(files)
            | Step::Overwrite { added: files, .. }
            | Step::Rewrite { added: files, .. }
            | Step::Delta { added: files, .. }
            | Step::Replace(files) => files,
            Step::Edit(edit) => edit.files(),
            Step::Alone { step, .. } | Step::OnBranch(_, step) => step.files(),
        }
    }

    /// What is done, on whichever branch.
    pub fn on_any_branch(&self) -> &Step {
        match self {
            Step::OnBranch(_, step) => step,
            step => step,
        }
    }

    /// Does it bring no snapshot?
    fn is_metadata_alone(&self) -> bool {
        match self {
            Step::Edit(edit) => edit.is_metadata_alone(),
            Step::Alone { step, .. } | Step::OnBranch(_, step) => step.is_metadata_alone(),
            _ => false,
        }
    }

    /// This and the next as one; both again where they cannot be.
    fn then(self, next: Step) -> Result<Step, Box<(Step, Step)>> {
        Ok(match (self, next) {
            (
                Step::Append(_) | Step::Overwrite { .. } | Step::Delta { .. } | Step::Replace(_),
                Step::Replace(files),
            ) => Step::Replace(files),
            (Step::Append(mut files), Step::Append(more)) => {
                files.extend(more);
                Step::Append(files)
            }
            (Step::Replace(mut files), Step::Append(more)) => {
                files.extend(more);
                Step::Replace(files)
            }
            (Step::Overwrite { removed, mut added }, Step::Append(more)) => {
                added.extend(more);
                Step::Overwrite { removed, added }
            }
            (Step::Append(mut files), Step::Overwrite { mut removed, added }) => {
                // Files of the transaction's own never were in the base.
                files.retain(|file| !removed.remove(file.location()));
                files.extend(added);
                match removed.is_empty() {
                    true => Step::Append(files),
                    false => Step::Overwrite { removed, added: files },
                }
            }
            (Step::Replace(mut files), Step::Overwrite { removed, added }) => {
                files.retain(|file| !removed.contains(file.location()));
                files.extend(added);
                Step::Replace(files)
            }
            (Step::Overwrite { mut removed, added: mut files }, Step::Overwrite { removed: mut more, added }) => {
                files.retain(|file| !more.remove(file.location()));
                removed.extend(more);
                files.extend(added);
                Step::Overwrite { removed, added: files }
            }
            (Step::Delta { rows, removed, mut added }, Step::Append(more)) => {
                added.extend(more);
                Step::Delta { rows, removed, added }
            }
            // Rows of the transaction's own files can be deleted once these are there.
            (Step::Append(mut files), Step::Delta { rows, mut removed, added }) if !rows.concern(&files) => {
                files.retain(|file| !removed.remove(file.location()));
                files.extend(added);
                Step::Delta { rows, removed, added: files }
            }
            // A file that goes after it has lost rows was read without these.
            (
                Step::Delta { mut rows, mut removed, added: mut files },
                Step::Delta { rows: more, removed: mut others, added },
            ) if !more.concern(&files) && !others.locations().any(|location| rows.has_file(location)) => {
                files.retain(|file| !others.remove(file.location()));
                removed.extend(others);
                rows.extend(&more);
                files.extend(added);
                Step::Delta { rows, removed, added: files }
            }
            unlike => return Err(Box::new(unlike)),
        })
    }
}

/// The same steps, as few as possible.
pub fn squash(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let mut squashed: Vec<Step> = Vec::new();
    for step in steps {
        let Some(last) = squashed.pop() else {
            squashed.push(step);
            continue;
        };
        match last.then(step) {
            Ok(both) => squashed.push(both),
            Err(unlike) => squashed.extend(<[Step; 2]>::from(*unlike)),
        }
    }
    squashed
}

/// Makes steps over a state of a table, one after the other; returns the location of the last metadata file, that of the base
/// when nothing changes. Every state that is written for it is put into `written`, also when this fails half way. None when a
/// step's files are not there any more: somebody else was faster.
///
/// # Errors
/// As [`append`](super::append()), and what an edit refuses.
pub async fn apply(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    steps: &[Step],
    written: &mut Uncommitted,
) -> Result<Option<String>, LakeError> {
    let mut table = Arc::clone(base);
    for step in steps {
        let Some(new) = one(warehouse, &table, step, written).await? else { return Ok(None) };
        if new != table.metadata_location() {
            match step.is_metadata_alone() {
                // Its snapshots are those that were there before.
                true => written.add_metadata(&new),
                false => written.add_state(&new),
            }
            table = warehouse.load(&new).await?;
        }
    }
    Ok(Some(table.metadata_location().to_owned()))
}

/// Makes one step; none when it is not possible any more. States on the way to the one it makes are put into `written`.
async fn one(
    warehouse: &Arc<Warehouse>,
    table: &Arc<LakeTable>,
    step: &Step,
    written: &mut Uncommitted,
) -> Result<Option<String>, LakeError> {
    match step {
        Step::Append(files) => append(warehouse, table, files.clone()).await.map(Some),
        Step::Overwrite { removed, added } => overwrite(warehouse, table, removed, added.clone()).await,
        Step::Rewrite { removed, added } => rewrite(warehouse, table, removed, added.clone()).await,
        Step::Delta { rows, removed, added } => delta(warehouse, table, removed, rows, added.clone()).await,
        Step::Replace(files) => truncate(warehouse, table, files.clone()).await.map(Some),
        Step::Edit(edit) => edit.apply(warehouse, table, written).await,
        Step::Alone { snapshot, step } if table.snapshot_id() == *snapshot => {
            Box::pin(one(warehouse, table, step, written)).await
        }
        Step::Alone { .. } => Ok(None),
        Step::OnBranch(branch, step) => {
            let over = warehouse.load_at(table.metadata_location(), &Version::Ref(branch.clone())).await?;
            Box::pin(one(warehouse, &over, step, written)).await
        }
    }
}

/// May files that were written for one state of a table become part of another? Columns may have come, gone or been renamed
/// since, but none has become NOT NULL or of another type, none that came has values that other engines would miss in the files, and there
/// are no new checks.
pub fn still_fits(written_for: &LakeTable, now: &LakeTable) -> bool {
    let said = |id: i32| now.iceberg_schema().field_by_id(id).is_some_and(|field| field.initial_default.is_some());
    let has_values = |id: i32| {
        [INITIAL_PROPERTY, COMPUTED_PROPERTY]
            .iter()
            .any(|family| now.properties().contains_key(&format!("{family}{id}")))
    };
    let columns = now.columns().iter().all(|column| {
        let before = written_for.columns().iter().find(|before| before.field_id == column.field_id);
        match before {
            Some(before) => before.ty == column.ty && (column.nullable || !before.nullable),
            None => said(column.field_id) || (column.nullable && !has_values(column.field_id)),
        }
    });
    // Rows are held against checks before they are written.
    let checks = now
        .properties()
        .iter()
        .filter(|(name, text)| name.starts_with(CONSTRAINT_PROPERTY) && text.starts_with("CHECK"));
    columns && checks.into_iter().all(|(name, text)| written_for.properties().get(name) == Some(text))
}
