//! What users of one machine, each with a copy of a document, can ask of its history.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{Running, eventually, folder, json, read, run, text};

/// A group of its own for each test.
fn group(name: &str) -> String {
    format!("{name}{}", std::process::id())
}

fn user(name: &str, group: &str, root: &Path) -> Running {
    let user = Running::start(&["local", name, "--group", group, "--dir", text(root)]);
    user.until("it is in step", |line| line["synced"] == true);
    user
}

fn users_of(lines: &[Value]) -> Vec<&str> {
    let mut users: Vec<&str> = lines.iter().filter_map(|line| line["user"].as_str()).collect();
    users.dedup();
    users
}

/// The program says no, in one line with a hint, and exits 2.
fn refused(arguments: &[&str]) -> String {
    let output = run(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(said.lines().count() >= 2, "a message and a hint: {said}");
    said
}

#[test]
fn each_users_history_is_found_from_the_folder_and_from_the_copy() {
    let shared = folder(&[]);
    let root = shared.path();
    let group = group("history");
    let running = [user("ann", &group, root), user("bob", &group, root)];
    let [ann, bob] = ["ann_doc.txt", "bob_doc.txt"].map(|name| root.join(name));
    let first = read(ann.clone());
    fs::write(&ann, format!("{first}by ann\n")).unwrap();
    eventually("bob has it", || read(bob.clone()).ends_with("by ann\n"));
    fs::write(&bob, format!("{first}by bob\n")).unwrap();
    eventually("ann has it", || {
        read(ann.clone()).ends_with("by bob\n") && read(ann.clone()) == read(bob.clone())
    });
    // The same whether hubs run or not.
    for runs in [true, false] {
        let status = json(&["status", text(root)]);
        assert_eq!(users_of(&status), ["ann", "bob"]);
        for one in &status {
            assert_eq!(one["running"], runs, "{one}");
            let name = one["user"].as_str().unwrap();
            assert_eq!(one["files"][0]["path"], format!("{name}_doc.txt").as_str());
        }
        assert_eq!(users_of(&json(&["status", text(root), "--user", "bob"])), ["bob"]);
        for verb in ["why", "log", "conflicts"] {
            let of_all = json(&[verb, text(root)]);
            if verb != "conflicts" {
                assert_eq!(users_of(&of_all), ["ann", "bob"], "{verb}");
                assert_eq!(users_of(&json(&[verb, text(&ann)])), ["ann"], "{verb}");
                assert_eq!(users_of(&json(&[verb, text(root), "--user", "bob"])), ["bob"], "{verb}");
            }
            assert!(refused(&[verb, text(root), "--user", "eve"]).contains("ann, bob"), "{verb}");
            let plain = String::from_utf8(run(&[verb, text(root)]).stdout).unwrap();
            assert!(plain.contains("ann:") && plain.contains("bob:"), "{verb}: {plain}");
        }
        let authors = |lines: Vec<Value>| -> Vec<String> {
            lines.iter().map(|line| line["author"].as_str().unwrap().to_owned()).collect()
        };
        let log = authors(json(&["log", text(&bob)]));
        assert!(
            log.iter().any(|author| author == "ann") && log.iter().any(|author| author == "bob"),
            "{log:?}"
        );
        if runs {
            running.iter().for_each(|user| user.signal(rustix::process::Signal::TERM));
            eventually("both have ended", || {
                json(&["status", text(root)]).iter().all(|one| one["running"] == false)
            });
        }
    }
    assert!(refused(&["why", text(&root.join("other.txt"))]).contains("ann, bob"));
}

#[test]
fn what_a_user_lost_is_listed_once_and_given_back_beside_the_copy() {
    let shared = folder(&[]);
    let root = shared.path();
    let group = group("rescue");
    let _running = [user("ann", &group, root), user("bob", &group, root)];
    let [ann, bob] = ["ann_doc.txt", "bob_doc.txt"].map(|name| root.join(name));
    let first = read(ann.clone());
    fs::write(&ann, format!("{first}one line\na line that will go\nanother line\n")).unwrap();
    eventually("bob has it", || read(bob.clone()).contains("will go"));
    fs::write(&ann, format!("{first}one line\nanother line\n")).unwrap();
    eventually("it is gone for bob", || !read(bob.clone()).contains("will go"));
    let entries = |arguments: &[&str]| json(&[&["rescue"], arguments].concat());
    let all = entries(&[text(root)]);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((&all[0]["author"], &all[0]["first_line"]), (&"ann".into(), &"a line that will go".into()));
    assert_eq!(entries(&[text(&ann)]), all);
    assert_eq!(entries(&[text(root), "--user", "bob"]), all);
    let id = all[0]["id"].as_str().unwrap();
    assert_eq!(run(&["rescue", "show", id, text(root)]).stdout, b"a line that will go\n");
    let put = json(&["rescue", "put", id, text(&bob)]);
    let path = Path::new(put[0]["path"].as_str().unwrap()).to_owned();
    assert_eq!(path, root.join(format!("bob_doc.rescued-{id}.txt")));
    assert_eq!(read(path), "a line that will go\n");
}

#[test]
fn a_copy_that_is_deleted_comes_back_by_itself() {
    let shared = folder(&[]);
    let root = shared.path();
    let ann = root.join("ann_doc.txt");
    let running = user("ann", &group("restore"), root);
    fs::write(&ann, "all there is\n").unwrap();
    running.until("the save is entered", |line| line["event"] == "saved");
    fs::remove_file(&ann).unwrap();
    eventually("it is there again", || read(ann.clone()) == "all there is\n");
    assert!(refused(&["restore", text(&ann)]).contains("ann_doc.txt is there"));
    // Of a folder with several copies it must be said which.
    let _bob = user("bob", &group("other"), root);
    assert!(refused(&["restore", text(root)]).contains("ann, bob"));
}

#[test]
fn a_folder_is_either_served_or_has_users_with_a_copy_each() {
    let shared = folder(&[]);
    let root = shared.path();
    let group = group("either");
    let serve = ["serve", text(root), "--listen", "127.0.0.1:0"];
    let local = ["local", "ann", "--group", &group, "--dir", text(root)];
    let locked = |arguments: &[&str]| {
        let output = run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(73), "{said}");
        assert!(said.lines().count() >= 2, "a message and a hint: {said}");
        said
    };
    let ann = user("ann", &group, root);
    assert!(locked(&serve).contains("syncline local"));
    assert!(
        locked(&["local", "bob", "--folder", "--group", &group, "--dir", text(root)])
            .contains("syncline local")
    );
    // Others with a copy are welcome.
    drop(user("bob", &group, root));
    drop(ann);
    let server = Running::start(&serve);
    server.until("it is ready", |line| line["join"].is_string());
    assert!(locked(&local).contains("process"));
    drop(server);
    user("ann", &group, root);
}
