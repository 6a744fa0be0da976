use syncline_engine::{Edit, apply_to_str};

use super::*;

const NOW: Duration = Duration::from_secs(100);

fn greeting() -> Greeting {
    let (name, nonce) = ("ann".to_owned(), "n".to_owned());
    Greeting { token: None, document: None, name, color: None, unit: Unit::Scalar, nonce }
}

fn content(text: &str, version: &str) -> ClientInput {
    let message = serde_json::json!({
        "type": "content_update", "content": text, "version": version, "document": "a.txt"});
    ClientInput::Received(message.to_string())
}

fn update(
    base: &str,
    version: &str,
    edits: &[(usize, usize, &str)],
    request_id: Option<&str>,
) -> ClientInput {
    let steps: Vec<_> = edits
        .iter()
        .map(|(at, delete, insert)| serde_json::json!({"at": at, "delete": delete, "insert": insert}))
        .collect();
    let message = serde_json::json!({
        "type": "edit_update", "base": base, "version": version, "edits": steps, "request_id": request_id});
    ClientInput::Received(message.to_string())
}

fn error(code: &str, request_id: &str) -> ClientInput {
    let message =
        serde_json::json!({"type": "error", "code": code, "message": "no", "request_id": request_id});
    ClientInput::Received(message.to_string())
}

fn open(text: &str) -> Client {
    let mut client = Client::new(greeting());
    client.handle(ClientInput::Connected, NOW);
    client.handle(content(text, "v1"), NOW);
    client
}

fn typed(client: &mut Client, at: usize, text: &str) -> Vec<ClientOutput> {
    client.handle(ClientInput::Edited(vec![Edit::insert(at, text)]), NOW)
}

fn sent(out: &[ClientOutput]) -> Vec<serde_json::Value> {
    out.iter()
        .filter_map(|output| match output {
            ClientOutput::Send(text) => Some(serde_json::from_str(text).unwrap()),
            _ => None,
        })
        .collect()
}

fn events(out: Vec<ClientOutput>) -> Vec<ClientEvent> {
    out.into_iter()
        .filter_map(|output| match output {
            ClientOutput::Event(event) => Some(event),
            _ => None,
        })
        .collect()
}

/// What is written down of a client leads to what it has.
fn replayed(lines: &[String]) -> String {
    let layers = Kept::replay(lines.iter().map(String::as_str)).unwrap();
    Client::restored(greeting(), layers).text().to_one_string()
}

#[test]
fn typing_is_sent_at_once_and_saved_when_it_is_answered() {
    let mut client = open("one two");
    let out = typed(&mut client, 3, "!");
    let request = &sent(&out)[0];
    assert_eq!((request["type"].as_str(), request["base"].as_str()), (Some("edit_request"), Some("v1")));
    assert!(client.is_waiting());
    // What is typed meanwhile waits, and what others did meanwhile is in the answer.
    assert!(sent(&typed(&mut client, 0, "A")).is_empty());
    assert!(events(client.handle(update("v1", "v2", &[(0, 0, "zero ")], None), NOW)).is_empty());
    let out = client.handle(update("v1+", "v3", &[(0, 0, "zero ")], Some("n-1")), NOW);
    assert_eq!(client.text().to_one_string(), "zero Aone! two");
    assert_eq!((&sent(&out)[0]["base"], &sent(&out)[0]["edits"][0]["at"]), (&"v3".into(), &5.into()));
    let out = client.handle(update("v3+", "v4", &[], Some("n-2")), NOW);
    assert_eq!(events(out), [ClientEvent::Saved]);
    assert!(!client.is_waiting());
}

#[test]
fn a_client_that_is_started_again_asks_for_the_document_it_had() {
    let client = open("one");
    let line = client.kept().to_line();
    let mut again = Client::restored(greeting(), Kept::replay([line.as_str()]).unwrap());
    assert_eq!(sent(&again.handle(ClientInput::Connected, NOW))[0]["document"], "a.txt");
    assert_eq!(again.text().to_one_string(), "one");
    // Without a text there is nothing to edit, and nothing that a text could be put over.
    let mut empty = Client::new(greeting());
    assert!(typed(&mut empty, 0, "x").is_empty());
    assert!(!empty.is_waiting());
}

#[test]
fn a_draft_is_moved_and_never_touched() {
    let mut client = open("one two three");
    client.handle(ClientInput::Hold(true), NOW);
    assert!(sent(&typed(&mut client, 7, " and a half")).is_empty());
    let out = client.handle(update("v1", "v2", &[(0, 3, "ONE"), (8, 5, "")], None), NOW);
    let changed = ClientEvent::Changed {
        text: vec![Edit { range: 0..3, insert: "ONE".into() }, Edit::delete(19..24)],
        shared: vec![Edit { range: 0..3, insert: "ONE".into() }, Edit::delete(8..13)],
    };
    assert_eq!(events(out), [changed]);
    assert_eq!(client.text().to_one_string(), "ONE two and a half ");
    assert_eq!(client.shared().to_one_string(), "ONE two ");
    let request = &sent(&client.handle(ClientInput::Upload, NOW))[0];
    assert_eq!((&request["base"], &request["edits"][0]["insert"]), (&"v2".into(), &" and a half".into()));
    assert_eq!(client.shared().to_one_string(), "ONE two and a half ");
}

#[test]
fn a_cut_connection_loses_and_doubles_nothing() {
    let mut client = open("one");
    typed(&mut client, 3, " two");
    typed(&mut client, 7, " three");
    client.handle(ClientInput::Lost, NOW);
    typed(&mut client, 13, " four");
    assert!(!client.is_open() && client.is_waiting());
    client.handle(ClientInput::Connected, NOW);
    // The hub has the first already, and something else: the same request gets the same answer.
    let out = client.handle(content("zero one two", "v7"), NOW);
    assert_eq!(sent(&out)[0]["request_id"], "n-1");
    assert_eq!(sent(&out)[0]["base"], "v1");
    let out = client.handle(update("v1+", "v7", &[(0, 0, "zero ")], Some("n-1")), NOW);
    assert_eq!(client.text().to_one_string(), "zero one two three four");
    assert_eq!(sent(&out)[0]["edits"][0]["insert"], " three four");
}

#[test]
fn what_was_typed_without_a_connection_is_sent_at_the_version_it_was_made_at() {
    let mut client = open("one");
    client.handle(ClientInput::Lost, NOW);
    typed(&mut client, 3, "!");
    client.handle(ClientInput::Connected, NOW);
    let out = client.handle(content("ONE one", "v9"), NOW);
    assert_eq!((&sent(&out)[0]["base"], &sent(&out)[0]["edits"][0]["at"]), (&"v1".into(), &3.into()));
    client.handle(update("v1+", "v10", &[(0, 0, "ONE ")], Some("n-1")), NOW);
    assert_eq!(client.text().to_one_string(), "ONE one!");
}

#[test]
fn a_hub_that_does_not_know_the_base_gets_the_text_all_the_same() {
    let mut client = open("one\ntwo\n");
    typed(&mut client, 8, "mine\n");
    let out = client.handle(error("bad_base", "n-1"), NOW);
    assert!(out.contains(&ClientOutput::Redial));
    client.handle(ClientInput::Lost, NOW);
    client.handle(ClientInput::Connected, NOW);
    let out = client.handle(content("zero\none\ntwo\n", "w1"), NOW);
    assert_eq!(client.text().to_one_string(), "zero\none\ntwo\nmine\n");
    assert_eq!((&sent(&out)[0]["base"], &sent(&out)[0]["edits"][0]["at"]), (&"w1".into(), &13.into()));
    assert_ne!(sent(&out)[0]["request_id"], "n-1");
}

#[test]
fn a_full_disk_is_asked_again_later() {
    let mut client = open("one");
    typed(&mut client, 3, "!");
    let out = client.handle(error("storage_full", "n-1"), NOW);
    assert!(matches!(events(out).as_slice(), [ClientEvent::Refused(_)]));
    assert!(client.handle(ClientInput::Tick, NOW).is_empty());
    let out = client.handle(ClientInput::Tick, NOW + RETRY);
    assert_eq!(sent(&out)[0]["request_id"], "n-1");
    assert!(client.is_waiting());
}

#[test]
fn what_may_not_be_sent_becomes_a_draft() {
    let mut client = open("one");
    typed(&mut client, 3, "!");
    let out = client.handle(error("forbidden", "n-1"), NOW);
    assert!(out.contains(&ClientOutput::Redial));
    assert_eq!(
        (client.text().to_one_string(), client.shared().to_one_string()),
        ("one!".into(), "one".into())
    );
    assert!(!client.is_waiting());
    client.handle(ClientInput::Lost, NOW);
    client.handle(ClientInput::Connected, NOW);
    assert!(sent(&client.handle(content("one two", "v2"), NOW)).is_empty());
    assert_eq!(client.text().to_one_string(), "one two!");
}

#[test]
fn an_update_that_does_not_fit_is_not_believed() {
    for bad in [update("v0", "v2", &[], None), update("v1", "v2", &[(9, 0, "x")], None)] {
        let mut client = open("one");
        assert!(client.handle(bad, NOW).contains(&ClientOutput::Redial));
        assert_eq!(client.text().to_one_string(), "one");
    }
    let mut client = open("one");
    for noise in ["", "{}", "[]", r#"{"type":"future"}"#, r#"{"type":"edit_update"}"#] {
        assert!(client.handle(ClientInput::Received(noise.into()), NOW).is_empty(), "{noise}");
    }
}

#[test]
fn cursors_are_those_of_the_text_that_is_shown() {
    let mut client = open("one two");
    client.handle(ClientInput::Hold(true), NOW);
    typed(&mut client, 0, "new ");
    let out = client.handle(ClientInput::Moved { cursor: Some(8), anchor: Some(2) }, NOW);
    assert_eq!((&sent(&out)[0]["cursor"], &sent(&out)[0]["anchor"]), (&4.into(), &0.into()));
    let message = r#"{"type":"presence_update","version":"v1","others":[{"id":1,"name":"bob","cursor":4,"anchor":99}]}"#;
    client.handle(ClientInput::Received(message.into()), NOW);
    assert_eq!((client.others()[0].cursor, client.others()[0].anchor), (Some(4), Some(7)));
    client.handle(update("v1", "v2", &[(0, 0, "a")], None), NOW);
    assert_eq!(client.others()[0].cursor, Some(5));
}

#[test]
fn what_is_kept_leads_to_the_same_text_at_every_moment() {
    let mut lines = Vec::new();
    let mut client = Client::new(greeting());
    let inputs = [
        ClientInput::Connected,
        content("one two", "v1"),
        ClientInput::Edited(vec![Edit::insert(0, "a")]),
        ClientInput::Edited(vec![Edit::insert(1, "b")]),
        ClientInput::Hold(true),
        ClientInput::Edited(vec![Edit::delete(2..4)]),
        update("v1+", "v2", &[(3, 0, "x")], Some("n-1")),
        error("forbidden", "n-2"),
        ClientInput::Lost,
        ClientInput::Connected,
        content("zero aone two", "v3"),
        ClientInput::Upload,
    ];
    for input in inputs {
        for output in client.handle(input.clone(), NOW) {
            if let ClientOutput::Keep(kept) = output {
                lines.push(kept.to_line());
            }
        }
        if client.has_text() {
            assert_eq!(replayed(&lines), client.text().to_one_string(), "{input:?}");
        }
    }
    let whole = replayed(&lines);
    lines.push(lines[lines.len() - 1][..5].to_owned());
    assert_eq!(replayed(&lines), whole, "a line that was not written whole is left out");
    assert!(Kept::replay(["x"]).is_none() && Kept::replay([]).is_none());
    assert!(apply_to_str("", &[]).is_empty());
}
