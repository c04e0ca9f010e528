//! Bodies of requests.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// A body in JSON, whatever its content type claims.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, ApiError> {
        let bytes = Bytes::from_request(request, state).await.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(error.status(), "BadRequestException", error.body_text()),
            _ => ApiError::bad_request(error.body_text()),
        })?;
        let value = serde_json::from_slice(&bytes);
        value.map(Body).map_err(|error| ApiError::bad_request(format!("cannot read the request: {error}")))
    }
}
