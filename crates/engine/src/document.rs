//! A text and everything that ever happened to it.

use std::ops::Range;

use crate::batch::{Change, EventBatch, EventRun, MergeError};
use crate::branch::Branch;
use crate::edit::{Composer, Edit, EditError, check_batch, scalars};
use crate::graph::Graph;
use crate::id::{AgentId, EventId, Heads};
use crate::meta::{Meta, Metas};
use crate::operation::{Kind, Operation, Operations};
use crate::text::Text;
use crate::version::{Lv, Version};
use crate::walker::Effect;

/// The most events a document can have: numbers above stand for text from before a walked region.
const MAX_EVENTS: usize = usize::MAX / 4;

/// A document: its event graph and its text at the newest version.
///
/// ```
/// use syncline_engine::{AgentId, Document, Edit, Meta};
/// let ann = AgentId::new(b"ann").unwrap();
/// let mut document = Document::new();
/// let hello = document.edit(&[Edit::insert(0, "hello")], ann, &Meta::default()).unwrap();
/// // Two edits made at the same version, neither knowing of the other:
/// document.edit_at(&hello.version, &[Edit::insert(5, " world")], ann, &Meta::default()).unwrap();
/// document.edit_at(&hello.version, &[Edit { range: 0..1, insert: "J".into() }], ann, &Meta::default()).unwrap();
/// assert_eq!(document.text().to_string(), "Jello world");
/// ```
#[derive(Clone, Default, Debug)]
pub struct Document {
    pub(crate) graph: Graph,
    pub(crate) operations: Operations,
    pub(crate) metas: Metas,
    pub(crate) branch: Branch,
}

/// What entering an edit did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// The version of whoever made the edit: what they saw, and the edit.
    pub version: Version,
    /// What changed in the text as it stood: a sorted batch against it.
    pub effect: Vec<Edit>,
    /// The new events.
    pub events: Range<Lv>,
}

/// What merging a batch did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Merged {
    /// What changed in the text as it stood: a sorted batch against it.
    pub effect: Vec<Edit>,
    /// The events that were new.
    pub events: Range<Lv>,
}

impl Document {
    /// An empty document without history.
    pub fn new() -> Document {
        Document::default()
    }

    /// The text at the newest version.
    pub fn text(&self) -> &Text {
        &self.branch.text
    }

    /// The newest version: everything known.
    pub fn version(&self) -> &Version {
        self.graph.heads()
    }

    /// How many events there are: inserted and deleted characters, ever.
    pub fn events(&self) -> usize {
        self.graph.len()
    }

    /// The portable form of a version of this document.
    pub fn portable(&self, version: &Version) -> Heads {
        self.graph.portable(version)
    }

    /// The version with these heads, or the ids of those that are not known here.
    pub fn local(&self, heads: &Heads) -> Result<Version, Vec<EventId>> {
        self.graph.local(heads)
    }

    /// The part of these heads that is known here: a version at most as new as the one they mean.
    pub fn known_part(&self, heads: &Heads) -> Version {
        self.graph.simplify(heads.ids().iter().filter_map(|id| self.graph.lv_of(id)).collect())
    }

    /// Every agent with the number of its events known here.
    pub fn vector(&self) -> Vec<(AgentId, u64)> {
        self.graph.vector().collect()
    }

    /// The version that has, of each agent, this many events, as far as they are known here. What a replica
    /// with that [`vector`](Document::vector) and this one have in common.
    pub fn version_of_vector(&self, vector: &[(AgentId, u64)]) -> Version {
        let last = vector.iter().filter_map(|&(agent, count)| {
            let seq = count.min(self.graph.next_seq(&agent)).checked_sub(1)?;
            self.graph.lv_of(&EventId { agent, seq })
        });
        self.graph.simplify(last.collect())
    }

    /// The version of the first `events` events that this document learnt of: what its newest version was at that
    /// moment.
    pub fn version_before(&self, events: Lv) -> Version {
        self.graph.version_before(events)
    }

    /// Whether every event of `older` is part of `newer`.
    pub fn includes(&self, newer: &Version, older: &Version) -> bool {
        self.graph.includes(newer, older)
    }

    /// The version of everything in either.
    pub fn union(&self, a: &Version, b: &Version) -> Version {
        self.graph.union(a, b)
    }

    /// Drops what is only kept to make the next edit at an older version cheap.
    pub fn release(&mut self) {
        self.branch.release();
    }

    /// Enters edits made at the newest version. See [`Document::edit_at`].
    pub fn edit(&mut self, edits: &[Edit], agent: AgentId, meta: &Meta) -> Result<Applied, EditError> {
        let version = self.version().clone();
        self.edit_at(&version, edits, agent, meta)
    }

    /// Enters a batch of edits that somebody made who saw `version`: sorted, not overlapping, in scalars of
    /// the text at that version. They are recorded at that version and merged with all that came since.
    /// Costs what lies between the version and now, not the history.
    pub fn edit_at(
        &mut self,
        version: &Version,
        edits: &[Edit],
        agent: AgentId,
        meta: &Meta,
    ) -> Result<Applied, EditError> {
        let start = self.events();
        self.check_version(version)?;
        check_batch(edits, self.len_at(version))?;
        if edits.iter().all(Edit::is_empty) {
            return Ok(Applied { version: version.clone(), effect: Vec::new(), events: start..start });
        }
        if version == self.graph.heads() && self.branch.is_linear(1) {
            return Ok(self.edit_newest(edits, agent, meta));
        }
        let mut parents = version.clone();
        let mut shift = 0isize;
        for edit in edits {
            let at = (edit.range.start as isize + shift) as usize;
            let inserted = scalars(&edit.insert);
            if !edit.range.is_empty() {
                self.operations.push_delete(at, edit.range.len(), false);
                let first = self.graph.push(agent, edit.range.len(), &parents);
                parents = Version::of(first + edit.range.len() - 1);
            }
            if inserted > 0 {
                self.operations.push_insert(at, &edit.insert, inserted);
                let first = self.graph.push(agent, inserted, &parents);
                parents = Version::of(first + inserted - 1);
            }
            shift += inserted as isize - edit.range.len() as isize;
        }
        self.metas.push(start, meta);
        let events = start..self.events();
        let mut effects = Vec::new();
        // The bounds were checked above, at the version the edits were made at.
        let walked = self.branch.walk(&self.graph, &self.operations, events.clone(), &mut effects);
        debug_assert!(walked.is_ok(), "edits within the text have places");
        Ok(Applied { version: parents, effect: self.enter(&effects), events })
    }

    /// Enters edits made at the newest version, as somebody makes who shows the text and so has the effect already:
    /// it is not put together again. Returns the new events.
    pub fn record(&mut self, edits: &[Edit], agent: AgentId, meta: &Meta) -> Result<Range<Lv>, EditError> {
        if !self.branch.is_linear(1) {
            return Ok(self.edit(edits, agent, meta)?.events);
        }
        check_batch(edits, self.branch.text.len())?;
        Ok(self.enter_newest(edits, agent, meta))
    }

    /// Edits that fit the text as it stands, made at the newest version, as nearly all are: they need no walker.
    fn enter_newest(&mut self, edits: &[Edit], agent: AgentId, meta: &Meta) -> Range<Lv> {
        let start = self.events();
        let (mut shift, mut count) = (0isize, 0);
        for edit in edits {
            let at = (edit.range.start as isize + shift) as usize;
            let (deleted, inserted) = (edit.range.len(), scalars(&edit.insert));
            if deleted > 0 {
                self.operations.push_delete(at, deleted, false);
                self.branch.text.remove(at..at + deleted);
            }
            if inserted > 0 {
                self.operations.push_insert(at, &edit.insert, inserted);
                self.branch.text.insert(at, &edit.insert);
            }
            shift += inserted as isize - deleted as isize;
            count += inserted + deleted;
        }
        if count > 0 {
            self.graph.push_newest(agent, count);
            self.metas.push(start, meta);
            self.branch.advance_linear(count, start + count - 1);
        }
        start..start + count
    }

    /// As [`Document::edit_at`] for edits that [`Document::enter_newest`] takes. Their effect is what they say.
    fn edit_newest(&mut self, edits: &[Edit], agent: AgentId, meta: &Meta) -> Applied {
        let events = self.enter_newest(edits, agent, meta);
        let mut effect: Vec<Edit> = Vec::with_capacity(edits.len());
        for edit in edits.iter().filter(|edit| !edit.is_empty()) {
            match effect.last_mut() {
                Some(last) if last.range.end == edit.range.start => {
                    last.range.end = edit.range.end;
                    last.insert.push_str(&edit.insert);
                }
                _ => effect.push(edit.clone()),
            }
        }
        Applied { version: self.version().clone(), effect, events }
    }

    fn check_version(&self, version: &Version) -> Result<(), EditError> {
        match version.0.last() {
            Some(&lv) if lv >= self.events() => Err(EditError::UnknownVersion { lv, events: self.events() }),
            _ => Ok(()),
        }
    }

    /// The length of the text at a version, in scalars.
    fn len_at(&mut self, version: &Version) -> usize {
        let now = self.branch.text.len();
        if version == self.graph.heads() {
            return now;
        }
        let walker = self.branch.walker_at(&self.graph, &self.operations, version);
        now.saturating_add_signed(walker.surplus())
    }

    /// Applies effects to the text and returns them as one batch.
    fn enter(&mut self, effects: &[Effect]) -> Vec<Edit> {
        self.branch.apply(&self.operations, effects);
        compose(&self.operations, effects)
    }

    /// Merges events from another replica. Repeated events are ignored; a batch that builds on unknown
    /// events, reuses an id, or has an impossible position is refused whole.
    pub fn merge(&mut self, batch: &EventBatch) -> Result<Merged, MergeError> {
        if let [run] = batch.runs.as_slice()
            && let Some(merged) = self.merge_newest(run)
        {
            return Ok(merged);
        }
        let (start, heads) = (self.events(), self.graph.heads().clone());
        let merged = self.push_runs(batch).and_then(|()| {
            let mut effects = Vec::new();
            let events = start..self.events();
            self.branch
                .walk(&self.graph, &self.operations, events.clone(), &mut effects)
                .map_err(|bad| MergeError::BadPosition { id: self.graph.id_of(bad.lv) })?;
            Ok((effects, events))
        });
        match merged {
            Ok((effects, events)) => Ok(Merged { effect: self.enter(&effects), events }),
            Err(error) => {
                self.graph.truncate(start, heads);
                self.operations.truncate(start);
                self.metas.truncate(start);
                Err(error)
            }
        }
    }

    /// Merges a run that was made at the newest version, as most are that come one by one: it needs no walker, and
    /// its effect is what it says. `None`, with nothing changed, if it was not, or is not as it should be.
    fn merge_newest(&mut self, run: &EventRun) -> Option<Merged> {
        let made_here = matches!(run.parents.ids(), [id] if self.graph.is_newest(id));
        let count = run.count();
        let start = self.events();
        if !made_here
            || count == 0
            || run.seq != self.graph.next_seq(&run.agent)
            || run.seq.checked_add(count as u64).is_none()
            || start.checked_add(count).is_none_or(|events| events > MAX_EVENTS)
            || !self.branch.is_linear(count)
        {
            return None;
        }
        let length = self.branch.text.len();
        let edit = match &run.change {
            Change::Insert { at, text } => {
                if *at > length {
                    return None;
                }
                self.operations.push_insert(*at, text, count);
                self.branch.text.insert(*at, text);
                Edit::insert(*at, text.as_str())
            }
            Change::Delete { at, backward, .. } => {
                let first = if *backward { at.checked_add(1)?.checked_sub(count)? } else { *at };
                let end = first.checked_add(count).filter(|&end| end <= length)?;
                self.operations.push_delete(*at, count, *backward);
                self.branch.text.remove(first..end);
                Edit::delete(first..end)
            }
        };
        self.graph.push_newest(run.agent, count);
        self.metas.push(start, &run.meta);
        self.branch.advance_linear(count, start + count - 1);
        Some(Merged { effect: vec![edit], events: start..start + count })
    }

    /// Appends the runs of a batch that are new, checking ids and parents but not positions.
    fn push_runs(&mut self, batch: &EventBatch) -> Result<(), MergeError> {
        for run in &batch.runs {
            let count = run.count();
            let bad_count = MergeError::BadCount { agent: run.agent, seq: run.seq };
            let end = run.seq.checked_add(count as u64).ok_or(bad_count.clone())?;
            if count == 0 || self.events().checked_add(count).is_none_or(|events| events > MAX_EVENTS) {
                return Err(bad_count);
            }
            let next = self.graph.next_seq(&run.agent);
            if run.seq > next {
                let missing = vec![EventId { agent: run.agent, seq: next }];
                return Err(MergeError::Missing { missing });
            }
            let known = (next.min(end) - run.seq) as usize;
            if known > 0 {
                self.check_repeated(run, known)?;
            }
            if known == count {
                continue;
            }
            let parents = if known > 0 {
                let last = EventId { agent: run.agent, seq: next - 1 };
                Version(self.graph.lv_of(&last).into_iter().collect())
            } else {
                self.graph.local(&run.parents).map_err(|mut missing| {
                    missing.truncate(16);
                    MergeError::Missing { missing }
                })?
            };
            let first = self.events();
            match &run.change {
                Change::Insert { at, text } => {
                    let skip = crate::edit::byte_offset(text, known);
                    self.operations.push_insert(at.saturating_add(known), &text[skip..], count - known);
                }
                Change::Delete { at, count, backward } => {
                    let at = if *backward { at.saturating_sub(known) } else { *at };
                    self.operations.push_delete(at, count - known, *backward);
                }
            }
            self.graph.push(run.agent, count - known, &parents);
            self.metas.push(first, &run.meta);
        }
        Ok(())
    }

    /// Compares the first `known` events of a run with what is stored under their ids.
    fn check_repeated(&self, run: &EventRun, known: usize) -> Result<(), MergeError> {
        let mut done = 0;
        while done < known {
            let id = EventId { agent: run.agent, seq: run.seq + done as u64 };
            let equivocation = Err(MergeError::Equivocation { id });
            let Some(lv) = self.graph.lv_of(&id) else { return equivocation };
            let parents = self.graph.portable(&self.graph.parents_of(lv));
            let expected = if done == 0 {
                run.parents.clone()
            } else {
                Heads::new(vec![EventId { seq: id.seq - 1, ..id }])
            };
            if parents != expected {
                return equivocation;
            }
            let chain = self.graph.run_from(lv, lv + known - done);
            for operation in self.operations.iter(chain) {
                if !repeats(&operation, &run.change, done) {
                    return equivocation;
                }
                done += operation.range.len();
            }
        }
        Ok(())
    }

    /// What changed between `version` and the newest one: a sorted batch against the text at `version`.
    ///
    /// # Errors
    /// [`EditError::UnknownVersion`] if that is not one of this document's.
    pub fn changes_since(&mut self, version: &Version) -> Result<Vec<Edit>, EditError> {
        self.check_version(version)?;
        if version == self.graph.heads() {
            return Ok(Vec::new());
        }
        let walker = self.branch.walker_at(&self.graph, &self.operations, version);
        let (mut at, mut now) = (0, 0);
        let mut edits = Vec::new();
        for (kept, deleted, inserted) in walker.pieces() {
            at += kept;
            now += kept;
            let insert = self.branch.text.slice(now..now + inserted);
            edits.push(Edit { range: at..at + deleted, insert });
            at += deleted;
            now += inserted;
        }
        Ok(edits)
    }

    /// The text at a version. At another version than the newest, this replays the history up to it.
    pub fn text_at(&self, version: &Version) -> Text {
        if version == self.graph.heads() {
            return self.branch.text.clone();
        }
        let mut branch = Branch::default();
        for range in self.graph.difference(&Version::root(), version).only_b {
            let mut effects = Vec::new();
            let walked = branch.walk(&self.graph, &self.operations, range, &mut effects);
            debug_assert!(walked.is_ok(), "an event that was accepted has no place");
            branch.apply(&self.operations, &effects);
        }
        branch.text
    }

    /// As [`Document::text_at`], in one piece: without a copy of the rope where none is needed.
    pub fn string_at(&self, version: &Version) -> String {
        if version == self.graph.heads() {
            self.branch.text.to_one_string()
        } else {
            self.text_at(version).to_one_string()
        }
    }

    /// The events that are not part of `version`, in an order in which parents come first.
    pub fn events_since(&self, version: &Version) -> EventBatch {
        let mut runs: Vec<EventRun> = Vec::new();
        for range in self.graph.difference(version, self.graph.heads()).only_b {
            self.push_batch_runs(range, &mut runs);
        }
        EventBatch { runs }
    }

    /// The events of a range of numbers, as a batch.
    pub fn events_in(&self, range: Range<Lv>) -> EventBatch {
        let mut runs = Vec::new();
        self.push_batch_runs(range.start..range.end.min(self.events()), &mut runs);
        EventBatch { runs }
    }

    fn push_batch_runs(&self, range: Range<Lv>, runs: &mut Vec<EventRun>) {
        let mut next = range.start;
        while next < range.end {
            let chain = self.graph.run_from(next, range.end);
            let (part, meta) = self.metas.run_from(chain.start, chain.end);
            for operation in self.operations.iter(part.clone()) {
                let first = operation.range.start;
                let id = self.graph.id_of(first);
                let count = operation.range.len();
                let change = match operation.kind {
                    Kind::Insert { at } => Change::Insert { at, text: operation.text.to_owned() },
                    Kind::Delete { at, backward } => Change::Delete { at, count, backward },
                };
                let parents = self.graph.portable(&self.graph.parents_of(first));
                runs.push(EventRun { agent: id.agent, seq: id.seq, parents, change, meta: meta.clone() });
            }
            next = part.end;
        }
    }

    /// Where among the events of a range a change by somebody else, or at another time, begins: between two of these
    /// numbers the text was never shown to anybody.
    pub fn changes_in(&self, range: Range<Lv>) -> impl Iterator<Item = Lv> + '_ {
        self.metas.starts_in(range)
    }

    /// The meta of an event, for blame.
    pub fn meta_of(&self, lv: Lv) -> Option<&Meta> {
        (lv < self.events()).then(|| self.metas.run_from(lv, lv + 1).1)
    }

    /// How many spans the walker keeps; 0 in the steady state.
    pub fn walker_spans(&self) -> usize {
        self.branch.walker_spans()
    }

    /// Rebuilds a document from all its events in their order and its text, both trusted.
    pub(crate) fn restore(batch: &EventBatch, text: &str) -> Result<Document, MergeError> {
        let mut document = Document::new();
        document.push_runs(batch)?;
        document.branch = Branch::at(document.graph.heads().clone(), Text::from(text));
        Ok(document)
    }
}

/// Effects, one after the other, as one batch against the text before the first.
pub(crate) fn compose(operations: &Operations, effects: &[Effect]) -> Vec<Edit> {
    let mut composer = Composer::new();
    for effect in effects {
        match effect {
            Effect::Insert { at, events } => {
                let mut at = *at;
                for operation in operations.iter(events.clone()) {
                    composer.insert(at, operation.text, operation.range.len());
                    at += operation.range.len();
                }
            }
            Effect::Delete { at, count } => composer.delete(*at, *count),
        }
    }
    composer.finish()
}

/// Whether a stored operation is what `change` says from its `done`-th event on.
fn repeats(stored: &Operation<'_>, change: &Change, done: usize) -> bool {
    match (stored.kind, change) {
        (Kind::Insert { at: stored_at }, Change::Insert { at, text }) => {
            at.checked_add(done) == Some(stored_at)
                && text[crate::edit::byte_offset(text, done)..].starts_with(stored.text)
        }
        (Kind::Delete { at: stored_at, backward: stored_back }, Change::Delete { at, backward, .. }) => {
            let at = if *backward { at.checked_sub(done) } else { Some(*at) };
            at == Some(stored_at) && (stored.range.len() == 1 || stored_back == *backward)
        }
        _ => false,
    }
}
