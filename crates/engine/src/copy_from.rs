//! COPY FROM: the bytes of a client or of a file become rows of a table.
//!
//! Who has the bytes hands them over to a [`Loading`], whose tasks decode and write side by side. Nothing counts before
//! the end has come.

use std::sync::Arc;

use bytes::Bytes;
use sqlparser::ast::{self, Statement as Ast};
use wharf_catalog::{Relation, Table};
use wharf_values::{SqlError, SqlState};

use crate::bind::BindContext;
use crate::bind::names::fold;
use crate::copy::{CopyDecoder, CopyFormat, CopyOptions};
use crate::copy_intake::Intake;
use crate::copy_load::Loading;
use crate::files;
use crate::files::load::Load;
use crate::names::{find_relation, refused_of_foreign};
use crate::places::Place;
use crate::session::{Branch, Observed, Outcome, Session};
use crate::statement::Statement;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 8192;

/// A COPY that takes the client's data.
pub struct CopyIn {
    /// PostgreSQL's binary format.
    pub binary: bool,
    /// How many columns a row has.
    pub columns: usize,
    /// Its statement's among those that run, if it has one.
    pub(crate) place: Option<Arc<Place>>,
    loading: Loading,
}

impl CopyIn {
    /// Takes the next bytes, cut anywhere; waits while the decoder is behind.
    ///
    /// # Errors
    /// `57014` when the statement is stopped while it waits for a place to go on. When decoding has failed, the bytes are dropped and
    /// the error comes at the end.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), SqlError> {
        if let Some(place) = &self.place {
            place.resume().await?;
        }
        self.loading.write(bytes).await;
        if let Some(place) = &self.place {
            place.rests();
        }
        Ok(())
    }

    /// True when decoding has failed already, so that the rest need not be sent.
    pub fn has_failed(&self) -> bool {
        self.loading.has_ended()
    }

    /// Gives up, and says where the data were when that happened; an error in data that came before wins.
    pub async fn give_up(self, error: SqlError) -> SqlError {
        self.loading.give_up(error).await
    }
}

/// Starts a COPY FROM; one from a file ends here too.
///
/// # Errors
/// `42P01`, `42703`, and what the options can be refused with.
pub(crate) async fn start(session: &mut Session, statement: &Statement) -> Result<Outcome, SqlError> {
    let Ast::Copy { source: ast::CopySource::Table { table_name, columns }, target, .. } = &*statement.ast else {
        return Err(SqlError::internal("not COPY FROM"));
    };
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    let table = match find_relation(table_name, &context)? {
        Relation::Table(table) => table,
        Relation::View(view) => {
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("cannot copy to view \"{}\"", view.name)));
        }
        Relation::Foreign(table) => {
            return Err(refused_of_foreign(format!("cannot copy to foreign table \"{}\"", table.name)));
        }
    };
    let provided = column_list(columns, &table)?;
    match target {
        ast::CopyTarget::Stdin => {
            let options = CopyOptions::new(&statement.copy_options, false)?;
            let binary = options.format == CopyFormat::Binary;
            let columns = provided.len();
            let loading = load(session, &table, provided, &options, &context).await?;
            Ok(Outcome::CopyIn(CopyIn { binary, columns, place: None, loading }))
        }
        ast::CopyTarget::File { filename } => {
            let (branch, options) = (Branch::OfWrites, &statement.copy_options);
            let load = Load { table: &table, branch, provided, name: filename, options };
            let rows = files::load::load(session, load, &context).await?;
            Ok(Outcome::Complete(format!("COPY {rows}")))
        }
        _ => Err(SqlError::unsupported("COPY FROM PROGRAM is not supported")
            .with_hint("Run the program with the client, and COPY its output FROM STDIN.")),
    }
}

/// Begins to load data in a format that is decoded here.
pub(crate) async fn load(
    session: &mut Session,
    table: &Arc<Table>,
    provided: Vec<usize>,
    options: &CopyOptions,
    context: &BindContext,
) -> Result<Loading, SqlError> {
    let definitions = provided
        .iter()
        .map(|index| {
            let column = &table.columns[*index];
            (column.name.clone(), column.ty.clone(), column.nullable)
        })
        .collect();
    for name in options.forced_columns() {
        place_of(name, table)?;
    }
    let decoder = CopyDecoder::new(options, &table.name, definitions, &context.format, BATCH_ROWS)?;
    let intake = Intake::open(session, table, Branch::OfWrites, provided, options.is_by_name(), context).await?;
    Ok(Loading::start(decoder, intake.rows(&session.engine)))
}

fn place_of(name: &str, table: &Table) -> Result<usize, SqlError> {
    table.columns.iter().position(|column| column.name == name).ok_or_else(|| {
        SqlError::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
        )
    })
}

/// The places in the table of the columns a COPY names; all when it names none.
pub(crate) fn column_list(columns: &[ast::Ident], table: &Table) -> Result<Vec<usize>, SqlError> {
    if columns.is_empty() {
        return Ok((0..table.columns.len()).collect());
    }
    let mut places = Vec::with_capacity(columns.len());
    for name in columns {
        let name = fold(name);
        let place = place_of(&name, table)?;
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

impl Session {
    /// All data of a COPY have come: makes it count and gives its tag.
    ///
    /// # Errors
    /// What was wrong with the data, and what the commit raises.
    pub async fn finish_copy(&mut self, copy: CopyIn) -> Result<String, SqlError> {
        let observed = self.copying.take().inspect(Observed::resumes);
        let CopyIn { place, loading, .. } = copy;
        let goes_on = match &place {
            Some(place) => place.resume().await,
            None => Ok(()),
        };
        let finished = match goes_on {
            Ok(()) => loading.finish(self).await,
            Err(error) => Err(loading.give_up(error).await),
        };
        if let Some(observed) = observed {
            match &finished {
                Ok(_) => observed.succeeded(),
                Err(error) => observed.failed(error),
            }
        }
        Ok(format!("COPY {}", finished?))
    }
}
