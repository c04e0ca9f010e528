//! Branches, tags and rollback: ALTER TABLE .. CREATE BRANCH and its kin.
//!
//! What always holds: which snapshot a version means is decided when the statement runs, in the state of the table that it sees. A branch
//! has the table's columns and constraints, so its rows must fit them wherever it goes: see docs/decisions/0019-rows-of-branches.md.

use std::sync::Arc;

use sqlparser::ast::{self, TableVersion};
use wharf_catalog::{Relation, Table};
use wharf_lake::commit::{Edit, IfTaken, RefEdit, RefError, SeenRows, Step};
use wharf_lake::{LakeTable, Unproven};
use wharf_values::{SqlError, SqlState};

use super::alter_table;
use crate::bind::{BindContext, versions};
use crate::error::{from_lake, from_ref};
use crate::names::{find_relation, refused_of_foreign};
use crate::session::Session;
use crate::syntax::Own;

/// Runs a statement of this chapter. Outside of a transaction, one that a branch was moved by is made anew when the table has got other
/// columns or constraints meanwhile.
///
/// # Errors
/// `42P01`, `42809` for a view, `55000`, `23502` and `23514` for rows that do not fit the table as it is now, `40001`, and what the lake
/// says of branches, tags and snapshots.
pub(super) async fn run(session: &mut Session, alter: &ast::AlterTable, own: &Own) -> Result<(), SqlError> {
    let mut attempts = match session.transaction {
        Some(_) => 1,
        None => session.engine.options.commit_attempts.max(1),
    };
    loop {
        attempts -= 1;
        match once(session, alter, own).await {
            Err(error) if error.code == SqlState::SERIALIZATION_FAILURE && attempts > 0 => {}
            result => return result,
        }
    }
}

async fn once(session: &mut Session, alter: &ast::AlterTable, own: &Own) -> Result<(), SqlError> {
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    let table = match find_relation(&alter.name, &context) {
        Ok(Relation::Table(table)) => table,
        Ok(Relation::View(view)) => {
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", view.name)));
        }
        Ok(Relation::Foreign(table)) => {
            return Err(refused_of_foreign(format!("foreign table \"{}\" has no versions", table.name)));
        }
        Err(error) if alter.if_exists => {
            let message = format!("{}, skipping", error.message);
            session.notice("NOTICE", SqlError::new(SqlState::SUCCESSFUL_COMPLETION, message));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let opened = session.reader().open(&table).await.map_err(|error| from_lake(&error))?;
    if let Some(notice) = nothing_to_do(own, &opened) {
        session.notice("NOTICE", SqlError::new(SqlState::SUCCESSFUL_COMPLETION, notice));
        return Ok(());
    }
    let edit = edit(session, own, &table, &opened, &context).await?;
    let seen = look(session, &table, &opened, &edit).await?;
    session.step(table.id, &table.metadata_location, Step::Edit(Edit::Refs { edit, seen })).await
}

/// Makes sure that the rows of the snapshot that a branch goes to fit the table as it is now; gives what was looked at for that.
///
/// # Errors
/// `55000` when they have no values for a column, `23502` and `23514` when they do not satisfy a constraint.
async fn look(
    session: &mut Session,
    table: &Arc<Table>,
    opened: &Arc<LakeTable>,
    edit: &RefEdit,
) -> Result<Option<SeenRows>, SqlError> {
    let Some((branch, snapshot_id)) = edit.goal(opened).map_err(|error| from_lake(&error))? else { return Ok(None) };
    let fit = opened.unproven(snapshot_id);
    if fit.is_nothing() {
        return Ok(None);
    }
    let elsewhere =
        "Read the snapshot with FOR VERSION AS OF, or make a table of it with CREATE TABLE .. CLONE .. AS OF VERSION";
    if let Some(column) = table.columns.iter().find(|column| fit.absent.contains(&column.field_id)) {
        let (column, table) = (&column.name, &table.name);
        let message = format!("snapshot {snapshot_id} of table \"{table}\" has no values for column \"{column}\"");
        return Err(SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .with_detail(format!(
                "Branch \"{branch}\" has the columns that the table has now, and this one is newer than the snapshot."
            ))
            .with_hint(format!("{elsewhere}: both have the columns of that time. Or drop the column first.")));
    }
    let warehouse = Arc::clone(&session.engine.warehouse);
    let state = warehouse.load_as_head(opened.metadata_location(), snapshot_id).await;
    let state = state.map_err(|error| from_lake(&error))?;
    // Often the manifests say enough.
    let required = state.may_be_null(&fit.required).await.map_err(|error| from_lake(&error))?;
    let open = Unproven { required, ..fit.clone() };
    if !open.is_nothing() {
        alter_table::hold(session, table, &state, &open).await.map_err(|mut error| {
            if error.code.class() == "23" {
                let detail =
                    || format!("The rows are those of snapshot {snapshot_id}, which branch \"{branch}\" was to have.");
                error.detail.get_or_insert_with(detail);
                error.hint.get_or_insert_with(|| format!("{elsewhere}, or drop the constraint first."));
            }
            error
        })?;
    }
    Ok(Some(SeenRows { snapshot_id, fit }))
}

/// The notice of IF EXISTS and IF NOT EXISTS.
fn nothing_to_do(own: &Own, table: &LakeTable) -> Option<String> {
    match own {
        Own::CreateRef { name, if_not_exists: true, .. } => {
            let kind = table.reference(name)?.noun();
            Some(format!("{kind} \"{name}\" already exists, skipping"))
        }
        Own::DropRef { kind, name, if_exists: true } if table.reference(name).is_none() => {
            Some(format!("{} \"{name}\" does not exist, skipping", kind.noun()))
        }
        _ => None,
    }
}

async fn edit(
    session: &Session,
    own: &Own,
    table: &Table,
    opened: &Arc<LakeTable>,
    context: &BindContext,
) -> Result<RefEdit, SqlError> {
    Ok(match own {
        Own::CreateRef { kind, name, or_replace, replace, if_not_exists, version, retention } => {
            let snapshot = match version {
                Some(version) => snapshot_of(session, version, table, context).await?,
                None => opened.snapshot_id(),
            };
            RefEdit::Create {
                kind: *kind,
                name: name.clone(),
                snapshot_id: snapshot.ok_or_else(|| from_ref(&RefError::NoSnapshot))?,
                retention: *retention,
                if_taken: match (replace, or_replace, if_not_exists) {
                    (true, ..) => IfTaken::Require,
                    (_, true, _) => IfTaken::Replace,
                    (_, _, true) => IfTaken::Keep,
                    _ => IfTaken::Fail,
                },
            }
        }
        Own::DropRef { kind, name, if_exists } => {
            RefEdit::Drop { kind: *kind, name: name.clone(), if_exists: *if_exists }
        }
        Own::FastForward { branch, to } => RefEdit::FastForward { branch: branch.clone(), to: to.clone() },
        Own::Rollback { version, to_ancestor } => {
            let snapshot = snapshot_of(session, version, table, context).await?;
            let snapshot_id = snapshot.ok_or_else(|| from_ref(&RefError::NoSnapshot))?;
            RefEdit::Rollback { snapshot_id, to_ancestor: *to_ancestor }
        }
        Own::Undrop | Own::Layout(_) | Own::FromFiles(_) | Own::External(_) => {
            return Err(SqlError::internal("not a statement about branches and tags"));
        }
    })
}

/// The snapshot that a version is; none when nothing was ever written.
async fn snapshot_of(
    session: &Session,
    version: &TableVersion,
    table: &Table,
    context: &BindContext,
) -> Result<Option<i64>, SqlError> {
    let reader = session.reader();
    let (version, _) = versions::evaluate(version, &[], context, &reader).await?;
    let Some(version) = version else {
        return Err(SqlError::new(SqlState::UNDEFINED_PARAMETER, "there is no parameter $1"));
    };
    Ok(reader.open_at(table, &version).await?.snapshot_id())
}
