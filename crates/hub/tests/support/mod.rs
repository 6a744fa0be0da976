//! A hub on a real folder, and ways to wait for what it does without sleeping.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]
#![allow(dead_code, reason = "each test program uses what it needs")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use syncline_disk::{FakeFolder, Folder, RealFolder, RealOptions, RelPath};
use syncline_hub::{Hub, LARGE_TEXT, Options, Party, TextSession, Workers};
use syncline_store::{Log, MemoryLog};

pub struct Served {
    pub hub: Hub,
    pub log: MemoryLog,
    root: tempfile::TempDir,
}

pub async fn serve(files: &[(&str, &[u8])]) -> Served {
    serve_with(files, RealOptions::default()).await
}

/// A hub that draws other numbers than the others do.
pub async fn serve_as(seed: u64, files: &[(&str, &[u8])]) -> Served {
    start(seed, files, RealOptions::default()).await
}

pub async fn serve_with(files: &[(&str, &[u8])], real: RealOptions) -> Served {
    start(1, files, real).await
}

async fn start(seed: u64, files: &[(&str, &[u8])], real: RealOptions) -> Served {
    let root = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let log = MemoryLog::new();
    let hub = open(root.path(), &log, seed, real).await;
    hub.scanned().await.unwrap();
    Served { hub, log, root }
}

pub async fn open(root: &Path, log: &MemoryLog, seed: u64, real: RealOptions) -> Hub {
    Hub::open(options(RealFolder::open(root, real).unwrap(), log, seed)).await.unwrap()
}

/// What a hub of this folder and journal needs.
pub fn options(folder: impl Folder + 'static, log: &MemoryLog, seed: u64) -> Options {
    let log = log.clone();
    // Each moment is another one, as with real clocks.
    let time_ms = AtomicU64::new(1_000_000);
    Options {
        folder: Arc::new(folder),
        log: Box::new(move || Ok(Box::new(log.clone()) as Box<dyn Log>)),
        only: None,
        name: "test".into(),
        joined: false,
        founding: None,
        policy: syncline_hub::Policy::Merge,
        large_text: LARGE_TEXT,
        seed,
        clock: Arc::new(move || time_ms.fetch_add(1, Ordering::Relaxed)),
        author: "tester".into(),
    }
}

/// A party on a document, with the whole text.
pub async fn session(served: &Served, path: &str) -> TextSession {
    session_on(&served.hub, path).await
}

/// The same, on a hub of its own.
pub async fn session_on(hub: &Hub, path: &str) -> TextSession {
    hub.open_text(Some(path), Party { name: "B".into(), channel: "test" }).await.unwrap()
}

/// Waits until a session has a text that is as wanted; panics after twenty seconds.
pub async fn shows(session: &mut TextSession, wanted: impl Fn(&str) -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let now = session.current().await.unwrap();
        if wanted(&now.text) {
            return;
        }
        let changed = tokio::time::timeout_at(deadline, session.changed()).await;
        let begin: String = now.text.chars().take(500).collect();
        assert!(changed.is_ok(), "in vain; the text is {begin:?}");
    }
}

impl Served {
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        String::from_utf8(std::fs::read(self.path(name)).unwrap_or_default()).unwrap()
    }

    /// Ends the hub and starts another on the same folder and an older journal.
    pub async fn restore(&mut self, backup: MemoryLog, seed: u64) {
        self.log = backup;
        self.restart(seed).await;
    }

    /// Ends the hub and starts another on the same folder and journal.
    pub async fn restart(&mut self, seed: u64) {
        self.hub.close();
        self.hub = open(self.root.path(), &self.log, seed, RealOptions::default()).await;
        self.hub.scanned().await.unwrap();
    }
}

/// What one hub knows goes to the other, both ways, once.
pub async fn exchange(one: &Hub, other: &Hub) {
    for (from, to) in [(one, other), (other, one)] {
        let (writes, vector) = from.catalogue_since(&to.catalogue_vector());
        to.merge_catalogue(writes, vector).await.unwrap();
        for (doc, _) in from.heads() {
            let have = syncline_protocol::replica::Have::Heads(to.heads_of(doc));
            let (batch, _) = from.events_since(doc, have).await.unwrap();
            to.merge_events(doc, batch).await.unwrap();
        }
        for hash in to.wanted_contents() {
            if let Some(bytes) = from.content(hash).await.unwrap() {
                to.keep_content(bytes).await.unwrap();
            }
        }
    }
}

/// Exchanges until both hubs rest and what their folders hold (`held`) is the same; gives it.
pub async fn together<T: PartialEq + std::fmt::Debug>(
    one: &Hub,
    other: &Hub,
    held: impl Fn() -> [T; 2],
) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        exchange(one, other).await;
        let settled = one.unsettled() + other.unsettled() == 0;
        let [here, there] = held();
        if settled && here == there && one.catalogue_vector() == other.catalogue_vector() {
            return here;
        }
        assert!(tokio::time::Instant::now() < deadline, "{here:?} {there:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A hub on a disk in memory, in a time that only passes when all wait.
pub async fn simulated(folder: &FakeFolder) -> Hub {
    simulated_with(folder, &MemoryLog::new(), 1).await
}

/// The same, with this journal.
pub async fn simulated_with(folder: &FakeFolder, log: &MemoryLog, seed: u64) -> Hub {
    let delay = Arc::new(|| Duration::from_millis(1));
    let options = options(folder.clone(), log, seed);
    Hub::open_with(options, Workers::Simulated(delay)).await.unwrap()
}

/// A path that is one.
pub fn path(name: &str) -> RelPath {
    RelPath::parse(name).unwrap()
}

/// Polls until a condition holds; panics with `what` after half a minute.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
