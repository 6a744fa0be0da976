//! Many files that vanish at once: a checkout is believed, a catastrophe is asked about.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::fs;
use std::process::Command;
use support::{Served, eventually, serve};
use syncline_hub::{HubEvent, Party};

const TEXT: &[u8] = b"text\n";

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("f{number}.txt")).collect()
}

async fn served(names: &[String]) -> Served {
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), TEXT)).collect();
    serve(&files).await
}

fn git(served: &Served, words: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
    let run = Command::new("git").current_dir(served.path("")).args(identity).args(words).output().unwrap();
    assert!(run.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&run.stderr));
}

/// A repository with two branches: one has all files, `few` (checked out on return) lacks those that are named.
async fn repository(served: &Served, without: &[String]) {
    git(served, &["init", "--quiet", "--initial-branch", "all"]);
    git(served, &["add", "."]);
    git(served, &["commit", "--quiet", "--message", "all"]);
    git(served, &["checkout", "--quiet", "-b", "few"]);
    let mut remove = vec!["rm", "--quiet", "--cached"];
    remove.extend(without.iter().map(String::as_str));
    git(served, &remove);
    git(served, &["commit", "--quiet", "--message", "few"]);
    // The files were only taken out of the index so far: nothing has vanished.
    git(served, &["checkout", "--quiet", "--force", "all"]);
}

async fn brake(events: &mut tokio::sync::broadcast::Receiver<HubEvent>) -> (usize, String) {
    loop {
        if let HubEvent::Brake { files, why } = events.recv().await.unwrap() {
            return (files, why);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_16_a_mass_deletion_is_held_until_somebody_decides() {
    let names = names(40);
    let served = served(&names).await;
    let mut events = served.hub.events();
    names.iter().for_each(|name| fs::remove_file(served.path(name)).unwrap());
    assert_eq!(brake(&mut events).await.0, 40);
    assert_eq!(served.hub.document_paths().len(), 40);
    assert_eq!(served.hub.decide_brake(false).await.unwrap(), 40);
    eventually("written again", || names.iter().all(|name| served.read(name) == "text\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_15_everything_else_goes_on_while_a_mass_deletion_is_held() {
    let names = names(40);
    let served = served(&names).await;
    let mut events = served.hub.events();
    names[..30].iter().for_each(|name| fs::remove_file(served.path(name)).unwrap());
    assert_eq!(brake(&mut events).await.0, 30);
    let party = |name: &str| Party { name: name.into(), channel: "test" };
    let mut there = served.hub.open_text(Some("f35.txt"), party("B")).await.unwrap();
    there.current().await.unwrap();
    there.upload("text\nby B\n".into(), None, None).await.unwrap();
    eventually("others' edits are written", || served.read("f35.txt") == "text\nby B\n").await;
    fs::write(served.path("f36.txt"), "saved here\ntext\n").unwrap();
    let mut saved = served.hub.open_text(Some("f36.txt"), party("B")).await.unwrap();
    while saved.current().await.unwrap().text != "saved here\ntext\n" {
        saved.changed().await;
    }
    // An edit of a file whose deletion is held is in it when it comes back.
    let mut gone = served.hub.open_text(Some("f3.txt"), party("B")).await.unwrap();
    gone.current().await.unwrap();
    gone.upload("text\nwhile it was gone\n".into(), None, None).await.unwrap();
    assert!(served.hub.is_braked());
    assert_eq!(served.hub.decide_brake(false).await.unwrap(), 30);
    eventually("all are written again", || names.iter().all(|name| served.path(name).exists())).await;
    eventually("with the edit", || served.read("f3.txt") == "text\nwhile it was gone\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_18_rules_15_a_checkout_may_remove_most_files() {
    let names = names(60);
    let served = served(&names).await;
    repository(&served, &names[..50]).await;
    let mut events = served.hub.events();
    git(&served, &["checkout", "--quiet", "few"]);
    eventually("the deletions are believed", || served.hub.document_paths().len() == 10).await;
    assert!(!served.hub.is_braked());
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, HubEvent::Brake { .. }), "{event:?}");
    }
    git(&served, &["checkout", "--quiet", "all"]);
    eventually("and back", || served.hub.document_paths().len() == 60).await;
    // Another text of one file, too: all that a checkout writes carries its label.
    git(&served, &["checkout", "--quiet", "-b", "other"]);
    fs::write(served.path("f55.txt"), "other\n").unwrap();
    git(&served, &["commit", "--quiet", "--all", "--message", "other"]);
    git(&served, &["checkout", "--quiet", "all"]);
    eventually("written by git", || served.read("f55.txt") == "text\n").await;
    let doc = served.hub.document_at("f55.txt").unwrap();
    let channels = async || {
        let have = syncline_protocol::replica::Have::Heads(Default::default());
        let (batch, _) = served.hub.events_since(doc, have).await.unwrap();
        batch.runs.iter().map(|run| run.meta.channel.to_string()).collect::<Vec<_>>()
    };
    while channels().await.last().map(String::as_str) != Some("git") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_15_git_does_not_vouch_for_files_that_vanish_with_it() {
    let names = names(60);
    let served = served(&names).await;
    repository(&served, &names[..50]).await;
    let mut events = served.hub.events();
    fs::remove_dir_all(served.path(".git")).unwrap();
    names[..50].iter().for_each(|name| fs::remove_file(served.path(name)).unwrap());
    assert_eq!(brake(&mut events).await, (50, "GitVanished".to_owned()));
    assert_eq!(served.hub.document_paths().len(), 60);
    assert_eq!(served.hub.decide_brake(true).await.unwrap(), 50);
    eventually("passed on", || served.hub.document_paths().len() == 10).await;
}
