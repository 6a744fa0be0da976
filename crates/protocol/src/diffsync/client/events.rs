//! What happens to a client, what comes of it, and how often.

use syncline_engine::Edit;

use super::super::response::{ConnectOk, HistoryEntry};
use super::super::session_id::SessionId;
use crate::error::ProtocolError;

/// Who the client is, and what it wants.
#[derive(Clone, Debug)]
pub struct Settings {
    /// 128 random bits, drawn by the caller.
    pub session: SessionId,
    /// The document's path; without one, the only one there is.
    pub doc: Option<String>,
    /// The token.
    pub auth: Option<String>,
    /// A readable name.
    pub name: Option<String>,
    /// Whether to offer compression.
    pub compress: bool,
    /// Whether to offer that requests wait for news: one message less for each change of others.
    pub wait: bool,
}

/// Everything that can happen to a client.
#[derive(Clone, Debug)]
pub enum ClientInput {
    /// A connection stands.
    Connected,
    /// It is gone; the caller dials again.
    Disconnected,
    /// A line, or a text message, came.
    Received(String),
    /// Somebody edits: a sorted batch against the client's text.
    Edited(Vec<Edit>),
    /// Somebody asks what happened to the document.
    AskHistory,
    /// Bytes of a message came that is not whole yet. Told before a [`ClientInput::Tick`].
    Arriving,
    /// Time has passed; wanted at the time that the client names.
    Tick,
}

/// What is to be done, or told to whoever edits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientOutput {
    /// Send this, as a line or a message.
    Send(String),
    /// The document is open.
    Opened(ConnectOk),
    /// Others changed the text: what they did, as a batch against the shadow before.
    Changed(Vec<Edit>),
    /// Everything that was typed is durable at the hub.
    Saved,
    /// Both sides began anew; nothing typed was lost.
    Resynced,
    /// What was asked for.
    History(Vec<HistoryEntry>),
    /// The hub says that something was wrong; the connection goes on.
    Refused(ProtocolError),
    /// Close the connection and dial again.
    Redial(String),
    /// Close the connection; dialing again would not help.
    GiveUp(ProtocolError),
}

/// How often things happened, for whoever wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Requests sent.
    pub requests: u64,
    /// Answers taken.
    pub answers: u64,
    /// Requests that were not answered in time.
    pub timeouts: u64,
    /// Fresh starts.
    pub resyncs: u64,
    /// Edits of this client that the hub has.
    pub acknowledged: u64,
    /// Edits of others.
    pub received: u64,
    /// Connections.
    pub connections: u64,
}
