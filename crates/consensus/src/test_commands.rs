//! Commands that the tests of this crate give groups.

use uuid::Uuid;
use wharf_catalog::{Command, Envelope, RelationKind, RelationName, oids};

pub(crate) fn bootstrap() -> Envelope {
    let (database, superuser) = ("wharf".to_owned(), "wharf".to_owned());
    let command = Command::Bootstrap { database, superuser, verifier: None };
    Envelope { request_id: Uuid::from_u128(1 << 64), now_ms: 0, command }
}

pub(crate) fn create_schema(number: u64) -> Envelope {
    let (database, owner) = (oids::FIRST_USER, oids::BOOTSTRAP_SUPERUSER);
    let command = Command::CreateSchema { database, name: format!("s{number}"), owner, if_not_exists: false };
    Envelope { request_id: Uuid::from_u128(number.into()), now_ms: 0, command }
}

/// What the oldest format has no words for.
pub(crate) fn drop_foreign_table(request_id: Uuid) -> Envelope {
    let command = Command::DropRelations {
        database: oids::FIRST_USER,
        kind: RelationKind::Foreign,
        names: vec![RelationName::new("public", "f")],
        if_exists: false,
        cascade: false,
        search_path: Vec::new(),
        purge: false,
    };
    Envelope { request_id, now_ms: 0, command }
}
