//! The rows of a table under its new schema: looked at, or written again. They are those of every branch.

use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use futures::StreamExt;
use sqlparser::ast::{Expr, Value};
use wharf_catalog::{Column, Constraint, Rule, Table};
use wharf_lake::commit::{self, Rewritten, SchemaChange, Uncommitted};
use wharf_lake::{Head, LakeTable, WrittenFile};
use wharf_values::{SqlError, SqlState};

use super::draft::{Draft, Source};
use crate::bind::{Local, analyze, assign_columns, planner};
use crate::dml::checks::{Checks, TARGET, Wording, over_target};
use crate::dml::write::Target;
use crate::error::{from_datafusion, from_lake};
use crate::names::quoted;
use crate::optimize::physical_plan;
use crate::session::{Session, task_context};

/// Whether the values of a column can become those of another type.
///
/// # Errors
/// `42804` in PostgreSQL's words, and all that binding the expression refuses.
pub(super) async fn check_conversion(
    draft: &Draft,
    session: &Session,
    expr: Expr,
    column: &Column,
    using: bool,
) -> Result<(), SqlError> {
    let context =
        crate::dml::checks::with_target(session.bind_context(Arc::clone(&draft.context.catalog)), &draft.table.columns);
    let query = over_target(&draft.table.name, vec![expr])?;
    let planned = planner::plan_query(&query, &[], &context, &session.reader()).await?;
    let plan = analyze(planned.plan, &context).map_err(from_datafusion)?;
    let assigned = assign_columns(plan, &[column], false, &context).map_err(from_datafusion);
    assigned.map(drop).map_err(|error| {
        if error.code != SqlState::DATATYPE_MISMATCH {
            return error;
        }
        let (name, ty) = (&column.name, &column.ty);
        if using {
            let message =
                format!("result of USING clause for column \"{name}\" cannot be cast automatically to type {ty}");
            return SqlError::new(SqlState::DATATYPE_MISMATCH, message)
                .with_hint("You might need to add an explicit cast.");
        }
        let message = format!("column \"{name}\" cannot be cast automatically to type {ty}");
        let mut identifier = String::new();
        crate::functions::quoting::push_identifier(name, &mut identifier);
        SqlError::new(SqlState::DATATYPE_MISMATCH, message)
            .with_hint(format!("You might need to specify \"USING {identifier}::{ty}\"."))
    })
}

/// An error about the rows of branches other than `main` names them.
pub(super) fn of_head(head: &Head, mut error: SqlError) -> SqlError {
    if head.is_main() || !["22", "23"].contains(&error.code.class()) {
        return error;
    }
    let names = head.branches.iter().map(|branch| format!("\"{branch}\"")).collect::<Vec<_>>().join(", ");
    let noun = if head.branches.len() == 1 { "branch" } else { "branches" };
    error.detail.get_or_insert_with(|| format!("The rows are those of {noun} {names}."));
    error.hint.get_or_insert_with(|| {
        "Change them there (see the setting wharf.write_branch), or drop the branch with ALTER TABLE .. DROP BRANCH.".to_owned()
    });
    error
}

impl Draft {
    /// Holds the rows of a state of the table against what is new of it.
    ///
    /// # Errors
    /// `23502`, `23514`.
    pub(super) async fn verify(
        &self,
        session: &mut Session,
        new: &Table,
        state: &Arc<LakeTable>,
    ) -> Result<(), SqlError> {
        let is_new = |constraint: &&Constraint| self.checks.contains(&constraint.name);
        let conditions: Vec<Constraint> = new.constraints.iter().filter(is_new).cloned().collect();
        let places: Vec<usize> =
            (0..new.columns.len()).filter(|index| self.required.contains(&new.columns[*index].field_id)).collect();
        let needed = |index: usize| {
            let id = new.columns[index].field_id;
            places.contains(&index) || conditions.iter().any(|condition| condition.columns().contains(&id))
        };
        let checks = Checks::new(session, &Arc::new(new.clone()), &conditions, Wording::Table).await?;
        let checks = checks.only_required(&places);
        let mut rows = self.rows(session, new, state, &needed).await?;
        while let Some(batch) = rows.next().await {
            checks.check(batch.map_err(from_datafusion)?.columns())?;
        }
        Ok(())
    }

    /// Writes the rows of all branches again under the new schema; gives the files.
    ///
    /// # Errors
    /// `23502`, `23514`, and what a conversion raises.
    pub(super) async fn rewrite(
        &self,
        session: &mut Session,
        new: &Table,
        change: &SchemaChange,
        written: &mut Uncommitted,
    ) -> Result<Rewritten, SqlError> {
        let warehouse = Arc::clone(&session.engine.warehouse);
        let state = commit::set_columns(&warehouse, &self.base, change).await.map_err(|error| from_lake(&error))?;
        // A state to write for; the commit makes its own.
        let mut scratch = Uncommitted::new(&warehouse);
        scratch.add_metadata(&state);
        let lake_table = warehouse.load(&state).await.map_err(|error| from_lake(&error))?;
        let table = Arc::new(new.clone());
        let mut rewritten = Rewritten::default();
        for head in self.heads_with_rows() {
            let result = self.rewrite_head(session, &table, &lake_table, &head.state).await;
            let files = result.map_err(|error| of_head(head, error))?;
            written.add_files(&files);
            rewritten.add(head.branches.clone(), files);
        }
        Ok(rewritten)
    }

    /// The same for one of them.
    async fn rewrite_head(
        &self,
        session: &mut Session,
        table: &Arc<Table>,
        lake_table: &Arc<LakeTable>,
        state: &Arc<LakeTable>,
    ) -> Result<Vec<WrittenFile>, SqlError> {
        let valid = |constraint: &&Constraint| constraint.validated && matches!(constraint.rule, Rule::Check { .. });
        let conditions: Vec<Constraint> = table.constraints.iter().filter(valid).cloned().collect();
        let checks = Checks::new(session, table, &conditions, Wording::Table).await?;
        let mut target = Target::over(&session.engine, table, Arc::clone(lake_table), checks);
        let mut rows = self.rows(session, table, state, &|_| true).await?;
        let result = async {
            while let Some(batch) = rows.next().await {
                target.write(batch.map_err(from_datafusion)?.columns().to_vec()).await?;
            }
            Ok(())
        }
        .await;
        if let Err(error) = result {
            target.abort().await;
            return Err(error);
        }
        target.into_files().await.map(|(_, files)| files)
    }

    /// The rows of a state of the table under the new schema; columns that are not needed are NULL.
    async fn rows(
        &self,
        session: &mut Session,
        new: &Table,
        state: &Arc<LakeTable>,
        needed: &(dyn Fn(usize) -> bool + Sync),
    ) -> Result<SendableRecordBatchStream, SqlError> {
        let null = || Expr::Value(Value::Null.with_empty_span());
        let list = self.columns.iter().enumerate().map(|(index, column)| match &column.source {
            _ if !needed(index) => null(),
            Source::Old(name) => Expr::Identifier(quoted(name)),
            Source::Computed(expr) => expr.clone(),
            Source::New(value) => value.clone().unwrap_or_else(null),
        });
        let query = over_target(&self.table.name, list.collect())?;
        let mut context = session.bind_context(Arc::clone(&self.context.catalog));
        let provider = state.provider().await.map_err(|error| from_lake(&error))?;
        let local = Local { source: provider_as_source(provider), oid: None };
        context.locals.insert(TARGET.to_owned(), local);
        let planned = planner::plan_query(&query, &[], &context, &session.reader()).await?;
        let targets: Vec<&Column> = new.columns.iter().collect();
        let plan: LogicalPlan = analyze(planned.plan, &context)
            .and_then(|plan| assign_columns(plan, &targets, false, &context))
            .map_err(from_datafusion)?;
        let state = &context.session;
        let physical = physical_plan(&plan, state).await?;
        execute_stream(physical, task_context(state)).map_err(from_datafusion)
    }
}
