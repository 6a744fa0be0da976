//! `cargo xtask package`: the program and all that belongs to it, in one archive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::cargo::{cargo, host, program, root};

/// Each shell, and where its completions belong below `/usr`.
const SHELLS: &[(&str, &str)] = &[
    ("bash", "share/bash-completion/completions/syncline"),
    ("zsh", "share/zsh/site-functions/_syncline"),
    ("fish", "share/fish/vendor_completions.d/syncline.fish"),
];

/// Files of the workspace, and where they belong below `/usr`.
const FILES: &[(&str, &str)] = &[
    ("packaging/syncline@.service", "lib/systemd/system/syncline@.service"),
    ("README.md", "share/doc/syncline/README.md"),
    ("CHANGELOG.md", "share/doc/syncline/CHANGELOG.md"),
    ("LICENSE-MIT", "share/doc/syncline/LICENSE-MIT"),
    ("LICENSE-APACHE", "share/doc/syncline/LICENSE-APACHE"),
];

/// Builds the archive and says where it is.
///
/// # Errors
/// What went wrong, in a sentence.
pub fn run(release: bool) -> Result<ExitCode, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let profile = if release { "release" } else { "dev" };
    succeed(&mut cargo(&["build", "--locked", "--profile", profile, "--package", "syncline-cli"]))?;
    let binary = target.join(if release { "release" } else { "debug" }).join("syncline");
    let name = format!("syncline-{}-{}", version(&binary)?, host()?);
    let package = target.join("package");
    let tree = package.join(&name);
    if tree.exists() {
        fs::remove_dir_all(&tree).map_err(|error| format!("{}: {error}", tree.display()))?;
    }
    fill(&tree, &binary)?;
    let archive = package.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    // The same files give the same archive: no owners, and one order.
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "-czf"]);
    succeed(tar.arg(&archive).arg("-C").arg(&package).arg(&name))?;
    println!("{}", archive.display());
    Ok(ExitCode::SUCCESS)
}

/// Puts everything where it belongs below `/usr`.
fn fill(tree: &Path, binary: &Path) -> Result<(), String> {
    copy(binary, &tree.join("bin/syncline"))?;
    for (from, to) in FILES {
        copy(&root().join(from), &tree.join(to))?;
    }
    for (shell, to) in SHELLS {
        let output = Command::new(binary).args(["completions", shell]).output();
        let output = output.map_err(|error| format!("{}: {error}", binary.display()))?;
        if !output.status.success() || output.stdout.is_empty() {
            return Err(format!("no completions for {shell}"));
        }
        let to = made_room_for(&tree.join(to))?;
        fs::write(&to, output.stdout).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    succeed(Command::new(binary).arg("man-pages").arg(tree.join("share/man/man1")))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let to = made_room_for(to)?;
    fs::copy(from, &to).map(drop).map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}

/// The same path, in a folder that exists.
fn made_room_for(path: &Path) -> Result<PathBuf, String> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.map(|()| path.to_owned()).map_err(|error| format!("{}: {error}", path.display()))
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let status = command.status().map_err(|error| format!("{shown}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown} failed")) }
}

/// What the program says of itself.
fn version(binary: &Path) -> Result<String, String> {
    let output = program(&binary.to_string_lossy(), &["--version"]).output();
    let output = output.map_err(|error| format!("{}: {error}", binary.display()))?;
    version_in(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| "it has no version".to_owned())
}

fn version_in(text: &str) -> Option<String> {
    let version = text.trim().strip_prefix("syncline ")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
    (!version.is_empty() && version.chars().all(plain)).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_version() {
        assert_eq!(version_in("syncline 0.1.0\n").as_deref(), Some("0.1.0"));
        for wrong in ["", "syncline", "syncline ", "other 1.0", "syncline ../x"] {
            assert_eq!(version_in(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn everything_that_is_packed_exists() {
        for (from, _) in FILES {
            assert!(root().join(from).is_file(), "{from}");
        }
    }

    /// The unit starts the program as the package installs it, and with flags that it has.
    #[test]
    fn the_unit_starts_what_is_packed() {
        let unit = fs::read_to_string(root().join("packaging/syncline@.service")).unwrap();
        assert!(unit.contains("ExecStart=/usr/bin/syncline serve %f $SYNCLINE_FLAGS"));
        let flags = unit.lines().find_map(|line| line.strip_prefix("Environment=SYNCLINE_FLAGS=")).unwrap();
        let arguments = fs::read_to_string(root().join("crates/cli/src/args.rs")).unwrap();
        for flag in flags.trim_matches('"').split(' ').filter_map(|word| word.strip_prefix("--")) {
            assert!(arguments.contains(&format!(" {flag}: ")), "{flag}");
        }
    }
}
