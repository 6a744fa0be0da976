//! The program as a person or a script calls it: exit codes, messages, JSON lines.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn syncline(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.args(words).stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    command
}

/// Runs to the end.
fn run(words: &[&str]) -> Output {
    syncline(words).output().unwrap()
}

/// Exit code, what was said, and the one JSON line with the error.
fn failed(words: &[&str]) -> (i32, String, Value) {
    let output = run(&[&["--json"], words].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!error.contains("panicked"), "{error}");
    let line = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap(), error, line)
}

/// A hub that runs until it is dropped.
struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(words: &[&str]) -> Running {
        let mut child = syncline(&[&["--json"], words].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Running { child, lines }
    }

    /// The next line with this key.
    fn line_with(&mut self, key: &str) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "it ended before it said {key:?}");
            let value: Value = serde_json::from_str(&line).expect("every line is JSON");
            if value.get(key).is_some() {
                return value;
            }
        }
    }

    fn id(&self) -> u64 {
        u64::from(self.child.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text_of(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn what_serve_says_works_and_a_second_hub_is_told_of_the_first() {
    let place = tempfile::tempdir().unwrap();
    let folder = text_of(&place.path().join("notes"));
    fs::create_dir(&folder).unwrap();
    fs::write(format!("{folder}/a.txt"), "text\n").unwrap();
    let mut hub = Running::start(&["serve", &folder, "--listen", "127.0.0.1:0"]);
    let ready = hub.line_with("join");
    for key in ["join", "content", "ws", "token"] {
        assert!(ready[key].is_string(), "{key}: {ready}");
    }
    assert!(!ready["content"].as_str().unwrap().contains('?'), "no secret in a query: {ready}");
    let (code, said, line) = failed(&["serve", &folder, "--listen", "127.0.0.1:0"]);
    assert_eq!((code, line["exit"].as_u64(), line["pid"].as_u64()), (73, Some(73), Some(hub.id())), "{said}");
    assert!(said.contains(&hub.id().to_string()), "{said}");
    // The secrets are for their owner.
    let token = format!("{folder}/.syncline/token");
    assert_eq!(fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    let status = json_of(&run(&["--json", "status", &folder]));
    assert_eq!((status["running"].as_bool(), status["pid"].as_u64()), (Some(true), Some(hub.id())));
    assert_eq!(status["files"][0]["path"], "a.txt");
    drop(hub);
    let status = json_of(&run(&["--json", "status", &folder]));
    assert_eq!((status["running"].as_bool(), status["documents"].as_u64()), (Some(false), Some(1)));
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said, _) = failed(&["serve", &folder, "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 2);
    assert!(said.contains("read by others") && said.contains("chmod 600"), "{said}");
}

#[test]
fn join_into_a_folder_with_files_says_so_and_keeps_what_both_had() {
    let place = tempfile::tempdir().unwrap();
    let [served, joined] = ["served", "joined"].map(|name| place.path().join(name));
    for (folder, own, common) in
        [(&served, "there.txt", "both\nserved\n"), (&joined, "here.txt", "both\njoined\n")]
    {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join(own), "mine\n").unwrap();
        fs::write(folder.join("common.txt"), common).unwrap();
    }
    let mut hub = Running::start(&["serve", &text_of(&served), "--listen", "127.0.0.1:0"]);
    let link = hub.line_with("join")["join"].as_str().unwrap().to_owned();
    let mut joining = Running::start(&["join", &link, &text_of(&joined)]);
    let merging = joining.line_with("event");
    assert_eq!((merging["event"].as_str(), merging["files"].as_u64()), (Some("merging"), Some(2)));
    let synced = joining.line_with("synced");
    assert_eq!((synced["synced"].as_bool(), synced["unwritten"].as_u64()), (Some(true), Some(0)));
    let status = json_of(&run(&["--json", "status", &text_of(&joined)]));
    assert_eq!(status["role"], "joined");
    assert!(status["link"].as_str().unwrap().starts_with("up"), "{status}");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let same = |name: &str, of: &Path| fs::read_to_string(of.join(name)).unwrap_or_default();
    loop {
        let all = ["here.txt", "there.txt"].iter().all(|name| same(name, &served) == same(name, &joined));
        let (one, other) = (same("common.txt", &served), same("common.txt", &joined));
        let union = ["both\n", "served\n", "joined\n"].iter().all(|line| one.matches(line).count() == 1);
        if all && union && one == other && same("here.txt", &served) == "mine\n" {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{one:?} {other:?}");
        std::thread::yield_now();
    }
}

#[test]
fn wrong_use_exits_2_with_a_hint_and_makes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let folder = text_of(place.path());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let missing = format!("{folder}/no such folder");
    let missing_file = format!("{folder}/none.txt");
    let cases: &[&[&str]] = &[
        &["serve", &folder, "--listen", "0.0.0.0:0"],
        &["serve", &folder, "--listen", &taken],
        &["serve", &folder, "--diffsync", "[::]:0"],
        &["join", "no link", &missing],
        &["join", "syncline://127.0.0.1/", &missing],
        &["status", &missing],
        &["status", &missing_file],
        &["status", &folder],
        &["deletions", "pass-on", &missing],
        &["log", &missing_file],
        &["why", &missing_file],
    ];
    for words in cases {
        let (code, said, line) = failed(words);
        assert_eq!((code, line["exit"].as_i64()), (2, Some(2)), "{words:?}: {said}");
        assert!(
            said.starts_with("syncline: ") && said.lines().count() >= 2,
            "a message and a hint: {said:?}"
        );
        assert!(!Path::new(&missing).exists() && !Path::new(&missing_file).exists(), "{words:?}");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let commands = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let names: Vec<&str> = commands
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| {
            line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split_whitespace().next()
        })
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 8, "{help}");
    for name in names {
        let output = run(&[name, "--help"]);
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && help.contains("syncline "), "{name}: {help}");
        assert!(help.contains("Example"), "{name} has no example:\n{help}");
    }
}

#[test]
fn interrupted_it_ends_at_once_and_with_success() {
    let place = tempfile::tempdir().unwrap();
    let mut hub = Running::start(&["serve", &text_of(place.path()), "--listen", "127.0.0.1:0"]);
    hub.line_with("join");
    assert!(Command::new("kill").args(["-TERM", &hub.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    hub.lines.read_to_string(&mut rest).unwrap();
    assert!(hub.child.wait().unwrap().success());
}
