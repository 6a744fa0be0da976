//! Diff-sync sessions on a real folder: merged with saves, journalled with their edits, and left to whoever
//! comes back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use support::{Served, eventually, serve};
use syncline_engine::Edit;
use syncline_hub::diffsync::{DiffParty, DiffSession};
use syncline_hub::{Hub, HubError};
use syncline_protocol::diffsync::{
    Answer, ClientReturn, ClientSync, ConnectOk, Delta, Resync, ServerSync, SessionId, Sum,
};

const ME: [u8; 32] = [7; 32];

fn party(session: u8) -> DiffParty {
    DiffParty { session: SessionId([session; 16]), identity: ME, name: "ann".into() }
}

async fn open(served: &Served, session: u8) -> (DiffSession, ConnectOk) {
    open_as(&served.hub, "a.txt", party(session)).await.unwrap()
}

async fn open_as(hub: &Hub, path: &str, party: DiffParty) -> Result<(DiffSession, ConnectOk), HubError> {
    hub.open_diff(hub.find_diff(Some(path), &party).await?, party).await
}

/// A request that inserts at the beginning of a text.
fn insert(seq: u64, n: u64, m_ack: u64, text: &str, insert: &str) -> ClientSync {
    let delta = Delta::of(&[Edit::insert(0, insert)], text.chars().count());
    let sum = Some(Sum::of(&format!("{insert}{text}")));
    ClientSync {
        doc: "a.txt".into(),
        session: None,
        seq,
        m_ack,
        edits: vec![(n, Arc::new(delta))],
        sum,
        wait: false,
    }
}

fn nothing(seq: u64, m_ack: u64, text: &str) -> ClientSync {
    let sum = Some(Sum::of(text));
    ClientSync { doc: "a.txt".into(), session: None, seq, m_ack, edits: vec![], sum, wait: false }
}

fn synced(answer: Answer) -> ServerSync {
    match answer {
        Answer::Sync(sync) => sync,
        other => panic!("{other:?}"),
    }
}

fn resynced(answer: Answer) -> Resync {
    match answer {
        Answer::Resync(resync) => resync,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_reaches_a_client_and_its_edit_reaches_the_file() {
    let served = serve(&[("a.txt", b"text\n")]).await;
    let (mut session, ok) = open(&served, 1).await;
    assert_eq!(
        (ok.text.as_deref(), ok.resumed, ok.doc.as_str(), ok.version),
        (Some("text\n"), false, "a.txt", 5)
    );
    let answer = synced(session.sync(insert(1, 0, 0, "text\n", "A ")).await.unwrap());
    assert_eq!((answer.n_ack, answer.edits.len()), (1, 0));
    eventually("the edit is in the file", || served.read("a.txt") == "A text\n").await;
    fs::write(served.path("a.txt"), "A text\nsaved\n").unwrap();
    session.changed().await;
    let answer = synced(session.sync(nothing(2, 0, "A text\n")).await.unwrap());
    assert_eq!(answer.edits.len(), 1);
    assert_eq!(answer.sum, Sum::of("A text\nsaved\n"));
    let history = session.history().await.unwrap();
    let by: Vec<_> = history.iter().map(|entry| (entry.channel.as_str(), entry.author.as_str())).collect();
    assert_eq!(by, [("file", "tester"), ("diffsync", "ann"), ("file", "tester")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_6_a_session_goes_on_after_a_restart() {
    let mut served = serve(&[("a.txt", b"text")]).await;
    let (mut session, _) = open(&served, 1).await;
    let request = insert(1, 0, 0, "text", "A");
    let first = synced(session.sync(request.clone()).await.unwrap());
    // Killed: nothing is left but what was journalled with the edit.
    drop(session);
    served.restart(2).await;
    let (mut session, ok) = open(&served, 1).await;
    assert_eq!((ok.resumed, ok.text, ok.n, ok.m, ok.last_seq), (true, None, 1, 0, 1));
    let again = synced(session.sync(request).await.unwrap());
    assert_eq!(again, first, "the same request has the same answer, and enters nothing");
    let next = synced(session.sync(insert(2, 1, 0, "Atext", "B")).await.unwrap());
    assert_eq!((next.n_ack, next.sum), (2, Sum::of("BAtext")));
    eventually("both are in the file", || served.read("a.txt") == "BAtext").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_left_knows_what_it_was_told() {
    let mut served = serve(&[("a.txt", b"text")]).await;
    let (mut session, _) = open(&served, 1).await;
    fs::write(served.path("a.txt"), "text!").unwrap();
    session.changed().await;
    let told = synced(session.sync(nothing(1, 0, "text")).await.unwrap());
    assert_eq!(told.edits.len(), 1);
    session.leave().await;
    served.restart(2).await;
    let (mut session, ok) = open(&served, 1).await;
    assert_eq!((ok.resumed, ok.m), (true, 1));
    let next = synced(session.sync(nothing(2, 1, "text!")).await.unwrap());
    assert!(next.edits.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_commit_enters_nothing_and_the_request_may_come_again() {
    let served = serve(&[("a.txt", b"text")]).await;
    let (mut session, _) = open(&served, 1).await;
    synced(session.sync(insert(1, 0, 0, "text", "A")).await.unwrap());
    eventually("written", || served.read("a.txt") == "Atext").await;
    eventually("settled", || served.hub.unsettled() == 0).await;
    served.log.fail_commits(1);
    let request = insert(2, 1, 0, "Atext", "B");
    assert!(session.sync(request.clone()).await.is_err());
    let answer = synced(session.sync(request).await.unwrap());
    assert_eq!((answer.n_ack, answer.sum), (2, Sum::of("BAtext")));
    eventually("once", || served.read("a.txt") == "BAtext").await;
}

/// What a failed fsync left is not known: here the step was committed, and the hub was told that it was not.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_was_committed_though_it_seemed_to_fail_is_not_taken_twice() {
    let served = serve(&[("a.txt", b"text")]).await;
    let (mut session, _) = open(&served, 1).await;
    synced(session.sync(insert(1, 0, 0, "text", "A")).await.unwrap());
    eventually("written", || served.read("a.txt") == "Atext").await;
    eventually("settled", || served.hub.unsettled() == 0).await;
    served.log.fail_after_commits(1);
    let request = insert(2, 1, 0, "Atext", "B");
    assert!(session.sync(request.clone()).await.is_err());
    let answer = synced(session.sync(request).await.unwrap());
    assert_eq!((answer.n_ack, answer.sum), (2, Sum::of("BAtext")));
    eventually("once", || served.read("a.txt") == "BAtext").await;
    let next = synced(session.sync(insert(3, 2, 0, "BAtext", "C")).await.unwrap());
    assert_eq!((next.n_ack, next.sum), (3, Sum::of("CBAtext")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_comes_back_to_its_document_though_that_was_renamed_meanwhile() {
    let mut served = serve(&[("a.txt", b"a text that is long enough to be known again\n")]).await;
    let (mut session, ok) = open(&served, 1).await;
    let text = ok.text.unwrap();
    synced(session.sync(insert(1, 0, 0, &text, "A ")).await.unwrap());
    let text = format!("A {text}");
    eventually("written", || served.read("a.txt") == text).await;
    session.leave().await;
    fs::rename(served.path("a.txt"), served.path("b.txt")).unwrap();
    let doc = served.hub.document_at("a.txt").unwrap();
    eventually("renamed", || served.hub.document_at("b.txt") == Some(doc)).await;
    // Something else at its old name is not what it means.
    fs::write(served.path("a.txt"), "quite another thing\n").unwrap();
    eventually("entered", || served.hub.document_at("a.txt").is_some_and(|other| other != doc)).await;
    for restarted in [false, true] {
        if restarted {
            served.restart(2).await;
        }
        let (mut session, ok) = open(&served, 1).await;
        assert_eq!((ok.resumed, ok.doc.as_str(), session.document()), (true, "a.txt", "b.txt"));
        let (seq, n) = (ok.last_seq + 1, ok.n);
        let before = if restarted { format!("B {text}") } else { text.clone() };
        synced(session.sync(insert(seq, n, ok.m, &before, "B ")).await.unwrap());
        let after = format!("B {before}");
        eventually("in the renamed file", || served.read("b.txt") == after).await;
        session.leave().await;
    }
    // Who was never at that document means the file.
    let (_, ok) = open(&served, 2).await;
    assert_eq!((ok.resumed, ok.text.as_deref()), (false, Some("quite another thing\n")));
    let stranger = DiffParty { identity: [8; 32], ..party(1) };
    let (session, _) = open_as(&served.hub, "a.txt", stranger).await.unwrap();
    assert_eq!(session.document(), "a.txt", "a stolen name of a session leads nowhere");
}

/// `renames` in order: each from one name to another.
async fn come_back_after(renames: &[(&str, &str)], restarted: bool) {
    let (a, b) =
        ("the first text, long enough to be known again\n", "of another one these are the words, many\n");
    let mut served = serve(&[("a.txt", a.as_bytes()), ("b.txt", b.as_bytes())]).await;
    for (path, text) in [("a.txt", a), ("b.txt", b)] {
        let (mut session, _) = open_as(&served.hub, path, party(1)).await.unwrap();
        synced(session.sync(insert(1, 0, 0, text, "X ")).await.unwrap());
        eventually("written", || served.read(path) == format!("X {text}")).await;
        session.leave().await;
    }
    for (from, to) in renames {
        let doc = served.hub.document_at(from).unwrap();
        fs::rename(served.path(from), served.path(to)).unwrap();
        eventually("renamed", || served.hub.document_at(to) == Some(doc)).await;
    }
    if restarted {
        served.restart(2).await;
    }
    let mut open = Vec::new();
    for (path, text) in [("a.txt", a), ("b.txt", b)] {
        // What is open stays open: neither may wait for the other's seat.
        let opened = tokio::time::timeout(Duration::from_secs(10), open_as(&served.hub, path, party(1)));
        let (mut session, ok) = opened.await.expect("not kept waiting").unwrap();
        assert_eq!((ok.resumed, ok.doc.as_str(), ok.sum), (true, path, Sum::of(&format!("X {text}"))));
        synced(session.sync(insert(2, 1, ok.m, &format!("X {text}"), "Y ")).await.unwrap());
        let place = session.document().to_owned();
        eventually("in its own file", || served.read(&place) == format!("Y X {text}")).await;
        open.push(session);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_finds_each_of_its_documents_though_their_names_were_passed_on() {
    for restarted in [false, true] {
        come_back_after(&[("a.txt", "c.txt"), ("b.txt", "a.txt")], restarted).await;
        come_back_after(&[("a.txt", "c.txt"), ("b.txt", "a.txt"), ("c.txt", "b.txt")], restarted).await;
    }
}

/// The older connection has not ended yet, and nothing of its sessions is in the journal.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_were_passed_on_are_known_from_the_connection_that_has_them() {
    let (a, b) =
        ("the first text, long enough to be known again\n", "of another one these are the words, many\n");
    let served = serve(&[("a.txt", a.as_bytes()), ("b.txt", b.as_bytes())]).await;
    let (mut old, _) = open(&served, 1).await;
    let (other, _) = open_as(&served.hub, "b.txt", party(1)).await.unwrap();
    for (from, to) in [("a.txt", "c.txt"), ("b.txt", "a.txt")] {
        let doc = served.hub.document_at(from).unwrap();
        fs::rename(served.path(from), served.path(to)).unwrap();
        eventually("renamed", || served.hub.document_at(to) == Some(doc)).await;
    }
    let hub = served.hub.clone();
    let newer = tokio::spawn(async move { open_as(&hub, "a.txt", party(1)).await });
    tokio::time::timeout(Duration::from_secs(10), old.taken_over()).await.expect("its own session is wanted");
    old.leave().await;
    let (session, ok) = newer.await.unwrap().unwrap();
    assert_eq!((session.document(), ok.doc.as_str(), ok.text.as_deref()), ("c.txt", "a.txt", Some(a)));
    other.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_connection_takes_the_session_over_and_a_stranger_does_not() {
    let served = serve(&[("a.txt", b"text")]).await;
    let (mut old, _) = open(&served, 1).await;
    synced(old.sync(insert(1, 0, 0, "text", "A")).await.unwrap());
    let stolen = DiffParty { identity: [8; 32], ..party(1) };
    let refused = open_as(&served.hub, "a.txt", stolen.clone()).await;
    assert!(matches!(refused, Err(HubError::NotYours)), "while it is in use");
    let hub = served.hub.clone();
    let newer = tokio::spawn(async move { open_as(&hub, "a.txt", party(1)).await });
    old.taken_over().await;
    old.leave().await;
    let (mut session, ok) = newer.await.unwrap().unwrap();
    assert_eq!((ok.resumed, ok.n, ok.last_seq), (true, 1, 1));
    synced(session.sync(insert(2, 1, 0, "Atext", "B")).await.unwrap());
    session.leave().await;
    let refused = open_as(&served.hub, "a.txt", stolen).await;
    assert!(matches!(refused, Err(HubError::NotYours)), "and when only the journal has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_forgotten_brings_its_text_and_it_is_kept() {
    let served = serve(&[("a.txt", b"text")]).await;
    let (mut session, ok) = open(&served, 1).await;
    assert!(!ok.resumed);
    fs::write(served.path("a.txt"), "theirs text").unwrap();
    session.changed().await;
    let back = ClientReturn {
        doc: "a.txt".into(),
        seq: 9,
        shadow: "text".into(),
        text: "text mine".into(),
        sum: Sum::of("text"),
    };
    let answer = resynced(session.returned(back.clone()).await.unwrap());
    assert_eq!((answer.text.as_str(), answer.n_ack), ("theirs text mine", 0));
    assert_eq!(resynced(session.returned(back).await.unwrap()), answer, "told twice, entered once");
    eventually("in the file", || served.read("a.txt") == "theirs text mine").await;
    let decisions = syncline_store::Log::reader(&served.log).unwrap();
    let doc = served.hub.document_at("a.txt").unwrap();
    let said = decisions.decisions(doc).unwrap();
    assert!(said.iter().any(|(_, what)| what.contains("text is kept")), "{said:?}");
    let hash = *blake3::hash(b"text mine").as_bytes();
    assert_eq!(decisions.content(&hash).unwrap().as_deref(), Some(&b"text mine"[..]));
    let kept = decisions.displaced().unwrap();
    assert!(kept.iter().any(|it| it.doc == doc && it.content == Some(hash)), "for rescue: {kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_6_the_text_of_a_client_whose_checksum_is_wrong_is_kept_though_nothing_is_entered() {
    let served = serve(&[("a.txt", b"text")]).await;
    let (mut session, _) = open(&served, 1).await;
    let back = ClientReturn {
        doc: "a.txt".into(),
        seq: 1,
        shadow: "text".into(),
        text: "text mine".into(),
        sum: Sum::of("something else"),
    };
    assert_eq!(resynced(session.returned(back).await.unwrap()).text, "text");
    let hash = *blake3::hash(b"text mine").as_bytes();
    let journal = syncline_store::Log::reader(&served.log).unwrap();
    assert_eq!(journal.content(&hash).unwrap().as_deref(), Some(&b"text mine"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_not_there_and_texts_that_are_too_long_are_refused() {
    let served = serve(&[("a.txt", b"text"), ("b.bin", b"\0\xff")]).await;
    let open = |path: &'static str| open_as(&served.hub, path, party(1));
    assert!(matches!(open("none.txt").await, Err(HubError::UnknownDocument { .. })));
    assert!(matches!(open("b.bin").await, Err(HubError::NotText { .. })));
    let (mut session, _) = open("a.txt").await.unwrap();
    let long = "x".repeat(syncline_protocol::limits::MAX_DOCUMENT_BYTES);
    let refused = session.sync(insert(1, 0, 0, "text", &long)).await;
    assert!(matches!(refused, Err(HubError::TooLarge { .. })));
    synced(session.sync(insert(1, 0, 0, "text", "A")).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_name_the_only_text_is_meant_and_never_one_of_several() {
    let one = serve(&[("a.txt", b"text\n"), ("picture.png", b"\x89PNG\xff\0")]).await;
    let target = one.hub.find_diff(None, &party(1)).await.unwrap();
    assert_eq!(one.hub.open_diff(target, party(1)).await.unwrap().1.doc, "a.txt");
    let two = serve(&[("a.txt", b"text\n"), ("b.txt", b"text\n")]).await;
    let Err(error) = two.hub.find_diff(None, &party(1)).await else { panic!("one of two was chosen") };
    assert!(matches!(error, HubError::WhichDocument { texts: 2 }), "{error}");
}

/// Its history would take the edit, and its file never got it.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_not_text_any_more_takes_no_edits_and_its_client_hears_of_it() {
    let served = serve(&[("a.txt", b"text")]).await;
    let (mut editing, _) = open(&served, 1).await;
    let (mut reading, _) = open(&served, 2).await;
    synced(editing.sync(insert(1, 0, 0, "text", "A")).await.unwrap());
    eventually("written", || served.read("a.txt") == "Atext").await;
    assert_eq!(synced(reading.sync(nothing(1, 0, "text")).await.unwrap()).edits.len(), 1);
    fs::write(served.path("a.txt"), b"\xff\0not text").unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(10), async {
        editing.changed().await;
        reading.changed().await;
    });
    heard.await.expect("both are told");
    let doc = served.hub.document_at("a.txt").unwrap();
    let before = syncline_store::Log::reader(&served.log).unwrap().document(doc).unwrap();
    let refused = |answer: Result<Answer, HubError>| {
        assert!(matches!(&answer, Err(HubError::NotText { path }) if path == "a.txt"), "{answer:?}");
    };
    // Also without anything to enter, and to a request that waits.
    refused(reading.answer().await);
    refused(reading.sync(nothing(2, 1, "Atext")).await);
    let edit = insert(2, 1, 0, "Atext", "B");
    refused(editing.sync(edit.clone()).await);
    refused(editing.sync(edit.clone()).await);
    let (shadow, text) = ("Atext".to_owned(), "CAtext".to_owned());
    let back = ClientReturn { doc: "a.txt".into(), seq: 3, sum: Sum::of(&shadow), shadow, text };
    refused(reading.returned(back).await);
    let after = syncline_store::Log::reader(&served.log).unwrap().document(doc).unwrap();
    assert_eq!(after.batches, before.batches, "nothing was entered");
    assert_eq!(fs::read(served.path("a.txt")).unwrap(), b"\xff\0not text");
    // When it is text again, the same request is taken.
    fs::write(served.path("a.txt"), "Atext").unwrap();
    let again = async {
        loop {
            match editing.sync(edit.clone()).await {
                Ok(answer) => return synced(answer),
                Err(HubError::NotText { .. }) => editing.changed().await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), again).await.expect("told of it");
    assert_eq!((answer.n_ack, answer.sum), (2, Sum::of("BAtext")));
    eventually("in the file", || served.read("a.txt") == "BAtext").await;
}
