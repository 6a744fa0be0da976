//! Whether the journal takes what it is handed: the person at the machine is told when it stops doing so, once.

use std::sync::{Mutex, PoisonError};

use syncline_store::StoreError;

/// How the last commits went.
#[derive(Default)]
pub(crate) struct Recording {
    /// Why the last one failed.
    failing: Mutex<Option<String>>,
}

impl Recording {
    /// Takes note of how a commit went. Gives what to tell, if it is the first that fails: whoever handed it in tells its
    /// own party, but that may be a machine elsewhere, and here is the disk that is full.
    pub fn note(&self, committed: &Result<(), StoreError>) -> Option<String> {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let why = match committed {
            Ok(()) | Err(StoreError::Closed) => {
                *failing = None;
                return None;
            }
            Err(error) => error.to_string(),
        };
        let what =
            format!("nothing can be recorded ({why}): what others send stays with them, and is tried again");
        failing.replace(why).is_none().then_some(what)
    }

    /// Why nothing can be recorded, if that is so.
    pub fn trouble(&self) -> Option<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_told_and_the_next_only_after_a_success() {
        let recording = Recording::default();
        let full = || Err(StoreError::Full { path: "journal.db".into() });
        assert_eq!((recording.note(&Ok(())), recording.trouble()), (None, None));
        assert!(recording.note(&full()).is_some_and(|what| what.contains("the disk is full: journal.db")));
        assert_eq!(recording.note(&full()), None);
        assert!(recording.trouble().is_some());
        assert_eq!((recording.note(&Ok(())), recording.trouble()), (None, None));
        assert!(recording.note(&full()).is_some());
        assert_eq!((recording.note(&Err(StoreError::Closed)), recording.trouble()), (None, None));
    }
}
