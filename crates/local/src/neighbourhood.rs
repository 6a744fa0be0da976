//! Taking part in a group: who is here, a session with each of them, and which way it goes.
//!
//! Everybody keeps a session with everybody. Of two users the one who came later dials. A newcomer's own text is
//! entered only after it has what those before it have (their text may be the same), so newcomers go one after
//! the other.

use std::os::unix::net::{UnixListener as BlockingListener, UnixStream as BlockingStream};
use std::sync::Arc;
use std::time::Duration;

use syncline_hub::Hub;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::broadcast::{Counters, keep_pace};
use crate::error::LocalError;
use crate::event::LocalEvent;
use crate::handover::{self, Offered};
use crate::inlet::Outlet;
use crate::name::Name;
use crate::neighbour::{Abilities, Neighbour};
use crate::pace::Pace;
use crate::queue::Queue;
use crate::queue_listener::{self, QueueListener};
use crate::registry::Registry;
use crate::ring_listener::RingListener;
use crate::seat::Seat;
use crate::session::Context;
use crate::sessions::Sessions;

/// How often it is looked who is here.
pub(crate) const LOOK: Duration = Duration::from_secs(1);
/// How often a newcomer looks whether it has what the others have.
const SETTLING: Duration = Duration::from_millis(20);

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

/// The ways by which this user can be reached, opened.
pub struct Neighbourhood {
    seat: Arc<Seat>,
    queue: Option<(QueueListener, Outlet)>,
    rings: Option<(RingListener, Outlet, BlockingListener)>,
    /// What could not be had, and is not needed.
    missing: Vec<String>,
}

impl Neighbourhood {
    /// Opens the ways of somebody who has a seat. `users`: how many there may be.
    ///
    /// # Errors
    /// [`LocalError::NoCarriage`] when the way that was asked for cannot be had, or no way at all.
    pub fn open(seat: Seat, transport: Transport, users: usize, name: &Name) -> Result<Self, LocalError> {
        let group = seat.registry().group().clone();
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
        Ok(Neighbourhood { seat: Arc::new(seat), queue, rings, missing })
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
        let Neighbourhood { seat, queue, rings, .. } = self;
        let (broadcast, broadcasts) = watch::channel(0);
        let pace = Pace::new(options.batch, options.flush);
        let pacing = tokio::spawn(keep_pace(hub.clone(), hub.changes(), pace, counters.clone(), broadcast));
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
        let mut sessions = Sessions::new(context, abilities, ring_listener, (events, notes));
        let mut accepting: JoinSet<Option<Offered>> = JoinSet::new();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut settling = interval(SETTLING);
        settling.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (unsettled, accepts) = (!sessions.is_settled(), accepting.len() < 16);
            tokio::select! {
                datagram = next(&mut from_queue) => match datagram {
                    Some(datagram) => sessions.datagram(datagram),
                    None => from_queue = None,
                },
                datagram = next(&mut from_rings) => match datagram {
                    Some(datagram) => sessions.datagram(datagram),
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
                        sessions.offered(offered);
                    }
                }
                () = sessions.happening() => {}
                Some((slot, session, note)) = noted.recv() => sessions.note(slot, session, note),
                _ = look.tick() => sessions.look(),
                _ = settling.tick(), if unsettled => sessions.settle(),
                _ = shutdown.wait_for(|stop| *stop) => break,
            }
        }
        // Their last words: that they leave. What is not sent then is in the journal. They end when the others have heard
        // it, and it is here that their answers arrive.
        let leave = async {
            loop {
                tokio::select! {
                    more = sessions.end_one() => if !more {
                        return;
                    },
                    Some(datagram) = next(&mut from_queue) => drop(sessions.deliver(datagram)),
                    Some(datagram) = next(&mut from_rings) => drop(sessions.deliver(datagram)),
                }
            }
        };
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
