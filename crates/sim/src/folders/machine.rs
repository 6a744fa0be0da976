//! A machine: a disk, a journal, and a hub that is killed and started again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use syncline_disk::{FakeFolder, IgnoreRules};
use syncline_engine::catalogue::{Catalogue, DocId, Kind};
use syncline_hub::{Hub, HubError, Options, Workers};
use syncline_store::{Log, LogReader, MemoryLog, Record, StoreError};

use super::ledger::View;

/// A disk, a journal, and perhaps a hub.
pub struct Machine {
    /// Its number; 0 is the one that the others have joined.
    pub number: usize,
    /// Its disk, as others than the hub use it.
    pub disk: FakeFolder,
    /// Its journal.
    pub log: MemoryLog,
    /// Whether the disk is full.
    pub full: AtomicBool,
    /// How often it lost power, which ends all programs that ran on it.
    pub power_cuts: AtomicU64,
    /// Whether it is going down, or down.
    pub crashing: AtomicBool,
    running: Mutex<Option<Running>>,
    /// Milliseconds; the hub's clock.
    clock: Arc<AtomicU64>,
}

/// A hub and its process.
#[derive(Clone)]
pub struct Running {
    /// The hub.
    pub hub: Hub,
    /// The handle by which it uses the disk.
    pub process: FakeFolder,
}

impl Machine {
    /// A machine that was never started. `clock`: nanoseconds since 1970, for the disk and the hub.
    pub fn new(number: usize, clock: Arc<AtomicU64>) -> Machine {
        Machine {
            number,
            disk: FakeFolder::new(clock.clone()),
            log: MemoryLog::new(),
            full: AtomicBool::new(false),
            power_cuts: AtomicU64::new(0),
            crashing: AtomicBool::new(false),
            running: Mutex::new(None),
            clock,
        }
    }

    /// The hub, while it runs.
    pub fn running(&self) -> Option<Running> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        running.filter(|running| !running.process.is_killed())
    }

    /// Starts a hub, for which texts are large from so many bytes on. Calls to the disk and the journal pause up to
    /// `slowness` ms.
    pub async fn start(&self, seed: u64, slowness: u64, large_text: usize) -> Result<Hub, HubError> {
        let process = self.disk.process();
        let fenced = Fenced { log: self.log.clone(), process: process.clone() };
        let clock = self.clock.clone();
        let options = Options {
            folder: Arc::new(process.clone()),
            log: Box::new(move || Ok(Box::new(fenced.clone()) as Box<dyn Log>)),
            only: None,
            name: format!("machine {}", self.number),
            joined: self.number > 0,
            founding: None,
            policy: Default::default(),
            large_text,
            seed,
            clock: Arc::new(move || clock.load(Ordering::SeqCst) / 1_000_000),
            author: format!("machine {}", self.number),
        };
        let rng = Mutex::new(fastrand::Rng::with_seed(seed ^ 0xde1a));
        let delay = move || {
            let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
            // Mostly quick, sometimes not.
            let most = if rng.u8(0..16) == 0 { slowness * 8 } else { slowness };
            Duration::from_micros(rng.u64(0..=most * 1_000))
        };
        let hub = Hub::open_with(options, Workers::Simulated(Arc::new(delay))).await?;
        let running = Running { hub: hub.clone(), process };
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(hub)
    }

    /// What is left of a hub whose process was killed goes away.
    pub fn bury(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            running.process.kill();
            running.hub.close();
        }
    }

    /// The files in the folder.
    pub fn folder(&self) -> View {
        // What an editor left when the power went, and nobody shares.
        let rules = IgnoreRules::load(&self.disk).ok().flatten();
        let ignored = |path: &_| rules.as_ref().is_some_and(|rules| rules.is_ignored(path, false));
        let files = self.disk.peek_all().into_iter().filter(|(path, _)| !ignored(path));
        let files =
            files.map(|(path, bytes)| (path.to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        View { place: format!("the folder of machine {}", self.number), files: files.collect() }
    }

    /// The living documents in the journal, read as a hub reads it when it starts.
    pub fn journal(&self) -> Result<View, String> {
        let said = |error: StoreError| error.to_string();
        let reader = self.log.reader().map_err(said)?;
        let mut catalogue = Catalogue::new();
        reader.catalogue().map_err(said)?.iter().for_each(|write| {
            catalogue.merge(write);
        });
        let mut view =
            View { place: format!("the journal of machine {}", self.number), files: Default::default() };
        for (path, docs) in catalogue.paths() {
            for doc in docs {
                if catalogue.get(doc).and_then(|entry| entry.kind()) == Some(&Kind::Text) {
                    view.files.insert(path.to_owned(), text_of(reader.as_ref(), *doc)?);
                }
            }
        }
        Ok(view)
    }

    /// Every text in the journal, of documents living or not.
    pub fn journalled(&self) -> String {
        let Ok(reader) = self.log.reader() else { return String::new() };
        let docs = reader.heads().unwrap_or_default();
        docs.into_iter().filter_map(|(doc, _)| text_of(reader.as_ref(), doc).ok()).collect()
    }
}

fn text_of(reader: &dyn LogReader, doc: DocId) -> Result<String, String> {
    let stored = reader.document(doc).map_err(|error| error.to_string())?;
    Ok(stored.to_document()?.text().to_one_string())
}

/// The journal as one process sees it: once that is killed, it commits nothing more.
#[derive(Clone)]
struct Fenced {
    log: MemoryLog,
    process: FakeFolder,
}

impl Log for Fenced {
    fn commit(&mut self, records: &[Record]) -> Result<(), StoreError> {
        if self.process.is_killed() {
            return Err(StoreError::Closed);
        }
        self.log.commit(records)
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, StoreError> {
        self.log.reader()
    }
}
