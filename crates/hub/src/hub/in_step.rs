//! Bringing documents' files in step: which wait for it, which cannot be, and what was found at the start.

use super::*;

impl Hub {
    /// Has the files of these documents brought in step, a bounded number at once.
    pub(crate) fn visit(&self, docs: impl IntoIterator<Item = DocId>) {
        lock(&self.0.to_visit).extend(docs);
        self.0.visit_wanted.notify_one();
    }

    /// As [`Hub::visit`], and its file is looked at.
    pub(crate) fn visit_to_look(&self, doc: DocId) {
        lock(&self.0.to_look).insert(doc);
        self.visit([doc]);
    }

    /// Whether the document's file is to be looked at. Asked once.
    pub(crate) fn take_look(&self, doc: DocId) -> bool {
        lock(&self.0.to_look).remove(&doc)
    }

    pub(super) fn note_unions(&self, joined: impl Iterator<Item = (DocId, Joined)>) {
        let mut unions = lock(&self.0.unions);
        for (loser, joined) in joined {
            let of = unions.entry(joined.into).or_default();
            of.retain(|(other, _)| *other != loser);
            of.push((loser, joined.union_at));
        }
    }

    /// The documents that were joined into this one, and its version with the text of each.
    pub(crate) fn unions_of(&self, doc: DocId) -> Vec<(DocId, Heads)> {
        lock(&self.0.unions).get(&doc).cloned().unwrap_or_default()
    }

    /// The file of a document that was joined into `doc` is `doc`'s now.
    pub(crate) fn inherit(&self, doc: DocId, file: Inherited) {
        lock(&self.0.inherited).insert(doc, file);
        self.visit([doc]);
    }

    /// The document whose file is still at a path that is not its own any more.
    pub(crate) fn renaming(&self, path: &RelPath) -> Option<DocId> {
        lock(&self.0.renaming).get(path.as_str()).copied()
    }

    /// The file of a document is at this path, or nowhere: at no other.
    pub(crate) fn note_place(&self, doc: DocId, path: Option<&RelPath>) {
        let mut renaming = lock(&self.0.renaming);
        renaming.retain(|at, of| *of != doc || path.is_some_and(|path| path.as_str() == at.as_str()));
    }

    pub(crate) fn take_inherited(&self, doc: DocId) -> Option<Inherited> {
        lock(&self.0.inherited).remove(&doc)
    }

    /// Whether a document has a file here, as far as is known.
    pub(crate) fn has_file(&self, doc: DocId) -> bool {
        lock(&self.0.inodes).values().any(|of| *of == doc)
    }

    /// The file of this document was looked at and judged, or written: it is no longer as the hub before this one left it.
    pub(crate) fn take_startup(&self, doc: DocId) {
        let mut startup = lock(&self.0.startup);
        let was_fresh = startup.remove(&doc);
        if was_fresh && startup.is_empty() && self.0.listed.load(Ordering::Relaxed) {
            self.note_boot();
        }
    }

    /// Whether the file of this document was known to the hub before this one, and was not judged since.
    pub(crate) fn is_startup(&self, doc: DocId) -> bool {
        lock(&self.0.startup).contains(&doc)
    }

    /// Whether all files were listed since the hub was opened.
    pub(crate) fn is_listed(&self) -> bool {
        self.0.listed.load(Ordering::Relaxed)
    }

    /// Has the files looked at that are still to be judged by what is known of them since the hub before this one.
    pub(crate) fn look_at_startup(&self) {
        let waiting: Vec<DocId> = lock(&self.0.startup).iter().copied().collect();
        waiting.into_iter().for_each(|doc| self.visit_to_look(doc));
    }

    /// What was to be done about it failed: it is still to be looked at.
    pub(crate) fn put_startup(&self, doc: DocId) {
        lock(&self.0.startup).insert(doc);
    }

    /// All files were listed: those that did not change are looked at.
    pub(crate) fn note_listed(&self, living: &BTreeSet<DocId>) {
        self.0.listed.store(true, Ordering::Relaxed);
        let mut startup = lock(&self.0.startup);
        startup.retain(|doc| living.contains(doc));
        if startup.is_empty() {
            self.note_boot();
        }
    }

    /// What a power cut may have done to files has been looked at: from now on they hold what somebody saved.
    pub(super) fn note_boot(&self) {
        if let Some(value) = self.0.probe.boot.clone() {
            // Not waited for: otherwise they are looked at once more.
            self.0.journal.commit(vec![Record::Setting { name: "boot".into(), value }], |_| ());
        }
    }

    pub(crate) fn note_settled(&self, doc: DocId, settled: bool) {
        let mut unsettled = lock(&self.0.unsettled);
        if settled {
            unsettled.remove(&doc);
        } else {
            unsettled.insert(doc);
        }
    }

    /// How many documents' files are not in step yet, as far as is known.
    pub fn unsettled(&self) -> usize {
        let waiting = lock(&self.0.to_visit).len() + lock(&self.0.unsettled).len();
        waiting + (VISITS - self.0.visits.available_permits())
    }

    /// Notes whether the file of a document could be brought in step, or why not, which is told once.
    pub(crate) fn note_failing(&self, doc: DocId, why: Option<String>) {
        let mut failing = lock(&self.0.failing);
        let Some(what) = why else {
            failing.remove(&doc);
            return;
        };
        if failing.insert(doc, what.clone()).as_ref() != Some(&what) {
            let path = self.catalogue().get(&doc).and_then(|entry| entry.path().cloned());
            self.tell(HubEvent::Trouble { path: path.unwrap_or_else(|| doc.to_string()), what });
        }
    }

    /// Living documents whose files cannot be read or written, by their paths, and why.
    pub fn failing(&self) -> BTreeMap<String, String> {
        let failing = lock(&self.0.failing).clone();
        let catalogue = self.catalogue();
        let living = |doc| catalogue.get(doc).filter(|entry| entry.is_alive()).and_then(|entry| entry.path());
        failing.iter().filter_map(|(doc, why)| Some((living(doc)?.clone(), why.clone()))).collect()
    }

    /// How many living documents have no file here that says what they say (yet, or because it cannot be written). Not
    /// those whose names are never written for a peer.
    pub fn unwritten_files(&self) -> usize {
        let present: BTreeSet<DocId> = lock(&self.0.inodes).values().copied().collect();
        let failing = self.failing();
        let catalogue = self.catalogue();
        let unwritten = catalogue.paths().filter(|(path, docs)| {
            (docs.iter().all(|doc| !present.contains(doc)) || failing.contains_key(*path))
                && !RelPath::parse(path).is_ok_and(|path| syncline_disk::is_refused_from_network(&path))
        });
        unwritten.count()
    }

    pub(super) async fn visit_documents(self) {
        let closing = self.closed();
        let visit = async {
            // Before the peer's history is there no file is touched, and permits would only be held.
            let _ = self.0.gate.subscribe().wait_for(|open| *open).await;
            loop {
                let doc = loop {
                    let notified = self.0.visit_wanted.notified();
                    if let Some(doc) = lock(&self.0.to_visit).pop_first() {
                        break doc;
                    }
                    notified.await;
                };
                let Ok(permit) = self.0.visits.clone().acquire_owned().await else { return };
                if self.send(doc, Command::Visit { permit: Some(permit) }).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = closing => {}
            () = visit => {}
        }
    }
}
