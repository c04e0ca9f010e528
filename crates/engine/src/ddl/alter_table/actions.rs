//! The changes, one by one, on the draft of a table.

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Expr as LogicalExpr, Volatility};
use sqlparser::ast::{self, AlterColumnOperation, AlterTableOperation, DropBehavior, Expr};
use wharf_catalog::{Column, Constraint, Gone, Rule, SqlType};
use wharf_lake::LakeTable;
use wharf_values::{SqlError, SqlState};

use super::super::{constraints, table as create};
use super::draft::{Draft, DraftColumn, Source};
use super::{rows, views};
use crate::bind::names::fold;
use crate::bind::types::sql_type_of_ast;
use crate::dml::{constants, defaults};
use crate::error::from_datafusion;
use crate::names::quoted;
use crate::session::Session;

/// The columns that every table of PostgreSQL has.
const SYSTEM_COLUMNS: &[&str] = &["tableoid", "cmax", "xmax", "cmin", "xmin", "ctid"];

impl Draft {
    /// Makes a change.
    ///
    /// # Errors
    /// What PostgreSQL raises.
    pub(super) async fn change(&mut self, session: &Session, operation: &AlterTableOperation) -> Result<(), SqlError> {
        match operation {
            AlterTableOperation::AddColumn { if_not_exists, column_def, column_position: None, .. } => {
                self.add_column(session, column_def, *if_not_exists).await
            }
            AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior, .. } => {
                let cascade = matches!(drop_behavior, Some(DropBehavior::Cascade));
                for name in column_names {
                    self.drop_column(&fold(name), *if_exists, cascade)?;
                }
                Ok(())
            }
            AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
                self.rename_column(fold(old_column_name), fold(new_column_name))
            }
            AlterTableOperation::AlterColumn { column_name, op } => {
                self.alter_column(session, &fold(column_name), op).await
            }
            AlterTableOperation::AddConstraint { constraint, not_valid } => {
                let mut wanted = constraints::of_table(constraint, "ALTER TABLE")?;
                wanted.valid = !not_valid;
                self.add(session, wanted).await
            }
            AlterTableOperation::DropConstraint { if_exists, name, drop_behavior } => {
                let cascade = matches!(drop_behavior, Some(DropBehavior::Cascade));
                self.drop_constraint(&fold(name), *if_exists, cascade)
            }
            AlterTableOperation::RenameConstraint { old_name, new_name } => {
                self.rename_constraint(&fold(old_name), fold(new_name))
            }
            AlterTableOperation::ValidateConstraint { name } => self.validate(&fold(name)),
            other => Err(SqlError::unsupported(format!("ALTER TABLE .. {other} is not supported"))
                .with_hint("docs/postgres-compatibility.md lists what ALTER TABLE can change.")),
        }
    }

    async fn add_column(
        &mut self,
        session: &Session,
        definition: &ast::ColumnDef,
        if_not_exists: bool,
    ) -> Result<(), SqlError> {
        let mut column = create::column(definition)?;
        if SYSTEM_COLUMNS.contains(&column.name.as_str()) {
            let message = format!("column name \"{}\" conflicts with a system column name", column.name);
            return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
        }
        if self.columns.iter().any(|other| other.column.name == column.name) {
            let message = format!("column \"{}\" of relation \"{}\" already exists", column.name, self.table.name);
            if !if_not_exists {
                return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
            }
            self.notices.push(SqlError::new(SqlState::DUPLICATE_COLUMN, format!("{message}, skipping")));
            return Ok(());
        }
        column.field_id = self.new_id();
        let mut added = DraftColumn { column, source: Source::New(None), initial: None, computed: false };
        if let Some(text) = &added.column.default {
            let written = constants::parse(text)?;
            let bound = defaults::bind(session, written.clone(), &added.column, &self.context).await?;
            // Rows of a snapshot that is no branch's may become current again.
            if self.base.has_snapshots() {
                let value = match is_volatile(&bound)? {
                    true => None,
                    false => Some(constant(&bound, &self.context)?),
                };
                match value {
                    Some(value) if value.is_null() => {}
                    Some(value) if LakeTable::can_be_initial(&added.column, &value) => {
                        added.source = Source::New(Some(written));
                        added.initial = Some(value);
                        self.rewrite |= !self.base.has_initial_values() && self.has_rows();
                    }
                    _ => {
                        added.source = Source::New(Some(written));
                        added.computed = true;
                        self.rewrite |= self.has_rows();
                    }
                }
            }
        }
        if !added.column.nullable {
            self.required.push(added.column.field_id);
        }
        self.added.push(added.column.name.clone());
        self.columns.push(added);
        self.changed = true;
        let mut wanted = constraints::of_column(definition)?;
        wanted.sort_by_key(constraints::Wanted::order);
        for wanted in wanted {
            self.add(session, wanted).await?;
        }
        Ok(())
    }

    fn drop_column(&mut self, name: &str, if_exists: bool, cascade: bool) -> Result<(), SqlError> {
        if SYSTEM_COLUMNS.contains(&name) {
            return Err(SqlError::unsupported(format!("cannot drop system column \"{name}\""))
                .with_hint("Name a column that the table was given."));
        }
        let index = match self.find(name) {
            Err(error) if if_exists => {
                let message = format!("{error}, skipping");
                self.notices.push(SqlError::new(SqlState::SUCCESSFUL_COMPLETION, message));
                return Ok(());
            }
            found => found?,
        };
        let id = self.columns[index].column.field_id;
        if self.base.is_laid_out_by(id) {
            let table = &self.table.name;
            let message = format!(
                "cannot drop column \"{name}\" because it is part of the partition key of relation \"{table}\""
            );
            return Err(SqlError::new(SqlState::INVALID_TABLE_DEFINITION, message));
        }
        if self.columns.len() == 1 {
            return Err(SqlError::unsupported("a table without columns is not supported")
                .with_hint("Add another column first."));
        }
        let object = format!("column {name} of table {}", self.table.name);
        self.gone.push(Gone {
            depended_on: object.clone(),
            object,
            column: Some(id),
            views: views::users(self, name)?,
            cascade,
        });
        self.constraints.retain(|constraint| !constraint.columns().contains(&id));
        self.columns.remove(index);
        self.changed = true;
        Ok(())
    }

    fn rename_column(&mut self, old: String, new: String) -> Result<(), SqlError> {
        let found = self.columns.iter().position(|column| column.column.name == old);
        let index = found
            .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_COLUMN, format!("column \"{old}\" does not exist")))?;
        if self.columns.iter().any(|column| column.column.name == new) {
            let message = format!("column \"{new}\" of relation \"{}\" already exists", self.table.name);
            return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
        }
        let id = self.columns[index].column.field_id;
        for constraint in &mut self.constraints {
            if let Rule::Check { expression, columns } = &mut constraint.rule
                && columns.contains(&id)
            {
                *expression = constraints::renamed(expression, &[(old.as_str(), new.as_str())])?;
            }
        }
        self.columns[index].column.name = new;
        self.renamed = Some(old);
        self.changed = true;
        Ok(())
    }

    async fn alter_column(
        &mut self,
        session: &Session,
        name: &str,
        operation: &AlterColumnOperation,
    ) -> Result<(), SqlError> {
        let index = self.find(name)?;
        match operation {
            AlterColumnOperation::SetNotNull => self.require(index),
            AlterColumnOperation::DropNotNull => {
                let column = &mut self.columns[index].column;
                let in_key = |key: &Constraint| key.is_primary() && key.columns().contains(&column.field_id);
                if self.constraints.iter().any(in_key) {
                    let message = format!("column \"{name}\" is in a primary key");
                    return Err(SqlError::new(SqlState::INVALID_TABLE_DEFINITION, message));
                }
                self.changed |= !column.nullable;
                column.nullable = true;
            }
            AlterColumnOperation::SetDefault { value } => {
                let mut value = value.clone();
                crate::syntax::make_printable(&mut value);
                let column = &mut self.columns[index].column;
                defaults::bind(session, value.clone(), column, &self.context).await?;
                column.default = Some(value.to_string());
                self.changed = true;
            }
            AlterColumnOperation::DropDefault => {
                let column = &mut self.columns[index].column;
                self.changed |= column.default.take().is_some();
            }
            AlterColumnOperation::SetDataType { data_type, using, .. } => {
                self.set_type(session, index, sql_type_of_ast(data_type)?, using.as_ref()).await?;
            }
            AlterColumnOperation::AddGenerated { .. } => {
                return Err(SqlError::unsupported("identity columns are not supported")
                    .with_hint("Use DEFAULT gen_random_uuid(), or numbers that the client chooses."));
            }
        }
        Ok(())
    }

    async fn set_type(
        &mut self,
        session: &Session,
        index: usize,
        ty: SqlType,
        using: Option<&Expr>,
    ) -> Result<(), SqlError> {
        let before = self.columns[index].column.clone();
        let name = before.name.clone();
        let Source::Old(old_name) = &self.columns[index].source else {
            return Err(SqlError::unsupported(format!("cannot alter type of column \"{name}\" twice"))
                .with_hint("Give the last type alone."));
        };
        let readers = views::users(self, old_name)?;
        if let Some(view) = readers.first().and_then(|oid| self.context.catalog.relation_by_oid(*oid)) {
            let message = "cannot alter type of a column used by a view or rule";
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
                .with_detail(format!("rule _RETURN on view {} depends on column \"{name}\"", view.name()))
                .with_hint("Drop the view first, and create it again afterwards."));
        }
        let mut column = Column { ty: ty.clone(), ..before.clone() };
        create::check_storable(&column)?;
        let expr = using.cloned().unwrap_or_else(|| Expr::Identifier(quoted(old_name)));
        rows::check_conversion(self, session, expr.clone(), &column, using.is_some()).await?;
        if let Some(text) = &column.default {
            defaults::bind(session, constants::parse(text)?, &column, &self.context).await.map_err(|error| {
                if error.code != SqlState::DATATYPE_MISMATCH {
                    return error;
                }
                let message = format!("default for column \"{name}\" cannot be cast automatically to type {ty}");
                SqlError::new(SqlState::DATATYPE_MISMATCH, message)
            })?;
        }
        let old_id = before.field_id;
        let in_checks = |constraint: &&Constraint| {
            matches!(constraint.rule, Rule::Check { .. }) && constraint.columns().contains(&old_id)
        };
        let checks: Vec<String> =
            self.constraints.iter().filter(in_checks).map(|constraint| constraint.name.clone()).collect();
        if using.is_none() && keeps_values(&before.ty, &ty) {
            self.columns[index].column = column;
        } else {
            if self.base.is_laid_out_by(old_id) {
                let table = &self.table.name;
                let message = format!(
                    "cannot alter column \"{name}\" because it is part of the partition key of relation \"{table}\""
                );
                return Err(SqlError::new(SqlState::INVALID_TABLE_DEFINITION, message));
            }
            if self.context.catalog.referrers(self.table.oid).next().is_some()
                && self.constraints.iter().any(|key| key.is_key() && key.columns().contains(&old_id))
            {
                return Err(SqlError::unsupported("cannot alter the type of a column that a foreign key refers to")
                    .with_hint("Drop the foreign key first."));
            }
            // Iceberg knows a column by its field id, which keeps its type: the old files and snapshots have the old one.
            column.field_id = self.new_id();
            self.renumber(old_id, column.field_id);
            self.rewrite |= self.has_rows();
            let computed = self.base.has_snapshots();
            self.columns[index] = DraftColumn { column, source: Source::Computed(expr), initial: None, computed };
        }
        self.checks.extend(checks);
        self.changed = true;
        Ok(())
    }

    /// A column has another field id from now on.
    fn renumber(&mut self, old: i32, new: i32) {
        let own = self.table.oid;
        for constraint in &mut self.constraints {
            let (columns, targets) = match &mut constraint.rule {
                Rule::Reference { columns, targets, table, .. } if *table == own => (columns, Some(targets)),
                Rule::Check { columns, .. } | Rule::Key { columns, .. } | Rule::Reference { columns, .. } => {
                    (columns, None)
                }
            };
            let ids = columns.iter_mut().chain(targets.into_iter().flatten());
            ids.filter(|id| **id == old).for_each(|id| *id = new);
        }
        self.required.iter_mut().filter(|id| **id == old).for_each(|id| *id = new);
    }

    fn drop_constraint(&mut self, name: &str, if_exists: bool, cascade: bool) -> Result<(), SqlError> {
        let Some(index) = self.constraints.iter().position(|constraint| constraint.name == name) else {
            let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", self.table.name);
            if !if_exists {
                return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message));
            }
            self.notices.push(SqlError::new(SqlState::SUCCESSFUL_COMPLETION, format!("{message}, skipping")));
            return Ok(());
        };
        let constraint = self.constraints.remove(index);
        if constraint.is_key() {
            let own = self.table.oid;
            let refers = |other: &Constraint| matches!(&other.rule, Rule::Reference { table, key, .. } if *table == own && *key == constraint.name);
            // A reference of the table to itself goes with it.
            if cascade {
                self.constraints.retain(|other| !refers(other));
            } else if let Some(other) = self.constraints.iter().find(|other| refers(other)) {
                let table = &self.table.name;
                let message =
                    format!("cannot drop constraint {name} on table {table} because other objects depend on it");
                return Err(SqlError::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
                    .with_detail(format!("constraint {} on table {table} depends on index {name}", other.name))
                    .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
            }
            self.gone.push(Gone {
                object: format!("constraint {name} on table {}", self.table.name),
                depended_on: format!("index {name}"),
                column: None,
                views: Vec::new(),
                cascade,
            });
        }
        self.changed = true;
        Ok(())
    }

    fn rename_constraint(&mut self, old: &str, new: String) -> Result<(), SqlError> {
        let table = &self.table.name;
        let Some(index) = self.constraints.iter().position(|constraint| constraint.name == old) else {
            let message = format!("constraint \"{old}\" for table \"{table}\" does not exist");
            return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message));
        };
        let is_key = self.constraints[index].is_key();
        let catalog = &self.context.catalog;
        let taken = catalog.relation(self.table.namespace, &new).is_some()
            || catalog.key_table(self.table.namespace, &new).is_some();
        if is_key && taken {
            return Err(SqlError::new(SqlState::DUPLICATE_TABLE, format!("relation \"{new}\" already exists")));
        }
        if self.constraints.iter().any(|constraint| constraint.name == new) {
            let message = format!("constraint \"{new}\" for relation \"{table}\" already exists");
            return Err(SqlError::new(SqlState::DUPLICATE_OBJECT, message));
        }
        if is_key && catalog.referrers(self.table.oid).next().is_some() {
            return Err(SqlError::unsupported("cannot rename a key that a foreign key may refer to")
                .with_hint("Drop the foreign key first."));
        }
        for constraint in &mut self.constraints {
            if let Rule::Reference { table, key, .. } = &mut constraint.rule
                && *table == self.table.oid
                && key == old
            {
                key.clone_from(&new);
            }
        }
        self.constraints[index].name = new;
        self.changed = true;
        Ok(())
    }

    fn validate(&mut self, name: &str) -> Result<(), SqlError> {
        let table = &self.table.name;
        let Some(constraint) = self.constraints.iter_mut().find(|constraint| constraint.name == name) else {
            let message = format!("constraint \"{name}\" of relation \"{table}\" does not exist");
            return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message));
        };
        if constraint.is_key() {
            let message =
                format!("constraint \"{name}\" of relation \"{table}\" is not a foreign key or check constraint");
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        if !constraint.validated {
            constraint.validated = true;
            self.changed = true;
            if matches!(constraint.rule, Rule::Check { .. }) {
                self.checks.push(name.to_owned());
            }
        }
        Ok(())
    }
}

/// Are the values of the one type, as they are stored, values of the other? Iceberg promotes the types that differ there.
fn keeps_values(from: &SqlType, to: &SqlType) -> bool {
    use SqlType as T;
    match (from, to) {
        (from, to) if from == to => true,
        (T::SmallInt, T::Integer | T::BigInt) | (T::Integer, T::BigInt) | (T::Real, T::Double) => true,
        (T::Numeric(Some((from, from_scale))), T::Numeric(Some((to, to_scale)))) => {
            from_scale == to_scale && from <= to
        }
        (T::Varchar(Some(from)), T::Varchar(Some(to))) => from <= to,
        (T::Varchar(_) | T::Text, T::Text | T::Varchar(None)) => true,
        // The blanks that fill a char(n) are not stored.
        (T::Char(_), T::Text | T::Varchar(None)) => true,
        (T::Char(from), T::Char(to)) => from <= to,
        _ => false,
    }
}

/// Does the value differ from row to row?
fn is_volatile(expr: &LogicalExpr) -> Result<bool, SqlError> {
    let volatile = |expr: &LogicalExpr| {
        Ok(
            matches!(expr, LogicalExpr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Volatile),
        )
    };
    expr.exists(volatile).map_err(from_datafusion)
}

/// The value of an expression without columns.
fn constant(expr: &LogicalExpr, context: &crate::bind::BindContext) -> Result<ScalarValue, SqlError> {
    let physical = context.session.create_physical_expr(expr.clone(), &datafusion::common::DFSchema::empty());
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
    let schema = std::sync::Arc::new(arrow::datatypes::Schema::empty());
    let row = arrow::array::RecordBatch::try_new_with_options(schema, Vec::new(), &options)
        .map_err(|error| SqlError::internal(error.to_string()))?;
    let value = physical.and_then(|physical| physical.evaluate(&row)?.into_array(1)).map_err(from_datafusion)?;
    ScalarValue::try_from_array(&value, 0).map_err(from_datafusion)
}
