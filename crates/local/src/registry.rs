//! Who is here: a table in POSIX shared memory (shm_overview(7)), one slot a user.
//!
//! The kernel says who lives: each user holds an open-file-description lock (fcntl(2), `F_OFD_SETLK`) on the byte of
//! the registry that has the slot's number, and the lock goes with the process, however it ends. What the table says
//! is only believed of slots whose lock is held. The protocol of one slot is in `slot`.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::{FileType, Mode, OFlags, fstat, ftruncate};
use rustix::shm;

use crate::error::LocalError;
use crate::mapping::Mapping;
use crate::name::{Group, MAX_NAME, Name};
use crate::slot::{Slot, Stage, State};

/// How many users a registry has room for.
pub const MAX_USERS: usize = 64;

/// "SYLC", and the version of the layout.
const MAGIC: u32 = 0x5359_4C43;
const VERSION: u32 = 1;

/// The words before the first slot: magic, version, the next ticket.
const HEADER: usize = 16;
const TICKET: usize = 2;
/// The words of a slot: stage, doorbell, asleep, what becomes known only after the claim (settled, abilities, the
/// agent), then who it is.
const SLOT: usize = 64;
const STAGE: usize = 0;
const DOORBELL: usize = 1;
const ASLEEP: usize = 2;
const SETTLED: usize = 3;
const ABILITIES: usize = 4;
const AGENT: usize = 5;
const ABOUT: usize = 16;
/// Ticket, process, length of the name, the name.
const ABOUT_WORDS: usize = 3 + MAX_NAME / 4;
const WORDS: usize = HEADER + MAX_USERS * SLOT;

/// By which ways a user can be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Abilities {
    /// By a message queue.
    pub queue: bool,
    /// By rings in shared memory.
    pub rings: bool,
}

/// Who somebody is, as they say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Introduction {
    /// The name.
    pub name: Name,
    /// The process.
    pub pid: u32,
}

/// A user who is here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// The slot's number.
    pub slot: usize,
    /// The slot's generation.
    pub generation: u32,
    /// Who came earlier has a smaller one.
    pub ticket: u32,
    /// Whether what their file held at their start is entered.
    pub settled: bool,
    /// How they can be reached; by no way yet, as long as they are still preparing.
    pub abilities: Abilities,
    /// The first 16 bytes of their hub's agent.
    pub agent: [u8; 16],
    /// Who they are.
    pub who: Introduction,
}

/// The registry of a group, opened.
pub struct Registry {
    group: Group,
    file: OwnedFd,
    mapping: Mapping,
    /// The slots that were claimed by this opening, a bit each: the kernel says of our own locks that they are free.
    ours: AtomicU64,
}

impl Registry {
    /// Opens the registry of a group, or makes it.
    ///
    /// # Errors
    /// [`LocalError::Foreign`] when the shared memory of that name is another account's or open to others,
    /// [`LocalError::Unknown`] when it is not a registry of this version, [`LocalError::Io`].
    pub fn open(group: Group) -> Result<Registry, LocalError> {
        let name = group.registry();
        let what = format!("the shared memory {name}");
        let flags = shm::OFlags::CREATE | shm::OFlags::RDWR;
        let file = shm::open(name.as_str(), flags, Mode::RUSR | Mode::WUSR).map_err(|error| match error {
            rustix::io::Errno::ACCESS => LocalError::Foreign { what: what.clone() },
            error => LocalError::io("opening", &what, error),
        })?;
        let stat = fstat(&file).map_err(|error| LocalError::io("looking at", &what, error))?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !regular || stat.st_uid != group.uid || stat.st_mode & 0o077 != 0 {
            return Err(LocalError::Foreign { what });
        }
        let bytes = (WORDS * size_of::<u32>()) as u64;
        // Two who do this at once do the same; it never gets shorter.
        if (stat.st_size as u64) < bytes {
            ftruncate(&file, bytes).map_err(|error| LocalError::io("making room in", &what, error))?;
        }
        let mapping = Mapping::new(&file, WORDS).map_err(|error| LocalError::io("mapping", &what, error))?;
        let words = mapping.words();
        for (at, wanted) in [(0, MAGIC), (1, VERSION)] {
            // New memory is zero, which is a registry in which nobody is.
            let found = words[at].compare_exchange(0, wanted, Ordering::AcqRel, Ordering::Acquire);
            if let Err(found) = found
                && found != wanted
            {
                return Err(LocalError::Unknown { what, found });
            }
        }
        Ok(Registry { group, file, mapping, ours: AtomicU64::new(0) })
    }

    /// The group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    fn words(&self, slot: usize) -> &[AtomicU32] {
        let from = HEADER + slot.min(MAX_USERS - 1) * SLOT;
        &self.mapping.words()[from..from + SLOT]
    }

    fn slot(&self, slot: usize) -> Slot<'_, AtomicU32> {
        let words = self.words(slot);
        Slot { stage: &words[STAGE], about: &words[ABOUT..ABOUT + ABOUT_WORDS] }
    }

    /// The words by which a user is woken: how often, and whether they sleep.
    pub(crate) fn doorbell(&self, slot: usize) -> (&AtomicU32, &AtomicU32) {
        let words = self.words(slot);
        (&words[DOORBELL], &words[ASLEEP])
    }

    // ---- the kernel's locks ----

    /// Takes the lock of a slot if nobody has it.
    fn lock(&self, slot: usize) -> Result<bool, LocalError> {
        let bit = 1 << slot;
        if self.ours.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
            return Ok(false);
        }
        let locked = self.lock_byte(slot);
        if !matches!(locked, Ok(true)) {
            self.ours.fetch_and(!bit, Ordering::AcqRel);
        }
        locked
    }

    fn lock_byte(&self, slot: usize) -> Result<bool, LocalError> {
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&byte(slot, libc::F_WRLCK))) {
            Ok(_) => Ok(true),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(false),
            Err(error) => Err(LocalError::io("locking a slot of", &self.group.registry(), error)),
        }
    }

    fn unlock(&self, slot: usize) {
        // Fails only for what was never locked.
        let _ = fcntl(&self.file, FcntlArg::F_OFD_SETLK(&byte(slot, libc::F_UNLCK)));
        self.ours.fetch_and(!(1 << slot), Ordering::AcqRel);
    }

    /// Whether another holds the lock of a slot.
    fn is_locked(&self, slot: usize) -> bool {
        let mut byte = byte(slot, libc::F_WRLCK);
        let asked = fcntl(&self.file, FcntlArg::F_OFD_GETLK(&mut byte));
        // If the kernel does not say, nobody is declared dead.
        asked.is_err() || byte.l_type != libc::F_UNLCK as libc::c_short
    }

    // ---- coming and going ----

    /// Takes one of the first `limit` slots, and says who is there now.
    ///
    /// # Errors
    /// [`LocalError::Full`], [`LocalError::NameTaken`], [`LocalError::Io`].
    pub fn claim(self: &Arc<Self>, who: Introduction, limit: usize) -> Result<Seat, LocalError> {
        let limit = limit.clamp(1, MAX_USERS);
        for slot in 0..limit {
            if !self.lock(slot)? {
                continue;
            }
            let Some(generation) = self.slot(slot).claim() else {
                self.unlock(slot);
                continue;
            };
            let ticket = self.mapping.words()[TICKET].fetch_add(1, Ordering::AcqRel);
            for word in [SETTLED, ABILITIES] {
                self.words(slot)[word].store(0, Ordering::Release);
            }
            let seat = Seat { registry: self.clone(), slot, generation, ticket };
            if !self.slot(slot).publish(generation, about(ticket, &who)) {
                continue;
            }
            // Both of two who come at once under one name see each other here; the later one yields.
            let same = self
                .neighbours()
                .into_iter()
                .find(|other| other.slot != slot && other.who.name == who.name && other.ticket < ticket);
            return match same {
                Some(other) => Err(LocalError::NameTaken { name: who.name.to_string(), pid: other.who.pid }),
                None => Ok(seat),
            };
        }
        let here: Vec<String> =
            self.neighbours().into_iter().map(|neighbour| neighbour.who.name.to_string()).collect();
        Err(LocalError::Full { limit, here: here.join(", ") })
    }

    /// Everybody who is here, whoever claimed through this opening of the registry left out.
    pub fn neighbours(&self) -> Vec<Neighbour> {
        (0..MAX_USERS).filter_map(|slot| self.neighbour(slot)).collect()
    }

    /// The user of a slot, if one is here.
    pub fn neighbour(&self, slot: usize) -> Option<Neighbour> {
        if slot >= MAX_USERS {
            return None;
        }
        let (generation, about) = self.slot(slot).read()?;
        let words = self.words(slot);
        let settled = words[SETTLED].load(Ordering::Acquire) != 0;
        let ways = words[ABILITIES].load(Ordering::Acquire);
        let abilities = Abilities { queue: ways & 1 != 0, rings: ways & 2 != 0 };
        let mut agent = [0; 16];
        let bytes =
            words[AGENT..AGENT + 4].iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes());
        agent.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        let (ticket, who) = introduced(&about)?;
        let neighbour = Neighbour { slot, generation, ticket, settled, abilities, agent, who };
        self.is_here(slot, generation).then_some(neighbour)
    }

    /// Whether that user of a slot is still here.
    pub fn is_here(&self, slot: usize, generation: u32) -> bool {
        self.slot(slot).stage() == Stage { state: State::Active, generation } && self.is_locked(slot)
    }

    /// Frees the slots of users who were killed, and gives their names: what else they left can be removed.
    pub fn sweep(&self) -> Vec<Name> {
        let mut dead = Vec::new();
        for slot in 0..MAX_USERS {
            let stage = self.slot(slot).stage();
            if stage.state == State::Free || self.is_locked(slot) || !matches!(self.lock(slot), Ok(true)) {
                continue;
            }
            // With the lock nobody else changes it: read again what it was before.
            let stage = Stage { ..self.slot(slot).stage() };
            if stage.state != State::Free {
                let about: Vec<u32> =
                    self.slot(slot).about.iter().map(|word| word.load(Ordering::Acquire)).collect();
                if stage.state != State::Claiming {
                    dead.extend(introduced(&about).map(|(_, who)| who.name));
                }
                self.slot(slot).pass(stage.generation, stage.state, State::Free);
            }
            self.unlock(slot);
        }
        dead
    }

    /// Sweeps all registries of an account, and removes the queues of those who were killed.
    pub(crate) fn sweep_all(uid: u32) {
        // Where glibc and musl keep POSIX shared memory. What cannot be listed is not swept.
        let directory = rustix::fs::open("/dev/shm", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let Ok(entries) = directory.and_then(rustix::fs::Dir::read_from) else { return };
        let prefix = format!("syncline-{uid}-");
        for entry in entries.flatten() {
            let name = entry.file_name().to_str().ok().and_then(|name| name.strip_prefix(&prefix));
            let Some(group) = name.and_then(|name| Name::parse(name).ok()) else { continue };
            let Ok(registry) = Registry::open(Group { name: group, uid }) else { continue };
            for dead in registry.sweep() {
                crate::queue::remove(&registry.group, &dead);
            }
        }
    }

    /// Removes the registry's name. For tests: those who have it open keep it.
    #[cfg(test)]
    pub fn unlink(&self) {
        let _ = shm::unlink(self.group.registry().as_str());
    }
}

/// A slot that is ours until this is dropped.
pub struct Seat {
    registry: Arc<Registry>,
    slot: usize,
    generation: u32,
    ticket: u32,
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
        let words = self.registry.words(self.slot);
        for (word, value) in words[AGENT..].iter().zip(words_of(&agent)) {
            word.store(value, Ordering::Relaxed);
        }
        let ways = u32::from(abilities.queue) | u32::from(abilities.rings) << 1;
        words[ABILITIES].store(ways, Ordering::Release);
    }
    /// Says that what our file held at the start is entered: whoever comes later may synchronise with us.
    pub fn settle(&self) {
        self.registry.words(self.slot)[SETTLED].store(1, Ordering::Release);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let slot = self.registry.slot(self.slot);
        for state in [State::Claiming, State::Active] {
            slot.pass(self.generation, state, State::Draining);
        }
        slot.pass(self.generation, State::Draining, State::Free);
        self.registry.unlock(self.slot);
    }
}

fn byte(slot: usize, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: slot as libc::off_t,
        l_len: 1,
        l_pid: 0,
    }
}

fn about(ticket: u32, who: &Introduction) -> Vec<u32> {
    let name = who.name.as_str().as_bytes();
    let mut padded = [0; MAX_NAME];
    padded.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    let mut words = vec![ticket, who.pid, name.len() as u32];
    words.extend(words_of(&padded));
    words
}

fn words_of(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}

/// Who the words of a slot say is there; `None` if they are not what anybody of ours would write.
fn introduced(about: &[u32]) -> Option<(u32, Introduction)> {
    let [ticket, pid, length, name @ ..] = about else { return None };
    let bytes: Vec<u8> = name.iter().flat_map(|word| word.to_le_bytes()).collect();
    let name = Name::parse(std::str::from_utf8(bytes.get(..*length as usize)?).ok()?).ok()?;
    Some((*ticket, Introduction { name, pid: *pid }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Arc<Registry> {
        let name = format!("test-{}", fastrand::u64(..) >> 20);
        Arc::new(Registry::open(Group::of_this_account(&name).unwrap()).unwrap())
    }

    fn again(registry: &Registry) -> Arc<Registry> {
        Arc::new(Registry::open(registry.group.clone()).unwrap())
    }

    fn who(name: &str) -> Introduction {
        Introduction { name: Name::parse(name).unwrap(), pid: 42 }
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
        assert!(one.sweep().is_empty() && two.sweep().is_empty());
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
    fn a_killed_users_slot_is_swept_and_had_again() {
        let first = open();
        let dying = again(&first);
        let seat = dying.claim(who("ann"), 1).unwrap();
        let (slot, generation) = (seat.slot(), seat.generation());
        // What the kernel does at kill -9: the lock goes, the slot stays as it was.
        dying.unlock(slot);
        assert!(!first.is_here(slot, generation));
        assert!(first.neighbours().is_empty());
        assert_eq!(first.sweep(), [Name::parse("ann").unwrap()]);
        assert!(first.sweep().is_empty());
        let bob = again(&first).claim(who("bob"), 1).unwrap();
        assert_eq!(bob.slot(), slot);
        assert_ne!(bob.generation(), generation);
        std::mem::forget(seat);
        first.unlink();
    }

    #[test]
    fn garbage_in_the_registry_is_nobody() {
        let registry = open();
        let other = again(&registry);
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..2_000 {
            for word in &registry.mapping.words()[HEADER..] {
                word.store(if round % 2 == 0 { random.u32(..) } else { random.u32(..8) }, Ordering::Relaxed);
            }
            let _ = (other.neighbours(), other.sweep());
        }
        // It can be used all the same.
        let seat = other.claim(who("ann"), 5).unwrap();
        assert!(registry.is_here(seat.slot(), seat.generation()));
        registry.mapping.words()[0].store(1, Ordering::Relaxed);
        assert!(matches!(Registry::open(registry.group.clone()), Err(LocalError::Unknown { found: 1, .. })));
        registry.unlink();
    }

    #[test]
    fn memory_that_others_may_read_is_not_used() {
        let registry = open();
        rustix::fs::fchmod(&registry.file, Mode::from_raw_mode(0o644)).unwrap();
        assert!(matches!(Registry::open(registry.group.clone()), Err(LocalError::Foreign { .. })));
        registry.unlink();
    }
}
