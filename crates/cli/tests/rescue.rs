//! Everything that was displaced is listed, and given back, without anything being overwritten.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{Running, eventually, folder, json, read, run, text};

/// What is listed of a path, the oldest first.
fn listed(arguments: &[&str]) -> Vec<Value> {
    json(&[&["rescue"], arguments].concat())
}

fn id_of(line: &Value) -> &str {
    line["id"].as_str().unwrap()
}

fn shown(id: &str, folder: &Path) -> Vec<u8> {
    let output = run(&["rescue", "show", id, text(folder)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The program says no, in one line with a hint, and exits 2.
fn refused(arguments: &[&str]) -> String {
    let output = run(&[&["rescue"], arguments].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(said.lines().count() >= 2, "a message and a hint: {said}");
    said
}

fn save(hub: &Running, path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("tmp~");
    fs::write(&beside, bytes).unwrap();
    fs::rename(&beside, path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    hub.until("the save is entered", |line| line["event"] == "saved" && line["path"] == name.as_str());
}

#[test]
fn what_was_saved_over_deleted_and_replaced_is_listed_and_given_back() {
    let shared = folder(&[("a.txt", "begin\nold line\nend\n"), ("b.txt", "other text\n")]);
    let old_bytes = [0xff, 0xfe, 0, 1, 2];
    fs::write(shared.path().join("c.bin"), old_bytes).unwrap();
    let root = shared.path();
    let [a, b, c] = ["a.txt", "b.txt", "c.bin"].map(|name| root.join(name));
    let hub = Running::start(&["serve", text(root), "--listen", "127.0.0.1:0"]);
    hub.until("it is ready", |line| line["join"].is_string());
    eventually("all files are shared", || json(&["status", text(root)])[0]["documents"] == 3);
    assert!(listed(&[text(root)]).is_empty(), "nothing is displaced yet");
    save(&hub, &a, b"begin\nnew line\nend\n");
    save(&hub, &c, &[0xff, 9]);
    fs::remove_file(&b).unwrap();
    hub.until("the deletion is known", |line| line["event"] == "deleted" && line["path"] == "b.txt");
    // The same whether a hub runs or not.
    let running = listed(&[text(root)]);
    drop(hub);
    let all = listed(&[text(root)]);
    assert_eq!(running, all);
    let of = |path: &str| -> Value {
        let found: Vec<_> = all.iter().filter(|line| line["path"] == path).collect();
        assert_eq!(found.len(), 1, "{path}: {all:?}");
        found[0].clone()
    };
    let (overwritten, deleted, replaced) = (of("a.txt"), of("b.txt"), of("c.bin"));
    assert_eq!(
        (&overwritten["how"], &overwritten["first_line"]),
        (&"overwritten".into(), &"old line".into())
    );
    assert_eq!((&deleted["how"], &deleted["first_line"]), (&"deleted".into(), &"other text".into()));
    assert_eq!((&replaced["how"], &replaced["amount"]), (&"replaced".into(), &5.into()));
    for line in [&overwritten, &deleted, &replaced] {
        assert!(line["time_ms"].as_u64().unwrap() > 1_600_000_000_000, "{line}");
        assert!(!line["author"].as_str().unwrap().is_empty(), "{line}");
    }
    assert_eq!(listed(&[text(&a)]), std::slice::from_ref(&overwritten), "one file's");
    assert_eq!(listed(&[text(root), "--since", "1d"]).len(), 3);
    assert_eq!(listed(&[text(root), "--newest", "1"])[1]["older"], 2);

    assert_eq!(shown(id_of(&overwritten), root), b"old line\n");
    assert_eq!(shown(id_of(&deleted), root), b"other text\n");
    assert_eq!(shown(id_of(&replaced), root), old_bytes);
    let whole = run(&["rescue", "show", &id_of(&overwritten)[..8], text(root), "--whole"]);
    assert_eq!(whole.stdout, b"begin\nold line\nend\n");

    // A deleted file comes back where it was; the others beside what is there now.
    let put = |line: &Value| {
        let done = json(&["rescue", "put", id_of(line), text(root)]);
        Path::new(done[0]["path"].as_str().unwrap()).to_owned()
    };
    assert_eq!(put(&deleted), b);
    assert_eq!(read(b.clone()), "other text\n");
    let beside = put(&deleted);
    assert_eq!(beside, root.join(format!("b.rescued-{}.txt", id_of(&deleted))), "b.txt is there again");
    assert_eq!(read(put(&overwritten)), "old line\n");
    assert_eq!(fs::read(put(&replaced)).unwrap(), old_bytes);
    assert_eq!(read(a.clone()), "begin\nnew line\nend\n", "nothing is overwritten");
    let elsewhere = root.join("elsewhere.txt");
    let arguments = ["put", id_of(&overwritten), text(root), "--whole", "--to", text(&elsewhere)];
    json(&[&["rescue"], &arguments[..]].concat());
    assert_eq!(read(elsewhere.clone()), "begin\nold line\nend\n");
    assert!(refused(&arguments).contains("elsewhere.txt"));
    assert!(refused(&["show", "ffffffffffff", text(root)]).contains("ffffffffffff"));
    refused(&["show", "1f", text(root)]);
    refused(&["show", "../../x", text(root)]);
    let nowhere = tempfile::tempdir().unwrap();
    refused(&[text(nowhere.path())]);
}

#[test]
fn what_lost_to_a_later_writer_is_listed_and_given_back() {
    let shared = folder(&[("a.txt", "begin\nend\n")]);
    let joined = folder(&[]);
    let serve =
        ["serve", text(shared.path()), "--listen", "127.0.0.1:0", "--on-conflict", "last-writer-wins"];
    let hub = Running::start(&serve);
    let link = hub.until("it is ready", |line| line["join"].is_string())["join"].as_str().unwrap().to_owned();
    let join = ["join", &link, text(joined.path()), "--on-conflict", "last-writer-wins"];
    let peer = Running::start(&join);
    peer.until("it is complete", |line| line["synced"] == true);
    // Neither knows of the other's line: one was saved while its hub did not run.
    drop(peer);
    save(&hub, &shared.path().join("a.txt"), b"begin\nearlier line\nend\n");
    fs::write(joined.path().join("a.txt"), "begin\nlater line\nend\n").unwrap();
    let peer = Running::start(&join);
    peer.until("it is complete", |line| line["synced"] == true);
    let [here, there] = [&shared, &joined].map(|place| place.path().join("a.txt"));
    eventually("one of them won", || {
        let text = read(here.clone());
        text == read(there.clone()) && text.contains("later") && !text.contains("earlier")
    });
    for root in [shared.path(), joined.path()] {
        eventually("it is in the journal", || !listed(&[text(root)]).is_empty());
        let all = listed(&[text(root)]);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!((&all[0]["how"], &all[0]["first_line"]), (&"lost".into(), &"earlier line".into()));
        assert_eq!(shown(id_of(&all[0]), root), b"earlier line\n");
    }
}
