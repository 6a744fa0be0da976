//! Machines, their cables, and time: everything happens on one thread, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use syncline_disk::{Folder, RelPath};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::cable::{self, Cable, End};
use super::editor;
use super::ledger::{Ledger, View};
use super::machine::{Machine, Running};
use super::plan::{Act, FolderPlan, Planned};
use crate::checker::FaultKind;

/// When simulated time begins: nanoseconds since 1970.
const BEGINNING: u64 = 1_700_000_000_000_000_000;
/// So long everything may take to come to rest after the last act: a joined hub waits 30 s for its peer, a
/// connection that is silent is given up after 45 s.
const REST: Duration = Duration::from_secs(240);
/// How often it is asked whether all is at rest, and how often in a row it must be.
const LOOK: Duration = Duration::from_millis(250);
const LOOKS: usize = 8;

/// A world.
pub struct World {
    /// The machines.
    pub machines: Vec<Machine>,
    /// What is written down.
    pub ledger: Ledger,
    plan: FolderPlan,
    cables: Vec<Line>,
    started: Instant,
    clock: Arc<AtomicU64>,
    /// Files that our own slow writers are in the middle of writing.
    half_written: Mutex<BTreeSet<(usize, RelPath)>>,
    over: AtomicBool,
}

/// A cable and whether it is cut.
struct Line {
    cable: Arc<Cable>,
    cut: Notify,
    until: Mutex<Option<Instant>>,
}

/// A slow writer's claim to a file.
pub struct Writing<'a>(&'a World, (usize, RelPath));

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.half_written.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// A crash that is under way.
struct Crash<'a>(&'a AtomicBool);

impl Drop for Crash<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl World {
    /// A world in which nothing has happened. Call within its runtime, whose time is paused.
    pub fn new(plan: FolderPlan, remember: bool) -> World {
        let clock = Arc::new(AtomicU64::new(BEGINNING));
        let line = |number: usize| Line {
            cable: Arc::new(Cable {
                latency: plan.latency,
                spoil: AtomicBool::new(false),
                turn: Duration::from_millis(number as u64),
            }),
            cut: Notify::new(),
            until: Mutex::new(None),
        };
        World {
            machines: (0..plan.machines).map(|number| Machine::new(number, clock.clone())).collect(),
            ledger: Ledger::new(remember),
            cables: (0..plan.machines).map(line).collect(),
            started: Instant::now(),
            clock,
            half_written: Mutex::default(),
            over: AtomicBool::new(false),
            plan,
        }
    }

    /// Virtual time since the beginning.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Something happened.
    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        self.ledger.note(self.now(), what);
    }

    /// Whether one of our own slow writers is in the middle of this file.
    pub fn writing(&self, machine: usize, path: &RelPath) -> bool {
        self.half_written.lock().unwrap_or_else(PoisonError::into_inner).contains(&(machine, path.clone()))
    }

    /// A slow writer begins, if no other is at it.
    pub fn begin_writing(&self, machine: usize, path: &RelPath) -> Option<Writing<'_>> {
        let key = (machine, path.clone());
        let mut all = self.half_written.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key.clone()).then(|| Writing(self, key))
    }

    /// Runs everything to rest, and gives the folders and journals as they are then.
    pub async fn run(self: &Arc<Self>) -> Vec<View> {
        let clock = self.clone();
        tokio::spawn(async move {
            // The disk's clock follows; two changes never have the same time anyway.
            while !clock.over.load(Ordering::SeqCst) {
                clock.clock.store(BEGINNING + clock.now().as_nanos() as u64, Ordering::SeqCst);
                sleep(Duration::from_millis(1)).await;
            }
        });
        self.write_first_files();
        let mut seeds = fastrand::Rng::with_seed(self.plan.seed ^ 0x57a7);
        for machine in 0..self.machines.len() {
            self.start(machine, seeds.u64(..)).await;
        }
        for leaf in 1..self.machines.len() {
            tokio::spawn(self.clone().keep_connected(leaf, seeds.u64(..)));
        }
        let mut acts = JoinSet::new();
        for planned in self.plan.acts.clone() {
            sleep_until(self.started + Duration::from_millis(planned.at)).await;
            let world = self.clone();
            acts.spawn(async move { world.act(planned).await });
        }
        while acts.join_next().await.is_some() {}
        self.note(format_args!("all acts are over"));
        let rested = self.come_to_rest().await;
        if let Err(why) = rested {
            self.ledger.fault(FaultKind::Restless, why);
        }
        self.over.store(true, Ordering::SeqCst);
        let views = self.views();
        self.machines.iter().for_each(Machine::bury);
        views
    }

    fn write_first_files(&self) {
        for number in 0..self.plan.files {
            let markers: Vec<String> = (0..4).map(|_| self.ledger.marker(0, Duration::ZERO)).collect();
            let text: String = markers.iter().flat_map(|marker| [marker, "\n"]).collect();
            let Ok(path) = RelPath::parse(&format!("f{number}.txt")) else { continue };
            if self.machines[0].disk.foreign_write_in_place(&path, text.as_bytes()).is_ok() {
                self.ledger.written(&markers);
            }
        }
        let _ = self.machines[0].disk.sync_all();
    }

    /// Starts a machine's hub, as often as it takes.
    async fn start(self: &Arc<Self>, number: usize, seed: u64) {
        let machine = &self.machines[number];
        let mut tries = 0;
        let hub = loop {
            match machine.start(seed.wrapping_add(tries), self.plan.slowness, self.plan.large_text).await {
                Ok(hub) => break hub,
                Err(error) => {
                    self.note(format_args!("{number} does not start: {error}"));
                    tries += 1;
                    sleep(Duration::from_millis(200)).await;
                }
            }
        };
        self.note(format_args!("{number} starts"));
        let world = self.clone();
        let mut events = hub.events();
        drop(hub);
        tokio::spawn(async move {
            while let Ok(event) = events.recv().await {
                world.note(format_args!("{number} {event:?}"));
            }
        });
    }

    async fn act(self: &Arc<Self>, planned: Planned) {
        let machine = &self.machines[planned.machine];
        match &planned.act {
            Act::Cut { ms } => {
                self.ledger.count("cuts", 1);
                self.note(format_args!("the cable of {} is cut for {ms} ms", planned.machine));
                let line = &self.cables[planned.machine];
                let until = Instant::now() + Duration::from_millis(*ms);
                *line.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
                line.cut.notify_one();
            }
            Act::Spoil => {
                self.ledger.count("spoilt messages", 1);
                self.cables[planned.machine].cable.spoil.store(true, Ordering::Relaxed);
            }
            Act::Kill { calls, down } => {
                let Some((running, _crash)) = self.begin_crash(machine) else { return };
                self.ledger.count("kills", 1);
                running.process.kill_after(*calls);
                self.wait_for_death(&running.process).await;
                running.process.kill();
                self.note(format_args!("{} is killed", planned.machine));
                machine.bury();
                sleep(Duration::from_millis(*down)).await;
                self.start(planned.machine, planned.seed).await;
            }
            Act::PowerCut { calls, down } => {
                let Some((running, _crash)) = self.begin_crash(machine) else { return };
                self.ledger.count("power cuts", 1);
                machine.disk.power_cut_after(*calls, planned.seed);
                self.wait_for_death(&running.process).await;
                if !machine.disk.is_killed() {
                    machine.disk.power_cut(planned.seed);
                }
                machine.power_cuts.fetch_add(1, Ordering::SeqCst);
                self.note(format_args!("{} loses power", planned.machine));
                machine.bury();
                self.ledger.power_cut(planned.machine, &machine.journalled(), self.now());
                sleep(Duration::from_millis(*down)).await;
                machine.disk.power_on();
                self.note(format_args!("{} has power again: {:?}", planned.machine, machine.folder().files));
                self.start(planned.machine, planned.seed).await;
            }
            Act::Overflow { ms } => {
                self.ledger.count("overflows", 1);
                machine.disk.hold_hints(true);
                sleep(Duration::from_millis(*ms)).await;
                machine.disk.overflow_hints();
                machine.disk.hold_hints(false);
            }
            Act::Full { ms } => {
                self.ledger.count("full disks", 1);
                machine.full.store(true, Ordering::SeqCst);
                machine.disk.set_full(true);
                sleep(Duration::from_millis(*ms)).await;
                machine.disk.set_full(false);
                machine.full.store(false, Ordering::SeqCst);
            }
            Act::FailSync { count } => {
                self.ledger.count("failed fsyncs", *count as u64);
                machine.disk.fail_fsyncs(*count);
            }
            Act::FailCommits { count } => {
                self.ledger.count("failed commits", u64::from(*count));
                machine.log.fail_commits(*count);
                self.ledger.renames_may_double(planned.machine);
            }
            _ => editor::act(self, &planned).await,
        }
    }

    /// One crash of a machine at a time.
    fn begin_crash<'a>(&self, machine: &'a Machine) -> Option<(Running, Crash<'a>)> {
        let running = machine.running()?;
        (!machine.crashing.swap(true, Ordering::SeqCst)).then(|| (running, Crash(&machine.crashing)))
    }

    async fn wait_for_death(&self, process: &syncline_disk::FakeFolder) {
        for _ in 0..300 {
            if process.is_killed() {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Connects a machine to number 0 whenever both run and the cable is whole.
    async fn keep_connected(self: Arc<Self>, leaf: usize, seed: u64) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let line = &self.cables[leaf];
        while !self.over.load(Ordering::SeqCst) {
            let cut = *line.until.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(until) = cut.filter(|until| *until > Instant::now()) {
                sleep_until(until).await;
                continue;
            }
            if let (Some(centre), Some(dialing)) = (self.machines[0].running(), self.machines[leaf].running())
            {
                self.note(format_args!("{leaf} connects"));
                let centre = End { hub: centre.hub, process: centre.process, dialed: false };
                let dialing = End { hub: dialing.hub, process: dialing.process, dialed: true };
                let connection = cable::connect(line.cable.clone(), centre, dialing, rng.u64(..));
                tokio::select! {
                    biased;
                    () = line.cut.notified() => {}
                    () = connection => {}
                }
                self.note(format_args!("{leaf} is disconnected"));
            }
            sleep(Duration::from_millis(rng.u64(10..=200))).await;
        }
    }

    async fn come_to_rest(&self) -> Result<(), String> {
        let deadline = Instant::now() + REST;
        let mut looks = 0;
        loop {
            match self.at_rest() {
                Ok(()) => looks += 1,
                Err(why) if Instant::now() > deadline => return Err(why),
                Err(_) => looks = 0,
            }
            if looks == LOOKS {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }

    fn at_rest(&self) -> Result<(), String> {
        let mut first = None;
        for machine in &self.machines {
            let number = machine.number;
            let Some(Running { hub, .. }) = machine.running() else {
                return Err(format!("{number} is down"));
            };
            if hub.unsettled() > 0 {
                return Err(format!("{number} has {} files that are not in step", hub.unsettled()));
            }
            let temporaries = machine.disk.temporaries().unwrap_or_default();
            let displaced = machine.disk.displaced().unwrap_or_default();
            if !(temporaries.is_empty() && displaced.is_empty()) {
                return Err(format!("{number} has {temporaries:?} and {displaced:?} left"));
            }
            // Not the vectors: of a write that was overtaken before it was sent, only one side knows the number.
            let mut catalogue = hub.catalogue_since(&BTreeMap::new()).0;
            catalogue.sort_by_key(|write| (write.doc, write.stamp));
            let state = (catalogue, hub.heads(), machine.folder().files);
            let first = first.get_or_insert_with(|| (number, state.clone()));
            if first.1.0 != state.0 {
                let what = format!("{:?} and {:?}", first.1.0, state.0);
                return Err(format!("the catalogues of {} and {number} differ: {what}", first.0));
            }
            if first.1.1 != state.1 {
                let what = format!("{:?} and {:?}", first.1.1, state.1);
                return Err(format!("the versions of {} and {number} differ: {what}", first.0));
            }
            if first.1.2 != state.2 {
                return Err(format!(
                    "the folders of {} and {number} differ: {:?} {:?}",
                    first.0, first.1.2, state.2
                ));
            }
        }
        Ok(())
    }

    fn views(&self) -> Vec<View> {
        let mut views = Vec::new();
        for machine in &self.machines {
            views.push(machine.folder());
            match machine.journal() {
                Ok(view) => views.push(view),
                Err(what) => {
                    self.ledger.fault(FaultKind::Damaged, format!("machine {}: {what}", machine.number))
                }
            }
        }
        views
    }
}
