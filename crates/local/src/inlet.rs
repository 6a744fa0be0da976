//! From a listening thread to the hub's side: a lock-free ring (`rtrb`) with one producer and one consumer.
//!
//! The consumer is a task and is woken by its waker. When the ring is full the thread parks, and what it listens
//! to fills up in turn, until the senders have to wait: nothing is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread::{self, Thread};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

/// How many datagrams wait between a thread and the hub.
const CAPACITY: usize = 256;
/// A parked thread looks again after this, should it not have been woken.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Signals {
    consumer: AtomicWaker,
    /// The producer waits for room.
    starved: AtomicBool,
    closed: AtomicBool,
}

/// The thread's end.
pub(crate) struct Inlet {
    ring: Producer<Vec<u8>>,
    signals: Arc<Signals>,
}

/// The task's end.
pub(crate) struct Outlet {
    ring: Consumer<Vec<u8>>,
    signals: Arc<Signals>,
    /// Known once the thread runs.
    pub(crate) producer: Option<Thread>,
}

/// Both ends.
pub(crate) fn inlet() -> (Inlet, Outlet) {
    let (producer, consumer) = RingBuffer::new(CAPACITY);
    let signals = Arc::new(Signals::default());
    (Inlet { ring: producer, signals: signals.clone() }, Outlet { ring: consumer, signals, producer: None })
}

impl Inlet {
    /// Passes a datagram on, waiting for room. `false`: nobody listens any more.
    pub fn push(&mut self, datagram: Vec<u8>) -> bool {
        let mut datagram = datagram;
        loop {
            if self.is_closed() {
                return false;
            }
            match self.ring.push(datagram) {
                Ok(()) => {
                    self.signals.consumer.wake();
                    return true;
                }
                Err(PushError::Full(back)) => {
                    datagram = back;
                    self.signals.starved.store(true, Ordering::SeqCst);
                    if self.ring.is_full() {
                        thread::park_timeout(LOOK);
                    }
                }
            }
        }
    }

    /// Whether nobody listens any more.
    pub fn is_closed(&self) -> bool {
        self.signals.closed.load(Ordering::Acquire) || self.ring.is_abandoned()
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.signals.closed.store(true, Ordering::Release);
        self.signals.consumer.wake();
    }
}

impl Outlet {
    /// The next datagram. `None`: the thread has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        std::future::poll_fn(|context| {
            if let Ok(datagram) = self.ring.pop() {
                return Poll::Ready(Some(datagram));
            }
            self.feed();
            self.signals.consumer.register(context.waker());
            // Once more: what came before the waker was registered woke nobody.
            match self.ring.pop() {
                Ok(datagram) => Poll::Ready(Some(datagram)),
                Err(_) if self.signals.closed.load(Ordering::Acquire) => Poll::Ready(None),
                Err(_) => Poll::Pending,
            }
        })
        .await
    }

    /// Wakes the thread if it waits for room.
    fn feed(&self) {
        if self.signals.starved.swap(false, Ordering::SeqCst)
            && let Some(producer) = &self.producer
        {
            producer.unpark();
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.signals.closed.store(true, Ordering::Release);
        if let Some(producer) = &self.producer {
            producer.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_comes_through_in_order_though_the_ring_is_small() {
        let (mut inlet, mut outlet) = inlet();
        let thread = thread::spawn(move || {
            for number in 0u32..10_000 {
                assert!(inlet.push(number.to_le_bytes().to_vec()));
            }
        });
        outlet.producer = Some(thread.thread().clone());
        for number in 0u32..10_000 {
            assert_eq!(outlet.next().await, Some(number.to_le_bytes().to_vec()));
        }
        assert_eq!(outlet.next().await, None);
        thread.join().unwrap();
    }

    #[tokio::test]
    async fn a_full_inlet_ends_when_nobody_listens() {
        let (mut inlet, mut outlet) = inlet();
        let thread = thread::spawn(move || while inlet.push(vec![0]) {});
        outlet.producer = Some(thread.thread().clone());
        outlet.next().await;
        drop(outlet);
        thread.join().unwrap();
    }
}
