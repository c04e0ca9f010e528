//! ALTER TABLE of columns and constraints, SET SCHEMA and OWNER TO.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::drops::Wording;
use super::relations::check_columns;
use super::{Change, invalid, is_missing, wrong_type};
use crate::command::{Command, Effect, Gone, RelationName, ViewText};
use crate::constraint::{Constraint, Rule};
use crate::error::{CatalogError, listing};
use crate::model::{Column, ForeignTable, Relation, RelationKind, Table, View};

impl Change {
    pub(super) fn alter_table(&mut self, command: &Command) -> Result<Effect, CatalogError> {
        let Command::AlterTable { database, columns, constraints, change, views, gone, search_path } = command else {
            return Err(invalid("not ALTER TABLE"));
        };
        let table = self.state.table_by_id(change.id).ok_or(CatalogError::TableDropped { id: change.id })?;
        let (oid, namespace, before) = (table.oid, table.namespace, Arc::clone(table));
        check_columns(columns)?;
        self.move_head(change)?;
        self.set_views(&before, views, gone)?;
        let constraints = self.numbered(constraints, &before.constraints, oid, namespace, columns)?;
        let lost = lost_keys(&before.constraints, &constraints);
        self.drop_dependents(&before, &lost, gone, *database, search_path)?;
        let columns = columns.iter().map(|column| with_comment(column, &before.columns)).collect();
        let moved = self.state.table_by_id(change.id).ok_or(CatalogError::TableDropped { id: change.id })?;
        let changed = Table { columns, constraints, ..moved.as_ref().clone() };
        self.state.put_relation(Relation::Table(Arc::new(changed)));
        Ok(Effect::Changed { oid })
    }

    /// Every view that reads the table has its new text, or goes. One that is not spoken of is newer than the statement.
    fn set_views(&mut self, table: &Table, texts: &[ViewText], gone: &[Gone]) -> Result<(), CatalogError> {
        let readers: Vec<u32> = self.state.dependents(table.oid).collect();
        for oid in readers {
            if gone.iter().any(|gone| gone.views.contains(&oid)) {
                continue;
            }
            let Some(view) = self.state.relation_by_oid(oid).and_then(Relation::as_view) else { continue };
            let Some(text) = texts.iter().find(|text| text.oid == oid && text.expected == view.definition) else {
                return Err(CatalogError::CommitConflict {
                    id: table.id,
                    table: table.name.clone(),
                    current: table.metadata_location.clone(),
                });
            };
            if text.definition != view.definition {
                let view = View { definition: text.definition.clone(), ..view.as_ref().clone() };
                self.state.put_relation(Relation::View(Arc::new(view)));
            }
        }
        Ok(())
    }

    /// The views that use what is dropped and the references to its keys go with it, or forbid it.
    fn drop_dependents(
        &mut self,
        table: &Table,
        lost: &[&Constraint],
        gone: &[Gone],
        database: u32,
        search_path: &[String],
    ) -> Result<(), CatalogError> {
        for gone in gone {
            let mut targets = Vec::new();
            let mut found = BTreeSet::new();
            // The newest first, as everywhere.
            for view in gone.views.iter().rev().filter(|view| self.state.relation_by_oid(**view).is_some()) {
                self.find_targets(*view, &mut found, &mut targets);
            }
            let references: Vec<_> = self
                .references_to(table.oid)
                .into_iter()
                .filter(|(_, constraint)| match (&constraint.rule, gone.column) {
                    (Rule::Reference { targets, .. }, Some(column)) => targets.contains(&column),
                    (Rule::Reference { key, .. }, None) => lost.iter().any(|lost| {
                        lost.name == *key && gone.object.starts_with(&format!("constraint {} ", lost.name))
                    }),
                    _ => false,
                })
                .collect();
            let wording = Wording { state: &self.state, database, search_path };
            let reference = |(of, constraint): &(Table, Constraint)| {
                let of = wording.relation(&Relation::Table(Arc::new(of.clone())));
                format!("constraint {} on {of}", constraint.name)
            };
            let objects: Vec<(String, String)> = targets
                .iter()
                .rev()
                .map(|target| {
                    let on = target.through.map_or_else(|| gone.depended_on.clone(), |oid| wording.object(oid));
                    (wording.object(target.oid), on)
                })
                .chain(references.iter().map(|found| (reference(found), gone.depended_on.clone())))
                .collect();
            if objects.is_empty() {
                continue;
            }
            if !gone.cascade {
                return Err(CatalogError::DependentObjectsStillExist {
                    object: Some(gone.object.clone()),
                    dependencies: objects.iter().map(|(object, on)| format!("{object} depends on {on}")).collect(),
                });
            }
            let lines: Vec<_> = objects.iter().map(|(object, _)| format!("drop cascades to {object}")).collect();
            match lines.as_slice() {
                [only] => self.notice("00000", only.clone(), None),
                many => {
                    let message = format!("drop cascades to {} other objects", many.len());
                    self.notice("00000", message, Some(listing(many)));
                }
            }
            for target in targets {
                self.state.remove_relation(target.oid);
            }
            for (of, constraint) in references {
                self.remove_constraint(of.oid, constraint.oid);
            }
        }
        Ok(())
    }

    pub(super) fn move_relation(&mut self, command: &Command) -> Result<Effect, CatalogError> {
        let Command::MoveRelation { database, kind, name, schema, if_exists, views } = command else {
            return Err(invalid("not SET SCHEMA"));
        };
        let relation = match self.relation(*database, name) {
            Err(error) if *if_exists && is_missing(&error) => {
                self.skip(&error);
                return Ok(Effect::Nothing);
            }
            found => found?,
        };
        if *kind != RelationKind::Table && !relation.is(*kind) {
            return Err(wrong_type(&name.name, *kind));
        }
        let new = RelationName::new(schema.clone(), name.name.clone());
        let namespace = self.namespace_for_creation(*database, &new)?;
        if namespace.oid == relation.namespace() {
            return Ok(Effect::Nothing);
        }
        let keys = relation.as_table().map(|table| table.constraints.as_slice()).unwrap_or_default();
        let names = keys.iter().filter(|constraint| constraint.is_key()).map(|constraint| &constraint.name);
        if let Some(taken) =
            std::iter::once(&name.name).chain(names).find(|name| self.is_taken(namespace.oid, name, None))
        {
            return Err(CatalogError::RelationInSchema { name: taken.clone(), schema: schema.clone() });
        }
        self.rewrite_views(&format!("{} {}", relation.kind().noun(), name.name), [relation.oid()], views)?;
        let moved = match self.relation(*database, name)? {
            Relation::Table(table) => {
                Relation::Table(Arc::new(Table { namespace: namespace.oid, ..table.as_ref().clone() }))
            }
            Relation::View(view) => {
                Relation::View(Arc::new(View { namespace: namespace.oid, ..view.as_ref().clone() }))
            }
            Relation::Foreign(table) => {
                Relation::Foreign(Arc::new(ForeignTable { namespace: namespace.oid, ..table.as_ref().clone() }))
            }
        };
        self.state.put_relation(moved);
        Ok(Effect::Changed { oid: relation.oid() })
    }

    pub(super) fn change_owner(
        &mut self,
        database: u32,
        name: &RelationName,
        owner: u32,
    ) -> Result<Effect, CatalogError> {
        self.check_owner(owner)?;
        let changed = match self.relation(database, name)? {
            Relation::Table(table) => Relation::Table(Arc::new(Table { owner, ..table.as_ref().clone() })),
            Relation::View(view) => Relation::View(Arc::new(View { owner, ..view.as_ref().clone() })),
            Relation::Foreign(table) => Relation::Foreign(Arc::new(ForeignTable { owner, ..table.as_ref().clone() })),
        };
        let oid = changed.oid();
        self.state.put_relation(changed);
        Ok(Effect::Changed { oid })
    }
}

/// The keys that a table has no longer.
fn lost_keys<'a>(before: &'a [Constraint], after: &[Constraint]) -> Vec<&'a Constraint> {
    let stays = |key: &Constraint| after.iter().any(|other| other.oid == key.oid);
    before.iter().filter(|constraint| constraint.is_key() && !stays(constraint)).collect()
}

/// A column that was there keeps the comment it has by now.
fn with_comment(column: &Column, before: &[Column]) -> Column {
    let old = before.iter().find(|old| old.field_id == column.field_id);
    Column { comment: old.map_or_else(|| column.comment.clone(), |old| old.comment.clone()), ..column.clone() }
}
