//! The simplest client, against a real hub on a real folder.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use support::{eventually, serve_folder, token};

#[tokio::test]
async fn the_simplest_client_reads_and_writes_a_file() {
    let served = serve_folder(&[("a.txt", "one\ntwo\nthree\n")]).await;
    let mut client = served.admitted("").await;
    let first = client.next().await.unwrap();
    assert_eq!(first["content"], "one\ntwo\nthree\n");
    assert_eq!(first["document"], "a.txt");
    assert!(first["version"].is_string());
    client.send(r#"{"type":"update_request","content":"one\nTWO\nthree\n"}"#).await;
    eventually("the upload is in the file", || served.kept.read("a.txt") == "one\nTWO\nthree\n").await;
    std::fs::write(served.kept.path("a.txt"), "one\nTWO\nthree\nfour\n").unwrap();
    client.content_until(|text| text == "one\nTWO\nthree\nfour\n").await;
}

#[tokio::test]
async fn two_uploads_from_one_version_are_merged() {
    let served = serve_folder(&[("a.txt", "one\ntwo\nthree\n")]).await;
    let (mut a, mut b) = (served.admitted("/a.txt").await, served.admitted("/a.txt").await);
    let version = a.next().await.unwrap()["version"].as_str().unwrap().to_owned();
    b.next().await.unwrap();
    let upload = |content: &str, id: &str| {
        serde_json::json!({"type": "update_request", "content": content, "base": version, "request_id": id})
            .to_string()
    };
    a.send(&upload("ONE\ntwo\nthree\n", "a1")).await;
    b.send(&upload("one\ntwo\nTHREE\n", "b1")).await;
    let merged = "ONE\ntwo\nTHREE\n";
    for client in [&mut a, &mut b] {
        let (mut result, mut text) = (false, false);
        while !(result && text) {
            let message = client.next().await.unwrap();
            match message["type"].as_str().unwrap() {
                "update_result" => result = true,
                "content_update" => text = message["content"] == merged,
                other => panic!("{other}: {message}"),
            }
            // Whoever's upload came last may know the text already by its result.
            text = text || (result && served.kept.text("a.txt").await == merged);
        }
    }
    eventually("both are in the file", || served.kept.read("a.txt") == merged).await;
}

#[tokio::test]
async fn a_hello_with_the_token_lets_in_and_a_wrong_one_does_not() {
    let served = serve_folder(&[("a.txt", "text")]).await;
    let mut client = served.dial("/content").await.unwrap();
    let hello = serde_json::json!({"type": "hello", "token": token().secret(), "document": "a.txt"});
    client.send(&hello.to_string()).await;
    assert_eq!(client.next().await.unwrap()["content"], "text");

    for wrong in ["", "x", &support::capability().secret()] {
        let mut client = served.dial("/content").await.unwrap();
        client.send(&serde_json::json!({"type": "hello", "token": wrong}).to_string()).await;
        assert_eq!(client.next().await.unwrap()["code"], "unauthorized");
        assert!(client.next().await.is_none(), "closed after its one error");
    }
}

#[tokio::test]
async fn a_document_that_is_not_there_is_one_error() {
    let served = serve_folder(&[("a.txt", "text")]).await;
    let mut client = served.admitted("/b.txt").await;
    assert_eq!(client.next().await.unwrap()["code"], "unknown_document");
    assert!(client.next().await.is_none());
}

#[tokio::test]
async fn a_large_text_goes_both_ways() {
    let large = "a line of a large file\n".repeat(100_000);
    let served = serve_folder(&[("a.txt", &large)]).await;
    let mut client = served.admitted("").await;
    assert_eq!(client.next().await.unwrap()["content"], large.as_str());
    let larger = format!("{large}one more\n");
    client.send(&serde_json::json!({"type": "update_request", "content": larger}).to_string()).await;
    eventually("the upload is in the file", || served.kept.read("a.txt") == larger).await;
}

#[tokio::test]
async fn a_hub_that_stops_says_so() {
    let served = serve_folder(&[("a.txt", "text")]).await;
    let mut client = served.admitted("").await;
    client.next().await.unwrap();
    served.shutdown.send(true).unwrap();
    assert_eq!(client.next().await.unwrap()["code"], "closing");
    assert!(client.next().await.is_none());
    served.task.await.unwrap().unwrap();
}
