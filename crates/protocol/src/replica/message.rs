//! The messages of the protocol. Their bytes are in `wire`.

use std::collections::BTreeMap;

use syncline_engine::catalogue::{DocId, Write};
use syncline_engine::{AgentId, Heads};

use crate::error::ProtocolError;

/// The first message, from the side that dialed.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// The version of the protocol.
    pub proto: u32,
    /// The secret that lets it in, as text.
    pub token: String,
    /// The agent of the hub, drawn anew at every start.
    pub agent: AgentId,
    /// The folder it keeps; `None` when it has none yet and takes that of the other side.
    pub folder: Option<[u8; 16]>,
    /// A readable name for the hub.
    pub name: String,
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token is left out: what is debug-printed may end in a log.
        f.debug_struct("Hello").field("agent", &self.agent).field("name", &self.name).finish_non_exhaustive()
    }
}

/// The answer to a [`Hello`] whose token is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// The version of the protocol.
    pub proto: u32,
    /// The agent of the hub.
    pub agent: AgentId,
    /// The folder that is shared.
    pub folder: [u8; 16],
    /// Its readable name.
    pub name: String,
    /// Whether a single file is shared, not a folder.
    pub single_file: bool,
}

/// One message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Who dials.
    Hello(Hello),
    /// Who was dialed.
    Welcome(Welcome),
    /// How many catalogue writes of each agent the sender knows.
    CatalogueVector {
        /// By agent.
        vector: BTreeMap<AgentId, u64>,
    },
    /// Catalogue writes that the receiver lacks, oldest first.
    Catalogue {
        /// The writes.
        writes: Vec<Write>,
        /// In the last part of a delta: the sender's vector, which the receiver adopts.
        vector: Option<BTreeMap<AgentId, u64>>,
    },
    /// Documents that the sender has, with their durable versions.
    Have {
        /// The documents; at most 1,000.
        docs: Vec<(DocId, Heads)>,
        /// Whether these were the last.
        last: bool,
    },
    /// How many events of each agent the sender has; the receiver answers with `Events`.
    Vector {
        /// Which document.
        doc: DocId,
        /// By agent.
        vector: Vec<(AgentId, u64)>,
    },
    /// Events of a document.
    Events {
        /// Which document.
        doc: DocId,
        /// Whether they answer a `Vector`.
        answer: bool,
        /// Whether further parts of the same delta follow.
        more: bool,
        /// The sender's version after them; the root if `more`.
        heads: Heads,
        /// An encoded `EventBatch`; empty when the answer is that nothing is missing (not acknowledged).
        batch: Vec<u8>,
    },
    /// The oldest unacknowledged `Events` of the document are in the sender's journal.
    Ack {
        /// Which document.
        doc: DocId,
        /// The version after them.
        heads: Heads,
    },
    /// The oldest unacknowledged `Events` of the document were not taken. After `resync` or `storage_full` a
    /// `Vector` follows when they can be; after other codes the document rests on this link.
    Refused {
        /// Which document.
        doc: DocId,
        /// Whether not events are refused, but the answer to a `Vector`.
        answer: bool,
        /// Why.
        error: ProtocolError,
    },
    /// Asks for a content, from an offset on.
    WantContent {
        /// BLAKE3 of the whole.
        hash: [u8; 32],
        /// In bytes.
        offset: u64,
    },
    /// A piece of a content.
    Content {
        /// BLAKE3 of the whole.
        hash: [u8; 32],
        /// Where the piece begins, in bytes.
        offset: u64,
        /// The length of the whole, in bytes.
        total: u64,
        /// The piece, at most 1 MiB.
        bytes: Vec<u8>,
    },
    /// The sender does not have that content (yet).
    NoContent {
        /// BLAKE3 of it.
        hash: [u8; 32],
    },
    /// Something is wrong; the sender closes.
    Error(ProtocolError),
    /// The sender goes away in good order.
    Bye,
}
