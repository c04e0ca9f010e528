//! The extended query protocol: `Parse`, `Bind`, `Describe`, `Execute` and `Close`.
//!
//! What always holds: counts and formats in a `Bind` are checked against the statement before a value is looked at; the
//! statements of a pipeline count together or not at all, which is decided at `Sync`. Values are read by
//! `wharf_values`; what their types are, the engine says.

use std::sync::Arc;

use arrow::array::ArrayRef;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState, TextFormat, binary_in, text_in};

use crate::backend::{Backend, Outcome, Prepared, Session, TransactionStatus};
use crate::decode::{Bind, Target, utf8};
use crate::encode::{Format, Formats, messages};
use crate::error::{Failure, protocol_violation};
use crate::portal::{Completion, Portal, PortalState, RowCursor};
use crate::protocol::{Connection, PreparedOf, failed_block, watched};

impl<B: Backend> Connection<'_, B> {
    /// Answers a `Parse`.
    pub(crate) async fn parse(&mut self, name: &str, sql: &str, parameter_oids: &[u32]) -> Result<(), Failure> {
        if name.is_empty() {
            self.unnamed = None;
        } else if self.session.statement(name).is_some() {
            return Err(Failure::Sql(SqlError::new(
                SqlState::DUPLICATE_PSTATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            )));
        } else if self.session.statement_count() >= self.shared.options.max_prepared_statements {
            return Err(too_many("prepared statements", self.shared.options.max_prepared_statements));
        }
        let statements = self.session.split(sql)?;
        let prepared = match statements.as_slice() {
            [] => None,
            [statement] => {
                let work = Box::pin(self.session.prepare(statement, parameter_oids));
                let prepared = watched(self.wire, &self.cancel, work).await?;
                Self::check_columns(prepared.columns().map_or(0, |columns| columns.len()))?;
                Some(prepared)
            }
            [_, ..] => {
                return Err(Failure::Sql(SqlError::new(
                    SqlState::SYNTAX_ERROR,
                    "cannot insert multiple commands into a prepared statement",
                )));
            }
        };
        if name.is_empty() {
            self.unnamed = Some(prepared);
        } else {
            self.session.store_statement(name, prepared);
        }
        self.send_notices();
        messages::parse_complete(&mut self.wire.output);
        Ok(())
    }

    /// Answers a `Bind`.
    pub(crate) fn bind(&mut self, bind: &Bind<'_>) -> Result<(), Failure> {
        let prepared = self.statement(bind.statement)?;
        let (types, column_count) = match &prepared {
            Some(prepared) => (prepared.parameters(), prepared.columns().map_or(0, |columns| columns.len())),
            None => (&[] as &[SqlType], 0),
        };
        check_counts(bind, types.len())?;
        if !bind.portal.is_empty() {
            if self.portals.get(bind.portal).is_some() {
                return Err(Failure::Sql(SqlError::new(
                    SqlState::DUPLICATE_CURSOR,
                    format!("cursor \"{}\" already exists", bind.portal),
                )));
            }
            if self.portals.len() >= self.shared.options.max_portals {
                return Err(too_many("portals", self.shared.options.max_portals));
            }
        }
        let parameters = values(bind, types, || self.session.text_format())?;
        let formats = result_formats(&bind.result_formats, column_count)?;
        self.portals.put(bind.portal, Portal { prepared, formats, state: PortalState::Bound(parameters) });
        messages::bind_complete(&mut self.wire.output);
        Ok(())
    }

    /// Answers a `Describe`.
    pub(crate) fn describe(&mut self, target: Target<'_>) -> Result<(), Failure> {
        let text = Formats::All(Format::Text);
        let (prepared, formats) = match target {
            Target::Statement(name) => (self.statement(name)?, &text),
            Target::Portal(name) => match self.portals.get(name) {
                Some(portal) => (portal.prepared.clone(), &portal.formats),
                None => return self.describe_cursor(name),
            },
        };
        let columns = prepared.as_ref().and_then(|prepared| prepared.columns());
        if columns.is_some() && self.session.transaction_status() == TransactionStatus::Failed {
            return Err(Failure::Sql(failed_block()));
        }
        let out = &mut self.wire.output;
        if let Target::Statement(_) = target {
            messages::parameter_description(out, prepared.as_ref().map_or(&[][..], |prepared| prepared.parameters()));
        }
        match columns {
            Some(columns) => messages::row_description(out, columns, formats),
            None => messages::no_data(out),
        }
        Ok(())
    }

    /// Describes what DECLARE has made, which is a portal to clients: psycopg's named cursors ask for it.
    fn describe_cursor(&mut self, name: &str) -> Result<(), Failure> {
        let columns = self.session.cursor_columns(name).ok_or_else(|| no_portal(name))?;
        if self.session.transaction_status() == TransactionStatus::Failed {
            return Err(Failure::Sql(failed_block()));
        }
        messages::row_description(&mut self.wire.output, &columns, &Formats::All(Format::Text));
        Ok(())
    }

    /// Answers a `Close`. What does not exist can be closed as well.
    pub(crate) fn close(&mut self, target: Target<'_>) -> Result<(), Failure> {
        match target {
            Target::Statement("") => self.unnamed = None,
            Target::Statement(name) => self.session.forget_statement(name),
            Target::Portal(name) => {
                self.portals.forget(name);
                self.session.forget_cursor(name);
            }
        }
        messages::close_complete(&mut self.wire.output);
        Ok(())
    }

    /// Answers an `Execute`.
    pub(crate) async fn execute(&mut self, name: &str, max_rows: i32) -> Result<(), Failure> {
        let mut portal = self.portals.take(name).ok_or_else(|| no_portal(name))?;
        let max_rows = u64::try_from(max_rows).ok().filter(|rows| *rows > 0).unwrap_or(u64::MAX);
        let before = self.session.transaction_status();
        // A portal that fails is not put back.
        self.run_portal(name, &mut portal, max_rows).await?;
        let block_ended =
            before != TransactionStatus::Idle && self.session.transaction_status() == TransactionStatus::Idle;
        if block_ended {
            self.portals.clear();
        } else {
            self.portals.put(name, portal);
        }
        Ok(())
    }

    async fn run_portal(
        &mut self,
        name: &str,
        portal: &mut Portal<PreparedOf<B>>,
        max_rows: u64,
    ) -> Result<(), Failure> {
        match std::mem::replace(&mut portal.state, PortalState::Done) {
            PortalState::Bound(parameters) => {
                let Some(prepared) = portal.prepared.clone() else {
                    portal.state = PortalState::Bound(Vec::new());
                    messages::empty_query_response(&mut self.wire.output);
                    return Ok(());
                };
                self.start_portal(portal, &prepared, parameters, max_rows).await
            }
            PortalState::Rows(_) if self.session.transaction_status() == TransactionStatus::Failed => {
                Err(Failure::Sql(failed_block()))
            }
            PortalState::Rows(cursor) => self.send_rows(portal, cursor, max_rows).await,
            PortalState::Exhausted { tag, counts } => {
                let completion = if counts { Completion::Rows(tag.clone(), 0) } else { Completion::Tag(tag.clone()) };
                completion.send(&mut self.wire.output);
                portal.state = PortalState::Exhausted { tag, counts };
                Ok(())
            }
            PortalState::Done => Err(Failure::Sql(SqlError::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("portal \"{name}\" cannot be run"),
            ))),
        }
    }

    /// Runs a statement for the first time.
    async fn start_portal(
        &mut self,
        portal: &mut Portal<PreparedOf<B>>,
        prepared: &Arc<PreparedOf<B>>,
        parameters: Vec<Option<ArrayRef>>,
        max_rows: u64,
    ) -> Result<(), Failure> {
        // A statement that is the only one of its pipeline needs nothing to be held together with.
        if !self.implicit_block && !self.wire.sync_follows() {
            self.session.begin_implicit();
            self.implicit_block = true;
        }
        let work = Box::pin(self.session.execute(prepared, parameters));
        let outcome = watched(self.wire, &self.cancel, work).await?;
        self.send_notices();
        let completion = match outcome {
            Outcome::Rows(rows) => {
                let described = prepared.columns().map_or(0, |columns| columns.len());
                if rows.columns.len() != described {
                    // The client has been told of other columns, or of none.
                    let message = "cached plan must not change result type";
                    return Err(Failure::Sql(
                        SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
                            .with_hint("Prepare the statement again."),
                    ));
                }
                let cursor = RowCursor::new(rows, portal.formats.clone(), self.session.cancel_token());
                return self.send_rows(portal, cursor, max_rows).await;
            }
            Outcome::Empty => Completion::Empty,
            Outcome::Complete(tag) => Completion::Tag(tag),
            // Boxed, like all that is large and rarer than a query, whose future is copied about.
            Outcome::CopyIn(copy) => Completion::Tag(Box::pin(self.copy_in(copy)).await?),
            Outcome::CopyOut(copy) => Completion::Tag(Box::pin(self.copy_out(copy)).await?),
        };
        completion.send(&mut self.wire.output);
        Ok(())
    }

    /// Sends rows up to the limit and says whether there may be more.
    async fn send_rows(
        &mut self,
        portal: &mut Portal<PreparedOf<B>>,
        mut cursor: RowCursor,
        max_rows: u64,
    ) -> Result<(), Failure> {
        let sent = cursor.send(self.wire, &self.cancel, &self.session.text_format(), max_rows).await?;
        self.send_notices();
        if sent.suspended {
            messages::portal_suspended(&mut self.wire.output);
            portal.state = PortalState::Rows(cursor);
        } else {
            let (tag, counts) = cursor.tag();
            portal.state = PortalState::Exhausted { tag, counts };
            cursor.completion(sent.rows).send(&mut self.wire.output);
        }
        Ok(())
    }

    /// The statement of a name.
    fn statement(&self, name: &str) -> Result<Option<Arc<PreparedOf<B>>>, Failure> {
        let (found, message) = if name.is_empty() {
            (self.unnamed.clone(), "unnamed prepared statement does not exist".to_owned())
        } else {
            (self.session.statement(name), format!("prepared statement \"{name}\" does not exist"))
        };
        found.ok_or_else(|| Failure::Sql(SqlError::new(SqlState::UNDEFINED_PSTATEMENT, message)))
    }
}

fn no_portal(name: &str) -> Failure {
    Failure::Sql(SqlError::new(SqlState::UNDEFINED_CURSOR, format!("portal \"{name}\" does not exist")))
}

fn too_many(what: &str, limit: usize) -> Failure {
    Failure::Sql(
        SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("too many {what}"))
            .with_detail(format!("A session may have {limit}."))
            .with_hint("Close those that are not needed any more."),
    )
}

/// Checks the counts of a `Bind` against each other and against the statement.
fn check_counts(bind: &Bind<'_>, expected: usize) -> Result<(), SqlError> {
    let (formats, supplied) = (bind.parameter_formats.len(), bind.parameters.len());
    if formats > 1 && formats != supplied {
        return Err(protocol_violation(format!(
            "bind message has {formats} parameter formats but {supplied} parameters"
        )));
    }
    if supplied != expected {
        return Err(protocol_violation(format!(
            "bind message supplies {supplied} parameters, but prepared statement \"{}\" requires {expected}",
            bind.statement
        )));
    }
    Ok(())
}

/// Reads the values of a `Bind`.
fn values(
    bind: &Bind<'_>,
    types: &[SqlType],
    text_format: impl FnOnce() -> TextFormat,
) -> Result<Vec<Option<ArrayRef>>, Failure> {
    if types.is_empty() {
        return Ok(Vec::new());
    }
    let text_format = text_format();
    let mut values = Vec::with_capacity(types.len());
    for (index, (ty, value)) in types.iter().zip(&bind.parameters).enumerate() {
        let code = match bind.parameter_formats.as_slice() {
            [] => 0,
            [code] => *code,
            codes => codes[index],
        };
        values.push(match (format(code)?, value) {
            (_, None) => None,
            (Format::Text, Some(bytes)) => {
                let value = text_in::parse(ty, utf8(bytes)?, &text_format);
                // The value itself is not shown: it may be a secret, and the log would keep it.
                Some(value.map_err(|error| error.with_context(place(bind, index, " = '...'")))?)
            }
            (Format::Binary, Some(bytes)) => {
                let value = binary_in::parse_binary(ty, bytes);
                Some(value.map_err(|error| error.with_context(place(bind, index, "")))?)
            }
        });
    }
    Ok(values)
}

/// Which value of a `Bind` an error is about, in PostgreSQL's words.
fn place(bind: &Bind<'_>, index: usize, value: &str) -> String {
    let number = index + 1;
    match bind.portal {
        "" => format!("unnamed portal parameter ${number}{value}"),
        portal => format!("portal \"{portal}\" parameter ${number}{value}"),
    }
}

/// The formats of the columns of a result from the codes of a `Bind`.
fn result_formats(codes: &[i16], columns: usize) -> Result<Formats, SqlError> {
    match codes {
        [] => Ok(Formats::All(Format::Text)),
        [code] => Ok(Formats::All(format(*code)?)),
        codes if codes.len() != columns => Err(protocol_violation(format!(
            "bind message has {} result formats but query has {columns} columns",
            codes.len()
        ))),
        codes => Ok(Formats::Each(codes.iter().map(|code| format(*code)).collect::<Result<_, _>>()?)),
    }
}

fn format(code: i16) -> Result<Format, SqlError> {
    Format::from_code(code)
        .ok_or_else(|| SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("unsupported format code: {code}")))
}
