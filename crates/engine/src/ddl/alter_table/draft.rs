//! A table as it is to be.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::common::ScalarValue;
use sqlparser::ast::Expr;
use wharf_catalog::{Column, Command, Constraint, Gone, Rule, Table, TableChange};
use wharf_lake::commit::{Edit, SchemaChange, Step, Uncommitted};
use wharf_lake::{Head, LakeTable};
use wharf_values::{SqlError, SqlState};

use super::super::constraints::{Place, Wanted};
use super::super::{announce, rename, table as create};
use super::{rows, views};
use crate::bind::BindContext;
use crate::constraint_text;
use crate::error::from_lake;
use crate::session::Session;

/// Where a column's values come from.
pub(super) enum Source {
    /// They are those of a column of the table, by its name.
    Old(String),
    /// They are computed of the old columns.
    Computed(Expr),
    /// They were not there before: NULL, or the value of the default.
    New(Option<Expr>),
}

pub(super) struct DraftColumn {
    pub(super) column: Column,
    pub(super) source: Source,
    /// The value that the metadata say for rows of before.
    pub(super) initial: Option<ScalarValue>,
    /// The metadata cannot say what it is in rows of before.
    pub(super) computed: bool,
}

/// A table as it is to be, and what has to be done for that.
pub(super) struct Draft {
    pub(super) context: BindContext,
    /// The table as it is.
    pub(super) table: Arc<Table>,
    pub(super) base: Arc<LakeTable>,
    /// The rows that it has, by branch.
    pub(super) heads: Vec<Head>,
    pub(super) schema: String,
    pub(super) columns: Vec<DraftColumn>,
    pub(super) constraints: Vec<Constraint>,
    next_id: i32,
    /// The rows have to be written again.
    pub(super) rewrite: bool,
    /// The field ids of columns in which the rows there are must not have NULL.
    pub(super) required: Vec<i32>,
    /// The names of the checks that the rows there are must satisfy.
    pub(super) checks: Vec<String>,
    pub(super) gone: Vec<Gone>,
    /// A column that got another name: the old one.
    pub(super) renamed: Option<String>,
    /// The names of new columns.
    pub(super) added: Vec<String>,
    /// There are new keys.
    pub(super) keys: bool,
    /// Something changes.
    pub(super) changed: bool,
    pub(super) notices: Vec<SqlError>,
}

impl Draft {
    pub(super) async fn new(session: &Session, table: Arc<Table>, context: BindContext) -> Result<Draft, SqlError> {
        let base = session.reader().open(&table).await.map_err(|error| from_lake(&error))?;
        let heads = session.engine.warehouse.heads(&base).await.map_err(|error| from_lake(&error))?;
        let namespace = context.catalog.namespace(table.namespace);
        let old = |column: &Column| DraftColumn {
            column: column.clone(),
            source: Source::Old(column.name.clone()),
            initial: None,
            computed: false,
        };
        Ok(Draft {
            schema: namespace.map(|namespace| namespace.name.clone()).unwrap_or_default(),
            columns: table.columns.iter().map(old).collect(),
            constraints: table.constraints.clone(),
            next_id: base.last_column_id() + 1,
            context,
            base,
            heads,
            table,
            rewrite: false,
            required: Vec::new(),
            checks: Vec::new(),
            gone: Vec::new(),
            renamed: None,
            added: Vec::new(),
            keys: false,
            changed: false,
            notices: Vec::new(),
        })
    }

    /// Might there be rows, in whichever branch?
    pub(super) fn has_rows(&self) -> bool {
        self.heads_with_rows().next().is_some()
    }

    /// The heads that may have rows.
    pub(super) fn heads_with_rows(&self) -> impl Iterator<Item = &Head> {
        self.heads.iter().filter(|head| head.state.row_count() != Some(0))
    }

    /// A field id that the table never had.
    pub(super) fn new_id(&mut self) -> i32 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// The columns as they are to be.
    pub(super) fn new_columns(&self) -> Vec<Column> {
        self.columns.iter().map(|column| column.column.clone()).collect()
    }

    /// The table as it is to be.
    pub(super) fn new_table(&self) -> Table {
        Table { columns: self.new_columns(), constraints: self.constraints.clone(), ..self.table.as_ref().clone() }
    }

    /// The place of a column.
    ///
    /// # Errors
    /// `42703`.
    pub(super) fn find(&self, name: &str) -> Result<usize, SqlError> {
        let found = self.columns.iter().position(|column| column.column.name == name);
        found.ok_or_else(|| {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", self.table.name);
            SqlError::new(SqlState::UNDEFINED_COLUMN, message)
        })
    }

    /// Adds a constraint.
    ///
    /// # Errors
    /// As [`Place::add`].
    pub(super) async fn add(&mut self, session: &Session, wanted: Wanted) -> Result<(), SqlError> {
        for name in wanted.primary_columns() {
            if let Ok(index) = self.find(name) {
                self.require(index);
            }
        }
        self.keys |= wanted.is_not_enforced();
        let valid = wanted.valid;
        let columns = self.new_columns();
        let place = Place {
            session,
            context: &self.context,
            table: &self.table.name,
            schema: &self.schema,
            namespace: self.table.namespace,
            oid: self.table.oid,
            columns: &columns,
        };
        let mut constraints = self.constraints.clone();
        place.add(wanted, &mut constraints).await?;
        self.constraints = constraints;
        if let Some(Constraint { name, rule: Rule::Check { .. }, .. }) = self.constraints.last()
            && valid
        {
            self.checks.push(name.clone());
        }
        self.changed = true;
        Ok(())
    }

    /// A column must not be NULL from now on.
    pub(super) fn require(&mut self, index: usize) {
        let column = &mut self.columns[index].column;
        if column.nullable {
            column.nullable = false;
            self.required.push(column.field_id);
            self.changed = true;
        }
    }

    /// Makes it so.
    ///
    /// # Errors
    /// `23502` and `23514` for rows that do not fit, `2BP01` for what depends on what goes, `40001` when somebody else was
    /// faster.
    pub(super) async fn commit(mut self, session: &mut Session) -> Result<(), SqlError> {
        for notice in std::mem::take(&mut self.notices) {
            session.notice("NOTICE", notice);
        }
        if !self.changed {
            return Ok(());
        }
        let new = self.new_table();
        let mut written = Uncommitted::new(&session.engine.warehouse);
        let mut change = self.schema_change(&new);
        if self.rewrite {
            let rewritten = self.rewrite(session, &new, &change, &mut written).await?;
            written.let_go(&rewritten.files);
            change.rewritten = Some(rewritten);
            change.checked = true;
        } else if self.has_rows() && !(self.required.is_empty() && self.checks.is_empty()) {
            for head in self.heads_with_rows() {
                self.verify(session, &new, &head.state).await.map_err(|error| rows::of_head(head, error))?;
            }
            change.checked = true;
        }
        let texts = match &self.renamed {
            Some(_) => {
                let of = wharf_catalog::RelationName::new(self.schema.clone(), self.table.name.clone());
                let renamed = rename::Renamed::Column { of, columns: &self.table.columns };
                rename::views(&self.context.catalog, [self.table.oid], &renamed)?
            }
            None => views::texts(&self)?,
        };
        if self.keys {
            create::notice_of_keys(session);
        }
        let location = self.table.metadata_location.clone();
        let command = Command::AlterTable {
            database: session.identity.database,
            columns: new.columns,
            constraints: new.constraints,
            // The step gives the real one.
            change: TableChange { id: self.table.id, expected: location.clone(), new: location, columns: None },
            views: texts,
            gone: self.gone,
            search_path: self.context.search_path.schemas().to_vec(),
        };
        let step = Step::Edit(Edit::Schema(Box::new(change)));
        let answer = session.define(command, Some((self.table.id, step)), written).await?;
        announce(session, &answer);
        Ok(())
    }

    fn schema_change(&self, new: &Table) -> SchemaChange {
        let text = |constraint: &Constraint| {
            (constraint.name.clone(), constraint_text::definition(constraint, new, &self.context.catalog))
        };
        let primary = |table: &Table| {
            let key = table.constraints.iter().find(|constraint| constraint.is_primary());
            key.map(|key| key.columns().to_vec())
        };
        let initial = |column: &DraftColumn| Some((column.column.field_id, column.initial.clone()?));
        SchemaChange {
            columns: new.columns.clone(),
            // Without a primary key it stays what another engine may have said.
            identifier: primary(new).or_else(|| primary(&self.table).map(|_| Vec::new())),
            constraints: new.constraints.iter().map(text).collect::<BTreeMap<_, _>>(),
            initial: self.columns.iter().filter_map(initial).collect::<HashMap<_, _>>(),
            computed: self.columns.iter().filter(|new| new.computed).map(|new| new.column.field_id).collect(),
            checked: self.rewrite || !self.has_rows(),
            rewritten: None,
            made_of: Some(Arc::clone(&self.base)),
        }
    }
}
