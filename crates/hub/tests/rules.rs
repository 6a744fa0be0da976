//! Rules that hold whatever channel a change came by, each shown where it would break first.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use support::{Served, eventually, path, serve, serve_as, session, shows, simulated};
use syncline_disk::FakeFolder;
use syncline_engine::catalogue::{Catalogue, Field};
use syncline_engine::{AgentId, Change, Document, EventId};
use syncline_hub::{Hub, HubEvent};
use syncline_protocol::replica::Have;

const OLD: &str = "one\ntwo\nthree\nfour\n";

/// All that a document's history has.
async fn history(hub: &Hub, path: &str) -> syncline_engine::EventBatch {
    let doc = hub.document_at(path).unwrap();
    hub.events_since(doc, Have::Heads(Document::new().portable(Document::new().version()))).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_9_an_edit_is_recorded_at_the_version_its_maker_saw() {
    let served = serve(&[("notes.txt", OLD.as_bytes())]).await;
    let (mut b, mut c) = (session(&served, "notes.txt").await, session(&served, "notes.txt").await);
    let seen = b.current().await.unwrap();
    c.current().await.unwrap();
    let first = history(&served.hub, "notes.txt").await;
    c.upload(OLD.replace("one", "ONE"), None, None).await.unwrap();
    b.upload(OLD.replace("four", "FOUR"), Some(seen.version), None).await.unwrap();
    assert_eq!(b.current().await.unwrap().text, "ONE\ntwo\nthree\nFOUR\n");
    let all = history(&served.hub, "notes.txt").await;
    // Both build on the last event of the text that they had, neither on the other's.
    let last = first.runs.last().unwrap();
    let Change::Insert { text, .. } = &last.change else { panic!("{last:?}") };
    let id = EventId { agent: last.agent, seq: last.seq + text.chars().count() as u64 - 1 };
    let built_on_it = all.runs.iter().filter(|run| run.parents.ids() == [id]).count();
    assert_eq!(built_on_it, 2, "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_11_what_is_not_durable_is_seen_by_nobody() {
    let served = serve(&[("notes.txt", OLD.as_bytes())]).await;
    let (mut b, mut c) = (session(&served, "notes.txt").await, session(&served, "notes.txt").await);
    b.current().await.unwrap();
    c.current().await.unwrap();
    eventually("settled", || served.hub.unsettled() == 0).await;
    let heads = served.hub.heads();
    served.log.fail_commits(1);
    let refused = b.upload(OLD.replace("two", "LOST"), None, None).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(c.current().await.unwrap().text, OLD, "another session");
    assert_eq!(served.hub.heads(), heads, "what peers are told");
    assert!(!format!("{:?}", history(&served.hub, "notes.txt").await).contains("LOST"), "the history");
    assert_eq!(served.read("notes.txt"), OLD, "the file");
    b.upload(OLD.replace("two", "TWO"), None, None).await.unwrap();
    eventually("the next is in the file", || served.read("notes.txt") == OLD.replace("two", "TWO")).await;
}

/// Exchanges until both folders hold the same text under this name.
async fn together(one: &Served, other: &Served, path: &str) -> String {
    support::together(&one.hub, &other.hub, || [one.read(path), other.read(path)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_12_an_edit_beats_a_deletion_that_did_not_know_of_it() {
    let (a, b) = (serve(&[("notes.txt", OLD.as_bytes())]).await, serve_as(2, &[]).await);
    b.hub.set_resolving(false).await;
    together(&a, &b, "notes.txt").await;
    fs::remove_file(a.path("notes.txt")).unwrap();
    eventually("deleted in A", || a.hub.document_at("notes.txt").is_none()).await;
    fs::write(b.path("notes.txt"), OLD.replace("two", "TWO")).unwrap();
    let mut seen = session(&b, "notes.txt").await;
    shows(&mut seen, |now| now != OLD).await;
    assert_eq!(together(&a, &b, "notes.txt").await, OLD.replace("two", "TWO"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_5_rules_13_two_histories_of_one_path_are_joined_by_text_once() {
    for (ours, theirs) in [(OLD, OLD), (OLD, "one\ntwo, theirs\nthree\nfour\nfive\n"), ("", OLD)] {
        let a = serve(&[("notes.txt", ours.as_bytes())]).await;
        let b = serve_as(2, &[("notes.txt", theirs.as_bytes())]).await;
        // Of hubs that are connected one joins: the one that the other has dialled.
        b.hub.set_resolving(false).await;
        let joined = together(&a, &b, "notes.txt").await;
        for line in ours.lines().chain(theirs.lines()) {
            assert_eq!(
                joined.lines().filter(|each| *each == line).count(),
                1,
                "{line} in {joined:?} of {ours:?} and {theirs:?}"
            );
        }
        assert!(ours != theirs || joined == ours, "{joined:?}");
        assert_eq!(together(&a, &b, "notes.txt").await, joined, "nothing is joined twice");
    }
}

/// What the hub told of so far, by kind and path.
fn told(events: &mut tokio::sync::broadcast::Receiver<HubEvent>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    while let Ok(event) = events.try_recv() {
        let what = match event {
            HubEvent::Saved { path, changes, .. } => format!("saved {path} {changes}"),
            HubEvent::Created { path } => format!("created {path}"),
            HubEvent::Deleted { path } => format!("deleted {path}"),
            _ => continue,
        };
        *counts.entry(what).or_default() += 1;
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn files_2_a_file_that_is_short_for_a_moment_is_not_believed_and_one_that_stays_short_is() {
    let folder = FakeFolder::new(Arc::new(AtomicU64::new(1)));
    let long = OLD.repeat(10);
    folder.foreign_write_in_place(&path("f.txt"), long.as_bytes()).unwrap();
    let hub = simulated(&folder).await;
    hub.scanned().await.unwrap();
    let mut events = hub.events();
    // Closed in between: only the time tells that it is not finished.
    folder.foreign_write_in_place(&path("f.txt"), b"one\n").unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    folder.foreign_write_in_place(&path("f.txt"), long.replacen("two", "TWO", 1).as_bytes()).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(told(&mut events), BTreeMap::from([("saved f.txt 1".to_owned(), 1)]));
    folder.foreign_write_in_place(&path("f.txt"), b"one\n").unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(told(&mut events), BTreeMap::from([("saved f.txt 1".to_owned(), 1)]));
    assert!(format!("{:?}", history(&hub, "f.txt").await).contains("Delete"));
}

#[tokio::test(start_paused = true)]
async fn files_14_a_file_that_is_gone_again_at_once_is_never_told_of() {
    let folder = FakeFolder::new(Arc::new(AtomicU64::new(1)));
    let hub = simulated(&folder).await;
    hub.scanned().await.unwrap();
    let mut events = hub.events();
    // vim tries whether it may write here.
    folder.foreign_write_in_place(&path("4913"), b"").unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    folder.foreign_remove(&path("4913")).unwrap();
    folder.foreign_write_in_place(&path("real.txt"), b"text\n").unwrap();
    folder.foreign_write_in_place(&path(".real.txt.swp"), b"vim's\n").unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(told(&mut events), BTreeMap::from([("created real.txt".to_owned(), 1)]));
}

/// A peer renames a document to a name that a file here was given a moment before.
#[tokio::test(start_paused = true)]
async fn files_17_a_rename_to_the_name_of_a_file_that_is_not_entered_yet_keeps_both_texts() {
    for (there, expected) in [
        ("mine\n", vec!["one", "two", "three", "four", "mine"]),
        ("one\ntwo\nthree\nFOUR\n", vec!["one", "two", "three", "FOUR"]),
    ] {
        let folder = FakeFolder::new(Arc::new(AtomicU64::new(1)));
        folder.foreign_write_in_place(&path("a.txt"), OLD.as_bytes()).unwrap();
        let hub = simulated(&folder).await;
        hub.scanned().await.unwrap();
        let doc = hub.document_at("a.txt").unwrap();
        let (known, vector) = hub.catalogue_since(&BTreeMap::new());
        let mut peer = Catalogue::new();
        assert!(known.iter().all(|write| peer.merge(write)));
        peer.merge_vector(&vector);
        let renamed = peer.write(doc, Field::Path("b.txt".into()), AgentId::from_random(7));
        folder.foreign_write_in_place(&path("b.txt"), there.as_bytes()).unwrap();
        hub.merge_catalogue(vec![renamed], peer.vector().clone()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
        let files = folder.peek_all();
        let names: Vec<String> = files.iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(names, ["b.txt"], "{there:?}");
        let mut lines: Vec<&str> = std::str::from_utf8(&files[0].1).unwrap().lines().collect();
        let mut expected = expected;
        lines.sort_unstable();
        expected.sort_unstable();
        assert_eq!(lines, expected);
        assert_eq!(hub.unsettled(), 0);
    }
}
