//! Constraints: what must hold of them in the catalog, whatever they say of rows.

use std::collections::BTreeSet;

use super::{Change, invalid};
use crate::constraint::{Constraint, Rule};
use crate::error::CatalogError;
use crate::model::{Column, Relation, Table};

impl Change {
    /// Is the name taken by a relation of the schema, or by the index of a key (of another table than `but`)?
    pub(super) fn is_taken(&self, namespace: u32, name: &str, but: Option<u32>) -> bool {
        let key = self.state.key_table(namespace, name);
        self.state.relation(namespace, name).is_some() || key.is_some_and(|table| Some(table) != but)
    }

    /// The constraints of a table, the new ones with oids. One that has an oid in a command is the one of its name, or else
    /// of its oid: the oids in a command may be those of a state in which other objects were made before.
    pub(super) fn numbered(
        &mut self,
        constraints: &[Constraint],
        before: &[Constraint],
        table: u32,
        namespace: u32,
        columns: &[Column],
    ) -> Result<Vec<Constraint>, CatalogError> {
        let mut numbered = constraints.to_vec();
        let mut names = BTreeSet::new();
        let claimed: BTreeSet<String> = constraints.iter().map(|constraint| constraint.name.clone()).collect();
        for constraint in &mut numbered {
            if !names.insert(constraint.name.clone()) {
                return Err(invalid(format!("constraint \"{}\" twice", constraint.name)));
            }
            let known = |id: &i32| columns.iter().any(|column| column.field_id == *id);
            if !constraint.columns().iter().all(known) {
                return Err(invalid(format!("constraint \"{}\" of columns that are not there", constraint.name)));
            }
            if constraint.is_key() && self.is_taken(namespace, &constraint.name, Some(table)) {
                return Err(CatalogError::DuplicateRelation { name: constraint.name.clone() });
            }
            let known = before.iter().find(|old| old.name == constraint.name);
            let known =
                known.or_else(|| before.iter().find(|old| old.oid == constraint.oid && !claimed.contains(&old.name)));
            if let Some(known) = known.filter(|_| constraint.oid != 0) {
                constraint.oid = known.oid;
                if let (Rule::Key { index, .. }, Some(old)) = (&mut constraint.rule, known.index()) {
                    *index = old;
                }
                continue;
            }
            if let Rule::Key { index, .. } = &mut constraint.rule {
                *index = self.state.allocate_oid()?;
            }
            if let Rule::Reference { table: target, .. } = &mut constraint.rule
                && *target == 0
            {
                *target = table;
            }
            constraint.oid = self.state.allocate_oid()?;
        }
        for constraint in &numbered {
            let Rule::Reference { table: target, key, targets, .. } = &constraint.rule else { continue };
            let holds = |constraints: &[Constraint]| {
                let matches = |other: &&Constraint| other.is_key() && other.name == *key;
                constraints.iter().find(matches).is_some_and(|other| same_columns(other.columns(), targets))
            };
            let found = match *target == table {
                true => holds(&numbered),
                false => self
                    .state
                    .relation_by_oid(*target)
                    .and_then(Relation::as_table)
                    .is_some_and(|other| holds(&other.constraints)),
            };
            if !found {
                return Err(CatalogError::UndefinedRelationOid { oid: *target });
            }
        }
        if numbered.iter().filter(|constraint| constraint.is_primary()).count() > 1 {
            return Err(invalid("two primary keys"));
        }
        Ok(numbered)
    }

    /// The constraints of other tables that refer to a table, newest first: the table they are of, and they.
    pub(super) fn references_to(&self, target: u32) -> Vec<(Table, Constraint)> {
        let mut found: Vec<_> = self
            .state
            .referrers(target)
            .filter_map(|oid| self.state.relation_by_oid(oid)?.as_table())
            .flat_map(|table| {
                let refers = move |constraint: &&Constraint| matches!(constraint.rule, Rule::Reference { table, .. } if table == target);
                table.constraints.iter().filter(refers).map(|constraint| (table.as_ref().clone(), constraint.clone()))
            })
            .collect();
        found.sort_by_key(|(_, constraint)| std::cmp::Reverse(constraint.oid));
        found
    }

    /// Takes a constraint off a table.
    pub(super) fn remove_constraint(&mut self, table: u32, constraint: u32) {
        let Some(found) = self.state.relation_by_oid(table).and_then(Relation::as_table) else { return };
        let mut changed = found.as_ref().clone();
        changed.constraints.retain(|other| other.oid != constraint);
        self.state.put_relation(Relation::Table(changed.into()));
    }
}

fn same_columns(left: &[i32], right: &[i32]) -> bool {
    let set = |ids: &[i32]| ids.iter().copied().collect::<BTreeSet<_>>();
    set(left) == set(right)
}
