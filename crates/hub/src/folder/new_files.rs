//! New files: of a document that was renamed, of one that was deleted, or of one that is made for them.

use super::*;

impl FolderTask {
    pub(super) async fn take_up_new(&mut self, now: Instant) {
        let due: Vec<RelPath> = self
            .new
            .iter()
            .filter(|(_, since)| **since + NEW_FILE_AGE <= now)
            .map(|(path, _)| path.clone())
            .take(CHUNK)
            .collect();
        let (mut create, mut renames) = (Vec::new(), Vec::new());
        for path in due {
            let since = self.new.remove(&path).unwrap_or(now);
            let doc = self.hub.catalogue().at(path.as_str()).first().copied();
            if let Some(doc) = doc.or_else(|| self.hub.renaming(&path)) {
                self.send_hint(doc, What::Metadata);
                continue;
            }
            let at = path.clone();
            let stat = match self.hub.on_disk(move |folder| folder.stat(&at)).await {
                Ok(Some(stat)) => stat,
                Ok(None) => continue,
                Err(error) => {
                    self.not_looked_at(path, &error);
                    continue;
                }
            };
            if stat.kind == FileKind::Directory {
                self.list_new(path).await;
                continue;
            }
            if stat.kind == FileKind::Other || self.ignored(&path, false) {
                continue;
            }
            match self.spelling(&path, &stat).await {
                Some(Spelling::Same(doc)) => {
                    self.send_hint(doc, What::Metadata);
                    continue;
                }
                Some(Spelling::New(doc)) => {
                    self.respell(doc, &path).await;
                    continue;
                }
                None => {}
            }
            if let Some(doc) = self.renamed_from(&path, &stat).await {
                if self.vanished.contains_key(&doc) {
                    self.rename(doc, &path).await;
                    continue;
                }
                let since = self.renames.remove(&path).unwrap_or(since);
                if now < since + RENAME_WAIT {
                    self.note_moved(&path, doc, since);
                    // It is asked about again until the old name was missed.
                    renames.push((path, since));
                    continue;
                }
            }
            create.push(path);
        }
        self.renames.extend(renames);
        if let Err(error) = self.create(create.clone(), false).await {
            self.hub.tell(HubEvent::Trouble { path: String::new(), what: error.to_string() });
            // Nothing is created then: tried again, for no event will tell of them.
            self.new.extend(create.into_iter().map(|path| (path, Instant::now() + RETRY)));
        }
    }

    pub(super) async fn list_new(&mut self, directory: RelPath) {
        let listed = directory.clone();
        let listing = match self.hub.on_disk(move |folder| folder.list(Some(&listed))).await {
            Ok(listing) => listing,
            Err(error) => return self.not_looked_at(directory, &error),
        };
        for entry in listing.entries {
            if self.may_be_new(&entry.path) && self.hub.catalogue().at(entry.path.as_str()).is_empty() {
                self.new.entry(entry.path).or_insert_with(Instant::now);
            }
        }
    }

    /// What is at a path cannot be found out now. Tried again, for no event will tell of it.
    pub(super) fn not_looked_at(&mut self, path: RelPath, error: &HubError) {
        self.hub.tell(HubEvent::Trouble { path: path.to_string(), what: error.to_string() });
        self.new.insert(path, Instant::now() + RESCAN / 5);
    }

    /// The document whose file this was under another name, by the rename or by the inode.
    pub(super) fn doc_before(&self, path: &RelPath, stat: &FileStat) -> Option<DocId> {
        self.moved.get(path).map(|(doc, _)| *doc).or_else(|| self.hub.doc_of_inode(stat))
    }

    /// The living document whose file this was and is not where it was.
    pub(super) async fn renamed_from(&self, path: &RelPath, stat: &FileStat) -> Option<DocId> {
        let doc = self.doc_before(path, stat)?;
        let old = {
            let catalogue = self.hub.catalogue();
            let entry = catalogue.get(&doc).filter(|entry| entry.is_alive())?;
            RelPath::parse(entry.path()?).ok()?
        };
        // A second name of the same inode (a hard link, an editor's backup) is a copy, not a rename.
        let there = self.hub.on_disk(move |folder| folder.stat(&old)).await.ok().flatten();
        there.is_none().then_some(doc)
    }

    /// The catalogue follows a file that was renamed. Gives whether it does; if not, it is tried again later, for no
    /// event will tell of it again.
    pub(super) async fn rename(&mut self, doc: DocId, to: &RelPath) -> bool {
        let Some(vanished) = self.vanished.remove(&doc) else { return true };
        let fields = vec![(doc, Field::Path(to.as_str().to_owned()))];
        let written = self.write(fields, Vec::new()).await;
        match written {
            Ok(()) => {
                self.hub.tell(HubEvent::Renamed { from: vanished.path.to_string(), to: to.to_string() });
                true
            }
            Err(error) => {
                self.hub.tell(HubEvent::Trouble { path: to.to_string(), what: error.to_string() });
                let again = Instant::now() + RETRY;
                self.new.insert(to.clone(), again);
                self.vanished.insert(doc, vanished);
                self.judge_at = Some(again);
                false
            }
        }
    }

    /// Makes documents of files, in one commit. A path whose document was deleted gets that one back, with
    /// its history.
    pub(super) async fn create(&mut self, paths: Vec<RelPath>, quiet: bool) -> Result<(), HubError> {
        if paths.is_empty() {
            return Ok(());
        }
        let dead = self.catalogue.deleted();
        let readings = self
            .hub
            .on_disk(move |folder| {
                let read = |path: RelPath| {
                    let reading = folder.read(&path, MAX_DOCUMENT_BYTES as u64);
                    (path, reading)
                };
                Ok(paths.into_iter().map(read).collect::<Vec<_>>())
            })
            .await?;
        let (mut fields, mut records, mut created) = (Vec::new(), Vec::new(), Vec::new());
        for (path, reading) in readings {
            let (bytes, stat, link) = match reading {
                Ok(Reading::Stable { bytes, stat, .. }) => (bytes, stat, false),
                Ok(Reading::Link { target, stat }) => (target.into_bytes(), stat, true),
                Ok(Reading::Busy { .. }) => {
                    self.new.insert(path, Instant::now());
                    continue;
                }
                Ok(Reading::TooLarge { stat, limit }) => {
                    let what =
                        format!("{} bytes long; files over {limit} bytes are not synchronised", stat.len);
                    self.hub.tell(HubEvent::Trouble { path: path.to_string(), what });
                    continue;
                }
                Ok(Reading::Missing | Reading::NotAFile { .. }) => continue,
                Err(error) => {
                    self.hub.tell(HubEvent::Trouble { path: path.to_string(), what: error.to_string() });
                    continue;
                }
            };
            if let Some(doc) = dead.get(&path.as_str()).copied() {
                self.revive(doc);
                continue;
            }
            let doc = self.hub.new_doc_id();
            let new = NewFile { hub: &self.hub, doc, path: &path, bytes, stat, link };
            let heads = new.records(&mut fields, &mut records);
            created.push((doc, path, stat, heads));
        }
        if created.is_empty() {
            return Ok(());
        }
        self.write(fields, records).await?;
        for (doc, path, stat, heads) in created {
            self.hub.note_inode(doc, &stat);
            if !heads.is_root() {
                self.hub.publish(doc, heads);
            }
            if !quiet {
                self.hub.tell(HubEvent::Created { path: path.to_string() });
            }
        }
        Ok(())
    }

    pub(super) fn revive(&self, doc: DocId) {
        let hub = self.hub.clone();
        tokio::spawn(async move { hub.send(doc, Command::Revive).await });
    }
}

/// What is recorded of a file that becomes a document.
struct NewFile<'a> {
    hub: &'a Hub,
    doc: DocId,
    path: &'a RelPath,
    bytes: Vec<u8>,
    stat: FileStat,
    link: bool,
}

impl NewFile<'_> {
    fn records(self, fields: &mut Vec<(DocId, Field)>, records: &mut Vec<Record>) -> Heads {
        let doc = self.doc;
        let hash = ContentHash::of(&self.bytes);
        let mut document = Document::new();
        let mut state = FileState::default();
        fields.push((doc, Field::Path(self.path.as_str().to_owned())));
        let decoded = match self.link {
            true => Decoded::Opaque(self.bytes),
            false => syncline_disk::decode(self.bytes),
        };
        match decoded {
            Decoded::Text { text, form } => {
                fields.push((doc, Field::Kind(Kind::Text)));
                let form = Form { bom: form.bom, crlf: form.endings == LineEndings::CrLf };
                if form != Form::default() {
                    fields.push((doc, Field::Form(form)));
                }
                let git = self.hub.git_at_work(self.path);
                let meta = if git { self.hub.git_meta() } else { self.hub.file_meta() };
                // One insertion into an empty text cannot be refused.
                if document.edit(&[Edit::insert(0, text)], self.hub.agent(), &meta).is_ok()
                    && document.events() > 0
                {
                    let heads = document.portable(document.version());
                    fields.push((doc, Field::Founded(heads.clone())));
                    records.push(if document.text().len_bytes() > SNAPSHOT_BYTES {
                        Record::Snapshot { doc, bytes: document.encode(), heads }
                    } else {
                        let batch = document.events_in(0..document.events()).encode();
                        Record::Events { doc, batch, heads }
                    });
                }
            }
            Decoded::Opaque(bytes) => {
                fields.push((doc, Field::Kind(if self.link { Kind::Link } else { Kind::Opaque })));
                let content = Content { hash: *hash.as_bytes(), len: bytes.len() as u64 };
                records.push(Record::Content { hash: content.hash, bytes });
                fields.push((doc, Field::Content(content)));
            }
        }
        fields.push((doc, Field::Mode(self.stat.mode & 0o777)));
        fields.push((doc, Field::Life(Life::Alive)));
        let version = document.version().clone();
        state.candidates.push(Candidate::new_hashed(version.clone(), hash, Maker::Other));
        state.on_disk =
            Some(OnDisk { path: self.path.clone(), hash, version: version.clone(), stat: self.stat });
        records.push(Record::File { doc, state: state.encode(&document) });
        document.portable(&version)
    }
}
