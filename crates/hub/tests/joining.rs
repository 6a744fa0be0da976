//! Files that were made at one path on two machines: texts are joined, and whoever has one open takes nothing out of
//! the other; what is not text keeps a name of its own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use support::{Served, eventually, exchange, path, serve_as, simulated, simulated_with, together};
use syncline_disk::FakeFolder;
use syncline_hub::HubEvent;
use syncline_store::MemoryLog;

/// The files of a folder, without what the hub keeps there.
fn held(served: &Served) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(served.path("")).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.path().is_file());
    files.map(|entry| (name(&entry.path()), fs::read(entry.path()).unwrap())).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Two hubs that meet for the first time, with a file of their own at the same path.
async fn meet(ours: &[u8], theirs: &[u8]) -> (Served, Served) {
    let (a, b) = (serve_as(1, &[("n.txt", ours)]).await, serve_as(2, &[("n.txt", theirs)]).await);
    // B joined A's folder.
    b.hub.set_resolving(false).await;
    (a, b)
}

async fn in_step(a: &Served, b: &Served) -> BTreeMap<String, Vec<u8>> {
    together(&a.hub, &b.hub, || [held(a), held(b)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_13_whoever_has_one_of_two_joined_files_open_takes_nothing_out_of_the_other() {
    let (ours, theirs) = ("a1\na2\ncommon\na3\n", "common\nb1\n");
    for saver in 0..2 {
        for restarted in [false, true] {
            let (mut a, mut b) = meet(ours.as_bytes(), theirs.as_bytes()).await;
            for round in 0.. {
                let files = in_step(&a, &b).await;
                if files.values().any(|text| text.len() == "a1\na2\ncommon\na3\nb1\n".len()) {
                    break;
                }
                assert!(round < 5_000, "{files:?}");
            }
            if restarted {
                a.restart(11).await;
                b.restart(12).await;
                b.hub.set_resolving(false).await;
            }
            // Twice, by an editor that never reads again.
            let saver = if saver == 0 { &a } else { &b };
            let old = if std::ptr::eq(saver, &raw const a) { ours } else { theirs };
            for round in 1..=2 {
                fs::write(saver.path("n.txt"), format!("{old}mine {round}\n")).unwrap();
                let wanted: Vec<String> =
                    format!("a1\na2\ncommon\na3\nb1\nmine {round}\n").lines().map(str::to_owned).collect();
                eventually("it is merged", || {
                    let mut lines: Vec<String> = saver.read("n.txt").lines().map(str::to_owned).collect();
                    lines.sort_unstable();
                    let mut wanted = wanted.clone();
                    wanted.sort_unstable();
                    lines == wanted
                })
                .await;
            }
            in_step(&a, &b).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rules_13_a_text_that_is_still_on_its_way_is_not_an_empty_one() {
    let text: String = (0..50).map(|number| format!("line {number}\n")).collect();
    let disk = || FakeFolder::new(Arc::new(AtomicU64::new(1)));
    let disks = [disk(), disk()];
    for disk in &disks {
        disk.foreign_write_in_place(&path("n.txt"), text.as_bytes()).unwrap();
    }
    let (a, b) = (simulated(&disks[0]).await, simulated_with(&disks[1], &MemoryLog::new(), 2).await);
    b.set_resolving(false).await;
    a.scanned().await.unwrap();
    b.scanned().await.unwrap();
    // The catalogues meet; the events are held up by a slow line.
    for (from, to) in [(&a, &b), (&b, &a)] {
        let (writes, vector) = from.catalogue_since(&to.catalogue_vector());
        to.merge_catalogue(writes, vector).await.unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    while [&a, &b].iter().any(|hub| hub.document_paths().len() > 1) {
        exchange(&a, &b).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let read = |disk: &FakeFolder| disk.foreign_read(&path("n.txt")).unwrap();
    let files = together(&a, &b, || [read(&disks[0]), read(&disks[1])]).await;
    assert_eq!(String::from_utf8(files).unwrap(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_text_stands_beside_a_peers_under_a_name_of_its_own() {
    for (ours, theirs) in [(&b"\0one"[..], &b"\0two"[..]), (b"\0one", b"a text\n"), (b"a text\n", b"\0two")] {
        // Only A's is a document when B learns of it.
        let (a, b) = (serve_as(1, &[("n.bin", ours)]).await, serve_as(2, &[]).await);
        b.hub.set_resolving(false).await;
        let mut events = b.hub.events();
        fs::write(b.path("n.bin"), theirs).unwrap();
        exchange(&a.hub, &b.hub).await;
        let mut files = BTreeMap::new();
        while files.len() < 2 {
            files = in_step(&a, &b).await;
        }
        assert_eq!(files.get("n.bin").map(Vec::as_slice), Some(ours));
        assert!(files.values().any(|bytes| bytes == theirs), "{files:?}");
        let mut told = false;
        while let Ok(event) = events.try_recv() {
            told |= matches!(&event, HubEvent::Clash { path, .. } if path == "n.bin");
        }
        assert!(told, "the person is told");
    }
}
