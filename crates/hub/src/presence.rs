//! Who works on which document, and where their cursors are. Nothing of it is recorded: it is gone with the
//! connection.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use syncline_engine::catalogue::DocId;
use syncline_engine::{Edit, Version};
use syncline_protocol::content::Present;
use syncline_protocol::limits::MAX_PRESENT;
use tokio::sync::watch;

/// The rooms of all documents that somebody is in.
#[derive(Default)]
pub(crate) struct Rooms {
    rooms: Mutex<HashMap<DocId, Arc<Room>>>,
    /// Never the same for two connections.
    next_id: AtomicU64,
}

/// Those who work on one document.
struct Room {
    people: Mutex<People>,
    /// Counts what changed.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct People {
    /// The version that all positions are in.
    version: Option<Version>,
    present: BTreeMap<u64, Present>,
}

/// Somebody's place in a room; given up when it is dropped.
pub(crate) struct Seat {
    room: Arc<Room>,
    id: u64,
    changes: watch::Receiver<u64>,
}

impl Rooms {
    /// Somebody comes in.
    pub fn enter(&self, doc: DocId, name: String, color: Option<String>) -> Seat {
        let room = {
            let mut rooms = lock(&self.rooms);
            // Rooms that everybody has left; there are few.
            rooms.retain(|_, room| Arc::strong_count(room) > 1);
            rooms.entry(doc).or_insert_with(Room::new).clone()
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let changes = room.changes.subscribe();
        let seat = Seat { room, id, changes };
        seat.change(|people| {
            // Beyond that nobody is told of them.
            if people.present.len() < MAX_PRESENT {
                people.present.insert(id, Present { id, name, color, cursor: None, anchor: None });
            }
        });
        seat
    }
}

impl Room {
    fn new() -> Arc<Room> {
        Arc::new(Room { people: Mutex::default(), changes: watch::Sender::new(0) })
    }
}

impl Seat {
    /// Waits until somebody came, left or moved. Cancel-safe.
    pub async fn changed(&mut self) {
        // The sender is in the room that we hold.
        let _ = self.changes.changed().await;
    }

    /// The version that positions are in, if there are any; what happens from now on wakes [`Seat::changed`].
    pub fn version(&mut self) -> Option<Version> {
        self.changes.mark_unchanged();
        lock(&self.room.people).version.clone()
    }

    /// Everybody else, with positions in the text at `now`; `edits` is what changed from `since` to it.
    pub fn others(&self, since: Option<&Version>, edits: &[Edit], now: &Version) -> Vec<Present> {
        let mut people = lock(&self.room.people);
        people.advance(since, edits, now);
        people.present.values().filter(|other| other.id != self.id).cloned().collect()
    }

    /// Our own cursor, in the text at `now`, to which `edits` led from `since`.
    pub fn mark(
        &self,
        marks: (Option<usize>, Option<usize>),
        since: Option<&Version>,
        edits: &[Edit],
        now: &Version,
    ) {
        self.change(|people| {
            people.advance(since, edits, now);
            if let Some(own) = people.present.get_mut(&self.id) {
                (own.cursor, own.anchor) = marks;
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut People)) {
        change(&mut lock(&self.room.people));
        self.room.changes.send_modify(|count| *count += 1);
    }
}

impl People {
    /// If another session has moved them on meanwhile they stay as they are: a newer place is told soon.
    fn advance(&mut self, since: Option<&Version>, edits: &[Edit], now: &Version) {
        if self.version.as_ref() == since {
            self.present.values_mut().for_each(|present| present.shift(edits));
            self.version = Some(now.clone());
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let id = self.id;
        self.change(|people| {
            people.present.remove(&id);
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOC: DocId = DocId([7; 16]);

    fn names(seat: &Seat) -> Vec<String> {
        let now = Version::root();
        seat.others(Some(&now), &[], &now).into_iter().map(|other| other.name).collect()
    }

    #[test]
    fn who_comes_is_seen_and_who_leaves_is_not() {
        let rooms = Rooms::default();
        let ann = rooms.enter(DOC, "ann".into(), None);
        let bob = rooms.enter(DOC, "bob".into(), None);
        let elsewhere = rooms.enter(DocId([8; 16]), "cy".into(), None);
        assert_eq!((names(&ann), names(&bob)), (vec!["bob".to_owned()], vec!["ann".to_owned()]));
        assert!(names(&elsewhere).is_empty());
        drop(ann);
        assert!(names(&bob).is_empty());
        drop((bob, elsewhere));
        drop(rooms.enter(DOC, "last".into(), None));
        assert_eq!(lock(&rooms.rooms).len(), 1);
    }

    #[test]
    fn a_crowd_is_bounded() {
        let rooms = Rooms::default();
        let seats: Vec<Seat> =
            (0..MAX_PRESENT + 9).map(|at| rooms.enter(DOC, at.to_string(), None)).collect();
        assert_eq!(names(&seats[MAX_PRESENT + 1]).len(), MAX_PRESENT);
        assert_eq!(names(&seats[0]).len(), MAX_PRESENT - 1);
    }
}
