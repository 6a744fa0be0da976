//! The layer rules: what may depend on what, and what may be used where.
//!
//! Every rule is a function over text that is handed in, so that each has its tests here; only
//! [`check`] looks at the workspace.

use crate::cargo::{output_of, root};
use crate::source;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Each crate and the crates of ours it may depend on. A crate that is not listed is a fault, so that a
/// new one is placed on purpose.
const LAYERS: &[(&str, &[&str])] = &[
    ("engine", &[]),
    ("lease", &[]),
    ("protocol", &["engine"]),
    ("store", &["engine"]),
    ("disk", &["lease"]),
    ("hub", &["engine", "protocol", "store", "disk"]),
    ("net", &["engine", "protocol", "hub"]),
    ("local", &["protocol", "hub"]),
    ("cli", &["engine", "protocol", "store", "lease", "disk", "hub", "net", "local"]),
    ("desktop", &["engine", "protocol", "net"]),
    ("sim", &["engine", "protocol", "store", "lease", "disk", "hub", "net", "local", "cli"]),
    ("bench", &["engine", "protocol", "store", "lease", "disk", "hub", "net", "local", "cli", "sim"]),
    ("xtask", &[]),
];

/// Crates that exist for tests and measurements only.
const NOT_PRODUCT: &[&str] = &["sim", "bench"];

/// Libraries that some layers must not have, tests excepted.
const FOREIGN: &[Foreign] = &[
    Foreign {
        layers: &["engine", "lease", "protocol", "store", "disk"],
        families: &["tokio", "async"],
        why: "no async below the hub",
    },
    Foreign {
        layers: &["engine"],
        families: &["serde"],
        why: "the engine's types are not serialisable; its encoding is its own",
    },
    Foreign {
        layers: &["engine", "protocol"],
        families: &["rand", "getrandom", "fastrand", "uuid", "chrono", "time"],
        why: "randomness and clocks are handed in",
    },
];

struct Foreign {
    layers: &'static [&'static str],
    /// The first parts of the libraries' names.
    families: &'static [&'static str],
    why: &'static str,
}

/// The crates in which `unsafe` may stand.
const UNSAFE: &[&str] = &["lease", "local"];

/// The crates that may use the file system directly. `lease` opens nothing: it is handed open files.
const FILES: &[&str] = &["disk", "store", "cli", "desktop", "lease", "sim", "bench", "xtask"];

/// The crates that are pure: no clock, no randomness, no sockets.
const PURE: &[&str] = &["engine", "protocol"];

/// What the pure crates must not name, as `kind::leaf`. Types that only describe an address are no sockets.
const NOT_PURE: &[(&str, &str)] = &[
    ("Instant", "now"),
    ("SystemTime", "now"),
    ("rand", "rng"),
    ("net", "TcpStream"),
    ("net", "TcpListener"),
    ("net", "UdpSocket"),
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"];

/// Names that say nothing as a crate's name, though they may be a module's.
const EMPTY_CRATE_NAMES: &[&str] = &["core", "types"];

/// A crate of the workspace as its manifest describes it.
#[derive(Debug)]
struct Crate {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug)]
struct Dependency {
    name: String,
    only_for_tests: bool,
}

/// Checks the whole workspace and returns what is wrong.
pub fn check() -> Result<Vec<String>, String> {
    let metadata = output_of(&["metadata", "--no-deps", "--offline", "--format-version", "1"])?;
    let mut faults = Vec::new();
    for each in crates_of(&metadata)? {
        faults.extend(dependency_faults(&each));
    }
    let files = rust_files(root())?;
    let tests = test_files(&files);
    for (path, text) in &files {
        faults.extend(name_faults(path));
        faults.extend(source_faults(path, text, tests.contains(path)));
    }
    Ok(faults)
}

/// Reads what `cargo metadata --no-deps` prints.
fn crates_of(metadata: &str) -> Result<Vec<Crate>, String> {
    let metadata: serde_json::Value =
        serde_json::from_str(metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let mut crates = Vec::new();
    for package in packages {
        let mut dependencies = Vec::new();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let name = dependency["name"].as_str().unwrap_or_default().to_owned();
            dependencies.push(Dependency { name, only_for_tests: dependency["kind"] == "dev" });
        }
        let name = package["name"].as_str().unwrap_or_default();
        let name = name.strip_prefix("syncline-").unwrap_or(name).to_owned();
        crates.push(Crate { name, dependencies });
    }
    Ok(crates)
}

/// What is wrong with one crate's dependencies.
fn dependency_faults(each: &Crate) -> Vec<String> {
    let name = each.name.as_str();
    let Some(allowed) = allowed_below(name) else {
        return vec![format!("crate `{name}` is not in the table of layers (xtask/src/layers.rs)")];
    };
    let mut faults = Vec::new();
    if EMPTY_CRATE_NAMES.contains(&name) || EMPTY_NAMES.contains(&name) {
        faults.push(format!("crate `{name}`: the name says nothing about what is inside"));
    }
    for dependency in &each.dependencies {
        if let Some(ours) = dependency.name.strip_prefix("syncline-") {
            // A crate's tests may use what the crates below it use, and never what is above.
            let reachable = if dependency.only_for_tests { reachable_from(name) } else { allowed.clone() };
            // A crate's tests may ask for the crate itself once more, with a feature that only tests use.
            if dependency.only_for_tests && ours == name {
                continue;
            }
            if NOT_PRODUCT.contains(&ours) && !NOT_PRODUCT.contains(&name) {
                faults.push(format!("crate `{name}` depends on `{ours}`, which is no part of the product"));
            } else if !reachable.contains(ours) {
                faults.push(format!("crate `{name}` must not depend on `{ours}`"));
            }
            continue;
        }
        for foreign in FOREIGN {
            let banned = foreign.families.iter().any(|family| is_of_family(&dependency.name, family));
            if banned && foreign.layers.contains(&name) && !dependency.only_for_tests {
                let (library, why) = (&dependency.name, foreign.why);
                faults.push(format!("crate `{name}` must not depend on `{library}`: {why}"));
            }
        }
    }
    faults
}

fn allowed_below(name: &str) -> Option<BTreeSet<&'static str>> {
    let (_, allowed) = LAYERS.iter().find(|(layer, _)| *layer == name)?;
    Some(allowed.iter().copied().collect())
}

fn reachable_from(name: &str) -> BTreeSet<&'static str> {
    let mut reachable = BTreeSet::new();
    let mut open: Vec<&'static str> = allowed_below(name).into_iter().flatten().collect();
    while let Some(next) = open.pop() {
        if reachable.insert(next) {
            open.extend(allowed_below(next).into_iter().flatten());
        }
    }
    reachable
}

/// `tokio-util` and `tokio_util` are of the family `tokio`, `tokiox` is not.
fn is_of_family(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

/// What is wrong with the names in a file's path.
fn name_faults(path: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    for part in path.iter() {
        let stem = Path::new(part).file_stem().unwrap_or(part).to_string_lossy();
        if EMPTY_NAMES.contains(&&*stem) {
            faults.push(format!("{}: `{stem}` says nothing about what is inside", path.display()));
        }
    }
    faults
}

/// What is wrong with one source file. `only_for_tests` says that the whole file is test code.
fn source_faults(path: &Path, text: &str, only_for_tests: bool) -> Vec<String> {
    let layer = layer_of(path);
    let code = source::code(text);
    let product = if only_for_tests { String::new() } else { source::without_tests(&code) };
    let mut faults = Vec::new();
    let mut fault = |line: usize, what: &str| faults.push(format!("{}:{line}: {what}", path.display()));

    if !UNSAFE.contains(&layer.as_str()) {
        for at in source::words(&code, "unsafe") {
            fault(source::line_of(&code, at), "`unsafe` outside the crates lease and local");
        }
    }
    if !FILES.contains(&layer.as_str()) {
        for family in ["std", "tokio"] {
            for line in source::path_uses(&product, family, "fs") {
                fault(line, "the file system outside disk, store, cli and desktop");
            }
        }
    }
    if PURE.contains(&layer.as_str()) {
        for (kind, leaf) in NOT_PURE {
            for line in source::path_uses(&product, kind, leaf) {
                fault(line, "clocks, randomness and sockets are not for engine and protocol: hand them in");
            }
        }
    }
    for at in unbounded_channels(&product) {
        fault(source::line_of(&product, at), "an unbounded channel: every queue has a limit");
    }
    faults
}

/// Where channels without a limit are made or named: tokio's and crossbeam's by their names, the
/// standard library's by being `channel()` without a capacity. A oneshot channel holds one value.
fn unbounded_channels(product: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for name in ["unbounded_channel", "UnboundedSender", "UnboundedReceiver"] {
        found.extend(source::words(product, name));
    }
    for name in ["unbounded", "channel"] {
        for at in source::words(product, name) {
            let before = product[..at].trim_end();
            let other = ["oneshot::", ".", "fn"].iter().any(|prefix| before.ends_with(*prefix));
            if !other && source::is_empty_call(product, at + name.len()) {
                found.push(at);
            }
        }
    }
    found
}

/// `crates/NAME/…` belongs to the layer NAME, anything else to the folder it is in.
fn layer_of(path: &Path) -> String {
    let mut parts = path.iter().map(|part| part.to_string_lossy().into_owned());
    let first = parts.next().unwrap_or_default();
    if first == "crates" { parts.next().unwrap_or_default() } else { first }
}

/// The files that are test code as a whole: those in `tests`, `benches` and `examples`, and the modules
/// that their parent declares under `#[cfg(test)]`.
fn test_files(files: &[(PathBuf, String)]) -> BTreeSet<PathBuf> {
    let mut roots = Vec::new();
    for (path, text) in files {
        let folder = folder_of_submodules(path);
        for module in source::test_modules(&source::code(text)) {
            roots.push(folder.join(format!("{module}.rs")));
            roots.push(folder.join(module));
        }
    }
    let in_test_folder =
        |path: &Path| path.iter().any(|part| part == "tests" || part == "benches" || part == "examples");
    let under_root = |path: &Path| roots.iter().any(|root| path.starts_with(root));
    let tests = files.iter().map(|(path, _)| path).filter(|path| in_test_folder(path) || under_root(path));
    tests.cloned().collect()
}

fn folder_of_submodules(path: &Path) -> PathBuf {
    let folder = path.parent().unwrap_or(Path::new(""));
    match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "main" | "mod") | None => folder.to_owned(),
        Some(stem) => folder.join(stem),
    }
}

/// All Rust files of the workspace's crates, by their path below the root.
fn rust_files(root: &Path) -> Result<Vec<(PathBuf, String)>, String> {
    let mut files = Vec::new();
    let mut open = vec![root.join("crates"), root.join("xtask")];
    while let Some(folder) = open.pop() {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "target") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text =
                    std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                let relative = path.strip_prefix(root).unwrap_or(&path).to_owned();
                files.push((relative, text));
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_crate(name: &str, dependencies: &[(&str, bool)]) -> Crate {
        let dependencies = dependencies
            .iter()
            .map(|(name, only_for_tests)| Dependency {
                name: (*name).to_owned(),
                only_for_tests: *only_for_tests,
            })
            .collect();
        Crate { name: name.to_owned(), dependencies }
    }

    fn faults_in(path: &str, text: &str) -> Vec<String> {
        source_faults(Path::new(path), text, false)
    }

    #[test]
    fn the_table_points_down_only() {
        let mut known: BTreeSet<&str> = BTreeSet::new();
        for (layer, allowed) in LAYERS {
            for below in *allowed {
                assert!(
                    known.contains(*below),
                    "`{layer}` names `{below}`, which is not above it in the table"
                );
            }
            known.insert(*layer);
        }
    }

    #[test]
    fn arrows_point_down_only() {
        assert!(dependency_faults(&a_crate("hub", &[("syncline-store", false)])).is_empty());
        assert_eq!(dependency_faults(&a_crate("store", &[("syncline-hub", false)])).len(), 1);
        assert_eq!(dependency_faults(&a_crate("net", &[("syncline-disk", false)])).len(), 1);
        assert_eq!(dependency_faults(&a_crate("engine", &[("syncline-protocol", true)])).len(), 1);
    }

    #[test]
    fn tests_may_reach_further_down() {
        assert!(dependency_faults(&a_crate("net", &[("syncline-disk", true)])).is_empty());
        assert!(dependency_faults(&a_crate("store", &[("syncline-store", true)])).is_empty());
        assert_eq!(dependency_faults(&a_crate("disk", &[("syncline-hub", true)])).len(), 1);
    }

    #[test]
    fn no_product_crate_depends_on_the_simulator() {
        assert_eq!(dependency_faults(&a_crate("cli", &[("syncline-sim", false)])).len(), 1);
        assert_eq!(dependency_faults(&a_crate("hub", &[("syncline-bench", true)])).len(), 1);
        assert!(dependency_faults(&a_crate("bench", &[("syncline-sim", false)])).is_empty());
    }

    #[test]
    fn a_crate_nobody_placed_is_a_fault() {
        assert_eq!(dependency_faults(&a_crate("gadget", &[])).len(), 1);
    }

    #[test]
    fn foreign_libraries_stay_out_of_the_layers_that_refuse_them() {
        assert_eq!(dependency_faults(&a_crate("engine", &[("serde_json", false)])).len(), 1);
        assert_eq!(dependency_faults(&a_crate("disk", &[("tokio-util", false)])).len(), 1);
        assert_eq!(dependency_faults(&a_crate("protocol", &[("getrandom", false)])).len(), 1);
        assert!(dependency_faults(&a_crate("engine", &[("serde_json", true)])).is_empty());
        assert!(dependency_faults(&a_crate("protocol", &[("serde_json", false)])).is_empty());
        assert!(dependency_faults(&a_crate("engine", &[("timeless", false)])).is_empty());
    }

    #[test]
    fn manifests_are_read_from_cargo_metadata() {
        let text = r#"{"packages": [{"name": "syncline-hub", "dependencies": [
            {"name": "syncline-store", "kind": null}, {"name": "proptest", "kind": "dev"}]}]}"#;
        let crates = crates_of(text).unwrap();
        assert_eq!(crates[0].name, "hub");
        assert!(!crates[0].dependencies[0].only_for_tests);
        assert!(crates[0].dependencies[1].only_for_tests);
        assert!(crates_of("{}").is_err());
        assert!(crates_of("no json").is_err());
    }

    #[test]
    fn unsafe_is_for_lease_and_local() {
        let text = "#![forbid(unsafe_code)]\n// unsafe is a word here\nfn f() { unsafe { g() } }";
        assert_eq!(faults_in("crates/hub/src/a.rs", text).len(), 1);
        assert!(faults_in("crates/hub/src/a.rs", text)[0].contains("a.rs:3:"));
        assert!(faults_in("crates/lease/src/lib.rs", text).is_empty());
        let in_tests = "#[cfg(test)]\nmod tests { fn f() { unsafe { g() } } }";
        assert_eq!(faults_in("crates/hub/src/a.rs", in_tests).len(), 1);
    }

    #[test]
    fn files_are_for_disk_store_and_cli() {
        for text in ["use std::fs;", "use std::{fs::File, io};", "tokio::fs::read(path).await"] {
            assert_eq!(faults_in("crates/net/src/a.rs", text).len(), 1, "{text}");
            assert!(faults_in("crates/disk/src/a.rs", text).is_empty(), "{text}");
            let in_tests = format!("#[cfg(test)]\nmod tests {{ {text} }}");
            assert!(faults_in("crates/net/src/a.rs", &in_tests).is_empty(), "{text}");
            assert!(source_faults(Path::new("crates/net/tests/a.rs"), text, true).is_empty(), "{text}");
        }
    }

    #[test]
    fn engine_and_protocol_have_no_clock_and_no_dice() {
        for text in [
            "let now = Instant::now();",
            "std::time::SystemTime::now()",
            "rand::rng()",
            "use std::net::{IpAddr, TcpStream};",
        ] {
            assert_eq!(faults_in("crates/engine/src/a.rs", text).len(), 1, "{text}");
            assert_eq!(faults_in("crates/protocol/src/a.rs", text).len(), 1, "{text}");
            assert!(faults_in("crates/hub/src/a.rs", text).is_empty(), "{text}");
        }
    }

    #[test]
    fn every_queue_has_a_limit() {
        for text in [
            "let (a, b) = mpsc::unbounded_channel();",
            "let (a, b) = std::sync::mpsc::channel();",
            "let (a, b) = mpsc::channel::<Vec<u8>>();",
            "let (a, b) = crossbeam_channel::unbounded();",
        ] {
            assert_eq!(faults_in("crates/hub/src/a.rs", text).len(), 1, "{text}");
            assert!(source_faults(Path::new("crates/hub/tests/a.rs"), text, true).is_empty(), "{text}");
        }
        for text in [
            "mpsc::channel(64)",
            "oneshot::channel()",
            "oneshot::channel::<u8>()",
            "fn channel() {}",
            "x.channel()",
        ] {
            assert!(faults_in("crates/hub/src/a.rs", text).is_empty(), "{text}");
        }
    }

    #[test]
    fn names_say_what_is_inside() {
        for path in ["crates/hub/src/utils.rs", "crates/hub/tests/common/mod.rs", "crates/manager/src/lib.rs"]
        {
            assert_eq!(name_faults(Path::new(path)).len(), 1, "{path}");
        }
        assert!(name_faults(Path::new("crates/hub/src/mirror.rs")).is_empty());
    }

    #[test]
    fn test_files_are_known_by_their_folder_or_their_declaration() {
        let files = [
            ("crates/hub/src/lib.rs", "#[cfg(test)]\nmod oracle;\nmod mirror;"),
            ("crates/hub/src/oracle.rs", ""),
            ("crates/hub/src/oracle/list.rs", ""),
            ("crates/hub/src/mirror.rs", "#[cfg(test)]\nmod cases;"),
            ("crates/hub/src/mirror/cases.rs", ""),
            ("crates/hub/tests/two_hubs.rs", ""),
        ]
        .map(|(path, text)| (PathBuf::from(path), text.to_owned()));
        let tests = test_files(&files);
        let mut names: Vec<_> = tests.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "crates/hub/src/mirror/cases.rs",
                "crates/hub/src/oracle.rs",
                "crates/hub/src/oracle/list.rs",
                "crates/hub/tests/two_hubs.rs"
            ]
        );
    }
}
