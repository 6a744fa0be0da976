//! A database for people and scripts: every text of a folder as it is now, with its version and when it changed.
//!
//! The journal holds events, which only the engine reads. What is exported can be asked with SQL by anything that speaks
//! SQLite.

use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};

use crate::log::StoreError;
use crate::sqlite::store_error;

/// Marks a database as one of these ("Sync"), so that another one is never replaced: `PRAGMA application_id`.
const APPLICATION: i64 = 0x5379_6e63;

const CREATE: &str = "
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA application_id = 1400467043;
CREATE TABLE documents (path TEXT PRIMARY KEY, text TEXT NOT NULL, version INTEGER NOT NULL, changed_ms INTEGER, changed_at TEXT);
BEGIN;
";

/// A text as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exported {
    /// Its path in the folder.
    pub path: String,
    /// The text, with `\n` at the end of lines.
    pub text: String,
    /// How many insertions and deletions of a character made it: it grows with every change.
    pub version: u64,
    /// When it last changed, in ms since 1970, if that is known.
    pub changed_ms: Option<u64>,
}

/// A database that is being written, under a temporary name beside its own.
pub struct Export {
    path: PathBuf,
    temporary: PathBuf,
    connection: Option<Connection>,
}

impl Export {
    /// Begins a database. Only an older export is replaced, and only at the end.
    ///
    /// # Errors
    /// [`StoreError::Failed`], [`StoreError::Full`].
    pub fn begin(path: &Path) -> Result<Export, StoreError> {
        if path.exists() && !is_export(path) {
            let what = "there is another file, which is not replaced".to_owned();
            return Err(StoreError::Failed { path: path.to_owned(), what });
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let fail = |error| store_error(&temporary, &error);
        let connection = Connection::open(&temporary).map_err(fail)?;
        connection.execute_batch(CREATE).map_err(fail)?;
        Ok(Export { path: path.to_owned(), temporary, connection: Some(connection) })
    }

    /// Adds a text. Of two at one path (until one is renamed) the first is kept.
    ///
    /// # Errors
    /// As [`Export::begin`].
    pub fn add(&mut self, text: &Exported) -> Result<(), StoreError> {
        let Some(connection) = &self.connection else { return Err(StoreError::Closed) };
        let Exported { path, text, version, changed_ms } = text;
        let row = params![path, text, number(*version), changed_ms.map(number)];
        let sql = "INSERT OR IGNORE INTO documents
            VALUES (?1, ?2, ?3, ?4, strftime('%Y-%m-%dT%H:%M:%fZ', ?4 / 1000.0, 'unixepoch'))";
        let added = connection.prepare_cached(sql).and_then(|mut insert| insert.execute(row));
        added.map(drop).map_err(|error| store_error(&self.temporary, &error))
    }

    /// Puts it in its place, whole.
    ///
    /// # Errors
    /// As [`Export::begin`].
    pub fn finish(mut self) -> Result<(), StoreError> {
        let Some(connection) = self.connection.take() else { return Err(StoreError::Closed) };
        connection.execute_batch("COMMIT").map_err(|error| store_error(&self.temporary, &error))?;
        drop(connection);
        let placed = std::fs::File::open(&self.temporary)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&self.temporary, &self.path));
        placed.map_err(|error| StoreError::Failed { path: self.path.clone(), what: error.to_string() })
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // Given up, or failed; after `finish` it is not there.
        self.connection = None;
        let _ = std::fs::remove_file(&self.temporary);
    }
}

/// SQLite's numbers have a sign.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn is_export(path: &Path) -> bool {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let id = Connection::open_with_flags(path, flags)
        .and_then(|connection| connection.query_row("PRAGMA application_id", [], |row| row.get::<_, i64>(0)));
    id.is_ok_and(|id| id == APPLICATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> Exported {
        Exported { path: path.into(), text: "é\n".into(), version: 2, changed_ms: Some(1_000) }
    }

    #[test]
    fn what_is_exported_can_be_asked_with_sql() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("documents.db");
        for round in 0..2 {
            let mut export = Export::begin(&path).unwrap();
            export.add(&text("a.txt")).unwrap();
            if round == 1 {
                export.add(&Exported { changed_ms: None, ..text("b.txt") }).unwrap();
            }
            export.finish().unwrap();
        }
        let rows = Connection::open(&path).unwrap();
        let sql = "SELECT group_concat(path || ' ' || version || ' ' || length(text) || ' ' || coalesce(changed_at, '-'), ',')
            FROM documents";
        let all: String = rows.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(all, "a.txt 2 2 1970-01-01T00:00:01.000Z,b.txt 2 2 -");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn no_other_file_is_replaced_and_nothing_is_left_of_what_was_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("letter.txt");
        std::fs::write(&path, "dear").unwrap();
        assert!(matches!(Export::begin(&path), Err(StoreError::Failed { .. })));
        drop(Connection::open(dir.path().join("other.db")).unwrap().execute_batch("CREATE TABLE t (x)"));
        assert!(Export::begin(&dir.path().join("other.db")).is_err());
        drop(Export::begin(&dir.path().join("new.db")).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"dear");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
