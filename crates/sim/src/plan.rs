//! What is to happen in a world, drawn from a seed before anything happens, so that it can be shown.

use std::fmt;

use crate::party::Wish;

/// Everything that is decided beforehand. What else is random is drawn from the seed as the world runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Where it came from.
    pub seed: u64,
    /// How many replicas; number 0 is the centre of the star.
    pub replicas: usize,
    /// How long a message is under way: at least and at most, in milliseconds.
    pub latency: (u64, u64),
    /// How long a commit takes: at least and at most, in milliseconds.
    pub commit: (u64, u64),
    /// What happens when, in order.
    pub actions: Vec<Planned>,
}

/// Something that happens at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Planned {
    /// When, in milliseconds.
    pub at: u64,
    /// What.
    pub action: Action,
}

/// Something that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// A new document.
    Create {
        /// Where.
        replica: usize,
    },
    /// Somebody edits.
    Type {
        /// Where.
        replica: usize,
        /// What they want.
        wish: Wish,
    },
    /// The connection between a leaf and the centre breaks.
    Cut {
        /// Which leaf.
        leaf: usize,
    },
    /// A hub is killed, and started again later.
    Crash {
        /// Which.
        replica: usize,
    },
}

/// A fault that is put into the replicas, for the tests of the checker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(feature = "planted"), allow(dead_code))]
pub enum Bug {
    /// Edits are acknowledged when they are applied, not when their commit has returned.
    EarlyAcknowledgement,
    /// Now and then the last run of a batch that came is dropped.
    DroppedRun,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64) -> Plan {
        let mut rng = fastrand::Rng::with_seed(seed);
        let replicas = rng.usize(2..=4);
        let horizon = rng.u64(400..=5_000);
        let least = rng.u64(1..=20);
        let latency = (least, least + rng.u64(0..=150));
        let commit = (1, rng.u64(1..=60));
        let mut actions = vec![Planned { at: 0, action: Action::Create { replica: rng.usize(0..replicas) } }];
        let add = |rng: &mut fastrand::Rng, actions: &mut Vec<Planned>, action| {
            actions.push(Planned { at: rng.u64(0..=horizon), action });
        };
        for _ in 0..rng.usize(0..3) {
            let action = Action::Create { replica: rng.usize(0..replicas) };
            add(&mut rng, &mut actions, action);
        }
        for _ in 0..rng.usize(10..=100) {
            let action = Action::Type { replica: rng.usize(0..replicas), wish: Wish::draw(&mut rng) };
            add(&mut rng, &mut actions, action);
        }
        for _ in 0..rng.usize(0..=4) {
            let action = Action::Cut { leaf: rng.usize(1..replicas) };
            add(&mut rng, &mut actions, action);
        }
        for _ in 0..rng.usize(0..=4) {
            let action = Action::Crash { replica: rng.usize(0..replicas) };
            add(&mut rng, &mut actions, action);
        }
        actions.sort_by_key(|planned| planned.at);
        Plan { seed, replicas, latency, commit, actions }
    }

    /// When the last action happens.
    pub fn end(&self) -> u64 {
        self.actions.last().map_or(0, |planned| planned.at)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { seed, replicas, latency, commit, actions } = self;
        writeln!(f, "seed {seed}: {replicas} replicas, latency {latency:?} ms, commits {commit:?} ms")?;
        actions.iter().try_for_each(|planned| writeln!(f, "  {:>5} ms  {:?}", planned.at, planned.action))
    }
}
