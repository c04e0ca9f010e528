//! What takes rows into a table, bound once: its state, its defaults and its rules, for all who write rows side by side, on this
//! node and on others.
//!
//! What always holds: what a row gets and has to satisfy was bound by the session's statement. Another node reads the expressions and
//! binds nothing itself, so it cannot understand them differently.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use datafusion::execution::session_state::SessionState;
use serde::{Deserialize, Serialize};
use wharf_catalog::{Column, Table};
use wharf_lake::{LakeTable, Version};
use wharf_values::{SqlError, TextFormat, mapping};

use crate::bind::BindContext;
use crate::copy_load::Rows;
use crate::dml::checks::{Checks, Wording};
use crate::dml::defaults::Filler;
use crate::dml::write::Target;
use crate::engine::Engine;
use crate::error::{from_datafusion, from_lake};
use crate::session::{Branch, Session, task_context};

/// A table that takes rows of some of its columns; the others get their defaults.
pub(crate) struct Intake {
    pub(crate) table: Arc<Table>,
    lake_table: Arc<LakeTable>,
    checks: Checks,
    /// The places of the columns that come; with headers, of those that can.
    provided: Vec<usize>,
    filler: Filler,
    /// The defaults of all columns, when headers say which come.
    by_name: Option<Filler>,
}

/// An [`Intake`] on its way to another node.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct WrittenIntake {
    table: Table,
    /// The state that is written to. Its branch; none: `main`.
    metadata_location: String,
    branch: Option<String>,
    /// The name of the table's schema.
    namespace: Option<String>,
    provided: Vec<usize>,
    by_name: bool,
    /// The columns whose defaults are the first of the expressions.
    defaults: Vec<usize>,
    /// The checks whose conditions are the others.
    conditions: Vec<String>,
    /// In base64; none: there are none.
    expressions: Option<String>,
}

impl Intake {
    /// The state of the table that is written to.
    pub(crate) fn lake_table(&self) -> &LakeTable {
        &self.lake_table
    }

    /// Opens a branch of a table for data that have their columns at the given places, or, `by_name`, headers that say which of these they have.
    ///
    /// # Errors
    /// What a default raises, and what the lake says.
    pub(crate) async fn open(
        session: &Session,
        table: &Arc<Table>,
        branch: Branch,
        provided: Vec<usize>,
        by_name: bool,
        context: &BindContext,
    ) -> Result<Intake, SqlError> {
        let (filler, by_name) = if by_name {
            let defaults = Filler::new(session, table, &[], context).await?;
            (defaults.giving(&provided), Some(defaults))
        } else {
            (Filler::new(session, table, &provided, context).await?, None)
        };
        let lake_table = session.open_branch(table, branch).await?;
        let checks = Checks::new(session, table, &table.constraints, Wording::Row).await?;
        Ok(Intake { table: Arc::clone(table), lake_table, checks, provided, filler, by_name })
    }

    /// Writes rows into files of their own.
    pub(crate) fn rows(&self, engine: &Engine) -> Rows {
        let target = Target::over(engine, &self.table, Arc::clone(&self.lake_table), self.checks.clone());
        let by_name = self.by_name.clone().map(|defaults| (self.provided.clone(), defaults));
        Rows::new(target, self.filler.clone(), by_name)
    }

    /// The columns that come, or can.
    pub(crate) fn columns(&self) -> Vec<&Column> {
        self.provided.iter().map(|place| &self.table.columns[*place]).collect()
    }

    /// For another node.
    ///
    /// # Errors
    /// Why this one alone can do it: a default or a check that looks at the session, say.
    pub(crate) fn write(&self, engine: &Engine, state: &SessionState) -> Result<WrittenIntake, SqlError> {
        let (defaults, mut expressions): (Vec<_>, Vec<_>) =
            self.by_name.as_ref().unwrap_or(&self.filler).defaults().unzip();
        let (conditions, checked): (Vec<_>, Vec<_>) = self.checks.conditions().iter().cloned().unzip();
        expressions.extend(checked);
        let expressions = match expressions.as_slice() {
            [] => None,
            expressions => {
                let written = engine.fanout.write_expressions(expressions, rows_of(&self.table), &task_context(state));
                Some(BASE64.encode(written.map_err(from_datafusion)?))
            }
        };
        Ok(WrittenIntake {
            table: Table::clone(&self.table),
            metadata_location: self.lake_table.metadata_location().to_owned(),
            branch: self.lake_table.branch().map(str::to_owned),
            namespace: self.checks.namespace().map(str::to_owned),
            provided: self.provided.clone(),
            by_name: self.by_name.is_some(),
            defaults,
            conditions,
            expressions,
        })
    }
}

impl WrittenIntake {
    /// Opens it on another node.
    ///
    /// # Errors
    /// What the lake says, and what no node of this version has written.
    pub(crate) async fn open(
        self,
        engine: &Engine,
        state: &SessionState,
        format: &TextFormat,
    ) -> Result<Intake, SqlError> {
        let odd = |what: &str| SqlError::internal(format!("a load of another node has {what}"));
        let count = self.table.columns.len();
        if self.provided.iter().chain(&self.defaults).any(|place| *place >= count) {
            return Err(odd("a column that its table has not"));
        }
        let mut expressions = match &self.expressions {
            Some(text) => {
                let bytes = BASE64.decode(text).map_err(|error| odd(&error.to_string()))?;
                engine.fanout.read_expressions(&bytes, &task_context(state)).map_err(from_datafusion)?
            }
            None => Vec::new(),
        };
        if expressions.len() != self.defaults.len() + self.conditions.len() {
            return Err(odd("another number of expressions than it says"));
        }
        let conditions = expressions.split_off(self.defaults.len());
        let defaults: Vec<_> = self.defaults.into_iter().zip(expressions).collect();
        let given: &[usize] = if self.by_name { &[] } else { &self.provided };
        let filler = Filler::of(count, given, &defaults).ok_or_else(|| odd("a column without a default"))?;
        let loaded = match &self.branch {
            Some(branch) => engine.warehouse.load_at(&self.metadata_location, &Version::Ref(branch.clone())).await,
            None => engine.warehouse.load(&self.metadata_location).await,
        };
        let lake_table = loaded.map_err(|error| from_lake(&error))?;
        let table = Arc::new(self.table);
        let conditions = self.conditions.into_iter().zip(conditions).collect();
        let checks = Checks::of(&table, self.namespace, conditions, format.clone(), Wording::Row);
        let (filler, by_name) = match self.by_name {
            true => (filler.giving(&self.provided), Some(filler)),
            false => (filler, None),
        };
        Ok(Intake { table, lake_table, checks, provided: self.provided, filler, by_name })
    }
}

/// The rows of a table as its checks see them.
fn rows_of(table: &Table) -> SchemaRef {
    let field = |column: &Column| mapping::field(&column.name, &column.ty, true);
    Arc::new(Schema::new(table.columns.iter().map(field).collect::<Vec<Field>>()))
}
