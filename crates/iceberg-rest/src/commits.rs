//! Commits of one table or of several: requirements, updates, one compare-and-swap.

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use wharf_catalog::RelationName;
use wharf_engine::external::{self, Caller, ExternalError, TableRequest};
use wharf_lake::commit::Requested;

use crate::application::{Shared, Who};
use crate::error::ApiError;
use crate::names::Identifier;
use crate::requests::Body;
use crate::tables::{TablePath, metadata};

#[derive(Deserialize)]
pub(crate) struct Commit {
    identifier: Option<Identifier>,
    #[serde(default)]
    requirements: Value,
    #[serde(default)]
    updates: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Transaction {
    table_changes: Vec<Commit>,
}

pub(crate) async fn commit(
    application: Shared,
    who: Who,
    Path((prefix, namespace, table)): TablePath,
    Body(commit): Body<Commit>,
) -> Result<Response, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let request = request(&caller, RelationName::new(namespace, table), commit)?;
    let tables = external::commit(&application.engine, &caller, &[request]).await?;
    let table = tables.first().ok_or_else(|| ApiError::bad_request("nothing was asked for"))?;
    let body = json!({"metadata-location": table.metadata_location(), "metadata": metadata(table, false)?});
    Ok(Json(body).into_response())
}

pub(crate) async fn transaction(
    application: Shared,
    who: Who,
    Path(prefix): Path<String>,
    Body(Transaction { table_changes }): Body<Transaction>,
) -> Result<StatusCode, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let named = |commit: Commit| {
        let identifier = commit.identifier.as_ref();
        let identifier = identifier.ok_or_else(|| ApiError::bad_request("every change names its table"))?;
        let name = identifier.relation().ok_or_else(|| ApiError::no_table(&identifier.display()))?;
        request(&caller, name, commit)
    };
    let requests = table_changes.into_iter().map(named).collect::<Result<Vec<_>, _>>()?;
    external::commit(&application.engine, &caller, &requests).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn request(caller: &Caller, name: RelationName, commit: Commit) -> Result<TableRequest, ApiError> {
    let list = |value: Value| if value.is_null() { json!([]) } else { value };
    let (requirements, updates) = (list(commit.requirements), list(commit.updates));
    let request = Requested::parse(requirements, updates, caller.superuser).map_err(ExternalError::from)?;
    Ok(TableRequest { name, request })
}
