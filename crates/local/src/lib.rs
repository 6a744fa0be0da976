//! How sessions arrive on one machine: a registry in shared memory, message queues, rings in shared memory.
//!
//! Processes of one account find each other in the [`Registry`] and keep a `replica` session with one another. What is
//! said on it is decided by `syncline-protocol`, what is done about it by `syncline-hub`; this crate moves
//! bytes between processes and knows who is there. Everything that other processes can write (the registry, a
//! queue, a ring) is hostile input here: it is checked, bounded, and never trusted.

mod broadcast;
mod conversation;
mod datagram;
mod doorbell;
mod error;
mod event;
mod handover;
mod inlet;
mod mapping;
mod name;
mod neighbour;
mod neighbourhood;
mod pace;
mod queue;
mod queue_listener;
mod registry;
mod ring;
mod ring_listener;
mod seat;
mod session;
mod sessions;
mod slot;
mod truncation;
mod wire;
mod word;
mod writable;

pub use broadcast::Counters;
pub use error::LocalError;
pub use event::LocalEvent;
pub use name::{Group, MAX_NAME, Name};
pub use neighbour::{Abilities, Introduction, Neighbour};
pub use neighbourhood::{Neighbourhood, Options, Transport};
pub use registry::{MAX_USERS, Registry};
pub use seat::Seat;

/// The ring and the doorbell by themselves, for the benchmarks.
#[cfg(feature = "measure")]
pub mod measure;
