//! What is done by a SQL session of the caller's role, because SQL has it with all its rules: renaming, and views.

use wharf_catalog::RelationName;
use wharf_engine::Startup;
use wharf_engine::external::Caller;
use wharf_values::SqlError;

use crate::application::{Application, Who};
use crate::error::ApiError;

/// The longest name in SQL, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// Runs one statement; with a schema, names without one are looked up in it.
///
/// # Errors
/// 400 for a text of several statements, and what the statement raises.
pub(crate) async fn run(
    application: &Application,
    who: &Who,
    caller: &Caller,
    text: &str,
    schema: Option<&str>,
) -> Result<(), ApiError> {
    let startup = Startup {
        user: who.role.clone(),
        database: caller.database_name.clone(),
        parameters: schema.map(|schema| ("search_path".to_owned(), quoted(schema))).into_iter().collect(),
        peer: "iceberg-rest".to_owned(),
        process: 0,
    };
    let mut session = application.engine.open_session(startup).await?;
    let statements = session.split(text)?;
    let [statement] = statements.as_slice() else {
        return Err(ApiError::bad_request("the text is not one query"));
    };
    let result: Result<(), SqlError> = match session.run(statement).await {
        Ok(_) => session.end_implicit(true).await,
        Err(error) => Err(error),
    };
    Ok(result?)
}

/// ALTER TABLE or ALTER VIEW .. RENAME TO.
pub(crate) fn rename(kind: &str, source: &RelationName, new_name: &str) -> String {
    format!("ALTER {kind} {}.{} RENAME TO {}", quoted(&source.schema), quoted(&source.name), quoted(new_name))
}

/// A name in quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Refuses names that SQL cannot say, or would cut.
pub(crate) fn check_name(name: &str) -> Result<(), ApiError> {
    if name.is_empty() || name.contains('\0') || name.len() > MAX_NAME_BYTES {
        return Err(ApiError::bad_request(format!("a name has 1 to {MAX_NAME_BYTES} bytes and no zero byte")));
    }
    Ok(())
}
