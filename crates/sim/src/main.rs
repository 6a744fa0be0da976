//! Runs the simulator: `cargo xtask sim --seeds N [--seed S]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use syncline_sim::{FolderPlan, Outcome, Plan, run, run_folders, shrink};

const HELP: &str = "\
Simulated worlds from seeds, and the checkers that no edit is lost or doubled. Each seed makes two worlds: replicas
that exchange events, and whole folders with hubs, disks, editors, kills and power cuts.

    cargo xtask sim --seeds N             the seeds 0 to N-1
    cargo xtask sim --seeds N --seed S    N seeds from S on
    cargo xtask sim --seed S              one seed, with its plans and all that happened in its folders
    cargo xtask sim --plan FILE           a stored plan of folders again, with all that happened

Each seed runs twice and must give the same trace. A seed that fails is printed; the plan of its folders is made as
short as it gets and written to target/sim/seed-S.json.
";

/// Where plans that failed are written.
const PLANS: &str = "target/sim";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = match Wanted::read(&arguments) {
        Ok(wanted) => wanted,
        Err(what) => {
            eprintln!("sim: {what}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    if let Some(file) = &wanted.plan {
        return again(file);
    }
    if wanted.seed.is_none() && wanted.seeds.is_none() {
        print!("{HELP}");
        return ExitCode::from(2);
    }
    let (first, count) = (wanted.seed.unwrap_or(0), wanted.seeds.unwrap_or(1));
    let mut totals = Totals::default();
    for seed in first..first.saturating_add(count) {
        totals.replicas(seed, count == 1);
        totals.folders(seed, count == 1);
    }
    totals.report(first, count);
    if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is counted over all seeds.
#[derive(Default)]
struct Totals {
    happenings: u64,
    insertions: usize,
    seconds: f64,
    counts: BTreeMap<&'static str, u64>,
    failed: u64,
    traces: blake3::Hasher,
}

impl Totals {
    fn replicas(&mut self, seed: u64, alone: bool) {
        let plan = Plan::draw(seed);
        let outcome = run(&plan);
        let wrong = wrong_with(&plan, &outcome);
        if alone {
            print!("{plan}");
            println!("trace {}", outcome.trace);
        }
        if !wrong.is_empty() {
            self.failed += 1;
            eprintln!("sim: seed {seed} failed\n{plan}");
            wrong.iter().for_each(|what| eprintln!("  {what}"));
            eprintln!("again: cargo xtask sim --seed {seed}\n");
        }
        self.happenings += outcome.happenings;
        self.insertions += outcome.checker.acknowledged_insertions();
        self.traces.update(outcome.trace.as_bytes());
    }

    fn folders(&mut self, seed: u64, alone: bool) {
        let plan = FolderPlan::draw(seed);
        let outcome = run_folders(&plan, alone);
        let second = run_folders(&plan, false);
        let mut wrong: Vec<String> = outcome.faults.iter().map(ToString::to_string).collect();
        if second.trace != outcome.trace {
            wrong.push(format!("the second run differs: trace {}, then {}", outcome.trace, second.trace));
        }
        if alone {
            print!("{plan}");
            outcome.log.iter().for_each(|line| println!("{line}"));
            println!("trace {}", outcome.trace);
        }
        self.seconds += outcome.seconds;
        outcome.counts.iter().for_each(|(what, count)| *self.counts.entry(what).or_default() += count);
        self.traces.update(outcome.trace.as_bytes());
        if wrong.is_empty() {
            return;
        }
        self.failed += 1;
        eprintln!("sim: the folders of seed {seed} failed");
        wrong.iter().take(3).for_each(|what| eprintln!("  {}", what.chars().take(300).collect::<String>()));
        let short = shrink(&plan);
        match store(&short) {
            Ok(path) => eprintln!("{short}again: cargo xtask sim --plan {}\n", path.display()),
            Err(error) => eprintln!("{short}the plan could not be stored: {error}\n"),
        }
    }

    fn report(&self, first: u64, count: u64) {
        println!(
            "replicas: {count} seeds from {first} on, {} happenings, {} insertions",
            self.happenings, self.insertions
        );
        let counts: Vec<String> = self.counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
        println!(
            "folders: {count} seeds, {:.1} simulated hours, {}",
            self.seconds / 3600.0,
            counts.join(", ")
        );
        println!("{} failed; trace of all {}", self.failed, &self.traces.finalize().to_hex().as_str()[..32]);
    }
}

fn store(plan: &FolderPlan) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(PLANS)?;
    let path = Path::new(PLANS).join(format!("seed-{}.json", plan.seed));
    std::fs::write(&path, serde_json::to_vec_pretty(plan)?)?;
    Ok(path)
}

/// Runs a stored plan again.
fn again(file: &Path) -> ExitCode {
    let plan: FolderPlan = match std::fs::read(file).map(|bytes| serde_json::from_slice(&bytes)) {
        Ok(Ok(plan)) => plan,
        Ok(Err(error)) => {
            eprintln!("sim: {} is no plan: {error}", file.display());
            return ExitCode::from(2);
        }
        Err(error) => {
            eprintln!("sim: {}: {error}", file.display());
            return ExitCode::from(2);
        }
    };
    let outcome = run_folders(&plan, true);
    print!("{plan}");
    outcome.log.iter().for_each(|line| println!("{line}"));
    println!("trace {}", outcome.trace);
    outcome.faults.iter().for_each(|fault| println!("{fault}"));
    if outcome.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is wrong with a world of replicas: its faults, a second run that differs, a checker that notices nothing.
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

/// What the command line asks for.
#[derive(Default)]
struct Wanted {
    seed: Option<u64>,
    seeds: Option<u64>,
    plan: Option<PathBuf>,
}

impl Wanted {
    fn read(arguments: &[String]) -> Result<Wanted, String> {
        let mut wanted = Wanted::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            let number =
                |text: &String| text.parse::<u64>().map_err(|_| format!("{word} {text}: not a number"));
            match word.as_str() {
                "--seed" => wanted.seed = Some(number(value()?)?),
                "--seeds" => wanted.seeds = Some(number(value()?)?),
                "--plan" => wanted.plan = Some(PathBuf::from(value()?)),
                other => return Err(format!("unknown argument {other:?}")),
            }
        }
        Ok(wanted)
    }
}
