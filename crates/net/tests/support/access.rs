//! Everybody who can come to a hub's door, and every way in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use syncline_engine::Edit;
use syncline_net::{JoinEvent, NetError, keep_joined};
use syncline_protocol::access::{Grant, Holder as Who, Role, Scope, Verb};
use syncline_protocol::diffsync::{Client, ClientInput, ClientOutput, SessionId, Settings};
use syncline_protocol::replica::LinkEvent;
use syncline_protocol::{ErrorCode, JoinLink, ProtocolError, Token};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{Kept, PATIENCE, Served, capability, keep, token};

pub const TEXT: &str = "one\ntwo\n";
pub const SECRET_TEXT: &str = "not for everybody\n";
/// When the tables are asked about: all tokens but the expired one are valid.
pub const NOW_MS: u64 = 2_000_000_000_000;

/// Who comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    Nobody,
    Reader,
    Writer,
    Admin,
    Expired,
    Revoked,
    OtherDocument,
    OwnReader,
    OwnWriter,
    Capability,
    Owner,
}

pub const HOLDERS: &[Holder] = &[
    Holder::Nobody,
    Holder::Reader,
    Holder::Writer,
    Holder::Admin,
    Holder::Expired,
    Holder::Revoked,
    Holder::OtherDocument,
    Holder::OwnReader,
    Holder::OwnWriter,
    Holder::Capability,
    Holder::Owner,
];

/// What they are called in the documentation.
pub const NAMES: &[&str] = &[
    "no token, or an unknown one",
    "read",
    "write",
    "admin",
    "expired (admin)",
    "revoked (admin)",
    "write, for another document",
    "read, for this document",
    "write, for this document",
    "the `content` address",
    "the owner",
];

impl Holder {
    pub fn name(self) -> &'static str {
        HOLDERS.iter().position(|holder| *holder == self).map_or("", |at| NAMES[at])
    }

    /// Everybody but who only has the address of `content`.
    pub fn has_token(self) -> bool {
        self != Holder::Capability
    }

    pub fn token(self) -> Token {
        match self {
            Holder::Owner => token(),
            Holder::Capability => capability(),
            other => Token::from_random([100 + other as u8; 32]),
        }
    }

    pub fn grant(self) -> Option<Grant> {
        let document = |path: &str| Scope::Document(path.to_owned());
        let (role, scope) = match self {
            Holder::Nobody | Holder::Capability | Holder::Owner => return None,
            Holder::Reader => (Role::Read, Scope::Folder),
            Holder::Writer => (Role::Write, Scope::Folder),
            Holder::Admin | Holder::Expired | Holder::Revoked => (Role::Admin, Scope::Folder),
            Holder::OtherDocument => (Role::Write, document("b.txt")),
            Holder::OwnReader => (Role::Read, document("a.txt")),
            Holder::OwnWriter => (Role::Write, document("a.txt")),
        };
        Some(Grant {
            hash: self.token().hash(),
            name: format!("{self:?}"),
            role,
            scope,
            created_ms: 1,
            expires_ms: (self == Holder::Expired).then_some(2),
            revoked_ms: (self == Holder::Revoked).then_some(2),
        })
    }

    pub fn of(self, grant: Option<&Grant>) -> Who<'_> {
        match (self, grant) {
            (Holder::Owner, _) => Who::Owner,
            (Holder::Capability, _) => Who::Capability,
            (_, Some(grant)) => Who::Token(grant),
            (_, None) => Who::Nobody,
        }
    }
}

pub fn grants() -> Vec<Grant> {
    HOLDERS.iter().filter_map(|holder| holder.grant()).collect()
}

/// Somebody's token is gone from the list.
pub fn grants_without(holder: Holder) -> Vec<Grant> {
    HOLDERS.iter().filter(|other| **other != holder).filter_map(|other| other.grant()).collect()
}

/// Somebody's token ends in a moment.
pub fn grants_ending_soon(holder: Holder) -> Vec<Grant> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let mut grants = grants();
    for grant in grants.iter_mut().filter(|grant| grant.hash == holder.token().hash()) {
        grant.expires_ms = Some(now + 300);
    }
    grants
}

/// A way in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connection {
    Content,
    Lines,
    DiffSocket,
}

/// A connection, as messages.
pub enum Wire {
    Socket(Box<WebSocketStream<TcpStream>>),
    Lines(BufReader<TcpStream>),
}

impl Wire {
    async fn socket(served: &Served, path: &str) -> Option<Wire> {
        Some(Wire::Socket(Box::new(served.dial(path).await.ok()?.ws)))
    }

    async fn send(&mut self, text: String) {
        // The other side may have closed: the answer tells.
        match self {
            Wire::Socket(ws) => drop(ws.send(Message::text(text)).await),
            Wire::Lines(lines) => drop(lines.get_mut().write_all(format!("{text}\n").as_bytes()).await),
        }
    }

    async fn next(&mut self) -> Option<String> {
        let next = async {
            match self {
                Wire::Socket(ws) => loop {
                    match ws.next().await {
                        Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                        Some(Ok(_)) => {}
                    }
                },
                Wire::Lines(lines) => {
                    let mut line = String::new();
                    let read = lines.read_line(&mut line).await.unwrap_or_default();
                    (read > 0).then_some(line)
                }
            }
        };
        timeout(PATIENCE, next).await.expect("an answer in time")
    }

    async fn next_json(&mut self) -> Value {
        self.next().await.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    }

    /// What was said last before the connection was closed, if that was an error.
    pub async fn until_closed(&mut self) -> Option<ErrorCode> {
        let mut last = None;
        while let Some(text) = self.next().await {
            let value: Value = serde_json::from_str(&text).unwrap();
            last = value["code"].as_str().map(ErrorCode::of);
        }
        last
    }
}

fn error_in(answer: &Value) -> Option<ProtocolError> {
    let code = answer["code"].as_str()?;
    Some(ProtocolError::new(ErrorCode::of(code), answer["message"].as_str().unwrap_or_default()))
}

impl Connection {
    async fn dial(self, served: &Served, holder: Holder, document: Option<&str>) -> Option<Wire> {
        match (self, holder) {
            (Connection::Content, Holder::Capability) => {
                let path = document.map_or_else(String::new, |path| format!("/{path}"));
                Wire::socket(served, &format!("/content/{}{path}", capability().secret())).await
            }
            (Connection::Content, _) => Wire::socket(served, "/content").await,
            (Connection::DiffSocket, _) => Wire::socket(served, "/diffsync").await,
            (Connection::Lines, _) => {
                Some(Wire::Lines(BufReader::new(TcpStream::connect(served.lines).await.unwrap())))
            }
        }
    }

    /// Opens a document; gives the connection, and the answer.
    async fn greet(self, served: &Served, holder: Holder, document: Option<&str>) -> (Wire, Value) {
        let mut wire = self.dial(served, holder, document).await.expect("a connection");
        match self {
            Connection::Content if holder == Holder::Capability => {}
            Connection::Content => {
                let secret = holder.token().secret();
                wire.send(json!({"type": "hello", "token": secret, "document": document}).to_string()).await;
            }
            Connection::Lines | Connection::DiffSocket => {
                let (secret, session) = (holder.token().secret(), format!("{:032x}", fastrand::u128(..)));
                let connect = json!({"type": "Connect", "proto": 1, "session": session, "doc": document, "auth": secret});
                wire.send(connect.to_string()).await;
            }
        }
        let answer = wire.next_json().await;
        (wire, answer)
    }

    /// The path of the document that was opened.
    pub async fn open(
        self,
        served: &Served,
        holder: Holder,
        document: Option<&str>,
    ) -> Result<String, ProtocolError> {
        let (_, answer) = self.greet(served, holder, document).await;
        match error_in(&answer) {
            Some(error) => Err(error),
            None => {
                let path = answer["document"].as_str().or_else(|| answer["doc"].as_str());
                Ok(path.unwrap_or_else(|| panic!("{answer}")).to_owned())
            }
        }
    }

    /// A connection that stands.
    pub async fn stand(self, served: &Served, holder: Holder) -> Wire {
        let (wire, answer) = self.greet(served, holder, Some("a.txt")).await;
        assert!(error_in(&answer).is_none(), "{answer}");
        wire
    }

    /// Tries a verb on `a.txt`.
    pub async fn attempt(self, served: &Served, holder: Holder, verb: Verb) -> Result<(), ErrorCode> {
        let outcome = match (self, verb) {
            (_, Verb::Connect) => match self.open(served, holder, None).await {
                // Let in, and asked which of the texts is meant.
                Err(error) if error.code == ErrorCode::UnknownDocument => Ok(()),
                opened => opened.map(drop),
            },
            (_, Verb::Read) => self.open(served, holder, Some("a.txt")).await.map(drop),
            (Connection::Content, Verb::List) => self.list(served, holder).await,
            (Connection::Content, Verb::Edit) => self.upload(served, holder).await,
            (_, Verb::Edit) => self.sync(served, holder).await,
            (_, other) => panic!("{self:?} has no {other:?}"),
        };
        outcome.map_err(|error| error.code)
    }

    async fn list(self, served: &Served, holder: Holder) -> Result<(), ProtocolError> {
        let (mut wire, answer) = self.greet(served, holder, None).await;
        if let Some(error) = error_in(&answer) {
            return Err(error);
        }
        wire.send(json!({"type": "list"}).to_string()).await;
        let answer = wire.next_json().await;
        match error_in(&answer) {
            Some(error) => Err(error),
            None => {
                assert_eq!(answer["documents"], json!(["a.txt", "b.txt"]));
                Ok(())
            }
        }
    }

    async fn upload(self, served: &Served, holder: Holder) -> Result<(), ProtocolError> {
        let (mut wire, answer) = self.greet(served, holder, Some("a.txt")).await;
        if let Some(error) = error_in(&answer) {
            return Err(error);
        }
        let text = format!("{}by {}\n", answer["content"].as_str().unwrap(), holder.name());
        wire.send(json!({"type": "update_request", "content": text, "request_id": "1"}).to_string()).await;
        loop {
            let answer = wire.next_json().await;
            match answer["type"].as_str() {
                Some("update_result") => return Ok(()),
                Some("content_update") => {}
                _ => return Err(error_in(&answer).unwrap_or_else(|| panic!("{answer}"))),
            }
        }
    }

    /// With the protocol's own client, which does all that can be done.
    async fn sync(self, served: &Served, holder: Holder) -> Result<(), ProtocolError> {
        let settings = Settings {
            session: SessionId(fastrand::u128(..).to_be_bytes()),
            doc: Some("a.txt".into()),
            auth: Some(holder.token().secret()),
            name: None,
            compress: false,
            wait: false,
        };
        let (mut client, started) = (Client::new(settings), Instant::now());
        let mut wire = self.dial(served, holder, None).await.unwrap();
        let (mut input, mut typed) = (ClientInput::Connected, false);
        loop {
            for output in client.handle(input, started.elapsed()) {
                match output {
                    ClientOutput::Send(text) => wire.send(text).await,
                    ClientOutput::GiveUp(error) => return Err(error),
                    ClientOutput::Redial(why) => panic!("{why}"),
                    _ => {}
                }
            }
            if typed && client.is_saved() {
                return Ok(());
            }
            input = if client.is_live() && !typed {
                typed = true;
                ClientInput::Edited(vec![Edit::insert(0, holder.name())])
            } else {
                ClientInput::Received(wire.next().await.expect("an answer before the end"))
            };
        }
    }
}

/// A folder that tried to join.
pub struct Joined {
    pub kept: Kept,
    pub outcome: Result<(), ErrorCode>,
    task: JoinHandle<Result<(), NetError>>,
    _events: mpsc::Receiver<JoinEvent>,
    _shutdown: watch::Sender<bool>,
}

/// Joins with somebody's token.
pub async fn join(served: &Served, holder: Holder) -> Joined {
    let kept = keep(&[], true, 10 + holder as u64).await;
    let link = JoinLink::new("127.0.0.1", served.address.port(), holder.token()).unwrap();
    let (sender, mut events) = mpsc::channel(64);
    let (shutdown, stop) = watch::channel(false);
    let mut task = tokio::spawn(keep_joined(kept.hub.clone(), link, sender, stop));
    let outcome = timeout(PATIENCE, async {
        loop {
            tokio::select! {
                ended = &mut task => match ended.unwrap() {
                    Err(NetError::Refused { error, .. }) => return Err(error.code),
                    other => panic!("{other:?}"),
                },
                event = events.recv() => {
                    if matches!(event, Some(JoinEvent::Link(LinkEvent::Synced { .. }))) {
                        return Ok(());
                    }
                }
            }
        }
    });
    let outcome = outcome.await.expect("joined or refused");
    // A task that has ended cannot be waited for once more.
    let task = if outcome.is_err() { tokio::spawn(async { Ok(()) }) } else { task };
    Joined { kept, outcome, task, _events: events, _shutdown: shutdown }
}

impl Joined {
    /// Waits until the other side refuses to go on.
    pub async fn ended(&mut self) -> Option<ErrorCode> {
        match (&mut self.task).await.unwrap() {
            Err(NetError::Refused { error, .. }) => Some(error.code),
            _ => None,
        }
    }
}

/// A content client that reads nothing.
pub struct Stalled(TcpStream);

impl Stalled {
    pub async fn dial(served: &Served, holder: Holder) -> Stalled {
        let mut client = served.dial("/content").await.unwrap();
        let hello = json!({"type": "hello", "token": holder.token().secret(), "document": "a.txt"});
        client.send(&hello.to_string()).await;
        let stream = client.ws.into_inner();
        // The text is on its way, and does not fit.
        assert!(stream.peek(&mut [0; 1]).await.unwrap() > 0);
        Stalled(stream)
    }

    /// Starts to read only then; gives how much came.
    pub async fn read_after(mut self, pause: Duration) -> usize {
        sleep(pause).await;
        let (mut all, mut chunk) = (0, vec![0; 64 << 10]);
        while let Ok(count) = self.0.read(&mut chunk).await
            && count > 0
        {
            all += count;
        }
        all
    }
}
