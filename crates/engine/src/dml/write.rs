//! The one way rows get into a table: checked, encoded into data files, and given to the transaction.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use wharf_catalog::Table;
use wharf_lake::commit::{Edit, LoadedFiles, Step, Uncommitted};
use wharf_lake::{LakeTable, RemovedFiles, RowDeletes, TableWriter, Warehouse, WriteOptions, WrittenFile};
use wharf_values::SqlError;

use super::checks::{Checks, Wording};
use crate::cast::as_stored;
use crate::engine::Engine;
use crate::error::from_lake;
use crate::session::{Branch, Session, Transaction, append, same_shape};

/// A table that rows are being written to.
pub(crate) struct Target {
    pub(crate) table: Arc<Table>,
    warehouse: Arc<Warehouse>,
    schema: SchemaRef,
    /// Of the state that the files are written for.
    metadata_location: String,
    checks: Arc<Checks>,
    /// Made when the first row comes, so that an empty write leaves nothing behind.
    writer: Option<TableWriter>,
    make: Box<dyn Fn() -> TableWriter + Send + Sync>,
    /// What other nodes have written.
    taken: Vec<WrittenFile>,
    rows: u64,
}

impl Target {
    /// Opens a table for writing, as the session's transaction sees it.
    pub(crate) async fn open(session: &Session, table: &Arc<Table>) -> Result<Target, SqlError> {
        Target::open_branch(session, table, Branch::OfWrites).await
    }

    /// The same for a branch of the table.
    pub(crate) async fn open_branch(session: &Session, table: &Arc<Table>, branch: Branch) -> Result<Target, SqlError> {
        let lake_table = session.open_branch(table, branch).await?;
        let checks = Checks::new(session, table, &table.constraints, Wording::Row).await?;
        Ok(Target::over(&session.engine, table, lake_table, checks))
    }

    /// The same for a table that is not in the catalog yet, or not as it is to be, with what its rows have to satisfy.
    pub(crate) fn over(engine: &Engine, table: &Arc<Table>, lake_table: Arc<LakeTable>, checks: Checks) -> Target {
        let warehouse = Arc::clone(&engine.warehouse);
        let schema = lake_table.schema();
        let metadata_location = lake_table.metadata_location().to_owned();
        let runtime = Arc::clone(engine.base.runtime_env());
        let options = WriteOptions { runtime: Some(runtime), ..WriteOptions::default() };
        let made_of = Arc::clone(&warehouse);
        let make = Box::new(move || TableWriter::new(&made_of, &lake_table, options.clone()));
        Target {
            table: Arc::clone(table),
            warehouse,
            schema,
            metadata_location,
            checks: Arc::new(checks),
            writer: None,
            make,
            taken: Vec::new(),
            rows: 0,
        }
    }

    /// Writes rows whose columns are at the table's types, in the table's order.
    ///
    /// # Errors
    /// `23502`, `23514`, and what the lake says.
    pub(crate) async fn write(&mut self, columns: Vec<ArrayRef>) -> Result<(), SqlError> {
        let columns = self.typed(columns)?;
        self.checks.check(&columns)?;
        self.put(columns).await
    }

    /// Writes rows that the table has already: what was once allowed stays.
    ///
    /// # Errors
    /// What the lake says.
    pub(crate) async fn keep(&mut self, columns: Vec<ArrayRef>) -> Result<(), SqlError> {
        let columns = self.typed(columns)?;
        self.put(columns).await
    }

    fn typed(&self, columns: Vec<ArrayRef>) -> Result<Vec<ArrayRef>, SqlError> {
        let mut arrays = Vec::with_capacity(columns.len());
        for (column, field) in columns.into_iter().zip(self.schema.fields()) {
            arrays.push(as_stored(&column, field.data_type())?);
        }
        Ok(arrays)
    }

    async fn put(&mut self, arrays: Vec<ArrayRef>) -> Result<(), SqlError> {
        let rows = arrays.first().map_or(0, |column| column.len());
        if rows == 0 {
            return Ok(());
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|error| SqlError::internal(error.to_string()))?;
        let writer = self.writer.get_or_insert_with(|| (self.make)());
        writer.write(batch).await.map_err(|error| from_lake(&error))?;
        self.rows += rows as u64;
        Ok(())
    }

    /// What its rows have to satisfy.
    pub(super) fn checks(&self) -> &Arc<Checks> {
        &self.checks
    }

    /// The metadata file of the state of the table that the files are written for.
    pub(super) fn metadata_location(&self) -> &str {
        &self.metadata_location
    }

    /// Takes files that other nodes have written of rows that they have checked.
    pub(super) fn take(&mut self, files: Vec<WrittenFile>) {
        self.rows += files.iter().map(WrittenFile::rows).sum::<u64>();
        self.taken.extend(files);
    }

    /// Another writer of the table's files; what it writes is its owner's to commit.
    pub(super) fn new_writer(&self) -> TableWriter {
        (self.make)()
    }

    /// The rows written and their files, for a table that is not in the catalog yet.
    pub(crate) async fn into_files(self) -> Result<(u64, Vec<WrittenFile>), SqlError> {
        let mut files = self.taken;
        if let Some(writer) = self.writer {
            files.extend(writer.finish().await.map_err(|error| from_lake(&error))?);
        }
        Ok((self.rows, files))
    }

    /// Gives up: what was written is removed.
    pub(crate) async fn abort(self) {
        let Target { writer, taken, warehouse, .. } = self;
        Uncommitted::new(&warehouse).add_files(&taken);
        if let Some(writer) = writer {
            writer.abort().await;
        }
    }
}

/// Makes what was written count: at once outside of a transaction, else with it. Gives the number of rows.
pub(crate) async fn finish(
    session: &mut Session,
    target: Target,
    written: Result<(), SqlError>,
) -> Result<u64, SqlError> {
    if let Err(error) = written {
        target.abort().await;
        return Err(error);
    }
    let table = Arc::clone(&target.table);
    let (rows, files) = target.into_files().await?;
    if files.is_empty() {
        return Ok(0);
    }
    if session.transaction.is_none() && !session.writes_to_branch() {
        let _span = session.span("commit");
        append(&session.engine, &table, files).await?;
    } else {
        let step = session.on_write_branch(Step::Append(files));
        session.step(table.id, &table.metadata_location, step).await?;
    }
    Ok(rows)
}

/// What goes of a table, and the files that come.
pub(super) struct Replaced {
    pub(super) gone: Gone,
    pub(super) added: Vec<WrittenFile>,
    /// The snapshot that must still be the table's; none: any.
    pub(super) alone: Option<Option<i64>>,
}

/// What goes.
pub(super) struct Gone {
    /// Whole files.
    pub(super) files: RemovedFiles,
    /// Rows of others.
    pub(super) rows: RowDeletes,
}

impl Replaced {
    /// Makes it count: at once outside of a transaction, else with it.
    ///
    /// # Errors
    /// `40001` when somebody else has rewritten one of the files, or deleted one of the rows.
    pub(super) async fn commit(self, session: &mut Session, table: &Table) -> Result<(), SqlError> {
        let Replaced { gone, added, alone } = self;
        let Gone { files: removed, rows } = gone;
        let step = match (removed.is_empty(), rows.is_empty()) {
            (_, false) => Step::Delta { rows, removed, added },
            (false, true) => Step::Overwrite { removed, added },
            (true, true) if added.is_empty() => return Ok(()),
            (true, true) => Step::Append(added),
        };
        let step = match alone {
            Some(snapshot) => Step::Alone { snapshot, step: Box::new(step) },
            None => step,
        };
        let step = session.on_write_branch(step);
        session.step(table.id, &table.metadata_location, step).await
    }
}

/// What one statement adds to one table.
pub(crate) struct Write {
    pub(crate) table: Arc<Table>,
    pub(crate) branch: Branch,
    pub(crate) files: Vec<WrittenFile>,
    /// The files that the rows come from.
    pub(crate) loaded: Option<LoadedFiles>,
}

/// Makes what was written to several tables count together: at once outside of a transaction, else with it.
///
/// # Errors
/// `40001` when a table has changed so that the rows do not fit any more, or somebody else has loaded the same files into the same branch.
pub(crate) async fn finish_all(session: &mut Session, writes: Vec<Write>) -> Result<(), SqlError> {
    let engine = Arc::clone(&session.engine);
    let mut files = Uncommitted::new(&engine.warehouse);
    writes.iter().for_each(|write| files.add_files(&write.files));
    let outside = session.transaction.is_none();
    let mut transaction = session.transaction.take().unwrap_or_else(|| Transaction::new(false));
    let heads = if outside { Some(engine.instant().await?) } else { None };
    let result = async {
        for write in writes {
            let Write { table, branch, files: data_files, loaded } = write;
            // The head may have moved while the rows were being written: to begin with the new one costs less than losing the
            // race. Not where the table's definition has changed: whether the rows still fit is what a lost race finds out.
            let head = heads.as_ref().and_then(|catalog| catalog.table_by_id(table.id));
            let head = head.filter(|head| same_shape(head, &table));
            let location = head.map_or(&table.metadata_location, |head| &head.metadata_location);
            if !data_files.is_empty() {
                files.let_go(&data_files);
                let step = session.on_branch(branch, Step::Append(data_files));
                transaction.step(&engine, table.id, location, step).await?;
            }
            if let Some(loaded) = loaded {
                let step = session.on_branch(branch, Step::Edit(Edit::Loaded(loaded)));
                transaction.step(&engine, table.id, location, step).await?;
            }
        }
        Ok(())
    }
    .await;
    if !outside {
        session.transaction = Some(transaction);
        return result;
    }
    result?;
    transaction.commit(&engine).await
}
