//! What all requests share, and for whom a request is done.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use tokio::sync::Semaphore;
use wharf_catalog::{Role, State};
use wharf_engine::Engine;
use wharf_engine::external::Caller;

use crate::error::ApiError;
use crate::options::{Authentication, Options};
use crate::tokens::Tokens;

/// How many passwords may be checked at once: each takes a thread some milliseconds.
const CONCURRENT_PASSWORDS: usize = 4;

/// The catalog.
pub(crate) struct Application {
    pub(crate) engine: Arc<Engine>,
    pub(crate) options: Options,
    pub(crate) tokens: Tokens,
    pub(crate) passwords: Semaphore,
    pub(crate) requests: Semaphore,
}

/// As handlers get it.
pub(crate) type Shared = axum::extract::State<Arc<Application>>;

impl Application {
    pub(crate) fn new(engine: Arc<Engine>, options: Options) -> Application {
        Application {
            engine,
            tokens: Tokens::new(options.token_secret),
            passwords: Semaphore::new(CONCURRENT_PASSWORDS),
            requests: Semaphore::new(options.max_requests),
            options,
        }
    }

    /// The catalog as of now.
    pub(crate) async fn catalog(&self) -> Result<Arc<State>, ApiError> {
        Ok(self.engine.catalog().await?)
    }

    /// For whom a request on a database is done.
    pub(crate) fn caller(&self, state: &State, who: &Who, prefix: &str) -> Result<Caller, ApiError> {
        let role = state.role_by_name(&who.role).ok_or_else(|| ApiError::unauthorized("the role does not exist"))?;
        let database = state.database_by_name(prefix).ok_or_else(|| {
            let message = format!("Warehouse does not exist: {prefix}");
            ApiError::new(axum::http::StatusCode::NOT_FOUND, "NoSuchWarehouseException", message)
        })?;
        Ok(Caller {
            role: role.oid,
            superuser: role.superuser,
            database: database.oid,
            database_name: database.name.clone(),
        })
    }
}

/// The clock, in seconds since 1970.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Who sends a request, proven.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    /// The name of the role.
    pub(crate) role: String,
}

impl FromRequestParts<Arc<Application>> for Who {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, application: &Arc<Application>) -> Result<Who, ApiError> {
        let state = application.catalog().await?;
        let find = |role: &str| state.role_by_name(role).map(|role| Role::clone(role));
        let proven = bearer(&parts.headers).map(|token| application.tokens.role_of(token, now_s(), find));
        let role = match (proven, &application.options.authentication) {
            (Some(Ok(role)), _) => role,
            // Some clients send a token of nothing when they have no credentials.
            (_, Authentication::Trust { role }) => role.clone(),
            (Some(Err(refused)), Authentication::Password) => return Err(ApiError::unauthorized(refused.to_string())),
            (None, Authentication::Password) => {
                let message = "a bearer token is needed: POST client_id and client_secret, a role and its password, \
                               to /iceberg/v1/oauth/tokens";
                return Err(ApiError::unauthorized(message));
            }
        };
        match state.role_by_name(&role) {
            Some(known) if known.login => Ok(Who { role }),
            _ => Err(ApiError::unauthorized(format!("role \"{role}\" is not permitted to log in"))),
        }
    }
}

/// The token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
