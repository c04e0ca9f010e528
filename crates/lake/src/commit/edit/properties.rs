//! Table properties, and the format version, which is set like one.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::snapshot::write_state;
use crate::error::LakeError;
use crate::metadata::{self, FORMAT_VERSION_PROPERTY};
use crate::properties;
use crate::table::LakeTable;
use crate::warehouse::Warehouse;

/// Sets some properties and removes others; those that are to be removed need not be there.
pub(super) async fn change(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    set: &[(String, String)],
    removed: &[String],
) -> Result<String, LakeError> {
    for (name, value) in set {
        properties::check(name, value, base.store())?;
    }
    for name in removed {
        properties::check_name(name)?;
    }
    let mut set: HashMap<_, _> = set.iter().cloned().collect();
    let version = match set.remove(FORMAT_VERSION_PROPERTY) {
        Some(version) => metadata::format_version(&version)?,
        None => base.metadata().format_version(),
    };
    if removed.iter().any(|name| name == FORMAT_VERSION_PROPERTY) || version < base.metadata().format_version() {
        return Err(LakeError::Invalid("the format version of a table cannot go down".to_owned()));
    }
    let built = base
        .metadata()
        .clone()
        .into_builder(Some(base.metadata_location().to_owned()))
        .upgrade_format_version(version)
        .and_then(|builder| builder.set_properties(set))
        .and_then(|builder| builder.remove_properties(removed))
        .and_then(|builder| builder.build())
        .map_err(|error| LakeError::metadata(base.metadata_location(), error))?;
    write_state(warehouse, base, built.metadata).await
}
