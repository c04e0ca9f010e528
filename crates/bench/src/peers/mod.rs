//! Servers and libraries that this program starts for itself: a PostgreSQL, a Wharf, a cluster of them, an S3 server, and Python children that hold
//! DuckDB and DataFusion.
//!
//! Each one lives in a temporary folder unless it is told otherwise, a server listens on a free port of the loopback interface,
//! and all of it is gone when its value is dropped. Nothing here measures or compares.

pub(crate) mod cluster;
pub(crate) mod postgres;
pub(crate) mod python;
pub(crate) mod s3;
pub(crate) mod wharf;

use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

/// A port of the loopback interface that was free a moment ago.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

/// Sends a signal by its name.
pub(crate) fn signal(child: &Child, name: &str) {
    // The standard library sends SIGKILL only; the shell's own `kill` needs no package.
    let _ = Command::new("sh")
        .arg("-c")
        .arg(format!("kill -{name} {}", child.id()))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Asks a child to end (SIGTERM, or the signal named), waits for it at most `patience`, then kills it.
pub(crate) fn end_child(child: &mut Child, name: &str, patience: Duration) -> Option<ExitStatus> {
    if let Ok(Some(status)) = child.try_wait() {
        return Some(status);
    }
    signal(child, name);
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            Err(_) => break,
        }
    }
    let _ = child.kill();
    child.wait().ok()
}
