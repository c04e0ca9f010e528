//! What the metadata file itself says: `t$snapshots`, `t$history`, `t$refs`.

use std::collections::{BTreeMap, HashSet};

use arrow::array::RecordBatch;
use iceberg::spec::SnapshotRetention;
use wharf_catalog::SqlType;

use super::rows::{Cell, Layout, batch, timestamp};
use crate::error::LakeError;
use crate::table::LakeTable;

pub(super) fn snapshots_layout() -> Layout {
    Layout(vec![
        ("committed_at", SqlType::TimestampTz),
        ("snapshot_id", SqlType::BigInt),
        ("parent_id", SqlType::BigInt),
        ("operation", SqlType::Text),
        ("manifest_list", SqlType::Text),
        ("summary", SqlType::Json),
    ])
}

/// All snapshots, the oldest first.
pub(super) fn snapshots(table: &LakeTable) -> Result<RecordBatch, LakeError> {
    let mut snapshots: Vec<_> = table.metadata().snapshots().collect();
    snapshots.sort_unstable_by_key(|snapshot| (snapshot.sequence_number(), snapshot.timestamp_ms()));
    let row = |snapshot: &&iceberg::spec::SnapshotRef| {
        let summary = snapshot.summary();
        let properties: BTreeMap<_, _> = summary.additional_properties.iter().collect();
        let summary_json = serde_json::to_value(&properties).unwrap_or_default();
        vec![
            timestamp(snapshot.timestamp_ms()),
            snapshot.snapshot_id().into(),
            snapshot.parent_snapshot_id().into(),
            summary.operation.as_str().into(),
            snapshot.manifest_list().into(),
            summary_json.into(),
        ]
    };
    batch(&snapshots_layout(), snapshots.iter().map(row).collect())
}

pub(super) fn history_layout() -> Layout {
    Layout(vec![
        ("made_current_at", SqlType::TimestampTz),
        ("snapshot_id", SqlType::BigInt),
        ("parent_id", SqlType::BigInt),
        ("is_current_ancestor", SqlType::Boolean),
    ])
}

/// What `main` was, and from when on.
pub(super) fn history(table: &LakeTable) -> Result<RecordBatch, LakeError> {
    let metadata = table.metadata();
    let ancestors: HashSet<i64> = table.ancestors(metadata.current_snapshot_id()).collect();
    let row = |entry: &iceberg::spec::SnapshotLog| {
        let parent = metadata.snapshot_by_id(entry.snapshot_id).and_then(|snapshot| snapshot.parent_snapshot_id());
        vec![
            timestamp(entry.timestamp_ms),
            entry.snapshot_id.into(),
            parent.into(),
            ancestors.contains(&entry.snapshot_id).into(),
        ]
    };
    batch(&history_layout(), metadata.history().iter().map(row).collect())
}

pub(super) fn refs_layout() -> Layout {
    Layout(vec![
        ("name", SqlType::Text),
        ("type", SqlType::Text),
        ("snapshot_id", SqlType::BigInt),
        ("max_reference_age_in_ms", SqlType::BigInt),
        ("min_snapshots_to_keep", SqlType::Integer),
        ("max_snapshot_age_in_ms", SqlType::BigInt),
    ])
}

/// Branches and tags, by name.
pub(super) fn refs(table: &LakeTable) -> Result<RecordBatch, LakeError> {
    let row = |(name, reference): (&String, &iceberg::spec::SnapshotReference)| {
        let (kind, ref_age, snapshots, snapshot_age): (_, _, Cell, Cell) = match &reference.retention {
            SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms } => {
                ("BRANCH", *max_ref_age_ms, (*min_snapshots_to_keep).into(), (*max_snapshot_age_ms).into())
            }
            SnapshotRetention::Tag { max_ref_age_ms } => ("TAG", *max_ref_age_ms, Cell::Null, Cell::Null),
        };
        vec![name.as_str().into(), kind.into(), reference.snapshot_id.into(), ref_age.into(), snapshots, snapshot_age]
    };
    batch(&refs_layout(), table.refs().iter().map(row).collect())
}
