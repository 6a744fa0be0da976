//! What is to happen to shared folders: drawn from a seed, shown, stored, replayed and shortened.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Everything that is decided beforehand. What else is random is drawn from each act's own seed, so that an act
/// does the same when others are left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FolderPlan {
    /// Where it came from.
    pub seed: u64,
    /// How many machines; the others have joined number 0.
    pub machines: usize,
    /// How many files there are at the start, on machine 0.
    pub files: usize,
    /// The longest pause before and after a call of a hub's workers, in milliseconds.
    pub slowness: u64,
    /// From how many bytes on the hubs treat a text as a large one.
    #[serde(default = "usual_large_text")]
    pub large_text: usize,
    /// How long a message is under way: at least and at most, in milliseconds.
    pub latency: (u64, u64),
    /// What happens, in order of time.
    pub acts: Vec<Planned>,
}

/// An act and its time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Planned {
    /// When, in milliseconds.
    pub at: u64,
    /// On which machine.
    pub machine: usize,
    /// Where what is random about it starts.
    pub seed: u64,
    /// What.
    pub act: Act,
}

/// How an editor puts a text into a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Style {
    /// Truncated and written at once (`>`, vim with `backupcopy=yes`).
    InPlace,
    /// Written beside and renamed over it (`sed -i`, most editors).
    Rename,
    /// Truncated, and written in pieces with pauses of so many milliseconds.
    Slow(u64),
}

/// Something that somebody does, or that goes wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Act {
    /// Reads a file, thinks, and saves it with changes, some times without reading it again.
    Edit {
        /// Which of the files there are then.
        file: usize,
        /// How it is saved.
        style: Style,
        /// How long until the first save, and between saves, in milliseconds.
        think: u64,
        /// How often.
        saves: usize,
    },
    /// Appends a line without reading (`>>`).
    Append {
        /// Which file.
        file: usize,
    },
    /// Makes a new file.
    Create,
    /// Deletes a file.
    Delete {
        /// Which file.
        file: usize,
    },
    /// Renames a file.
    Rename {
        /// Which file.
        file: usize,
    },
    /// A client uploads a whole text after so many milliseconds, with the version it saw or without.
    Upload {
        /// Which file.
        file: usize,
        /// How long it thinks, in milliseconds.
        think: u64,
        /// Whether it says what it saw.
        base: bool,
    },
    /// The cable of this machine (not 0) is cut, for so many milliseconds.
    Cut {
        /// How long.
        ms: u64,
    },
    /// A message on its way to or from this machine (not 0) is spoilt.
    Spoil,
    /// The hub is killed within so many calls of its disk, and started again after so many milliseconds.
    Kill {
        /// How many calls.
        calls: u64,
        /// How long it is down.
        down: u64,
    },
    /// The machine loses power within so many calls of its disk.
    PowerCut {
        /// How many calls.
        calls: u64,
        /// How long it is down.
        down: u64,
    },
    /// All hints of the watch are late by so many milliseconds; some are lost, and it says so.
    Overflow {
        /// How long.
        ms: u64,
    },
    /// The disk is full for so many milliseconds.
    Full {
        /// How long.
        ms: u64,
    },
    /// So many calls of fsync fail.
    FailSync {
        /// How many.
        count: usize,
    },
    /// Somebody takes a line out of a file, and it is not written down: the checker must miss it. Never drawn.
    Canary,
    /// So many commits of the journal fail.
    FailCommits {
        /// How many.
        count: u32,
    },
}

impl FolderPlan {
    /// The plan of a seed.
    pub fn draw(seed: u64) -> FolderPlan {
        let mut rng = fastrand::Rng::with_seed(seed);
        let machines = rng.usize(2..=3);
        let least = rng.u64(1..=10);
        let latency = (least, least + rng.u64(0..=60));
        let mut acts = Vec::new();
        let span = rng.u64(1_000..=12_000);
        for _ in 0..rng.usize(8..=40) {
            let act = draw_act(&mut rng);
            let machine = match act {
                Act::Cut { .. } | Act::Spoil => rng.usize(1..machines),
                _ => rng.usize(0..machines),
            };
            acts.push(Planned { at: rng.u64(0..=span), machine, seed: rng.u64(..), act });
        }
        acts.sort_by_key(|planned| planned.at);
        let (files, slowness) = (rng.usize(1..=3), rng.u64(1..=8));
        // The texts here are short: in half of the worlds some of them are large all the same.
        let large_text = if rng.bool() { rng.usize(0..=600) } else { usual_large_text() };
        FolderPlan { seed, machines, files, slowness, large_text, latency, acts }
    }

    /// When the last act begins, in milliseconds.
    pub fn end(&self) -> u64 {
        self.acts.last().map_or(0, |planned| planned.at)
    }
}

fn usual_large_text() -> usize {
    syncline_hub::LARGE_TEXT
}

fn draw_act(rng: &mut fastrand::Rng) -> Act {
    let file = rng.usize(0..8);
    match rng.u32(0..100) {
        0..50 => {
            let style = match rng.u8(0..5) {
                0 | 1 => Style::InPlace,
                2 | 3 => Style::Rename,
                _ => Style::Slow(rng.u64(1..=300)),
            };
            let think = if rng.bool() { rng.u64(1..=50) } else { rng.u64(50..=3_000) };
            Act::Edit { file, style, think, saves: if rng.u8(0..4) == 0 { rng.usize(2..=5) } else { 1 } }
        }
        50..56 => Act::Append { file },
        56..60 => Act::Create,
        60..62 => Act::Delete { file },
        62..65 => Act::Rename { file },
        65..77 => Act::Upload { file, think: rng.u64(0..=800), base: rng.bool() },
        77..82 => Act::Cut { ms: rng.u64(10..=4_000) },
        82..84 => Act::Spoil,
        84..90 => Act::Kill { calls: rng.u64(0..=60), down: rng.u64(20..=2_000) },
        90..93 => Act::PowerCut { calls: rng.u64(0..=60), down: rng.u64(20..=2_000) },
        93..95 => Act::Overflow { ms: rng.u64(10..=1_500) },
        95..97 => Act::Full { ms: rng.u64(10..=3_000) },
        97..98 => Act::FailSync { count: rng.usize(1..=3) },
        _ => Act::FailCommits { count: rng.u32(1..=3) },
    }
}

impl fmt::Display for FolderPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FolderPlan { seed, machines, files, slowness, large_text, latency, acts } = self;
        writeln!(
            f,
            "seed {seed}: {machines} machines, {files} files, calls up to {slowness} ms, latency {latency:?} ms, \
             large from {large_text} bytes on"
        )?;
        acts.iter()
            .try_for_each(|each| writeln!(f, "  {:>6} ms  on {}  {:?}", each.at, each.machine, each.act))
    }
}
