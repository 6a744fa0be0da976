//! The thread that takes frames out of all rings that others write for us. It sleeps on our doorbell; one thread
//! serves all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

use crate::doorbell::{Doorbell, Spin};
use crate::error::LocalError;
use crate::handover::Shared;
use crate::inlet::{Inlet, Outlet, inlet};
use crate::registry::Registry;
use crate::ring::Reader;

/// It looks at everything this often though nobody rang: a bell that was lost only delays.
const LOOK: Duration = Duration::from_secs(5);
/// How many new rings may wait to be noticed.
const NEW: usize = 64;

/// Somebody who waits for room in a ring.
#[derive(Default)]
pub(crate) struct Room {
    /// They wait.
    pub wanted: AtomicBool,
    /// Told when the bell rang while they waited.
    pub notify: Notify,
}

/// One ring that is listened to.
pub(crate) struct Source {
    /// Both rings of the pair.
    pub shared: Arc<Shared>,
    /// The slot of whoever writes it: told when there is room again.
    pub writer: usize,
    /// Told when our own writing may have room again.
    pub room: Arc<Room>,
    /// Set when nobody wants it any more.
    pub closed: Arc<AtomicBool>,
}

/// The running thread; dropping it ends it.
pub(crate) struct RingListener {
    registry: Arc<Registry>,
    slot: usize,
    stop: Arc<AtomicBool>,
    new: SyncSender<Source>,
    thread: Option<JoinHandle<()>>,
}

impl RingListener {
    /// Starts to listen on behalf of the user of a slot.
    pub fn start(registry: Arc<Registry>, slot: usize) -> Result<(RingListener, Outlet), LocalError> {
        let (inlet, mut outlet) = inlet();
        let stop = Arc::new(AtomicBool::new(false));
        let (new, news) = sync_channel(NEW);
        let (theirs, stopped) = (registry.clone(), stop.clone());
        let run = move || receive(&theirs, slot, &stopped, &news, inlet);
        let thread = std::thread::Builder::new().name("rings".to_owned()).spawn(run);
        let thread = thread.map_err(|error| LocalError::io("starting a thread for", "the rings", error))?;
        outlet.producer = Some(thread.thread().clone());
        Ok((RingListener { registry, slot, stop, new, thread: Some(thread) }, outlet))
    }

    /// Listens to one more ring. `false`: too many at once, or the thread has ended.
    pub fn add(&self, source: Source) -> bool {
        let added = self.new.try_send(source).is_ok();
        ring(&self.registry, self.slot);
        added
    }
}

impl Drop for RingListener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        ring(&self.registry, self.slot);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Wakes the user of a slot.
pub(crate) fn ring(registry: &Registry, slot: usize) {
    let (count, asleep) = registry.doorbell(slot);
    Doorbell { count, asleep }.ring();
}

fn receive(registry: &Registry, slot: usize, stop: &AtomicBool, news: &Receiver<Source>, mut inlet: Inlet) {
    let (count, asleep) = registry.doorbell(slot);
    let bell = Doorbell { count, asleep };
    let mut spin = Spin::new();
    let mut sources: Vec<(Source, Reader)> = Vec::new();
    let mut frame = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let seen = bell.seen();
        sources.extend(news.try_iter().map(|source| (source, Reader::default())));
        sources.retain(|(source, _)| !source.closed.load(Ordering::Acquire));
        let mut idle = true;
        for (source, reader) in &mut sources {
            let (_, incoming) = source.shared.rings();
            // Some of each, so that one that talks without end does not keep the others waiting.
            for _ in 0..64 {
                match reader.take(incoming, &mut frame) {
                    Ok(true) => {
                        idle = false;
                        if !inlet.push(frame.clone()) {
                            return;
                        }
                    }
                    Ok(false) => break,
                    Err(_) => {
                        // Whoever writes it is not one of us: the session notices that nothing comes.
                        source.closed.store(true, Ordering::Release);
                        break;
                    }
                }
            }
            if reader.taken(incoming) {
                ring(registry, source.writer);
            }
            if source.room.wanted.swap(false, Ordering::AcqRel) {
                source.room.notify.notify_one();
            }
        }
        if idle {
            bell.wait(seen, LOOK, &mut spin);
        }
    }
}
