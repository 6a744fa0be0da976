//! Writing what the document says into the file.

use std::sync::Arc;
use syncline_disk::planted::{Planted, planted};
use syncline_disk::{
    ContentHash, DisplacedId, Expect, FileBytes, FileKind, FileStat, How, Save, Saved, Sync, temporary_name,
};
use syncline_engine::Version;
use syncline_engine::catalogue::{Form, Kind};
use syncline_store::Record;
use tokio::time::Instant;

use super::session::*;
use super::*;
use crate::document::DocumentTask;
use crate::error::HubError;
use crate::event::HubEvent;
use crate::mirror::{Candidate, Displaced, Evidence, Intent, Maker, OnDisk};

impl DocumentTask {
    /// Writes what the document says into the file.
    pub(super) async fn write(&mut self, wanted: Wanted) -> Result<(), HubError> {
        let began = Instant::now();
        let temporary = temporary_name(self.hub.random_u64());
        let ahead = self.write_ahead(&wanted, &temporary).await?;
        let written = self.write_as(wanted, temporary.clone(), ahead, began).await;
        if ahead {
            // If that fails the next start does it.
            let _ = self.hub.on_disk(move |folder| folder.clear_ahead(Some(&temporary))).await;
        }
        written
    }

    /// Writes a large text that is to replace a file ahead of the save, which finds out its hash on the way: so it
    /// is gone through once, not twice. Returns whether that was done.
    async fn write_ahead(&mut self, wanted: &Wanted, temporary: &str) -> Result<bool, HubError> {
        let Some(document) = self.document() else { return Err(HubError::Closed) };
        let version = document.version().clone();
        let replaces = self
            .file
            .on_disk
            .as_ref()
            .is_some_and(|old| old.stat.kind == FileKind::File && old.stat.links == 1);
        let known =
            self.file.encoded.as_ref().is_some_and(|(of, form, _)| (of, form) == (&version, &wanted.form));
        if wanted.kind != Kind::Text || !replaces || known || !self.is_lent(document, wanted.form) {
            return Ok(false);
        }
        let bytes = self.lend_text().ok_or(HubError::Closed)?;
        let (path, name) = (wanted.path.clone(), temporary.to_owned());
        let hash = self.hub.on_disk(move |folder| folder.write_ahead(&path, &bytes, &name)).await;
        self.take_text_back();
        // Where it is not possible (no room in `.syncline`, no thread) the save itself may be.
        let Ok(Some(hash)) = hash else { return Ok(false) };
        if self.document().is_none() {
            return Err(HubError::Closed);
        }
        self.file.encoded = Some((version, wanted.form, hash));
        Ok(true)
    }

    /// Writes under the name of a temporary; `ahead`: what is to be written is there already. `began`: when the work
    /// on this write began.
    async fn write_as(
        &mut self,
        wanted: Wanted,
        temporary: String,
        ahead: bool,
        began: Instant,
    ) -> Result<(), HubError> {
        let Some((version, bytes, hash)) = self.bytes_wanted(&wanted).await? else {
            // A content that has not come yet.
            self.file.visited = false;
            return Ok(());
        };
        self.file.rewrite = false;
        let now = self.hub.uptime();
        let old = self.file.on_disk.clone();
        if let Some(on_disk) = &mut self.file.on_disk
            && on_disk.hash == hash
        {
            // The same bytes by other events (one of two copies went): the next save is made from these.
            self.file.candidates.set_newest_version(hash, &version);
            on_disk.version = version;
            self.file.dirty = true;
            return Ok(());
        }
        let intent = Intent {
            path: wanted.path.clone(),
            temporary: temporary.clone(),
            old: old.as_ref().map(|old| (old.version.clone(), old.hash)),
            new: (version.clone(), hash),
        };
        let Some(document) = self.document() else { return Err(HubError::Closed) };
        let intent = Record::Intent { doc: self.id, intent: intent.encode(document) };
        // The last save is known only by the intent that this one replaces: without its outcome a kill now
        // would leave a file whose bytes nobody knows, and an old text would be taken for a deletion.
        let mut records = if self.file.dirty { self.file_record() } else { Vec::new() };
        if !planted(Planted::NoIntent) {
            records.push(intent);
        }
        // Everything the file is about to show must be durable first, and so must the intent.
        self.commit(records).await?;
        let expect = match &old {
            None => Expect::Absent,
            Some(old) if old.stat.kind == FileKind::Link => {
                let target = self.hub.content(*old.hash.as_bytes()).await?.unwrap_or_default();
                Expect::Link(String::from_utf8_lossy(&target).into_owned())
            }
            Some(old) => Expect::File(old.hash),
        };
        let seen = self.file.seen;
        let (path, mode, shown) = (wanted.path.clone(), wanted.mode, temporary.clone());
        let file_bytes = match bytes {
            Some(bytes) => bytes,
            None => self.lend_text().ok_or(HubError::Closed)?,
        };
        let link =
            (wanted.kind == Kind::Link).then(|| String::from_utf8_lossy(&file_bytes.to_bytes()).into_owned());
        let saved = self
            .hub
            .on_disk(move |folder| match link {
                Some(target) => folder.make_link(&path, &target, &expect, &temporary),
                None => folder.save(&Save {
                    path,
                    bytes: file_bytes,
                    expect,
                    seen,
                    mode,
                    temporary,
                    sync: Sync::Full,
                    ahead,
                }),
            })
            .await;
        self.take_text_back();
        let saved = saved?;
        // A large file is not written again for every keystroke: at most half of the time goes into it.
        self.file.write_at = self.hub.uptime() + began.elapsed();
        let shows = !matches!(saved, Saved::Done { how: How::InPlace, .. } | Saved::Busy | Saved::Differs(_));
        if shows {
            let before = old.as_ref().map(|old| old.hash);
            let at = self.hub.uptime();
            self.file.unshown.push_back(Unshown { temporary: shown, before, after: hash, at });
            if self.file.unshown.len() > MAX_UNSHOWN {
                self.file.unshown.pop_front();
            }
        }
        match saved {
            Saved::Done { stat, displaced, .. } => {
                self.wrote(&wanted, version, hash, stat, displaced, old.as_ref());
                self.hub.tell(HubEvent::Written { path: wanted.path.to_string() });
                Ok(())
            }
            Saved::Raced { stat, .. } if planted(Planted::IgnoredRace) => {
                self.wrote(&wanted, version, hash, stat, None, old.as_ref());
                Ok(())
            }
            Saved::Raced { stat, displaced, .. } => {
                // Somebody saved between our look and the exchange, or is at it: what came out may be half
                // of it. It is kept, and entered once its writer is done.
                self.file.settle_first.push(displaced.clone());
                self.wrote(&wanted, version, hash, stat, Some(displaced), old.as_ref());
                self.file.settle_at = self.hub.uptime() + SHOWN_WITHIN;
                self.file.visited = true;
                Ok(())
            }
            Saved::Busy => {
                self.file.busy_since.get_or_insert(now);
                self.file.look_at = Some(self.hub.uptime() + BUSY_RETRY);
                self.file.visited = true;
                Ok(())
            }
            Saved::Differs(_) => {
                self.file.look_at = Some(self.hub.uptime());
                self.file.missing_since = None;
                self.file.visited = true;
                Ok(())
            }
        }
    }

    /// Our bytes are in the file.
    pub(super) fn wrote(
        &mut self,
        wanted: &Wanted,
        version: Version,
        hash: ContentHash,
        stat: FileStat,
        displaced: Option<DisplacedId>,
        old: Option<&OnDisk>,
    ) {
        self.hub.take_startup(self.id);
        if let (Some(id), Some(old)) = (displaced, old) {
            self.file.displaced.push(Displaced { id, version: old.version.clone(), hash: old.hash });
            self.file.settle_at = self.hub.uptime() + SETTLE_EVERY;
        }
        let mut candidate = Candidate::new_hashed(version.clone(), hash, Maker::Us);
        // Until the watch has told of our write, and where there is no watch.
        candidate.evidence = Evidence::Unknown;
        if wanted.kind == Kind::Text {
            if let Some((of, text)) = self.file.text.take()
                && of == version
            {
                candidate = candidate.with_text(text);
            }
            self.file.candidates.push(candidate);
        }
        self.file.missing_since = None;
        self.file.removed = false;
        self.file.seen = Some(stat);
        self.set_on_disk(wanted.path.clone(), hash, version, stat);
    }

    /// What the file should hold: the version, the bytes (`None`: the document's text as it is, which is not
    /// copied) and their hash. `None`: a content not here yet.
    pub(super) async fn bytes_wanted(
        &mut self,
        wanted: &Wanted,
    ) -> Result<Option<(Version, Option<FileBytes>, ContentHash)>, HubError> {
        let Some(document) = self.document() else { return Err(HubError::Closed) };
        let version = document.version().clone();
        if wanted.kind == Kind::Text && self.is_lent(document, wanted.form) {
            let hash = match &self.file.encoded {
                Some((of, form, hash)) if (of, form) == (&version, &wanted.form) => *hash,
                _ => hash_of(document, wanted.form),
            };
            self.file.encoded = Some((version.clone(), wanted.form, hash));
            return Ok(Some((version, None, hash)));
        }
        if wanted.kind == Kind::Text {
            let text = Arc::new(document.text().to_one_string());
            let bytes: FileBytes = if wanted.form == Form::default() {
                text.clone().into()
            } else {
                encode_text(&text, wanted.form).into()
            };
            self.file.text = Some((version.clone(), text));
            let hash = ContentHash::of(&bytes.to_bytes());
            self.file.encoded = Some((version.clone(), wanted.form, hash));
            return Ok(Some((version, Some(bytes), hash)));
        }
        let Some(hash) = wanted.content else { return Ok(None) };
        let bytes = self.hub.content(hash).await?;
        Ok(bytes.map(|bytes| (version, Some(bytes.into()), ContentHash::from_bytes(hash))))
    }

    /// A program has held the file open for long: write without exchanging the file under it (docs/decisions/0004).
    pub(super) async fn patch_held(&mut self, wanted: Option<Wanted>) -> Result<(), HubError> {
        let (Some(wanted), Some(on_disk)) = (wanted, self.file.on_disk.clone()) else { return Ok(()) };
        let Some((version, bytes, hash)) = self.bytes_wanted(&wanted).await? else { return Ok(()) };
        if hash == on_disk.hash || wanted.kind == Kind::Link {
            return Ok(());
        }
        let path = on_disk.path.clone();
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => self.lend_text().ok_or(HubError::Closed)?,
        };
        let len = bytes.len() as u64;
        let patched = self
            .hub
            .on_disk(move |folder| folder.append_or_patch(&path, on_disk.hash, &bytes.to_bytes()))
            .await;
        self.take_text_back();
        let patched = patched?;
        if let syncline_disk::Patched::Done { stat, .. } = patched {
            // Its holder may have appended before we looked: that is not in our bytes, and still to be entered.
            let stat = FileStat { len, ..stat };
            self.wrote(&wanted, version, hash, stat, None, None);
            // Its holder may be writing.
            self.file.seen = None;
        }
        Ok(())
    }
}
