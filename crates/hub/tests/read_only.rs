//! A journal that lost what it had acknowledged.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use support::{eventually, serve, session};
use syncline_hub::{HubEvent, refusal};
use syncline_protocol::ErrorCode;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_loss_the_hub_can_be_read_and_takes_nothing() {
    let served = serve(&[("a.txt", b"one\n")]).await;
    eventually("the file is in step", || served.hub.unsettled() == 0).await;
    let mut events = served.hub.events();
    let before = served.log.backup();
    let mut writer = session(&served, "a.txt").await;
    writer.upload("zero\none\n".to_owned(), None, None).await.unwrap();
    eventually("it is in the file", || served.read("a.txt") == "zero\none\n").await;
    eventually("all is recorded", || served.hub.unsettled() == 0).await;
    served.log.lose_since(&before);
    served.log.fail_commits(1);
    for _ in 0..3 {
        let refused = writer.upload("x\nzero\none\n".to_owned(), None, None).await.map(|_| ()).unwrap_err();
        assert_eq!(refusal(&refused).code, ErrorCode::ReadOnly, "{refused:?}");
    }
    assert!(served.hub.recording_trouble().is_some_and(|why| why.contains("takes nothing more")));
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let HubEvent::Trouble { what, .. } = event {
            told.push(what);
        }
    }
    assert!(told.iter().any(|what| what.contains("nothing is recorded any more")), "{told:?}");
    let reading = session(&served, "a.txt").await.current().await.unwrap();
    assert!(!reading.text.contains('x'), "{}", reading.text);
    assert_eq!(served.read("a.txt"), "zero\none\n", "the file is left as it is");
}
