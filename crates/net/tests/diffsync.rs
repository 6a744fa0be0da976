//! `diffsync` over TCP and WebSocket against a real hub on a real folder, with the protocol's own client.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::time::Duration;

use support::{PATIENCE, Served, eventually, serve_folder, token};
use syncline_engine::Edit;
use syncline_protocol::diffsync::{Client, ClientInput, ClientOutput, SessionId, Settings};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// The protocol's client with a real connection.
struct Typist {
    client: Client,
    wire: Option<BufReader<TcpStream>>,
    started: Instant,
    compress: bool,
    said: Vec<ClientOutput>,
}

impl Typist {
    fn new(session: u8, compress: bool) -> Typist {
        let auth = Some(token().secret());
        let settings = Settings {
            session: SessionId([session; 16]),
            doc: Some("a.txt".into()),
            auth,
            name: Some("typist".into()),
            compress,
            // Some wait for news, others are poked.
            wait: compress,
        };
        Typist { client: Client::new(settings), wire: None, started: Instant::now(), compress, said: vec![] }
    }

    async fn dial(&mut self, served: &Served) {
        self.client.handle(ClientInput::Disconnected, self.started.elapsed());
        self.wire = Some(BufReader::new(TcpStream::connect(served.lines).await.unwrap()));
        self.input(ClientInput::Connected).await;
        self.until("open", |client| client.is_live()).await;
    }

    async fn input(&mut self, input: ClientInput) {
        for output in self.client.handle(input, self.started.elapsed()) {
            match output {
                ClientOutput::Send(mut text) => {
                    text.push('\n');
                    self.wire.as_mut().unwrap().get_mut().write_all(text.as_bytes()).await.unwrap();
                }
                other => self.said.push(other),
            }
        }
    }

    async fn step(&mut self) {
        let wake = self.started + self.client.wake_at().unwrap();
        let mut line = String::new();
        let read = tokio::select! {
            read = self.wire.as_mut().unwrap().read_line(&mut line) => Some(read.unwrap()),
            () = tokio::time::sleep_until(wake) => None,
        };
        match read {
            Some(0) => panic!("closed"),
            Some(_) => {
                if self.compress && line.len() > 2_000 {
                    assert!(
                        line.starts_with(r#"{"type":"Packed""#) || line.contains("ConnectOk"),
                        "{line:.100}"
                    );
                }
                self.input(ClientInput::Received(line)).await;
            }
            None => self.input(ClientInput::Tick).await,
        }
    }

    async fn until(&mut self, what: &str, holds: impl Fn(&Client) -> bool) {
        let waiting = async {
            while !holds(&self.client) {
                self.step().await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("in vain: {what}"));
    }

    async fn has(&mut self, text: &str) {
        self.until(text, |client| *client.text() == *text && client.is_saved()).await;
    }

    async fn insert(&mut self, at: usize, text: &str) {
        self.input(ClientInput::Edited(vec![Edit::insert(at, text)])).await;
    }
}

#[tokio::test]
async fn two_clients_and_a_file_come_together_and_a_change_is_pushed() {
    let served = serve_folder(&[("a.txt", "text\n")]).await;
    let (mut a, mut b) = (Typist::new(1, false), Typist::new(2, true));
    a.dial(&served).await;
    b.dial(&served).await;
    a.insert(0, "A ").await;
    b.insert(4, " B").await;
    a.has("A text B\n").await;
    b.has("A text B\n").await;
    eventually("in the file", || served.kept.read("a.txt") == "A text B\n").await;
    // Nothing is asked for: the hub says that there is news.
    std::fs::write(served.kept.path("a.txt"), "A text B\nsaved\n").unwrap();
    let poke = async {
        let mut line = String::new();
        while !line.contains("Poke") {
            line.clear();
            a.wire.as_mut().unwrap().read_line(&mut line).await.unwrap();
        }
        line
    };
    let poke = timeout(PATIENCE, poke).await.unwrap();
    a.input(ClientInput::Received(poke)).await;
    a.has("A text B\nsaved\n").await;
    b.has("A text B\nsaved\n").await;
    let long = "a long line that packs well ".repeat(200);
    a.insert(0, &long).await;
    b.has(&format!("{long}A text B\nsaved\n")).await;
    assert_eq!((a.client.counts().resyncs, b.client.counts().resyncs), (0, 0));
}

#[tokio::test]
async fn a_cut_connection_goes_on_where_it_was() {
    let served = serve_folder(&[("a.txt", "text")]).await;
    let mut a = Typist::new(1, false);
    a.dial(&served).await;
    for round in 0..20 {
        a.insert(0, "x").await;
        // Cut while the request is under way: it may have arrived or not.
        if round % 2 == 0 {
            a.wire = None;
        }
        a.client.handle(ClientInput::Disconnected, a.started.elapsed());
        a.client.handle(ClientInput::Edited(vec![Edit::insert(0, "y")]), a.started.elapsed());
        // Without a good-bye the hub still has the old connection: it is taken over.
        let old = a.wire.take();
        a.dial(&served).await;
        a.has(&format!("{}text", "yx".repeat(round + 1))).await;
        if let Some(mut old) = old {
            let mut rest = String::new();
            timeout(PATIENCE, old.read_to_string(&mut rest)).await.unwrap().unwrap();
            assert!(rest.contains(r#""code":"replaced""#), "{rest}");
        }
    }
    assert_eq!(a.client.counts().resyncs, 0);
    eventually("in the file", || served.kept.read("a.txt").len() == 44).await;
}

#[tokio::test]
async fn the_same_over_a_websocket() {
    let served = serve_folder(&[("a.txt", "text"), ("b.txt", "other")]).await;
    let mut socket = served.dial("/diffsync").await.unwrap();
    let token = token().secret();
    let session = "0a".repeat(16);
    socket
        .send(&format!(
            r#"{{"type":"Connect","proto":1,"session":"{session}","doc":"a.txt","auth":"{token}"}}"#
        ))
        .await;
    assert_eq!(socket.next().await.unwrap()["text"], "text");
    // A second document on the same connection.
    socket.send(&format!(r#"{{"type":"Connect","proto":1,"session":"{session}","doc":"b.txt"}}"#)).await;
    assert_eq!(socket.next().await.unwrap()["text"], "other");
    let sum = syncline_protocol::diffsync::Sum::of("Xother");
    let sync = format!(
        r#"{{"type":"ClientSync","doc":"b.txt","seq":1,"m_ack":0,"edits":[[0,["+X","=5"]]],"sum":"{sum}"}}"#
    );
    socket.send(&sync).await;
    let answer = socket.next().await.unwrap();
    assert_eq!((answer["type"].as_str(), answer["n_ack"].as_u64()), (Some("ServerSync"), Some(1)));
    socket.send(r#"{"type":"History","doc":"b.txt"}"#).await;
    let history = socket.next().await.unwrap();
    assert_eq!(history["entries"][1]["channel"], "diffsync");
    std::fs::write(served.kept.path("a.txt"), "text!").unwrap();
    let poke = socket.next().await.unwrap();
    assert_eq!((poke["type"].as_str(), poke["doc"].as_str()), (Some("Poke"), Some("a.txt")));
    eventually("in the file", || served.kept.read("b.txt") == "Xother").await;
}

#[tokio::test]
async fn a_hub_that_stops_says_so() {
    let served = serve_folder(&[("a.txt", "text")]).await;
    let mut a = Typist::new(1, false);
    a.dial(&served).await;
    served.shutdown.send(true).unwrap();
    let mut rest = String::new();
    timeout(PATIENCE, a.wire.as_mut().unwrap().read_to_string(&mut rest)).await.unwrap().unwrap();
    let kinds: Vec<&str> = rest.lines().collect();
    assert!(kinds[0].contains("Disconnect") && kinds[1].contains(r#""code":"closing""#), "{rest}");
}

async fn connect(served: &Served) -> TcpStream {
    TcpStream::connect(served.lines).await.unwrap()
}

/// Everything that is said until the other side closes.
async fn said(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    // A reset after the answer is a close too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("closed in time");
    String::from_utf8(all).unwrap()
}

fn greeting(document: &str) -> String {
    let token = token().secret();
    let session = "0b".repeat(16);
    format!(
        "{{\"type\":\"Connect\",\"proto\":1,\"session\":\"{session}\",\"doc\":\"{document}\",\"auth\":\"{token}\"}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_before_the_greeting_is_one_error_and_a_close() {
    let served = serve_folder(&[("a.txt", "the text\n")]).await;
    let wrong_token = greeting("a.txt").replace(&token().secret(), &"x".repeat(43));
    let edit = r#"{"type":"ClientSync","doc":"a.txt","seq":1,"m_ack":0,"edits":[]}"#;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "bad_message"),
        ("64 KiB without a newline", vec![b'a'; 64 << 10], "too_large"),
        ("not UTF-8", b"\xff\xfe\n".to_vec(), "bad_message"),
        ("NULs", b"\0\0\0\n".to_vec(), "bad_message"),
        ("an edit first", format!("{edit}\n").into_bytes(), "unauthorized"),
        (
            "an edit and then the greeting",
            format!("{edit}\n{}", greeting("a.txt")).into_bytes(),
            "unauthorized",
        ),
        ("a wrong token", wrong_token.into_bytes(), "unauthorized"),
        ("no token", greeting("a.txt").replace("\"auth\"", "\"x\"").into_bytes(), "unauthorized"),
        (
            "another version",
            greeting("a.txt").replace("\"proto\":1", "\"proto\":9").into_bytes(),
            "unsupported_version",
        ),
        (
            "a bomb before anything was agreed",
            b"{\"type\":\"Packed\",\"zlib\":\"AAAA\"}\n".to_vec(),
            "bad_message",
        ),
        ("deep nesting", [vec![b'['; 10_000], b"\n".to_vec()].concat(), "bad_message"),
        ("silence", Vec::new(), "timeout"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\n".to_vec(), "bad_message"),
    ];
    for (what, bytes, code) in cases {
        let mut stream = connect(&served).await;
        // It may be closed before all of it is sent.
        let _ = stream.write_all(&bytes).await;
        let answer = said(stream).await;
        assert_eq!(answer.lines().count(), 1, "{what}: {answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{what}: {answer}");
    }
    assert_eq!(served.kept.text("a.txt").await, "the text\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_of_a_client_that_is_let_in_disturbs_nobody() {
    let served = serve_folder(&[("a.txt", "the text\n")]).await;
    let mut other = Typist::new(1, false);
    other.dial(&served).await;
    // (what, what is sent, the answer that must come, whether the connection ends)
    let sync = |rest: &str| format!("{{\"type\":\"ClientSync\",\"doc\":\"a.txt\",{rest}}}\n").into_bytes();
    let zero = syncline_protocol::diffsync::Sum::default();
    let cases: Vec<(&str, Vec<u8>, &str, bool)> = vec![
        ("garbage", b"garbage\n".to_vec(), "bad_message", false),
        ("-1", sync(r#""seq":-1,"m_ack":0,"edits":[]"#), "bad_message", false),
        ("1e400", sync(r#""seq":1e400,"m_ack":0,"edits":[]"#), "bad_message", false),
        ("a lone surrogate", sync(r#""seq":1,"m_ack":0,"edits":[[0,["+\ud800"]]]"#), "bad_message", false),
        (
            "another document",
            b"{\"type\":\"History\",\"doc\":\"../x\"}\n".to_vec(),
            "unknown_document",
            false,
        ),
        ("a path out of the folder", greeting("../../etc/passwd").into_bytes(), "unknown_document", false),
        (
            "a version from the future",
            sync(&format!(r#""seq":1,"m_ack":9,"edits":[],"sum":"{zero}""#)),
            "Resync",
            false,
        ),
        (
            "a wrong sum",
            sync(&format!(r#""seq":1,"m_ack":0,"edits":[[0,["=9","+x"]]],"sum":"{zero}""#)),
            "Resync",
            false,
        ),
        (
            "lengths that do not add up",
            sync(&format!(r#""seq":1,"m_ack":0,"edits":[[0,["=4"]]],"sum":"{zero}""#)),
            "Resync",
            false,
        ),
        ("not UTF-8", b"\xff\n".to_vec(), "bad_message", true),
    ];
    for (what, bytes, wanted, ends) in cases {
        let mut stream = BufReader::new(connect(&served).await);
        stream.get_mut().write_all(greeting("a.txt").as_bytes()).await.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert!(line.contains("ConnectOk"), "{what}: {line}");
        stream.get_mut().write_all(&bytes).await.unwrap();
        line.clear();
        timeout(PATIENCE, stream.read_line(&mut line)).await.unwrap().unwrap();
        assert!(line.contains(&format!("\"{wanted}\"")), "{what}: {line}");
        if !ends {
            stream.get_mut().write_all(b"{\"type\":\"Ping\"}\n").await.unwrap();
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            assert!(line.contains("Pong"), "{what}: {line}");
            stream.get_mut().write_all(b"{\"type\":\"Disconnect\"}\n").await.unwrap();
        }
        let rest = said(stream.into_inner()).await;
        assert_eq!(rest, "", "{what}");
        other.insert(0, "").await;
    }
    other.insert(0, "still ").await;
    other.has("still the text\n").await;
}

/// 200 MB without a newline: refused at the limit, and nobody else waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_line_is_refused_at_the_limit() {
    let served = serve_folder(&[("a.txt", "the text\n")]).await;
    let mut other = Typist::new(1, false);
    other.dial(&served).await;
    let mut stream = BufReader::new(connect(&served).await);
    stream.get_mut().write_all(greeting("a.txt").as_bytes()).await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let (read, mut write) = stream.into_inner().into_split();
    let flood = tokio::spawn(async move {
        let chunk = vec![b'a'; 1 << 20];
        let mut sent = 0;
        while sent < 200 && write.write_all(&chunk).await.is_ok() {
            sent += 1;
        }
        sent
    });
    other.insert(0, "meanwhile ").await;
    other.has("meanwhile the text\n").await;
    let mut read = BufReader::new(read);
    let answer = async {
        let mut line = "Poke".to_owned();
        while line.contains("Poke") {
            line.clear();
            // A reset before the answer was read is a refusal too.
            let _ = read.read_line(&mut line).await;
        }
        line
    };
    let line = timeout(PATIENCE, answer).await.unwrap();
    assert!(line.is_empty() || line.contains("too_large"), "{line:.200}");
    drop(read);
    let sent = timeout(Duration::from_secs(20), flood).await.unwrap().unwrap();
    assert!(sent >= 90, "it may be as long as a message may be: {sent} MiB");
    assert_eq!(served.kept.text("a.txt").await, "meanwhile the text\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_opens_a_document_twice_on_one_connection_is_refused_and_not_stuck() {
    let served = serve_folder(&[("a.txt", "one\n")]).await;
    let mut wire = BufReader::new(TcpStream::connect(served.lines).await.unwrap());
    let (secret, session) = (token().secret(), "02".repeat(16));
    let connect = format!(
        "{{\"type\":\"Connect\",\"proto\":1,\"session\":\"{session}\",\"doc\":\"a.txt\",\"auth\":\"{secret}\"}}\n"
    );
    wire.get_mut().write_all(connect.repeat(2).as_bytes()).await.unwrap();
    for expected in ["ConnectOk", "already"] {
        let mut line = String::new();
        timeout(PATIENCE, wire.read_line(&mut line)).await.expect("an answer").unwrap();
        assert!(line.contains(expected), "{line}");
    }
    drop(wire);
    // And the session can be had again.
    let mut typist = Typist::new(2, false);
    typist.dial(&served).await;
}

/// Longer than any answer may take, also on a clock that is ahead.
const LONG: Duration = Duration::from_secs(200);

/// One connection, several documents, each line answered by one (pokes left out).
struct Talk(BufReader<TcpStream>);

impl Talk {
    async fn new(served: &Served) -> Talk {
        Talk(BufReader::new(connect(served).await))
    }

    async fn say(&mut self, line: &str) -> serde_json::Value {
        self.0.get_mut().write_all(line.as_bytes()).await.unwrap();
        self.heard().await
    }

    async fn heard(&mut self) -> serde_json::Value {
        loop {
            let mut line = String::new();
            timeout(LONG, self.0.read_line(&mut line)).await.expect("an answer").unwrap();
            let said: serde_json::Value = serde_json::from_str(&line).unwrap();
            if said["type"] != "Poke" {
                return said;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_documents_whose_names_were_passed_on_are_both_opened_again_on_one_connection() {
    let (a, b) =
        ("the first text, long enough to be known again\n", "of another one these are the words, many\n");
    let served = serve_folder(&[("a.txt", a), ("b.txt", b)]).await;
    let mut talk = Talk::new(&served).await;
    for (path, text) in [("a.txt", a), ("b.txt", b)] {
        assert_eq!(talk.say(&greeting(path)).await["text"], text);
        let sum = syncline_protocol::diffsync::Sum::of(&format!("X{text}"));
        let rest = format!("\"m_ack\":0,\"edits\":[[0,[\"+X\",\"={}\"]]],\"sum\":\"{sum}\"", text.len());
        let sync = format!("{{\"type\":\"ClientSync\",\"doc\":\"{path}\",\"seq\":1,{rest}}}\n");
        assert_eq!(talk.say(&sync).await["n_ack"], 1);
        eventually("in the file", || served.kept.read(path) == format!("X{text}")).await;
    }
    drop(talk);
    for (from, to) in [("a.txt", "c.txt"), ("b.txt", "a.txt")] {
        std::fs::rename(served.kept.path(from), served.kept.path(to)).unwrap();
        let hub = &served.kept.hub;
        eventually("renamed", || hub.document_at(to).is_some() && hub.document_at(from).is_none()).await;
    }
    let mut talk = Talk::new(&served).await;
    for (path, text) in [("a.txt", a), ("b.txt", b)] {
        let ok = talk.say(&greeting(path)).await;
        let sum = syncline_protocol::diffsync::Sum::of(&format!("X{text}")).to_string();
        assert_eq!((ok["resumed"].as_bool(), ok["sum"].as_str()), (Some(true), Some(sum.as_str())), "{ok}");
    }
    // By its new name it is the same document.
    let again = talk.say(&greeting("c.txt")).await;
    assert_eq!(again["code"], "bad_message", "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_open_once_on_a_connection_whatever_the_session() {
    let served = serve_folder(&[("a.txt", "one\n"), ("b.txt", "two\n")]).await;
    let mut talk = Talk::new(&served).await;
    assert_eq!(talk.say(&greeting("a.txt")).await["text"], "one\n");
    let other = |path| greeting(path).replace("0b", "0c");
    let refused = talk.say(&other("a.txt")).await;
    assert_eq!(refused["code"], "bad_message", "{refused}");
    assert_eq!(talk.say(&other("b.txt")).await["text"], "two\n");
}

/// Counted from the last message, whenever that came.
#[tokio::test]
async fn a_silent_client_is_asked_after_30_seconds_and_left_after_120() {
    let served = serve_folder(&[("a.txt", "one\n")]).await;
    let mut talk = Talk::new(&served).await;
    assert_eq!(talk.say(&greeting("a.txt")).await["type"], "ConnectOk");
    tokio::time::pause();
    // Small steps, each with a moment for what is under way in the kernel.
    let steps = tokio::spawn(async {
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            std::thread::sleep(Duration::from_micros(300));
        }
    });
    let mut last = Instant::now();
    for quiet in [0, 20] {
        tokio::time::sleep(Duration::from_secs(quiet)).await;
        assert_eq!(talk.say("{\"type\":\"Ping\"}\n").await["type"], "Pong");
        last = Instant::now();
        assert_eq!(talk.heard().await["type"], "Ping");
        let after = last.elapsed().as_secs_f32();
        assert!((29.0..32.0).contains(&after), "after {after} s");
    }
    loop {
        let said = talk.heard().await;
        if said["type"] == "error" {
            assert_eq!(said["code"], "timeout");
            break;
        }
    }
    let after = last.elapsed().as_secs_f32();
    assert!((119.0..122.0).contains(&after), "after {after} s");
    steps.abort();
}

#[tokio::test]
async fn a_client_is_told_when_its_document_is_not_text_any_more() {
    let served = serve_folder(&[("a.txt", "text")]).await;
    let (mut poked, mut waits) = (Typist::new(1, false), Typist::new(2, true));
    for typist in [&mut poked, &mut waits] {
        typist.dial(&served).await;
        typist.insert(0, "A").await;
        typist.until("saved", Client::is_saved).await;
    }
    poked.has("AAtext").await;
    eventually("in the file", || served.kept.read("a.txt") == "AAtext").await;
    eventually("settled", || served.kept.hub.unsettled() == 0).await;
    std::fs::write(served.kept.path("a.txt"), b"\xff\0").unwrap();
    for typist in [&mut poked, &mut waits] {
        let given_up = |said: &ClientOutput| matches!(said, ClientOutput::GiveUp(error) if error.code.code() == "not_text");
        let told = async {
            while !typist.said.iter().any(given_up) {
                typist.step().await;
            }
        };
        timeout(PATIENCE, told).await.expect("told without having asked");
    }
}
