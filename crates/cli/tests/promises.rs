//! What is promised of the program as a whole: secrets are said once, and what was deleted can be had back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Running, eventually, folder, json, read, text};

#[test]
fn secrets_are_said_in_the_first_line_and_never_logged() {
    let shared = folder(&[("a.txt", "text\n")]);
    let mut serve = Command::new(env!("CARGO_BIN_EXE_syncline"));
    serve.args(["serve", text(shared.path()), "--listen", "127.0.0.1:0", "--json"]);
    // Everything that may be said is said.
    serve.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1").stdin(Stdio::null());
    let mut hub = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(hub.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let ready: Value = serde_json::from_str(&first).unwrap();
    let said = |key: &str| ready[key].as_str().unwrap().to_owned();
    let (token, content, link) = (said("token"), said("content"), said("join"));
    let capability = content.rsplit('/').next().unwrap().to_owned();
    let address = content.split('/').nth(2).unwrap().to_owned();

    // People come with the right secret and with wrong ones, and one of them sends nonsense.
    let joined = folder(&[]);
    let peer = Running::start(&["join", &link, text(joined.path())]);
    peer.until("it is complete", |line| line["synced"] == true);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let hello = format!("{{\"type\":\"hello\",\"token\":\"{token}\",\"nonsense\"");
    for path in [format!("/content/{capability}"), format!("/content?token={token}"), format!("/{token}")] {
        let mut socket = TcpStream::connect(&address).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n{hello}").unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1"), "{path}");
    }
    drop(peer);
    let pid = rustix::process::Pid::from_child(&hub);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    lines.read_to_string(&mut out).unwrap();
    hub.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    hub.wait().unwrap();
    for secret in [token, capability] {
        assert!(secret.len() > 20, "a secret can be looked for: {secret}");
        assert!(first.contains(&secret));
        assert!(!out.contains(&secret) && !err.contains(&secret), "{out}{err}");
    }
}

#[test]
fn a_deleted_file_is_had_back() {
    let shared = folder(&[("a.txt", "text\n"), ("b.txt", "other\n")]);
    let hub = Running::start(&["serve", text(shared.path()), "--listen", "127.0.0.1:0"]);
    hub.until("it is ready", |line| line["join"].is_string());
    let file = shared.path().join("a.txt");
    std::fs::remove_file(&file).unwrap();
    hub.until("the deletion is known", |line| line["event"] == "deleted" && line["path"] == "a.txt");
    let answer = json(&["restore", text(&file)]);
    assert_eq!(answer[0]["ok"], true, "{answer:?}");
    eventually("it is back", || read(file.clone()) == "text\n");
}

#[test]
fn texts_versions_and_times_can_be_asked_with_sql() {
    let shared = folder(&[("a.txt", "one\n"), ("b.md", "two\n")]);
    let elsewhere = tempfile::tempdir().unwrap();
    let database = elsewhere.path().join("documents.db");
    let serving = Running::start(&["serve", text(shared.path()), "--listen", "127.0.0.1:0"]);
    serving.until("it is ready", |line| line.get("join").is_some());
    std::fs::write(shared.path().join("a.txt"), "né\n").unwrap();
    let asked = || {
        let exported = json(&["export", text(&database), text(shared.path())]);
        assert_eq!(exported[0]["exported"], 2);
        let connection = rusqlite::Connection::open(&database).unwrap();
        let sql = "SELECT path, text, version, changed_ms > 1700000000000, changed_at LIKE '20%Z' FROM documents ORDER BY path";
        let mut statement = connection.prepare(sql).unwrap();
        let row = |row: &rusqlite::Row<'_>| {
            let known = row.get::<_, bool>(3)? && row.get::<_, bool>(4)?;
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, known))
        };
        statement.query_map([], row).unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    eventually("the save is in it", || asked()[0].1 == "né\n");
    let rows = asked();
    assert_eq!((rows[0].0.as_str(), rows[1].0.as_str()), ("a.txt", "b.md"));
    assert!(rows.iter().all(|(_, _, version, known)| *version > 0 && *known), "{rows:?}");
    // What would be shared, or would replace somebody's file, is refused.
    for (place, code) in [(shared.path().join("x.db"), 2), (elsewhere.path().join("letter"), 1)] {
        std::fs::write(elsewhere.path().join("letter"), "dear").unwrap();
        let refused = support::run(&["export", text(&place), text(shared.path())]);
        assert_eq!(refused.status.code(), Some(code), "{}", place.display());
    }
    assert_eq!(std::fs::read(elsewhere.path().join("letter")).unwrap(), b"dear");
}
