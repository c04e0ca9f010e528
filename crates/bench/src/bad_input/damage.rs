//! Files that are cut, changed or gone.
//!
//! A query over a damaged file is an error that names the file, or still the right answer; never a wrong one, and never the end
//! of the server. A damaged catalog is refused at the start, with its files as they were, or it is whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::{Outcome, Setting, still_serves};
use crate::peers::wharf::{Started, Wharf};
use crate::workloads::wire::{Address, ServerError, TextRow, Wire};

const TABLES: usize = 40;

/// Data written by a server that has ended, with tables `t0`.. of one data file each and the table `untouched`.
struct Written {
    _folder: tempfile::TempDir,
    data: PathBuf,
    /// What `SELECT` gives for each table.
    rows: Vec<TextRow>,
    /// The data file of each table.
    files: Vec<PathBuf>,
}

fn write(setting: &Setting, tables: usize) -> anyhow::Result<Written> {
    let folder = tempfile::Builder::new().prefix("wharf-damage-").tempdir()?;
    let data = folder.path().join("data");
    let server = setting.start_on(&data)?;
    let mut wire = connect(&server)?;
    let mut files = Vec::new();
    let mut known = files_below(&data, "parquet");
    for table in (0..tables).map(|index| format!("t{index}")).chain(["untouched".to_owned()]) {
        wire.simple(&format!("CREATE TABLE {table} (id integer, price numeric(12,2), name text, at timestamp)"))?;
        wire.simple(&format!(
            "INSERT INTO {table} SELECT g, g * 1.25, 'name ' || (g * 7919 % 1000), timestamp '2024-01-01' + g * interval '1 minute' \
             FROM generate_series(1, 2000) AS g(g)"
        ))?;
        let now = files_below(&data, "parquet");
        let new: Vec<&PathBuf> = now.iter().filter(|file| !known.contains(file)).collect();
        let [file] = new[..] else { bail!("an INSERT wrote {} data files, not one: {new:?}", new.len()) };
        files.push(file.clone());
        known = now;
    }
    let (_, rows) = wire.rows(&select("untouched"))?;
    ensure!(rows.len() == 2_000, "{} rows were written", rows.len());
    drop(wire);
    server.stop(Duration::from_secs(30))?;
    Ok(Written { _folder: folder, data, rows, files })
}

fn select(table: &str) -> String {
    format!("SELECT id, price, name, at FROM {table} ORDER BY id")
}

fn connect(server: &Wharf) -> anyhow::Result<Wire> {
    Wire::connect(&Address::parse(&server.url())?)
}

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if extension.is_empty() || path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What a query over a damaged file did: the error's code, or nothing when the answer was right.
fn ask(
    server: &mut Wharf,
    table: &str,
    written: &Written,
    file: &Path,
    must_fail: bool,
) -> anyhow::Result<Option<String>> {
    let mut wire = connect(server)?;
    let name = file.file_name().and_then(|name| name.to_str()).context("data files have names")?;
    match wire.rows(&select(table)) {
        Ok((_, rows)) => {
            ensure!(rows == written.rows, "{table} gives {} rows that are not those that were written", rows.len());
            ensure!(!must_fail, "{table} gives its rows although {name} is damaged");
            Ok(None)
        }
        Err(error) => {
            let Some(answer) = error.chain().find_map(|cause| cause.downcast_ref::<ServerError>()) else {
                bail!("{table}: {error:#}; {}", server.log_tail(5));
            };
            let text = format!("{} {}", answer.message, answer.more);
            ensure!(text.contains(name), "{table}: the error does not name {name}: {answer}");
            ensure!(matches!(answer.code.as_str(), "XX001" | "58030" | "58P01"), "{table}: {answer}");
            // The session lives on.
            ensure!(wire.simple("SELECT 1")?.rows == 1, "the session does not go on");
            Ok(Some(answer.code.clone()))
        }
    }
}

fn untouched(server: &mut Wharf, written: &Written) -> anyhow::Result<()> {
    let (_, rows) = connect(server)?.rows(&select("untouched"))?;
    ensure!(rows == written.rows, "another table is damaged, too");
    still_serves(server)
}

/// A data file that is cut at its end, in its middle, and to nothing.
pub(super) fn truncated_data_file(setting: &mut Setting) -> anyhow::Result<Outcome> {
    let written = write(setting, 5)?;
    for (index, file) in written.files.iter().take(5).enumerate() {
        let length = std::fs::metadata(file)?.len();
        let keep = [length - 1, length - 9, length / 2, 3, 0][index];
        std::fs::File::options().write(true).open(file)?.set_len(keep)?;
    }
    let mut server = setting.start_on(&written.data).context("a damaged data file keeps the server from starting")?;
    let mut codes = Vec::new();
    for (index, file) in written.files.iter().take(5).enumerate() {
        codes.extend(ask(&mut server, &format!("t{index}"), &written, file, true)?);
        // A write to the damaged table is none of the damaged file's business.
        connect(&server)?.simple(&format!("INSERT INTO t{index} VALUES (0, 0, 'new', NULL)"))?;
    }
    untouched(&mut server, &written)?;
    Ok(Outcome::Passed(format!("cut in 5 places: {}", codes.join(", "))))
}

/// One byte changed somewhere, in forty files.
pub(super) fn flipped_bytes(setting: &mut Setting) -> anyhow::Result<Outcome> {
    let written = write(setting, TABLES)?;
    for file in written.files.iter().take(TABLES) {
        let mut bytes = std::fs::read(file)?;
        let place = setting.random.usize(..bytes.len());
        bytes[place] ^= 1 << setting.random.u8(..8);
        std::fs::write(file, bytes)?;
    }
    let mut server = setting.start_on(&written.data).context("a damaged data file keeps the server from starting")?;
    let mut found = 0;
    let mut wrong = Vec::new();
    for (index, file) in written.files.iter().take(TABLES).enumerate() {
        match ask(&mut server, &format!("t{index}"), &written, file, false) {
            Ok(code) => found += usize::from(code.is_some()),
            Err(error) => wrong.push(format!("{error:#}")),
        }
        ensure!(server.is_running(), "the server died of {}: {}", file.display(), server.log_tail(5));
    }
    untouched(&mut server, &written)?;
    ensure!(wrong.is_empty(), "{} of {TABLES}: {}", wrong.len(), wrong[..wrong.len().min(3)].join("; "));
    Ok(Outcome::Passed(format!("{found} of {TABLES} were noticed, the others did not matter")))
}

/// A data file, a manifest, a manifest list and a metadata file that are gone, or are something else.
pub(super) fn missing_files(setting: &mut Setting) -> anyhow::Result<Outcome> {
    let written = write(setting, 4)?;
    let mut damaged = Vec::new();
    for (index, file) in written.files.iter().take(4).enumerate() {
        // The table's folder holds `data` and `metadata`.
        let table = file.ancestors().find(|folder| folder.join("metadata").is_dir()).context("no metadata folder")?;
        let newest = |extension: &str| files_below(&table.join("metadata"), extension).into_iter().next_back();
        match index {
            0 => {
                std::fs::remove_file(file)?;
                damaged.push(vec![file.clone()]);
            }
            1 => {
                let manifests = files_below(&table.join("metadata"), "avro");
                ensure!(!manifests.is_empty(), "no manifests in {}", table.display());
                for manifest in &manifests {
                    std::fs::write(manifest, b"not avro")?;
                }
                damaged.push(manifests);
            }
            2 => {
                let manifests = files_below(&table.join("metadata"), "avro");
                for manifest in &manifests {
                    std::fs::remove_file(manifest)?;
                }
                damaged.push(manifests);
            }
            _ => {
                let metadata = newest("json").context("no metadata file")?;
                for file in files_below(&table.join("metadata"), "json") {
                    std::fs::write(file, b"{")?;
                }
                damaged.push(vec![metadata]);
            }
        }
    }
    let mut server =
        setting.start_on(&written.data).context("damaged files of a table keep the server from starting")?;
    let mut codes = Vec::new();
    for (index, files) in damaged.iter().enumerate() {
        let table = format!("t{index}");
        let outcomes: Vec<_> = files.iter().map(|file| ask(&mut server, &table, &written, file, true)).collect();
        // One of the files is named: the first that was read.
        match outcomes.iter().position(Result::is_ok) {
            Some(good) => codes.extend(outcomes.into_iter().nth(good).and_then(Result::ok).flatten()),
            None => {
                for outcome in outcomes {
                    outcome?;
                }
            }
        }
        // It can be got rid of.
        connect(&server)?.simple(&format!("DROP TABLE {table}"))?;
    }
    untouched(&mut server, &written)?;
    Ok(Outcome::Passed(format!("data file, broken manifests, no manifests, metadata: {}", codes.join(", "))))
}

/// The catalog's folder, damaged in different ways, one after the other on fresh copies.
pub(super) fn corrupt_catalog(setting: &mut Setting) -> anyhow::Result<Outcome> {
    let written = write(setting, 3)?;
    let catalog = written.data.join("catalog");
    ensure!(catalog.is_dir(), "there is no folder {}", catalog.display());
    let original = contents(&written.data)?;
    let largest =
        files_below(&catalog, "").into_iter().max_by_key(|file| std::fs::metadata(file).map_or(0, |data| data.len()));
    let largest = largest.context("the catalog's folder is empty")?;
    let length = std::fs::metadata(&largest)?.len();

    let mut refused = 0;
    let mut unharmed = 0;
    let mut said = String::new();
    let attempts = 24;
    for attempt in 0..attempts {
        restore(&written.data, &original)?;
        let how = match attempt {
            0 => {
                std::fs::write(&largest, vec![0xa5; usize::try_from(length)?])?;
                "filled with garbage".to_owned()
            }
            1 => {
                for file in files_below(&catalog, "") {
                    let length = std::fs::metadata(&file)?.len();
                    std::fs::write(&file, vec![0xff; usize::try_from(length)?])?;
                }
                "every file filled with garbage".to_owned()
            }
            2 => {
                std::fs::File::options().write(true).open(&largest)?.set_len(length / 2)?;
                "cut in the middle".to_owned()
            }
            3 => {
                std::fs::write(&largest, b"")?;
                "emptied".to_owned()
            }
            _ => {
                // Where the file holds something: most of a preallocated file may be zeros.
                let mut bytes = std::fs::read(&largest)?;
                let used: Vec<usize> = (0..bytes.len()).filter(|place| bytes[*place] != 0).collect();
                let place = used[setting.random.usize(..used.len())];
                bytes[place] ^= 1 << setting.random.u8(..8);
                std::fs::write(&largest, bytes)?;
                format!("one bit changed at {place}")
            }
        };
        let damaged = contents(&written.data)?;
        match setting.launch().data(&written.data).attempt().with_context(|| how.clone())? {
            Started::Ended(status, output) => {
                refused += 1;
                ensure!(status.code().is_some_and(|code| code != 0), "{how}: it ended with {status}: {output}");
                ensure!(!output.contains("panicked"), "{how}: it panicked: {output}");
                let folder = catalog.display().to_string();
                ensure!(output.contains(&folder), "{how}: the message does not name the folder: {output:?}");
                let after = contents(&written.data)?;
                let changed = changes(&damaged, &after);
                ensure!(changed.is_empty(), "{how}: refused, but changed {changed:?}");
                if said.is_empty() {
                    output.lines().next().unwrap_or_default().clone_into(&mut said);
                }
            }
            Started::Ready(mut server) => {
                // Then nothing may be missing.
                ensure!(attempt >= 4, "{how}: it starts as if nothing had been there");
                for table in ["t0", "t1", "t2", "untouched"] {
                    let rows =
                        connect(&server)?.rows(&select(table)).with_context(|| format!("{how}: lost {table}"))?;
                    ensure!(rows.1 == written.rows, "{how}: lost rows of {table}");
                }
                still_serves(&mut server).with_context(|| how.clone())?;
                unharmed += 1;
            }
        }
    }
    restore(&written.data, &original)?;
    let mut server = setting.start_on(&written.data).context("the undamaged catalog")?;
    untouched(&mut server, &written)?;
    Ok(Outcome::Passed(format!("{attempts} kinds: {refused} refused, {unharmed} had no effect; {said}")))
}

type Contents = BTreeMap<PathBuf, Vec<u8>>;

/// Every file below a folder but the lock, which says who has it.
fn contents(folder: &Path) -> anyhow::Result<Contents> {
    let files = files_below(folder, "").into_iter().filter(|file| !file.ends_with("LOCK"));
    files.map(|file| Ok((file.clone(), std::fs::read(file)?))).collect()
}

fn changes(before: &Contents, after: &Contents) -> Vec<PathBuf> {
    let names = before.keys().chain(after.keys());
    let mut changed: Vec<PathBuf> = names.filter(|file| before.get(*file) != after.get(*file)).cloned().collect();
    changed.dedup();
    changed
}

fn restore(folder: &Path, contents: &Contents) -> anyhow::Result<()> {
    std::fs::remove_dir_all(folder)?;
    for (file, bytes) in contents {
        std::fs::create_dir_all(file.parent().context("files are in folders")?)?;
        std::fs::write(file, bytes)?;
    }
    Ok(())
}
