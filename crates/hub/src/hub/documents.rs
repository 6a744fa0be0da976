//! The documents' tasks: started when somebody asks for one, ended when it rests.

use super::*;

impl Hub {
    /// Every document with events, at its durable version.
    pub fn heads(&self) -> Vec<(DocId, Heads)> {
        lock(&self.0.heads).iter().map(|(doc, heads)| (*doc, heads.clone())).collect()
    }

    /// A document's durable version.
    pub fn heads_of(&self, doc: DocId) -> Heads {
        lock(&self.0.heads).get(&doc).cloned().unwrap_or_default()
    }

    /// Which documents change from now on.
    pub fn changes(&self) -> ChangeFeed {
        self.0.feeds.subscribe()
    }

    pub(crate) fn publish(&self, doc: DocId, heads: Heads) {
        // In this order: who is woken looks the version up.
        lock(&self.0.heads).insert(doc, heads.clone());
        self.0.feeds.changed(doc, &heads);
    }

    /// What the journal had of a document was set aside: links ask their peers for it.
    pub(crate) fn publish_nothing(&self, doc: DocId) {
        lock(&self.0.heads).remove(&doc);
        self.0.feeds.changed(doc, &Heads::default());
    }

    /// Merges a peer's events. Durable on return; gives the version after them.
    ///
    /// # Errors
    /// [`HubError::Missing`], [`HubError::Equivocation`], [`HubError::BadPosition`]: refused whole.
    pub async fn merge_events(&self, doc: DocId, batch: EventBatch) -> Result<Heads, HubError> {
        self.ask(doc, |reply| Command::Merge { batch, reply }).await
    }

    /// The events that a replica lacks which has these, and the version after them.
    ///
    /// # Errors
    /// [`HubError::Damaged`], [`HubError::Store`].
    pub async fn events_since(&self, doc: DocId, have: Have) -> Result<(EventBatch, Heads), HubError> {
        self.ask(doc, |reply| Command::EventsSince { have, reply }).await
    }

    /// Of each agent, how many of its events a document has.
    ///
    /// # Errors
    /// As [`Hub::events_since`].
    pub async fn vector_of(&self, doc: DocId) -> Result<Vec<(AgentId, u64)>, HubError> {
        self.ask(doc, |reply| Command::Vector { reply }).await
    }

    pub(crate) async fn ask<T>(
        &self,
        doc: DocId,
        command: impl FnOnce(oneshot::Sender<Result<T, HubError>>) -> Command,
    ) -> Result<T, HubError> {
        let (reply, answer) = oneshot::channel();
        self.send(doc, command(reply)).await?;
        let answer = answer.await.map_err(|_| HubError::Closed)?;
        // What it names is among what the journal lost: nobody is to take it for a mistake of their own.
        let unknown = |error: &HubError| {
            matches!(error, HubError::BadBase | HubError::BadPosition { .. } | HubError::Missing { .. })
        };
        match answer {
            Err(error) if unknown(&error) && self.0.recording.is_read_only() => Err(HubError::ReadOnly),
            answer => answer,
        }
    }

    /// Hands a command to a document's task, starting one if none runs.
    pub(crate) async fn send(&self, doc: DocId, command: Command) -> Result<(), HubError> {
        let mut command = command;
        loop {
            let handle = self.handle(doc)?;
            match handle.commands.send(command).await {
                Ok(()) => return Ok(()),
                // It ended (idle) between looking it up and sending: start another.
                Err(refused) => command = refused.0,
            }
            self.forget(doc, &handle.commands);
            // While the runtime shuts down no new task runs: without a pause this would go on for ever.
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn handle(&self, doc: DocId) -> Result<Handle, HubError> {
        if *self.0.closing.borrow() {
            return Err(HubError::Closed);
        }
        let mut documents = lock(&self.0.documents);
        if let Some(handle) = documents.get(&doc)
            && !handle.commands.is_closed()
        {
            return Ok(handle.clone());
        }
        let (commands, mailbox) = mpsc::channel(MAILBOX);
        let (published, durable) = watch::channel(0);
        let handle = Handle { commands, durable };
        documents.insert(doc, handle.clone());
        tokio::spawn(DocumentTask::new(self.clone(), doc, mailbox, published).run());
        Ok(handle)
    }

    /// The task of a document, if one runs.
    pub(crate) fn running(&self, doc: DocId) -> Option<Handle> {
        lock(&self.0.documents).get(&doc).cloned()
    }

    /// How many documents are in memory.
    pub fn live_documents(&self) -> usize {
        lock(&self.0.documents).len()
    }

    /// Takes an ended (or ending) task out of the register, if it is still the registered one.
    pub(crate) fn forget(&self, doc: DocId, commands: &mpsc::Sender<Command>) {
        let mut documents = lock(&self.0.documents);
        if documents.get(&doc).is_some_and(|handle| handle.commands.same_channel(commands)) {
            documents.remove(&doc);
        }
    }

    pub(crate) fn forget_closed(&self, doc: DocId) {
        let mut documents = lock(&self.0.documents);
        if documents.get(&doc).is_some_and(|handle| handle.commands.is_closed()) {
            documents.remove(&doc);
        }
    }
}
