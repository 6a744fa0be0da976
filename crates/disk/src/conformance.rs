//! What every [`Folder`] must do. Each case is run against the real one and against the fake one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod large;
mod rig;
mod saving;
mod taking;
mod watching;

use crate::*;
pub use rig::{FakeRig, RealRig, Rig};
use std::sync::Arc;

/// A case: it panics if the folder does not conform.
pub type Case = fn(Arc<dyn Rig>);

/// All cases by name.
pub fn cases() -> Vec<(&'static str, Case)> {
    [large::CASES, saving::CASES, taking::CASES, watching::CASES].concat()
}

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

pub(crate) fn holding(bytes: &str) -> Expect {
    Expect::File(ContentHash::of(bytes.as_bytes()))
}

pub(crate) fn save(at: &str, bytes: &str, expect: Expect, nth: u64) -> Save {
    Save {
        path: path(at),
        bytes: bytes.as_bytes().to_vec().into(),
        seen: None,
        expect,
        mode: None,
        temporary: temporary_name(nth),
        sync: Sync::Full,
        ahead: false,
    }
}

pub(crate) fn text(rig: &dyn Rig, at: &str) -> Option<String> {
    rig.peek(&path(at)).map(|bytes| String::from_utf8(bytes).unwrap())
}

/// Nothing of ours is left behind.
pub(crate) fn clean(rig: &dyn Rig) {
    assert_eq!(rig.folder().temporaries().unwrap(), []);
    assert_eq!(rig.folder().displaced().unwrap(), []);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(make: impl Fn() -> Arc<dyn Rig>) {
        let only = std::env::var("CASE").unwrap_or_default();
        for (name, case) in cases().into_iter().filter(|(name, _)| name.contains(&only)) {
            eprintln!("case {name}");
            case(make());
        }
    }

    #[test]
    fn real_folder_conforms() {
        run(|| Arc::new(RealRig::new(RealOptions::default())));
    }

    #[test]
    fn real_folder_conforms_without_openat2() {
        run(|| {
            let rig = RealRig::new(RealOptions::default());
            rig.real().pretend_old_kernel();
            Arc::new(rig)
        });
    }

    #[test]
    fn fake_folder_conforms() {
        run(|| Arc::new(FakeRig::default()));
    }
}
