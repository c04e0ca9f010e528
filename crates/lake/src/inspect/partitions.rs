//! `t$partitions`: what a snapshot has in each partition. A table without partitions has one row, once it has files.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use iceberg::spec::DataContentType;
use wharf_catalog::SqlType;

use super::rows::{Cell, Layout, batch, partition, timestamp};
use crate::error::LakeError;
use crate::manifest::{self, Entry};
use crate::table::LakeTable;

pub(super) fn layout() -> Layout {
    Layout(vec![
        ("partition", SqlType::Json),
        ("spec_id", SqlType::Integer),
        ("record_count", SqlType::BigInt),
        ("file_count", SqlType::BigInt),
        ("total_data_file_size_in_bytes", SqlType::BigInt),
        ("position_delete_record_count", SqlType::BigInt),
        ("position_delete_file_count", SqlType::BigInt),
        ("equality_delete_record_count", SqlType::BigInt),
        ("equality_delete_file_count", SqlType::BigInt),
        ("last_updated_at", SqlType::TimestampTz),
        ("last_updated_snapshot_id", SqlType::BigInt),
    ])
}

#[derive(Default)]
struct Sums {
    /// Records and files by the kind of file: data, position deletes, equality deletes.
    counts: [(u64, u64); 3],
    data_bytes: u64,
    /// The youngest snapshot that added a file, with its sequence number.
    last: Option<(i64, i64)>,
}

/// One row for each spec and partition, in their order.
pub(super) async fn rows(table: &LakeTable) -> Result<RecordBatch, LakeError> {
    let mut partitions: BTreeMap<(i32, String), Sums> = BTreeMap::new();
    for file in table.manifests().await?.iter().filter(|file| manifest::is_live(file)) {
        let ty = table.partition_type(file.partition_spec_id)?;
        for entry in table.entries(file).await?.iter().filter(Entry::is_alive) {
            let sums = partitions.entry((file.partition_spec_id, partition(&entry.partition(), &ty))).or_default();
            let (records, files) = &mut sums.counts[super::files::content(entry.content_type()) as usize];
            *records += entry.record_count();
            *files += 1;
            if entry.content_type() == DataContentType::Data {
                sums.data_bytes += entry.file_size_in_bytes();
            }
            if let (Some(number), Some(snapshot)) = (entry.sequence_number(), entry.snapshot_id()) {
                sums.last = sums.last.max(Some((number, snapshot)));
            }
        }
    }
    let rows = partitions.into_iter().map(|((spec, partition), sums)| {
        let [data, positions, equalities] = sums.counts;
        let snapshot = sums.last.map(|(_, snapshot)| snapshot);
        let updated = snapshot.and_then(|id| table.metadata().snapshot_by_id(id));
        vec![
            Cell::Text(partition),
            spec.into(),
            data.0.into(),
            data.1.into(),
            sums.data_bytes.into(),
            positions.0.into(),
            positions.1.into(),
            equalities.0.into(),
            equalities.1.into(),
            updated.map_or(Cell::Null, |snapshot| timestamp(snapshot.timestamp_ms())),
            snapshot.into(),
        ]
    });
    batch(&layout(), rows.collect())
}
