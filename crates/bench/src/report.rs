//! Tables for a terminal, medians, ratios, and what is known about a process' memory and time.
//!
//! It prints and computes; it does not measure.

use std::fmt::Write as _;

/// Rows of text under headings, printed with aligned columns: the first to the left, the others to the right.
#[derive(Debug)]
pub(crate) struct TextTable {
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// An empty table with these headings.
    pub(crate) fn new<T: ToString>(headings: impl IntoIterator<Item = T>) -> TextTable {
        TextTable { rows: vec![headings.into_iter().map(|heading| heading.to_string()).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row<T: ToString>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(|cell| cell.to_string()).collect());
    }
}

impl std::fmt::Display for TextTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                match column {
                    0 => write!(line, "{cell:<width$}")?,
                    _ => write!(line, "  {cell:>width$}")?,
                }
            }
            writeln!(f, "{}", line.trim_end())?;
            if index == 0 {
                writeln!(f, "{}", "-".repeat(widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1)))?;
            }
        }
        Ok(())
    }
}

/// The middle value, or the mean of the two in the middle; `NaN` of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

/// The value below which a fraction of the values lies; `NaN` of nothing.
pub(crate) fn quantile(values: &[f64], fraction: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index into the values")]
    let index = (fraction * sorted.len() as f64) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Peak resident memory of a process in bytes, as the kernel keeps it (`VmHWM`).
pub(crate) fn peak_memory_bytes(pid: u32) -> Option<u64> {
    status_bytes(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmHWM:")
}

/// Resident memory of a process in bytes, now.
pub(crate) fn memory_bytes(pid: u32) -> Option<u64> {
    status_bytes(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

/// The processor time that a process has used, in milliseconds; the kernel counts in steps of ten.
pub(crate) fn processor_ms(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold spaces; utime and stime are the 12th and 13th field after it.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    10 * [11, 12].iter().filter_map(|index| fields.get(*index)?.parse::<u64>().ok()).sum::<u64>()
}

/// Makes the peak start again from what is resident now.
pub(crate) fn forget_peak(pid: u32) {
    // Refused for processes of other users: then the peak is that of its whole life, which is no less.
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// Memory of a process and its children in bytes, now: what each has for itself, and once what they share.
pub(crate) fn family_memory_bytes(parent: u32) -> u64 {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return 0;
    };
    let mut own = 0;
    let mut shared = 0;
    for process in processes.flatten() {
        let Ok(status) = std::fs::read_to_string(process.path().join("status")) else {
            continue;
        };
        let is = |name: &str| status_value(&status, name) == Some(u64::from(parent));
        if is("Pid:") || is("PPid:") {
            own += status_bytes(&status, "RssAnon:").unwrap_or(0);
            shared = shared.max(status_bytes(&status, "RssShmem:").unwrap_or(0));
        }
    }
    own + shared
}

fn status_bytes(status: &str, name: &str) -> Option<u64> {
    Some(status_value(status, name)? * 1024)
}

fn status_value(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Bytes as mebibytes for a person.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / 1_048_576.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned() {
        let mut table = TextTable::new(["query", "ms"]);
        table.row(["q1", "10.0"]);
        table.row(["total", "7.25"]);
        assert_eq!(table.to_string(), "query    ms\n-----------\nq1     10.0\ntotal  7.25\n");
    }

    #[test]
    fn the_middle_is_found() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
        let hundred: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!((quantile(&hundred, 0.5), quantile(&hundred, 0.99), quantile(&hundred, 1.0)), (50.0, 99.0, 99.0));
    }

    #[test]
    fn the_memory_of_this_process_is_known() {
        let pid = std::process::id();
        // In this order: memory only grows between the two readings.
        let now = memory_bytes(pid);
        assert!(peak_memory_bytes(pid) >= now);
        assert!(memory_bytes(pid) > Some(100_000));
        assert!(family_memory_bytes(pid) > 100_000);
    }
}
