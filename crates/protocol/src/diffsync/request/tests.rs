use proptest::prelude::*;

use super::*;

fn code(text: &str) -> &'static str {
    match Request::parse(text) {
        Ok(request) => panic!("{text:.100} was read as {request:?}"),
        Err(error) => error.code.code(),
    }
}

fn requests() -> Vec<(Request, &'static str)> {
    let session = Some(SessionId([0x0a; 16]));
    let delta = Arc::new(Delta::of(&[syncline_engine::Edit::insert(1, "x\n")], 2));
    vec![
        (
            Request::Connect(Connect {
                session,
                doc: Some("a.txt".into()),
                auth: Some("t".into()),
                ..Connect::default()
            }),
            r#"{"type":"Connect","proto":1,"session":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a","doc":"a.txt","auth":"t"}"#,
        ),
        (
            Request::Sync(ClientSync {
                doc: "a.txt".into(),
                session: None,
                seq: 3,
                m_ack: 2,
                edits: vec![(1, delta)],
                sum: Some(Sum::of("abc")),
                wait: false,
            }),
            r#"{"type":"ClientSync","doc":"a.txt","seq":3,"m_ack":2,"edits":[[1,["=1","+x\n","=1"]]],"sum":"00000000000000000000000000616263:3"}"#,
        ),
        (
            Request::Sync(ClientSync {
                doc: "a.txt".into(),
                session: None,
                seq: 3,
                m_ack: 2,
                edits: vec![],
                sum: Some(Sum::of("abc")),
                wait: true,
            }),
            r#"{"type":"ClientSync","doc":"a.txt","seq":3,"m_ack":2,"edits":[],"sum":"00000000000000000000000000616263:3","wait":true}"#,
        ),
        (
            Request::Return(ClientReturn {
                doc: "a".into(),
                seq: 1,
                shadow: "s".into(),
                text: "t".into(),
                sum: Sum::of("s"),
            }),
            r#"{"type":"ClientReturn","doc":"a","seq":1,"shadow":"s","sum":"00000000000000000000000000000073:1","text":"t"}"#,
        ),
        (Request::History { doc: "a".into() }, r#"{"type":"History","doc":"a"}"#),
        (Request::Ping, r#"{"type":"Ping"}"#),
        (Request::Disconnect, r#"{"type":"Disconnect"}"#),
    ]
}

#[test]
fn requests_are_as_documented() {
    for (request, text) in requests() {
        assert_eq!(request.to_json(), text);
        assert_eq!(Request::parse(text), Ok(request));
    }
    let unknown = r#" {"future":[1.5e400,{"a":null}],"type":"Ping"} "#;
    assert_eq!(Request::parse(unknown), Ok(Request::Ping));
}

#[test]
fn bad_json_is_one_error() {
    let deep = format!(r#"{{"type":"Ping","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let sync = |rest: &str| format!(r#"{{"type":"ClientSync","doc":"d",{rest}}}"#);
    let cases = [
        deep.clone(),
        String::new(),
        "null".into(),
        "[]".into(),
        "7".into(),
        "{}".into(),
        "\u{feff}{\"type\":\"Ping\"}".into(),
        r#"{"type":"Ping"}{"type":"Ping"}"#.into(),
        r#"{"type":"Ping"} x"#.into(),
        r#"{"type":"Ping","type":"Ping"}"#.into(),
        r#"{"type":"ping"}"#.into(),
        r#"{"type":"ServerSync","doc":"d"}"#.into(),
        r#"{"type":"Connect","session":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"}"#.into(),
        r#"{"type":"Connect","proto":1}"#.into(),
        r#"{"type":"Connect","proto":1,"session":"x"}"#.into(),
        sync(r#""seq":1,"m_ack":0,"edits":[]"#).replace("\"doc\":\"d\",", ""),
        sync(r#""seq":0,"m_ack":0,"edits":[]"#),
        sync(r#""seq":1,"m_ack":0"#),
        sync(r#""m_ack":0,"edits":[]"#),
        sync(r#""seq":1,"edits":[]"#),
        sync(r#""seq":-1,"m_ack":0,"edits":[]"#),
        sync(r#""seq":1.5,"m_ack":0,"edits":[]"#),
        sync(r#""seq":1e400,"m_ack":0,"edits":[]"#),
        sync(r#""seq":18446744073709551616,"m_ack":0,"edits":[]"#),
        sync(r#""seq":1,"seq":1,"m_ack":0,"edits":[]"#),
        sync(r#""seq":1,"m_ack":0,"edits":[[0,["+\ud800"]]]"#),
        sync(r#""seq":1,"m_ack":0,"edits":[[0]]"#),
        sync(r#""seq":1,"m_ack":0,"edits":[[0,["=1"],1]]"#),
        sync(r#""seq":1,"m_ack":0,"edits":[[0,["?1"]]]"#),
        sync(r#""seq":1,"m_ack":0,"edits":[],"sum":"x""#),
        sync(r#""seq":1,"m_ack":0,"edits":[],"sum":7"#),
    ];
    for text in cases {
        assert_eq!(code(&text), "bad_message", "{text:.100}");
    }
    assert_eq!(
        code(r#"{"type":"Connect","proto":2,"session":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"}"#),
        "unsupported_version"
    );
    let many = vec!["[0,[]]"; limits::MAX_SYNC_EDITS + 1].join(",");
    assert_eq!(code(&sync(&format!(r#""seq":1,"m_ack":0,"edits":[{many}]"#))), "too_large");
    let steps = vec!["\"=1\""; limits::MAX_DELTA_STEPS + 1].join(",");
    assert_eq!(code(&sync(&format!(r#""seq":1,"m_ack":0,"edits":[[0,[{steps}]]]"#))), "too_large");
    assert_eq!(code(&format!(r#"{{"type":"History","doc":"{}"}}"#, "d".repeat(5_000))), "too_large");
}

/// How far a message that is too large was read.
fn column(text: &str) -> usize {
    let error = Request::parse(text).unwrap_err();
    assert_eq!(error.code.code(), "too_large", "{error}");
    let (_, after) = error.message.rsplit_once("column ").expect("where it stopped");
    after.trim_end_matches(')').parse().unwrap()
}

/// In memory they would take fifty times what they take in the message, which may be packed besides.
#[test]
fn lists_that_are_too_long_are_not_read_to_their_end() {
    let sync =
        |edits: &str| format!(r#"{{"type":"ClientSync","doc":"d","seq":1,"m_ack":0,"edits":{edits}}}"#);
    let many = |item: &str, count: usize| vec![item; count].join(",");
    let head = sync("").len();
    let edits = sync(&format!("[{}]", many("[0,[]]", 1_000_000)));
    assert!(column(&edits) <= head + (limits::MAX_SYNC_EDITS + 1) * 7);
    let steps = sync(&format!("[[0,[{}]]]", many(r#""+""#, 10 * limits::MAX_DELTA_STEPS)));
    assert!(column(&steps) <= head + 5 + (limits::MAX_DELTA_STEPS + 1) * 4);
    // Those of all deltas together.
    let half = format!("[0,[{}]]", many(r#""+""#, limits::MAX_DELTA_STEPS / 2));
    let (two, three) = (format!("[{half},{half}]"), format!("[{half},{half},{half}]"));
    assert!(Request::parse(&sync(&two)).is_ok(), "as many as there may be");
    assert!(column(&sync(&three)) <= sync(&two).len() + 16);
    let connect = format!(r#"{{"type":"Connect","proto":1,"compress":[{}]}}"#, many(r#""""#, 1_000_000));
    assert!(column(&connect) < 100);
    let most = many("[0,[]]", limits::MAX_SYNC_EDITS);
    assert!(Request::parse(&sync(&format!("[{most}]"))).is_ok());
}

#[test]
fn a_list_that_is_null_is_no_list() {
    let ping = Request::parse(r#"{"type":"Ping","edits":null,"compress":null}"#);
    assert_eq!(ping, Ok(Request::Ping));
}

proptest! {
    #[test]
    fn any_text_is_a_request_or_an_error(text in ".{0,200}") {
        let _ = Request::parse(&text);
    }
}
