//! A connection to one node, and what an error says of a statement's fate.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};

use super::history::Outcome;

/// A connection that is not made by then is given up.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// A statement without an answer by then is given up, with its connection.
const STATEMENT_LIMIT: Duration = Duration::from_secs(12);

/// SQLSTATEs that a client has to expect of a cluster that loses nodes.
const EXPECTED: [&str; 7] = ["40001", "57P03", "57P01", "53100", "53400", "08007", "08006"];

/// An open connection; dropping it closes it.
pub(super) struct Session {
    client: Client,
    task: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a statement has no result.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// `Failed` or `Unknown`.
    pub(super) outcome: Outcome,
    /// The SQLSTATE, if the server has answered.
    pub(super) code: Option<String>,
    pub(super) message: String,
    /// Is the connection of no use any more?
    pub(super) broken: bool,
}

impl Failure {
    /// Whether it is one that faults do not explain.
    pub(super) fn is_surprising(&self) -> bool {
        self.code.as_deref().is_some_and(|code| !EXPECTED.contains(&code))
    }

    fn silence() -> Failure {
        let message = format!("no answer within {} s", STATEMENT_LIMIT.as_secs());
        Failure { outcome: Outcome::Unknown, code: None, message, broken: true }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let Some(answer) = error.as_db_error() else {
            return Failure { outcome: Outcome::Unknown, code: None, message: error.to_string(), broken: true };
        };
        let code = answer.code().code();
        // Connections, operators and internal errors: nobody knows.
        let unknown = ["08", "58", "XX"].iter().any(|class| code.starts_with(class))
            || matches!(code, "40003" | "57P01" | "57P02" | "57014")
            || answer.severity() != "ERROR";
        Failure {
            outcome: if unknown { Outcome::Unknown } else { Outcome::Failed },
            code: Some(code.to_owned()),
            message: answer.message().to_owned(),
            broken: answer.severity() != "ERROR",
        }
    }
}

impl Session {
    /// Connects to a node.
    pub(super) async fn open(address: SocketAddr) -> Result<Session, String> {
        let mut config = Config::new();
        config.host(address.ip().to_string()).port(address.port()).user("wharf").dbname("wharf");
        match tokio::time::timeout(CONNECT_LIMIT, config.connect(NoTls)).await {
            Err(_) => Err("no connection in time".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok((client, connection))) => {
                let task = tokio::spawn(async move { drop(connection.await) });
                Ok(Session { client, task })
            }
        }
    }

    /// Runs statements.
    pub(super) async fn run(&self, sql: &str) -> Result<(), Failure> {
        let result = tokio::time::timeout(STATEMENT_LIMIT, self.client.batch_execute(sql)).await;
        result.map_err(|_| Failure::silence())?.map_err(Failure::from)
    }

    /// The rows of a query, as text.
    pub(super) async fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let result = tokio::time::timeout(STATEMENT_LIMIT, self.client.simple_query(sql)).await;
        let messages = result.map_err(|_| Failure::silence())?.map_err(Failure::from)?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    /// The numbers of a query's rows.
    pub(super) async fn numbers(&self, sql: &str) -> Result<Vec<Vec<i64>>, Failure> {
        let rows = self.rows(sql).await?;
        let number = |value: Option<String>| value.and_then(|text| text.parse().ok()).unwrap_or(i64::MIN);
        Ok(rows.into_iter().map(|row| row.into_iter().map(number).collect()).collect())
    }
}
