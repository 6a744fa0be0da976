//! Whether a database that was opened anew after a failure is sound.

use rusqlite::Connection;
use std::path::{Path, PathBuf};

use super::store_error;
use crate::log::StoreError;

/// A journal of up to so many bytes is checked as a whole (measured: 69 MiB in 80 ms, from memory); a larger one would
/// keep everybody waiting.
const CHECKED_WHOLE: i64 = 64 * 1024 * 1024;

/// Whether the database is sound, as far as that can be told soon.
pub(super) fn check(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let fail = |error| store_error(path, &error);
    forget_cached(path);
    let number = |name| connection.query_row(name, [], |row| row.get::<_, i64>(0)).map_err(fail);
    let size = number("PRAGMA page_count")?.saturating_mul(number("PRAGMA page_size")?);
    if size > CHECKED_WHOLE {
        return Ok(());
    }
    let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match found.map_err(fail)?.as_str() {
        "ok" => Ok(()),
        what => Err(StoreError::Damaged { path: path.to_owned(), what: what.to_owned() }),
    }
}

/// Has the kernel forget what it holds of the write-ahead log: after a failed fsync it gives back what it did not write
/// until then. Not of the database itself: closing a second descriptor of that would give up SQLite's locks; and what
/// it holds stays in the write-ahead log until it was synced. At worst the check sees what is in memory.
fn forget_cached(journal: &Path) {
    let mut name = journal.as_os_str().to_owned();
    name.push("-wal");
    if let Ok(wal) = std::fs::File::open(PathBuf::from(name)) {
        let _ = rustix::fs::fadvise(&wal, 0, None, rustix::fs::Advice::DontNeed);
    }
}
