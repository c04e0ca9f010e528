//! The ways things end: a statement with an error that the client is told, a connection for good.
//!
//! What always holds: [`Failure::Sql`] leaves the connection usable, [`End`] never does. Every `End` says whether the
//! client is still to be told something. How errors look on the wire is not here but in `encode::messages`.

use std::io;

use wharf_values::{SqlError, SqlState};

use crate::decode::DecodeError;
use crate::frame::FrameError;
use crate::scram::ScramError;
use crate::startup_packet::StartupError;

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The client said goodbye.
    Terminated,
    /// The client closed the connection, or the network did.
    Disconnected,
    /// The client is told why and disconnected.
    Fatal(Box<SqlError>),
}

/// Why a message was not carried out.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client is told; the connection goes on.
    Sql(SqlError),
    /// The connection ends.
    End(End),
}

impl End {
    /// An end with a message for the client.
    pub(crate) fn fatal(code: SqlState, message: impl Into<String>) -> Self {
        End::from(SqlError::new(code, message))
    }

    /// The server is being stopped.
    pub(crate) fn shutdown() -> Self {
        End::fatal(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
    }
}

impl From<SqlError> for End {
    fn from(error: SqlError) -> Self {
        End::Fatal(Box::new(error))
    }
}

impl From<io::Error> for End {
    /// Whatever the operating system says about a socket, its client cannot be reached any more.
    fn from(error: io::Error) -> Self {
        tracing::debug!(%error, "connection lost");
        End::Disconnected
    }
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        let code = match error {
            FrameError::UnknownType(_) | FrameError::NotAPassword(_) | FrameError::InvalidLength => {
                SqlState::PROTOCOL_VIOLATION
            }
            FrameError::TooLarge { .. } => SqlState::PROGRAM_LIMIT_EXCEEDED,
        };
        End::fatal(code, error.to_string())
    }
}

impl From<StartupError> for End {
    fn from(error: StartupError) -> Self {
        let code = match &error {
            StartupError::InvalidLength | StartupError::InvalidLayout | StartupError::InvalidCancel => {
                SqlState::PROTOCOL_VIOLATION
            }
            StartupError::Encoding(_) => SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            StartupError::UnsupportedProtocol(_) => SqlState::FEATURE_NOT_SUPPORTED,
        };
        End::fatal(code, error.to_string())
    }
}

/// The failure of `user`'s authentication.
pub(crate) fn authentication_failure(error: ScramError, user: &str) -> End {
    let code = match error {
        ScramError::Malformed(_) | ScramError::Unsupported(_) => SqlState::PROTOCOL_VIOLATION,
        ScramError::Downgrade | ScramError::ChannelMismatch => SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        ScramError::WrongPassword => SqlState::INVALID_PASSWORD,
    };
    let message = match error {
        ScramError::WrongPassword => format!("password authentication failed for user \"{user}\""),
        error => error.to_string(),
    };
    let detail = match error {
        ScramError::Malformed(detail) => Some(detail),
        ScramError::Downgrade => Some(
            "The client supports SCRAM channel binding but thinks the server does not. However, this server does support channel binding.",
        ),
        ScramError::Unsupported(_) | ScramError::ChannelMismatch | ScramError::WrongPassword => None,
    };
    let error = SqlError::new(code, message);
    End::from(match detail {
        Some(detail) => error.with_detail(detail),
        None => error,
    })
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Failure::Sql(error)
    }
}

impl From<End> for Failure {
    fn from(end: End) -> Self {
        Failure::End(end)
    }
}

impl From<DecodeError> for Failure {
    /// The frame was cut by its length, so what follows can still be read.
    fn from(error: DecodeError) -> Self {
        let code = match error {
            DecodeError::Encoding(_) => SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            DecodeError::Truncated
            | DecodeError::Unterminated
            | DecodeError::Trailing
            | DecodeError::Subtype { .. }
            | DecodeError::UnknownType(_) => SqlState::PROTOCOL_VIOLATION,
        };
        Failure::Sql(SqlError::new(code, error.to_string()))
    }
}

/// `08P01`: the client does not keep to the protocol.
pub(crate) fn protocol_violation(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::PROTOCOL_VIOLATION, message)
}
