//! The state of the catalog and the ways to look things up in it.
//!
//! All maps are persistent (`imbl`), so a clone is a snapshot in O(1) and a change costs O(log n). What always holds is
//! written down in [`State::check`]: names point to the objects that bear them, every reference (owner, schema, dependency)
//! has its object, and no oid is at or above `next_oid`.
//!
//! Only `apply` changes a state, through the `pub(crate)` methods here, which keep the maps in step and check nothing
//! else.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use uuid::Uuid;

use crate::command::Answer;
use crate::constraint::Rule;
use crate::error::CatalogError;
use crate::model::{Database, DroppedTable, Namespace, Relation, Role, Table, oids};

/// How many request ids are remembered: far more than a proposer has in flight or retries over.
pub(crate) const REMEMBERED_REQUESTS: usize = 4096;

/// What a request was answered.
pub(crate) type Remembered = Arc<Result<Answer, CatalogError>>;

/// The whole catalog at one instant. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The next oid to give.
    pub(crate) next_oid: u32,
    /// How many commands have changed this state.
    pub(crate) revision: u64,
    /// How many of them have changed more than the contents of tables.
    pub(crate) definitions: u64,
    pub(crate) databases: OrdMap<u32, Arc<Database>>,
    pub(crate) roles: OrdMap<u32, Arc<Role>>,
    pub(crate) namespaces: OrdMap<u32, Arc<Namespace>>,
    pub(crate) relations: OrdMap<u32, Relation>,
    /// Dropped tables by their id.
    pub(crate) dropped: OrdMap<Uuid, Arc<DroppedTable>>,

    // Indexes, which can be derived from the above.
    database_names: OrdMap<String, u32>,
    role_names: OrdMap<String, u32>,
    /// By database, 0 for the built-in ones, then name.
    namespace_names: OrdMap<u32, OrdMap<String, u32>>,
    /// By schema, then name.
    relation_names: OrdMap<u32, OrdMap<String, u32>>,
    table_ids: OrdMap<Uuid, u32>,
    /// From a relation to the views that read it.
    dependents: OrdMap<u32, OrdSet<u32>>,
    /// By schema, then the name of a key: its table.
    key_names: OrdMap<u32, OrdMap<String, u32>>,
    /// From a table to the other tables with references to it.
    referrers: OrdMap<u32, OrdSet<u32>>,

    /// The number of the next request to remember.
    pub(crate) next_request: u64,
    /// The latest request ids in the order they came.
    pub(crate) request_order: OrdMap<u64, Uuid>,
    pub(crate) requests: OrdMap<Uuid, Remembered>,
}

impl Default for State {
    fn default() -> Self {
        State {
            next_oid: oids::FIRST_USER,
            revision: 0,
            definitions: 0,
            databases: OrdMap::new(),
            roles: OrdMap::new(),
            namespaces: OrdMap::new(),
            relations: OrdMap::new(),
            dropped: OrdMap::new(),
            database_names: OrdMap::new(),
            role_names: OrdMap::new(),
            namespace_names: OrdMap::new(),
            relation_names: OrdMap::new(),
            table_ids: OrdMap::new(),
            dependents: OrdMap::new(),
            key_names: OrdMap::new(),
            referrers: OrdMap::new(),
            next_request: 0,
            request_order: OrdMap::new(),
            requests: OrdMap::new(),
        }
    }
}

/// Lookups: O(log n).
impl State {
    /// The catalog before bootstrap.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has the first database been made?
    pub fn is_bootstrapped(&self) -> bool {
        !self.databases.is_empty()
    }

    /// How many commands have changed this state: two snapshots of one catalog with the same revision are equal but for
    /// the memory of requests.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many commands have changed what there is, as against what is in tables: as long as this stays the same, names
    /// mean the same objects, and those are defined alike.
    pub fn definitions(&self) -> u64 {
        self.definitions
    }

    /// A database.
    pub fn database(&self, oid: u32) -> Option<&Arc<Database>> {
        self.databases.get(&oid)
    }

    /// A database by name.
    pub fn database_by_name(&self, name: &str) -> Option<&Arc<Database>> {
        self.databases.get(self.database_names.get(name)?)
    }

    /// All databases, by oid.
    pub fn databases(&self) -> impl Iterator<Item = &Arc<Database>> {
        self.databases.values()
    }

    /// A role.
    pub fn role(&self, oid: u32) -> Option<&Arc<Role>> {
        self.roles.get(&oid)
    }

    /// A role by name.
    pub fn role_by_name(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(self.role_names.get(name)?)
    }

    /// All roles, by oid.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values()
    }

    /// A schema.
    pub fn namespace(&self, oid: u32) -> Option<&Arc<Namespace>> {
        self.namespaces.get(&oid)
    }

    /// A schema of a database by name; the built-in ones are in every database.
    pub fn namespace_by_name(&self, database: u32, name: &str) -> Option<&Arc<Namespace>> {
        let find = |database: u32| self.namespace_names.get(&database)?.get(name);
        self.namespaces.get(find(database).or_else(|| find(0))?)
    }

    /// All schemas of a database, the built-in ones included, by oid.
    pub fn namespaces(&self, database: u32) -> impl Iterator<Item = &Arc<Namespace>> {
        self.namespaces.values().filter(move |namespace| namespace.database == 0 || namespace.database == database)
    }

    /// A table or view by the oid of its schema and its name.
    pub fn relation(&self, namespace: u32, name: &str) -> Option<&Relation> {
        self.relations.get(self.relation_names.get(&namespace)?.get(name)?)
    }

    /// A table or view by oid.
    pub fn relation_by_oid(&self, oid: u32) -> Option<&Relation> {
        self.relations.get(&oid)
    }

    /// A table by its id.
    pub fn table_by_id(&self, id: Uuid) -> Option<&Arc<Table>> {
        self.relations.get(self.table_ids.get(&id)?)?.as_table()
    }

    /// The tables and views of a schema, by name.
    pub fn relations_in(&self, namespace: u32) -> impl Iterator<Item = &Relation> {
        let names = self.relation_names.get(&namespace);
        names.into_iter().flat_map(OrdMap::values).filter_map(|oid| self.relations.get(oid))
    }

    /// All tables and views of all databases, by oid.
    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.relations.values()
    }

    /// The tables that were dropped and can come back, by id.
    pub fn dropped(&self) -> impl Iterator<Item = &Arc<DroppedTable>> {
        self.dropped.values()
    }

    /// A dropped table by its id.
    pub fn dropped_by_id(&self, id: Uuid) -> Option<&Arc<DroppedTable>> {
        self.dropped.get(&id)
    }

    /// The tables that may refer to files of a table: its clones, their clones, also dropped ones. As long as there is any, a
    /// file under the table's location may be removed only if none of these refers to it. Asked after the table's own commit
    /// that gave the file up, since a clone is made from a head that is still the head.
    pub fn borrowers(&self, id: Uuid) -> impl Iterator<Item = &Table> {
        let live = self.relations.values().filter_map(|relation| relation.as_table().map(AsRef::as_ref));
        let dropped = self.dropped.values().map(|dropped| &dropped.table);
        live.chain(dropped).filter(move |table| table.borrows.contains(&id))
    }

    /// The tables that may refer to files that a table refers to, itself excepted: its clones, what it is a clone of, and other
    /// clones of that; also dropped ones.
    pub fn relatives(&self, id: Uuid) -> impl Iterator<Item = &Table> {
        let own = self.table_by_id(id).map(AsRef::as_ref).or_else(|| Some(&self.dropped_by_id(id)?.table));
        let mut owners: BTreeSet<Uuid> = own.map(|table| table.borrows.clone()).unwrap_or_default();
        owners.insert(id);
        let live = self.relations.values().filter_map(|relation| relation.as_table().map(AsRef::as_ref));
        let dropped = self.dropped.values().map(|dropped| &dropped.table);
        live.chain(dropped)
            .filter(move |table| table.id != id && (owners.contains(&table.id) || !owners.is_disjoint(&table.borrows)))
    }

    /// The oids of the views that read a relation directly, in order.
    pub fn dependents(&self, oid: u32) -> impl DoubleEndedIterator<Item = u32> {
        self.dependents.get(&oid).into_iter().flat_map(OrdSet::iter).copied()
    }

    /// The oid of the table with a key of this name, by the oid of its schema.
    pub fn key_table(&self, namespace: u32, name: &str) -> Option<u32> {
        self.key_names.get(&namespace)?.get(name).copied()
    }

    /// The oids of the other tables with references to a table, in order.
    pub fn referrers(&self, oid: u32) -> impl DoubleEndedIterator<Item = u32> {
        self.referrers.get(&oid).into_iter().flat_map(OrdSet::iter).copied()
    }
}

/// Changes, for `apply` alone.
impl State {
    /// The next oid, which is then never given again.
    pub(crate) fn allocate_oid(&mut self) -> Result<u32, CatalogError> {
        let oid = self.next_oid;
        self.next_oid = oid.checked_add(1).ok_or(CatalogError::OutOfOids)?;
        Ok(oid)
    }

    /// Adds or replaces a database.
    pub(crate) fn put_database(&mut self, database: Database) {
        let (oid, name) = (database.oid, database.name.clone());
        if let Some(old) = self.databases.insert(oid, Arc::new(database)) {
            self.database_names.remove(&old.name);
        }
        self.database_names.insert(name, oid);
    }

    /// Adds or replaces a role.
    pub(crate) fn put_role(&mut self, role: Role) {
        let (oid, name) = (role.oid, role.name.clone());
        if let Some(old) = self.roles.insert(oid, Arc::new(role)) {
            self.role_names.remove(&old.name);
        }
        self.role_names.insert(name, oid);
    }

    /// Removes a role.
    pub(crate) fn remove_role(&mut self, oid: u32) {
        if let Some(old) = self.roles.remove(&oid) {
            self.role_names.remove(&old.name);
        }
    }

    /// Adds or replaces a schema.
    pub(crate) fn put_namespace(&mut self, namespace: Namespace) {
        let (oid, database, name) = (namespace.oid, namespace.database, namespace.name.clone());
        self.remove_namespace(oid);
        self.namespaces.insert(oid, Arc::new(namespace));
        self.namespace_names.entry(database).or_default().insert(name, oid);
    }

    /// Removes a schema; its relations have gone before.
    pub(crate) fn remove_namespace(&mut self, oid: u32) {
        let Some(old) = self.namespaces.remove(&oid) else {
            return;
        };
        remove_inner(&mut self.namespace_names, old.database, &old.name);
    }

    /// Adds or replaces a table or view.
    pub(crate) fn put_relation(&mut self, relation: Relation) {
        let oid = relation.oid();
        // The most frequent change by far moves a table's head, which touches no index.
        let same_place = self.relations.get(&oid).is_some_and(|old| {
            matches!((old, &relation), (Relation::Table(old), Relation::Table(new))
                if old.id == new.id && old.namespace == new.namespace && old.name == new.name
                    && old.constraints == new.constraints)
        });
        if !same_place {
            self.remove_relation(oid);
            self.relation_names.entry(relation.namespace()).or_default().insert(relation.name().to_owned(), oid);
            for read in relation.depends_on() {
                self.dependents.entry(*read).or_default().insert(oid);
            }
            if let Relation::Table(table) = &relation {
                self.table_ids.insert(table.id, oid);
                for constraint in &table.constraints {
                    match &constraint.rule {
                        Rule::Key { .. } => {
                            let names = self.key_names.entry(table.namespace).or_default();
                            names.insert(constraint.name.clone(), oid);
                        }
                        Rule::Reference { table: target, .. } if *target != oid => {
                            self.referrers.entry(*target).or_default().insert(oid);
                        }
                        Rule::Reference { .. } | Rule::Check { .. } => {}
                    }
                }
            }
        }
        self.relations.insert(oid, relation);
    }

    /// Removes a table or view; what depends on it has gone before, or is about to be replaced.
    pub(crate) fn remove_relation(&mut self, oid: u32) {
        let Some(old) = self.relations.remove(&oid) else {
            return;
        };
        remove_inner(&mut self.relation_names, old.namespace(), old.name());
        for read in old.depends_on() {
            let Some(views) = self.dependents.get_mut(read) else {
                continue;
            };
            views.remove(&oid);
            if views.is_empty() {
                self.dependents.remove(read);
            }
        }
        if let Relation::Table(table) = &old {
            self.table_ids.remove(&table.id);
            for constraint in &table.constraints {
                match &constraint.rule {
                    Rule::Key { .. } => remove_inner(&mut self.key_names, table.namespace, &constraint.name),
                    Rule::Reference { table: target, .. } => {
                        let Some(tables) = self.referrers.get_mut(target) else { continue };
                        tables.remove(&oid);
                        if tables.is_empty() {
                            self.referrers.remove(target);
                        }
                    }
                    Rule::Check { .. } => {}
                }
            }
        }
    }

    /// Keeps a table that is dropped.
    pub(crate) fn put_dropped(&mut self, dropped: DroppedTable) {
        self.dropped.insert(dropped.table.id, Arc::new(dropped));
    }

    /// Forgets a dropped table, or that one was.
    pub(crate) fn remove_dropped(&mut self, id: Uuid) {
        self.dropped.remove(&id);
    }

    /// What the request was answered, if it is among the latest.
    pub(crate) fn remembered(&self, request: Uuid) -> Option<&Remembered> {
        self.requests.get(&request)
    }

    /// Remembers an answer, and forgets the oldest when there are too many.
    pub(crate) fn remember(&mut self, request: Uuid, answer: Remembered) {
        self.requests.insert(request, answer);
        self.request_order.insert(self.next_request, request);
        self.next_request += 1;
        while self.request_order.len() > REMEMBERED_REQUESTS {
            let Some((oldest, forgotten)) = self.request_order.get_min().cloned() else {
                break;
            };
            self.request_order.remove(&oldest);
            self.requests.remove(&forgotten);
        }
    }

    /// Every invariant of a state: the first that does not hold is named. For tests, and for what comes from a disk.
    pub fn check(&self) -> Result<(), String> {
        let ensure = |holds: bool, what: &str, oid: u32| {
            if holds { Ok(()) } else { Err(format!("{what} ({oid})")) }
        };
        for database in self.databases.values() {
            ensure(self.roles.contains_key(&database.owner), "database without its owner", database.oid)?;
            ensure(self.database_names.get(&database.name) == Some(&database.oid), "database name", database.oid)?;
            ensure(database.oid < self.next_oid, "oid of a database not allocated", database.oid)?;
        }
        for role in self.roles.values() {
            ensure(self.role_names.get(&role.name) == Some(&role.oid), "role name", role.oid)?;
            ensure(role.oid < self.next_oid, "oid of a role not allocated", role.oid)?;
        }
        for namespace in self.namespaces.values() {
            let oid = namespace.oid;
            let named = self.namespace_names.get(&namespace.database).and_then(|names| names.get(&namespace.name));
            ensure(named == Some(&oid), "schema name", oid)?;
            ensure(self.roles.contains_key(&namespace.owner), "schema without its owner", oid)?;
            let database = namespace.database == 0 || self.databases.contains_key(&namespace.database);
            ensure(database, "schema without its database", oid)?;
            ensure(oid < self.next_oid, "oid of a schema not allocated", oid)?;
        }
        for relation in self.relations.values() {
            let oid = relation.oid();
            let same = |found: Option<&Relation>| found.map(Relation::oid) == Some(oid);
            ensure(same(self.relation(relation.namespace(), relation.name())), "relation name", oid)?;
            ensure(self.namespaces.contains_key(&relation.namespace()), "relation without its schema", oid)?;
            ensure(self.roles.contains_key(&relation.owner()), "relation without its owner", oid)?;
            ensure(oid < self.next_oid, "oid of a relation not allocated", oid)?;
            for read in relation.depends_on() {
                ensure(self.relations.contains_key(read), "view without what it reads", oid)?;
                ensure(self.dependents(*read).any(|view| view == oid), "dependency not indexed", oid)?;
            }
            if let Relation::Table(table) = relation {
                ensure(self.table_ids.get(&table.id) == Some(&oid), "table id", oid)?;
                for constraint in &table.constraints {
                    let known = |id: &i32| table.columns.iter().any(|column| column.field_id == *id);
                    ensure(constraint.columns().iter().all(known), "constraint of a missing column", oid)?;
                    let key = !constraint.is_key() || self.key_table(table.namespace, &constraint.name) == Some(oid);
                    ensure(key, "name of a key", oid)?;
                    let numbered = (1..self.next_oid).contains(&constraint.oid);
                    ensure(numbered, "oid of a constraint not allocated", constraint.oid)?;
                    if let Rule::Reference { table: target, .. } = &constraint.rule {
                        ensure(self.relations.contains_key(target), "reference to a missing table", oid)?;
                        let known = *target == oid || self.referrers(*target).any(|table| table == oid);
                        ensure(known, "reference not indexed", oid)?;
                    }
                }
            }
        }
        for dropped in self.dropped.values() {
            let oid = dropped.table.oid;
            ensure(self.table_by_id(dropped.table.id).is_none(), "dropped table is there", oid)?;
            ensure(oid < self.next_oid, "oid of a dropped table not allocated", oid)?;
        }
        let names = |map: &OrdMap<u32, OrdMap<String, u32>>| map.values().map(OrdMap::len).sum::<usize>();
        let tables = self.relations.values().filter(|relation| relation.as_table().is_some()).count();
        let reads = self.relations.values().map(|relation| relation.depends_on().len()).sum::<usize>();
        for (what, counted, expected) in [
            ("databases", self.database_names.len(), self.databases.len()),
            ("roles", self.role_names.len(), self.roles.len()),
            ("schemas", names(&self.namespace_names), self.namespaces.len()),
            ("relations", names(&self.relation_names), self.relations.len()),
            ("tables", self.table_ids.len(), tables),
            ("dependencies", self.dependents.values().map(OrdSet::len).sum(), reads),
            ("requests", self.request_order.len(), self.requests.len()),
        ] {
            if counted != expected {
                return Err(format!("{counted} entries for {expected} {what}"));
            }
        }
        Ok(())
    }
}

/// Removes a name from a map of maps, and the inner map with its last name.
fn remove_inner(names: &mut OrdMap<u32, OrdMap<String, u32>>, outer: u32, name: &str) {
    let Some(inner) = names.get_mut(&outer) else {
        return;
    };
    inner.remove(name);
    if inner.is_empty() {
        names.remove(&outer);
    }
}
