//! A simulated disk: what was not flushed is forgotten in a crash, but for as much of it, in order, as chance lets through.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::checks::Checks;
use super::machine::Machine;
use crate::disk::Disk;
use crate::error::ConsensusError;
use crate::files::{Files, TEMPORARY};
use crate::flushed::Mark;
use crate::identity::Identity;
use crate::log_storage::{LogStorage, SmallRecord};
use crate::snapshots::SnapshotStore;
use crate::startup;

/// What is on a disk, or will be.
#[derive(Clone, Debug, Default)]
struct Content {
    log: BTreeMap<u64, Vec<u8>>,
    small: BTreeMap<u8, Vec<u8>>,
}

/// A change of the content.
#[derive(Clone, Debug)]
enum Write {
    Small(u8, Vec<u8>),
    Append(Vec<(u64, Vec<u8>)>),
    Remove(RangeInclusive<u64>),
}

impl Content {
    fn apply(&mut self, write: &Write) {
        match write {
            Write::Small(key, bytes) => drop(self.small.insert(*key, bytes.clone())),
            Write::Append(entries) => self.log.extend(entries.iter().cloned()),
            Write::Remove(range) => self.log.retain(|index, _| !range.contains(index)),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// As those see it who use it.
    seen: Content,
    /// As it is after a crash.
    durable: Content,
    /// What is in the former and not in the latter.
    pending: Vec<Write>,
    /// The mark, and what a crash may make of it.
    mark: Option<u64>,
    durable_mark: Option<u64>,
    files: BTreeMap<String, Vec<u8>>,
    /// Who may use it: the last that opened it.
    opened: u64,
}

/// A disk, with what is on it for as long as the world lasts.
#[derive(Clone, Default)]
pub(crate) struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

impl SimulatedDisk {
    /// The power goes.
    pub(crate) fn crash(&self, machine: &Machine) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let survive = usize::try_from(machine.below(state.pending.len() as u64 + 1)).unwrap();
        for write in state.pending.drain(..).take(survive) {
            state.durable.apply(&write);
        }
        state.seen = state.durable.clone();
        if machine.happens(500) {
            state.mark = state.durable_mark;
        }
        state.durable_mark = state.mark;
        state.files.retain(|name, _| !name.ends_with(TEMPORARY));
        state.opened += 1;
    }

    /// Opens it, as `Disk::open` opens a folder.
    pub(crate) fn open(&self, place: u64, checks: &Arc<Checks>) -> Result<Disk, ConsensusError> {
        let opened = {
            let mut state = self.state.lock();
            state.opened += 1;
            state.opened
        };
        let access = Access { state: Arc::clone(&self.state), opened, place, checks: Arc::clone(checks) };
        let data: Arc<dyn Any + Send + Sync> = Arc::new(());
        let files = |prefix: &str| SimulatedFiles { access: access.clone(), folder: PathBuf::from(prefix) };
        let (snapshots, newest) = SnapshotStore::open(Box::new(files("/snapshots")), Arc::clone(&data))?;
        let covered = newest.as_ref().map(|(meta, _)| meta);
        let last_log_index = startup::check_log(&access, &access, covered, Path::new("/log"))?;
        let root = files("/root");
        Ok(Disk {
            // Is asked for its free space.
            folder: PathBuf::from("/"),
            identity: Identity::read(&root)?,
            files: Arc::new(root),
            storage: Arc::new(access.clone()),
            mark: Arc::new(access),
            snapshots,
            newest,
            last_log_index,
            data,
            upgrade: Box::new(|| Ok(())),
        })
    }
}

/// The disk, as long as nobody else has opened it.
#[derive(Clone)]
struct Access {
    state: Arc<Mutex<State>>,
    opened: u64,
    place: u64,
    checks: Arc<Checks>,
}

impl Access {
    fn with<T>(&self, run: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        assert_eq!(state.opened, self.opened, "a node that has crashed still uses its disk");
        run(&mut state)
    }

    fn write(&self, write: Write) -> io::Result<()> {
        self.with(|state| {
            state.seen.apply(&write);
            state.pending.push(write);
        });
        Ok(())
    }
}

fn key_of(record: SmallRecord) -> u8 {
    match record {
        SmallRecord::Vote => 0,
        SmallRecord::Committed => 1,
        SmallRecord::Purged => 2,
    }
}

impl LogStorage for Access {
    fn read_small(&self, record: SmallRecord) -> io::Result<Option<Vec<u8>>> {
        Ok(self.with(|state| state.seen.small.get(&key_of(record)).cloned()))
    }

    fn write_small(&self, record: SmallRecord, bytes: Vec<u8>) -> io::Result<()> {
        self.write(Write::Small(key_of(record), bytes))
    }

    fn entries(&self, range: RangeInclusive<u64>) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let copy = |(index, bytes): (&u64, &Vec<u8>)| (*index, bytes.clone());
        Ok(self.with(|state| state.seen.log.range(range).map(copy).collect()))
    }

    fn last_entry(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        Ok(self.with(|state| state.seen.log.last_key_value().map(|(index, bytes)| (*index, bytes.clone()))))
    }

    fn append(&self, entries: Vec<(u64, Vec<u8>)>) -> io::Result<()> {
        self.write(Write::Append(entries))
    }

    fn remove(&self, range: RangeInclusive<u64>) -> io::Result<()> {
        self.write(Write::Remove(range))
    }

    fn flush(&self) -> io::Result<()> {
        self.with(|state| {
            for write in state.pending.drain(..) {
                state.durable.apply(&write);
                // What is not on a disk yet has not been sent to anybody: after a crash there may be another entry in its place.
                let Write::Append(entries) = write else { continue };
                for (index, bytes) in &entries {
                    let before = index.checked_sub(1).and_then(|before| state.durable.log.get(&before));
                    self.checks.written(self.place, *index, bytes, before.map(Vec::as_slice));
                }
            }
        });
        Ok(())
    }

    fn size_on_disk(&self) -> io::Result<u64> {
        Ok(self.with(|state| state.seen.log.values().map(|bytes| bytes.len() as u64).sum()))
    }
}

impl Mark for Access {
    fn read(&self) -> io::Result<Option<u64>> {
        Ok(self.with(|state| state.mark))
    }

    fn raise(&self, last: u64) -> io::Result<()> {
        self.with(|state| state.mark = Some(last));
        Ok(())
    }

    fn lower(&self, last: Option<u64>) -> io::Result<()> {
        self.with(|state| (state.mark, state.durable_mark) = (last, last));
        Ok(())
    }
}

/// A folder; its files are whole and durable once they have their names.
struct SimulatedFiles {
    access: Access,
    folder: PathBuf,
}

impl SimulatedFiles {
    fn key(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

impl Files for SimulatedFiles {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let folder = format!("{}/", self.folder.display());
        let names = |state: &mut State| {
            state.files.keys().filter_map(|key| Some(key.strip_prefix(&folder)?.to_owned())).collect()
        };
        Ok(self.access.with(names))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.access
            .with(|state| state.files.get(&self.key(name)).cloned())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write_temporary(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        self.access.with(|state| state.files.insert(self.key(name), parts.concat()));
        Ok(())
    }

    fn publish(&self, from: &str, to: &str) -> io::Result<()> {
        let published = self.access.with(|state| {
            let bytes = state.files.remove(&self.key(from))?;
            state.files.insert(self.key(to), bytes);
            Some(())
        });
        published.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.access.with(|state| state.files.remove(&self.key(name)));
        Ok(())
    }
}
