//! Tables that live on in a way: dropped ones that can come back, and clones that share files with their source.

use std::sync::Arc;

use uuid::Uuid;

use super::{Change, invalid};
use crate::command::{Command, DroppedRelation, Effect, RelationName};
use crate::constraint::{Constraint, Rule};
use crate::error::CatalogError;
use crate::model::{DroppedTable, Relation, RelationKind, Table};

impl Change {
    /// Keeps the row of a table that is being dropped.
    pub(super) fn keep_dropped(&mut self, table: &Arc<Table>) {
        let Some(namespace) = self.state.namespace(table.namespace) else { return };
        self.state.put_dropped(DroppedTable {
            table: table.as_ref().clone(),
            database: namespace.database,
            schema: namespace.name.clone(),
            dropped_ms: self.now_ms,
            purged: false,
        });
    }

    /// Brings back the table of this name that was dropped last.
    pub(super) fn undrop_table(
        &mut self,
        database: u32,
        name: &RelationName,
        owner: u32,
    ) -> Result<Effect, CatalogError> {
        let namespace = self.namespace_for_creation(database, name)?;
        let same = |dropped: &&Arc<DroppedTable>| {
            let is_named = dropped.schema == name.schema && dropped.table.name == name.name;
            dropped.database == database && is_named && !dropped.purged
        };
        // Two that were dropped in the same millisecond are told apart by their age.
        let last =
            self.state.dropped().filter(same).max_by_key(|dropped| (dropped.dropped_ms, dropped.table.oid)).cloned();
        let Some(last) = last else {
            return Err(CatalogError::NotDropped { name: name.name.clone() });
        };
        let mut table = Table { namespace: namespace.oid, ..last.table.clone() };
        let keys = table.constraints.iter().filter(|constraint| constraint.is_key()).map(|key| &key.name);
        for name in std::iter::once(&table.name).chain(keys) {
            if self.is_taken(namespace.oid, name, None) {
                return Err(CatalogError::DuplicateRelation { name: name.clone() });
            }
        }
        // What a reference refers to may be gone, which would have taken the reference with it.
        let (kept, lost) = std::mem::take(&mut table.constraints)
            .into_iter()
            .partition::<Vec<_>, _>(|constraint| self.refers_to_a_key(constraint, &table));
        table.constraints = kept;
        for constraint in lost {
            let message = format!("constraint {} is gone, because what it refers to is", constraint.name);
            self.notice("00000", message, None);
        }
        if self.state.role(table.owner).is_none() {
            self.check_owner(owner)?;
            table.owner = owner;
        }
        let oid = table.oid;
        self.state.remove_dropped(table.id);
        self.state.put_relation(Relation::Table(Arc::new(table)));
        Ok(Effect::Created { oid })
    }

    /// Is the key of a reference there? True for what is no reference.
    fn refers_to_a_key(&self, constraint: &Constraint, own: &Table) -> bool {
        let Rule::Reference { table: target, key, .. } = &constraint.rule else { return true };
        let has_key = |constraints: &[Constraint]| constraints.iter().any(|other| other.is_key() && other.name == *key);
        if *target == own.oid {
            return true;
        }
        let found = self.state.relation_by_oid(*target).and_then(Relation::as_table);
        found.is_some_and(|table| has_key(&table.constraints))
    }

    /// Forgets dropped tables for good: those that are still there, and have no clone.
    pub(super) fn forget_dropped(&mut self, ids: &[Uuid]) -> Result<Effect, CatalogError> {
        let mut relations = Vec::new();
        for id in ids {
            let Some(dropped) = self.state.dropped_by_id(*id).cloned() else { continue };
            if let Some(borrower) = self.state.borrowers(*id).next() {
                let (name, borrower) = (dropped.table.name.clone(), borrower.name.clone());
                return Err(CatalogError::StillCloned { name, clone: borrower });
            }
            self.state.remove_dropped(*id);
            relations.push(DroppedRelation {
                oid: dropped.table.oid,
                kind: RelationKind::Table,
                name: RelationName::new(dropped.schema.clone(), dropped.table.name.clone()),
                table: Some((*id, dropped.table.metadata_location.clone())),
            });
        }
        Ok(if relations.is_empty() { Effect::Nothing } else { Effect::Dropped { relations } })
    }

    /// CREATE TABLE .. CLONE: a table that shares files with its source, and with whatever that shares files with.
    pub(super) fn clone_table(&mut self, command: &Command) -> Result<Effect, CatalogError> {
        let Command::CloneTable { create, source, source_head } = command else {
            return Err(invalid("not CLONE"));
        };
        let Command::CreateTable { id, .. } = create.as_ref() else {
            return Err(invalid("a clone is made by CREATE TABLE"));
        };
        let from = self.state.table_by_id(*source).cloned().ok_or(CatalogError::TableDropped { id: *source })?;
        // Its snapshots may have expired since.
        if from.metadata_location != *source_head {
            return Err(CatalogError::CommitConflict {
                id: from.id,
                table: from.name.clone(),
                current: from.metadata_location.clone(),
            });
        }
        let effect = self.create_table(create)?;
        if let Some(made) = self.state.table_by_id(*id).filter(|_| effect != Effect::Nothing) {
            let mut made = made.as_ref().clone();
            made.borrows.clone_from(&from.borrows);
            made.borrows.insert(from.id);
            self.state.put_relation(Relation::Table(Arc::new(made)));
        }
        Ok(effect)
    }
}
