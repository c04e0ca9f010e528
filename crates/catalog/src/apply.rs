//! The only way forward for a [`State`].
//!
//! `apply` is a function: the same state and the same envelope give the same new state and the same answer, on every replica and
//! on every replay of the log. A command that fails changes nothing but the memory of its request id, so that a retry gets the same
//! failure. Rules that come from PostgreSQL (what blocks a DROP, in which order it is told) are tested against what a
//! real one says.

mod alter;
mod constraints;
mod drops;
mod foreign;
mod relations;
mod roles;
mod schemas;
mod undrop;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::command::{Answer, Command, CommentTarget, Effect, Envelope, Notice, RelationName};
use crate::error::CatalogError;
use crate::model::{Database, Namespace, Relation, RelationKind, Role, oids};
use crate::state::State;

/// Applies a command: the state after it, and what the proposer is answered.
pub fn apply(state: &State, envelope: &Envelope) -> (State, Result<Answer, CatalogError>) {
    if let Some(answer) = state.remembered(envelope.request_id) {
        return (state.clone(), answer.as_ref().clone());
    }
    let mut change = Change { state: state.clone(), now_ms: envelope.now_ms, notices: Vec::new() };
    let answer = change.run(&envelope.command, Nesting::Outermost);
    let (mut next, answer) = match answer {
        Ok(effect) => {
            change.state.revision += 1;
            change.state.definitions += u64::from(envelope.command.defines());
            (change.state, Ok(Answer { effect, notices: change.notices }))
        }
        Err(error) => (state.clone(), Err(error)),
    };
    next.remember(envelope.request_id, Arc::new(answer.clone()));
    (next, answer)
}

/// A state that is being changed. When a step fails, it is thrown away whole.
struct Change {
    state: State,
    now_ms: i64,
    notices: Vec<Notice>,
}

/// Is this the command of the envelope, or one inside a batch?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nesting {
    Outermost,
    InBatch,
}

impl Change {
    fn run(&mut self, command: &Command, nesting: Nesting) -> Result<Effect, CatalogError> {
        if !self.state.is_bootstrapped() && !matches!(command, Command::Bootstrap { .. } | Command::Batch(_)) {
            return Err(CatalogError::NotBootstrapped);
        }
        match command {
            Command::Bootstrap { database, superuser, verifier } => {
                self.bootstrap(database, superuser, verifier.as_deref())
            }
            Command::CreateSchema { database, name, owner, if_not_exists } => {
                self.create_schema(*database, name, *owner, *if_not_exists)
            }
            Command::DropSchemas { database, names, if_exists, cascade, search_path } => {
                self.drop_schemas(*database, names, *if_exists, *cascade, search_path)
            }
            Command::RenameSchema { database, name, new_name, views } => {
                self.rename_schema(*database, name, new_name, views)
            }
            Command::CreateTable { .. } => self.create_table(command),
            Command::CreateView { .. } => self.create_view(command),
            Command::CreateForeignTable { .. } => self.create_foreign_table(command),
            Command::DropRelations { .. } => self.drop_relations(command),
            Command::RenameRelation { .. } => self.rename_relation(command),
            Command::RenameColumn { .. } => self.rename_column(command),
            Command::Comment { database, on, text } => self.comment(*database, on, text.as_deref()),
            Command::CreateRole { name, superuser, login, verifier } => {
                self.create_role(name, *superuser, *login, verifier.as_deref())
            }
            Command::AlterRolePassword { name, verifier } => self.alter_role_password(name, verifier.as_deref()),
            Command::DropRoles { names, if_exists, database, search_path } => {
                self.drop_roles(names, *if_exists, *database, search_path)
            }
            Command::CommitTables { changes } => self.commit_tables(changes),
            Command::Expect { definitions, heads } => self.expect(*definitions, heads),
            Command::AlterTable { .. } => self.alter_table(command),
            Command::MoveRelation { .. } => self.move_relation(command),
            Command::ChangeOwner { database, name, owner } => self.change_owner(*database, name, *owner),
            Command::SetSchemaProperties { database, name, set, remove } => {
                self.set_schema_properties(*database, name, set, remove)
            }
            Command::UndropTable { database, name, owner } => self.undrop_table(*database, name, *owner),
            Command::ForgetDropped { ids } => self.forget_dropped(ids),
            Command::CloneTable { .. } => self.clone_table(command),
            Command::Batch(_) if nesting == Nesting::InBatch => Err(invalid("a batch inside a batch")),
            Command::Batch(commands) => {
                let effects = commands.iter().map(|command| self.run(command, Nesting::InBatch));
                effects.collect::<Result<Vec<_>, _>>().map(Effect::Batch)
            }
        }
    }

    fn bootstrap(&mut self, database: &str, superuser: &str, verifier: Option<&str>) -> Result<Effect, CatalogError> {
        if self.state.is_bootstrapped() {
            return Err(CatalogError::AlreadyBootstrapped);
        }
        roles::check_role_name(superuser)?;
        self.state.put_role(Role {
            oid: oids::BOOTSTRAP_SUPERUSER,
            name: superuser.to_owned(),
            superuser: true,
            login: true,
            password: verifier.map(str::to_owned),
            comment: None,
        });
        let oid = self.state.allocate_oid()?;
        self.state.put_database(Database {
            oid,
            name: database.to_owned(),
            owner: oids::BOOTSTRAP_SUPERUSER,
            comment: None,
        });
        for (namespace, name, database, comment) in [
            (oids::PG_CATALOG, "pg_catalog", 0, Some("system catalog schema")),
            (oids::INFORMATION_SCHEMA, "information_schema", 0, None),
            (oids::PUBLIC, "public", oid, Some("standard public schema")),
        ] {
            self.state.put_namespace(Namespace {
                oid: namespace,
                name: name.to_owned(),
                database,
                owner: oids::BOOTSTRAP_SUPERUSER,
                comment: comment.map(str::to_owned),
                properties: BTreeMap::new(),
            });
        }
        Ok(Effect::Created { oid })
    }

    fn comment(&mut self, database: u32, on: &CommentTarget, text: Option<&str>) -> Result<Effect, CatalogError> {
        // As in PostgreSQL, an empty comment is none.
        let comment = text.filter(|text| !text.is_empty()).map(str::to_owned);
        let oid = match on {
            CommentTarget::Database(name) => {
                let found = self.state.database_by_name(name);
                let found = found.ok_or_else(|| CatalogError::UndefinedDatabase { name: name.clone() })?;
                let changed = Database { comment, ..found.as_ref().clone() };
                let oid = changed.oid;
                self.state.put_database(changed);
                oid
            }
            CommentTarget::Role(name) => {
                let changed = Role { comment, ..self.role(name)?.as_ref().clone() };
                let oid = changed.oid;
                self.state.put_role(changed);
                oid
            }
            CommentTarget::Schema(name) => {
                let found = self.namespace(database, name)?;
                if found.database == 0 {
                    return Err(CatalogError::SystemSchema { action: "comment on".to_owned(), object: name.clone() });
                }
                let changed = Namespace { comment, ..found.as_ref().clone() };
                let oid = changed.oid;
                self.state.put_namespace(changed);
                oid
            }
            CommentTarget::Relation { kind, name } => {
                let found = self.relation(database, name)?;
                if !found.is(*kind) {
                    return Err(wrong_type(&name.name, *kind));
                }
                self.update_relation(&found, |parts| *parts.comment = comment)
            }
            CommentTarget::Column { relation, column } => {
                let found = self.relation(database, relation)?;
                let position = found.columns().iter().position(|known| known.name == *column);
                let position = position.ok_or_else(|| CatalogError::UndefinedColumnOf {
                    column: column.clone(),
                    relation: relation.name.clone(),
                })?;
                self.update_relation(&found, |parts| parts.columns[position].comment = comment)
            }
        };
        Ok(Effect::Changed { oid })
    }

    /// A schema that must exist.
    fn namespace(&self, database: u32, name: &str) -> Result<Arc<Namespace>, CatalogError> {
        if self.state.database(database).is_none() {
            return Err(CatalogError::UndefinedDatabaseOid { oid: database });
        }
        let found = self.state.namespace_by_name(database, name);
        found.cloned().ok_or_else(|| CatalogError::UndefinedSchema { name: name.to_owned() })
    }

    /// A table or view that must exist.
    fn relation(&self, database: u32, name: &RelationName) -> Result<Relation, CatalogError> {
        let namespace = self.namespace(database, &name.schema)?;
        let found = self.state.relation(namespace.oid, &name.name);
        found.cloned().ok_or_else(|| CatalogError::UndefinedRelation { name: name.name.clone() })
    }

    /// A role that must exist.
    fn role(&self, name: &str) -> Result<Arc<Role>, CatalogError> {
        let found = self.state.role_by_name(name);
        found.cloned().ok_or_else(|| CatalogError::UndefinedRole { name: name.to_owned() })
    }

    /// The owner of a new object must exist.
    fn check_owner(&self, oid: u32) -> Result<(), CatalogError> {
        self.state.role(oid).map(|_| ()).ok_or(CatalogError::UndefinedRoleOid { oid })
    }

    /// A notice.
    fn notice(&mut self, sqlstate: &str, message: String, detail: Option<String>) {
        self.notices.push(Notice { sqlstate: sqlstate.to_owned(), message, detail });
    }

    /// An error that IF EXISTS or IF NOT EXISTS turns into a notice. PostgreSQL keeps the SQLSTATE of what exists already, not
    /// of what is missing.
    fn skip(&mut self, error: &CatalogError) {
        let sqlstate = match error {
            CatalogError::DuplicateRelation { .. } | CatalogError::DuplicateSchema { .. } => error.sqlstate(),
            _ => "00000",
        };
        self.notice(sqlstate, format!("{error}, skipping"), None);
    }
}

/// A command that only a bug can make.
fn invalid(reason: impl Into<String>) -> CatalogError {
    CatalogError::InvalidCommand { reason: reason.into() }
}

/// It is not what the statement said; DROP has its own.
fn wrong_type(name: &str, expected: RelationKind) -> CatalogError {
    CatalogError::WrongObjectType { name: name.to_owned(), expected, drop: false, found: None }
}

/// Is this an error of something that is missing, which IF EXISTS forgives?
fn is_missing(error: &CatalogError) -> bool {
    matches!(
        error,
        CatalogError::UndefinedSchema { .. }
            | CatalogError::UndefinedRelation { .. }
            | CatalogError::UndefinedTable { .. }
            | CatalogError::UndefinedRole { .. }
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use uuid::Uuid;

    use super::*;
    use crate::model::Column;
    use crate::state::REMEMBERED_REQUESTS;
    use crate::types::SqlType;

    fn envelope(request: u128, command: Command) -> Envelope {
        Envelope { request_id: Uuid::from_u128(request), now_ms: 0, command }
    }

    fn bootstrapped() -> State {
        let (database, superuser) = ("wharf".to_owned(), "wharf".to_owned());
        apply(&State::new(), &envelope(0, Command::Bootstrap { database, superuser, verifier: None })).0
    }

    fn create_schema(name: &str) -> Command {
        let (database, owner) = (oids::FIRST_USER, oids::BOOTSTRAP_SUPERUSER);
        Command::CreateSchema { database, name: name.to_owned(), owner, if_not_exists: false }
    }

    #[test]
    fn the_memory_of_requests_is_bounded() {
        let limit = REMEMBERED_REQUESTS as u128;
        let mut state = bootstrapped();
        for request in 1..=limit + 10 {
            state = apply(&state, &envelope(request, create_schema(&format!("s{request}")))).0;
        }
        assert_eq!(state.requests.len(), REMEMBERED_REQUESTS);
        let (_, recent) = apply(&state, &envelope(11, create_schema("s11")));
        assert!(recent.is_ok(), "among the latest: the first answer again");
        let (_, forgotten) = apply(&state, &envelope(10, create_schema("s10")));
        assert_eq!(forgotten, Err(CatalogError::DuplicateSchema { name: "s10".to_owned() }));
    }

    #[test]
    fn oids_run_out_with_an_error() {
        let mut state = bootstrapped();
        state.next_oid = u32::MAX - 1;
        let (state, last) = apply(&state, &envelope(1, create_schema("a")));
        assert_eq!(last.unwrap().effect, Effect::Created { oid: u32::MAX - 1 });
        let (state, none) = apply(&state, &envelope(2, create_schema("b")));
        assert_eq!(none, Err(CatalogError::OutOfOids));
        assert_eq!(state.namespace_by_name(oids::FIRST_USER, "b"), None);
    }

    #[test]
    fn a_stack_of_views_deeper_than_a_threads_stack() {
        let mut state = bootstrapped();
        let (database, owner) = (oids::FIRST_USER, oids::BOOTSTRAP_SUPERUSER);
        let column = Column {
            name: "a".to_owned(),
            ty: SqlType::Integer,
            nullable: true,
            field_id: 1,
            comment: None,
            default: None,
        };
        let mut below = Vec::new();
        for number in 0..20_000 {
            let command = Command::CreateView {
                database,
                name: RelationName::new("public", format!("v{number}")),
                columns: vec![column.clone()],
                definition: String::new(),
                depends_on: below,
                owner,
                or_replace: false,
            };
            let (next, answer) = apply(&state, &envelope(number + 1, command));
            let Ok(Answer { effect: Effect::Created { oid }, .. }) = answer else { panic!("{answer:?}") };
            (state, below) = (next, vec![oid]);
        }
        let command = Command::DropRelations {
            database,
            kind: RelationKind::View,
            names: vec![RelationName::new("public", "v0")],
            if_exists: false,
            cascade: true,
            search_path: vec!["public".to_owned()],
            purge: false,
        };
        let (state, answer) = apply(&state, &envelope(99_999, command));
        let detail = answer.unwrap().notices[0].detail.clone().unwrap();
        assert!(detail.ends_with("drop cascades to view v100\nand 19899 other objects (see server log for list)"));
        assert_eq!(state.relations().count(), 0);
        assert_eq!(state.check(), Ok(()));
    }

    #[test]
    fn too_many_columns() {
        let column = |number: i32| Column {
            name: format!("c{number}"),
            ty: SqlType::Integer,
            nullable: true,
            field_id: number,
            comment: None,
            default: None,
        };
        let command = |count: i32| Command::CreateTable {
            database: oids::FIRST_USER,
            id: Uuid::from_u128(1),
            name: RelationName::new("public", "wide"),
            columns: (1..=count).map(column).collect(),
            metadata_location: String::new(),
            owner: oids::BOOTSTRAP_SUPERUSER,
            if_not_exists: false,
            constraints: Vec::new(),
        };
        let state = bootstrapped();
        assert!(apply(&state, &envelope(1, command(1600))).1.is_ok());
        assert_eq!(apply(&state, &envelope(2, command(1601))).1, Err(CatalogError::TooManyColumns { limit: 1600 }));
    }
}
