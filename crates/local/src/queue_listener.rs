//! The thread that takes datagrams out of our message queue: epoll(7) on the queue and on an event that ends it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};

use crate::error::LocalError;
use crate::inlet::{Inlet, Outlet, inlet};
use crate::queue::{Passed, Queue};

/// The running thread; dropping it ends it.
pub(crate) struct QueueListener {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// Starts to listen.
pub(crate) fn listen(queue: Queue) -> Result<(QueueListener, Outlet), LocalError> {
    let fail = |error| LocalError::io("preparing to listen at", "the message queue", error);
    let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(fail)?);
    let poll = epoll::create(CreateFlags::CLOEXEC).map_err(fail)?;
    epoll::add(&poll, &queue, EventData::new_u64(0), EventFlags::IN).map_err(fail)?;
    epoll::add(&poll, &*stop, EventData::new_u64(1), EventFlags::IN).map_err(fail)?;
    let (inlet, mut outlet) = inlet();
    let run = move || receive(&queue, &poll, inlet);
    let thread = std::thread::Builder::new().name("queue".to_owned()).spawn(run);
    let thread =
        thread.map_err(|error| LocalError::io("starting a thread for", "the message queue", error))?;
    outlet.producer = Some(thread.thread().clone());
    Ok((QueueListener { stop, thread: Some(thread) }, outlet))
}

fn receive(queue: &Queue, poll: &OwnedFd, mut inlet: Inlet) {
    let mut buffer = vec![0; queue.size()];
    let mut events: Vec<Event> = Vec::with_capacity(2);
    loop {
        // All there is, then sleep.
        loop {
            match queue.receive(&mut buffer) {
                Ok(Passed::Done(count)) => {
                    let datagram = buffer.get(..count).unwrap_or_default().to_vec();
                    if !inlet.push(datagram) {
                        return;
                    }
                }
                Ok(Passed::Later) => break,
                Err(_) => return,
            }
        }
        events.clear();
        match epoll::wait(poll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        if events.iter().any(|event| event.data.u64() == 1) {
            return;
        }
    }
}

impl Drop for QueueListener {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
