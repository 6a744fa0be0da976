//! A document that all who share it begin with, without having met: the same id, the same path, and the same first
//! text, by the same events. Whoever brings any of these to the others brings nothing new.

use std::collections::BTreeMap;
use syncline_disk::RelPath;
use syncline_engine::catalogue::{Catalogue, DocId, Field, Kind, Life};
use syncline_engine::{AgentId, Document, Edit, Meta};
use syncline_store::{LogReader, Record};

use crate::error::HubError;

/// What a new journal begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Founding {
    /// The document.
    pub doc: DocId,
    /// Where it is.
    pub path: RelPath,
    /// What is in it. `None`: there is a file already, whose text is entered when it is known what others have.
    pub text: Option<String>,
}

/// The author of what was there before anybody.
const FOUNDER: &[u8] = b"founder";

/// The records that make a journal begin with that; none if it has begun.
pub(crate) fn records(founding: &Founding, reader: &dyn LogReader) -> Result<Vec<Record>, HubError> {
    if !reader.vector()?.is_empty() || !reader.catalogue()?.is_empty() {
        return Ok(Vec::new());
    }
    let (Some(agent), doc) = (AgentId::new(FOUNDER), founding.doc) else { return Ok(Vec::new()) };
    let mut catalogue = Catalogue::new();
    let fields =
        [Field::Path(founding.path.as_str().to_owned()), Field::Kind(Kind::Text), Field::Life(Life::Alive)];
    let mut records: Vec<Record> =
        fields.into_iter().map(|field| Record::Catalogue(catalogue.write(doc, field, agent))).collect();
    records.push(Record::Vector(BTreeMap::from([(agent, 3)])));
    let mut document = Document::new();
    if let Some(text) = founding.text.as_ref().filter(|text| !text.is_empty()) {
        // Of one text always the same events, so of another text by another agent.
        let hash = blake3::hash(text.as_bytes());
        let agent = AgentId::new(&hash.as_bytes()[..16]).unwrap_or(agent);
        let meta = Meta { author: "".into(), channel: "founding".into(), time_ms: 0 };
        // One insertion into an empty text cannot be refused.
        if document.edit(&[Edit::insert(0, text.clone())], agent, &meta).is_ok() {
            let heads = document.portable(document.version());
            let batch = document.events_in(0..document.events()).encode();
            records.push(Record::Events { doc, batch, heads });
        }
    }
    Ok(records)
}
