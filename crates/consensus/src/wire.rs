//! The bytes that nodes send to each other.
//!
//! What always holds: the first bytes of a frame (version, kind, cluster, sender, receiver) and the whole of a hello
//! are the same in all versions, so that two nodes can always find out which version to speak, or say clearly why they
//! cannot. Only at the end of a hello may something be added: who does not know it passes over it. A frame is answered
//! in its own version. All numbers are big endian.
//!
//! ```text
//! request  u16 version | u8 kind | 16 cluster | u64 from | u64 to | body
//! answer   u16 version | u8 status | body
//! hello    u16 oldest and u16 newest version spoken | u16 newest format of the catalog, if it is said
//! ```
//!
//! Log entries inside have the encoding (and version) of the log, commands and answers that of `wharf-catalog`.

use bytes::{BufMut, Bytes, BytesMut};
use openraft::error::InstallSnapshotError;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wharf_catalog::{NEWEST_FORMAT, OLDEST_FORMAT};

use crate::error::ConsensusError;
use crate::log_record;
use crate::raft_types::{CommandAnswer, LogId, NodeId, SnapshotMeta, TypeConfig, Vote};

/// The versions of the format that a node speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Versions {
    pub(crate) oldest: u16,
    pub(crate) newest: u16,
}

impl Versions {
    /// Those of this build: the newest and, once there is one, the version before it, so that a group can be upgraded node by node.
    pub(crate) const OURS: Versions = Versions { oldest: 1, newest: 1 };

    /// The newest that both speak.
    pub(crate) fn common(self, other: Versions) -> Option<u16> {
        let version = self.newest.min(other.newest);
        (version >= self.oldest && version >= other.oldest).then_some(version)
    }

    fn contains(self, version: u16) -> bool {
        (self.oldest..=self.newest).contains(&version)
    }
}

/// What a node says of itself in a hello and in the answer to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) versions: Versions,
    /// The newest format of the catalog's commands and states that it reads; none: it is of a build that did not say
    /// that yet.
    pub(crate) catalog: Option<u16>,
}

impl Hello {
    /// That of this build.
    pub(crate) const OURS: Hello = Hello { versions: Versions::OURS, catalog: Some(NEWEST_FORMAT) };

    /// The newest format of the catalog that the node is known to read.
    pub(crate) fn reads(self) -> u16 {
        self.catalog.unwrap_or(OLDEST_FORMAT)
    }
}

const HELLO: u8 = 0;
const VOTE: u8 = 1;
const APPEND: u8 = 2;
const SNAPSHOT: u8 = 3;
const PROPOSE: u8 = 4;
const READ_INDEX: u8 = 5;
const JOIN: u8 = 6;
const STATE_HASH: u8 = 7;
const ELECT: u8 = 8;
const CHANGE: u8 = 9;

/// A status: the body is what was asked for.
const ANSWERED: u8 = 0;
/// A status: the body is a [`Refusal`].
const REFUSED: u8 = 1;
/// A status: the version of the request is not spoken; the body is [`Versions`], two `u16`.
const VERSION_REFUSED: u8 = 2;

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) version: u16,
    /// The sender's; nil when it belongs to none yet.
    pub(crate) cluster: Uuid,
    /// Who sends; 0 when it has no number yet.
    pub(crate) from: NodeId,
    /// Who is meant; 0 for whoever has the address.
    pub(crate) to: NodeId,
}

/// A node that wants to be in the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Join {
    /// By which it is known when it asks again.
    pub(crate) instance: Uuid,
    /// Where it can be called.
    pub(crate) address: String,
    /// As in its [`Hello`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) catalog: Option<u16>,
}

impl Join {
    /// The newest format of the catalog that the node is known to read.
    pub(crate) fn reads(&self) -> u16 {
        self.catalog.unwrap_or(OLDEST_FORMAT)
    }
}

/// What a node that joins is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Joined {
    pub(crate) cluster: Uuid,
    pub(crate) node: NodeId,
    /// Number and address of all members.
    pub(crate) members: Vec<(NodeId, String)>,
}

/// A change of the group that only its leader can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// Takes a node out of the group.
    Remove(NodeId),
    /// Makes a voter the leader.
    Transfer(NodeId),
}

/// What is asked of another node.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Which versions do you speak?
    Hello(Hello),
    Vote(VoteRequest<NodeId>),
    Append(AppendEntriesRequest<TypeConfig>),
    Snapshot(InstallSnapshotRequest<TypeConfig>),
    /// A command, encoded, and how long its sender waits.
    Propose {
        timeout_ms: u64,
        command: Bytes,
    },
    /// Up to where must a state be applied that has everything answered so far?
    ReadIndex,
    Join(Join),
    /// The hash of the state right after an index.
    StateHash {
        index: u64,
        /// As in the sender's [`Hello`].
        catalog: Option<u16>,
    },
    /// Stand for election now.
    Elect,
    Change(Change),
}

/// Why a node does not answer what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it speaks versions {} to {} of the peer protocol", .0.oldest, .0.newest)]
    Version(Versions),
    #[error("it belongs to cluster {0}")]
    Cluster(Uuid),
    #[error("it is node {0}")]
    Node(NodeId),
    #[error("it does not lead the group")]
    NotLeader { leader: Option<(NodeId, String)> },
    #[error("node {0} is not a member of the group")]
    NotMember(NodeId),
    #[error("the request is not readable: {0}")]
    Unreadable(String),
    #[error("{0}")]
    Failed(String),
}

/// What the answer to a proposal is, when it is not the catalog's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ProposeError {
    TooLarge {
        size_bytes: usize,
        limit_bytes: usize,
    },
    Overloaded {
        limit: usize,
    },
    DiskFull {
        path: String,
        needed_bytes: u64,
    },
    Timeout {
        after_ms: u64,
    },
    OlderMembers {
        format: u16,
        members: Vec<(NodeId, Option<u16>)>,
    },
    /// Not the leader's to answer: someone else leads now, or it stops.
    Elsewhere,
}

impl ProposeError {
    /// An error of the leader, for a node that asked for somebody.
    pub(crate) fn of(error: &ConsensusError) -> Self {
        match error {
            ConsensusError::CommandTooLarge { size_bytes, limit_bytes } => {
                ProposeError::TooLarge { size_bytes: *size_bytes, limit_bytes: *limit_bytes }
            }
            ConsensusError::Overloaded { limit } => ProposeError::Overloaded { limit: *limit },
            ConsensusError::DiskFull { path, needed_bytes } => {
                ProposeError::DiskFull { path: path.display().to_string(), needed_bytes: *needed_bytes }
            }
            ConsensusError::Timeout { after } => {
                ProposeError::Timeout { after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX) }
            }
            ConsensusError::OlderMembers { format, members } => {
                ProposeError::OlderMembers { format: *format, members: members.clone() }
            }
            _ => ProposeError::Elsewhere,
        }
    }

    /// As the error of the node that was asked; none when another node may answer.
    pub(crate) fn into_error(self) -> Option<ConsensusError> {
        Some(match self {
            ProposeError::TooLarge { size_bytes, limit_bytes } => {
                ConsensusError::CommandTooLarge { size_bytes, limit_bytes }
            }
            ProposeError::Overloaded { limit } => ConsensusError::Overloaded { limit },
            ProposeError::DiskFull { path, needed_bytes } => {
                ConsensusError::DiskFull { path: path.into(), needed_bytes }
            }
            ProposeError::Timeout { after_ms } => {
                ConsensusError::Timeout { after: std::time::Duration::from_millis(after_ms) }
            }
            ProposeError::OlderMembers { format, members } => ConsensusError::OlderMembers { format, members },
            ProposeError::Elsewhere => return None,
        })
    }
}

/// Why a change was not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ChangeError {
    UnknownMember(NodeId),
    Refused(String),
}

impl ChangeError {
    /// An error of the leader, for a node that asked for somebody.
    pub(crate) fn of(error: &ConsensusError) -> Self {
        match error {
            ConsensusError::UnknownMember { node } => ChangeError::UnknownMember(*node),
            ConsensusError::ChangeRefused { reason } => ChangeError::Refused(reason.clone()),
            error => ChangeError::Refused(error.to_string()),
        }
    }

    /// As the error of the node that was asked.
    pub(crate) fn into_error(self) -> ConsensusError {
        match self {
            ChangeError::UnknownMember(node) => ConsensusError::UnknownMember { node },
            ChangeError::Refused(reason) => ConsensusError::ChangeRefused { reason },
        }
    }
}

/// The answers, by what was asked.
pub(crate) type VoteAnswer = VoteResponse<NodeId>;
pub(crate) type AppendAnswer = AppendEntriesResponse<NodeId>;
pub(crate) type SnapshotAnswer = Result<InstallSnapshotResponse<NodeId>, InstallSnapshotError>;
pub(crate) type ProposeAnswer = Result<CommandAnswer, ProposeError>;
/// The index up to which a reader has to apply.
pub(crate) type ReadIndexAnswer = Option<u64>;
pub(crate) type ChangeAnswer = Result<(), ChangeError>;
/// None when the node does not know it (any more).
pub(crate) type StateHashAnswer = Option<[u8; 32]>;

/// All of an append but its entries.
#[derive(Serialize, Deserialize)]
struct AppendHead {
    vote: Vote,
    prev_log_id: Option<LogId>,
    leader_commit: Option<LogId>,
}

/// All of a snapshot's chunk but its data.
#[derive(Serialize, Deserialize)]
struct SnapshotHead {
    vote: Vote,
    meta: SnapshotMeta,
    offset: u64,
    done: bool,
}

/// The bytes of a request.
pub(crate) fn encode_request(head: Head, request: &Request) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u16(head.version);
    bytes.put_u8(kind_of(request));
    bytes.put_slice(head.cluster.as_bytes());
    bytes.put_u64(head.from);
    bytes.put_u64(head.to);
    match request {
        Request::Hello(hello) => put_hello(&mut bytes, *hello),
        Request::Vote(vote) => put_json(&mut bytes, vote),
        Request::Append(append) => {
            let AppendEntriesRequest { vote, prev_log_id, entries, leader_commit } = append;
            put_sized_json(
                &mut bytes,
                &AppendHead { vote: *vote, prev_log_id: *prev_log_id, leader_commit: *leader_commit },
            );
            for entry in entries {
                bytes.put_u64(entry.log_id.index);
                put_sized(&mut bytes, &log_record::encode_entry(entry));
            }
        }
        Request::Snapshot(chunk) => {
            let InstallSnapshotRequest { vote, meta, offset, data, done } = chunk;
            put_sized_json(&mut bytes, &SnapshotHead { vote: *vote, meta: meta.clone(), offset: *offset, done: *done });
            bytes.put_slice(data);
        }
        Request::Propose { timeout_ms, command } => {
            bytes.put_u64(*timeout_ms);
            bytes.put_slice(command);
        }
        Request::ReadIndex | Request::Elect => {}
        Request::Join(join) => put_json(&mut bytes, join),
        Request::StateHash { index, catalog } => {
            bytes.put_u64(*index);
            put_catalog(&mut bytes, *catalog);
        }
        Request::Change(change) => put_json(&mut bytes, change),
    }
    bytes.freeze()
}

/// Reads a request; the head also of one whose body cannot be read.
///
/// # Errors
/// [`Refusal::Version`] for a version that is not among ours, [`Refusal::Unreadable`] for bytes that are no request.
pub(crate) fn decode_request(ours: Versions, bytes: &Bytes) -> (Head, Result<Request, Refusal>) {
    let mut reader = Reader(bytes.clone());
    let nobody = Head { version: ours.oldest, cluster: Uuid::nil(), from: 0, to: 0 };
    let head = || -> Option<(Head, u8)> {
        let (version, kind) = (reader.u16()?, reader.take(1)?[0]);
        let cluster = Uuid::from_slice(&reader.take(16)?).ok()?;
        Some((Head { version, cluster, from: reader.u64()?, to: reader.u64()? }, kind))
    };
    let mut head = head;
    let Some((head, kind)) = head() else {
        return (nobody, Err(Refusal::Unreadable("it is too short".to_owned())));
    };
    if kind != HELLO && !ours.contains(head.version) {
        return (head, Err(Refusal::Version(ours)));
    }
    let request = decode_body(kind, reader);
    (head, request.ok_or_else(|| Refusal::Unreadable(format!("kind {kind}"))))
}

fn decode_body(kind: u8, mut reader: Reader) -> Option<Request> {
    Some(match kind {
        HELLO => Request::Hello(reader.hello()?),
        VOTE => Request::Vote(reader.json()?),
        APPEND => {
            let AppendHead { vote, prev_log_id, leader_commit } = reader.sized_json()?;
            let mut entries = Vec::new();
            while !reader.0.is_empty() {
                let index = reader.u64()?;
                entries.push(log_record::decode_entry(index, &reader.sized()?).ok()?);
            }
            Request::Append(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
        }
        SNAPSHOT => {
            let SnapshotHead { vote, meta, offset, done } = reader.sized_json()?;
            Request::Snapshot(InstallSnapshotRequest { vote, meta, offset, data: reader.0.to_vec(), done })
        }
        PROPOSE => Request::Propose { timeout_ms: reader.u64()?, command: reader.0 },
        READ_INDEX => Request::ReadIndex,
        JOIN => Request::Join(reader.json()?),
        STATE_HASH => Request::StateHash { index: reader.u64()?, catalog: reader.u16() },
        ELECT => Request::Elect,
        CHANGE => Request::Change(reader.json()?),
        _ => return None,
    })
}

fn kind_of(request: &Request) -> u8 {
    match request {
        Request::Hello(_) => HELLO,
        Request::Vote(_) => VOTE,
        Request::Append(_) => APPEND,
        Request::Snapshot(_) => SNAPSHOT,
        Request::Propose { .. } => PROPOSE,
        Request::ReadIndex => READ_INDEX,
        Request::Join(_) => JOIN,
        Request::StateHash { .. } => STATE_HASH,
        Request::Elect => ELECT,
        Request::Change(_) => CHANGE,
    }
}

/// The bytes of an answer in the version of its request.
pub(crate) fn encode_answer(version: u16, answer: &impl Serialize) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u16(version);
    bytes.put_u8(ANSWERED);
    put_json(&mut bytes, answer);
    bytes.freeze()
}

/// The bytes of a refusal.
pub(crate) fn encode_refusal(version: u16, refusal: &Refusal) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u16(version);
    if let Refusal::Version(versions) = refusal {
        bytes.put_u8(VERSION_REFUSED);
        put_versions(&mut bytes, *versions);
    } else {
        bytes.put_u8(REFUSED);
        put_json(&mut bytes, refusal);
    }
    bytes.freeze()
}

/// The bytes of the answer to a hello.
pub(crate) fn encode_hello(version: u16, hello: Hello) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u16(version);
    bytes.put_u8(ANSWERED);
    put_hello(&mut bytes, hello);
    bytes.freeze()
}

/// Reads an answer.
pub(crate) fn decode_answer<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Refusal> {
    let reader = open_answer(bytes)?;
    serde_json::from_slice(&reader.0).map_err(|error| Refusal::Unreadable(error.to_string()))
}

/// Reads the answer to a hello.
pub(crate) fn decode_hello(bytes: &Bytes) -> Result<Hello, Refusal> {
    open_answer(bytes)?.hello().ok_or_else(|| Refusal::Unreadable("the answer to a hello is cut off".to_owned()))
}

fn open_answer(bytes: &Bytes) -> Result<Reader, Refusal> {
    let unreadable = || Refusal::Unreadable("the answer is cut off".to_owned());
    let mut reader = Reader(bytes.clone());
    reader.u16().ok_or_else(unreadable)?;
    match reader.take(1).ok_or_else(unreadable)?[0] {
        ANSWERED => Ok(reader),
        VERSION_REFUSED => Err(Refusal::Version(reader.versions().ok_or_else(unreadable)?)),
        _ => Err(reader.json().ok_or_else(unreadable)?),
    }
}

fn put_versions(bytes: &mut BytesMut, versions: Versions) {
    bytes.put_u16(versions.oldest);
    bytes.put_u16(versions.newest);
}

fn put_hello(bytes: &mut BytesMut, hello: Hello) {
    put_versions(bytes, hello.versions);
    put_catalog(bytes, hello.catalog);
}

/// At the end of a body: earlier builds pass over what follows there.
fn put_catalog(bytes: &mut BytesMut, catalog: Option<u16>) {
    if let Some(format) = catalog {
        bytes.put_u16(format);
    }
}

fn put_json(bytes: &mut BytesMut, value: &impl Serialize) {
    serde_json::to_writer(bytes.writer(), value).expect("what is sent has no map keys but numbers and strings");
}

fn put_sized(bytes: &mut BytesMut, part: &[u8]) {
    bytes.put_u32(u32::try_from(part.len()).expect("an entry is limited to far less than 4 GiB"));
    bytes.put_slice(part);
}

fn put_sized_json(bytes: &mut BytesMut, value: &impl Serialize) {
    let json = serde_json::to_vec(value).expect("what is sent has no map keys but numbers and strings");
    put_sized(bytes, &json);
}

/// Reads from the front.
struct Reader(Bytes);

impl Reader {
    fn take(&mut self, length: usize) -> Option<Bytes> {
        (self.0.len() >= length).then(|| self.0.split_to(length))
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.as_ref().try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.as_ref().try_into().ok()?))
    }

    fn sized(&mut self) -> Option<Bytes> {
        let length = u32::from_be_bytes(self.take(4)?.as_ref().try_into().ok()?);
        self.take(usize::try_from(length).ok()?)
    }

    fn json<T: DeserializeOwned>(&mut self) -> Option<T> {
        serde_json::from_slice(&self.0).ok()
    }

    fn sized_json<T: DeserializeOwned>(&mut self) -> Option<T> {
        serde_json::from_slice(&self.sized()?).ok()
    }

    fn versions(&mut self) -> Option<Versions> {
        Some(Versions { oldest: self.u16()?, newest: self.u16()? })
    }

    fn hello(&mut self) -> Option<Hello> {
        Some(Hello { versions: self.versions()?, catalog: self.u16() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openraft::{CommittedLeaderId, EntryPayload};

    use super::*;
    use crate::raft_types::{Entry, Proposal};

    /// As a build will have it that follows this one.
    const OURS: Versions = Versions { oldest: 1, newest: 2 };

    fn head(version: u16) -> Head {
        Head { version, cluster: Uuid::from_u128(7), from: 1, to: 2 }
    }

    fn requests() -> Vec<Request> {
        let log_id = |index| LogId::new(CommittedLeaderId::new(3, 1), index);
        let entry = |index, payload| Entry { log_id: log_id(index), payload };
        let commands = vec![b"one".to_vec(), Vec::new()];
        let entries = vec![entry(8, EntryPayload::Blank), entry(9, EntryPayload::Normal(Proposal { commands }))];
        let vote = Vote::new_committed(3, 1);
        vec![
            Request::Hello(Hello { versions: OURS, catalog: None }),
            Request::Hello(Hello { versions: OURS, catalog: Some(3) }),
            Request::Vote(VoteRequest::new(Vote::new(4, 2), Some(log_id(9)))),
            Request::Append(AppendEntriesRequest { vote, prev_log_id: Some(log_id(7)), entries, leader_commit: None }),
            Request::Snapshot(InstallSnapshotRequest {
                vote,
                meta: SnapshotMeta { last_log_id: Some(log_id(7)), ..SnapshotMeta::default() },
                offset: 3,
                data: vec![1, 2, 3],
                done: true,
            }),
            Request::Propose { timeout_ms: 5, command: Bytes::from_static(b"command") },
            Request::ReadIndex,
            Request::Join(Join { instance: Uuid::from_u128(5), address: "a:1".to_owned(), catalog: Some(2) }),
            Request::StateHash { index: 4, catalog: None },
            Request::StateHash { index: 4, catalog: Some(2) },
            Request::Elect,
            Request::Change(Change::Remove(3)),
        ]
    }

    #[test]
    fn requests_are_read_back_in_every_version_spoken() {
        for version in OURS.oldest..=OURS.newest {
            for request in requests() {
                let bytes = encode_request(head(version), &request);
                let (found, read) = decode_request(OURS, &bytes);
                assert_eq!((found, format!("{:?}", read.unwrap())), (head(version), format!("{request:?}")));
                for length in 0..35 {
                    assert!(decode_request(OURS, &bytes.slice(..length)).1.is_err(), "{length} of {request:?}");
                }
            }
        }
    }

    #[test]
    fn a_version_that_is_not_spoken_is_refused_with_those_that_are() {
        for version in [0, OURS.newest + 1] {
            let bytes = encode_request(head(version), &Request::ReadIndex);
            let (found, read) = decode_request(OURS, &bytes);
            let refusal = read.unwrap_err();
            assert_eq!((found.version, &refusal), (version, &Refusal::Version(OURS)));
            let answer = encode_refusal(found.version, &refusal);
            assert_eq!(decode_answer::<ReadIndexAnswer>(&answer).unwrap_err(), refusal);
            assert_eq!(refusal.to_string(), "it speaks versions 1 to 2 of the peer protocol");
        }
        // But a hello is always understood.
        let hello = Hello { versions: Versions { oldest: 9, newest: 9 }, catalog: Some(7) };
        let bytes = encode_request(head(9), &Request::Hello(hello));
        assert!(matches!(decode_request(OURS, &bytes).1.unwrap(), Request::Hello(found) if found == hello));
    }

    /// Builds that did not say which format of the catalog they read speak with those that do, and the other way round.
    #[test]
    fn what_is_said_of_the_catalog_is_added_at_the_end() {
        let said = encode_request(head(1), &Request::Hello(Hello { versions: OURS, catalog: Some(2) }));
        assert_eq!(said[35..], [0, 1, 0, 2, 0, 2]);
        let before = said.slice(..said.len() - 2);
        let Request::Hello(hello) = decode_request(OURS, &before).1.unwrap() else { panic!("a hello") };
        assert_eq!((hello, hello.reads()), (Hello { versions: OURS, catalog: None }, 1));
        let hash = encode_request(head(1), &Request::StateHash { index: 4, catalog: Some(2) });
        assert_eq!(hash[35..], [0, 0, 0, 0, 0, 0, 0, 4, 0, 2]);
        let join: Join = serde_json::from_str(&format!(r#"{{"instance":"{}","address":"a:1"}}"#, Uuid::nil())).unwrap();
        assert_eq!(join.catalog, None);
        assert!(!serde_json::to_string(&join).unwrap().contains("catalog"));
    }

    #[test]
    fn the_newest_common_version_is_spoken() {
        let versions = |oldest, newest| Versions { oldest, newest };
        assert_eq!(OURS.common(versions(2, 3)), Some(2), "the version after ours");
        assert_eq!(OURS.common(versions(1, 1)), Some(1), "the version before ours");
        assert_eq!(OURS.common(versions(3, 4)), None);
        assert_eq!(versions(3, 4).common(OURS), None);
    }

    #[test]
    fn answers_are_read_back() {
        let answer: ProposeAnswer = Err(ProposeError::Overloaded { limit: 3 });
        let read: ProposeAnswer = decode_answer(&encode_answer(1, &answer)).unwrap();
        assert!(matches!(read, Err(ProposeError::Overloaded { limit: 3 })));
        let hash: StateHashAnswer = Some([7; 32]);
        assert_eq!(decode_answer::<StateHashAnswer>(&encode_answer(1, &hash)).unwrap(), hash);
        for catalog in [None, Some(2)] {
            let hello = Hello { versions: OURS, catalog };
            assert_eq!(decode_hello(&encode_hello(1, hello)).unwrap(), hello);
        }
        let error = ConsensusError::OlderMembers { format: 2, members: vec![(3, Some(1)), (4, None)] };
        let answer: ProposeAnswer = Err(ProposeError::of(&error));
        let read: ProposeAnswer = decode_answer(&encode_answer(1, &answer)).unwrap();
        assert_eq!(read.unwrap_err().into_error().unwrap().to_string(), error.to_string());
        let refusal = Refusal::NotLeader { leader: Some((2, "b:2".to_owned())) };
        assert_eq!(decode_answer::<ReadIndexAnswer>(&encode_refusal(1, &refusal)).unwrap_err(), refusal);
    }
}
