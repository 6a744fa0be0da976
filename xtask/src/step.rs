//! One step of the check: a program run to its end, its output kept, what it skipped remembered.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;

/// How a step ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran and found nothing wrong.
    Passed,
    /// It ran and found something, or could not run though it should have.
    Failed(String),
    /// It could not run here; the reason is shown at the end.
    Skipped(String),
}

/// A step's outcome, and the parts of it that it left out itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// How the step ended.
    pub outcome: Outcome,
    /// What the step said it skipped (its lines that begin with `SKIPPED:`).
    pub skipped: Vec<String>,
}

impl Report {
    /// A step that did its own work and found these faults.
    pub fn of_faults(faults: &[String]) -> Self {
        let outcome = if faults.is_empty() { Outcome::Passed } else { Outcome::Failed(faults.join("\n")) };
        Self { outcome, skipped: Vec::new() }
    }

    /// A step that found faults, or could not look for them.
    pub fn of_result(result: Result<Vec<String>, String>) -> Self {
        Self::of_faults(&result.unwrap_or_else(|message| vec![message]))
    }

    /// Several runs as one step: it passed when all of them did, and has what each of them skipped.
    pub fn joined(reports: impl IntoIterator<Item = Self>) -> Self {
        let (mut faults, mut skipped) = (Vec::new(), Vec::new());
        for report in reports {
            match report.outcome {
                Outcome::Passed => {}
                Outcome::Failed(text) => faults.push(text),
                Outcome::Skipped(reason) => skipped.push(reason),
            }
            for reason in report.skipped {
                if !skipped.contains(&reason) {
                    skipped.push(reason);
                }
            }
        }
        Self { skipped, ..Self::of_faults(&faults) }
    }

    /// A step that cannot run here.
    pub fn skipped(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skipped(reason.into()), skipped: Vec::new() }
    }
}

/// Runs a program to its end. Its output is kept for the report and, when `show` is set, also printed
/// as it comes.
pub fn run(mut command: Command, show: bool) -> Report {
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return Report::of_faults(&[format!("cannot start {name}: {error}")]),
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // Both pipes are read at once: a program that fills one while we wait on the other would hang.
    let (output, errors) = thread::scope(|scope| {
        let errors = scope.spawn(move || drain(stderr, show));
        (drain(stdout, show), errors.join().unwrap_or_default())
    });
    let outcome = match child.wait() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(format!("{output}{errors}{name}: {status}")),
        Err(error) => Outcome::Failed(format!("{output}{errors}{name}: {error}")),
    };
    let mut skipped = skips_in(&output);
    skipped.extend(skips_in(&errors));
    Report { outcome, skipped }
}

fn drain<R: Read>(pipe: Option<R>, show: bool) -> String {
    let Some(pipe) = pipe else { return String::new() };
    let mut reader = BufReader::new(pipe);
    let mut kept = String::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return kept,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                if show {
                    print!("{text}");
                }
                kept.push_str(&text);
            }
        }
    }
}

fn skips_in(output: &str) -> Vec<String> {
    let reasons = output.lines().filter_map(|line| line.trim_start().strip_prefix("SKIPPED:"));
    reasons.map(|reason| reason.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_that_succeeds_passes() {
        let report = run(shell("echo fine"), false);
        assert_eq!(report, Report { outcome: Outcome::Passed, skipped: Vec::new() });
    }

    #[test]
    fn a_program_that_fails_is_shown_with_both_its_outputs() {
        let Outcome::Failed(text) = run(shell("echo one; echo two >&2; exit 3"), false).outcome else {
            panic!("exit code 3 must fail the step");
        };
        assert!(text.contains("one\n") && text.contains("two\n") && text.contains('3'), "{text}");
    }

    #[test]
    fn a_program_that_is_not_there_fails_and_is_named() {
        let Outcome::Failed(text) = run(Command::new("no-such-program-here"), false).outcome else {
            panic!("a missing program must fail the step");
        };
        assert!(text.contains("no-such-program-here"), "{text}");
    }

    #[test]
    fn much_output_on_both_pipes_does_not_hang() {
        let script = "i=0; while [ $i -lt 4000 ]; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; \
                      echo bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb >&2; i=$((i+1)); done";
        assert_eq!(run(shell(script), false).outcome, Outcome::Passed);
    }

    #[test]
    fn one_failed_run_fails_the_joined_step() {
        let runs = ["echo SKIPPED: vi", "echo SKIPPED: vi; exit 1", "echo fine"];
        let report = Report::joined(runs.map(|script| run(shell(script), false)));
        assert!(matches!(report.outcome, Outcome::Failed(_)));
        assert_eq!(report.skipped, ["vi"]);
        assert_eq!(Report::joined([run(shell("true"), false)]).outcome, Outcome::Passed);
    }

    #[test]
    fn skips_are_taken_from_the_output() {
        let report = run(shell("echo 'SKIPPED: nano: not installed'; echo done"), false);
        assert_eq!(report.skipped, ["nano: not installed"]);
    }
}
