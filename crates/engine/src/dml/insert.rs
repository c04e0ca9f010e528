//! INSERT: a query whose columns are brought to the table's types, written through the lake.

use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use sqlparser::ast;
use wharf_catalog::{Relation, SqlType, Table};
use wharf_values::{SqlError, SqlState};

use super::write::{self, Target};
use crate::bind::names::{fold, last_part};
use crate::bind::normalize::is_constant_source;
use crate::bind::{BindContext, assign_columns, parameter_number, parameter_type};
use crate::error::from_datafusion;
use crate::names::find_relation;
use crate::session::{Session, task_context, with_values};

/// A planned INSERT.
pub(crate) struct InsertPlan {
    pub(crate) table: Arc<Table>,
    /// The rows at the table's columns and types, in the table's order.
    pub(crate) plan: LogicalPlan,
}

impl InsertPlan {
    /// Plans an INSERT.
    ///
    /// # Errors
    /// `42P01`, `42703`, `42601` for lists that do not match, `42804` for types that do not fit.
    pub(crate) async fn new(
        session: &Session,
        insert: &ast::Insert,
        parameters: &[Option<SqlType>],
        context: &BindContext,
    ) -> Result<InsertPlan, SqlError> {
        refuse_clauses(insert)?;
        let ast::TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::unsupported("INSERT into anything but a table is not supported"));
        };
        let table = match find_relation(name, context)? {
            Relation::Table(table) => table,
            Relation::View(view) => {
                return Err(SqlError::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("cannot insert into view \"{}\"", view.name),
                )
                .with_hint("Insert into the table the view reads from."));
            }
        };
        let mut targets = target_columns(insert, &table)?;
        let plan = match &insert.source {
            Some(source) => {
                let source = with_defaults(source, &table, &targets)?;
                let parameters = column_parameters(&source, parameters, &table, &targets);
                let plan = session.plan_query(&source, &parameters, context).await?;
                if insert.columns.is_empty() {
                    // Without a list the source's columns go to the table's first ones.
                    targets.truncate(plan.schema().fields().len());
                }
                assign(plan, &table, &targets, is_constant_source(&source), context)?
            }
            None => LogicalPlanBuilder::empty(true).build().map_err(from_datafusion)?,
        };
        let provided = if insert.source.is_some() { targets } else { Vec::new() };
        let plan = complete(session, plan, &table, &provided, context).await?;
        Ok(InsertPlan { table, plan })
    }
}

fn refuse_clauses(insert: &ast::Insert) -> Result<(), SqlError> {
    if insert.returning.is_some() {
        return Err(SqlError::unsupported("INSERT .. RETURNING is not supported yet"));
    }
    if insert.on.is_some() || insert.or.is_some() || insert.ignore {
        return Err(SqlError::unsupported("INSERT .. ON CONFLICT is not supported yet"));
    }
    if insert.overwrite || insert.partitioned.is_some() || insert.replace_into {
        return Err(SqlError::unsupported("this form of INSERT is not supported"));
    }
    Ok(())
}

/// The columns that the source's columns go to, by their place in the table.
fn target_columns(insert: &ast::Insert, table: &Table) -> Result<Vec<usize>, SqlError> {
    if insert.columns.is_empty() {
        return Ok((0..table.columns.len()).collect());
    }
    let mut targets = Vec::with_capacity(insert.columns.len());
    for name in &insert.columns {
        let name = last_part(name);
        let index = table.columns.iter().position(|column| column.name == name).ok_or_else(|| {
            SqlError::new(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
            )
        })?;
        if targets.contains(&index) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{name}\" specified more than once"),
            ));
        }
        targets.push(index);
    }
    Ok(targets)
}

/// The cells of a VALUES list as PostgreSQL reads them in an INSERT: the word DEFAULT stands for the column's default, and
/// a string is a value of the column's type, whatever the other rows have there.
fn with_defaults(source: &ast::Query, table: &Table, targets: &[usize]) -> Result<ast::Query, SqlError> {
    let mut source = source.clone();
    let ast::SetExpr::Values(values) = source.body.as_mut() else { return Ok(source) };
    let several = values.rows.len() > 1;
    let types = targets.iter().map(|target| written_type(&table.columns[*target])).collect::<Result<Vec<_>, _>>()?;
    for row in &mut values.rows {
        if row.content.len() > targets.len() {
            return Err(too_many_expressions());
        }
        for ((cell, target), data_type) in row.content.iter_mut().zip(targets).zip(&types) {
            match (&*cell, data_type) {
                (ast::Expr::Identifier(word), _) if word.quote_style.is_none() && fold(word) == "default" => {
                    *cell = default_expression(&table.columns[*target])?;
                }
                (ast::Expr::Value(value), Some(data_type))
                    if several && matches!(value.value, ast::Value::SingleQuotedString(_)) =>
                {
                    *cell = ast::Expr::Cast {
                        kind: ast::CastKind::DoubleColon,
                        expr: Box::new(cell.clone()),
                        data_type: data_type.clone(),
                        array: false,
                        format: None,
                    };
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

/// A column's type as a statement writes it; none for strings, which keep their own rules for length.
pub(super) fn written_type(column: &wharf_catalog::Column) -> Result<Option<ast::DataType>, SqlError> {
    if column.ty.is_string() {
        return Ok(None);
    }
    match super::constants::parse(&format!("NULL::{}", column.ty))? {
        ast::Expr::Cast { data_type, .. } => Ok(Some(data_type)),
        other => Err(SqlError::internal(format!("{other} is not a cast"))),
    }
}

/// The expression a column takes when nothing is given for it.
pub(super) fn default_expression(column: &wharf_catalog::Column) -> Result<ast::Expr, SqlError> {
    match &column.default {
        Some(text) => super::constants::parse(text),
        None => Ok(ast::Expr::Value(ast::Value::Null.with_empty_span())),
    }
}

fn too_many_expressions() -> SqlError {
    SqlError::new(SqlState::SYNTAX_ERROR, "INSERT has more expressions than target columns")
}

/// The source's columns at the types of the columns they go to.
fn assign(
    plan: LogicalPlan,
    table: &Table,
    targets: &[usize],
    constant: bool,
    context: &BindContext,
) -> Result<LogicalPlan, SqlError> {
    let given = plan.schema().fields().len();
    if given > targets.len() {
        return Err(too_many_expressions());
    }
    if given < targets.len() {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "INSERT has more target columns than expressions"));
    }
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

/// Runs an INSERT and gives the number of rows.
///
/// # Errors
/// `23502` for a NULL where none may be, `22001` and relatives for values that do not fit, and what the commit raises.
pub(crate) async fn run(
    session: &mut Session,
    insert: &InsertPlan,
    values: Vec<Option<ArrayRef>>,
    types: &[SqlType],
) -> Result<u64, SqlError> {
    let plan = with_values(insert.plan.clone(), values, types)?;
    let catalog = session.catalog().await?;
    let state = session.execution_state(&catalog);
    let optimized = state.optimize(&plan).map_err(from_datafusion)?;
    let physical =
        state.query_planner().create_physical_plan(&optimized, state.as_ref()).await.map_err(from_datafusion)?;
    let mut stream = execute_stream(physical, task_context(&state)).map_err(from_datafusion)?;
    let mut target = Target::open(session, &insert.table).await?;
    let written = async {
        while let Some(batch) = stream.next().await {
            target.write(batch.map_err(from_datafusion)?.columns().to_vec()).await?;
        }
        Ok(())
    }
    .await;
    write::finish(session, target, written).await
}
