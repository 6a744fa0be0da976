//! Where the workspace is, and how Cargo is called from here.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The workspace's root folder.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// A program started in the workspace's root.
pub fn program(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(root());
    command
}

/// The Cargo that started this program.
pub fn cargo(arguments: &[&str]) -> Command {
    let name = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    program(&name, arguments)
}

/// Whether `cargo NAME` exists on this machine.
pub fn has_subcommand(name: &str) -> bool {
    let answer = cargo(&[name, "--version"]).output();
    answer.is_ok_and(|output| output.status.success())
}

/// What a Cargo command prints on standard output.
pub fn output_of(arguments: &[&str]) -> Result<String, String> {
    let shown = format!("cargo {}", arguments.join(" "));
    let output = cargo(arguments).output().map_err(|error| format!("{shown}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{shown}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{shown}: {error}"))
}

/// The machine's own target triple, as `rustc -vV` names it.
pub fn host() -> Result<String, String> {
    let output = program("rustc", &["-vV"]).output().map_err(|error| format!("rustc -vV: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
}

/// Replaces this process by `cargo run -p PACKAGE -- ARGUMENTS`, so that signals, the terminal and the
/// exit code are the program's own. Returns only when it could not be started.
pub fn become_program(package: &str, release: bool, arguments: &[&str]) -> Result<ExitCode, String> {
    let mut command = cargo(&["run", "--quiet", "--package", package]);
    if release {
        command.arg("--release");
    }
    let error = command.arg("--").args(arguments).exec();
    Err(format!("cannot start cargo: {error}"))
}

/// As [`become_program`], in release mode, for a package that is no part of the workspace but shares its target
/// folder.
pub fn become_outsider(manifest: &str, arguments: &[&str]) -> Result<ExitCode, String> {
    let mut command = cargo(&["run", "--quiet", "--release", "--manifest-path", manifest]);
    if std::env::var_os("CARGO_TARGET_DIR").is_none() {
        command.env("CARGO_TARGET_DIR", root().join("target"));
    }
    let error = command.arg("--").args(arguments).exec();
    Err(format!("cannot start cargo: {error}"))
}
