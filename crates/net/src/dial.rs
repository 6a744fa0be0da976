//! Dialing another hub, and dialing again.

use std::time::Duration;

use syncline_hub::Hub;
use syncline_protocol::replica::{Link, LinkEvent, Local, Role};
use syncline_protocol::{ErrorCode, JoinLink, ProtocolError, limits};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::error::Error as WsError;

use crate::back_off::BackOff;
use crate::error::NetError;
use crate::gate::Gate;
use crate::replica::{End, Shell, run};
use crate::socket::{Stranger, narrow_config};
use crate::tls::connect;

/// How long a connection must have stood to count as healthy.
pub(crate) const HEALTHY: Duration = Duration::from_secs(10);

/// What happens while a folder is joined.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JoinEvent {
    /// Something on the connection; the first is always [`LinkEvent::Connected`].
    Link(LinkEvent),
    /// There is no connection; editing goes on.
    Disconnected {
        /// Why, in a sentence.
        why: String,
        /// When it is tried again.
        retry_in: Duration,
    },
}

/// Keeps a hub joined to the one that a link leads to until `shutdown` holds `true` (or its sender is gone):
/// dials, synchronises, and dials again with growing pauses whenever the connection breaks.
///
/// Events go to `events`; they wait, bounded, for whoever takes them, and do not hold up the connection.
/// The first greeting ever takes over the other side's folder id; later ones, also after a restart, insist on
/// it.
///
/// # Errors
/// [`NetError::Refused`] when the other hub says no in a way that will not change by itself: a wrong token,
/// another folder, another version, or the hub itself.
pub async fn keep_joined(
    hub: Hub,
    link: JoinLink,
    events: mpsc::Sender<JoinEvent>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), NetError> {
    let mut back_off = BackOff::new();
    let mut folder = hub.joined_to();
    let url = link.replica_url();
    loop {
        let dialed = tokio::select! {
            dialed = dial(&link, &url) => dialed,
            () = crate::stopped(&mut shutdown) => return Ok(()),
        };
        let why = match dialed {
            Ok(stranger) => {
                let started = Instant::now();
                let local = Local {
                    agent: hub.agent(),
                    folder,
                    name: hub.folder_name(),
                    single_file: hub.single_file(),
                };
                let role = Role::Dialing { token: link.token().clone() };
                let check =
                    |_: &str| Err(ProtocolError::new(ErrorCode::BadMessage, "a greeting from a server"));
                let shell = Shell {
                    hub: hub.clone(),
                    check: &check,
                    events: Some(events.clone()),
                    shutdown: shutdown.clone(),
                    pass: None,
                    place: None,
                };
                let mut opened = false;
                let end = run(stranger, Link::new(role, local), shell, &mut opened).await;
                if opened {
                    folder = Some(hub.folder_id());
                }
                if opened && started.elapsed() >= HEALTHY {
                    back_off.reset();
                }
                match end {
                    End::Stopped => return Ok(()),
                    End::Refused(error) if is_final(&error) => {
                        return Err(NetError::Refused { place: link.place(), error });
                    }
                    End::Refused(error) => error.to_string(),
                    End::Lost(why) => why,
                }
            }
            Err(why) => why,
        };
        let retry_in = back_off.pause(fastrand::f64());
        let waits = async {
            // If nobody takes events any more, dialing goes on all the same.
            let _ = timeout(retry_in, events.send(JoinEvent::Disconnected { why, retry_in })).await;
            sleep(retry_in).await;
        };
        tokio::select! {
            () = waits => {}
            () = crate::stopped(&mut shutdown) => return Ok(()),
        }
    }
}

/// Whether dialing again cannot help.
fn is_final(error: &ProtocolError) -> bool {
    matches!(
        error.code,
        ErrorCode::Unauthorized
            | ErrorCode::Expired
            | ErrorCode::Revoked
            | ErrorCode::Forbidden
            | ErrorCode::WrongFolder
            | ErrorCode::SameHub
            | ErrorCode::UnsupportedVersion
    )
}

/// One attempt, at this address of the hub: a connection that has not greeted, or why there is none.
pub(crate) async fn dial(link: &JoinLink, url: &str) -> Result<Stranger, String> {
    let place = link.place();
    let dial = async {
        let stream = connect(link.host(), link.port(), link.trust()).await;
        let stream = stream.map_err(|why| format!("{place}: {why}"))?;
        // Wide for the answer's head, which a slow sender may not stretch: see the timeout.
        let gate = Gate::new(stream, limits::MAX_BEFORE_HELLO as u64);
        let answer = client_async_with_config(url, gate, Some(narrow_config())).await;
        match answer {
            Ok((ws, _)) => Ok(Stranger::dialed(ws)),
            Err(WsError::Http(response)) => Err(format!("{place} answered {}", response.status())),
            Err(error) => Err(format!("{place} is no Syncline hub: {error}")),
        }
    };
    match timeout(limits::HEAD_TIMEOUT, dial).await {
        Ok(dialed) => dialed,
        Err(_) => Err(format!("{place} did not answer within 10 s")),
    }
}
