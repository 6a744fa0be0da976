//! A large text on its way to the file: written from where it is, by a worker thread that has the document
//! meanwhile. Copied it would cost as much again as the write.

use std::sync::Arc;
use syncline_disk::{FileBytes, Pieces};
use syncline_engine::Document;
use syncline_engine::catalogue::Form;

use super::DocumentTask;

/// The usual length, in bytes, from which a text is large. Smaller texts are kept as candidates anyway.
pub const LARGE_TEXT: usize = 4 << 20;

/// The text of a document, as bytes.
struct LentText(Arc<Document>);

impl Pieces for LentText {
    fn len(&self) -> usize {
        self.0.text().len_bytes()
    }

    fn pieces(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        Box::new(self.0.text().chunks().map(str::as_bytes))
    }
}

impl DocumentTask {
    /// Whether a document's file holds just the bytes of its text, and they are many.
    pub fn is_lent(&self, document: &Document, form: Form) -> bool {
        form == Form::default() && document.text().len_bytes() > self.hub.0.large_text
    }

    /// Gives the text away to be written. Until [`DocumentTask::take_text_back`] the task has an empty document
    /// and must do nothing else. `None` when the document is not in memory.
    pub fn lend_text(&mut self) -> Option<FileBytes> {
        let document = Arc::new(std::mem::take(&mut self.loaded.as_mut()?.document));
        self.lent = Some(document.clone());
        Some(FileBytes::Pieces(Arc::new(LentText(document))))
    }

    /// Takes back what was given away, if it was. If the worker failed with it in hand, the document is read again
    /// from the journal, which has all of it.
    pub fn take_text_back(&mut self) {
        let Some(lent) = self.lent.take() else { return };
        match (Arc::try_unwrap(lent), &mut self.loaded) {
            (Ok(document), Some(loaded)) => loaded.document = document,
            _ => {
                // What is known of the file may be newer than what the journal knows.
                self.loaded = None;
                self.file.forget();
                self.hub.put_startup(self.id);
            }
        }
    }
}
