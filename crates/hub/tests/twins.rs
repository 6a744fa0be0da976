//! Names that are two on one disk and one on another: case, and the normal forms of Unicode.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use support::{eventually, exchange, options, path};
use syncline_disk::FakeFolder;
use syncline_hub::{Hub, HubEvent};
use syncline_store::MemoryLog;

/// A hub on a disk in memory that takes `A` for `a`, if it `folds`.
async fn hub(folder: &FakeFolder, folds: bool, seed: u64) -> Hub {
    folder.set_folding(folds);
    let hub = Hub::open(options(folder.clone(), &MemoryLog::new(), seed)).await.unwrap();
    hub.scanned().await.unwrap();
    hub
}

fn folder(files: &[(&str, &str)]) -> FakeFolder {
    let folder = FakeFolder::new(Arc::new(AtomicU64::new(1)));
    for (name, text) in files {
        folder.foreign_write_in_place(&path(name), text.as_bytes()).unwrap();
    }
    folder
}

fn texts(folder: &FakeFolder) -> BTreeMap<String, String> {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    folder.peek_all().into_iter().map(|(path, bytes)| (path.to_string(), text(bytes))).collect()
}

/// Exchanges until both folders hold the same files; gives them.
async fn together(one: (&Hub, &FakeFolder), other: (&Hub, &FakeFolder)) -> BTreeMap<String, String> {
    support::together(one.0, other.0, || [texts(one.1), texts(other.1)]).await
}

/// The next rename; nothing may be created, deleted or parted before it.
async fn renamed(events: &mut tokio::sync::broadcast::Receiver<HubEvent>) -> [String; 2] {
    loop {
        match events.recv().await.unwrap() {
            HubEvent::Renamed { from, to } => return [from, to],
            event @ (HubEvent::Deleted { .. } | HubEvent::Created { .. } | HubEvent::Clash { .. }) => {
                panic!("{event:?} instead of a rename")
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_9_case_twins_of_another_disk_are_both_kept() {
    let exact =
        folder(&[("Notes.txt", "capital\n"), ("notes.txt", "small\n"), ("sub/x", "x\n"), ("Sub/X", "X\n")]);
    let folding = folder(&[]);
    let (a, b) = (hub(&exact, false, 1).await, hub(&folding, true, 2).await);
    let files = together((&a, &exact), (&b, &folding)).await;
    let mut held: Vec<&str> = files.values().map(String::as_str).collect();
    held.sort_unstable();
    assert_eq!(held, ["X\n", "capital\n", "small\n", "x\n"], "{files:?}");
    assert_eq!(files.keys().filter(|name| name.contains(".~")).count(), 2, "{files:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_9_a_rename_in_case_only_is_a_rename_on_every_disk() {
    let (exact, folding) = (folder(&[("dir/readme", "text\n")]), folder(&[]));
    let (a, b) = (hub(&exact, false, 1).await, hub(&folding, true, 2).await);
    together((&a, &exact), (&b, &folding)).await;
    // By a person on the disk that distinguishes them.
    let mut events = a.events();
    exact.foreign_rename(&path("dir/readme"), &path("dir/README")).unwrap();
    assert_eq!(renamed(&mut events).await, ["dir/readme", "dir/README"]);
    let files = together((&a, &exact), (&b, &folding)).await;
    assert_eq!(files, BTreeMap::from([("dir/README".to_owned(), "text\n".to_owned())]));
    // And by one on the other.
    let mut events = b.events();
    folding.foreign_rename(&path("dir/README"), &path("dir/ReadMe")).unwrap();
    assert_eq!(renamed(&mut events).await, ["dir/README", "dir/ReadMe"]);
    let files = together((&a, &exact), (&b, &folding)).await;
    assert_eq!(files, BTreeMap::from([("dir/ReadMe".to_owned(), "text\n".to_owned())]));
    // An edit under any spelling is the document's.
    folding.foreign_write_in_place(&path("DIR/readme"), b"text\nmore\n").unwrap();
    eventually("saved", || b.unsettled() == 0).await;
    let mut rounds = 0;
    while texts(&exact).get("dir/ReadMe").map(String::as_str) != Some("text\nmore\n") {
        together((&a, &exact), (&b, &folding)).await;
        rounds += 1;
        assert!(rounds < 1000, "{:?}", texts(&exact));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_10_a_disk_that_changes_normal_forms_changes_no_names() {
    let exact = folder(&[("caf\u{e9}.txt", "text\n")]);
    let folding = folder(&[]);
    let (a, b) = (hub(&exact, false, 1).await, hub(&folding, true, 2).await);
    together((&a, &exact), (&b, &folding)).await;
    // As HFS+ does: the file is listed in the other form from now on.
    folding.foreign_rename(&path("caf\u{e9}.txt"), &path("cafe\u{301}.txt")).unwrap();
    folding.foreign_write_in_place(&path("cafe\u{301}.txt"), b"text\nmore\n").unwrap();
    // Taken up after the other name was.
    folding.foreign_write_in_place(&path("later"), b"").unwrap();
    let mut rounds = 0;
    while texts(&exact).get("caf\u{e9}.txt").map(String::as_str) != Some("text\nmore\n")
        || !texts(&exact).contains_key("later")
    {
        exchange(&a, &b).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        rounds += 1;
        assert!(rounds < 2000, "{:?} {:?}", texts(&exact), texts(&folding));
    }
    assert_eq!(texts(&exact).len(), 2, "{:?}", texts(&exact));
    let listed: Vec<String> = texts(&folding).into_keys().collect();
    assert_eq!(listed, ["cafe\u{301}.txt", "later"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_10_two_files_that_look_the_same_are_both_kept() {
    let exact = folder(&[("caf\u{e9}", "composed\n"), ("cafe\u{301}", "decomposed\n")]);
    let a = hub(&exact, false, 1).await;
    eventually("parted", || texts(&exact).keys().any(|name| name.contains(".~"))).await;
    eventually("settled", || a.unsettled() == 0).await;
    let files = texts(&exact);
    let mut held: Vec<&str> = files.values().map(String::as_str).collect();
    held.sort_unstable();
    assert_eq!(held, ["composed\n", "decomposed\n"], "{files:?}");
}
