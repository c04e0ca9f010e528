//! What rows of a table have to satisfy: NOT NULL and CHECK.
//!
//! What always holds: every row that a statement makes passes here before it is written, in PostgreSQL's order: row by row,
//! NOT NULL before CHECK, columns by position, checks by name. A check that is NULL is satisfied.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use serde::{Deserialize, Serialize};
use sqlparser::ast::{self, Visit, Visitor};
use wharf_catalog::{Column, Constraint, Rule, SqlType, Table};
use wharf_values::{ErrorObject, SqlError, SqlState, TextFormat, mapping};

use super::constants;
use crate::bind::{BindContext, Local, analyze, planner};
use crate::error::from_datafusion;
use crate::names::quoted;
use crate::session::Session;

/// The name of the table whose rows are checked, in the queries made for it.
pub(crate) const TARGET: &str = "\0checked";
/// The longest text of a value in the detail of an error, in bytes, as in PostgreSQL.
const MAX_VALUE_BYTES: usize = 64;

/// How an error speaks of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Wording {
    /// Of the one that a statement wants to add.
    Row,
    /// Of some that the table has.
    Table,
}

/// What the rows of a table have to satisfy, ready to be evaluated.
#[derive(Clone)]
pub(crate) struct Checks {
    about: About,
    /// The columns, all of them nullable.
    schema: SchemaRef,
    conditions: Vec<Condition>,
    format: TextFormat,
}

/// A condition by the name of its constraint.
pub(super) type Condition = (String, Arc<dyn PhysicalExpr>);

/// What checks are beside the table's columns and the conditions on them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct About {
    /// The name of the table.
    relation: String,
    /// The name of the table's schema.
    namespace: Option<String>,
    /// The columns that must not be NULL, by position.
    required: Vec<usize>,
    wording: Wording,
}

impl Checks {
    /// Those of a table and of some of its constraints.
    ///
    /// # Errors
    /// What binding a condition raises; conditions in the catalog have been bound before.
    pub(crate) async fn new(
        session: &Session,
        table: &Arc<Table>,
        constraints: &[Constraint],
        wording: Wording,
    ) -> Result<Checks, SqlError> {
        let catalog = session.engine.group.local();
        let namespace = catalog.namespace(table.namespace).map(|namespace| namespace.name.clone());
        let mut conditions = Vec::new();
        for constraint in constraints {
            let Rule::Check { expression, .. } = &constraint.rule else { continue };
            let condition = bind(session, constants::parse(expression)?, &table.name, &table.columns).await?;
            conditions.push((constraint.name.clone(), condition));
        }
        conditions.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(Checks::of(table, namespace, conditions, session.text_format(), wording))
    }

    /// Those of a table in a schema of this name, with conditions that are bound, in the order of their names; `format` is for the values in errors.
    pub(crate) fn of(
        table: &Arc<Table>,
        namespace: Option<String>,
        conditions: Vec<Condition>,
        format: TextFormat,
        wording: Wording,
    ) -> Checks {
        let field = |column: &Column| mapping::field(&column.name, &column.ty, true);
        let schema = Arc::new(Schema::new(table.columns.iter().map(field).collect::<Vec<Field>>()));
        let required = table.columns.iter().enumerate().filter(|(_, column)| !column.nullable).map(|(index, _)| index);
        let about = About { relation: table.name.clone(), namespace, required: required.collect(), wording };
        Checks { about, schema, conditions, format }
    }

    /// Those that another node has; the conditions are in the order of their names.
    pub(super) fn arrived(about: About, schema: SchemaRef, conditions: Vec<Condition>, format: TextFormat) -> Checks {
        Checks { about, schema, conditions, format }
    }

    pub(super) fn about(&self) -> &About {
        &self.about
    }

    /// The columns, all of them nullable.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The name of the table's schema.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.about.namespace.as_deref()
    }

    /// The conditions by the names of their constraints, in the order of the names.
    pub(crate) fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// The same for fewer of the columns that must not be NULL.
    pub(crate) fn only_required(mut self, columns: &[usize]) -> Checks {
        self.about.required.retain(|column| columns.contains(column));
        self
    }

    /// Holds rows against all of it.
    ///
    /// # Errors
    /// `23502`, `23514`, and what a condition raises.
    pub(crate) fn check(&self, columns: &[ArrayRef]) -> Result<(), SqlError> {
        let mut worst = None;
        for index in &self.about.required {
            let column = &columns[*index];
            let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) else { continue };
            if let Some(row) = (0..column.len()).find(|row| nulls.is_null(*row)) {
                worst = earlier(worst, (row, Broken::NotNull(*index)));
            }
        }
        if !self.conditions.is_empty() {
            let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns.to_vec())
                .map_err(|error| SqlError::internal(error.to_string()))?;
            for (name, condition) in &self.conditions {
                let value = condition.evaluate(&batch).and_then(|value| value.into_array(batch.num_rows()));
                let value = value.map_err(from_datafusion)?;
                let Some(value) = value.as_boolean_opt() else {
                    return Err(SqlError::internal(format!("check \"{name}\" is not boolean")));
                };
                let broken = (0..value.len()).find(|row| value.is_valid(*row) && !value.value(*row));
                if let Some(row) = broken {
                    worst = earlier(worst, (row, Broken::Check(name)));
                }
            }
        }
        match worst {
            None => Ok(()),
            Some((row, broken)) => Err(self.error(columns, row, &broken)),
        }
    }

    fn error(&self, columns: &[ArrayRef], row: usize, broken: &Broken<'_>) -> SqlError {
        let About { relation: table, namespace, wording, .. } = &self.about;
        let (code, message) = match (broken, wording) {
            (Broken::NotNull(index), wording) => {
                let column = self.schema.field(*index).name();
                let message = match wording {
                    Wording::Row => format!(
                        "null value in column \"{column}\" of relation \"{table}\" violates not-null constraint"
                    ),
                    Wording::Table => format!("column \"{column}\" of relation \"{table}\" contains null values"),
                };
                (SqlState::NOT_NULL_VIOLATION, message)
            }
            (Broken::Check(name), Wording::Row) => {
                let message = format!("new row for relation \"{table}\" violates check constraint \"{name}\"");
                (SqlState::CHECK_VIOLATION, message)
            }
            (Broken::Check(name), Wording::Table) => {
                let message = format!("check constraint \"{name}\" of relation \"{table}\" is violated by some row");
                (SqlState::CHECK_VIOLATION, message)
            }
        };
        let object = ErrorObject {
            schema: namespace.clone(),
            table: Some(table.clone()),
            column: match broken {
                Broken::NotNull(index) => Some(self.schema.field(*index).name().clone()),
                Broken::Check(_) => None,
            },
            constraint: match broken {
                Broken::NotNull(_) => None,
                Broken::Check(name) => Some((*name).to_owned()),
            },
            ..ErrorObject::default()
        };
        let error = SqlError::new(code, message).with_object(object);
        match wording {
            Wording::Row => error.with_detail(format!("Failing row contains ({}).", self.row(columns, row))),
            Wording::Table => error,
        }
    }

    /// A row as PostgreSQL shows it: long values are cut.
    fn row(&self, columns: &[ArrayRef], row: usize) -> String {
        let texts =
            columns.iter().zip(self.schema.fields()).map(
                |(column, field)| match wharf_values::text_out::value_to_text(field, column, row, &self.format) {
                    Ok(Some(text)) if text.len() > MAX_VALUE_BYTES => {
                        let end = (0..=MAX_VALUE_BYTES).rev().find(|end| text.is_char_boundary(*end));
                        format!("{}...", &text[..end.unwrap_or(0)])
                    }
                    Ok(Some(text)) => text,
                    Ok(None) => "null".to_owned(),
                    Err(_) => "???".to_owned(),
                },
            );
        texts.collect::<Vec<_>>().join(", ")
    }
}

/// What a row contradicts.
enum Broken<'a> {
    NotNull(usize),
    Check(&'a str),
}

/// The one of the earlier row; of one row the one that was found first.
fn earlier<'a>(before: Option<(usize, Broken<'a>)>, found: (usize, Broken<'a>)) -> Option<(usize, Broken<'a>)> {
    match before {
        Some(before) if before.0 <= found.0 => Some(before),
        _ => Some(found),
    }
}

/// Binds the condition of a check over the columns of a table.
///
/// # Errors
/// `42804` when it is not boolean, `42803`, `42P20` and `0A000` for what a check cannot have, and all that binding refuses.
pub(crate) async fn bind(
    session: &Session,
    condition: ast::Expr,
    table: &str,
    columns: &[Column],
) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
    refuse_subqueries(&condition)?;
    let context = with_target(session.bind_context(session.engine.group.local()), columns);
    let planned = planner::plan_query(&over_target(table, vec![condition])?, &[], &context, &session.reader()).await?;
    let plan = analyze(planned.plan, &context).map_err(from_datafusion)?;
    let LogicalPlan::Projection(projection) = plan else {
        return Err(refused("set-returning functions are not allowed in check constraints"));
    };
    match projection.input.as_ref() {
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::TableScan(_) => {}
        LogicalPlan::Aggregate(_) => {
            let message = "aggregate functions are not allowed in check constraints";
            return Err(SqlError::new(SqlState::GROUPING_ERROR, message));
        }
        LogicalPlan::Window(_) => {
            let message = "window functions are not allowed in check constraints";
            return Err(SqlError::new(SqlState::WINDOWING_ERROR, message));
        }
        _ => return Err(refused("set-returning functions are not allowed in check constraints")),
    }
    match mapping::sql_type(projection.schema.field(0)) {
        SqlType::Boolean | SqlType::Unknown => {}
        other => {
            let message = format!("argument of CHECK must be type boolean, not type {other}");
            return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
        }
    }
    let expr = projection.expr.into_iter().next().map(Expr::unalias);
    let expr = expr.ok_or_else(|| SqlError::internal("a check without a condition"))?;
    let expr = Expr::Cast(datafusion::logical_expr::Cast::new(Box::new(expr), arrow::datatypes::DataType::Boolean));
    context.session.create_physical_expr(expr, projection.input.schema()).map_err(from_datafusion)
}

/// `SELECT` of these expressions over the target table, under the name it has in them.
pub(crate) fn over_target(name: &str, list: Vec<ast::Expr>) -> Result<ast::Query, SqlError> {
    let Some(ast::Statement::Query(mut query)) =
        crate::statement::parse(&format!("SELECT 1 FROM \"{TARGET}\" AS t"))?.pop()
    else {
        return Err(SqlError::internal("the template is no query"));
    };
    let ast::SetExpr::Select(select) = query.body.as_mut() else {
        return Err(SqlError::internal("the template is no SELECT"));
    };
    if let Some(ast::TableWithJoins { relation: ast::TableFactor::Table { alias: Some(alias), .. }, .. }) =
        select.from.first_mut()
    {
        alias.name = quoted(name);
    }
    let number = |(index, expr)| ast::SelectItem::ExprWithAlias { expr, alias: quoted(&format!("column{index}")) };
    select.projection = list.into_iter().enumerate().map(number).collect();
    Ok(*query)
}

fn refuse_subqueries(condition: &ast::Expr) -> Result<(), SqlError> {
    struct Subqueries;
    impl Visitor for Subqueries {
        type Break = ();
        fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    match condition.visit(&mut Subqueries) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(refused("cannot use subquery in check constraint")),
    }
}

fn refused(message: &str) -> SqlError {
    SqlError::unsupported(message).with_hint("A check is about the columns of one row.")
}

/// A context in which nothing but the target can be read.
pub(crate) fn with_target(mut context: BindContext, columns: &[Column]) -> BindContext {
    let field = |column: &Column| mapping::field(&column.name, &column.ty, true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<Field>>()));
    let source = provider_as_source(Arc::new(EmptyTable::new(schema)));
    context.locals.insert(TARGET.to_owned(), Local { source, oid: None });
    context
}
