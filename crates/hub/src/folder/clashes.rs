//! Documents that cannot all have the paths they want: see `joining.rs`.

use super::*;

impl FolderTask {
    /// Two living documents at one path: the hub that others dial resolves it (docs/decisions/0008).
    pub(super) fn resolve_clashes(&self, writes: &[Write]) {
        let placed = writes.iter().filter(|write| matches!(write.field, Field::Path(_) | Field::Life(_)));
        self.part_twins(placed.filter_map(|write| self.catalogue.get(&write.doc)?.path()));
        if !self.hub.resolves() {
            return;
        }
        let paths: BTreeSet<&String> =
            writes.iter().filter_map(|write| self.catalogue.get(&write.doc)?.path()).collect();
        for path in paths {
            if let [survivor, loser, ..] = self.catalogue.at(path) {
                tokio::spawn(joining::resolve(self.hub.clone(), path.clone(), *survivor, *loser));
            }
        }
        for write in writes {
            if matches!(write.field, Field::Joined(_)) {
                tokio::spawn(joining::follow(self.hub.clone(), write.doc));
            }
        }
    }

    /// Documents at these paths of which this disk can hold only one: every hub that has such a disk parts them
    /// (docs/decisions/0011).
    pub(super) fn part_twins<'a>(&self, paths: impl Iterator<Item = &'a String>) {
        let paths: BTreeSet<&String> = paths.collect();
        for path in paths {
            if !self.hub.0.twins.newcomers(&self.catalogue, path).is_empty() {
                tokio::spawn(joining::part_twins(self.hub.clone(), path.clone()));
            }
        }
    }

    pub(super) fn resolve_all(&self) {
        for (path, docs) in self.catalogue.paths() {
            if let [survivor, loser, ..] = docs {
                tokio::spawn(joining::resolve(self.hub.clone(), path.to_owned(), *survivor, *loser));
            }
        }
        for (doc, _) in self.catalogue.iter().filter(|(_, entry)| entry.joined().is_some()) {
            tokio::spawn(joining::follow(self.hub.clone(), *doc));
        }
    }
}
