//! The table that a statement changes.

use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use sqlparser::ast;
use wharf_catalog::{Relation, Table};
use wharf_lake::{FILE_NUMBER, LakeProvider, POSITION};
use wharf_values::{SqlError, SqlState};

use super::query;
use crate::bind::names::{fold, last_part};
use crate::bind::{BindContext, Local};
use crate::error::from_lake;
use crate::names::{find_relation, refused_of_foreign};
use crate::session::Session;

/// The name of the table that a statement changes, in the queries made for it.
const TARGET: &str = "\0target";

/// The table of a statement, and how the statement calls it.
#[derive(Clone)]
pub(super) struct Changed {
    pub(super) table: Arc<Table>,
    pub(super) provider: Arc<LakeProvider>,
    pub(super) alias: String,
}

impl Changed {
    /// Finds the table of an UPDATE, DELETE or MERGE.
    ///
    /// # Errors
    /// `42P01`, `55000` for a view, and what the lake says.
    pub(super) async fn of_factor(
        session: &Session,
        factor: &ast::TableFactor,
        verb: &str,
        context: &mut BindContext,
    ) -> Result<Changed, SqlError> {
        let ast::TableFactor::Table { name, alias, args: None, .. } = factor else {
            return Err(SqlError::unsupported(format!("cannot {verb} anything but a table")).with_hint("Name a table."));
        };
        if alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"(\""));
        }
        let alias = alias.as_ref().map(|alias| &alias.name);
        let table = find(name, verb, context)?;
        Changed::open(session, table, alias.map_or_else(|| last_part(name), fold), context).await
    }

    /// Opens a table, and lets queries speak of its rows with their places.
    ///
    /// # Errors
    /// What the lake says.
    pub(super) async fn open(
        session: &Session,
        table: Arc<Table>,
        alias: String,
        context: &mut BindContext,
    ) -> Result<Changed, SqlError> {
        let opened = session.open_to_write(&table).await?;
        let provider = Arc::new(opened.addressable().await.map_err(|error| from_lake(&error))?);
        let source = provider_as_source(Arc::clone(&provider) as _);
        context.locals.insert(TARGET.to_owned(), Local { source, oid: Some(table.oid) });
        Ok(Changed { table, provider, alias })
    }

    /// A column of the table.
    pub(super) fn column(&self, name: &str) -> ast::Expr {
        query::column(&self.alias, name)
    }

    /// The columns of the table.
    pub(super) fn columns(&self) -> impl Iterator<Item = ast::Expr> + '_ {
        self.table.columns.iter().map(|column| self.column(&column.name))
    }

    /// Where a row is: its file and its place there.
    pub(super) fn place(&self) -> [ast::Expr; 2] {
        [self.column(FILE_NUMBER), self.column(POSITION)]
    }

    /// The table as an item of FROM.
    ///
    /// # Errors
    /// None but for a bug.
    pub(super) fn factor(&self) -> Result<ast::TableFactor, SqlError> {
        query::local(TARGET, &self.alias)
    }
}

/// The table of a name.
///
/// # Errors
/// `42P01`, `55000` for a view, `42809` for an external table.
pub(super) fn find(name: &ast::ObjectName, verb: &str, context: &BindContext) -> Result<Arc<Table>, SqlError> {
    match find_relation(name, context)? {
        Relation::Table(table) => Ok(table),
        Relation::View(view) => Err(SqlError::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("cannot {verb} view \"{}\"", view.name),
        )
        .with_hint("Change the table the view reads from.")),
        Relation::Foreign(table) => Err(refused_of_foreign(format!("cannot {verb} foreign table \"{}\"", table.name))),
    }
}
