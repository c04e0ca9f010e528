//! Errors as the specification says them: a status, the name of an exception, a message.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use wharf_engine::external::ExternalError;
use wharf_values::{SqlError, SqlState};

/// An answer that says no.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    /// The exception of Iceberg's Java library that clients expect.
    exception: &'static str,
    message: String,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, exception: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { status, exception, message: message.into() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "BadRequestException", message)
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::UNAUTHORIZED, "NotAuthorizedException", message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_ACCEPTABLE, "UnsupportedOperationException", message)
    }

    pub(crate) fn no_namespace(name: &str) -> ApiError {
        let message = format!("Namespace does not exist: {name}");
        ApiError::new(StatusCode::NOT_FOUND, "NoSuchNamespaceException", message)
    }

    pub(crate) fn no_table(name: &str) -> ApiError {
        let message = format!("Table does not exist: {name}");
        ApiError::new(StatusCode::NOT_FOUND, "NoSuchTableException", message)
    }

    pub(crate) fn no_view(name: &str) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "NoSuchViewException", format!("View does not exist: {name}"))
    }

    pub(crate) fn already_exists(what: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::CONFLICT, "AlreadyExistsException", what)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let ApiError { status, exception, message } = self;
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), message, "a request of the Iceberg catalog failed");
        }
        let body = json!({"error": {"message": message, "type": exception, "code": status.as_u16()}});
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<ExternalError> for ApiError {
    fn from(error: ExternalError) -> ApiError {
        let message = error.to_string();
        match error {
            ExternalError::Invalid(_) => ApiError::bad_request(message),
            ExternalError::Conflict(_) => ApiError::new(StatusCode::CONFLICT, "CommitFailedException", message),
            ExternalError::NoSchema(name) => ApiError::no_namespace(&name),
            ExternalError::NoTable(name) => ApiError::no_table(&name),
            ExternalError::Exists(name) => ApiError::already_exists(format!("Table or view already exists: {name}")),
            ExternalError::InDoubt(_) => {
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "CommitStateUnknownException", message)
            }
            ExternalError::Sql(error) => ApiError::from(error),
        }
    }
}

impl From<SqlError> for ApiError {
    fn from(error: SqlError) -> ApiError {
        let mut message = error.message.clone();
        for more in [&error.detail, &error.hint].into_iter().flatten() {
            message = format!("{message}. {more}");
        }
        let of = |status, exception| ApiError::new(status, exception, message.clone());
        match error.code {
            SqlState::UNDEFINED_TABLE => of(StatusCode::NOT_FOUND, "NoSuchTableException"),
            SqlState::UNDEFINED_SCHEMA => of(StatusCode::NOT_FOUND, "NoSuchNamespaceException"),
            SqlState::UNDEFINED_FILE => of(StatusCode::NOT_FOUND, "NotFoundException"),
            SqlState::DUPLICATE_TABLE | SqlState::DUPLICATE_SCHEMA => {
                of(StatusCode::CONFLICT, "AlreadyExistsException")
            }
            SqlState::SERIALIZATION_FAILURE => of(StatusCode::CONFLICT, "CommitFailedException"),
            SqlState::FEATURE_NOT_SUPPORTED => of(StatusCode::NOT_ACCEPTABLE, "UnsupportedOperationException"),
            SqlState::INSUFFICIENT_PRIVILEGE => of(StatusCode::FORBIDDEN, "ForbiddenException"),
            _ => match error.code.class() {
                "28" => of(StatusCode::UNAUTHORIZED, "NotAuthorizedException"),
                "2B" => of(StatusCode::CONFLICT, "ConflictException"),
                "53" | "57" => of(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException"),
                // Nobody knows whether the catalog has taken it.
                "08" => of(StatusCode::INTERNAL_SERVER_ERROR, "CommitStateUnknownException"),
                "58" | "XX" => of(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
                // All that is left is about what the client has sent.
                _ => of(StatusCode::BAD_REQUEST, "BadRequestException"),
            },
        }
    }
}
