//! Accepting connections: heads within their time and size, then the protocol that the path names.

use std::sync::Arc;
use std::time::Duration;

use syncline_hub::Hub;
use syncline_protocol::access::Channel;
use syncline_protocol::content::Session;
use syncline_protocol::replica::{Link, Local, Role};
use syncline_protocol::{ErrorCode, ProtocolError, limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::access::Presented;
use crate::admission::{Admission, Place};
use crate::diffsync::Wire;
use crate::entrance::{Entrance, Protection, check_bind};
use crate::error::NetError;
use crate::gate::Gate;
use crate::head::{FULL, HeadError, NoEntry, Route, SLOW, read_head, refusal_bytes, route};
use crate::lines::Lines;
use crate::pass::Pass;
use crate::replica::Shell;
use crate::socket::Stranger;
use crate::tls::{self, Stream};
use crate::{content, diffsync, replica};

/// How long connections get to say goodbye when the hub stops.
const GOODBYE: Duration = Duration::from_secs(2);

/// How long a refused connection is read from, so that the refusal arrives before the reset.
const LINGER: Duration = Duration::from_secs(1);

/// Accepts connections until `shutdown` holds `true` (or its sender is gone), then lets them say goodbye.
///
/// The caller has bound the listener and asked [`check_bind`]. An [`Access`](crate::Access) is an entrance
/// without TLS.
///
/// # Errors
/// [`NetError::PublicWithoutTls`] as [`check_bind`]; [`NetError::Listener`] if the listener's own address cannot be
/// read. A single connection's fault is
/// never an error of the listener, and neither is a passing lack of file descriptors.
pub async fn serve(
    listener: TcpListener,
    hub: Hub,
    entrance: impl Into<Entrance>,
    shutdown: watch::Receiver<bool>,
) -> Result<(), NetError> {
    accept(listener, hub, entrance.into(), shutdown, Door::Http).await
}

/// The same for connections that speak `diffsync`, one JSON message a line.
///
/// # Errors
/// As [`serve`].
pub async fn serve_lines(
    listener: TcpListener,
    hub: Hub,
    entrance: impl Into<Entrance>,
    shutdown: watch::Receiver<bool>,
) -> Result<(), NetError> {
    accept(listener, hub, entrance.into(), shutdown, Door::Lines).await
}

/// What is spoken first on a listener's connections.
#[derive(Clone, Copy)]
enum Door {
    Http,
    Lines,
}

async fn accept(
    listener: TcpListener,
    hub: Hub,
    entrance: Entrance,
    mut shutdown: watch::Receiver<bool>,
    door: Door,
) -> Result<(), NetError> {
    let address = listener.local_addr();
    let address =
        address.map_err(|source| NetError::Listener { address: "the listener".to_owned(), source })?;
    check_bind(address, entrance.protection())?;
    let is_secured = entrance.protection() == Protection::Tls;
    let entrance = Arc::new(entrance);
    let admission = Admission::new();
    let mut connections = JoinSet::new();
    let stop = shutdown.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let server = Server { hub: hub.clone(), entrance: Arc::clone(&entrance), shutdown: stop.clone() };
                    match (admission.admit(peer.ip(), Instant::now()), door) {
                        (Some(place), Door::Http) => drop(connections.spawn(server.connection(stream, place))),
                        (Some(place), Door::Lines) => drop(connections.spawn(server.lines(stream, place))),
                        // Words without TLS would be taken for a fault of it.
                        (None, _) if is_secured => drop(stream),
                        // Not answered from a task of its own: that would be one more thing to run out of.
                        (None, Door::Http) => drop(stream.try_write(&refusal_bytes(&FULL))),
                        (None, Door::Lines) => {
                            let full = ProtocolError::new(ErrorCode::TooMany, "too many connections");
                            drop(stream.try_write(format!("{}\n", full.to_json()).as_bytes()));
                        }
                    }
                }
                // Out of file descriptors, or the client was gone at once: the next accept may succeed.
                Err(_) => sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = crate::stopped(&mut shutdown) => break,
        }
    }
    drop(listener);
    let _ = timeout(GOODBYE, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

struct Server {
    hub: Hub,
    entrance: Arc<Entrance>,
    shutdown: watch::Receiver<bool>,
}

impl Server {
    /// With TLS, if that is spoken here; `None` if nothing comes of it.
    async fn secured(&mut self, stream: TcpStream) -> Option<Stream> {
        let certificate = self.entrance.certificate();
        tokio::select! {
            stream = tls::accept(stream, certificate.as_deref()) => stream,
            () = crate::stopped(&mut self.shutdown) => None,
        }
    }

    /// A connection, from its first byte to its last. Each part is in a box of its own: what is over takes no room
    /// while a connection stands and is idle.
    async fn connection(mut self, stream: TcpStream, mut place: Place) {
        if let Some((route, gate)) = Box::pin(self.upgraded(stream)).await {
            Box::pin(self.speak(route, gate, &mut place)).await;
        }
    }

    /// Reads the head and answers it; `None`: there is nothing more to say.
    async fn upgraded(&mut self, stream: TcpStream) -> Option<(Route, Gate<Stream>)> {
        let stream = self.secured(stream).await?;
        let mut gate = Gate::new(stream, limits::MAX_BEFORE_HELLO as u64 + 1);
        let head = tokio::select! {
            head = timeout(limits::HEAD_TIMEOUT, read_head(&mut gate)) => head,
            () = crate::stopped(&mut self.shutdown) => return None,
        };
        let wanted = match head {
            Ok(Ok(head)) => route(&head, &self.entrance).and_then(|route| Ok((route, head.upgrade()?))),
            Ok(Err(HeadError::Refused(no))) => Err(no),
            Ok(Err(HeadError::Gone)) => return None,
            Err(_) => Err(SLOW),
        };
        match wanted {
            Ok((route, answer)) => {
                let sent = timeout(limits::HEAD_TIMEOUT, gate.write_all(&answer)).await;
                matches!(sent, Ok(Ok(()))).then_some((route, gate))
            }
            Err(no) => {
                refuse(gate, &no).await;
                None
            }
        }
    }

    async fn lines(mut self, stream: TcpStream, mut place: Place) {
        let Some(stream) = Box::pin(self.secured(stream)).await else { return };
        let wire = Wire::Lines(Lines::new(stream, limits::MAX_BEFORE_HELLO));
        let pass = Pass::new(&self.entrance.access, Channel::Diffsync);
        pass.guard(Box::pin(diffsync::run(wire, self.hub, &pass, &mut place, self.shutdown))).await;
    }

    async fn speak(self, route: Route, gate: Gate<Stream>, place: &mut Place) {
        let stranger = Stranger::accepted(gate).await;
        let Server { hub, entrance, shutdown } = self;
        let pass = Pass::new(&entrance.access, route.channel());
        let session = match route {
            Route::Replica => {
                let local = Local {
                    agent: hub.agent(),
                    folder: Some(hub.folder_id()),
                    name: hub.folder_name(),
                    single_file: hub.single_file(),
                };
                let check = |token: &str| pass.show(Presented::Token(token)).map_err(ProtocolError::from);
                let pass = &pass;
                let shell = Shell {
                    hub,
                    check: &check,
                    events: None,
                    shutdown,
                    pass: Some(pass),
                    place: Some(place),
                };
                let link = Link::new(Role::Accepting, local);
                let mut opened = false;
                let run = async {
                    replica::run(stranger, link, shell, &mut opened).await;
                };
                return pass.guard(Box::pin(run)).await;
            }
            Route::Content => Session::new(),
            Route::Diffsync => {
                let wire = Wire::Stranger(Box::new(stranger));
                return pass.guard(Box::pin(diffsync::run(wire, hub, &pass, place, shutdown))).await;
            }
            Route::Admitted { capability, document } => {
                // The head was let in with it: at worst it is nobody's now, who may not open anything.
                let _ = pass.show(Presented::Capability(&capability));
                Session::admitted(document)
            }
        };
        pass.guard(Box::pin(content::run(stranger, session, hub, &pass, place, shutdown))).await;
    }
}

/// Answers, and reads on for a moment: closing with unread bytes resets the connection, and the answer
/// would be lost with it.
async fn refuse(mut gate: Gate<Stream>, no: &NoEntry) {
    let _ = timeout(LINGER, async {
        gate.write_all(&refusal_bytes(no)).await?;
        gate.shutdown().await?;
        gate.meter().allow(64 << 10);
        let mut rest = [0; 1024];
        while gate.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    })
    .await;
}
