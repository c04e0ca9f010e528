//! COPY FROM STDIN: the client's bytes become rows of a table.
//!
//! The connection hands chunks over a short queue to a task that decodes and writes, so that reading the socket and
//! decoding go on side by side. Nothing counts before the end has come.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use sqlparser::ast::{self, Statement as Ast};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use wharf_catalog::{Relation, SqlType, Table};
use wharf_values::{SqlError, SqlState, mapping};

use crate::bind::names::fold;
use crate::copy::{CopyDecoder, CopyFormat, CopyOptions};
use crate::dml::write::{self, Target};
use crate::error::from_datafusion;
use crate::names::find_relation;
use crate::session::{Outcome, Session};

/// Chunks that may wait for the decoder.
const QUEUE_CHUNKS: usize = 8;
/// Rows decoded at a time.
const BATCH_ROWS: usize = 8192;

/// The two directions of COPY.
pub(crate) enum Direction {
    From,
    To,
}

/// Which way a COPY goes.
pub(crate) fn target(statement: &Ast) -> Direction {
    match statement {
        Ast::Copy { to: true, .. } => Direction::To,
        _ => Direction::From,
    }
}

/// A COPY that takes the client's data.
pub struct CopyIn {
    /// PostgreSQL's binary format.
    pub binary: bool,
    /// How many columns a row has.
    pub columns: usize,
    chunks: Option<mpsc::Sender<Bytes>>,
    worker: JoinHandle<Result<Target, SqlError>>,
    ending: Arc<Mutex<Ending>>,
}

/// How the data end, for the worker to find when no more come.
enum Ending {
    /// Nobody wants them any more.
    Dropped,
    /// All have come.
    Complete,
    /// The client gave up, or broke off.
    GivenUp(SqlError),
}

impl CopyIn {
    /// Takes the next bytes, cut anywhere; waits while the decoder is behind.
    ///
    /// # Errors
    /// Nothing here: when decoding has failed, the bytes are dropped and the error comes at the end.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), SqlError> {
        if let Some(chunks) = &self.chunks
            && chunks.send(bytes).await.is_err()
        {
            // The worker has ended with an error, which the end of the copy reports.
            self.chunks = None;
        }
        Ok(())
    }

    /// True when decoding has failed already, so that the rest need not be sent.
    pub fn has_failed(&self) -> bool {
        self.chunks.is_none() || self.worker.is_finished()
    }

    /// Gives up, and says where the data were when that happened; an error in data that came before wins.
    pub async fn give_up(self, error: SqlError) -> SqlError {
        let CopyIn { chunks, worker, ending, .. } = self;
        *ending.lock() = Ending::GivenUp(error.clone());
        drop(chunks);
        match worker.await {
            Ok(Err(placed)) => placed,
            _ => error,
        }
    }
}

/// Starts a COPY FROM.
///
/// # Errors
/// `42P01`, `42703`, and what the options can be refused with.
pub(crate) async fn start(session: &mut Session, statement: &Ast) -> Result<Outcome, SqlError> {
    let Ast::Copy { source, target, options, legacy_options, .. } = statement else {
        return Err(SqlError::internal("not COPY"));
    };
    let ast::CopySource::Table { table_name, columns } = source else {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "COPY FROM needs a table"));
    };
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    let table = match find_relation(table_name, &context)? {
        Relation::Table(table) => table,
        Relation::View(view) => {
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("cannot copy to view \"{}\"", view.name)));
        }
    };
    let provided = column_list(columns, &table)?;
    if let ast::CopyTarget::File { filename } = target {
        return crate::copy_files::load(session, &table, &provided, filename, options, &context).await;
    }
    if !matches!(target, ast::CopyTarget::Stdin) {
        return Err(SqlError::unsupported("COPY FROM PROGRAM is not supported"));
    }
    let options = CopyOptions::new(options, legacy_options, false)?;
    let definitions = provided
        .iter()
        .map(|index| {
            let column = &table.columns[*index];
            (column.name.clone(), column.ty.clone(), column.nullable)
        })
        .collect();
    let binary = options.format == CopyFormat::Binary;
    let decoder = CopyDecoder::new(&options, &table.name, definitions, &context.format, BATCH_ROWS)?;
    let defaults = defaults(session, &table, &provided, &context).await?;
    let target = Target::open(session, &table).await?;
    let (sender, receiver) = mpsc::channel(QUEUE_CHUNKS);
    let ending = Arc::new(Mutex::new(Ending::Dropped));
    let columns = provided.len();
    let worker = tokio::spawn(decode(decoder, receiver, target, provided, defaults, Arc::clone(&ending)));
    Ok(Outcome::CopyIn(CopyIn { binary, columns, chunks: Some(sender), worker, ending }))
}

/// The places in the table of the columns a COPY names; all when it names none.
pub(crate) fn column_list(columns: &[ast::Ident], table: &Table) -> Result<Vec<usize>, SqlError> {
    if columns.is_empty() {
        return Ok((0..table.columns.len()).collect());
    }
    let mut places = Vec::with_capacity(columns.len());
    for name in columns {
        let name = fold(name);
        let place = table.columns.iter().position(|column| column.name == name).ok_or_else(|| {
            SqlError::new(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
            )
        })?;
        if places.contains(&place) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{name}\" specified more than once"),
            ));
        }
        places.push(place);
    }
    Ok(places)
}

/// One value for each column that the data do not have: its default, or NULL.
pub(crate) async fn defaults(
    session: &Session,
    table: &Table,
    provided: &[usize],
    context: &crate::bind::BindContext,
) -> Result<Vec<Option<datafusion::common::ScalarValue>>, SqlError> {
    let mut values = Vec::with_capacity(table.columns.len());
    for (index, column) in table.columns.iter().enumerate() {
        if provided.contains(&index) {
            values.push(None);
            continue;
        }
        let value = match &column.default {
            Some(text) => {
                let types: &[SqlType] = std::slice::from_ref(&column.ty);
                let batch = crate::dml::constants::evaluate(session, text, types, context).await?;
                datafusion::common::ScalarValue::try_from_array(batch.column(0), 0)
            }
            None => datafusion::common::ScalarValue::try_from(&mapping::arrow_type(&column.ty)),
        };
        values.push(Some(value.map_err(from_datafusion)?));
    }
    Ok(values)
}

/// Decodes chunks until there are no more and writes the rows. What was written is removed when that fails.
async fn decode(
    mut decoder: CopyDecoder,
    mut chunks: mpsc::Receiver<Bytes>,
    mut target: Target,
    provided: Vec<usize>,
    defaults: Vec<Option<datafusion::common::ScalarValue>>,
    ending: Arc<Mutex<Ending>>,
) -> Result<Target, SqlError> {
    let result = async {
        while let Some(chunk) = chunks.recv().await {
            decoder.push(chunk)?;
            write_ready(&mut decoder, &mut target, &provided, &defaults).await?;
        }
        match std::mem::replace(&mut *ending.lock(), Ending::Dropped) {
            Ending::Complete => {}
            Ending::GivenUp(error) => return Err(decoder.place(error)),
            Ending::Dropped => {
                return Err(SqlError::new(SqlState::QUERY_CANCELED, "COPY was given up before its end"));
            }
        }
        decoder.finish()?;
        write_ready(&mut decoder, &mut target, &provided, &defaults).await
    }
    .await;
    match result {
        Ok(()) => Ok(target),
        Err(error) => {
            target.abort().await;
            Err(error)
        }
    }
}

async fn write_ready(
    decoder: &mut CopyDecoder,
    target: &mut Target,
    provided: &[usize],
    defaults: &[Option<datafusion::common::ScalarValue>],
) -> Result<(), SqlError> {
    while let Some(columns) = decoder.next_batch() {
        let rows = columns.first().map_or(0, |column| column.len());
        let mut all = Vec::with_capacity(defaults.len());
        for (index, default) in defaults.iter().enumerate() {
            all.push(match default {
                Some(value) => value.to_array_of_size(rows).map_err(from_datafusion)?,
                None => {
                    let place = provided.iter().position(|place| *place == index).unwrap_or_default();
                    Arc::clone(&columns[place])
                }
            });
        }
        target.write(all).await?;
    }
    Ok(())
}

impl Session {
    /// All data of a COPY have come: makes it count and gives its tag.
    ///
    /// # Errors
    /// What was wrong with the data, and what the commit raises.
    pub async fn finish_copy(&mut self, copy: CopyIn) -> Result<String, SqlError> {
        let CopyIn { chunks, worker, ending, .. } = copy;
        *ending.lock() = Ending::Complete;
        drop(chunks);
        let target = worker.await.map_err(|error| SqlError::internal(format!("the COPY task ended: {error}")))??;
        let rows = write::finish(self, target, Ok(())).await?;
        Ok(format!("COPY {rows}"))
    }
}
