//! The lake: Apache Iceberg tables on an object store, read and written with DataFusion.
//!
//! A [`Warehouse`] is an object store by URL and the caches over it. From the location of a metadata file it makes a
//! [`LakeTable`], which scans as a DataFusion table; a [`TableWriter`] turns record batches into Parquet data files, and
//! [`commit`] makes a new metadata file of them. What always holds:
//! - **Every file is written once and never changed.** So whatever was parsed may stay in memory for as long as it fits, and
//!   planning a query over a table that is in memory asks nothing of the store.
//! - **Nothing is visible before the catalog points at it.** A commit here only writes files; to swap the pointer is the
//!   work of the engine and the consensus. A crash leaves files that nobody refers to, and nothing else.
//! - What a commit returns is durable: on a local file system, files and their directories have been fsynced.
//! - The metadata is plain Iceberg format version 2, for any engine to read. What SQL has and Iceberg lacks is in table
//!   properties, keyed by field id ([`schema`]).
//! - A column is found in a data file by its field id, never by its name.
//!
//! - Rows that another engine, or this one, has deleted are not there (module `deletes`): by position, by deletion vector, by equality.
//!
//! Not here: which tables there are, who may read them, transactions, removal of files that nobody refers to any more.

mod cache;
mod checksums;
pub mod commit;
mod defaults;
mod deletes;
mod error;
mod files;
mod fit;
mod folder;
mod inspect;
mod loaded;
pub mod maintain;
mod manifest;
mod metadata;
pub mod partition;
mod properties;
pub mod recover;
mod scan;
pub mod schema;
mod store;
mod table;
mod travel;
mod warehouse;
mod write;
mod zero_copy;

pub use deletes::{RemovedFiles, RowDeletes};
pub use error::LakeError;
pub use fit::Unproven;
pub use folder::Folder;
pub use inspect::{Inspection, inspect};
pub use scan::{
    ColumnSample, FILE_NUMBER, LakeProvider, POSITION, ParquetFiles, PlaceRuntimeFilters, QueriedTable, RowPlaces,
    SampleOf, SpreadScans, TouchedFile, bytes_read, column_sample, deal, failed_in_filter, is_scan, largest_part,
    may_have_changed, parts_read, put_together, take_apart,
};
pub use store::{
    CacheOptions, CacheStatistics, MIN_DISK_BYTES, StoreOptions, TableCredentials, VENDING_LIFETIMES, VendingOptions,
    store_error, store_reason,
};
pub use table::LakeTable;
pub use travel::{Head, NoVersion, Version};
pub use warehouse::{NewTable, Warehouse, WarehouseOptions};
pub use write::{Codec, ParquetFile, TableWriter, WriteFilesExec, WriteOptions, WrittenFile, written_files};
pub use zero_copy::NewClone;

/// The places on the way of a commit where a test can make the process fail, in the order in which they are passed.
/// The manifest, the manifest list and the metadata file are written at the same time, so the order of the last four is that
/// of their declaration, not of every run.
pub const FAILPOINTS: &[&str] = &[
    "lake::data_file_written",
    "lake::manifest_written",
    "lake::manifest_list_written",
    "lake::before_metadata",
    "lake::metadata_written",
];
