//! `syncline doctor` on a real folder.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::os::unix::fs::PermissionsExt;

use support::{Running, folder, run, text};

/// What it finds: the exit code, and each check with its standing.
fn doctor(root: &str) -> (Option<i32>, Vec<(String, String)>) {
    let output = run(&["doctor", root, "--json"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let found = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let found = found
        .filter_map(|line| Some((line["check"].as_str()?.to_owned(), line["standing"].as_str()?.to_owned())));
    (output.status.code(), found.collect())
}

fn standing<'a>(found: &'a [(String, String)], check: &str) -> &'a str {
    &found.iter().find(|(name, _)| name == check).unwrap_or_else(|| panic!("no {check} in {found:?}")).1
}

#[test]
fn it_looks_at_everything_and_leaves_nothing() {
    let shared = folder(&[("a.txt", "one\n")]);
    let (_, found) = doctor(text(shared.path()));
    for check in [
        "hub",
        "events",
        "exchange",
        "leases",
        "names",
        "attributes",
        "watches",
        "durable write",
        "space",
        "open files",
        "clock",
        "message queues",
        "shared memory",
        "secrets",
    ] {
        standing(&found, check);
    }
    let names: Vec<_> =
        std::fs::read_dir(shared.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a.txt"]);
}

#[test]
fn it_finds_the_hub_that_runs_and_a_secret_that_is_none() {
    let shared = folder(&[("a.txt", "one\n")]);
    let root = text(shared.path());
    let hub = Running::start(&["serve", root, "--listen", "127.0.0.1:0"]);
    hub.until("it is ready", |line| line["join"].is_string());
    let output = run(&["doctor", root]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("runs on this folder, process"), "{output:?}");
    let token = shared.path().join(".syncline/token");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, found) = doctor(root);
    assert_eq!((code, standing(&found, "secrets")), (Some(1), "problem"));
}

#[test]
fn a_folder_that_is_not_there_is_said_so() {
    assert_eq!(run(&["doctor", "/no/such/folder"]).status.code(), Some(2));
}
