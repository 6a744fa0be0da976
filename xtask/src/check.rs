//! `cargo xtask check`: every step, one line each, and at the end what failed and what was skipped.

use crate::cargo::{self, cargo, program, root};
use crate::step::{self, Outcome, Report};
use crate::{architecture, layers, licences};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// A failed step's output is cut to this many lines, the last ones.
const SHOWN_LINES: usize = 200;

/// What was asked for on the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    quick: bool,
    full: bool,
    verbose: bool,
}

impl Options {
    /// Reads the command's flags.
    pub fn read(flags: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        for flag in flags {
            match *flag {
                "--quick" => options.quick = true,
                "--full" => options.full = true,
                "--verbose" => options.verbose = true,
                other => return Err(format!("check has no option `{other}`; see `cargo xtask --help`")),
            }
        }
        if options.quick && options.full {
            return Err("check is either --quick or --full".to_owned());
        }
        Ok(options)
    }
}

/// The scenarios that drive the real program, with the numbers that a check without `--full` has time for.
const SHORTENED: &[&[&str]] = &[
    &["programs", "--seconds", "20"],
    &["stale", "--tries", "5"],
    &["race", "--tries", "20"],
    &["kill9", "--tries", "8"],
    &["diskfaults", "--tries", "2"],
    &["fulldisk", "--tries", "1"],
    &["offline", "--tries", "30"],
    &["badnetwork", "--seconds", "3"],
    &["example"],
    &["diffsync", "--tries", "15"],
    &["local", "--tries", "2"],
    &["windows"],
    &["many", "--tries", "1000"],
];

struct Task {
    name: &'static str,
    quick: bool,
    run: fn(&Options) -> Report,
}

/// The steps in their order: what is quick to know comes first.
const TASKS: &[Task] = &[
    Task { name: "format", quick: true, run: format },
    Task { name: "layers", quick: true, run: |_| Report::of_result(layers::check()) },
    Task { name: "map", quick: true, run: |_| Report::of_result(architecture::check()) },
    Task { name: "clippy", quick: true, run: clippy },
    Task { name: "licences", quick: true, run: |_| Report::of_result(licences::check()) },
    Task { name: "tests", quick: true, run: test_suite },
    Task { name: "doc tests", quick: false, run: doc_tests },
    Task { name: "documentation", quick: false, run: documentation },
    Task { name: "advisories", quick: false, run: advisories },
    Task { name: "real programs", quick: false, run: real_programs },
];

/// Runs every step, however many fail, and says at the end what was not run.
pub fn run(options: &Options) -> ExitCode {
    let started = Instant::now();
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), Vec::new());
    for task in TASKS {
        if options.quick && !task.quick {
            skipped.push(format!("{}: left out by --quick", task.name));
            continue;
        }
        print!("{:<14} ", task.name);
        // Flushed so that a person sees which step is running; a closed pipe is no reason to stop checking.
        let _ = io::stdout().flush();
        let begun = Instant::now();
        let report = (task.run)(options);
        let seconds = begun.elapsed().as_secs_f64();
        match report.outcome {
            Outcome::Passed => {
                println!("ok      {seconds:7.1} s");
                passed += 1;
            }
            Outcome::Failed(text) => {
                println!("FAILED  {seconds:7.1} s");
                println!("{}", last_lines(&text, SHOWN_LINES));
                failed.push(task.name);
            }
            Outcome::Skipped(reason) => {
                println!("SKIPPED {seconds:7.1} s  {reason}");
                skipped.push(format!("{}: {reason}", task.name));
            }
        }
        skipped.extend(report.skipped.iter().map(|reason| format!("{}: {reason}", task.name)));
    }
    println!();
    let seconds = started.elapsed().as_secs_f64();
    println!("{passed} passed, {} failed, {} skipped in {seconds:.1} s", failed.len(), skipped.len());
    for name in &failed {
        println!("FAILED: {name}");
    }
    for reason in &skipped {
        println!("SKIPPED: {reason}");
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn format(options: &Options) -> Report {
    step::run(cargo(&["fmt", "--all", "--check"]), options.verbose)
}

fn clippy(options: &Options) -> Report {
    let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    step::run(cargo(&arguments), options.verbose)
}

/// Passed tests show their output too: a test that had to skip something says so there.
fn test_suite(options: &Options) -> Report {
    if cargo::has_subcommand("nextest") {
        let arguments = ["nextest", "run", "--workspace", "--success-output", "immediate"];
        return step::run(cargo(&arguments), options.verbose);
    }
    let arguments = ["test", "--workspace", "--lib", "--bins", "--tests", "--", "--show-output"];
    step::run(cargo(&arguments), options.verbose)
}

fn doc_tests(options: &Options) -> Report {
    step::run(cargo(&["test", "--doc", "--workspace"]), options.verbose)
}

fn documentation(options: &Options) -> Report {
    let mut command = cargo(&["doc", "--workspace", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    step::run(command, options.verbose)
}

/// Known vulnerabilities. Licences and sources are checked by the step `licences`, which needs nothing.
fn advisories(options: &Options) -> Report {
    if !cargo::has_subcommand("deny") {
        return Report::skipped("cargo-deny is not installed (cargo install cargo-deny)");
    }
    if !has_advisory_database() {
        let mut report =
            step::run(cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"]), options.verbose);
        report.skipped.push("no advisory database here (cargo deny fetch)".to_owned());
        return report;
    }
    step::run(cargo(&["deny", "--offline", "check"]), options.verbose)
}

fn has_advisory_database() -> bool {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let entries = home.and_then(|home| std::fs::read_dir(home.join("advisory-dbs")).ok());
    entries.is_some_and(|entries| entries.flatten().any(|entry| entry.path().is_dir()))
}

/// Drives the built program with vim, ed, nano, git, rsync and others; the script says itself which of
/// them are missing.
fn real_programs(options: &Options) -> Report {
    let python = program("python3", &["--version"]).output();
    if !python.is_ok_and(|output| output.status.success()) {
        return Report::skipped("python3 is not installed");
    }
    let built = step::run(
        cargo(&["build", "--package", "syncline-cli", "--package", "syncline-desktop"]),
        options.verbose,
    );
    if built.outcome != Outcome::Passed {
        return built;
    }
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let binary = root().join(folder).join("debug").join("syncline");
    let drive = |arguments: &[&str]| {
        let mut command = program("python3", &["tests/real_programs.py", "--bin"]);
        command.arg(&binary).args(arguments);
        step::run(command, options.verbose)
    };
    if options.full {
        return drive(&[]);
    }
    let mut report = Report::joined(SHORTENED.iter().map(|arguments| drive(arguments)));
    report.skipped.push("the scenario `big`, and the full numbers of the others (--full)".to_owned());
    report
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let hidden = lines.len().saturating_sub(count);
    let shown = lines[hidden..].join("\n");
    if hidden == 0 {
        shown
    } else {
        format!("[{hidden} earlier lines left out; --verbose shows all]\n{shown}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read() {
        assert_eq!(Options::read(&[]), Ok(Options::default()));
        assert_eq!(Options::read(&["--quick"]), Ok(Options { quick: true, ..Options::default() }));
        assert_eq!(Options::read(&["--full"]), Ok(Options { full: true, ..Options::default() }));
        let both = Options { quick: true, verbose: true, full: false };
        assert_eq!(Options::read(&["--verbose", "--quick"]), Ok(both));
        assert!(Options::read(&["--full", "--quick"]).is_err());
        assert!(Options::read(&["--fast"]).is_err_and(|message| message.contains("--fast")));
    }

    #[test]
    fn long_output_is_cut_and_says_so() {
        assert_eq!(last_lines("a\nb\n", 2), "a\nb");
        let cut = last_lines("a\nb\nc\n", 2);
        assert!(cut.starts_with("[1 earlier lines") && cut.ends_with("b\nc"), "{cut}");
    }

    #[test]
    fn every_step_has_its_own_name() {
        let names: std::collections::BTreeSet<&str> = TASKS.iter().map(|task| task.name).collect();
        assert_eq!(names.len(), TASKS.len());
    }
}
