//! The client's end of a `content` connection of the mode `edits`, as a pure state machine.
//!
//! ```text
//! base        the text at the version that the hub sent last
//! + flight    the one request that is under way: made at the base, answered by its name
//! + queued    what was typed since, to be sent as soon as the flight is answered
//! + held      what was typed and is not to be shared yet: a draft
//! = text      what the person sees and edits
//! ```
//!
//! What others changed goes below all of these, and they are mapped over it ([`rebase`]); the hub alone merges. While a
//! request is under way other updates are passed over: its answer has them all, from exactly the text it was made in.
//! A connection that breaks changes nothing here: the flight is sent again under its name, and is entered once.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncline_engine::{Edit, Text, check_batch, diff};

use super::edits::{Step, to_edits, to_steps};
use super::kept::{Kept, Layers};
use super::presence::{Present, shifted, unshifted};
use super::unit::Unit;
use crate::error::{ErrorCode, ProtocolError};
use crate::json::json;
use crate::limits;
use crate::rebase::{composed, rebase, theirs_after};

/// The first pause before a request that the hub could not take is sent again; it doubles from here.
const RETRY: Duration = Duration::from_secs(1);
/// The longest such pause.
const MAX_RETRY: Duration = Duration::from_secs(16);

/// How a client introduces itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The secret; `None` at an address that carries one.
    pub token: Option<String>,
    /// The document's path; `None`: the only one there is.
    pub document: Option<String>,
    /// A readable name.
    pub name: String,
    /// In what colour others see its cursor: `#rrggbb`.
    pub color: Option<String>,
    /// What it counts positions in on the wire.
    pub unit: Unit,
    /// What no other client and no other start of this one has: its requests are named after it.
    pub nonce: String,
}

impl std::fmt::Debug for Greeting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token is left out: what is debug-printed may end in a log.
        f.debug_struct("Greeting")
            .field("document", &self.document)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Everything that can happen to a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientInput {
    /// A connection stands.
    Connected,
    /// A text message came.
    Received(String),
    /// The connection is gone.
    Lost,
    /// The person edited [`Client::text`]: a batch against it, in scalars.
    Edited(Vec<Edit>),
    /// From now on edits are held back (`true`), or shared at once. What is held stays so until it is uploaded.
    Hold(bool),
    /// What is held is to be shared. Passed over while an upload is under way.
    Upload,
    /// The person's cursor, and the other end of the selection, in [`Client::text`].
    Moved {
        /// Where the cursor is; `None`: nowhere.
        cursor: Option<usize>,
        /// The other end of the selection.
        anchor: Option<usize>,
    },
    /// Which documents are there?
    List,
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientOutput {
    /// Send this text.
    Send(String),
    /// Drop the connection and dial again at once.
    Redial,
    /// Write this down, so that what is not sent yet outlives the program.
    Keep(Kept),
    /// Tell the person.
    Event(ClientEvent),
}

/// What a person wants to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientEvent {
    /// The document that was opened. Its text is there.
    Opened(String),
    /// Others changed the text: a batch against [`Client::text`] as it was, and what that is in the text that the hub
    /// has.
    Changed {
        /// In the text that the person edits.
        text: Vec<Edit>,
        /// In [`Client::shared`].
        shared: Vec<Edit>,
    },
    /// Everything that was to be shared is durable at the hub.
    Saved,
    /// Others came, went, or moved.
    Others,
    /// The documents that there are, and whether there are more.
    Documents(Vec<String>, bool),
    /// The hub refused something. What was typed is still here.
    Refused(ProtocolError),
}

/// The one request that is under way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Flight {
    /// Its name.
    pub request_id: String,
    /// What it says, in the base.
    pub edits: Vec<Step>,
}

/// A message of the hub.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FromHub {
    ContentUpdate {
        content: String,
        version: String,
        document: String,
    },
    EditUpdate {
        base: String,
        version: String,
        edits: Vec<Step>,
        request_id: Option<String>,
    },
    PresenceUpdate {
        others: Vec<Present>,
    },
    Documents {
        documents: Vec<String>,
        more: bool,
    },
    Error {
        code: String,
        message: String,
        request_id: Option<String>,
    },
    #[serde(other)]
    Other,
}

/// What the client sends.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToHub<'a> {
    Hello {
        mode: &'a str,
        unit: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        document: Option<&'a str>,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        color: Option<&'a str>,
    },
    EditRequest {
        base: &'a str,
        edits: &'a [Step],
        request_id: &'a str,
    },
    Presence {
        version: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        anchor: Option<usize>,
    },
    List,
}

/// One client of one document.
pub struct Client {
    greeting: Greeting,
    layers: Layers,
    /// With the flight and what is queued.
    shared: Text,
    /// With what is held, too.
    text: Text,
    hold: bool,
    requests: u64,
    connected: bool,
    /// The hub has sent its text on this connection.
    opened: bool,
    /// The hub does not know our base: its next text is taken, whatever its version.
    adopt: bool,
    retry: Option<Duration>,
    retry_in: Duration,
    others: Vec<Present>,
    marks: Option<(Option<usize>, Option<usize>)>,
    listing: bool,
    /// The answer to `list` is on its way.
    listed: bool,
}

impl Client {
    /// A client that has no text yet.
    pub fn new(greeting: Greeting) -> Client {
        Client::restored(greeting, Layers::default())
    }

    /// A client that goes on where one that was killed stopped ([`Kept::replay`]).
    pub fn restored(mut greeting: Greeting, layers: Layers) -> Client {
        // What was typed in one document is not for another one that the hub would choose today.
        greeting.document = greeting.document.or_else(|| layers.document.clone());
        let mut shared = layers.base.clone();
        if let Some(flight) = &layers.flight {
            shared.apply(&scalar_edits(&flight.edits));
        }
        shared.apply(&layers.queued);
        let mut text = shared.clone();
        text.apply(&layers.held);
        Client {
            greeting,
            layers,
            shared,
            text,
            hold: false,
            requests: 0,
            connected: false,
            opened: false,
            adopt: false,
            retry: None,
            retry_in: RETRY,
            others: Vec::new(),
            marks: None,
            listing: false,
            listed: false,
        }
    }

    /// The text that the person edits.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// The text without what is held back.
    pub fn shared(&self) -> &Text {
        &self.shared
    }

    /// Whether there is a text to show.
    pub fn has_text(&self) -> bool {
        self.layers.version.is_some()
    }

    /// Whether the hub is heard.
    pub fn is_open(&self) -> bool {
        self.connected && self.opened
    }

    /// Whether something that is to be shared is not known to be durable at the hub.
    pub fn is_waiting(&self) -> bool {
        self.layers.flight.is_some() || !self.layers.queued.is_empty()
    }

    /// Whether what is typed is held back.
    pub fn is_holding(&self) -> bool {
        self.hold
    }

    /// What is held back: a batch against [`Client::shared`].
    pub fn held(&self) -> &[Edit] {
        &self.layers.held
    }

    /// Everybody else who is here, with positions in [`Client::shared`].
    pub fn others(&self) -> Vec<Present> {
        let mut others = self.others.clone();
        let flight =
            self.layers.flight.as_ref().map(|flight| scalar_edits(&flight.edits)).unwrap_or_default();
        for other in &mut others {
            other.shift(&flight);
            other.shift(&self.layers.queued);
        }
        others
    }

    /// All that must be written down of it.
    pub fn kept(&self) -> Kept {
        Kept::whole(&self.layers)
    }

    /// Takes what happened at `now` (any clock that does not go back) and returns what to do, in order.
    pub fn handle(&mut self, input: ClientInput, now: Duration) -> Vec<ClientOutput> {
        let mut out = Vec::new();
        match input {
            ClientInput::Connected => self.greet(&mut out),
            ClientInput::Received(message) => self.received(&message, now, &mut out),
            ClientInput::Lost => {
                (self.connected, self.opened, self.listing) = (false, false, false);
                (self.retry, self.retry_in) = (None, RETRY);
                if !self.others.is_empty() {
                    self.others.clear();
                    out.push(ClientOutput::Event(ClientEvent::Others));
                }
            }
            ClientInput::Edited(edits) => self.edited(&edits, &mut out),
            ClientInput::Hold(hold) => self.hold = hold,
            ClientInput::Upload => {
                if !self.is_waiting() && !self.layers.held.is_empty() {
                    self.note(Kept::Released, &mut out);
                    self.shared = self.text.clone();
                }
            }
            ClientInput::Moved { cursor, anchor } => self.marks = Some((cursor, anchor)),
            ClientInput::List => self.listing = true,
            ClientInput::Tick => {
                if self.retry.is_some_and(|at| now >= at) {
                    self.retry = None;
                    self.send_flight(&mut out);
                }
            }
        }
        self.speak(&mut out);
        out
    }

    fn greet(&mut self, out: &mut Vec<ClientOutput>) {
        (self.connected, self.opened) = (true, false);
        let Greeting { token, document, name, color, unit, .. } = &self.greeting;
        let hello = ToHub::Hello {
            mode: "edits",
            unit: unit.name(),
            token: token.as_deref(),
            document: document.as_deref(),
            name,
            color: color.as_deref(),
        };
        out.push(ClientOutput::Send(json(&hello)));
    }

    /// Says what there is to say now.
    fn speak(&mut self, out: &mut Vec<ClientOutput>) {
        if !self.is_open() {
            return;
        }
        if self.layers.flight.is_none() && !self.layers.queued.is_empty() {
            self.requests += 1;
            let request_id = format!("{}-{}", self.greeting.nonce, self.requests);
            self.note(Kept::Sent { request_id }, out);
            self.send_flight(out);
        }
        if !self.is_waiting()
            && let Some((cursor, anchor)) = self.marks.take()
            && let Some(version) = &self.layers.version
        {
            let place = |at: Option<usize>| {
                let at = unshifted(at?, &self.layers.held).min(self.shared.len());
                self.to_wire(vec![Edit::insert(at, "")]).first().map(|step| step.at)
            };
            let presence = ToHub::Presence { version, cursor: place(cursor), anchor: place(anchor) };
            out.push(ClientOutput::Send(json(&presence)));
        }
        if std::mem::take(&mut self.listing) {
            self.listed = true;
            out.push(ClientOutput::Send(json(&ToHub::List)));
        }
    }

    fn send_flight(&mut self, out: &mut Vec<ClientOutput>) {
        if let (Some(flight), Some(base)) = (&self.layers.flight, &self.layers.version) {
            let edits = self.to_wire(scalar_edits(&flight.edits));
            let request = ToHub::EditRequest { base, edits: &edits, request_id: &flight.request_id };
            out.push(ClientOutput::Send(json(&request)));
        }
    }

    /// Edits in the base, as they are sent.
    fn to_wire(&self, edits: Vec<Edit>) -> Vec<Step> {
        let unit = self.greeting.unit;
        let text = if unit == Unit::Scalar { String::new() } else { self.layers.base.to_one_string() };
        to_steps(edits, unit, &text).unwrap_or_default()
    }

    fn edited(&mut self, edits: &[Edit], out: &mut Vec<ClientOutput>) {
        // Before there is a text there is nothing to edit.
        if !self.has_text()
            || edits.iter().all(Edit::is_empty)
            || check_batch(edits, self.text.len()).is_err()
        {
            return;
        }
        self.text.apply(edits);
        let held = self.hold || !self.layers.held.is_empty();
        if !held {
            self.shared.apply(edits);
        }
        let steps = edits.iter().map(step_of).collect();
        self.note(Kept::Typed { edits: steps, held }, out);
    }

    /// Does what is to be written down, and has it written down.
    fn note(&mut self, kept: Kept, out: &mut Vec<ClientOutput>) {
        self.layers.apply(&kept);
        out.push(ClientOutput::Keep(kept));
    }

    fn received(&mut self, message: &str, now: Duration, out: &mut Vec<ClientOutput>) {
        // What a newer hub says besides is not for us.
        let Ok(message) = serde_json::from_str(message) else { return };
        match message {
            FromHub::ContentUpdate { content, version, document } => {
                self.content(content, version, document, out)
            }
            FromHub::EditUpdate { base, version, edits, request_id } => {
                self.update(&base, version, edits, request_id.as_deref(), out);
            }
            FromHub::PresenceUpdate { others } => self.present(others, out),
            FromHub::Documents { documents, more } => {
                self.listed = false;
                out.push(ClientOutput::Event(ClientEvent::Documents(documents, more)));
            }
            FromHub::Error { code, message, request_id } => {
                let mut end = message.len().min(limits::MAX_ERROR_TEXT);
                while !message.is_char_boundary(end) {
                    end -= 1;
                }
                let error = ProtocolError::new(ErrorCode::of(&code), &message[..end]);
                self.refused(error, request_id.as_deref(), now, out);
            }
            FromHub::Other => {}
        }
    }

    /// The hub's whole text: at the beginning of a connection, or when it cannot say what changed.
    fn content(&mut self, content: String, version: String, document: String, out: &mut Vec<ClientOutput>) {
        let again = std::mem::replace(&mut self.opened, true);
        let known = self.layers.version.is_some();
        // Without a name the hub has chosen; the next time it must not choose another.
        self.greeting.document = Some(document.clone());
        if known && !self.adopt && self.layers.flight.is_some() {
            // Its answer has what is in this text, and says exactly where.
            self.send_flight(out);
        } else if known && !self.adopt && !self.layers.queued.is_empty() {
            // Sent at the version it was made at: the hub merges it.
        } else if known {
            let theirs = diff(&self.layers.base.to_one_string(), &content);
            if std::mem::take(&mut self.adopt) {
                self.note(Kept::Unsent, out);
            }
            self.below(theirs, version, false, out);
        } else {
            self.layers.document = Some(document.clone());
            self.layers.base = Text::from(content.as_str());
            self.layers.version = Some(version);
            self.shared = self.layers.base.clone();
            self.text = self.layers.base.clone();
            out.push(ClientOutput::Keep(self.kept()));
        }
        if !again {
            out.push(ClientOutput::Event(ClientEvent::Opened(document)));
        }
    }

    fn update(
        &mut self,
        base: &str,
        version: String,
        edits: Vec<Step>,
        request_id: Option<&str>,
        out: &mut Vec<ClientOutput>,
    ) {
        let flight = self.layers.flight.as_ref();
        let answered = match (flight, request_id) {
            (Some(flight), Some(id)) if flight.request_id == id => true,
            // The answer to a request that is not under way any more.
            (_, Some(_)) => return,
            // The flight's answer has it as well.
            (Some(_), None) => return,
            (None, None) => false,
        };
        let made = flight.filter(|_| answered).map(|flight| scalar_edits(&flight.edits)).unwrap_or_default();
        let length = made.iter().fold(self.layers.base.len(), |length, edit| {
            (length + edit.insert.chars().count()).saturating_sub(edit.range.len())
        });
        let unit = self.greeting.unit;
        let text = if unit == Unit::Scalar {
            String::new()
        } else {
            let mut before = self.layers.base.clone();
            before.apply(&made);
            before.to_one_string()
        };
        let edits = to_edits(edits, unit, &text).ok().filter(|edits| check_batch(edits, length).is_ok());
        let follows = answered || self.layers.version.as_deref() == Some(base);
        match edits {
            Some(edits) if follows => {
                (self.retry, self.retry_in) = (None, RETRY);
                for other in &mut self.others {
                    other.shift(&made);
                }
                self.below(edits, version, answered, out);
                if answered && !self.is_waiting() {
                    out.push(ClientOutput::Event(ClientEvent::Saved));
                }
            }
            // One of us has miscounted: the hub's whole text is the truth, and what was typed stays.
            _ => {
                self.adopt = true;
                out.push(ClientOutput::Redial);
            }
        }
    }

    /// What others did goes below what was typed here.
    fn below(&mut self, theirs: Vec<Edit>, version: String, answered: bool, out: &mut Vec<ClientOutput>) {
        for other in &mut self.others {
            other.shift(&theirs);
        }
        let queued = rebase(&self.layers.queued, &theirs);
        let in_shared = theirs_after(&self.layers.queued, &theirs, &queued);
        let held = rebase(&self.layers.held, &in_shared);
        let in_text = theirs_after(&self.layers.held, &in_shared, &held);
        self.shared.apply(&in_shared);
        self.text.apply(&in_text);
        if let Some((cursor, anchor)) = &mut self.marks {
            for at in [cursor, anchor].into_iter().flatten() {
                *at = shifted(*at, &in_text);
            }
        }
        let edits = theirs.iter().map(step_of).collect();
        self.note(Kept::Below { version, edits, answered }, out);
        if !in_text.is_empty() || !in_shared.is_empty() {
            out.push(ClientOutput::Event(ClientEvent::Changed { text: in_text, shared: in_shared }));
        }
    }

    fn present(&mut self, mut others: Vec<Present>, out: &mut Vec<ClientOutput>) {
        others.truncate(limits::MAX_PRESENT);
        let unit = self.greeting.unit;
        let text = if unit == Unit::Scalar { String::new() } else { self.layers.base.to_one_string() };
        for other in &mut others {
            for at in [&mut other.cursor, &mut other.anchor].into_iter().flatten() {
                *at = if unit == Unit::Scalar {
                    *at
                } else {
                    super::unit::converted(&text, unit, Unit::Scalar, &[*at])
                        .and_then(|places| places.first().copied())
                        .unwrap_or_default()
                };
                // While a request is under way the hub is ahead of us.
                *at = (*at).min(self.layers.base.len());
            }
        }
        self.others = others;
        out.push(ClientOutput::Event(ClientEvent::Others));
    }

    fn refused(
        &mut self,
        error: ProtocolError,
        request_id: Option<&str>,
        now: Duration,
        out: &mut Vec<ClientOutput>,
    ) {
        if request_id.is_none() && error.code == ErrorCode::Forbidden && std::mem::take(&mut self.listed) {
            // Whose link is for one document need not be told that there is no list.
            return;
        }
        let flying = self.layers.flight.as_ref().map(|flight| flight.request_id.as_str());
        if request_id.is_some() && request_id == flying {
            match error.code {
                ErrorCode::StorageFull
                | ErrorCode::ReadOnly
                | ErrorCode::TooMany
                | ErrorCode::Damaged
                | ErrorCode::Timeout
                | ErrorCode::Closing
                | ErrorCode::Internal => {
                    self.retry = Some(now + self.retry_in);
                    self.retry_in = (self.retry_in * 2).min(MAX_RETRY);
                }
                ErrorCode::BadBase | ErrorCode::BadMessage | ErrorCode::BadEvents => {
                    self.adopt = true;
                    out.push(ClientOutput::Redial);
                }
                // It will not be taken as it is: it becomes a draft, for the person to decide.
                _ => {
                    self.hold = true;
                    self.adopt = true;
                    self.note(Kept::Unsent, out);
                    self.note(Kept::HeldBack, out);
                    self.shared = self.layers.base.clone();
                    out.push(ClientOutput::Redial);
                }
            }
        }
        out.push(ClientOutput::Event(ClientEvent::Refused(error)));
    }
}

/// Steps in scalars, as edits.
pub(super) fn scalar_edits(steps: &[Step]) -> Vec<Edit> {
    let edit = |step: &Step| Edit {
        range: step.at..step.at.saturating_add(step.delete),
        insert: step.insert.clone(),
    };
    steps.iter().map(edit).collect()
}

/// The other way round.
pub(super) fn step_of(edit: &Edit) -> Step {
    Step { at: edit.range.start, delete: edit.range.len(), insert: edit.insert.clone() }
}

/// What is under way and what is queued, as one.
pub(super) fn unsent(flight: Option<&Flight>, queued: &[Edit]) -> Vec<Edit> {
    flight.map_or_else(|| queued.to_vec(), |flight| composed(&scalar_edits(&flight.edits), queued))
}

#[cfg(test)]
mod tests;
