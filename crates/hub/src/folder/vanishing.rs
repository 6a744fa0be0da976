//! Files that vanished: renamed, deleted, or so many at once that a person must be asked (the brake).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use syncline_disk::{Brake, BrakeInput, BrakeReason, FileStat, GitState, RelPath, What, brake};
use syncline_engine::Heads;
use syncline_engine::catalogue::{DocId, Field, Kind, Life};
use tokio::time::Instant;

use super::FolderTask;
use crate::document::Command;
use crate::error::HubError;
use crate::event::HubEvent;

/// Files that vanish within this time of each other are judged together.
const TOGETHER: Duration = Duration::from_millis(200);
/// A folder that cannot be listed for so long has a part that nobody may read: deletions do not wait for it.
const SCANNED_WITHIN: Duration = Duration::from_secs(60);
/// git holds its index lock for as long as a checkout lasts; one that stays for longer was left by a git that died.
const LONGEST_CHECKOUT: Duration = Duration::from_secs(30);

/// A document's file that has been missing for the grace period.
#[derive(Debug)]
pub(crate) struct Vanished {
    /// Where it was.
    pub path: RelPath,
    /// Since when it is missing: since the hub's start.
    pub since: Duration,
    /// What it was when it was last seen.
    pub stat: FileStat,
    /// The version that whoever removed it can have seen.
    pub seen: Heads,
    /// What it held.
    pub hash: [u8; 32],
}

impl FolderTask {
    /// A file is missing: it is judged with those that vanish in the same moment.
    pub(super) fn miss(&mut self, doc: DocId, vanished: Vanished) {
        self.vanished.insert(doc, vanished);
        self.judge_at = Some(Instant::now() + TOGETHER);
    }

    /// The folder itself was removed, moved away or unmounted: no file is touched until somebody decides.
    pub(super) fn root_gone(&self) {
        self.hub.0.root_gone.store(true, Ordering::Relaxed);
        self.hub.tell(HubEvent::Brake { files: 0, why: "the folder itself is gone".to_owned() });
    }

    /// Decides about the files that have been missing for the grace period: renamed, deleted, or too many
    /// at once.
    pub(super) async fn judge(&mut self) {
        if self.vanished.is_empty() {
            return;
        }
        if !self.scanned && self.hub.uptime() < SCANNED_WITHIN {
            // Renamed while no hub ran: only the scan finds it under its new name, and it may have to be tried again.
            self.judge_at = Some(Instant::now() + TOGETHER);
            return;
        }
        // A new file with the inode of one of them is that one, renamed.
        let candidates: Vec<RelPath> = self.new.keys().chain(self.renames.keys()).cloned().collect();
        for path in candidates {
            let at = path.clone();
            let Ok(Some(stat)) = self.hub.on_disk(move |folder| folder.stat(&at)).await else { continue };
            if let Some(doc) = self.doc_before(&path, &stat)
                && let Some(vanished) = self.vanished.get(&doc)
                && vanished.stat.kind == stat.kind
            {
                self.new.remove(&path);
                self.renames.remove(&path);
                if !self.rename(doc, &path).await {
                    // Not deleted: all of them are judged again.
                    return;
                }
            }
        }
        if self.hub.0.deletions_held.load(Ordering::Relaxed) {
            // They wait with the others for the decision.
            return;
        }
        let Some(input) = self.burst().await else {
            self.judge_at = Some(Instant::now() + TOGETHER);
            return;
        };
        let Brake::Stop(reason) = brake(&input) else { return self.delete_vanished().await };
        if reason == BrakeReason::RootVanished {
            self.root_gone();
            return;
        }
        self.hub.0.deletions_held.store(true, Ordering::Relaxed);
        let why = format!("{reason:?}");
        self.hub.tell(HubEvent::Brake { files: self.vanished.len(), why });
    }

    /// What the brake has to know; `None`: git is still at work, so that it is not known yet.
    async fn burst(&self) -> Option<BrakeInput> {
        let root_present = self.hub.on_disk(|folder| folder.list(None)).await.is_ok();
        let files_before = self.hub.catalogue().paths().count();
        let calm = BrakeInput {
            root_present,
            git_vanished: false,
            git_burst: false,
            files_before,
            deleted: self.vanished.len(),
        };
        let mut repositories: BTreeMap<Option<RelPath>, GitState> = BTreeMap::new();
        let mut by_others = 0;
        for gone in self.vanished.values() {
            // git touches its index lock before it removes the first file, and again after the last one.
            let Some(repository) = self.hub.git_since(&gone.path, gone.since) else {
                by_others += 1;
                continue;
            };
            if repositories.contains_key(&repository) {
                continue;
            }
            let directory = repository.clone();
            let state = self.hub.on_disk(move |folder| folder.git_state(directory.as_ref())).await;
            // What cannot be looked at is no repository that vouches for a deletion.
            repositories.insert(repository, state.unwrap_or(GitState::Absent));
        }
        let oldest = self.vanished.values().map(|gone| gone.since).min().unwrap_or_default();
        if repositories.values().any(|state| *state == GitState::AtWork)
            && self.hub.uptime() < oldest + LONGEST_CHECKOUT
        {
            return None;
        }
        if repositories.values().any(|state| *state == GitState::Absent) {
            return Some(BrakeInput { git_vanished: true, git_burst: true, ..calm });
        }
        Some(match by_others {
            0 => BrakeInput { git_burst: true, ..calm },
            deleted => BrakeInput { deleted, ..calm },
        })
    }

    async fn delete_vanished(&mut self) {
        let mut vanished = std::mem::take(&mut self.vanished);
        let paths: Vec<(DocId, RelPath)> =
            vanished.iter().map(|(doc, gone)| (*doc, gone.path.clone())).collect();
        for (doc, path) in paths {
            // Only a sure "not there" is a deletion.
            if !matches!(self.hub.on_disk(move |folder| folder.stat(&path)).await, Ok(None)) {
                vanished.remove(&doc);
                self.send_hint(doc, What::Metadata);
            }
        }
        let mut fields = Vec::new();
        for (doc, vanished) in &vanished {
            let catalogue = self.hub.catalogue();
            let Some(entry) = catalogue.get(doc).filter(|entry| entry.is_alive()) else { continue };
            if entry.path().is_none_or(|path| path != vanished.path.as_str()) {
                continue;
            }
            let opaque = matches!(entry.kind(), Some(Kind::Opaque | Kind::Link));
            let life = Life::Deleted { seen: vanished.seen.clone(), hash: opaque.then_some(vanished.hash) };
            fields.push((*doc, Field::Life(life)));
        }
        if fields.is_empty() {
            return;
        }
        if let Err(error) = self.write(fields, Vec::new()).await {
            self.hub.tell(HubEvent::Trouble { path: String::new(), what: error.to_string() });
            self.vanished = vanished;
            self.judge_at = Some(Instant::now() + Duration::from_secs(1));
        }
    }

    /// Has a file that vanished written again.
    pub(super) fn recreate(&self, doc: DocId) {
        let hub = self.hub.clone();
        tokio::spawn(async move { hub.send(doc, Command::Recreate).await });
    }

    pub(super) async fn decide_brake(&mut self, pass_on: bool) -> Result<usize, HubError> {
        let count = self.vanished.len();
        self.hub.0.root_gone.store(false, Ordering::Relaxed);
        self.hub.0.deletions_held.store(false, Ordering::Relaxed);
        if pass_on {
            self.delete_vanished().await;
        } else {
            std::mem::take(&mut self.vanished).into_keys().for_each(|doc| self.recreate(doc));
        }
        self.scan_at = Some(Instant::now());
        Ok(count)
    }
}
