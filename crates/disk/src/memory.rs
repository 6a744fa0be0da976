//! The medium in memory: the same algorithms on a disk that can lose power, fail and be written by others.

mod calls;
mod disk;
mod foreign;
mod hints;
#[cfg(test)]
mod tests;

use crate::medium::Step;
use crate::on_medium::OnMedium;
use crate::{Hint, RelPath, What};
use disk::Disk;
pub use foreign::WriterId;
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A folder in memory, for tests and the simulator. Cloning gives another handle on the same folder.
pub type FakeFolder = OnMedium<Memory>;

type Hook = Arc<dyn Fn(Step, &RelPath) + Send + Sync>;

/// The medium of a [`FakeFolder`].
pub struct Memory {
    shared: Arc<Mutex<State>>,
    process: Arc<Process>,
    hook: Arc<Mutex<Option<Hook>>>,
}

/// The process that uses a handle. When it is killed its calls fail; the disk goes on for others.
#[derive(Default)]
struct Process {
    killed: AtomicBool,
    /// After so many more calls it is killed.
    left: Mutex<Option<u64>>,
}

impl Process {
    /// Whether a call is still made.
    fn calls(&self) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *left {
            Some(0) => self.killed.store(true, Ordering::SeqCst),
            Some(left) => *left -= 1,
            None => {}
        }
        !self.killed.load(Ordering::SeqCst)
    }
}

#[derive(Default)]
struct Knobs {
    failing_fsyncs: usize,
    full: bool,
    read_only: bool,
    no_leases: bool,
    no_exchange: bool,
    root_gone: bool,
    off: bool,
    /// Power is cut, with this seed, when so many more calls were made.
    cut_after: Option<(u64, u64)>,
}

struct State {
    disk: Disk,
    hints: hints::Hints,
    knobs: Knobs,
    /// Handles of an earlier epoch are dead: power was cut since.
    epoch: u64,
    cookie: u32,
    calls: u64,
    windows: HashMap<RelPath, String>,
    removals: HashSet<String>,
    writers: BTreeMap<u64, (u64, RelPath)>,
    next_writer: u64,
}

impl State {
    fn cut(&mut self, seed: u64) {
        self.disk.lose(seed);
        self.knobs.off = true;
        self.epoch += 1;
        self.windows.clear();
        self.removals.clear();
        self.writers.clear();
        self.hints.end();
    }
}

/// An open directory in memory.
pub struct MemoryDir {
    inode: u64,
    path: Option<RelPath>,
    hidden: bool,
    epoch: u64,
}

/// An open file in memory.
pub struct MemoryFile {
    inode: u64,
    /// Where hints go; `None`: nowhere.
    path: Option<RelPath>,
    write: bool,
    append: bool,
    epoch: u64,
    shared: Arc<Mutex<State>>,
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        let mut state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if self.epoch != state.epoch {
            return;
        }
        if let Ok(node) = state.node_mut(self.inode) {
            node.opens = node.opens.saturating_sub(1);
            node.writers = node.writers.saturating_sub(usize::from(self.write));
        }
        if let Some(path) = &self.path {
            let what = if self.write { What::ClosedWrite } else { What::ClosedNoWrite };
            state.say_of(path, self.inode, what);
        }
    }
}

/// A read lease in memory. A writer is not made to wait: it breaks the lease and goes on, which is what
/// its holder sees of a writer that came in the last moment.
pub struct MemoryLease {
    inode: u64,
    write_opens: u64,
}

impl Memory {
    /// Every call of the algorithms comes through here: it may be the one at which power is cut.
    fn enter(&self) -> Result<MutexGuard<'_, State>, Errno> {
        let mut state = self.lock();
        if state.knobs.off || !self.process.calls() {
            return Err(Errno::IO);
        }
        state.calls += 1;
        if let Some((left, seed)) = state.knobs.cut_after {
            if left == 0 {
                state.knobs.cut_after = None;
                state.cut(seed);
                return Err(Errno::IO);
            }
            state.knobs.cut_after = Some((left - 1, seed));
        }
        Ok(state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for FakeFolder {
    fn clone(&self) -> Self {
        let Memory { shared, process, hook } = &self.medium;
        let medium = Memory { shared: shared.clone(), process: process.clone(), hook: hook.clone() };
        let strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { medium, limit: self.limit, strays: Mutex::new(strays) }
    }
}

/// Making one, and the faults.
impl FakeFolder {
    /// An empty folder whose times come from `clock` (nanoseconds since 1970).
    pub fn new(clock: Arc<AtomicU64>) -> Self {
        let state = State {
            disk: Disk::new(clock),
            hints: hints::Hints::default(),
            knobs: Knobs::default(),
            epoch: 0,
            cookie: 0,
            calls: 0,
            windows: HashMap::new(),
            removals: HashSet::new(),
            writers: BTreeMap::new(),
            next_writer: 0,
        };
        let medium =
            Memory { shared: Arc::new(Mutex::new(state)), process: Arc::default(), hook: Arc::default() };
        OnMedium::on(medium, 64 << 20)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.medium.lock()
    }

    /// Lets a test act inside an operation, for instance as another party that saves between two steps.
    pub fn set_hook(&self, hook: impl Fn(Step, &RelPath) + Send + Sync + 'static) {
        *self.medium.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
    }

    /// Ends what [`FakeFolder::set_hook`] began.
    pub fn clear_hook(&self) {
        *self.medium.hook.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The next `count` fsyncs fail with EIO.
    pub fn fail_fsyncs(&self, count: usize) {
        self.state().knobs.failing_fsyncs = count;
    }

    /// Whether the disk is full: nothing can grow.
    pub fn set_full(&self, full: bool) {
        self.state().knobs.full = full;
    }

    /// Whether the file system is mounted read-only.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().knobs.read_only = read_only;
    }

    /// Whether leases work.
    pub fn set_leases(&self, leases: bool) {
        self.state().knobs.no_leases = !leases;
    }

    /// Whether names that differ only in case, or in their normal form, are one name.
    pub fn set_folding(&self, folds: bool) {
        self.state().disk.folds = folds;
    }

    /// Whether names can be exchanged.
    pub fn set_exchange(&self, exchange: bool) {
        self.state().knobs.no_exchange = !exchange;
    }

    /// The root vanishes (or comes back).
    pub fn set_root_gone(&self, gone: bool) {
        let mut state = self.state();
        state.knobs.root_gone = gone;
        if gone {
            state.hints.push(Hint::everywhere(What::RootGone));
        }
    }

    /// A handle for a new process: what is killed with it, or killed before, does not concern the others.
    pub fn process(&self) -> FakeFolder {
        let mut handle = self.clone();
        handle.medium.process = Arc::new(Process::default());
        handle.strays = Mutex::default();
        handle
    }

    /// Kills the process of this handle and its clones (`kill -9`): all its calls fail from now on. What it wrote
    /// stays, as the kernel has it; what it announced is forgotten.
    pub fn kill(&self) {
        self.medium.process.killed.store(true, Ordering::SeqCst);
        let mut state = self.state();
        state.windows.clear();
        state.removals.clear();
    }

    /// Kills the process at the call after the next `calls` calls: in the middle of a save, perhaps.
    pub fn kill_after(&self, calls: u64) {
        *self.medium.process.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(calls);
    }

    /// Whether the process of this handle can do nothing any more: it was killed, or the power is off.
    pub fn is_killed(&self) -> bool {
        self.medium.process.killed.load(Ordering::SeqCst) || self.state().knobs.off
    }

    /// Cuts the power now: what was not synced is lost as the seed decides, all handles and writers die,
    /// and every call fails until [`FakeFolder::power_on`].
    pub fn power_cut(&self, seed: u64) {
        self.state().cut(seed);
    }

    /// Cuts the power at the call after the next `calls` calls of the medium (see [`FakeFolder::calls`]).
    pub fn power_cut_after(&self, calls: u64, seed: u64) {
        self.state().knobs.cut_after = Some((calls, seed));
    }

    /// The machine is on again.
    pub fn power_on(&self) {
        let mut state = self.state();
        state.knobs.off = false;
        state.knobs.cut_after = None;
    }

    /// How many calls of the medium were made so far: an operation's length in cut points.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Holds hints back until they are released or dropped; `false` delivers at once again, the held ones first.
    pub fn hold_hints(&self, hold: bool) {
        let mut state = self.state();
        state.hints.holding = hold;
        if !hold {
            state.hints.release(usize::MAX);
        }
    }

    /// Delivers the oldest `count` held hints.
    pub fn release_hints(&self, count: usize) {
        self.state().hints.release(count);
    }

    /// Loses the oldest `count` held hints; how many there were to lose.
    pub fn drop_hints(&self, count: usize) -> usize {
        self.state().hints.drop_held(count)
    }

    /// Loses all held hints and says `Rescan`, as an overflow does.
    pub fn overflow_hints(&self) {
        let mut state = self.state();
        state.hints.drop_held(usize::MAX);
        state.hints.push(Hint::everywhere(What::Rescan));
    }

    /// Says any hint, as a file system with surprises might.
    pub fn inject_hint(&self, hint: Hint) {
        self.state().hints.push(hint);
    }
}
