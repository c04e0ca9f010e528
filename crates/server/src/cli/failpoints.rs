//! Failpoints: places on the commit path where a test lets the process die.
//!
//! Always holds: nothing is armed unless `WHARF_FAILPOINTS` is set, a name that does not exist is refused, and an
//! armed failpoint aborts the process as `kill -9` would: no destructor runs, nothing is flushed.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::failure::Failure;

/// The variable that arms failpoints: `name=abort`, or `name=abort@10` for the tenth time that the process comes by; several
/// are parted by semicolons.
const VARIABLE: &str = "WHARF_FAILPOINTS";

/// Every failpoint there is, by layer from the bottom up.
fn names() -> impl Iterator<Item = &'static str> {
    [wharf_consensus::FAILPOINTS, wharf_lake::FAILPOINTS, wharf_engine::FAILPOINTS].into_iter().flatten().copied()
}

/// `wharf failpoints`: the names on standard output, one a line.
pub(crate) fn print() {
    for name in names() {
        println!("{name}");
    }
}

/// Arms what `WHARF_FAILPOINTS` asks for.
///
/// # Errors
/// An unknown name or action.
pub(crate) fn arm() -> Result<(), Failure> {
    let Some(list) = std::env::var_os(VARIABLE) else { return Ok(()) };
    for (name, pass) in parse(&list.to_string_lossy())? {
        let passes = AtomicU64::new(pass);
        let abort = move || {
            if passes.fetch_sub(1, Ordering::SeqCst) == 1 {
                std::process::abort();
            }
        };
        fail::cfg_callback(name, abort)
            .map_err(|error| Failure::new(format!("{VARIABLE}: {error}"), "build with failpoints enabled"))?;
        tracing::warn!(failpoint = name, pass, "armed: the process will abort there");
    }
    Ok(())
}

/// The failpoints of a list, and the pass at which the process dies, counted from one.
fn parse(list: &str) -> Result<Vec<(&'static str, u64)>, Failure> {
    let refuse = |what: String| Failure::new(format!("{VARIABLE}: {what}"), "`wharf failpoints` lists the names");
    let entry = |entry: &str| {
        let malformed = || refuse(format!("{entry} is neither name=abort nor name=abort@PASS"));
        let (name, action) = entry.split_once('=').ok_or_else(malformed)?;
        let pass = match action.strip_prefix("abort").ok_or_else(malformed)? {
            "" => 1,
            pass => pass.strip_prefix('@').and_then(|pass| pass.parse().ok()).ok_or_else(malformed)?,
        };
        if pass == 0 {
            return Err(malformed());
        }
        let known = names().find(|known| *known == name);
        known.map(|name| (name, pass)).ok_or_else(|| refuse(format!("unknown failpoint {name}")))
    };
    list.split(';').map(str::trim).filter(|text| !text.is_empty()).map(entry).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_known_names_only() {
        let all: Vec<_> = names().collect();
        let list: Vec<_> = all.iter().map(|name| format!("{name}=abort")).collect();
        let once: Vec<_> = all.iter().map(|name| (*name, 1)).collect();
        assert_eq!(parse(&list.join("; ")).unwrap(), once);
        assert_eq!(parse(&format!("{}=abort@10", all[0])).unwrap(), [(all[0], 10)]);
        assert_eq!(parse("").unwrap(), []);
        assert!(parse("nowhere=abort").unwrap_err().what().contains("unknown failpoint nowhere"));
        for malformed in ["nowhere", "nowhere=panic", "nowhere=abort10", "nowhere=abort@", "nowhere=abort@0"] {
            assert!(parse(malformed).unwrap_err().what().contains("is neither name=abort"), "{malformed}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut all: Vec<_> = names().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
