//! What a hostile or broken client can say: a clear answer, nothing entered, and the next client is served.

use syncline_engine::{Edit, Version};
use syncline_protocol::diffsync::{Answer, ClientSync, Request, Server, Sum};

use super::history::Kept;

const TEXT: &str = "naïve 🌍 text";

fn sync(json: &str) -> ClientSync {
    let json = format!(r#"{{"type":"ClientSync","doc":"d",{json}}}"#);
    match Request::parse(&json) {
        Ok(Request::Sync(sync)) => sync,
        other => panic!("{json}: {other:?}"),
    }
}

fn server(kept: &mut Kept) -> Server<Version> {
    use syncline_protocol::diffsync::History;
    Server::new(kept.now())
}

#[test]
fn what_does_not_fit_is_answered_by_a_resync_and_enters_nothing() {
    let sum = Sum::of(TEXT);
    let of = |text: &str| Sum::of(text);
    let max = u64::MAX;
    let cases = [
        (
            "a delta that is too short",
            format!(r#""seq":1,"m_ack":0,"edits":[[0,["=3","+x"]]],"sum":"{sum}""#),
        ),
        (
            "a delta that is too long",
            format!(r#""seq":1,"m_ack":0,"edits":[[0,["=13","+x"]]],"sum":"{sum}""#),
        ),
        (
            "counted in bytes, it ends inside a character",
            format!(r#""seq":1,"m_ack":0,"edits":[[0,["=3","+x","=14"]]],"sum":"{sum}""#),
        ),
        ("a deletion beyond the end", format!(r#""seq":1,"m_ack":0,"edits":[[0,["-{max}"]]],"sum":"{sum}""#)),
        (
            "counts that overflow",
            format!(r#""seq":1,"m_ack":0,"edits":[[0,["={max}","={max}"]]],"sum":"{sum}""#),
        ),
        ("a wrong checksum", format!(r#""seq":1,"m_ack":0,"edits":[[0,["+x","=12"]]],"sum":"{sum}""#)),
        ("no checksum", r#""seq":1,"m_ack":0,"edits":[[0,["+x","=12"]]]"#.to_owned()),
        (
            "an edit from the future",
            format!(r#""seq":1,"m_ack":0,"edits":[[1,["+x","=12"]]],"sum":"{}""#, of("xnaïve 🌍 text")),
        ),
        (
            "a gap between edits",
            format!(r#""seq":1,"m_ack":0,"edits":[[0,["=12"]],[2,["=12"]]],"sum":"{sum}""#),
        ),
        ("an acknowledgement from the future", format!(r#""seq":1,"m_ack":7,"edits":[],"sum":"{sum}""#)),
        ("the last acknowledgement there is", format!(r#""seq":1,"m_ack":{max},"edits":[],"sum":"{sum}""#)),
        ("the last request there is", format!(r#""seq":{max},"m_ack":{max},"edits":[],"sum":"{sum}""#)),
    ];
    for (what, json) in cases {
        let mut kept = Kept::new(TEXT);
        let mut server = server(&mut kept);
        let step = server.sync(&sync(&json), &mut kept).unwrap();
        let Answer::Resync(resync) = step.answer else { panic!("{what}: {:?}", step.answer) };
        assert_eq!((resync.text.as_str(), resync.n_ack, step.entered), (TEXT, 0, false), "{what}");
        assert_eq!((kept.text().as_str(), kept.entered), (TEXT, 0), "{what}");
        assert!(server.invariants_hold(), "{what}");
        // Whoever goes on from the resync is served.
        if resync.seq < max {
            let next = format!(
                r#""seq":{},"m_ack":{},"edits":[[0,["+x","=12"]]],"sum":"{}""#,
                resync.seq + 1,
                resync.m,
                of("xnaïve 🌍 text")
            );
            let step = server.sync(&sync(&next), &mut kept).unwrap();
            assert!(matches!(step.answer, Answer::Sync(_)), "{what}: {:?}", step.answer);
            assert_eq!(kept.text(), "xnaïve 🌍 text", "{what}");
        }
    }
}

#[test]
fn an_edit_twice_in_one_message_enters_once_or_not_at_all() {
    let mut kept = Kept::new("ab");
    let mut server = server(&mut kept);
    let twice =
        format!(r#""seq":1,"m_ack":0,"edits":[[0,["+x","=2"]],[0,["+x","=2"]]],"sum":"{}""#, Sum::of("xab"));
    assert!(matches!(server.sync(&sync(&twice), &mut kept).unwrap().answer, Answer::Sync(_)));
    assert_eq!(kept.text(), "xab");
}

#[test]
fn what_the_document_does_not_take_leaves_the_session_as_it_was() {
    let mut kept = Kept::new("ab");
    let mut server = server(&mut kept);
    let request = sync(&format!(r#""seq":1,"m_ack":0,"edits":[[0,["+x","=2"]]],"sum":"{}""#, Sum::of("xab")));
    kept.refuse = true;
    let before = server.parts();
    assert!(server.sync(&request, &mut kept).is_err());
    assert_eq!(server.parts(), before);
    kept.refuse = false;
    assert!(
        matches!(server.sync(&request, &mut kept).unwrap().answer, Answer::Sync(_)),
        "the same request again"
    );
    assert_eq!(kept.text(), "xab");
}

#[test]
fn endless_resyncs_do_not_wear_the_numbers_out() {
    let mut kept = Kept::new("ab");
    let mut server = server(&mut kept);
    for seq in 1..1_000 {
        let request = sync(&format!(r#""seq":{seq},"m_ack":{},"edits":[]"#, u64::MAX - seq));
        assert!(matches!(server.sync(&request, &mut kept).unwrap().answer, Answer::Resync(_)));
    }
    kept.edit(&[Edit::insert(0, "x")]);
    assert!(server.invariants_hold());
    assert!(server.numbers().1 < 2_000);
}
