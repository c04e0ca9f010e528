//! Partitioning and order of a table: as SQL says them, as Iceberg's metadata holds them.
//!
//! `transform` computes partition values, `current` reads a table's layout back, `tuple` makes partition tuples of them and the folders they go to, `range` says which values a column can have in a
//! partition. What always holds: a file has the values of the partition spec under which it was written, so files of several
//! specs live side by side after the partitioning of a table was changed.

mod current;
mod hash;
mod range;
mod transform;
mod tuple;

use std::sync::Arc;

use iceberg::spec::{
    NestedField, NestedFieldRef, NullOrder, PartitionSpec, PrimitiveType, Schema, SchemaRef, SortDirection, SortField,
    SortOrder, TableMetadata, Type, UnboundPartitionField, UnboundPartitionSpec,
};

pub use iceberg::spec::Transform;

use crate::error::LakeError;
use crate::schema::promotes;

pub(crate) use range::{SourceRange, bucket_of, source_range};
pub(crate) use transform::{apply, result_type};
pub(crate) use tuple::{folder, holds, literal, literal_of};

/// A column under a transform, such as `bucket(16, id)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The name of the column.
    pub column: String,
    /// What is made of it.
    pub transform: Transform,
}

/// A partition field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionTerm {
    /// What it is made of.
    pub term: Term,
    /// Its name; none: the one that Iceberg gives.
    pub name: Option<String>,
}

/// A field of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortTerm {
    /// What is ordered by.
    pub term: Term,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST.
    pub nulls_first: bool,
}

/// How the rows of a table are laid out in files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The partition fields, in order.
    pub partition: Vec<PartitionTerm>,
    /// The order of the rows in a file.
    pub sort: Vec<SortTerm>,
}

/// A change of the partitioning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionChange {
    /// ADD PARTITION FIELD.
    Add(PartitionTerm),
    /// DROP PARTITION FIELD, by its name or by what it is made of.
    Drop(PartitionField),
    /// REPLACE PARTITION FIELD: the second takes the place of the first.
    Replace(PartitionField, PartitionTerm),
}

/// Which partition field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionField {
    /// By its name, or the column it is the values of.
    Named(String),
    /// By what it is made of.
    Made(Term),
}

/// The partition spec of a new table.
///
/// # Errors
/// A column that is not there, a transform that its type does not have, a name that is taken.
pub(crate) fn new_spec(schema: &Schema, terms: &[PartitionTerm]) -> Result<PartitionSpec, LakeError> {
    let fields = terms.iter().map(|term| unbound(schema, term, false)).collect::<Result<Vec<_>, _>>()?;
    check_names(schema, &fields)?;
    PartitionSpec::builder(schema.clone())
        .with_spec_id(0)
        .add_unbound_fields(fields)
        .and_then(|builder| builder.build())
        .map_err(|error| LakeError::InvalidLayout(error.message().to_owned()))
}

/// The partition spec after a change.
///
/// # Errors
/// As [`new_spec`], and a field that is not there.
pub(crate) fn changed_spec(table: &TableMetadata, change: &PartitionChange) -> Result<UnboundPartitionSpec, LakeError> {
    let schema = table.current_schema();
    let mut fields: Vec<UnboundPartitionField> =
        table.default_partition_spec().fields().iter().cloned().map(Into::into).collect();
    let add = |fields: &[UnboundPartitionField], term: &PartitionTerm| {
        let new = unbound(schema, term, true)?;
        let same =
            |field: &&UnboundPartitionField| (field.source_id, field.transform) == (new.source_id, new.transform);
        match fields.iter().find(same) {
            Some(there) => {
                Err(LakeError::InvalidLayout(format!("the table is partitioned by \"{}\" already", there.name)))
            }
            None => Ok(new),
        }
    };
    match change {
        PartitionChange::Add(term) => fields.push(add(&fields, term)?),
        PartitionChange::Drop(field) => drop(fields.remove(position(schema, &fields, field)?)),
        PartitionChange::Replace(field, term) => {
            let at = position(schema, &fields, field)?;
            fields.remove(at);
            let new = add(&fields, term)?;
            fields.insert(at, new);
        }
    }
    check_names(schema, &fields)?;
    UnboundPartitionSpec::builder()
        .add_partition_fields(fields)
        .map(|builder| builder.build())
        .map_err(|error| LakeError::InvalidLayout(error.message().to_owned()))
}

fn position(schema: &Schema, fields: &[UnboundPartitionField], wanted: &PartitionField) -> Result<usize, LakeError> {
    let (found, what) = match wanted {
        PartitionField::Named(name) => {
            let source = schema.field_by_name(name).map(|field| field.id);
            let identity = |field: &UnboundPartitionField| {
                field.transform == Transform::Identity && Some(field.source_id) == source
            };
            let named = fields.iter().position(|field| field.name == *name);
            (named.or_else(|| fields.iter().position(identity)), name.clone())
        }
        PartitionField::Made(term) => {
            let source = source(schema, &term.column)?.id;
            let same = |field: &UnboundPartitionField| (field.source_id, field.transform) == (source, term.transform);
            (fields.iter().position(same), format!("{}({})", term.transform, term.column))
        }
    };
    found.ok_or_else(|| LakeError::UndefinedField(format!("partition field \"{what}\" does not exist")))
}

fn source<'a>(schema: &'a Schema, column: &str) -> Result<&'a NestedFieldRef, LakeError> {
    let found = schema.as_struct().fields().iter().find(|field| field.name == column);
    found.ok_or_else(|| LakeError::UndefinedField(format!("column \"{column}\" does not exist")))
}

/// The partition field of a term. A field that is added later has the parameter of its transform in its name, so that one
/// bucket count can follow another; both as Iceberg's own writers name them.
fn unbound(schema: &Schema, term: &PartitionTerm, later: bool) -> Result<UnboundPartitionField, LakeError> {
    let Term { column, transform } = &term.term;
    let field = source(schema, column)?;
    check(field, *transform)?;
    let name = term.name.clone().unwrap_or_else(|| field_name(column, *transform, later));
    let bound = UnboundPartitionField::builder().source_id(field.id).name(name).transform(*transform);
    Ok(bound.build())
}

fn field_name(column: &str, transform: Transform, later: bool) -> String {
    let suffix = match transform {
        Transform::Identity => return column.to_owned(),
        Transform::Bucket(count) if later => format!("bucket_{count}"),
        Transform::Bucket(_) => "bucket".to_owned(),
        Transform::Truncate(width) if later => format!("trunc_{width}"),
        Transform::Truncate(_) => "trunc".to_owned(),
        other => other.to_string(),
    };
    format!("{column}_{suffix}")
}

/// Whether a column can be partitioned so. Floating-point numbers cannot: equal ones differ (0 and -0), and NaN is none.
fn check(field: &NestedFieldRef, transform: Transform) -> Result<(), LakeError> {
    let refuse = |what: &str| {
        let ty = &field.field_type;
        Err(LakeError::InvalidLayout(format!("column \"{}\" of Iceberg type {ty} {what}", field.name)))
    };
    match &*field.field_type {
        Type::Primitive(PrimitiveType::Float | PrimitiveType::Double) => {
            refuse("cannot be partitioned or bucketed by: its values are not exact")
        }
        ty if transform.result_type(ty).is_err() => refuse(&format!("has no transform {transform}")),
        _ => match transform {
            Transform::Bucket(0) | Transform::Truncate(0) => refuse("needs a transform with a number above 0"),
            Transform::Bucket(number) | Transform::Truncate(number) if number > i32::MAX as u32 => {
                refuse("needs a transform with a smaller number")
            }
            _ => Ok(()),
        },
    }
}

/// Names of partition fields are theirs alone; only the values of a column themselves have its name.
fn check_names(schema: &Schema, fields: &[UnboundPartitionField]) -> Result<(), LakeError> {
    for (index, field) in fields.iter().enumerate() {
        let column = schema.as_struct().fields().iter().find(|column| column.name == field.name);
        let own = |id: i32| field.transform == Transform::Identity && id == field.source_id;
        if column.is_some_and(|column| !own(column.id)) {
            return Err(LakeError::InvalidLayout(format!(
                "partition field \"{}\" has the name of a column",
                field.name
            )));
        }
        if fields[..index].iter().any(|other| other.name == field.name) {
            return Err(LakeError::InvalidLayout(format!("partition field \"{}\" is there twice", field.name)));
        }
    }
    Ok(())
}

/// The sort order of terms, with the id that a table's first has.
///
/// # Errors
/// As [`new_spec`].
pub(crate) fn sort_order(schema: &Schema, terms: &[SortTerm]) -> Result<SortOrder, LakeError> {
    let field = |term: &SortTerm| {
        let field = source(schema, &term.term.column)?;
        if term.term.transform != Transform::Identity {
            check(field, term.term.transform)?;
        } else if !field.field_type.is_primitive() {
            let what = format!("column \"{}\" of Iceberg type {} cannot be ordered by", field.name, field.field_type);
            return Err(LakeError::InvalidLayout(what));
        }
        Ok(SortField {
            source_id: field.id,
            transform: term.term.transform,
            direction: if term.descending { SortDirection::Descending } else { SortDirection::Ascending },
            null_order: if term.nulls_first { NullOrder::First } else { NullOrder::Last },
        })
    };
    let fields = terms.iter().map(field).collect::<Result<Vec<_>, LakeError>>()?;
    if fields.is_empty() {
        return Ok(SortOrder::unsorted_order());
    }
    Ok(SortOrder { order_id: 1, fields })
}

/// A schema that has the source columns of a spec: the current one, or an older one when a column was dropped since. Of the older ones
/// it is the youngest, whose types are the widest, with those of the current one where these are wider still.
pub(crate) fn schema_of(table: &TableMetadata, current: &SchemaRef, spec: &PartitionSpec) -> SchemaRef {
    let complete =
        |schema: &&SchemaRef| spec.fields().iter().all(|field| schema.field_by_id(field.source_id).is_some());
    if complete(&current) {
        return Arc::clone(current);
    }
    let youngest = table.schemas_iter().filter(complete).max_by_key(|schema| schema.schema_id());
    youngest.map_or_else(|| Arc::clone(current), |schema| widened(schema, current))
}

/// A schema with the types of another for the columns that were promoted from one to the other.
fn widened(schema: &SchemaRef, current: &SchemaRef) -> SchemaRef {
    let fields = schema.as_struct().fields().iter().map(|field| {
        let own = field.field_type.as_primitive_type();
        let now = current.field_by_id(field.id).and_then(|field| field.field_type.as_primitive_type());
        match (own, now) {
            (Some(own), Some(now)) if promotes(own, now) => {
                let plain = NestedField::new(field.id, &field.name, Type::Primitive(now.clone()), field.required);
                Arc::new(plain)
            }
            _ => Arc::clone(field),
        }
    });
    let built = Schema::builder().with_schema_id(schema.schema_id()).with_fields(fields).build();
    built.map_or_else(|_| Arc::clone(schema), Arc::new)
}
