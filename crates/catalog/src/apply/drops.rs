//! DROP: what goes with an object, or forbids that it goes.
//!
//! The search for dependents walks as PostgreSQL's `findDependentObjects` does (depth first, newest first, an object after all that
//! depends on it), because its messages list what it found in that order.

use std::collections::BTreeSet;

use super::{Change, invalid, is_missing};
use crate::command::{Command, DroppedRelation, Effect, RelationName};
use crate::error::{CatalogError, listing};
use crate::format::tells;
use crate::model::{DroppedTable, Relation};
use crate::state::State;

/// A schema or a relation, by oid: the two share one space of oids.
type Oid = u32;

/// Something that has to go.
pub(super) struct Target {
    pub(super) oid: Oid,
    /// What it was reached through; none for what the statement named.
    pub(super) through: Option<Oid>,
}

impl Change {
    pub(super) fn drop_relations(&mut self, command: &Command) -> Result<Effect, CatalogError> {
        let Command::DropRelations { database, kind, names, if_exists, cascade, search_path, purge } = command else {
            return Err(invalid("not DROP"));
        };
        let (database, kind, if_exists, cascade) = (*database, *kind, *if_exists, *cascade);
        let mut originals = Vec::new();
        for name in names {
            let relation = self.relation(database, name).map_err(|error| match error {
                CatalogError::UndefinedRelation { name } => CatalogError::UndefinedTable { kind, name },
                other => other,
            });
            match relation {
                Err(error) if if_exists && is_missing(&error) => self.skip(&error),
                Err(error) => return Err(error),
                Ok(relation) if !relation.is(kind) => {
                    let found = Some(relation.kind()).filter(|found| tells(kind, *found));
                    return Err(CatalogError::WrongObjectType {
                        name: name.name.clone(),
                        expected: kind,
                        drop: true,
                        found,
                    });
                }
                Ok(relation) => originals.push(relation.oid()),
            }
        }
        let effect = self.drop_objects(&originals, database, cascade, search_path)?;
        if let (Effect::Dropped { relations }, true) = (&effect, *purge) {
            for (id, _) in relations.iter().filter_map(|relation| relation.table.as_ref()) {
                // Somebody has to remember its files until they are removed.
                if let Some(dropped) = self.state.dropped_by_id(*id).map(|dropped| dropped.as_ref().clone()) {
                    self.state.put_dropped(DroppedTable { purged: true, ..dropped });
                }
            }
        }
        Ok(effect)
    }

    pub(super) fn drop_schemas(
        &mut self,
        database: u32,
        names: &[String],
        if_exists: bool,
        cascade: bool,
        search_path: &[String],
    ) -> Result<Effect, CatalogError> {
        let mut originals = Vec::new();
        for name in names {
            match self.namespace(database, name) {
                Err(error) if if_exists && is_missing(&error) => self.skip(&error),
                Err(error) => return Err(error),
                Ok(schema) if schema.database == 0 => {
                    return Err(CatalogError::RequiredSchema { name: name.clone() });
                }
                Ok(schema) => originals.push(schema.oid),
            }
        }
        self.drop_objects(&originals, database, cascade, search_path)
    }

    /// Drops schemas or relations with all that depends on them, or refuses to.
    fn drop_objects(
        &mut self,
        originals: &[Oid],
        database: u32,
        cascade: bool,
        search_path: &[String],
    ) -> Result<Effect, CatalogError> {
        if originals.is_empty() {
            return Ok(Effect::Nothing);
        }
        let mut targets = Vec::new();
        let mut found = BTreeSet::new();
        for original in originals {
            self.find_targets(*original, &mut found, &mut targets);
        }
        let wording = Wording { state: &self.state, database, search_path };
        let named = originals.iter().collect::<BTreeSet<_>>();
        let others = targets.iter().rev().filter(|target| !named.contains(&target.oid));
        // References from tables that stay.
        let references: Vec<_> = targets
            .iter()
            .rev()
            .flat_map(|target| self.references_to(target.oid).into_iter().map(|found| (target.oid, found)))
            .filter(|(_, (of, _))| !found.contains(&of.oid))
            .collect();
        let referring = references.iter().map(|(to, (of, constraint))| {
            let of = wording.relation(&Relation::Table(of.clone().into()));
            (format!("constraint {} on {of}", constraint.name), wording.object(*to))
        });
        if cascade {
            let lines = others.map(|target| format!("drop cascades to {}", wording.object(target.oid)));
            let lines = lines.chain(referring.map(|(reference, _)| format!("drop cascades to {reference}")));
            let lines = lines.collect::<Vec<_>>();
            match lines.as_slice() {
                [] => {}
                [only] => self.notice("00000", only.clone(), None),
                many => {
                    let message = format!("drop cascades to {} other objects", many.len());
                    self.notice("00000", message, Some(listing(many)));
                }
            }
        } else {
            let lines = others.map(|target| {
                let through = target.through.map(|through| wording.object(through)).unwrap_or_default();
                format!("{} depends on {through}", wording.object(target.oid))
            });
            let lines = lines.chain(referring.map(|(reference, on)| format!("{reference} depends on {on}")));
            let dependencies = lines.collect::<Vec<_>>();
            if !dependencies.is_empty() {
                let object = match originals {
                    [only] => Some(wording.object(*only)),
                    _ => None,
                };
                return Err(CatalogError::DependentObjectsStillExist { object, dependencies });
            }
        }
        for (_, (of, constraint)) in references {
            self.remove_constraint(of.oid, constraint.oid);
        }
        // Dependents come before what they depend on.
        let mut relations = Vec::new();
        for target in targets {
            if let Some(relation) = self.state.relation_by_oid(target.oid).cloned() {
                relations.push(self.dropped(&relation));
                if let Relation::Table(table) = &relation {
                    self.keep_dropped(table);
                }
                self.state.remove_relation(target.oid);
            } else {
                self.state.remove_namespace(target.oid);
            }
        }
        Ok(Effect::Dropped { relations })
    }

    /// Collects an object after everything that depends on it. There are no circles: a view cannot read itself.
    pub(super) fn find_targets(&self, original: Oid, found: &mut BTreeSet<Oid>, targets: &mut Vec<Target>) {
        // An explicit stack, since views may be stacked deeper than a thread's stack is.
        enum Step {
            Enter(Target),
            Leave(Target),
        }
        let mut steps = vec![Step::Enter(Target { oid: original, through: None })];
        while let Some(step) = steps.pop() {
            match step {
                Step::Leave(target) => {
                    if found.insert(target.oid) {
                        targets.push(target);
                    }
                }
                Step::Enter(target) if found.contains(&target.oid) => {}
                Step::Enter(target) => {
                    let oid = target.oid;
                    steps.push(Step::Leave(target));
                    // The newest is on top of the stack, so it comes first.
                    let mut dependents = self.direct_dependents(oid);
                    dependents.sort_unstable();
                    steps.extend(
                        dependents.into_iter().map(|oid_| Step::Enter(Target { oid: oid_, through: Some(oid) })),
                    );
                }
            }
        }
    }

    /// The views that read a relation, or the relations in a schema.
    fn direct_dependents(&self, oid: Oid) -> Vec<Oid> {
        if self.state.relation_by_oid(oid).is_some() {
            self.state.dependents(oid).collect()
        } else {
            self.state.relations_in(oid).map(Relation::oid).collect()
        }
    }

    fn dropped(&self, relation: &Relation) -> DroppedRelation {
        let schema = self.state.namespace(relation.namespace()).map(|schema| schema.name.clone());
        DroppedRelation {
            oid: relation.oid(),
            kind: relation.kind(),
            name: RelationName::new(schema.unwrap_or_default(), relation.name()),
            table: relation.as_table().map(|table| (table.id, table.metadata_location.clone())),
        }
    }
}

/// How messages name objects: a relation that the session would find without its schema is named without it.
pub(super) struct Wording<'a> {
    pub(super) state: &'a State,
    pub(super) database: u32,
    pub(super) search_path: &'a [String],
}

impl Wording<'_> {
    pub(super) fn object(&self, oid: Oid) -> String {
        match (self.state.relation_by_oid(oid), self.state.namespace(oid)) {
            (Some(relation), _) => self.relation(relation),
            (None, Some(schema)) => format!("schema {}", schema.name),
            (None, None) => format!("object {oid}"),
        }
    }

    pub(super) fn relation(&self, relation: &Relation) -> String {
        let schemas = self.search_path.iter().filter_map(|name| self.state.namespace_by_name(self.database, name));
        let visible = schemas.filter_map(|schema| self.state.relation(schema.oid, relation.name())).next();
        let (noun, name) = (relation.kind().noun(), relation.name());
        if visible.map(Relation::oid) == Some(relation.oid()) {
            return format!("{noun} {name}");
        }
        let schema = self.state.namespace(relation.namespace()).map(|schema| schema.name.as_str());
        format!("{noun} {}.{name}", schema.unwrap_or_default())
    }
}
