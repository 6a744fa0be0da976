//! Single rows of a real journal about the whole folder that cannot be read.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::path::{Path, PathBuf};
use support::{eventually, exchange, options, serve, session_on};
use syncline_disk::{RealFolder, RealOptions};
use syncline_engine::catalogue::DocId;
use syncline_hub::{Hub, HubEvent, Options};
use syncline_store::{Log, MemoryLog, SqliteLog};

const NAMES: [&str; 5] = ["heads.txt", "life.txt", "path.txt", "sound.txt", "vector.txt"];

struct OnDisk {
    folder: tempfile::TempDir,
    journal: PathBuf,
    hub: Hub,
}

async fn open(folder: &Path, journal: &Path, seed: u64) -> Hub {
    let real = RealFolder::open(folder, RealOptions::default()).unwrap();
    let journal = journal.to_owned();
    let log = Box::new(move || Ok(Box::new(SqliteLog::open(&journal)?) as Box<dyn Log>));
    Hub::open(Options { log, ..options(real, &MemoryLog::new(), seed) }).await.unwrap()
}

impl OnDisk {
    async fn serve() -> OnDisk {
        let folder = tempfile::tempdir().unwrap();
        for name in NAMES {
            std::fs::write(folder.path().join(name), text_of(name)).unwrap();
        }
        let state = folder.path().join(".syncline");
        std::fs::create_dir_all(&state).unwrap();
        let journal = state.join("journal.db");
        let hub = open(folder.path(), &journal, 1).await;
        hub.scanned().await.unwrap();
        let served = OnDisk { folder, journal, hub };
        eventually("all is in step", || served.hub.unsettled() == 0).await;
        served
    }

    fn doc(&self, name: &str) -> DocId {
        self.hub.document_at(name).unwrap()
    }

    /// Ends the hub and damages a row of each table.
    fn damage(&self) {
        let [heads, life, path] = ["heads.txt", "life.txt", "path.txt"].map(|name| self.doc(name));
        self.hub.close();
        let sql = rusqlite::Connection::open(&self.journal).unwrap();
        let spoil = |text: &str, doc: DocId| assert_eq!(sql.execute(text, [doc.0.as_slice()]).unwrap(), 1);
        spoil("UPDATE documents SET heads = x'ffff' WHERE doc = ?1", heads);
        spoil("UPDATE catalogue SET write = x'ff00' WHERE doc = ?1 AND register = 2", life);
        spoil("UPDATE catalogue SET write = 'no bytes' WHERE doc = ?1 AND register = 1", path);
        assert!(sql.execute("UPDATE vector SET count = -1", []).unwrap() > 0);
    }

    fn set_aside(&self) -> Vec<String> {
        let sql = rusqlite::Connection::open(&self.journal).unwrap();
        let mut rows = sql.prepare("SELECT what FROM damaged").unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    async fn check_texts(&self) {
        for name in NAMES {
            let text = session_on(&self.hub, name).await.current().await.unwrap().text;
            assert_eq!(*text, text_of(name));
            let file = std::fs::read_to_string(self.folder.path().join(name)).unwrap();
            assert_eq!(file, text_of(name));
        }
    }
}

fn text_of(name: &str) -> String {
    format!("the text of {name}\nand a second line\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_row_about_the_folder_stops_nothing_and_the_peer_fills_it() {
    let (mut here, there) = (OnDisk::serve().await, serve(&[]).await);
    exchange(&here.hub, &there.hub).await;
    eventually("the files came", || NAMES.iter().all(|name| there.read(name) == text_of(name))).await;
    let heads = here.hub.heads_of(here.doc("heads.txt"));
    here.damage();
    here.hub = open(here.folder.path(), &here.journal, 2).await;
    let mut events = here.hub.events();
    let mut told = String::new();
    while let Ok(event) = events.try_recv() {
        if let HubEvent::Trouble { path, what } = event {
            told += &format!("{path}: {what}\n");
        }
    }
    assert!(told.contains("heads.txt: its version is damaged in the journal"), "{told}");
    assert!(told.contains("life.txt: what the journal says of it in the catalogue is damaged"), "{told}");
    assert_eq!(here.hub.heads_of(here.doc("heads.txt")), heads, "its events tell it");
    let text = session_on(&here.hub, "sound.txt").await.current().await.unwrap().text;
    assert_eq!(*text, text_of("sound.txt"));
    here.hub.scanned().await.unwrap();
    let same = || NAMES.iter().all(|name| here.hub.document_at(name) == there.hub.document_at(name));
    for _ in 0..200 {
        exchange(&here.hub, &there.hub).await;
        if same() && here.hub.unsettled() + there.hub.unsettled() == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(same(), "they have the same documents");
    here.check_texts().await;
    for name in NAMES {
        assert_eq!(there.read(name), text_of(name), "nothing is there twice");
    }
    assert_eq!(here.hub.document_paths().len(), NAMES.len());
    assert_eq!(here.set_aside().len(), 3, "the rows are kept: {:?}", here.set_aside());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_peer_the_files_stay_and_are_served() {
    let mut here = OnDisk::serve().await;
    here.damage();
    here.hub = open(here.folder.path(), &here.journal, 2).await;
    here.hub.scanned().await.unwrap();
    let known = || NAMES.iter().all(|name| here.hub.document_at(name).is_some());
    eventually("all is in step", || known() && here.hub.unsettled() == 0).await;
    here.check_texts().await;
    let before = here.set_aside();
    here.hub.close();
    here.hub = open(here.folder.path(), &here.journal, 3).await;
    here.hub.scanned().await.unwrap();
    here.check_texts().await;
    assert_eq!(here.set_aside(), before, "that was once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_vector_only_asks_for_more() {
    let here = OnDisk::serve().await;
    here.hub.close();
    let sql = rusqlite::Connection::open(&here.journal).unwrap();
    assert!(sql.execute("UPDATE vector SET agent = zeroblob(300)", []).unwrap() > 0);
    let hub = open(here.folder.path(), &here.journal, 2).await;
    assert_eq!(hub.document_paths().len(), NAMES.len());
    assert!(hub.catalogue_vector().is_empty(), "{:?}", hub.catalogue_vector());
    assert_eq!(here.set_aside().len(), 1);
}
