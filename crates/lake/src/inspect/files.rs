//! `t$files`: the data and delete files of a snapshot.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{DataContentType, ManifestFile};
use wharf_catalog::SqlType;

use super::Batches;
use super::rows::{Cell, Layout, batch, bounds, counts, partition};
use crate::error::LakeError;
use crate::manifest::{self, Entry};
use crate::table::LakeTable;

pub(super) fn layout() -> Layout {
    Layout(vec![
        ("content", SqlType::Integer),
        ("file_path", SqlType::Text),
        ("file_format", SqlType::Text),
        ("spec_id", SqlType::Integer),
        ("partition", SqlType::Json),
        ("record_count", SqlType::BigInt),
        ("file_size_in_bytes", SqlType::BigInt),
        ("column_sizes", SqlType::Json),
        ("value_counts", SqlType::Json),
        ("null_value_counts", SqlType::Json),
        ("nan_value_counts", SqlType::Json),
        ("lower_bounds", SqlType::Json),
        ("upper_bounds", SqlType::Json),
        ("split_offsets", SqlType::Array(Box::new(SqlType::BigInt))),
        ("equality_ids", SqlType::Array(Box::new(SqlType::Integer))),
        ("sort_order_id", SqlType::Integer),
        ("added_snapshot_id", SqlType::BigInt),
        ("sequence_number", SqlType::BigInt),
    ])
}

/// A batch for each manifest that has live files.
pub(super) fn batches(table: Arc<LakeTable>) -> Batches {
    let listed = async move {
        let manifests: Vec<ManifestFile> =
            table.manifests().await?.iter().filter(|file| manifest::is_live(file)).cloned().collect();
        let rows = stream::iter(manifests).then(move |file| {
            let table = Arc::clone(&table);
            async move { of_manifest(&table, &file).await }
        });
        Ok::<_, LakeError>(rows)
    };
    stream::once(listed).try_flatten().boxed()
}

/// The kind of a file as Iceberg numbers it.
pub(super) fn content(content: DataContentType) -> i32 {
    match content {
        DataContentType::Data => 0,
        DataContentType::PositionDeletes => 1,
        DataContentType::EqualityDeletes => 2,
    }
}

async fn of_manifest(table: &LakeTable, manifest: &ManifestFile) -> Result<RecordBatch, LakeError> {
    let ty = table.partition_type(manifest.partition_spec_id)?;
    let entries = table.entries(manifest).await?;
    let alive = entries.iter().filter(Entry::is_alive);
    let rows = alive.map(|entry| {
        let entry = entry.whole()?;
        let file = &entry.data_file;
        Ok(vec![
            Cell::from(content(file.content_type())),
            file.file_path().into(),
            Cell::Text(file.file_format().to_string().to_uppercase()),
            manifest.partition_spec_id.into(),
            Cell::Text(partition(file.partition(), &ty)),
            file.record_count().into(),
            file.file_size_in_bytes().into(),
            counts(file.column_sizes()),
            counts(file.value_counts()),
            counts(file.null_value_counts()),
            counts(file.nan_value_counts()),
            bounds(file.lower_bounds()),
            bounds(file.upper_bounds()),
            file.split_offsets().map_or(Cell::Null, |offsets| Cell::Ints(offsets.to_vec())),
            file.equality_ids().map_or(Cell::Null, |ids| Cell::Ints(ids.into_iter().map(i64::from).collect())),
            file.sort_order_id().into(),
            entry.snapshot_id.into(),
            entry.sequence_number.into(),
        ])
    });
    batch(&layout(), rows.collect::<Result<_, LakeError>>()?)
}
