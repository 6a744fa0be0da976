//! What happened in a world, as a hash: two runs of one seed must have the same.

use std::fmt;

/// The hash so far.
#[derive(Default)]
pub struct Trace {
    hasher: blake3::Hasher,
}

impl Trace {
    /// Something happened.
    pub fn note(&mut self, what: fmt::Arguments<'_>) {
        self.hasher.update(what.to_string().as_bytes());
        self.hasher.update(b"\n");
    }

    /// The hash, as text.
    pub fn finish(&self) -> String {
        self.hasher.finalize().to_hex().as_str()[..32].to_owned()
    }
}
