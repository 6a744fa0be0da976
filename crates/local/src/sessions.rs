//! The sessions with everybody who is here: begun, dialed, settled, and ended.

use std::collections::{HashMap, HashSet};
use std::os::unix::net::UnixStream as BlockingStream;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::conversation::Ends;
use crate::datagram::{Header, Kind};
use crate::error::LocalError;
use crate::event::LocalEvent;
use crate::handover::{self, Offered, Shared};
use crate::neighbour::{Abilities, Neighbour};
use crate::neighbourhood::LOOK;
use crate::ring_listener::RingListener;
use crate::session::{Context, Note, Part, talk};
use crate::wire::Wire;

/// A newcomer does not wait longer for those who do not answer (stopped, perhaps).
const SILENT: Duration = Duration::from_secs(3);
/// The first pause before a session that broke is dialed again; it doubles.
const REDIAL: Duration = Duration::from_millis(200);
const MAX_REDIAL: Duration = Duration::from_secs(5);
/// Datagrams that wait for one session: more than a peer that keeps to the rules has under way.
const INBOX: usize = 256;

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

/// The sessions of one user.
pub(crate) struct Sessions {
    context: Context,
    abilities: Abilities,
    rings: Option<RingListener>,
    events: mpsc::Sender<LocalEvent>,
    notes: mpsc::Sender<(usize, u64, Note)>,
    peers: HashMap<usize, Peer>,
    running: JoinSet<Ended>,
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

impl Sessions {
    /// No sessions yet. `tell`: where events go, and what sessions tell of themselves.
    pub fn new(
        context: Context,
        abilities: Abilities,
        rings: Option<RingListener>,
        tell: (mpsc::Sender<LocalEvent>, mpsc::Sender<(usize, u64, Note)>),
    ) -> Sessions {
        let (events, notes) = tell;
        Sessions {
            context,
            abilities,
            rings,
            events,
            notes,
            peers: HashMap::new(),
            running: JoinSet::new(),
            dialing: JoinSet::new(),
            dialed: HashSet::new(),
            redial: HashMap::new(),
            refused: HashMap::new(),
            started: Instant::now(),
            settled: false,
            eldest: false,
        }
    }

    /// Whether what our file held may be entered, or is.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Waits until rings were handed over or a session ended, and sees to it. Cancel-safe.
    pub async fn happening(&mut self) {
        tokio::select! {
            Some(dialed) = self.dialing.join_next(), if !self.dialing.is_empty() => {
                if let Ok(dialed) = dialed {
                    self.dialed(dialed);
                }
            }
            Some(ended) = self.running.join_next(), if !self.running.is_empty() => {
                if let Ok(ended) = ended {
                    self.ended(ended);
                }
            }
            else => std::future::pending().await,
        }
    }

    /// Waits until a session has ended; `false`: none is left. Cancel-safe.
    pub async fn end_one(&mut self) -> bool {
        self.running.join_next().await.is_some()
    }

    fn tell(&self, event: LocalEvent) {
        // Nobody may be listening, or not fast enough.
        let _ = self.events.try_send(event);
    }

    /// Hands a datagram to its session; gives it back if there is none.
    pub fn deliver(&mut self, bytes: Vec<u8>) -> Option<(Header, Vec<u8>)> {
        let (header, _) = Header::read(&bytes)?;
        let to_us = header.to_generation == self.context.seat.generation();
        let peer = self.peers.get(&header.from);
        match peer.filter(|peer| (peer.session, peer.generation) == (header.session, header.from_generation))
        {
            Some(peer) if to_us => {
                // If its inbox is full this is put off: it comes again.
                let _ = peer.inbox.try_send(bytes);
                None
            }
            _ => to_us.then_some((header, bytes)),
        }
    }

    /// Hands a datagram to its session, or begins one.
    pub fn datagram(&mut self, bytes: Vec<u8>) {
        let Some((header, bytes)) = self.deliver(bytes) else { return };
        let seat = &self.context.seat;
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
    pub fn offered(&mut self, offered: Offered) {
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
        self.running.spawn(async move {
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

    /// A session told something of itself.
    pub fn note(&mut self, slot: usize, session: u64, note: Note) {
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

    /// Dials those who came before us, forgets those who were killed, and sees that we are known to be here.
    pub fn look(&mut self) {
        if self.context.seat.renew() {
            self.tell(LocalEvent::Wiped);
        }
        let registry = self.context.seat.registry().clone();
        registry.sweep();
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
    pub fn settle(&mut self) {
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
