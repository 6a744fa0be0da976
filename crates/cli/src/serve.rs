//! `syncline serve`: a hub that listens.

use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use syncline_hub::{Hub, HubEvent};
use syncline_net::{Access, check_bind};
use syncline_protocol::JoinLink;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{broadcast, watch};

use crate::failure::Failure;
use crate::state_dir::{StateDir, root_of};
use crate::{control, progress, report};

/// Where to listen if nothing is said.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7420);
/// So many connections may wait to be accepted: all clients may come back at once.
const BACKLOG: u32 = 4096;

/// Runs until interrupted.
pub async fn run(path: &Path, listen: Option<SocketAddr>, json: bool) -> Result<(), Failure> {
    if let Some(address) = listen {
        check_bind(address).map_err(|error| Failure::usage(error.to_string(), ""))?;
    }
    let (root, only) = root_of(path)?;
    let state = StateDir::open(&root)?;
    let listener = bind(listen)?;
    let address = listener.local_addr().map_err(|error| Failure::other(error.to_string(), ""))?;
    let access = Access::new(state.secret("token")?, state.secret("content-capability")?);
    let hub = state.open_hub(only, false).await?;
    let events = hub.events();
    scan(&hub, json).await?;
    let host = address.ip().to_string();
    let link = JoinLink::new(&host, address.port(), access.token().clone())
        .map_err(|error| Failure::other(error.to_string(), ""))?;
    let content = format!("ws://{address}{}", access.content_path());
    let plain = format!("ws://{address}/content");
    control::listen(&root, hub.clone(), json!({"role": "serves", "listen": address.to_string()}));
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(syncline_net::serve(listener, hub.clone(), access.clone(), stopped));
    if json {
        let token = access.token().secret();
        report::json_line(
            &json!({"join": link.to_string(), "content": content, "ws": plain, "token": token}),
        );
    } else {
        println!("Serving {} ({} files)", root.display(), hub.document_paths().len());
        println!("  join it      syncline join '{link}' DIR");
        println!("  for scripts  {content}");
        println!("Ctrl-C ends it; nothing is lost.");
    }
    tell_until_interrupted(events, json).await?;
    stop.send_replace(true);
    hub.close();
    match serving.await {
        Ok(Err(error)) => Err(Failure::other(error.to_string(), "")),
        _ => Ok(()),
    }
}

fn bind(listen: Option<SocketAddr>) -> Result<TcpListener, Failure> {
    let address = listen.unwrap_or(DEFAULT);
    let fail = |error: std::io::Error| {
        Failure::usage(
            format!("cannot listen at {address}: {error}"),
            "choose another with --listen 127.0.0.1:PORT",
        )
    };
    let at = |address: SocketAddr| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    match at(address) {
        Err(error) if listen.is_none() && error.kind() == std::io::ErrorKind::AddrInUse => {
            at(SocketAddr::new(address.ip(), 0)).map_err(fail)
        }
        bound => bound.map_err(fail),
    }
}

/// Waits for the first scan, with a bar.
pub async fn scan(hub: &Hub, json: bool) -> Result<(), Failure> {
    let bar = progress::bar("Reading", json);
    let mut events = hub.events();
    let scanned = hub.scanned();
    tokio::pin!(scanned);
    loop {
        tokio::select! {
            done = &mut scanned => {
                bar.finish_and_clear();
                return Ok(done?);
            }
            event = events.recv() => match event {
                Ok(HubEvent::Scanning { done, total }) => {
                    bar.set_length(total as u64);
                    bar.set_position(done as u64);
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(scanned.await?),
            },
        }
    }
}

/// Tells of events until Ctrl-C or SIGTERM.
pub async fn tell_until_interrupted(
    mut events: broadcast::Receiver<HubEvent>,
    json: bool,
) -> Result<(), Failure> {
    let interrupted = interrupted()?;
    tokio::pin!(interrupted);
    loop {
        tokio::select! {
            () = &mut interrupted => return Ok(()),
            event = events.recv() => match event {
                Ok(event) => report::tell(&event, json),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    if json {
                        report::json_line(&json!({"event": "missed", "events": missed}));
                    }
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
        }
    }
}

/// Resolves at Ctrl-C or SIGTERM.
pub fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let fail = |error: std::io::Error| Failure::other(error.to_string(), "");
    let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
