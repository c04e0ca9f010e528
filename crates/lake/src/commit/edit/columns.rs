//! Columns: another schema for the same rows.
//!
//! Columns are known by field id, so data files stay as they are: a renamed column is found under its old name, a new one
//! is NULL in them or has its initial value, a dropped one is passed over, one of a wider type is widened as it is read. What always holds:
//! where that is not what the rows are to be, those of all branches are written again, in the same commit; and for those of older
//! snapshots it is noted what they are, or that they are nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use datafusion::common::ScalarValue;
use iceberg::spec::{FormatVersion, Schema, TableMetadataBuilder, Type};
use wharf_catalog::Column;

use super::super::replace::rewrite;
use super::super::snapshot::write_state;
use super::super::uncommitted::Uncommitted;
use super::refs;
use crate::error::LakeError;
use crate::schema::{
    self, CHECKED_SINCE_PROPERTY, COMPUTED_PROPERTY, CONSTRAINT_PROPERTY, DEFAULT_PROPERTY, NOT_NULL_IN_PROPERTY,
    TYPE_PROPERTY,
};
use crate::table::LakeTable;
use crate::travel::Version;
use crate::warehouse::Warehouse;
use crate::write::WrittenFile;
use crate::{defaults, fit};

/// What a table's schema becomes.
#[derive(Clone, Default)]
pub struct SchemaChange {
    /// Its columns. A column keeps its values if it keeps its field id; a new one needs an id above
    /// [`LakeTable::last_column_id`].
    pub columns: Vec<Column>,
    /// The field ids of its primary key, which Iceberg calls the identifier; none: it stays what it is.
    pub identifier: Option<Vec<i32>>,
    /// Its constraints by name, as SQL.
    pub constraints: BTreeMap<String, String>,
    /// The values of new columns in rows of before, by field id; where there is none they are NULL. Each must be one that
    /// [`LakeTable::can_be_initial`]. Where the format cannot say it, the rows that other engines are to see with it have to be rewritten.
    pub initial: HashMap<i32, ScalarValue>,
    /// The field ids of new columns whose values differ from row to row. Rows that are not rewritten have none.
    pub computed: Vec<i32>,
    /// The caller has seen that the rows of all branches fit (a column that becomes NOT NULL has no NULL), or replaces them.
    pub checked: bool,
    /// The rows under the new schema, in the place of all there are.
    pub rewritten: Option<Rewritten>,
    /// The state of the table that this was made of.
    pub made_of: Option<Arc<LakeTable>>,
}

/// Rows under a new schema, in the place of those of branches.
#[derive(Clone, Default)]
pub struct Rewritten {
    /// The files, those of one head after those of another.
    pub files: Vec<WrittenFile>,
    /// The heads, in the order of their files. One that is missing keeps its rows.
    pub heads: Vec<RewrittenHead>,
}

/// What becomes of branches that have the same rows.
#[derive(Clone)]
pub struct RewrittenHead {
    /// The branches.
    pub branches: Vec<String>,
    /// How many of the files are theirs.
    pub files: usize,
}

impl Rewritten {
    /// Adds the rows of some branches.
    pub fn add(&mut self, branches: Vec<String>, files: Vec<WrittenFile>) {
        self.heads.push(RewrittenHead { branches, files: files.len() });
        self.files.extend(files);
    }
}

impl SchemaChange {
    /// Other columns, and nothing else.
    pub fn of(base: &LakeTable, columns: &[Column]) -> SchemaChange {
        SchemaChange { columns: columns.to_vec(), constraints: base.constraints(), ..SchemaChange::default() }
    }

    /// Gives a table this schema, and its rows; returns the location of the new metadata file. None when the table is not
    /// what this was made of any more.
    pub(super) async fn apply(
        &self,
        warehouse: &Arc<Warehouse>,
        base: &Arc<LakeTable>,
        written: &mut Uncommitted,
    ) -> Result<Option<String>, LakeError> {
        if let Some(before) = &self.made_of {
            let same_rows = before.metadata_location() == base.metadata_location();
            let same_shape = before.columns() == base.columns() && before.constraints() == base.constraints();
            if !same_shape || (self.checked && !same_rows) {
                return Ok(None);
            }
        }
        let location = set_columns(warehouse, base, self).await?;
        let Some(rewritten) = &self.rewritten else { return Ok(Some(location)) };
        let mut states = States { states: vec![State { location, brings_snapshot: false }] };
        let result = rewritten.put_in_place(warehouse, &mut states).await;
        let last = if result.is_ok() { states.states.pop() } else { None };
        for state in states.states {
            match state.brings_snapshot {
                true => written.add_state(&state.location),
                false => written.add_metadata(&state.location),
            }
        }
        result.map(|()| last.map(|state| state.location))
    }
}

/// The states on the way to the one that a change makes.
struct States {
    states: Vec<State>,
}

struct State {
    location: String,
    brings_snapshot: bool,
}

impl States {
    fn last(&self) -> &str {
        self.states.last().map_or("", |state| &state.location)
    }

    fn push(&mut self, location: String, brings_snapshot: bool) {
        if location != self.last() {
            self.states.push(State { location, brings_snapshot });
        }
    }
}

impl Rewritten {
    /// Gives each head its files. Branches that were at one snapshot are at one again.
    async fn put_in_place(&self, warehouse: &Arc<Warehouse>, states: &mut States) -> Result<(), LakeError> {
        let mut rest = self.files.as_slice();
        for head in &self.heads {
            let (files, others) = rest.split_at(head.files.min(rest.len()));
            rest = others;
            let Some((first, others)) = head.branches.split_first() else { continue };
            let over = warehouse.load_at(states.last(), &Version::Ref(first.clone())).await?;
            states.push(rewrite(warehouse, &over, files.to_vec()).await?, true);
            let table = warehouse.load(states.last()).await?;
            if let Some(made) = table.refs().get(first).filter(|_| !others.is_empty()) {
                states.push(refs::set_branches(warehouse, &table, others, made.snapshot_id).await?, false);
            }
        }
        Ok(())
    }
}

/// Gives a table another schema; returns the location of the new metadata file.
///
/// # Errors
/// A change of a stored type that is not a promotion of Iceberg's, a column that is new or becomes NOT NULL although there
/// may be rows without it, a column that the table's files are partitioned by and that goes, and all that
/// [`append`](crate::commit::append()) can meet.
pub async fn set_columns(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    change: &SchemaChange,
) -> Result<String, LakeError> {
    base.check_readable()?;
    check(base, change)?;
    let location = base.metadata_location();
    let failed = |error: iceberg::Error| LakeError::metadata(location, error);
    let before = base.iceberg_schema();
    let new_id = base.metadata().schemas_iter().map(|schema| schema.schema_id()).max().unwrap_or(0) + 1;
    let (schema, _) = schema::iceberg_schema(&change.columns, new_id, Some(before), base.last_column_id())?;
    let schema = match base.has_initial_values() {
        true => schema::with_initial(&schema, &change.initial)?,
        false => schema,
    };
    let schema = match &change.identifier {
        Some(key) => schema::with_identifier(schema, key)?,
        None => schema::with_identifier(schema, &before.identifier_field_ids().collect::<Vec<_>>())?,
    };
    let mut properties = schema::properties(&change.columns);
    let nothing = HashMap::new();
    let new = if base.has_initial_values() { &nothing } else { &change.initial };
    properties.extend(defaults::properties(before, &schema, base.properties(), new));
    properties.extend(change.computed.iter().map(|id| (format!("{COMPUTED_PROPERTY}{id}"), "true".to_owned())));
    properties
        .extend(change.constraints.iter().map(|(name, text)| (format!("{CONSTRAINT_PROPERTY}{name}"), text.clone())));
    properties.extend(checked_since(base, &change.constraints));
    properties.extend(not_null_in(base, change));
    let kept: HashSet<_> = change.columns.iter().map(|column| format!("{TYPE_PROPERTY}{}", column.field_id)).collect();
    let stale: Vec<_> = base
        .properties()
        .keys()
        // The types and initial values of columns that are gone are for reading old snapshots.
        .filter(|name| {
            [DEFAULT_PROPERTY, CONSTRAINT_PROPERTY, CHECKED_SINCE_PROPERTY]
                .iter()
                .any(|family| name.starts_with(family))
                || kept.contains(*name)
        })
        .filter(|name| !properties.contains_key(*name))
        .cloned()
        .collect();
    let built = base
        .metadata()
        .clone()
        .into_builder(Some(location.to_owned()))
        .add_schema(schema)
        .and_then(|builder| builder.set_current_schema(TableMetadataBuilder::LAST_ADDED))
        .and_then(|builder| builder.set_properties(properties))
        .and_then(|builder| builder.remove_properties(&stale))
        .and_then(|builder| builder.build())
        .map_err(failed)?;
    write_state(warehouse, base, built.metadata).await
}

/// The properties that say in which snapshots columns that become NOT NULL have been seen without NULL: the heads of all branches.
fn not_null_in(base: &LakeTable, change: &SchemaChange) -> HashMap<String, String> {
    let heads: BTreeSet<i64> =
        base.refs().values().filter(|found| found.is_branch()).map(|branch| branch.snapshot_id).collect();
    if !change.checked || heads.is_empty() {
        return HashMap::new();
    }
    let heads = heads.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let becomes = |column: &&Column| {
        let before = base.columns().iter().find(|before| before.field_id == column.field_id);
        !column.nullable && before.is_some_and(|before| before.nullable)
    };
    let columns = change.columns.iter().filter(becomes);
    columns.map(|column| (format!("{NOT_NULL_IN_PROPERTY}{}", column.field_id), heads.clone())).collect()
}

/// The properties that say since when rows are held against the checks. A check that had another text, or another name, is a new one.
fn checked_since(base: &LakeTable, constraints: &BTreeMap<String, String>) -> HashMap<String, String> {
    let before = base.constraints();
    let since = |(name, text): (&String, &String)| {
        let property = format!("{CHECKED_SINCE_PROPERTY}{name}");
        let since = match before.get(name) == Some(text) {
            true => base.properties().get(&property)?.clone(),
            false => base.metadata().last_sequence_number().to_string(),
        };
        fit::holds_of_rows(text).then_some((property, since))
    };
    constraints.iter().filter_map(since).collect()
}

impl LakeTable {
    /// The constraints that the metadata tell of, by name, as SQL.
    pub fn constraints(&self) -> BTreeMap<String, String> {
        let constraint =
            |(name, text): (&String, &String)| Some((name.strip_prefix(CONSTRAINT_PROPERTY)?.to_owned(), text.clone()));
        self.properties().iter().filter_map(constraint).collect()
    }

    /// Can the format say what a new column is in the rows there are? Else they have to be written again for other engines.
    pub fn has_initial_values(&self) -> bool {
        self.metadata().format_version() >= FormatVersion::V3
    }

    /// Can a value be the initial one of a column of this type, in the format or as a property?
    pub fn can_be_initial(column: &Column, value: &ScalarValue) -> bool {
        schema::iceberg_schema(std::slice::from_ref(column), 0, None, 0).is_ok_and(|(schema, _)| {
            schema::with_initial(&schema, &HashMap::from([(column.field_id, value.clone())])).is_ok()
        })
    }

    /// Are the files partitioned, or their rows sorted, by this column?
    pub fn is_laid_out_by(&self, field_id: i32) -> bool {
        let metadata = self.metadata();
        metadata.default_partition_spec().fields().iter().any(|field| field.source_id == field_id)
            || metadata.default_sort_order().fields.iter().any(|field| field.source_id == field_id)
    }
}

/// Refuses what would make stored rows unreadable.
fn check(base: &LakeTable, change: &SchemaChange) -> Result<(), LakeError> {
    let has_rows = base.may_have_rows();
    let refuse = |column: &str, what: &str| Err(LakeError::Batch(format!("column \"{column}\" {what}")));
    for column in &change.columns {
        let refuse = |what: &str| refuse(&column.name, what);
        let before = base.columns().iter().find(|before| before.field_id == column.field_id);
        match before {
            Some(before) if !is_readable_as(before, column)? => return refuse("is stored as another type"),
            Some(before) if has_rows && !change.checked && before.nullable && !column.nullable => {
                return refuse("may contain null values");
            }
            None if column.field_id <= base.last_column_id() => {
                return refuse("has the field id of a former column");
            }
            None if has_rows
                && !change.checked
                && !column.nullable
                && !change.initial.contains_key(&column.field_id) =>
            {
                return refuse("contains null values");
            }
            _ => {}
        }
    }
    for gone in base.columns() {
        let stays = change.columns.iter().any(|column| column.field_id == gone.field_id);
        if !stays && base.is_laid_out_by(gone.field_id) {
            return refuse(&gone.name, "is part of the partition key or sort order");
        }
    }
    Ok(())
}

/// Whether files written with one column are read as the other: the types are stored alike, or Iceberg promotes the one
/// to the other (<https://iceberg.apache.org/spec/#schema-evolution>).
fn is_readable_as(before: &Column, after: &Column) -> Result<bool, LakeError> {
    let stored = |column: &Column| -> Result<Schema, LakeError> {
        Ok(schema::iceberg_schema(std::slice::from_ref(column), 0, None, 0)?.0)
    };
    let (before, after) = (stored(before)?, stored(after)?);
    let ty = |schema: &Schema| schema.as_struct().fields().first().map(|field| (*field.field_type).clone());
    Ok(match (ty(&before), ty(&after)) {
        (Some(before), Some(after)) => schema::same_shape(&before, &after) || promotes(&before, &after),
        _ => false,
    })
}

fn promotes(from: &Type, to: &Type) -> bool {
    matches!((from, to), (Type::Primitive(from), Type::Primitive(to)) if schema::promotes(from, to))
}
