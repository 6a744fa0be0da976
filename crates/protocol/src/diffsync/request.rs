//! What a client says, as JSON objects, one a line. Reading is strict where a mistake could hide (a key twice, a
//! wrong type, bytes after the end) and lenient where the future lies (unknown keys are ignored).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bounded;
use super::checksum::Sum;
use super::delta::Delta;
use super::session_id::SessionId;
use crate::error::{ErrorCode, ProtocolError};
use crate::json::{bad, check_depth, json};
use crate::limits;

/// The version of the protocol.
pub const PROTO: u64 = 1;

/// A delta with the version it was made at: the sender's own number (n of a client, m of a server).
pub type Numbered = (u64, Arc<Delta>);

/// Who asks, for which document.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Connect {
    /// The session, new or known; `None` only before it is set.
    pub session: Option<SessionId>,
    /// The document's path; without one, the only one there is.
    pub doc: Option<String>,
    /// The token. Later documents on one connection need none.
    pub auth: Option<String>,
    /// A readable name.
    pub name: Option<String>,
    /// The compressions that the client knows.
    pub compress: Vec<String>,
    /// The client would like its requests to wait for news.
    pub wait: bool,
}

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token is left out: what is debug-printed may end in a log.
        f.debug_struct("Connect").field("doc", &self.doc).field("name", &self.name).finish_non_exhaustive()
    }
}

/// The client's edits, and which of the server's it has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientSync {
    /// Which document.
    pub doc: String,
    /// The session, if the client repeats it.
    pub session: Option<SessionId>,
    /// Counts this client's requests.
    pub seq: u64,
    /// The server's version that the client has.
    pub m_ack: u64,
    /// All edits that were not acknowledged, oldest first.
    pub edits: Vec<Numbered>,
    /// The checksum of the client's shadow after them; without one, a `Resync` is asked for.
    pub sum: Option<Sum>,
    /// If there is nothing to say, the answer may wait until there is.
    pub wait: bool,
}

/// What a client has whose session is not known any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientReturn {
    /// Which document.
    pub doc: String,
    /// Counts this client's requests.
    pub seq: u64,
    /// The client's shadow before its first unacknowledged edit.
    pub shadow: String,
    /// The client's text now.
    pub text: String,
    /// The checksum of the shadow.
    pub sum: Sum,
}

/// A message from a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Opens a document.
    Connect(Connect),
    /// A step.
    Sync(ClientSync),
    /// The client comes back to a server that has forgotten it.
    Return(ClientReturn),
    /// What happened to the document?
    History {
        /// Which document.
        doc: String,
    },
    /// Is anybody there? Answered by `Pong`.
    Ping,
    /// Yes.
    Pong,
    /// The client goes in good order; its session is kept.
    Disconnect,
}

/// Every key of a request that has a meaning, so that each can come only once, whatever the type.
#[derive(Deserialize)]
struct RawRequest {
    r#type: String,
    proto: Option<u64>,
    session: Option<String>,
    doc: Option<String>,
    auth: Option<String>,
    name: Option<String>,
    #[serde(default, deserialize_with = "bounded::some_packings")]
    compress: Option<Vec<String>>,
    wait: Option<bool>,
    seq: Option<u64>,
    m_ack: Option<u64>,
    #[serde(default, deserialize_with = "bounded::some_edits")]
    edits: Option<Vec<Numbered>>,
    sum: Option<String>,
    shadow: Option<String>,
    text: Option<String>,
}

fn missing(key: &str) -> ProtocolError {
    bad(format!("the key {key:?} is missing"))
}

impl Request {
    /// Reads a message. Whatever is wrong with it is one error, and nothing of it is done.
    pub fn parse(text: &str) -> Result<Request, ProtocolError> {
        check_depth(text)?;
        let raw: RawRequest = serde_json::from_str(text).map_err(|error| bounded::refused(&error))?;
        raw.check_lengths()?;
        if raw.seq == Some(0) {
            return Err(bad("requests are numbered from 1"));
        }
        let session = raw.session.as_deref().map(str::parse).transpose();
        let session = session.map_err(|error: super::SessionIdError| bad(error.to_string()))?;
        let sum = raw.sum.as_deref().map(str::parse).transpose();
        let sum = sum.map_err(|error: super::SumError| bad(error.to_string()))?;
        match raw.r#type.as_str() {
            "Connect" => {
                if raw.proto.ok_or_else(|| missing("proto"))? != PROTO {
                    let message = format!("this hub speaks proto {PROTO}");
                    return Err(ProtocolError::new(ErrorCode::UnsupportedVersion, message));
                }
                let session = Some(session.ok_or_else(|| missing("session"))?);
                let compress = raw.compress.unwrap_or_default();
                let (doc, auth, name) = (raw.doc, raw.auth, raw.name);
                let wait = raw.wait.unwrap_or_default();
                Ok(Request::Connect(Connect { session, doc, auth, name, compress, wait }))
            }
            "ClientSync" => Ok(Request::Sync(ClientSync {
                doc: raw.doc.ok_or_else(|| missing("doc"))?,
                session,
                seq: raw.seq.ok_or_else(|| missing("seq"))?,
                m_ack: raw.m_ack.ok_or_else(|| missing("m_ack"))?,
                edits: raw.edits.ok_or_else(|| missing("edits"))?,
                sum,
                wait: raw.wait.unwrap_or_default(),
            })),
            "ClientReturn" => Ok(Request::Return(ClientReturn {
                doc: raw.doc.ok_or_else(|| missing("doc"))?,
                seq: raw.seq.ok_or_else(|| missing("seq"))?,
                shadow: raw.shadow.ok_or_else(|| missing("shadow"))?,
                text: raw.text.ok_or_else(|| missing("text"))?,
                sum: sum.ok_or_else(|| missing("sum"))?,
            })),
            "History" => Ok(Request::History { doc: raw.doc.ok_or_else(|| missing("doc"))? }),
            "Ping" => Ok(Request::Ping),
            "Pong" => Ok(Request::Pong),
            "Disconnect" => Ok(Request::Disconnect),
            _ => Err(bad("an unknown type; see docs/protocols/diffsync.md")),
        }
    }

    /// The message as it is sent.
    pub fn to_json(&self) -> String {
        let request = match self {
            Request::Connect(Connect { session, doc, auth, name, compress, wait }) => JsonRequest::Connect {
                proto: PROTO,
                session: session.as_ref().map(ToString::to_string),
                doc,
                auth,
                name,
                compress,
                wait: *wait,
            },
            Request::Sync(ClientSync { doc, session, seq, m_ack, edits, sum, wait }) => {
                JsonRequest::ClientSync {
                    doc,
                    session: session.as_ref().map(ToString::to_string),
                    seq: *seq,
                    m_ack: *m_ack,
                    edits,
                    sum: sum.as_ref().map(ToString::to_string),
                    wait: *wait,
                }
            }
            Request::Return(ClientReturn { doc, seq, shadow, text, sum }) => {
                JsonRequest::ClientReturn { doc, seq: *seq, shadow, text, sum: sum.to_string() }
            }
            Request::History { doc } => JsonRequest::History { doc },
            Request::Ping => JsonRequest::Ping,
            Request::Pong => JsonRequest::Pong,
            Request::Disconnect => JsonRequest::Disconnect,
        };
        json(&request)
    }
}

impl RawRequest {
    /// Of the texts: lists are counted while they are read.
    fn check_lengths(&self) -> Result<(), ProtocolError> {
        for (value, most, what) in [
            (&self.auth, limits::MAX_NAME, "auth"),
            (&self.name, limits::MAX_NAME, "name"),
            (&self.doc, limits::MAX_PATH, "doc"),
            (&self.shadow, limits::MAX_DOCUMENT_BYTES, "shadow"),
            (&self.text, limits::MAX_DOCUMENT_BYTES, "text"),
        ] {
            if value.as_ref().is_some_and(|value| value.len() > most) {
                let message = format!("{what} is longer than {most}");
                return Err(ProtocolError::new(ErrorCode::TooLarge, message));
            }
        }
        Ok(())
    }
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum JsonRequest<'a> {
    Connect {
        proto: u64,
        session: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        doc: &'a Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        auth: &'a Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: &'a Option<String>,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        compress: &'a [String],
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        wait: bool,
    },
    ClientSync {
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        doc: &'a str,
        seq: u64,
        m_ack: u64,
        edits: &'a [Numbered],
        #[serde(skip_serializing_if = "Option::is_none")]
        sum: Option<String>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        wait: bool,
    },
    ClientReturn {
        doc: &'a str,
        seq: u64,
        shadow: &'a str,
        sum: String,
        text: &'a str,
    },
    History {
        doc: &'a str,
    },
    Ping,
    Pong,
    Disconnect,
}

#[cfg(test)]
mod tests;
