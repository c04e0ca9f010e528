//! `pg_stat_activity`: the sessions of this node.

use std::net::SocketAddr;

use wharf_catalog::SqlType;

use super::rows::{Cell, Rows};
use super::tables::Source;
use crate::queries::{Between, Client, Doing, Running};

/// A table of this chapter.
pub(super) fn table(name: &str, source: &Source<'_>) -> Option<Rows> {
    (name == "pg_stat_activity").then(|| activity(source))
}

fn activity(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        // For everybody.
        ("datid", SqlType::Oid),
        ("datname", SqlType::Name),
        ("pid", SqlType::Integer),
        ("usesysid", SqlType::Oid),
        ("usename", SqlType::Name),
        ("application_name", SqlType::Text),
        ("query", SqlType::Text),
        // For superusers and the role itself.
        ("state", SqlType::Text),
        ("client_addr", SqlType::Text),
        ("client_port", SqlType::Integer),
        ("backend_start", SqlType::TimestampTz),
        ("query_start", SqlType::TimestampTz),
        ("wait_event_type", SqlType::Text),
        ("wait_event", SqlType::Text),
        ("backend_type", SqlType::Text),
    ]);
    let Some(session) = source.session else { return rows };
    for (client, running) in session.queries.clients() {
        let visible = session.identity.superuser || session.identity.role_oid == client.role;
        let mut cells = vec![
            client.database.into(),
            source.state.database(client.database).map(|database| database.name.as_str()).into(),
            client.process.into(),
            client.role.into(),
            source.state.role(client.role).map(|role| role.name.as_str()).into(),
            client.application().into(),
        ];
        if visible {
            cells.extend(detail(&client, running.as_deref()));
        } else {
            cells.push("<insufficient privilege>".into());
        }
        rows.push(cells);
    }
    rows
}

/// From `query` on.
fn detail(client: &Client, running: Option<&Running>) -> [Cell; 9] {
    let state = match (running, client.between()) {
        (Some(_), _) => "active",
        (None, Between::Idle) => "idle",
        (None, Between::Open) => "idle in transaction",
        (None, Between::Failed) => "idle in transaction (aborted)",
    };
    let (wait_type, wait) = match running.map(Running::doing) {
        Some(Doing::Running) => (None, None),
        Some(Doing::Queued) => (Some("Extension"), Some("StatementQueue")),
        Some(Doing::Sending) => (Some("Client"), Some("ClientWrite")),
        Some(Doing::Receiving) | None => (Some("Client"), Some("ClientRead")),
    };
    let address: Option<SocketAddr> = client.peer.parse().ok();
    [
        running.map_or_else(String::new, |running| running.text().unwrap_or_default()).into(),
        state.into(),
        address.map(|address| address.ip().to_string()).into(),
        address.map(|address| i32::from(address.port())).into(),
        client.started_us.into(),
        running.map(|running| running.started_us).into(),
        wait_type.into(),
        wait.into(),
        "client backend".into(),
    ]
}
