//! The cable between machine 0 and another: ordered, late, cut at times, and spoiling a message now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use syncline_disk::FakeFolder;
use syncline_hub::{Hub, Replica, Side};
use syncline_protocol::Token;
use syncline_protocol::replica::{Input, Link, Local, Role};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

/// A message and when it arrives.
type Parcel = (Instant, Vec<u8>);

/// How many messages are under way at most, in one direction.
const UNDER_WAY: usize = 64;

/// What both ends share.
pub struct Cable {
    /// At least and at most, in milliseconds.
    pub latency: (u64, u64),
    /// The next message is spoilt.
    pub spoil: AtomicBool,
    /// How long after the others of its hub it hears of the catalogue.
    pub turn: Duration,
}

/// One end: a hub, and the process it runs in.
pub struct End {
    /// The hub.
    pub hub: Hub,
    /// Its disk's handle, which knows whether it was killed.
    pub process: FakeFolder,
    /// Whether this end dialed.
    pub dialed: bool,
}

/// Runs both ends until one of them ends. Both are dropped then, with what was under way.
pub async fn connect(cable: Arc<Cable>, one: End, other: End, seed: u64) {
    let (to_other, from_one) = mpsc::channel(UNDER_WAY);
    let (to_one, from_other) = mpsc::channel(UNDER_WAY);
    let ends = (
        run(cable.clone(), one, to_other, from_other, seed),
        run(cable, other, to_one, from_one, seed ^ 0x0ff),
    );
    tokio::select! {
        biased;
        () = ends.0 => {}
        () = ends.1 => {}
    }
}

async fn run(
    cable: Arc<Cable>,
    end: End,
    out: mpsc::Sender<Parcel>,
    mut incoming: mpsc::Receiver<Parcel>,
    seed: u64,
) {
    let End { hub, process, dialed } = end;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut changes = hub.changes();
    let mut catalogue = hub.catalogue_changed();
    let local = Local {
        agent: hub.agent(),
        // Not known before the folder was joined.
        folder: if dialed { hub.joined_to() } else { Some(hub.folder_id()) },
        name: "simulated".to_owned(),
        single_file: false,
    };
    let role = if dialed { Role::Dialing { token: Token::from_random([1; 32]) } } else { Role::Accepting };
    let check = |_: &str| Ok(());
    let side = if dialed { Side::Joined } else { Side::Served };
    let mut replica = Replica::new(hub, Link::new(role, local), &check, side);
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut next): (Instant, Option<Parcel>) = (Instant::now(), None);
    replica.handle(Input::Opened);
    loop {
        let mut sent = false;
        while out.capacity() > 0
            && let Some(mut bytes) = replica.next_message()
        {
            if process.is_killed() {
                return;
            }
            if !bytes.is_empty() && cable.spoil.swap(false, Ordering::Relaxed) {
                let at = rng.usize(0..bytes.len());
                bytes[at] ^= 1 << rng.u8(0..8);
            }
            let (least, most) = cable.latency;
            last = last.max(Instant::now() + Duration::from_millis(rng.u64(least..=most)));
            if out.try_send((last, bytes)).is_err() {
                return;
            }
            sent = true;
        }
        if sent && !replica.has_messages() {
            replica.handle(Input::Drained);
            continue;
        }
        while replica.next_event().is_some() {}
        if !replica.has_messages() && replica.end().is_some() {
            return;
        }
        let arrives = next.as_ref().map(|(at, _)| *at);
        tokio::select! {
            biased;
            done = replica.done(), if replica.is_working() => replica.handle(done),
            () = sleep_until(arrives.unwrap_or_else(Instant::now)), if arrives.is_some() && replica.has_room() => {
                if let Some((_, bytes)) = next.take() {
                    replica.received(&bytes);
                }
            }
            parcel = incoming.recv(), if next.is_none() => match parcel {
                Some(parcel) => next = Some(parcel),
                None => return,
            },
            changed = catalogue.changed() => {
                // tokio's watch wakes those who wait in an order of its own, another each time: the cables of one hub
                // take their turns.
                sleep(cable.turn).await;
                match changed {
                    Ok(()) => replica.handle(Input::CatalogueChanged),
                    Err(_) => return,
                }
            }
            changed = changes.next() => {
                // A new document's events must not overtake the catalogue that names it.
                if catalogue.has_changed().unwrap_or(false) {
                    catalogue.mark_unchanged();
                    replica.handle(Input::CatalogueChanged);
                }
                replica.handle(Input::DocumentsChanged(changed));
            }
            _ = tick.tick() => replica.handle(Input::Tick),
        }
        if process.is_killed() {
            return;
        }
    }
}
