//! One folder: reading, atomic saving, watching, ignoring, path safety; a real one and a fake one behind one trait.

mod ahead;
mod brake;
mod clash;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod displaced;
mod error;
mod file_bytes;
mod fingerprint;
mod folder;
mod hint;
mod ignore;
mod in_place;
mod kernel;
mod medium;
#[cfg(any(test, feature = "conformance"))]
mod memory;
mod on_medium;
mod one_file;
mod path;
pub mod planted;
mod queue;
mod reading;
mod relay;
mod removing;
mod save;
mod saving;
mod splice;
mod stat;
mod text;

pub use brake::{Brake, BrakeInput, BrakeReason, FEW, GitState, brake};
pub use clash::{CaseRule, clash_key};
pub use error::DiskError;
pub use file_bytes::{FileBytes, Pieces};
pub use fingerprint::{Fingerprint, RACY_NS};
pub use folder::{Folder, Watch};
pub use hint::{Hint, What};
pub use ignore::{IGNORE_FILE, IgnoreRules};
pub use kernel::{RealFolder, RealOptions};
#[cfg(any(test, feature = "conformance"))]
pub use medium::Step;
#[cfg(any(test, feature = "conformance"))]
pub use memory::{FakeFolder, WriterId};
pub use one_file::OneFile;
pub use path::{
    MAX_PART, MAX_PATH, PathError, RelPath, STATE_DIR, TEMPORARY_PREFIX, is_refused_from_network,
    is_temporary_name, temporary_name,
};
pub use save::{
    Compared, DisplacedId, Expect, Found, How, Listing, Patched, Probe, Reading, Removed, Renamed, Save,
    Saved, Settled, Sync, Writers,
};
pub use splice::Splice;
pub use stat::{ContentHash, Entry, FileKind, FileStat};
pub use text::{Decoded, LineEndings, TextForm, decode, encode};
