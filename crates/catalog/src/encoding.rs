//! The bytes of envelopes (log entries) and states (snapshots).
//!
//! Both are a big-endian `u16` format version and JSON. The bytes are canonical: equal values have equal bytes, because
//! structs are written field by field in their order and maps as lists in the order of their keys, and in the lowest
//! version that can say them (`format`). A version this build does not know is an error that says so; nothing is
//! guessed. A field may be added with a serde default and left out at that default; when it has another value, what it
//! is in needs a new version, since a node of the version before would pass it over and come to another state. Any
//! other change is a new version too, and the old one must still be read.
//!
//! What is derived (the indexes by name) is not written but built again, and everything read is checked.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

use crate::command::{Answer, Envelope};
use crate::error::CatalogError;
use crate::format::{NEWEST_FORMAT, tells};
use crate::model::{Database, DroppedTable, ForeignTable, Namespace, Relation, Role, Table, View};
use crate::state::State;

/// Bytes that are not an envelope or a state.
#[derive(Debug, thiserror::Error)]
pub enum EncodingError {
    /// Written by a newer Wharf.
    #[error("{what} has format version {found}, this version of wharf reads up to {supported}")]
    NewerVersion {
        /// `catalog command` or `catalog state`.
        what: &'static str,
        /// The version in the bytes.
        found: u16,
        /// The newest that can be read.
        supported: u16,
    },
    /// Not even a version, or a version that never was.
    #[error("{what} is damaged: {reason}")]
    Damaged {
        /// `catalog command` or `catalog state`.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
}

const COMMAND: &str = "catalog command";
const STATE: &str = "catalog state";

/// The bytes of a log entry, in the lowest version that can say it.
pub fn encode_envelope(envelope: &Envelope) -> Vec<u8> {
    encode(envelope.format(), envelope)
}

/// Reads a log entry.
pub fn decode_envelope(bytes: &[u8]) -> Result<Envelope, EncodingError> {
    decode(COMMAND, NEWEST_FORMAT, bytes)
}

/// The canonical bytes of a state, in the lowest version that can say it.
pub fn encode_state(state: &State) -> Vec<u8> {
    let tables = state.relations.values().filter_map(|relation| relation.as_table().map(AsRef::as_ref));
    let views = state.relations.values().filter_map(|relation| relation.as_view().map(AsRef::as_ref));
    let foreign = state.relations.values().filter_map(|relation| relation.as_foreign().map(AsRef::as_ref));
    let requests = state.request_order.values().filter_map(|id| Some((*id, state.requests.get(id)?.as_ref())));
    encode(
        state.format(),
        &WrittenState {
            next_oid: state.next_oid,
            revision: state.revision,
            definitions: state.definitions,
            databases: state.databases.values().map(AsRef::as_ref).collect(),
            roles: state.roles.values().map(AsRef::as_ref).collect(),
            namespaces: state.namespaces.values().map(AsRef::as_ref).collect(),
            tables: tables.collect(),
            views: views.collect(),
            foreign: foreign.collect(),
            dropped: state.dropped.values().map(AsRef::as_ref).collect(),
            next_request: state.next_request,
            requests: requests.collect(),
        },
    )
}

/// Reads a state and checks that it is a sound one.
pub fn decode_state(bytes: &[u8]) -> Result<State, EncodingError> {
    let read: ReadState = decode(STATE, NEWEST_FORMAT, bytes)?;
    let damaged = |reason: String| EncodingError::Damaged { what: STATE, reason };
    let first = read.next_request.checked_sub(read.requests.len() as u64);
    let first = first.ok_or_else(|| damaged("more requests than there ever were".to_owned()))?;
    let mut state = State::new();
    (state.next_oid, state.revision, state.next_request) = (read.next_oid, read.revision, first);
    state.definitions = read.definitions;
    read.databases.into_iter().for_each(|database| state.put_database(database));
    read.roles.into_iter().for_each(|role| state.put_role(role));
    read.namespaces.into_iter().for_each(|namespace| state.put_namespace(namespace));
    read.tables.into_iter().for_each(|table| state.put_relation(Relation::Table(Arc::new(table))));
    read.views.into_iter().for_each(|view| state.put_relation(Relation::View(Arc::new(view))));
    read.foreign.into_iter().for_each(|table| state.put_relation(Relation::Foreign(Arc::new(table))));
    read.dropped.into_iter().for_each(|dropped| state.put_dropped(dropped));
    read.requests.into_iter().for_each(|(id, answer)| state.remember(id, Arc::new(as_now(answer))));
    state.check().map_err(damaged)?;
    Ok(state)
}

/// An answer as this build gives it. Builds before it said what was found in place of what was named also where that follows
/// from the other, and states are compared by their bytes.
fn as_now(answer: Result<Answer, CatalogError>) -> Result<Answer, CatalogError> {
    answer.map_err(|error| match error {
        CatalogError::WrongObjectType { name, expected, drop, found } => {
            CatalogError::WrongObjectType { name, expected, drop, found: found.filter(|found| tells(expected, *found)) }
        }
        other => other,
    })
}

/// A state as it is written.
#[derive(Serialize)]
struct WrittenState<'a> {
    next_oid: u32,
    revision: u64,
    definitions: u64,
    databases: Vec<&'a Database>,
    roles: Vec<&'a Role>,
    namespaces: Vec<&'a Namespace>,
    tables: Vec<&'a Table>,
    views: Vec<&'a View>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    foreign: Vec<&'a ForeignTable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<&'a DroppedTable>,
    next_request: u64,
    requests: Vec<(Uuid, &'a Result<Answer, CatalogError>)>,
}

/// The same, as it is read.
#[derive(Deserialize)]
struct ReadState {
    next_oid: u32,
    revision: u64,
    /// Not there in what was written before there was DDL in transactions.
    #[serde(default)]
    definitions: u64,
    databases: Vec<Database>,
    roles: Vec<Role>,
    namespaces: Vec<Namespace>,
    tables: Vec<Table>,
    views: Vec<View>,
    /// Not there in version 1.
    #[serde(default)]
    foreign: Vec<ForeignTable>,
    #[serde(default)]
    dropped: Vec<DroppedTable>,
    next_request: u64,
    requests: Vec<(Uuid, Result<Answer, CatalogError>)>,
}

fn encode(version: u16, value: &impl Serialize) -> Vec<u8> {
    let mut bytes = version.to_be_bytes().to_vec();
    serde_json::to_writer(&mut bytes, value)
        .expect("these types have no map keys but strings, and memory takes all writes");
    bytes
}

fn decode<T: for<'a> Deserialize<'a>>(what: &'static str, supported: u16, bytes: &[u8]) -> Result<T, EncodingError> {
    let damaged = |reason: String| EncodingError::Damaged { what, reason };
    let (version, body) = bytes.split_first_chunk().ok_or_else(|| damaged("it is too short".to_owned()))?;
    match u16::from_be_bytes(*version) {
        0 => Err(damaged("format version 0".to_owned())),
        found if found > supported => Err(EncodingError::NewerVersion { what, found, supported }),
        _ => serde_json::from_slice(body).map_err(|error| damaged(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::command::{Command, CommentTarget, RelationName};
    use crate::model::{Column, ForeignSource, RelationKind, oids};
    use crate::{SqlType, apply};

    fn bootstrap() -> Envelope {
        let (database, superuser) = ("wharf".to_owned(), "wharf".to_owned());
        let command = Command::Bootstrap { database, superuser, verifier: None };
        Envelope { request_id: Uuid::from_u128(1), now_ms: 0, command }
    }

    /// The bytes of a log entry are a format: this changes only with a new version.
    #[test]
    fn bytes_of_an_envelope() {
        let expected = concat!(
            "\0\u{1}{\"request_id\":\"00000000-0000-0000-0000-000000000001\",\"now_ms\":0,",
            "\"command\":{\"Bootstrap\":{\"database\":\"wharf\",\"superuser\":\"wharf\",\"verifier\":null}}}",
        );
        assert_eq!(String::from_utf8(encode_envelope(&bootstrap())).unwrap(), expected);
        assert_eq!(decode_envelope(expected.as_bytes()).unwrap(), bootstrap());
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = encode_envelope(&bootstrap());
        bytes[..2].copy_from_slice(&7_u16.to_be_bytes());
        let error = decode_envelope(&bytes).unwrap_err();
        assert_eq!(error.to_string(), "catalog command has format version 7, this version of wharf reads up to 2");
    }

    /// A state as version 1 wrote it.
    const BEFORE: &str = concat!(
        "\0\u{1}{\"next_oid\":16385,\"revision\":1,\"definitions\":1,",
        "\"databases\":[{\"oid\":16384,\"name\":\"wharf\",\"owner\":10,\"comment\":null}],",
        "\"roles\":[{\"oid\":10,\"name\":\"wharf\",\"superuser\":true,\"login\":true,\"password\":null,\"comment\":null}],",
        "\"namespaces\":[",
        "{\"oid\":11,\"name\":\"pg_catalog\",\"database\":0,\"owner\":10,\"comment\":\"system catalog schema\"},",
        "{\"oid\":2200,\"name\":\"public\",\"database\":16384,\"owner\":10,\"comment\":\"standard public schema\"},",
        "{\"oid\":13207,\"name\":\"information_schema\",\"database\":0,\"owner\":10,\"comment\":null}],",
        "\"tables\":[],\"views\":[],\"next_request\":1,",
        "\"requests\":[[\"00000000-0000-0000-0000-000000000001\",",
        "{\"Ok\":{\"effect\":{\"Created\":{\"oid\":16384}},\"notices\":[]}}]]}",
    );

    /// Without external tables, what is written is what version 1 wrote, byte for byte; so were the hashes.
    #[test]
    fn version_1_is_read_and_written() {
        let (state, answer) = apply(&State::new(), &bootstrap());
        assert!(answer.is_ok());
        assert_eq!(decode_state(BEFORE.as_bytes()).unwrap(), state);
        assert_eq!(String::from_utf8(encode_state(&state)).unwrap(), BEFORE);
    }

    /// For a while, version 2 was written whatever was in it.
    #[test]
    fn a_higher_version_than_needed_is_read() {
        let (state, _) = apply(&State::new(), &bootstrap());
        let mut bytes = BEFORE.as_bytes().to_vec();
        bytes[..2].copy_from_slice(&2_u16.to_be_bytes());
        assert_eq!(decode_state(&bytes).unwrap(), state);
        let mut envelope = encode_envelope(&bootstrap());
        envelope[..2].copy_from_slice(&2_u16.to_be_bytes());
        assert_eq!(decode_envelope(&envelope).unwrap(), bootstrap());
    }

    fn envelope(number: u128, command: Command) -> Envelope {
        Envelope { request_id: Uuid::from_u128(number), now_ms: 0, command }
    }

    fn create_foreign() -> Command {
        let (name, ty) = ("a".to_owned(), SqlType::Text);
        let column = Column { name, ty, nullable: true, field_id: 1, comment: None, default: None };
        let locations = vec!["s3://bucket/*.csv".to_owned()];
        let source = ForeignSource { locations, format: "csv".to_owned(), options: Vec::new() };
        Command::CreateForeignTable {
            database: oids::FIRST_USER,
            name: RelationName::new("public", "f"),
            columns: vec![column],
            source,
            owner: oids::BOOTSTRAP_SUPERUSER,
            if_not_exists: false,
        }
    }

    fn drop_relation(kind: RelationKind, name: &str) -> Command {
        Command::DropRelations {
            database: oids::FIRST_USER,
            kind,
            names: vec![RelationName::new("public", name)],
            if_exists: false,
            cascade: false,
            search_path: Vec::new(),
            purge: false,
        }
    }

    fn comment(kind: RelationKind) -> Command {
        let on = CommentTarget::Relation { kind, name: RelationName::new("public", "f") };
        Command::Comment { database: oids::FIRST_USER, on, text: None }
    }

    fn version(bytes: &[u8]) -> u16 {
        u16::from_be_bytes(*bytes.first_chunk().unwrap())
    }

    /// A build that knows version 1 alone reads what says nothing of external tables, and says so of the rest.
    #[test]
    fn commands_are_written_in_the_lowest_version_that_can_say_them() {
        let (table, foreign) = (RelationKind::Table, RelationKind::Foreign);
        let clone = |create: Command| Command::CloneTable {
            create: Box::new(create),
            source: Uuid::from_u128(9),
            source_head: String::new(),
        };
        let rename = |kind| Command::RenameRelation {
            database: oids::FIRST_USER,
            kind,
            name: RelationName::new("public", "f"),
            new_name: "g".to_owned(),
            if_exists: false,
            views: Vec::new(),
        };
        let place = |kind| Command::MoveRelation {
            database: oids::FIRST_USER,
            kind,
            name: RelationName::new("public", "f"),
            schema: "s".to_owned(),
            if_exists: false,
            views: Vec::new(),
        };
        let expect = || Command::Expect { definitions: Some(1), heads: Vec::new() };
        let commands = [
            (1, bootstrap().command),
            (1, drop_relation(table, "f")),
            (1, drop_relation(RelationKind::View, "f")),
            (1, rename(table)),
            (1, place(table)),
            (1, comment(table)),
            (1, Command::Comment { database: 1, on: CommentTarget::Schema("s".to_owned()), text: None }),
            (1, Command::Batch(vec![expect(), drop_relation(table, "f")])),
            (1, Command::Batch(Vec::new())),
            (1, clone(expect())),
            (2, create_foreign()),
            (2, drop_relation(foreign, "f")),
            (2, rename(foreign)),
            (2, place(foreign)),
            (2, comment(foreign)),
            (2, Command::Batch(vec![expect(), create_foreign(), expect()])),
            (2, clone(create_foreign())),
        ];
        for (expected, command) in commands {
            let envelope = envelope(2, command);
            let bytes = encode_envelope(&envelope);
            assert_eq!((version(&bytes), envelope.format()), (expected, expected), "{envelope:?}");
            assert_eq!(decode_envelope(&bytes).unwrap(), envelope);
            match decode::<Envelope>(COMMAND, 1, &bytes) {
                Ok(read) => assert_eq!((expected, read), (1, envelope)),
                Err(EncodingError::NewerVersion { found: 2, supported: 1, .. }) => assert_eq!(expected, 2),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// External tables take version 2, and so does what was answered about them as long as it is remembered.
    #[test]
    fn states_are_written_in_the_lowest_version_that_can_say_them() {
        let after = |commands: Vec<Command>| {
            let (mut state, _) = apply(&State::new(), &bootstrap());
            for (number, command) in (2..).zip(commands) {
                state = apply(&state, &envelope(number, command)).0;
            }
            state
        };
        let schema = || Command::CreateSchema {
            database: oids::FIRST_USER,
            name: "s".to_owned(),
            owner: oids::BOOTSTRAP_SUPERUSER,
            if_not_exists: false,
        };
        let (table, foreign) = (RelationKind::Table, RelationKind::Foreign);
        let view = Command::CreateView {
            database: oids::FIRST_USER,
            name: RelationName::new("public", "v"),
            columns: Vec::new(),
            definition: "SELECT".to_owned(),
            depends_on: Vec::new(),
            owner: oids::BOOTSTRAP_SUPERUSER,
            or_replace: false,
        };
        let states = [
            (1, after(Vec::new())),
            (1, after(vec![schema(), schema(), drop_relation(table, "f")])),
            // What it is goes without saying.
            (1, after(vec![view.clone(), drop_relation(table, "v")])),
            (2, after(vec![create_foreign()])),
            (2, after(vec![create_foreign(), drop_relation(table, "f")])),
            (2, after(vec![Command::Batch(vec![create_foreign(), drop_relation(table, "f")])])),
            (2, after(vec![drop_relation(foreign, "f")])),
            (2, after(vec![view, drop_relation(foreign, "v")])),
        ];
        for (expected, state) in states {
            let bytes = encode_state(&state);
            let text = String::from_utf8_lossy(&bytes[2..]).into_owned();
            assert_eq!((version(&bytes), state.format()), (expected, expected), "{text}");
            assert_eq!(text.contains("Foreign") || text.contains("foreign"), expected == 2, "{text}");
            assert_eq!(decode_state(&bytes).unwrap(), state);
            assert_eq!(decode::<ReadState>(STATE, 1, &bytes).is_ok(), expected == 1, "{text}");
        }
    }

    #[test]
    fn damage_is_an_error() {
        let (state, answer) = apply(&State::new(), &bootstrap());
        assert!(answer.is_ok());
        let bytes = encode_state(&state);
        for length in 0..bytes.len() {
            assert!(matches!(decode_state(&bytes[..length]), Err(EncodingError::Damaged { .. })), "{length}");
        }
        // Sound JSON, but the schemas have lost their owner.
        let text = String::from_utf8(bytes).unwrap().replace("\"oid\":10,", "\"oid\":12,");
        let error = decode_state(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "catalog state is damaged: database without its owner (16384)");
    }

    #[test]
    fn answers_of_builds_before_are_as_this_one_gives_them() {
        let (table, view, foreign) = (RelationKind::Table, RelationKind::View, RelationKind::Foreign);
        let wrong = |expected, found| CatalogError::WrongObjectType {
            name: "v".to_owned(),
            expected,
            drop: true,
            found: Some(found),
        };
        let (mut state, _) = apply(&State::new(), &bootstrap());
        let (plain, telling) = (Uuid::from_u128(101), Uuid::from_u128(102));
        state.remember(plain, Arc::new(Err(wrong(table, view))));
        state.remember(telling, Arc::new(Err(wrong(table, foreign))));
        let read = decode_state(&encode_state(&state)).unwrap();
        let found = |id| match read.requests.get(&id).map(AsRef::as_ref) {
            Some(Err(CatalogError::WrongObjectType { found, .. })) => *found,
            other => panic!("{other:?}"),
        };
        assert_eq!((found(plain), found(telling)), (None, Some(foreign)));
    }
}
