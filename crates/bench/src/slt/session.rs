//! One connection to the server, as the `sqllogictest` crate drives it.
//!
//! Answers come by the simple query protocol, so every value is the text that the server itself chose. The types of the columns
//! are asked for before, by preparing the same SQL, since a simple answer does not show them to a client of tokio-postgres.
//! Values are rendered so that nothing is lost on a line: see [`render`].

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqllogictest::{AsyncDB, DBOutput};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::Target;
use super::column_letter::ColumnLetter;

/// What stands between two columns of a result line.
pub(super) const SEPARATOR: &str = " | ";

/// Why a record got no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// The server answered with an error.
    #[error("{code} {message}")]
    Sql { code: String, message: String },
    /// The record took longer than allowed; its cancellation was requested.
    #[error("no answer within {0} s")]
    Timeout(u64),
    /// The connection ended or said something that is not the protocol.
    #[error("connection: {0}")]
    Connection(String),
}

impl SessionError {
    /// The SQLSTATE, for an error that the server sent.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            SessionError::Sql { code, .. } => Some(code),
            SessionError::Timeout(_) | SessionError::Connection(_) => None,
        }
    }

    /// Whether the connection is of no use any more.
    pub(super) fn is_fatal(&self) -> bool {
        matches!(self, SessionError::Connection(_))
    }
}

impl From<tokio_postgres::Error> for SessionError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(sql) => {
                let mut message = sql.message().to_owned();
                for (name, text) in [("DETAIL", sql.detail()), ("HINT", sql.hint())] {
                    if let Some(text) = text {
                        message.push_str(&format!("\n{name}: {text}"));
                    }
                }
                SessionError::Sql { code: sql.code().code().to_owned(), message }
            }
            None => {
                let mut message = error.to_string();
                let mut source = std::error::Error::source(&error);
                while let Some(cause) = source {
                    message.push_str(&format!(": {cause}"));
                    source = cause.source();
                }
                SessionError::Connection(message)
            }
        }
    }
}

/// What the record that runs next wants to know beside its rows; shared by the connections of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    describe: Arc<AtomicBool>,
    names: Arc<AtomicBool>,
}

impl Wishes {
    /// `describe`: the types of the columns. `names`: the names of the columns as a first row.
    pub(super) fn set(&self, describe: bool, names: bool) {
        self.describe.store(describe, Ordering::Relaxed);
        self.names.store(names, Ordering::Relaxed);
    }
}

/// A connection whose search path is the schema of its file.
pub(super) struct Session {
    client: Client,
    driver: JoinHandle<()>,
    target: Target,
    wishes: Wishes,
}

impl Session {
    /// Connects and fixes what PostgreSQL takes from its environment: the schema, the time zone and the styles.
    pub(super) async fn open(target: &Target, schema: &str, wishes: Wishes) -> Result<Session, SessionError> {
        let (client, connection) = target.config.connect(NoTls).await?;
        let driver = tokio::spawn(async move {
            // The client sees a broken connection in its next call.
            let _ = connection.await;
        });
        let session = Session { client, driver, target: target.clone(), wishes };
        for setting in [
            format!("SET search_path TO {schema}").as_str(),
            "SET timezone TO 'UTC'",
            "SET datestyle TO 'ISO, MDY'",
            "SET intervalstyle TO 'postgres'",
            "SET client_min_messages TO warning",
        ] {
            session.simple(setting).await?;
        }
        Ok(session)
    }

    /// Runs SQL within the time limit.
    pub(super) async fn simple(&self, sql: &str) -> Result<Vec<SimpleQueryMessage>, SessionError> {
        self.limited(async { Ok(self.client.simple_query(sql).await?) }).await
    }

    async fn limited<T>(&self, work: impl Future<Output = Result<T, SessionError>>) -> Result<T, SessionError> {
        match tokio::time::timeout(self.target.limit, work).await {
            Ok(result) => result,
            Err(_) => {
                // Otherwise the statement goes on and the next record waits for it.
                let _ = tokio::time::timeout(self.target.limit, self.client.cancel_token().cancel_query(NoTls)).await;
                Err(SessionError::Timeout(self.target.limit.as_secs()))
            }
        }
    }

    async fn answer(&self, sql: &str) -> Result<DBOutput<ColumnLetter>, SessionError> {
        let types = match self.wishes.describe.load(Ordering::Relaxed) {
            true => Some(self.limited(async { Ok(self.client.prepare(sql).await?) }).await?),
            false => None,
        };
        let types: Option<Vec<ColumnLetter>> =
            types.map(|prepared| prepared.columns().iter().map(|column| ColumnLetter::of(column.type_())).collect());
        let mut rows = Vec::new();
        let mut columns = None;
        let mut affected = 0;
        for message in self.simple(sql).await? {
            match message {
                SimpleQueryMessage::RowDescription(described) => {
                    if self.wishes.names.load(Ordering::Relaxed) {
                        rows.push(described.iter().map(|column| render(Some(column.name())).into_owned()).collect());
                    }
                    columns = Some(described.len());
                }
                SimpleQueryMessage::Row(row) => {
                    let mut values = Vec::with_capacity(row.len());
                    for index in 0..row.len() {
                        values.push(render(row.try_get(index)?).into_owned());
                    }
                    rows.push(values);
                }
                SimpleQueryMessage::CommandComplete(count) => affected += count,
                _ => {}
            }
        }
        Ok(match columns {
            Some(count) => DBOutput::Rows { types: types.unwrap_or_else(|| vec![ColumnLetter::ANY; count]), rows },
            None => DBOutput::StatementComplete(affected),
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

#[async_trait::async_trait]
impl AsyncDB for Session {
    type Error = SessionError;
    type ColumnType = ColumnLetter;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<ColumnLetter>, SessionError> {
        self.answer(sql).await
    }

    async fn shutdown(&mut self) {
        self.driver.abort();
    }

    async fn sleep(duration: std::time::Duration) {
        tokio::time::sleep(duration).await;
    }

    fn error_sql_state(error: &SessionError) -> Option<String> {
        error.code().map(str::to_owned)
    }
}

/// A value as it stands in a file: `NULL`, `(empty)`, line ends and tabs as `\n`, `\r`, `\t`, and in double quotes when it begins
/// or ends with a space or would read as one of the two words.
fn render(value: Option<&str>) -> Cow<'_, str> {
    let Some(text) = value else {
        return Cow::Borrowed("NULL");
    };
    if text.is_empty() {
        return Cow::Borrowed("(empty)");
    }
    if text == "NULL" || text == "(empty)" || text.starts_with(' ') || text.ends_with(' ') {
        return Cow::Owned(format!("\"{}\"", escape(text)));
    }
    escape(text)
}

fn escape(text: &str) -> Cow<'_, str> {
    if text.contains(['\n', '\r', '\t']) {
        Cow::Owned(text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_value_keeps_what_tells_it_apart() {
        assert_eq!(render(None), "NULL");
        assert_eq!(render(Some("NULL")), "\"NULL\"");
        assert_eq!(render(Some("")), "(empty)");
        assert_eq!(render(Some("ab  ")), "\"ab  \"");
        assert_eq!(render(Some("a\nb")), "a\\nb");
        assert_eq!(render(Some("a b")), "a b");
    }
}
