//! One engine on one trace: every figure, each result's text checked.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::trace::{Patch, Trace};
use crate::{ALLOCATED, Fallible};

/// What a measurement gave.
pub enum Outcome {
    /// Times of the same thing again and again.
    Times(Vec<Duration>),
    /// One number of bytes.
    Bytes(usize),
    /// Why there is nothing.
    Nothing(String),
}

/// A measured thing.
pub const FIGURES: [&str; 7] = ["local", "remote", "load", "bytes", "heap", "stale", "merge"];

/// How long one run may take before it is given up, and how long the runs of one figure take together.
#[derive(Clone, Copy)]
pub struct Patience {
    pub one: Duration,
    pub all: Duration,
    pub stale_steps: usize,
}

/// Measures everything.
pub fn run<E: Engine>(trace: &Trace, patience: Patience) -> Fallible<Vec<(&'static str, Outcome)>> {
    if trace.concurrent {
        return Ok(vec![("merge", whole::<E>(trace, patience)?)]);
    }
    let local = local::<E>(trace, patience)?;
    let remote = remote::<E>(trace, patience)?;
    let mut document = E::start(&trace.start);
    let finished = within(patience.one * 3, trace.patches(), |patch| document.edit(patch)).is_some();
    let mut figures = vec![("local", local), ("remote", remote)];
    if !finished {
        let why = || Outcome::Nothing("typing the trace took too long".into());
        figures.extend(["load", "bytes", "heap", "stale"].map(|name| (name, why())));
        return Ok(figures);
    }
    let history = document.history();
    let bytes = history.map_or(Outcome::Nothing("keeps no history".into()), |history| {
        // Who does not compress is compressed here, as a store would.
        let packed = zstd::encode_all(history.as_slice(), 3).map_or(usize::MAX, |packed| packed.len());
        Outcome::Bytes(packed.min(history.len()))
    });
    let (load, heap) = open::<E>(trace, document.stored(), patience)?;
    let stale = stale(document, trace, patience)?;
    figures.extend([("load", load), ("bytes", bytes), ("heap", heap), ("stale", stale)]);
    Ok(figures)
}

/// The time that all of these took, or `None` if that was more than the limit.
fn within<T>(limit: Duration, items: impl Iterator<Item = T>, mut each: impl FnMut(T)) -> Option<Duration> {
    let started = Instant::now();
    for (index, item) in items.enumerate() {
        each(item);
        if index % 256 == 255 && started.elapsed() > limit {
            return None;
        }
    }
    Some(started.elapsed())
}

/// Runs until the patience is used up, at least once, at most eleven times; `None` ends it.
fn repeat(patience: Patience, mut once: impl FnMut() -> Fallible<Option<Duration>>) -> Fallible<Outcome> {
    let started = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || (times.len() < 11 && started.elapsed() < patience.all) {
        match once()? {
            Some(time) => times.push(time),
            None => return Ok(Outcome::Nothing(format!("given up after {:?}", patience.one))),
        }
    }
    Ok(Outcome::Times(times))
}

fn check(text: &str, trace: &Trace, what: &str, engine: &str) -> Fallible<()> {
    if text == trace.end {
        return Ok(());
    }
    Err(format!("{engine}: {what} of {} gave another text than the trace's", trace.name).into())
}

/// The time of typing the trace.
#[inline(never)] // so that a profiler can look at it alone
pub fn local<E: Engine>(trace: &Trace, patience: Patience) -> Fallible<Outcome> {
    repeat(patience, || {
        let mut document = E::start(&trace.start);
        let time = within(patience.one, trace.patches(), |patch| document.edit(patch));
        if time.is_some() {
            check(&document.text(), trace, "local edits", E::NAME)?;
        }
        Ok(time)
    })
}

fn remote<E: Engine>(trace: &Trace, patience: Patience) -> Fallible<Outcome> {
    let mut sender = E::start(&trace.start);
    let mut receiver = sender.replica(1);
    let mut messages = Vec::new();
    let sent = within(patience.one, trace.patches(), |patch| messages.extend(sender.send(patch)));
    if sent.is_none() {
        return Ok(Outcome::Nothing(format!("sending alone: given up after {:?}", patience.one)));
    }
    let mut first = Some(receiver.replica(2));
    repeat(patience, || {
        let mut document = first.take().unwrap_or_else(|| receiver.replica(2));
        let time = within(patience.one, messages.iter(), |message| document.receive(message));
        if time.is_some() {
            check(&document.text(), trace, "received edits", E::NAME)?;
        }
        Ok(time)
    })
}

fn open<E: Engine>(
    trace: &Trace,
    stored: Option<Vec<u8>>,
    patience: Patience,
) -> Fallible<(Outcome, Outcome)> {
    let nothing = || Outcome::Nothing("stores no documents".into());
    let Some(stored) = stored else { return Ok((nothing(), nothing())) };
    let before = ALLOCATED.current_usage();
    let Some(opened) = E::open(&stored) else { return Ok((nothing(), nothing())) };
    check(&opened.text(), trace, "opening", E::NAME)?;
    let heap = Outcome::Bytes(ALLOCATED.current_usage().saturating_sub(before));
    drop(opened);
    let load = repeat(patience, || {
        let started = Instant::now();
        let opened = E::open(&stored).ok_or("opened once, but not again")?;
        let text = opened.text();
        let time = started.elapsed();
        check(&text, trace, "opening", E::NAME)?;
        Ok(Some(time))
    })?;
    Ok((load, heap))
}

/// The time of a step: one edit at the newest version and one ten events behind.
fn stale<E: Engine>(mut document: E, trace: &Trace, patience: Patience) -> Fallible<Outcome> {
    let length = trace.end.chars().count();
    let started = Instant::now();
    let mut steps = 0;
    while steps < patience.stale_steps && (steps < 5 || started.elapsed() < patience.one) {
        // Spread over the text, and never both at one place.
        let (head, old) = (steps * 7_919 % (length / 2 + 1), length / 2 + steps * 104_729 % (length / 2 + 1));
        if document.stale(head, old).is_none() {
            return Ok(Outcome::Nothing("has no edits at older versions".into()));
        }
        steps += 1;
    }
    let time = started.elapsed() / steps as u32;
    let text = document.text();
    let count = |wanted: char, text: &str| text.chars().filter(|c| *c == wanted).count();
    for wanted in ['x', 'y'] {
        if count(wanted, &text) != count(wanted, &trace.end) + steps {
            return Err(format!("{}: a stale edit of {} was lost", E::NAME, trace.name).into());
        }
    }
    Ok(Outcome::Times(vec![time]))
}

/// A concurrent trace, typed by a replica for each agent, then merged whole by somebody who has nothing.
fn whole<E: Engine>(trace: &Trace, patience: Patience) -> Fallible<Outcome> {
    let mut origin = E::start(&trace.start);
    let agents = trace.transactions.iter().map(|txn| txn.agent).max().unwrap_or(0) + 1;
    let mut replicas: Vec<E> = (0..agents as u64).map(|agent| origin.replica(agent + 1)).collect();
    let mut known = vec![vec![false; trace.transactions.len()]; agents];
    let mut sent: Vec<Vec<E::Message>> = Vec::new();
    let started = Instant::now();
    for (index, transaction) in trace.transactions.iter().enumerate() {
        if started.elapsed() > patience.one * 3 {
            return Ok(Outcome::Nothing(format!("typing: given up after {:?}", patience.one * 3)));
        }
        let (replica, known) = (&mut replicas[transaction.agent], &mut known[transaction.agent]);
        receive_all(replica, known, &transaction.parents, trace, &sent);
        let mut text = E::COUNTS_BYTES.then(|| replica.text());
        let mut messages = Vec::new();
        for patch in &transaction.patches {
            messages.extend(replica.send(&placed(patch, text.as_mut())));
        }
        sent.push(messages);
        known[index] = true;
    }
    let (replica, known) = (&mut replicas[0], &mut known[0]);
    let all: Vec<usize> = (0..trace.transactions.len()).collect();
    receive_all(replica, known, &all, trace, &sent);
    let expected = replica.text();
    check(&expected, trace, "typing by several", E::NAME)?;
    let Some(history) = replica.history() else { return Ok(Outcome::Nothing("keeps no history".into())) };
    repeat(patience, || {
        let started = Instant::now();
        let text = black_box(E::merge_whole(&history)).ok_or("no merging of a whole history")?;
        let time = started.elapsed();
        check(&text, trace, "merging", E::NAME)?;
        Ok(Some(time))
    })
}

/// Hands a replica the transactions among `wanted` and before them that it has not got, oldest first.
fn receive_all<E: Engine>(
    replica: &mut E,
    known: &mut [bool],
    wanted: &[usize],
    trace: &Trace,
    sent: &[Vec<E::Message>],
) {
    let (mut open, mut missing) = (wanted.to_vec(), Vec::new());
    while let Some(index) = open.pop() {
        if !std::mem::replace(&mut known[index], true) {
            missing.push(index);
            open.extend(&trace.transactions[index].parents);
        }
    }
    missing.sort_unstable();
    missing.iter().flat_map(|&index| &sent[index]).for_each(|message| replica.receive(message));
}

/// A patch with its position in bytes, in this text, which follows along.
fn placed(patch: &Patch, text: Option<&mut String>) -> Patch {
    let mut patch = patch.clone();
    if let Some(text) = text {
        patch.at_bytes = str_indices::chars::to_byte_idx(text, patch.at);
        patch.deleted_bytes = str_indices::chars::to_byte_idx(&text[patch.at_bytes..], patch.deleted);
        text.replace_range(patch.at_bytes..patch.at_bytes + patch.deleted_bytes, &patch.insert);
    }
    patch
}
