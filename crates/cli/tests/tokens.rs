//! `syncline token`, with a hub that runs.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use support::{Running, eventually, folder, json, read, run, text};

/// A folder with one file, and the hub that serves it.
fn served() -> (tempfile::TempDir, Running) {
    let shared = folder(&[("a.txt", "one\n")]);
    let hub = Running::start(&["serve", text(shared.path()), "--listen", "127.0.0.1:0"]);
    hub.until("it is ready", |line| line["join"].is_string());
    (shared, hub)
}

#[test]
fn a_token_lets_join_until_it_is_revoked() {
    let (shared, _hub) = served();
    let root = text(shared.path());
    let made = &json(&["token", "create", "--folder", root, "--name", "ann"])[0];
    let (link, secret) = (made["link"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert!(link.contains(&format!("#k={secret}")), "{link}");
    let file = shared.path().join(".syncline/tokens.json");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!read(file).contains(secret), "the secret is not kept");
    let listed = &json(&["token", "list", "--folder", root])[0];
    assert_eq!((&listed["id"], &listed["standing"]), (&made["id"], &"valid".into()));

    let copy = folder(&[]);
    let joined = Running::start(&["join", link, text(copy.path())]);
    joined.until("it is complete", |line| line["synced"] == true);
    eventually("the file is there", || read(copy.path().join("a.txt")) == "one\n");
    json(&["token", "revoke", "ann", "--folder", root]);
    let (code, took) = joined.ended();
    assert_eq!(code, Some(2), "refused for good");
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Its copy stays, and it does not get in again.
    assert_eq!(read(copy.path().join("a.txt")), "one\n");
    let again = run(&["join", link, text(copy.path())]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("this token was revoked"), "{again:?}");
}

#[test]
fn a_link_is_read_from_standard_input() {
    let (shared, _hub) = served();
    let made = &json(&["token", "create", "--folder", text(shared.path())])[0];
    let copy = folder(&[]);
    let joined = Running::fed(&["join", "-", text(copy.path())], made["link"].as_str().unwrap());
    joined.until("it is complete", |line| line["synced"] == true);
}

#[test]
fn a_folder_is_not_joined_with_less_than_the_right_to_write_to_it() {
    let (shared, _hub) = served();
    let root = text(shared.path());
    for (arguments, said) in [
        (["--role", "read"], "may read and not change"),
        (["--document", "a.txt"], "this link is for one document, a.txt"),
    ] {
        let made = &json(&[&["token", "create", "--folder", root][..], &arguments].concat())[0];
        let copy = folder(&[]);
        let refused = run(&["join", made["link"].as_str().unwrap(), text(copy.path())]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&refused.stderr).contains(said), "{refused:?}");
        assert!(!copy.path().join("a.txt").exists());
    }
}

#[test]
fn a_list_of_tokens_that_others_can_read_stops_the_hub_at_its_start() {
    let (shared, hub) = served();
    let root = text(shared.path());
    drop(hub);
    json(&["token", "create", "--folder", root]);
    let file = shared.path().join(".syncline/tokens.json");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = run(&["serve", root, "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("chmod 600"), "{refused:?}");
}

#[test]
fn what_cannot_be_is_refused_with_a_hint() {
    let shared = folder(&[("a.txt", "one\n")]);
    let root = text(shared.path());
    let refused = run(&["token", "list", "--folder", root]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    std::fs::create_dir(shared.path().join(".syncline")).unwrap();
    for arguments in [
        &["create", "--document", "../b.txt"][..],
        &["create", "--role", "owner"],
        &["create", "--expires", "soon"],
        &["create", "--name", "two\nlines"],
        &["revoke", "nobody"],
    ] {
        let refused = run(&[&["token"], arguments, &["--folder", root]].concat());
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {refused:?}");
    }
    assert!(!shared.path().join(".syncline/tokens.json").exists());
}
