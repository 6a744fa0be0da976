//! The way to one other user: their message queue, or a ring in shared memory.

use std::os::unix::net::UnixStream as BlockingStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

use crate::error::LocalError;
use crate::handover::Shared;
use crate::name::{Group, Name};
use crate::queue::{Passed, Queue};
use crate::registry::Registry;
use crate::ring::{MAX_FRAME, Writer};
use crate::ring_listener::{Room, Source, ring};
use crate::writable::writable;

/// Sends datagrams to one user.
pub(crate) enum Wire {
    Queue(AsyncFd<Queue>),
    Ring(Box<RingWire>),
}

/// The writing side of a pair of rings.
pub(crate) struct RingWire {
    shared: Arc<Shared>,
    writer: Writer,
    registry: Arc<Registry>,
    /// Whose doorbell to ring.
    to: usize,
    room: Arc<Room>,
    closed: Arc<AtomicBool>,
    /// Ends when the other side does.
    lifeline: UnixStream,
}

impl Wire {
    /// Opens the queue of a user. Call within a tokio runtime.
    pub fn to_queue(group: &Group, user: &Name) -> Result<Wire, LocalError> {
        let queue = Queue::open(group, user)?;
        let queue =
            writable(queue).map_err(|error| LocalError::io("waiting for", "a message queue", error))?;
        Ok(Wire::Queue(queue))
    }

    /// Writes to the user of slot `to` through rings; what they write is the returned source's.
    pub fn to_ring(
        shared: Shared,
        lifeline: BlockingStream,
        registry: &Arc<Registry>,
        to: usize,
    ) -> Result<(Wire, Source), LocalError> {
        let fail = |error| LocalError::io("preparing", "a socket", error);
        lifeline.set_nonblocking(true).map_err(fail)?;
        let lifeline = UnixStream::from_std(lifeline).map_err(fail)?;
        let (shared, room, closed) = (Arc::new(shared), Arc::new(Room::default()), Arc::default());
        let source = Source {
            shared: Arc::clone(&shared),
            writer: to,
            room: Arc::clone(&room),
            closed: Arc::clone(&closed),
        };
        let (writer, registry) = (Writer::default(), registry.clone());
        let wire = RingWire { shared, writer, registry, to, room, closed, lifeline };
        Ok((Wire::Ring(Box::new(wire)), source))
    }

    /// The longest datagram, in bytes.
    pub fn size(&self) -> usize {
        match self {
            Wire::Queue(queue) => queue.get_ref().size(),
            Wire::Ring(_) => MAX_FRAME,
        }
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Wire::Queue(_) => "message queue",
            Wire::Ring(_) => "shared memory",
        }
    }

    /// Sends a datagram if there is room; `false`: [`Wire::room`] tells when. An error: never again.
    pub fn send(&mut self, datagram: &[u8]) -> Result<bool, String> {
        match self {
            Wire::Queue(queue) => match queue.get_ref().send(datagram) {
                Ok(Passed::Done(())) => Ok(true),
                Ok(Passed::Later) => Ok(false),
                Err(error) => Err(error.to_string()),
            },
            Wire::Ring(ring) => ring.send(datagram),
        }
    }

    /// Waits until there may be room. Cancel-safe.
    pub async fn room(&self) {
        match self {
            Wire::Queue(queue) => {
                // The kernel tells of every datagram that is taken out. What it told before says nothing about now.
                if let Ok(mut ready) = queue.writable().await {
                    ready.clear_ready();
                }
            }
            Wire::Ring(ring) => ring.room.notify.notified().await,
        }
    }

    /// Waits until the other process is known to have ended. For queues nothing tells. Cancel-safe.
    pub async fn severed(&self) {
        match self {
            Wire::Queue(_) => std::future::pending().await,
            Wire::Ring(ring) => loop {
                // Nothing is ever sent on it after the greeting: whatever happens is its end.
                let ended = ring.lifeline.readable().await;
                let read = ring.lifeline.try_read(&mut [0]);
                let again = matches!(&read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
                if ended.is_err() || !again {
                    return;
                }
            },
        }
    }
}

impl RingWire {
    fn send(&mut self, datagram: &[u8]) -> Result<bool, String> {
        if self.closed.load(Ordering::Acquire) {
            return Err("the other side broke the ring".to_owned());
        }
        let put = |writer: &mut Writer| writer.put(self.shared.rings().0, datagram);
        let mut done = put(&mut self.writer).map_err(|error| error.to_string())?;
        if !done {
            self.room.wanted.store(true, Ordering::Release);
            // The bell may have rung before we said that we wait for it.
            done = put(&mut self.writer).map_err(|error| error.to_string())?;
        }
        if done {
            ring(&self.registry, self.to);
        }
        Ok(done)
    }
}

impl Drop for RingWire {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
    }
}
