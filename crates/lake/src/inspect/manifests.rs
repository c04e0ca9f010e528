//! `t$manifests`: the manifest list of a snapshot.

use arrow::array::RecordBatch;
use iceberg::spec::{Datum, FieldSummary, ManifestContentType, ManifestFile, Type};
use serde_json::{Value, json};
use wharf_catalog::SqlType;

use super::rows::{Cell, Layout, batch, datum};
use crate::error::LakeError;
use crate::table::LakeTable;

pub(super) fn layout() -> Layout {
    Layout(vec![
        ("content", SqlType::Integer),
        ("path", SqlType::Text),
        ("length", SqlType::BigInt),
        ("partition_spec_id", SqlType::Integer),
        ("sequence_number", SqlType::BigInt),
        ("added_snapshot_id", SqlType::BigInt),
        ("added_files_count", SqlType::Integer),
        ("added_rows_count", SqlType::BigInt),
        ("existing_files_count", SqlType::Integer),
        ("existing_rows_count", SqlType::BigInt),
        ("deleted_files_count", SqlType::Integer),
        ("deleted_rows_count", SqlType::BigInt),
        ("partition_summaries", SqlType::Json),
    ])
}

/// The manifests, the newest first.
pub(super) async fn rows(table: &LakeTable) -> Result<RecordBatch, LakeError> {
    let manifests = table.manifests().await?;
    let rows = manifests.iter().map(|file| {
        vec![
            Cell::from(match file.content {
                ManifestContentType::Data => 0,
                ManifestContentType::Deletes => 1,
            }),
            file.manifest_path.as_str().into(),
            file.manifest_length.into(),
            file.partition_spec_id.into(),
            file.sequence_number.into(),
            file.added_snapshot_id.into(),
            file.added_files_count.into(),
            file.added_rows_count.into(),
            file.existing_files_count.into(),
            file.existing_rows_count.into(),
            file.deleted_files_count.into(),
            file.deleted_rows_count.into(),
            summaries(table, file).into(),
        ]
    });
    batch(&layout(), rows.collect())
}

/// For each field of the partition its bounds; none of an unpartitioned manifest.
fn summaries(table: &LakeTable, file: &ManifestFile) -> Option<Value> {
    let ty = table.partition_type(file.partition_spec_id).ok()?;
    let summaries = file.partitions.as_ref().filter(|summaries| !summaries.is_empty())?;
    let listed = ty.fields().iter().zip(summaries).map(|(field, summary): (_, &FieldSummary)| {
        let bound = |bytes: Option<&[u8]>| match (bytes, field.field_type.as_ref()) {
            (Some(bytes), Type::Primitive(ty)) => {
                Datum::try_from_bytes(bytes, ty.clone()).map_or(Value::Null, |bound| datum(&bound))
            }
            _ => Value::Null,
        };
        json!({
            "field": field.name,
            "contains_null": summary.contains_null,
            "contains_nan": summary.contains_nan,
            "lower_bound": bound(summary.lower_bound.as_deref().map(|bytes| bytes.as_slice())),
            "upper_bound": bound(summary.upper_bound.as_deref().map(|bytes| bytes.as_slice())),
        })
    });
    Some(Value::Array(listed.collect()))
}
