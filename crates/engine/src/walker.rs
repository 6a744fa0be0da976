//! The walker: turns an edit made at one version into its effect on the text as it stands.
//!
//! Eg-walker (Gentle & Kleppmann, EuroSys 2025) walks the events of a region of history in an order that
//! respects their parents. It keeps the region's characters in a list, each with its state at *the version
//! the walk stands at* and in *everything walked*. To walk an event, it first moves to the event's parents
//! by switching events off (retreat) and on (advance), looks the event's position up among what is visible
//! there, and reads off where that is in the text as it stands. Concurrent inserts at one place are ordered
//! as by YjsMod, which equals FugueMax (Weidner & Kleppmann, 2023).
//!
//! # Example
//!
//! The text is `ab`. At that version Ann inserts `X` at 1 (event 2) and Bob deletes position 1, the `b`
//! (event 3). Walking 2: the list is `a X b`. For 3 the walk retreats 2, so that only `a` and `b` are
//! visible; position 1 is `b`, and in the text as it stands (`aXb`) that is position 2. The effect of Bob's
//! event is to delete position 2: `aX`.

use std::cmp::Ordering;
use std::ops::Range;

use crate::graph::Graph;
use crate::operation::{Kind, Operations};
use crate::spans::{NONE, Place, Span, SpanList};
use crate::version::{Lv, Version};

/// A change to the text as it stands, in scalars. The inserted text is that of the events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The characters that these events inserted appear before position `at`.
    Insert {
        /// Where, in the text as it stands.
        at: usize,
        /// The inserting events.
        events: Range<Lv>,
    },
    /// `count` characters disappear from position `at` on.
    Delete {
        /// Where, in the text as it stands.
        at: usize,
        /// How many characters.
        count: usize,
    },
}

/// A position that does not exist at the version an event was made at: the event is not valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadPosition {
    /// The event.
    pub lv: Lv,
}

/// Deleted events and the characters they deleted: `count` events from `event` on deleted the characters
/// from `target` on.
#[derive(Clone, Copy, Debug)]
struct Deletion {
    event: Lv,
    count: usize,
    target: Lv,
}

/// The walked region and where the walk stands.
#[derive(Clone, Debug)]
pub struct Walker {
    list: SpanList,
    /// Ascending by event.
    deletions: Vec<Deletion>,
    at: Version,
    /// What was walked: ascending, disjoint.
    walked: Vec<Range<Lv>>,
}

impl Walker {
    /// A walker that has walked nothing; it stands at `base`, a version that everything it will be given
    /// builds on.
    pub fn new(base: Version) -> Walker {
        Walker { list: SpanList::new(!base.is_root()), deletions: Vec::new(), at: base, walked: Vec::new() }
    }

    /// How many spans it holds: its memory, and what a move may cost.
    pub fn spans(&self) -> usize {
        self.list.len()
    }

    fn has_walked(&self, range: &Range<Lv>) -> bool {
        let at = self.walked.partition_point(|walked| walked.end <= range.start);
        self.walked.get(at).is_some_and(|walked| walked.start <= range.start && range.end <= walked.end)
    }

    /// Moves to a version, if all that lies between was walked; otherwise stays and says so.
    pub fn move_to(&mut self, graph: &Graph, operations: &Operations, version: &Version) -> bool {
        if *version == self.at {
            return true;
        }
        // Going back over walked events only, one cannot leave what they build on: no look at the base is needed,
        // which would cost all that was walked.
        let difference = graph.difference(&self.at, version);
        if !difference.only_a.iter().chain(&difference.only_b).all(|range| self.has_walked(range)) {
            return false;
        }
        for range in difference.only_a.into_iter().rev() {
            self.switch(operations, range, false);
        }
        for range in difference.only_b {
            self.switch(operations, range, true);
        }
        self.at = version.clone();
        true
    }

    /// Switches events on (`advance`) or off (retreat). Each is one step of a character's state up or
    /// down, so their order does not matter.
    fn switch(&mut self, operations: &Operations, range: Range<Lv>, advance: bool) {
        let step = |span: &Span| {
            let state = if advance { span.state + 1 } else { span.state.saturating_sub(1) };
            (state, span.gone)
        };
        for operation in operations.iter(range) {
            match operation.kind {
                Kind::Insert { .. } => self.list.update(operation.range, step),
                Kind::Delete { .. } => {
                    let Range { start, end } = operation.range;
                    let first = self.deletions.partition_point(|d| d.event + d.count <= start);
                    for deletion in self.deletions[first..].iter().take_while(|d| d.event < end) {
                        let from = start.max(deletion.event) - deletion.event;
                        let to = end.min(deletion.event + deletion.count) - deletion.event;
                        self.list.update(deletion.target + from..deletion.target + to, step);
                    }
                }
            }
        }
    }

    /// Walks events whose parents it reaches, ascending, and reports their effects. With `length`, the
    /// length of the text as it stands before, positions beyond the end are refused.
    pub fn walk(
        &mut self,
        graph: &Graph,
        operations: &Operations,
        range: Range<Lv>,
        length: Option<usize>,
        effects: &mut dyn FnMut(Effect),
    ) -> Result<(), BadPosition> {
        // What the list counts beyond the real text: the oversized stand-in for the text before.
        let phantom = length.map(|length| self.list.totals().1 - length);
        let mut next = range.start;
        while next < range.end {
            let chain = graph.run_from(next, range.end);
            let moved = self.move_to(graph, operations, &graph.parents_of(chain.start));
            debug_assert!(moved, "a walker was given events whose parents it has not walked");
            for operation in operations.iter(chain.clone()) {
                let end = match operation.kind {
                    Kind::Insert { at } => at,
                    Kind::Delete { at, backward: false } => at.saturating_add(operation.range.len()),
                    Kind::Delete { at, backward: true } if at.saturating_add(1) < operation.range.len() => {
                        usize::MAX
                    }
                    Kind::Delete { at, backward: true } => at.saturating_add(1),
                };
                let here = self.list.totals().0 - phantom.unwrap_or(0);
                if end > here {
                    return Err(BadPosition { lv: operation.range.start });
                }
                match operation.kind {
                    Kind::Insert { at } => self.insert(graph, at, operation.range, effects)?,
                    Kind::Delete { at, backward: false } => self.delete(at, operation.range, effects)?,
                    Kind::Delete { at, backward: true } => {
                        for (back, lv) in operation.range.enumerate() {
                            self.delete(at - back, lv..lv + 1, effects)?;
                        }
                    }
                }
            }
            self.at = Version::of(chain.end - 1);
            match self.walked.last_mut() {
                Some(last) if last.end == chain.start => last.end = chain.end,
                _ => self.walked.push(chain.clone()),
            }
            next = chain.end;
        }
        Ok(())
    }

    fn insert(
        &mut self,
        graph: &Graph,
        at: usize,
        events: Range<Lv>,
        effects: &mut dyn FnMut(Effect),
    ) -> Result<(), BadPosition> {
        let (place, now) = self.list.after_visible(at).ok_or(BadPosition { lv: events.start })?;
        let left = match self.list.get(place) {
            Some(span) if place.offset > 0 => span.id + place.offset - 1,
            _ => NONE,
        };
        let mut place = self.list.normalise(place);
        let mut now = now;
        let mut probe = place;
        let right = loop {
            match self.list.get(probe) {
                None => break NONE,
                Some(span) if span.state > 0 => {
                    let its_left = if probe.offset > 0 { span.id + probe.offset - 1 } else { span.left };
                    break if its_left == left { span.id + probe.offset } else { NONE };
                }
                Some(_) => probe = self.list.next(probe),
            }
        };
        if place != probe {
            (place, now) = self.integrate(graph, events.start, left, right, place, now);
        }
        let span = Span { id: events.start, len: events.len(), left, right, state: 1, gone: false };
        effects(Effect::Insert { at: now, events });
        self.list.insert(place, span);
        Ok(())
    }

    /// Finds where among concurrent inserts at one place (spans not inserted at this version) a new one
    /// goes: `place` is where they begin. YjsMod; the reference implementation calls this `integrate`.
    fn integrate(
        &self,
        graph: &Graph,
        id: Lv,
        left: Lv,
        right: Lv,
        mut place: Place,
        mut now: usize,
    ) -> (Place, usize) {
        let start = place;
        let right_place = self.list.find(right);
        let (mut scan, mut scan_now, mut scanning) = (place, now, false);
        while let Some(other) = self.list.get(scan) {
            if other.state > 0 {
                break;
            }
            // Where the other's left neighbour was, compared with ours. Ours is just before `start`.
            let left_order = match other.left {
                other_left if other_left == left && scan.offset == 0 => Ordering::Equal,
                NONE => Ordering::Less,
                other_left if self.list.find(other_left) < start => Ordering::Less,
                _ => Ordering::Greater,
            };
            match left_order {
                Ordering::Less => break,
                Ordering::Equal => {
                    if other.right == right {
                        if graph.id_of(id) < graph.id_of(other.id) {
                            break;
                        }
                        scanning = false;
                    } else {
                        scanning = self.list.find(other.right) < right_place;
                    }
                }
                Ordering::Greater => {}
            }
            scan_now += if other.gone { 0 } else { other.len - scan.offset };
            scan = self.list.next(scan);
            if !scanning {
                (place, now) = (scan, scan_now);
            }
        }
        (place, now)
    }

    fn delete(
        &mut self,
        at: usize,
        events: Range<Lv>,
        effects: &mut dyn FnMut(Effect),
    ) -> Result<(), BadPosition> {
        let mut event = events.start;
        while event < events.end {
            let bad = BadPosition { lv: event };
            let (place, _) = self.list.after_visible(at).ok_or(bad)?;
            let mut place = self.list.normalise(place);
            loop {
                match self.list.get(place) {
                    None => return Err(bad),
                    Some(span) if span.state == 1 => break,
                    Some(_) => place = self.list.next(place),
                }
            }
            let now = self.list.now_before(place);
            let Some(span) = self.list.get(place).copied() else { return Err(bad) };
            let target = span.id + place.offset;
            let count = self.list.update_at(place, events.end - event, |_| (2, true));
            if !span.gone {
                effects(Effect::Delete { at: now, count });
            }
            match self.deletions.last_mut() {
                Some(last) if last.event + last.count == event && last.target + last.count == target => {
                    last.count += count;
                }
                _ => self.deletions.push(Deletion { event, count, target }),
            }
            event += count;
        }
        Ok(())
    }

    /// The characters that these events, which were walked, deleted, in the order of the events.
    pub fn deleted_by(&self, events: Range<Lv>) -> impl Iterator<Item = Range<Lv>> {
        let first = self.deletions.partition_point(|d| d.event + d.count <= events.start);
        self.deletions[first..].iter().take_while(move |d| d.event < events.end).map(move |d| {
            let from = events.start.max(d.event) - d.event;
            let to = events.end.min(d.event + d.count) - d.event;
            d.target + from..d.target + to
        })
    }

    /// All characters that were walked, in order, whether they stand or not.
    pub fn characters(&self) -> impl Iterator<Item = &Span> {
        self.list.iter()
    }

    /// Characters that were deleted, and the event that deleted the first of them (the rest follow).
    pub fn deletions(&self) -> impl Iterator<Item = (Range<Lv>, Lv)> {
        self.deletions
            .iter()
            .map(|deletion| (deletion.target..deletion.target + deletion.count, deletion.event))
    }

    /// The characters of the text as it stands, in order: the events that inserted them, and where the first is.
    pub fn standing(&self) -> impl Iterator<Item = (Range<Lv>, usize)> {
        let mut now = 0;
        self.list.iter().filter(|span| !span.gone).map(move |span| {
            now += span.len;
            (span.id..span.id + span.len, now - span.len)
        })
    }

    /// How much longer (or shorter) the text at the walker's version is than the text as it stands.
    pub fn surplus(&self) -> isize {
        let (here, now) = self.list.totals();
        here as isize - now as isize
    }

    /// What turns the text at the walker's version into the text as it stands: sorted pieces of
    /// (characters kept before it, characters deleted, characters inserted).
    pub fn pieces(&self) -> Vec<(usize, usize, usize)> {
        let mut out: Vec<(usize, usize, usize)> = Vec::new();
        let mut kept = 0;
        for span in self.list.iter() {
            let (deleted, inserted) = match (span.state == 1, !span.gone) {
                (true, true) => {
                    kept += span.len;
                    continue;
                }
                (true, false) => (span.len, 0),
                (false, true) => (0, span.len),
                (false, false) => continue,
            };
            match out.last_mut() {
                Some(last) if kept == 0 => {
                    last.1 += deleted;
                    last.2 += inserted;
                }
                _ => out.push((kept, deleted, inserted)),
            }
            kept = 0;
        }
        out
    }
}
