//! Views: the queries of the catalog's views in Iceberg's form. They are made, replaced and renamed by SQL.

use axum::Json;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use wharf_catalog::{Command, RelationKind, RelationName, State, View};
use wharf_engine::external::Caller;

use crate::application::{Application, Shared, Who};
use crate::error::ApiError;
use crate::names::schema;
use crate::pages::Page;
use crate::requests::Body;
use crate::sql;
use crate::tables::{Rename, TablePath, new_name};
use crate::view_metadata::{self, Version};

pub(crate) async fn list(
    application: Shared,
    who: Who,
    Path((prefix, namespace)): Path<(String, String)>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let schema = schema(&state, caller.database, &namespace)?;
    let views = state.relations_in(schema.oid).filter(|relation| relation.as_view().is_some());
    let (views, next) = page.cut(views, |view| view.name())?;
    let identifiers: Vec<Value> =
        views.iter().map(|view| json!({"namespace": [schema.name], "name": view.name()})).collect();
    Ok(Json(json!({"identifiers": identifiers, "next-page-token": next})))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Create {
    name: String,
    schema: Schema,
    view_version: Version,
}

/// The part of the schema that SQL does not find out by itself.
#[derive(Deserialize)]
struct Schema {
    fields: Vec<Field>,
}

#[derive(Deserialize)]
struct Field {
    name: String,
}

pub(crate) async fn create(
    application: Shared,
    who: Who,
    Path((prefix, namespace)): Path<(String, String)>,
    Body(request): Body<Create>,
) -> Result<Json<Value>, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let schema = schema(&state, caller.database, &namespace)?;
    sql::check_name(&request.name)?;
    if state.relation(schema.oid, &request.name).is_some() {
        let message = format!("Table or view already exists: {namespace}.{}", request.name);
        return Err(ApiError::already_exists(message));
    }
    let name = RelationName::new(&schema.name, &request.name);
    let fields = Some(request.schema.fields.as_slice());
    write(&application, &who, &caller, "CREATE VIEW", &name, fields, &request.view_version).await?;
    shown(&application, &caller, &name).await
}

/// CREATE VIEW, or CREATE OR REPLACE VIEW.
async fn write(
    application: &Application,
    who: &Who,
    caller: &Caller,
    verb: &str,
    name: &RelationName,
    fields: Option<&[Field]>,
    version: &Version,
) -> Result<(), ApiError> {
    let fields = fields.filter(|fields| !fields.is_empty());
    let columns = match fields {
        Some(fields) => {
            fields.iter().try_for_each(|field| sql::check_name(&field.name))?;
            let names: Vec<String> = fields.iter().map(|field| sql::quoted(&field.name)).collect();
            format!(" ({})", names.join(", "))
        }
        None => String::new(),
    };
    let query = version.query()?.trim().trim_end_matches(';');
    let text = format!("{verb} {}.{}{columns} AS {query}", sql::quoted(&name.schema), sql::quoted(&name.name));
    sql::run(application, who, caller, &text, version.schema().or(Some(&name.schema))).await
}

async fn shown(application: &Application, caller: &Caller, name: &RelationName) -> Result<Json<Value>, ApiError> {
    let state = application.catalog().await?;
    let view = find(&state, caller, name)?;
    let (location, metadata) = view_metadata::metadata(application.engine.warehouse(), caller, &name.schema, view)?;
    Ok(Json(json!({"metadata-location": location, "metadata": metadata, "config": {}})))
}

fn find<'a>(state: &'a State, caller: &Caller, name: &RelationName) -> Result<&'a View, ApiError> {
    let schema = schema(state, caller.database, &name.schema)?;
    let found = state.relation(schema.oid, &name.name).and_then(|relation| relation.as_view());
    found.map(AsRef::as_ref).ok_or_else(|| ApiError::no_view(&format!("{}.{}", name.schema, name.name)))
}

pub(crate) async fn load(
    application: Shared,
    who: Who,
    Path((prefix, namespace, view)): TablePath,
) -> Result<Json<Value>, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    shown(&application, &caller, &RelationName::new(namespace, view)).await
}

pub(crate) async fn exists(
    application: Shared,
    who: Who,
    Path((prefix, namespace, view)): TablePath,
) -> Result<StatusCode, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    find(&state, &caller, &RelationName::new(namespace, view))?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(crate) struct Replace {
    #[serde(default)]
    requirements: Vec<Value>,
    updates: Vec<Value>,
}

/// Replaces the query of a view; what else Iceberg can change of one is refused.
pub(crate) async fn replace(
    application: Shared,
    who: Who,
    Path((prefix, namespace, view)): TablePath,
    Body(request): Body<Replace>,
) -> Result<Json<Value>, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let name = RelationName::new(namespace, view);
    let known = find(&state, &caller, &name)?;
    for requirement in &request.requirements {
        let uuid = requirement.get("uuid").and_then(Value::as_str);
        match requirement.get("type").and_then(Value::as_str) {
            Some("assert-view-uuid") if uuid == Some(&view_metadata::uuid(&caller, known).to_string()) => {}
            Some("assert-view-uuid") => {
                let message = "Requirement failed: view UUID does not match";
                return Err(ApiError::new(StatusCode::CONFLICT, "CommitFailedException", message));
            }
            other => return Err(ApiError::bad_request(format!("requirement {other:?} is not known"))),
        }
    }
    let (mut version, mut schema) = (None, None);
    for update in request.updates {
        let action = update.get("action").and_then(Value::as_str).unwrap_or_default().to_owned();
        let part = |key: &str| update.get(key).cloned().unwrap_or_default();
        let invalid = |error| ApiError::bad_request(format!("cannot read update {action}: {error}"));
        match action.as_str() {
            "add-view-version" => {
                version = Some(serde_json::from_value::<Version>(part("view-version")).map_err(invalid)?);
            }
            "add-schema" => schema = Some(serde_json::from_value::<Schema>(part("schema")).map_err(invalid)?),
            // They say what is so anyway.
            "set-current-view-version" | "assign-uuid" | "upgrade-format-version" | "set-location" => {}
            other => return Err(ApiError::unsupported(format!("update \"{other}\" of a view"))),
        }
    }
    if let Some(version) = version {
        let fields = schema.as_ref().map(|schema| schema.fields.as_slice());
        write(&application, &who, &caller, "CREATE OR REPLACE VIEW", &name, fields, &version).await?;
    }
    shown(&application, &caller, &name).await
}

pub(crate) async fn drop(
    application: Shared,
    who: Who,
    Path((prefix, namespace, view)): TablePath,
) -> Result<StatusCode, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let name = RelationName::new(namespace, view);
    find(&state, &caller, &name)?;
    let command = Command::DropRelations {
        database: caller.database,
        kind: RelationKind::View,
        names: vec![name],
        if_exists: false,
        cascade: false,
        search_path: Vec::new(),
        purge: false,
    };
    application.engine.propose(command).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn rename(
    application: Shared,
    who: Who,
    Path(prefix): Path<String>,
    Body(request): Body<Rename>,
) -> Result<StatusCode, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let source = request.source();
    let name = source.relation().ok_or_else(|| ApiError::no_view(&source.display()))?;
    find(&state, &caller, &name)?;
    let new_name = new_name(&state, caller.database, &request)?;
    sql::run(&application, &who, &caller, &sql::rename("VIEW", &name, &new_name), None).await?;
    Ok(StatusCode::NO_CONTENT)
}
