//! Statements that change rows in WITH: `WITH gone AS (DELETE .. RETURNING ..) SELECT .. FROM gone`.
//!
//! What always holds, as in PostgreSQL: all of them and the statement behind them see the tables as they were before; each runs once and
//! to its end, whether or not somebody reads what it returns; they count together or not at all. They run in the order in which they are
//! written. The rows that one returns are kept, and are a table to those behind it.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt;
use sqlparser::ast;
use uuid::Uuid;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, mapping};

use super::change::stream;
use super::inputs::{Given, Inputs};
use super::kept::KeptRows;
use super::query::{Parts, alone, local};
use super::{Changes, Write, is_write};
use crate::bind::names::{fold, last_part};
use crate::bind::{BindContext, Local};
use crate::error::from_datafusion;
use crate::session::{ResultColumn, Session};
use crate::syntax::insert_of_with;

/// What the names of the rows that are returned begin with, in plans.
const RETURNED: &str = "\0with";

/// A statement with others before it.
pub(crate) struct WithPlan {
    parts: Vec<Part>,
    main: Main,
}

/// One of those before it.
struct Part {
    write: Write,
    /// What it returns: the name of the rows in plans, and their columns.
    returned: Option<(String, SchemaRef)>,
}

enum Main {
    Query { plan: LogicalPlan, columns: Arc<[ResultColumn]> },
    Write(Box<Write>),
}

/// What came of it.
pub(crate) struct WithOutcome {
    /// The command tag; of a query without the number of rows.
    pub(crate) tag: String,
    /// Is it a query?
    pub(crate) is_query: bool,
    pub(crate) rows: Option<KeptRows>,
}

impl WithPlan {
    /// Plans a statement; none for one without any that changes rows in its WITH.
    ///
    /// # Errors
    /// All that planning refuses; `0A000` for rows read of one without RETURNING, and for a table that several of them change.
    pub(crate) async fn plan(
        session: &Session,
        statement: &ast::Statement,
        parameters: &[Option<SqlType>],
        context: &mut BindContext,
    ) -> Result<Option<WithPlan>, SqlError> {
        if !changes_rows(statement) {
            return Ok(None);
        }
        let mut statement = statement.clone();
        let Some(with) = with_of(&mut statement) else { return Ok(None) };
        let recursive = with.recursive;
        let written = std::mem::take(&mut with.cte_tables);
        let mut before: Vec<ast::Cte> = Vec::with_capacity(written.len());
        let mut silent = Vec::new();
        let mut parts = Vec::new();
        for mut cte in written {
            if !is_change(&cte.query) {
                refuse_silent(&*cte.query, &silent)?;
                before.push(cte);
                continue;
            }
            let name = fold(&cte.alias.name);
            refuse_silent(&*cte.query, &silent)?;
            let body = after(*cte.query, &before, recursive);
            let body = insert_of_with(ast::Statement::Query(Box::new(body)))?;
            let write = Write::plan(session, &body, parameters, context).await?;
            let write = write.ok_or_else(|| SqlError::internal("a statement in WITH that changes no rows"))?;
            let returned = write.columns().map(|columns| (format!("{RETURNED}{}", parts.len()), fields(columns)));
            match &returned {
                Some((rows, schema)) => {
                    let source = provider_as_source(Arc::new(EmptyTable::new(Arc::clone(schema))));
                    context.locals.insert(rows.clone(), Local { source, oid: None });
                    cte.query = Box::new(all_of(rows)?);
                    before.push(cte);
                }
                None => silent.push(name),
            }
            parts.push(Part { write, returned });
        }
        if let Some(with) = with_of(&mut statement) {
            with.cte_tables = before;
        }
        without_empty_with(&mut statement);
        refuse_silent(&statement, &silent)?;
        let main = match &statement {
            ast::Statement::Query(query) if !is_write(&statement) => {
                let (plan, columns) = session.plan_rows(query, parameters, context).await?;
                Main::Query { plan, columns }
            }
            _ => match Write::plan(session, &statement, parameters, context).await? {
                Some(write) => Main::Write(Box::new(write)),
                None => return Err(SqlError::internal("a statement that is neither a query nor a change")),
            },
        };
        let plan = WithPlan { parts, main };
        plan.check_tables()?;
        Ok(Some(plan))
    }

    /// The columns of the rows that it gives.
    pub(crate) fn columns(&self) -> Option<&Arc<[ResultColumn]>> {
        match &self.main {
            Main::Query { columns, .. } => Some(columns),
            Main::Write(write) => write.columns(),
        }
    }

    /// All plans in it.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &LogicalPlan> {
        let main = match &self.main {
            Main::Query { plan, .. } => plan,
            Main::Write(write) => write.rows(),
        };
        self.parts.iter().map(|part| part.write.rows()).chain([main])
    }

    fn writes(&self) -> impl Iterator<Item = &Write> {
        let main = match &self.main {
            Main::Query { .. } => None,
            Main::Write(write) => Some(&**write),
        };
        self.parts.iter().map(|part| &part.write).chain(main)
    }

    /// Two changes of one table that were both made of what was there before do not go together; new rows go with anything but a
    /// statement that has to be the only one.
    fn check_tables(&self) -> Result<(), SqlError> {
        let tables: Vec<Uuid> = self.writes().map(Write::table).collect();
        for write in self.writes() {
            let table = write.table();
            let others = tables.iter().filter(|other| **other == table).count() > 1;
            let changes = self.writes().filter(|other| other.table() == table && matches!(other, Write::Change(_)));
            if others && (write.is_alone() || changes.count() > 1) {
                let message = "changing rows of one table by several parts of a statement is not supported";
                return Err(SqlError::unsupported(message).with_hint("Run them one after the other, in a transaction."));
            }
        }
        Ok(())
    }

    /// Runs it, within the session's transaction.
    ///
    /// # Errors
    /// Whatever its parts raise.
    pub(crate) async fn run(
        &self,
        session: &mut Session,
        values: &[Option<ArrayRef>],
        types: &[SqlType],
    ) -> Result<WithOutcome, SqlError> {
        self.writes().try_for_each(|write| session.require_write(write.command().name()))?;
        let mut given = Given::default();
        for Part { write, returned } in &self.parts {
            let Changes { rows, .. } = write.run(session, Inputs { values, types, given: &given }).await?;
            if let (Some(rows), Some((name, schema))) = (rows, returned) {
                given.add(name, provider_as_source(rows.into_table(schema)?));
            }
        }
        let inputs = Inputs { values, types, given: &given };
        match &self.main {
            Main::Write(write) => {
                let Changes { count, rows } = write.run(session, inputs).await?;
                Ok(WithOutcome { tag: write.command().tag(count), is_query: false, rows })
            }
            Main::Query { plan, .. } => {
                let catalog = session.catalog().await?;
                let state = session.execution_state(&catalog);
                let mut batches = stream(&inputs.put(plan.clone())?, &state).await?;
                let mut rows = KeptRows::new(state.runtime_env(), batches.schema());
                while let Some(batch) = batches.next().await {
                    rows.push(batch.map_err(from_datafusion)?)?;
                }
                Ok(WithOutcome { tag: "SELECT".to_owned(), is_query: true, rows: Some(rows) })
            }
        }
    }
}

/// The WITH clause of a statement; that of an INSERT stands before its rows.
fn with_of(statement: &mut ast::Statement) -> Option<&mut ast::With> {
    match statement {
        ast::Statement::Query(query) => query.with.as_mut(),
        ast::Statement::Insert(insert) => insert.source.as_mut()?.with.as_mut(),
        _ => None,
    }
}

/// A WITH clause of nothing is none.
fn without_empty_with(statement: &mut ast::Statement) {
    let with = match statement {
        ast::Statement::Query(query) => &mut query.with,
        ast::Statement::Insert(ast::Insert { source: Some(source), .. }) => &mut source.with,
        _ => return,
    };
    with.take_if(|with| with.cte_tables.is_empty());
}

/// Is there a statement in its WITH that changes rows?
pub(super) fn changes_rows(statement: &ast::Statement) -> bool {
    let with = match statement {
        ast::Statement::Query(query) => query.with.as_ref(),
        ast::Statement::Insert(insert) => insert.source.as_ref().and_then(|source| source.with.as_ref()),
        _ => None,
    };
    with.is_some_and(|with| with.cte_tables.iter().any(|cte| is_change(&cte.query)))
}

fn is_change(query: &ast::Query) -> bool {
    use ast::SetExpr;
    matches!(*query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
}

/// The query, which may speak of these.
fn after(mut query: ast::Query, before: &[ast::Cte], recursive: bool) -> ast::Query {
    let own = query.with.take();
    let recursive = recursive || own.as_ref().is_some_and(|own| own.recursive);
    let own = own.map(|own| own.cte_tables).unwrap_or_default();
    let hidden = |outer: &&ast::Cte| own.iter().any(|inner| fold(&inner.alias.name) == fold(&outer.alias.name));
    let mut cte_tables: Vec<_> = before.iter().filter(|outer| !hidden(outer)).cloned().collect();
    cte_tables.extend(own.iter().cloned());
    if !cte_tables.is_empty() {
        let with_token = ast::helpers::attached_token::AttachedToken::empty();
        query.with = Some(ast::With { with_token, recursive, cte_tables });
    }
    query
}

/// `SELECT * FROM` a relation of the statement's own.
fn all_of(rows: &str) -> Result<ast::Query, SqlError> {
    let items = vec![ast::SelectItem::Wildcard(ast::WildcardAdditionalOptions::default())];
    Parts { items, from: vec![alone(local(rows, "rows")?)], ..Parts::default() }.query()
}

/// The columns of what is returned, as those behind it see them.
fn fields(columns: &[ResultColumn]) -> SchemaRef {
    let field = |column: &ResultColumn| -> Field {
        let ty = match &column.ty {
            SqlType::Unknown => &SqlType::Text,
            // They leave RETURNING as names.
            ty if ty.is_named_oid() => &SqlType::Text,
            ty => ty,
        };
        mapping::field(&column.name, ty, true)
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// Nobody reads what is not returned.
fn refuse_silent<V: ast::Visit>(node: &V, silent: &[String]) -> Result<(), SqlError> {
    if silent.is_empty() {
        return Ok(());
    }
    let found = ast::visit_relations(node, |relation| match silent.iter().find(|name| is_named(relation, name)) {
        Some(name) => ControlFlow::Break(name.clone()),
        None => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(name) => {
            let message = format!("WITH query \"{name}\" does not have a RETURNING clause");
            Err(SqlError::unsupported(message).with_hint("Add RETURNING to it."))
        }
    }
}

fn is_named(relation: &ast::ObjectName, name: &str) -> bool {
    relation.0.len() == 1 && last_part(relation) == name
}
