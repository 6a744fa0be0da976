//! What must hold: every acknowledged marker is everywhere, once and whole, unless somebody deleted it.

use std::collections::BTreeMap;
use std::fmt;

use syncline_engine::Heads;
use syncline_engine::catalogue::DocId;

use crate::party::markers;

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FaultKind {
    /// An acknowledged marker that nobody deleted is missing.
    Lost,
    /// A marker is there more than once.
    Doubled,
    /// A marker is there though its deletion was acknowledged.
    Resurrected,
    /// Something is no whole marker, or one that nobody inserted there.
    Torn,
    /// Two replicas differ.
    Differs,
    /// Something left a replica before it was journalled there.
    Early,
    /// A connection or a document was given up.
    GivenUp,
    /// A journal cannot be read.
    Damaged,
    /// The world did not come to rest.
    Restless,
}

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// What exactly, and where.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}

/// The documents of one replica, or of one journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// Whose.
    pub place: String,
    /// Their versions and texts.
    pub documents: BTreeMap<DocId, (Heads, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deletion {
    None,
    /// It may or may not have happened.
    Asked,
    Acknowledged,
}

#[derive(Clone, Debug)]
struct Fate {
    doc: DocId,
    /// Otherwise its insertion may or may not have happened.
    acknowledged: bool,
    deletion: Deletion,
}

/// What was asked and acknowledged, and what went wrong on the way.
#[derive(Clone, Default, Debug)]
pub struct Checker {
    fates: BTreeMap<String, Fate>,
    faults: Vec<Fault>,
}

impl Checker {
    /// Somebody inserts a marker and deletes others; whether that happens will be known when it is acknowledged.
    pub fn asked(&mut self, doc: DocId, inserted: Option<&str>, deleted: &[String]) {
        if let Some(marker) = inserted {
            let fate = Fate { doc, acknowledged: false, deletion: Deletion::None };
            self.fates.insert(marker.to_owned(), fate);
        }
        for marker in deleted {
            if let Some(fate) = self.fates.get_mut(marker)
                && fate.deletion == Deletion::None
            {
                fate.deletion = Deletion::Asked;
            }
        }
    }

    /// It was acknowledged.
    pub fn acknowledged(&mut self, inserted: Option<&str>, deleted: &[String]) {
        if let Some(fate) = inserted.and_then(|marker| self.fates.get_mut(marker)) {
            fate.acknowledged = true;
        }
        for marker in deleted {
            if let Some(fate) = self.fates.get_mut(marker) {
                fate.deletion = Deletion::Acknowledged;
            }
        }
    }

    /// Something went wrong.
    pub fn fault(&mut self, kind: FaultKind, what: impl Into<String>) {
        self.faults.push(Fault { kind, what: what.into() });
    }

    /// How many insertions were acknowledged.
    pub fn acknowledged_insertions(&self) -> usize {
        self.fates.values().filter(|fate| fate.acknowledged).count()
    }

    /// What went wrong on the way, and what is wrong at the end, when all has come to rest.
    pub fn judge(&self, views: &[View]) -> Vec<Fault> {
        let mut faults = self.faults.clone();
        for view in views {
            self.judge_one(view, &mut faults);
        }
        for pair in views.windows(2) {
            if pair[0].documents != pair[1].documents {
                let what = format!("{} and {}", pair[0].place, pair[1].place);
                faults.push(Fault { kind: FaultKind::Differs, what });
            }
        }
        faults
    }

    fn judge_one(&self, view: &View, faults: &mut Vec<Fault>) {
        let place = &view.place;
        let mut fault = |kind, what: String| faults.push(Fault { kind, what: format!("{what} in {place}") });
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (doc, (_, text)) in &view.documents {
            match markers(text) {
                Ok(found) => {
                    for each in found {
                        if self.fates.get(&each.marker).is_none_or(|fate| fate.doc != *doc) {
                            fault(FaultKind::Torn, format!("{} (not inserted there)", each.marker));
                        }
                        *counts.entry(each.marker).or_default() += 1;
                    }
                }
                Err(what) => fault(FaultKind::Torn, format!("{what} of {text:?}")),
            }
        }
        for (marker, fate) in &self.fates {
            let count = counts.get(marker).copied().unwrap_or(0);
            if count > 1 {
                fault(FaultKind::Doubled, format!("{marker} {count} times"));
            }
            if count > 0 && fate.deletion == Deletion::Acknowledged {
                fault(FaultKind::Resurrected, marker.clone());
            }
            if count == 0 && fate.acknowledged && fate.deletion == Deletion::None {
                fault(FaultKind::Lost, marker.clone());
            }
        }
    }

    /// Whether this checker still notices anything: spoils a copy of what was found good in every way it is
    /// to notice, and gives the kinds of fault that it overlooked.
    pub fn canary(&self, views: &[View]) -> Vec<FaultKind> {
        let mut overlooked = Vec::new();
        let mut spoil = |kind: FaultKind, change: &dyn Fn(&str) -> Option<String>| {
            let mut spoilt = views.to_vec();
            let mut texts = spoilt.iter_mut().rev().flat_map(|view| view.documents.values_mut());
            let changed = texts.any(|(_, text)| match change(text.as_str()) {
                Some(changed) => {
                    *text = changed;
                    true
                }
                None => false,
            });
            if changed && !self.judge(&spoilt).iter().any(|fault| fault.kind == kind) {
                overlooked.push(kind);
            }
        };
        let stays = |fate: &Fate| fate.acknowledged && fate.deletion == Deletion::None;
        let kept = |text: &str| {
            let found = markers(text).unwrap_or_default();
            found.into_iter().find(|each| self.fates.get(&each.marker).is_some_and(stays))
        };
        spoil(FaultKind::Lost, &|text: &str| Some(text.replacen(&kept(text)?.marker, "", 1)));
        spoil(FaultKind::Doubled, &|text: &str| Some(format!("{text}{}", kept(text)?.marker)));
        spoil(FaultKind::Torn, &|text: &str| {
            let marker = kept(text)?.marker;
            Some(text.replacen(&marker, marker.trim_end_matches('>'), 1))
        });
        spoil(FaultKind::Differs, &|text: &str| Some(text.replacen(&kept(text)?.marker, "", 1)));
        let deleted = self.fates.iter().find(|(_, fate)| fate.deletion == Deletion::Acknowledged);
        if let Some((marker, _)) = deleted {
            spoil(FaultKind::Resurrected, &|text: &str| Some(format!("{text}{marker}")));
        }
        overlooked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOC: DocId = DocId([1; 16]);

    fn view(text: &str) -> View {
        let documents = BTreeMap::from([(DOC, (Heads::default(), text.to_owned()))]);
        View { place: "here".into(), documents }
    }

    fn kinds(checker: &Checker, texts: &[&str]) -> Vec<FaultKind> {
        let views: Vec<View> = texts.iter().map(|text| view(text)).collect();
        checker.judge(&views).iter().map(|fault| fault.kind).collect()
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        let mut checker = Checker::default();
        for marker in ["<1>", "<2>", "<3>", "<4>"] {
            checker.asked(DOC, Some(marker), &[]);
        }
        checker.acknowledged(Some("<1>"), &[]);
        checker.acknowledged(Some("<2>"), &[]);
        checker.asked(DOC, None, &["<2>".to_owned()]);
        checker.acknowledged(Some("<3>"), &[]);
        checker.asked(DOC, None, &["<3>".to_owned()]);
        checker.acknowledged(None, &["<3>".to_owned()]);
        assert!(kinds(&checker, &["<1><2>", "<1><2>"]).is_empty());
        assert!(kinds(&checker, &["<1><4>"]).is_empty(), "unacknowledged: may or may not have happened");
        assert_eq!(kinds(&checker, &["<2>"]), [FaultKind::Lost]);
        assert_eq!(kinds(&checker, &["<1><1>"]), [FaultKind::Doubled]);
        assert_eq!(kinds(&checker, &["<1><3>"]), [FaultKind::Resurrected]);
        assert_eq!(kinds(&checker, &["<1><4"]), [FaultKind::Torn, FaultKind::Lost]);
        assert_eq!(kinds(&checker, &["<1><5>"]), [FaultKind::Torn]);
        assert_eq!(kinds(&checker, &["<1><2>", "<1>"]), [FaultKind::Differs]);
        assert!(checker.canary(&[view("<1>"), view("<1>")]).is_empty());
    }
}
