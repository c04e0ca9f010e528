//! What the catalog holds: databases (tenants), roles, schemas, tables, views, tables over files and their columns.
//!
//! These are the domain types. They also are what a command carries and a snapshot stores, so a field may be added here only with
//! a serde default, and a change of meaning needs a new format version (see `encoding`). Nothing here refers to another
//! object by name: references are oids, so that a rename touches one row.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::constraint::Constraint;
use crate::types::SqlType;

/// Oids with a fixed meaning, PostgreSQL's own where it has one.
pub mod oids {
    /// The role that bootstrap creates.
    pub const BOOTSTRAP_SUPERUSER: u32 = 10;
    /// Schema `pg_catalog`, in every database.
    pub const PG_CATALOG: u32 = 11;
    /// Schema `public` of the first database.
    pub const PUBLIC: u32 = 2200;
    /// Schema `information_schema`, in every database.
    pub const INFORMATION_SCHEMA: u32 = 13_207;
    /// The first oid given to what users create.
    pub const FIRST_USER: u32 = 16_384;
}

/// A database: one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Its oid.
    pub oid: u32,
    /// Its name, unique.
    pub name: String,
    /// The oid of the role that owns it.
    pub owner: u32,
    /// COMMENT ON DATABASE.
    pub comment: Option<String>,
}

/// A role: who logs in, owns and may. Its `Debug` does not show the password's verifier.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its oid.
    pub oid: u32,
    /// Its name, unique.
    pub name: String,
    /// May do everything.
    pub superuser: bool,
    /// May open a session.
    pub login: bool,
    /// The SCRAM verifier as PostgreSQL stores it, `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey`; none: no password.
    pub password: Option<String>,
    /// COMMENT ON ROLE.
    pub comment: Option<String>,
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Role { oid, name, superuser, login, password, comment } = self;
        f.debug_struct("Role")
            .field("oid", oid)
            .field("name", name)
            .field("superuser", superuser)
            .field("login", login)
            .field("password", &password.as_ref().map(|_| "***"))
            .field("comment", comment)
            .finish()
    }
}

/// A schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Its oid.
    pub oid: u32,
    /// Its name, unique inside the database.
    pub name: String,
    /// The database it is in; 0 for the built-in schemas, which are in all of them.
    pub database: u32,
    /// The oid of the role that owns it.
    pub owner: u32,
    /// COMMENT ON SCHEMA.
    pub comment: Option<String>,
    /// What clients of the Iceberg catalog have noted on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}

/// A column of a table or view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, unique in the relation.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// May it be NULL?
    pub nullable: bool,
    /// The Iceberg field id: stable, from 1 up, never reused in the table. Views number their columns likewise.
    pub field_id: i32,
    /// COMMENT ON COLUMN.
    pub comment: Option<String>,
    /// The SQL text of its default.
    pub default: Option<String>,
}

/// A table: its row in the catalog. The truth about its data is in the Iceberg metadata file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its identity in the object store and in Iceberg, for ever.
    pub id: Uuid,
    /// Its oid.
    pub oid: u32,
    /// Its name, unique among the relations of the schema.
    pub name: String,
    /// The oid of its schema.
    pub namespace: u32,
    /// The oid of the role that owns it.
    pub owner: u32,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// The Iceberg metadata file that is the head now.
    pub metadata_location: String,
    /// How many times the head was moved; 0 for a new table.
    pub version: u64,
    /// COMMENT ON TABLE.
    pub comment: Option<String>,
    /// When it was created, milliseconds since 1970, by the proposer's clock.
    pub created_ms: i64,
    /// When the head was last moved, likewise.
    pub changed_ms: i64,
    /// Its constraints, in the order they were added. NOT NULL is with the columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// The tables whose files this one may refer to, since it was cloned: those must stay as long as this does. A compaction
    /// can make it independent, but nothing here notices that.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub borrows: BTreeSet<Uuid>,
}

/// A table that was dropped and can come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedTable {
    /// Its row as it was.
    pub table: Table,
    /// The oid of its database.
    pub database: u32,
    /// The name its schema had.
    pub schema: String,
    /// When it was dropped, milliseconds since 1970, by the proposer's clock.
    pub dropped_ms: i64,
    /// DROP TABLE .. PURGE: it is remembered only until its files are removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub purged: bool,
}

/// A view: the text of its query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Its oid.
    pub oid: u32,
    /// Its name, unique among the relations of the schema.
    pub name: String,
    /// The oid of its schema.
    pub namespace: u32,
    /// The oid of the role that owns it.
    pub owner: u32,
    /// Its columns, in order, with the types they had when it was made.
    pub columns: Vec<Column>,
    /// The SQL text of the query.
    pub definition: String,
    /// The oids of the relations its query reads, sorted, each once.
    pub depends_on: Vec<u32>,
    /// COMMENT ON VIEW.
    pub comment: Option<String>,
    /// When it was created, milliseconds since 1970, by the proposer's clock.
    pub created_ms: i64,
}

/// An external table, which PostgreSQL calls foreign: files that are read where they are, and never written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignTable {
    /// Its oid.
    pub oid: u32,
    /// Its name, unique among the relations of the schema.
    pub name: String,
    /// The oid of its schema.
    pub namespace: u32,
    /// The oid of the role that owns it.
    pub owner: u32,
    /// Its columns, in order, numbered as those of a table are.
    pub columns: Vec<Column>,
    /// The files.
    pub source: ForeignSource,
    /// COMMENT ON FOREIGN TABLE.
    pub comment: Option<String>,
    /// When it was created, milliseconds since 1970, by the proposer's clock.
    pub created_ms: i64,
}

/// Which files an external table is, and how they are read. No credentials are among it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignSource {
    /// Names of files, patterns or folders, as they were given; at least one.
    pub locations: Vec<String>,
    /// `parquet`, `csv`, `json`, `text`.
    pub format: String,
    /// The options of the format and the store, as COPY has them, in the order they were given.
    pub options: Vec<ForeignOption>,
}

/// An option by its name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignOption {
    /// The name.
    pub name: String,
    /// What was said of it.
    pub value: ForeignValue,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForeignValue {
    /// The name alone.
    None,
    /// A string, a word or a number.
    Text(String),
    /// Columns.
    List(Vec<String>),
    /// All columns.
    All,
}

/// A table, a view or an external table. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// A table.
    Table(Arc<Table>),
    /// A view.
    View(Arc<View>),
    /// An external table.
    Foreign(Arc<ForeignTable>),
}

/// What kind of relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RelationKind {
    /// A table.
    Table,
    /// A view.
    View,
    /// An external table.
    Foreign,
}

impl RelationKind {
    /// The word in PostgreSQL's messages: `table`, `view`, `foreign table`.
    pub fn noun(self) -> &'static str {
        match self {
            RelationKind::Table => "table",
            RelationKind::View => "view",
            RelationKind::Foreign => "foreign table",
        }
    }
}

impl Relation {
    /// Its oid.
    pub fn oid(&self) -> u32 {
        match self {
            Relation::Table(table) => table.oid,
            Relation::View(view) => view.oid,
            Relation::Foreign(table) => table.oid,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Relation::Table(table) => &table.name,
            Relation::View(view) => &view.name,
            Relation::Foreign(table) => &table.name,
        }
    }

    /// The oid of its schema.
    pub fn namespace(&self) -> u32 {
        match self {
            Relation::Table(table) => table.namespace,
            Relation::View(view) => view.namespace,
            Relation::Foreign(table) => table.namespace,
        }
    }

    /// The oid of the role that owns it.
    pub fn owner(&self) -> u32 {
        match self {
            Relation::Table(table) => table.owner,
            Relation::View(view) => view.owner,
            Relation::Foreign(table) => table.owner,
        }
    }

    /// Its columns, in order.
    pub fn columns(&self) -> &[Column] {
        match self {
            Relation::Table(table) => &table.columns,
            Relation::View(view) => &view.columns,
            Relation::Foreign(table) => &table.columns,
        }
    }

    /// Its comment.
    pub fn comment(&self) -> Option<&str> {
        match self {
            Relation::Table(table) => table.comment.as_deref(),
            Relation::View(view) => view.comment.as_deref(),
            Relation::Foreign(table) => table.comment.as_deref(),
        }
    }

    /// What it is.
    pub fn kind(&self) -> RelationKind {
        match self {
            Relation::Table(_) => RelationKind::Table,
            Relation::View(_) => RelationKind::View,
            Relation::Foreign(_) => RelationKind::Foreign,
        }
    }

    /// Is it what a statement means by this word? TABLE means external ones too.
    pub fn is(&self, kind: RelationKind) -> bool {
        self.kind() == kind || (kind == RelationKind::Table && self.kind() == RelationKind::Foreign)
    }

    /// The table, when it is one.
    pub fn as_table(&self) -> Option<&Arc<Table>> {
        match self {
            Relation::Table(table) => Some(table),
            Relation::View(_) | Relation::Foreign(_) => None,
        }
    }

    /// The view, when it is one.
    pub fn as_view(&self) -> Option<&Arc<View>> {
        match self {
            Relation::View(view) => Some(view),
            Relation::Table(_) | Relation::Foreign(_) => None,
        }
    }

    /// The external table, when it is one.
    pub fn as_foreign(&self) -> Option<&Arc<ForeignTable>> {
        match self {
            Relation::Foreign(table) => Some(table),
            Relation::Table(_) | Relation::View(_) => None,
        }
    }

    /// The relations it reads: none for a table.
    pub fn depends_on(&self) -> &[u32] {
        match self {
            Relation::Table(_) | Relation::Foreign(_) => &[],
            Relation::View(view) => &view.depends_on,
        }
    }
}
