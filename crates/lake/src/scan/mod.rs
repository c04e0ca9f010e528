//! Reading a table: files are chosen at planning, DataFusion's own Parquet scan does the rest.
//!
//! `queried` is a table of a query, `summaries` leaves out whole manifests before they are read, `provider` makes the plan, `ahead` asks a remote store early for what is read next, `prune` leaves out files by the bounds in the manifests, `statistics` says what the optimizer may
//! believe, `late_statistics` says it of files when they are opened, `column_sizes` how much a scan reads, `field_ids` finds columns in files, `places` says
//! which rows of which files, `bundles` keeps plans of very many files small, `source` wraps DataFusion's Parquet source so that errors name their file, `runtime_filters` holds
//! rows against what joins find out while they run, `wire` brings
//! a scan to another node, `sample` looks at a column before a scan is run.

mod ahead;
mod bundles;
mod changed;
mod column_sizes;
mod field_ids;
mod foreign;
mod late_statistics;
mod partitions;
mod places;
mod provider;
mod prune;
mod queried;
mod runtime_filters;
mod sample;
mod source;
mod statistics;
mod summaries;
mod wire;

pub use changed::may_have_changed;
pub(crate) use column_sizes::ColumnSizes;
pub use foreign::ParquetFiles;
pub use places::RowPlaces;
pub use provider::{FILE_NUMBER, LakeProvider, POSITION, SpreadScans, TouchedFile};
pub(crate) use prune::Bounds;
pub use queried::QueriedTable;
pub use runtime_filters::PlaceRuntimeFilters;
pub use sample::{ColumnSample, SampleOf, column_sample};
pub use source::failed_in_filter;
pub(crate) use statistics::{column_statistics, file_statistics, merged_statistics, scalar};
pub use wire::{bytes_read, deal, is_scan, largest_part, parts_read, put_together, take_apart};
