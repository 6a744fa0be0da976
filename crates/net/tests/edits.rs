//! The mode `edits` of `content`, against a real hub on a real folder.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use serde_json::{Value, json};
use support::{Client, Served, eventually, serve_folder, token};

/// A client of that mode, which has been sent the text.
async fn guest(served: &Served, name: &str, unit: &str) -> (Client, Value) {
    let mut client = served.dial("/content").await.unwrap();
    let hello = json!({
        "type": "hello", "mode": "edits", "unit": unit, "token": token().secret(), "document": "a.txt", "name": name,
        "color": "#00aa00"});
    client.send(&hello.to_string()).await;
    let first = client.next().await.unwrap();
    assert_eq!(first["type"], "content_update", "{first}");
    (client, first)
}

async fn edit(client: &mut Client, base: &Value, id: &str, edits: Value) {
    let request = json!({"type": "edit_request", "base": base, "request_id": id, "edits": edits});
    client.send(&request.to_string()).await;
}

/// The next message of a type, skipping others.
async fn next_of(client: &mut Client, kind: &str) -> Value {
    loop {
        let message = client.next().await.expect("the connection stands");
        if message["type"] == kind {
            return message;
        }
    }
}

#[tokio::test]
async fn edits_go_up_and_come_down() {
    let served = serve_folder(&[("a.txt", "one\ntwo\n")]).await;
    let (mut ann, first) = guest(&served, "ann", "scalar").await;
    let (mut bob, _) = guest(&served, "bob", "utf16").await;
    edit(&mut ann, &first["version"], "1", json!([{"at": 3, "insert": "\u{1f600}"}, {"at": 4, "delete": 3}]))
        .await;
    let answer = next_of(&mut ann, "edit_update").await;
    assert_eq!((&answer["request_id"], &answer["edits"]), (&json!("1"), &json!([])));
    eventually("it is in the file", || served.kept.read("a.txt") == "one\u{1f600}\n\n").await;
    let update = next_of(&mut bob, "edit_update").await;
    assert_eq!(
        update["edits"],
        json!([
        {"at": 3, "delete": 0, "insert": "\u{1f600}"}, {"at": 4, "delete": 3, "insert": ""}])
    );
    // Positions behind the emoji, in the other's unit.
    edit(&mut bob, &update["version"], "1", json!([{"at": 6, "insert": "x"}])).await;
    let update = next_of(&mut ann, "edit_update").await;
    assert_eq!(update["edits"], json!([{"at": 5, "delete": 0, "insert": "x"}]));
    eventually("that, too", || served.kept.read("a.txt") == "one\u{1f600}\nx\n").await;
    std::fs::write(served.kept.path("a.txt"), "zero\none\u{1f600}\nx\n").unwrap();
    let update = next_of(&mut ann, "edit_update").await;
    assert_eq!(update["edits"], json!([{"at": 0, "delete": 0, "insert": "zero\n"}]));
}

#[tokio::test]
async fn an_edit_made_at_an_older_version_is_merged_and_a_repeat_is_answered_as_before() {
    let served = serve_folder(&[("a.txt", "one\ntwo\n")]).await;
    let (mut ann, first) = guest(&served, "ann", "scalar").await;
    let (mut bob, _) = guest(&served, "bob", "scalar").await;
    let base = &first["version"];
    edit(&mut ann, base, "1", json!([{"at": 0, "insert": "A"}])).await;
    next_of(&mut ann, "edit_update").await;
    edit(&mut bob, base, "1", json!([{"at": 7, "insert": "B"}])).await;
    let answer = loop {
        let message = next_of(&mut bob, "edit_update").await;
        if message["request_id"] == "1" {
            break message;
        }
    };
    assert_eq!(answer["edits"], json!([{"at": 0, "delete": 0, "insert": "A"}]));
    assert_eq!(served.kept.text("a.txt").await, "Aone\ntwoB\n");
    // The connection broke before the answer came.
    let (mut again, _) = guest(&served, "bob", "scalar").await;
    edit(&mut again, base, "1", json!([{"at": 7, "insert": "B"}])).await;
    let repeated = next_of(&mut again, "edit_update").await;
    assert_eq!((&repeated["base"], &repeated["edits"]), (&answer["base"], &answer["edits"]));
    assert_eq!(served.kept.text("a.txt").await, "Aone\ntwoB\n");
}

#[tokio::test]
async fn what_cannot_be_is_one_error_with_its_name() {
    let served = serve_folder(&[("a.txt", "one")]).await;
    let (mut ann, first) = guest(&served, "ann", "utf8").await;
    let version = &first["version"];
    let cases = [
        (version.clone(), json!([{"at": 4, "insert": "x"}]), "bad_message"),
        (version.clone(), json!([{"at": 2, "delete": 2}]), "bad_message"),
        (version.clone(), json!([{"at": 2}, {"at": 1}]), "bad_message"),
        (json!("0f"), json!([]), "bad_base"),
        (json!("not a version"), json!([]), "bad_base"),
    ];
    for (base, edits, code) in cases {
        edit(&mut ann, &base, "r", edits.clone()).await;
        let error = next_of(&mut ann, "error").await;
        assert_eq!((&error["code"], &error["request_id"]), (&json!(code), &json!("r")), "{base} {edits}");
    }
    ann.send(r#"{"type":"edit_request","edits":[]}"#).await;
    assert_eq!(next_of(&mut ann, "error").await["code"], "bad_message");
    edit(&mut ann, version, "r", json!([{"at": 3, "insert": "!"}])).await;
    next_of(&mut ann, "edit_update").await;
    assert_eq!(served.kept.text("a.txt").await, "one!");
}

#[tokio::test]
async fn others_are_seen_where_they_are_until_they_leave() {
    let served = serve_folder(&[("a.txt", "one two")]).await;
    let (mut ann, first) = guest(&served, "ann", "scalar").await;
    let (mut bob, _) = guest(&served, "bob", "utf16").await;
    let seen = loop {
        let update = next_of(&mut ann, "presence_update").await;
        if update["others"][0]["name"] == "bob" {
            break update;
        }
    };
    assert_eq!(seen["others"][0]["color"], "#00aa00");
    let presence = json!({"type": "presence", "version": first["version"], "cursor": 4, "anchor": 7});
    bob.send(&presence.to_string()).await;
    let seen = next_of(&mut ann, "presence_update").await;
    assert_eq!((&seen["others"][0]["cursor"], &seen["others"][0]["anchor"]), (&json!(4), &json!(7)));
    // What is typed before a cursor moves it, for whoever comes later as well.
    edit(&mut ann, &first["version"], "1", json!([{"at": 0, "insert": "\u{1f600}"}])).await;
    next_of(&mut bob, "edit_update").await;
    let (mut late, _) = guest(&served, "late", "utf16").await;
    let seen = loop {
        let update = next_of(&mut late, "presence_update").await;
        if update["others"].as_array().unwrap().len() == 2 {
            break update;
        }
    };
    assert_eq!((&seen["others"][1]["name"], &seen["others"][1]["cursor"]), (&json!("bob"), &json!(6)));
    drop(bob);
    loop {
        let update = next_of(&mut ann, "presence_update").await;
        let names: Vec<&str> =
            update["others"].as_array().unwrap().iter().filter_map(|other| other["name"].as_str()).collect();
        if names == ["late"] {
            break;
        }
    }
}

#[tokio::test]
async fn an_address_that_lets_in_can_be_greeted_too() {
    let served = serve_folder(&[("a.txt", "one"), ("b.txt", "two")]).await;
    let mut client = served.admitted("/b.txt").await;
    let first = client.next().await.unwrap();
    client.send(r#"{"type":"hello","mode":"edits","name":"script"}"#).await;
    edit(&mut client, &first["version"], "1", json!([{"at": 3, "insert": "!"}])).await;
    assert_eq!(next_of(&mut client, "edit_update").await["request_id"], "1");
    client.send(r#"{"type":"list"}"#).await;
    let list = next_of(&mut client, "documents").await;
    assert_eq!((&list["documents"], &list["more"]), (&json!(["a.txt", "b.txt"]), &json!(false)));
    assert_eq!(served.kept.text("b.txt").await, "two!");
}
