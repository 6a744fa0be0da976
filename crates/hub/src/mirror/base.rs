//! Which version had the maker of a save seen? One pure function decides (docs/decisions/0007).
//!
//! A save replaces a whole file. Taken at its word it reverts everything that its maker did not know of.
//! So before it is entered, its *base* is inferred: the version from which it needs the least change. The
//! candidates are what the file held: every save made by others, and what we wrote. An edit that came by a
//! write of ours is *foreign* to the makers of saves; leaving it out means that it was not known, unless an
//! earlier save already contained it.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::Arc;
use syncline_engine::{DiffCost, diff, diff_cost, line_hunks};

use super::candidates::{Candidate, Evidence, Maker};
use super::signs::{Removed, Signs, is_any_left};

/// A save of which no line and less than this share (in percent) stems from any candidate is another file.
const RESEMBLES_PERCENT: usize = 40;

/// Where a save changed the very places that others changed, an older version is its base only if that needs
/// less than this share (in percent) of the change that the newest needs: words alike by chance count for
/// little.
pub(super) const MUCH_LESS_PERCENT: usize = 70;

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

/// The base of a save that needs not be looked at to be sure of it. `repeated`: its very bytes were taken for an old buffer just
/// before; `git`: git put it there.
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
        let old = old_buffers(save, &considered);
        considered.extend(old.filter(|&index| proof.is_none_or(|proof| (save.includes)(index, proof))));
        considered.sort_unstable();
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
    let mut known: Vec<usize> = Vec::new();
    for index in considered {
        // A save that raced with a write of ours is not in what that wrote.
        let before = known.iter().rfind(|&&known| (save.includes)(index, known)).or(known.last());
        if may_be_known(save, index, before.copied()) {
            known.push(index);
        }
    }
    considered = known;
    considered.retain(|&index| !lacks_what_it_brought(save, index));
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
                || match Signs::read(text, held, save.text, &taken_back).verdict() {
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
/// One of which it is not known whether anybody read it counts as read, except where something that it put in is not
/// in the save and nothing that it put in is, whatever else it and the save have in common (two may take out the same
/// line): taken for a change of that, the save would remove what no save here ever had (rules 2 and 3). At worst a line
/// that was changed stands beside what it was before.
///
/// `known`: the newest before it that may be known, of those that it includes if there is one.
fn may_be_known(save: &Save<'_>, index: usize, known: Option<usize>) -> bool {
    let certain =
        |candidate: &Candidate| candidate.evidence == Evidence::Read || candidate.maker == Maker::Other;
    let candidate = &save.candidates[index];
    let older = || known.or_else(|| save.candidates[..index].iter().rposition(certain));
    let text_of = |index: usize| save.texts.get(index).map(|text| &**text);
    let texts = if certain(candidate) { None } else { older().and_then(text_of).zip(text_of(index)) };
    let Some((older, text)) = texts else { return true };
    // Equal: a write of ours without a change, after which the version that was read is still the one there.
    if older == text {
        return true;
    }
    let signs = Signs::read(older, text, save.text, &diff(text, save.text));
    signs.may_be_known().unwrap_or_else(|| {
        candidate.evidence.is_reading() && !diff(older, text).iter().all(|change| change.range.is_empty())
    })
}

/// Whether a save was made upon another, as far as is known. One that was not leaves that other a version that
/// somebody may still have.
fn is_upon(save: &Candidate, other: &Candidate) -> bool {
    let saves = save.maker == Maker::Other && other.maker == Maker::Other;
    // Nobody who has the whole of it saves what a power cut left of it.
    saves && !save.gap && save.part == other.part && save.base.is_none_or(|base| base == other.hash)
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
    let mut removed = Removed::of(before);
    for change in diff(before, text) {
        let added = change.insert.chars().count();
        let place = change.range.start.saturating_add_signed(shift);
        shift += added as isize - change.range.len() as isize;
        let takes_lines_out = removed.by(&change).contains('\n');
        // Two may well take out the same lines, each on their own.
        if added == 0 && takes_lines_out {
            continue;
        }
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
    // A line that is there may be lined up with another one.
    brought > 0 && !has_any(save.text) && !(index + 1..save.candidates.len()).any(later)
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

/// Of saves one upon the other those that somebody else here may still have in a buffer: a save that has nothing of what
/// came since, neither of the later ones nor of our newest write, is made from such a one (rule 2).
fn old_buffers<'a>(save: &'a Save<'_>, considered: &[usize]) -> impl Iterator<Item = usize> + use<'a> {
    let text_of = |index: usize| save.texts.get(index).map(|text| &**text);
    let knows_none = move |older: usize, newer: usize| {
        let (Some(older), Some(newer)) = (text_of(older), text_of(newer)) else { return false };
        older != newer
            && Signs::read(older, newer, save.text, &diff(newer, save.text)).verdict() == Some(false)
    };
    let newest = save.candidates.len().saturating_sub(1);
    let runs: Vec<(usize, usize)> = (0..newest)
        .filter(|index| !considered.contains(index) && save.candidates[*index].maker == Maker::Other)
        .filter_map(|index| Some((index, *considered.iter().find(|&&last| last > index)?)))
        .filter(|&(_, last)| save.candidates[last].maker == Maker::Other && last < newest)
        .collect();
    runs.into_iter()
        .filter(move |&(index, last)| knows_none(index, last) && knows_none(last, newest))
        .map(|(index, _)| index)
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
mod cases;
