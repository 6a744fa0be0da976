//! Conflicts: changes that two users made without knowing of each other, at one place.
//!
//! What conflicts is judged in the text that both had seen, their common ancestor: two changes conflict if the
//! characters that they took out overlap (as half-open ranges), if one put text strictly inside what the other took
//! out, or if both only put text in, at the same gap. One user's changes that go on from one another count as one
//! change, made when the first of those was made that the other did not know. The later change wins, of two made in the same
//! millisecond that of the smaller user. All of this depends on what both knew and on nothing that came later, so
//! every replica judges alike, whatever the order in which it hears of them, and never has to take it back.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;

use crate::document::Document;
use crate::edit::Edit;
use crate::id::{AgentId, EventId};
use crate::operation::Kind;
use crate::spans::{BEFORE, NONE};
use crate::version::{Lv, Version};
use crate::walker::Walker;

/// Channels whose edits are nobody's change: the policy's own, joins of two documents, and what was there first.
const NOBODY: [&str; 3] = ["policy", "join", "founding"];

/// One of two changes that conflict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contender {
    /// Its first event.
    pub id: EventId,
    /// Who made it.
    pub author: Arc<str>,
    /// When, in milliseconds since 1970: the time of the first of the user's changes that it goes on from.
    pub time_ms: u64,
    /// What it put in (empty if it only took something out).
    pub inserted: String,
    /// The events that put it in.
    pub events: Range<Lv>,
    /// How many of these characters are in the text at the newest version.
    pub standing: usize,
    /// Where in that text they are, or would be.
    pub at: usize,
}

/// Two changes made at one place by two users who did not know of each other's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The later one; of two at the same time, that of the user who is smaller in byte order.
    pub winner: Contender,
    /// The other.
    pub loser: Contender,
}

/// What one save did at one place: characters taken out, and text put in there.
struct Hunk {
    events: Range<Lv>,
    inserts: Option<Range<Lv>>,
    agent: AgentId,
    author: Arc<str>,
    time_ms: u64,
    /// What its maker had seen.
    seen: Version,
    /// The characters it took out.
    taken: Vec<Range<Lv>>,
    /// Earlier hunks of the same user that it goes on from.
    goes_on_from: Vec<usize>,
    /// The events that its maker did not know, itself included.
    unknown: OnceCell<Vec<Range<Lv>>>,
}

/// Everything that is looked at.
struct Scene<'a> {
    document: &'a Document,
    hunks: Vec<Hunk>,
    /// All characters in their order: the first's id, how many, and where they begin.
    order: Vec<(Lv, usize, usize)>,
    /// Those that stand, in their order: the first's id, how many, and where in the text.
    standing: Vec<(Lv, usize, usize)>,
    /// The same, by id: indices into `order`.
    by_id: Vec<usize>,
    /// Characters that were deleted, and the events that did it: by the first character.
    deleted: Vec<(Range<Lv>, Lv)>,
    longest: usize,
}

impl Document {
    /// The conflicts of which at least one side is not part of `version`, oldest winner first. Costs a walk over
    /// what is concurrent with what came since, not the history.
    pub fn conflicts_since(&self, version: &Version) -> Vec<Conflict> {
        match Scene::of(self, version) {
            Some((scene, _)) => scene.conflicts(version),
            None => Vec::new(),
        }
    }

    /// The edits, at the newest version, that take out again what the losers of the conflicts since `version` put
    /// in, and those conflicts. What a loser took out stays out. Nothing that is gone already is taken out again,
    /// and deletions unite: two replicas that both do this agree.
    pub fn last_writer_wins(&self, version: &Version) -> (Vec<Edit>, Vec<Conflict>) {
        let Some((scene, walker)) = Scene::of(self, version) else { return (Vec::new(), Vec::new()) };
        let conflicts = scene.conflicts(version);
        let mut lost: Vec<Range<Lv>> =
            conflicts.iter().map(|conflict| conflict.loser.events.clone()).collect();
        lost.sort_by_key(|events| events.start);
        lost.dedup();
        let mut edits: Vec<Edit> = Vec::new();
        for (events, at) in walker.standing() {
            let first = lost.partition_point(|range| range.end <= events.start);
            for range in lost[first..].iter().take_while(|range| range.start < events.end) {
                let from = at + (range.start.max(events.start) - events.start);
                let to = at + (range.end.min(events.end) - events.start);
                match edits.last_mut() {
                    Some(last) if last.range.end == from => last.range.end = to,
                    _ => edits.push(Edit::delete(from..to)),
                }
            }
        }
        (edits, conflicts)
    }
}

impl<'a> Scene<'a> {
    /// `None`: nothing since `version` was made without knowing of something else.
    fn of(document: &'a Document, version: &Version) -> Option<(Scene<'a>, Walker)> {
        let graph = &document.graph;
        let new = graph.difference(version, graph.heads()).only_b;
        let mut base = graph.heads().clone();
        let mut concurrent = false;
        for range in &new {
            let mut next = range.start;
            while next < range.end {
                let chain = graph.run_from(next, range.end);
                let parents = graph.parents_of(chain.start);
                let (below, _) = graph.dominating(graph.heads(), &parents);
                // Something that it does not build on, and that does not build on it: it came before, or is old.
                let unknown = graph.difference(graph.heads(), &parents).only_a;
                concurrent |=
                    unknown.iter().any(|range| range.start < chain.start || !has(&new, range.start));
                if graph.includes(&base, &below) {
                    base = below;
                }
                next = chain.end;
            }
        }
        if !concurrent {
            return None;
        }
        let mut walker = Walker::new(base.clone());
        let between = graph.difference(&base, graph.heads()).only_b;
        for range in &between {
            // Their positions were checked when they came.
            let walked = walker.walk(graph, &document.operations, range.clone(), None, &mut |_| {});
            debug_assert!(walked.is_ok(), "an event that was accepted has no place");
        }
        let (mut order, mut at) = (Vec::new(), 0);
        for span in walker.characters() {
            order.push((span.id, span.len, at));
            at += span.len;
        }
        let mut by_id: Vec<usize> = (0..order.len()).collect();
        by_id.sort_by_key(|&index| order[index].0);
        let mut deleted: Vec<(Range<Lv>, Lv)> = walker.deletions().collect();
        deleted.sort_by_key(|(characters, _)| characters.start);
        let longest = deleted.iter().map(|(characters, _)| characters.len()).max().unwrap_or(0);
        let standing = walker.standing().map(|(events, at)| (events.start, events.len(), at)).collect();
        let mut scene = Scene { document, hunks: Vec::new(), order, standing, by_id, deleted, longest };
        for range in between {
            scene.take_up(range, &walker);
        }
        scene.link(&walker);
        Some((scene, walker))
    }

    /// Makes hunks of events.
    fn take_up(&mut self, range: Range<Lv>, walker: &Walker) {
        let Document { graph, metas, operations, .. } = self.document;
        let mut next = range.start;
        while next < range.end {
            let chain = graph.run_from(next, range.end);
            let (part, meta) = metas.run_from(chain.start, chain.end);
            next = part.end;
            if NOBODY.contains(&&*meta.channel) {
                continue;
            }
            // A deletion that an insertion at the same place may follow.
            let mut open: Option<usize> = None;
            for operation in operations.iter(part) {
                let (deletes, inserts, at) = match operation.kind {
                    Kind::Delete { at, backward } => {
                        let forward = !backward || operation.range.len() == 1;
                        (Some(operation.range.clone()), None, forward.then_some(at))
                    }
                    Kind::Insert { at } => (None, Some(operation.range.clone()), Some(at)),
                };
                if let (Some(inserts), Some(from)) = (&inserts, open.take())
                    && at == Some(from)
                    && let Some(last) = self.hunks.last_mut()
                {
                    last.events.end = inserts.end;
                    last.inserts = Some(inserts.clone());
                    continue;
                }
                open = at.filter(|_| deletes.is_some());
                let taken = deletes.iter().flat_map(|events| walker.deleted_by(events.clone())).collect();
                self.hunks.push(Hunk {
                    agent: graph.id_of(operation.range.start).agent,
                    seen: graph.parents_of(operation.range.start),
                    events: operation.range,
                    inserts,
                    author: meta.author.clone(),
                    time_ms: meta.time_ms,
                    taken,
                    goes_on_from: Vec::new(),
                    unknown: OnceCell::new(),
                });
            }
        }
    }

    /// Finds which hunks go on from which: those that take out or lie beside what an earlier one of the same user
    /// put in, or lie where it took something out.
    fn link(&mut self, walker: &Walker) {
        let mut origins = vec![[NONE; 2]; self.hunks.len()];
        for span in walker.characters().filter(|span| span.id < BEFORE) {
            let first = self.hunks.partition_point(|hunk| hunk.events.end <= span.id);
            let hunks = self.hunks.iter().enumerate().skip(first);
            for (index, hunk) in hunks.take_while(|(_, hunk)| hunk.events.start < span.id + span.len) {
                match &hunk.inserts {
                    Some(inserts) if inserts.start == span.id => origins[index] = [span.left, span.right],
                    // Typed on: several hunks can be one span.
                    Some(inserts) if inserts.start > span.id => origins[index] = [inserts.start - 1, NONE],
                    _ => {}
                }
            }
        }
        for (index, origins) in origins.into_iter().enumerate() {
            let hunk = &self.hunks[index];
            let mut touched: Vec<usize> = Vec::new();
            for character in origins.into_iter().filter(|&origin| origin != NONE) {
                touched.extend(self.hunk_of(character));
                touched.extend(self.deleters(character).filter_map(|event| self.hunk_of(event)));
            }
            for range in &hunk.taken {
                // Every hunk that put some of these in.
                let mut character = range.start;
                while character < range.end.min(BEFORE) {
                    let found = self.hunk_of(character);
                    touched.extend(found);
                    character = found.map_or(character + 1, |found| self.hunks[found].events.end);
                }
            }
            touched.sort_unstable();
            touched.dedup();
            touched.retain(|&other| {
                let earlier = &self.hunks[other];
                other != index
                    && earlier.agent == hunk.agent
                    && earlier.author == hunk.author
                    && self.document.graph.contains(&hunk.seen, earlier.events.end - 1)
            });
            self.hunks[index].goes_on_from = touched;
        }
    }

    /// The hunk that an event belongs to.
    fn hunk_of(&self, event: Lv) -> Option<usize> {
        let index = self.hunks.partition_point(|hunk| hunk.events.end <= event);
        self.hunks.get(index).filter(|hunk| hunk.events.start <= event).map(|_| index)
    }

    /// The events that deleted a character.
    fn deleters(&self, character: Lv) -> impl Iterator<Item = Lv> {
        let to = self.deleted.partition_point(|(characters, _)| characters.start <= character);
        let from =
            self.deleted.partition_point(|(characters, _)| characters.start + self.longest <= character);
        let covering =
            self.deleted[from..to].iter().filter(move |(characters, _)| character < characters.end);
        covering.map(move |(characters, event)| event + (character - characters.start))
    }

    fn conflicts(&self, version: &Version) -> Vec<Conflict> {
        let new = self.document.graph.difference(version, self.document.graph.heads()).only_b;
        let is_new = |hunk: &Hunk| has(&new, hunk.events.start);
        let mut found = Vec::new();
        for (index, hunk) in self.hunks.iter().enumerate().filter(|(_, hunk)| is_new(hunk)) {
            let unknown = self.unknown(index);
            for range in unknown {
                let first = self.hunks.partition_point(|other| other.events.end <= range.start);
                for (other, beside) in self.hunks.iter().enumerate().skip(first) {
                    if beside.events.start >= range.end {
                        break;
                    }
                    // Of two new ones each pair once.
                    let twice = other <= index && is_new(beside);
                    let same = beside.agent == hunk.agent && beside.author == hunk.author;
                    if twice || same || !has(self.unknown(other), hunk.events.start) {
                        continue;
                    }
                    found.extend(self.judge(index, other));
                }
            }
        }
        found.sort_by(|a, b| {
            let key = |conflict: &Conflict| (conflict.winner.time_ms, conflict.winner.id, conflict.loser.id);
            key(a).cmp(&key(b))
        });
        found
    }

    /// What the maker of a hunk did not know, itself included: ascending ranges.
    fn unknown(&self, index: usize) -> &[Range<Lv>] {
        self.hunks[index].unknown.get_or_init(|| {
            let graph = &self.document.graph;
            graph.difference(graph.heads(), &self.hunks[index].seen).only_a
        })
    }

    /// Whether two hunks whose makers did not know of each other's conflict, and which of them wins.
    fn judge(&self, one: usize, other: usize) -> Option<Conflict> {
        let common = Common { one: self.unknown(one), other: self.unknown(other) };
        let (a, b) = (self.chain(one, common.other), self.chain(other, common.one));
        let (taken_a, taken_b) = (self.taken(&a, &common), self.taken(&b, &common));
        let conflict = match (taken_a.is_empty(), taken_b.is_empty()) {
            (false, false) => taken_a.iter().any(|character| taken_b.binary_search(character).is_ok()),
            (true, false) => self.lies_inside(one, &taken_b, &common),
            (false, true) => self.lies_inside(other, &taken_a, &common),
            (true, true) => self.share_a_gap(one, other, &common),
        };
        if !conflict {
            return None;
        }
        let contender = |index: usize, chain: &[usize]| {
            let hunk = &self.hunks[index];
            let events = hunk.inserts.clone().unwrap_or(hunk.events.start..hunk.events.start);
            let texts = self.document.operations.iter(events.clone()).map(|operation| operation.text);
            Contender {
                id: self.document.graph.id_of(hunk.events.start),
                author: hunk.author.clone(),
                time_ms: chain.iter().map(|&link| self.hunks[link].time_ms).min().unwrap_or(hunk.time_ms),
                inserted: texts.collect(),
                standing: self.standing_of(&events),
                at: self.rank(events.start).map_or(0, |rank| self.standing_before(rank)),
                events,
            }
        };
        let (a, b) = (contender(one, &a), contender(other, &b));
        let rank = |contender: &Contender| {
            (contender.time_ms, Reverse(contender.author.clone()), Reverse(contender.id.agent))
        };
        let (winner, loser) = if rank(&a) > rank(&b) { (a, b) } else { (b, a) };
        Some(Conflict { winner, loser })
    }

    /// A hunk and those it goes on from, as far as they are `unknown` to the other side.
    fn chain(&self, index: usize, unknown: &[Range<Lv>]) -> Vec<usize> {
        let mut chain = vec![index];
        let mut next = 0;
        while let Some(&link) = chain.get(next) {
            next += 1;
            for &earlier in &self.hunks[link].goes_on_from {
                if has(unknown, self.hunks[earlier].events.start) && !chain.contains(&earlier) {
                    chain.push(earlier);
                }
            }
        }
        chain
    }

    /// The characters of the common ancestor's text that a chain took out, sorted.
    fn taken(&self, chain: &[usize], common: &Common<'_>) -> Vec<Lv> {
        let taken = chain.iter().flat_map(|&link| self.hunks[link].taken.iter().cloned()).flatten();
        let mut taken: Vec<Lv> = taken.filter(|&character| self.is_visible(character, common)).collect();
        taken.sort_unstable();
        taken.dedup();
        taken
    }

    /// Whether a character is in the text that both had seen.
    fn is_visible(&self, character: Lv, common: &Common<'_>) -> bool {
        (character >= BEFORE || common.has(character))
            && !self.deleters(character).any(|event| common.has(event))
    }

    /// Where a character is among all.
    fn rank(&self, character: Lv) -> Option<usize> {
        let after = self.by_id.partition_point(|&index| self.order[index].0 <= character);
        let (id, len, at) = self.order[*self.by_id.get(after.checked_sub(1)?)?];
        (character - id < len).then_some(at + (character - id))
    }

    fn at_rank(&self, rank: usize) -> Option<Lv> {
        let after = self.order.partition_point(|(_, _, at)| *at <= rank);
        let (id, len, at) = *self.order.get(after.checked_sub(1)?)?;
        (rank - at < len).then_some(id + (rank - at))
    }

    /// How many of these characters are in the text.
    fn standing_of(&self, events: &Range<Lv>) -> usize {
        let within = |(id, len, _): &(Lv, usize, usize)| {
            (id + len).min(events.end).saturating_sub((*id).max(events.start))
        };
        self.standing.iter().map(within).sum()
    }

    /// How many characters of the text are before the one of this rank.
    fn standing_before(&self, rank: usize) -> usize {
        let before = |(id, _, _): &(Lv, usize, usize)| self.rank(*id).is_some_and(|other| other < rank);
        let count = self.standing.partition_point(before);
        let Some((id, len, at)) = count.checked_sub(1).and_then(|last| self.standing.get(last)) else {
            return 0;
        };
        // The last of them may go on beyond.
        at + self.rank(*id).map_or(*len, |first| (rank - first).min(*len))
    }

    /// Where a hunk put its text.
    fn place(&self, index: usize) -> Option<usize> {
        self.rank(self.hunks[index].inserts.as_ref()?.start)
    }

    /// Whether a hunk put its text strictly inside what the other side took out.
    fn lies_inside(&self, index: usize, taken: &[Lv], common: &Common<'_>) -> bool {
        let Some(place) = self.place(index) else { return false };
        let seen = |rank: usize| self.at_rank(rank).filter(|&character| self.is_visible(character, common));
        let left = (0..place).rev().find_map(seen);
        let end = self.order.last().map_or(0, |(_, len, at)| at + len);
        let right = (place + 1..end).find_map(seen);
        let took = |character: Option<Lv>| character.is_some_and(|it| taken.binary_search(&it).is_ok());
        took(left) && took(right)
    }

    /// Whether both put their text at the same gap of the text that both had seen.
    fn share_a_gap(&self, one: usize, other: usize, common: &Common<'_>) -> bool {
        let (Some(a), Some(b)) = (self.place(one), self.place(other)) else { return false };
        let between = a.min(b) + 1..a.max(b);
        !between.filter_map(|rank| self.at_rank(rank)).any(|character| self.is_visible(character, common))
    }
}

/// What two makers both knew: everything that neither did not.
struct Common<'a> {
    one: &'a [Range<Lv>],
    other: &'a [Range<Lv>],
}

impl Common<'_> {
    fn has(&self, event: Lv) -> bool {
        !has(self.one, event) && !has(self.other, event)
    }
}

/// Whether one of these ascending ranges has the event.
fn has(ranges: &[Range<Lv>], event: Lv) -> bool {
    let index = ranges.partition_point(|range| range.end <= event);
    ranges.get(index).is_some_and(|range| range.start <= event)
}
