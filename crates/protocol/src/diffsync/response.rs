//! What a server says, as JSON objects, one a line.

use serde::{Deserialize, Serialize};

use super::checksum::Sum;
use super::request::Numbered;
use crate::error::{ErrorCode, ProtocolError};
use crate::json::{bad, check_depth, json};
use crate::limits;

/// The answer to `Connect`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConnectOk {
    /// The document's path.
    pub doc: String,
    /// The session is known: nothing is reset, and no text is sent.
    pub resumed: bool,
    /// The text, in a new session.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// The client's version that the server has.
    pub n: u64,
    /// The server's version.
    pub m: u64,
    /// The checksum of the text of a new session, or of the server's shadow.
    #[serde(with = "as_text")]
    pub sum: Sum,
    /// The last request that was carried out.
    pub last_seq: u64,
    /// How many characters were ever inserted or deleted: the document's version as people count it.
    pub version: u64,
    /// When the document last changed, in milliseconds since 1970; 0 if not known.
    pub changed_ms: u64,
    /// The compression that is used from now on, if one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub compress: Option<String>,
    /// Requests may wait for news.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub wait: bool,
}

/// The server's edits, and which of the client's it has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServerSync {
    /// Which document.
    #[serde(default)]
    pub doc: String,
    /// Which request this answers.
    pub seq: u64,
    /// The client's version that the server has.
    pub n_ack: u64,
    /// The server's edits that were not acknowledged, oldest first.
    #[serde(deserialize_with = "super::bounded::told_edits")]
    pub edits: Vec<Numbered>,
    /// The checksum of the server's shadow after them.
    #[serde(with = "as_text")]
    pub sum: Sum,
}

/// Both sides begin anew from this text; the client keeps its own edits and applies them again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Resync {
    /// Which document.
    #[serde(default)]
    pub doc: String,
    /// Which request this answers.
    pub seq: u64,
    /// The client's edits made at versions before this one were entered; no others were.
    pub n_ack: u64,
    /// The client's version from now on.
    pub n: u64,
    /// The server's version from now on.
    pub m: u64,
    /// The text.
    pub text: String,
    /// Its checksum.
    #[serde(with = "as_text")]
    pub sum: Sum,
}

/// One change of a document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// Who; may be empty.
    pub author: String,
    /// How it came.
    pub channel: String,
    /// Characters inserted.
    pub inserted: u64,
    /// Characters deleted.
    pub deleted: u64,
    /// The document's version after it.
    pub version: u64,
}

/// A message from a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// A document is open.
    ConnectOk(ConnectOk),
    /// A step.
    Sync(ServerSync),
    /// A fresh start.
    Resync(Resync),
    /// There is news: send a `ClientSync`.
    Poke {
        /// Of which document.
        doc: String,
    },
    /// What happened to a document, oldest first.
    History {
        /// Which document.
        doc: String,
        /// The newest changes.
        entries: Vec<HistoryEntry>,
    },
    /// Is anybody there?
    Ping,
    /// Yes.
    Pong,
    /// The server goes; come back with the same session.
    Disconnect,
    /// Something was wrong.
    Error(ProtocolError),
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum JsonResponse<'a> {
    ConnectOk(&'a ConnectOk),
    ServerSync(&'a ServerSync),
    Resync(&'a Resync),
    Poke { doc: &'a str },
    History { doc: &'a str, entries: &'a [HistoryEntry] },
    Ping,
    Pong,
    Disconnect,
}

/// Reading a response, the type first and then its keys: a client trusts its hub more than a hub its clients,
/// but a key that comes twice is refused all the same.
#[derive(Deserialize)]
struct TypeOnly<'a> {
    #[serde(borrow)]
    r#type: std::borrow::Cow<'a, str>,
}

impl Response {
    /// The message as it is sent.
    pub fn to_json(&self) -> String {
        match self {
            Response::ConnectOk(ok) => json(&JsonResponse::ConnectOk(ok)),
            Response::Sync(sync) => json(&JsonResponse::ServerSync(sync)),
            Response::Resync(resync) => json(&JsonResponse::Resync(resync)),
            Response::Poke { doc } => json(&JsonResponse::Poke { doc }),
            Response::History { doc, entries } => json(&JsonResponse::History { doc, entries }),
            Response::Ping => json(&JsonResponse::Ping),
            Response::Pong => json(&JsonResponse::Pong),
            Response::Disconnect => json(&JsonResponse::Disconnect),
            Response::Error(error) => error.to_json(),
        }
    }

    /// Reads a message.
    pub fn parse(text: &str) -> Result<Response, ProtocolError> {
        #[derive(Deserialize)]
        struct Doc {
            doc: String,
        }
        #[derive(Deserialize)]
        struct Entries {
            doc: String,
            entries: Vec<HistoryEntry>,
        }
        #[derive(Deserialize)]
        struct Wrong {
            code: String,
            message: String,
        }
        fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ProtocolError> {
            serde_json::from_str(text).map_err(|error| super::bounded::refused(&error))
        }
        check_depth(text)?;
        let kind: TypeOnly<'_> = read(text)?;
        Ok(match &*kind.r#type {
            "ConnectOk" => Response::ConnectOk(read(text)?),
            "ServerSync" => Response::Sync(read(text)?),
            "Resync" => Response::Resync(read(text)?),
            "Poke" => Response::Poke { doc: read::<Doc>(text)?.doc },
            "History" => {
                let Entries { doc, entries } = read(text)?;
                Response::History { doc, entries }
            }
            "Ping" => Response::Ping,
            "Pong" => Response::Pong,
            "Disconnect" => Response::Disconnect,
            "error" => {
                let Wrong { code, mut message } = read(text)?;
                let end = message.floor_char_boundary(limits::MAX_ERROR_TEXT);
                message.truncate(end);
                Response::Error(ProtocolError::new(ErrorCode::of(&code), message))
            }
            _ => return Err(bad("an unknown type")),
        })
    }
}

/// A checksum as text.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::Sum;

    pub fn serialize<S: Serializer>(sum: &Sum, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(sum)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Sum, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::delta::Delta;
    use super::*;

    #[test]
    fn what_was_told_and_comes_again_may_have_more_steps_than_one_request() {
        let delta = Arc::new(serde_json::from_value(vec!["+"; limits::MAX_DELTA_STEPS / 2].into()).unwrap());
        let sync = |count| {
            let edits = vec![(0, Arc::clone(&delta)); count];
            let sum = Sum::default();
            Response::Sync(ServerSync { doc: "d".into(), seq: 1, n_ack: 1, edits, sum })
        };
        assert!(Response::parse(&sync(3).to_json()).is_ok());
        let endless = sync(0).to_json().replace("[]", &format!("[{}]", vec!["[0,[]]"; 1_000].join(",")));
        assert_eq!(Response::parse(&endless).unwrap_err().code, ErrorCode::TooLarge);
    }

    #[test]
    fn responses_are_as_documented() {
        let sum = Sum::of("a");
        let ok = ConnectOk {
            doc: "a.txt".into(),
            resumed: false,
            text: Some("a".into()),
            n: 0,
            m: 0,
            sum,
            last_seq: 0,
            version: 1,
            changed_ms: 5,
            compress: None,
            wait: false,
        };
        let delta = Arc::new(Delta::of(&[syncline_engine::Edit::delete(0..1)], 1));
        let resync = Resync { doc: "a.txt".into(), seq: 4, n_ack: 1, n: 1, m: 3, text: "a".into(), sum };
        let entry = HistoryEntry {
            time_ms: 1,
            author: "ann".into(),
            channel: "file".into(),
            inserted: 2,
            deleted: 3,
            version: 5,
        };
        let cases = [
            (
                Response::ConnectOk(ok),
                r#"{"type":"ConnectOk","doc":"a.txt","resumed":false,"text":"a","n":0,"m":0,"sum":"00000000000000000000000000000061:1","last_seq":0,"version":1,"changed_ms":5}"#,
            ),
            (
                Response::Sync(ServerSync {
                    doc: "d".into(),
                    seq: 1,
                    n_ack: 2,
                    edits: vec![(3, delta)],
                    sum,
                }),
                r#"{"type":"ServerSync","doc":"d","seq":1,"n_ack":2,"edits":[[3,["-1"]]],"sum":"00000000000000000000000000000061:1"}"#,
            ),
            (
                Response::Resync(resync),
                r#"{"type":"Resync","doc":"a.txt","seq":4,"n_ack":1,"n":1,"m":3,"text":"a","sum":"00000000000000000000000000000061:1"}"#,
            ),
            (Response::Poke { doc: "d".into() }, r#"{"type":"Poke","doc":"d"}"#),
            (
                Response::History { doc: "d".into(), entries: vec![entry] },
                r#"{"type":"History","doc":"d","entries":[{"time_ms":1,"author":"ann","channel":"file","inserted":2,"deleted":3,"version":5}]}"#,
            ),
            (Response::Pong, r#"{"type":"Pong"}"#),
        ];
        for (response, text) in cases {
            assert_eq!(response.to_json(), text);
            assert_eq!(Response::parse(text), Ok(response));
        }
        let error = ProtocolError::new(ErrorCode::TooLarge, "é".repeat(limits::MAX_ERROR_TEXT));
        let Ok(Response::Error(read)) = Response::parse(&error.to_json()) else { panic!("no error") };
        assert_eq!(read.code, ErrorCode::TooLarge);
        assert!(read.message.len() <= limits::MAX_ERROR_TEXT);
    }

    proptest! {
        #[test]
        fn any_text_is_a_response_or_an_error(text in ".{0,200}") {
            let _ = Response::parse(&text);
        }
    }
}
