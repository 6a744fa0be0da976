//! One connection at a time has a session. A newer one asks the older one to leave, and goes on with the state
//! it left: a client whose connection broke without a word must not be kept out by it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use syncline_engine::Version;
use syncline_engine::catalogue::DocId;
use syncline_protocol::diffsync::{Server, SessionId};
use tokio::sync::{OwnedMutexGuard, watch};

use crate::error::HubError;

/// The session's state while a connection has it, or between two.
#[derive(Default)]
pub(crate) struct State {
    /// `None`: nobody has looked yet.
    pub server: Option<Server<Version>>,
    /// Whether the last step was taken is not known: the journal may be ahead.
    pub unsure: bool,
}

/// The session first: all that it has is found together.
type Key = (SessionId, DocId);

struct Seat {
    identity: [u8; 32],
    /// Who has it and who waits for it. Changed under the register's lock only.
    claims: AtomicUsize,
    /// Counts those who want it.
    wanted: watch::Sender<u64>,
    state: Arc<tokio::sync::Mutex<State>>,
}

/// A seat, and the path by which its newest client knows the document.
type Register = Mutex<BTreeMap<Key, (Arc<Seat>, String)>>;

/// All sessions that a connection has. Bounded by the connections and the documents each may open.
#[derive(Default)]
pub(crate) struct Seats(Arc<Register>);

/// A session that this connection has, until it is dropped.
pub(crate) struct Taken {
    // Before the claim: whoever waits must find the state when the seat is given up.
    pub state: OwnedMutexGuard<State>,
    claim: Claim,
    wanted: watch::Receiver<u64>,
}

/// That somebody has the seat or waits for it. The last one to go takes it out of the register, however it goes: also
/// when it gave up waiting.
struct Claim {
    register: Arc<Register>,
    key: Key,
    seat: Arc<Seat>,
}

impl Claim {
    /// Whether somebody else has it or waits for it.
    fn has_rivals(&self) -> bool {
        self.seat.claims.load(Ordering::Relaxed) > 1
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut seats = self.register.lock().unwrap_or_else(PoisonError::into_inner);
        if self.seat.claims.fetch_sub(1, Ordering::Relaxed) == 1 {
            seats.remove(&self.key);
        }
    }
}

impl Seats {
    /// The documents that connections of this identity have in this session, with the paths by which they know them:
    /// what the journal has may be older, or not there yet.
    pub fn of(&self, session: SessionId, identity: &[u8; 32]) -> BTreeMap<DocId, String> {
        let seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = (session, DocId([0; 16]))..=(session, DocId([0xff; 16]));
        let ours = seats.range(all).filter(|(_, (seat, _))| seat.identity == *identity);
        ours.map(|((_, doc), (_, path))| (*doc, path.clone())).collect()
    }

    /// Takes the session, from an older connection if need be. `path` is the one by which its client knows the document.
    ///
    /// # Errors
    /// [`HubError::NotYours`] if another identity has it.
    pub async fn take(&self, key: Key, path: &str, identity: [u8; 32]) -> Result<Taken, HubError> {
        let (claim, wanted) = {
            let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || {
                let (wanted, state) = (watch::Sender::new(0), Arc::default());
                (Arc::new(Seat { identity, claims: AtomicUsize::new(0), wanted, state }), String::new())
            };
            let (seat, known_as) = seats.entry(key).or_insert_with(new);
            if seat.identity != identity {
                return Err(HubError::NotYours);
            }
            path.clone_into(known_as);
            // One step, under the register's lock: whoever comes after us, also while we wait, wants it from us.
            seat.wanted.send_modify(|count| *count += 1);
            let wanted = seat.wanted.subscribe();
            seat.claims.fetch_add(1, Ordering::Relaxed);
            (Claim { register: self.0.clone(), key, seat: seat.clone() }, wanted)
        };
        let state = claim.seat.state.clone().lock_owned().await;
        Ok(Taken { state, claim, wanted })
    }
}

impl Taken {
    /// Whether somebody waits for the session.
    pub fn is_wanted(&self) -> bool {
        self.claim.has_rivals()
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

    const KEY: Key = (SessionId([2; 16]), DocId([1; 16]));

    #[tokio::test]
    async fn the_newer_connection_gets_it_and_the_register_forgets() {
        let seats = Seats::default();
        let mut first = seats.take(KEY, "a", [7; 32]).await.unwrap();
        assert!(matches!(seats.take(KEY, "a", [8; 32]).await, Err(HubError::NotYours)));
        assert!(!first.is_wanted());
        {
            let second = seats.take(KEY, "a", [7; 32]);
            tokio::pin!(second);
            tokio::select! {
                biased;
                _ = &mut second => panic!("the first has it"),
                () = first.wanted() => {}
            }
            assert!(first.is_wanted());
            drop(first);
            let second = second.await.unwrap();
            assert!(!second.is_wanted());
        }
        // A third that comes while the second still waits for the first.
        let first = seats.take(KEY, "a", [7; 32]).await.unwrap();
        let (second, third) = (seats.take(KEY, "a", [7; 32]), seats.take(KEY, "a", [7; 32]));
        tokio::pin!(second, third);
        tokio::select! {
            biased;
            _ = &mut second => panic!("the first has it"),
            _ = &mut third => panic!("the first has it"),
            () = std::future::ready(()) => {}
        }
        drop(first);
        let mut second = second.await.unwrap();
        second.wanted().await;
        drop(second);
        let third = third.await.unwrap();
        assert!(!third.is_wanted());
        drop(third);
        assert!(seats.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_nothing_in_the_register() {
        for first_leaves_before in [true, false] {
            let seats = Seats::default();
            let first = seats.take(KEY, "a", [7; 32]).await.unwrap();
            let mut second = Box::pin(seats.take(KEY, "a", [7; 32]));
            tokio::select! {
                biased;
                _ = &mut second => panic!("the first has it"),
                () = std::future::ready(()) => {}
            }
            if first_leaves_before {
                drop(first);
                drop(second);
            } else {
                drop(second);
                assert!(!first.is_wanted(), "nobody waits any more");
                drop(first);
            }
            assert!(seats.0.lock().unwrap().is_empty());
        }
    }
}
