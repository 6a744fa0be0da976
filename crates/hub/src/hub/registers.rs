//! What is asked of the folder's catalogue, and what is written to it: by the folder's task alone.

use super::*;

impl Hub {
    pub(crate) fn catalogue(&self) -> RwLockReadGuard<'_, Catalogue> {
        self.0.published.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of each agent, how many catalogue writes are known (and durable).
    pub fn catalogue_vector(&self) -> BTreeMap<AgentId, u64> {
        self.catalogue().vector().clone()
    }

    /// The catalogue writes that a replica with this vector lacks, and the vector it has after them.
    pub fn catalogue_since(&self, vector: &BTreeMap<AgentId, u64>) -> (Vec<Write>, BTreeMap<AgentId, u64>) {
        let catalogue = self.catalogue();
        (catalogue.writes_since(vector), catalogue.vector().clone())
    }

    /// Counts the catalogue's durable versions.
    pub fn catalogue_changed(&self) -> watch::Receiver<u64> {
        self.0.catalogue_changes.subscribe()
    }

    /// Merges catalogue writes from a peer, which has told its whole vector with them. Durable on return.
    ///
    /// # Errors
    /// [`HubError::BadName`] for a name that no file can have: nothing of the message is taken;
    /// [`HubError::StorageFull`], [`HubError::Store`].
    pub async fn merge_catalogue(
        &self,
        writes: Vec<Write>,
        vector: BTreeMap<AgentId, u64>,
    ) -> Result<(), HubError> {
        for write in &writes {
            if let Field::Path(path) = &write.field {
                RelPath::parse(path).map_err(HubError::BadName)?;
            }
        }
        self.ask_folder(|reply| FolderCommand::Merge { writes, vector, reply }).await
    }

    /// Writes registers, with other records in the same commit. Durable on return.
    pub(crate) async fn write_catalogue(
        &self,
        fields: Vec<(DocId, Field)>,
        records: Vec<Record>,
    ) -> Result<(), HubError> {
        self.ask_folder(|reply| FolderCommand::Write { fields, records, reply }).await
    }

    pub(crate) async fn tell_folder(&self, command: FolderCommand) {
        // The folder's task ends only with the hub.
        let _ = self.0.folder_commands.send(command).await;
    }

    pub(super) async fn ask_folder<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, HubError>>) -> FolderCommand,
    ) -> Result<T, HubError> {
        let (reply, answer) = oneshot::channel();
        self.tell_folder(command(reply)).await;
        answer.await.map_err(|_| HubError::Closed)?
    }

    /// Makes durable writes visible, and has the files of the documents they concern brought in step.
    pub(crate) fn publish_catalogue(&self, writes: &[Write], vector: &BTreeMap<AgentId, u64>) {
        {
            let mut published = self.0.published.write().unwrap_or_else(PoisonError::into_inner);
            writes.iter().for_each(|write| {
                let before = published.get(&write.doc).and_then(|entry| entry.path().cloned());
                published.merge(write);
                if let Field::Path(path) = &write.field {
                    self.0.twins.note(path);
                    if let Some(before) = before.filter(|before| before != path && self.has_file(write.doc)) {
                        lock(&self.0.renaming).insert(before, write.doc);
                    }
                }
            });
            published.merge_vector(vector);
        }
        self.note_unions(writes.iter().filter_map(|write| match &write.field {
            Field::Joined(joined) => Some((write.doc, joined.clone())),
            _ => None,
        }));
        self.0.catalogue_changes.send_modify(|count| *count += 1);
        self.visit(writes.iter().map(|write| write.doc));
    }

    /// Waits for the first scan of the folder.
    pub async fn scanned(&self) -> Result<(), HubError> {
        self.ask_folder(|reply| FolderCommand::Scanned { reply }).await
    }

    /// Says what to do about a mass deletion that was held: pass it on, or write the files again.
    ///
    /// # Errors
    /// [`HubError::Closed`].
    pub async fn decide_brake(&self, pass_on: bool) -> Result<usize, HubError> {
        self.ask_folder(|reply| FolderCommand::DecideBrake { pass_on, reply }).await
    }

    /// Why nothing can be recorded now, if that is so: a full or failing disk. It is tried again, unless the journal was
    /// found to have lost something ([`HubError::ReadOnly`]).
    pub fn recording_trouble(&self) -> Option<String> {
        self.0.recording.trouble()
    }

    /// Whether a mass deletion is held, or the folder itself is gone, and a decision is waited for.
    pub fn is_braked(&self) -> bool {
        self.0.deletions_held.load(Ordering::Relaxed) || self.0.root_gone.load(Ordering::Relaxed)
    }

    /// Brings a deleted file back, as it was when it was deleted.
    ///
    /// # Errors
    /// [`HubError::UnknownDocument`] when nothing was deleted at that path.
    pub async fn restore(&self, path: &str) -> Result<(), HubError> {
        let found = self.catalogue().deleted().get(path).copied();
        let doc = found.ok_or_else(|| HubError::UnknownDocument { name: path.to_owned() })?;
        self.write_catalogue(vec![(doc, Field::Life(syncline_engine::catalogue::Life::Alive))], Vec::new())
            .await
    }

    /// The paths of all living documents, sorted.
    pub fn document_paths(&self) -> Vec<String> {
        self.catalogue().paths().map(|(path, _)| path.to_owned()).collect()
    }

    /// The paths of all living texts, sorted.
    pub fn text_paths(&self) -> Vec<String> {
        let catalogue = self.catalogue();
        let is_text = |doc: &DocId| catalogue.get(doc).and_then(|entry| entry.kind()) == Some(&Kind::Text);
        let texts = catalogue.paths().filter(|(_, docs)| docs.first().is_some_and(is_text));
        texts.map(|(path, _)| path.to_owned()).collect()
    }

    /// The document at a path.
    pub fn document_at(&self, path: &str) -> Option<DocId> {
        self.catalogue().at(path).first().copied()
    }

    /// The hash of the content of a document that is not text.
    pub fn content_hash(&self, doc: DocId) -> Option<[u8; 32]> {
        self.catalogue().get(&doc)?.content().map(|content| content.hash)
    }
}
