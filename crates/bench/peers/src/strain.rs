//! What only ours is asked for: many parties behind one another, very large texts, differences of texts.

use std::time::{Duration, Instant};

use syncline_engine::{AgentId, Document, Edit, EventBatch, Meta, Snapshot, Version, diff};

use crate::percentiles::Summary;
use crate::trace::Trace;
use crate::{ALLOCATED, Fallible};

/// How many edits a rolling measurement makes, and how long it may take.
const ROLLING: usize = 100_000;
const LONGEST: Duration = Duration::from_secs(12);

/// Prints everything. `paper` is the text that is worked on.
pub fn run(paper: &Trace) -> Fallible<()> {
    println!("\nours under strain");
    for parties in [2, 10, 100] {
        rolling(paper, parties)?;
    }
    behind(paper)?;
    large()?;
    differences(paper)?;
    sync_steps()?;
    many_small(paper)
}

fn agent(number: usize) -> AgentId {
    AgentId::from_random(number as u128 + 1)
}

/// A repeatable sequence of numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

fn opened(text: &str) -> Fallible<Document> {
    let mut document = Document::new();
    document.edit(&[Edit::insert(0, text)], agent(0), &Meta::default())?;
    Ok(document)
}

/// Parties in turn, each ten of its own turns behind what the others did.
fn rolling(paper: &Trace, parties: usize) -> Fallible<()> {
    let mut document = opened(&paper.end)?;
    let (meta, mut dice) = (Meta::default(), Dice(1));
    let mut seen = vec![std::collections::VecDeque::from([document.version().clone()]); parties];
    let mut own = vec![document.version().clone(); parties];
    let mut times = Vec::with_capacity(ROLLING);
    let started = Instant::now();
    while times.len() < ROLLING && started.elapsed() < LONGEST {
        let party = times.len() % parties;
        let at = dice.below(90_000);
        let edit = if times.len() % 2 == 0 { Edit::insert(at, "x") } else { Edit::delete(at..at + 1) };
        let begun = Instant::now();
        let base = document.union(&seen[party][0], &own[party]);
        own[party] = document.edit_at(&base, &[edit], agent(party + 1), &meta)?.version;
        times.push(begun.elapsed());
        seen[party].push_back(document.version().clone());
        if seen[party].len() > 10 {
            seen[party].pop_front();
        }
    }
    let mut copy = Document::new();
    copy.merge(&document.events_since(&Version::root()))?;
    if copy.text().to_one_string() != document.text().to_one_string() {
        return Err("a rolling document and its copy differ".into());
    }
    let sum = |times: &[Duration]| times.iter().sum::<Duration>().as_secs_f64();
    let few = times.len().min(1_000);
    println!(
        "  rolling, {parties:>3} parties: {:>6} edits, {:>9.0} edits/s; the last thousand cost {:.2} x the first; {} spans kept",
        times.len(),
        times.len() as f64 / sum(&times),
        sum(&times[times.len() - few..]) / sum(&times[..few]),
        document.walker_spans(),
    );
    Ok(())
}

/// 10,000 edits, each at the version before the ten newest events.
fn behind(paper: &Trace) -> Fallible<()> {
    let mut document = opened(&paper.end)?;
    let (meta, mut dice) = (Meta::default(), Dice(2));
    document.edit(&[Edit::insert(0, "0123456789")], agent(1), &meta)?;
    let version = |lv: usize, document: &Document| {
        document.local(&document.events_in(lv..lv + 1).runs[0].parents).map_err(|_| "an unknown version")
    };
    let base = version(document.events() - 10, &document)?;
    let mut own = base.clone();
    let started = Instant::now();
    for _ in 0..10_000 {
        let edit = [Edit::insert(dice.below(90_000), "y")];
        own = document.edit_at(&own, &edit, agent(2), &meta)?.version;
    }
    let time = started.elapsed();
    println!("  one session ten events behind: {:>9.0} edits/s", 10_000.0 / time.as_secs_f64());
    Ok(())
}

/// 10 MB of text, 10,000 edits anywhere in it.
fn large() -> Fallible<()> {
    let text = "A line of a very long text, much like the others.\n".repeat(200_000);
    let (meta, mut dice) = (Meta::default(), Dice(3));
    let (mut local, mut remote) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let mut document = opened(&text)?;
        let mut copy = document.clone();
        let places: Vec<usize> = (0..10_000).map(|_| dice.below(9_000_000)).collect();
        let first = document.events();
        let started = Instant::now();
        for at in &places {
            document.record(&[Edit { range: *at..at + 1, insert: "xy".into() }], agent(0), &meta)?;
        }
        local.push(started.elapsed());
        let batches = places.iter().enumerate();
        let batches = batches.map(|(n, _)| document.events_in(first + n * 3..first + n * 3 + 3).encode());
        let batches: Vec<Vec<u8>> = batches.collect();
        let started = Instant::now();
        for batch in &batches {
            copy.merge(&EventBatch::decode(batch)?)?;
        }
        remote.push(started.elapsed());
        if copy.text().to_one_string() != document.text().to_one_string() {
            return Err("a large document and its copy differ".into());
        }
    }
    show("10 MB, 10,000 local edits", &local);
    show("10 MB, 10,000 received edits", &remote);
    Ok(())
}

fn differences(paper: &Trace) -> Fallible<()> {
    let old: String = paper.end.chars().cycle().take(1_000_000).collect();
    let mut edited = old.clone();
    for at in [100_000, 500_000, 900_000] {
        let at = (at..).find(|at| edited.is_char_boundary(*at)).unwrap_or(0);
        edited.insert_str(at, " changed ");
    }
    let other: String =
        (0..20_000).map(|n| format!("Line {} of something quite different {}.\n", n * 7, n % 13)).collect();
    let indented: String = old.lines().map(|line| format!("    {line}\n")).collect();
    for (name, new) in [("3 edits", &edited), ("another text", &other), ("indented", &indented)] {
        let mut times = Vec::new();
        for _ in 0..5 {
            let started = Instant::now();
            let edits = diff(&old, new);
            times.push(started.elapsed());
            if syncline_engine::apply_to_str(&old, &edits) != *new {
                return Err("a difference does not lead to the new text".into());
            }
        }
        show(&format!("difference of 1 MB, {name}"), &times);
    }
    Ok(())
}

/// Two texts of 18 characters, an edit on each side, one exchange, and both alike.
fn sync_steps() -> Fallible<()> {
    let mut start = opened("eighteen letters..")?;
    start.release();
    let meta = Meta::default();
    let (rounds, mut spent) = (20_000, Duration::ZERO);
    for round in 0..rounds {
        let (mut a, mut b) = (start.clone(), start.clone());
        let started = Instant::now();
        let first = a.events();
        a.record(&[Edit::insert(3, "a")], agent(1), &meta)?;
        b.record(&[Edit::insert(9 + round % 5, "b")], agent(2), &meta)?;
        let (from_a, from_b) =
            (a.events_in(first..first + 1).encode(), b.events_in(first..first + 1).encode());
        a.merge(&EventBatch::decode(&from_b)?)?;
        b.merge(&EventBatch::decode(&from_a)?)?;
        spent += started.elapsed();
        if a.text().to_one_string() != b.text().to_one_string() {
            return Err("two replicas differ".into());
        }
    }
    println!("  sync step, both ways: {:>9.0}/s", f64::from(rounds as u32) / spent.as_secs_f64());
    Ok(())
}

/// The memory of a thousand opened documents of a thousand characters.
fn many_small(paper: &Trace) -> Fallible<()> {
    let text: String = paper.end.chars().skip(20_000).take(1_000).collect();
    let stored = opened(&text)?.encode();
    let before = ALLOCATED.current_usage();
    let mut open = Vec::with_capacity(1_000);
    for _ in 0..1_000 {
        open.push(Snapshot::open(stored.clone())?);
    }
    let each = (ALLOCATED.current_usage() - before) / open.len();
    println!("  a document of 1 KB, opened: {each} bytes");
    Ok(())
}

fn show(name: &str, times: &[Duration]) {
    let Summary { count, p50, p95, max } = Summary::of(times);
    let [p50, p95, max] = [p50, p95, max].map(|time| time.as_secs_f64() * 1_000.0);
    println!("  {name}: n {count}, p50 {p50:.2} ms, p95 {p95:.2} ms, max {max:.2} ms");
}
