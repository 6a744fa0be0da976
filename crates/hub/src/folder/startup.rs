//! What happened to files while no hub ran, as far as the first scan can tell: renames, by the inode, by the content or by
//! most of it (FILES 17), and names that a power cut took back.

use std::collections::{BTreeMap, BTreeSet};
use syncline_disk::{ContentHash, Decoded, FileStat, Reading, RelPath};
use syncline_engine::catalogue::{DocId, Field, Life};
use syncline_protocol::limits::MAX_DOCUMENT_BYTES;

use super::{FolderTask, resemblance};
use crate::error::HubError;
use crate::event::HubEvent;

/// A document whose file is not where the catalogue has it.
pub(super) struct Missing {
    pub doc: DocId,
    pub path: String,
    /// Where its file was last, if that is known.
    pub at: Option<RelPath>,
    /// What it held last, if that is known.
    pub hash: Option<ContentHash>,
}

impl FolderTask {
    /// Finds the files of missing documents among the new ones, and lets the catalogue follow. Takes those files
    /// out of `fresh`, and gives the documents that are still missing.
    pub(super) async fn find_renamed(
        &mut self,
        missing: Vec<Missing>,
        fresh: &mut Vec<(RelPath, FileStat)>,
    ) -> Result<Vec<Missing>, HubError> {
        if missing.is_empty() || fresh.is_empty() {
            return Ok(missing);
        }
        // Where its file was: not renamed here but in the catalogue, which the document follows itself.
        let (follow, missing): (Vec<Missing>, Vec<Missing>) = missing
            .into_iter()
            .partition(|missing| fresh.iter().any(|(path, _)| missing.at.as_ref() == Some(path)));
        fresh.retain(|(path, _)| !follow.iter().any(|missing| missing.at.as_ref() == Some(path)));
        let mut found: BTreeMap<DocId, RelPath> = BTreeMap::new();
        let lost: BTreeSet<DocId> = missing.iter().map(|missing| missing.doc).collect();
        for (path, stat) in fresh.iter() {
            if let Some(doc) = self.hub.doc_of_inode(stat).filter(|doc| lost.contains(doc)) {
                found.entry(doc).or_insert_with(|| path.clone());
            }
        }
        let mut by_hash: BTreeMap<[u8; 32], Vec<DocId>> = BTreeMap::new();
        for missing in missing.iter().filter(|missing| !found.contains_key(&missing.doc)) {
            if let Some(hash) = missing.hash {
                by_hash.entry(*hash.as_bytes()).or_default().push(missing.doc);
            }
        }
        if !by_hash.is_empty() {
            let taken: BTreeSet<&RelPath> = found.values().collect();
            let paths: Vec<RelPath> =
                fresh.iter().map(|(path, _)| path).filter(|path| !taken.contains(path)).cloned().collect();
            let mut holders: BTreeMap<[u8; 32], Vec<RelPath>> = BTreeMap::new();
            for (path, hash) in self.hashes(paths).await? {
                holders.entry(*hash.as_bytes()).or_default().push(path);
            }
            for (hash, docs) in by_hash {
                // Only if there is no doubt which is which.
                if let ([doc], Some([path])) = (docs.as_slice(), holders.get(&hash).map(Vec::as_slice)) {
                    found.insert(*doc, path.clone());
                }
            }
        }
        for (doc, path) in self.find_resembling(&missing, fresh, &found).await? {
            found.insert(doc, path);
        }
        let mut fields: Vec<(DocId, Field)> =
            found.iter().map(|(doc, path)| (*doc, Field::Path(path.as_str().to_owned()))).collect();
        // Somebody here gave the file another name: to them it lives, whoever deletes it elsewhere.
        let dead = |doc: &&DocId| self.catalogue.get(doc).is_some_and(|entry| !entry.is_alive());
        fields.extend(found.keys().filter(dead).map(|doc| (*doc, Field::Life(Life::Alive))));
        self.write(fields, Vec::new()).await?;
        let paths: BTreeSet<&RelPath> = found.values().collect();
        fresh.retain(|(path, _)| !paths.contains(path));
        let mut left = Vec::new();
        for missing in missing {
            match found.get(&missing.doc) {
                Some(to) => self.hub.tell(HubEvent::Renamed { from: missing.path, to: to.to_string() }),
                None => left.push(missing),
            }
        }
        Ok(left)
    }

    /// Documents among the missing that are not found, and the new files that hold most of their text.
    async fn find_resembling(
        &self,
        missing: &[Missing],
        fresh: &[(RelPath, FileStat)],
        found: &BTreeMap<DocId, RelPath>,
    ) -> Result<Vec<(DocId, RelPath)>, HubError> {
        let taken: BTreeSet<&RelPath> = found.values().collect();
        let docs: Vec<DocId> =
            missing.iter().map(|missing| missing.doc).filter(|doc| !found.contains_key(doc)).collect();
        let short = |stat: &FileStat| stat.len <= resemblance::LONGEST as u64;
        let files = fresh.iter().filter(|(path, stat)| !taken.contains(path) && short(stat));
        let paths: Vec<RelPath> = files.map(|(path, _)| path.clone()).collect();
        let few = |count: usize| (1..=resemblance::MOST_TEXTS).contains(&count);
        if !few(docs.len()) || !few(paths.len()) {
            return Ok(Vec::new());
        }
        let asked = docs.clone();
        let old = self.hub.read_journal(move |reader| {
            asked.into_iter().map(|doc| Ok(reader.document(doc)?)).collect::<Result<Vec<_>, HubError>>()
        });
        let text_of = |stored: &syncline_store::Loaded| {
            let text = stored.to_document().ok().map(|document| document.text().to_one_string());
            text.filter(|text| text.len() <= resemblance::LONGEST).unwrap_or_default()
        };
        let old: Vec<String> = old.await?.iter().map(text_of).collect();
        let read = paths.clone();
        let new = self.hub.on_disk(move |folder| {
            let text = |path: &RelPath| match folder.read(path, resemblance::LONGEST as u64) {
                Ok(Reading::Stable { bytes, .. }) => match syncline_disk::decode(bytes) {
                    Decoded::Text { text, .. } => text,
                    Decoded::Opaque(_) => String::new(),
                },
                _ => String::new(),
            };
            Ok(read.iter().map(text).collect::<Vec<String>>())
        });
        let pairs = resemblance::pairs(&old, &new.await?);
        Ok(pairs
            .into_iter()
            .filter_map(|(from, to)| Some((*docs.get(from)?, paths.get(to)?.clone())))
            .collect())
    }

    /// The hashes of files that hold anything.
    async fn hashes(&self, paths: Vec<RelPath>) -> Result<Vec<(RelPath, ContentHash)>, HubError> {
        self.hub
            .on_disk(move |folder| {
                let hash = |path: RelPath| match folder.read(&path, MAX_DOCUMENT_BYTES as u64) {
                    Ok(Reading::Stable { bytes, .. }) if !bytes.is_empty() => {
                        Some((path, ContentHash::of(&bytes)))
                    }
                    _ => None,
                };
                Ok(paths.into_iter().filter_map(hash).collect())
            })
            .await
    }
}
