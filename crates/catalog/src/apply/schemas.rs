//! Schemas: making and renaming. Dropping is in `drops`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, invalid};
use crate::command::{Effect, ViewText};
use crate::error::CatalogError;
use crate::model::{Namespace, Relation};

/// The most that the properties of one schema may take.
const MAX_PROPERTY_BYTES: usize = 64 * 1024;

impl Change {
    pub(super) fn create_schema(
        &mut self,
        database: u32,
        name: &str,
        owner: u32,
        if_not_exists: bool,
    ) -> Result<Effect, CatalogError> {
        if self.state.database(database).is_none() {
            return Err(CatalogError::UndefinedDatabaseOid { oid: database });
        }
        self.check_owner(owner)?;
        check_schema_name(name)?;
        if self.state.namespace_by_name(database, name).is_some() {
            let error = CatalogError::DuplicateSchema { name: name.to_owned() };
            if !if_not_exists {
                return Err(error);
            }
            self.skip(&error);
            return Ok(Effect::Nothing);
        }
        let oid = self.state.allocate_oid()?;
        self.state.put_namespace(Namespace {
            oid,
            name: name.to_owned(),
            database,
            owner,
            comment: None,
            properties: BTreeMap::new(),
        });
        Ok(Effect::Created { oid })
    }

    pub(super) fn rename_schema(
        &mut self,
        database: u32,
        name: &str,
        new_name: &str,
        views: &[ViewText],
    ) -> Result<Effect, CatalogError> {
        let namespace = self.namespace(database, name)?;
        if self.state.namespace_by_name(database, new_name).is_some() {
            return Err(CatalogError::DuplicateSchema { name: new_name.to_owned() });
        }
        check_schema_name(new_name)?;
        if namespace.database == 0 {
            return Err(CatalogError::SystemSchema { action: "rename".to_owned(), object: name.to_owned() });
        }
        let relations: Vec<u32> = self.state.relations_in(namespace.oid).map(Relation::oid).collect();
        self.rewrite_views(&format!("schema {name}"), relations, views)?;
        let oid = namespace.oid;
        self.state.put_namespace(Namespace { name: new_name.to_owned(), ..namespace.as_ref().clone() });
        Ok(Effect::Changed { oid })
    }

    /// Notes and forgets properties of a schema; their number and length are bounded, since every node keeps them in memory.
    pub(super) fn set_schema_properties(
        &mut self,
        database: u32,
        name: &str,
        set: &BTreeMap<String, String>,
        remove: &BTreeSet<String>,
    ) -> Result<Effect, CatalogError> {
        let namespace = self.namespace(database, name)?;
        if namespace.database == 0 {
            return Err(CatalogError::SystemSchema { action: "change".to_owned(), object: name.to_owned() });
        }
        let mut changed = namespace.as_ref().clone();
        changed.properties.retain(|key, _| !remove.contains(key));
        changed.properties.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
        let bytes = changed.properties.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        if bytes > MAX_PROPERTY_BYTES {
            return Err(invalid(format!("properties of a schema of {bytes} bytes")));
        }
        let oid = changed.oid;
        self.state.put_namespace(changed);
        Ok(Effect::Changed { oid })
    }
}

fn check_schema_name(name: &str) -> Result<(), CatalogError> {
    if name.starts_with("pg_") {
        return Err(CatalogError::ReservedSchemaName { name: name.to_owned() });
    }
    Ok(())
}
