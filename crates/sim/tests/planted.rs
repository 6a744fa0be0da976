//! Bugs of a hub that the worlds of folders must find, each within a thousand seeds.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use syncline_disk::planted::Planted;
use syncline_sim::{FaultKind, FolderPlan, run_folders, run_folders_planted};

const SEEDS: u64 = 1_000;

/// The first seed in which a hub with the bug does what one without it does not.
fn caught(bug: Planted) -> Option<(u64, Vec<FaultKind>)> {
    (0..SEEDS).find_map(|seed| {
        let plan = FolderPlan::draw(seed);
        let faults = run_folders_planted(&plan, bug).faults;
        (!faults.is_empty() && run_folders(&plan, false).faults.is_empty())
            .then(|| (seed, faults.into_iter().map(|fault| fault.kind).collect()))
    })
}

#[test]
fn every_planted_bug_is_caught() {
    let mut missed = Vec::new();
    for bug in Planted::ALL {
        match caught(bug) {
            Some((seed, mut kinds)) => {
                kinds.dedup();
                println!("{bug:?}: seed {seed}: {kinds:?}");
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not caught within {SEEDS} seeds: {missed:?}");
}
