//! A hub as simple as can be: documents, a catalogue and contents in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use syncline_engine::catalogue::{Catalogue, Content, DocId, Field, Kind, Life};
use syncline_engine::{AgentId, Document, Edit, EventBatch, Heads, MergeError, Meta};
use syncline_protocol::replica::{Have, Input, Output, encode_parts};
use syncline_protocol::{ErrorCode, ProtocolError};

pub struct Hub {
    pub agent: AgentId,
    pub docs: BTreeMap<DocId, Document>,
    pub catalogue: Catalogue,
    pub contents: BTreeMap<[u8; 32], Arc<[u8]>>,
    /// The next document's number.
    next: u64,
    /// Merges fail for want of space.
    pub full: bool,
}

impl Hub {
    pub fn new(number: u128) -> Hub {
        Hub {
            agent: AgentId::from_random(number),
            docs: BTreeMap::new(),
            catalogue: Catalogue::new(),
            contents: BTreeMap::new(),
            next: 0,
            full: false,
        }
    }

    fn draw_id(&mut self) -> DocId {
        self.next += 1;
        let hash = blake3::hash(&[self.agent.as_bytes(), &self.next.to_le_bytes()].concat());
        DocId(std::array::from_fn(|at| hash.as_bytes()[at]))
    }

    pub fn create(&mut self, path: &str) -> DocId {
        let doc = self.draw_id();
        self.catalogue.write(doc, Field::Path(path.into()), self.agent);
        self.catalogue.write(doc, Field::Life(Life::Alive), self.agent);
        self.catalogue.write(doc, Field::Kind(Kind::Text), self.agent);
        self.docs.insert(doc, Document::new());
        doc
    }

    pub fn create_opaque(&mut self, path: &str, bytes: Vec<u8>) {
        let doc = self.draw_id();
        let hash = *blake3::hash(&bytes).as_bytes();
        let len = bytes.len() as u64;
        self.contents.insert(hash, bytes.into());
        self.catalogue.write(doc, Field::Path(path.into()), self.agent);
        self.catalogue.write(doc, Field::Content(Content { hash, len }), self.agent);
    }

    pub fn insert(&mut self, doc: DocId, at: usize, text: &str) {
        let document = self.docs.get_mut(&doc).unwrap();
        let at = at.min(document.text().len());
        document.edit(&[Edit::insert(at, text)], self.agent, &Meta::default()).unwrap();
    }

    pub fn delete(&mut self, doc: DocId, from: usize, count: usize) {
        let document = self.docs.get_mut(&doc).unwrap();
        let len = document.text().len();
        let from = from.min(len);
        let to = (from + count).min(len);
        document.edit(&[Edit::delete(from..to)], self.agent, &Meta::default()).unwrap();
    }

    pub fn heads(&self) -> BTreeMap<DocId, Heads> {
        let with_events = self.docs.iter().filter(|(_, document)| document.events() > 0);
        with_events.map(|(doc, document)| (*doc, document.portable(document.version()))).collect()
    }

    /// Does what the link asks for; what comes of it goes back into the link.
    pub fn run(&mut self, output: Output) -> Option<Input> {
        Some(match output {
            Output::CheckToken(_) => Input::TokenChecked(Ok(())),
            Output::AskCatalogueVector => Input::CatalogueVector(self.catalogue.vector().clone()),
            Output::AskCatalogueSince(vector) => Input::CatalogueDelta {
                writes: self.catalogue.writes_since(&vector),
                vector: self.catalogue.vector().clone(),
            },
            Output::MergeCatalogue { writes, vector } => {
                for write in &writes {
                    self.catalogue.merge(write);
                }
                self.catalogue.merge_vector(&vector);
                let named = self.catalogue.iter().filter_map(|(_, entry)| entry.content());
                let lacking = named.filter(|content| !self.contents.contains_key(&content.hash));
                Input::CatalogueMerged { wanted: lacking.map(|content| content.hash).collect() }
            }
            Output::AskHeads => Input::Heads(self.heads().into_iter().collect()),
            Output::AskEvents { doc, have } => {
                let document = self.docs.entry(doc).or_default();
                let version = match have {
                    Have::Heads(heads) => document.known_part(&heads),
                    Have::Vector(vector) => document.version_of_vector(&vector),
                };
                let parts = encode_parts(document.events_since(&version));
                Input::Events { doc, parts, heads: document.portable(document.version()) }
            }
            Output::AskVectorOf { doc } => {
                Input::VectorOf { doc, vector: self.docs.entry(doc).or_default().vector() }
            }
            Output::MergeEvents { doc, batch } => self.merge(doc, &batch),
            Output::AskContent { hash } => {
                Input::ContentLoaded { hash, bytes: self.contents.get(&hash).cloned() }
            }
            Output::KeepContent { hash, bytes } => {
                assert_eq!(blake3::hash(&bytes).as_bytes(), &hash);
                self.contents.insert(hash, bytes);
                Input::ContentKept { hash }
            }
            Output::Send(_) | Output::Close(_) | Output::Event(_) => return None,
        })
    }

    fn merge(&mut self, doc: DocId, batch: &[u8]) -> Input {
        let refused = |code| Input::MergeRefused { doc, error: ProtocolError::new(code, "refused") };
        assert!(self.catalogue.get(&doc).is_some(), "events never overtake the catalogue that names them");
        if self.full {
            return refused(ErrorCode::StorageFull);
        }
        let Ok(batch) = EventBatch::decode(batch) else { return refused(ErrorCode::BadEvents) };
        let document = self.docs.entry(doc).or_default();
        match document.merge(&batch) {
            Ok(_) => Input::Merged { doc, heads: document.portable(document.version()) },
            Err(MergeError::Missing { .. }) => refused(ErrorCode::Resync),
            Err(MergeError::Equivocation { .. }) => refused(ErrorCode::Equivocation),
            Err(_) => refused(ErrorCode::BadEvents),
        }
    }
}
