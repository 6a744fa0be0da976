//! Journals that were restored from a backup.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use support::{Served, eventually, exchange, serve};
use syncline_hub::Party;
use syncline_store::Log;

const OLD: &str = "one\ntwo\n";
const NEW: &str = "one\ntwo\nthree, from elsewhere\n";

async fn text(served: &Served) -> String {
    let party = Party { name: "checker".into(), channel: "test" };
    served.hub.open_text(Some("notes.txt"), party).await.unwrap().current().await.unwrap().text
}

/// Two folders in step, of which one edited: the other's file has it, and its journal of before does not.
async fn restored() -> (Served, Served) {
    let (mut here, there) = (serve(&[("notes.txt", OLD.as_bytes())]).await, serve(&[]).await);
    exchange(&here.hub, &there.hub).await;
    eventually("the file came", || there.read("notes.txt") == OLD).await;
    here.hub.peer_heard();
    let known = || here.log.reader().unwrap().setting("had_peer").unwrap().is_some();
    eventually("the journal knows that there is a peer", known).await;
    let backup = here.log.backup();
    std::fs::write(there.path("notes.txt"), NEW).unwrap();
    while text(&there).await != NEW {
        tokio::task::yield_now().await;
    }
    exchange(&here.hub, &there.hub).await;
    eventually("the edit came", || here.read("notes.txt") == NEW).await;
    here.restore(backup, 7).await;
    (here, there)
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_8_a_peers_text_in_a_file_is_not_entered_again_under_an_older_journal() {
    let (here, there) = restored().await;
    // Somebody saves it meanwhile: held, too.
    std::fs::write(here.path("notes.txt"), format!("{NEW}four, saved meanwhile\n")).unwrap();
    exchange(&here.hub, &there.hub).await;
    here.hub.peer_heard();
    let all = format!("{NEW}four, saved meanwhile\n");
    while text(&here).await != all {
        assert!(text(&here).await.matches("three").count() <= 1);
        tokio::task::yield_now().await;
    }
    exchange(&here.hub, &there.hub).await;
    eventually("both have it once", || here.read("notes.txt") == all && there.read("notes.txt") == all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_8_what_no_peer_knows_is_entered_all_the_same() {
    let (here, there) = restored().await;
    assert_eq!(text(&here).await, OLD, "held back");
    drop(there);
    // A peer that knows nothing of it.
    let stranger = serve(&[]).await;
    exchange(&here.hub, &stranger.hub).await;
    here.hub.peer_heard();
    while text(&here).await != NEW {
        tokio::task::yield_now().await;
    }
    assert_eq!(here.read("notes.txt"), NEW);
}
