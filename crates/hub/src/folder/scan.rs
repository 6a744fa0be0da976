//! Listing the whole folder: at the start, after lost events, and now and then.

use super::*;

impl FolderTask {
    /// Lists the whole folder: hands changed files to their documents, takes up new ones, and has missing
    /// ones missed.
    pub(super) async fn scan(&mut self) -> Result<(), HubError> {
        if !self.scanned {
            self.tell_ignore_problems();
        }
        // Its event may have been among those that were lost, or have come before there was a watch.
        self.look_at_ignore().await;
        if !self.scanned && !self.hub.probe().events {
            let file_system = self.hub.probe().file_system.clone();
            self.hub.tell(HubEvent::Polled { file_system });
        }
        // Before the intents are read: a save that begins later has its intent there before its temporary here.
        self.list_leftovers().await;
        let (states, intents) =
            self.hub.read_journal(|reader| Ok((reader.files()?, reader.intents()?))).await?;
        // Saves that were under way when the program ended: their documents find out how far they came.
        let under_way: BTreeSet<String> =
            intents.iter().filter_map(|(_, intent)| temporary_of(intent)).collect();
        if !self.scanned {
            self.hub.visit(intents.iter().map(|(doc, _)| *doc));
        }
        let intended: BTreeMap<DocId, (RelPath, ContentHash)> =
            intents.iter().filter_map(|(doc, intent)| Some((*doc, target_of(intent).ok()?))).collect();
        let mut held: BTreeMap<DocId, Held> = BTreeMap::new();
        let mut recorded: HashMap<DocId, (RelPath, FileStat)> = HashMap::with_capacity(states.len());
        for (doc, state) in &states {
            if let Ok(Some(place)) = place_of(state) {
                self.hub.note_inode(*doc, &place.1);
                recorded.insert(*doc, place);
                if let Ok(Some(of_file)) = held_in_state(state) {
                    held.insert(*doc, of_file);
                }
            }
        }
        let Listed { found, unreadable } = self.list_all().await?;
        let known: BTreeMap<String, DocId> = {
            let catalogue = self.hub.catalogue();
            catalogue.paths().filter_map(|(path, docs)| Some((path.to_owned(), *docs.first()?))).collect()
        };
        self.files_before = known.len();
        let mut present: BTreeSet<DocId> = BTreeSet::new();
        let mut fresh = Vec::new();
        for (path, stat) in found {
            match known.get(path.as_str()) {
                Some(doc) => {
                    present.insert(*doc);
                    let same = recorded.get(doc).is_some_and(|(at, then)| {
                        *at == path && then.same_content(&stat) && then.mode == stat.mode
                    });
                    if !same {
                        self.send_hint(*doc, What::Metadata);
                        self.hub.visit([*doc]);
                    } else if !intended.contains_key(doc) {
                        self.hub.take_startup(*doc);
                        if !self.scanned && held.get(doc).is_some_and(|held| self.is_behind(*doc, held)) {
                            // Recorded, and the hub before this one was killed before it wrote that.
                            self.hub.visit([*doc]);
                        }
                    }
                }
                None => fresh.push((path, stat)),
            }
        }
        // Never written here: its file is to be made. Otherwise it vanished while nobody looked.
        let had_file = |doc: &DocId| recorded.contains_key(doc) || intended.contains_key(doc);
        let mut missing: Vec<Missing> = Vec::new();
        // What is below a directory that cannot be listed is there for all that is known.
        let hidden = |path: &String| {
            RelPath::parse(path).is_ok_and(|path| unreadable.iter().any(|above| path.is_below(above)))
        };
        for (path, doc) in known.iter().filter(|(path, doc)| !present.contains(doc) && !hidden(path)) {
            if had_file(doc) {
                let hash = intended.get(doc).map(|(_, hash)| *hash);
                let hash = hash.or(held.get(doc).map(|held| held.hash));
                let at = recorded.get(doc).map(|(at, _)| at).or(intended.get(doc).map(|(at, _)| at)).cloned();
                missing.push(Missing { doc: *doc, path: path.clone(), at, hash });
            }
            self.hub.visit([*doc]);
        }
        if !self.scanned {
            let paths: BTreeSet<RelPath> = fresh.iter().map(|(path, _)| path.clone()).collect();
            for (doc, (at, _)) in recorded.iter().filter(|(_, (at, _))| !paths.contains(at)) {
                // Deleted elsewhere; its file may have been renamed here before that was known.
                if self.catalogue.get(doc).is_some_and(|entry| !entry.is_alive() && entry.joined().is_none())
                    && !known.contains_key(at.as_str())
                {
                    let hash = held.get(doc).map(|held| held.hash);
                    missing.push(Missing { doc: *doc, path: at.to_string(), at: Some(at.clone()), hash });
                    self.hub.visit([*doc]);
                }
            }
            missing = self.find_renamed(missing, &mut fresh).await?;
            missing.retain(|missing| self.catalogue.get(&missing.doc).is_some_and(Entry::is_alive));
        }
        for Missing { doc, .. } in missing.into_iter().filter(|missing| recorded.contains_key(&missing.doc)) {
            self.send_hint(doc, What::Removed { dir: false });
        }
        let mut displaced: BTreeSet<DisplacedId> =
            under_way.iter().filter_map(|name| DisplacedId::of_temporary(name)).collect();
        displaced.extend(states.iter().filter_map(|(_, state)| displaced_of(state).ok()).flatten());
        self.tidy(&under_way, &displaced).await;
        let total = fresh.len();
        let (renamed, created): (Vec<_>, Vec<_>) = fresh.into_iter().partition(|(_, stat)| {
            self.hub.doc_of_inode(stat).is_some_and(|doc| known.values().any(|known| *known == doc))
        });
        // May be renames: wait for the old name to be missed.
        let now = Instant::now();
        for (path, stat) in renamed {
            if let Some(doc) = self.hub.doc_of_inode(&stat) {
                self.note_moved(&path, doc, now);
            }
            self.renames.insert(path, now);
        }
        let paths: Vec<RelPath> = created.into_iter().map(|(path, _)| path).collect();
        for (index, chunk) in paths.chunks(CHUNK).enumerate() {
            self.hub.tell(HubEvent::Scanning { done: index * CHUNK, total });
            self.create(chunk.to_vec(), total > 1000).await?;
        }
        if total > 0 {
            self.hub.tell(HubEvent::Scanning { done: total, total });
        }
        if !self.scanned {
            let paths: Vec<String> = self.catalogue.paths().map(|(path, _)| path.to_owned()).collect();
            self.part_twins(paths.iter());
        }
        if !self.scanned && self.hub.resolves() {
            // What a kill interrupted.
            self.resolve_all();
        }
        if !self.scanned {
            self.hub.note_listed(&known.values().copied().collect());
        }
        self.keep_to_quota().await?;
        self.scanned = true;
        if self.leftovers.as_ref().is_none_or(|left| !left.is_empty()) {
            self.scan_at = Some(Instant::now() + RETRY);
        }
        self.waiting_for_scan.drain(..).for_each(|reply| drop(reply.send(Ok(()))));
        Ok(())
    }

    /// Whether a file that held this does not hold what its document says.
    fn is_behind(&self, doc: DocId, held: &Held) -> bool {
        let content =
            self.hub.catalogue().get(&doc).and_then(|entry| entry.content().map(|content| content.hash));
        held.rewrite
            || self.hub.heads_of(doc) != held.heads
            || content.is_some_and(|content| content != *held.hash.as_bytes())
    }

    async fn list_all(&self) -> Result<Listed, HubError> {
        let hub = self.hub.clone();
        self.hub
            .on_disk(move |folder| {
                let ignore = hub.0.ignore.read().unwrap_or_else(PoisonError::into_inner);
                let (mut found, mut unreadable) = (Vec::new(), Vec::new());
                let mut directories: Vec<Option<RelPath>> = vec![None];
                while let Some(directory) = directories.pop() {
                    let listing = match folder.list(directory.as_ref()) {
                        Ok(listing) => listing,
                        // It vanished since its parent was listed.
                        Err(syncline_disk::DiskError::NotFound(_)) if directory.is_some() => continue,
                        Err(error) => match directory {
                            Some(directory) => {
                                let what = error.to_string();
                                hub.tell(HubEvent::Trouble { path: directory.to_string(), what });
                                unreadable.push(directory);
                                continue;
                            }
                            None => return Err(error),
                        },
                    };
                    for refused in listing.refused {
                        hub.tell(HubEvent::Trouble {
                            path: String::new(),
                            what: format!("not synchronised: {refused}"),
                        });
                    }
                    for entry in listing.entries {
                        let is_dir = entry.stat.kind == FileKind::Directory;
                        let only = hub.0.only.as_ref();
                        if ignore.is_ignored(&entry.path, is_dir)
                            || only.is_some_and(|only| *only != entry.path && !path_above(&entry.path, only))
                        {
                            continue;
                        }
                        match entry.stat.kind {
                            FileKind::Directory => directories.push(Some(entry.path)),
                            FileKind::File | FileKind::Link => found.push((entry.path, entry.stat)),
                            FileKind::Other => {}
                        }
                    }
                }
                Ok(Listed { found, unreadable })
            })
            .await
    }
}

/// What a folder holds.
struct Listed {
    /// Its files and links.
    found: Vec<(RelPath, FileStat)>,
    /// Directories that could not be listed.
    unreadable: Vec<RelPath>,
}
