//! Bad input: each gives one error or a close, and the document is unchanged.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::time::Duration;

use support::{PATIENCE, Served, capability, serve_folder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const TEXT: &str = "the text\n";

/// Sends bytes and returns everything that comes back until the other side closes.
async fn exchange(served: &Served, bytes: &[u8]) -> Vec<u8> {
    let stream = TcpStream::connect(served.address).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let sending = async {
        // The other side may close before it has all of it: that is what is tested.
        let _ = write.write_all(bytes).await;
        std::future::pending::<()>().await;
    };
    let receiving = async {
        let mut all = Vec::new();
        // A reset after the answer is a close too.
        let _ = read.read_to_end(&mut all).await;
        all
    };
    let both = async {
        tokio::select! {
            all = receiving => all,
            () = sending => Vec::new(),
        }
    };
    timeout(PATIENCE, both).await.expect("closed in time")
}

fn request(path: &str, headers: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
    .into_bytes()
}

/// A masked frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = header(first, payload.len() as u64, true);
    out.extend_from_slice(payload);
    out
}

fn header(first: u8, len: u64, masked: bool) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut out = vec![first];
    match len {
        0..=125 => out.push(bit | len as u8),
        126..=0xffff => {
            out.push(bit | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(bit | 127);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
    if masked {
        out.extend_from_slice(&[0; 4]);
    }
    out
}

async fn assert_unchanged(served: &Served) {
    assert_eq!(served.kept.text("a.txt").await, TEXT);
    assert_eq!(served.kept.read("a.txt"), TEXT);
}

fn bad_frames() -> Vec<(&'static str, Vec<u8>)> {
    let text = |payload: &[u8]| frame(0x81, payload);
    vec![
        ("a declared length of 2^63", header(0x82, 1 << 63, true)),
        (
            "a declared length of 10^9 with 3 bytes",
            [header(0x82, 1_000_000_000, true), vec![1, 2, 3]].concat(),
        ),
        ("65 KiB before the hello", text(&vec![b'a'; 65 << 10])),
        ("one-byte fragments", [frame(0x01, b"a"), frame(0x00, b"a").repeat(100_000)].concat()),
        ("empty fragments", [frame(0x01, b""), frame(0x00, b"").repeat(100_000)].concat()),
        ("unmasked", [header(0x81, 2, false), b"{}".to_vec()].concat()),
        ("reserved bits", frame(0xc1, b"{}")),
        ("a reserved opcode", frame(0x83, b"{}")),
        ("a reserved control opcode", frame(0x8b, b"")),
        ("an oversized ping", frame(0x89, &[b'p'; 126])),
        ("a fragmented ping", frame(0x09, b"p")),
        ("a ping flood", frame(0x89, b"p").repeat(2_000)),
        ("invalid UTF-8", text(&[0xff, 0xfe, 0xfd])),
        ("a continuation of nothing", frame(0x80, b"x")),
        ("a close of one byte", frame(0x88, &[3])),
        ("a close with an odd code", frame(0x88, &999u16.to_be_bytes())),
        ("a close with a reserved code", frame(0x88, &1005u16.to_be_bytes())),
        ("an edit before the hello", text(br#"{"type":"update_request","content":"changed"}"#)),
        ("two messages, an edit first", {
            let edit = text(br#"{"type":"update_request","content":"changed"}"#);
            let token = support::token().secret();
            [edit, text(format!(r#"{{"type":"hello","token":"{token}"}}"#).as_bytes())].concat()
        }),
        ("garbage", text(b"garbage")),
        ("a binary message", frame(0x82, b"garbage")),
        ("an empty binary message", frame(0x82, b"")),
    ]
}

/// What the connection is closed with.
fn error_for(what: &str, path: &str) -> &'static str {
    let too_large = ["a declared length", "65 KiB", "one-byte fragments", "empty fragments"];
    match what {
        "a ping flood" => "too_many",
        "a close with an odd code" | "a close with a reserved code" => "Protocol violation",
        "an edit before the hello" | "two messages, an edit first" if path == "/content" => "unauthorized",
        _ if too_large.iter().any(|begin| what.starts_with(begin)) => "too_large",
        _ => "bad_message",
    }
}

/// One error, and the close that says the same.
fn assert_closed_with(answer: &[u8], error: &str, what: &str) {
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{what}");
    let text = String::from_utf8_lossy(answer);
    let errors = text.matches("\"type\":\"error\"").count();
    let end: String = text.chars().skip(text.chars().count().saturating_sub(300)).collect();
    assert!(errors <= 1, "{what}: {end:?}");
    // Who is still sending when it is refused may be reset before the answer is read.
    let much = ["65 KiB", "one-byte", "empty fragments", "a ping flood"];
    let cut = !text.contains(error) && much.iter().any(|begin| what.contains(begin));
    assert!(cut || text.ends_with(error), "{what}: {error} is not the end of {end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_frames_before_the_hello_close_the_connection() {
    let served = serve_folder(&[("a.txt", TEXT)]).await;
    for path in ["/content", "/replica"] {
        for (what, bytes) in bad_frames() {
            let answer = exchange(&served, &[request(path, ""), bytes].concat()).await;
            assert_closed_with(&answer, error_for(what, path), &format!("{path}: {what}"));
            let text = String::from_utf8_lossy(&answer);
            assert!(!text.contains("content_update"), "{path}: {what}: nobody was let in");
        }
    }
    assert_unchanged(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_frames_of_somebody_let_in_close_the_connection() {
    let served = serve_folder(&[("a.txt", TEXT)]).await;
    let path = format!("/content/{}", capability().secret());
    // These are fine, or one error, from somebody who is let in.
    let not_here = ["65 KiB", "an edit", "two messages", "garbage", "one-byte", "empty fragments"];
    for (what, bytes) in bad_frames() {
        if not_here.iter().any(|fine| what.starts_with(fine)) {
            continue;
        }
        let answer = exchange(&served, &[request(&path, ""), bytes].concat()).await;
        assert_closed_with(&answer, error_for(what, &path), what);
    }
    assert_unchanged(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_answered_with_their_status() {
    let served = serve_folder(&[("a.txt", TEXT)]).await;
    let plain = |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\n{headers}\r\n").into_bytes();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a plain request", plain("/", "Host: localhost\r\n"), "404"),
        ("a plain request to an address", plain("/content", "Host: localhost\r\n"), "426"),
        ("an unknown path", request("/other", ""), "404"),
        ("a wrong capability", request("/content/AAAA", ""), "404"),
        ("a token in the query", request("/content?token=x", ""), "400"),
        ("a foreign Origin", request("/content", "Origin: http://evil.example\r\n"), "403"),
        ("the null Origin", request("/replica", "Origin: null\r\n"), "403"),
        ("a rebound Host", plain("/content", "Host: evil.example\r\n"), "403"),
        ("no Host", plain("/content", ""), "400"),
        ("two Hosts", plain("/content", "Host: localhost\r\nHost: localhost\r\n"), "400"),
        ("POST", b"POST /content HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), "405"),
        ("HTTP/1.0", b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n".to_vec(), "400"),
        ("not HTTP", b"{\"type\":\"hello\"}\r\n\r\n".to_vec(), "400"),
        (
            "a 32 KiB header",
            plain("/", &format!("Host: localhost\r\nX: {}\r\n", "x".repeat(32 << 10))),
            "431",
        ),
        ("1,000 headers", plain("/", &"X: y\r\n".repeat(1_000)), "431"),
        (
            "a wrong key",
            {
                let bytes = String::from_utf8(request("/content", "")).unwrap();
                bytes.replace("dGhlIHNhbXBsZSBub25jZQ==", "short").into_bytes()
            },
            "426",
        ),
    ];
    for (what, bytes, status) in cases {
        let answer = exchange(&served, &bytes).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {text:?}");
        assert!(text.contains("Connection: close"), "{what}");
    }
    let tls = exchange(&served, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    assert!(tls.is_empty(), "a TLS handshake on the plain port is closed without an answer");
    assert_unchanged(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_and_dribbling_sockets_are_closed() {
    let served = serve_folder(&[("a.txt", TEXT)]).await;
    let started = tokio::time::Instant::now();
    let silent = exchange(&served, b"");
    let half = exchange(&served, b"GET /content HTTP/1.1\r\nHost: loc");
    let (content, replica) = (request("/content", ""), request("/replica", ""));
    let no_hello = exchange(&served, &content);
    let no_greeting = exchange(&served, &replica);
    let dribble = async {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let mut every = tokio::time::interval(Duration::from_millis(500));
        // A byte now and then does not keep it open.
        let writing = async {
            for byte in request("/content", "").iter().cycle() {
                every.tick().await;
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        };
        timeout(PATIENCE, writing).await.expect("closed although bytes came");
    };
    let (silent, half, no_hello, no_greeting, ()) =
        tokio::join!(silent, half, no_hello, no_greeting, dribble);
    assert!(silent.starts_with(b"HTTP/1.1 408") && half.starts_with(b"HTTP/1.1 408"));
    assert!(String::from_utf8_lossy(&no_hello).contains("timeout"));
    assert!(no_greeting.starts_with(b"HTTP/1.1 101"));
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_json_is_one_error_and_no_change() {
    let served = serve_folder(&[("a.txt", TEXT)]).await;
    let mut client = served.admitted("").await;
    assert_eq!(client.next().await.unwrap()["content"], TEXT);
    let deep = format!(r#"{{"type":"update_request","content":"x","y":{}}}"#, "[".repeat(100_000));
    let cases = [
        (deep.as_str(), "bad_message"),
        (r#"{"type":"update_request","content":"x","content":"y"}"#, "bad_message"),
        (r#"{"type":"update_request","content":"x","base":-1}"#, "bad_message"),
        (r#"{"type":"update_request","content":"x","base":1.5}"#, "bad_message"),
        (r#"{"type":"update_request","content":"x","base":1e400}"#, "bad_message"),
        (r#"{"type":"update_request","content":"x","base":18446744073709551616}"#, "bad_message"),
        (r#"{"type":"update_request","content":"x","base":9007199254740993}"#, "bad_message"),
        (r#"{"type":"update_request","content":"\ud800"}"#, "bad_message"),
        ("\u{feff}{\"type\":\"update_request\",\"content\":\"x\"}", "bad_message"),
        (r#"{"type":"update_request","content":"x"} trailing"#, "bad_message"),
        (r#"{"type":"update_request"}"#, "bad_message"),
        (r#"{"type":"delete_everything"}"#, "bad_message"),
        (r#"{"type":"hello","mode":"both"}"#, "unsupported"),
        (r#"{"type":"update_request","content":"x","base":"from the future"}"#, "bad_base"),
        (r#"{"type":"update_request","content":"x","document":"../x"}"#, "unknown_document"),
    ];
    for (text, code) in cases {
        client.send(text).await;
        let answer = client.next().await.expect("the connection stands");
        assert_eq!(answer["type"], "error", "{text:.100}: {answer}");
        assert_eq!(answer["code"], code, "{text:.100}: {answer}");
        assert!(answer["message"].is_string() && answer["hint"].is_string());
    }
    client.send(r#"{"type":"ping"}"#).await;
    assert_eq!(client.next().await.unwrap()["type"], "pong");
    assert_unchanged(&served).await;
}
