//! `pg_type`: the types Wharf has, with PostgreSQL's oids.

use wharf_catalog::SqlType;

use super::rows::Rows;

/// A table of this chapter.
pub(super) fn table(name: &str) -> Option<Rows> {
    (name == "pg_type").then(types)
}

fn types() -> Rows {
    let mut rows = Rows::new(&[
        ("oid", SqlType::Oid),
        ("typname", SqlType::Name),
        ("typnamespace", SqlType::Oid),
        ("typowner", SqlType::Oid),
        ("typlen", SqlType::SmallInt),
        ("typbyval", SqlType::Boolean),
        ("typtype", SqlType::QChar),
        ("typcategory", SqlType::QChar),
        ("typispreferred", SqlType::Boolean),
        ("typisdefined", SqlType::Boolean),
        ("typdelim", SqlType::QChar),
        ("typrelid", SqlType::Oid),
        ("typelem", SqlType::Oid),
        ("typarray", SqlType::Oid),
        ("typnotnull", SqlType::Boolean),
        ("typbasetype", SqlType::Oid),
        ("typtypmod", SqlType::Integer),
        ("typndims", SqlType::Integer),
        ("typcollation", SqlType::Oid),
        ("typdefault", SqlType::Text),
    ]);
    for ty in all() {
        push(&mut rows, &ty);
        if ty.array_oid().is_some() {
            push(&mut rows, &SqlType::Array(Box::new(ty)));
        }
    }
    rows
}

fn push(rows: &mut Rows, ty: &SqlType) {
    let preferred = matches!(
        ty,
        SqlType::Boolean | SqlType::Text | SqlType::Double | SqlType::TimestampTz | SqlType::Interval | SqlType::Oid
    );
    rows.push(vec![
        ty.oid().into(),
        ty.pg_name().into(),
        11u32.into(),
        10u32.into(),
        i32::from(ty.size()).into(),
        (ty.size() > 0 && ty.size() <= 8).into(),
        if ty.category() == 'P' { "p" } else { "b" }.into(),
        ty.category().to_string().into(),
        preferred.into(),
        true.into(),
        ",".into(),
        0u32.into(),
        ty.element().map_or(0, SqlType::oid).into(),
        ty.array_oid().unwrap_or(0).into(),
        false.into(),
        0u32.into(),
        (-1i32).into(),
        0i32.into(),
        if ty.is_string() { 100u32 } else { 0 }.into(),
    ]);
}

fn all() -> Vec<SqlType> {
    vec![
        SqlType::Boolean,
        SqlType::Bytea,
        SqlType::QChar,
        SqlType::Name,
        SqlType::BigInt,
        SqlType::SmallInt,
        SqlType::Integer,
        SqlType::Text,
        SqlType::Oid,
        SqlType::Json,
        SqlType::Real,
        SqlType::Double,
        SqlType::Unknown,
        SqlType::Char(0),
        SqlType::Varchar(None),
        SqlType::Date,
        SqlType::Time,
        SqlType::Timestamp,
        SqlType::TimestampTz,
        SqlType::Interval,
        SqlType::Numeric(None),
        SqlType::Regclass,
        SqlType::Regtype,
        SqlType::Record,
        SqlType::Void,
        SqlType::Uuid,
        SqlType::Jsonb,
    ]
}
