//! The JSON texts. Reading is strict where a mistake could hide (a key twice, a wrong type, bytes after the
//! end) and lenient where the future lies (unknown keys are ignored).

use serde::{Deserialize, Serialize};

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
            "hello" => match raw.mode.as_deref() {
                None | Some("content") => {
                    Ok(Request::Hello(Hello { token: raw.token, document: raw.document, name: raw.name }))
                }
                Some("edits") => {
                    let message = "the mode \"edits\" does not exist yet; leave the mode out";
                    Err(ProtocolError::new(ErrorCode::Unsupported, message))
                }
                Some(_) => Err(ProtocolError::new(ErrorCode::Unsupported, "the only mode is \"content\"")),
            },
            "update_request" => {
                let content = raw.content.ok_or_else(|| bad("update_request without content"))?;
                if content.len() > limits::MAX_DOCUMENT_BYTES {
                    let message = format!("the content has {} bytes", content.len());
                    return Err(ProtocolError::new(ErrorCode::TooLarge, message));
                }
                let (base, document, request_id) = (raw.base, raw.document, raw.request_id);
                Ok(Request::Update(Update { content, base, document, request_id }))
            }
            "ping" => Ok(Request::Ping),
            _ => Err(bad("an unknown type; known are hello, update_request and ping")),
        }
    }
}

/// The answers, in the order in which their keys are written.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Answer<'a> {
    ContentUpdate { content: &'a str, version: &'a str, document: &'a str },
    UpdateResult { version: &'a str, merged: bool, request_id: &'a str },
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
        assert_eq!(code(r#"{"type":"hello","mode":"edits"}"#), "unsupported");
        assert_eq!(code(&format!(r#"{{"type":"hello","name":"{}"}}"#, "n".repeat(300))), "too_large");
        let long = "a".repeat(limits::MAX_DOCUMENT_BYTES + 1);
        assert_eq!(code(&format!(r#"{{"type":"update_request","content":"{long}"}}"#)), "too_large");
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
