//! What PostgreSQL's own tables and views look like: names, oids and columns, from `columns.txt`.

use std::collections::HashMap;
use std::sync::LazyLock;

use wharf_catalog::SqlType;

/// A system table or view.
pub(super) struct SystemRelation {
    pub(super) schema: &'static str,
    pub(super) name: &'static str,
    pub(super) is_view: bool,
    pub(super) oid: u32,
    pub(super) columns: Vec<(&'static str, SqlType)>,
}

struct Registry {
    relations: Vec<SystemRelation>,
    by_name: HashMap<(&'static str, &'static str), usize>,
    by_oid: HashMap<u32, usize>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let relations: Vec<SystemRelation> = include_str!("columns.txt").lines().filter_map(read).collect();
    let by_name = relations.iter().enumerate().map(|(at, found)| ((found.schema, found.name), at)).collect();
    let by_oid = relations.iter().enumerate().map(|(at, found)| (found.oid, at)).collect();
    Registry { relations, by_name, by_oid }
});

fn read(line: &'static str) -> Option<SystemRelation> {
    let mut words = line.split(' ');
    let (schema, name) = words.next()?.split_once('.')?;
    let is_view = words.next()? == "v";
    let oid = words.next()?.parse().ok()?;
    let columns = words.filter_map(|word| word.split_once(':')).map(|(name, ty)| (name, column_type(ty))).collect();
    Some(SystemRelation { schema, name, is_view, oid, columns })
}

/// The type of a column; what Wharf lacks is shown as the nearest it has.
fn column_type(name: &str) -> SqlType {
    if let Some(item) = name.strip_suffix("[]") {
        return SqlType::Array(Box::new(column_type(item)));
    }
    match name {
        "\"char\"" => SqlType::QChar,
        "xid" => SqlType::Oid,
        "int2vector" => SqlType::Array(Box::new(SqlType::SmallInt)),
        "oidvector" => SqlType::Array(Box::new(SqlType::Oid)),
        "anyarray" => SqlType::Array(Box::new(SqlType::Text)),
        other => other.replace('_', " ").parse().unwrap_or(SqlType::Text),
    }
}

/// All of them.
pub(super) fn all() -> &'static [SystemRelation] {
    &REGISTRY.relations
}

/// The one of a name.
pub(super) fn by_name(schema: &str, name: &str) -> Option<&'static SystemRelation> {
    // Names that live for ever are as good as ones that need not.
    let index: &HashMap<(&str, &str), usize> = &REGISTRY.by_name;
    index.get(&(schema, name)).map(|at| &REGISTRY.relations[*at])
}

/// The one of an oid.
pub(super) fn by_oid(oid: u32) -> Option<&'static SystemRelation> {
    REGISTRY.by_oid.get(&oid).map(|at| &REGISTRY.relations[*at])
}

/// The oid of a system relation.
pub(super) fn oid(schema: &str, name: &str) -> Option<u32> {
    by_name(schema, name).map(|relation| relation.oid)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_list_of_columns_can_be_read() {
        let class = by_name("pg_catalog", "pg_class").unwrap();
        assert_eq!((class.oid, class.is_view), (1259, false));
        assert_eq!(class.columns[0], ("oid", SqlType::Oid));
        assert_eq!(class.columns.len(), 33);
        let lines = include_str!("columns.txt").lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(all().len(), lines);
        assert!(all().iter().all(|relation| !relation.columns.is_empty()));
    }
}
