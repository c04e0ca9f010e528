//! What can be wrong with a command, in PostgreSQL's words.
//!
//! All of these are deterministic: they are answers of the state machine, the same on every replica, and are remembered with the
//! request id as any answer. What can go wrong with a node is not here but in `wharf-consensus`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::RelationKind;

/// Why a command changed nothing. `Display` is PostgreSQL's primary message; see also [`CatalogError::sqlstate`],
/// [`CatalogError::detail`] and [`CatalogError::hint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CatalogError {
    /// Bootstrap on a catalog that has its first database.
    #[error("catalog is already initialized")]
    AlreadyBootstrapped,
    /// Any other command before bootstrap.
    #[error("catalog is not initialized")]
    NotBootstrapped,

    /// No database of this name.
    #[error("database \"{name}\" does not exist")]
    UndefinedDatabase {
        /// The name.
        name: String,
    },
    /// No database with this oid.
    #[error("database with OID {oid} does not exist")]
    UndefinedDatabaseOid {
        /// The oid.
        oid: u32,
    },

    /// No schema of this name.
    #[error("schema \"{name}\" does not exist")]
    UndefinedSchema {
        /// The name.
        name: String,
    },
    /// The name is taken by a schema.
    #[error("schema \"{name}\" already exists")]
    DuplicateSchema {
        /// The name.
        name: String,
    },
    /// A schema's name must not begin with `pg_`.
    #[error("unacceptable schema name \"{name}\"")]
    ReservedSchemaName {
        /// The name.
        name: String,
    },
    /// Something would be made in, or done to, a schema that belongs to the system.
    #[error("permission denied to {action} \"{object}\"")]
    SystemSchema {
        /// `create`, `rename`, `comment on`.
        action: String,
        /// The object as it is named.
        object: String,
    },
    /// DROP SCHEMA of one that belongs to the system.
    #[error("cannot drop schema {name} because it is required by the database system")]
    RequiredSchema {
        /// The name.
        name: String,
    },

    /// The name is taken by a table or view.
    #[error("relation \"{name}\" already exists")]
    DuplicateRelation {
        /// The name.
        name: String,
    },
    /// SET SCHEMA to one that has the name already.
    #[error("relation \"{name}\" already exists in schema \"{schema}\"")]
    RelationInSchema {
        /// The name.
        name: String,
        /// The schema.
        schema: String,
    },
    /// No table or view of this name.
    #[error("relation \"{name}\" does not exist")]
    UndefinedRelation {
        /// The name.
        name: String,
    },
    /// DROP found nothing of this name.
    #[error("{} \"{name}\" does not exist", .kind.noun())]
    UndefinedTable {
        /// What the statement said.
        kind: RelationKind,
        /// The name.
        name: String,
    },
    /// UNDROP of a name that no dropped table has.
    #[error("there is no dropped table \"{name}\"")]
    NotDropped {
        /// The name.
        name: String,
    },
    /// A dropped table whose files another needs.
    #[error("cannot forget dropped table \"{name}\" because table \"{clone}\" is a clone of it")]
    StillCloned {
        /// The dropped table.
        name: String,
        /// One of its clones.
        clone: String,
    },
    /// No relation with this oid, which a view's query reads.
    #[error("relation with OID {oid} does not exist")]
    UndefinedRelationOid {
        /// The oid.
        oid: u32,
    },
    /// It is a view where a table is wanted, or the other way round.
    #[error("\"{name}\" is not a {}", .expected.noun())]
    WrongObjectType {
        /// The name.
        name: String,
        /// What the statement said.
        expected: RelationKind,
        /// Was it a DROP? Then there is a hint.
        drop: bool,
        /// What it is, for the hint; none when neither is an external table.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        found: Option<RelationKind>,
    },
    /// A view would read itself.
    #[error("infinite recursion detected in rules for relation \"{name}\"")]
    RecursiveView {
        /// The view.
        name: String,
    },
    /// CREATE OR REPLACE VIEW with fewer columns.
    #[error("cannot drop columns from view")]
    ViewDropsColumns,
    /// CREATE OR REPLACE VIEW with another name for a column.
    #[error("cannot change name of view column \"{from}\" to \"{to}\"")]
    ViewRenamesColumn {
        /// The name it has.
        from: String,
        /// The name it would get.
        to: String,
    },
    /// CREATE OR REPLACE VIEW with another type for a column.
    #[error("cannot change data type of view column \"{column}\" from {from} to {to}")]
    ViewRetypesColumn {
        /// The column.
        column: String,
        /// The type it has.
        from: String,
        /// The type it would get.
        to: String,
    },
    /// A rename that does not bring the new text of a view's query: the view is newer than the rename.
    #[error("cannot rename {object} because views depend on it")]
    RenameBreaksViews {
        /// What was to be renamed, with its kind: `table t`.
        object: String,
        /// The views, with their schemas.
        views: Vec<String>,
    },
    /// RESTRICT, and something depends on what should go.
    #[error("cannot drop {} because other objects depend on {}", .object.as_deref().unwrap_or("desired object(s)"),
        if .object.is_some() { "it" } else { "them" })]
    DependentObjectsStillExist {
        /// What should go, with its kind (`table t`), when it is one object.
        object: Option<String>,
        /// A line for each dependency: `view v depends on table t`.
        dependencies: Vec<String>,
    },

    /// Two columns of the same name.
    #[error("column \"{name}\" specified more than once")]
    DuplicateColumn {
        /// The name.
        name: String,
    },
    /// RENAME COLUMN to a name that is taken.
    #[error("column \"{column}\" of relation \"{relation}\" already exists")]
    ColumnExists {
        /// The column.
        column: String,
        /// The relation.
        relation: String,
    },
    /// RENAME COLUMN of one that is not there.
    #[error("column \"{column}\" does not exist")]
    UndefinedColumn {
        /// The column.
        column: String,
    },
    /// COMMENT ON COLUMN of one that is not there.
    #[error("column \"{column}\" of relation \"{relation}\" does not exist")]
    UndefinedColumnOf {
        /// The column.
        column: String,
        /// The relation.
        relation: String,
    },
    /// Two constraints of one name.
    #[error("constraint \"{name}\" for relation \"{relation}\" already exists")]
    ConstraintExists {
        /// The constraint.
        name: String,
        /// Its table.
        relation: String,
    },
    /// A second primary key.
    #[error("multiple primary keys for table \"{relation}\" are not allowed")]
    MultiplePrimaryKeys {
        /// The table.
        relation: String,
    },
    /// PostgreSQL's limit, which its clients rely on.
    #[error("tables can have at most {limit} columns")]
    TooManyColumns {
        /// The limit.
        limit: usize,
    },

    /// No role of this name.
    #[error("role \"{name}\" does not exist")]
    UndefinedRole {
        /// The name.
        name: String,
    },
    /// No role with this oid.
    #[error("role with OID {oid} does not exist")]
    UndefinedRoleOid {
        /// The oid.
        oid: u32,
    },
    /// The name is taken by a role.
    #[error("role \"{name}\" already exists")]
    DuplicateRole {
        /// The name.
        name: String,
    },
    /// `public`, `none` and names with `pg_` are not for roles.
    #[error("role name \"{name}\" is reserved")]
    ReservedRoleName {
        /// The name.
        name: String,
    },
    /// DROP ROLE of the first one.
    #[error("cannot drop role {name} because it is required by the database system")]
    RequiredRole {
        /// The name.
        name: String,
    },
    /// DROP ROLE of one that owns something.
    #[error("role \"{name}\" cannot be dropped because some objects depend on it")]
    RoleOwnsObjects {
        /// The role.
        name: String,
        /// A line for each object: `owner of table t`.
        objects: Vec<String>,
    },

    /// The head of a table is not the one the commit was built on: load it again and try again.
    #[error("could not serialize access due to concurrent update")]
    CommitConflict {
        /// The table.
        id: Uuid,
        /// Its name.
        table: String,
        /// The head it has now.
        current: String,
    },
    /// Something was created, changed or dropped since a transaction looked.
    #[error("could not serialize access due to concurrent update")]
    DefinitionsChanged,
    /// A commit to a table that is gone.
    #[error("table was dropped by a concurrent transaction")]
    TableDropped {
        /// The table.
        id: Uuid,
    },

    /// Four thousand million oids are used up.
    #[error("out of object identifiers")]
    OutOfOids,
    /// A command that no correct proposer makes: a bug.
    #[error("invalid catalog command: {reason}")]
    InvalidCommand {
        /// What is wrong with it.
        reason: String,
    },
}

impl CatalogError {
    /// The SQLSTATE that PostgreSQL gives the same error.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            CatalogError::AlreadyBootstrapped | CatalogError::NotBootstrapped => "55000",
            CatalogError::UndefinedDatabase { .. } | CatalogError::UndefinedDatabaseOid { .. } => "3D000",
            CatalogError::UndefinedSchema { .. } => "3F000",
            CatalogError::DuplicateSchema { .. } => "42P06",
            CatalogError::ReservedSchemaName { .. } | CatalogError::ReservedRoleName { .. } => "42939",
            CatalogError::SystemSchema { .. } => "42501",
            CatalogError::RequiredSchema { .. }
            | CatalogError::RequiredRole { .. }
            | CatalogError::DependentObjectsStillExist { .. }
            | CatalogError::RoleOwnsObjects { .. } => "2BP01",
            CatalogError::StillCloned { .. } => "55006",
            CatalogError::DuplicateRelation { .. } | CatalogError::RelationInSchema { .. } => "42P07",
            CatalogError::UndefinedRelation { .. }
            | CatalogError::UndefinedTable { .. }
            | CatalogError::UndefinedRelationOid { .. }
            | CatalogError::NotDropped { .. }
            | CatalogError::TableDropped { .. } => "42P01",
            CatalogError::WrongObjectType { .. } => "42809",
            CatalogError::RecursiveView { .. } => "42P17",
            CatalogError::ViewDropsColumns
            | CatalogError::ViewRenamesColumn { .. }
            | CatalogError::ViewRetypesColumn { .. } => "42P16",
            CatalogError::RenameBreaksViews { .. } => "0A000",
            CatalogError::DuplicateColumn { .. } | CatalogError::ColumnExists { .. } => "42701",
            CatalogError::UndefinedColumn { .. } | CatalogError::UndefinedColumnOf { .. } => "42703",
            CatalogError::TooManyColumns { .. } => "54011",
            CatalogError::UndefinedRole { .. } | CatalogError::UndefinedRoleOid { .. } => "42704",
            CatalogError::DuplicateRole { .. } | CatalogError::ConstraintExists { .. } => "42710",
            CatalogError::MultiplePrimaryKeys { .. } => "42P16",
            CatalogError::CommitConflict { .. } | CatalogError::DefinitionsChanged => "40001",
            CatalogError::OutOfOids => "54000",
            CatalogError::InvalidCommand { .. } => "XX000",
        }
    }

    /// PostgreSQL's DETAIL.
    pub fn detail(&self) -> Option<String> {
        match self {
            CatalogError::ReservedSchemaName { .. } => {
                Some("The prefix \"pg_\" is reserved for system schemas.".to_owned())
            }
            CatalogError::ReservedRoleName { name } if name.starts_with("pg_") => {
                Some("Role names starting with \"pg_\" are reserved.".to_owned())
            }
            CatalogError::SystemSchema { .. } => {
                Some("System catalog modifications are currently disallowed.".to_owned())
            }
            CatalogError::DependentObjectsStillExist { dependencies, .. } => Some(listing(dependencies)),
            CatalogError::RoleOwnsObjects { objects, .. } => Some(listing(objects)),
            CatalogError::RenameBreaksViews { object, views } => {
                let lines = views.iter().map(|view| format!("view {view} depends on {object}")).collect::<Vec<_>>();
                Some(listing(&lines))
            }
            CatalogError::CommitConflict { table, .. } => {
                Some(format!("Table \"{table}\" was changed by another transaction."))
            }
            _ => None,
        }
    }

    /// PostgreSQL's HINT.
    pub fn hint(&self) -> Option<String> {
        match self {
            CatalogError::WrongObjectType { expected, drop: true, found, .. } => Some(
                match (expected, found) {
                    (RelationKind::Table | RelationKind::Foreign, Some(RelationKind::View))
                    | (RelationKind::Table, None) => "Use DROP VIEW to remove a view.",
                    (RelationKind::View, Some(RelationKind::Foreign)) => {
                        "Use DROP FOREIGN TABLE to remove a foreign table."
                    }
                    (RelationKind::Table, Some(RelationKind::Foreign | RelationKind::Table))
                    | (
                        RelationKind::View | RelationKind::Foreign,
                        Some(RelationKind::Table | RelationKind::View) | None,
                    )
                    | (RelationKind::Foreign, Some(RelationKind::Foreign)) => "Use DROP TABLE to remove a table.",
                }
                .to_owned(),
            ),
            CatalogError::DependentObjectsStillExist { .. } => {
                Some("Use DROP ... CASCADE to drop the dependent objects too.".to_owned())
            }
            CatalogError::ViewRenamesColumn { .. } => {
                Some("Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead.".to_owned())
            }
            CatalogError::RenameBreaksViews { .. } => Some("Run the statement again.".to_owned()),
            _ => None,
        }
    }
}

/// How many lines of a list a client is shown, as in PostgreSQL.
const MAX_LISTED: usize = 100;

/// A list of dependencies as PostgreSQL shows it.
pub(crate) fn listing(lines: &[String]) -> String {
    let shown = lines.len().min(MAX_LISTED);
    let mut text = lines[..shown].join("\n");
    match lines.len() - shown {
        0 => {}
        1 => text.push_str("\nand 1 other object (see server log for list)"),
        more => text.push_str(&format!("\nand {more} other objects (see server log for list)")),
    }
    text
}
