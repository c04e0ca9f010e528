//! Namespaces: the schemas of a database.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use wharf_catalog::{Command, CommentTarget, Namespace};

use crate::application::{Shared, Who};
use crate::error::ApiError;
use crate::names::schema;
use crate::pages::Page;
use crate::requests::Body;

/// The property that is SQL's COMMENT ON SCHEMA.
const COMMENT: &str = "comment";
/// The most that the properties of a namespace may take, in bytes; the catalog keeps them in memory.
const MAX_PROPERTY_BYTES: usize = 64 * 1024;

#[derive(Deserialize)]
pub(crate) struct Parent {
    parent: Option<String>,
}

pub(crate) async fn list(
    application: Shared,
    who: Who,
    Path(prefix): Path<String>,
    Query(parent): Query<Parent>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    if let Some(parent) = parent.parent.filter(|parent| !parent.is_empty()) {
        schema(&state, caller.database, &parent)?;
        return Ok(Json(json!({"namespaces": []})));
    }
    let own = state.namespaces(caller.database).filter(|schema| schema.database == caller.database);
    let mut schemas: Vec<_> = own.collect();
    schemas.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    let (schemas, next) = page.cut(schemas.into_iter(), |schema| &schema.name)?;
    let names: Vec<[&str; 1]> = schemas.iter().map(|schema| [schema.name.as_str()]).collect();
    Ok(Json(json!({"namespaces": names, "next-page-token": next})))
}

#[derive(Deserialize)]
pub(crate) struct Create {
    namespace: Vec<String>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

pub(crate) async fn create(
    application: Shared,
    who: Who,
    Path(prefix): Path<String>,
    Body(Create { namespace, properties }): Body<Create>,
) -> Result<Json<Value>, ApiError> {
    let [name] = namespace.as_slice() else {
        return Err(ApiError::unsupported("a namespace has one level: a schema of the database"));
    };
    if name.is_empty() || name.len() > 63 || name.contains(['\0', '\u{1f}']) {
        return Err(ApiError::bad_request("a namespace's name has 1 to 63 bytes and no control characters"));
    }
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let mut commands = vec![Command::CreateSchema {
        database: caller.database,
        name: name.clone(),
        owner: caller.role,
        if_not_exists: false,
    }];
    check_size(&properties)?;
    commands.extend(changes(caller.database, name, properties.clone(), BTreeSet::new()));
    application.engine.propose(Command::Batch(commands)).await?;
    Ok(Json(json!({"namespace": [name], "properties": properties})))
}

pub(crate) async fn load(
    application: Shared,
    who: Who,
    Path((prefix, namespace)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let schema = schema(&state, caller.database, &namespace)?;
    Ok(Json(json!({"namespace": [schema.name], "properties": properties(schema)})))
}

pub(crate) async fn exists(
    application: Shared,
    who: Who,
    Path((prefix, namespace)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    schema(&state, caller.database, &namespace)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn drop(
    application: Shared,
    who: Who,
    Path((prefix, namespace)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let schema = schema(&state, caller.database, &namespace)?;
    if state.relations_in(schema.oid).next().is_some() {
        let message = format!("Namespace is not empty: {namespace}");
        return Err(ApiError::new(StatusCode::CONFLICT, "NamespaceNotEmptyException", message));
    }
    let command = Command::DropSchemas {
        database: caller.database,
        names: vec![namespace],
        if_exists: false,
        cascade: false,
        search_path: Vec::new(),
    };
    application.engine.propose(command).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(crate) struct Update {
    #[serde(default)]
    removals: BTreeSet<String>,
    #[serde(default)]
    updates: BTreeMap<String, String>,
}

pub(crate) async fn update(
    application: Shared,
    who: Who,
    Path((prefix, namespace)): Path<(String, String)>,
    Body(Update { removals, updates }): Body<Update>,
) -> Result<Json<Value>, ApiError> {
    if let Some(both) = removals.iter().find(|key| updates.contains_key(*key)) {
        let message = format!("property \"{both}\" is both set and removed");
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "UnprocessableEntityException", message));
    }
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let before = properties(schema(&state, caller.database, &namespace)?);
    let (removed, missing): (Vec<&String>, Vec<&String>) = removals.iter().partition(|key| before.contains_key(*key));
    let answer = json!({
        "updated": updates.keys().collect::<Vec<_>>(),
        "removed": removed,
        "missing": missing,
    });
    check_size(before.iter().filter(|(key, _)| !updates.contains_key(*key)).chain(&updates))?;
    let commands = changes(caller.database, &namespace, updates, removals);
    if !commands.is_empty() {
        application.engine.propose(Command::Batch(commands)).await?;
    }
    Ok(Json(answer))
}

/// All that a client sees of a schema.
fn properties(schema: &Namespace) -> BTreeMap<String, String> {
    let mut properties = schema.properties.clone();
    properties.extend(schema.comment.clone().map(|comment| (COMMENT.to_owned(), comment)));
    properties
}

/// The commands that set and remove properties.
fn changes(database: u32, name: &str, mut set: BTreeMap<String, String>, mut remove: BTreeSet<String>) -> Vec<Command> {
    let mut commands = Vec::new();
    let (comment, no_comment) = (set.remove(COMMENT), remove.remove(COMMENT));
    if comment.is_some() || no_comment {
        let on = CommentTarget::Schema(name.to_owned());
        commands.push(Command::Comment { database, on, text: comment });
    }
    if !set.is_empty() || !remove.is_empty() {
        commands.push(Command::SetSchemaProperties { database, name: name.to_owned(), set, remove });
    }
    commands
}

/// Refuses more properties than the catalog keeps.
fn check_size<'a>(properties: impl IntoIterator<Item = (&'a String, &'a String)>) -> Result<(), ApiError> {
    let bytes = properties.into_iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    match bytes > MAX_PROPERTY_BYTES {
        true => Err(ApiError::bad_request(format!("a namespace has at most {MAX_PROPERTY_BYTES} bytes of properties"))),
        false => Ok(()),
    }
}
