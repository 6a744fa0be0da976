//! One connection at a time has a session. A newer one asks the older one to leave, and goes on with the state
//! it left: a client whose connection broke without a word must not be kept out by it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use syncline_engine::Version;
use syncline_engine::catalogue::DocId;
use syncline_protocol::diffsync::{Server, SessionId};
use tokio::sync::{OwnedMutexGuard, watch};

use crate::error::HubError;

/// The session's state while a connection has it, or between two.
pub(crate) type State = Option<Server<Version>>;

type Key = (DocId, SessionId);

struct Seat {
    identity: [u8; 32],
    /// Counts those who want it.
    wanted: watch::Sender<u64>,
    state: Arc<tokio::sync::Mutex<State>>,
}

/// All sessions that a connection has. Bounded by the connections and the documents each may open.
#[derive(Default)]
pub(crate) struct Seats(Mutex<HashMap<Key, Arc<Seat>>>);

/// A session that this connection has, until it is dropped.
pub(crate) struct Taken {
    pub state: OwnedMutexGuard<State>,
    seat: Arc<Seat>,
    wanted: watch::Receiver<u64>,
}

impl Seats {
    /// Takes the session, from an older connection if need be.
    ///
    /// # Errors
    /// [`HubError::NotYours`] if another identity has it.
    pub async fn take(&self, key: Key, identity: [u8; 32]) -> Result<Taken, HubError> {
        let (seat, wanted) = {
            let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Seat { identity, wanted: watch::Sender::new(0), state: Arc::default() });
            let seat = seats.entry(key).or_insert_with(new).clone();
            if seat.identity != identity {
                return Err(HubError::NotYours);
            }
            // One step, under the register's lock: whoever comes after us, also while we wait, wants it from us.
            seat.wanted.send_modify(|count| *count += 1);
            let wanted = seat.wanted.subscribe();
            (seat, wanted)
        };
        let state = seat.state.clone().lock_owned().await;
        Ok(Taken { state, seat, wanted })
    }

    /// Forgets the seat if nobody else has or wants it. Says whether somebody does.
    pub fn leave(&self, key: Key, taken: Taken) -> bool {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The register's, and ours: whoever waits has another.
        let others = Arc::strong_count(&taken.seat) > 2;
        if !others && seats.get(&key).is_some_and(|seat| Arc::ptr_eq(seat, &taken.seat)) {
            seats.remove(&key);
        }
        others
    }
}

impl Taken {
    /// Whether somebody waits for the session.
    pub fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.seat) > 2
    }

    /// Returns when another connection wants the session. Cancel-safe.
    pub async fn wanted(&mut self) {
        if self.wanted.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (DocId([1; 16]), SessionId([2; 16]));

    #[tokio::test]
    async fn the_newer_connection_gets_it_and_the_register_forgets() {
        let seats = Seats::default();
        let mut first = seats.take(KEY, [7; 32]).await.unwrap();
        assert!(matches!(seats.take(KEY, [8; 32]).await, Err(HubError::NotYours)));
        assert!(!first.is_wanted());
        {
            let second = seats.take(KEY, [7; 32]);
            tokio::pin!(second);
            tokio::select! {
                biased;
                _ = &mut second => panic!("the first has it"),
                () = first.wanted() => {}
            }
            assert!(first.is_wanted());
            assert!(seats.leave(KEY, first));
            let second = second.await.unwrap();
            assert!(!seats.leave(KEY, second));
        }
        // A third that comes while the second still waits for the first.
        let first = seats.take(KEY, [7; 32]).await.unwrap();
        let (second, third) = (seats.take(KEY, [7; 32]), seats.take(KEY, [7; 32]));
        tokio::pin!(second, third);
        tokio::select! {
            biased;
            _ = &mut second => panic!("the first has it"),
            _ = &mut third => panic!("the first has it"),
            () = std::future::ready(()) => {}
        }
        seats.leave(KEY, first);
        let mut second = second.await.unwrap();
        second.wanted().await;
        seats.leave(KEY, second);
        let third = third.await.unwrap();
        assert!(!seats.leave(KEY, third));
        assert!(seats.0.lock().unwrap().is_empty());
    }
}
