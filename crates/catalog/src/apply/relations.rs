//! Tables and views: making, renaming, and moving the heads of tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::{Change, invalid, is_missing, wrong_type};
use crate::command::{Command, Effect, RelationName, TableChange, ViewText};
use crate::error::CatalogError;
use crate::model::{Column, ForeignTable, Namespace, Relation, RelationKind, Table, View};

/// PostgreSQL's `MaxHeapAttributeNumber`.
const MAX_COLUMNS: usize = 1600;

/// The parts that tables and views have in common, while one is changed.
pub(super) struct Parts<'a> {
    pub(super) name: &'a mut String,
    pub(super) columns: &'a mut Vec<Column>,
    pub(super) comment: &'a mut Option<String>,
}

impl Change {
    /// Puts a changed copy of a relation in its place; returns its oid.
    pub(super) fn update_relation(&mut self, relation: &Relation, change: impl FnOnce(Parts<'_>)) -> u32 {
        let changed = match relation {
            Relation::Table(table) => {
                let mut table = table.as_ref().clone();
                let Table { name, columns, comment, .. } = &mut table;
                change(Parts { name, columns, comment });
                Relation::Table(Arc::new(table))
            }
            Relation::View(view) => {
                let mut view = view.as_ref().clone();
                let View { name, columns, comment, .. } = &mut view;
                change(Parts { name, columns, comment });
                Relation::View(Arc::new(view))
            }
            Relation::Foreign(table) => {
                let mut table = table.as_ref().clone();
                let ForeignTable { name, columns, comment, .. } = &mut table;
                change(Parts { name, columns, comment });
                Relation::Foreign(Arc::new(table))
            }
        };
        self.state.put_relation(changed);
        relation.oid()
    }

    pub(super) fn create_table(&mut self, command: &Command) -> Result<Effect, CatalogError> {
        let Command::CreateTable { database, id, name, columns, metadata_location, owner, if_not_exists, constraints } =
            command
        else {
            return Err(invalid("not CREATE TABLE"));
        };
        let namespace = self.namespace_for_creation(*database, name)?;
        self.check_owner(*owner)?;
        if self.is_taken(namespace.oid, &name.name, None) {
            let error = CatalogError::DuplicateRelation { name: name.name.clone() };
            if !*if_not_exists {
                return Err(error);
            }
            self.skip(&error);
            return Ok(Effect::Nothing);
        }
        check_columns(columns)?;
        if self.state.table_by_id(*id).is_some() {
            return Err(invalid(format!("table id {id} is taken")));
        }
        let oid = self.state.allocate_oid()?;
        let constraints = self.numbered(constraints, &[], oid, namespace.oid, columns)?;
        self.state.put_relation(Relation::Table(Arc::new(Table {
            constraints,
            id: *id,
            oid,
            name: name.name.clone(),
            namespace: namespace.oid,
            owner: *owner,
            columns: columns.clone(),
            metadata_location: metadata_location.clone(),
            version: 0,
            comment: None,
            created_ms: self.now_ms,
            changed_ms: self.now_ms,
            borrows: BTreeSet::new(),
        })));
        // One that was dropped, and is there again by its metadata.
        self.state.remove_dropped(*id);
        Ok(Effect::Created { oid })
    }

    pub(super) fn create_view(&mut self, command: &Command) -> Result<Effect, CatalogError> {
        let Command::CreateView { database, name, columns, definition, depends_on, owner, or_replace } = command else {
            return Err(invalid("not CREATE VIEW"));
        };
        let namespace = self.namespace_for_creation(*database, name)?;
        self.check_owner(*owner)?;
        check_columns(columns)?;
        let depends_on = depends_on.iter().copied().collect::<BTreeSet<_>>();
        if let Some(missing) = depends_on.iter().find(|oid| self.state.relation_by_oid(**oid).is_none()) {
            return Err(CatalogError::UndefinedRelationOid { oid: *missing });
        }
        let mut view = View {
            oid: 0,
            name: name.name.clone(),
            namespace: namespace.oid,
            owner: *owner,
            columns: columns.clone(),
            definition: definition.clone(),
            depends_on: depends_on.into_iter().collect(),
            comment: None,
            created_ms: self.now_ms,
        };
        match self.state.relation(namespace.oid, &name.name).cloned() {
            None if self.is_taken(namespace.oid, &name.name, None) => {
                return Err(CatalogError::DuplicateRelation { name: name.name.clone() });
            }
            None => view.oid = self.state.allocate_oid()?,
            Some(_) if !*or_replace => {
                return Err(CatalogError::DuplicateRelation { name: name.name.clone() });
            }
            Some(Relation::Table(_) | Relation::Foreign(_)) => return Err(wrong_type(&name.name, RelationKind::View)),
            Some(Relation::View(old)) => {
                check_replacement(&old.columns, &view.columns)?;
                if self.reads(&view.depends_on, old.oid) {
                    return Err(CatalogError::RecursiveView { name: name.name.clone() });
                }
                // The view stays the object it was: only its query is new.
                for (column, old) in view.columns.iter_mut().zip(&old.columns) {
                    column.comment.clone_from(&old.comment);
                }
                view = View {
                    oid: old.oid,
                    owner: old.owner,
                    comment: old.comment.clone(),
                    created_ms: old.created_ms,
                    ..view
                };
            }
        }
        let oid = view.oid;
        self.state.put_relation(Relation::View(Arc::new(view)));
        Ok(Effect::Created { oid })
    }

    /// Does any of these relations read the target, directly or through views?
    fn reads(&self, relations: &[u32], target: u32) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = relations.to_vec();
        while let Some(oid) = open.pop() {
            if oid == target {
                return true;
            }
            if seen.insert(oid) {
                open.extend(self.state.relation_by_oid(oid).map(Relation::depends_on).unwrap_or_default());
            }
        }
        false
    }

    pub(super) fn rename_relation(&mut self, command: &Command) -> Result<Effect, CatalogError> {
        let Command::RenameRelation { database, kind, name, new_name, if_exists, views } = command else {
            return Err(invalid("not RENAME"));
        };
        let (database, kind, if_exists) = (*database, *kind, *if_exists);
        let relation = match self.relation(database, name) {
            Err(error) if if_exists && is_missing(&error) => {
                self.skip(&error);
                return Ok(Effect::Nothing);
            }
            found => found?,
        };
        // ALTER TABLE is allowed for views in PostgreSQL, ALTER VIEW for nothing but views.
        if kind != RelationKind::Table && !relation.is(kind) {
            return Err(wrong_type(&name.name, kind));
        }
        if self.is_taken(relation.namespace(), new_name, None) {
            return Err(CatalogError::DuplicateRelation { name: new_name.to_owned() });
        }
        let object = format!("{} {}", relation.kind().noun(), relation.name());
        self.rewrite_views(&object, [relation.oid()], views)?;
        let oid = self.update_relation(&relation, |parts| parts.name.clone_from(new_name));
        Ok(Effect::Changed { oid })
    }

    pub(super) fn rename_column(&mut self, command: &Command) -> Result<Effect, CatalogError> {
        let Command::RenameColumn { database, name, column, new_column, change, if_exists, views } = command else {
            return Err(invalid("not RENAME COLUMN"));
        };
        let relation = match self.relation(*database, name) {
            Err(error) if *if_exists && is_missing(&error) => {
                self.skip(&error);
                return Ok(Effect::Nothing);
            }
            found => found?,
        };
        let position = relation.columns().iter().position(|known| known.name == *column);
        let position = position.ok_or_else(|| CatalogError::UndefinedColumn { column: column.clone() })?;
        if relation.columns().iter().any(|known| known.name == *new_column) {
            return Err(CatalogError::ColumnExists { column: new_column.clone(), relation: name.name.clone() });
        }
        let object = format!("column {column} of {} {}", relation.kind().noun(), name.name);
        self.rewrite_views(&object, [relation.oid()], views)?;
        let relation = match (&relation, change) {
            (Relation::Table(table), Some(change)) if change.id == table.id => {
                self.move_head(change)?;
                // The head has just been moved, so this is the row to change.
                self.relation(*database, name)?
            }
            (Relation::View(_), None) => relation,
            _ => {
                return Err(invalid("a column rename has the change of its table, and none for a view"));
            }
        };
        let oid = self.update_relation(&relation, |parts| parts.columns[position].name.clone_from(new_column));
        Ok(Effect::Changed { oid })
    }

    /// The text of a view's query names what it reads: whoever renames that brings the new text of every view that
    /// reads it, made from the text the view still has.
    pub(super) fn rewrite_views(
        &mut self,
        object: &str,
        relations: impl IntoIterator<Item = u32>,
        texts: &[ViewText],
    ) -> Result<(), CatalogError> {
        let readers = relations.into_iter().flat_map(|oid| self.state.dependents(oid)).collect::<BTreeSet<_>>();
        let mut rewritten = Vec::new();
        let mut broken = Vec::new();
        for view in readers.iter().filter_map(|oid| self.state.relation_by_oid(*oid)?.as_view()) {
            match texts.iter().find(|text| text.oid == view.oid && text.expected == view.definition) {
                Some(text) => rewritten.push(View { definition: text.definition.clone(), ..view.as_ref().clone() }),
                None => {
                    let schema = self.state.namespace(view.namespace).map(|namespace| namespace.name.as_str());
                    broken.push(format!("{}.{}", schema.unwrap_or_default(), view.name));
                }
            }
        }
        if !broken.is_empty() {
            return Err(CatalogError::RenameBreaksViews { object: object.to_owned(), views: broken });
        }
        for view in rewritten {
            self.state.put_relation(Relation::View(Arc::new(view)));
        }
        Ok(())
    }

    pub(super) fn commit_tables(&mut self, changes: &[TableChange]) -> Result<Effect, CatalogError> {
        let tables = changes.iter().map(|change| change.id).collect::<BTreeSet<Uuid>>();
        if tables.len() != changes.len() || changes.is_empty() {
            return Err(invalid("a commit names each of its tables once, and at least one"));
        }
        let versions = changes.iter().map(|change| self.move_head(change)).collect::<Result<Vec<_>, _>>()?;
        Ok(Effect::Committed { versions })
    }

    /// Compare-and-swap of one head; returns the new version.
    pub(super) fn move_head(&mut self, change: &TableChange) -> Result<u64, CatalogError> {
        let table = self.state.table_by_id(change.id).ok_or(CatalogError::TableDropped { id: change.id })?;
        if table.metadata_location != change.expected {
            return Err(conflict(table));
        }
        if change.new == change.expected {
            return Err(invalid("a commit has a new metadata file"));
        }
        let version = table.version + 1;
        let mut moved =
            Table { metadata_location: change.new.clone(), version, changed_ms: self.now_ms, ..table.as_ref().clone() };
        if let Some(columns) = &change.columns {
            check_columns(columns)?;
            moved.columns.clone_from(columns);
        }
        self.state.put_relation(Relation::Table(Arc::new(moved)));
        Ok(version)
    }

    /// Is everything as the other commands of a batch were made for?
    pub(super) fn expect(&self, definitions: Option<u64>, heads: &[(Uuid, String)]) -> Result<Effect, CatalogError> {
        if definitions.is_some_and(|definitions| definitions != self.state.definitions()) {
            return Err(CatalogError::DefinitionsChanged);
        }
        for (id, expected) in heads {
            let table = self.state.table_by_id(*id).ok_or(CatalogError::TableDropped { id: *id })?;
            if table.metadata_location != *expected {
                return Err(conflict(table));
            }
        }
        Ok(Effect::Nothing)
    }

    /// The schema that a relation is made in.
    pub(super) fn namespace_for_creation(
        &self,
        database: u32,
        name: &RelationName,
    ) -> Result<Arc<Namespace>, CatalogError> {
        let namespace = self.namespace(database, &name.schema)?;
        if namespace.database == 0 {
            let object = format!("{}.{}", name.schema, name.name);
            return Err(CatalogError::SystemSchema { action: "create".to_owned(), object });
        }
        Ok(namespace)
    }
}

fn conflict(table: &Table) -> CatalogError {
    CatalogError::CommitConflict { id: table.id, table: table.name.clone(), current: table.metadata_location.clone() }
}

/// What holds for the columns of any relation.
pub(super) fn check_columns(columns: &[Column]) -> Result<(), CatalogError> {
    if columns.len() > MAX_COLUMNS {
        return Err(CatalogError::TooManyColumns { limit: MAX_COLUMNS });
    }
    let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for column in columns {
        if !names.insert(&column.name) {
            return Err(CatalogError::DuplicateColumn { name: column.name.clone() });
        }
        if column.field_id < 1 || !ids.insert(column.field_id) {
            return Err(invalid(format!("field id {} of column \"{}\"", column.field_id, column.name)));
        }
    }
    Ok(())
}

/// CREATE OR REPLACE VIEW keeps the columns there are and may add more after them.
fn check_replacement(old: &[Column], new: &[Column]) -> Result<(), CatalogError> {
    if new.len() < old.len() {
        return Err(CatalogError::ViewDropsColumns);
    }
    for (old, new) in old.iter().zip(new) {
        if old.name != new.name {
            return Err(CatalogError::ViewRenamesColumn { from: old.name.clone(), to: new.name.clone() });
        }
        if old.ty != new.ty {
            return Err(CatalogError::ViewRetypesColumn {
                column: old.name.clone(),
                from: old.ty.to_string(),
                to: new.ty.to_string(),
            });
        }
    }
    Ok(())
}
