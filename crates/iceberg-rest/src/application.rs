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
use crate::tokens::{self, Claims, Refused, Tokens};
use crate::vouched::Vouched;

/// How many passwords may be checked at once: each takes a thread some milliseconds.
const CONCURRENT_PASSWORDS: usize = 4;

/// The catalog.
pub(crate) struct Application {
    pub(crate) engine: Arc<Engine>,
    pub(crate) options: Options,
    pub(crate) tokens: Tokens,
    vouched: Vouched,
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
            vouched: Vouched::new(options.other_nodes.clone()),
            passwords: Semaphore::new(CONCURRENT_PASSWORDS),
            requests: Semaphore::new(options.max_requests),
            options,
        }
    }

    /// The catalog as of now.
    pub(crate) async fn catalog(&self) -> Result<Arc<State>, ApiError> {
        Ok(self.engine.catalog().await?)
    }

    /// What a token says, whichever node of the cluster has signed it.
    pub(crate) async fn claims(&self, state: &State, token: &str) -> Result<Claims, Refused> {
        let now_s = now_s();
        let find = |role: &str| state.role_by_name(role).map(|role| Role::clone(role));
        if self.tokens.has_signed(token) {
            return tokens::read(token, now_s, find);
        }
        // The other nodes are asked only about what has the fingerprint of a role's verifier in it, which nobody knows
        // who never saw a token of the role. A role without a password has one that can be guessed. Why a token is
        // refused that nobody may have signed is not told: it would tell which roles there are.
        let trust = matches!(self.options.authentication, Authentication::Trust { .. });
        let find = |role: &str| find(role).filter(|role| trust || role.password.is_some());
        let claims = tokens::read(token, now_s, find).map_err(|_| Refused::Invalid)?;
        match self.vouched.is_signed(token, claims.exp, now_s).await {
            true => Ok(claims),
            false => Err(Refused::Invalid),
        }
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
        let proven = match bearer(&parts.headers) {
            Some(token) => Some(application.claims(&state, token).await),
            None => None,
        };
        let role = match (proven, &application.options.authentication) {
            (Some(Ok(claims)), _) => claims.sub,
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
