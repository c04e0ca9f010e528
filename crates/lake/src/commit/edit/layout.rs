//! Partitioning and order: how rows are laid out that are written from now on. Files that are there stay as they are, and stay readable
//! and prunable through the partition spec that they were written under.

use std::sync::Arc;

use iceberg::spec::TableMetadataBuilder;

use super::super::snapshot::write_state;
use crate::error::LakeError;
use crate::partition::{self, PartitionChange, SortTerm};
use crate::table::LakeTable;
use crate::warehouse::Warehouse;

/// Changes the partitioning.
pub(super) async fn change_partition(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    change: &PartitionChange,
) -> Result<String, LakeError> {
    let spec = partition::changed_spec(base.metadata(), change)?;
    let built = base
        .metadata()
        .clone()
        .into_builder(Some(base.metadata_location().to_owned()))
        .add_partition_spec(spec)
        .and_then(|builder| builder.set_default_partition_spec(TableMetadataBuilder::LAST_ADDED))
        .map_err(|error| LakeError::InvalidLayout(error.message().to_owned()))?;
    let built = built.build().map_err(|error| LakeError::metadata(base.metadata_location(), error))?;
    write_state(warehouse, base, built.metadata).await
}

/// Changes the order.
pub(super) async fn set_order(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    terms: &[SortTerm],
) -> Result<String, LakeError> {
    let order = partition::sort_order(base.iceberg_schema(), terms)?;
    let built = base
        .metadata()
        .clone()
        .into_builder(Some(base.metadata_location().to_owned()))
        .add_sort_order(order)
        .and_then(|builder| builder.set_default_sort_order(TableMetadataBuilder::LAST_ADDED.into()))
        .and_then(|builder| builder.build())
        .map_err(|error| LakeError::metadata(base.metadata_location(), error))?;
    write_state(warehouse, base, built.metadata).await
}
