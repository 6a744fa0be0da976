//! TLS over real connections: pinned certificates, others' certificates, plain words, and a new certificate while
//! connections stand.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::sync::Arc;

use serde_json::Value;
use support::{Kept, PATIENCE, Served, capability, eventually, keep, serve_with, token};
use syncline_net::{Access, Certificate, Entrance, JoinEvent, connect, keep_joined};
use syncline_protocol::replica::LinkEvent;
use syncline_protocol::{JoinLink, Trust};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

fn certificate() -> Arc<Certificate> {
    let (certificate, key) = Certificate::make(vec!["127.0.0.1".into()]).unwrap();
    Arc::new(Certificate::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap())
}

async fn secured() -> (Served, watch::Sender<Arc<Certificate>>) {
    let (sender, newest) = watch::channel(certificate());
    let entrance = Entrance::from(Access::new(token(), capability())).over_tls(newest);
    let kept = keep(&[("a.txt", "one\n")], false, 1).await;
    (serve_with(kept, entrance).await, sender)
}

fn link(served: &Served, trust: Trust) -> JoinLink {
    served.link().with_trust(trust)
}

/// Joins, and waits for the first event that says how it went.
async fn join(link: JoinLink) -> (Kept, Result<(), String>, watch::Sender<bool>) {
    let kept = keep(&[], true, 2).await;
    let (sender, mut events) = mpsc::channel(64);
    let (shutdown, stop) = watch::channel(false);
    tokio::spawn(keep_joined(kept.hub.clone(), link, sender, stop));
    let went = async {
        loop {
            match events.recv().await.expect("the join goes on") {
                JoinEvent::Link(LinkEvent::Synced { .. }) => return Ok(()),
                JoinEvent::Disconnected { why, .. } => return Err(why),
                JoinEvent::Link(_) => {}
            }
        }
    };
    let went = timeout(PATIENCE, went).await.expect("an event in time");
    // Whatever else happens is not asked for.
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    (kept, went, shutdown)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_joined_over_tls_by_its_fingerprint() {
    let (served, certificate) = secured().await;
    let pinned = Trust::Fingerprint(certificate.borrow().fingerprint());
    let (kept, went, _stop) = join(link(&served, pinned)).await;
    assert_eq!(went, Ok(()));
    eventually("the file is there", || kept.read("a.txt") == "one\n").await;
    let long = "a long line\n".repeat(200_000);
    std::fs::write(kept.path("b.txt"), &long).unwrap();
    eventually("a long file comes over", || served.kept.read("b.txt") == long).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_is_not_believed() {
    let (served, _certificate) = secured().await;
    let other = certificate().fingerprint();
    for (trust, said) in [
        (Trust::Fingerprint(other), "not the one in the link"),
        (Trust::Authorities, "certificate is not good"),
        (Trust::Plain, "400"),
    ] {
        let (kept, went, _stop) = join(link(&served, trust)).await;
        let why = went.unwrap_err();
        // A machine without authorities has nobody who could vouch.
        assert!(why.contains(said) || why.contains("no certificate authorities"), "{trust:?}: {why}");
        assert!(kept.hub.document_paths().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_without_tls_is_not_taken_for_one_with_it() {
    let served = support::serve_folder(&[("a.txt", "one\n")]).await;
    let (_, went, _stop) = join(link(&served, Trust::Fingerprint([1; 32]))).await;
    assert!(went.is_err());
}

/// A `Connect` in lines; gives the answer, and the connection.
async fn connected(
    served: &Served,
    trust: Trust,
) -> Result<(Value, BufReader<syncline_net::Stream>), String> {
    let dialed = connect("127.0.0.1", served.lines.port(), trust).await;
    let mut lines = BufReader::new(dialed.map_err(|error| error.to_string())?);
    let session = format!("{:032x}", fastrand::u128(..));
    let hello =
        serde_json::json!({"type": "Connect", "proto": 1, "session": session, "auth": token().secret()});
    lines.get_mut().write_all(format!("{hello}\n").as_bytes()).await.unwrap();
    let mut line = String::new();
    timeout(PATIENCE, lines.read_line(&mut line)).await.unwrap().unwrap();
    Ok((serde_json::from_str(&line).unwrap_or_default(), lines))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_without_disturbing_those_who_are_there() {
    let (served, newest) = secured().await;
    let old = Trust::Fingerprint(newest.borrow().fingerprint());
    let (answer, mut standing) = connected(&served, old).await.unwrap();
    assert_eq!(answer["text"], "one\n");
    newest.send_replace(certificate());
    let new = Trust::Fingerprint(newest.borrow().fingerprint());
    assert!(connected(&served, old).await.unwrap_err().contains("not the one in the link"));
    assert_eq!(connected(&served, new).await.unwrap().0["text"], "one\n");
    standing.get_mut().write_all(b"{\"type\":\"Ping\"}\n").await.unwrap();
    let mut line = String::new();
    timeout(PATIENCE, standing.read_line(&mut line)).await.unwrap().unwrap();
    assert!(line.contains("Pong"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_words_are_told_that_tls_is_spoken_and_get_nothing() {
    let (served, _certificate) = secured().await;
    for (address, words) in [
        (served.address, "GET /content HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
        (served.lines, format!("{{\"type\":\"Connect\",\"proto\":1,\"auth\":\"{}\"}}\n", token().secret())),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(words.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("speaks TLS") && !answer.contains("one"), "{answer}");
    }
}

/// Who opens a connection and says nothing, or half a handshake, is not waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let (served, _certificate) = secured().await;
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    let mut half = TcpStream::connect(served.lines).await.unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc").await.unwrap();
    for stream in [&mut silent, &mut half] {
        let mut rest = Vec::new();
        // An end, or a reset.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("closed after 10 s");
    }
}
