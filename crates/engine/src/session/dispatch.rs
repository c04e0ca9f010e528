//! Runs one statement: which part of the engine it belongs to, and what it means for the open transaction.

use std::pin::pin;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use sqlparser::ast::{self, Statement as Ast};
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState};

use super::Session;
use super::prepare::{Kind, Prepared};
use super::result::{Outcome, ResultColumn};
use super::set::{setting_name, show_name};
use super::stream::RowStream;
use crate::bind::names::{fold, last_part};
use crate::bind::types::sql_type_of_ast;
use crate::dml::{self, Changes, Given, Inputs, WithOutcome};
use crate::settings::Settings;
use crate::statement::Statement;
use crate::syntax::locate;
use crate::{copy_from, copy_to, ddl, explain, procedures};

impl Session {
    /// Runs a prepared statement. The values are of the types it takes; `None` is NULL.
    ///
    /// # Errors
    /// Whatever the statement raises.
    pub async fn execute(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<Option<ArrayRef>>,
    ) -> Result<Outcome, SqlError> {
        let mut observed = self.observe(&prepared.statement);
        self.bound = None;
        let result = observed.follow(pin!(self.execute_bound(prepared, parameters))).await;
        self.answered(observed, result)
    }

    /// The same for a statement that may have been bound just now.
    pub(super) async fn execute_bound(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<Option<ArrayRef>>,
    ) -> Result<Outcome, SqlError> {
        self.canceller.begin();
        self.apply_setting_changes();
        self.check_not_failed(&prepared.statement)?;
        self.looks(&prepared.statement.ast);
        let counts_together = matches!(prepared.kind, Kind::With(_)) && self.transaction.is_none();
        let outcome = if counts_together || self.needs_transaction(&prepared.statement) {
            Box::pin(self.execute_alone(prepared, parameters)).await
        } else {
            self.execute_now(prepared, parameters).await
        };
        self.has_run(&prepared.statement.ast, &outcome);
        outcome
    }

    /// A transaction for one statement, run again when it lost a race.
    async fn execute_alone(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<Option<ArrayRef>>,
    ) -> Result<Outcome, SqlError> {
        let mut attempts = self.engine.options.commit_attempts.max(1);
        loop {
            self.begin_implicit();
            let mut result = self.execute_now(prepared, parameters.clone()).await;
            let ended = self.end_implicit(result.is_ok()).await;
            result = result.and_then(|outcome| ended.map(|()| outcome));
            attempts -= 1;
            match result {
                Err(error) if error.code == SqlState::SERIALIZATION_FAILURE && attempts > 0 => {}
                result => return result,
            }
        }
    }

    async fn execute_now(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<Option<ArrayRef>>,
    ) -> Result<Outcome, SqlError> {
        if let Some(places) = &self.engine.places
            && self.place.is_none()
            && self.works_on_tables(prepared)
        {
            let places = Arc::clone(places);
            Box::pin(self.take_place(&places)).await?;
        }
        let prepared = self.refresh(prepared, &parameters).await?;
        match &prepared.kind {
            Kind::Query(query) => {
                let columns = prepared.columns().cloned().unwrap_or_default();
                let rows = self.stream_query(query, columns, parameters, prepared.parameters()).await?;
                Ok(Outcome::Rows(rows))
            }
            Kind::Write(write) => {
                self.require_write(write.command().name())?;
                // Boxed, like all that is large and rarer than a query, whose future is copied about.
                Box::pin(self.write(&prepared, parameters)).await
            }
            Kind::With(_) => Box::pin(self.write_with(&prepared, &parameters)).await,
            Kind::Cursor(..) => match &*prepared.statement.ast {
                Ast::Declare { stmts } => match stmts.as_slice() {
                    [declare] => self.declare_cursor(&prepared, declare, parameters).await,
                    _ => Err(SqlError::internal("several cursors in one DECLARE")),
                },
                _ => Err(SqlError::internal("not DECLARE")),
            },
            Kind::Utility => {
                let statement = prepared.statement.clone();
                let ran = match &*statement.ast {
                    Ast::Copy { to, .. } => Box::pin(self.copy(&statement, *to)).await,
                    _ => Box::pin(self.utility(&statement, parameters, prepared.parameters())).await,
                };
                ran.map_err(|error| locate(error, &statement.ast, &statement.text))
            }
        }
    }

    /// Runs a statement that changes rows. Outside of a transaction one that lost a race is made anew, on what the winner left.
    async fn write(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<Option<ArrayRef>>,
    ) -> Result<Outcome, SqlError> {
        let mut prepared = Arc::clone(prepared);
        let mut attempts = self.engine.options.commit_attempts.max(1);
        let limits = self.limits();
        let mut turn = None;
        loop {
            let Kind::Write(write) = &prepared.kind else {
                return Err(SqlError::internal("not a statement that changes rows"));
            };
            let has_lost = attempts < self.engine.options.commit_attempts.max(1);
            if turn.is_none() && self.transaction.is_none() && (has_lost || write.is_alone()) {
                let (engine, table) = (Arc::clone(&self.engine), write.table());
                turn = Some(limits.within(async { Ok(engine.turn(table).await) }).await?);
                prepared = self.refresh(&prepared, &parameters).await?;
                continue;
            }
            let inputs = Inputs { values: &parameters, types: prepared.parameters(), given: &Given::default() };
            let run = write.run(self, inputs);
            let result = limits.within(run).await;
            attempts -= 1;
            match result {
                Err(error)
                    if error.code == SqlState::SERIALIZATION_FAILURE && self.transaction.is_none() && attempts > 0 =>
                {
                    prepared = self.refresh(&prepared, &parameters).await?;
                }
                Err(error) => return Err(error),
                Ok(Changes { count, rows }) => {
                    let tag = write.command().tag(count);
                    return Ok(match (rows, prepared.columns()) {
                        (Some(rows), Some(columns)) => Outcome::Rows(RowStream {
                            columns: Arc::clone(columns),
                            batches: rows.into_stream(),
                            tag,
                            counts: false,
                        }),
                        _ => Outcome::Complete(tag),
                    });
                }
            }
        }
    }

    /// Runs a statement with others in its WITH that change rows. There is a transaction.
    async fn write_with(&mut self, prepared: &Prepared, parameters: &[Option<ArrayRef>]) -> Result<Outcome, SqlError> {
        let Kind::With(with) = &prepared.kind else {
            return Err(SqlError::internal("not a statement with others in its WITH"));
        };
        let limits = self.limits();
        let WithOutcome { tag, is_query, rows } =
            limits.within(with.run(self, parameters, prepared.parameters())).await?;
        Ok(match (rows, with.columns()) {
            (Some(rows), Some(columns)) => Outcome::Rows(RowStream {
                columns: Arc::clone(columns),
                batches: rows.into_stream(),
                tag,
                counts: is_query,
            }),
            _ => Outcome::Complete(tag),
        })
    }

    /// In a failed block only its end is accepted.
    pub(super) fn check_not_failed(&self, statement: &Statement) -> Result<(), SqlError> {
        let failed = self.transaction.as_ref().is_some_and(|transaction| transaction.failed);
        if failed && !matches!(*statement.ast, Ast::Commit { .. } | Ast::Rollback { .. }) {
            return Err(SqlError::new(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        Ok(())
    }

    /// The columns of the rows that an interpreted statement gives.
    pub(super) fn utility_columns(&self, statement: &Statement) -> Result<Option<Arc<[ResultColumn]>>, SqlError> {
        Ok(match &*statement.ast {
            Ast::Fetch { name, .. } if !statement.clauses.only_move => self.cursor_columns(&fold(name)),
            Ast::ShowVariable { variable } => Some(match show_name(variable).as_str() {
                "all" => text_columns(&["name", "setting", "description"]),
                name => text_columns(&[&Settings::spelling(name)]),
            }),
            Ast::Explain { .. } => Some(text_columns(&["QUERY PLAN"])),
            Ast::Call(call) => Some(procedures::columns(call)?),
            Ast::Execute { name, .. } => {
                let name = name.as_ref().map(last_part).unwrap_or_default();
                self.named(&name)?.columns().cloned()
            }
            _ => None,
        })
    }

    /// The parameters of an interpreted statement.
    pub(super) fn utility_parameters(&self, _ast: &Ast) -> Result<Vec<SqlType>, SqlError> {
        Ok(Vec::new())
    }

    fn named(&self, name: &str) -> Result<Arc<Prepared>, SqlError> {
        match self.statement(name) {
            Some(Some(prepared)) => Ok(prepared),
            _ => Err(SqlError::new(
                SqlState::INVALID_SQL_STATEMENT_NAME,
                format!("prepared statement \"{name}\" does not exist"),
            )),
        }
    }

    async fn copy(&mut self, statement: &Statement, to: bool) -> Result<Outcome, SqlError> {
        if to {
            return copy_to::start(self, statement).await;
        }
        self.require_write("COPY FROM")?;
        copy_from::start(self, statement).await
    }

    async fn utility(
        &mut self,
        statement: &Statement,
        parameters: Vec<Option<ArrayRef>>,
        types: &[SqlType],
    ) -> Result<Outcome, SqlError> {
        let ast = &*statement.ast;
        let complete = |tag: &str| Ok(Outcome::Complete(tag.to_owned()));
        self.refuse_in_transaction(ast)?;
        match ast {
            Ast::StartTransaction { modes, modifier: None, statements, begin, .. } if statements.is_empty() => {
                self.begin(modes, statement.clauses.deferrable)?;
                complete(if *begin { "BEGIN" } else { "START TRANSACTION" })
            }
            Ast::Commit { chain, .. } => self.commit_block(*chain).await,
            Ast::Rollback { savepoint: Some(name), .. } => {
                self.rollback_to_savepoint(&fold(name))?;
                complete("ROLLBACK")
            }
            Ast::Rollback { chain, savepoint: None } => {
                self.rollback_block(*chain)?;
                complete("ROLLBACK")
            }
            Ast::Savepoint { name } => {
                self.savepoint(fold(name))?;
                complete("SAVEPOINT")
            }
            Ast::ReleaseSavepoint { name } => {
                self.release_savepoint(&fold(name))?;
                complete("RELEASE")
            }
            Ast::Set(set) => self.set(set, statement.clauses),
            Ast::ShowVariable { variable } => self.show(&show_name(variable)),
            Ast::Reset(reset) => {
                match &reset.reset {
                    ast::Reset::ALL => self.settings.reset_all(),
                    ast::Reset::ConfigurationParameter(name) => self.settings.reset(&setting_name(name))?,
                }
                complete("RESET")
            }
            Ast::Discard { object_type } => self.discard(object_type),
            Ast::Prepare { name, data_types, statement: inner } => {
                self.prepare_named(name, data_types, inner, statement).await
            }
            Ast::Execute { name, parameters: arguments, .. } => {
                let name = name.as_ref().map(last_part).unwrap_or_default();
                let prepared = self.named(&name)?;
                let values = self.evaluate(arguments, prepared.parameters(), &name).await?;
                self.bound = None;
                Box::pin(self.execute_bound(&prepared, values)).await
            }
            Ast::Deallocate { name, .. } => {
                let folded = fold(name);
                if name.quote_style.is_none() && folded == "all" {
                    self.forget_statements();
                    return complete("DEALLOCATE ALL");
                }
                self.named(&folded)?;
                self.forget_statement(&folded);
                complete("DEALLOCATE")
            }
            Ast::Fetch { name, direction, into: None, .. } => {
                self.fetch(name, direction, statement.clauses.only_move).await
            }
            Ast::Close { cursor } => self.close_cursor(cursor),
            // Nobody listens, so there is nothing to give up.
            Ast::UNLISTEN { .. } => complete("UNLISTEN"),
            Ast::Explain { statement: explained, .. } => match explained.as_ref() {
                Ast::Execute { name, parameters: arguments, .. } => {
                    let name = name.as_ref().map(last_part).unwrap_or_default();
                    let prepared = self.named(&name)?;
                    let values = self.evaluate(arguments, prepared.parameters(), &name).await?;
                    let mut ast = ast.clone();
                    if let Ast::Explain { statement, .. } = &mut ast {
                        **statement = prepared.statement.ast.as_ref().clone();
                    }
                    explain::run(self, &ast, values, prepared.parameters()).await
                }
                _ => explain::run(self, ast, parameters, types).await,
            },
            Ast::Truncate(truncate) => {
                self.require_write("TRUNCATE TABLE")?;
                dml::truncate::run(self, truncate).await?;
                complete("TRUNCATE TABLE")
            }
            Ast::Analyze(_) => complete("ANALYZE"),
            Ast::Vacuum(_) => complete("VACUUM"),
            Ast::Call(call) => {
                self.require_write("CALL")?;
                let limits = self.limits();
                limits.within(procedures::run(self, call)).await
            }
            other => {
                if let Some(tag) = ddl::tag(statement) {
                    self.require_write(tag)?;
                    let limits = self.limits();
                    return limits.within(ddl::run(self, statement)).await;
                }
                Err(unsupported(other))
            }
        }
    }

    fn discard(&mut self, object: &ast::DiscardObject) -> Result<Outcome, SqlError> {
        match object {
            ast::DiscardObject::ALL => {
                self.forget_statements();
                self.cursors.clear();
                self.plans.clear();
                self.settings.reset_all();
                Ok(Outcome::Complete("DISCARD ALL".to_owned()))
            }
            ast::DiscardObject::PLANS => {
                self.plans.clear();
                Ok(Outcome::Complete("DISCARD PLANS".to_owned()))
            }
            ast::DiscardObject::SEQUENCES => Ok(Outcome::Complete("DISCARD SEQUENCES".to_owned())),
            ast::DiscardObject::TEMP => Ok(Outcome::Complete("DISCARD TEMP".to_owned())),
        }
    }

    // ----- PREPARE and EXECUTE

    async fn prepare_named(
        &mut self,
        name: &ast::Ident,
        data_types: &[ast::DataType],
        inner: &Ast,
        whole: &Statement,
    ) -> Result<Outcome, SqlError> {
        let name = fold(name);
        if self.statement(&name).is_some() {
            return Err(SqlError::new(
                SqlState::DUPLICATE_PSTATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let oids = data_types
            .iter()
            .map(|data_type| Ok(sql_type_of_ast(data_type)?.oid()))
            .collect::<Result<Vec<u32>, SqlError>>()?;
        let statement = Statement {
            ast: Arc::new(inner.clone()),
            own: None,
            layout: None,
            clauses: Default::default(),
            copy_options: Arc::from([]),
            from_sql: true,
            alone: false,
            notices: Arc::new([]),
            ..whole.clone()
        };
        let prepared = Box::pin(self.prepare_unobserved(&statement, &oids)).await?;
        self.store_statement(&name, Some(prepared));
        Ok(Outcome::Complete("PREPARE".to_owned()))
    }

    /// The values of EXECUTE's arguments, at the types of the statement's parameters.
    async fn evaluate(
        &mut self,
        arguments: &[ast::Expr],
        types: &[SqlType],
        name: &str,
    ) -> Result<Vec<Option<ArrayRef>>, SqlError> {
        if arguments.len() != types.len() {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                format!("wrong number of parameters for prepared statement \"{name}\""),
            )
            .with_detail(format!("Expected {} parameters but got {}.", types.len(), arguments.len())));
        }
        if arguments.is_empty() {
            return Ok(Vec::new());
        }
        let catalog = self.catalog().await?;
        let context = self.bind_context(catalog);
        let batch = dml::constants::evaluate(self, arguments.to_vec(), types, &context).await?;
        Ok(batch
            .columns()
            .iter()
            .map(|column| (!arrow::array::Array::is_null(column, 0)).then(|| Arc::clone(column)))
            .collect())
    }
}

/// Columns of text with these names.
pub(crate) fn text_columns(names: &[&str]) -> Arc<[ResultColumn]> {
    names
        .iter()
        .map(|name| ResultColumn::computed(name, Arc::new(Field::new(*name, DataType::Utf8View, true))))
        .collect()
}

/// Rows of text that are there already.
pub(crate) fn text_rows(columns: Arc<[ResultColumn]>, arrays: Vec<ArrayRef>, tag: &str) -> Result<RowStream, SqlError> {
    let fields: Vec<_> = columns.iter().map(|column| Arc::clone(&column.field)).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|error| SqlError::internal(error.to_string()))?;
    Ok(RowStream::ready(columns, vec![batch], tag))
}

fn unsupported(statement: &Ast) -> SqlError {
    let text = statement.to_string();
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    SqlError::unsupported(format!("{} is not supported", words.join(" ")))
        .with_hint("docs/postgres-compatibility.md lists the statements Wharf has.")
}
