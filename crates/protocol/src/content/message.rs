//! The JSON texts. Reading is strict where a mistake could hide (a key twice, a wrong type, bytes after the
//! end) and lenient where the future lies (unknown keys are ignored).

use serde::{Deserialize, Serialize};

use super::edits::{EditRequest, News, Step, Steps};
use super::presence::{Marks, Present, check_color};
use super::unit::Unit;
use crate::error::{ErrorCode, ProtocolError};
use crate::json::{bad, check_depth, describe, json};
use crate::limits;

/// Who asks, for which document.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Hello {
    /// The secret, where the address carries none.
    pub token: Option<String>,
    /// The document's path; without one, the only one there is.
    pub document: Option<String>,
    /// A readable name.
    pub name: Option<String>,
    /// In what colour others see the client's cursor: `#rrggbb`.
    pub color: Option<String>,
    /// The client says and hears what changed, with positions in this unit. `None`: whole texts.
    pub edits: Option<Unit>,
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token is left out: what is debug-printed may end in a log.
        f.debug_struct("Hello")
            .field("document", &self.document)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A new text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Update {
    /// The whole text.
    pub content: String,
    /// The version it was made from.
    pub base: Option<String>,
    /// Which document, if the client wants that checked.
    pub document: Option<String>,
    /// A name for this request: it is answered, and a repeat of it gets the same answer.
    pub request_id: Option<String>,
}

/// A message from a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// The greeting.
    Hello(Hello),
    /// An upload.
    Update(Update),
    /// What changed, from a client of the mode `edits`.
    Edit(EditRequest),
    /// Where the client's cursor is.
    Presence(Marks),
    /// Which documents are there?
    List,
    /// Is anybody there? Answered by `pong`.
    Ping,
}

/// Every key that has a meaning, so that each can come only once, whatever the type.
#[derive(Deserialize)]
struct Raw {
    r#type: String,
    token: Option<String>,
    document: Option<String>,
    mode: Option<String>,
    name: Option<String>,
    content: Option<String>,
    base: Option<String>,
    request_id: Option<String>,
}

/// What a hello may have besides. Read by itself: a client of the mode `content` may mean something else by these
/// keys, which are unknown there.
#[derive(Deserialize)]
struct RawGreeting {
    unit: Option<String>,
    color: Option<String>,
}

#[derive(Deserialize)]
struct RawEdits {
    edits: Option<Steps>,
}

#[derive(Deserialize)]
struct RawMarks {
    version: Option<String>,
    cursor: Option<usize>,
    anchor: Option<usize>,
}

impl Request {
    /// Reads a message. Whatever is wrong with it is one error, and nothing of it is done.
    pub fn parse(text: &str) -> Result<Request, ProtocolError> {
        check_depth(text)?;
        let raw: Raw = serde_json::from_str(text).map_err(|error| describe(&error))?;
        let short = [
            (&raw.token, limits::MAX_NAME, "token"),
            (&raw.name, limits::MAX_NAME, "name"),
            (&raw.document, limits::MAX_PATH, "document"),
            (&raw.base, limits::MAX_REQUEST_ID, "base"),
            (&raw.request_id, limits::MAX_REQUEST_ID, "request_id"),
        ];
        for (value, most, what) in short {
            if value.as_ref().is_some_and(|value| value.len() > most) {
                let message = format!("{what} is longer than {most} bytes");
                return Err(ProtocolError::new(ErrorCode::TooLarge, message));
            }
        }
        match raw.r#type.as_str() {
            "hello" => {
                let hello =
                    Hello { token: raw.token, document: raw.document, name: raw.name, ..Hello::default() };
                match raw.mode.as_deref() {
                    None | Some("content") => Ok(Request::Hello(hello)),
                    Some("edits") => greeting(text, hello).map(Request::Hello),
                    Some(_) => {
                        let message = "the modes are \"content\" and \"edits\"";
                        Err(ProtocolError::new(ErrorCode::Unsupported, message))
                    }
                }
            }
            "update_request" => {
                let content = raw.content.ok_or_else(|| bad("update_request without content"))?;
                if content.len() > limits::MAX_DOCUMENT_BYTES {
                    let message = format!("the content has {} bytes", content.len());
                    return Err(ProtocolError::new(ErrorCode::TooLarge, message));
                }
                let (base, document, request_id) = (raw.base, raw.document, raw.request_id);
                Ok(Request::Update(Update { content, base, document, request_id }))
            }
            "edit_request" => {
                let RawEdits { edits } = again(text)?;
                let Steps(edits) = edits.ok_or_else(|| bad("edit_request without edits"))?;
                let base = raw.base.ok_or_else(|| bad("edit_request without base"))?;
                let request_id = raw.request_id.ok_or_else(|| bad("edit_request without request_id"))?;
                Ok(Request::Edit(EditRequest { base, edits, document: raw.document, request_id }))
            }
            "presence" => {
                let RawMarks { version, cursor, anchor } = again(text)?;
                let version = version.ok_or_else(|| bad("presence without version"))?;
                if version.len() > limits::MAX_REQUEST_ID {
                    let message = format!("version is longer than {} bytes", limits::MAX_REQUEST_ID);
                    return Err(ProtocolError::new(ErrorCode::TooLarge, message));
                }
                Ok(Request::Presence(Marks { version, cursor, anchor }))
            }
            "list" => Ok(Request::List),
            "ping" => Ok(Request::Ping),
            _ => Err(bad(
                "an unknown type; known are hello, update_request, edit_request, presence, list and ping",
            )),
        }
    }
}

/// Reads a message once more, for the keys that only its type has.
fn again<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ProtocolError> {
    serde_json::from_str(text).map_err(|error| describe(&error))
}

fn greeting(text: &str, hello: Hello) -> Result<Hello, ProtocolError> {
    let RawGreeting { unit, color } = again(text)?;
    let unit = match unit.as_deref() {
        None => Unit::Scalar,
        Some(name) => Unit::of(name).ok_or_else(|| {
            ProtocolError::new(ErrorCode::Unsupported, "the units are \"scalar\", \"utf16\" and \"utf8\"")
        })?,
    };
    color.as_deref().map_or(Ok(()), check_color)?;
    Ok(Hello { color, edits: Some(unit), ..hello })
}

/// The answers, in the order in which their keys are written.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Answer<'a> {
    ContentUpdate {
        content: &'a str,
        version: &'a str,
        document: &'a str,
    },
    UpdateResult {
        version: &'a str,
        merged: bool,
        request_id: &'a str,
    },
    EditUpdate {
        base: &'a str,
        version: &'a str,
        edits: &'a [Step],
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    },
    PresenceUpdate {
        version: &'a str,
        others: &'a [Present],
    },
    Documents {
        documents: &'a [String],
        more: bool,
    },
    Pong,
}

/// `content_update`: the text as it is now.
pub fn update_json(content: &str, version: &str, document: &str) -> String {
    json(&Answer::ContentUpdate { content, version, document })
}

/// `update_result`: the answer to an upload that carried a `request_id`.
pub(super) fn result_json(version: &str, merged: bool, request_id: &str) -> String {
    json(&Answer::UpdateResult { version, merged, request_id })
}

/// `edit_update`: what changed; with a `request_id`, the answer to that request.
pub(super) fn edits_json(news: &News, request_id: Option<&str>) -> String {
    let News { base, version, edits, .. } = news;
    json(&Answer::EditUpdate { base, version, edits, request_id })
}

/// `presence_update`: everybody else who is here, at the version that the client was sent last.
pub(super) fn presence_json(version: &str, others: &[Present]) -> String {
    json(&Answer::PresenceUpdate { version, others })
}

/// `documents`: the first [`limits::MAX_LISTED`] paths, and whether there are more.
pub(super) fn documents_json(paths: &[String]) -> String {
    let documents = paths.get(..limits::MAX_LISTED).unwrap_or(paths);
    json(&Answer::Documents { documents, more: documents.len() < paths.len() })
}

/// An error as the answer to a request that has a name.
pub(super) fn refused_json(error: &ProtocolError, request_id: &str) -> String {
    #[derive(Serialize)]
    struct Refused<'a> {
        r#type: &'a str,
        code: &'a str,
        message: &'a str,
        hint: &'a str,
        request_id: &'a str,
    }
    let (code, hint) = (error.code.code(), error.code.hint());
    json(&Refused { r#type: "error", code, message: &error.message, hint, request_id })
}

/// `pong`.
pub(super) fn pong_json() -> String {
    json(&Answer::Pong)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(text: &str) -> &'static str {
        match Request::parse(text) {
            Ok(request) => panic!("{text:.100} was read as {request:?}"),
            Err(error) => error.code.code(),
        }
    }

    #[test]
    fn what_the_simplest_client_sends_is_read() {
        let request = Request::parse(r#"{"type":"update_request","content":"a\nb \ud83d\ude00"}"#).unwrap();
        let content = "a\nb \u{1f600}".to_owned();
        let update = Update { content, base: None, document: None, request_id: None };
        assert_eq!(request, Request::Update(update));
        let unknown = r#" {"content":"","future":[1.5e400,{"a":null}],"type":"update_request","base":"v"} "#;
        assert!(matches!(Request::parse(unknown), Ok(Request::Update(update)) if update.base.is_some()));
        assert!(matches!(Request::parse(r#"{"type":"hello"}"#), Ok(Request::Hello(_))));
        assert_eq!(Request::parse(r#"{"type":"ping"}"#), Ok(Request::Ping));
    }

    #[test]
    fn bad_json_is_one_error() {
        let deep = format!(r#"{{"type":"ping","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let cases = [
            deep.as_str(),
            "",
            "null",
            "[]",
            "7",
            "{}",
            "\u{feff}{\"type\":\"ping\"}",
            r#"{"type":"ping"}{"type":"ping"}"#,
            r#"{"type":"ping"} x"#,
            r#"{"type":"ping","type":"ping"}"#,
            r#"{"type":"update_request","content":"a","content":"b"}"#,
            r#"{"type":"update_request","content":"\ud800"}"#,
            r#"{"type":"update_request","content":"\udc00\ud800"}"#,
            r#"{"type":"update_request","content":7}"#,
            r#"{"type":"update_request","content":null}"#,
            r#"{"type":"update_request"}"#,
            r#"{"type":"update_request","content":"a","base":-1}"#,
            r#"{"type":"update_request","content":"a","base":1.5}"#,
            r#"{"type":"update_request","content":"a","base":1e400}"#,
            r#"{"type":"update_request","content":"a","base":18446744073709551616}"#,
            r#"{"type":"update_request","content":"a","request_id":9007199254740993}"#,
            r#"{"type":"content_update","content":"a"}"#,
            "{\"type\":\"update_request\",\"content\":\"a\nb\"}",
            r#"{'type':'ping'}"#,
        ];
        for text in cases {
            assert_eq!(code(text), "bad_message", "{text:.100}");
        }
        assert_eq!(code(r#"{"type":"hello","mode":"both"}"#), "unsupported");
        assert_eq!(code(r#"{"type":"hello","mode":"edits","unit":"bytes"}"#), "unsupported");
        let of_edits = [
            r#"{"type":"hello","mode":"edits","color":"red"}"#,
            r#"{"type":"edit_request","base":"v","request_id":"r"}"#,
            r#"{"type":"edit_request","edits":[],"request_id":"r"}"#,
            r#"{"type":"edit_request","base":"v","edits":[]}"#,
            r#"{"type":"edit_request","base":"v","request_id":"r","edits":[{"insert":"x"}]}"#,
            r#"{"type":"edit_request","base":"v","request_id":"r","edits":[{"at":-1}]}"#,
            r#"{"type":"edit_request","base":"v","request_id":"r","edits":[{"at":1.5}]}"#,
            r#"{"type":"edit_request","base":"v","request_id":"r","edits":[{"at":1,"at":2}]}"#,
            r#"{"type":"edit_request","base":"v","request_id":"r","edits":{"at":1}}"#,
            r#"{"type":"presence","cursor":1}"#,
            r#"{"type":"presence","version":"v","cursor":-1}"#,
        ];
        for text in of_edits {
            assert_eq!(code(text), "bad_message", "{text}");
        }
        let many = vec![r#"{"at":0}"#; limits::MAX_EDITS + 1].join(",");
        assert_eq!(
            code(&format!(r#"{{"type":"edit_request","base":"v","request_id":"r","edits":[{many}]}}"#)),
            "bad_message"
        );
        assert_eq!(code(&format!(r#"{{"type":"hello","name":"{}"}}"#, "n".repeat(300))), "too_large");
        let long = "a".repeat(limits::MAX_DOCUMENT_BYTES + 1);
        assert_eq!(code(&format!(r#"{{"type":"update_request","content":"{long}"}}"#)), "too_large");
    }

    #[test]
    fn what_a_client_of_edits_sends_is_read() {
        let hello = r##"{"type":"hello","mode":"edits","unit":"utf16","color":"#a0b0c0","name":"ann"}"##;
        let expected = Hello {
            name: Some("ann".into()),
            color: Some("#a0b0c0".into()),
            edits: Some(Unit::Utf16),
            ..Hello::default()
        };
        assert_eq!(Request::parse(hello), Ok(Request::Hello(expected)));
        let edit = r#"{"type":"edit_request","base":"v","request_id":"r","edits":[{"at":3},{"at":5,"delete":2,"insert":"x"}]}"#;
        let Ok(Request::Edit(edit)) = Request::parse(edit) else { panic!("not read") };
        assert_eq!((edit.edits[0].at, edit.edits[1].delete, edit.edits[1].insert.as_str()), (3, 2, "x"));
        let presence = r#"{"type":"presence","version":"v","cursor":3}"#;
        let marks = Marks { version: "v".into(), cursor: Some(3), anchor: None };
        assert_eq!(Request::parse(presence), Ok(Request::Presence(marks)));
        assert_eq!(Request::parse(r#"{"type":"list"}"#), Ok(Request::List));
    }

    /// To the simplest clients these keys are unknown ones, whatever is in them.
    #[test]
    fn keys_of_edits_mean_nothing_to_the_simplest_clients() {
        for extra in [r#""version":7"#, r#""edits":"x""#, r#""cursor":"here","unit":[],"color":5"#] {
            let text = format!(r#"{{"type":"update_request","content":"a",{extra}}}"#);
            assert!(matches!(Request::parse(&text), Ok(Request::Update(_))), "{text}");
            assert!(matches!(
                Request::parse(&format!(r#"{{"type":"hello",{extra}}}"#)),
                Ok(Request::Hello(_))
            ));
        }
    }

    #[test]
    fn brackets_in_a_text_are_not_nesting() {
        let content = format!("{}\\\"{}", "[{".repeat(1_000), "\"".repeat(3));
        let text = serde_json::json!({"type": "update_request", "content": content}).to_string();
        assert!(matches!(Request::parse(&text), Ok(Request::Update(update)) if update.content == content));
    }

    #[test]
    fn answers_are_as_documented() {
        assert_eq!(
            update_json("a\"b\n", "v1", "x/y.txt"),
            r#"{"type":"content_update","content":"a\"b\n","version":"v1","document":"x/y.txt"}"#
        );
        assert_eq!(
            result_json("v1", true, "r"),
            r#"{"type":"update_result","version":"v1","merged":true,"request_id":"r"}"#
        );
        assert_eq!(pong_json(), r#"{"type":"pong"}"#);
        let news = News {
            base: "v1".into(),
            version: "v2".into(),
            edits: vec![Step { at: 3, delete: 0, insert: "x".into() }],
            others: None,
        };
        assert_eq!(
            edits_json(&news, None),
            r#"{"type":"edit_update","base":"v1","version":"v2","edits":[{"at":3,"delete":0,"insert":"x"}]}"#
        );
        assert!(edits_json(&news, Some("r")).ends_with(r#","request_id":"r"}"#));
        let ann = Present { id: 3, name: "ann".into(), color: None, cursor: Some(5), anchor: None };
        assert_eq!(
            presence_json("v2", &[ann]),
            r#"{"type":"presence_update","version":"v2","others":[{"id":3,"name":"ann","cursor":5}]}"#
        );
        assert_eq!(
            documents_json(&["a.txt".to_owned()]),
            r#"{"type":"documents","documents":["a.txt"],"more":false}"#
        );
        let refused = refused_json(&ProtocolError::new(ErrorCode::BadBase, "no"), "r");
        assert!(refused.contains(r#""code":"bad_base""#) && refused.ends_with(r#""request_id":"r"}"#));
    }

    proptest! {
        #[test]
        fn any_text_is_a_request_or_an_error(text in ".{0,200}") {
            let _ = Request::parse(&text);
        }

        #[test]
        fn any_content_survives(content in any::<String>()) {
            let json = update_json(&content, "v", "d");
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(value["content"].as_str(), Some(content.as_str()));
        }
    }
}
