//! Whether the journal takes what it is handed: the person at the machine is told when it stops doing so, once.

use std::sync::{Mutex, PoisonError};

use syncline_store::StoreError;

/// How the last commits went.
#[derive(Default)]
pub(crate) struct Recording {
    failing: Mutex<Option<Failing>>,
}

/// The last commit failed.
struct Failing {
    why: String,
    /// No further one is tried.
    read_only: bool,
}

impl Recording {
    /// Takes note of how a commit went. Gives what to tell, if it is the first that fails, or the first that is not tried
    /// any more: whoever handed it in tells its own party, but that may be a machine elsewhere, and here is the disk.
    pub fn note(&self, committed: &Result<(), StoreError>) -> Option<String> {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let error = match committed {
            Ok(()) | Err(StoreError::Closed) => {
                // An earlier commit may be heard of later.
                failing.take_if(|failing| !failing.read_only);
                return None;
            }
            Err(error) => error,
        };
        let (why, read_only) = (error.to_string(), matches!(error, StoreError::ReadOnly { .. }));
        let what = if read_only {
            format!(
                "nothing is recorded any more ({why}): this folder can be read, and takes no changes. Look at the disk \
                 (`syncline doctor`), then end Syncline and start it again: the other machines bring what is missing"
            )
        } else {
            format!("nothing can be recorded ({why}): what others send stays with them, and is tried again")
        };
        let told = failing.replace(Failing { why, read_only }).map(|before| before.read_only);
        (told.is_none() || told == Some(false) && read_only).then_some(what)
    }

    /// Whether nothing is recorded any more.
    pub fn is_read_only(&self) -> bool {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.as_ref().is_some_and(|failing| failing.read_only)
    }

    /// Why nothing can be recorded, if that is so.
    pub fn trouble(&self) -> Option<String> {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.as_ref().map(|failing| failing.why.clone())
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

    #[test]
    fn that_nothing_is_tried_any_more_is_told_besides() {
        let recording = Recording::default();
        let failed = Err(StoreError::Failed { path: "journal.db".into(), what: "fsync".into() });
        let read_only =
            Err(StoreError::ReadOnly { path: "journal.db".into(), what: "it lost a text".into() });
        assert!(recording.note(&failed).is_some_and(|what| what.contains("is tried again")));
        assert!(recording.note(&read_only).is_some_and(|what| what.contains("it lost a text")));
        assert_eq!((recording.note(&Ok(())), recording.note(&read_only)), (None, None));
        assert!(recording.is_read_only());
        assert!(recording.trouble().is_some_and(|why| why.contains("takes nothing more")));
    }
}
