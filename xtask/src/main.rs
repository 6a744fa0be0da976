//! The project's own commands: `cargo xtask check`, `demo`, `bench`, `sim` and `package`.
//!
//! Everything that has to hold for a change to be accepted is one command here, so that a person, a
//! script and a build machine run exactly the same thing.

mod architecture;
mod cargo;
mod check;
mod demo;
mod layers;
mod licences;
mod package;
mod source;
mod step;

use std::process::ExitCode;

const HELP: &str = "\
The project's own commands.

    cargo xtask check [--quick | --full] [--verbose]
        Everything that must hold: format, clippy with warnings denied, layer rules, the map,
        licences, tests, doc tests, documentation, advisories, and the script that drives the real
        program with real editors. What cannot run here is listed as SKIPPED, never left out silently.
        --quick    only format, clippy, layers, map, licences and tests
        --full     the real programs with their full numbers and the 50 MB file: half an hour more
        --verbose  show each step's output as it comes, not only when the step fails

    cargo xtask demo
        Builds Syncline and serves a folder of sample files until Ctrl-C.

    cargo xtask bench NAME [ARGUMENT...]
        Runs one benchmark in release mode: `files`, `diffsync`, `local` or `engine`, which compares ours with
        other engines (a package outside the workspace, whose first build takes minutes).

    cargo xtask sim --seeds N [--seed S]
        Runs the simulator over N seeds, or one seed again.

    cargo xtask package [--dev]
        Builds the program in release mode (--dev: as tests do, in less time) and puts it into a tar archive
        in target/package, with manual pages, shell completions, the systemd unit and the licences.

    cargo xtask --help
        This text.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        [] | ["help" | "--help" | "-h", ..] => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        ["check", flags @ ..] => check::Options::read(flags).map(|options| check::run(&options)),
        ["demo"] => demo::run(),
        ["bench"] => Err("bench needs the name of a benchmark, for example `cargo xtask bench files`".into()),
        ["bench", "engine", rest @ ..] => cargo::become_outsider("crates/bench/peers/Cargo.toml", rest),
        ["bench", rest @ ..] => cargo::become_program("syncline-bench", true, rest),
        ["package"] => package::run(true),
        ["package", "--dev"] => package::run(false),
        ["sim", rest @ ..] => cargo::become_program("syncline-sim", false, rest),
        [other, ..] => Err(format!("there is no command `{other}`; see `cargo xtask --help`")),
    };
    outcome.unwrap_or_else(|message| {
        eprintln!("xtask: {message}");
        ExitCode::from(2)
    })
}
