//! A hub on a real folder, and ways to wait for what it does without sleeping.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]
#![allow(dead_code, reason = "each test program uses what it needs")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use syncline_disk::{Folder, RealFolder, RealOptions};
use syncline_hub::{Hub, Options, Party, TextSession};
use syncline_store::{Log, MemoryLog};

pub struct Served {
    pub hub: Hub,
    pub log: MemoryLog,
    root: tempfile::TempDir,
}

pub async fn serve(files: &[(&str, &[u8])]) -> Served {
    serve_with(files, RealOptions::default()).await
}

pub async fn serve_with(files: &[(&str, &[u8])], real: RealOptions) -> Served {
    let root = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let log = MemoryLog::new();
    let hub = open(root.path(), &log, 1, real).await;
    hub.scanned().await.unwrap();
    Served { hub, log, root }
}

pub async fn open(root: &Path, log: &MemoryLog, seed: u64, real: RealOptions) -> Hub {
    Hub::open(options(RealFolder::open(root, real).unwrap(), log, seed)).await.unwrap()
}

/// What a hub of this folder and journal needs.
pub fn options(folder: impl Folder + 'static, log: &MemoryLog, seed: u64) -> Options {
    let log = log.clone();
    Options {
        folder: Arc::new(folder),
        log: Box::new(move || Ok(Box::new(log.clone()) as Box<dyn Log>)),
        only: None,
        name: "test".into(),
        joined: false,
        founding: None,
        policy: syncline_hub::Policy::Merge,
        seed,
        clock: Arc::new(|| 1_000_000),
        author: "tester".into(),
    }
}

/// A party on a document, with the whole text.
pub async fn session(served: &Served, path: &str) -> TextSession {
    served.hub.open_text(Some(path), Party { name: "B".into(), channel: "test" }).await.unwrap()
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
    }
}

/// Polls until a condition holds; panics with `what` after ten seconds.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
