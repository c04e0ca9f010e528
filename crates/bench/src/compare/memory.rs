//! The peak memory of a peer while a workload runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::report;

const EVERY: Duration = Duration::from_millis(100);

/// Watches until it is asked for the peak.
pub(super) struct Watch(Kind);

enum Kind {
    Process(u32),
    Family { stop: Arc<AtomicBool>, peak: Arc<AtomicU64> },
}

/// A server of one process: the kernel keeps its peak.
pub(super) fn watch_process(pid: u32) -> Watch {
    report::forget_peak(pid);
    Watch(Kind::Process(pid))
}

/// A server of many processes: a thread adds up what they have, ten times a second.
pub(super) fn watch_family(pid: u32) -> Watch {
    let stop = Arc::new(AtomicBool::new(false));
    let peak = Arc::new(AtomicU64::new(report::family_memory_bytes(pid)));
    let (stopped, highest) = (Arc::clone(&stop), Arc::clone(&peak));
    std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            highest.fetch_max(report::family_memory_bytes(pid), Ordering::Relaxed);
            std::thread::sleep(EVERY);
        }
    });
    Watch(Kind::Family { stop, peak })
}

impl Watch {
    /// The peak in bytes since the watch began; 0 when the process has gone.
    pub(super) fn peak(&self) -> u64 {
        match &self.0 {
            Kind::Process(pid) => report::peak_memory_bytes(*pid).unwrap_or(0),
            Kind::Family { peak, .. } => peak.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Kind::Family { stop, .. } = &self.0 {
            stop.store(true, Ordering::Relaxed);
        }
    }
}
