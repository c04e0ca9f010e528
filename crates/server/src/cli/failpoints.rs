//! Failpoints: places on the commit path where a test lets the process die.
//!
//! Always holds: nothing is armed unless `WHARF_FAILPOINTS` is set, a name that does not exist is refused, and an
//! armed failpoint aborts the process as `kill -9` would: no destructor runs, nothing is flushed.

use crate::failure::Failure;

/// The variable that arms failpoints: `name=abort`, several parted by semicolons.
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
    for name in parse(&list.to_string_lossy())? {
        fail::cfg_callback(name, || std::process::abort())
            .map_err(|error| Failure::new(format!("{VARIABLE}: {error}"), "build with failpoints enabled"))?;
        tracing::warn!(failpoint = name, "armed: the process will abort there");
    }
    Ok(())
}

fn parse(list: &str) -> Result<Vec<&'static str>, Failure> {
    let refuse = |what: String| Failure::new(format!("{VARIABLE}: {what}"), "`wharf failpoints` lists the names");
    let entries = list.split(';').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| match entry.split_once('=') {
            Some((name, "abort")) => {
                names().find(|known| *known == name).ok_or_else(|| refuse(format!("unknown failpoint {name}")))
            }
            _ => Err(refuse(format!("{entry} is not name=abort"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_known_names_only() {
        let all: Vec<_> = names().collect();
        let list: Vec<_> = all.iter().map(|name| format!("{name}=abort")).collect();
        assert_eq!(parse(&list.join("; ")).unwrap(), all);
        assert_eq!(parse("").unwrap(), Vec::<&str>::new());
        assert!(parse("nowhere=abort").unwrap_err().what().contains("unknown failpoint nowhere"));
        assert!(parse("nowhere").unwrap_err().what().contains("is not name=abort"));
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
