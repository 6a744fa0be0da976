//! One end of a connection between two hubs, as a pure state machine.
//!
//! [`Link::handle`] takes what happened and says what to do. It never waits, and it holds no texts: merging,
//! journalling and reading are the hub's, asked for by an [`Output`] and answered by an [`Input`].

use std::time::Duration;

use syncline_engine::AgentId;

use super::VERSION;
use super::catalogue::Catalogue;
use super::contents::Contents;
use super::documents::Documents;
use super::message::{Hello, Message, Welcome};
use super::step::{Input, LinkEvent, Local, Output};
use crate::error::{ErrorCode, ProtocolError};
use crate::limits;
use crate::token::Token;

/// Which end of the connection this is. After the greeting both do the same.
#[derive(Clone, Debug)]
pub enum Role {
    /// It dialed, and shows this token.
    Dialing {
        /// The token of the join link.
        token: Token,
    },
    /// It was dialed.
    Accepting,
}

enum Phase {
    /// Nothing has happened.
    New,
    /// Waiting for the other side's greeting, until then.
    Greeting {
        until: Duration,
    },
    /// The token is being checked.
    Checking(Hello),
    Open,
    Closed,
}

/// One end of a connection.
pub struct Link {
    role: Role,
    local: Local,
    phase: Phase,
    catalogue: Catalogue,
    documents: Documents,
    contents: Contents,
    /// Whether the next part of a long list may be sent: the one before it has left.
    window: bool,
    asked_heads: bool,
    synced: bool,
}

impl Link {
    /// An end of a connection that is being made.
    pub fn new(role: Role, local: Local) -> Link {
        Link {
            role,
            local,
            phase: Phase::New,
            catalogue: Catalogue::default(),
            documents: Documents::default(),
            contents: Contents::default(),
            window: true,
            asked_heads: false,
            synced: false,
        }
    }

    /// Whether the other side has greeted and was let in.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Takes what happened at `now` (any clock that does not go back) and returns what to do, in order.
    /// After [`Output::Close`] it returns nothing more.
    pub fn handle(&mut self, input: Input, now: Duration) -> Vec<Output> {
        let mut out = Vec::new();
        if matches!(self.phase, Phase::Closed) {
            return out;
        }
        match self.step(input, now, &mut out) {
            Ok(()) if self.is_open() => self.go_on(&mut out),
            Ok(()) => {}
            Err(error) => {
                self.phase = Phase::Closed;
                out.push(Output::Send(Message::Error(error.clone())));
                out.push(Output::Close(Some(error)));
            }
        }
        out
    }

    fn step(&mut self, input: Input, now: Duration, out: &mut Vec<Output>) -> Result<(), ProtocolError> {
        match input {
            Input::Opened => self.opened(now, out),
            Input::Received(message) if self.is_open() => return self.received(message, now, out),
            Input::Received(message) => return self.greeted(message, out),
            Input::Garbled(error) | Input::Expelled(error) => return Err(error),
            Input::TokenChecked(checked) => return self.checked(checked, out),
            Input::CatalogueVector(vector) => self.catalogue.own_vector(vector, out),
            Input::CatalogueChanged => self.catalogue.changed(out),
            Input::CatalogueDelta { writes, vector } => self.catalogue.delta(writes, vector, out),
            Input::CatalogueMerged { wanted } => {
                self.catalogue.merged(out);
                self.contents.wanted(wanted, out);
            }
            Input::CatalogueRefused(error) => return Err(error),
            Input::Heads(heads) => {
                // They can name documents that were created after the catalogue was sent; asked again, what
                // introduces these goes first.
                self.catalogue.changed(out);
                self.documents.declare(heads, out);
            }
            Input::DocumentsChanged(changes) => self.documents.changed(changes),
            Input::Events { doc, parts, heads } => self.documents.events(doc, parts, heads, out),
            Input::EventsFailed { doc, error } => self.documents.events_failed(doc, error, out),
            Input::VectorOf { doc, vector } => out.push(Output::Send(Message::Vector { doc, vector })),
            Input::VectorFailed { doc, error } => self.documents.vector_failed(doc, error, out),
            Input::Merged { doc, heads } => self.documents.merged(doc, heads, out),
            Input::MergeRefused { doc, error } => self.documents.refused(doc, error, now, out),
            Input::ContentLoaded { hash, bytes } => self.contents.loaded(hash, bytes, out),
            Input::ContentKept { hash } => self.contents.kept(hash, out),
            Input::ContentRefused { hash } => self.contents.not_kept(hash, now, out),
            Input::Drained => self.window = true,
            Input::Tick => return self.tick(now, out),
            Input::Stop => {
                self.phase = Phase::Closed;
                out.push(Output::Send(Message::Bye));
                out.push(Output::Close(None));
            }
        }
        Ok(())
    }

    fn opened(&mut self, now: Duration, out: &mut Vec<Output>) {
        self.phase = Phase::Greeting { until: now + limits::HELLO_TIMEOUT };
        if let Role::Dialing { token } = &self.role {
            out.push(Output::Send(Message::Hello(Hello {
                proto: VERSION,
                token: token.secret(),
                agent: self.local.agent,
                folder: self.local.folder,
                name: short(&self.local.name),
            })));
        }
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<Output>) -> Result<(), ProtocolError> {
        match self.phase {
            Phase::Greeting { until } if now >= until => {
                Err(ProtocolError::new(ErrorCode::Timeout, "no greeting came in time"))
            }
            Phase::Open => {
                self.documents.tick(now, out);
                self.contents.tick(now, out);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A message before the connection is open.
    fn greeted(&mut self, message: Message, out: &mut Vec<Output>) -> Result<(), ProtocolError> {
        if !matches!(self.phase, Phase::Greeting { .. }) {
            return Err(ProtocolError::new(
                ErrorCode::BadMessage,
                "a message before the greeting was answered",
            ));
        }
        match (message, &self.role) {
            (Message::Hello(hello), Role::Accepting) => {
                check_version(hello.proto)?;
                out.push(Output::CheckToken(hello.token.clone()));
                self.phase = Phase::Checking(hello);
                Ok(())
            }
            (Message::Welcome(welcome), Role::Dialing { .. }) => {
                check_version(welcome.proto)?;
                self.check_peer(welcome.agent, Some(welcome.folder))?;
                self.open(welcome.name, welcome.folder, welcome.single_file, out);
                Ok(())
            }
            (Message::Error(error), _) => self.peer_failed(error, out),
            (Message::Bye, _) => self.peer_failed(closing(), out),
            _ => Err(ProtocolError::new(ErrorCode::BadMessage, "the first message must be the greeting")),
        }
    }

    fn checked(
        &mut self,
        checked: Result<(), ProtocolError>,
        out: &mut Vec<Output>,
    ) -> Result<(), ProtocolError> {
        let Phase::Checking(hello) = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return Err(ProtocolError::new(ErrorCode::Internal, "a token was checked that nobody sent"));
        };
        // The token first: whoever has none learns nothing about the folder.
        checked?;
        self.check_peer(hello.agent, hello.folder)?;
        let Some(folder) = self.local.folder else {
            return Err(ProtocolError::new(ErrorCode::Internal, "there is no folder to share"));
        };
        let name = short(&self.local.name);
        let single_file = self.local.single_file;
        let (proto, agent) = (VERSION, self.local.agent);
        out.push(Output::Send(Message::Welcome(Welcome { proto, agent, folder, name, single_file })));
        self.open(hello.name, folder, single_file, out);
        Ok(())
    }

    fn check_peer(&self, agent: AgentId, folder: Option<[u8; 16]>) -> Result<(), ProtocolError> {
        if agent == self.local.agent {
            return Err(ProtocolError::new(ErrorCode::SameHub, "this hub was asked to join itself"));
        }
        match (self.local.folder, folder) {
            (Some(mine), Some(theirs)) if mine != theirs => {
                Err(ProtocolError::new(ErrorCode::WrongFolder, "the two sides keep different folders"))
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, name: String, folder: [u8; 16], single_file: bool, out: &mut Vec<Output>) {
        self.phase = Phase::Open;
        out.push(Output::Event(LinkEvent::Connected { name, folder, single_file }));
        out.push(Output::AskCatalogueVector);
    }

    /// A message after the greeting.
    fn received(
        &mut self,
        message: Message,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), ProtocolError> {
        match message {
            Message::Hello(_) | Message::Welcome(_) => {
                return Err(ProtocolError::new(ErrorCode::BadMessage, "a second greeting"));
            }
            Message::CatalogueVector { vector } => return self.catalogue.peer_vector(vector, out),
            Message::Catalogue { writes, vector } => return self.catalogue.received(writes, vector, out),
            Message::Have { docs, last } => return self.documents.peer_has(docs, last, out),
            Message::Vector { doc, vector } => return self.documents.peer_vector(doc, vector),
            events @ Message::Events { .. } => {
                return self.documents.received(events, self.catalogue.received_parts(), out);
            }
            Message::Ack { doc, .. } => return self.documents.acknowledged(doc),
            Message::Refused { doc, answer, error } => {
                return self.documents.peer_refused(doc, answer, error, out);
            }
            Message::WantContent { hash, offset } => return self.contents.requested(hash, offset, out),
            Message::Content { hash, offset, total, bytes } => {
                return self.contents.piece(hash, offset, total, &bytes, now, out);
            }
            Message::NoContent { hash } => self.contents.peer_lacks(hash, now, out),
            Message::Error(error) => return self.peer_failed(error, out),
            Message::Bye => return self.peer_failed(closing(), out),
        }
        Ok(())
    }

    /// The peer closes: nothing is sent any more.
    fn peer_failed(&mut self, error: ProtocolError, out: &mut Vec<Output>) -> Result<(), ProtocolError> {
        self.phase = Phase::Closed;
        out.push(Output::Close(Some(error)));
        Ok(())
    }

    /// What follows from the state, whatever led to it.
    fn go_on(&mut self, out: &mut Vec<Output>) {
        if self.catalogue.complete && !self.asked_heads {
            self.asked_heads = true;
            out.push(Output::AskHeads);
        }
        if self.window {
            let part = self.catalogue.next_part(out).or_else(|| self.documents.next_part());
            if let Some(message) = part {
                // The next one when this one has left: a long list is never held twice.
                self.window = false;
                out.push(Output::Send(message));
            }
        }
        self.documents.merge_ready(self.catalogue.merged_parts(), out);
        self.documents.pump(self.catalogue.settled(), out);
        if !self.synced && self.is_synced() {
            self.synced = true;
            let (done, total) = (self.documents.done, self.documents.total);
            out.push(Output::Event(LinkEvent::Progress { done, total }));
            let documents = self.documents.declared_by_peer;
            out.push(Output::Event(LinkEvent::Synced { documents }));
        }
    }

    fn is_synced(&self) -> bool {
        self.documents.compared && self.documents.expected.is_empty() && self.contents.settled()
    }
}

fn check_version(proto: u32) -> Result<(), ProtocolError> {
    if proto == VERSION {
        return Ok(());
    }
    let message = format!("this hub speaks version {VERSION} of the protocol, the other one {proto}");
    Err(ProtocolError::new(ErrorCode::UnsupportedVersion, message))
}

fn closing() -> ProtocolError {
    ProtocolError::new(ErrorCode::Closing, "the other side goes away")
}

/// At most as much of a name as a greeting carries.
fn short(name: &str) -> String {
    let mut end = name.len().min(limits::MAX_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}
