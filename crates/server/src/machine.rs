//! What the machine has: cores and memory, or the share of them this process is given.
//!
//! Always holds: an answer, even where the operating system gives none. It reads Linux's files and knows nothing of
//! other systems.

use std::num::NonZero;
use std::path::Path;

/// What is assumed where memory cannot be read.
const UNKNOWN_MEMORY_BYTES: u64 = 4 << 30;

/// How many threads can run at once.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// The memory of the machine or of the control group the process is in, whichever is less.
pub(crate) fn memory_bytes() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| meminfo_total(&text));
    let own = std::fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| control_group(&text));
    let limit = |group: &str| {
        let file = Path::new("/sys/fs/cgroup").join(group).join("memory.max");
        std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()
    };
    // Inside a container the group's own files are mounted at the root.
    let limits = [machine, own.as_deref().and_then(limit), limit("")];
    limits.into_iter().flatten().min().unwrap_or(UNKNOWN_MEMORY_BYTES)
}

/// `MemTotal:  24576000 kB`
fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// `0::/system.slice/wharf.service`, the unified hierarchy's line, as a relative path.
fn control_group(text: &str) -> Option<String> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(path.trim_start_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_linux_files() {
        assert_eq!(meminfo_total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(meminfo_total("nothing"), None);
        assert_eq!(control_group("12:cpu:/x\n0::/system.slice/a\n").as_deref(), Some("system.slice/a"));
    }

    #[test]
    fn there_is_always_an_answer() {
        assert!(cores() >= 1);
        assert!(memory_bytes() >= 1 << 20);
    }
}
