//! Keeps ARCHITECTURE.md in step with the tree: a heading for every crate, a crate for every heading,
//! and no file named there that does not exist.

use crate::cargo::root;
use std::collections::BTreeSet;

/// The section whose headings are the crates.
const CRATES_SECTION: &str = "## The crates";

/// A name with one of these endings is taken for a file's.
const FILE_ENDINGS: &[&str] = &[".rs", ".md", ".toml", ".py", ".sh"];

/// A name that begins with one of these is taken for a file's or a folder's.
const FOLDERS: &[&str] = &["crates/", "docs/", "tests/", "xtask/", "examples/", ".ci/"];

/// Checks the map against the workspace and returns what is wrong.
pub fn check() -> Result<Vec<String>, String> {
    let path = root().join("ARCHITECTURE.md");
    let map = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(faults(&map, &crate_folders()?, &|file: &str| root().join(file).exists()))
}

/// The names of the workspace's crates: the folders in `crates/`, and `xtask`.
fn crate_folders() -> Result<BTreeSet<String>, String> {
    let folder = root().join("crates");
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut names = BTreeSet::from(["xtask".to_owned()]);
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.path().join("Cargo.toml").exists() {
            names.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// What is wrong with the map, given the crates there are and a way to ask whether a file exists.
fn faults(map: &str, crates: &BTreeSet<String>, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    let mut headings: BTreeSet<String> = BTreeSet::new();
    let mut current = String::new();
    let (mut in_crates, mut in_block) = (false, false);
    for (index, line) in map.lines().enumerate() {
        if line.starts_with("```") {
            in_block = !in_block;
        }
        if in_block {
            continue;
        }
        if line.starts_with("## ") {
            in_crates = line.trim_end() == CRATES_SECTION;
            current.clear();
        }
        if let Some(heading) = line.strip_prefix("### ")
            && in_crates
        {
            current = heading.trim().trim_matches('`').to_owned();
            if !headings.insert(current.clone()) {
                faults.push(format!("ARCHITECTURE.md:{}: `{current}` has a second heading", index + 1));
            }
        }
        for file in files_named_in(line) {
            let places = [
                file.to_owned(),
                format!("{current}/{file}"),
                format!("{current}/src/{file}"),
                format!("crates/{current}/{file}"),
                format!("crates/{current}/src/{file}"),
            ];
            if !places.iter().any(|place| exists(place)) {
                faults.push(format!("ARCHITECTURE.md:{}: there is no file `{file}`", index + 1));
            }
        }
    }
    for name in crates.difference(&headings) {
        faults.push(format!("ARCHITECTURE.md: the crate `{name}` has no heading under \"{CRATES_SECTION}\""));
    }
    for name in headings.difference(crates) {
        faults.push(format!("ARCHITECTURE.md: the heading `{name}` has no crate"));
    }
    faults
}

/// The files a line names: in `code spans` that look like a file's name, and as targets of links.
fn files_named_in(line: &str) -> Vec<&str> {
    let spans = line.split('`').skip(1).step_by(2).filter(|span| looks_like_a_file(span));
    let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links = links.map(|target| target.split('#').next().unwrap_or(target));
    let links = links.filter(|target| !target.is_empty() && !target.contains("://"));
    spans.chain(links).collect()
}

fn looks_like_a_file(span: &str) -> bool {
    let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    let ending = FILE_ENDINGS.iter().any(|ending| span.len() > ending.len() && span.ends_with(ending));
    let folder = FOLDERS.iter().any(|folder| span.starts_with(folder));
    plain && (ending || folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(map: &str, crates: &[&str], files: &[&str]) -> Vec<String> {
        let crates: BTreeSet<String> = crates.iter().map(|name| (*name).to_owned()).collect();
        faults(map, &crates, &|file: &str| files.contains(&file))
    }

    #[test]
    fn the_map_of_this_workspace_is_true() {
        let faults = check().unwrap();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn every_crate_has_a_heading_and_every_heading_a_crate() {
        let map = "# Map\n## The crates\n### `engine`\n### hub\n## Other\n### Not a crate\n";
        assert!(found(map, &["engine", "hub"], &[]).is_empty());
        assert_eq!(found(map, &["engine", "hub", "net"], &[]).len(), 1);
        assert_eq!(found(map, &["engine"], &[]).len(), 1);
        assert_eq!(found("## The crates\n### hub\n### hub\n", &["hub"], &[]).len(), 1);
    }

    #[test]
    fn a_file_that_is_named_must_exist() {
        let map =
            "## The crates\n### hub\nSee `mirror.rs`, `docs/a.md`, [goals](GOALS.md#one) and `a.b()`.\n";
        assert!(found(map, &["hub"], &["crates/hub/src/mirror.rs", "docs/a.md", "GOALS.md"]).is_empty());
        assert_eq!(found(map, &["hub"], &["docs/a.md", "GOALS.md"]).len(), 1);
        assert_eq!(found(map, &["hub"], &["crates/hub/src/mirror.rs"]).len(), 2);
    }

    #[test]
    fn diagrams_and_addresses_name_no_files() {
        let map = "## The crates\n```\n`nothing.rs` ### x\n```\n[site](https://example.org/a.md) `std::fs` `*.rs`\n";
        assert!(found(map, &[], &[]).is_empty());
    }
}
