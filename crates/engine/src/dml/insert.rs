//! INSERT: a query whose columns are brought to the table's types, written through the lake.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use futures::StreamExt;
use sqlparser::ast::{self, Spanned};
use sqlparser::tokenizer::Span;
use wharf_catalog::{SqlType, Table};
use wharf_values::{SqlError, SqlState};

use super::change::Changes;
use super::columns::{cast_to, default_expression, is_default, written_type};
use super::inputs::Inputs;
use super::returning::Returning;
use super::scope::{Relation, Scope};
use super::target::Changed;
use super::write::{self, Target};
use super::{Write, columns, conflict, target};
use crate::bind::names::{fold, last_part};
use crate::bind::normalize::is_constant_source;
use crate::bind::{BindContext, assign_columns, parameter_number, parameter_type};
use crate::error::from_datafusion;
use crate::session::Session;

/// A planned INSERT.
pub(crate) struct InsertPlan {
    pub(super) table: Arc<Table>,
    /// The rows at the table's columns and types, in the table's order.
    pub(super) plan: LogicalPlan,
    pub(super) returning: Option<Returning>,
}

/// Plans an INSERT.
///
/// # Errors
/// `42P01`, `42703`, `42601` for lists that do not match, `42804` for types that do not fit, `42P10` for a conflict that no key
/// can tell.
pub(super) async fn plan(
    session: &Session,
    insert: &ast::Insert,
    with: Option<&ast::With>,
    parameters: &[Option<SqlType>],
    context: &mut BindContext,
) -> Result<Write, SqlError> {
    refuse_clauses(insert)?;
    let ast::TableObject::TableName(name) = &insert.table else {
        return Err(
            SqlError::unsupported("INSERT into anything but a table is not supported").with_hint("Name a table.")
        );
    };
    let table = target::find(name, "insert into", context)?;
    let alias = insert.table_alias.as_ref().map_or_else(|| last_part(name), |alias| fold(&alias.alias));
    let rows = rows(session, insert, &table, parameters, context).await?;
    let conflict = match &insert.on {
        None => None,
        Some(ast::OnInsert::OnConflict(conflict)) => Some((&conflict.action, conflict::keys(conflict, &table)?)),
        Some(_) => return Err(super::syntax_error("INSERT")),
    };
    match conflict {
        Some((action, keys)) if !keys.is_empty() => {
            let target = Changed::open(session, table, alias, context).await?;
            let clauses = conflict::Clauses { keys, action, with, returning: insert.returning.clone() };
            conflict::plan(session, target, rows, clauses, parameters, context).await
        }
        // Where there is no key there is no conflict.
        _ => {
            let scope = Scope { relations: vec![Relation::of_table(&table, &alias)] };
            let returning = match insert.returning.clone() {
                Some(items) => Some(Returning::bind(session, &scope, items, with.cloned(), parameters, context).await?),
                None => None,
            };
            Ok(Write::Insert(InsertPlan { table, plan: rows, returning }))
        }
    }
}

fn refuse_clauses(insert: &ast::Insert) -> Result<(), SqlError> {
    if insert.overwrite || insert.partitioned.is_some() || insert.replace_into || insert.or.is_some() || insert.ignore {
        return Err(SqlError::unsupported("this form of INSERT is not supported")
            .with_hint("Write INSERT INTO, with ON CONFLICT for rows that may be there already."));
    }
    Ok(())
}

/// The rows to be inserted, at the table's columns and types.
async fn rows(
    session: &Session,
    insert: &ast::Insert,
    table: &Table,
    parameters: &[Option<SqlType>],
    context: &BindContext,
) -> Result<LogicalPlan, SqlError> {
    let mut targets = columns::list(table, &insert.columns)?;
    let Some(source) = &insert.source else {
        let plan = LogicalPlanBuilder::empty(true).build().map_err(from_datafusion)?;
        return complete(session, plan, table, &[], context).await;
    };
    let source = with_defaults(source, table, &targets)?;
    let parameters = column_parameters(&source, parameters, table, &targets);
    let plan = session.plan_query(&source, &parameters, context).await?;
    if insert.columns.is_empty() {
        // Without a list the source's columns go to the table's first ones.
        targets.truncate(plan.schema().fields().len());
    }
    let given = plan.schema().fields().len();
    if given > targets.len() {
        return Err(too_many_expressions(item(&source, targets.len())));
    }
    if given < targets.len() {
        return Err(too_many_columns(insert.columns.get(given)));
    }
    let plan = assign(plan, table, &targets, is_constant_source(&source), context)?;
    complete(session, plan, table, &targets, context).await
}

/// The cells of a VALUES list as PostgreSQL reads them in an INSERT: the word DEFAULT stands for the column's default, and
/// a string is a value of the column's type, whatever the other rows have there.
fn with_defaults(source: &ast::Query, table: &Table, targets: &[usize]) -> Result<ast::Query, SqlError> {
    let mut source = source.clone();
    let ast::SetExpr::Values(values) = source.body.as_mut() else { return Ok(source) };
    let several = values.rows.len() > 1;
    let types = targets.iter().map(|target| written_type(&table.columns[*target])).collect::<Result<Vec<_>, _>>()?;
    for row in &mut values.rows {
        if let Some(first) = row.content.get(targets.len()) {
            return Err(too_many_expressions(Some(first)));
        }
        for ((cell, target), data_type) in row.content.iter_mut().zip(targets).zip(&types) {
            match (&*cell, data_type) {
                (cell_value, _) if is_default(cell_value) => *cell = default_expression(&table.columns[*target])?,
                (ast::Expr::Value(value), Some(data_type))
                    if several && matches!(value.value, ast::Value::SingleQuotedString(_)) =>
                {
                    *cell = cast_to(cell.clone(), data_type.clone());
                }
                _ => {}
            }
        }
    }
    Ok(source)
}

/// The types of parameters, where one that is open and goes into a column as it is takes the column's type.
fn column_parameters(
    source: &ast::Query,
    declared: &[Option<SqlType>],
    table: &Table,
    targets: &[usize],
) -> Vec<Option<SqlType>> {
    let rows: Vec<Vec<&ast::Expr>> = match source.body.as_ref() {
        ast::SetExpr::Values(values) => values.rows.iter().map(|row| row.content.iter().collect()).collect(),
        ast::SetExpr::Select(select) => {
            let items = select.projection.iter().map_while(|item| match item {
                ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. } => Some(expr),
                _ => None,
            });
            vec![items.collect()]
        }
        _ => Vec::new(),
    };
    let mut parameters = declared.to_vec();
    for (expr, target) in rows.iter().flat_map(|row| row.iter().zip(targets)) {
        let ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Placeholder(id), .. }) = expr else { continue };
        let Ok(number) = parameter_number(id) else { continue };
        if parameters.len() < number {
            parameters.resize(number, None);
        }
        parameters[number - 1].get_or_insert_with(|| parameter_type(&table.columns[*target].ty));
    }
    parameters
}

/// The refusal of a row from the first expression on that has no column.
fn too_many_expressions(first: Option<&ast::Expr>) -> SqlError {
    SqlError::new(SqlState::SYNTAX_ERROR, "INSERT has more expressions than target columns")
        .or_position(first.and_then(|expr| place(expr.span())))
}

/// The refusal of a row that has no expression from this column on.
fn too_many_columns(first: Option<&ast::ObjectName>) -> SqlError {
    SqlError::new(SqlState::SYNTAX_ERROR, "INSERT has more target columns than expressions")
        .or_position(first.and_then(|name| place(name.span())))
}

fn place(span: Span) -> Option<usize> {
    usize::try_from(span.start.column).ok().filter(|place| *place > 0)
}

/// An item of the select list of a source, by its place, where the items before it are one column each.
fn item(source: &ast::Query, index: usize) -> Option<&ast::Expr> {
    let ast::SetExpr::Select(select) = source.body.as_ref() else { return None };
    let mut items = select.projection.iter().map_while(|item| match item {
        ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    });
    items.nth(index)
}

/// The source's columns at the types of the columns they go to.
fn assign(
    plan: LogicalPlan,
    table: &Table,
    targets: &[usize],
    constant: bool,
    context: &BindContext,
) -> Result<LogicalPlan, SqlError> {
    let columns: Vec<_> = targets.iter().map(|target| &table.columns[*target]).collect();
    assign_columns(plan, &columns, constant, context).map_err(from_datafusion)
}

/// All of the table's columns in its order: the provided ones, and defaults or NULL for the others.
async fn complete(
    session: &Session,
    plan: LogicalPlan,
    table: &Table,
    provided: &[usize],
    context: &BindContext,
) -> Result<LogicalPlan, SqlError> {
    let given: Vec<_> = plan.schema().columns();
    let mut exprs = Vec::with_capacity(table.columns.len());
    for (index, column) in table.columns.iter().enumerate() {
        let expr = match provided.iter().position(|target| *target == index) {
            Some(source) => Expr::Column(given[source].clone()),
            None => super::defaults::expression(session, column, context).await?,
        };
        exprs.push(expr.alias(&column.name));
    }
    LogicalPlanBuilder::from(plan).project(exprs).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)
}

impl InsertPlan {
    /// Runs the statement.
    ///
    /// # Errors
    /// `23502` for a NULL where none may be, `22001` and relatives for values that do not fit, and what the commit raises.
    pub(super) async fn run(&self, session: &mut Session, inputs: Inputs<'_>) -> Result<Changes, SqlError> {
        let plan = inputs.put(self.plan.clone())?;
        let catalog = session.catalog().await?;
        let state = session.execution_state(&catalog);
        let returning = self.returning.as_ref().map(|returning| returning.start(&state, inputs));
        let returning = returning.transpose()?;
        let mut target = Target::open(session, &self.table).await?;
        let written = async {
            // What is returned is computed here, of rows that have to be here.
            let (Some(mut running), Some(returned)) = (returning, &self.returning) else {
                session.fill(&mut target, &plan, &state).await?;
                return Ok(None);
            };
            let mut rows = session.start_rows(&plan, &state).await?;
            while let Some(batch) = rows.next().await {
                let batch = batch.map_err(from_datafusion)?;
                target.write(batch.columns().to_vec()).await?;
                let columns = returned.reads.iter().map(|column| Arc::clone(batch.column(*column)));
                running.take(columns.collect(), batch.num_rows())?;
            }
            running.finish(&state).await.map(Some)
        }
        .await;
        let (written, rows) = match written {
            Ok(rows) => (Ok(()), rows),
            Err(error) => (Err(error), None),
        };
        let count = write::finish(session, target, written).await?;
        Ok(Changes { count, rows })
    }
}
