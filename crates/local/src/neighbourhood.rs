//! Taking part in a group: who is here, a session with each of them, and which way it goes.
//!
//! Everybody keeps a session with everybody. Of two users the one who came later dials. A newcomer's own text is
//! entered only after it has what those before it have (their text may be the same), so newcomers go one after
//! the other.

use std::collections::{HashMap, HashSet};
use std::os::unix::net::{UnixListener as BlockingListener, UnixStream as BlockingStream};
use std::sync::Arc;
use std::time::Duration;

use syncline_hub::Hub;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::broadcast::{Counters, keep_pace};
use crate::conversation::Ends;
use crate::datagram::{Header, Kind};
use crate::error::LocalError;
use crate::handover::{self, Offered, Shared};
use crate::inlet::Outlet;
use crate::name::{Group, Name};
use crate::pace::Pace;
use crate::queue::{self, Queue};
use crate::queue_listener::{self, QueueListener};
use crate::registry::{Abilities, Neighbour, Registry, Seat};
use crate::ring_listener::RingListener;
use crate::session::{Context, Note, Part, talk};
use crate::wire::Wire;

/// How often it is looked who is here.
const LOOK: Duration = Duration::from_secs(1);
/// How often a newcomer looks whether it has what the others have.
const SETTLING: Duration = Duration::from_millis(20);
/// A newcomer does not wait longer for those who do not answer (stopped, perhaps).
const SILENT: Duration = Duration::from_secs(3);
/// The first pause before a session that broke is dialed again; it doubles.
const REDIAL: Duration = Duration::from_millis(200);
const MAX_REDIAL: Duration = Duration::from_secs(5);
/// Datagrams that wait for one session: more than a peer that keeps to the rules has under way.
const INBOX: usize = 256;

/// By which way datagrams go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Transport {
    /// Shared memory where both have it, message queues otherwise.
    #[default]
    Automatic,
    /// Message queues only.
    Queues,
    /// Shared memory only.
    SharedMemory,
}

/// How to take part.
pub struct Options {
    /// The id of what is shared: the same for everybody in the group.
    pub folder: [u8; 16],
    /// Changes made here are broadcast after so many operations,
    pub batch: u32,
    /// or when the last broadcast is so long ago; `None`: only after so many operations.
    pub flush: Option<Duration>,
    /// This hub is joined to one elsewhere, too.
    pub bridged: bool,
}

/// What happens in the neighbourhood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LocalEvent {
    /// There is a session with a user.
    Met {
        /// Their name.
        user: String,
        /// By which way.
        way: &'static str,
    },
    /// What a user had is here.
    Synced {
        /// Their name.
        user: String,
    },
    /// The session with a user ended.
    Parted {
        /// Their name.
        user: String,
        /// Why.
        why: String,
    },
    /// A user is here, but cannot be reached.
    Unreachable {
        /// Their name.
        user: String,
        /// Why.
        why: String,
    },
    /// What this user's file held is entered, after what the others had: from here on all is live.
    Settled,
}

/// The ways by which this user can be reached, opened.
pub struct Neighbourhood {
    seat: Arc<Seat>,
    queue: Option<(QueueListener, Outlet)>,
    rings: Option<(RingListener, Outlet, BlockingListener)>,
    /// What could not be had, and is not needed.
    missing: Vec<String>,
    /// Dropped last: the queue's name goes with its owner.
    _tidy: Tidy,
}

/// Removes a queue's name.
struct Tidy {
    group: Group,
    name: Name,
}

impl Drop for Tidy {
    fn drop(&mut self) {
        queue::remove(&self.group, &self.name);
    }
}

struct Peer {
    name: String,
    generation: u32,
    session: u64,
    inbox: mpsc::Sender<Vec<u8>>,
    synced: bool,
}

type Dialed = (Neighbour, Ends, Result<(Shared, BlockingStream), LocalError>);

struct Ended {
    slot: usize,
    session: u64,
    why: String,
}

impl Neighbourhood {
    /// Opens the ways of somebody who has a seat. `users`: how many there may be.
    ///
    /// # Errors
    /// [`LocalError::NoCarriage`] when the way that was asked for cannot be had, or no way at all.
    pub fn open(seat: Seat, transport: Transport, users: usize, name: &Name) -> Result<Self, LocalError> {
        let group = seat.registry().group().clone();
        for dead in seat.registry().sweep() {
            queue::remove(&group, &dead);
        }
        let tidy = Tidy { group: group.clone(), name: name.clone() };
        let mut missing = Vec::new();
        let queue = if transport == Transport::SharedMemory {
            None
        } else {
            let created = Queue::create(&group, name, users).or_else(|error| {
                // Those who were killed, in groups that nobody came back to, may hold what there is.
                Registry::sweep_all(group.uid);
                Queue::create(&group, name, users).map_err(|_| error)
            });
            let opened = created.and_then(queue_listener::listen);
            needed(opened, transport == Transport::Queues, &mut missing)?
        };
        let rings = if transport == Transport::Queues {
            None
        } else {
            let opened =
                RingListener::start(seat.registry().clone(), seat.slot()).and_then(|(rings, outlet)| {
                    Ok((rings, outlet, handover::listen(&group, seat.slot(), seat.generation())?))
                });
            needed(opened, transport == Transport::SharedMemory, &mut missing)?
        };
        if queue.is_none() && rings.is_none() {
            return Err(LocalError::NoCarriage { way: "any way", why: missing.join("; ") });
        }
        Ok(Neighbourhood { seat: Arc::new(seat), queue, rings, missing, _tidy: tidy })
    }

    /// What cannot be had here, and why; the other way is used instead.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Whether others are here already.
    pub fn is_first(&self) -> bool {
        let ticket = self.seat.ticket();
        !self.seat.registry().neighbours().iter().any(|other| other.ticket < ticket)
    }

    /// Everybody else who is here.
    pub fn neighbours(&self) -> Vec<Neighbour> {
        self.seat.registry().neighbours()
    }

    /// The seat, to look who is here while this runs.
    pub fn seat(&self) -> Arc<Seat> {
        self.seat.clone()
    }

    /// Takes part until `shutdown` holds `true`. Events that nobody takes are dropped.
    ///
    /// # Errors
    /// [`LocalError::Io`] when the socket cannot be used.
    pub async fn run(
        self,
        hub: Hub,
        options: Options,
        counters: Arc<Counters>,
        events: mpsc::Sender<LocalEvent>,
        mut shutdown: watch::Receiver<bool>,
    ) -> Result<(), LocalError> {
        let Neighbourhood { seat, queue, rings, _tidy, .. } = self;
        let (broadcast, broadcasts) = watch::channel(0);
        let pace = Pace::new(options.batch, options.flush);
        let pacing = tokio::spawn(keep_pace(hub.clone(), pace, counters.clone(), broadcast));
        let abilities = Abilities { queue: queue.is_some(), rings: rings.is_some() };
        let (_queue_listener, mut from_queue) = queue.unzip();
        let (ring_listener, mut from_rings, offers) = match rings {
            Some((listener, outlet, socket)) => {
                let fail = |error| LocalError::io("listening at", "the socket", error);
                socket.set_nonblocking(true).map_err(fail)?;
                (Some(listener), Some(outlet), Some(UnixListener::from_std(socket).map_err(fail)?))
            }
            None => (None, None, None),
        };
        let mut agent = [0; 16];
        agent.iter_mut().zip(hub.agent().as_bytes()).for_each(|(to, from)| *to = *from);
        seat.announce(abilities, agent);
        let (notes, mut noted) = mpsc::channel(64);
        let context = Context {
            hub: hub.clone(),
            seat: seat.clone(),
            folder: options.folder,
            bridged: options.bridged,
            counters,
            broadcasts,
            shutdown: shutdown.clone(),
        };
        let mut run = Running {
            context,
            abilities,
            rings: ring_listener,
            events,
            notes,
            peers: HashMap::new(),
            sessions: JoinSet::new(),
            dialing: JoinSet::new(),
            dialed: HashSet::new(),
            redial: HashMap::new(),
            refused: HashMap::new(),
            started: Instant::now(),
            settled: false,
            eldest: false,
        };
        let mut accepting: JoinSet<Option<Offered>> = JoinSet::new();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut settling = interval(SETTLING);
        settling.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (unsettled, accepts) = (!run.settled, accepting.len() < 16);
            tokio::select! {
                datagram = next(&mut from_queue) => match datagram {
                    Some(datagram) => run.datagram(datagram),
                    None => from_queue = None,
                },
                datagram = next(&mut from_rings) => match datagram {
                    Some(datagram) => run.datagram(datagram),
                    None => from_rings = None,
                },
                offered = accept(&offers), if accepts => {
                    let (slot, generation) = (seat.slot(), seat.generation());
                    let group = seat.registry().group().clone();
                    accepting.spawn_blocking(move || {
                        let stream = offered?;
                        stream.set_nonblocking(false).ok()?;
                        handover::accept(stream, &group, slot, generation).ok()
                    });
                }
                Some(offered) = accepting.join_next(), if !accepting.is_empty() => {
                    if let Ok(Some(offered)) = offered {
                        run.offered(offered);
                    }
                }
                Some(dialed) = run.dialing.join_next(), if !run.dialing.is_empty() => {
                    if let Ok(dialed) = dialed {
                        run.dialed(dialed);
                    }
                }
                Some(ended) = run.sessions.join_next(), if !run.sessions.is_empty() => {
                    if let Ok(ended) = ended {
                        run.ended(ended);
                    }
                }
                Some((slot, session, note)) = noted.recv() => run.note(slot, session, note),
                _ = look.tick() => run.look(),
                _ = settling.tick(), if unsettled => run.settle(),
                _ = shutdown.wait_for(|stop| *stop) => break,
            }
        }
        // Their last words: that they leave. What is not sent then is in the journal.
        let leave = async { while run.sessions.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LOOK, leave).await;
        pacing.abort();
        Ok(())
    }
}

fn needed<T>(
    opened: Result<T, LocalError>,
    required: bool,
    missing: &mut Vec<String>,
) -> Result<Option<T>, LocalError> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if required => Err(error),
        Err(error) => {
            missing.push(error.to_string());
            Ok(None)
        }
    }
}

async fn next(outlet: &mut Option<Outlet>) -> Option<Vec<u8>> {
    match outlet {
        Some(outlet) => outlet.next().await,
        None => std::future::pending().await,
    }
}

async fn accept(listener: &Option<UnixListener>) -> Option<BlockingStream> {
    match listener {
        Some(listener) => listener.accept().await.ok()?.0.into_std().ok(),
        None => std::future::pending().await,
    }
}

struct Running {
    context: Context,
    abilities: Abilities,
    rings: Option<RingListener>,
    events: mpsc::Sender<LocalEvent>,
    notes: mpsc::Sender<(usize, u64, Note)>,
    peers: HashMap<usize, Peer>,
    sessions: JoinSet<Ended>,
    /// Rings that are being handed over, and to whom.
    dialing: JoinSet<Dialed>,
    dialed: HashSet<usize>,
    /// Who is to be dialed again, when, and the pause after that.
    redial: HashMap<usize, (Instant, Duration)>,
    /// Who cannot be reached: told once.
    refused: HashMap<usize, u32>,
    started: Instant,
    settled: bool,
    /// Nobody who is here came before us.
    eldest: bool,
}

impl Running {
    fn tell(&self, event: LocalEvent) {
        // Nobody may be listening, or not fast enough.
        let _ = self.events.try_send(event);
    }

    /// Hands a datagram to its session, or begins one.
    fn datagram(&mut self, bytes: Vec<u8>) {
        let seat = &self.context.seat;
        let Some((header, _)) = Header::read(&bytes) else { return };
        if header.to_generation != seat.generation() {
            return;
        }
        if let Some(peer) = self.peers.get(&header.from)
            && (peer.session, peer.generation) == (header.session, header.from_generation)
        {
            // If its inbox is full this is put off: it comes again.
            let _ = peer.inbox.try_send(bytes);
            return;
        }
        let Some(from) = seat.registry().neighbour(header.from) else { return };
        if from.generation != header.from_generation || header.kind == Kind::Gone {
            return;
        }
        let ends = Ends {
            from: seat.slot(),
            from_generation: seat.generation(),
            to_generation: header.from_generation,
            session: header.session,
        };
        let Ok(mut wire) = Wire::to_queue(seat.registry().group(), &from.who.name) else { return };
        let begins = matches!(header.kind, Kind::Piece | Kind::Last) && header.seq == 0;
        if begins && from.ticket > seat.ticket() {
            self.begin(&from, wire, ends, Part::Accepts);
            self.datagram(bytes);
        } else {
            let _ = wire.send(&ends.header(Kind::Gone).datagram(&[]));
        }
    }

    /// Somebody handed over rings.
    fn offered(&mut self, offered: Offered) {
        let Offered { shared, lifeline, from, ends } = offered;
        let registry = self.context.seat.registry().clone();
        let Some(from) = registry.neighbour(from) else { return };
        if from.generation != ends.to_generation || from.ticket < self.context.seat.ticket() {
            return;
        }
        let Ok((wire, source)) = Wire::to_ring(shared, lifeline, &registry, from.slot) else { return };
        self.begin(&from, wire, ends, Part::Accepts);
        if let Some(rings) = &self.rings {
            rings.add(source);
        }
    }

    fn begin(&mut self, with: &Neighbour, wire: Wire, ends: Ends, part: Part) {
        let (inbox, received) = mpsc::channel(INBOX);
        let (slot, session, user) = (with.slot, ends.session, with.who.name.to_string());
        self.tell(LocalEvent::Met { user: user.clone(), way: wire.name() });
        let notes = self.notes.clone();
        // At most a few a session.
        let note = move |note| drop(notes.try_send((slot, session, note)));
        let context = self.context.clone();
        // An older session with the same slot ends: its inbox is dropped.
        self.peers
            .insert(slot, Peer { name: user, generation: with.generation, session, inbox, synced: false });
        self.sessions.spawn(async move {
            let why = talk(context, wire, received, (ends, slot), part, note).await;
            Ended { slot, session, why }
        });
    }

    fn ended(&mut self, ended: Ended) {
        let Ended { slot, session, why } = ended;
        if self.peers.get(&slot).is_none_or(|peer| peer.session != session) {
            return;
        }
        if let Some(peer) = self.peers.remove(&slot) {
            self.tell(LocalEvent::Parted { user: peer.name, why });
        }
        let pause = self.redial.get(&slot).map_or(REDIAL, |(_, pause)| *pause);
        self.redial.insert(slot, (Instant::now() + pause, (pause * 2).min(MAX_REDIAL)));
        self.look();
    }

    fn note(&mut self, slot: usize, session: u64, note: Note) {
        let Some(peer) = self.peers.get_mut(&slot).filter(|peer| peer.session == session) else { return };
        let user = peer.name.clone();
        match note {
            Note::Synced => {
                peer.synced = true;
                self.redial.remove(&slot);
                self.tell(LocalEvent::Synced { user });
            }
            Note::Refused(error) => self.tell(LocalEvent::Unreachable { user, why: error.to_string() }),
        }
    }

    /// Dials those who came before us, and forgets those who were killed.
    fn look(&mut self) {
        let registry = self.context.seat.registry().clone();
        for dead in registry.sweep() {
            queue::remove(registry.group(), &dead);
        }
        let ticket = self.context.seat.ticket();
        let neighbours = registry.neighbours();
        // Of files made at one path by two users the eldest makes one; with a server, it does.
        let eldest = !self.context.bridged && neighbours.iter().all(|other| other.ticket > ticket);
        if std::mem::replace(&mut self.eldest, eldest) != eldest {
            let hub = self.context.hub.clone();
            tokio::spawn(async move { hub.set_resolving(eldest).await });
        }
        for neighbour in neighbours {
            let known =
                self.peers.get(&neighbour.slot).is_some_and(|peer| peer.generation == neighbour.generation);
            let later = self.redial.get(&neighbour.slot).is_some_and(|(at, _)| *at > Instant::now());
            let ready = neighbour.settled || self.started.elapsed() > SILENT;
            if neighbour.ticket < ticket && !known && !later && ready {
                self.dial(&neighbour);
            }
        }
    }

    fn dial(&mut self, to: &Neighbour) {
        let both = Abilities {
            queue: self.abilities.queue && to.abilities.queue,
            rings: self.abilities.rings && to.abilities.rings,
        };
        let seat = &self.context.seat;
        let registry = seat.registry().clone();
        let ends = Ends {
            from: seat.slot(),
            from_generation: seat.generation(),
            to_generation: to.generation,
            session: fastrand::u64(..),
        };
        if both.rings {
            // The other side answers at once, or is stopped; a thread waits for it.
            if self.dialed.insert(to.slot) {
                let (group, to) = (registry.group().clone(), to.clone());
                self.dialing.spawn_blocking(move || {
                    let dialed = handover::dial(&group, to.slot, ends);
                    (to, ends, dialed)
                });
            }
            return;
        }
        let opened = match (both.queue, to.abilities == Abilities::default()) {
            (true, _) => Wire::to_queue(registry.group(), &to.who.name),
            // Still preparing.
            (false, true) => return,
            (false, false) => Err(LocalError::NoCarriage {
                way: "a session",
                why: "the two have no way in common (--transport)".to_owned(),
            }),
        };
        match opened {
            Ok(wire) => self.begin(to, wire, ends, Part::Dials),
            Err(error) => self.unreachable(to, &error),
        }
    }

    /// Rings were handed over, or were not.
    fn dialed(&mut self, dialed: Dialed) {
        let (to, ends, handed) = dialed;
        self.dialed.remove(&to.slot);
        let registry = self.context.seat.registry().clone();
        let wire = handed.and_then(|(shared, lifeline)| Wire::to_ring(shared, lifeline, &registry, to.slot));
        match wire {
            Ok((wire, source)) => {
                self.begin(&to, wire, ends, Part::Dials);
                if let Some(rings) = &self.rings {
                    rings.add(source);
                }
            }
            Err(error) => {
                self.redial.insert(to.slot, (Instant::now() + LOOK, REDIAL));
                self.unreachable(&to, &error);
            }
        }
    }

    fn unreachable(&mut self, user: &Neighbour, error: &LocalError) {
        if self.refused.insert(user.slot, user.generation) != Some(user.generation) {
            let (user, why) = (user.who.name.to_string(), error.to_string());
            self.tell(LocalEvent::Unreachable { user, why });
        }
    }

    /// Lets the hub enter what our file held once we have what those before us have.
    fn settle(&mut self) {
        let ticket = self.context.seat.ticket();
        let before: Vec<Neighbour> = self
            .context
            .seat
            .registry()
            .neighbours()
            .into_iter()
            .filter(|neighbour| neighbour.ticket < ticket)
            .collect();
        let synced = |neighbour: &Neighbour| {
            self.peers
                .get(&neighbour.slot)
                .is_some_and(|peer| peer.synced && peer.generation == neighbour.generation)
        };
        let waited = self.started.elapsed();
        let heard = before.iter().any(synced);
        let silent = waited > if heard { SILENT } else { 3 * SILENT };
        if !silent && before.iter().any(|neighbour| !synced(neighbour)) {
            if before.iter().any(|neighbour| neighbour.settled && !self.peers.contains_key(&neighbour.slot)) {
                self.look();
            }
            return;
        }
        self.settled = true;
        let (hub, seat, events) = (self.context.hub.clone(), self.context.seat.clone(), self.events.clone());
        hub.peer_synced();
        tokio::spawn(async move {
            // Its file is entered when nothing is left to bring in step.
            let entered = async {
                if hub.scanned().await.is_ok() {
                    while hub.unsettled() > 0 {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                }
            };
            let _ = tokio::time::timeout(SILENT, entered).await;
            seat.settle();
            let _ = events.try_send(LocalEvent::Settled);
        });
    }
}
