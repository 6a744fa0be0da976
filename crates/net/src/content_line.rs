//! A client's connection on `content`, dialed again whenever it breaks.

use std::time::Duration;

use syncline_protocol::{JoinLink, limits};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::back_off::BackOff;
use crate::dial::{HEALTHY, dial};
use crate::socket::{Broken, Outgoing, Received};

/// What happens on the line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LineEvent {
    /// A connection stands: the `line`-th.
    Connected {
        /// Counts connections.
        line: u64,
    },
    /// A text message came.
    Received(String),
    /// There is no connection.
    Lost {
        /// Why, in a sentence.
        why: String,
        /// When it is tried again.
        retry_in: Duration,
    },
}

/// What is to be done on the line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LineOrder {
    /// Send this text; passed over unless it was meant for the connection that stands.
    Send {
        /// The connection that it was meant for.
        line: u64,
        /// The text.
        text: String,
    },
    /// Drop the connection, and dial again at once.
    Redial,
    /// Dial again at once, if there is no connection.
    Hurry,
}

/// Keeps a connection to the hub that a link leads to, until nobody gives orders or takes events any more. What is said
/// on it is the caller's affair ([`syncline_protocol::content::Client`]); each side waits, bounded, for the other.
pub async fn keep_line(
    link: JoinLink,
    mut orders: mpsc::Receiver<LineOrder>,
    events: mpsc::Sender<LineEvent>,
) {
    let mut back_off = BackOff::new();
    let (mut line, url) = (0, link.content_url());
    loop {
        let dialed = tokio::select! {
            dialed = dial(&link, &url) => dialed,
            () = events.closed() => return,
        };
        let why = match dialed {
            Ok(stranger) => {
                let started = Instant::now();
                line += 1;
                let why = match stranger.let_in(limits::MAX_CONTENT_MESSAGE).await {
                    Ok((incoming, writer)) => talk(line, incoming, writer, &mut orders, &events).await,
                    Err(broken) => End::Broken(said(&broken)),
                };
                if started.elapsed() >= HEALTHY {
                    back_off.reset();
                }
                match why {
                    End::Broken(why) => why,
                    End::Redial => {
                        let why = "the connection is made anew".to_owned();
                        if events.send(LineEvent::Lost { why, retry_in: Duration::ZERO }).await.is_err() {
                            return;
                        }
                        continue;
                    }
                    End::Done => return,
                }
            }
            Err(why) => why,
        };
        let retry_in = back_off.pause(fastrand::f64());
        if events.send(LineEvent::Lost { why, retry_in }).await.is_err() {
            return;
        }
        let pause = sleep(retry_in);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                () = events.closed() => return,
                order = orders.recv() => match order {
                    Some(LineOrder::Hurry | LineOrder::Redial) => break,
                    Some(LineOrder::Send { .. }) => {}
                    None => return,
                },
            }
        }
    }
}

/// Why a connection is over.
enum End {
    Broken(String),
    Redial,
    /// Nobody is interested any more.
    Done,
}

fn said(broken: &Broken) -> String {
    match broken {
        Broken::Gone(why) => why.clone(),
        Broken::Rule(error) => error.to_string(),
    }
}

async fn talk(
    line: u64,
    mut incoming: crate::socket::Incoming,
    mut writer: crate::socket::Writer,
    orders: &mut mpsc::Receiver<LineOrder>,
    events: &mpsc::Sender<LineEvent>,
) -> End {
    if events.send(LineEvent::Connected { line }).await.is_err() {
        return End::Done;
    }
    let mut outgoing: Option<String> = None;
    loop {
        let queue = writer.queue.clone();
        tokio::select! {
            why = writer.ended() => return End::Broken(why),
            permit = queue.reserve(), if outgoing.is_some() => {
                if let (Ok(permit), Some(text)) = (permit, outgoing.take()) {
                    permit.send(Outgoing::Text(text));
                }
            }
            order = orders.recv(), if outgoing.is_none() => match order {
                Some(LineOrder::Send { line: meant, text }) if meant == line => outgoing = Some(text),
                Some(LineOrder::Send { .. } | LineOrder::Hurry) => {}
                Some(LineOrder::Redial) => return End::Redial,
                None => {
                    writer.close(None).await;
                    return End::Done;
                }
            },
            message = incoming.next() => match message {
                Ok(Received::Text(text)) => {
                    if events.send(LineEvent::Received(text)).await.is_err() {
                        return End::Done;
                    }
                }
                Ok(Received::Binary(_)) => return End::Broken("it sent what is no text".to_owned()),
                Err(broken) => return End::Broken(said(&broken)),
            },
        }
    }
}
