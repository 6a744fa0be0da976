//! A stored document that is opened for its text: its history stays as it is stored until somebody asks for it.

use std::ops::Range;

use crate::document::Document;
use crate::encoding;
use crate::varint::DecodeError;

/// The bytes of a document, and where its text is in them. Opening costs a checksum and a look at the text; the
/// memory is that of the bytes.
///
/// ```
/// use syncline_engine::{AgentId, Document, Edit, Meta, Snapshot};
/// let mut document = Document::new();
/// document.edit(&[Edit::insert(0, "hello")], AgentId::new(b"ann").unwrap(), &Meta::default()).unwrap();
/// let snapshot = Snapshot::open(document.encode()).unwrap();
/// assert_eq!(snapshot.text(), "hello");
/// assert_eq!(snapshot.document().unwrap().events(), 5);
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    bytes: Vec<u8>,
    text: Range<usize>,
}

impl Snapshot {
    /// Opens what [`Document::encode`] wrote. That the history in it can be read is known only when it is.
    pub fn open(mut bytes: Vec<u8>) -> Result<Snapshot, DecodeError> {
        let text = encoding::text_section(&bytes)?;
        bytes.shrink_to_fit();
        Ok(Snapshot { bytes, text })
    }

    /// The text at the newest version.
    pub fn text(&self) -> &str {
        // It was looked at when the snapshot was opened; a wrong answer is no worse than the empty one.
        self.bytes.get(self.text.clone()).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default()
    }

    /// The document with its history.
    pub fn document(&self) -> Result<Document, DecodeError> {
        Document::decode(&self.bytes)
    }

    /// The bytes that it was opened from.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}
