//! Errors on their way from node to node.
//!
//! The protocol carries the text of an error, not its SQLSTATE. So an error becomes a text that says all of it on the node where it
//! happens, passes through the other nodes as that, and becomes the error again where the client is.

use std::io::ErrorKind;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use serde::{Deserialize, Serialize};
use wharf_values::{ErrorObject, SqlError, SqlState};

use crate::vocabulary::Vocabulary;

/// What such a text begins with. No message of ours or of DataFusion's has a zero in it.
const MARK: &str = "\0wharf\0";

/// An error that has come from another node.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// The statement's own.
    Sql(SqlError),
    /// A node did not answer, or stopped answering.
    Lost(Lost),
    /// A node had too little memory or disk for its part.
    Short(Short),
}

/// A node that was lost.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, thiserror::Error)]
#[error("node {node} was lost: {reason}")]
pub(crate) struct Lost {
    /// Its URL; empty while on the way from a node that has refused to whoever called it.
    pub(crate) node: String,
    pub(crate) reason: String,
}

/// A node that had too little memory or disk for its part of a query. Others may have enough.
#[derive(Clone, Debug)]
pub(crate) struct Short {
    /// Its URL; empty while on the way, as that of a [`Lost`] is.
    pub(crate) node: String,
    /// What the statement fails with when it is not begun anew.
    pub(crate) error: SqlError,
}

#[derive(Deserialize, Serialize)]
enum Written {
    Sql(WrittenError),
    Lost(Lost),
    Short { node: String, error: WrittenError },
}

/// All that an error of SQL says but its position in the statement, which the node of the session alone knows.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct WrittenError {
    code: String,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    context: Option<String>,
    object: Option<[Option<String>; 5]>,
}

impl From<SqlError> for WrittenError {
    fn from(error: SqlError) -> WrittenError {
        let SqlError { code, message, detail, hint, context, object, .. } = error;
        WrittenError {
            code: code.as_str().to_owned(),
            message,
            detail,
            hint,
            context: context.map(String::from),
            object: object.map(|object| {
                let ErrorObject { schema, table, column, data_type, constraint } = *object;
                [schema, table, column, data_type, constraint]
            }),
        }
    }
}

impl From<WrittenError> for SqlError {
    fn from(written: WrittenError) -> SqlError {
        let WrittenError { code, message, detail, hint, context, object } = written;
        let mut sql = SqlError::new(SqlState::parse(&code).unwrap_or(SqlState::INTERNAL_ERROR), message);
        (sql.detail, sql.hint, sql.context) = (detail, hint, context.map(Into::into));
        sql.object = object.map(|[schema, table, column, data_type, constraint]| {
            Box::new(ErrorObject { schema, table, column, data_type, constraint })
        });
        sql
    }
}

/// The error as a text, unless it is one already.
pub(crate) fn departing(error: DataFusionError, vocabulary: &dyn Vocabulary) -> DataFusionError {
    if let Some(text) = marked(&error) {
        return DataFusionError::Execution(text.to_owned());
    }
    let sql = vocabulary.sql_error(error);
    if sql.code == SqlState::ADMIN_SHUTDOWN {
        // This node ends, and the query need not.
        return lost(Lost { node: String::new(), reason: "it is stopping".to_owned() });
    }
    if matches!(sql.code, SqlState::DISK_FULL | SqlState::OUT_OF_MEMORY) {
        return short(Short { node: String::new(), error: sql });
    }
    written(&Written::Sql(sql.into()))
}

/// Whether an error that is no text yet says of a node that it has too little memory or disk. Such leave a node as they are where
/// what divides its rows for others finds it.
pub(crate) fn is_shortage(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => true,
        DataFusionError::IoError(error) => error.kind() == ErrorKind::StorageFull,
        DataFusionError::ArrowError(inner, _) => {
            matches!(&**inner, ArrowError::IoError(_, error) if error.kind() == ErrorKind::StorageFull)
        }
        _ => false,
    }
}

/// The loss of a node as an error.
pub(crate) fn lost(lost: Lost) -> DataFusionError {
    written(&Written::Lost(lost))
}

/// A node's lack of memory or disk as an error.
pub(crate) fn short(short: Short) -> DataFusionError {
    written(&Written::Short { node: short.node, error: short.error.into() })
}

/// What a text says; none for an error that is no such text.
pub(crate) fn arrived(error: &DataFusionError) -> Option<Arrived> {
    let written: Written = serde_json::from_str(marked(error)?.strip_prefix(MARK)?).ok()?;
    Some(match written {
        Written::Lost(lost) => Arrived::Lost(lost),
        Written::Short { node, error } => Arrived::Short(Short { node, error: error.into() }),
        Written::Sql(error) => Arrived::Sql(error.into()),
    })
}

fn written(written: &Written) -> DataFusionError {
    let json = serde_json::to_string(written).expect("strings can be written as JSON");
    DataFusionError::Execution(format!("{MARK}{json}"))
}

fn marked(error: &DataFusionError) -> Option<&str> {
    match error {
        DataFusionError::Execution(text) if text.starts_with(MARK) => Some(text),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => marked(inner),
        DataFusionError::Shared(inner) => marked(inner),
        DataFusionError::External(inner) => marked(inner.downcast_ref::<DataFusionError>()?),
        DataFusionError::ArrowError(inner, _) => match &**inner {
            ArrowError::ExternalError(inner) => marked(inner.downcast_ref::<DataFusionError>()?),
            _ => None,
        },
        DataFusionError::Collection(errors) => errors.iter().find_map(marked),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_lost_node_is_known_through_all_wrappings() {
        let gone = Lost { node: "http://b".to_owned(), reason: "broken pipe".to_owned() };
        let error = DataFusionError::Shared(Arc::new(lost(gone.clone()).context("while reading")));
        match arrived(&error).unwrap() {
            Arrived::Lost(found) => assert_eq!(found, gone),
            other => panic!("{other:?}"),
        }
        assert!(arrived(&DataFusionError::Execution("node lost".to_owned())).is_none());
    }
}
