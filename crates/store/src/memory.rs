//! A journal in memory, for tests and simulations: what is committed stays while any handle lives.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use syncline_engine::catalogue::{DocId, Write};
use syncline_engine::{AgentId, Heads};

use crate::log::{DISPLACED, DiffState, Displaced, Kept, Loaded, Log, LogReader, Record, StoreError};

/// The fake journal. Clones share one content, as handles of one file do.
#[derive(Clone, Default)]
pub struct MemoryLog(Arc<Mutex<Content>>);

#[derive(Clone, Default)]
struct Content {
    documents: BTreeMap<DocId, (Loaded, Heads)>,
    catalogue: BTreeMap<(DocId, u8), Write>,
    vector: BTreeMap<AgentId, u64>,
    files: BTreeMap<DocId, Vec<u8>>,
    intents: BTreeMap<DocId, Vec<u8>>,
    contents: BTreeMap<[u8; 32], (u64, Vec<u8>)>,
    /// How many contents were recorded.
    recorded: u64,
    decisions: Vec<(DocId, u64, String)>,
    displaced: Vec<Displaced>,
    requests: BTreeMap<Vec<u8>, Vec<u8>>,
    diff_sessions: BTreeMap<([u8; 16], DocId), DiffState>,
    settings: BTreeMap<String, Vec<u8>>,
    damaged: Vec<(DocId, String, Vec<u8>)>,
    /// How many further commits fail.
    failures: u32,
    /// How many further commits seem to fail.
    seeming_failures: u32,
}

impl MemoryLog {
    /// An empty journal.
    pub fn new() -> MemoryLog {
        MemoryLog::default()
    }

    /// What a backup made now would hold.
    pub fn backup(&self) -> MemoryLog {
        MemoryLog(Arc::new(Mutex::new(self.with(|content| content.clone()))))
    }

    /// Damages what is stored of a document, as a bad block would: one byte in the middle of each row.
    pub fn damage(&self, doc: DocId) {
        self.with(|content| {
            let Some((stored, _)) = content.documents.get_mut(&doc) else { return };
            for row in stored.snapshot.iter_mut().chain(&mut stored.batches) {
                let middle = row.len() / 2;
                if let Some(byte) = row.get_mut(middle) {
                    *byte ^= 0x55;
                }
            }
        });
    }

    /// Makes it what an earlier backup holds, under whoever has it open, as a disk does that lost what it was told to keep.
    pub fn lose_since(&self, backup: &MemoryLog) {
        let before = backup.with(|content| content.clone());
        self.with(|content| *content = before);
    }

    /// Makes the next `count` commits fail without an effect.
    pub fn fail_commits(&self, count: u32) {
        self.with(|content| content.failures = count);
    }

    /// Makes the next `count` commits report a failure after they were made, as an fsync may.
    pub fn fail_after_commits(&self, count: u32) {
        self.with(|content| content.seeming_failures = count);
    }

    fn with<T>(&self, run: impl FnOnce(&mut Content) -> T) -> T {
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Log for MemoryLog {
    fn commit(&mut self, records: &[Record]) -> Result<(), StoreError> {
        self.with(|content| {
            if content.failures > 0 {
                content.failures -= 1;
                let path = PathBuf::from("memory");
                return Err(StoreError::Failed { path, what: "told to fail".to_owned() });
            }
            records.iter().for_each(|record| content.put(record.clone()));
            if content.seeming_failures > 0 {
                content.seeming_failures -= 1;
                let path = PathBuf::from("memory");
                return Err(StoreError::Failed { path, what: "told to seem to fail".to_owned() });
            }
            Ok(())
        })
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, StoreError> {
        Ok(Box::new(self.clone()))
    }
}

impl Content {
    fn put(&mut self, record: Record) {
        match record {
            Record::Events { doc, batch, heads } => {
                let document = self.documents.entry(doc).or_default();
                document.0.batches.push(batch);
                document.1 = heads;
            }
            Record::Snapshot { doc, bytes, heads } => {
                let loaded = Loaded { snapshot: Some(bytes), batches: Vec::new() };
                self.documents.insert(doc, (loaded, heads));
            }
            Record::Catalogue(write) => {
                self.count(write.stamp.agent, write.stamp.seq);
                self.catalogue.insert((write.doc, write.field.register()), write);
            }
            Record::Vector(vector) => vector.into_iter().for_each(|(agent, count)| self.count(agent, count)),
            Record::File { doc, state } => drop(self.files.insert(doc, state)),
            Record::NoFile(doc) => drop(self.files.remove(&doc)),
            Record::Intent { doc, intent } => drop(self.intents.insert(doc, intent)),
            Record::NoIntent(doc) => drop(self.intents.remove(&doc)),
            Record::Content { hash, bytes } => {
                self.recorded += 1;
                self.contents.entry(hash).or_insert((0, bytes)).0 = self.recorded;
            }
            Record::NoContent(hash) => {
                self.contents.remove(&hash);
                self.displaced.retain(|displaced| displaced.content != Some(hash));
            }
            Record::Displaced(displaced) => {
                let doc = displaced.doc;
                self.displaced.push(displaced);
                let of = |displaced: &Displaced| displaced.doc == doc;
                if self.displaced.iter().filter(|it| of(it)).count() as u64 > DISPLACED
                    && let Some(oldest) = self.displaced.iter().position(of)
                {
                    self.displaced.remove(oldest);
                }
            }
            Record::Decision { doc, time_ms, what } => self.decisions.push((doc, time_ms, what)),
            Record::Request { key, result } => drop(self.requests.insert(key, result)),
            Record::DiffSession { session, doc, identity, state } => {
                self.diff_sessions.insert((session, doc), DiffState { identity, state });
            }
            Record::SetAside { doc, what } => {
                let stored = self.documents.remove(&doc).map(|(loaded, _)| loaded).unwrap_or_default();
                let rows = stored.snapshot.into_iter().chain(stored.batches);
                self.damaged.extend(rows.map(|bytes| (doc, what.clone(), bytes)));
                self.files.remove(&doc);
                self.intents.remove(&doc);
            }
            Record::Setting { name, value } => drop(self.settings.insert(name, value)),
        }
    }

    fn count(&mut self, agent: AgentId, count: u64) {
        let known = self.vector.entry(agent).or_default();
        *known = (*known).max(count);
    }
}

fn pairs<K: Copy, V: Clone>(map: &BTreeMap<K, V>) -> Vec<(K, V)> {
    map.iter().map(|(key, value)| (*key, value.clone())).collect()
}

impl LogReader for MemoryLog {
    fn document(&self, doc: DocId) -> Result<Loaded, StoreError> {
        Ok(self.with(|content| {
            content.documents.get(&doc).map(|(loaded, _)| loaded.clone()).unwrap_or_default()
        }))
    }

    fn heads(&self) -> Result<Vec<(DocId, Heads)>, StoreError> {
        Ok(self.with(|content| {
            content.documents.iter().map(|(doc, (_, heads))| (*doc, heads.clone())).collect()
        }))
    }

    fn catalogue(&self) -> Result<Vec<Write>, StoreError> {
        Ok(self.with(|content| content.catalogue.values().cloned().collect()))
    }

    fn vector(&self) -> Result<BTreeMap<AgentId, u64>, StoreError> {
        Ok(self.with(|content| content.vector.clone()))
    }

    fn files(&self) -> Result<Vec<(DocId, Vec<u8>)>, StoreError> {
        Ok(self.with(|content| pairs(&content.files)))
    }

    fn file(&self, doc: DocId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.with(|content| content.files.get(&doc).cloned()))
    }

    fn intents(&self) -> Result<Vec<(DocId, Vec<u8>)>, StoreError> {
        Ok(self.with(|content| pairs(&content.intents)))
    }

    fn content(&self, hash: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.with(|content| content.contents.get(hash).map(|(_, bytes)| bytes.clone())))
    }

    fn has_content(&self, hash: &[u8; 32]) -> Result<bool, StoreError> {
        Ok(self.with(|content| content.contents.contains_key(hash)))
    }

    fn decisions(&self, doc: DocId) -> Result<Vec<(u64, String)>, StoreError> {
        let of = |content: &mut Content| {
            let all = content.decisions.iter().filter(|(of, _, _)| *of == doc);
            all.map(|(_, time, what)| (*time, what.clone())).collect()
        };
        Ok(self.with(of))
    }

    fn displaced(&self) -> Result<Vec<Displaced>, StoreError> {
        Ok(self.with(|content| content.displaced.clone()))
    }

    fn contents(&self) -> Result<Vec<Kept>, StoreError> {
        Ok(self.with(|content| {
            let mut all: Vec<_> = content.contents.iter().collect();
            all.sort_by_key(|(_, (recorded, _))| std::cmp::Reverse(*recorded));
            let kept = |(hash, (_, bytes)): (&[u8; 32], &(u64, Vec<u8>))| Kept {
                hash: *hash,
                len: bytes.len() as u64,
                time_ms: 0,
            };
            all.into_iter().map(kept).collect()
        }))
    }

    fn set_aside(&self, doc: DocId) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let of = |content: &mut Content| {
            let all = content.damaged.iter().filter(|(of, _, _)| *of == doc);
            all.map(|(_, what, bytes)| (what.clone(), bytes.clone())).collect()
        };
        Ok(self.with(of))
    }

    fn request(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.with(|content| content.requests.get(key).cloned()))
    }

    fn diff_session(&self, session: [u8; 16], doc: DocId) -> Result<Option<DiffState>, StoreError> {
        Ok(self.with(|content| content.diff_sessions.get(&(session, doc)).cloned()))
    }

    fn diff_documents(&self, session: [u8; 16]) -> Result<Vec<(DocId, DiffState)>, StoreError> {
        let range = (session, DocId([0; 16]))..=(session, DocId([0xff; 16]));
        Ok(self.with(|content| {
            let found = content.diff_sessions.range(range);
            found.map(|((_, doc), state)| (*doc, state.clone())).collect()
        }))
    }

    /// There is no clock here: any document that was ever changed was so at the same moment.
    fn changed_ms(&self, doc: DocId) -> Result<Option<u64>, StoreError> {
        Ok(self.with(|content| content.documents.contains_key(&doc).then_some(1)))
    }

    fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.with(|content| content.settings.get(name).cloned()))
    }
}
