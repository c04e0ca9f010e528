//! Constraints of tables: checks, keys and references.
//!
//! Columns are named by field id, tables and other constraints by oid, so that a rename touches nothing here but the text of
//! a check. Which of them are enforced is the engine's business; the catalog keeps them consistent: a reference has the key it
//! refers to, a table has one primary key, names are unique.

use serde::{Deserialize, Serialize};

/// A constraint of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// Its oid; 0 in a command that makes it.
    pub oid: u32,
    /// Its name, unique in the table; that of a key is unique among the relations of the schema too.
    pub name: String,
    /// What it says.
    pub rule: Rule,
    /// False: rows that were there before it may contradict it.
    pub validated: bool,
}

/// What a constraint says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// CHECK
    Check {
        /// The SQL text of the condition, over the names of the columns.
        expression: String,
        /// The field ids of the columns in it.
        columns: Vec<i32>,
    },
    /// PRIMARY KEY, UNIQUE
    Key {
        /// PRIMARY KEY, as against UNIQUE.
        primary: bool,
        /// The field ids of its columns, in order.
        columns: Vec<i32>,
        /// The oid of the index that clients are shown; 0 in a command that makes it.
        index: u32,
        /// NULLs differ from one another.
        nulls_distinct: bool,
    },
    /// FOREIGN KEY
    Reference {
        /// The field ids of its columns, in order.
        columns: Vec<i32>,
        /// The oid of the table it refers to; 0 in a command that makes it: the table itself.
        table: u32,
        /// The field ids of the columns it refers to, in order.
        targets: Vec<i32>,
        /// The name of the key those columns are.
        key: String,
        /// ON UPDATE
        on_update: Action,
        /// ON DELETE
        on_delete: Action,
        /// MATCH FULL, as against MATCH SIMPLE.
        full: bool,
    },
}

/// What a reference says about a row that is no longer there to refer to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// NO ACTION
    #[default]
    NoAction,
    /// RESTRICT
    Restrict,
    /// CASCADE
    Cascade,
    /// SET NULL
    SetNull,
    /// SET DEFAULT
    SetDefault,
}

impl Action {
    /// The letter in `pg_constraint`.
    pub fn letter(self) -> &'static str {
        match self {
            Action::NoAction => "a",
            Action::Restrict => "r",
            Action::Cascade => "c",
            Action::SetNull => "n",
            Action::SetDefault => "d",
        }
    }

    /// The words in SQL.
    pub fn words(self) -> &'static str {
        match self {
            Action::NoAction => "NO ACTION",
            Action::Restrict => "RESTRICT",
            Action::Cascade => "CASCADE",
            Action::SetNull => "SET NULL",
            Action::SetDefault => "SET DEFAULT",
        }
    }
}

impl Constraint {
    /// The field ids of the columns of its own table that it speaks of.
    pub fn columns(&self) -> &[i32] {
        match &self.rule {
            Rule::Check { columns, .. } | Rule::Key { columns, .. } | Rule::Reference { columns, .. } => columns,
        }
    }

    /// The oid of the table that a reference refers to.
    pub(crate) fn target_mut(&mut self) -> Option<&mut u32> {
        match &mut self.rule {
            Rule::Reference { table, .. } => Some(table),
            Rule::Check { .. } | Rule::Key { .. } => None,
        }
    }

    /// Is it a PRIMARY KEY?
    pub fn is_primary(&self) -> bool {
        matches!(self.rule, Rule::Key { primary: true, .. })
    }

    /// Is it a PRIMARY KEY or UNIQUE?
    pub fn is_key(&self) -> bool {
        matches!(self.rule, Rule::Key { .. })
    }

    /// The oid of the index of a key.
    pub fn index(&self) -> Option<u32> {
        match self.rule {
            Rule::Key { index, .. } => Some(index),
            Rule::Check { .. } | Rule::Reference { .. } => None,
        }
    }
}
