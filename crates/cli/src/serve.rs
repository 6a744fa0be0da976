//! `syncline serve`: a hub that listens.

use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use syncline_hub::{Hub, HubEvent, Policy};
use syncline_net::{Access, check_bind};
use syncline_protocol::JoinLink;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{broadcast, watch};

use crate::failure::Failure;
use crate::state_dir::{StateDir, root_of, state_path};
use crate::{control, progress, reload, report};

/// Where to listen if nothing is said.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7420);
/// So many connections may wait to be accepted: all clients may come back at once.
const BACKLOG: u32 = 4096;

/// Runs until interrupted.
pub async fn run(
    path: &Path,
    listen: Option<SocketAddr>,
    diffsync: Option<SocketAddr>,
    policy: Policy,
    json: bool,
) -> Result<(), Failure> {
    for address in [listen, diffsync].into_iter().flatten() {
        check_bind(address).map_err(|error| Failure::usage(error.to_string(), ""))?;
    }
    let (root, only) = root_of(path)?;
    let state = StateDir::open(&root)?;
    let listener = bind(listen)?;
    let lines = diffsync.map(|address| bind_to(address, "--diffsync")).transpose()?;
    let lines_at = lines.as_ref().map(TcpListener::local_addr).transpose();
    let lines_at = lines_at.map_err(|error| Failure::other(error.to_string(), ""))?;
    let address = listener.local_addr().map_err(|error| Failure::other(error.to_string(), ""))?;
    let (tokens, nudge) = reload::tokens(state.path(), json)?;
    let access = Access::new(state.secret("token")?, state.secret("content-capability")?).with_grants(tokens);
    let hub = state.open_hub(only, false, policy).await?;
    let events = hub.events();
    scan(&hub, json).await?;
    let host = address.ip().to_string();
    let link = JoinLink::new(&host, address.port(), access.token().clone())
        .map_err(|error| Failure::other(error.to_string(), ""))?;
    let content = format!("ws://{address}{}", access.content_path());
    let plain = format!("ws://{address}/content");
    let mut facts = json!({
        "role": "serves", "listen": address.to_string(), "link_host": link.host(), "link_port": link.port(),
    });
    if let Some(lines_at) = lines_at {
        facts["diffsync"] = json!(lines_at.to_string());
    }
    control::listen(state.path(), hub.clone(), facts, Some(nudge));
    let (stop, stopped) = watch::channel(false);
    if let Some(lines) = lines {
        tokio::spawn(syncline_net::serve_lines(lines, hub.clone(), access.clone(), stopped.clone()));
    }
    let serving = tokio::spawn(syncline_net::serve(listener, hub.clone(), access.clone(), stopped));
    if json {
        let token = access.token().secret();
        let mut ready = json!({"join": link.to_string(), "content": content, "ws": plain, "token": token});
        if let Some(lines_at) = lines_at {
            ready["diffsync"] = json!(lines_at.to_string());
        }
        report::json_line(&ready);
    } else {
        println!("Serving {} ({} files)", root.display(), hub.document_paths().len());
        println!("  join it      syncline join '{link}' DIR");
        println!("  for scripts  {content}");
        if let Some(lines_at) = lines_at {
            let token = state_path(&root).join("token");
            println!("  diff-sync    syncline connect {lines_at} FILE --token-file '{}'", token.display());
        }
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
    match listen {
        Some(address) => bind_to(address, "--listen"),
        // Nobody asked for this port: if it is taken, another will do.
        None => {
            bind_to(DEFAULT, "--listen").or_else(|_| bind_to(SocketAddr::new(DEFAULT.ip(), 0), "--listen"))
        }
    }
}

fn bind_to(address: SocketAddr, flag: &str) -> Result<TcpListener, Failure> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|error: std::io::Error| {
        let hint = format!("choose another with {flag} 127.0.0.1:PORT");
        Failure::usage(format!("cannot listen at {address}: {error}"), hint)
    })
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
