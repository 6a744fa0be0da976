//! Runs the simulator: `cargo xtask sim --seeds N [--seed S]`.

use std::process::ExitCode;

use syncline_sim::{Outcome, Plan, run};

const HELP: &str = "\
Simulated worlds from seeds, and the checker that no edit is lost or doubled.

    cargo xtask sim --seeds N             the seeds 0 to N-1
    cargo xtask sim --seeds N --seed S    N seeds from S on
    cargo xtask sim --seed S              one seed, with its plan

Each seed runs twice and must give the same trace. A seed that fails is printed with its plan.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (first, count) = match read(&arguments) {
        Ok((None, None)) => {
            print!("{HELP}");
            return ExitCode::from(2);
        }
        Ok((seed, seeds)) => (seed.unwrap_or(0), seeds.unwrap_or(1)),
        Err(what) => {
            eprintln!("sim: {what}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let (mut happenings, mut edits, mut failed) = (0, 0, 0);
    let mut traces = blake3::Hasher::new();
    for seed in first..first.saturating_add(count) {
        let plan = Plan::draw(seed);
        let outcome = run(&plan);
        let wrong = wrong_with(&plan, &outcome);
        if count == 1 {
            print!("{plan}");
            println!("trace {}", outcome.trace);
        }
        if !wrong.is_empty() {
            failed += 1;
            eprintln!("sim: seed {seed} failed\n{plan}");
            wrong.iter().for_each(|what| eprintln!("  {what}"));
            eprintln!("again: cargo xtask sim --seed {seed}\n");
        }
        happenings += outcome.happenings;
        edits += outcome.checker.acknowledged_insertions();
        traces.update(outcome.trace.as_bytes());
    }
    let trace = traces.finalize();
    println!("{count} seeds from {first} on, {happenings} happenings, {edits} insertions: {failed} failed");
    println!("trace of all {}", &trace.to_hex().as_str()[..32]);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is wrong with a world: its faults, a second run that differs, a checker that notices nothing.
fn wrong_with(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let mut wrong: Vec<String> = outcome.faults.iter().map(ToString::to_string).collect();
    let again = run(plan);
    if again.trace != outcome.trace {
        wrong.push(format!("the second run differs: trace {}, then {}", outcome.trace, again.trace));
    }
    if wrong.is_empty() {
        let overlooked = outcome.checker.canary(&outcome.views);
        wrong.extend(overlooked.iter().map(|kind| format!("the checker overlooks {kind:?}")));
    }
    wrong
}

type Numbers = (Option<u64>, Option<u64>);

/// `--seed` and `--seeds`.
fn read(arguments: &[String]) -> Result<Numbers, String> {
    let (mut seed, mut seeds) = (None, None);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let place = match word.as_str() {
            "--seed" => &mut seed,
            "--seeds" => &mut seeds,
            other => return Err(format!("unknown argument {other:?}")),
        };
        let number = words.next().ok_or_else(|| format!("{word} needs a number"))?;
        *place = Some(number.parse::<u64>().map_err(|_| format!("{word} {number}: not a number"))?);
    }
    Ok((seed, seeds))
}
