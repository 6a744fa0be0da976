//! Rules about the file itself: a save that was cut off, a path that changes hands, a program that holds on.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::{path, session_on, simulated, simulated_with};
use syncline_disk::{FakeFolder, Folder};
use syncline_hub::Hub;
use syncline_store::MemoryLog;

const OLD: &str = "one\ntwo\nthree\nfour\n";

fn disk(name: &str, text: &str) -> FakeFolder {
    let folder = FakeFolder::new(Arc::new(AtomicU64::new(1)));
    folder.foreign_write_in_place(&path(name), text.as_bytes()).unwrap();
    folder
}

async fn scanned(process: &FakeFolder, log: &MemoryLog, seed: u64) -> Hub {
    let hub = simulated_with(process, log, seed).await;
    hub.scanned().await.unwrap();
    hub
}

fn text(folder: &FakeFolder, name: &str) -> String {
    folder.peek(&path(name)).map_or_else(String::new, |bytes| String::from_utf8(bytes).unwrap())
}

async fn a_while(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// The hub is killed at every call of the disk while it writes B's change. Then the file is left as it is, or saved by
/// somebody who had read it before, or now.
#[tokio::test(start_paused = true)]
async fn rules_1_after_a_kill_the_files_bytes_tell_whether_the_save_happened() {
    let mut found = [0; 2];
    for calls in 0..30 {
        for case in 0..3 {
            let (folder, log) = (disk("f.txt", OLD), MemoryLog::new());
            let process = folder.process();
            let hub = scanned(&process, &log, 1).await;
            let mut b = session_on(&hub, "f.txt").await;
            b.current().await.unwrap();
            a_while(5).await;
            process.kill_after(calls);
            b.upload(OLD.replace("two", "TWO"), None, None).await.unwrap();
            a_while(1).await;
            process.kill();
            hub.close();
            let held = text(&folder, "f.txt");
            found[usize::from(held != OLD)] += 1;
            let (save, expected) = match case {
                0 => (None, OLD.replace("two", "TWO")),
                1 => (Some(OLD.replace("four", "FOUR")), OLD.replace("two", "TWO").replace("four", "FOUR")),
                _ => (Some(held.replace("four", "FOUR")), OLD.replace("two", "TWO").replace("four", "FOUR")),
            };
            if let Some(save) = save {
                folder.foreign_save_by_rename(&path("f.txt"), save.as_bytes()).unwrap();
            }
            let hub = scanned(&folder.process(), &log, 2).await;
            a_while(10).await;
            assert_eq!(
                text(&folder, "f.txt"),
                expected,
                "killed at call {calls}, case {case}, it held {held:?}"
            );
            assert_eq!(session_on(&hub, "f.txt").await.current().await.unwrap().text, expected);
            assert_eq!(folder.peek_all().len(), 1, "no temporary is left");
            hub.close();
        }
    }
    assert!(found.iter().all(|times| *times > 10), "both outcomes were seen: {found:?}");
}

/// Without leases nobody says whether a program has the old file open: it is kept for a minute and read again.
#[tokio::test(start_paused = true)]
async fn rules_4_without_leases_what_is_written_to_the_old_file_within_a_minute_is_entered() {
    for after in [1, 30, 50] {
        let clock = Arc::new(AtomicU64::new(1));
        let folder = FakeFolder::new(clock.clone());
        folder.foreign_write_in_place(&path("f.txt"), OLD.as_bytes()).unwrap();
        folder.set_leases(false);
        let a_while = async |seconds: u64| {
            for _ in 0..seconds {
                clock.fetch_add(1_000_000_000, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let hub = simulated(&folder).await;
        hub.scanned().await.unwrap();
        let mut b = session_on(&hub, "f.txt").await;
        b.current().await.unwrap();
        a_while(5).await;
        let writer = folder.foreign_open_writer(&path("f.txt")).unwrap();
        b.upload(OLD.replace("two", "TWO"), None, None).await.unwrap();
        a_while(after).await;
        folder.foreign_append(writer, b"five\n").unwrap();
        folder.foreign_close(writer).unwrap();
        a_while(100).await;
        assert_eq!(text(&folder, "f.txt"), OLD.replace("two", "TWO") + "five\n", "after {after} s");
        a_while(100).await;
        assert_eq!(folder.displaced().unwrap(), []);
    }
}

/// vim with `backupcopy=no`: the file is moved away as the backup, and its path has a new file at once.
#[tokio::test(start_paused = true)]
async fn rules_12_a_path_that_has_a_file_again_at_once_keeps_its_document() {
    let folder = disk("f.txt", OLD);
    let hub = simulated(&folder).await;
    hub.scanned().await.unwrap();
    let doc = hub.document_at("f.txt").unwrap();
    folder.foreign_rename(&path("f.txt"), &path("f.bak")).unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    folder.foreign_write_in_place(&path("f.txt"), OLD.replace("two", "TWO").as_bytes()).unwrap();
    a_while(10).await;
    assert_eq!(hub.document_at("f.txt"), Some(doc));
    assert!(hub.document_at("f.bak").is_some_and(|copy| copy != doc), "the backup is a copy");
    assert_eq!((text(&folder, "f.bak"), text(&folder, "f.txt")), (OLD.to_owned(), OLD.replace("two", "TWO")));
}

#[tokio::test(start_paused = true)]
async fn rules_12_a_rename_to_an_ignored_name_is_a_deletion_only_if_the_path_stays_empty() {
    for comes_back in [true, false] {
        let folder = disk("f.txt", OLD);
        folder.foreign_write_in_place(&path(".synclineignore"), b"*.old\n").unwrap();
        let hub = simulated(&folder).await;
        hub.scanned().await.unwrap();
        let doc = hub.document_at("f.txt").unwrap();
        folder.foreign_rename(&path("f.txt"), &path("f.old")).unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
        if comes_back {
            folder.foreign_rename(&path("f.old"), &path("f.txt")).unwrap();
        }
        a_while(10).await;
        assert_eq!(hub.document_at("f.txt"), comes_back.then_some(doc));
        assert_eq!(hub.document_at("f.old"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn rules_12_a_text_that_was_opaque_for_a_while_goes_on_with_its_history() {
    let folder = disk("f.txt", OLD);
    let hub = simulated(&folder).await;
    hub.scanned().await.unwrap();
    let doc = hub.document_at("f.txt").unwrap();
    let events = hub.heads_of(doc);
    folder.foreign_write_in_place(&path("f.txt"), b"\0\xff\xfe").unwrap();
    a_while(10).await;
    assert!(hub.content_hash(doc).is_some(), "it is opaque");
    assert_eq!(hub.heads_of(doc), events, "no edit of the text");
    folder.foreign_write_in_place(&path("f.txt"), OLD.replace("two", "TWO").as_bytes()).unwrap();
    a_while(10).await;
    assert_eq!(hub.document_at("f.txt"), Some(doc));
    let mut b = session_on(&hub, "f.txt").await;
    assert_eq!(b.current().await.unwrap().text, OLD.replace("two", "TWO"));
    let have = syncline_protocol::replica::Have::Heads(events);
    let since = format!("{:?}", hub.events_since(doc, have).await.unwrap().0);
    assert!(since.contains("TWO") && !since.contains("three"), "only what is different: {since}");
}
