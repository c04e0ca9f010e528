//! A disk that fills up.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use super::{Outcome, Setting, still_serves};
use crate::workloads::wire::{Address, ServerError, Wire};

const SIZE_MEBIBYTES: u64 = 96;
const BALLAST_MEBIBYTES: usize = 32;

/// A small file system in memory; unmounted when dropped.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// `Err` holds the reason why there can be none.
    fn mount() -> anyhow::Result<Result<SmallDisk, String>> {
        let folder = tempfile::Builder::new().prefix("wharf-disk-").tempdir()?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={SIZE_MEBIBYTES}m"), "tmpfs"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .output()
            .context("cannot run mount")?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Ok(Err(format!("no tmpfs can be mounted here ({reason})")));
        }
        Ok(Ok(SmallDisk { folder }))
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

/// Lines of a COPY that never end by themselves: number and incompressible text.
struct Lines {
    random: fastrand::Rng,
    line: Vec<u8>,
    at: usize,
    left: u64,
}

impl Lines {
    fn new(seed: u64, count: u64) -> Lines {
        Lines { random: fastrand::Rng::with_seed(seed), line: Vec::new(), at: 0, left: count }
    }
}

impl Read for Lines {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.line.len() {
            if self.left == 0 {
                return Ok(0);
            }
            self.left -= 1;
            let text: String = std::iter::repeat_with(|| self.random.alphanumeric()).take(1_000).collect();
            self.line = format!("{}\t{text}\n", self.left).into_bytes();
            self.at = 0;
        }
        let count = out.len().min(self.line.len() - self.at);
        out[..count].copy_from_slice(&self.line[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Every kind of write fails with 53100 and leaves nothing; with room again, writes go on and nothing acknowledged is missing.
pub(super) fn full_disk(setting: &mut Setting) -> anyhow::Result<Outcome> {
    let disk = match SmallDisk::mount()? {
        Ok(disk) => disk,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let data = disk.path().join("data");
    let mut server = setting.start_on(&data)?;
    let address = Address::parse(&server.url())?;
    let mut wire = Wire::connect(&address)?;
    wire.simple("CREATE TABLE t (id bigint NOT NULL, text text)")?;
    wire.simple("INSERT INTO t SELECT g, 'early' FROM generate_series(1, 1000) AS g(g)")?;
    let mut expected: u64 = 1_000;
    std::fs::write(disk.ballast(), vec![1; BALLAST_MEBIBYTES << 20])?;

    // COPY until there is no more room.
    let mut said = None;
    for seed in 0..200 {
        match wire.copy_in("COPY t FROM STDIN", Lines::new(seed, 5_000)) {
            Ok(answer) => {
                ensure!(answer.tag == "COPY 5000", "COPY answers {:?}", answer.tag);
                expected += 5_000;
            }
            Err(error) => {
                said = Some(disk_error(&error, "COPY")?);
                break;
            }
        }
    }
    let Some(said) = said else { bail!("{expected} rows and the disk is not full") };
    count(&mut wire, expected, "after the failed COPY")?;

    // Fill the last kilobytes, so that small writes fail, too.
    let mut filler = std::fs::File::create(disk.path().join("filler"))?;
    while std::io::Write::write(&mut filler, &[2; 4096]).is_ok_and(|written| written > 0) {}
    let mut refused = 0;
    for number in 0..20 {
        match wire.simple(&format!("INSERT INTO t VALUES ({}, 'small')", 1_000_000 + number)) {
            Ok(_) => expected += 1,
            Err(error) => {
                disk_error(&error, "INSERT")?;
                refused += 1;
            }
        }
        ensure!(server.is_running(), "the server died of a full disk: {}", server.log_tail(10));
    }
    ensure!(refused > 0, "the disk is full and every INSERT succeeded");
    for sql in ["CREATE TABLE u (id integer)", "CREATE TABLE v AS SELECT * FROM t", "TRUNCATE t", "DROP TABLE t"] {
        wire.simple("BEGIN")?;
        // Whatever becomes of these, they are undone or refused.
        if let Err(error) = wire.simple(sql) {
            let code =
                error.chain().find_map(|cause| cause.downcast_ref::<ServerError>()).map(|cause| cause.code.clone());
            ensure!(matches!(code.as_deref(), Some("53100" | "0A000")), "{sql}: {error:#}");
        }
        wire.simple("ROLLBACK")?;
    }
    still_serves(&mut server)?;
    count(&mut wire, expected, "while the disk is full")?;

    // Room again.
    drop(filler);
    std::fs::remove_file(disk.path().join("filler"))?;
    std::fs::remove_file(disk.ballast())?;
    wire.simple("INSERT INTO t VALUES (-1, 'late')")?;
    wire.copy_in("COPY t FROM STDIN", Lines::new(9_999, 1_000))?;
    expected += 1_001;
    count(&mut wire, expected, "with room again")?;

    // And after a crash.
    drop(wire);
    server.kill();
    let mut server = setting.start_on(&data).context("the restart after a full disk")?;
    let mut wire = Wire::connect(&Address::parse(&server.url())?)?;
    count(&mut wire, expected, "after the restart")?;
    wire.simple("INSERT INTO t VALUES (-2, 'last')")?;
    count(&mut wire, expected + 1, "after the restart and an INSERT")?;
    still_serves(&mut server)?;
    drop(server);

    // A server that starts on a full disk says so.
    let fresh = disk.path().join("fresh");
    std::fs::create_dir(&fresh)?;
    let mut filler = std::fs::File::create(disk.path().join("filler"))?;
    while std::io::Write::write(&mut filler, &[2; 4096]).is_ok_and(|written| written > 0) {}
    match setting.launch().data(&fresh).attempt()? {
        crate::peers::wharf::Started::Ready(_) => bail!("it starts on a full disk"),
        crate::peers::wharf::Started::Ended(status, output) => {
            ensure!(status.code().is_some_and(|code| code != 0), "on a full disk it ends with {status}");
            ensure!(!output.contains("panicked"), "on a full disk it panics: {output}");
            ensure!(output.to_lowercase().contains("space"), "it does not say what is wrong: {output:?}");
        }
    }
    Ok(Outcome::Passed(format!("{said}; {expected} rows kept")))
}

fn disk_error(error: &anyhow::Error, what: &str) -> anyhow::Result<String> {
    let Some(answer) = error.chain().find_map(|cause| cause.downcast_ref::<ServerError>()) else {
        bail!("{what} on a full disk ends without an answer: {error:#}");
    };
    ensure!(answer.code == "53100", "{what} on a full disk fails with {answer}");
    Ok(answer.to_string())
}

fn count(wire: &mut Wire, expected: u64, when: &str) -> anyhow::Result<()> {
    let (_, rows) = wire.rows("SELECT count(*), count(DISTINCT id) FROM t WHERE text IS NOT NULL")?;
    let found = rows.first().and_then(|row| row.first()?.clone());
    ensure!(found == Some(expected.to_string()), "{when}: {found:?} rows, acknowledged were {expected}");
    Ok(())
}
