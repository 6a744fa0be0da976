//! What the watch sees, handed to the documents whose files it is about, and remembered of files that are none yet.

use super::*;

impl FolderTask {
    pub(super) async fn hints(&mut self, batch: Vec<Hint>) {
        for Hint { path, what } in batch {
            match (path, what) {
                (repository, What::GitActivity) => self.hub.note_git(repository),
                (_, What::RootGone) => self.root_gone(),
                (path, What::LimitReached { hint }) => {
                    self.hub.tell(HubEvent::WatchLimit { hint });
                    let _ = path;
                }
                (_, What::Rescan) if planted(Planted::IgnoredRescan) => {}
                (_, What::Rescan) => {
                    self.hub.note_loss();
                    self.scan_at = Some(Instant::now());
                }
                (Some(path), what) => self.hint(path, what).await,
                (None, _) => {}
            }
        }
    }

    pub(super) async fn hint(&mut self, path: RelPath, what: What) {
        if path.as_str() == IGNORE_FILE && ignoring::may_change(&what) {
            self.look_at_ignore().await;
        }
        let is_dir = matches!(
            what,
            What::Created { dir: true }
                | What::Removed { dir: true }
                | What::MovedFrom { dir: true, .. }
                | What::MovedTo { dir: true, .. }
        );
        if is_dir {
            self.directory(path, &what).await;
            return;
        }
        self.note_move(&path, &what);
        let reading =
            matches!(what, What::Opened | What::Accessed | What::ClosedNoWrite | What::Exchanged { .. });
        let exact = self.hub.catalogue().at(path.as_str()).first().copied();
        let exact = exact.or_else(|| self.hub.renaming(&path));
        if exact.is_none() {
            if matches!(what, What::Removed { .. } | What::MovedFrom { .. }) {
                self.new.remove(&path);
            } else if !reading && self.may_be_new(&path) {
                // Also one that was made readable.
                self.new.insert(path.clone(), Instant::now());
            }
        }
        let Some(doc) = exact.or_else(|| self.spelled_otherwise(&path)) else { return };
        if !reading {
            self.send_hint(doc, what);
            return;
        }
        // Evidence only: not worth waking a document for.
        let sent = match self.hub.running(doc) {
            Some(handle) => handle.commands.try_send(Command::Hint(what)),
            None => Err(TrySendError::Closed(Command::Hint(what))),
        };
        match sent {
            Ok(()) => {}
            Err(TrySendError::Closed(Command::Hint(what))) => self.hub.0.resting.see(doc, &what),
            Err(_) => self.hub.note_loss(),
        }
    }

    /// Remembers which document's file a rename moved, and to where: the file may be saved anew under its new name,
    /// by another inode, before it is taken up.
    pub(super) fn note_move(&mut self, path: &RelPath, what: &What) {
        let now = Instant::now();
        match what {
            What::MovedFrom { cookie, dir: false } => {
                self.cookies.retain(|_, (_, since)| *since + RENAME_WAIT > now);
                self.moved.retain(|_, (_, since)| *since + RENAME_WAIT > now);
                if let Some(doc) = self.hub.catalogue().at(path.as_str()).first()
                    && self.cookies.len() < MAX_MOVES
                {
                    self.cookies.insert(*cookie, (*doc, now));
                }
            }
            What::MovedTo { cookie, dir: false } => {
                if let Some((doc, since)) = self.cookies.remove(cookie) {
                    self.note_moved(path, doc, since);
                }
            }
            _ => {}
        }
    }

    /// A document's file was renamed to this, by what is known of it now.
    pub(super) fn note_moved(&mut self, path: &RelPath, doc: DocId, since: Instant) {
        if self.moved.len() < MAX_MOVES {
            self.moved.insert(path.clone(), (doc, since));
        }
    }

    /// Never waits: a document whose mailbox is full looks at its file when it is visited.
    pub(super) fn send_hint(&mut self, doc: DocId, what: What) {
        let Ok(handle) = self.hub.handle(doc) else { return };
        if handle.commands.try_send(Command::Hint(what)).is_err() {
            self.hub.forget_closed(doc);
            self.hub.visit_to_look(doc);
        }
    }

    pub(super) async fn directory(&mut self, path: RelPath, what: &What) {
        match what {
            What::Removed { .. } | What::MovedFrom { .. } => {
                let below = format!("{path}/");
                let docs: Vec<DocId> = {
                    let catalogue = self.hub.catalogue();
                    catalogue.paths_under(&below).flat_map(|(_, docs)| docs.to_vec()).collect()
                };
                for doc in docs {
                    self.send_hint(doc, What::Removed { dir: false });
                }
            }
            _ => {
                // Its files follow as hints of their own; a directory moved in may have brought files that
                // no event tells of.
                if self.may_be_new(&path) {
                    self.new.insert(path, Instant::now());
                }
            }
        }
    }

    pub(super) fn may_be_new(&self, path: &RelPath) -> bool {
        self.hub.0.only.as_ref().is_none_or(|only| only == path || path_above(path, only))
            && !self.ignored(path, false)
    }

    pub(super) fn ignored(&self, path: &RelPath, is_dir: bool) -> bool {
        self.hub.0.ignore.read().unwrap_or_else(PoisonError::into_inner).is_ignored(path, is_dir)
    }
}
