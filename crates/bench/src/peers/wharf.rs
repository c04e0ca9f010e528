//! A Wharf that this program starts: the binary under test, on an empty folder or on one that is already there.
//!
//! It is started as a user would start it (`wharf serve --data DIR --listen 127.0.0.1:0`), with trust on the loopback
//! interface. What it logs goes to a file, whose end is quoted when it does not start. It is killed, or asked to end, at the
//! latest when its value is dropped; a folder that this module made goes with it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::{end_child, signal};

/// The database and the superuser of a fresh Wharf.
pub(crate) const USER: &str = "wharf";

/// A server that is not ready by then never will be.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(15);
const READY: &str = "listening on ";

/// How to start a Wharf.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    binary: PathBuf,
    data: Option<PathBuf>,
    environment: Vec<(String, String)>,
}

/// What came of starting a Wharf that may fail to start.
#[derive(Debug)]
pub(crate) enum Started {
    /// It printed the line that says it is ready.
    Ready(Box<Wharf>),
    /// It ended first; with everything it printed, on both streams.
    Ended(ExitStatus, String),
}

impl Launch {
    /// `binary` on an empty folder of its own.
    pub(crate) fn new(binary: &Path) -> Launch {
        Launch { binary: binary.to_owned(), data: None, environment: Vec::new() }
    }

    /// On this data folder, which outlives the server.
    pub(crate) fn data(mut self, folder: &Path) -> Launch {
        self.data = Some(folder.to_owned());
        self
    }

    /// With this variable in the environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Launch {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits, at most 30 seconds, for its line `listening on ADDRESS`; ending before that is an error.
    pub(crate) fn start(&self) -> anyhow::Result<Wharf> {
        match self.attempt()? {
            Started::Ready(wharf) => Ok(*wharf),
            Started::Ended(status, output) => {
                bail!("{} ended before it was ready ({status}): {}", self.binary.display(), tail(&output, 10))
            }
        }
    }

    /// Starts it and waits, at most 30 seconds, until it is ready or has ended.
    pub(crate) fn attempt(&self) -> anyhow::Result<Started> {
        let folder = tempfile::Builder::new().prefix("wharf-bench-").tempdir()?;
        let data = self.data.clone().unwrap_or_else(|| folder.path().join("data"));
        let log_path = folder.path().join("log");
        let log = std::fs::File::create(&log_path)?;
        let deadline = Instant::now() + START_LIMIT;
        let mut child = Command::new(&self.binary)
            .arg("serve")
            .arg("--data")
            .arg(&data)
            .args(["--listen", "127.0.0.1:0", "--auth", "trust"])
            .env("WHARF_PASSWORD", USER)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        let output = child.stdout.take().expect("stdout was piped above");
        let (sender, lines) = mpsc::channel();
        // Reads on after the line it waits for: a full pipe would stop the server.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut printed = String::new();
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(address) = listening_address(&line) {
                        let wharf = Wharf { child, address, data, log: log_path, _folder: folder };
                        return Ok(Started::Ready(Box::new(wharf)));
                    }
                    printed.push_str(&line);
                    printed.push('\n');
                }
                // Its standard output is closed: it has ended, or is about to, so a signal that does nothing is enough.
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let status = end_child(&mut child, "CONT", STOP_LIMIT).context("its end cannot be waited for")?;
                    printed.push_str(&std::fs::read_to_string(&log_path).unwrap_or_default());
                    return Ok(Started::Ended(status, printed));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    end_child(&mut child, "KILL", STOP_LIMIT);
                    let log = std::fs::read_to_string(&log_path).unwrap_or_default();
                    bail!(
                        "{} did not say `{READY}ADDRESS` within {} s: {}",
                        self.binary.display(),
                        START_LIMIT.as_secs(),
                        tail(&log, 10)
                    );
                }
            }
        }
    }
}

/// A running Wharf; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Wharf {
    child: Child,
    address: SocketAddr,
    data: PathBuf,
    log: PathBuf,
    // Dropped last, after the server has ended.
    _folder: TempDir,
}

impl Wharf {
    /// The `wharf` beside this program, as cargo builds both into one folder. `None`: it was not built.
    pub(crate) fn beside_this_program() -> Option<PathBuf> {
        let binary = std::env::current_exe().ok()?.with_file_name("wharf");
        binary.is_file().then_some(binary)
    }

    /// The binary that was asked for, or the one beside this program.
    pub(crate) fn binary(asked: Option<&Path>) -> anyhow::Result<PathBuf> {
        let binary = match asked {
            Some(binary) => binary.to_owned(),
            None => Wharf::beside_this_program().context(
                "no `wharf` beside this program: build it (cargo build --release -p wharf-server), or give --wharf PATH",
            )?,
        };
        // A relative path would be looked up on PATH.
        binary.canonicalize().with_context(|| format!("no wharf binary at {}", binary.display()))
    }

    /// Starts `binary` on an empty folder and waits, at most 30 seconds, for its line `listening on ADDRESS`.
    pub(crate) fn start(binary: &Path) -> anyhow::Result<Wharf> {
        Launch::new(binary).start()
    }

    /// The address as tokio-postgres and psql take it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{USER}@{}/{USER}", self.address)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self, lines: usize) -> String {
        tail(&std::fs::read_to_string(&self.log).unwrap_or_default(), lines)
    }

    /// Whether the process is still there.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `kill -9`, and waits for the end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Sends SIGTERM and does not wait.
    pub(crate) fn ask_to_end(&self) {
        signal(&self.child, "TERM");
    }

    /// Waits for the process to end by itself. `None`: it is still running after `patience`.
    pub(crate) fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGTERM, and waits for the end at most `patience`; an error when it had to be killed.
    pub(crate) fn stop(mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        self.ask_to_end();
        match self.wait(patience) {
            Some(status) => Ok(status),
            None => bail!("wharf did not end within {} s of SIGTERM: {}", patience.as_secs(), self.log_tail(5)),
        }
    }
}

impl Drop for Wharf {
    fn drop(&mut self) {
        end_child(&mut self.child, "TERM", STOP_LIMIT);
    }
}

fn listening_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(READY)?;
    rest.split_whitespace().next()?.parse().ok()
}

fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().rev().take(count).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_address_is_read_from_the_ready_line() {
        assert_eq!(listening_address("listening on 127.0.0.1:4711"), Some("127.0.0.1:4711".parse().unwrap()));
        assert_eq!(listening_address("opening ./wharf-data"), None);
    }

    #[test]
    fn a_program_that_ends_at_once_is_reported_with_its_status() {
        let launch = Launch::new(Path::new("/bin/false"));
        let Started::Ended(status, _) = launch.attempt().unwrap() else { panic!("it cannot be ready") };
        assert!(!status.success());
        assert!(launch.start().unwrap_err().to_string().contains("ended before it was ready"));
    }

    #[test]
    fn the_tail_is_in_order() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
    }
}
