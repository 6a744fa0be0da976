//! How many connections there may be, and how many of them may not have said who they are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All connections together.
pub(crate) const MAX_CONNECTIONS: usize = 4_096;

/// Connections from one address that are not let in yet.
pub(crate) const MAX_STRANGERS: usize = 64;

/// The same from this machine, where all programs share one address.
pub(crate) const MAX_LOCAL_STRANGERS: usize = 1_024;

#[derive(Clone)]
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    strangers: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place; given back when dropped.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    stranger: Option<Stranger>,
}

struct Stranger {
    address: IpAddr,
    strangers: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Admission {
    pub fn new() -> Admission {
        Admission { places: Arc::new(Semaphore::new(MAX_CONNECTIONS)), strangers: Arc::default() }
    }

    /// A place for a connection from there, if there is one.
    pub fn admit(&self, address: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let address = address.to_canonical();
        let most = if address.is_loopback() { MAX_LOCAL_STRANGERS } else { MAX_STRANGERS };
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = strangers.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        let stranger = Stranger { address, strangers: Arc::clone(&self.strangers) };
        Some(Place { _permit: permit, stranger: Some(stranger) })
    }
}

impl Place {
    /// It has said who it is: its address may have another stranger.
    pub fn let_in(&mut self) {
        self.stranger = None;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = strangers.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                strangers.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_of_one_address_are_limited_and_forgotten() {
        let admission = Admission::new();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let mut places: Vec<Place> = (0..MAX_STRANGERS).filter_map(|_| admission.admit(address)).collect();
        assert_eq!(places.len(), MAX_STRANGERS);
        assert!(admission.admit(address).is_none());
        assert!(admission.admit("192.0.2.2".parse().unwrap()).is_some());
        places[0].let_in();
        let another = admission.admit(address);
        assert!(another.is_some());
        drop((places, another));
        assert!(admission.strangers.lock().unwrap().is_empty());
        assert_eq!(admission.places.available_permits(), MAX_CONNECTIONS);
    }

    #[test]
    fn all_connections_together_are_limited() {
        let admission = Admission::new();
        let mut places = Vec::new();
        for number in 0..MAX_CONNECTIONS as u32 {
            let mut place = admission.admit(IpAddr::from(number.to_be_bytes())).unwrap();
            place.let_in();
            places.push(place);
        }
        assert!(admission.admit("192.0.2.1".parse().unwrap()).is_none());
        assert!(admission.strangers.lock().unwrap().is_empty(), "a refused connection leaves nothing behind");
    }
}
