//! What only the session knows: its settings and its prepared statements.

use wharf_catalog::SqlType;

use super::rows::{Cell, Rows};
use super::tables::Source;

/// A prepared statement as `pg_prepared_statements` shows it.
#[derive(Clone, Debug)]
pub(crate) struct PreparedInfo {
    /// The text it was made from.
    pub(crate) statement: String,
    /// When, in microseconds since 1970.
    pub(crate) prepared_us: i64,
    /// The oids of its parameters' types.
    pub(crate) parameters: Vec<u32>,
    /// Made by PREPARE, as against by the protocol.
    pub(crate) from_sql: bool,
}

/// A table of this chapter.
pub(super) fn table(name: &str, source: &Source<'_>) -> Option<Rows> {
    Some(match name {
        "pg_settings" => settings(source),
        "pg_prepared_statements" => statements(source),
        _ => return None,
    })
}

fn settings(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("name", SqlType::Text),
        ("setting", SqlType::Text),
        ("unit", SqlType::Text),
        ("category", SqlType::Text),
        ("context", SqlType::Text),
        ("vartype", SqlType::Text),
        ("source", SqlType::Text),
        ("boot_val", SqlType::Text),
        ("reset_val", SqlType::Text),
        ("pending_restart", SqlType::Boolean),
    ]);
    let Some(session) = source.session else { return rows };
    for setting in session.settings.lock().described() {
        rows.push(vec![
            setting.name.into(),
            setting.value.into(),
            setting.unit.into(),
            "Ungrouped".into(),
            if setting.read_only { "internal" } else { "user" }.into(),
            setting.kind.into(),
            setting.source.into(),
            setting.default.into(),
            setting.initial.into(),
            false.into(),
        ]);
    }
    rows
}

fn statements(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("name", SqlType::Text),
        ("statement", SqlType::Text),
        ("prepare_time", SqlType::TimestampTz),
        ("parameter_types", SqlType::Array(Box::new(SqlType::Regtype))),
        ("from_sql", SqlType::Boolean),
        ("generic_plans", SqlType::BigInt),
        ("custom_plans", SqlType::BigInt),
    ]);
    let Some(session) = source.session else { return rows };
    for (name, info) in session.statements.lock().iter() {
        rows.push(vec![
            name.as_str().into(),
            info.statement.as_str().into(),
            info.prepared_us.into(),
            Cell::List(info.parameters.iter().map(|oid| (*oid).into()).collect()),
            info.from_sql.into(),
            0i64.into(),
            0i64.into(),
        ]);
    }
    rows
}
