//! Who read which version of the files of documents that are not in memory.
//!
//! A document leaves the memory when nobody needs it, and comes back when somebody saves its file: just then
//! it matters who had read what. The journal does not say: evidence is about moments, and after a restart
//! nothing is known of them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use syncline_disk::{ContentHash, What};
use syncline_engine::catalogue::DocId;

use crate::mirror::Evidence;

/// So many documents' evidence is kept; of more it is unknown who read what.
const MAX_RESTING: usize = 65_536;

/// What is kept of one document.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub(crate) struct Rested {
    /// The versions that we wrote, oldest first, by the hash of their bytes.
    pub evidence: Vec<(ContentHash, Evidence)>,
    /// The file has the last of them.
    pub newest_is_ours: bool,
    /// Somebody opened the file, and neither read nor wrote it yet.
    pub opened: bool,
    /// Which of the hub's losses of events this takes account of.
    pub losses: u64,
}

impl Rested {
    /// Something was seen at the file.
    fn see(&mut self, what: &What) {
        let evidence = match what {
            What::Opened => {
                self.opened = true;
                return;
            }
            What::Accessed => Evidence::Read,
            What::ClosedNoWrite => Evidence::Opened,
            _ => return,
        };
        self.opened = false;
        if let Some((_, newest)) = self.evidence.last_mut().filter(|_| self.newest_is_ours)
            && evidence.rank() < newest.rank()
        {
            *newest = evidence;
        }
    }
}

/// The evidence of all documents that are not in memory.
#[derive(Default)]
pub(crate) struct Resting(Mutex<HashMap<DocId, Rested>>);

impl Resting {
    fn lock(&self) -> MutexGuard<'_, HashMap<DocId, Rested>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A document leaves. Told before its mailbox closes: what is seen of the file from then on comes here, and
    /// what is still in the mailbox goes to the document's next task, which wakes it first.
    pub fn rest(&self, doc: DocId, rested: Rested) {
        let mut all = self.lock();
        if rested.evidence.is_empty() || (all.len() >= MAX_RESTING && !all.contains_key(&doc)) {
            all.remove(&doc);
        } else {
            all.insert(doc, rested);
        }
    }

    /// Something was seen at the file of a document that is not in memory.
    pub fn see(&self, doc: DocId, what: &What) {
        if let Some(rested) = self.lock().get_mut(&doc) {
            rested.see(what);
        }
    }

    /// A document comes back.
    pub fn wake(&self, doc: DocId) -> Option<Rested> {
        self.lock().remove(&doc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_while_a_document_rests_counts() {
        let (resting, doc) = (Resting::default(), DocId([1; 16]));
        let hash = ContentHash::of(b"ours");
        let rested =
            Rested { evidence: vec![(hash, Evidence::Unread)], newest_is_ours: true, ..Rested::default() };
        resting.rest(doc, rested.clone());
        assert_eq!(resting.wake(doc), Some(rested.clone()));
        assert_eq!(resting.wake(doc), None);
        resting.rest(doc, rested.clone());
        resting.see(doc, &What::Accessed);
        assert_eq!(resting.wake(doc).unwrap().evidence, [(hash, Evidence::Read)]);
        resting.rest(doc, Rested { newest_is_ours: false, ..rested.clone() });
        resting.see(doc, &What::Accessed);
        assert_eq!(
            resting.wake(doc).unwrap().evidence,
            [(hash, Evidence::Unread)],
            "they read somebody's save"
        );
    }
}
