//! The journal in a SQLite database: WAL, `synchronous=FULL`.

mod check;
mod recorded;
mod unreadable;

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use syncline_engine::catalogue::{DocId, Write};
use syncline_engine::varint::Reader;
use syncline_engine::{AgentId, Heads};

use crate::log::{
    DIFF_SESSION_DAYS, DiffState, Displaced, Kept, Loaded, Log, LogReader, Record, StoreError, Unreadable,
};

/// The newest schema; `PRAGMA user_version` says which one a file has.
const SCHEMA: i64 = 4;

/// Events are in it as the engine encodes them; for texts, versions and times in SQL see [`crate::Export`].
const CREATE: &str = "
CREATE TABLE batches (doc BLOB NOT NULL, n INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (doc, n)) WITHOUT ROWID;
CREATE TABLE snapshots (doc BLOB PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE documents (doc BLOB PRIMARY KEY, heads BLOB NOT NULL, changed_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE catalogue (doc BLOB NOT NULL, register INTEGER NOT NULL, write BLOB NOT NULL, PRIMARY KEY (doc, register)) WITHOUT ROWID;
CREATE TABLE vector (agent BLOB PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE files (doc BLOB PRIMARY KEY, state BLOB NOT NULL);
CREATE TABLE intents (doc BLOB PRIMARY KEY, intent BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE contents (hash BLOB PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE decisions (id INTEGER PRIMARY KEY, doc BLOB NOT NULL, time_ms INTEGER NOT NULL, what TEXT NOT NULL);
CREATE INDEX decisions_of ON decisions (doc, id);
CREATE TABLE requests (key BLOB PRIMARY KEY, result BLOB NOT NULL, time_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
";

/// What each later schema adds to the one before it: the first makes 2 of 1.
const UPGRADES: &[&str] = &[
    "
CREATE TABLE diff_sessions (session BLOB NOT NULL, doc BLOB NOT NULL, identity BLOB NOT NULL, state BLOB NOT NULL, used_ms INTEGER NOT NULL, PRIMARY KEY (session, doc)) WITHOUT ROWID;
CREATE INDEX diff_sessions_used ON diff_sessions (used_ms);
PRAGMA user_version = 2;
",
    "
CREATE TABLE damaged (id INTEGER PRIMARY KEY, doc BLOB NOT NULL, time_ms INTEGER NOT NULL, what TEXT NOT NULL, bytes BLOB NOT NULL);
ALTER TABLE contents ADD COLUMN kept_ms INTEGER NOT NULL DEFAULT 0;
CREATE INDEX contents_kept ON contents (kept_ms);
CREATE INDEX requests_made ON requests (time_ms);
PRAGMA user_version = 3;
",
    "
CREATE TABLE displaced (id INTEGER PRIMARY KEY, doc BLOB NOT NULL, time_ms INTEGER NOT NULL, author TEXT NOT NULL, hash BLOB);
CREATE INDEX displaced_of ON displaced (doc, id);
CREATE INDEX displaced_content ON displaced (hash);
PRAGMA user_version = 4;
",
];

/// The journal of a folder, in one file.
pub struct SqliteLog {
    path: PathBuf,
    connection: Connection,
}

impl SqliteLog {
    /// Opens the journal at `path`, creating it if it is missing. The directory must exist.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::Damaged`] (the file is no database), [`StoreError::Failed`].
    pub fn open(path: &Path) -> Result<SqliteLog, StoreError> {
        let connection = connect(path)?;
        let fail = |error| store_error(path, &error);
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
        if found > SCHEMA {
            return Err(StoreError::Newer { path: path.to_owned(), found, known: SCHEMA });
        }
        if found == 0 {
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {CREATE} COMMIT;")).map_err(fail)?;
        }
        for upgrade in UPGRADES.iter().skip(usize::try_from(found - 1).unwrap_or(0)) {
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {upgrade} COMMIT;")).map_err(fail)?;
        }
        Ok(SqliteLog { path: path.to_owned(), connection })
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let fail = |error| store_error(path, &error);
    let connection = Connection::open(path).map_err(fail)?;
    connection
        .execute_batch(
            "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY;",
        )
        .map_err(fail)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

pub(crate) fn store_error(path: &Path, error: &rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { path, what: error.to_string() }
        }
        // A value is not of the kind that was written there.
        None if matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
        ) =>
        {
            StoreError::Damaged { path, what: error.to_string() }
        }
        _ => StoreError::Failed { path, what: error.to_string() },
    }
}

impl Log for SqliteLog {
    fn commit(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let run = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for record in records {
                recorded::put(&transaction, record)?;
            }
            transaction.commit()
        };
        run(&mut self.connection).map_err(|error| store_error(&self.path, &error))
    }

    fn check(&self) -> Result<(), StoreError> {
        check::check(&self.path, &self.connection)
    }

    fn set_aside_unreadable(&mut self) -> Result<Vec<Unreadable>, StoreError> {
        let fail = |error| store_error(&self.path, &error);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = transaction.map_err(fail)?;
        let found = unreadable::set_aside(&transaction).map_err(fail)?;
        transaction.commit().map_err(fail)?;
        Ok(found)
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, StoreError> {
        Ok(Box::new(SqliteReader { path: self.path.clone(), connection: connect(&self.path)? }))
    }
}

const NOW_MS: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

const DIFF_SESSION_MS: i64 = DIFF_SESSION_DAYS as i64 * 24 * 3600 * 1000;

struct SqliteReader {
    path: PathBuf,
    connection: Connection,
}

impl SqliteReader {
    fn rows<T>(
        &self,
        text: &str,
        values: impl rusqlite::Params,
        read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let run = || -> rusqlite::Result<Vec<T>> {
            let mut statement = self.connection.prepare_cached(text)?;
            statement.query_map(values, |row| read(row))?.collect()
        };
        run().map_err(|error| store_error(&self.path, &error))
    }

    fn one<T>(
        &self,
        text: &str,
        values: impl rusqlite::Params,
        read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let run = || self.connection.prepare_cached(text)?.query_row(values, |row| read(row)).optional();
        run().map_err(|error| store_error(&self.path, &error))
    }

    fn damaged(&self, what: impl std::fmt::Display) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what: what.to_string() }
    }
}

impl LogReader for SqliteReader {
    fn document(&self, doc: DocId) -> Result<Loaded, StoreError> {
        // One transaction: a snapshot taken between the two reads would swallow batches.
        let fail = |error| store_error(&self.path, &error);
        let transaction = self.connection.unchecked_transaction().map_err(fail)?;
        let snapshot =
            self.one("SELECT bytes FROM snapshots WHERE doc = ?1", params![doc.0], |row| row.get(0))?;
        let batches =
            self.rows("SELECT bytes FROM batches WHERE doc = ?1 ORDER BY n", params![doc.0], |row| {
                row.get(0)
            })?;
        transaction.finish().map_err(fail)?;
        Ok(Loaded { snapshot, batches })
    }

    fn heads(&self) -> Result<Vec<(DocId, Heads)>, StoreError> {
        let rows = self.rows("SELECT doc, heads FROM documents", [], |row| {
            Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        let decode = |(doc, heads): ([u8; 16], Vec<u8>)| {
            Ok((DocId(doc), Heads::decode(&heads).map_err(|error| self.damaged(error))?))
        };
        rows.into_iter().map(decode).collect()
    }

    fn catalogue(&self) -> Result<Vec<Write>, StoreError> {
        let rows = self.rows("SELECT write FROM catalogue", [], |row| row.get::<_, Vec<u8>>(0))?;
        let decoded = rows.iter().filter_map(|bytes| Write::read(&mut Reader::new(bytes)).transpose());
        decoded.map(|write| write.map_err(|error| self.damaged(error))).collect()
    }

    fn vector(&self) -> Result<BTreeMap<AgentId, u64>, StoreError> {
        let rows = self.rows("SELECT agent, count FROM vector", [], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
        })?;
        let decode = |(agent, count): (Vec<u8>, i64)| {
            let count = u64::try_from(count).map_err(|error| self.damaged(error))?;
            Ok((AgentId::new(&agent).ok_or_else(|| self.damaged("agent"))?, count))
        };
        rows.into_iter().map(decode).collect()
    }

    fn files(&self) -> Result<Vec<(DocId, Vec<u8>)>, StoreError> {
        self.rows("SELECT doc, state FROM files", [], |row| Ok((DocId(row.get(0)?), row.get(1)?)))
    }

    fn file(&self, doc: DocId) -> Result<Option<Vec<u8>>, StoreError> {
        self.one("SELECT state FROM files WHERE doc = ?1", params![doc.0], |row| row.get(0))
    }

    fn intents(&self) -> Result<Vec<(DocId, Vec<u8>)>, StoreError> {
        self.rows("SELECT doc, intent FROM intents", [], |row| Ok((DocId(row.get(0)?), row.get(1)?)))
    }

    fn content(&self, hash: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        self.one("SELECT bytes FROM contents WHERE hash = ?1", params![hash], |row| row.get(0))
    }

    fn has_content(&self, hash: &[u8; 32]) -> Result<bool, StoreError> {
        let found = self.one("SELECT 1 FROM contents WHERE hash = ?1", params![hash], |_| Ok(()))?;
        Ok(found.is_some())
    }

    fn decisions(&self, doc: DocId) -> Result<Vec<(u64, String)>, StoreError> {
        self.rows("SELECT time_ms, what FROM decisions WHERE doc = ?1 ORDER BY id", params![doc.0], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get(1)?))
        })
    }

    fn displaced(&self) -> Result<Vec<Displaced>, StoreError> {
        self.rows("SELECT doc, time_ms, author, hash FROM displaced ORDER BY id", [], |row| {
            let (doc, time_ms) = (DocId(row.get(0)?), row.get::<_, i64>(1)? as u64);
            Ok(Displaced { doc, time_ms, author: row.get(2)?, content: row.get(3)? })
        })
    }

    fn contents(&self) -> Result<Vec<Kept>, StoreError> {
        let text = "SELECT hash, LENGTH(bytes), kept_ms FROM contents ORDER BY kept_ms DESC, hash";
        self.rows(text, [], |row| {
            let [len, time_ms] = [row.get::<_, i64>(1)?, row.get(2)?].map(|number| number as u64);
            Ok(Kept { hash: row.get(0)?, len, time_ms })
        })
    }

    fn set_aside(&self, doc: DocId) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.rows("SELECT what, bytes FROM damaged WHERE doc = ?1 ORDER BY id", params![doc.0], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }

    fn request(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.one("SELECT result FROM requests WHERE key = ?1", params![key], |row| row.get(0))
    }

    fn diff_session(&self, session: [u8; 16], doc: DocId) -> Result<Option<DiffState>, StoreError> {
        let text = format!(
            "SELECT identity, state FROM diff_sessions
             WHERE session = ?1 AND doc = ?2 AND used_ms >= {NOW_MS} - ?3"
        );
        self.one(&text, params![session, doc.0, DIFF_SESSION_MS], |row| {
            Ok(DiffState { identity: row.get(0)?, state: row.get(1)? })
        })
    }

    fn diff_documents(&self, session: [u8; 16]) -> Result<Vec<(DocId, DiffState)>, StoreError> {
        let text = format!(
            "SELECT doc, identity, state FROM diff_sessions
             WHERE session = ?1 AND used_ms >= {NOW_MS} - ?2 ORDER BY doc"
        );
        self.rows(&text, params![session, DIFF_SESSION_MS], |row| {
            Ok((DocId(row.get(0)?), DiffState { identity: row.get(1)?, state: row.get(2)? }))
        })
    }

    fn changed_ms(&self, doc: DocId) -> Result<Option<u64>, StoreError> {
        self.one("SELECT changed_ms FROM documents WHERE doc = ?1", params![doc.0], |row| {
            Ok(row.get::<_, i64>(0)? as u64)
        })
    }

    fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.one("SELECT value FROM settings WHERE name = ?1", params![name], |row| row.get(0))
    }
}
