//! The ids of statements: UUIDs of version 7 (RFC 9562), so that they sort by the time at which the statements began.
//!
//! What always holds: no two statements of a process have the same id. What is random is drawn once for the process and the
//! statements are counted, since asking the system for random bytes takes longer than a short statement may.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use uuid::{Builder, Uuid};

use crate::engine::now_us;

/// What tells the statements of this process from those of others.
static PROCESS: LazyLock<[u8; 16]> = LazyLock::new(|| Uuid::new_v4().into_bytes());
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The id of a statement that begins now.
pub(super) fn next() -> Uuid {
    let milliseconds = u64::try_from(now_us() / 1_000).unwrap_or_default();
    let mut rest = [0; 10];
    rest.copy_from_slice(&PROCESS[..10]);
    // Behind the bytes that hold the version and the variant.
    rest[3..7].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Builder::from_unix_timestamp_millis(milliseconds, &rest).into_uuid()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_and_are_of_version_7() {
        let ids: HashSet<Uuid> = (0..100_000).map(|_| next()).collect();
        assert_eq!(ids.len(), 100_000);
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
    }
}
