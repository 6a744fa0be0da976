//! Two hubs, a real connection between them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use support::{Served, eventually, keep, serve_folder};
use syncline_net::{JoinEvent, NetError, keep_joined};
use syncline_protocol::replica::LinkEvent;
use syncline_protocol::{ErrorCode, JoinLink, Token};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

struct Joined {
    kept: support::Kept,
    events: mpsc::Receiver<JoinEvent>,
    shutdown: watch::Sender<bool>,
    task: JoinHandle<Result<(), NetError>>,
}

async fn join(link: JoinLink, files: &[(&str, &str)], seed: u64) -> Joined {
    let kept = keep(files, true, seed).await;
    let (sender, events) = mpsc::channel(16);
    let (shutdown, stop) = watch::channel(false);
    let task = tokio::spawn(keep_joined(kept.hub.clone(), link, sender, stop));
    Joined { kept, events, shutdown, task }
}

impl Joined {
    async fn until(&mut self, holds: impl Fn(&JoinEvent) -> bool) -> JoinEvent {
        let wait = async {
            loop {
                let event = self.events.recv().await.expect("the join goes on");
                if holds(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(support::PATIENCE, wait).await.expect("the event in time")
    }

    async fn synced(&mut self) {
        self.until(|event| matches!(event, JoinEvent::Link(LinkEvent::Synced { .. }))).await;
    }
}

async fn two(files: &[(&str, &str)]) -> (Served, Joined) {
    let served = serve_folder(files).await;
    let mut joined = join(served.link(), &[], 2).await;
    joined.synced().await;
    (served, joined)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joined_folder_becomes_and_stays_equal() {
    let (served, joined) = two(&[("a.txt", "one\n"), ("b.bin", "\0\u{1}binary")]).await;
    eventually("the text came", || joined.kept.read("a.txt") == "one\n").await;
    eventually("the binary file came", || joined.kept.read("b.bin") == "\0\u{1}binary").await;
    assert_eq!(joined.kept.hub.folder_id(), served.kept.hub.folder_id());
    std::fs::write(joined.kept.path("a.txt"), "one\ntwo\n").unwrap();
    eventually("a save came back", || served.kept.read("a.txt") == "one\ntwo\n").await;
    std::fs::write(served.kept.path("new.txt"), "new\n").unwrap();
    eventually("a new file came", || joined.kept.read("new.txt") == "new\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_come_over() {
    let names: Vec<String> = (0..400).map(|number| format!("file-{number}.txt")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "some text\n")).collect();
    let (_served, joined) = two(&files).await;
    eventually("all files", || names.iter().all(|name| joined.kept.read(name) == "some text\n")).await;
}

/// Two hubs with one file, each saved while there is no connection; they meet again and both have `merged`. Then
/// each is saved once more, with something put after `place`.
async fn saved_apart(held: &str, one: &str, other: &str, merged: &str, place: &str) {
    let served = serve_folder(&[("a.txt", held)]).await;
    let Served { kept, address, shutdown, task, .. } = served;
    let link = JoinLink::new("127.0.0.1", address.port(), support::token()).unwrap();
    let mut joined = join(link, &[], 2).await;
    joined.synced().await;
    eventually("the text came", || joined.kept.read("a.txt") == held).await;
    shutdown.send(true).unwrap();
    task.await.unwrap().unwrap();
    joined.until(|event| matches!(event, JoinEvent::Disconnected { .. })).await;
    std::fs::write(kept.path("a.txt"), one).unwrap();
    std::fs::write(joined.kept.path("a.txt"), other).unwrap();
    for (hub, saved) in [(&kept, one), (&joined.kept, other)] {
        while hub.text("a.txt").await != saved {
            tokio::task::yield_now().await;
        }
    }
    // The same hub again, on the same port.
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let (shutdown, stop) = watch::channel(false);
    let access = syncline_net::Access::new(support::token(), support::capability());
    let task = tokio::spawn(syncline_net::serve(listener, kept.hub.clone(), access, stop));
    joined.synced().await;
    eventually("both have both edits", || {
        kept.read("a.txt") == merged && joined.kept.read("a.txt") == merged
    })
    .await;
    // Where both saved the same text, the files say nothing of whether the hubs have met.
    eventually("they have met", || {
        let hubs = [&kept.hub, &joined.kept.hub];
        hubs[0].heads() == hubs[1].heads() && hubs.iter().all(|hub| hub.unsettled() == 0)
    })
    .await;
    let mut now = merged.to_owned();
    for hub in [&kept, &joined.kept] {
        now = now.replacen(place, &format!("{place}="), 1);
        std::fs::write(hub.path("a.txt"), &now).unwrap();
        let wrong = || {
            let texts = [kept.read("a.txt"), joined.kept.read("a.txt")];
            (texts.iter().any(|text| *text != now)).then_some(texts)
        };
        let deadline = tokio::time::Instant::now() + support::PATIENCE;
        while let Some(texts) = wrong() {
            assert!(tokio::time::Instant::now() < deadline, "both have the next save, {now:?}: {texts:?}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    joined.shutdown.send(true).unwrap();
    joined.task.await.unwrap().unwrap();
    shutdown.send(true).unwrap();
    task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_break_both_sides_edits_meet() {
    saved_apart("one\ntwo\nthree\n", "ONE\ntwo\nthree\n", "one\ntwo\nTHREE\n", "ONE\ntwo\nTHREE\n", "ON")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_19_two_formatters_apply_once() {
    let held = "fn main() {\n\tlet a=1;\n\tlet b=2;\n}\n";
    let formatted = "fn main() {\n    let a = 1;\n    let b = 2;\n}\n";
    saved_apart(held, formatted, formatted, formatted, "a =").await;
    saved_apart(held, formatted, formatted, formatted, "   ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_joined_to_one_is_not_joined_to_another() {
    let (_served, joined) = two(&[("a.txt", "one\n")]).await;
    joined.shutdown.send(true).unwrap();
    joined.task.await.unwrap().unwrap();
    let other = support::serve_kept(keep(&[("a.txt", "another\n")], false, 7).await).await;
    let (sender, _events) = mpsc::channel(16);
    let (_shutdown, stop) = watch::channel(false);
    let again = keep_joined(joined.kept.hub.clone(), other.link(), sender, stop);
    let again = tokio::time::timeout(support::PATIENCE, again).await.expect("it is refused at once");
    let Err(NetError::Refused { error, .. }) = again else { panic!("{again:?}") };
    assert_eq!(error.code, ErrorCode::WrongFolder);
    eventually("it keeps its own", || joined.kept.read("a.txt") == "one\n").await;
}

#[tokio::test]
async fn a_wrong_token_ends_the_dialing() {
    let served = serve_folder(&[]).await;
    let link = JoinLink::new("127.0.0.1", served.address.port(), Token::from_random([9; 32])).unwrap();
    let joined = join(link, &[], 2).await;
    let Err(NetError::Refused { error, .. }) = joined.task.await.unwrap() else {
        panic!("a wrong token must end the dialing");
    };
    assert_eq!(error.code, ErrorCode::Unauthorized);
}

#[tokio::test]
async fn nobody_there_is_reported_and_tried_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let link = JoinLink::new("127.0.0.1", port, support::token()).unwrap();
    let mut joined = join(link, &[], 2).await;
    for _ in 0..3 {
        joined.until(|event| matches!(event, JoinEvent::Disconnected { .. })).await;
    }
    joined.shutdown.send(true).unwrap();
    joined.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_hub_does_not_join_itself() {
    let served = serve_folder(&[]).await;
    let (sender, _events) = mpsc::channel(16);
    let (_shutdown, stop) = watch::channel(false);
    let ended = keep_joined(served.kept.hub.clone(), served.link(), sender, stop).await;
    assert!(matches!(ended, Err(NetError::Refused { error, .. }) if error.code == ErrorCode::SameHub));
}
