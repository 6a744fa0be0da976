//! Which version had the maker of a save seen? One pure function decides (docs/decisions/0007).
//!
//! A save replaces a whole file. Taken at its word it reverts everything that its maker did not know of.
//! So before it is entered, its *base* is inferred: the version from which it needs the least change. The
//! candidates are what the file held: every save made by others, and what we wrote. An edit that came by a
//! write of ours is *foreign* to the makers of saves; leaving it out means that it was not known, unless an
//! earlier save already contained it.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use syncline_engine::{DiffCost, Edit, diff, diff_cost, line_hunks};

use super::candidates::{Candidate, Evidence, Maker};

/// A save of which no line and less than this share (in percent) stems from any candidate is another file.
const RESEMBLES_PERCENT: usize = 40;

/// Where a save changed the very places that others changed, an older version is its base only if that needs
/// less than this share (in percent) of the change that the newest needs: words alike by chance count for
/// little.
const MUCH_LESS_PERCENT: usize = 70;

/// What is known when a save is found.
pub struct Save<'a> {
    /// What the file held, oldest first; the last is what it held before this save.
    pub candidates: &'a [Candidate],
    /// The text of each candidate.
    pub texts: &'a Texts<'a>,
    /// Whether the version of one candidate has all that is in that of another.
    pub includes: &'a dyn Fn(usize, usize) -> bool,
    /// The text found now.
    pub text: &'a str,
    /// A save with exactly this text was taken for an unchanged old one just before: twice is meant.
    pub repeated: bool,
    /// git is at work in the folder: a checkout means what it says.
    pub git: bool,
}

/// The texts of candidates, each looked up when the decision first asks for it: most saves are decided
/// without any, and replaying an old version of a large document takes its time.
pub struct Texts<'a> {
    known: Vec<OnceCell<Option<Arc<String>>>>,
    replay: Box<dyn Fn(usize) -> Option<Arc<String>> + 'a>,
}

impl<'a> Texts<'a> {
    /// The texts of `count` candidates, which `replay` gives by their index; `None` for one that is not at
    /// hand.
    pub fn new(count: usize, replay: impl Fn(usize) -> Option<Arc<String>> + 'a) -> Texts<'a> {
        Texts { known: vec![OnceCell::new(); count], replay: Box::new(replay) }
    }

    /// The text of a candidate if it was asked for before.
    pub fn known(&self, index: usize) -> Option<&Arc<String>> {
        self.known.get(index)?.get()?.as_ref()
    }

    /// The text of a candidate; `None` if it is not at hand, or there is no such candidate.
    pub fn get(&self, index: usize) -> Option<&Arc<String>> {
        self.known.get(index)?.get_or_init(|| (self.replay)(index)).as_ref()
    }
}

/// Why a base was chosen, for `syncline why`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It is what the file held: nobody else's edit lies between.
    Newest,
    /// It is the candidate from which the save needs the least change.
    LeastChange,
    /// The maker had seen an older version; what came since is kept.
    Stale,
    /// It equals an older version: an old buffer saved unchanged. No edit; the file is written again.
    Unchanged,
    /// The same bytes came a second time after being taken for an old buffer: they are meant.
    Repeated,
    /// git replaced the file.
    Git,
    /// It has nothing in common with any version: another file was put here.
    Unrelated,
    /// Nobody ever read or wrote this file but us: the writer cannot have known it.
    Blind,
}

/// The base of a save: `candidates[index]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Base {
    /// Which candidate.
    pub index: usize,
    /// Whether the save is an edit at all.
    pub edit: bool,
    /// Why.
    pub why: Why,
}

/// The base of a save that needs not be looked at to be sure of it: see [`Save`] for what is given.
pub fn base_without_text(candidates: &[Candidate], repeated: bool, git: bool) -> Option<Base> {
    let newest = candidates.len().checked_sub(1)?;
    let why = match (git, repeated) {
        (true, _) => Why::Git,
        (_, true) => Why::Repeated,
        // Nobody else's edit since the last save: whatever is missing now was taken out on purpose.
        _ if epochs(candidates) == [newest] => Why::Newest,
        _ => return None,
    };
    Some(Base { index: newest, edit: true, why })
}

/// Finds the base of a save. `None` when there is no candidate at all.
pub fn infer_base(save: &Save<'_>) -> Option<Base> {
    let newest = save.candidates.len().checked_sub(1)?;
    let meant = |why| Some(Base { index: newest, edit: true, why });
    let certain = base_without_text(save.candidates, save.repeated, save.git);
    if certain.is_some() {
        return certain;
    }
    let mut considered = epochs(save.candidates);
    if considered.len() > 1 {
        // Whoever has an earlier save's own lines has seen that save, also one upon which others were made: a
        // version without it cannot be the base, or those lines would be entered twice.
        let proof = (0..save.candidates.len()).rev().find(|&index| contains_own_lines(save, index));
        considered.retain(|&index| proof.is_none_or(|proof| (save.includes)(index, proof)));
        if considered.is_empty() {
            considered.extend(proof);
        }
    }
    if considered == [newest] {
        // Nobody else's edit since the last save: whatever is missing now was taken out on purpose.
        return meant(Why::Newest);
    }
    let known =
        |candidate: &Candidate| candidate.maker == Maker::Other || candidate.evidence != Evidence::Unread;
    if !save.candidates.iter().any(known) {
        return meant(Why::Blind);
    }
    let text_of = |index: usize| save.texts.get(index).map(|text| &**text);
    for &index in considered.iter().rev() {
        if index != newest && text_of(index).is_some_and(|text| text == save.text) {
            // With nobody else's edit since, it is somebody taking back their own.
            let foreign = save.candidates[index + 1..].iter().any(|later| later.maker == Maker::Us);
            let unchanged = Some(Base { index, edit: false, why: Why::Unchanged });
            return if foreign { unchanged } else { meant(Why::Newest) };
        }
    }
    considered.retain(|&index| may_be_known(save, index) && !lacks_what_it_brought(save, index));
    // The others are compared with the newest that the maker can have known.
    let newest_known = considered.last().copied().unwrap_or(newest);
    let Some(held) = text_of(newest_known) else { return meant(Why::Newest) };
    let to_newest = diff_cost(held, save.text);
    let taken_back = diff(held, save.text);
    let best = considered
        .iter()
        .filter_map(|&index| {
            let text = text_of(index)?;
            let cost = if index == newest_known { to_newest } else { diff_cost(text, save.text) };
            let likely = index == newest_known
                || match knows(text, held, save.text, &taken_back) {
                    Some(knows) => !knows,
                    None => cost.weight().0 * 100 < to_newest.weight().0 * MUCH_LESS_PERCENT,
                };
            likely.then_some((index, cost))
        })
        .min_by_key(|&(index, cost)| {
            (cost.weight(), save.candidates[index].evidence.rank(), usize::MAX - index)
        });
    let Some((index, cost)) = best else { return meant(Why::Newest) };
    // To an empty file that somebody saw anything may have been added.
    let added_to_nothing =
        text_of(index).is_some_and(|text| text.is_empty()) && save.candidates[index].evidence.is_reading();
    if unrelated(save.text, &cost) && !added_to_nothing {
        return meant(Why::Unrelated);
    }
    let why = if index == newest { Why::LeastChange } else { Why::Stale };
    Some(Base { index, edit: true, why })
}

/// Whether the maker of the save can have known a version. One of ours that nobody read is known only to
/// whoever proves it: by having something of what it brought since the last version that was read (a blind
/// append does). Two people who put lines alike at one place, each without the other's, prove nothing.
///
/// One of which it is not known whether anybody read it counts as read, except where all that it brought was put
/// in and the save has something else at those places: taken for a change of that, it would remove what no save
/// here ever had (rules 2 and 3). At worst a line that was changed stands beside what it was before.
fn may_be_known(save: &Save<'_>, index: usize) -> bool {
    let candidate = &save.candidates[index];
    let certain = candidate.evidence == Evidence::Read || candidate.maker == Maker::Other;
    let read = save.candidates[..index].iter().rposition(|older| older.evidence.is_reading());
    let text_of = |index: usize| save.texts.get(index).map(|text| &**text);
    let texts = if certain { None } else { read.and_then(text_of).zip(text_of(index)) };
    let Some((older, text)) = texts else { return true };
    // Equal: a write of ours without a change, after which the version that was read is still the one there.
    older == text
        || match knows(older, text, save.text, &diff(text, save.text)) {
            Some(knows) => knows || candidate.evidence.is_reading(),
            None => {
                candidate.evidence.is_reading()
                    && !diff(older, text).iter().all(|change| change.range.is_empty())
            }
        }
}

/// Whether the save shows that its maker knew what was changed between `older` and `newest`: where it was
/// left as it was before the change, they did not; where it stands as it is after it, they did. `None` where
/// the save changed the same places itself, so that neither can be told. `taken_back` is what the save
/// changes in the newest text.
fn knows(older: &str, newest: &str, save: &str, taken_back: &[Edit]) -> Option<bool> {
    let own = diff(older, save);
    let (mut known, mut unknown, mut shift) = (0, 0, 0isize);
    for change in diff(older, newest) {
        let added = change.insert.chars().count();
        let place = change.range.start.saturating_add_signed(shift);
        shift += added as isize - change.range.len() as isize;
        // Who puts something in where others did, and has nothing at all of theirs, left it as it was before.
        let gone = !is_any_left(&change.insert, place, taken_back);
        let beside = |edit: &Edit| edit.range.is_empty() && change.range.is_empty() && gone;
        let as_before = !own.iter().any(|edit| touches(&edit.range, &change.range) && !beside(edit));
        let as_after = if added > 0 {
            // Text put between leaves what was added as it is.
            !taken_back.iter().any(|edit| {
                !edit.range.is_empty() && edit.range.start < place + added && place < edit.range.end
            })
        } else {
            !taken_back.iter().any(|edit| touches(&edit.range, &(place..place)))
        };
        match (as_before, as_after) {
            (true, false) => unknown += 1,
            (false, true) => known += 1,
            _ => {}
        }
    }
    if known == unknown { None } else { Some(known > unknown) }
}

/// Whether anything is left of a text that was put in at a place, where all this is taken out: a letter or a digit, or
/// anything at all of a text that has none. Blanks and brackets may be somebody else's.
fn is_any_left(inserted: &str, place: usize, taken_out: &[Edit]) -> bool {
    let has_words = inserted.chars().any(char::is_alphanumeric);
    let mut taken = taken_out.iter().peekable();
    inserted.chars().enumerate().any(|(index, c)| {
        let at = place + index;
        while taken.next_if(|edit| edit.range.end <= at).is_some() {}
        let is_out = taken.peek().is_some_and(|edit| edit.range.contains(&at));
        !is_out && (c.is_alphanumeric() || !has_words)
    })
}

/// Whether two ranges overlap or meet.
fn touches(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start <= b.end && b.start <= a.end
}

/// Whether a save was made upon another, as far as is known. One that was not leaves that other a version that
/// somebody may still have.
fn is_upon(save: &Candidate, other: &Candidate) -> bool {
    let saves = save.maker == Maker::Other && other.maker == Maker::Other;
    saves && !save.gap && save.base.is_none_or(|base| base == other.hash)
}

/// Whether a write of ours brought lines of which the save has none, and no save since had any: the removal of
/// what others wrote is meant only if somebody here had it (rule 2).
fn lacks_what_it_brought(save: &Save<'_>, index: usize) -> bool {
    if save.candidates[index].maker == Maker::Other {
        return false;
    }
    let text_of = |index: usize| save.texts.get(index).map(|text| &**text);
    let before = (0..index).rev().find(|&older| (save.includes)(index, older));
    let (Some(before), Some(text)) = (before.and_then(text_of), text_of(index)) else { return false };
    let taken_out = diff(text, save.text);
    let (mut brought, mut shift) = (0, 0isize);
    for change in diff(before, text) {
        let added = change.insert.chars().count();
        let place = change.range.start.saturating_add_signed(shift);
        shift += added as isize - change.range.len() as isize;
        // Where it changed what was there, a third text may be a change of the second.
        if is_any_left(&change.insert, place, &taken_out) || !change.range.is_empty() {
            return false;
        }
        brought += added;
    }
    let old: HashSet<&str> = before.lines().collect();
    let new: HashSet<&str> =
        text.lines().filter(|line| !line.trim().is_empty() && !old.contains(line)).collect();
    let has_any = |text: &str| text.lines().any(|line| new.contains(line));
    let later = |index: usize| {
        save.candidates[index].maker == Maker::Other && text_of(index).is_some_and(|text| has_any(text))
    };
    brought > 0 && !(index + 1..save.candidates.len()).any(later)
}

/// The candidates that can be told apart by foreign edits: of each run of saves by others, one upon the other,
/// only the last; each write of ours that brought one; and always the newest.
fn epochs(candidates: &[Candidate]) -> Vec<usize> {
    let mut out: Vec<usize> = Vec::new();
    for (index, candidate) in candidates.iter().enumerate() {
        match out.last() {
            // A write of ours that changed nothing, or a save on top of whatever came before it.
            Some(&last) if candidate.hash == candidates[last].hash => out.truncate(out.len() - 1),
            Some(&last) if is_upon(candidate, &candidates[last]) => out.truncate(out.len() - 1),
            _ => {}
        }
        out.push(index);
    }
    out
}

/// Whether the save has every whole line that the candidate, a save, had added to its own base.
fn contains_own_lines(save: &Save<'_>, index: usize) -> bool {
    let text_of = |index: usize| save.texts.get(index).map(|text| &**text);
    let candidate = &save.candidates[index];
    if candidate.maker == Maker::Us {
        return false;
    }
    let base = save.candidates[..index].iter().rposition(|older| Some(older.hash) == candidate.base);
    let (Some(base), Some(own)) = (base.and_then(text_of), text_of(index)) else { return false };
    let added: Vec<&str> = line_hunks(base, own)
        .into_iter()
        .flat_map(|(_, after)| own[after].lines())
        .filter(|line| !line.trim().is_empty())
        .collect();
    if added.is_empty() {
        return false;
    }
    let lines: HashSet<&str> = save.text.lines().collect();
    added.iter().all(|line| lines.contains(line))
}

/// Whether no whole line and little of the text stems from the candidate that comes nearest.
fn unrelated(text: &str, cost: &DiffCost) -> bool {
    let (lines, length) = (text.lines().count(), text.chars().count());
    let kept = length - cost.inserted.min(length);
    lines > 0 && cost.inserted_lines >= lines && kept * 100 < length * RESEMBLES_PERCENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use Evidence::{Read, Unread};
    use Maker::{Other, Us};
    use syncline_engine::Version;

    /// A table of cases: what the file held, the save, and the base it must have.
    fn infer(
        held: &[(&str, Maker, Evidence)],
        text: &str,
        change: impl Fn(&mut Save<'_>),
    ) -> (usize, bool, Why) {
        let mut candidates: Vec<Candidate> = Vec::new();
        for (text, maker, evidence) in held {
            let mut candidate = Candidate::new(Version::root(), text.as_bytes(), *maker, *evidence);
            candidate.base = candidates.last().map(|before: &Candidate| before.hash);
            candidates.push(candidate);
        }
        let texts = Texts::new(held.len(), |index| Some(Arc::new(held[index].0.to_owned())));
        let bases: Vec<_> = candidates.iter().map(|each| (each.maker, each.base, each.hash)).collect();
        let includes = |index: usize, other: usize| included(&bases, index, other);
        let mut save = Save {
            candidates: &candidates,
            texts: &texts,
            includes: &includes,
            text,
            repeated: false,
            git: false,
        };
        change(&mut save);
        let base = infer_base(&save).unwrap();
        (base.index, base.edit, base.why)
    }

    /// As if every save were made from the version that is named as its base, and every write of ours from all.
    fn included(
        all: &[(Maker, Option<syncline_disk::ContentHash>, syncline_disk::ContentHash)],
        index: usize,
        other: usize,
    ) -> bool {
        let mut at = index;
        while at > other && all[at].0 == Other {
            match all[..at].iter().rposition(|older| Some(older.2) == all[at].1) {
                Some(base) => at = base,
                None => return false,
            }
        }
        at >= other
    }

    const OLD: &str = "one\ntwo\nthree\nfour\n";
    const FOREIGN: &str = "one\ntwo, changed by B\nthree\nfour\n";

    #[test]
    fn a_stale_save_has_the_version_its_maker_saw_as_its_base() {
        for evidence in [Unread, Read, Evidence::Unknown] {
            let held = [(OLD, Other, Read), (FOREIGN, Us, evidence)];
            let stale = "one\ntwo\nthree\nfour, mine\n";
            assert_eq!(infer(&held, stale, |_| {}), (0, true, Why::Stale), "{evidence:?}");
            let fresh = "one\ntwo, changed by B\nthree\nfour, mine\n";
            assert_eq!(infer(&held, fresh, |_| {}), (1, true, Why::LeastChange), "{evidence:?}");
        }
    }

    #[test]
    fn stale_in_the_same_line() {
        let held = [("abc def\n", Other, Read), ("abc def ghi\n", Us, Read)];
        assert_eq!(infer(&held, "xabc def\n", |_| {}), (0, true, Why::Stale));
        assert_eq!(infer(&held, "xabc def ghi\n", |_| {}), (1, true, Why::LeastChange));
    }

    #[test]
    fn a_line_of_somebody_elses_that_was_changed_is_not_a_new_line() {
        let held = [("a\nb\n", Other, Read), ("a\nby B\nb\n", Us, Unread)];
        assert_eq!(infer(&held, "a\nby B, and me\nb\n", |_| {}), (1, true, Why::LeastChange));
    }

    #[test]
    fn two_who_append_to_one_line() {
        // The blank between the words must not make B's word look replaced.
        let held =
            [("one\nline here\nthree\n", Other, Read), ("one\nline here left000\nthree\n", Us, Unread)];
        assert_eq!(infer(&held, "one\nline here right11\nthree\n", |_| {}), (0, true, Why::Stale));
    }

    #[test]
    fn lines_alike_at_one_place_by_two_who_did_not_see_each_other() {
        // Taken for a change of B's line, this would cost less than a line of one's own.
        let held = |evidence| [("one\ntwo\n", Other, Read), ("one\nlog 0012 from B\ntwo\n", Us, evidence)];
        let save = "one\nlog 0017 from A\ntwo\n";
        assert_eq!(infer(&held(Unread), save, |_| {}), (0, true, Why::Stale));
        assert_eq!(infer(&held(Evidence::Opened), save, |_| {}), (0, true, Why::Stale));
        assert_eq!(infer(&held(Evidence::Unknown), save, |_| {}), (0, true, Why::Stale));
        // Who has read it may well have changed it.
        assert_eq!(infer(&held(Read), save, |_| {}), (1, true, Why::LeastChange));
        // A write without a change does not hide what was read before.
        let again = [("one\ntwo\n", Other, Read), ("one\ntwo\n", Us, Unread), held(Unread)[1]];
        assert_eq!(infer(&again, save, |_| {}), (1, true, Why::Stale));
    }

    #[test]
    fn words_alike_by_chance_do_not_make_an_older_version_the_base() {
        // B's change of line 1 was written; the maker's own stale save changed line 2; both were merged. Now
        // the maker, who has seen all that, changes line 2 again, to a word more like the one of old.
        let held = [
            ("one A\ntwo mknew000064qqqqqb\n", Us, Read),
            ("one\ntwo mknew000066ztatlh\n", Other, Read),
            ("one A\ntwo mknew000066ztatlh\n", Us, Read),
        ];
        assert_eq!(infer(&held, "one A\ntwo mknew000068mofkvb\n", |_| {}), (2, true, Why::LeastChange));
    }

    #[test]
    fn words_alike_by_chance_in_a_version_before_the_one_that_was_read() {
        let held = [
            ("line 03 mknew000101ppfbdc\nline 15 mknew000102ygxiga\n", Us, Read),
            ("line 03 mknew000101ppfbdc\nline 15 mknew000104ubdpka\n", Us, Unread),
            ("line 03 mknew000103iwevqq\nline 15 mknew000102ygxiga\n", Other, Read),
            ("line 03 mknew000103iwevqq\nline 15 mknew000104ubdpka\n", Us, Read),
            ("line 03 mknew000103iwevqq\nline 15 mknew000106pbqkcw\n", Us, Unread),
        ];
        assert_eq!(
            infer(&held, "line 03 mknew000105pjoylc\nline 15 mknew000104ubdpka\n", |_| {}),
            (3, true, Why::Stale)
        );
    }

    #[test]
    fn a_small_foreign_edit_is_kept_beside_a_large_one_of_ones_own() {
        let lines: String = (0..40).map(|n| format!("line {n}\n")).collect();
        let foreign = lines.replace("line 7\n", "line 7.\n");
        let own = lines.replace("line 30\n", &"a new paragraph of many words\n".repeat(20));
        let held = [(lines.as_str(), Other, Read), (foreign.as_str(), Us, Read)];
        assert_eq!(infer(&held, &own, |_| {}), (0, true, Why::Stale));
        let fresh = own.replace("line 7\n", "line 7.\n");
        assert_eq!(infer(&held, &fresh, |_| {}), (1, true, Why::LeastChange));
    }

    #[test]
    fn an_append_to_a_version_nobody_read_keeps_it() {
        let held = [(OLD, Other, Read), (FOREIGN, Us, Unread)];
        let appended = format!("{FOREIGN}five\n");
        assert_eq!(infer(&held, &appended, |_| {}), (1, true, Why::LeastChange));
    }

    #[test]
    fn two_words_in_brackets_at_the_end_of_one_line() {
        let held = [("one\ntwo\n", Other, Read), ("one <by 4 B>\ntwo\n", Us, Evidence::Unknown)];
        assert_eq!(infer(&held, "one <mine 1>\ntwo\nthree\nfour\n", |_| {}), (0, true, Why::Stale));
        assert_eq!(infer(&held, "one <by 4, B>\ntwo\nthree\nfour\n", |_| {}), (1, true, Why::LeastChange));
    }

    #[test]
    fn many_lines_behind_a_word_of_somebody_elses() {
        // The word ends the file, without a line end; what is put behind it is far more than it.
        let word = format!("{OLD} word ");
        let held = [(OLD, Other, Read), (word.as_str(), Us, Read)];
        let filler: String = (0..4000).map(|number| format!("filler {number}\n")).collect();
        assert_eq!(infer(&held, &format!("{word}{filler}"), |_| {}), (1, true, Why::LeastChange));
        assert_eq!(infer(&held, &format!("{OLD}{filler}"), |_| {}), (0, true, Why::Stale));
    }

    #[test]
    fn an_editor_that_never_reloads_saves_again_and_again() {
        let first = "one\ntwo\nthree\nfour, a\n";
        let merged = "one\ntwo, changed by B\nthree\nfour, a\n";
        let held = [(OLD, Other, Read), (FOREIGN, Us, Read), (first, Other, Read), (merged, Us, Read)];
        let second = "one\ntwo\nthree\nfour, a, b\n";
        assert_eq!(infer(&held, second, |_| {}), (2, true, Why::Stale));
        // Unchanged: no edit, and the second time it is meant.
        assert_eq!(infer(&held, first, |_| {}), (2, false, Why::Unchanged));
        assert_eq!(infer(&held, first, |save| save.repeated = true), (3, true, Why::Repeated));
    }

    #[test]
    fn removing_a_foreign_edit_is_meant_once_a_save_contained_it() {
        let with_own = format!("{FOREIGN}five\n");
        let held = [
            (OLD, Other, Read),
            (FOREIGN, Us, Read),
            (with_own.as_str(), Other, Read),
            ("unrelated write\n", Us, Unread),
        ];
        let removed = format!("{OLD}five\n");
        assert_eq!(infer(&held[..3], &removed, |_| {}).0, 2, "the maker's own save contained it");
        assert_eq!(infer(&held[..2], OLD, |_| {}), (0, false, Why::Unchanged), "nobody can have known it");
    }

    #[test]
    fn a_person_alone_may_take_back_what_they_wrote() {
        let held = [(OLD, Other, Read), (FOREIGN, Other, Read)];
        assert_eq!(infer(&held, OLD, |_| {}), (1, true, Why::Newest), "back to the old bytes is an edit");
        let merged_unchanged = [(OLD, Other, Read), (FOREIGN, Other, Read), (FOREIGN, Us, Unread)];
        assert_eq!(infer(&merged_unchanged, OLD, |_| {}), (2, true, Why::Newest));
        let own = format!("{FOREIGN}five\n");
        let after_a_write = [(OLD, Other, Read), (FOREIGN, Us, Read), (own.as_str(), Other, Read)];
        assert_eq!(infer(&after_a_write, FOREIGN, |_| {}), (2, true, Why::Newest), "undone");
        assert_eq!(infer(&after_a_write, OLD, |_| {}), (0, false, Why::Unchanged), "an old buffer");
    }

    #[test]
    fn a_line_that_somebody_else_changed_is_changed_again() {
        let changed = |word: &str| format!("one\ntwo {word}\nthree\nfour\n");
        let (first, second) = (changed("mknew000104xxxxxx"), changed("mknew000106juvkci"));
        for evidence in [Read, Evidence::Unknown] {
            let held = [(first.as_str(), Other, Read), (second.as_str(), Us, evidence)];
            assert_eq!(infer(&held, &changed("mknew000108aimkrd"), |_| {}).0, 1, "{evidence:?}");
        }
    }

    #[test]
    fn a_save_with_lines_of_an_earlier_one_is_not_made_from_a_later_one_without_them() {
        // X has OLD and adds a line; B's change comes; Y, who has OLD too, saves; X saves again.
        let (by_x, by_y) = ("one\ntwo\nx\nthree\nfour\n", "one\ntwo\nthree\nfour\ny\n");
        let merged = "one\ntwo, changed by B\nx\nthree\nfour\n";
        let held = [(OLD, Us, Read), (by_x, Other, Read), (merged, Us, Read), (by_y, Other, Read)];
        let again = "one\ntwo\nx\nthree\nfour\nx again\n";
        let from_old = |save: &mut Save<'_>| {
            let mut candidates = save.candidates.to_vec();
            candidates[3].base = Some(candidates[0].hash);
            let candidates: &[Candidate] = Box::leak(candidates.into_boxed_slice());
            let bases: Vec<_> = candidates.iter().map(|each| (each.maker, each.base, each.hash)).collect();
            save.candidates = candidates;
            save.includes = Box::leak(Box::new(move |index, other| included(&bases, index, other)));
        };
        assert_eq!(infer(&held, again, from_old), (1, true, Why::Stale));
    }

    #[test]
    fn replacements() {
        let held = [(OLD, Other, Read), (FOREIGN, Us, Read)];
        assert_eq!(infer(&held, "#!/bin/sh\nexec true\n", |_| {}), (1, true, Why::Unrelated));
        assert_eq!(infer(&held, OLD, |save| save.git = true), (1, true, Why::Git));
        let blind = [(OLD, Us, Unread), (FOREIGN, Us, Unread)];
        assert_eq!(infer(&blind, "one\ntwo\nthree\n", |_| {}), (1, true, Why::Blind));
        assert!(infer(&held, "", |_| {}).1, "emptying a file is an edit");
    }

    #[test]
    fn stale_over_a_fresh_save_by_another_program() {
        // X read OLD; our write brought B's edit; Y read that and appended; X saves its stale buffer.
        let fresh = format!("{FOREIGN}by Y\n");
        let held = [(OLD, Other, Read), (FOREIGN, Us, Read), (fresh.as_str(), Other, Read)];
        let stale = "zero\none\ntwo\nthree\nfour\n";
        assert_eq!(infer(&held, stale, |_| {}), (0, true, Why::Stale));
    }
}
