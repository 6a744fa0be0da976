//! When what was changed here is told to everybody, and what is counted on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use syncline_hub::{Change, ChangeFeed, Hub, HubEvent};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::pace::Pace;
use crate::seat::Seat;

/// What is shown of a user's doings.
#[derive(Default, Debug)]
pub struct Counters {
    /// Operations: places of a text that saves here changed.
    pub changes: AtomicU64,
    /// How many of them were broadcast.
    pub broadcast: AtomicU64,
    /// Batches of others' changes that came and are recorded here.
    pub receipts: AtomicU64,
}

/// Whose doing a new version is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// This hub's.
    Here,
    /// A neighbour's: they tell everybody themselves.
    Neighbour,
    /// It came from elsewhere, by this hub.
    Elsewhere,
}

/// Whose doing a version with these heads is. `bridged`: this hub is also joined to one elsewhere.
pub(crate) fn origin(change: &Change, hub: &Hub, seat: &Seat, bridged: bool) -> Origin {
    let (_, heads) = change;
    if heads.ids().iter().any(|id| id.agent == hub.agent()) {
        return Origin::Here;
    }
    if !bridged {
        return Origin::Neighbour;
    }
    let agents: Vec<[u8; 16]> =
        seat.registry().neighbours().into_iter().map(|neighbour| neighbour.agent).collect();
    let known = |id: &[u8]| agents.iter().any(|agent| id.starts_with(agent));
    match heads.ids().iter().all(|id| known(id.agent.as_bytes())) {
        true => Origin::Neighbour,
        false => Origin::Elsewhere,
    }
}

/// Counts up `broadcasts` whenever all sessions should tell what was changed here. `changes` must have been subscribed
/// before those of the sessions: when it gives a change, theirs have given it, or will when they are asked.
pub(crate) async fn keep_pace(
    hub: Hub,
    mut changes: ChangeFeed,
    mut pace: Pace,
    counters: Arc<Counters>,
    broadcasts: watch::Sender<u64>,
) {
    let mut events = hub.events();
    let started = Instant::now();
    loop {
        // At once, not by a timer: those are a millisecond late or two.
        let now = started.elapsed();
        if pace.due().is_some_and(|at| at <= now) {
            let released = pace.released(now);
            counters.broadcast.fetch_add(u64::from(released), Ordering::Relaxed);
            broadcasts.send_modify(|count| *count += 1);
            continue;
        }
        let due = pace.due().map(|at| started + at);
        tokio::select! {
            // A save's change comes before what is said of it.
            biased;
            () = hub.closed() => return,
            changed = changes.next() => {
                // Most are saves, whose operations follow.
                if changed.iter().any(|(_, heads)| heads.ids().iter().any(|id| id.agent == hub.agent())) {
                    pace.changed(0, started.elapsed());
                }
            }
            event = events.recv() => match event {
                Ok(HubEvent::Saved { changes, .. }) => {
                    let changes = u32::try_from(changes).unwrap_or(u32::MAX);
                    counters.changes.fetch_add(u64::from(changes), Ordering::Relaxed);
                    if pace.counted(changes) {
                        counters.broadcast.fetch_add(u64::from(changes), Ordering::Relaxed);
                    }
                }
                Ok(_) => {}
                // Some saves among them, perhaps: better too early than too late.
                Err(RecvError::Lagged(missed)) => {
                    pace.changed(u32::try_from(missed).unwrap_or(u32::MAX), started.elapsed());
                }
                Err(RecvError::Closed) => return,
            },
            () = async { match due { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {}
        }
    }
}
