//! `serve`, `join` and `connect` over TLS, and what is refused without it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use support::{Running, eventually, folder, json, read, run, text};

/// What a person types at `connect`.
fn connect(arguments: &[&str], typed: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command
        .arg("connect")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that refuses does not read.
    let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn a_folder_is_served_joined_and_edited_over_tls() {
    let shared = folder(&[("a.txt", "one\n")]);
    let root = text(shared.path());
    let any = "127.0.0.1:0";
    let hub = Running::start(&["serve", root, "--listen", any, "--diffsync", any, "--tls"]);
    let ready = hub.until("it is ready", |line| line["join"].is_string());
    let (link, fingerprint) = (ready["join"].as_str().unwrap(), ready["tls"].as_str().unwrap());
    assert!(link.ends_with(&format!("&fp={fingerprint}")), "{link}");
    assert!(ready["content"].as_str().unwrap().starts_with("wss://"));
    let copy = folder(&[]);
    let joined = Running::start(&["join", link, text(copy.path())]);
    joined.until("it is complete", |line| line["synced"] == true);
    eventually("the file is there", || read(copy.path().join("a.txt")) == "one\n");

    let token = shared.path().join(".syncline/token");
    let lines = ready["diffsync"].as_str().unwrap();
    let arguments = [lines, "a.txt", "--token-file", text(&token)];
    let right = connect(&[&arguments[..], &["--fingerprint", fingerprint]].concat(), "insert $ two\nshow\n");
    assert_eq!(right, (Some(0), "one\ntwo\n".to_owned()));
    eventually("it came over", || read(copy.path().join("a.txt")) == "one\ntwo\n");
    let other = "ab".repeat(32);
    let wrong = connect(&[&arguments[..], &["--fingerprint", &other]].concat(), "insert $ three\n");
    assert_eq!(wrong.0, Some(2), "{wrong:?}");
    assert!(wrong.1.contains("not the one in the link"), "{wrong:?}");
    // A token's link has the fingerprint, too.
    let made = &json(&["token", "create", "--folder", root])[0];
    assert!(made["link"].as_str().unwrap().ends_with(&format!("&fp={fingerprint}")), "{made}");
    drop(hub);
    // The certificate is kept: the links stay good.
    let again = Running::start(&["serve", root, "--listen", any, "--tls"]);
    assert_eq!(again.until("it is ready", |line| line["join"].is_string())["tls"], fingerprint);
}

/// A certificate and its key, made by another hub.
fn certificate(into: &Path) {
    let other = folder(&[("x.txt", "")]);
    let hub = Running::start(&["serve", text(other.path()), "--listen", "127.0.0.1:0", "--tls"]);
    hub.until("it is ready", |line| line["join"].is_string());
    for name in ["key.pem", "certificate.pem"] {
        std::fs::copy(other.path().join(".syncline/tls").join(name), into.join(name)).unwrap();
    }
}

#[test]
fn a_new_certificate_is_used_without_a_restart() {
    let (shared, keys) = (folder(&[("a.txt", "one\n")]), folder(&[]));
    certificate(keys.path());
    let (file, key) = (keys.path().join("certificate.pem"), keys.path().join("key.pem"));
    let root = text(shared.path());
    let files = ["--tls-cert", text(&file), "--tls-key", text(&key)];
    let hub = Running::start(&[&["serve", root, "--listen", "127.0.0.1:0"][..], &files].concat());
    let first = hub.until("it is ready", |line| line["join"].is_string())["tls"].clone();
    let now = || json(&["status", root])[0]["tls"].clone();
    assert_eq!(now(), first);
    certificate(keys.path());
    eventually("the new one is used", || now() != first);
    let second = now();
    // What cannot be used is told, and changes nothing.
    std::fs::write(&key, "no key").unwrap();
    hub.until("it says so", |line| line["event"] == "trouble");
    hub.signal(Signal::HUP);
    hub.until("asked, it looks again", |line| line["event"] == "trouble");
    assert_eq!(now(), second);
}

#[test]
fn what_others_could_read_along_is_refused_with_a_hint() {
    let shared = folder(&[("a.txt", "one\n")]);
    let root = text(shared.path());
    for flags in [&["--listen", "0.0.0.0:0"][..], &["--listen", "127.0.0.1:0", "--diffsync", "[::]:0"]] {
        let refused = run(&[&["serve", root], flags].concat());
        assert_eq!(refused.status.code(), Some(2));
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("--tls") && said.contains("--insecure-public"), "{said}");
    }
    assert!(!shared.path().join(".syncline").exists(), "refused before anything is made");
    let waived = Running::start(&[
        "serve",
        root,
        "--listen",
        "0.0.0.0:0",
        "--insecure-public",
        "--host",
        "me.example",
    ]);
    let ready = waived.until("it is ready", |line| line["join"].is_string());
    assert!(ready["join"].as_str().unwrap().starts_with("syncline://me.example:"), "{ready}");
    assert!(ready["tls"].is_null());
}
