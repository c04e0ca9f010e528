//! Databases, schemas, roles, descriptions, and other catalogs with a row for each object.

use wharf_catalog::SqlType;

use super::rows::{Cell, Rows};
use super::tables::Source;

/// A table of this chapter.
pub(super) fn table(name: &str, source: &Source<'_>) -> Option<Rows> {
    Some(match name {
        "pg_namespace" => namespaces(source),
        "pg_database" => databases(source),
        "pg_roles" | "pg_authid" => roles(source),
        "pg_user" => users(source),
        "pg_description" => descriptions(source),
        "pg_am" => access_methods(),
        "pg_foreign_server" => foreign_servers(),
        "pg_foreign_table" => foreign_tables(source),
        "pg_tablespace" => tablespaces(),
        "pg_collation" => collations(),
        _ => return None,
    })
}

fn namespaces(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("oid", SqlType::Oid),
        ("nspname", SqlType::Name),
        ("nspowner", SqlType::Oid),
        ("nspacl", SqlType::Array(Box::new(SqlType::Text))),
    ]);
    for namespace in source.state.namespaces(source.database) {
        rows.push(vec![namespace.oid.into(), namespace.name.as_str().into(), namespace.owner.into()]);
    }
    rows
}

fn databases(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("oid", SqlType::Oid),
        ("datname", SqlType::Name),
        ("datdba", SqlType::Oid),
        ("encoding", SqlType::Integer),
        ("datlocprovider", SqlType::QChar),
        ("datistemplate", SqlType::Boolean),
        ("datallowconn", SqlType::Boolean),
        ("datconnlimit", SqlType::Integer),
        ("dattablespace", SqlType::Oid),
        ("datcollate", SqlType::Text),
        ("datctype", SqlType::Text),
        ("daticulocale", SqlType::Text),
        ("datcollversion", SqlType::Text),
        ("datacl", SqlType::Array(Box::new(SqlType::Text))),
    ]);
    for database in source.state.databases() {
        rows.push(vec![
            database.oid.into(),
            database.name.as_str().into(),
            database.owner.into(),
            6i32.into(),
            "c".into(),
            false.into(),
            true.into(),
            (-1i32).into(),
            1663u32.into(),
            "C".into(),
            "C.UTF-8".into(),
        ]);
    }
    rows
}

fn roles(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("oid", SqlType::Oid),
        ("rolname", SqlType::Name),
        ("rolsuper", SqlType::Boolean),
        ("rolinherit", SqlType::Boolean),
        ("rolcreaterole", SqlType::Boolean),
        ("rolcreatedb", SqlType::Boolean),
        ("rolcanlogin", SqlType::Boolean),
        ("rolreplication", SqlType::Boolean),
        ("rolconnlimit", SqlType::Integer),
        ("rolpassword", SqlType::Text),
        ("rolvaliduntil", SqlType::TimestampTz),
        ("rolbypassrls", SqlType::Boolean),
        ("rolconfig", SqlType::Array(Box::new(SqlType::Text))),
    ]);
    for role in source.state.roles() {
        rows.push(vec![
            role.oid.into(),
            role.name.as_str().into(),
            role.superuser.into(),
            true.into(),
            role.superuser.into(),
            role.superuser.into(),
            role.login.into(),
            false.into(),
            (-1i32).into(),
            "********".into(),
            Cell::Null,
            role.superuser.into(),
        ]);
    }
    rows
}

fn users(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("usename", SqlType::Name),
        ("usesysid", SqlType::Oid),
        ("usecreatedb", SqlType::Boolean),
        ("usesuper", SqlType::Boolean),
    ]);
    for role in source.state.roles().filter(|role| role.login) {
        rows.push(vec![role.name.as_str().into(), role.oid.into(), role.superuser.into(), role.superuser.into()]);
    }
    rows
}

fn descriptions(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("objoid", SqlType::Oid),
        ("classoid", SqlType::Oid),
        ("objsubid", SqlType::Integer),
        ("description", SqlType::Text),
    ]);
    for (_, relation) in source.relations() {
        if let Some(comment) = relation.comment() {
            rows.push(vec![relation.oid().into(), 1259u32.into(), 0i32.into(), comment.into()]);
        }
        for (index, column) in relation.columns().iter().enumerate() {
            if let Some(comment) = &column.comment {
                rows.push(vec![
                    relation.oid().into(),
                    1259u32.into(),
                    Cell::Int(index as i64 + 1),
                    comment.as_str().into(),
                ]);
            }
        }
    }
    for namespace in source.state.namespaces(source.database) {
        if let Some(comment) = &namespace.comment {
            rows.push(vec![namespace.oid.into(), 2615u32.into(), 0i32.into(), comment.as_str().into()]);
        }
    }
    rows
}

/// The server that external tables are of, for tools that ask which it is.
const FILES_SERVER: u32 = 9_000;

fn foreign_servers() -> Rows {
    let mut rows = Rows::new(&[("oid", SqlType::Oid), ("srvname", SqlType::Name), ("srvowner", SqlType::Oid)]);
    rows.push(vec![FILES_SERVER.into(), "files".into(), 10u32.into()]);
    rows
}

fn foreign_tables(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[("ftrelid", SqlType::Oid), ("ftserver", SqlType::Oid)]);
    for (_, relation) in source.relations() {
        if let Some(table) = relation.as_foreign() {
            rows.push(vec![table.oid.into(), FILES_SERVER.into()]);
        }
    }
    rows
}

fn access_methods() -> Rows {
    let mut rows = Rows::new(&[("oid", SqlType::Oid), ("amname", SqlType::Name), ("amtype", SqlType::QChar)]);
    rows.push(vec![2u32.into(), "iceberg".into(), "t".into()]);
    // Of the indexes that tools expect behind keys.
    rows.push(vec![403u32.into(), "btree".into(), "i".into()]);
    rows
}

fn tablespaces() -> Rows {
    let mut rows = Rows::new(&[("oid", SqlType::Oid), ("spcname", SqlType::Name), ("spcowner", SqlType::Oid)]);
    rows.push(vec![1663u32.into(), "pg_default".into(), 10u32.into()]);
    rows
}

fn collations() -> Rows {
    let mut rows = Rows::new(&[
        ("oid", SqlType::Oid),
        ("collname", SqlType::Name),
        ("collnamespace", SqlType::Oid),
        ("collprovider", SqlType::QChar),
    ]);
    rows.push(vec![100u32.into(), "default".into(), 11u32.into(), "d".into()]);
    rows.push(vec![950u32.into(), "C".into(), 11u32.into(), "c".into()]);
    rows
}
