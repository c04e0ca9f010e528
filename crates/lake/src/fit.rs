//! Whether the rows of a snapshot fit the columns and constraints that a table has now.
//!
//! A branch has the table's current columns, with whichever schema its snapshot was written. What always holds, as far as Wharf moves
//! branches itself: the rows of every branch fit. A column that came after a snapshot is NULL in its rows, or has its initial value
//! ([`defaults`]). It has no value there at all when its values were computed row by row and written into other files
//! ([`COMPUTED_PROPERTY`]), or when it must not be NULL. Why nobody guesses: docs/decisions/0019-rows-of-branches.md.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use iceberg::spec::{Schema, Snapshot, TableMetadata};

use crate::defaults;
use crate::error::LakeError;
use crate::schema::{CHECKED_SINCE_PROPERTY, COMPUTED_PROPERTY, CONSTRAINT_PROPERTY, NOT_NULL_IN_PROPERTY};
use crate::table::{LakeTable, total};

/// What is not known of the rows of a snapshot under the columns and constraints of now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unproven {
    /// The field ids of columns that the rows have no values for.
    pub absent: Vec<i32>,
    /// The field ids of columns that must not be NULL now, and might be when the snapshot was written.
    pub required: Vec<i32>,
    /// Checks that are younger than the snapshot: their SQL by name.
    pub checks: BTreeMap<String, String>,
}

impl Unproven {
    /// Do the rows fit for certain?
    pub fn is_nothing(&self) -> bool {
        self.absent.is_empty() && self.required.is_empty() && self.checks.is_empty()
    }

    /// Is all of the other among this? Rows without values for a column do not fit, whatever somebody has looked at.
    pub(crate) fn covers(&self, other: &Unproven) -> bool {
        let check = |(name, text): (&String, &String)| self.checks.get(name) == Some(text);
        other.absent.is_empty()
            && other.required.iter().all(|id| self.required.contains(id))
            && other.checks.iter().all(check)
    }
}

impl LakeTable {
    /// What is not known of the rows of a snapshot, should it become the head of a branch; nothing for one that the table has not.
    pub fn unproven(&self, snapshot_id: i64) -> Unproven {
        unproven(self.metadata(), snapshot_id)
    }

    /// The checks that are younger than the snapshot whose rows these are; none for the head of a branch.
    pub fn younger_checks(&self) -> BTreeMap<String, String> {
        match (self.snapshot(), self.branch()) {
            (Some(snapshot), None) => younger_checks(self.metadata().properties(), snapshot),
            _ => BTreeMap::new(),
        }
    }

    /// Those of some columns that may be NULL in some row, as far as manifests tell.
    ///
    /// # Errors
    /// Manifests that cannot be read.
    pub async fn may_be_null(&self, columns: &[i32]) -> Result<Vec<i32>, LakeError> {
        let files = self.files().await?;
        let never = |id: i32| files.files.iter().all(|file| file.entry.null_value_count(id) == Some(0));
        Ok(columns.iter().copied().filter(|id| !never(*id)).collect())
    }

    /// Refuses to write over rows that have no values for a column: the new snapshot would say that they have.
    pub(crate) fn check_fits(&self) -> Result<(), LakeError> {
        match self.columns().iter().find(|column| self.absent().contains(&column.field_id)) {
            Some(column) => Err(LakeError::NoValues { column: column.name.clone() }),
            None => Ok(()),
        }
    }
}

/// What is not known of the rows of a snapshot under the current schema of metadata.
pub(crate) fn unproven(metadata: &TableMetadata, snapshot_id: i64) -> Unproven {
    let Some(snapshot) = metadata.snapshot_by_id(snapshot_id) else { return Unproven::default() };
    let checks = younger_checks(metadata.properties(), snapshot);
    Unproven { checks, ..columns(metadata, metadata.current_schema(), snapshot) }
}

/// The same, of columns alone, under any of the schemas.
pub(crate) fn columns(metadata: &TableMetadata, schema: &Arc<Schema>, snapshot: &Snapshot) -> Unproven {
    let mut unproven = Unproven::default();
    if snapshot.schema_id() == Some(schema.schema_id()) || is_empty(snapshot) {
        return unproven;
    }
    let written = snapshot.schema_id().and_then(|id| metadata.schema_by_id(id));
    for field in schema.as_struct().fields() {
        let before = written.map(|schema| schema.field_by_id(field.id));
        match before {
            Some(Some(before)) if before.required => {}
            _ if field.required && was_seen(metadata, field.id, snapshot) => {}
            // Nobody says what the columns were.
            None | Some(Some(_)) if field.required => unproven.required.push(field.id),
            None | Some(Some(_)) => {}
            Some(None) => {
                let computed = || metadata.properties().contains_key(&format!("{COMPUTED_PROPERTY}{}", field.id));
                let has_value = defaults::initial_literal(field, metadata.properties()).is_some();
                if !has_value && (field.required || computed()) {
                    unproven.absent.push(field.id);
                }
            }
        }
    }
    unproven
}

/// Has somebody looked, and found no NULL in the column?
fn was_seen(metadata: &TableMetadata, field_id: i32, snapshot: &Snapshot) -> bool {
    let seen = metadata.properties().get(&format!("{NOT_NULL_IN_PROPERTY}{field_id}"));
    seen.is_some_and(|ids| ids.split(',').any(|id| id.parse() == Ok(snapshot.snapshot_id())))
}

fn is_empty(snapshot: &Snapshot) -> bool {
    total(snapshot.summary(), "total-records") == Some(0)
}

/// The checks that hold of the rows there are, without those under which the snapshot was written already.
fn younger_checks(properties: &HashMap<String, String>, snapshot: &Snapshot) -> BTreeMap<String, String> {
    if is_empty(snapshot) {
        return BTreeMap::new();
    }
    let younger = |(name, text): (&String, &String)| {
        let name = name.strip_prefix(CONSTRAINT_PROPERTY)?;
        let since = properties.get(&format!("{CHECKED_SINCE_PROPERTY}{name}")).and_then(|since| since.parse().ok());
        let older = since.is_some_and(|since: i64| snapshot.sequence_number() > since);
        (holds_of_rows(text) && !older).then(|| (name.to_owned(), text.clone()))
    };
    properties.iter().filter_map(younger).collect()
}

/// Is it the SQL of a check that all rows satisfy? One that is NOT VALID holds of those alone that come after it.
pub(crate) fn holds_of_rows(constraint: &str) -> bool {
    constraint.starts_with("CHECK") && !constraint.ends_with(" NOT VALID")
}
