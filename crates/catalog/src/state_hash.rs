//! A hash of a state, by which replicas find out that they differ.

use sha2::{Digest, Sha256};

use crate::encoding::encode_state;
use crate::state::State;

/// SHA-256 of the canonical encoding. It costs as much as a snapshot: not for every command.
pub fn state_hash(state: &State) -> [u8; 32] {
    Sha256::digest(encode_state(state)).into()
}
