//! Rows of the journal that cannot be read.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use support::{Served, eventually, exchange, serve};
use syncline_hub::{HubError, HubEvent, Party};
use syncline_store::Log;

const TEXT: &str = "one\ntwo\n";

async fn text(served: &Served, path: &str) -> Result<String, HubError> {
    let party = Party { name: "checker".into(), channel: "test" };
    Ok(served.hub.open_text(Some(path), party).await?.current().await?.text)
}

/// A folder with two documents, one of which is damaged in the journal and was saved meanwhile.
async fn damaged(had_peer: bool) -> (Served, Served) {
    let (mut here, there) =
        (serve(&[("bad.txt", TEXT.as_bytes()), ("good.txt", TEXT.as_bytes())]).await, serve(&[]).await);
    exchange(&here.hub, &there.hub).await;
    eventually("the files came", || there.read("bad.txt") == TEXT && there.read("good.txt") == TEXT).await;
    if had_peer {
        here.hub.peer_heard();
        let known = || here.log.reader().unwrap().setting("had_peer").unwrap().is_some();
        eventually("the journal knows that there is a peer", known).await;
    }
    let backup = here.log.backup();
    backup.damage(here.hub.document_at("bad.txt").unwrap());
    here.hub.close();
    std::fs::write(here.path("bad.txt"), format!("{TEXT}three, saved meanwhile\n")).unwrap();
    here.restore(backup, 7).await;
    (here, there)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_document_is_filled_again_from_a_peer_and_the_others_are_served() {
    let (here, there) = damaged(true).await;
    let doc = here.hub.document_at("bad.txt").unwrap();
    assert_eq!(text(&here, "good.txt").await.unwrap(), TEXT);
    assert!(matches!(text(&here, "bad.txt").await, Err(HubError::Damaged { .. })));
    assert_eq!(here.log.reader().unwrap().set_aside(doc).unwrap().len(), 1, "the rows are kept");
    assert!(here.hub.heads_of(doc).is_root(), "links ask for all of it");
    exchange(&here.hub, &there.hub).await;
    here.hub.peer_heard();
    let both = format!("{TEXT}three, saved meanwhile\n");
    loop {
        match text(&here, "bad.txt").await {
            Ok(now) if now == both => break,
            Ok(now) => assert_eq!(now, TEXT, "nothing is there twice"),
            Err(error) => assert!(matches!(error, HubError::Damaged { .. }), "{error}"),
        }
        tokio::task::yield_now().await;
    }
    exchange(&here.hub, &there.hub).await;
    eventually("both have it", || here.read("bad.txt") == both && there.read("bad.txt") == both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_peer_the_files_text_is_what_is_left() {
    let (here, _) = damaged(false).await;
    let both = format!("{TEXT}three, saved meanwhile\n");
    let mut events = here.hub.events();
    while text(&here, "bad.txt").await.unwrap() != both {
        tokio::task::yield_now().await;
    }
    assert_eq!(here.read("bad.txt"), both);
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, HubEvent::Deleted { .. }), "{event:?}");
    }
}
