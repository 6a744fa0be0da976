//! Saves by others on a real folder: each is an edit made at the version its maker saw.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::fs;
use std::io::Write;
use std::time::Duration;
use support::{eventually, serve, serve_with, session, shows};
use syncline_disk::RealOptions;
use syncline_hub::HubEvent;

const OLD: &str = "one\ntwo\nthree\nfour\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_save_reaches_a_session_and_an_upload_reaches_the_file() {
    let served = serve(&[("notes.txt", OLD.as_bytes())]).await;
    let mut b = session(&served, "notes.txt").await;
    assert_eq!(b.current().await.unwrap().text, OLD);
    fs::write(served.path("notes.txt"), OLD.replace("two", "TWO")).unwrap();
    shows(&mut b, |now| now == OLD.replace("two", "TWO")).await;
    b.upload(OLD.replace("two", "TWO").replace("four", "FOUR"), None, None).await.unwrap();
    eventually("the upload is in the file", || served.read("notes.txt") == "one\nTWO\nthree\nFOUR\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_3_rule_2_a_stale_save_keeps_others_changes() {
    for in_place in [true, false] {
        let served = serve(&[("notes.txt", OLD.as_bytes())]).await;
        let buffer = served.read("notes.txt");
        let mut b = session(&served, "notes.txt").await;
        b.current().await.unwrap();
        b.upload(OLD.replace("two", "two, by B"), None, None).await.unwrap();
        eventually("B's change is on disk", || served.read("notes.txt").contains("by B")).await;
        for round in 1..=5 {
            let mine = buffer.replace("four", &format!("four, mine {round}"));
            if in_place {
                fs::write(served.path("notes.txt"), mine).unwrap();
            } else {
                fs::write(served.path("new"), mine).unwrap();
                fs::rename(served.path("new"), served.path("notes.txt")).unwrap();
            }
            let expected = format!("one\ntwo, by B\nthree\nfour, mine {round}\n");
            eventually("both changes are there", || served.read("notes.txt") == expected).await;
        }
        // The old buffer, saved unchanged: no edit. A second time: meant.
        let first = buffer.replace("four", "four, mine 5");
        fs::write(served.path("notes.txt"), &first).unwrap();
        let merged = "one\ntwo, by B\nthree\nfour, mine 5\n";
        eventually("written again", || served.read("notes.txt") == merged).await;
        served.hub.close();
    }
}

/// Somebody else puts in a line, and another, fifty times; whoever looks after each sees it.
fn grown(lines: usize) -> String {
    let put_in: String = (0..lines).map(|number| format!("line {number} of somebody else's\n")).collect();
    OLD.replace("three\n", &format!("{put_in}three\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn files_3_rule_2_a_buffer_that_fifty_writes_made_old_is_merged() {
    for seen in [0, 5, 23] {
        let served = serve(&[("notes.txt", OLD.as_bytes())]).await;
        let mut b = session(&served, "notes.txt").await;
        for lines in 1..=50 {
            b.current().await.unwrap();
            b.upload(grown(lines), None, None).await.unwrap();
            eventually("it is on disk", || served.read("notes.txt") == grown(lines)).await;
        }
        let mine = |text: String| text.replace("one\n", "one, mine\n");
        fs::write(served.path("notes.txt"), mine(grown(seen))).unwrap();
        eventually("all is there", || served.read("notes.txt") == mine(grown(50))).await;
        // Unchanged, it is no edit.
        let decided = format!("line {} of somebody else's\n", 30);
        fs::write(served.path("notes.txt"), grown(seen)).unwrap();
        shows(&mut b, |now| now.contains(&decided)).await;
        eventually("nothing went", || served.read("notes.txt").contains(&decided)).await;
        served.hub.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_5_what_a_client_was_shown_long_ago_may_be_what_it_made_its_text_from() {
    let served = serve(&[("notes.txt", OLD.as_bytes())]).await;
    let (mut b, mut typist) = (session(&served, "notes.txt").await, session(&served, "notes.txt").await);
    b.current().await.unwrap();
    for lines in 1..=50 {
        typist.current().await.unwrap();
        typist.upload(grown(lines), None, None).await.unwrap();
        shows(&mut b, |now| now == grown(lines)).await;
    }
    b.upload(grown(5).replace("one\n", "one, mine\n"), None, None).await.unwrap();
    shows(&mut b, |now| now == grown(50).replace("one\n", "one, mine\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_4_our_own_write_is_no_edit_and_a_real_revert_is_one() {
    let served = serve(&[("notes.txt", OLD.as_bytes())]).await;
    let mut events = served.hub.events();
    let mut b = session(&served, "notes.txt").await;
    b.current().await.unwrap();
    let new = OLD.replace("two", "two, by B");
    let uploaded = b.upload(new.clone(), None, None).await.unwrap();
    eventually("B's change is on disk", || served.read("notes.txt") == new).await;
    // Somebody who has seen it saves the same, and then takes it back.
    assert_eq!(served.read("notes.txt"), new);
    fs::write(served.path("notes.txt"), &new).unwrap();
    fs::write(served.path("notes.txt"), new.replace("one", "ONE")).unwrap();
    shows(&mut b, |now| now == new.replace("one", "ONE")).await;
    fs::write(served.path("notes.txt"), &new).unwrap();
    shows(&mut b, |now| now == new).await;
    assert_ne!(b.current().await.unwrap().version, uploaded.version, "a revert is an edit");
    let mut saves = 0;
    while let Ok(event) = events.try_recv() {
        saves += usize::from(matches!(event, HubEvent::Saved { .. }));
    }
    assert_eq!(saves, 2, "the write of B's change and the save without a change are none");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_5_a_file_is_entered_once_however_often_a_hub_starts() {
    let mut served = serve(&[("notes.txt", OLD.as_bytes())]).await;
    for seed in 2..6 {
        served.restart(seed).await;
        let mut b = session(&served, "notes.txt").await;
        assert_eq!(b.current().await.unwrap().text, OLD);
    }
    assert_eq!(served.read("notes.txt"), OLD);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_8_a_folder_that_gives_no_events_is_polled() {
    let real = RealOptions { watches: Some(0), poll: Duration::from_millis(20), ..RealOptions::default() };
    let served = serve_with(&[("notes.txt", OLD.as_bytes())], real).await;
    let mut b = session(&served, "notes.txt").await;
    b.current().await.unwrap();
    fs::write(served.path("notes.txt"), OLD.replace("one", "ONE")).unwrap();
    shows(&mut b, |now| now == OLD.replace("one", "ONE")).await;
    b.upload(OLD.replace("one", "ONE").replace("two", "two, by B"), None, None).await.unwrap();
    eventually("B's change is on disk", || served.read("notes.txt").contains("by B")).await;
    let stale = OLD.replace("one", "ONE").replace("four", "FOUR");
    fs::write(served.path("notes.txt"), stale).unwrap();
    eventually("both", || served.read("notes.txt") == "ONE\ntwo, by B\nthree\nFOUR\n").await;
    fs::write(served.path("new.txt"), "new\n").unwrap();
    eventually("created", || served.hub.document_at("new.txt").is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_20_what_is_too_large_is_refused_and_stays_as_it_is() {
    let served = serve(&[("notes.txt", OLD.as_bytes())]).await;
    let mut events = served.hub.events();
    let mut b = session(&served, "notes.txt").await;
    let huge = "x".repeat(syncline_protocol::limits::MAX_DOCUMENT_BYTES + 1);
    assert!(b.upload(huge.clone(), None, None).await.is_err());
    assert_eq!(b.current().await.unwrap().text, OLD);
    fs::write(served.path("notes.txt"), &huge).unwrap();
    loop {
        if let HubEvent::Trouble { path, what } = events.recv().await.unwrap() {
            assert!(path == "notes.txt" && what.contains("not synchronised"), "{path}: {what}");
            break;
        }
    }
    assert_eq!(b.current().await.unwrap().text, OLD, "what was not read is no edit");
    assert_eq!(fs::metadata(served.path("notes.txt")).unwrap().len(), huge.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_2_a_slow_writer_is_waited_for() {
    let served = serve(&[("notes.txt", OLD.as_bytes())]).await;
    let mut b = session(&served, "notes.txt").await;
    b.current().await.unwrap();
    let mut file = fs::OpenOptions::new().write(true).truncate(true).open(served.path("notes.txt")).unwrap();
    file.write_all(b"one\ntwo\n").unwrap();
    b.upload(OLD.replace("one", "one, by B"), None, None).await.unwrap();
    file.write_all(b"three\nfour\nfive\n").unwrap();
    drop(file);
    eventually("both", || served.read("notes.txt") == "one, by B\ntwo\nthree\nfour\nfive\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_4_what_a_log_that_is_never_closed_gains_is_seen() {
    let served = serve(&[("log.txt", b"started\n")]).await;
    let mut b = session(&served, "log.txt").await;
    b.current().await.unwrap();
    let mut log = fs::OpenOptions::new().append(true).open(served.path("log.txt")).unwrap();
    log.write_all(b"one\n").unwrap();
    shows(&mut b, |now| now == "started\none\n").await;
    // Others' text goes into the same file, and what is written next follows it.
    b.upload("started\none\nby B\n".into(), None, None).await.unwrap();
    eventually("B's line is in the file", || served.read("log.txt") == "started\none\nby B\n").await;
    log.write_all(b"two\n").unwrap();
    shows(&mut b, |now| now == "started\none\nby B\ntwo\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_2_a_real_truncation_gets_through() {
    let served = serve(&[("notes.txt", OLD.repeat(9).as_bytes())]).await;
    let mut b = session(&served, "notes.txt").await;
    fs::write(served.path("notes.txt"), "").unwrap();
    shows(&mut b, str::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_11_12_line_endings_and_byte_order_mark_are_kept() {
    let crlf = b"\xef\xbb\xbfone\r\ntwo\r\n";
    let served = serve(&[("dos.txt", crlf)]).await;
    let mut b = session(&served, "dos.txt").await;
    assert_eq!(b.current().await.unwrap().text, "one\ntwo\n");
    b.upload("one\ntwo\nthree".into(), None, None).await.unwrap();
    eventually("bytes", || fs::read(served.path("dos.txt")).unwrap() == b"\xef\xbb\xbfone\r\ntwo\r\nthree")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_files_deletions_and_renames_reach_the_catalogue() {
    let served = serve(&[("a.txt", b"a\n"), ("deep/er/b.txt", b"b\n")]).await;
    let paths = || served.hub.document_paths();
    assert_eq!(paths(), ["a.txt", "deep/er/b.txt"]);
    fs::write(served.path("c.txt"), "c\n").unwrap();
    eventually("created", || paths().contains(&"c.txt".to_owned())).await;
    let doc = served.hub.document_at("a.txt").unwrap();
    fs::rename(served.path("a.txt"), served.path("deep/renamed.txt")).unwrap();
    eventually("renamed", || served.hub.document_at("deep/renamed.txt") == Some(doc)).await;
    fs::remove_file(served.path("c.txt")).unwrap();
    eventually("deleted", || !paths().contains(&"c.txt".to_owned())).await;
    served.hub.restore("c.txt").await.unwrap();
    eventually("restored", || served.read("c.txt") == "c\n").await;
    // Deleted and made again: the document goes on.
    let doc = served.hub.document_at("c.txt").unwrap();
    fs::remove_file(served.path("c.txt")).unwrap();
    eventually("deleted again", || served.hub.document_at("c.txt").is_none()).await;
    fs::write(served.path("c.txt"), "c\nmore\n").unwrap();
    eventually("revived", || served.hub.document_at("c.txt") == Some(doc)).await;
    let mut b = session(&served, "c.txt").await;
    assert_eq!(b.current().await.unwrap().text, "c\nmore\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_17_a_file_made_again_with_the_same_bytes_while_its_deletion_is_entered_stays() {
    // git switches to a branch without the files and back, a grace period later.
    let names: Vec<String> = (0..40).map(|number| format!("{number}.txt")).collect();
    let mut files: Vec<(&str, &[u8])> =
        names.iter().map(|name| (name.as_str(), b"same\n".as_slice())).collect();
    let others: Vec<String> = (0..60).map(|number| format!("other {number}.txt")).collect();
    files.extend(others.iter().map(|name| (name.as_str(), b"other\n".as_slice())));
    let served = serve(&files).await;
    names.iter().for_each(|name| fs::remove_file(served.path(name)).unwrap());
    let (hub, root) = (served.hub.clone(), served.path(""));
    let again = names.clone();
    // A thread that looks without pause: the file must be there before the document's task looks for it.
    let maker = tokio::task::spawn_blocking(move || {
        let begun = std::time::Instant::now();
        let mut waiting: Vec<&String> = again.iter().collect();
        while !waiting.is_empty() {
            assert!(begun.elapsed().as_secs() < 10, "in vain: all are deleted");
            waiting.retain(|name| {
                let dead = hub.document_at(name).is_none();
                if dead {
                    fs::write(root.join(name), "same\n").unwrap();
                }
                !dead
            });
        }
    });
    maker.await.unwrap();
    eventually("all live", || names.iter().all(|name| served.hub.document_at(name).is_some())).await;
    eventually("nothing is left to do", || served.hub.unsettled() == 0).await;
    for name in &names {
        assert_eq!(fs::read_to_string(served.path(name)).unwrap(), "same\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_saved_while_no_hub_ran_is_an_edit_of_what_was_there() {
    let mut served =
        serve(&[("notes.txt", OLD.as_bytes()), ("gone.txt", b"x\n"), ("old.txt", b"moved\n")]).await;
    let moved = served.hub.document_at("old.txt").unwrap();
    let mut b = session(&served, "notes.txt").await;
    b.current().await.unwrap();
    b.upload(OLD.replace("two", "two, by B"), None, None).await.unwrap();
    eventually("written", || served.read("notes.txt").contains("by B")).await;
    drop(b);
    served.hub.close();
    fs::write(served.path("notes.txt"), "one\ntwo, by B\nthree\nfour, offline\n").unwrap();
    fs::remove_file(served.path("gone.txt")).unwrap();
    fs::rename(served.path("old.txt"), served.path("new name.txt")).unwrap();
    served.restart(2).await;
    let mut b = session(&served, "notes.txt").await;
    shows(&mut b, |text| text.contains("offline")).await;
    assert_eq!(b.current().await.unwrap().text, "one\ntwo, by B\nthree\nfour, offline\n");
    eventually("deleted", || served.hub.document_at("gone.txt").is_none()).await;
    eventually("renamed", || served.hub.document_at("new name.txt") == Some(moved)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_17_renamed_and_saved_while_no_hub_ran_is_renamed() {
    let text: String = (0..20).map(|number| format!("line {number}\n")).collect();
    let mut served = serve(&[("notes.txt", text.as_bytes()), ("other.txt", b"another\ntext\n")]).await;
    let doc = served.hub.document_at("notes.txt").unwrap();
    // Somebody's edit came after the buffer was loaded.
    let mut b = session(&served, "notes.txt").await;
    b.current().await.unwrap();
    b.upload(text.replace("line 3\n", "line 3, by B\n"), None, None).await.unwrap();
    eventually("written", || served.read("notes.txt").contains("by B")).await;
    drop(b);
    served.hub.close();
    // An editor saves its old buffer by rename (a new inode), and the file gets another name.
    fs::remove_file(served.path("notes.txt")).unwrap();
    fs::write(served.path("renamed.txt"), text.replace("line 15\n", "line 15, mine\n")).unwrap();
    served.restart(2).await;
    assert_eq!(served.hub.document_at("renamed.txt"), Some(doc));
    let both = text.replace("line 3\n", "line 3, by B\n").replace("line 15\n", "line 15, mine\n");
    eventually("both edits are in it", || served.read("renamed.txt") == both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_text_are_kept_as_they_are() {
    let served = serve(&[("a.bin", b"\x00\xff\xfe")]).await;
    let doc = served.hub.document_at("a.bin").unwrap();
    let hash = |bytes: &[u8]| *syncline_disk::ContentHash::of(bytes).as_bytes();
    assert_eq!(
        served.hub.content(hash(b"\x00\xff\xfe")).await.unwrap().as_deref(),
        Some(b"\x00\xff\xfe".as_slice())
    );
    fs::write(served.path("a.bin"), b"\x00\x01").unwrap();
    eventually("taken up", || served.hub.content_hash(doc) == Some(hash(b"\x00\x01"))).await;
    // The old content stays.
    assert!(served.hub.content(hash(b"\x00\xff\xfe")).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_5_a_request_that_is_repeated_while_it_waits_is_carried_out_once() {
    let served = serve(&[("notes.txt", OLD.as_bytes())]).await;
    let mut first = session(&served, "notes.txt").await;
    let mut again = session(&served, "notes.txt").await;
    let base = first.current().await.unwrap().version;
    again.current().await.unwrap();
    let upload = || (format!("{OLD}five\n"), Some(base.clone()), Some("r1".to_owned()));
    let ((text_a, base_a, id_a), (text_b, base_b, id_b)) = (upload(), upload());
    let (a, b) = tokio::join!(first.upload(text_a, base_a, id_a), again.upload(text_b, base_b, id_b));
    assert_eq!(a.unwrap().version, b.unwrap().version);
    assert_eq!(first.current().await.unwrap().text, format!("{OLD}five\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_5_a_repeated_request_has_the_first_answer_even_after_a_restart() {
    let mut served = serve(&[("notes.txt", OLD.as_bytes())]).await;
    let mut mine = session(&served, "notes.txt").await;
    let base = mine.current().await.unwrap().version;
    let mut other = session(&served, "notes.txt").await;
    other.current().await.unwrap();
    other.upload(format!("zero\n{OLD}"), None, None).await.unwrap();
    let (text, id) = (format!("{OLD}five\n"), Some("r1".to_owned()));
    let first = mine.upload(text.clone(), Some(base.clone()), id.clone()).await.unwrap();
    assert!(first.merged && first.changed);
    // Somebody takes it out again: a repetition is no new request.
    let newest = other.current().await.unwrap().version;
    other.upload(format!("zero\n{OLD}"), Some(newest), None).await.unwrap();
    served.restart(2).await;
    let mut again = session(&served, "notes.txt").await;
    let repeated = again.upload(text.clone(), Some(base), id.clone()).await.unwrap();
    assert_eq!((&repeated.version, repeated.merged, repeated.changed), (&first.version, true, false));
    assert_eq!(again.current().await.unwrap().text, format!("zero\n{OLD}"));
    // The version that it names is what its maker saw: the next upload made from it takes nothing out.
    again.upload(text.replace("five", "five and six"), Some(first.version), None).await.unwrap();
    assert_eq!(again.current().await.unwrap().text, format!("zero\n{OLD} and six"));
    // The same id with another text (clients without a name count from 1) is another request.
    let other_text = again.current().await.unwrap().text + "\nseven\n";
    again.upload(other_text, None, id).await.unwrap();
    assert!(again.current().await.unwrap().text.contains("seven"));
}
