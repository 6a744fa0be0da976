//! Documents whose paths are two names elsewhere and one here: they differ only in case, where the folder's file
//! system ignores it, or only in their normal form of Unicode (docs/decisions/0011).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use syncline_disk::{CaseRule, RelPath, clash_key};
use syncline_engine::catalogue::{Catalogue, DocId};

/// Which paths share a key. Says which may be twins; the catalogue says which documents live.
pub(crate) struct Twins {
    rule: CaseRule,
    /// Of each key, the paths that differ from it. Never forgotten: the catalogue remembers them too.
    spellings: Mutex<HashMap<String, BTreeSet<String>>>,
}

impl Twins {
    pub fn new(rule: CaseRule, catalogue: &Catalogue) -> Twins {
        let twins = Twins { rule, spellings: Mutex::default() };
        catalogue.paths().for_each(|(path, _)| twins.note(path));
        twins
    }

    fn spellings(&self) -> MutexGuard<'_, HashMap<String, BTreeSet<String>>> {
        self.spellings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key; `None` for a path that can have no file anywhere.
    fn key(&self, path: &str) -> Option<String> {
        Some(clash_key(&RelPath::parse(path).ok()?, self.rule))
    }

    /// A document got this path.
    pub fn note(&self, path: &str) {
        if let Some(key) = self.key(path).filter(|key| key != path) {
            self.spellings().entry(key).or_default().insert(path.to_owned());
        }
    }

    /// The living documents at other spellings of a path, with these.
    pub fn of(&self, catalogue: &Catalogue, path: &str) -> Vec<(String, DocId)> {
        let Some(key) = self.key(path) else { return Vec::new() };
        let mut others = self.spellings().get(&key).cloned().unwrap_or_default();
        others.insert(key);
        others.remove(path);
        let docs =
            |other: String| catalogue.at(&other).to_vec().into_iter().map(move |doc| (other.clone(), doc));
        others.into_iter().flat_map(docs).collect()
    }

    /// Of the document at this path and its twins, those that must get another name: all but the one that has
    /// had its path longest, on whichever hub this is asked.
    pub fn newcomers(&self, catalogue: &Catalogue, path: &str) -> Vec<(String, DocId)> {
        let mut all = self.of(catalogue, path);
        if all.is_empty() {
            return all;
        }
        all.extend(catalogue.at(path).iter().map(|doc| (path.to_owned(), *doc)));
        let since = |doc: &DocId| catalogue.get(doc).and_then(|entry| entry.path_stamp());
        all.sort_by_key(|(_, doc)| (since(doc), *doc));
        all.split_off(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_engine::AgentId;
    use syncline_engine::catalogue::{Field, Life};

    #[test]
    fn whoever_came_later_is_the_newcomer() {
        let (mut catalogue, agent) = (Catalogue::new(), AgentId::from_random(1));
        let mut add = |id: u8, path: &str| {
            catalogue.write(DocId([id; 16]), Field::Path(path.into()), agent);
            catalogue.write(DocId([id; 16]), Field::Life(Life::Alive), agent);
        };
        add(9, "README");
        add(1, "readme");
        add(5, "Readme");
        add(2, "other");
        add(7, "caf\u{e9}");
        add(3, "cafe\u{301}");
        let ids = |twins: Vec<(String, DocId)>| twins.iter().map(|(_, doc)| doc.0[0]).collect::<Vec<_>>();
        let folding = Twins::new(CaseRule::Insensitive, &catalogue);
        for path in ["README", "readme", "Readme"] {
            assert_eq!(ids(folding.newcomers(&catalogue, path)), [1, 5], "{path}");
        }
        assert_eq!(ids(folding.of(&catalogue, "readmE")), [9, 5, 1]);
        assert!(folding.newcomers(&catalogue, "other").is_empty());
        let exact = Twins::new(CaseRule::Sensitive, &catalogue);
        assert!(exact.newcomers(&catalogue, "README").is_empty());
        for twins in [&folding, &exact] {
            assert_eq!(ids(twins.newcomers(&catalogue, "caf\u{e9}")), [3]);
        }
        catalogue.write(DocId([9; 16]), Field::Path("elsewhere".into()), agent);
        assert_eq!(ids(folding.newcomers(&catalogue, "readme")), [5], "who left is no twin");
    }
}
