//! External tables: rows of the catalog that say where files are. What the files hold is not known here.

use std::sync::Arc;

use super::relations::check_columns;
use super::{Change, invalid};
use crate::command::{Command, Effect};
use crate::error::CatalogError;
use crate::model::{ForeignTable, Relation};

impl Change {
    pub(super) fn create_foreign_table(&mut self, command: &Command) -> Result<Effect, CatalogError> {
        let Command::CreateForeignTable { database, name, columns, source, owner, if_not_exists } = command else {
            return Err(invalid("not CREATE EXTERNAL TABLE"));
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
        if source.locations.is_empty() {
            return Err(invalid("an external table without files"));
        }
        let oid = self.state.allocate_oid()?;
        self.state.put_relation(Relation::Foreign(Arc::new(ForeignTable {
            oid,
            name: name.name.clone(),
            namespace: namespace.oid,
            owner: *owner,
            columns: columns.clone(),
            source: source.clone(),
            comment: None,
            created_ms: self.now_ms,
        })));
        Ok(Effect::Created { oid })
    }
}
