//! A hub on a real folder, served on a real port, and clients as simple as can be.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs, dead_code)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use syncline_disk::{RealFolder, RealOptions};
use syncline_hub::{Hub, LARGE_TEXT, Options, Party};
use syncline_net::{Access, Entrance, NetError, serve, serve_lines};
use syncline_protocol::{JoinLink, Token};
use syncline_store::{Log, MemoryLog};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

pub mod access;

pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn token() -> Token {
    Token::from_random([1; 32])
}

pub fn capability() -> Token {
    Token::from_random([2; 32])
}

pub struct Kept {
    pub hub: Hub,
    pub root: tempfile::TempDir,
}

/// A hub on a folder with these files.
pub async fn keep(files: &[(&str, &str)], joined: bool, seed: u64) -> Kept {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        std::fs::write(root.path().join(path), text).unwrap();
    }
    let log = MemoryLog::new();
    let folder = RealFolder::open(root.path(), RealOptions::default()).unwrap();
    let options = Options {
        folder: Arc::new(folder),
        log: Box::new(move || Ok(Box::new(log.clone()) as Box<dyn Log>)),
        only: None,
        name: format!("folder {seed}"),
        joined,
        founding: None,
        policy: syncline_hub::Policy::Merge,
        large_text: LARGE_TEXT,
        seed,
        clock: Arc::new(|| 1_000_000),
        author: "tester".into(),
    };
    let hub = Hub::open(options).await.unwrap();
    // A joiner's first scan ends when the peer's history is there.
    if !joined {
        hub.scanned().await.unwrap();
    }
    Kept { hub, root }
}

impl Kept {
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        read(&self.path(name))
    }

    /// The text of a document as the hub has it.
    pub async fn text(&self, path: &str) -> String {
        let party = Party { name: "checker".into(), channel: "test" };
        self.hub.open_text(Some(path), party).await.unwrap().current().await.unwrap().text
    }
}

pub fn read(path: &Path) -> String {
    String::from_utf8(std::fs::read(path).unwrap_or_default()).unwrap()
}

pub struct Served {
    pub kept: Kept,
    pub address: SocketAddr,
    /// Where `diffsync` is spoken in lines.
    pub lines: SocketAddr,
    pub shutdown: watch::Sender<bool>,
    pub task: JoinHandle<Result<(), NetError>>,
}

/// The same, served on a port of this machine.
pub async fn serve_folder(files: &[(&str, &str)]) -> Served {
    serve_kept(keep(files, false, 1).await).await
}

pub async fn serve_kept(kept: Kept) -> Served {
    serve_with(kept, Access::new(token(), capability())).await
}

/// The same with tokens of the owner's making.
pub async fn serve_with(kept: Kept, entrance: impl Into<Entrance>) -> Served {
    let entrance = entrance.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, stop) = watch::channel(false);
    let task = tokio::spawn(serve(listener, kept.hub.clone(), entrance.clone(), stop.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lines = listener.local_addr().unwrap();
    tokio::spawn(serve_lines(listener, kept.hub.clone(), entrance, stop));
    Served { kept, address, lines, shutdown, task }
}

impl Served {
    pub fn link(&self) -> JoinLink {
        JoinLink::new("127.0.0.1", self.address.port(), token()).unwrap()
    }

    pub async fn dial(&self, path: &str) -> Result<Client, Error> {
        let stream = TcpStream::connect(self.address).await?;
        let url = format!("ws://{}{path}", self.address);
        let (ws, _) = tokio_tungstenite::client_async(url, stream).await?;
        Ok(Client { ws })
    }

    /// A client that the address lets in.
    pub async fn admitted(&self, document: &str) -> Client {
        self.dial(&format!("/content/{}{document}", capability().secret())).await.unwrap()
    }
}

pub struct Client {
    pub ws: WebSocketStream<TcpStream>,
}

impl Client {
    pub async fn send(&mut self, text: &str) {
        self.ws.send(Message::text(text)).await.unwrap();
    }

    /// The next text message as JSON; `None` when the connection is closed.
    pub async fn next(&mut self) -> Option<serde_json::Value> {
        // One for all: a ping is no answer.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let message = tokio::time::timeout_at(deadline, self.ws.next()).await.expect("an answer in time");
            match message {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next text, skipping those that do not fulfil a condition.
    pub async fn content_until(&mut self, holds: impl Fn(&str) -> bool) -> serde_json::Value {
        loop {
            let message = self.next().await.expect("the connection stands");
            assert_eq!(message["type"], "content_update", "{message}");
            if holds(message["content"].as_str().unwrap()) {
                return message;
            }
        }
    }
}

/// Polls until a condition holds; panics with `what` after twenty seconds.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
