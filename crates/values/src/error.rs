//! The error every layer above this crate raises: what PostgreSQL would send, field by field.
//!
//! What always holds: the message is in PostgreSQL's words where PostgreSQL has the error (lower case, no full stop);
//! detail and hint are sentences. The error is plain data, so it can be cloned, kept with a failed transaction and sent
//! twice. It does not know the severity it is reported with (that is the session's decision) and not the wire.

use std::fmt;

pub use crate::sql_state::SqlState;

/// The hint of a refusal that has no other.
const WHERE_IT_IS_LISTED: &str = "docs/postgres-compatibility.md lists what Wharf does not have.";

/// An error with everything PostgreSQL's `ErrorResponse` and `NoticeResponse` can say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// The SQLSTATE.
    pub code: SqlState,
    /// The primary message.
    pub message: String,
    /// A second message with more about the problem.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where in the statement, in characters counted from 1.
    pub position: Option<usize>,
    /// Where in the work it happened (`COPY t, line 3, column a: "x"`).
    pub context: Option<Box<str>>,
    /// The object the error is about, for programs that do not want to read the message.
    pub object: Option<Box<ErrorObject>>,
}

/// The object fields of an error: PostgreSQL fills them for constraint violations and a few more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorObject {
    /// The schema of the table or type.
    pub schema: Option<String>,
    /// The table.
    pub table: Option<String>,
    /// The column of the table.
    pub column: Option<String>,
    /// The data type.
    pub data_type: Option<String>,
    /// The constraint.
    pub constraint: Option<String>,
}

impl SqlError {
    /// An error with a code and a primary message.
    pub fn new(code: SqlState, message: impl Into<String>) -> Self {
        SqlError {
            code,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            context: None,
            object: None,
        }
    }

    /// `0A000`: something PostgreSQL has and Wharf refuses rather than do wrongly. Its hint says where to read more, until a
    /// better one is given.
    pub fn unsupported(message: impl Into<String>) -> Self {
        SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).with_hint(WHERE_IT_IS_LISTED)
    }

    /// `XX000`: a broken invariant, which is a bug of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        SqlError::new(SqlState::INTERNAL_ERROR, message)
    }

    /// `22P02` with PostgreSQL's wording: `invalid input syntax for type integer: "x"`.
    pub fn invalid_text(type_name: impl fmt::Display, text: &str) -> Self {
        SqlError::new(
            SqlState::INVALID_TEXT_REPRESENTATION,
            format!("invalid input syntax for type {type_name}: \"{text}\""),
        )
    }

    /// Adds the detail, a sentence.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the hint, a sentence.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the position in the statement, in characters counted from 1.
    #[must_use]
    pub fn with_position(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }

    /// Adds the position when none is known yet: the innermost place that knows it wins.
    #[must_use]
    pub fn or_position(mut self, position: Option<usize>) -> Self {
        self.position = self.position.or(position);
        self
    }

    /// Adds a line of context below the lines that are there, as PostgreSQL orders them (innermost first).
    #[must_use]
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        let line = context.into();
        self.context = Some(match self.context.take() {
            Some(inner) => format!("{inner}\n{line}").into_boxed_str(),
            None => line.into_boxed_str(),
        });
        self
    }

    /// Names the object the error is about.
    #[must_use]
    pub fn with_object(mut self, object: ErrorObject) -> Self {
        self.object = Some(Box::new(object));
        self
    }
}

impl fmt::Display for SqlError {
    /// The primary message alone, so that wrapping errors read well.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SqlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_keeps_the_innermost_position_and_all_context() {
        let error = SqlError::invalid_text("integer", "x")
            .with_position(7)
            .or_position(Some(1))
            .with_context("COPY t, line 1, column a: \"x\"")
            .with_context("outer");
        assert_eq!(error.to_string(), "invalid input syntax for type integer: \"x\"");
        assert_eq!(error.code.as_str(), "22P02");
        assert_eq!(error.position, Some(7));
        assert_eq!(error.context.as_deref(), Some("COPY t, line 1, column a: \"x\"\nouter"));
    }

    #[test]
    fn a_refusal_always_says_what_to_do() {
        let error = SqlError::unsupported("a thing is not supported");
        assert_eq!(error.code.as_str(), "0A000");
        assert!(error.hint.is_some_and(|hint| hint.contains("docs/postgres-compatibility.md")));
        let error = SqlError::unsupported("a thing is not supported").with_hint("Use another thing.");
        assert_eq!(error.hint.as_deref(), Some("Use another thing."));
    }

    #[test]
    fn an_error_is_small_enough_to_return_by_value() {
        assert!(std::mem::size_of::<SqlError>() <= 128);
    }
}
