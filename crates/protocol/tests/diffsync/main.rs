//! Both ends of `diffsync` over the real engine: through a network that loses, repeats and reorders, from
//! transcripts, and with hostile input.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod history;
mod hostile;
mod lossy;
mod returning;
mod transcripts;
