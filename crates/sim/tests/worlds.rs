//! Worlds from seeds: all well without a bug, always the same, and every planted bug is caught.

use std::collections::BTreeSet;

use syncline_sim::{Bug, FaultKind, Plan, run, run_planted};

#[test]
fn two_hundred_seeds_lose_and_double_nothing() {
    let (mut insertions, mut crashes) = (0, 0);
    for seed in 0..200 {
        let plan = Plan::draw(seed);
        let outcome = run(&plan);
        let faults: Vec<String> = outcome.faults.iter().map(ToString::to_string).collect();
        assert!(faults.is_empty(), "{plan}{faults:#?}");
        // The canary: a checker that notices nothing finds every world good.
        let overlooked = outcome.checker.canary(&outcome.views);
        assert!(overlooked.is_empty(), "{overlooked:?} {plan}");
        insertions += outcome.checker.acknowledged_insertions();
        crashes += plan.to_string().matches("Crash").count();
    }
    assert!(insertions > 2_000 && crashes > 100, "too little happens: {insertions} {crashes}");
}

#[test]
fn a_seed_gives_the_same_world_always() {
    let mut traces = BTreeSet::new();
    for seed in 0..30 {
        let plan = Plan::draw(seed);
        assert_eq!(plan, Plan::draw(seed));
        let trace = run(&plan).trace;
        assert_eq!(trace, run(&plan).trace, "seed {seed}");
        traces.insert(trace);
    }
    assert_eq!(traces.len(), 30, "different seeds are different worlds");
}

/// The kinds of fault that are found with a bug in so many worlds.
fn found(bug: Bug, seeds: u64) -> BTreeSet<FaultKind> {
    let outcomes = (0..seeds).map(|seed| run_planted(&Plan::draw(seed), bug));
    outcomes.flat_map(|outcome| outcome.faults).map(|fault| fault.kind).collect()
}

#[test]
fn an_acknowledgement_before_the_commit_is_caught() {
    let found = found(Bug::EarlyAcknowledgement, 100);
    assert!(found.contains(&FaultKind::Early), "{found:?}");
    assert!(found.contains(&FaultKind::Lost), "a crash loses what was acknowledged: {found:?}");
}

#[test]
fn a_dropped_run_is_caught() {
    let found = found(Bug::DroppedRun, 100);
    assert!(found.contains(&FaultKind::Lost) || found.contains(&FaultKind::Differs), "{found:?}");
}
