//! Which temporaries are ours, and for which path: written by saves, read by the watch.

use crate::RelPath;
use crate::medium::Purpose;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Far more than there are saves at one time; more means that a watch is not being served.
const MOST: usize = 65_536;

/// Announced temporaries that the watch has not seen yet.
#[derive(Default)]
pub(crate) struct OwnNames(Mutex<HashMap<String, (RelPath, Purpose)>>);

impl OwnNames {
    pub(crate) fn announce(&self, temporary: &str, path: &RelPath, purpose: Purpose) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MOST {
            names.clear();
        }
        names.insert(temporary.to_owned(), (path.clone(), purpose));
    }

    pub(crate) fn claim(&self, temporary: &str) -> Option<(RelPath, Purpose)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(temporary)
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
