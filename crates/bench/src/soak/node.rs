//! One node: its process, its small disk, and its log.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::network::Network;
use crate::peers::{end_child, signal};

/// Gives a process a date of its own: Debian's libfaketime.
const FAKETIME: &str = "/usr/lib/$ARCH-linux-gnu/faketime/libfaketimeMT.so.1";
/// The port for clients.
const PORT: u16 = 5439;
/// The size of a node's disk.
const DISK_MEBIBYTES: u64 = 160;
/// A node that was asked to end has ended by then.
const STOP_LIMIT: Duration = Duration::from_secs(45);

/// One node.
pub(super) struct Node {
    index: usize,
    child: Option<Child>,
    folder: PathBuf,
    log: PathBuf,
    small_disk: bool,
    /// The library that gives it a date of its own, and the file that says by how many seconds that one is off.
    date: Option<(PathBuf, PathBuf)>,
    stopped: bool,
}

/// What all nodes have in common.
pub(super) struct Common<'a> {
    pub(super) binary: &'a Path,
    pub(super) network: &'a Network,
    /// Where the certificates and the warehouse are.
    pub(super) folder: &'a Path,
    /// What the nodes log.
    pub(super) log_filter: &'a str,
}

impl Node {
    /// A node with a certificate and an empty folder, on a small disk if one can be mounted.
    pub(super) fn make(index: usize, common: &Common<'_>) -> anyhow::Result<Node> {
        let folder = common.folder.join(format!("node{}", index + 1));
        std::fs::create_dir(&folder)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={DISK_MEBIBYTES}m"), "tmpfs"])
            .arg(&folder)
            .stdin(Stdio::null())
            .output();
        let small_disk = mounted.is_ok_and(|output| output.status.success());
        let name = format!("node{}", index + 1);
        let address = common.network.proxy_address(index).to_string();
        certificate(common, &["node", "--ca", "certs", "--name", &name, "--address", &address])?;
        let log = common.folder.join(format!("{name}.log"));
        let faketime = PathBuf::from(FAKETIME.replace("$ARCH", std::env::consts::ARCH));
        let date = faketime.exists().then(|| (faketime, common.folder.join(format!("{name}.date"))));
        let node = Node { index, child: None, folder, log, small_disk, date, stopped: false };
        node.jump(0)?;
        Ok(node)
    }

    /// Where clients reach it.
    pub(super) fn address(&self, network: &Network) -> SocketAddr {
        SocketAddr::new(network.address(self.index), PORT)
    }

    /// Whether its disk can be filled.
    pub(super) fn has_small_disk(&self) -> bool {
        self.small_disk
    }

    /// Whether its date can jump.
    pub(super) fn has_own_date(&self) -> bool {
        self.date.is_some()
    }

    /// Its date is off by so many seconds from now on, or in a second at the latest.
    pub(super) fn jump(&self, seconds: i64) -> anyhow::Result<()> {
        let Some((_, file)) = &self.date else { return Ok(()) };
        // It is read at any moment: never when it is empty.
        let new = file.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n"))?;
        Ok(std::fs::rename(new, file)?)
    }

    /// Starts the process, and does not wait until it serves.
    pub(super) fn start(&mut self, common: &Common<'_>) -> anyhow::Result<()> {
        let network = common.network;
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let certs = common.folder.join("certs");
        let name = format!("node{}", self.index + 1);
        let contacts = (0..super::NODES).map(|node| network.peers_address(node)).collect::<Vec<_>>().join(",");
        let mut command = network.command(self.index, common.binary);
        command
            .args(["serve", "--auth", "trust", "--data"])
            .arg(self.folder.join("data"))
            .args(["--listen", &self.address(network).to_string(), "--join", &contacts])
            .env("WHARF_PASSWORD", "wharf")
            .env("WHARF_POSTGRES__ALLOW_INSECURE_LISTEN", "true")
            .env("WHARF_HTTP__ENABLED", "false")
            .env("WHARF_PEERS__LISTEN", network.peers_listen(self.index))
            .env("WHARF_PEERS__ADDRESS", network.peers_address(self.index))
            .env("WHARF_PEERS__TLS_AUTHORITY_FILE", certs.join("ca.pem"))
            .env("WHARF_PEERS__TLS_CERTIFICATE_FILE", certs.join(format!("{name}.pem")))
            .env("WHARF_PEERS__TLS_KEY_FILE", certs.join(format!("{name}.key.pem")))
            .env("WHARF_WAREHOUSE__URL", format!("file://{}", common.folder.join("warehouse").display()))
            // Often, so that they are under way when something happens.
            .env("WHARF_CATALOG__SNAPSHOT_EVERY_ENTRIES", "200")
            .env("WHARF_MAINTENANCE__INTERVAL_MS", "5000")
            .env("WHARF_MAINTENANCE__QUIET_MS", "2000")
            .env("WHARF_ENGINE__MEMORY_LIMIT_BYTES", (1_u64 << 30).to_string())
            .env("WHARF_LOG__FILTER", common.log_filter)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some((library, file)) = &self.date {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", file)
                .env("FAKETIME_CACHE_DURATION", "1")
                // What measures how long something takes goes on as it is.
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("NO_FAKE_STAT", "1");
        }
        self.child = Some(command.spawn().context("cannot start a node")?);
        self.stopped = false;
        Ok(())
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGSTOP, or SIGCONT.
    pub(super) fn pause(&mut self, paused: bool) {
        if let Some(child) = &self.child {
            signal(child, if paused { "STOP" } else { "CONT" });
            self.stopped = paused;
        }
    }

    /// Asks it to end, and does not wait.
    pub(super) fn ask_to_end(&self) {
        if let Some(child) = &self.child {
            signal(child, "TERM");
        }
    }

    /// Waits for the end of one that was asked to; kills it when it does not end.
    pub(super) fn wait(&mut self) -> Option<ExitStatus> {
        end_child(&mut self.child.take()?, "CONT", STOP_LIMIT)
    }

    /// The status of a process that has ended by itself.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Leaves no room on its disk, or gives it back.
    pub(super) fn fill_disk(&self, full: bool) -> anyhow::Result<()> {
        ensure!(self.small_disk, "no disk of its own");
        let ballast = self.folder.join("ballast");
        if !full {
            return Ok(std::fs::remove_file(ballast)?);
        }
        let mut file = File::create(ballast)?;
        for piece in [1 << 20, 4 << 10] {
            while file.write_all(&vec![1; piece]).is_ok() {}
        }
        Ok(())
    }

    /// Its log.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if self.small_disk {
            let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
        }
    }
}

/// Makes the authority of the cluster.
pub(super) fn authority(common: &Common<'_>) -> anyhow::Result<()> {
    certificate(common, &["ca", "--out", "certs"])
}

fn certificate(common: &Common<'_>, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(common.binary).arg("cert").args(arguments).current_dir(common.folder).output()?;
    ensure!(output.status.success(), "wharf cert: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
