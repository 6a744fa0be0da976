//! The event graph: which event was made by whom, and after which others. Run-length encoded.

use smallvec::SmallVec;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

use crate::id::{AgentId, EventId, Heads};
use crate::version::{Lv, Version};

/// The newest runs, which are looked through first.
const RECENT_RUNS: usize = 64;

/// A run of events in which each has the one before it as its only parent.
#[derive(Clone, Debug)]
struct Run {
    start: Lv,
    end: Lv,
    /// The parents of the first event.
    parents: Version,
    /// The runs that these are in.
    parent_runs: SmallVec<[u32; 2]>,
}

/// A run of events with consecutive sequence numbers of one agent.
#[derive(Clone, Copy, Debug)]
struct Assignment {
    start: Lv,
    agent: u32,
    seq: u64,
}

#[derive(Clone, Debug)]
struct Agent {
    id: AgentId,
    /// (first seq, first lv), ascending in both; a run ends where the next begins in seq.
    runs: Vec<(u64, Lv)>,
    next_seq: u64,
}

/// Parents, ids and heads of all events of a document.
#[derive(Clone, Default, Debug)]
pub struct Graph {
    runs: Vec<Run>,
    assignments: Vec<Assignment>,
    agents: Vec<Agent>,
    by_id: BTreeMap<AgentId, u32>,
    heads: Version,
    len: usize,
}

/// How a search came to an event. The greater comes first where an event was reached in both ways.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Asked,
    FromAbove,
}

/// How much of each run two versions have, for the runs from the newest that either has down.
struct Reach {
    /// The newest run.
    top: usize,
    /// By how far below `top`: the end of what the first and of what the second version has; 0 for nothing.
    ends: Vec<[Lv; 2]>,
    /// How many of the runs not looked at yet one version has more of.
    uneven: usize,
}

impl Reach {
    /// A version (or both) has this event, of that run.
    fn mark(&mut self, run: usize, lv: Lv, sides: [bool; 2]) {
        let below = self.top - run;
        if below >= self.ends.len() {
            self.ends.resize(below + 1, [0, 0]);
        }
        let ends = &mut self.ends[below];
        self.uneven -= usize::from(ends[0] != ends[1]);
        for (end, has) in ends.iter_mut().zip(sides) {
            if has {
                *end = (*end).max(lv + 1);
            }
        }
        self.uneven += usize::from(ends[0] != ends[1]);
    }
}

/// The events that one of two versions has and the other lacks: ascending, disjoint ranges.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Only in the first version.
    pub only_a: Vec<Range<Lv>>,
    /// Only in the second version.
    pub only_b: Vec<Range<Lv>>,
}

impl Graph {
    /// How many events there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The version of everything known.
    pub fn heads(&self) -> &Version {
        &self.heads
    }

    /// The sequence number that the agent's next event must have.
    pub fn next_seq(&self, agent: &AgentId) -> u64 {
        if let Some(newest) = self.newest_agent().map(|index| &self.agents[index as usize])
            && newest.id == *agent
        {
            return newest.next_seq;
        }
        self.by_id.get(agent).map_or(0, |&index| self.agents[index as usize].next_seq)
    }

    /// Every agent with the number of its events known here, in byte order of the agents.
    pub fn vector(&self) -> impl Iterator<Item = (AgentId, u64)> + '_ {
        self.by_id.iter().map(|(id, &index)| (*id, self.agents[index as usize].next_seq))
    }

    /// Appends `count` events of one agent, each the child of the one before. Returns the first's number.
    /// The sequence number is the agent's next; the caller has checked that the parents exist.
    pub fn push(&mut self, agent: AgentId, count: usize, parents: &Version) -> Lv {
        let start = self.len;
        let end = start + count;
        // Mostly it is whoever made the event before, who need not be looked up.
        let index = self.newest_agent().filter(|&index| self.agents[index as usize].id == agent);
        let index = index.unwrap_or_else(|| {
            *self.by_id.entry(agent).or_insert_with(|| {
                self.agents.push(Agent { id: agent, runs: Vec::new(), next_seq: 0 });
                (self.agents.len() - 1) as u32
            })
        });
        let info = &mut self.agents[index as usize];
        let seq = info.next_seq;
        let continues = self
            .assignments
            .last()
            .is_some_and(|last| last.agent == index && last.seq + (start - last.start) as u64 == seq);
        if !continues {
            self.assignments.push(Assignment { start, agent: index, seq });
            info.runs.push((seq, start));
        }
        info.next_seq += count as u64;
        match self.runs.last_mut() {
            Some(last) if start > 0 && parents.0.as_slice() == [start - 1] => last.end = end,
            _ => {
                let parent_runs = parents.0.iter().map(|&lv| self.run_index(lv) as u32).collect();
                self.runs.push(Run { start, end, parents: parents.clone(), parent_runs });
            }
        }
        self.heads.advance(parents, end - 1);
        self.len = end;
        start
    }

    /// Appends `count` events of one agent, made at the newest version. As [`Graph::push`], without its parents.
    pub fn push_newest(&mut self, agent: AgentId, count: usize) -> Lv {
        let (start, end) = (self.len, self.len + count);
        // Whoever made the newest event makes the next one: two runs grow, nothing else changes.
        if let ([head], Some(assigned), Some(run)) =
            (self.heads.0.as_mut_slice(), self.assignments.last(), self.runs.last_mut())
            && *head + 1 == start
        {
            let made = &mut self.agents[assigned.agent as usize];
            if made.id == agent && made.next_seq == assigned.seq + (start - assigned.start) as u64 {
                made.next_seq += count as u64;
                run.end = end;
                *head = end - 1;
                self.len = end;
                return start;
            }
        }
        let parents = std::mem::take(&mut self.heads);
        self.push(agent, count, &parents)
    }

    fn newest_agent(&self) -> Option<u32> {
        self.assignments.last().map(|run| run.agent)
    }

    /// Whether the version of everything known is that of this one event, and that event the newest.
    pub fn is_newest(&self, id: &EventId) -> bool {
        let [head] = self.heads.0.as_slice() else { return false };
        self.assignments.last().is_some_and(|run| {
            *head >= run.start
                && id.seq == run.seq + (head - run.start) as u64
                && self.agents[run.agent as usize].id == id.agent
        })
    }

    /// Forgets every event from `len` on; `heads` are those of that moment. For a batch that turned out bad.
    pub fn truncate(&mut self, len: usize, heads: Version) {
        while self.runs.last().is_some_and(|run| run.start >= len) {
            self.runs.pop();
        }
        if let Some(last) = self.runs.last_mut() {
            last.end = last.end.min(len);
        }
        while let Some(last) = self.assignments.last().copied() {
            let agent = &mut self.agents[last.agent as usize];
            if last.start < len {
                agent.next_seq = agent.next_seq.min(last.seq + (len - last.start) as u64);
                break;
            }
            agent.runs.pop();
            agent.next_seq = last.seq;
            self.assignments.pop();
        }
        // Agents are numbered in the order of their first events: those without any are the last.
        while let Some(agent) = self.agents.pop_if(|agent| agent.runs.is_empty()) {
            self.by_id.remove(&agent.id);
        }
        self.heads = heads;
        self.len = len;
    }

    /// The id of an event. `lv` must be below `len()`.
    pub fn id_of(&self, lv: Lv) -> EventId {
        let at = self.assignments.partition_point(|run| run.start <= lv) - 1;
        let run = self.assignments[at];
        EventId { agent: self.agents[run.agent as usize].id, seq: run.seq + (lv - run.start) as u64 }
    }

    /// The longest range from `lv` on (at most to `end`) with one agent and one chain of parents.
    pub fn run_from(&self, lv: Lv, end: Lv) -> Range<Lv> {
        let next = self.assignments.partition_point(|run| run.start <= lv);
        let by_agent = self.assignments.get(next).map_or(self.len, |run| run.start);
        lv..end.min(by_agent).min(self.runs[self.run_index(lv)].end)
    }

    /// The number of an event, or `None` if it is not known here.
    pub fn lv_of(&self, id: &EventId) -> Option<Lv> {
        let agent = &self.agents[*self.by_id.get(&id.agent)? as usize];
        if id.seq >= agent.next_seq {
            return None;
        }
        let at = agent.runs.partition_point(|&(seq, _)| seq <= id.seq) - 1;
        let (seq, lv) = agent.runs[at];
        Some(lv + (id.seq - seq) as usize)
    }

    /// The portable form of a version.
    pub fn portable(&self, version: &Version) -> Heads {
        Heads::new(version.0.iter().map(|&lv| self.id_of(lv)).collect())
    }

    /// The version with these heads, or the ids of those that are not known here.
    pub fn local(&self, heads: &Heads) -> Result<Version, Vec<EventId>> {
        let (mut known, mut missing) = (SmallVec::<[Lv; 2]>::new(), Vec::new());
        for id in heads.ids() {
            match self.lv_of(id) {
                Some(lv) => known.push(lv),
                None => missing.push(*id),
            }
        }
        if missing.is_empty() { Ok(self.simplify(known)) } else { Err(missing) }
    }

    /// The heads of the events with a number below `end`. Costs what the number of runs is.
    pub fn version_before(&self, end: Lv) -> Version {
        let mut heads = Version::root();
        for run in self.runs.iter().take_while(|run| run.start < end) {
            heads.advance(&run.parents, run.end.min(end) - 1);
        }
        heads
    }

    /// The heads among these events: those that no other of them builds on.
    pub fn simplify(&self, mut lvs: SmallVec<[Lv; 2]>) -> Version {
        lvs.sort_unstable();
        lvs.dedup();
        if lvs.len() < 2 {
            return Version(lvs);
        }
        let least = lvs[0];
        let mut left = lvs.len();
        let mut heads = SmallVec::new();
        // From the newest down, once: what is reached from above is no head.
        let mut heap: BinaryHeap<(Lv, Reached)> = lvs.iter().map(|&lv| (lv, Reached::Asked)).collect();
        while left > 0 {
            let Some((last, reached)) = heap.pop() else { break };
            let run = &self.runs[self.run_index(last)];
            if reached == Reached::Asked {
                heads.push(last);
                left -= 1;
            }
            while let Some(&(next, reached)) = heap.peek()
                && next >= run.start
            {
                heap.pop();
                left -= usize::from(reached == Reached::Asked);
            }
            let parents = run.parents.0.iter().filter(|&&parent| parent >= least);
            heap.extend(parents.map(|&parent| (parent, Reached::FromAbove)));
        }
        heads.reverse();
        Version(heads)
    }

    fn run_index(&self, lv: Lv) -> usize {
        // Nearly all that is asked for is recent.
        let recent = self.runs.len().saturating_sub(RECENT_RUNS);
        match self.runs.get(recent) {
            Some(run) if run.start <= lv => {
                recent + self.runs[recent..].partition_point(|run| run.start <= lv) - 1
            }
            _ => self.runs[..recent].partition_point(|run| run.start <= lv) - 1,
        }
    }

    /// The parents of an event.
    pub fn parents_of(&self, lv: Lv) -> Version {
        let run = &self.runs[self.run_index(lv)];
        if run.start == lv { run.parents.clone() } else { Version::of(lv - 1) }
    }

    /// Whether the event is part of the version.
    pub fn contains(&self, version: &Version, lv: Lv) -> bool {
        let mut heap: BinaryHeap<Lv> = version.0.iter().copied().filter(|&head| head >= lv).collect();
        while let Some(head) = heap.pop() {
            while heap.peek() == Some(&head) {
                heap.pop();
            }
            let run = &self.runs[self.run_index(head)];
            if run.start <= lv {
                return true;
            }
            heap.extend(run.parents.0.iter().copied().filter(|&parent| parent >= lv));
        }
        false
    }

    /// Whether every event of `older` is part of `newer`.
    pub fn includes(&self, newer: &Version, older: &Version) -> bool {
        newer == older || older.0.iter().all(|&lv| self.contains(newer, lv))
    }

    /// The version of everything in either.
    pub fn union(&self, a: &Version, b: &Version) -> Version {
        self.simplify(a.0.iter().chain(&b.0).copied().collect())
    }

    /// What each of two versions has and the other lacks. Costs what differs, not the history.
    pub fn difference(&self, a: &Version, b: &Version) -> Difference {
        let mut out = Difference::default();
        if a == b {
            return out;
        }
        let newest = a.0.iter().chain(&b.0).max().map_or(0, |&lv| self.run_index(lv));
        let mut reach = Reach { top: newest, ends: Vec::with_capacity(32), uneven: 0 };
        a.0.iter().for_each(|&lv| reach.mark(self.run_index(lv), lv, [true, false]));
        b.0.iter().for_each(|&lv| reach.mark(self.run_index(lv), lv, [false, true]));
        let mut below = 0;
        while reach.uneven > 0 {
            let Some(&[end_a, end_b]) = reach.ends.get(below) else { break };
            let run = &self.runs[newest - below];
            below += 1;
            if end_a == 0 && end_b == 0 {
                continue;
            }
            reach.uneven -= usize::from(end_a != end_b);
            let both = end_a.min(end_b).max(run.start);
            push_below(&mut out.only_a, both..end_a.max(both));
            push_below(&mut out.only_b, both..end_b.max(both));
            for (&parent, &of) in run.parents.0.iter().zip(&run.parent_runs) {
                reach.mark(of as usize, parent, [end_a > 0, end_b > 0]);
            }
        }
        out.only_a.reverse();
        out.only_b.reverse();
        out
    }

    /// The newest event (or the root) that both versions build on and that every event of either outside
    /// it builds on too, and what lies between: ascending ranges. The part of history that a walker has to
    /// walk to move between the two.
    pub fn dominating(&self, a: &Version, b: &Version) -> (Version, Vec<Range<Lv>>) {
        let mut heap: BinaryHeap<Lv> = a.0.iter().chain(&b.0).copied().collect();
        let mut between: Vec<Range<Lv>> = Vec::new();
        let mut from_root = a.is_root() || b.is_root();
        while let Some(mut last) = heap.pop() {
            while heap.peek() == Some(&last) {
                heap.pop();
            }
            if heap.is_empty() && !from_root {
                between.reverse();
                return (Version::of(last), between);
            }
            let run = &self.runs[self.run_index(last)];
            while let Some(&next) = heap.peek() {
                if next < run.start {
                    break;
                }
                heap.pop();
                if next < last {
                    push_below(&mut between, next + 1..last + 1);
                    last = next;
                }
                if heap.is_empty() && !from_root {
                    between.reverse();
                    return (Version::of(last), between);
                }
            }
            push_below(&mut between, run.start..last + 1);
            from_root |= run.parents.is_root();
            heap.extend(run.parents.0.iter().copied());
        }
        between.reverse();
        (Version::root(), between)
    }
}

/// Appends a range to a descending list, joining it with the one above where they touch.
fn push_below(ranges: &mut Vec<Range<Lv>>, range: Range<Lv>) {
    if range.is_empty() {
        return;
    }
    match ranges.last_mut() {
        Some(above) if above.start == range.end => above.start = range.start,
        _ => ranges.push(range),
    }
}
