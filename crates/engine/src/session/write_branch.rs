//! The branch that writes go to: the setting `wharf.write_branch`.
//!
//! What always holds: a statement that writes reads the rows it changes from the branch it writes to. Everything else reads what
//! it says, which is `main` where it says nothing.

use std::sync::Arc;

use wharf_catalog::Table;
use wharf_lake::commit::Step;
use wharf_lake::{LakeTable, Version};
use wharf_values::{SqlError, SqlState};

use super::Session;
use crate::error::from_lake;

/// The setting that says which branch writes go to.
const WRITE_BRANCH: &str = "wharf.write_branch";

/// Which branch of a table rows go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Branch {
    /// That of the setting.
    OfWrites,
    /// `main`, whatever the setting says: the table is the statement's own, or a log that stands beside what is written.
    Main,
}

impl Session {
    /// The branch that writes go to; none: `main`.
    fn write_branch(&self) -> Option<String> {
        let branch = self.settings.get(WRITE_BRANCH).unwrap_or_default();
        (!branch.is_empty() && branch != "main").then_some(branch)
    }

    /// Do writes go to a branch other than `main`?
    pub(crate) fn writes_to_branch(&self) -> bool {
        self.write_branch().is_some()
    }

    /// A table as a statement sees it that writes to it: the branch that writes go to.
    ///
    /// # Errors
    /// `42704` when the table has no such branch, `42809` when it is a tag, and what the lake says.
    pub(crate) async fn open_to_write(&self, table: &Table) -> Result<Arc<LakeTable>, SqlError> {
        let reader = self.reader();
        // A table that is in the making has no branches.
        let Some(branch) = self.write_branch().filter(|_| table.oid != 0) else {
            return reader.open(table).await.map_err(|error| from_lake(&error));
        };
        let hint = "Writes go to the branch that the setting wharf.write_branch names.";
        let opened =
            reader.open_at(table, &Version::Ref(branch.clone())).await.map_err(|error| error.with_hint(hint))?;
        if opened.branch() != Some(branch.as_str()) {
            let message = format!("\"{branch}\" of table \"{}\" is not a branch", table.name);
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message).with_hint(hint));
        }
        Ok(opened)
    }

    /// The same where it is said which branch it is.
    ///
    /// # Errors
    /// As [`Session::open_to_write`].
    pub(crate) async fn open_branch(&self, table: &Table, branch: Branch) -> Result<Arc<LakeTable>, SqlError> {
        match branch {
            Branch::OfWrites => self.open_to_write(table).await,
            Branch::Main => self.reader().open(table).await.map_err(|error| from_lake(&error)),
        }
    }

    /// A step of a write, on the branch that it is said to go to.
    pub(crate) fn on_branch(&self, branch: Branch, step: Step) -> Step {
        match branch {
            Branch::OfWrites => self.on_write_branch(step),
            Branch::Main => step,
        }
    }

    /// A step of a write, on the branch that writes go to.
    pub(crate) fn on_write_branch(&self, step: Step) -> Step {
        match self.write_branch() {
            Some(branch) => Step::OnBranch(branch, Box::new(step)),
            None => step,
        }
    }
}
