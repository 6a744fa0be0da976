//! The contents of files that are not text.

use super::*;

impl Hub {
    /// The content with this hash, if it is in the journal.
    ///
    /// # Errors
    /// [`HubError::Store`].
    pub async fn content(&self, hash: [u8; 32]) -> Result<Option<Arc<[u8]>>, HubError> {
        self.read_journal(move |reader| Ok(reader.content(&hash)?.map(Arc::from))).await
    }

    /// Keeps a content; durable on return. Gives its hash.
    ///
    /// # Errors
    /// [`HubError::StorageFull`], [`HubError::Store`].
    pub async fn keep_content(&self, bytes: Arc<[u8]>) -> Result<[u8; 32], HubError> {
        let hash = *ContentHash::of(&bytes).as_bytes();
        self.commit(vec![Record::Content { hash, bytes: bytes.to_vec() }]).await?;
        let waiting: Vec<DocId> = {
            let catalogue = self.catalogue();
            let of = catalogue
                .iter()
                .filter(|(_, entry)| entry.content().is_some_and(|content| content.hash == hash));
            of.map(|(doc, _)| *doc).collect()
        };
        self.visit(waiting);
        Ok(hash)
    }

    /// Contents that the catalogue names for living files and the journal does not have.
    pub fn wanted_contents(&self) -> Vec<[u8; 32]> {
        let named: BTreeSet<[u8; 32]> = {
            let catalogue = self.catalogue();
            let alive = catalogue.iter().filter(|(_, entry)| {
                entry.is_alive() && matches!(entry.kind(), Some(Kind::Opaque | Kind::Link))
            });
            alive.filter_map(|(_, entry)| entry.content().map(|content| content.hash)).collect()
        };
        let reader = lock(&self.0.reader);
        // A content that cannot be looked up is asked for again: that does no harm.
        named.into_iter().filter(|hash| !reader.has_content(hash).unwrap_or(false)).collect()
    }

    /// Puts what was lost in a conflict in again (see [`crate::conflict_id`]). Durable on return; gives how many
    /// characters.
    ///
    /// # Errors
    /// [`HubError::UnknownDocument`] when there is no such file, or nothing was lost in such a conflict.
    pub async fn reinstate(&self, path: &str, conflict: &str) -> Result<usize, HubError> {
        let doc =
            self.document_at(path).ok_or_else(|| HubError::UnknownDocument { name: path.to_owned() })?;
        let conflict = conflict.to_owned();
        self.ask(doc, |reply| Command::Reinstate { conflict, reply }).await
    }
}
