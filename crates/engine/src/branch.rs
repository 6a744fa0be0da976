//! A text at a version, moved forward through the event graph.

use std::ops::Range;

use crate::graph::Graph;
use crate::operation::{Kind, Operations};
use crate::text::Text;
use crate::version::{Lv, Version};
use crate::walker::{BadPosition, Effect, Walker};

/// After this many events in a row without concurrency the walker is dropped: building one again costs
/// what is concurrent then, keeping it costs every event.
const IDLE_EVENTS: usize = 256;

/// Beyond this many spans, a walker is built anew if that makes it much smaller.
const LARGE_WALKER: usize = 4096;

/// A text at a version, and the walker that edits at older versions need.
///
/// The fast path is the normal path: while each event's parents are the branch's own version, no walker
/// exists and an event costs what the rope costs.
#[derive(Clone, Debug)]
pub struct Branch {
    /// The text at `version`.
    pub text: Text,
    /// What the text contains.
    pub version: Version,
    walker: Option<Walker>,
    idle: usize,
    /// At how many spans it is asked again whether a new walker would be much smaller. Asking costs all that
    /// was walked, so it is done when that has doubled.
    large: usize,
}

impl Default for Branch {
    fn default() -> Branch {
        Branch::at(Version::root(), Text::default())
    }
}

impl Branch {
    /// A branch that stands at `version`, whose text is `text`.
    pub fn at(version: Version, text: Text) -> Branch {
        Branch { text, version, walker: None, idle: 0, large: LARGE_WALKER }
    }

    /// How many spans the walker holds; 0 when there is none.
    pub fn walker_spans(&self) -> usize {
        self.walker.as_ref().map_or(0, Walker::spans)
    }

    /// Drops the walker. The next edit at an older version builds it again.
    pub fn release(&mut self) {
        self.walker = None;
    }

    /// Whether events made at this branch's version can be entered without a walker; `events` are about to be.
    pub fn is_linear(&mut self, events: usize) -> bool {
        if self.walker.is_some() && self.idle.saturating_add(events) > IDLE_EVENTS {
            self.walker = None;
        }
        self.walker.is_none()
    }

    /// Notes that events made at this branch's version, of which `last` is the last, were entered in its text.
    pub fn advance_linear(&mut self, events: usize, last: Lv) {
        self.idle = self.idle.saturating_add(events);
        match self.version.0.as_mut_slice() {
            [head] => *head = last,
            _ => self.version = Version::of(last),
        }
    }

    /// A walker that has walked all of this branch, moved to `version`, a part of it.
    pub fn walker_at(&mut self, graph: &Graph, operations: &Operations, version: &Version) -> &mut Walker {
        let mut keep = self.walker.take();
        if !keep.as_mut().is_some_and(|walker| walker.move_to(graph, operations, version)) {
            keep = None;
        }
        let large = &mut self.large;
        let keep = keep.filter(|walker| {
            walker.spans() < *large || {
                *large = walker.spans() * 2;
                let events: usize = graph.dominating(&self.version, version).1.iter().map(Range::len).sum();
                events > walker.spans() / 4
            }
        });
        let walker = keep.unwrap_or_else(|| {
            *large = LARGE_WALKER;
            let (base, between) = graph.dominating(&self.version, version);
            let mut walker = Walker::new(base);
            for range in between {
                // These events are in the branch already: their positions were checked when they came.
                let walked = walker.walk(graph, operations, range, None, &mut |_| {});
                debug_assert!(walked.is_ok(), "an event that was accepted has no place");
            }
            let moved = walker.move_to(graph, operations, version);
            debug_assert!(moved, "a walker from what dominates both versions reaches both");
            walker
        });
        self.walker.insert(walker)
    }

    /// Finds the effects of further events (ascending; each run's parents are in the branch or among the
    /// events before it) without applying them to the text. On an error the branch is as before.
    pub fn walk(
        &mut self,
        graph: &Graph,
        operations: &Operations,
        range: Range<Lv>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), BadPosition> {
        let (before, first) = (self.version.clone(), effects.len());
        let mut length = self.text.len();
        let mut next = range.start;
        while next < range.end {
            let chain = graph.run_from(next, range.end);
            let parents = graph.parents_of(chain.start);
            let linear = parents == self.version;
            self.idle = if linear { self.idle.saturating_add(chain.len()) } else { 0 };
            if linear && self.idle > IDLE_EVENTS {
                self.walker = None;
            }
            let done = effects.len();
            let walked = if linear && self.walker.is_none() {
                walk_linear(operations, chain.clone(), length, effects)
            } else {
                self.walker_at(graph, operations, &parents).walk(
                    graph,
                    operations,
                    chain.clone(),
                    Some(length),
                    &mut |effect| effects.push(effect),
                )
            };
            if let Err(bad) = walked {
                self.version = before;
                self.walker = None;
                effects.truncate(first);
                return Err(bad);
            }
            for effect in &effects[done..] {
                match effect {
                    Effect::Insert { events, .. } => length += events.len(),
                    Effect::Delete { count, .. } => length -= count,
                }
            }
            self.version.advance(&parents, chain.end - 1);
            next = chain.end;
        }
        Ok(())
    }

    /// Applies effects that [`walk`](Branch::walk) found.
    pub fn apply(&mut self, operations: &Operations, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Insert { at, events } => {
                    let mut at = *at;
                    for operation in operations.iter(events.clone()) {
                        self.text.insert(at, operation.text);
                        at += operation.range.len();
                    }
                }
                Effect::Delete { at, count } => self.text.remove(*at..at + count),
            }
        }
    }
}

/// Events made at the text as it stands: their positions are their effects.
fn walk_linear(
    operations: &Operations,
    chain: Range<Lv>,
    mut length: usize,
    effects: &mut Vec<Effect>,
) -> Result<(), BadPosition> {
    for operation in operations.iter(chain) {
        let bad = BadPosition { lv: operation.range.start };
        let count = operation.range.len();
        match operation.kind {
            Kind::Insert { at } => {
                if at > length {
                    return Err(bad);
                }
                effects.push(Effect::Insert { at, events: operation.range });
                length += count;
            }
            Kind::Delete { at, backward } => {
                let start = if backward { at.saturating_add(1).checked_sub(count).ok_or(bad)? } else { at };
                if start.checked_add(count).is_none_or(|end| end > length) {
                    return Err(bad);
                }
                effects.push(Effect::Delete { at: start, count });
                length -= count;
            }
        }
    }
    Ok(())
}
