//! The tables that random queries read, and their rows.
//!
//! Two small tables and an empty one; values come from small sets, so that joins find partners. `id` is unique in each. The
//! declared types differ from the types that expressions are made by (`varchar(10)` is a text, `numeric(10,2)` a numeric).

use fastrand::Rng;

use super::types::SqlType;

/// A column as expressions see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) ty: SqlType,
    pub(super) not_null: bool,
}

impl Column {
    /// One that may be NULL.
    pub(super) fn nullable(name: impl Into<String>, ty: SqlType) -> Column {
        Column { name: name.into(), ty, not_null: false }
    }
}

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: Vec<Column>,
    declaration: String,
    rows: usize,
}

/// The name of the copy that INSERT, UPDATE and DELETE change.
pub(super) const CHANGED: &str = "changed";
/// One in so many values is NULL.
const NULL_SHARE: usize = 5;

type Declared = (&'static str, &'static str, SqlType);

const WIDE: &[Declared] = &[
    ("id", "int NOT NULL", SqlType::Int),
    ("i", "int", SqlType::Int),
    ("b", "bigint", SqlType::Big),
    ("s", "smallint", SqlType::Small),
    ("f", "double precision", SqlType::Float),
    ("r", "real", SqlType::Real),
    ("n", "numeric(10,2)", SqlType::Numeric),
    ("t", "text", SqlType::Text),
    ("v", "varchar(10)", SqlType::Text),
    ("bo", "boolean", SqlType::Bool),
    ("d", "date", SqlType::Date),
    ("ti", "time", SqlType::Time),
    ("ts", "timestamp", SqlType::Timestamp),
    ("tz", "timestamptz", SqlType::TimestampTz),
    ("uu", "uuid", SqlType::Uuid),
    ("ba", "bytea", SqlType::Bytea),
    ("ar", "int[]", SqlType::IntArray),
    ("g", "int NOT NULL", SqlType::Int),
    ("u", "text NOT NULL", SqlType::Text),
];
const NARROW: &[Declared] = &[
    ("id", "int NOT NULL", SqlType::Int),
    ("i", "int", SqlType::Int),
    ("t", "text", SqlType::Text),
    ("n", "numeric(8,3)", SqlType::Numeric),
    ("d", "date", SqlType::Date),
    ("g", "int NOT NULL", SqlType::Int),
    ("bo", "boolean NOT NULL", SqlType::Bool),
];
const EMPTY: &[Declared] =
    &[("id", "int NOT NULL", SqlType::Int), ("i", "int", SqlType::Int), ("t", "text", SqlType::Text)];

/// The tables.
pub(super) fn tables() -> Vec<Table> {
    vec![Table::new("a", WIDE, 14), Table::new("c", NARROW, 8), Table::new("e", EMPTY, 0)]
}

impl Table {
    fn new(name: &'static str, declared: &[Declared], rows: usize) -> Table {
        let column = |(name, declaration, ty): &Declared| Column {
            name: (*name).to_owned(),
            ty: *ty,
            not_null: declaration.ends_with("NOT NULL"),
        };
        let declaration = declared.iter().map(|(name, declaration, _)| format!("{name} {declaration}"));
        Table {
            name,
            columns: declared.iter().map(column).collect(),
            declaration: declaration.collect::<Vec<_>>().join(", "),
            rows,
        }
    }

    /// A table of this name with the same columns.
    pub(super) fn copied_as(&self, name: &'static str) -> Table {
        Table { name, ..self.clone() }
    }

    /// The statements that make and fill it. An INSERT is one row, so that Wharf reads several files.
    pub(super) fn statements(&self, random: &mut Rng) -> Vec<String> {
        let mut statements = vec![format!("CREATE TABLE {} ({})", self.name, self.declaration)];
        for row in 0..self.rows {
            let values: Vec<String> = self.columns.iter().map(|column| self.value(column, row, random)).collect();
            statements.push(format!("INSERT INTO {} VALUES ({})", self.name, values.join(", ")));
        }
        statements
    }

    fn value(&self, column: &Column, row: usize, random: &mut Rng) -> String {
        match column.name.as_str() {
            // The narrow table has every second number, so joins on `id` find some.
            "id" if self.columns.len() == NARROW.len() => (row * 2).to_string(),
            "id" => row.to_string(),
            "g" => (row % 4).to_string(),
            _ if !column.not_null && random.usize(..NULL_SHARE) == 0 => "NULL".to_owned(),
            _ => column.ty.literal(random),
        }
    }
}
