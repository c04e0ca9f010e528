//! A world: nodes on simulated disks and a simulated network, clients who use them, and faults.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use uuid::Uuid;
use wharf_catalog::{Envelope, NEWEST_FORMAT, OLDEST_FORMAT, state_hash};

use super::PlantedBug;
use super::checks::{Checks, schemas};
use super::disk::SimulatedDisk;
use super::machine::{Machine, WORLD};
use super::network::{Network, SimulatedTransport, Weather};
use super::runtime::Sleep;
use crate::error::ConsensusError;
use crate::group::{Entrance, Group};
use crate::options::{GroupOptions, Role};
use crate::test_commands::{bootstrap, create_schema, drop_foreign_table};
use crate::wire::{Hello, Versions};

/// How many nodes a world has at most, those that have left included.
const MOST_NODES: u64 = 8;
/// How many nodes are members at a time.
const MEMBERS: usize = 5;
/// How long the faults go on.
const STORM: Duration = Duration::from_secs(20);
/// How long the group may take to be well again after them.
const RECOVERY: Duration = Duration::from_secs(60);

/// One node of the world. It is called by its place in the world, from 1; its number in the group is another.
struct Place {
    disk: SimulatedDisk,
    group: Option<Arc<Group>>,
    /// Is it to run?
    wanted: bool,
    /// It is being taken out of the group.
    leaving: bool,
    /// It has left the group for good.
    gone: bool,
}

/// A world.
pub(crate) struct World {
    pub(crate) network: Network,
    places: Mutex<Vec<Place>>,
    checks: Arc<Checks>,
    max_voters: usize,
    next_schema: AtomicU64,
    /// Do the clients go on?
    working: AtomicBool,
    finished: AtomicBool,
    tally: Mutex<Tally>,
}

/// How often things have happened, to see that a world is not too quiet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) crashes: u64,
    pub(crate) partitions: u64,
    pub(crate) joined: u64,
    pub(crate) removed: u64,
    pub(crate) transfers: u64,
    pub(crate) learners: u64,
    pub(crate) snapshots: u64,
}

/// What a run has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// The same for two runs that were the same.
    pub(crate) trace: u64,
    pub(crate) steps: u64,
    pub(crate) terms: usize,
    pub(crate) answered: usize,
    pub(crate) reads: u64,
    pub(crate) tally: Tally,
}

/// Runs a world from a seed.
///
/// # Errors
/// What must not happen and has.
pub(crate) fn simulate(seed: u64, planted: Option<PlantedBug>) -> Result<Report, String> {
    Machine::run(seed, planted, |machine| {
        let max_voters = if machine.happens(500) { 3 } else { 5 };
        let checks = match planted {
            Some(PlantedBug::ApplyMore) => Checks::without_states(),
            _ => Checks::default(),
        };
        let world = Arc::new(World {
            network: Network::default(),
            places: Mutex::default(),
            checks: Arc::new(checks),
            max_voters,
            next_schema: AtomicU64::new(0),
            working: AtomicBool::new(true),
            finished: AtomicBool::new(false),
            tally: Mutex::default(),
        });
        machine.spawn_on(WORLD, live(Arc::clone(&world)));
        let limit = machine.now() + STORM + RECOVERY * 3;
        let watch = |place: u64| {
            if let Some(group) = (place != WORLD).then(|| world.group(place)).flatten() {
                world.checks.stepped(group.node());
                if let Some(failure) = group.failure() {
                    world.checks.violated(format!("node at place {place} has stopped: {failure}"));
                }
            }
            if machine.now() > limit {
                world.checks.violated("the world did not come to its end".to_owned());
            }
            world.checks.result()
        };
        let result = machine.run_until(|| world.finished.load(Ordering::Relaxed), watch);
        let (terms, answered, reads) = world.checks.counts();
        let tally = world.tally.lock().clone();
        let report = Report { trace: machine.trace(), steps: machine.steps(), terms, answered, reads, tally };
        // The nodes hold the world, and the world the nodes.
        world.places.lock().clear();
        result.map(|()| report)
    })
}

fn machine() -> Rc<Machine> {
    Machine::current().unwrap()
}

async fn pause(longest: Duration) {
    let pause = machine().up_to(longest);
    Sleep::new(pause).await;
}

/// The whole story.
async fn live(world: Arc<World>) {
    world.add_place();
    world.write(bootstrap()).await;
    for _ in 0..3 {
        machine().spawn_on(WORLD, Arc::clone(&world).client());
    }
    for _ in 1..MEMBERS {
        pause(Duration::from_secs(1)).await;
        world.add_place();
    }
    let end = machine().now() + STORM;
    while machine().now() < end {
        pause(Duration::from_secs(1)).await;
        world.strike().await;
    }
    world.calm();
    if let Err(reason) = world.recover().await {
        world.checks.violated(reason);
    }
    if let Err(reason) = world.use_newer_format().await {
        world.checks.violated(reason);
    }
    world.finished.store(true, Ordering::Relaxed);
}

impl World {
    /// The place of a node with an address.
    pub(crate) fn node_at(&self, address: &str) -> Option<u64> {
        let place = address.strip_prefix("place-")?.strip_suffix(":1")?.parse().ok()?;
        (place <= self.places.lock().len() as u64).then_some(place)
    }

    /// The node at a place, if it runs.
    pub(crate) fn group(&self, place: u64) -> Option<Arc<Group>> {
        let index = usize::try_from(place).ok()?.checked_sub(1)?;
        self.places.lock().get(index)?.group.clone()
    }

    fn place<T>(&self, place: u64, run: impl FnOnce(&mut Place) -> T) -> T {
        run(&mut self.places.lock()[usize::try_from(place - 1).unwrap()])
    }

    /// The places of nodes that have not left.
    fn present(&self) -> Vec<u64> {
        let places = self.places.lock();
        (1..).zip(places.iter()).filter(|(_, place)| !place.gone).map(|(number, _)| number).collect()
    }

    fn running(&self) -> Vec<u64> {
        self.present().into_iter().filter(|place| self.group(*place).is_some()).collect()
    }

    fn any_running(&self) -> Option<(u64, Arc<Group>)> {
        let running = self.running();
        let place = *running.get(usize::try_from(machine().below(running.len() as u64)).unwrap())?;
        Some((place, self.group(place)?))
    }

    /// A new node, which founds the group if it is the first.
    fn add_place(self: &Arc<Self>) {
        let place = {
            let mut places = self.places.lock();
            let disk = SimulatedDisk::default();
            places.push(Place { disk, group: None, wanted: false, leaving: false, gone: false });
            places.len() as u64
        };
        self.start(place);
    }

    fn start(self: &Arc<Self>, place: u64) {
        self.place(place, |place| place.wanted = true);
        machine().spawn_on(place, Arc::clone(self).run_node(place));
    }

    async fn run_node(self: Arc<Self>, place: u64) {
        loop {
            let disk = self.place(place, |place| place.disk.clone());
            let disk = match disk.open(place, &self.checks) {
                Ok(disk) => disk,
                Err(error) => {
                    self.checks.violated(format!("the disk at place {place} does not open: {error}"));
                    return;
                }
            };
            let known = disk.identity.as_ref().filter(|identity| identity.has_joined()).map(|identity| identity.node);
            let contact = self.present().into_iter().find(|other| *other != place);
            let entrance = match contact {
                Some(contact) if place != 1 => Entrance::Join(address(contact)),
                _ => Entrance::Open,
            };
            let transport = Arc::new(SimulatedTransport { world: Arc::clone(&self), node: place });
            let options = self.options(place);
            if let Some(node) = known {
                self.checks.started(node);
            }
            match Group::start_on(disk, options, entrance, transport, hello(place)).await {
                Ok(group) => {
                    if known.is_none() {
                        self.tally.lock().joined += 1;
                    }
                    self.place(place, |place| place.group = Some(Arc::new(group)));
                    return;
                }
                Err(ConsensusError::JoinFailed { .. }) => pause(Duration::from_millis(500)).await,
                Err(error) => {
                    self.checks.violated(format!("the node at place {place} does not start: {error}"));
                    return;
                }
            }
        }
    }

    fn options(&self, place: u64) -> GroupOptions {
        GroupOptions {
            address: address(place),
            snapshot_every: 20,
            propose_timeout: Duration::from_secs(4),
            read_timeout: Duration::from_secs(2),
            startup_timeout: Duration::from_secs(3),
            min_free_bytes: 0,
            min_free_bytes_to_open: 0,
            heartbeat: Duration::from_millis(50),
            election_timeout: (Duration::from_millis(150), Duration::from_millis(300)),
            max_voters: self.max_voters,
            replace_after: Duration::from_secs(3),
            snapshot_chunk_bytes: 700,
            compare_every: 8,
            ..GroupOptions::new(PathBuf::from("/"))
        }
    }

    /// The power of a node goes.
    fn crash(&self, place: u64) {
        let machine = machine();
        machine.kill(|node| node == place);
        let (group, disk) = self.place(place, |place| {
            place.wanted = false;
            (place.group.take(), place.disk.clone())
        });
        drop(group);
        disk.crash(&machine);
        self.tally.lock().crashes += 1;
    }

    /// Something bad, or out of the ordinary, happens.
    async fn strike(self: &Arc<Self>) {
        let present = self.present();
        let one = present[usize::try_from(machine().below(present.len() as u64)).unwrap()];
        let kind = machine().below(16);
        match kind {
            0..3 => {
                self.crash(one);
                let (world, rest) = (Arc::clone(self), machine().up_to(Duration::from_secs(4)));
                machine().spawn_on(WORLD, async move {
                    Sleep::new(rest).await;
                    world.restart(one);
                });
            }
            3 => {
                // The power of all.
                present.iter().for_each(|place| self.crash(*place));
                pause(Duration::from_millis(300)).await;
                present.iter().for_each(|place| self.restart(*place));
            }
            4..6 => {
                let side = present.iter().copied().filter(|_| machine().happens(500)).collect::<BTreeSet<_>>();
                let one_way = machine().happens(300);
                let mut cut = BTreeSet::new();
                for from in &present {
                    for to in present.iter().filter(|to| side.contains(to) != side.contains(from)) {
                        if !one_way || side.contains(from) {
                            cut.insert((*from, *to));
                        }
                    }
                }
                self.network.weather.lock().cut = cut;
                self.tally.lock().partitions += 1;
            }
            6..9 => self.network.weather.lock().cut.clear(),
            9 => {
                let bad = Weather {
                    loss: machine().below(300),
                    repeats: machine().below(200),
                    delay: machine().up_to(Duration::from_millis(60)),
                    ..self.network.weather.lock().clone()
                };
                *self.network.weather.lock() = bad;
            }
            10 => {
                let cut = self.network.weather.lock().cut.clone();
                *self.network.weather.lock() = Weather { cut, ..Weather::default() };
            }
            11 => {
                let longest = machine().up_to(Duration::from_millis(200));
                machine().set_disk(one, longest);
            }
            12 => {
                if let Some(group) = self.group(one) {
                    drop(group.trigger_snapshot().await);
                }
            }
            13 | 14 => self.transfer(),
            _ => self.replace_member(),
        }
    }

    fn restart(self: &Arc<Self>, place: u64) {
        if self.place(place, |place| !place.wanted && !place.gone) {
            self.start(place);
        }
    }

    fn transfer(self: &Arc<Self>) {
        let Some((place, group)) = self.any_running() else { return };
        let voters = group.status().members.into_iter().filter(|member| member.role != Role::Learner);
        let voters = voters.map(|member| member.node).collect::<Vec<_>>();
        let Some(target) = voters.get(usize::try_from(machine().below(voters.len() as u64)).unwrap()).copied() else {
            return;
        };
        let world = Arc::clone(self);
        machine().spawn_on(place, async move {
            if group.transfer_leader(target).await.is_ok() {
                world.tally.lock().transfers += 1;
            }
        });
    }

    /// A node leaves for good, and a new one comes.
    fn replace_member(self: &Arc<Self>) {
        let present = self.present();
        if self.places.lock().len() as u64 >= MOST_NODES || present.len() < MEMBERS {
            return;
        }
        // The first is the one that others ask to join.
        let leaves = present[usize::try_from(machine().below(present.len() as u64)).unwrap()];
        let Some(node) = self.group(leaves).map(|group| group.status().node) else { return };
        if leaves == present[0] || self.place(leaves, |place| std::mem::replace(&mut place.leaving, true)) {
            return;
        }
        let world = Arc::clone(self);
        machine().spawn_on(WORLD, async move {
            loop {
                pause(Duration::from_millis(300)).await;
                let Some((place, group)) = world.any_running() else { continue };
                let (told, done) = oneshot::channel();
                machine().spawn_on(place, async move { drop(told.send(group.remove(node).await)) });
                // Otherwise perhaps it is removed, perhaps not.
                if let Ok(Ok(()) | Err(ConsensusError::UnknownMember { .. })) = done.await {
                    break;
                }
            }
            world.crash(leaves);
            world.place(leaves, |place| place.gone = true);
            world.tally.lock().removed += 1;
            world.add_place();
        });
    }

    /// The faults end.
    fn calm(self: &Arc<Self>) {
        *self.network.weather.lock() = Weather::default();
        for place in self.present() {
            machine().set_disk(place, Duration::from_millis(3));
            self.restart(place);
        }
    }

    /// All is well again: every member runs, has everything and is the same.
    async fn recover(self: &Arc<Self>) -> Result<(), String> {
        let deadline = machine().now() + RECOVERY;
        while !self.is_well() {
            if machine().now() > deadline {
                return Err(format!("not well again after {} s: {}", RECOVERY.as_secs(), self.describe()));
            }
            Sleep::new(Duration::from_millis(100)).await;
        }
        self.working.store(false, Ordering::Relaxed);
        let deadline = machine().now() + RECOVERY;
        loop {
            let states = self.running().into_iter().filter_map(|place| self.group(place)).map(|group| {
                let applied = group.node().applied.get();
                (applied.last, state_hash(&applied.state), self.checks.has_all(&applied.state))
            });
            let states = states.collect::<BTreeSet<_>>();
            // Members that have just started are the same, too, before the leader knows again what was committed.
            if states.len() == 1 && states.iter().all(|(_, _, has_all)| *has_all) {
                break;
            }
            if machine().now() > deadline {
                return Err(format!(
                    "the members do not become the same with all that was answered: {}",
                    self.describe()
                ));
            }
            Sleep::new(Duration::from_millis(200)).await;
        }
        let mut tally = self.tally.lock();
        for place in self.running() {
            let Some(group) = self.group(place) else { continue };
            self.checks.read_ends(self.checks.read_begins(), &group.local(), &format!("the node at place {place}"));
            let status = group.status();
            tally.snapshots += u64::from(status.snapshot_index.is_some());
            tally.learners =
                tally.learners.max(status.members.iter().filter(|m| m.role == Role::Learner).count() as u64);
        }
        Ok(())
    }

    /// What the older nodes could not read is refused by all. (The first node is one of the older, and never leaves.)
    async fn use_newer_format(&self) -> Result<(), String> {
        let deadline = machine().now() + RECOVERY;
        for place in self.running() {
            loop {
                let Some(group) = self.group(place) else { break };
                let (told, answer) = oneshot::channel();
                let drops = drop_foreign_table(Uuid::from_u128((1 << 65) + u128::from(place)));
                machine().spawn_on(place, async move { drop(told.send(group.propose(drops).await)) });
                match answer.await {
                    Ok(Err(ConsensusError::OlderMembers { members, .. }))
                        if members.iter().any(|(_, reads)| *reads == Some(OLDEST_FORMAT)) =>
                    {
                        break;
                    }
                    Ok(Err(_)) if machine().now() < deadline => pause(Duration::from_millis(100)).await,
                    other => return Err(format!("place {place} was asked for something newer, and says {other:?}")),
                }
            }
        }
        Ok(())
    }

    /// Do all run, know the same leader and the same members, with as many voters as there should be?
    fn is_well(&self) -> bool {
        let (present, running) = (self.present(), self.running());
        if present != running || self.places.lock().iter().any(|place| place.leaving && !place.gone) {
            return false;
        }
        let statuses = running.iter().filter_map(|place| self.group(*place)).map(|group| group.status());
        let statuses = statuses.collect::<Vec<_>>();
        let Some(leader) = statuses.iter().find(|status| status.leads) else { return false };
        let voters = leader.members.iter().filter(|member| member.role != Role::Learner).count();
        let members = |status: &crate::options::GroupStatus| {
            status.members.iter().map(|member| (member.node, member.role)).collect::<Vec<_>>()
        };
        let known = leader.members.iter().map(|member| member.node).collect::<BTreeSet<_>>();
        voters >= self.max_voters.min(present.len())
            && statuses.iter().all(|status| {
                status.leader == leader.leader
                    && status.term == leader.term
                    && members(status) == members(leader)
                    && known.contains(&status.node)
            })
    }

    fn describe(&self) -> String {
        let places = self.places.lock();
        let of = |(number, place): (u64, &Place)| {
            format!("\n{number} wanted {} gone {}: {:?}", place.wanted, place.gone, place.group)
        };
        (1..).zip(places.iter()).map(of).collect()
    }

    /// A client that writes and reads, at whatever node it finds.
    async fn client(self: Arc<Self>) {
        while self.working.load(Ordering::Relaxed) {
            pause(Duration::from_millis(120)).await;
            if machine().happens(500) {
                let schema = self.next_schema.fetch_add(1, Ordering::Relaxed);
                if self.write(create_schema(schema)).await {
                    self.checks.answered(schema);
                    machine().note(schema);
                }
            } else {
                self.read().await;
            }
        }
    }

    /// Writes until there is an answer, at one node after the other.
    async fn write(&self, envelope: Envelope) -> bool {
        loop {
            if self.finished.load(Ordering::Relaxed) {
                return false;
            }
            let Some((place, group)) = self.any_running() else {
                pause(Duration::from_millis(100)).await;
                continue;
            };
            let (told, answer) = oneshot::channel();
            let proposed = envelope.clone();
            machine().spawn_on(place, async move { drop(told.send(group.propose(proposed).await)) });
            match answer.await {
                Ok(Ok(Ok(_))) => return true,
                Ok(Ok(Err(error))) => {
                    self.checks.violated(format!("{:?} was answered {error}", envelope.command));
                    return false;
                }
                Ok(Err(_)) | Err(_) => pause(Duration::from_millis(100)).await,
            }
        }
    }

    async fn read(&self) {
        let Some((place, group)) = self.any_running() else { return };
        let begin = self.checks.read_begins();
        let (told, read) = oneshot::channel();
        machine().spawn_on(place, async move { drop(told.send(group.read().await)) });
        if let Ok(Ok(state)) = read.await {
            machine().note(schemas(&state).len() as u64);
            self.checks.read_ends(begin, &state, &format!("a read at place {place}"));
        }
    }
}

/// Every other node is of a build that speaks a newer version besides, and reads a newer format of the catalog.
fn hello(place: u64) -> Hello {
    let newer = place.is_multiple_of(2);
    let versions = Versions { newest: Versions::OURS.newest + u16::from(newer), ..Versions::OURS };
    Hello { versions, catalog: Some(if newer { NEWEST_FORMAT } else { OLDEST_FORMAT }) }
}

fn address(place: u64) -> String {
    format!("place-{place}:1")
}
