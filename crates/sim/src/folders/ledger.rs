//! Who wrote which marker, and what must hold of all of them when everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::checker::{Fault, FaultKind};
use crate::trace::Trace;

/// What was saved so shortly before a power cut may come back in part.
const JUST_BEFORE: Duration = Duration::from_secs(3);

/// What is known of one marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fate {
    /// On which machine it was written.
    machine: usize,
    /// Its save returned, or its upload was acknowledged: it must be there, unless it may be gone.
    written: bool,
    /// Somebody who saw it took it out, or a power cut may have taken it back.
    may_be_gone: bool,
    /// It was only being written when the power went: half of it may be there.
    may_be_torn: bool,
    /// See [`Ledger::may_be_twice`].
    may_be_twice: bool,
    /// When it was first written.
    at: Duration,
}

#[derive(Default)]
struct Book {
    fates: BTreeMap<String, Fate>,
    next: u64,
    /// The markers of files that were renamed on a machine: a power cut may take that back.
    renamed: BTreeMap<usize, BTreeSet<String>>,
    /// The markers that saves of a path on a machine contained.
    saved: BTreeMap<(usize, String), BTreeSet<String>>,
    faults: Vec<Fault>,
    trace: Trace,
    log: Option<Vec<String>>,
    counts: BTreeMap<&'static str, u64>,
}

/// The ledger of a world.
#[derive(Default)]
pub struct Ledger(Mutex<Book>);

/// All files of a place: a folder, or a journal.
pub struct View {
    /// Whose.
    pub place: String,
    /// Their paths and texts.
    pub files: BTreeMap<String, String>,
}

impl Ledger {
    /// A ledger that remembers everything that happens as lines, if wanted, for a person to read.
    pub fn new(remember: bool) -> Ledger {
        let ledger = Ledger::default();
        ledger.book().log = remember.then(Vec::new);
        ledger
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened at a time since the beginning.
    pub fn note(&self, now: Duration, what: std::fmt::Arguments<'_>) {
        let mut book = self.book();
        let line = format!("{:>9.3} {what}", now.as_secs_f64());
        book.trace.note(format_args!("{line}"));
        if let Some(log) = &mut book.log {
            log.push(line);
        }
    }

    /// Counts something that is reported over all seeds.
    pub fn count(&self, what: &'static str, by: u64) {
        *self.book().counts.entry(what).or_default() += by;
    }

    /// A new marker, which is about to be written on a machine.
    pub fn marker(&self, machine: usize, at: Duration) -> String {
        let mut book = self.book();
        book.next += 1;
        let marker = marker(book.next);
        book.fates.insert(
            marker.clone(),
            Fate { machine, written: false, may_be_gone: false, may_be_torn: false, may_be_twice: false, at },
        );
        marker
    }

    /// They were written.
    pub fn written(&self, markers: &[String]) {
        let mut book = self.book();
        for marker in markers {
            if let Some(fate) = book.fates.get_mut(marker) {
                fate.written = true;
            }
        }
    }

    /// A file that holds `before` is saved as `after`. What an earlier save on this machine contained and this one
    /// does not is taken out on purpose, as far as anybody can tell: two programs on one machine that save over
    /// each other do so with Syncline as without (rule 2).
    pub fn saves(&self, machine: usize, path: &str, before: &str, after: &str) {
        let (before, after) = (markers(before).0, markers(after).0);
        let mut book = self.book();
        let here: BTreeSet<&String> =
            book.saved.iter().filter(|((of, _), _)| *of == machine).flat_map(|(_, saved)| saved).collect();
        let mut gone: BTreeSet<String> = before.into_iter().filter(|marker| here.contains(marker)).collect();
        let saved = book.saved.entry((machine, path.to_owned())).or_default();
        gone.append(saved);
        saved.extend(after.iter().cloned());
        saved.extend(gone.iter().cloned());
        for marker in gone.into_iter().filter(|marker| !after.contains(marker)) {
            if let Some(fate) = book.fates.get_mut(&marker) {
                fate.may_be_gone = true;
            }
        }
    }

    /// Somebody who saw them takes these out, or whatever they stand in.
    pub fn taken_out(&self, markers: impl IntoIterator<Item = String>) {
        let mut book = self.book();
        for marker in markers {
            if let Some(fate) = book.fates.get_mut(&marker) {
                fate.may_be_gone = true;
            }
        }
    }

    /// Nobody can know of these which save, or which file, they belong to: twice is better than not at all.
    pub fn may_be_twice(&self, text: &str) {
        let mut book = self.book();
        for marker in markers(text).0 {
            if let Some(fate) = book.fates.get_mut(&marker) {
                fate.may_be_twice = true;
            }
        }
    }

    /// A file with these is renamed on a machine.
    pub fn renames(&self, machine: usize, text: &str) {
        self.book().renamed.entry(machine).or_default().extend(markers(text).0);
    }

    /// The renames on this machine may not be recorded: their files may be found as files of their own later.
    pub fn renames_may_double(&self, machine: usize) {
        let mut book = self.book();
        let renamed = book.renamed.get(&machine).cloned().unwrap_or_default();
        for (_, fate) in book.fates.iter_mut().filter(|(marker, _)| renamed.contains(*marker)) {
            fate.may_be_twice = true;
        }
    }

    /// A machine lost power: what was written on it and is not among these may be gone.
    pub fn power_cut(&self, machine: usize, kept: &str, now: Duration) {
        self.renames_may_double(machine);
        let mut book = self.book();
        for (marker, fate) in book.fates.iter_mut().filter(|(_, fate)| fate.machine == machine) {
            // The disk may go back to a version between two saves that nobody looked at.
            fate.may_be_twice |= fate.at + JUST_BEFORE > now;
            if !kept.contains(marker.as_str()) {
                (fate.may_be_gone, fate.may_be_torn) = (true, true);
            }
        }
    }

    /// Something is wrong.
    pub fn fault(&self, kind: FaultKind, what: impl Into<String>) {
        self.book().faults.push(Fault { kind, what: what.into() });
    }

    /// The trace of all that happened, the lines of it if they were remembered, and what was counted.
    pub fn close(&self) -> (String, Vec<String>, BTreeMap<&'static str, u64>) {
        let mut book = self.book();
        let trace = std::mem::take(&mut book.trace).finish();
        (trace, book.log.take().unwrap_or_default(), std::mem::take(&mut book.counts))
    }

    /// What went wrong on the way, and what is wrong with these at the end.
    pub fn judge(&self, views: &[View]) -> Vec<Fault> {
        let book = self.book();
        let mut faults = book.faults.clone();
        for view in views {
            let mut fault = |kind, what: String| {
                faults.push(Fault { kind, what: format!("{what} in {}", view.place) });
            };
            let mut counts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
            for (path, text) in &view.files {
                let (markers, torn) = markers(text);
                let excused = |what: &&String| {
                    book.fates.iter().any(|(marker, fate)| {
                        fate.may_be_torn && marker.starts_with(what.trim_end_matches('\u{fffd}'))
                    })
                };
                for what in torn.iter().filter(|what| !excused(what)) {
                    fault(FaultKind::Torn, format!("{what:?} of {path}"));
                }
                for marker in markers {
                    if !book.fates.contains_key(&marker) {
                        fault(FaultKind::Torn, format!("{marker} (never written) of {path}"));
                    }
                    counts.entry(marker).or_default().push(path);
                }
            }
            for (marker, fate) in &book.fates {
                let places = counts.get(marker).map_or(&[][..], Vec::as_slice);
                if places.len() > 1 && !fate.may_be_twice {
                    fault(FaultKind::Doubled, format!("{marker} {places:?}"));
                }
                if places.is_empty() && fate.written && !fate.may_be_gone {
                    fault(FaultKind::Lost, format!("{marker} (of machine {})", fate.machine));
                }
            }
        }
        if let Some((first, others)) = views.split_first() {
            for other in others.iter().filter(|other| other.files != first.files) {
                let what =
                    format!("{}\n{:?}\nand {}\n{:?}", first.place, first.files, other.place, other.files);
                faults.push(Fault { kind: FaultKind::Differs, what });
            }
        }
        faults
    }
}

/// The marker with this number. No two have more in common than words do, and not all is ASCII.
fn marker(number: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(number);
    let letters = "abcdefghijklmnopqrstuvwxyz\u{e9}\u{df}\u{4e2d}\u{1f600}";
    let word: String = (0..rng.usize(5..12)).filter_map(|_| letters.chars().nth(rng.usize(0..30))).collect();
    format!("<{word}{number}>")
}

/// The markers of a text of lines, and what in it is no whole marker.
pub fn markers(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut whole, mut torn) = (Vec::new(), Vec::new());
    for word in text.split_whitespace() {
        let mut rest = word;
        while !rest.is_empty() {
            let end = rest.find('>').map_or(rest.len(), |at| at + 1);
            let (one, more) = rest.split_at(end);
            let is_whole = one.starts_with('<') && one.ends_with('>') && !one[1..].contains('<');
            if is_whole { &mut whole } else { &mut torn }.push(one.to_owned());
            rest = more;
        }
    }
    (whole, torn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(place: &str, text: &str) -> View {
        View { place: place.to_owned(), files: BTreeMap::from([("f".to_owned(), text.to_owned())]) }
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        let ledger = Ledger::default();
        let made: Vec<String> = (0..4).map(|_| ledger.marker(1, Duration::ZERO)).collect();
        let (a, b, c, d) = (&made[0], &made[1], &made[2], &made[3]);
        ledger.written(&made[..3]);
        ledger.taken_out([b.clone()]);
        ledger.power_cut(0, "", Duration::from_secs(9));
        let kinds = |texts: &[String]| {
            let views: Vec<View> = texts.iter().map(|text| view("here", text)).collect();
            ledger.judge(&views).iter().map(|fault| fault.kind).collect::<Vec<_>>()
        };
        assert!(kinds(&[format!("{a} {c}\n{d}\n")]).is_empty());
        assert!(kinds(&[format!("{a}\n{b}{c}\n")]).is_empty());
        assert_eq!(kinds(std::slice::from_ref(a)), [FaultKind::Lost]);
        assert_eq!(kinds(&[format!("{a}{c}{a}")]), [FaultKind::Doubled]);
        assert_eq!(kinds(&[format!("{a}{c}<9")]), [FaultKind::Torn]);
        assert_eq!(kinds(&[format!("{a}{c}x")]), [FaultKind::Torn]);
        assert_eq!(kinds(&[format!("{a}{c}<77>")]), [FaultKind::Torn]);
        assert_eq!(kinds(&[format!("{a}{c}"), format!("{c}{a}")]), [FaultKind::Differs]);
        ledger.power_cut(1, a, Duration::from_secs(9));
        assert!(kinds(std::slice::from_ref(a)).is_empty());
    }
}
