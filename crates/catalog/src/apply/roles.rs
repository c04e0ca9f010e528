//! Roles: making, changing the password, dropping.

use super::drops::Wording;
use super::{Change, is_missing};
use crate::command::Effect;
use crate::error::CatalogError;
use crate::model::{Role, oids};

impl Change {
    pub(super) fn create_role(
        &mut self,
        name: &str,
        superuser: bool,
        login: bool,
        verifier: Option<&str>,
    ) -> Result<Effect, CatalogError> {
        check_role_name(name)?;
        if self.state.role_by_name(name).is_some() {
            return Err(CatalogError::DuplicateRole { name: name.to_owned() });
        }
        let oid = self.state.allocate_oid()?;
        let password = verifier.map(str::to_owned);
        self.state.put_role(Role { oid, name: name.to_owned(), superuser, login, password, comment: None });
        Ok(Effect::Created { oid })
    }

    pub(super) fn alter_role_password(&mut self, name: &str, verifier: Option<&str>) -> Result<Effect, CatalogError> {
        let changed = Role { password: verifier.map(str::to_owned), ..self.role(name)?.as_ref().clone() };
        let oid = changed.oid;
        self.state.put_role(changed);
        Ok(Effect::Changed { oid })
    }

    pub(super) fn drop_roles(
        &mut self,
        names: &[String],
        if_exists: bool,
        database: u32,
        search_path: &[String],
    ) -> Result<Effect, CatalogError> {
        let mut dropped = false;
        for name in names {
            let role = match self.role(name) {
                Err(error) if if_exists && is_missing(&error) => {
                    self.skip(&error);
                    continue;
                }
                found => found?,
            };
            if role.oid == oids::BOOTSTRAP_SUPERUSER {
                return Err(CatalogError::RequiredRole { name: name.clone() });
            }
            let objects = self.owned_by(role.oid, &Wording { state: &self.state, database, search_path });
            if !objects.is_empty() {
                return Err(CatalogError::RoleOwnsObjects { name: name.clone(), objects });
            }
            self.state.remove_role(role.oid);
            dropped = true;
        }
        // The names are in the command already; relations are all that anyone has to clean up after.
        Ok(if dropped { Effect::Dropped { relations: Vec::new() } } else { Effect::Nothing })
    }

    /// A line for everything that a role owns, in the order of oids.
    fn owned_by(&self, role: u32, wording: &Wording<'_>) -> Vec<String> {
        let databases = self.state.databases().filter(|database| database.owner == role);
        let databases = databases.map(|database| (database.oid, format!("owner of database {}", database.name)));
        let schemas = self.state.namespaces.values().filter(|schema| schema.owner == role);
        let schemas = schemas.map(|schema| (schema.oid, format!("owner of schema {}", schema.name)));
        let relations = self.state.relations().filter(|relation| relation.owner() == role);
        let relations = relations.map(|relation| (relation.oid(), format!("owner of {}", wording.relation(relation))));
        let mut objects = databases.chain(schemas).chain(relations).collect::<Vec<_>>();
        objects.sort_unstable();
        objects.into_iter().map(|(_, line)| line).collect()
    }
}

/// PostgreSQL keeps a few names for itself.
pub(super) fn check_role_name(name: &str) -> Result<(), CatalogError> {
    if name.starts_with("pg_") || matches!(name, "public" | "none") {
        return Err(CatalogError::ReservedRoleName { name: name.to_owned() });
    }
    Ok(())
}
