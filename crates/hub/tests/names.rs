//! Names that a peer gives to files, and that no file here may have.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use support::{eventually, path, serve, simulated};
use syncline_disk::FakeFolder;
use syncline_engine::AgentId;
use syncline_engine::catalogue::{Catalogue, DocId, Field, Kind, Life, Write};
use syncline_hub::{HubEvent, Party};
use syncline_protocol::ErrorCode;

/// What a peer tells of a new text document.
fn document(path: &str, number: u8) -> (Catalogue, Vec<Write>) {
    let (mut catalogue, agent) = (Catalogue::new(), AgentId::from_random(u128::from(number) + 1));
    let doc = DocId([number; 16]);
    let fields = [Field::Path(path.to_owned()), Field::Kind(Kind::Text), Field::Life(Life::Alive)];
    let writes = fields.into_iter().map(|field| catalogue.write(doc, field, agent)).collect();
    (catalogue, writes)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_no_path_is_refused_whole() {
    let served = serve(&[("a.txt", b"text\n")]).await;
    let before = served.hub.catalogue_vector();
    let long = "x".repeat(256);
    let names = [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/./b",
        "a//b",
        "a/",
        "a\0b",
        "a\nb",
        "a\u{202e}b",
        &long,
        ".git/hooks/post-checkout",
        "sub/.GIT/config",
        ".syncline/token",
    ];
    for (number, name) in names.into_iter().enumerate() {
        let (catalogue, mut writes) = document(name, number as u8 + 1);
        // A good one in the same message: all of it is refused.
        writes.extend(document("good.txt", 200).1);
        let error = served.hub.merge_catalogue(writes, catalogue.vector().clone()).await.unwrap_err();
        assert_eq!(syncline_hub::refusal(&error).code, ErrorCode::BadName, "{name:?}: {error}");
        assert_eq!(served.hub.catalogue_vector(), before, "{name:?}");
    }
    assert_eq!(served.hub.document_paths(), ["a.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_and_settings_are_not_written_for_a_peer() {
    let served = serve(&[("a.txt", b"text\n")]).await;
    let mut events = served.hub.events();
    for (number, name) in
        [".env", ".ssh/authorized_keys", "sub/.env.local", ".gnupg/x"].into_iter().enumerate()
    {
        let (catalogue, writes) = document(name, number as u8 + 1);
        served.hub.merge_catalogue(writes, catalogue.vector().clone()).await.unwrap();
        let told = loop {
            if let HubEvent::Trouble { path, .. } = events.recv().await.unwrap() {
                break path;
            }
        };
        assert_eq!(told, name);
    }
    // One that may be written, after the others: when it is there, they would be.
    let (catalogue, writes) = document("fine.txt", 100);
    served.hub.merge_catalogue(writes, catalogue.vector().clone()).await.unwrap();
    let party = Party { name: "B".into(), channel: "test" };
    let mut fine = served.hub.open_text(Some("fine.txt"), party).await.unwrap();
    fine.upload("fine\n".into(), None, None).await.unwrap();
    eventually("it is written", || served.read("fine.txt") == "fine\n").await;
    let mut here: Vec<_> =
        std::fs::read_dir(served.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    here.sort();
    assert_eq!(here, [".syncline", "a.txt", "fine.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_14_a_rule_that_makes_no_sense_is_told_and_the_others_hold() {
    let served = serve(&[("a.txt", b"text\n"), ("b.log", b"log\n")]).await;
    let mut events = served.hub.events();
    std::fs::write(served.path(".synclineignore"), "*.tmp\na{b\n").unwrap();
    let told = async {
        loop {
            if let HubEvent::Trouble { path, what } = events.recv().await.unwrap() {
                return (path, what);
            }
        }
    };
    let (path, what) = tokio::time::timeout(std::time::Duration::from_secs(20), told).await.unwrap();
    assert!(path == ".synclineignore" && what.contains("a{b"), "{path}: {what}");
    std::fs::write(served.path("c.tmp"), "ignored\n").unwrap();
    std::fs::write(served.path("d.txt"), "not ignored\n").unwrap();
    eventually("d.txt is shared", || served.hub.document_at("d.txt").is_some()).await;
    assert!(served.hub.document_at("c.tmp").is_none());
}

/// The hub reads the file itself, which the watch tells of like of any reader.
#[tokio::test(start_paused = true)]
async fn files_14_the_rules_hold_while_their_file_is_away_and_are_read_once() {
    let folder = FakeFolder::new(Arc::new(AtomicU64::new(1)));
    let rules = b"*.secret\n*.log\na{b\n";
    folder.foreign_write_in_place(&path(".synclineignore"), rules).unwrap();
    folder.foreign_write_in_place(&path("x.secret"), b"mine\n").unwrap();
    let hub = simulated(&folder).await;
    let mut events = hub.events();
    hub.scanned().await.unwrap();
    // As vim does it, and as git does; each is away for longer than a look takes.
    for _ in 0..2 {
        folder.foreign_rename(&path(".synclineignore"), &path(".synclineignore~")).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        folder.foreign_write_in_place(&path(".synclineignore"), rules).unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
        folder.foreign_remove(&path(".synclineignore~")).unwrap();
    }
    let mut troubles = 0;
    while let Ok(event) = events.try_recv() {
        troubles += usize::from(matches!(event, HubEvent::Trouble { .. }));
    }
    assert_eq!(troubles, 1, "the rule that makes no sense, once");
    assert!(hub.document_at("x.secret").is_none());
    assert!(hub.document_at(".synclineignore").is_some());
    folder.foreign_remove(&path(".synclineignore")).unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(hub.document_at("x.secret").is_some(), "without rules it is a file like any other");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_12_a_link_whose_target_is_not_utf_8_is_told_of_and_never_altered() {
    use std::os::unix::ffi::OsStrExt;
    let served = serve(&[("a.txt", b"text\n")]).await;
    let mut events = served.hub.events();
    let target = std::ffi::OsStr::from_bytes(b"caf\xe9");
    std::os::unix::fs::symlink(target, served.path("link")).unwrap();
    loop {
        let event = tokio::time::timeout(Duration::from_secs(20), events.recv()).await.expect("told of");
        if let HubEvent::Trouble { path, what } = event.unwrap()
            && path == "link"
        {
            assert!(what.contains("UTF-8"), "{what}");
            break;
        }
    }
    assert!(served.hub.document_at("link").is_none());
    assert_eq!(std::fs::read_link(served.path("link")).unwrap().as_os_str(), target);
}
