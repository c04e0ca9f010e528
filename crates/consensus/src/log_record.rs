//! The bytes of what the log store keeps.
//!
//! Every record begins with a big-endian `u16` format version; one that this build does not know is an error that says so. An
//! entry is then its log id, a kind and the kind's body; the commands inside are encoded by `wharf-catalog` with versions of
//! their own. Votes and log ids are JSON.

use openraft::{CommittedLeaderId, EntryPayload, Membership};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::raft_types::{Entry, LogId, Proposal};

/// The format that is written.
const VERSION: u16 = 1;

const BLANK: u8 = 0;
const COMMANDS: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Bytes that are not a record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("{what} has format version {found}, this version of wharf reads up to {VERSION}")]
    NewerVersion { what: &'static str, found: u16 },
    #[error("{what} is not readable: {reason}")]
    Damaged { what: &'static str, reason: String },
}

impl RecordError {
    /// The newest format that can be read.
    pub(crate) const SUPPORTED: u16 = VERSION;
}

/// The bytes of a small record.
pub(crate) fn encode_small(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = VERSION.to_be_bytes().to_vec();
    serde_json::to_writer(&mut bytes, value).expect("votes and log ids are structs of numbers");
    bytes
}

/// Reads a small record.
pub(crate) fn decode_small<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, RecordError> {
    let body = check_version(what, bytes)?;
    serde_json::from_slice(body).map_err(|error| RecordError::Damaged { what, reason: error.to_string() })
}

/// The bytes of a log entry.
pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    let mut bytes = VERSION.to_be_bytes().to_vec();
    for number in [entry.log_id.leader_id.term, entry.log_id.leader_id.node_id, entry.log_id.index] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    match &entry.payload {
        EntryPayload::Blank => bytes.push(BLANK),
        EntryPayload::Normal(proposal) => {
            bytes.push(COMMANDS);
            let count = u32::try_from(proposal.commands.len()).expect("the proposer batches few commands");
            bytes.extend_from_slice(&count.to_be_bytes());
            for command in &proposal.commands {
                let length = u32::try_from(command.len()).expect("the proposer takes no command of 4 GiB");
                bytes.extend_from_slice(&length.to_be_bytes());
                bytes.extend_from_slice(command);
            }
        }
        EntryPayload::Membership(membership) => {
            bytes.push(MEMBERSHIP);
            serde_json::to_writer(&mut bytes, membership).expect("a membership has no map keys but numbers");
        }
    }
    bytes
}

/// Reads the log entry that is stored at an index.
pub(crate) fn decode_entry(index: u64, bytes: &[u8]) -> Result<Entry, RecordError> {
    let what = "log entry";
    let damaged = |reason: &str| RecordError::Damaged { what, reason: format!("{reason} (index {index})") };
    let mut body = check_version(what, bytes)?;
    let mut number = || -> Result<u64, RecordError> {
        let (first, rest) = body.split_first_chunk::<8>().ok_or_else(|| damaged("it is too short"))?;
        body = rest;
        Ok(u64::from_be_bytes(*first))
    };
    let (term, node, stored) = (number()?, number()?, number()?);
    if stored != index {
        return Err(damaged("it is another entry's"));
    }
    let (kind, body) = body.split_first().ok_or_else(|| damaged("it is too short"))?;
    let payload = match (*kind, body) {
        (BLANK, []) => EntryPayload::Blank,
        (COMMANDS, body) => {
            let commands = split_commands(body).ok_or_else(|| damaged("its commands are cut off"))?;
            EntryPayload::Normal(Proposal { commands })
        }
        (MEMBERSHIP, body) => {
            let membership = serde_json::from_slice::<Membership<_, _>>(body);
            EntryPayload::Membership(membership.map_err(|error| damaged(&error.to_string()))?)
        }
        _ => return Err(damaged("its kind is not known")),
    };
    Ok(Entry { log_id: LogId::new(CommittedLeaderId::new(term, node), index), payload })
}

fn split_commands(mut body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (count, rest) = body.split_first_chunk::<4>()?;
    body = rest;
    let mut commands = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (length, rest) = body.split_first_chunk::<4>()?;
        let (command, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        commands.push(command.to_vec());
        body = rest;
    }
    body.is_empty().then_some(commands)
}

fn check_version<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a [u8], RecordError> {
    let cut_off = || RecordError::Damaged { what, reason: "it is too short".to_owned() };
    let (version, body) = bytes.split_first_chunk().ok_or_else(cut_off)?;
    match u16::from_be_bytes(*version) {
        0 => Err(RecordError::Damaged { what, reason: "format version 0".to_owned() }),
        found if found > VERSION => Err(RecordError::NewerVersion { what, found }),
        _ => Ok(body),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::{BTreeMap, BTreeSet};

    use uuid::Uuid;

    use super::*;
    use crate::raft_types::Member;

    fn entries() -> Vec<Entry> {
        let member = |addr: &str| Member { addr: addr.to_owned(), instance: Uuid::from_u128(5) };
        let nodes = BTreeMap::from([(1, member("a:1")), (2, member("b:2"))]);
        let membership = Membership::new(vec![BTreeSet::from([1])], nodes);
        let commands = vec![b"first".to_vec(), Vec::new(), b"third".to_vec()];
        let payloads =
            [EntryPayload::Blank, EntryPayload::Normal(Proposal { commands }), EntryPayload::Membership(membership)];
        let ids = (7..).map(|index| LogId::new(CommittedLeaderId::new(3, 1), index));
        ids.zip(payloads).map(|(log_id, payload)| Entry { log_id, payload }).collect()
    }

    #[test]
    fn entries_are_read_back() {
        for entry in entries() {
            let bytes = encode_entry(&entry);
            assert_eq!(decode_entry(entry.log_id.index, &bytes).unwrap(), entry);
            assert!(decode_entry(entry.log_id.index + 1, &bytes).is_err());
            for length in 0..bytes.len() {
                assert!(decode_entry(entry.log_id.index, &bytes[..length]).is_err(), "{length} of {entry:?}");
            }
        }
    }

    /// A membership as the first version of wharf wrote it, whose members had an address and nothing else.
    #[test]
    fn a_membership_of_the_first_version_is_read() {
        let mut bytes = encode_entry(&entries()[0]);
        *bytes.last_mut().unwrap() = MEMBERSHIP;
        bytes.extend_from_slice(br#"{"configs":[[1]],"nodes":{"1":{"addr":""}}}"#);
        let EntryPayload::Membership(membership) = decode_entry(7, &bytes).unwrap().payload else {
            panic!("a membership");
        };
        assert_eq!(membership.get_node(&1), Some(&Member::default()));
        let again = serde_json::to_string(&membership).unwrap();
        assert_eq!(again, r#"{"configs":[[1]],"nodes":{"1":{"addr":""}}}"#);
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = encode_entry(&entries()[0]);
        bytes[1] = 9;
        let error = decode_entry(7, &bytes).unwrap_err();
        assert_eq!(error.to_string(), "log entry has format version 9, this version of wharf reads up to 1");
    }
}
