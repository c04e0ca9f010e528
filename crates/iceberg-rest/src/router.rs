//! The routes, and what holds for all of them: limits, JSON errors, no panic that reaches a client.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use wharf_engine::Engine;

use crate::application::{Application, Shared};
use crate::error::ApiError;
use crate::options::Options;
use crate::{authentication, catalog_config, commits, namespaces, tables, views};

/// The catalog as a service.
pub fn router(engine: Arc<Engine>, options: Options) -> Router {
    let max_body_bytes = options.max_body_bytes;
    let application = Arc::new(Application::new(engine, options));
    let in_namespace = Router::new()
        .route("/", get(namespaces::load).head(namespaces::exists).delete(namespaces::drop))
        .route("/properties", post(namespaces::update))
        .route("/register", post(tables::register))
        .route("/tables", get(tables::list).post(tables::create))
        .route("/tables/{table}", get(tables::load).head(tables::exists).post(commits::commit).delete(tables::drop))
        .route("/tables/{table}/credentials", get(tables::credentials))
        .route("/tables/{table}/metrics", post(tables::metrics))
        .route("/views", get(views::list).post(views::create))
        .route("/views/{view}", get(views::load).head(views::exists).post(views::replace).delete(views::drop));
    let in_database = Router::new()
        .route("/namespaces", get(namespaces::list).post(namespaces::create))
        .nest("/namespaces/{namespace}", in_namespace)
        .route("/tables/rename", post(tables::rename))
        .route("/views/rename", post(views::rename))
        .route("/transactions/commit", post(commits::transaction));
    let catalog = Router::new()
        .route("/v1/config", get(catalog_config::config))
        .route("/v1/oauth/tokens", post(authentication::token))
        .nest("/v1/{prefix}", in_database);
    Router::new()
        .nest("/iceberg", catalog)
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "NotFoundException", "there is no such endpoint"))
        .method_not_allowed_fallback(async || {
            let message = "the endpoint does not take this method";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "UnsupportedOperationException", message)
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&application), limited))
        .layer(CatchPanicLayer::custom(|_| {
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "a bug in the server")
                .into_response()
        }))
        .layer(DefaultBodyLimit::max(max_body_bytes))
        .with_state(application)
}

/// Bounds how many requests are worked on at once, and for how long each.
async fn limited(application: Shared, request: Request, next: Next) -> Response {
    let Ok(_place) = application.requests.try_acquire() else {
        let message = "too many requests at once";
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", message).into_response();
    };
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answered = tokio::time::timeout(application.options.request_timeout, next.run(request)).await;
    let response = answered.unwrap_or_else(|_| {
        // What a commit was doing may still be done.
        let message = "the request took too long";
        ApiError::new(StatusCode::GATEWAY_TIMEOUT, "CommitStateUnknownException", message).into_response()
    });
    tracing::debug!(%method, path, status = response.status().as_u16(), "Iceberg catalog");
    response
}
