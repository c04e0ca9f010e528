//! A throw-away PostgreSQL: the specification to take answers from, and a peer to be measured against.
//!
//! `initdb` and `postgres` are looked for in Debian's folders, on `PATH` and where `pg_config` points, version 15 first since the
//! recorded answers are its own. The cluster is made for tests: C locale, UTF-8, UTC, trust on the loopback interface, and no
//! fsync unless the caller gives that setting. PostgreSQL refuses to run as root, so under root it runs as `postgres` or `nobody`.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::{end_child, free_port};

/// The superuser and the database of a throw-away PostgreSQL.
pub(crate) const USER: &str = "postgres";

/// The version whose answers are recorded in this repository.
pub(crate) const SPECIFIED_VERSION: u32 = 15;

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Where PostgreSQL's programs are, and which version they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installation {
    /// The folder of `initdb` and `postgres`.
    pub(crate) programs: PathBuf,
    /// The major version, such as 15.
    pub(crate) version: u32,
}

impl Installation {
    /// The installation to use: version 15 if there is one, otherwise the newest. `None`: no PostgreSQL server on this machine.
    pub(crate) fn find() -> Option<Installation> {
        let mut found: Vec<Installation> = candidates()
            .into_iter()
            .filter(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
            .filter_map(|programs| {
                let version = version_of(&programs.join("postgres"))?;
                Some(Installation { programs, version })
            })
            .collect();
        found.sort_by_key(|installation| (installation.version != SPECIFIED_VERSION, u32::MAX - installation.version));
        found.into_iter().next()
    }
}

fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    if let Some(path) = std::env::var_os("PATH") {
        folders.extend(std::env::split_paths(&path));
    }
    if let Ok(output) = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output() {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    folders
}

fn version_of(postgres: &Path) -> Option<u32> {
    let output = Command::new(postgres).arg("--version").output().ok()?;
    major_version(&String::from_utf8_lossy(&output.stdout))
}

/// The major version in what `postgres --version` prints: `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn major_version(text: &str) -> Option<u32> {
    let number = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A running PostgreSQL; dropping it stops it and removes its folder.
#[derive(Debug)]
pub(crate) struct Postgres {
    child: Child,
    port: u16,
    installation: Installation,
    // Dropped last, after the server has ended.
    folder: TempDir,
}

impl Postgres {
    /// Creates a cluster and starts it; `settings` are name and value of `postgresql.conf` and win over the ones chosen here.
    ///
    /// Fails when no PostgreSQL is installed, when it does not start within 30 seconds, and under root without an
    /// account named `postgres` or `nobody`.
    pub(crate) fn start(settings: &[(&str, &str)]) -> anyhow::Result<Postgres> {
        let installation = Installation::find().context(
            "no PostgreSQL server found in /usr/lib/postgresql/*/bin, on PATH or by pg_config (Debian: apt-get install postgresql-15)",
        )?;
        let folder = tempfile::Builder::new().prefix("wharf-postgres-").tempdir()?;
        let account = Account::for_this_process()?;
        if let Some(account) = &account {
            chown(folder.path(), Some(account.user), Some(account.group))
                .with_context(|| format!("cannot hand {} to {}", folder.path().display(), account.name))?;
        }
        let data = folder.path().join("data");
        create_cluster(&installation, &account, folder.path(), &data)?;

        let port = free_port()?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let mut command = program(&installation, "postgres", &account, folder.path());
        command.arg("-D").arg(&data).arg("-p").arg(port.to_string());
        for (name, value) in [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", ""),
            ("fsync", "off"),
            ("synchronous_commit", "off"),
            ("full_page_writes", "off"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
        ]
        .iter()
        .chain(settings)
        {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", installation.programs.join("postgres").display()))?;
        let mut server = Postgres { child, port, installation, folder };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// The address as tokio-postgres and psql take it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{USER}", self.port)
    }

    /// The installation it runs from.
    pub(crate) fn installation(&self) -> &Installation {
        &self.installation
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("PostgreSQL ended at once ({status}): {}", self.log_tail());
            }
            let ready = Command::new(self.installation.programs.join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-U", USER, "-p", &self.port.to_string()])
                .status();
            if ready.is_ok_and(|status| status.success()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("PostgreSQL is not ready after {} s: {}", START_LIMIT.as_secs(), self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT is PostgreSQL's fast shutdown: sessions are ended, not waited for.
        end_child(&mut self.child, "INT", STOP_LIMIT);
    }
}

fn create_cluster(
    installation: &Installation,
    account: &Option<Account>,
    folder: &Path,
    data: &Path,
) -> anyhow::Result<()> {
    let output = program(installation, "initdb", account, folder)
        .arg("-D")
        .arg(data)
        .args(["-U", USER, "-A", "trust", "--locale=C", "-E", "UTF8", "--no-sync", "--no-instructions"])
        .output()
        .with_context(|| format!("cannot start {}", installation.programs.join("initdb").display()))?;
    if !output.status.success() {
        bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn program(installation: &Installation, name: &str, account: &Option<Account>, folder: &Path) -> Command {
    let mut command = Command::new(installation.programs.join(name));
    // The folder this program was started in may be closed to the other account.
    command.current_dir(folder);
    if let Some(account) = account {
        command.uid(account.user).gid(account.group);
    }
    command
}

/// An account of the operating system that PostgreSQL runs as.
struct Account {
    name: &'static str,
    user: u32,
    group: u32,
}

impl Account {
    /// `None` when this process may run PostgreSQL itself, which is whenever it is not root.
    fn for_this_process() -> anyhow::Result<Option<Account>> {
        let own = std::fs::metadata("/proc/self").map(|metadata| metadata.uid()).unwrap_or(u32::MAX);
        if own != 0 {
            return Ok(None);
        }
        let accounts = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| Account::in_passwd(&accounts, name))
            .map(Some)
            .context("PostgreSQL does not run as root, and there is no account `postgres` or `nobody`")
    }

    fn in_passwd(accounts: &str, name: &'static str) -> Option<Account> {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        let user = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some(Account { name, user, group })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_prints() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 17beta1\n"), Some(17));
        assert_eq!(major_version("no number"), None);
    }

    #[test]
    fn an_account_is_read_from_passwd() {
        let account = Account::in_passwd("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65533:n:/:/bin/false\n", "nobody");
        let account = account.unwrap();
        assert_eq!((account.user, account.group), (65534, 65533));
        assert!(Account::in_passwd("nobody2:x:1:1:::\n", "nobody").is_none());
    }
}
