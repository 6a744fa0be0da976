//! A party that works on one text: a content client, or a window.

mod edits;

use std::sync::Arc;
use syncline_disk::ContentHash;
use syncline_engine::catalogue::{DocId, Kind};
use syncline_engine::{Heads, Meta, Version, diff};
use syncline_protocol::limits::MAX_DOCUMENT_BYTES;
use tokio::sync::watch;

use self::edits::ByEdits;
use crate::document::{Command, Edited, Request, TextAt};
use crate::error::HubError;
use crate::hub::Hub;
use crate::mirror::{Candidate, Candidates, Maker};

/// Who a session is with.
#[derive(Clone, Debug)]
pub struct Party {
    /// How it named itself; may be empty.
    pub name: String,
    /// The channel it came by.
    pub channel: &'static str,
}

/// The text as it was sent to a party.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextNow {
    /// The text.
    pub text: String,
    /// Its version, to be named as a base.
    pub version: String,
}

/// What an upload came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uploaded {
    /// The version that the upload made: what its sender had seen, and the upload.
    pub version: String,
    /// Others' changes that the sender had not seen are in the text as well.
    pub merged: bool,
    /// The upload changed something.
    pub changed: bool,
}

/// One party's shadow on one text document.
pub struct TextSession {
    hub: Hub,
    doc: DocId,
    path: String,
    party: Party,
    durable: watch::Receiver<u64>,
    /// What was sent to the party and what it uploaded: the bases its uploads may have (docs/decisions/0007).
    candidates: Candidates,
    sent: Option<Version>,
    /// How the party knows that version.
    sent_name: String,
    by_edits: Option<ByEdits>,
    last_upload: Option<ContentHash>,
}

impl TextSession {
    pub(crate) async fn open(hub: Hub, path: Option<&str>, party: Party) -> Result<TextSession, HubError> {
        let (doc, path) = find_text(&hub, path)?;
        let durable = hub.handle(doc)?.durable;
        Ok(TextSession {
            hub,
            doc,
            path,
            party,
            durable,
            candidates: Candidates::default(),
            sent: None,
            sent_name: String::new(),
            by_edits: None,
            last_upload: None,
        })
    }

    /// The document's path.
    pub fn document(&self) -> &str {
        &self.path
    }

    async fn text(&mut self) -> Result<TextAt, HubError> {
        self.hub.ask(self.doc, |reply| Command::Text { reply }).await
    }

    /// The text now, which the caller sends to the party: the session's shadow from now on.
    ///
    /// # Errors
    /// [`HubError::Store`] and others when the document cannot be read.
    pub async fn current(&mut self) -> Result<TextNow, HubError> {
        self.listen()?;
        let now = self.text().await?;
        if self.sent.as_ref() != Some(&now.version) {
            let candidate = Candidate::new(
                now.version.clone(),
                now.text.as_bytes(),
                Maker::Us,
                crate::mirror::Evidence::Unknown,
            );
            self.candidates.push(candidate.with_text(now.text.clone()));
            self.sent = Some(now.version);
        }
        self.sent_name = version_name(&now.heads);
        Ok(TextNow { text: now.text.to_string(), version: self.sent_name.clone() })
    }

    /// A change from now on wakes `changed`: called before the document is asked for anything. The task may be
    /// another one than before (it ends when idle); its successor counts anew.
    fn listen(&mut self) -> Result<(), HubError> {
        self.durable = self.hub.handle(self.doc)?.durable;
        self.durable.mark_unchanged();
        Ok(())
    }

    /// Returns when the document may have another version than the one sent last, or, for a party that works by
    /// edits, others came, left or moved. Cancel-safe.
    pub async fn changed(&mut self) {
        let seat = &mut self.by_edits;
        let moved = async {
            match seat {
                Some(by_edits) => by_edits.changed().await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            changed = self.durable.changed() => changed.is_err(),
            () = moved => false,
        };
        if ended {
            // The task ended while idle; a new one tells what happens from now on.
            match self.hub.handle(self.doc) {
                Ok(handle) => self.durable = handle.durable,
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Merges a whole text that the party made. `base` names the version it was made from; without one it
    /// is inferred from what was sent to this party. `request_id` makes a repeat harmless. Durable on return.
    ///
    /// # Errors
    /// [`HubError::TooLarge`], [`HubError::BadBase`], [`HubError::StorageFull`] and others; nothing is
    /// entered then.
    pub async fn upload(
        &mut self,
        text: String,
        base: Option<String>,
        request_id: Option<String>,
    ) -> Result<Uploaded, HubError> {
        if text.len() > MAX_DOCUMENT_BYTES {
            return Err(HubError::TooLarge { bytes: text.len(), limit: MAX_DOCUMENT_BYTES });
        }
        // Who works by edits has what it was sent.
        let base = base.or_else(|| self.by_edits.as_ref().map(|_| self.sent_name.clone()));
        let key = request_id.map(|id| {
            format!("{}\0{}\0{id}\0{}", self.party.name, self.doc, ContentHash::of(text.as_bytes()))
                .into_bytes()
        });
        if let Some(repeated) = self.repeated(key.clone()).await? {
            return Ok(repeated);
        }
        let hash = ContentHash::of(text.as_bytes());
        if key.is_none() && base.is_none() && self.last_upload == Some(hash) {
            let heads = self.hub.heads_of(self.doc);
            return Ok(Uploaded { version: version_name(&heads), merged: false, changed: false });
        }
        let (version, base_text, edit) = self.base_of(&text, base).await?;
        // Known as uploaded only once it is recorded: a client repeats what failed.
        self.last_upload = None;
        let edits = if edit { diff(&base_text, &text) } else { Vec::new() };
        let changed = !edits.is_empty();
        let meta = Meta {
            author: clipped(&self.party.name).into(),
            channel: self.party.channel.into(),
            time_ms: self.hub.now_ms(),
        };
        let request = key.map(|key| Request { key, records: Vec::new() });
        let Edited { version, heads, merged } =
            self.hub.ask(self.doc, |reply| Command::Edit { version, edits, meta, request, reply }).await?;
        self.last_upload = Some(hash);
        if changed {
            let text: Arc<String> = text.into();
            self.candidates.push(Candidate::new_hashed(version.clone(), hash, Maker::Other).with_text(text));
        }
        Ok(Uploaded { version: version_name(&heads), merged, changed })
    }

    /// The answer to a request that was carried out before.
    async fn repeated(&self, key: Option<Vec<u8>>) -> Result<Option<Uploaded>, HubError> {
        let Some(key) = key else { return Ok(None) };
        let result = self.hub.read_journal(move |reader| Ok(reader.request(&key)?)).await?;
        let Some(result) = result else { return Ok(None) };
        let (merged, heads) = Edited::read(&result).ok_or(HubError::BadBase)?;
        Ok(Some(Uploaded { version: version_name(&heads), merged, changed: false }))
    }

    async fn base_of(
        &mut self,
        text: &str,
        base: Option<String>,
    ) -> Result<(Version, Arc<String>, bool), HubError> {
        if let Some(base) = base {
            let heads = parse_version(&base).ok_or(HubError::BadBase)?;
            let at = self.hub.ask(self.doc, |reply| Command::TextAt { heads, reply }).await?;
            return Ok((at.version, at.text, true));
        }
        let (candidates, text) = (self.candidates.all().to_vec(), text.to_owned());
        let found = self.hub.ask(self.doc, |reply| Command::Judge { candidates, text, reply }).await?;
        match found {
            Some(found) => Ok(found),
            None => {
                let now = self.text().await?;
                Ok((now.version, now.text, true))
            }
        }
    }
}

/// The text document at a path, or the folder's only (otherwise first) one.
pub(crate) fn find_text(hub: &Hub, path: Option<&str>) -> Result<(DocId, String), HubError> {
    let catalogue = hub.catalogue();
    let is_text = |doc: &DocId| catalogue.get(doc).and_then(|entry| entry.kind()) == Some(&Kind::Text);
    Ok(match path {
        Some(path) => {
            let unknown = || HubError::UnknownDocument { name: path.to_owned() };
            let doc = *catalogue.at(path).first().ok_or_else(unknown)?;
            if !is_text(&doc) {
                return Err(HubError::NotText { path: path.to_owned() });
            }
            (doc, path.to_owned())
        }
        None => {
            let mut texts =
                catalogue.paths().filter_map(|(path, docs)| Some((*docs.first()?, path.to_owned())));
            let first = texts.find(|(doc, _)| is_text(doc));
            first.ok_or_else(|| HubError::UnknownDocument { name: String::new() })?
        }
    })
}

/// Refuses if a document that was text has become something else. Its history would take edits still, but they would
/// reach no file.
pub(crate) fn still_text(hub: &Hub, doc: DocId) -> Result<(), HubError> {
    let catalogue = hub.catalogue();
    let Some(entry) = catalogue.get(&doc) else { return Ok(()) };
    match entry.kind() {
        None | Some(Kind::Text) => Ok(()),
        Some(Kind::Opaque | Kind::Link) => {
            Err(HubError::NotText { path: entry.path().cloned().unwrap_or_default() })
        }
    }
}

/// At most 256 bytes, cut between characters.
pub(crate) fn clipped(name: &str) -> &str {
    let mut end = name.len().min(256);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// A version as clients see it: opaque, printable.
fn version_name(heads: &Heads) -> String {
    heads.encode().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_version(name: &str) -> Option<Heads> {
    if !name.len().is_multiple_of(2) || !name.is_ascii() || name.len() > 1 << 16 {
        return None;
    }
    let bytes: Option<Vec<u8>> =
        (0..name.len()).step_by(2).map(|at| u8::from_str_radix(&name[at..at + 2], 16).ok()).collect();
    Heads::decode(&bytes?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_survive_their_names() {
        let agent = syncline_engine::AgentId::from_random(7);
        let heads = Heads::new(vec![syncline_engine::EventId { agent, seq: 300 }]);
        assert_eq!(parse_version(&version_name(&heads)), Some(heads));
        for bad in ["", "0", "zz", "é0", "ffffffffff"] {
            assert_eq!(parse_version(bad).filter(|heads| !heads.is_root()), None, "{bad:?}");
        }
    }
}
