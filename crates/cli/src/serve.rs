//! `syncline serve`: a hub that listens.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use syncline_hub::{Hub, HubEvent, Policy};
use syncline_net::{Access, Certificate, Entrance, check_bind};
use syncline_protocol::{JoinLink, Trust, fingerprint_text};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{broadcast, watch};

use crate::args::Secure;
use crate::failure::Failure;
use crate::state_dir::{StateDir, root_made, state_path};
use crate::{control, progress, protection, reload, report};

/// Where to listen if nothing is said.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7420);
/// So many connections may wait to be accepted: all clients may come back at once.
const BACKLOG: u32 = 4096;

/// Runs until interrupted. Listens at two addresses, each if it is given: for everybody, and for diff-sync in
/// lines.
pub async fn run(
    path: &Path,
    [listen, diffsync]: [Option<SocketAddr>; 2],
    secure: &Secure,
    policy: Policy,
    json: bool,
) -> Result<(), Failure> {
    for address in [listen, diffsync].into_iter().flatten() {
        check_bind(address, protection::asked(secure)).map_err(|error| {
            let hint =
                "or, on a network that you trust with every text and the link itself, --insecure-public";
            Failure::usage(error.to_string(), hint)
        })?;
    }
    let (root, only) = root_made(path)?;
    let state = StateDir::open(&root)?;
    let listener = bind(listen)?;
    let lines = diffsync.map(|address| bind_to(address, "--diffsync")).transpose()?;
    let lines_at = lines.as_ref().map(TcpListener::local_addr).transpose();
    let lines_at = lines_at.map_err(|error| Failure::other(error.to_string(), ""))?;
    let address = listener.local_addr().map_err(|error| Failure::other(error.to_string(), ""))?;
    let host = protection::host(secure, address);
    let files = protection::files(secure, state.path(), &host)?;
    let certificate = files.map(|files| reload::certificate(files, json)).transpose()?;
    let (tokens, nudge) = reload::tokens(state.path(), json)?;
    let access = Access::new(state.secret("token")?, state.secret("content-capability")?)
        .with_grants(tokens)
        .with_host_names(secure.host.iter().cloned().collect());
    let link = JoinLink::new(&host, address.port(), access.token().clone())
        .map_err(|error| Failure::usage(error.to_string(), "give the name of this machine with --host"))?;
    let entrance = match &certificate {
        Some(certificate) => Entrance::from(access.clone()).over_tls(certificate.clone()),
        None if secure.insecure_public => Entrance::from(access.clone()).trusting_the_network(),
        None => Entrance::from(access.clone()),
    };
    let hub = state.open_hub(only, false, policy).await?;
    let events = hub.events();
    scan(&hub, json).await?;
    let lines_at = lines_at.map(|at| with_host(&protection::host(secure, at), at.port()));
    let spoken = Spoken { host, address, lines_at, certificate, link, access };
    control::listen(state.path(), hub.clone(), spoken.facts(), Some(nudge));
    let (stop, stopped) = watch::channel(false);
    let lines = lines.map(|lines| {
        tokio::spawn(syncline_net::serve_lines(lines, hub.clone(), entrance.clone(), stopped.clone()))
    });
    let serving = tokio::spawn(syncline_net::serve(listener, hub.clone(), entrance, stopped));
    // Whoever hears that it is ready may end it at once.
    let interrupted = interrupted()?;
    spoken.tell(&root, hub.document_paths().len(), json);
    tell_until_interrupted(events, json, interrupted).await?;
    stop.send_replace(true);
    // First the listeners: a diff-sync session is kept by the hub when its connection ends.
    let served = serving.await;
    if let Some(lines) = lines {
        drop(lines.await);
    }
    hub.close();
    match served {
        Ok(Err(error)) => Err(Failure::other(error.to_string(), "")),
        _ => Ok(()),
    }
}

/// Where and how a hub is spoken to.
#[derive(Clone)]
struct Spoken {
    host: String,
    address: SocketAddr,
    /// `HOST:PORT` of diff-sync in lines.
    lines_at: Option<String>,
    certificate: Option<watch::Receiver<Arc<Certificate>>>,
    /// Without TLS; see [`Spoken::trust`].
    link: JoinLink,
    access: Access,
}

impl Spoken {
    /// As the certificate is now.
    fn trust(&self) -> Trust {
        protection::trust(self.certificate.as_ref(), &self.host)
    }

    /// What the control socket tells.
    fn facts(&self) -> impl Fn() -> Value + Send + Sync + use<> {
        let spoken = self.clone();
        move || {
            let mut facts = json!({
                "role": "serves", "listen": spoken.address.to_string(), "link_host": spoken.link.host(),
                "link_port": spoken.link.port(), "tls": protection::trust_name(spoken.trust()),
            });
            if let Some(lines_at) = &spoken.lines_at {
                facts["diffsync"] = json!(lines_at);
            }
            facts
        }
    }

    /// What is printed when the hub is ready.
    fn tell(&self, root: &Path, files: usize, json: bool) {
        let trust = self.trust();
        let link = self.link.clone().with_trust(trust);
        let scheme = if trust == Trust::Plain { "ws" } else { "wss" };
        let content = format!("{scheme}://{}{}", link.place(), self.access.content_path());
        if json {
            let plain = format!("{scheme}://{}/content", link.place());
            let token = self.access.token().secret();
            let mut ready = json!({
                "join": link.to_string(), "content": content, "ws": plain, "token": token,
                "tls": protection::trust_name(trust),
            });
            if let Some(lines_at) = &self.lines_at {
                ready["diffsync"] = json!(lines_at);
            }
            return report::json_line(&ready);
        }
        println!("Serving {} ({files} files)", root.display());
        println!("  join it      syncline join '{link}' DIR");
        println!("  for scripts  {content}");
        if let Some(lines_at) = &self.lines_at {
            let token = state_path(root).join("token");
            let tls = match trust {
                Trust::Plain => String::new(),
                Trust::Authorities => " --tls".to_owned(),
                Trust::Fingerprint(fingerprint) => {
                    format!(" --fingerprint {}", fingerprint_text(&fingerprint))
                }
            };
            println!(
                "  diff-sync    syncline connect {lines_at} FILE --token-file '{}'{tls}",
                token.display()
            );
        }
        if trust == Trust::Plain && !self.address.ip().to_canonical().is_loopback() {
            println!("  Without TLS: everybody on the network can read along.");
        }
        println!("Ctrl-C ends it; nothing is lost.");
    }
}

/// `HOST:PORT`, an IPv6 address in brackets.
fn with_host(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
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
    interrupted: impl Future<Output = ()>,
) -> Result<(), Failure> {
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
