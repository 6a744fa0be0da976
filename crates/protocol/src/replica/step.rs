//! What goes into a [`Link`](super::Link) and what comes out of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use syncline_engine::catalogue::{DocId, Write};
use syncline_engine::{AgentId, Heads};

use super::message::Message;
use crate::error::ProtocolError;

/// What somebody has of a document, when asking for the events they lack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Have {
    /// Everything up to these heads; those that are not known here are left out.
    Heads(Heads),
    /// Of each agent, so many events.
    Vector(Vec<(AgentId, u64)>),
}

/// The hub on this side of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Local {
    /// Its agent.
    pub agent: AgentId,
    /// The folder it keeps; `None` when it has none yet (only possible when dialing).
    pub folder: Option<[u8; 16]>,
    /// The folder's readable name, or the hub's when dialing; at most 256 bytes of it are sent.
    pub name: String,
    /// Whether a single file is shared.
    pub single_file: bool,
}

/// Everything that can happen to a link. Except for `Opened`, `Received`, `Garbled`, `Expelled`, `Drained`, `Tick`,
/// `Stop`, `CatalogueChanged` and `DocumentsChanged`, each is the result of one [`Output`], and results may
/// come in any order.
#[derive(Clone, Debug)]
pub enum Input {
    /// The connection stands.
    Opened,
    /// A message came.
    Received(Message),
    /// Bytes came that are no message.
    Garbled(ProtocolError),
    /// The right to be here has ended.
    Expelled(ProtocolError),
    /// Whether the token of [`Output::CheckToken`] lets in.
    TokenChecked(Result<(), ProtocolError>),
    /// The catalogue's vector.
    CatalogueVector(BTreeMap<AgentId, u64>),
    /// The catalogue has changed, durably. Must be told before the `DocumentsChanged` of new documents.
    CatalogueChanged,
    /// The writes since the vector that was asked about, and the vector now.
    CatalogueDelta {
        /// Oldest first.
        writes: Vec<Write>,
        /// The catalogue's vector.
        vector: BTreeMap<AgentId, u64>,
    },
    /// The writes of the oldest [`Output::MergeCatalogue`] are journalled.
    CatalogueMerged {
        /// All contents that the catalogue names and the journal lacks.
        wanted: Vec<[u8; 32]>,
    },
    /// They could not be journalled. The link closes (a new one starts over).
    CatalogueRefused(ProtocolError),
    /// All documents that have events, at their durable versions.
    Heads(Vec<(DocId, Heads)>),
    /// Documents have new durable versions.
    DocumentsChanged(Vec<(DocId, Heads)>),
    /// The events asked for.
    Events {
        /// Which document.
        doc: DocId,
        /// The batch in parts (see [`encode_parts`](super::encode_parts)); none if there are no events.
        parts: Vec<Vec<u8>>,
        /// The document's durable version they lead to.
        heads: Heads,
    },
    /// The events asked for cannot be had.
    EventsFailed {
        /// Which document.
        doc: DocId,
        /// Why.
        error: ProtocolError,
    },
    /// The vector asked for.
    VectorOf {
        /// Which document.
        doc: DocId,
        /// Of each agent, how many events.
        vector: Vec<(AgentId, u64)>,
    },
    /// The vector asked for cannot be had.
    VectorFailed {
        /// Which document.
        doc: DocId,
        /// Why.
        error: ProtocolError,
    },
    /// Events were merged and are journalled.
    Merged {
        /// Which document.
        doc: DocId,
        /// Its durable version now.
        heads: Heads,
    },
    /// Events were not merged. By the code: `resync` (unknown parents) asks for what is missing;
    /// `storage_full`, `read_only` and `internal` try again later; others leave the document alone.
    MergeRefused {
        /// Which document.
        doc: DocId,
        /// Why.
        error: ProtocolError,
    },
    /// The content asked for; `None` if the journal lacks it.
    ContentLoaded {
        /// BLAKE3 of it.
        hash: [u8; 32],
        /// The whole.
        bytes: Option<Arc<[u8]>>,
    },
    /// The content is journalled.
    ContentKept {
        /// BLAKE3 of it.
        hash: [u8; 32],
    },
    /// The content could not be journalled.
    ContentRefused {
        /// BLAKE3 of it.
        hash: [u8; 32],
    },
    /// Everything that was to be sent is with the operating system.
    Drained,
    /// Time has passed. Should come about once a second.
    Tick,
    /// The hub goes away.
    Stop,
}

/// What is to be done. Messages are sent in order; everything else may be done at the same time.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this.
    Send(Message),
    /// Close after what was sent before; nothing follows. `None`: in good order.
    Close(Option<ProtocolError>),
    /// Does this token let in?
    CheckToken(String),
    /// What is the catalogue's vector?
    AskCatalogueVector,
    /// What does a catalogue with this vector lack?
    AskCatalogueSince(BTreeMap<AgentId, u64>),
    /// Merge and journal these, then answer. Never more than one at once.
    MergeCatalogue {
        /// Oldest first.
        writes: Vec<Write>,
        /// To be adopted; empty unless these complete a delta.
        vector: BTreeMap<AgentId, u64>,
    },
    /// Which documents have events?
    AskHeads,
    /// Which events does the peer lack?
    AskEvents {
        /// Which document.
        doc: DocId,
        /// What it has.
        have: Have,
    },
    /// What is this document's vector?
    AskVectorOf {
        /// Which document.
        doc: DocId,
    },
    /// Merge and journal this, then answer. One at once per document, many at once in all.
    MergeEvents {
        /// Which document.
        doc: DocId,
        /// An encoded batch, as it came.
        batch: Vec<u8>,
    },
    /// Is there this content?
    AskContent {
        /// BLAKE3 of it.
        hash: [u8; 32],
    },
    /// Journal this content; its hash was verified.
    KeepContent {
        /// BLAKE3 of it.
        hash: [u8; 32],
        /// The whole.
        bytes: Arc<[u8]>,
    },
    /// Something that people or other parts of the program want to know.
    Event(LinkEvent),
}

/// What happened on a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkEvent {
    /// The greeting is done.
    Connected {
        /// The other hub's readable name (or its folder's).
        name: String,
        /// The folder that is shared.
        folder: [u8; 16],
        /// Whether a single file is shared.
        single_file: bool,
    },
    /// The first synchronisation goes on.
    Progress {
        /// Documents that are merged and journalled.
        done: u64,
        /// Documents that the peer had something new of, as far as known.
        total: u64,
    },
    /// Everything that the peer had when it greeted is merged and journalled. Once per connection.
    Synced {
        /// How many documents the peer has.
        documents: u64,
    },
    /// A document is left alone on this link.
    DocumentRefused {
        /// Which.
        doc: DocId,
        /// Why.
        error: ProtocolError,
    },
    /// The peer does not have a content that the catalogue names, or sent a wrong one; it is asked again.
    ContentMissing {
        /// BLAKE3 of it.
        hash: [u8; 32],
    },
}
