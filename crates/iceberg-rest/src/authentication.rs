//! `POST /v1/oauth/tokens`: a role and its password against a bearer token (RFC 6749, 4.4), and a token against a fresh one
//! (RFC 8693).
//!
//! What always holds: a role that does not exist, one without a password and a wrong password get the same answer after the
//! same time, and only a few passwords are tried at once.

use axum::Json;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use wharf_catalog::Role;

use crate::application::{Application, Shared, bearer, now_s};
use crate::error::ApiError;
use crate::options::Authentication;

/// A verifier of PostgreSQL's form that no password fits.
const NOBODY: &str = "SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$AAAA:AAAA";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// An error in OAuth's own form.
struct OAuthError {
    status: StatusCode,
    error: &'static str,
    description: &'static str,
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let OAuthError { status, error, description } = self;
        (status, Json(json!({"error": error, "error_description": description}))).into_response()
    }
}

fn bad_request(error: &'static str, description: &'static str) -> Response {
    OAuthError { status: StatusCode::BAD_REQUEST, error, description }.into_response()
}

fn refused() -> Response {
    let (status, error) = (StatusCode::UNAUTHORIZED, "invalid_client");
    OAuthError { status, error, description: "password authentication failed" }.into_response()
}

pub(crate) async fn token(application: Shared, headers: HeaderMap, body: Bytes) -> Response {
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    match field("grant_type") {
        Some("client_credentials") => {
            let credentials = match (field("client_id"), field("client_secret")) {
                (Some(id), Some(secret)) => Some((id.to_owned(), secret.to_owned())),
                // A lone secret is how some clients send a credential without a colon.
                _ => basic(&headers),
            };
            let Some((role, password)) = credentials else {
                return bad_request(
                    "invalid_request",
                    "client_id and client_secret, a role and its password, are needed",
                );
            };
            match prove(&application, &role, password).await {
                Ok(Some(role)) => {
                    let lifetime_s = application.options.token_lifetime.as_secs();
                    answer(&application.tokens.issue(&role, now_s(), lifetime_s), lifetime_s)
                }
                Ok(None) => {
                    tracing::info!(role, "password authentication failed for the Iceberg catalog");
                    refused()
                }
                Err(error) => error.into_response(),
            }
        }
        Some("urn:ietf:params:oauth:grant-type:token-exchange") => {
            let Some(token) = field("subject_token").or_else(|| bearer(&headers)) else {
                return bad_request("invalid_request", "subject_token, a token of this server, is needed");
            };
            let state = match application.catalog().await {
                Ok(state) => state,
                Err(error) => return error.into_response(),
            };
            let lifetime_s = application.options.token_lifetime.as_secs();
            let claims = application.claims(&state, token).await;
            match claims.and_then(|claims| application.tokens.renew(claims, now_s(), lifetime_s)) {
                Ok((token, lifetime_s)) => answer(&token, lifetime_s),
                Err(_) => bad_request("invalid_grant", "the token is not valid or has expired"),
            }
        }
        _ => bad_request("unsupported_grant_type", "grant_type is client_credentials or a token exchange"),
    }
}

fn answer(token: &str, lifetime_s: u64) -> Response {
    let body = json!({
        "access_token": token,
        "token_type": "bearer",
        "expires_in": lifetime_s,
        "issued_token_type": ACCESS_TOKEN,
        "scope": "catalog",
    });
    let mut response = Json(body).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The credentials of HTTP's own kind (RFC 7617).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, coded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let text = String::from_utf8(BASE64.decode(coded.trim()).ok()?).ok()?;
    let (role, password) = text.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (role.to_owned(), password.to_owned()))
}

/// The role, when the password is its own.
async fn prove(application: &Application, role: &str, password: String) -> Result<Option<Role>, ApiError> {
    let state = application.catalog().await?;
    let known = state.role_by_name(role).filter(|role| role.login).map(|role| Role::clone(role));
    if let Authentication::Trust { .. } = application.options.authentication {
        return Ok(known);
    }
    let verifier = known.as_ref().and_then(|role| role.password.clone()).unwrap_or_else(|| NOBODY.to_owned());
    let busy = |_| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", "shutting down");
    let _place = application.passwords.acquire().await.map_err(busy)?;
    let checked = tokio::task::spawn_blocking(move || wharf_engine::password_matches(&verifier, &password)).await;
    Ok(known.filter(|_| checked.unwrap_or(false)))
}
