//! What can be asked of the catalog, and what it answers.
//!
//! A command carries everything it needs: names already folded and resolved to a schema, ids and times already chosen. What it
//! cannot carry is the truth of the state it meets; [`crate::apply`] checks that again and answers with a
//! [`crate::CatalogError`]. Commands are stored in the log: see `encoding` for what may change here.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::constraint::Constraint;
use crate::model::{Column, ForeignSource, RelationKind};

/// A command with what makes a retry safe and a replay exact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Chosen once per request: the same id again gets the first answer again and changes nothing.
    pub request_id: Uuid,
    /// The proposer's wall clock, milliseconds since 1970: the only time that apply knows.
    pub now_ms: i64,
    /// What to do.
    pub command: Command,
}

/// A relation by the name of its schema and its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RelationName {
    /// The schema's name.
    pub schema: String,
    /// The relation's name.
    pub name: String,
}

impl RelationName {
    /// Both names.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        RelationName { schema: schema.into(), name: name.into() }
    }
}

/// The move of one table's head from one Iceberg metadata file to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableChange {
    /// The table.
    pub id: Uuid,
    /// The metadata location the change was built on: it must still be the head.
    pub expected: String,
    /// The new head.
    pub new: String,
    /// The columns that the table has from then on; none: those it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<Column>>,
}

/// The text of a view's query, written anew because something it reads got another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewText {
    /// The view.
    pub oid: u32,
    /// The text it was written from: it must still be the view's.
    pub expected: String,
    /// The new text.
    pub definition: String,
}

/// A column or constraint that ALTER TABLE drops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// As messages name it: `column b of table t`, `constraint c on table t`.
    pub object: String,
    /// As messages name what its dependents depend on: the same, or the index of a key.
    pub depended_on: String,
    /// The field id of a column.
    pub column: Option<i32>,
    /// The oids of the views that use it.
    pub views: Vec<u32>,
    /// CASCADE: what depends on it goes too.
    pub cascade: bool,
}

/// What a comment is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommentTarget {
    /// The database of this name.
    Database(String),
    /// The role of this name.
    Role(String),
    /// The schema of this name.
    Schema(String),
    /// A table or view.
    Relation {
        /// TABLE, VIEW or FOREIGN TABLE, as the statement said.
        kind: RelationKind,
        /// Which.
        name: RelationName,
    },
    /// A column of a table or view.
    Column {
        /// The relation.
        relation: RelationName,
        /// The column's name.
        column: String,
    },
}

/// A change of the catalog. `database` is the oid of the database that the names are in, `owner` the oid of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes an empty catalog into one with its first role (oid 10), its first database and schema `public`. Answered with
    /// [`CatalogError::AlreadyBootstrapped`](crate::CatalogError::AlreadyBootstrapped) when that has been done.
    Bootstrap {
        /// The name of the first database.
        database: String,
        /// The name of the first role.
        superuser: String,
        /// Its SCRAM verifier; none: it has no password.
        verifier: Option<String>,
    },
    /// CREATE SCHEMA
    CreateSchema {
        /// In this database.
        database: u32,
        /// The new schema's name.
        name: String,
        /// Its owner.
        owner: u32,
        /// An existing one is a notice, not an error.
        if_not_exists: bool,
    },
    /// DROP SCHEMA
    DropSchemas {
        /// In this database.
        database: u32,
        /// All of them or none.
        names: Vec<String>,
        /// A missing one is a notice, not an error.
        if_exists: bool,
        /// With everything that is in them or depends on that.
        cascade: bool,
        /// The session's schemas: messages name what is found through them without its schema.
        search_path: Vec<String>,
    },
    /// ALTER SCHEMA .. RENAME TO
    RenameSchema {
        /// In this database.
        database: u32,
        /// The name it has.
        name: String,
        /// The name it gets.
        new_name: String,
        /// The views that read something of it, all of them.
        #[serde(default)]
        views: Vec<ViewText>,
    },
    /// CREATE TABLE, also AS: the metadata may have data already.
    CreateTable {
        /// In this database.
        database: u32,
        /// The table's identity, new.
        id: Uuid,
        /// Where, and its name.
        name: RelationName,
        /// Its columns with their field ids.
        columns: Vec<Column>,
        /// Its first Iceberg metadata file.
        metadata_location: String,
        /// Its owner.
        owner: u32,
        /// An existing relation of the name is a notice, not an error.
        if_not_exists: bool,
        /// Its constraints, without oids.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        constraints: Vec<Constraint>,
    },
    /// CREATE VIEW
    CreateView {
        /// In this database.
        database: u32,
        /// Where, and its name.
        name: RelationName,
        /// Its columns.
        columns: Vec<Column>,
        /// The SQL text of the query.
        definition: String,
        /// The oids of the relations the query reads.
        depends_on: Vec<u32>,
        /// Its owner.
        owner: u32,
        /// An existing view of the name is replaced, when its columns stay and new ones come after them.
        or_replace: bool,
    },
    /// DROP TABLE, DROP VIEW, DROP FOREIGN TABLE
    DropRelations {
        /// In this database.
        database: u32,
        /// TABLE or VIEW, as the statement said.
        kind: RelationKind,
        /// All of them or none.
        names: Vec<RelationName>,
        /// A missing one is a notice, not an error.
        if_exists: bool,
        /// With the views that depend on them.
        cascade: bool,
        /// The session's schemas: messages name what is found through them without its schema.
        search_path: Vec<String>,
        /// Tables cannot come back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        purge: bool,
    },
    /// ALTER TABLE .. RENAME TO (which PostgreSQL also does for views), ALTER VIEW .. RENAME TO
    RenameRelation {
        /// In this database.
        database: u32,
        /// TABLE or VIEW, as the statement said.
        kind: RelationKind,
        /// The name it has.
        name: RelationName,
        /// The name it gets, in the same schema.
        new_name: String,
        /// A missing one is a notice, not an error.
        if_exists: bool,
        /// The views that read it, all of them.
        #[serde(default)]
        views: Vec<ViewText>,
    },
    /// ALTER TABLE .. RENAME COLUMN .. TO, and of a view: as in PostgreSQL either statement does for both.
    RenameColumn {
        /// In this database.
        database: u32,
        /// The relation.
        name: RelationName,
        /// The name the column has.
        column: String,
        /// The name it gets.
        new_column: String,
        /// The metadata file in which the Iceberg schema has the new name: always for a table, never for a view.
        change: Option<TableChange>,
        /// A missing relation is a notice, not an error.
        if_exists: bool,
        /// The views that read it, all of them.
        #[serde(default)]
        views: Vec<ViewText>,
    },
    /// COMMENT ON .. IS
    Comment {
        /// In this database.
        database: u32,
        /// On what.
        on: CommentTarget,
        /// The comment; none removes it.
        text: Option<String>,
    },
    /// CREATE ROLE, CREATE USER
    CreateRole {
        /// Its name.
        name: String,
        /// May do everything.
        superuser: bool,
        /// May open a session.
        login: bool,
        /// Its SCRAM verifier; none: no password.
        verifier: Option<String>,
    },
    /// ALTER ROLE .. PASSWORD
    AlterRolePassword {
        /// The role.
        name: String,
        /// The new SCRAM verifier; none removes the password.
        verifier: Option<String>,
    },
    /// DROP ROLE
    DropRoles {
        /// All of them or none.
        names: Vec<String>,
        /// A missing one is a notice, not an error.
        if_exists: bool,
        /// The session's database: messages name its objects.
        database: u32,
        /// The session's schemas: messages name what is found through them without its schema.
        search_path: Vec<String>,
    },
    /// The commit of writes: compare-and-swap of all heads at once, all or nothing.
    CommitTables {
        /// One for each table that was written.
        changes: Vec<TableChange>,
    },
    /// Several commands as one: the first that fails undoes all. A batch has no batch inside.
    Batch(Vec<Command>),
    /// UNDROP TABLE: the one of this name that was dropped last.
    UndropTable {
        /// In this database.
        database: u32,
        /// The name it had.
        name: RelationName,
        /// Its owner, if the one it had is gone.
        owner: u32,
    },
    /// Dropped tables can no longer come back, and their files may be removed. Those that are not there are passed over.
    ForgetDropped {
        /// Their ids.
        ids: Vec<Uuid>,
    },
    /// CREATE TABLE .. CLONE
    CloneTable {
        /// The CREATE TABLE of the clone.
        create: Box<Command>,
        /// The table it was made from.
        source: Uuid,
        /// The head that the source must still have.
        source_head: String,
    },
    /// Changes nothing, and fails unless this holds: the first of a batch whose other commands were made for it.
    Expect {
        /// What [`State::definitions`](crate::State::definitions) must be; none: anything.
        definitions: Option<u64>,
        /// Tables and the heads they must have.
        heads: Vec<(Uuid, String)>,
    },
    /// ALTER TABLE of columns and constraints.
    AlterTable {
        /// In this database.
        database: u32,
        /// The columns it has from now on. Comments stay what they are.
        columns: Vec<Column>,
        /// The constraints it has from now on; new ones have no oid yet.
        constraints: Vec<Constraint>,
        /// The metadata file that has these columns; the one it is made from has to be the head.
        change: TableChange,
        /// The views that read the table, all of them but those in `gone`, with the text they have from now on.
        views: Vec<ViewText>,
        /// What the statement drops, with what goes with it.
        gone: Vec<Gone>,
        /// The session's schemas: messages name what is found through them without its schema.
        search_path: Vec<String>,
    },
    /// ALTER TABLE, ALTER VIEW .. SET SCHEMA
    MoveRelation {
        /// In this database.
        database: u32,
        /// TABLE or VIEW, as the statement said.
        kind: RelationKind,
        /// The relation.
        name: RelationName,
        /// The schema it goes to.
        schema: String,
        /// A missing relation is a notice, not an error.
        if_exists: bool,
        /// The views that read it, all of them.
        views: Vec<ViewText>,
    },
    /// ALTER TABLE, ALTER VIEW .. OWNER TO
    ChangeOwner {
        /// In this database.
        database: u32,
        /// The relation.
        name: RelationName,
        /// The oid of the role that owns it from now on.
        owner: u32,
    },
    /// Notes what a client of the Iceberg catalog wants to be known about a schema.
    SetSchemaProperties {
        /// In this database.
        database: u32,
        /// The schema.
        name: String,
        /// Properties with their new values.
        set: BTreeMap<String, String>,
        /// Properties to forget; missing ones are no error.
        remove: BTreeSet<String>,
    },
    /// CREATE EXTERNAL TABLE
    CreateForeignTable {
        /// In this database.
        database: u32,
        /// Where, and its name.
        name: RelationName,
        /// Its columns with their numbers.
        columns: Vec<Column>,
        /// Its files.
        source: ForeignSource,
        /// Its owner.
        owner: u32,
        /// An existing relation of the name is a notice, not an error.
        if_not_exists: bool,
    },
}

impl Command {
    /// Does it change what there is, as against what is in tables?
    pub fn defines(&self) -> bool {
        match self {
            Command::CommitTables { changes } => changes.iter().any(|change| change.columns.is_some()),
            Command::Expect { .. } => false,
            Command::Batch(commands) => commands.iter().any(Command::defines),
            _ => true,
        }
    }

    /// Gives a command the change of a table's metadata that goes with it. False when it is one that has none.
    pub fn set_change(&mut self, new: TableChange) -> bool {
        match self {
            Command::RenameColumn { change, .. } => *change = Some(new),
            Command::AlterTable { change, .. } => *change = new,
            _ => return false,
        }
        true
    }

    /// Replaces the oids that it refers to by others. A command that was made over one state is so made for another, in
    /// which new objects got other oids.
    pub fn renumber(&mut self, oids: &BTreeMap<u32, u32>) {
        let number = |oid: &mut u32| *oid = oids.get(oid).copied().unwrap_or(*oid);
        match self {
            Command::CreateSchema { owner, .. }
            | Command::ChangeOwner { owner, .. }
            | Command::CreateForeignTable { owner, .. } => number(owner),
            Command::CreateTable { owner, constraints, .. } => {
                number(owner);
                constraints.iter_mut().filter_map(Constraint::target_mut).for_each(number);
            }
            Command::AlterTable { constraints, views, gone, .. } => {
                constraints.iter_mut().filter_map(Constraint::target_mut).for_each(number);
                views.iter_mut().for_each(|view| number(&mut view.oid));
                gone.iter_mut().flat_map(|gone| &mut gone.views).for_each(number);
            }
            Command::CreateView { depends_on, owner, .. } => {
                number(owner);
                depends_on.iter_mut().for_each(number);
            }
            Command::RenameSchema { views, .. }
            | Command::RenameRelation { views, .. }
            | Command::RenameColumn { views, .. }
            | Command::MoveRelation { views, .. } => views.iter_mut().for_each(|view| number(&mut view.oid)),
            Command::UndropTable { owner, .. } => number(owner),
            Command::CloneTable { create, .. } => create.renumber(oids),
            Command::Batch(commands) => commands.iter_mut().for_each(|command| command.renumber(oids)),
            Command::Bootstrap { .. }
            | Command::DropSchemas { .. }
            | Command::DropRelations { .. }
            | Command::Comment { .. }
            | Command::CreateRole { .. }
            | Command::AlterRolePassword { .. }
            | Command::DropRoles { .. }
            | Command::CommitTables { .. }
            | Command::Expect { .. }
            | Command::ForgetDropped { .. }
            | Command::SetSchemaProperties { .. } => {}
        }
    }
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The change.
    pub effect: Effect,
    /// What the client is to be told besides, in order.
    pub notices: Vec<Notice>,
}

/// The change that a command made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// There was nothing to do; the notices say why (IF EXISTS, IF NOT EXISTS).
    Nothing,
    /// Bootstrap's objects, and any single object that was created or replaced.
    Created {
        /// The oid of the new object (of the database for bootstrap).
        oid: u32,
    },
    /// An existing object was changed.
    Changed {
        /// Its oid.
        oid: u32,
    },
    /// Objects are gone.
    Dropped {
        /// The relations, those that went by CASCADE included.
        relations: Vec<DroppedRelation>,
    },
    /// The heads were moved.
    Committed {
        /// The new version of each table, in the order of the changes.
        versions: Vec<u64>,
    },
    /// What each command of a batch answered (its notices are in the answer's own).
    Batch(Vec<Effect>),
}

/// A relation that is gone, with what is needed to clean up after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedRelation {
    /// Its oid.
    pub oid: u32,
    /// What it was.
    pub kind: RelationKind,
    /// Its name.
    pub name: RelationName,
    /// For a table: its id and its last metadata location.
    pub table: Option<(Uuid, String)>,
}

/// A NOTICE in PostgreSQL's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its SQLSTATE: `00000`, or that of the error it stands for.
    pub sqlstate: String,
    /// The message.
    pub message: String,
    /// The detail.
    pub detail: Option<String>,
}
