//! The lake as its users see it: tables are made, written, committed and read back through DataFusion.

#![allow(clippy::unwrap_used)]

mod branches;
mod commits;
mod damage;
mod deletes;
mod delta;
mod foreign;
mod loaded;
mod manifests;
mod partitions;
mod pruning;
mod runtime_filters;
mod summaries;
mod types;
mod values;
mod widening;
mod writing;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use uuid::Uuid;
use wharf_catalog::{Column, SqlType};
use wharf_lake::partition::Layout;
use wharf_lake::{
    LakeError, LakeTable, NewTable, TableWriter, Warehouse, WarehouseOptions, WriteOptions, WrittenFile, commit,
};

/// Failpoints belong to the process: whoever writes holds this for reading, whoever sets a failpoint for writing.
static FAILPOINTS: RwLock<()> = RwLock::new(());

/// A warehouse in a directory that goes away with the test.
struct Lake {
    directory: tempfile::TempDir,
    warehouse: Arc<Warehouse>,
    _guard: Guard,
}

enum Guard {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

impl Guard {
    fn shared() -> Guard {
        let guard = FAILPOINTS.read();
        Guard::Shared { _guard: guard.unwrap_or_else(PoisonError::into_inner) }
    }

    fn alone() -> Guard {
        let guard = FAILPOINTS.write();
        Guard::Alone { _guard: guard.unwrap_or_else(PoisonError::into_inner) }
    }
}

impl Lake {
    fn new() -> Lake {
        Lake::with(Guard::shared())
    }

    /// Nobody else writes as long as this lives.
    fn alone() -> Lake {
        Lake::with(Guard::alone())
    }

    fn with(guard: Guard) -> Lake {
        let directory = tempfile::tempdir().unwrap();
        let warehouse = open(directory.path());
        Lake { directory, warehouse, _guard: guard }
    }

    /// The same directory, seen by a process that has nothing in memory.
    fn reopened(&self) -> Arc<Warehouse> {
        open(self.directory.path())
    }

    /// All files with this at the end of their names, sorted.
    fn files(&self, suffix: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(self.directory.path(), &mut found);
        found.retain(|path| path.to_string_lossy().ends_with(suffix));
        found.sort();
        found
    }

    async fn table(&self, columns: &[Column]) -> Arc<LakeTable> {
        create(&self.warehouse, columns).await
    }
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

fn open(directory: &Path) -> Arc<Warehouse> {
    let url = format!("file://{}", directory.display());
    Warehouse::open(&url, WarehouseOptions::default()).unwrap()
}

async fn create(warehouse: &Arc<Warehouse>, columns: &[Column]) -> Arc<LakeTable> {
    create_with(warehouse, columns, Layout::default(), HashMap::new()).await
}

async fn create_with(
    warehouse: &Arc<Warehouse>,
    columns: &[Column],
    layout: Layout,
    properties: HashMap<String, String>,
) -> Arc<LakeTable> {
    let identifier = Vec::new();
    let table = NewTable { id: Uuid::new_v4(), namespace: "wharf", name: "t", columns, layout, identifier, properties };
    let location = warehouse.create_table(table).await.unwrap();
    warehouse.load(&location).await.unwrap()
}

fn column(name: &str, ty: SqlType, field_id: i32) -> Column {
    Column { name: name.to_owned(), ty, nullable: true, field_id, comment: None, default: None }
}

/// A table of one column `a` of type bigint.
fn bigint() -> [Column; 1] {
    [column("a", SqlType::BigInt, 1)]
}

fn bigints(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    batch([("a", Arc::new(Int64Array::from_iter_values(values)) as _)])
}

fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
}

async fn write(
    warehouse: &Arc<Warehouse>,
    table: &Arc<LakeTable>,
    batches: impl IntoIterator<Item = RecordBatch>,
    options: WriteOptions,
) -> Vec<WrittenFile> {
    let mut writer = TableWriter::new(warehouse, table, options);
    for batch in batches {
        writer.write(batch).await.unwrap();
    }
    writer.finish().await.unwrap()
}

/// Appends rows as one snapshot.
async fn append(
    warehouse: &Arc<Warehouse>,
    table: &Arc<LakeTable>,
    batch: RecordBatch,
) -> Result<Arc<LakeTable>, LakeError> {
    let files = write(warehouse, table, [batch], WriteOptions::default()).await;
    let location = commit::append(warehouse, table, files).await?;
    warehouse.load(&location).await
}

/// A session that sees the table as `t`.
async fn session(warehouse: &Warehouse, table: &Arc<LakeTable>) -> SessionContext {
    session_with(warehouse, table, SessionConfig::new().with_target_partitions(2)).await
}

async fn session_with(warehouse: &Warehouse, table: &Arc<LakeTable>, config: SessionConfig) -> SessionContext {
    let session = SessionContext::new_with_config(config);
    let (url, store) = warehouse.object_store();
    session.register_object_store(url.as_ref(), store);
    session.register_table("t", table.provider().await.unwrap()).unwrap();
    session
}

async fn query(session: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    session.sql(sql).await.unwrap().collect().await.unwrap()
}

/// The physical plan of a query as text.
async fn plan(session: &SessionContext, sql: &str) -> String {
    let plan: Arc<dyn ExecutionPlan> = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    displayable(&*plan).indent(false).to_string()
}

/// The single bigint that a query returns.
async fn number(session: &SessionContext, sql: &str) -> i64 {
    let batches = query(session, sql).await;
    let batch = batches.iter().find(|batch| batch.num_rows() > 0).unwrap();
    batch.column(0).as_primitive::<Int64Type>().value(0)
}

/// All values of a table of one bigint column, sorted.
async fn all(warehouse: &Warehouse, table: &Arc<LakeTable>) -> Vec<i64> {
    let session = session(warehouse, table).await;
    let batches = query(&session, "SELECT a FROM t").await;
    let values = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values
}
