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

proptest! {
    #[test]
    fn any_text_is_a_request_or_an_error(text in ".{0,200}") {
        let _ = Request::parse(&text);
    }
}
