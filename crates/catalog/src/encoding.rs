//! The bytes of envelopes (log entries) and states (snapshots).
//!
//! Both are a big-endian `u16` format version and JSON. The bytes are canonical: equal values have equal bytes, because structs are
//! written field by field in their order and maps as lists in the order of their keys. A version this build does not know is an error
//! that says so; nothing is guessed. Fields may be added with a serde default; any other change is a new version, and
//! the old one must still be read.
//!
//! What is derived (the indexes by name) is not written but built again, and everything read is checked.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

use crate::command::{Answer, Envelope};
use crate::error::CatalogError;
use crate::model::{Database, DroppedTable, ForeignTable, Namespace, Relation, Role, Table, View};
use crate::state::State;

/// The format of envelopes that is written. Version 2 has commands about external tables, and is otherwise version 1.
const ENVELOPE_VERSION: u16 = 2;
/// The format of states that is written. Version 2 has external tables, and is otherwise version 1.
const STATE_VERSION: u16 = 2;

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

/// The bytes of a log entry.
pub fn encode_envelope(envelope: &Envelope) -> Vec<u8> {
    encode(ENVELOPE_VERSION, envelope)
}

/// Reads a log entry.
pub fn decode_envelope(bytes: &[u8]) -> Result<Envelope, EncodingError> {
    decode(COMMAND, ENVELOPE_VERSION, bytes)
}

/// The canonical bytes of a state.
pub fn encode_state(state: &State) -> Vec<u8> {
    let tables = state.relations.values().filter_map(|relation| relation.as_table().map(AsRef::as_ref));
    let views = state.relations.values().filter_map(|relation| relation.as_view().map(AsRef::as_ref));
    let foreign = state.relations.values().filter_map(|relation| relation.as_foreign().map(AsRef::as_ref));
    let requests = state.request_order.values().filter_map(|id| Some((*id, state.requests.get(id)?.as_ref())));
    encode(
        STATE_VERSION,
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
    let read: ReadState = decode(STATE, STATE_VERSION, bytes)?;
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
    read.requests.into_iter().for_each(|(id, answer)| state.remember(id, Arc::new(answer)));
    state.check().map_err(damaged)?;
    Ok(state)
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
    use crate::{Command, apply};

    fn bootstrap() -> Envelope {
        let (database, superuser) = ("wharf".to_owned(), "wharf".to_owned());
        let command = Command::Bootstrap { database, superuser, verifier: None };
        Envelope { request_id: Uuid::from_u128(1), now_ms: 0, command }
    }

    /// The bytes of a log entry are a format: this changes only with a new version.
    #[test]
    fn bytes_of_an_envelope() {
        let expected = concat!(
            "\0\u{2}{\"request_id\":\"00000000-0000-0000-0000-000000000001\",\"now_ms\":0,",
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

    /// What the version before wrote is a state and a command still.
    #[test]
    fn version_1_is_read() {
        let (state, answer) = apply(&State::new(), &bootstrap());
        assert!(answer.is_ok());
        let before = concat!(
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
        assert_eq!(decode_state(before.as_bytes()).unwrap(), state);
        let mut envelope = encode_envelope(&bootstrap());
        envelope[..2].copy_from_slice(&1_u16.to_be_bytes());
        assert_eq!(decode_envelope(&envelope).unwrap(), bootstrap());
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
}
