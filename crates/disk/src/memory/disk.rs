//! The state of a disk in memory: inodes, names, and what of both would survive a power cut.

use crate::clash::{CaseRule, name_key};
use crate::{FileKind, FileStat};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) const ROOT: u64 = 1;

/// An inode.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub stat: FileStat,
    /// Bytes of a file, target of a link.
    pub bytes: Vec<u8>,
    /// The bytes at the last fsync.
    pub durable: Vec<u8>,
    /// How many have it open for writing.
    pub writers: usize,
    /// How often it was opened for writing: tells whether a lease was broken.
    pub write_opens: u64,
    pub opens: usize,
}

/// One change of names, atomic: (directory, name, inode or nothing).
struct NameChange {
    sets: Vec<(u64, String, Option<u64>)>,
    durable: bool,
}

type Names = BTreeMap<(u64, String), u64>;

pub(super) struct Disk {
    pub nodes: BTreeMap<u64, Node>,
    names: Names,
    /// Names that a power cut cannot take back, and the changes since.
    durable_names: Names,
    changes: VecDeque<NameChange>,
    next_inode: u64,
    clock: Arc<AtomicU64>,
    last_time: i128,
    collect_at: usize,
    /// Names that differ in case, or in their normal form only, are one name.
    pub folds: bool,
}

impl Disk {
    pub(super) fn new(clock: Arc<AtomicU64>) -> Self {
        let mut disk = Self {
            nodes: BTreeMap::new(),
            names: Names::new(),
            durable_names: Names::new(),
            changes: VecDeque::new(),
            next_inode: ROOT,
            clock,
            last_time: 0,
            collect_at: 4096,
            folds: false,
        };
        disk.new_node(FileKind::Directory, 0o755, Vec::new());
        disk
    }

    /// The caller's clock; two changes never have the same time.
    pub(super) fn now(&mut self) -> i128 {
        let now = i128::from(self.clock.load(Ordering::SeqCst));
        self.last_time = now.max(self.last_time + 1);
        self.last_time
    }

    pub(super) fn clock_ns(&self) -> i128 {
        i128::from(self.clock.load(Ordering::SeqCst))
    }

    pub(super) fn new_node(&mut self, kind: FileKind, mode: u32, bytes: Vec<u8>) -> u64 {
        let (inode, now) = (self.next_inode, self.now());
        self.next_inode += 1;
        let stat = FileStat {
            kind,
            len: bytes.len() as u64,
            mtime_ns: now,
            ctime_ns: now,
            inode,
            device: 1,
            birth_ns: Some(now),
            mode,
            uid: 1000,
            gid: 1000,
            links: 0,
        };
        let durable = if kind == FileKind::Link { bytes.clone() } else { Vec::new() };
        self.nodes.insert(inode, Node { stat, bytes, durable, writers: 0, write_opens: 0, opens: 0 });
        inode
    }

    pub(super) fn lookup(&self, dir: u64, name: &str) -> Option<u64> {
        self.names.get(&(dir, self.as_stored(dir, name))).copied()
    }

    /// The name by which the directory has this one; the name itself if it has none.
    pub(super) fn as_stored(&self, dir: u64, name: &str) -> String {
        if !self.folds || self.names.contains_key(&(dir, name.to_owned())) {
            return name.to_owned();
        }
        let key = name_key(name, CaseRule::Insensitive);
        let same = |(stored, _): &(String, u64)| name_key(stored, CaseRule::Insensitive) == key;
        self.names_in(dir).into_iter().find(same).map_or_else(|| name.to_owned(), |(stored, _)| stored)
    }

    pub(super) fn names_in(&self, dir: u64) -> Vec<(String, u64)> {
        let range = (dir, String::new())..(dir + 1, String::new());
        self.names.range(range).map(|((_, name), inode)| (name.clone(), *inode)).collect()
    }

    /// Changes names in one step that a power cut takes back wholly or not at all.
    pub(super) fn rename(&mut self, sets: Vec<(u64, String, Option<u64>)>) {
        let sets: Vec<_> = sets
            .into_iter()
            .map(|(dir, name, inode)| {
                let stored = self.as_stored(dir, &name);
                // A file that gets another spelling of its own name has that one from then on.
                let respelled = inode.is_some() && self.lookup(dir, &name) == inode;
                (dir, if respelled { name } else { stored }, inode)
            })
            .collect();
        apply(&mut self.names, &sets);
        self.changes.push_back(NameChange { sets, durable: false });
        let now = self.now();
        let touched: Vec<u64> = self
            .changes
            .back()
            .into_iter()
            .flat_map(|change| change.sets.iter().filter_map(|s| s.2))
            .collect();
        for inode in touched {
            if let Some(node) = self.nodes.get_mut(&inode) {
                node.stat.ctime_ns = now;
            }
        }
        self.count_links();
    }

    pub(super) fn sync_dir(&mut self, dir: u64) {
        for change in &mut self.changes {
            change.durable |= change.sets.iter().any(|(d, _, _)| *d == dir);
        }
        while self.changes.front().is_some_and(|change| change.durable) {
            if let Some(change) = self.changes.pop_front() {
                apply(&mut self.durable_names, &change.sets);
            }
        }
    }

    pub(super) fn sync_all(&mut self) {
        self.changes.clear();
        self.durable_names = self.names.clone();
        for node in self.nodes.values_mut() {
            node.durable.clone_from(&node.bytes);
        }
    }

    /// Takes back, as the seed decides, what was not synced: of each directory's changes of names all
    /// from some moment on; of each file's bytes all, or all but a beginning.
    pub(super) fn lose(&mut self, seed: u64) {
        let mut random = Random(seed);
        let mut names = self.durable_names.clone();
        let mut cut: BTreeSet<u64> = BTreeSet::new();
        for change in std::mem::take(&mut self.changes) {
            let hindered = change.sets.iter().any(|(dir, _, _)| cut.contains(dir));
            if change.durable || (!hindered && random.below(2) == 0) {
                apply(&mut names, &change.sets);
            } else {
                cut.extend(change.sets.iter().map(|(dir, _, _)| *dir));
            }
        }
        self.names = names;
        for node in self.nodes.values_mut() {
            if node.bytes != node.durable && node.stat.kind == FileKind::File {
                match random.below(3) {
                    0 => node.bytes.clone_from(&node.durable),
                    1 => {}
                    _ => {
                        let kept = random.below(node.bytes.len() as u64 + 1);
                        node.bytes.truncate(usize::try_from(kept).unwrap_or(0));
                    }
                }
            }
            node.stat.len = node.bytes.len() as u64;
            (node.writers, node.opens) = (0, 0);
        }
        self.sync_all();
        self.count_links();
    }

    fn count_links(&mut self) {
        if self.nodes.len() > self.collect_at {
            self.collect();
        }
        for node in self.nodes.values_mut() {
            node.stat.links = if node.stat.kind == FileKind::Directory { 2 } else { 0 };
        }
        for inode in self.names.values() {
            if let Some(node) = self.nodes.get_mut(inode)
                && node.stat.kind != FileKind::Directory
            {
                node.stat.links += 1;
            }
        }
    }

    /// Drops inodes that no name leads to, now or after a power cut, and nobody has open.
    fn collect(&mut self) {
        let mut used: BTreeSet<u64> = [ROOT].into();
        used.extend(self.names.values());
        used.extend(self.durable_names.values());
        used.extend(self.changes.iter().flat_map(|change| change.sets.iter().filter_map(|s| s.2)));
        self.nodes.retain(|inode, node| node.opens > 0 || used.contains(inode));
        self.collect_at = self.nodes.len() * 2 + 4096;
    }
}

fn apply(names: &mut Names, sets: &[(u64, String, Option<u64>)]) {
    for (dir, name, inode) in sets {
        match inode {
            Some(inode) => names.insert((*dir, name.clone()), *inode),
            None => names.remove(&(*dir, name.clone())),
        };
    }
}

/// splitmix64: the same seed gives the same losses everywhere.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit.max(1)
    }
}
