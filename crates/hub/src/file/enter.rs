//! Entering what somebody saved: at the version that they had seen.

use std::sync::Arc;
use syncline_disk::planted::{Planted, planted};
use syncline_disk::{ContentHash, FileStat, LineEndings, RelPath, TextForm};
use syncline_engine::catalogue::{Field, Form};
use syncline_engine::{Version, Window};
use syncline_store::Record;

use super::session::*;
use crate::document::DocumentTask;
use crate::error::HubError;
use crate::event::HubEvent;
use crate::mirror::{Base, Candidate, Maker, Origin, Pieces, Why, base_without_text, judge, union_edits};

/// The text that somebody saved.
pub(super) enum SavedText {
    /// All of it.
    Whole(Arc<String>),
    /// The lines of a large text that are different from the document's, which the file held.
    Window(Window),
}

/// A file that stood still, but for its text.
pub(super) struct FoundFile {
    pub path: RelPath,
    pub form: TextForm,
    pub hash: ContentHash,
    pub stat: FileStat,
    /// What the catalogue wants there.
    pub wanted: Option<Wanted>,
}

impl DocumentTask {
    /// Enters a save: infers what its maker had seen, and records the edit there. `known_base`: it is known.
    pub(super) async fn enter(
        &mut self,
        found: FoundFile,
        text: SavedText,
        known_base: Option<Version>,
    ) -> Result<(), HubError> {
        let FoundFile { path, form, hash, stat, wanted } = found;
        let (hub, id) = (self.hub.clone(), self.id);
        self.supply_parts().await?;
        let repeated = self.file.refused == Some(hash);
        self.file.heed_losses(hub.losses());
        // git removes a file and makes it anew; others may save in the repository at the same time.
        let git = std::mem::take(&mut self.file.removed) && hub.git_at_work(&path);
        let candidates = self.file.candidates.clone();
        let Some(document) = self.document() else { return Err(HubError::Closed) };
        let now_version = document.version().clone();
        let named = known_base.is_none();
        // Of a large text only the lines that changed are needed, if what they are a change of is beyond doubt.
        let shown = candidates.newest().is_some_and(|newest| newest.version == now_version && !newest.part);
        let certain = base_without_text(candidates.all(), repeated, git).filter(|_| shown && named);
        let certain = match candidates.all().len().checked_sub(1) {
            Some(index) if planted(Planted::UnjudgedWindow) => {
                Some(Base { index, edit: true, why: Why::Newest })
            }
            _ => certain,
        };
        let (base, version, edits, both, text, part) = match (text, certain) {
            (SavedText::Window(window), Some(base)) => {
                (base, now_version.clone(), window.diff(), Pieces::new(), None, false)
            }
            (text, _) => {
                let text = match text {
                    SavedText::Whole(text) => text,
                    SavedText::Window(window) => Arc::new(window.whole(document.text())),
                };
                let origin = if let Some(version) = known_base {
                    Origin::newest(version)
                } else if candidates.all().is_empty() {
                    // A file that was there before the document came: joined by text, nothing taken out.
                    let ours: Arc<String> = Arc::new(document.text().to_one_string());
                    let found = FoundFile { path, form, hash, stat, wanted };
                    return self.enter_union(found, ours, text).await;
                } else {
                    let from = match candidates.all() {
                        [.., newest] if planted(Planted::AlwaysNewest) => std::slice::from_ref(newest),
                        all => all,
                    };
                    judge(from, document, &text, repeated, git)
                        .unwrap_or_else(|| Origin::newest(now_version.clone()))
                };
                let (edits, both) = origin.edits(document, &text, false);
                (origin.base, origin.version, edits, both, Some(text), origin.part)
            }
        };
        let base_hash = candidates.all().get(base.index).filter(|_| named).map(|candidate| candidate.hash);
        let meta = if git { hub.git_meta() } else { hub.file_meta() };
        let count = edits.len();
        let saved_version = match base.edit {
            true => self.load().await?.enter_save(&hub, &version, &edits, both, &meta)?,
            false => version,
        };
        self.file.refused = (!base.edit).then_some(hash);
        let remembered =
            if planted(Planted::StaleShadow) { now_version.clone() } else { saved_version.clone() };
        let mut candidate = Candidate::new_hashed(remembered, hash, Maker::Other);
        let mut records = Vec::new();
        if let Some(text) = text {
            if part {
                let bytes = syncline_disk::encode(&text, &form);
                records.push(Record::Content { hash: *hash.as_bytes(), bytes });
            }
            candidate = candidate.with_text(text);
        }
        candidate.part = part;
        candidate.base = base_hash;
        if base.edit || self.file.candidates.newest().is_none_or(|newest| newest.hash != hash) {
            self.file.candidates.push(candidate);
        }
        if !part && self.document().is_some_and(|document| *document.version() == saved_version) {
            let form = Form { bom: form.bom, crlf: form.endings == LineEndings::CrLf };
            self.file.encoded = Some((saved_version.clone(), form, hash));
        }
        self.file.seen = Some(stat);
        self.set_on_disk(path.clone(), hash, saved_version, stat);
        self.file.rewrite |= !base.edit || part;
        let why = describe(base.why);
        let what = format!(
            "{why}; base {}",
            base_hash.map_or("unknown".to_owned(), |hash| hash.to_string()[..12].to_owned())
        );
        records.push(Record::Decision { doc: id, time_ms: meta.time_ms, what });
        records.extend(self.file_record());
        self.commit(records).await?;
        hub.tell(HubEvent::Saved { path: path.to_string(), why: why.to_owned(), changes: count });
        if let Some(wanted) = wanted {
            let mut fields = Vec::new();
            let form = Form { bom: form.bom, crlf: form.endings == LineEndings::CrLf };
            if form != wanted.form && self.file.on_disk.is_some() {
                fields.push((id, Field::Form(form)));
            }
            if wanted.mode != Some(stat.mode & 0o777) {
                fields.push((id, Field::Mode(stat.mode & 0o777)));
            }
            if !fields.is_empty() {
                hub.write_catalogue(fields, Vec::new()).await?;
            }
        }
        Ok(())
    }

    /// Joins what was found in a file, of which nothing was known, with the document's text: nothing is taken out.
    /// Whoever has that file open has seen only what was in it.
    pub(super) async fn enter_union(
        &mut self,
        found: FoundFile,
        ours: Arc<String>,
        theirs: Arc<String>,
    ) -> Result<(), HubError> {
        let FoundFile { path, form, hash, stat, .. } = found;
        let (agent, meta) = (self.hub.agent(), self.hub.file_meta());
        let edits = union_edits(&ours, &theirs);
        let changes = edits.len();
        let loaded = self.load().await?;
        let version = loaded.document.version().clone();
        let applied = loaded.document.edit_at(&version, &edits, agent, &meta);
        let version = applied.map_err(|error| HubError::BadPosition { what: error.to_string() })?.version;
        let bytes = syncline_disk::encode(&theirs, &form);
        self.file.candidates.push(Candidate::joined(version.clone(), hash, theirs));
        self.set_on_disk(path.clone(), hash, version, stat);
        self.file.rewrite = true;
        let what = "a file that was here before: joined by text, nothing taken out".to_owned();
        let mut records = vec![Record::Decision { doc: self.id, time_ms: meta.time_ms, what: what.clone() }];
        // The bytes as they were: the union is a text that nobody wrote, and must be reversible.
        records.push(Record::Content { hash: *hash.as_bytes(), bytes });
        records.extend(self.file_record());
        self.commit(records).await?;
        self.hub.tell(HubEvent::Saved { path: path.to_string(), why: what, changes });
        Ok(())
    }
}

pub(super) fn describe(why: Why) -> &'static str {
    match why {
        Why::Newest => "made from what the file held",
        Why::LeastChange => "made from what the file held, others' edits included",
        Why::Stale => "made from an older version: merged with what came since",
        Why::Unchanged => "an old buffer saved unchanged: no edit, the file is written again",
        Why::Repeated => "the same old text a second time: taken as meant",
        Why::Git => "replaced by git",
        Why::Unrelated => "another file put in its place",
        Why::Blind => "replaced by a program that never read it",
    }
}
