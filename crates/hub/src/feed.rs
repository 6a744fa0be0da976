//! Which documents changed, for whoever passes changes on. Coalesced: a slow reader finds each document
//! once, at its newest version, however often it changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use syncline_engine::Heads;
use syncline_engine::catalogue::DocId;
use tokio::sync::Notify;

#[derive(Default)]
struct Pending {
    /// At most one entry a document: bounded by their number.
    changed: Mutex<BTreeMap<DocId, Heads>>,
    notify: Notify,
}

/// A document, and its durable version.
pub type Change = (DocId, Heads);

/// The documents that changed since the last call, with their durable versions.
pub struct ChangeFeed(Arc<Pending>);

impl ChangeFeed {
    /// Waits until a document has changed, and gives all that have. Cancel-safe.
    pub async fn next(&mut self) -> Vec<Change> {
        loop {
            // Before looking: a change between the look and the wait must wake us.
            let notified = self.0.notify.notified();
            let changed = self.take();
            if !changed.is_empty() {
                return changed;
            }
            notified.await;
        }
    }

    /// The documents that have changed, if any have.
    pub fn take(&self) -> Vec<Change> {
        let changed = std::mem::take(&mut *self.0.changed.lock().unwrap_or_else(PoisonError::into_inner));
        changed.into_iter().collect()
    }
}

/// The sending side of all feeds.
#[derive(Default)]
pub(crate) struct Feeds(Mutex<Vec<Weak<Pending>>>);

impl Feeds {
    /// A new feed; it gives what changes from now on.
    pub fn subscribe(&self) -> ChangeFeed {
        let pending = Arc::new(Pending::default());
        let mut feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.retain(|feed| feed.strong_count() > 0);
        feeds.push(Arc::downgrade(&pending));
        ChangeFeed(pending)
    }

    /// A document has a new durable version. Who subscribed first is told last: whoever acts on its change for others who
    /// subscribed later can be sure that they have it too.
    pub fn changed(&self, doc: DocId, heads: &Heads) {
        let feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for feed in feeds.iter().rev().filter_map(Weak::upgrade) {
            feed.changed.lock().unwrap_or_else(PoisonError::into_inner).insert(doc, heads.clone());
            feed.notify.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_the_first_subscriber_is_told_the_later_ones_were_told_before() {
        const CHANGES: u64 = 3_000;
        let feeds = Feeds::default();
        let (first, later) = (feeds.subscribe(), [(); 64].map(|()| feeds.subscribe()));
        let last = &later[later.len() - 1];
        let id = |number: u64| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            DocId(id)
        };
        std::thread::scope(|scope| {
            scope.spawn(|| (0..CHANGES).for_each(|number| feeds.changed(id(number), &Heads::default())));
            let mut told = BTreeSet::new();
            let mut seen = 0;
            while seen < CHANGES {
                let changes = first.take();
                told.extend(last.take().into_iter().map(|(doc, _)| doc));
                seen += changes.len() as u64;
                assert!(changes.iter().all(|(doc, _)| told.contains(doc)), "a later one was told later");
            }
        });
    }
}
