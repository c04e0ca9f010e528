//! What simulated nodes run on: tasks, a clock that jumps to the next moment at which something happens, and one source of chance.
//!
//! What always holds: only one task runs at a time, and which one is chosen by chance among those that can. A task belongs to the
//! node that started it, and ends with it, at once and wherever it is: that is a crash.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::PlantedBug;

/// The clock does not begin at zero: openraft subtracts timeouts from it.
const BEGINNING: Duration = Duration::from_secs(3600);

/// More steps than this at one moment are a loop that does not end.
const STEPS_AT_A_MOMENT: u64 = 20_000;

/// The number of the world itself among the nodes.
pub(crate) const WORLD: u64 = 0;

type Future = Pin<Box<dyn std::future::Future<Output = ()> + Send>>;

struct Task {
    node: u64,
    /// None while it runs.
    future: Option<Future>,
}

/// The machine of a thread.
pub(crate) struct Machine {
    now: Cell<Duration>,
    random: Cell<u64>,
    trace: Cell<u64>,
    steps: Cell<u64>,
    tasks: RefCell<BTreeMap<u64, Task>>,
    next_task: Cell<u64>,
    /// In the order of their numbers, so that the order in which they were woken does not matter: tokio wakes by chance of its own.
    ready: Arc<Mutex<BTreeSet<u64>>>,
    timers: RefCell<BTreeMap<(Duration, u64), Waker>>,
    next_timer: Cell<u64>,
    node: Cell<u64>,
    /// The longest time that a node's disk takes.
    disks: RefCell<BTreeMap<u64, Duration>>,
    planted: Option<PlantedBug>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Machine>>> = const { RefCell::new(None) };
}

/// Makes a task ready.
struct TaskWaker {
    task: u64,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.lock().insert(self.task);
    }
}

impl Machine {
    /// The machine of the calling thread, if it simulates.
    pub(crate) fn current() -> Option<Rc<Machine>> {
        // Futures may be dropped when the thread ends.
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    /// Runs something with a new machine.
    pub(crate) fn run<T>(seed: u64, planted: Option<PlantedBug>, run: impl FnOnce(&Rc<Machine>) -> T) -> T {
        let machine = Rc::new(Machine {
            now: Cell::new(BEGINNING),
            random: Cell::new(seed),
            trace: Cell::new(0xcbf2_9ce4_8422_2325),
            steps: Cell::new(0),
            tasks: RefCell::default(),
            next_task: Cell::new(1),
            ready: Arc::default(),
            timers: RefCell::default(),
            next_timer: Cell::new(1),
            node: Cell::new(WORLD),
            disks: RefCell::default(),
            planted,
        });
        CURRENT.with(|current| *current.borrow_mut() = Some(Rc::clone(&machine)));
        let result = catch_unwind(AssertUnwindSafe(|| run(&machine)));
        machine.kill(|_| true);
        CURRENT.with(|current| *current.borrow_mut() = None);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    pub(crate) fn planted(&self) -> Option<PlantedBug> {
        self.planted
    }

    /// The node that is running.
    pub(crate) fn node(&self) -> u64 {
        self.node.get()
    }

    pub(crate) fn now(&self) -> Duration {
        self.now.get()
    }

    /// The next number by chance (SplitMix64).
    pub(crate) fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound, by chance.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.random() % bound.max(1)
    }

    /// A time up to a bound, by chance.
    pub(crate) fn up_to(&self, bound: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(bound.as_micros()).unwrap_or(u64::MAX).saturating_add(1)))
    }

    /// Happens so many times in a thousand.
    pub(crate) fn happens(&self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// Adds to what tells runs apart.
    pub(crate) fn note(&self, value: u64) {
        self.trace.set((self.trace.get() ^ value).wrapping_mul(0x0100_0000_01b3));
    }

    /// Everything that has happened so far, in one number.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.get()
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// How long an access to the disk of the running node takes.
    pub(crate) fn disk_delay(&self) -> Duration {
        let longest = self.disks.borrow().get(&self.node.get()).copied().unwrap_or(Duration::from_millis(3));
        self.up_to(longest)
    }

    pub(crate) fn set_disk(&self, node: u64, longest: Duration) {
        self.disks.borrow_mut().insert(node, longest);
    }

    /// Starts a task of the node that is running.
    pub(crate) fn spawn(&self, future: impl std::future::Future<Output = ()> + Send + 'static) {
        self.spawn_on(self.node.get(), future);
    }

    /// Starts a task of a node.
    pub(crate) fn spawn_on(&self, node: u64, future: impl std::future::Future<Output = ()> + Send + 'static) {
        let id = self.next_task.get();
        self.next_task.set(id + 1);
        self.tasks.borrow_mut().insert(id, Task { node, future: Some(Box::pin(future)) });
        self.ready.lock().insert(id);
    }

    /// Ends all tasks of some nodes, where they are.
    pub(crate) fn kill(&self, ends: impl Fn(u64) -> bool) {
        let mut ended = Vec::new();
        self.tasks.borrow_mut().retain(|_, task| {
            let kept = !ends(task.node);
            if !kept {
                ended.push(task.future.take());
            }
            kept
        });
        // They may wake, start and drop what they like meanwhile.
        drop(ended);
    }

    /// Has a waker called at a moment; gives what [`Machine::forget_timer`] wants.
    pub(crate) fn wake_at(&self, at: Duration, waker: Waker) -> (Duration, u64) {
        let id = self.next_timer.get();
        self.next_timer.set(id + 1);
        self.timers.borrow_mut().insert((at, id), waker);
        (at, id)
    }

    pub(crate) fn forget_timer(&self, timer: &(Duration, u64)) {
        let forgotten = self.timers.borrow_mut().remove(timer);
        drop(forgotten);
    }

    /// Runs until something holds, or nothing can happen any more. `after` is called with the node after each of its steps.
    ///
    /// # Errors
    /// The text of a panic in a task, or of `after`.
    pub(crate) fn run_until(
        &self,
        done: impl Fn() -> bool,
        mut after: impl FnMut(u64) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut since = (self.now.get(), self.steps.get());
        while !done() {
            self.check_progress(&mut since)?;
            let Some(id) = self.next_ready() else {
                if !self.advance() {
                    return Err("nothing can happen any more".to_owned());
                }
                continue;
            };
            if let Some(node) = self.step(id)? {
                after(node)?;
            }
        }
        Ok(())
    }

    /// An error when tasks keep each other busy and time does not pass.
    fn check_progress(&self, since: &mut (Duration, u64)) -> Result<(), String> {
        let (now, steps) = (self.now.get(), self.steps.get());
        if now > since.0 {
            *since = (now, steps);
        }
        if steps - since.1 > STEPS_AT_A_MOMENT {
            return Err(format!("no time has passed for {STEPS_AT_A_MOMENT} steps; ready: {:?}", self.ready.lock()));
        }
        Ok(())
    }

    fn next_ready(&self) -> Option<u64> {
        let mut ready = self.ready.lock();
        if ready.is_empty() {
            return None;
        }
        let chosen = usize::try_from(self.below(ready.len() as u64)).unwrap();
        let id = *ready.iter().nth(chosen)?;
        ready.remove(&id);
        Some(id)
    }

    /// Goes to the next moment at which something happens.
    fn advance(&self) -> bool {
        let Some(at) = self.timers.borrow().keys().next().map(|(at, _)| *at) else { return false };
        self.now.set(self.now.get().max(at));
        let due = {
            let mut timers = self.timers.borrow_mut();
            let later = timers.split_off(&(at, u64::MAX));
            std::mem::replace(&mut *timers, later)
        };
        due.into_values().for_each(Waker::wake);
        true
    }

    /// Has a task go on; the node it belongs to, if it was there.
    fn step(&self, id: u64) -> Result<Option<u64>, String> {
        let taken = self.tasks.borrow_mut().get_mut(&id).and_then(|task| Some((task.node, task.future.take()?)));
        let Some((node, mut future)) = taken else { return Ok(None) };
        self.steps.set(self.steps.get() + 1);
        self.note(id);
        self.note(u64::try_from(self.now.get().as_micros()).unwrap());
        let waker = Waker::from(Arc::new(TaskWaker { task: id, ready: Arc::clone(&self.ready) }));
        self.node.set(node);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
        match polled {
            Ok(Poll::Pending) => {
                // It may have been ended meanwhile.
                let mut unwanted = Some(future);
                if let Some(task) = self.tasks.borrow_mut().get_mut(&id) {
                    task.future = unwanted.take();
                }
                drop(unwanted);
            }
            Ok(Poll::Ready(())) => {
                let ended = self.tasks.borrow_mut().remove(&id);
                drop((ended, future));
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                return Err(format!("panic on node {node}: {}", text.unwrap_or_default()));
            }
        }
        self.node.set(WORLD);
        Ok(Some(node))
    }
}
