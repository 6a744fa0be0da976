//! How many connections there may be, how many of them may not have said who they are, and how fast one source
//! may come back.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// All connections together.
pub(crate) const MAX_CONNECTIONS: usize = 4_096;

/// Connections from one source that are not let in yet.
pub(crate) const MAX_STRANGERS: usize = 64;

/// The same from this machine, where all programs share one address.
pub(crate) const MAX_LOCAL_STRANGERS: usize = 1_024;

/// Connections from one source that are let in. Not for this machine.
pub(crate) const MAX_RESIDENTS: usize = 1_024;

/// So many connections in a row a source may make; they come back with [`PER_SECOND`]. Not for this machine.
pub(crate) const BURST: f64 = 128.0;

/// So many connections a source may make in a second for ever.
pub(crate) const PER_SECOND: f64 = 16.0;

/// A connection that came to nothing (a wrong token, no hello, no handshake) counts as so many more.
pub(crate) const IN_VAIN: f64 = 7.0;

/// So many sources are remembered. Whoever has not come for [`BURST`] / [`PER_SECOND`] seconds is forgotten.
const MAX_SOURCES: usize = 1 << 16;

/// Counts connections.
#[derive(Clone)]
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    sources: Arc<Mutex<HashMap<IpAddr, Source>>>,
}

/// What is known of a source.
struct Source {
    strangers: usize,
    residents: usize,
    /// How many connections it may make at the moment `at`.
    credit: f64,
    at: Instant,
}

/// A place; given back when dropped.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    address: IpAddr,
    is_stranger: bool,
    sources: Arc<Mutex<HashMap<IpAddr, Source>>>,
}

/// Whoever has one address of an IPv6 network has 2^64 of them.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))
        }
        address => address,
    }
}

impl Source {
    fn new(now: Instant) -> Source {
        Source { strangers: 0, residents: 0, credit: BURST, at: now }
    }

    /// Credit comes back with time.
    fn refill(&mut self, now: Instant) {
        let passed: Duration = now.saturating_duration_since(self.at);
        self.credit = (self.credit + passed.as_secs_f64() * PER_SECOND).min(BURST);
        self.at = now;
    }

    fn is_forgettable(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.strangers == 0 && self.residents == 0 && self.credit >= BURST
    }
}

impl Admission {
    pub fn new() -> Admission {
        Admission { places: Arc::new(Semaphore::new(MAX_CONNECTIONS)), sources: Arc::default() }
    }

    /// A place for a connection from there, if there is one.
    pub fn admit(&self, address: IpAddr, now: Instant) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let address = source_of(address);
        let mut sources = lock(&self.sources);
        if sources.len() >= MAX_SOURCES {
            sources.retain(|_, source| !source.is_forgettable(now));
            if sources.len() >= MAX_SOURCES && !sources.contains_key(&address) {
                return None;
            }
        }
        let source = sources.entry(address).or_insert_with(|| Source::new(now));
        source.refill(now);
        let local = address.is_loopback();
        let most = if local { MAX_LOCAL_STRANGERS } else { MAX_STRANGERS };
        if source.strangers >= most {
            return None;
        }
        if !local {
            if source.credit < 1.0 || source.residents >= MAX_RESIDENTS {
                return None;
            }
            source.credit -= 1.0;
        }
        source.strangers += 1;
        let sources = Arc::clone(&self.sources);
        Some(Place { _permit: permit, address, is_stranger: true, sources })
    }
}

fn lock(sources: &Mutex<HashMap<IpAddr, Source>>) -> MutexGuard<'_, HashMap<IpAddr, Source>> {
    sources.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Place {
    /// It has said who it is: its source may have another stranger.
    pub fn let_in(&mut self) {
        if std::mem::take(&mut self.is_stranger)
            && let Some(source) = lock(&self.sources).get_mut(&self.address)
        {
            source.strangers -= 1;
            source.residents += 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sources = lock(&self.sources);
        let Some(source) = sources.get_mut(&self.address) else { return };
        if self.is_stranger {
            source.strangers -= 1;
            if !self.address.is_loopback() {
                source.credit = (source.credit - IN_VAIN).max(0.0);
            }
        } else {
            source.residents -= 1;
        }
        if source.strangers == 0 && source.residents == 0 && source.credit >= BURST {
            sources.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABROAD: &str = "192.0.2.1";

    fn admit(admission: &Admission, address: &str, now: Instant) -> Option<Place> {
        admission.admit(address.parse().unwrap(), now)
    }

    /// A connection that is let in and ends.
    fn visit(admission: &Admission, address: &str, now: Instant) -> bool {
        let place = admit(admission, address, now);
        place.map(|mut place| place.let_in()).is_some()
    }

    #[test]
    fn strangers_of_one_source_are_limited() {
        let (admission, now) = (Admission::new(), Instant::now());
        let mut places: Vec<Place> =
            (0..MAX_STRANGERS).filter_map(|_| admit(&admission, ABROAD, now)).collect();
        assert_eq!(places.len(), MAX_STRANGERS);
        assert!(admit(&admission, ABROAD, now).is_none());
        assert!(admit(&admission, "192.0.2.2", now).is_some());
        places[0].let_in();
        assert!(admit(&admission, ABROAD, now).is_some());
        drop(places);
        assert_eq!(admission.places.available_permits(), MAX_CONNECTIONS);
    }

    #[test]
    fn those_who_are_let_in_are_limited_by_source_too() {
        let (admission, start) = (Admission::new(), Instant::now());
        let mut places = Vec::new();
        for number in 0..MAX_RESIDENTS as u32 {
            let now = start + Duration::from_secs(u64::from(number));
            let mut place = admit(&admission, ABROAD, now).unwrap();
            place.let_in();
            places.push(place);
        }
        let later = start + Duration::from_secs(100_000);
        assert!(admit(&admission, ABROAD, later).is_none());
        places.pop();
        assert!(admit(&admission, ABROAD, later).is_some());
    }

    #[test]
    fn a_source_that_comes_too_often_waits_and_comes_in_again() {
        let (admission, now) = (Admission::new(), Instant::now());
        let visits = (0..1_000).filter(|_| visit(&admission, ABROAD, now)).count();
        assert_eq!(visits, BURST as usize);
        assert!(visit(&admission, "192.0.2.2", now), "others do not pay for it");
        let later = now + Duration::from_secs(1);
        let visits = (0..1_000).filter(|_| visit(&admission, ABROAD, later)).count();
        assert_eq!(visits, PER_SECOND as usize);
    }

    #[test]
    fn who_comes_in_vain_comes_seldom() {
        let (admission, now) = (Admission::new(), Instant::now());
        let tries = (0..1_000).filter(|_| admit(&admission, ABROAD, now).is_some()).count();
        assert_eq!(tries, (BURST / (1.0 + IN_VAIN)) as usize);
        // Of a whole minute of guessing.
        let tries = (0..60_000u64)
            .filter(|ms| admit(&admission, ABROAD, now + Duration::from_millis(*ms)).is_some())
            .count();
        assert!(tries <= 60 * PER_SECOND as usize, "{tries}");
    }

    #[test]
    fn this_machine_is_not_slowed_down() {
        let (admission, now) = (Admission::new(), Instant::now());
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!((0..10_000).all(|_| admit(&admission, address, now).is_some()));
        }
        assert!(lock(&admission.sources).is_empty(), "and not remembered");
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let (admission, now) = (Admission::new(), Instant::now());
        let of = |number: u64| IpAddr::from(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number)));
        let places: Vec<Place> = (0..1_000).filter_map(|number| admission.admit(of(number), now)).collect();
        assert_eq!(places.len(), MAX_STRANGERS);
        assert!(admit(&admission, "2001:db8:0:1::1", now).is_some(), "the next network is another");
    }

    #[test]
    fn sources_are_forgotten() {
        let (admission, now) = (Admission::new(), Instant::now());
        let of = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..MAX_SOURCES as u32 {
            assert!(admission.admit(of(number), now).is_some());
        }
        assert!(admission.admit(of(1 << 20), now).is_none(), "too many at once");
        let later = now + Duration::from_secs(60);
        assert!(admission.admit(of(1 << 20), later).is_some());
        assert_eq!(lock(&admission.sources).len(), 1);
    }

    #[test]
    fn all_connections_together_are_limited() {
        let (admission, now) = (Admission::new(), Instant::now());
        let mut places = Vec::new();
        for number in 0..MAX_CONNECTIONS as u32 {
            let mut place = admission.admit(IpAddr::from(number.to_be_bytes()), now).unwrap();
            place.let_in();
            places.push(place);
        }
        assert!(admit(&admission, ABROAD, now).is_none());
        drop(places);
        assert_eq!(admission.places.available_permits(), MAX_CONNECTIONS);
    }
}
