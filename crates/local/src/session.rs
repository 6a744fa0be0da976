//! One session with one other user: a [`Replica`], a [`Conversation`], and the wire to them.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use syncline_hub::{Hub, Replica, Side};
use syncline_protocol::replica::{Input, Link, LinkEvent, Local, Role};
use syncline_protocol::{ProtocolError, Token};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::broadcast::{Counters, Origin, origin};
use crate::conversation::{Conversation, Ends};
use crate::datagram::{Header, Kind};
use crate::seat::Seat;
use crate::wire::Wire;

/// Changes that somebody else here made are passed on only after this: they send them to everybody themselves,
/// and only if they were killed half-way is there anything left to do.
const RELAY: Duration = Duration::from_secs(1);
/// How long a session that is over may take to say its last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What all sessions of a user have in common.
#[derive(Clone)]
pub(crate) struct Context {
    pub hub: Hub,
    pub seat: Arc<Seat>,
    /// The id of what is shared: the same for everybody in the group.
    pub folder: [u8; 16],
    /// Whether this hub is joined to one elsewhere, too, and passes on what comes from there.
    pub bridged: bool,
    pub counters: Arc<Counters>,
    /// Counts the broadcasts.
    pub broadcasts: watch::Receiver<u64>,
    pub shutdown: watch::Receiver<bool>,
}

/// What a session tells of itself.
#[derive(Debug)]
pub(crate) enum Note {
    /// Everything that the other had is here.
    Synced,
    /// A document is left alone.
    Refused(ProtocolError),
}

/// Which side this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Dials,
    Accepts,
}

/// Runs a session with the user of slot `to` to its end; gives why it ended.
pub(crate) async fn talk(
    context: Context,
    mut wire: Wire,
    mut inbox: mpsc::Receiver<Vec<u8>>,
    (ends, to): (Ends, usize),
    part: Part,
    notes: impl Fn(Note),
) -> String {
    let Context { hub, seat, folder, bridged, counters, mut broadcasts, mut shutdown } = context;
    // Subscribed before anything is read of the hub: what changes from here on is told.
    let mut changes = hub.changes();
    let mut catalogue = hub.catalogue_changed();
    // The kernel has let in only this account; there is nothing to prove with a token.
    let role = match part {
        Part::Dials => Role::Dialing { token: Token::from_random([0; 32]) },
        Part::Accepts => Role::Accepting,
    };
    let local = Local {
        agent: hub.agent(),
        folder: Some(folder),
        name: hub.folder_name(),
        single_file: hub.single_file(),
    };
    let check = |_: &str| Ok(());
    let mut replica = Replica::new(hub.clone(), Link::new(role, local), &check, Side::Neighbour);
    let mut conversation = Conversation::new(ends, wire.size());
    let started = Instant::now();
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What was changed here and waits for the broadcast, and what was changed by others here.
    let (mut own, mut relayed) = (BTreeMap::new(), BTreeMap::new());
    let mut relay_at: Option<Instant> = None;
    let (mut drained, mut paced) = (true, true);
    let mut over: Option<(Instant, String)> = None;
    replica.handle(Input::Opened);
    loop {
        // Its end is the user's, who leaves; at any other time the other would never be told of anything again.
        if !paced && !*shutdown.borrow() {
            return "the broadcasts ended".to_owned();
        }
        let now = started.elapsed();
        // Between the hub's side and the wire's.
        while conversation.has_room()
            && let Some(message) = replica.next_message()
        {
            conversation.send(message);
            drained = false;
        }
        if !drained && !replica.has_messages() && conversation.is_drained() {
            drained = true;
            replica.handle(Input::Drained);
            continue;
        }
        let merged = replica.merged();
        while replica.has_room()
            && let Some(message) = conversation.take()
        {
            replica.received(&message);
        }
        counters.receipts.fetch_add(replica.merged() - merged, Ordering::Relaxed);
        while let Some(event) = replica.next_event() {
            match event {
                LinkEvent::Synced { .. } => notes(Note::Synced),
                LinkEvent::DocumentRefused { error, .. } => notes(Note::Refused(error)),
                _ => {}
            }
        }
        conversation.tick(now);
        let blocked = match transmit(&mut wire, &mut conversation, inbox.is_empty(), now) {
            Ok(blocked) => blocked,
            Err(why) => return why,
        };
        if over.is_none()
            && let Some(end) = replica.end()
        {
            let why = end.map_or_else(|| "it left".to_owned(), |error| error.to_string());
            over = Some((Instant::now() + LAST_WORDS, why));
        }
        if let Some((until, why)) = &over
            && !replica.has_messages()
            && (conversation.is_done() || *until <= Instant::now())
        {
            let _ = wire.send(&ends.header(Kind::Gone).datagram(&[]));
            return why.clone();
        }
        if !blocked && (conversation.has_room() && replica.has_messages()) {
            continue;
        }
        let resend = conversation.wake_at().map(|at| started + at);
        let last_words = over.as_ref().map(|(until, _)| *until);
        let wake = [relay_at, resend, last_words].into_iter().flatten().min();
        let working = replica.is_working();
        tokio::select! {
            datagram = inbox.recv() => {
                let Some(datagram) = datagram else { return "another session took its place".to_owned() };
                let mut next = Some(datagram);
                while let Some(datagram) = next {
                    if let Some((header, payload)) = Header::read(&datagram)
                        && let Err(broken) = conversation.received(&header, payload, started.elapsed())
                    {
                        return broken.to_string();
                    }
                    next = inbox.try_recv().ok();
                }
            }
            done = replica.done(), if working => {
                let merged = replica.merged();
                replica.handle(done);
                counters.receipts.fetch_add(replica.merged() - merged, Ordering::Relaxed);
            }
            () = wire.room(), if blocked => {}
            () = wire.severed() => return "its process ended".to_owned(),
            changed = catalogue.changed() => {
                replica.handle(if changed.is_ok() { Input::CatalogueChanged } else { Input::Stop });
            }
            changed = changes.next() => {
                for change in changed {
                    match origin(&change, &hub, &seat, bridged) {
                        Origin::Here => drop(own.insert(change.0, change.1)),
                        Origin::Neighbour => {
                            relayed.insert(change.0, change.1);
                            relay_at.get_or_insert_with(|| Instant::now() + RELAY);
                        }
                        Origin::Elsewhere => pass_on(&hub, &mut replica, &mut catalogue, [change]),
                    }
                }
            }
            released = broadcasts.changed(), if paced => {
                paced = released.is_ok();
                // What is being broadcast may not have been taken from the feed yet.
                own.extend(changes.take());
                pass_on(&hub, &mut replica, &mut catalogue, std::mem::take(&mut own));
            }
            _ = tick.tick() => {
                replica.handle(Input::Tick);
                // The registry knows it sooner than a queue that nobody reads any more.
                if !seat.registry().is_here(to, ends.to_generation) && over.is_none() {
                    return "its process ended".to_owned();
                }
            }
            () = sleep_or_never(wake) => {
                if relay_at.is_some_and(|at| at <= Instant::now()) {
                    relay_at = None;
                    pass_on(&hub, &mut replica, &mut catalogue, std::mem::take(&mut relayed));
                }
            }
            _ = shutdown.wait_for(|stop| *stop), if over.is_none() => replica.handle(Input::Stop),
        }
    }
}

/// Hands the carriage what it takes; gives whether it is full.
fn transmit(
    wire: &mut Wire,
    conversation: &mut Conversation,
    quiet: bool,
    now: Duration,
) -> Result<bool, String> {
    while let Some(datagram) = conversation.datagram() {
        if !wire.send(datagram)? {
            return Ok(true);
        }
        conversation.passed(now);
    }
    if let Some(ack) = conversation.ack(quiet) {
        if !wire.send(&ack)? {
            return Ok(true);
        }
        conversation.acked();
    }
    Ok(false)
}

/// Tells the other side of changes. A new document's events must not overtake the catalogue that names it. The documents'
/// versions are those of now: what they were when the change was heard of may be older than what was told of since.
fn pass_on(
    hub: &Hub,
    replica: &mut Replica<'_>,
    catalogue: &mut watch::Receiver<u64>,
    changes: impl IntoIterator<Item = syncline_hub::Change>,
) {
    let changes = changes.into_iter().map(|(doc, _)| (doc, hub.heads_of(doc))).collect::<Vec<_>>();
    if changes.is_empty() {
        return;
    }
    if catalogue.has_changed().unwrap_or(false) {
        catalogue.mark_unchanged();
        replica.handle(Input::CatalogueChanged);
    }
    replica.handle(Input::DocumentsChanged(changes));
}

async fn sleep_or_never(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => pending().await,
    }
}
