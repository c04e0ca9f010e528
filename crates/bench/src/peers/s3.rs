//! An S3 server over a folder: s3s-fs, a program of its own that `peers/install-s3` makes once.
//!
//! It is as fast as the disk and the loopback interface are; [`throttle`](crate::throttle) makes it as slow as a cloud.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::wharf::Launch;
use super::{end_child, free_port};

/// The bucket that is there from the beginning.
const BUCKET: &str = "lake";
/// The key and its secret.
const KEY: (&str, &str) = ("wharf-bench", "no-secret-at-all");

const START_LIMIT: Duration = Duration::from_secs(10);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A Wharf whose warehouse is in the bucket, reached at an address.
pub(crate) fn with_warehouse(launch: Launch, endpoint: &str) -> Launch {
    let warehouse = format!("s3://{BUCKET}/wharf");
    let environment = [
        ("AWS_ACCESS_KEY_ID", KEY.0),
        ("AWS_SECRET_ACCESS_KEY", KEY.1),
        ("AWS_REGION", "us-east-1"),
        ("WHARF_WAREHOUSE__URL", &warehouse),
        ("WHARF_STORE__ENDPOINT", endpoint),
    ];
    environment.into_iter().fold(launch, |launch, (name, value)| launch.environment(name, value))
}

/// A running server; dropping it stops it, and its folder goes.
#[derive(Debug)]
pub(crate) struct S3 {
    child: Child,
    address: SocketAddr,
    // Dropped last, after the server has ended.
    _folder: TempDir,
}

impl S3 {
    /// Installs the server if need be, and starts it on an empty bucket.
    pub(crate) fn start() -> anyhow::Result<S3> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/install-s3");
        let output = Command::new(&script)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run {}", script.display()))?;
        if !output.status.success() {
            bail!("{} failed ({})", script.display(), output.status);
        }
        let program = String::from_utf8(output.stdout)?;
        let folder = tempfile::Builder::new().prefix("wharf-bench-s3-").tempdir()?;
        // A bucket is a folder.
        std::fs::create_dir(folder.path().join(BUCKET))?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let child = Command::new(program.trim())
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--access-key", KEY.0, "--secret-key", KEY.1])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.trim()))?;
        let mut server = S3 { child, address, _folder: folder };
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).is_err() {
            if let Ok(Some(status)) = server.child.try_wait() {
                bail!("{} ended before it was ready ({status})", program.trim());
            }
            if Instant::now() > deadline {
                bail!("{} did not listen on {address} within {} s", program.trim(), START_LIMIT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        end_child(&mut self.child, "TERM", STOP_LIMIT);
    }
}
