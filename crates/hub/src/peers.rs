//! Peers elsewhere, whose history comes before differences found at the start (docs/decisions/0016).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use syncline_store::{LogReader, Record, StoreError};

use crate::hub::Hub;

/// The setting that says that this folder ever had a peer.
const HAD_PEER: &str = "had_peer";
/// If none comes for so long after the start, the hub goes on alone.
const AWAITED_FOR: Duration = Duration::from_secs(30);

/// Whether this folder has peers, and one of them was heard.
pub(crate) struct Peers {
    /// The journal knows that there was one.
    recorded: AtomicBool,
    /// None has told its history since the hub was opened, though there are some.
    awaited: AtomicBool,
}

impl Peers {
    /// `gated`: no file is touched before a peer was heard, which leaves nothing to decide here.
    pub fn read(reader: &dyn LogReader, gated: bool) -> Result<Peers, StoreError> {
        let had = reader.setting(HAD_PEER)?.is_some();
        Ok(Peers { recorded: AtomicBool::new(had), awaited: AtomicBool::new(had && !gated) })
    }
}

impl Hub {
    /// A peer has told all its history, and it is merged: from now on what a file holds and no version had is an
    /// edit.
    pub fn peer_heard(&self) {
        let peers = &self.0.peers;
        if !peers.recorded.swap(true, Ordering::Relaxed) {
            // Not waited for: after a crash the next peer has it recorded.
            let setting = Record::Setting { name: HAD_PEER.into(), value: vec![1] };
            self.0.journal().commit(vec![setting], |_| ());
        }
        if peers.awaited.swap(false, Ordering::Relaxed) {
            self.look_at_startup();
        }
    }

    /// Whether this folder ever had a peer.
    pub(crate) fn had_peer(&self) -> bool {
        self.0.peers.recorded.load(Ordering::Relaxed)
    }

    /// Whether what differs in a file since the hub before this one may be in a peer's history that is still to come.
    pub(crate) fn awaits_peer(&self) -> bool {
        self.0.peers.awaited.load(Ordering::Relaxed) && self.uptime() < AWAITED_FOR
    }
}
