use super::super::checksum::Sum;
use super::super::response::ServerSync;
use super::*;

const NOW: Duration = Duration::from_secs(100);
const CONNECT: &str = r#"{"type":"Connect","proto":1,"session":"07070707070707070707070707070707","doc":"a.txt","auth":"t","name":"n"}"#;
const SYNC: &str = r#"{"type":"ClientSync","doc":"a.txt","seq":1,"m_ack":0,"edits":[]}"#;

fn received(text: &str) -> Input {
    Input::Received(text.to_owned())
}

fn ok(doc: &str) -> ConnectOk {
    ConnectOk {
        doc: doc.into(),
        resumed: false,
        text: Some("x".into()),
        n: 0,
        m: 0,
        sum: Sum::of("x"),
        last_seq: 0,
        version: 1,
        changed_ms: 0,
        compress: None,
        wait: false,
    }
}

fn open() -> Connection {
    let mut connection = Connection::new();
    assert!(connection.handle(Input::Opened, NOW).is_empty());
    assert_eq!(connection.handle(received(CONNECT), NOW), [Output::CheckToken("t".into())]);
    assert!(connection.is_busy() && !connection.is_let_in());
    let out = connection.handle(Input::TokenChecked(Ok(())), NOW);
    let session = SessionId([7; 16]);
    assert_eq!(out, [Output::Open { session, doc: Some("a.txt".into()), name: "n".into() }]);
    let out = connection.handle(Input::DocumentOpened(Ok(ok("a.txt"))), NOW);
    assert_eq!(out, [Output::Send(Response::ConnectOk(ok("a.txt")).to_json())]);
    connection
}

fn sent_code(out: &[Output]) -> String {
    let Some(Output::Send(text)) = out.first() else { panic!("no error was sent: {out:?}") };
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    value["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn nothing_is_done_before_the_token_is_right() {
    let no_auth = CONNECT.replace(r#""auth":"t","#, "");
    let long = format!(r#"{{"type":"Ping","x":"{}"}}"#, "x".repeat(20_000));
    for text in [SYNC, r#"{"type":"Ping"}"#, "x", "{}", &no_auth, &long] {
        let mut connection = Connection::new();
        connection.handle(Input::Opened, NOW);
        let out = connection.handle(received(text), NOW);
        assert!(matches!(out.as_slice(), [Output::Send(_), Output::Close(Some(_))]), "{text:.80}: {out:?}");
        assert!(connection.handle(received(CONNECT), NOW).is_empty());
    }
    let mut connection = Connection::new();
    connection.handle(Input::Opened, NOW);
    connection.handle(received(CONNECT), NOW);
    let wrong = ProtocolError::new(ErrorCode::Unauthorized, "no");
    let out = connection.handle(Input::TokenChecked(Err(wrong.clone())), NOW);
    assert_eq!(out, [Output::Send(wrong.to_json()), Output::Close(Some(wrong))]);
}

#[test]
fn one_request_at_a_time_and_a_late_one_is_not_answered() {
    let mut connection = open();
    let out = connection.handle(received(SYNC), NOW);
    assert!(matches!(out.as_slice(), [Output::Sync(0, _)]) && connection.is_busy());
    let answer = ServerSync { doc: String::new(), seq: 1, n_ack: 0, edits: vec![], sum: Sum::of("x") };
    let out = connection.handle(Input::Answered(Ok(Answer::Sync(answer.clone()))), NOW);
    let answer = ServerSync { doc: "a.txt".into(), ..answer };
    assert_eq!(out, [Output::Send(Response::Sync(answer).to_json())]);
    connection.handle(received(SYNC), NOW);
    assert!(connection.handle(Input::Answered(Ok(Answer::Late)), NOW).is_empty());
    assert!(!connection.is_busy());
}

#[test]
fn news_are_told_once_until_the_client_asks() {
    let mut connection = open();
    let poke = [Output::Send(r#"{"type":"Poke","doc":"a.txt"}"#.into())];
    assert!(connection.wants_changes(0) && !connection.wants_changes(1));
    assert_eq!(connection.handle(Input::Changed(0), NOW), poke);
    assert!(!connection.wants_changes(0) && connection.handle(Input::Changed(0), NOW).is_empty());
    connection.handle(received(SYNC), NOW);
    assert!(connection.handle(Input::Changed(0), NOW).is_empty(), "the answer will carry it");
    connection.handle(Input::Answered(Ok(Answer::Late)), NOW);
    assert_eq!(connection.handle(Input::Changed(0), NOW), poke);
}

#[test]
fn several_documents_and_only_open_ones() {
    let mut connection = open();
    let other = r#"{"type":"Connect","proto":1,"session":"08080808080808080808080808080808","doc":"b.txt"}"#;
    let out = connection.handle(received(other), NOW);
    assert!(matches!(out.as_slice(), [Output::Open { name, .. }] if name == "n"));
    connection.handle(Input::DocumentOpened(Ok(ok("b.txt"))), NOW);
    let sync = SYNC.replace("a.txt", "b.txt");
    assert!(matches!(connection.handle(received(&sync), NOW).as_slice(), [Output::Sync(1, _)]));
    connection.handle(Input::Answered(Ok(Answer::Late)), NOW);
    let out = connection.handle(received(&SYNC.replace("a.txt", "c.txt")), NOW);
    assert_eq!(sent_code(&out), "unknown_document");
    let stolen = SYNC.replace(r#""seq""#, r#""session":"08080808080808080808080808080808","seq""#);
    assert_eq!(sent_code(&connection.handle(received(&stolen), NOW)), "forbidden");
    for number in 2..limits::MAX_OPEN_DOCUMENTS {
        connection.handle(received(other), NOW);
        connection.handle(Input::DocumentOpened(Ok(ok(&number.to_string()))), NOW);
    }
    assert_eq!(sent_code(&connection.handle(received(other), NOW)), "too_many");
}

#[test]
fn a_bad_message_is_one_error_and_the_connection_goes_on() {
    let mut connection = open();
    for (text, code) in [("{", "bad_message"), (r#"{"type":"Packed","zlib":"AAAA"}"#, "bad_message")] {
        let out = connection.handle(received(text), NOW);
        assert_eq!((out.len(), sent_code(&out).as_str()), (1, code));
    }
    assert!(matches!(connection.handle(received(SYNC), NOW).as_slice(), [Output::Sync(..)]));
    let full = ProtocolError::new(ErrorCode::StorageFull, "full");
    assert_eq!(sent_code(&connection.handle(Input::Answered(Err(full)), NOW)), "storage_full");
    assert!(!connection.is_busy());
}

#[test]
fn the_silent_are_asked_and_then_closed() {
    let mut connection = open();
    let at = |seconds| NOW + Duration::from_secs(seconds);
    assert!(connection.handle(Input::Tick, at(29)).is_empty());
    assert_eq!(connection.handle(Input::Tick, at(30)), [Output::Send(r#"{"type":"Ping"}"#.into())]);
    assert!(connection.handle(Input::Tick, at(31)).is_empty());
    connection.handle(received(r#"{"type":"Pong"}"#), at(40));
    assert_eq!(connection.handle(Input::Tick, at(70)).len(), 1);
    assert!(connection.handle(Input::Tick, at(159)).iter().all(|out| matches!(out, Output::Send(_))));
    assert_eq!(sent_code(&connection.handle(Input::Tick, at(160))), "timeout");

    let mut silent = Connection::new();
    silent.handle(Input::Opened, NOW);
    assert_eq!(sent_code(&silent.handle(Input::Tick, at(5))), "timeout");
}

#[test]
fn bytes_of_a_long_message_are_signs_of_life_for_a_while() {
    let mut connection = open();
    let at = |minutes: u64| NOW + Duration::from_secs(60 * minutes);
    for minute in 1..=15 {
        connection.handle(Input::Arriving, at(minute));
        assert!(connection.handle(Input::Tick, at(minute)).is_empty(), "minute {minute}");
    }
    // Nobody may stay by sending a byte now and then.
    connection.handle(Input::Arriving, at(16));
    connection.handle(Input::Tick, at(16));
    connection.handle(Input::Arriving, at(17));
    assert_eq!(sent_code(&connection.handle(Input::Tick, at(18))), "timeout");

    let mut stranger = Connection::new();
    stranger.handle(Input::Opened, NOW);
    stranger.handle(Input::Arriving, NOW + Duration::from_secs(4));
    assert_eq!(sent_code(&stranger.handle(Input::Tick, NOW + Duration::from_secs(5))), "timeout");
}

#[test]
fn a_request_that_waits_is_answered_with_each_change() {
    let mut connection = Connection::new();
    connection.handle(Input::Opened, NOW);
    connection.handle(received(&CONNECT.replace(r#""doc""#, r#""wait":true,"doc""#)), NOW);
    connection.handle(Input::TokenChecked(Ok(())), NOW);
    let out = connection.handle(Input::DocumentOpened(Ok(ok("a.txt"))), NOW);
    assert!(matches!(out.as_slice(), [Output::Send(text)] if text.contains(r#""wait":true"#)));
    assert!(!connection.wants_changes(0), "it will ask");
    let waiting = SYNC.replace("[]", r#"[],"wait":true"#);
    let answer = |edits| ServerSync { doc: String::new(), seq: 1, n_ack: 0, edits, sum: Sum::of("x") };
    let delta = std::sync::Arc::new(super::super::Delta::default());
    connection.handle(received(&waiting), NOW);
    assert!(connection.handle(Input::Answered(Ok(Answer::Sync(answer(vec![])))), NOW).is_empty());
    for m in 0..3 {
        assert!(connection.wants_changes(0));
        assert_eq!(connection.handle(Input::Changed(0), NOW), [Output::News(0)]);
        assert!(!connection.wants_changes(0) && connection.is_busy());
        let told = answer(vec![(m, delta.clone())]);
        assert_eq!(connection.handle(Input::Answered(Ok(Answer::Sync(told))), NOW).len(), 1);
        // Told enough for now: it waits all the same.
        connection.handle(Input::Changed(0), NOW);
        assert!(connection.handle(Input::Answered(Ok(Answer::Late)), NOW).is_empty());
    }
    connection.handle(received(SYNC), NOW);
    assert_eq!(connection.handle(Input::Answered(Ok(Answer::Sync(answer(vec![])))), NOW).len(), 1);
    assert!(!connection.wants_changes(0), "the newer request does not wait");
}

#[test]
fn a_return_that_is_out_of_place_is_an_error() {
    let mut connection = open();
    let back = r#"{"type":"ClientReturn","doc":"a.txt","seq":1,"shadow":"x","sum":"00000000000000000000000000000078:1","text":"y"}"#;
    assert!(matches!(connection.handle(received(back), NOW).as_slice(), [Output::Return(0, _)]));
    assert_eq!(sent_code(&connection.handle(Input::Answered(Ok(Answer::OutOfPlace)), NOW)), "bad_message");
}

#[test]
fn a_long_text_is_packed_in_the_first_answer_for_who_offered_to_read_that() {
    for (offers, packed) in [(r#""compress":["zlib"],"doc""#, true), (r#""doc""#, false)] {
        let mut connection = Connection::new();
        connection.handle(Input::Opened, NOW);
        connection.handle(received(&CONNECT.replace(r#""doc""#, offers)), NOW);
        connection.handle(Input::TokenChecked(Ok(())), NOW);
        let long = ConnectOk { text: Some("text ".repeat(1_000)), ..ok("a.txt") };
        let out = connection.handle(Input::DocumentOpened(Ok(long)), NOW);
        let [Output::Send(text)] = out.as_slice() else { panic!("{out:?}") };
        assert_eq!(text.starts_with(r#"{"type":"Packed""#), packed, "{text:.80}");
    }
}

#[test]
fn compression_is_used_once_it_is_agreed() {
    let mut connection = Connection::new();
    connection.handle(Input::Opened, NOW);
    let connect = CONNECT.replace(r#""doc""#, r#""compress":["lz4","zlib"],"doc""#);
    connection.handle(received(&connect), NOW);
    connection.handle(Input::TokenChecked(Ok(())), NOW);
    let out = connection.handle(Input::DocumentOpened(Ok(ok("a.txt"))), NOW);
    assert!(matches!(out.as_slice(), [Output::Send(text)] if text.contains(r#""compress":"zlib""#)));
    let long = SYNC.replace("[]", &format!(r#"[[0,["+{}"]]]"#, "text ".repeat(1_000)));
    let packed = pack(long, true);
    assert!(packed.starts_with(r#"{"type":"Packed""#));
    assert!(
        matches!(connection.handle(received(&packed), NOW).as_slice(), [Output::Sync(0, sync)] if sync.edits.len() == 1)
    );
}
