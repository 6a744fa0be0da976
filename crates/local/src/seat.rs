//! A place in the registry: taken, kept, and given back.
//!
//! A user's queue is removed only by who holds the lock of a slot that has the user's name, while the slot is not free.
//! Whoever comes under that name waits until no such slot is left before they make a queue of their own: so nobody who
//! tidies up after a killed user removes the queue of the next user of that name.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::LocalError;
use crate::neighbour::{Abilities, Introduction, about, words_of};
use crate::registry::{ABILITIES, AGENT, MAX_USERS, Registry, Rival, SETTLED};
use crate::slot::State;

/// How long another of the same name may take to be gone before it counts as here: somebody may just be leaving, or be
/// tidied up after.
const LEAVING: Duration = Duration::from_millis(300);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(1);

/// A slot that is ours until this is dropped.
pub struct Seat {
    registry: Arc<Registry>,
    slot: usize,
    generation: u32,
    ticket: u32,
    who: Introduction,
    announced: OnceLock<(Abilities, [u8; 16])>,
    settled: AtomicBool,
}

impl Registry {
    /// Takes one of the first `limit` slots, and says who is there now. What killed users left is removed before.
    ///
    /// # Errors
    /// [`LocalError::Full`], [`LocalError::NameTaken`], [`LocalError::Io`].
    pub fn claim(self: &Arc<Self>, who: Introduction, limit: usize) -> Result<Seat, LocalError> {
        let limit = limit.clamp(1, MAX_USERS);
        self.sweep();
        for slot in 0..limit {
            if !self.lock(slot)? {
                continue;
            }
            // Killed since the sweep, perhaps: its queue goes before its name does.
            self.clear(slot);
            let Some(generation) = self.slot(slot).claim() else {
                self.unlock(slot);
                continue;
            };
            let ticket = self.next_ticket();
            for word in [SETTLED, ABILITIES] {
                self.words(slot)[word].store(0, Ordering::Release);
            }
            let seat = Seat {
                registry: self.clone(),
                slot,
                generation,
                ticket,
                who: who.clone(),
                announced: OnceLock::new(),
                settled: AtomicBool::new(false),
            };
            if !self.slot(slot).publish(generation, about(ticket, &who)) {
                continue;
            }
            return match self.rival_of(&seat) {
                Some(pid) => Err(LocalError::NameTaken { name: who.name.to_string(), pid }),
                None => Ok(seat),
            };
        }
        let here: Vec<String> =
            self.neighbours().into_iter().map(|neighbour| neighbour.who.name.to_string()).collect();
        Err(LocalError::Full { limit, here: here.join(", ") })
    }

    /// The process of another user of the same name who came before. Of two who come at once the later one yields; it
    /// waits for the earlier to say who it is.
    fn rival_of(&self, seat: &Seat) -> Option<u32> {
        let deadline = Instant::now() + LEAVING;
        loop {
            self.sweep();
            let rivals = (0..MAX_USERS)
                .filter(|slot| *slot != seat.slot)
                .filter_map(|slot| self.rival(slot, &seat.who.name, seat.ticket));
            match rivals.max()? {
                Rival::Here(pid) if Instant::now() > deadline => return Some(pid),
                Rival::Perhaps if Instant::now() > deadline => return None,
                Rival::Here(_) | Rival::Perhaps => thread::sleep(LOOK),
            }
        }
    }
}

impl Seat {
    /// The registry.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }
    /// The slot's number.
    pub fn slot(&self) -> usize {
        self.slot
    }
    /// The slot's generation.
    pub fn generation(&self) -> u32 {
        self.generation
    }
    /// Who came earlier has a smaller one.
    pub fn ticket(&self) -> u32 {
        self.ticket
    }
    /// Says how we can be reached, and which agent our hub has.
    pub fn announce(&self, abilities: Abilities, agent: [u8; 16]) {
        let (abilities, agent) = self.announced.get_or_init(|| (abilities, agent));
        let words = self.registry.words(self.slot);
        for (word, value) in words[AGENT..].iter().zip(words_of(agent)) {
            word.store(value, Ordering::Relaxed);
        }
        let ways = u32::from(abilities.queue) | u32::from(abilities.rings) << 1;
        words[ABILITIES].store(ways, Ordering::Release);
    }
    /// Says that what our file held at the start is entered: whoever comes later may synchronise with us.
    pub fn settle(&self) {
        self.settled.store(true, Ordering::Release);
        self.registry.words(self.slot)[SETTLED].store(1, Ordering::Release);
    }

    /// Says again who is here if somebody wiped the registry, or cut it short; gives whether they had. The lock is
    /// still ours, so nobody else has the slot.
    pub fn renew(&self) -> bool {
        let about = about(self.ticket, &self.who);
        let words = self.registry.words(self.slot);
        let settled = self.settled.load(Ordering::Acquire);
        let announced = self.announced.get().is_none() || words[ABILITIES].load(Ordering::Acquire) != 0;
        let said = announced && (!settled || words[SETTLED].load(Ordering::Acquire) != 0);
        if said && self.registry.slot(self.slot).read() == Some((self.generation, about.clone())) {
            return false;
        }
        self.registry.mark(self.ticket);
        self.registry.slot(self.slot).reclaim(self.generation);
        if let Some((abilities, agent)) = self.announced.get() {
            self.announce(*abilities, *agent);
        }
        if settled {
            self.settle();
        }
        self.registry.slot(self.slot).publish(self.generation, about);
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let slot = self.registry.slot(self.slot);
        for state in [State::Claiming, State::Active] {
            slot.pass(self.generation, state, State::Draining);
        }
        self.registry.clear(self.slot);
        self.registry.unlock(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Group, Name};
    use crate::queue::Queue;

    fn open() -> Arc<Registry> {
        let name = format!("test-{}", fastrand::u64(..) >> 20);
        Arc::new(Registry::open(Group::of_this_account(&name).unwrap()).unwrap())
    }

    fn again(registry: &Registry) -> Arc<Registry> {
        Arc::new(Registry::open(registry.group().clone()).unwrap())
    }

    fn who(name: &str) -> Introduction {
        Introduction { name: Name::parse(name).unwrap(), pid: 42 }
    }

    /// What the kernel does at kill -9: the lock goes, the slot stays as it was.
    fn killed(seat: Seat) {
        seat.registry.unlock(seat.slot);
        std::mem::forget(seat);
    }

    #[test]
    fn users_see_each_other_until_they_leave() {
        let one = open();
        let two = again(&one);
        let ann = one.claim(who("ann"), 5).unwrap();
        let bob = two.claim(who("bob"), 5).unwrap();
        let seen: Vec<_> = one.neighbours().into_iter().map(|user| (user.slot, user.who)).collect();
        assert_eq!(seen, [(bob.slot(), who("bob"))]);
        // Nobody takes a living user for dead, least of all themselves.
        one.sweep();
        two.sweep();
        assert!(two.is_here(ann.slot(), ann.generation()));
        let abilities = Abilities { queue: true, rings: false };
        assert_eq!(two.neighbours()[0].abilities, Abilities::default());
        ann.announce(abilities, [7; 16]);
        assert_eq!((two.neighbours()[0].abilities, two.neighbours()[0].agent), (abilities, [7; 16]));
        assert!(!two.neighbours()[0].settled);
        ann.settle();
        assert!(two.neighbours()[0].settled);
        let (slot, generation) = (ann.slot(), ann.generation());
        drop(ann);
        assert!(!two.is_here(slot, generation));
        assert!(two.neighbours().is_empty());
        one.unlink();
    }

    #[test]
    fn the_sixth_of_five_is_told_who_is_there() {
        let first = open();
        let seats: Vec<_> =
            (0..5).map(|n| again(&first).claim(who(&format!("user_{n}")), 5).unwrap()).collect();
        let error = again(&first).claim(who("late"), 5).err().unwrap();
        assert_eq!(
            error.to_string(),
            "there are 5 users here already (user_0, user_1, user_2, user_3, user_4)"
        );
        assert!(again(&first).claim(who("late"), 6).is_ok());
        drop(seats);
        first.unlink();
    }

    #[test]
    fn a_name_is_taken_once() {
        let first = open();
        let _ann = first.claim(who("ann"), 5).unwrap();
        let error = again(&first).claim(who("ann"), 5).err().unwrap();
        assert!(matches!(error, LocalError::NameTaken { pid: 42, .. }), "{error}");
        first.unlink();
    }

    #[test]
    fn of_many_who_come_at_once_under_one_name_one_stays() {
        let first = open();
        for round in 0..10 {
            let claims: Vec<_> = (0..4)
                .map(|_| {
                    let registry = again(&first);
                    thread::spawn(move || registry.claim(who("ann"), 8))
                })
                .collect();
            let seats: Vec<_> = claims.into_iter().filter_map(|claim| claim.join().unwrap().ok()).collect();
            assert_eq!(seats.len(), 1, "round {round}");
        }
        first.unlink();
    }

    #[test]
    fn a_killed_users_slot_is_swept_and_had_again() {
        let first = open();
        let seat = again(&first).claim(who("ann"), 1).unwrap();
        let (slot, generation) = (seat.slot(), seat.generation());
        killed(seat);
        assert!(!first.is_here(slot, generation));
        assert!(first.neighbours().is_empty());
        first.sweep();
        assert_eq!(first.slot(slot).stage().state, State::Free);
        let bob = again(&first).claim(who("bob"), 1).unwrap();
        assert_eq!(bob.slot(), slot);
        assert_ne!(bob.generation(), generation);
        first.unlink();
    }

    #[test]
    fn a_killed_users_queue_goes_with_their_slot_whoever_gets_it() {
        let first = open();
        let ann = Name::parse("ann").unwrap();
        let dying = again(&first);
        for sweeps in [true, false] {
            let seat = dying.claim(who("ann"), 1).unwrap();
            let queue = Queue::create(first.group(), &ann, 5).unwrap();
            killed(seat);
            drop(queue);
            assert!(Queue::open(first.group(), &ann).is_ok(), "a kill leaves it");
            if sweeps {
                first.sweep();
            } else {
                let _bob = again(&first).claim(who("bob"), 1).unwrap();
            }
            assert!(Queue::open(first.group(), &ann).is_err(), "it would count against the account for ever");
        }
        first.unlink();
    }

    #[test]
    fn nobody_who_tidies_up_removes_the_queue_of_the_next_user_of_that_name() {
        let first = open();
        let ann = Name::parse("ann").unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let sweepers: Vec<_> = (0..2)
            .map(|_| {
                let (registry, stop) = (again(&first), stop.clone());
                thread::spawn(move || {
                    while !stop.load(Ordering::Acquire) {
                        registry.sweep();
                    }
                })
            })
            .collect();
        let dying = again(&first);
        for round in 0..200 {
            let seat = dying.claim(who("ann"), 3).unwrap();
            let queue = Queue::create(first.group(), &ann, 5).unwrap();
            for _ in 0..20 {
                thread::yield_now();
                assert!(Queue::open(first.group(), &ann).is_ok(), "round {round}");
            }
            killed(seat);
            drop(queue);
        }
        stop.store(true, Ordering::Release);
        sweepers.into_iter().for_each(|sweeper| sweeper.join().unwrap());
        first.sweep();
        first.unlink();
    }

    #[test]
    fn who_is_here_says_so_again_when_the_registry_was_wiped() {
        let first = open();
        let other = again(&first);
        let ann = first.claim(who("ann"), 5).unwrap();
        ann.announce(Abilities { queue: true, rings: true }, [3; 16]);
        ann.settle();
        let before = other.neighbours();
        assert!(!ann.renew());
        other.wipe();
        assert!(other.neighbours().is_empty());
        assert!(ann.renew());
        assert_eq!(other.neighbours(), before);
        let bob = other.claim(who("bob"), 5).unwrap();
        assert!(bob.ticket() > ann.ticket(), "who comes after the wipe is later");
        first.unlink();
    }
}
