//! A WebSocket within its limits: small before the hello, whole messages after it, alive or closed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use syncline_protocol::{ErrorCode, ProtocolError, limits};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::gate::{Gate, Meter, is_too_much};
use crate::head::gone;
use crate::tls::Stream;

/// Long messages are sent in fragments of so many bytes: each must leave within [`limits::PROGRESS_CLOSE`],
/// and the library's write buffer, which is moved on every write, stays short.
const FRAGMENT: usize = 64 << 10;

/// How many pings may come without a message between them.
const MAX_PINGS: u32 = 256;

/// How long a close may take to leave.
const CLOSING: Duration = Duration::from_secs(5);

type Ws = WebSocketStream<Gate<Stream>>;

/// A message as it came.
pub(crate) enum Received {
    Text(String),
    Binary(Bytes),
}

/// What is sent.
pub(crate) enum Outgoing {
    Text(String),
    Binary(Vec<u8>),
    /// The last one. `None`: in good order.
    Close(Option<ProtocolError>),
}

/// Why nothing more comes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Broken {
    /// The other side closed, or the network did.
    Gone(String),
    /// The other side broke a rule: it can be told.
    Rule(ProtocolError),
}

fn config(limit: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        // The gate below reads more at once, and keeps no room.
        .read_buffer_size(512)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * FRAGMENT)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit))
}

/// The configuration of a WebSocket before the hello.
pub(crate) fn narrow_config() -> WebSocketConfig {
    config(limits::MAX_BEFORE_HELLO)
}

/// A connection that has not said who it is.
pub(crate) struct Stranger {
    ws: Ws,
    meter: Arc<Meter>,
    role: Role,
    pings: u32,
}

impl Stranger {
    /// The accepting side, right after the answer to the head was sent.
    pub async fn accepted(mut gate: Gate<Stream>) -> Stranger {
        gate.set_narrow(true);
        let meter = gate.meter();
        meter.allow(limits::MAX_BEFORE_HELLO as u64);
        let ws = WebSocketStream::from_raw_socket(gate, Role::Server, Some(narrow_config())).await;
        Stranger { ws, meter, role: Role::Server, pings: 0 }
    }

    /// The dialing side, after the handshake.
    pub fn dialed(mut ws: Ws) -> Stranger {
        ws.get_mut().set_narrow(true);
        let meter = ws.get_ref().meter();
        meter.allow(limits::MAX_BEFORE_HELLO as u64);
        Stranger { ws, meter, role: Role::Client, pings: 0 }
    }

    /// The next message. Cancel-safe.
    pub async fn next(&mut self) -> Result<Received, Broken> {
        loop {
            if let Some(received) = sort(self.ws.next().await, &mut self.pings)? {
                return Ok(received);
            }
        }
    }

    /// Sends one short message.
    pub async fn send(&mut self, outgoing: Outgoing) -> Result<(), Broken> {
        let message = match outgoing {
            Outgoing::Text(text) => Message::Text(text.into()),
            Outgoing::Binary(bytes) => Message::Binary(bytes.into()),
            Outgoing::Close(error) => Message::Close(Some(close_frame(error.as_ref()))),
        };
        match timeout(CLOSING, self.ws.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Broken::Gone(error.to_string())),
            Err(_) => Err(Broken::Gone("it takes nothing".to_owned())),
        }
    }

    /// It has said who it is: from now on messages of that length.
    pub async fn let_in(mut self, limit: usize) -> Result<(Incoming, Writer), Broken> {
        // A pong may be waiting in the old WebSocket's buffer. What it has read is whole messages only: the
        // gate was narrow.
        let flushed = timeout(CLOSING, self.ws.flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            return Err(Broken::Gone("it takes nothing".to_owned()));
        }
        let mut gate = self.ws.into_inner();
        gate.set_narrow(false);
        let ws = WebSocketStream::from_raw_socket(gate, self.role, Some(config(limit))).await;
        let (sink, stream) = ws.split();
        // Fragments of one byte are not refused, but they are not paid for without end either.
        let allowance = 2 * limit as u64 + (1 << 20);
        self.meter.allow(allowance);
        let read = self.meter.read();
        let incoming =
            Incoming { stream, meter: self.meter, allowance, pings: 0, read, quiet_since: Instant::now() };
        Ok((incoming, Writer::start(sink)))
    }
}

/// The receiving half.
pub(crate) struct Incoming {
    stream: SplitStream<Ws>,
    meter: Arc<Meter>,
    allowance: u64,
    pings: u32,
    read: u64,
    quiet_since: Instant,
}

impl Incoming {
    /// How many bytes came so far.
    pub fn read(&self) -> u64 {
        self.meter.read()
    }

    /// The next message; an error after 45 s without a byte (pongs are bytes). Cancel-safe.
    pub async fn next(&mut self) -> Result<Received, Broken> {
        loop {
            let deadline = self.quiet_since + limits::IDLE_CLOSE;
            tokio::select! {
                // What has come counts, even if it was not looked at for long (an upload was being journalled).
                biased;
                message = self.stream.next() => {
                    self.quiet_since = Instant::now();
                    self.read = self.meter.read();
                    if let Some(received) = sort(message, &mut self.pings)? {
                        self.meter.allow(self.allowance);
                        return Ok(received);
                    }
                }
                () = sleep_until(deadline) => {
                    // A long message may be on its way.
                    let read = self.meter.read();
                    if read == self.read {
                        return Err(Broken::Gone("nothing came for 45 s".to_owned()));
                    }
                    self.read = read;
                    self.quiet_since = Instant::now();
                }
            }
        }
    }
}

/// What a message of the library means; `None`: nothing to anybody.
fn sort(message: Option<Result<Message, WsError>>, pings: &mut u32) -> Result<Option<Received>, Broken> {
    match message {
        None => Err(Broken::Gone("the other side closed".to_owned())),
        Some(Ok(Message::Text(text))) => {
            *pings = 0;
            Ok(Some(Received::Text(text.as_str().to_owned())))
        }
        Some(Ok(Message::Binary(bytes))) => {
            *pings = 0;
            Ok(Some(Received::Binary(bytes)))
        }
        Some(Ok(Message::Ping(_))) => {
            *pings += 1;
            if *pings > MAX_PINGS {
                return Err(Broken::Rule(ProtocolError::new(ErrorCode::TooMany, "too many pings")));
            }
            Ok(None)
        }
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(broken(error)),
    }
}

fn broken(error: WsError) -> Broken {
    match error {
        WsError::Capacity(error) => Broken::Rule(ProtocolError::new(ErrorCode::TooLarge, error.to_string())),
        WsError::Io(error) if is_too_much(&error) => {
            Broken::Rule(ProtocolError::new(ErrorCode::TooLarge, error.to_string()))
        }
        WsError::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => Broken::Gone("the connection broke".to_owned()),
        WsError::Protocol(error) => {
            Broken::Rule(ProtocolError::new(ErrorCode::BadMessage, error.to_string()))
        }
        WsError::Utf8(_) => {
            Broken::Rule(ProtocolError::new(ErrorCode::BadMessage, "a text that is not UTF-8"))
        }
        WsError::Io(error) => Broken::Gone(gone(&error)),
        error => Broken::Gone(error.to_string()),
    }
}

/// The sending half: a task that sends one message after another, pings, and gives up on who takes nothing.
pub(crate) struct Writer {
    /// One message waits while another is written: the rest waits, bounded, with whoever makes it.
    pub queue: mpsc::Sender<Outgoing>,
    /// How many messages are with the operating system.
    pub written: watch::Receiver<u64>,
    task: JoinHandle<String>,
}

impl Writer {
    fn start(sink: SplitSink<Ws, Message>) -> Writer {
        let (queue, messages) = mpsc::channel(1);
        let (count, written) = watch::channel(0);
        Writer { queue, written, task: tokio::spawn(write(sink, messages, count)) }
    }

    /// Waits until the task ends, and why. Cancel-safe.
    pub async fn ended(&mut self) -> String {
        match (&mut self.task).await {
            Ok(why) => why,
            Err(_) => "the connection's writer stopped".to_owned(),
        }
    }

    /// Sends the last message and waits until it has left, but not for long.
    pub async fn close(mut self, error: Option<ProtocolError>) {
        let last = async {
            if self.queue.send(Outgoing::Close(error)).await.is_ok() {
                self.ended().await;
            }
        };
        // If it does not leave, the connection is dropped without it.
        let _ = timeout(CLOSING, last).await;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn write(
    mut sink: SplitSink<Ws, Message>,
    mut messages: mpsc::Receiver<Outgoing>,
    count: watch::Sender<u64>,
) -> String {
    let mut pings = tokio::time::interval(limits::PING);
    pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    pings.reset();
    loop {
        let sent = tokio::select! {
            message = messages.recv() => match message {
                Some(Outgoing::Text(text)) => fragments(&mut sink, text.into(), Data::Text).await,
                Some(Outgoing::Binary(bytes)) => fragments(&mut sink, bytes.into(), Data::Binary).await,
                Some(Outgoing::Close(error)) => {
                    let frame = Message::Close(Some(close_frame(error.as_ref())));
                    let _ = timeout(CLOSING, sink.send(frame)).await;
                    return "closed".to_owned();
                }
                None => return "closed".to_owned(),
            },
            _ = pings.tick() => match in_time(sink.send(Message::Ping(Bytes::new()))).await {
                Ok(()) => continue,
                Err(why) => Err(why),
            },
        };
        if let Err(why) = sent {
            return why;
        }
        count.send_modify(|count| *count += 1);
    }
}

async fn fragments(sink: &mut SplitSink<Ws, Message>, bytes: Bytes, kind: Data) -> Result<(), String> {
    let mut start = 0;
    loop {
        let end = (start + FRAGMENT).min(bytes.len());
        let kind = if start == 0 { kind } else { Data::Continue };
        let last = end == bytes.len();
        let frame = Frame::message(bytes.slice(start..end), OpCode::Data(kind), last);
        in_time(sink.send(Message::Frame(frame))).await?;
        if last {
            return Ok(());
        }
        start = end;
    }
}

async fn in_time(send: impl Future<Output = Result<(), WsError>>) -> Result<(), String> {
    match timeout(limits::PROGRESS_CLOSE, send).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it took nothing for 30 s".to_owned()),
    }
}

fn close_frame(error: Option<&ProtocolError>) -> CloseFrame {
    let code = match error.map(|error| error.code) {
        None => CloseCode::Normal,
        Some(ErrorCode::TooLarge) => CloseCode::Size,
        Some(ErrorCode::BadMessage) => CloseCode::Protocol,
        Some(ErrorCode::Closing) => CloseCode::Away,
        Some(ErrorCode::Internal | ErrorCode::StorageFull) => CloseCode::Error,
        Some(_) => CloseCode::Policy,
    };
    let reason = error.map_or("", |error| error.code.code());
    CloseFrame { code, reason: reason.into() }
}
