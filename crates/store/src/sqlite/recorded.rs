//! How a record becomes rows.

use rusqlite::{Transaction, params};
use syncline_engine::catalogue::DocId;
use syncline_engine::{AgentId, Heads};

use super::{DIFF_SESSION_MS, NOW_MS};
use crate::log::{DECISIONS, DISPLACED, Displaced, REQUEST_DAYS, Record};

const REQUEST_MS: i64 = REQUEST_DAYS as i64 * 24 * 3600 * 1000;

/// Records it within a transaction.
pub(super) fn put(sql: &Transaction<'_>, record: &Record) -> rusqlite::Result<()> {
    let set_heads = |doc: &DocId, heads: &Heads| {
        let text = format!("INSERT OR REPLACE INTO documents VALUES (?1, ?2, {NOW_MS})");
        sql.prepare_cached(&text)?.execute(params![doc.0, heads.encode()])
    };
    match record {
        Record::Events { doc, batch, heads } => {
            sql.prepare_cached(
                "INSERT INTO batches SELECT ?1, COALESCE(MAX(n), 0) + 1, ?2 FROM batches WHERE doc = ?1",
            )?
            .execute(params![doc.0, batch])?;
            set_heads(doc, heads)?;
        }
        Record::Snapshot { doc, bytes, heads } => {
            sql.prepare_cached("DELETE FROM batches WHERE doc = ?1")?.execute(params![doc.0])?;
            sql.prepare_cached("INSERT OR REPLACE INTO snapshots VALUES (?1, ?2)")?
                .execute(params![doc.0, bytes])?;
            set_heads(doc, heads)?;
        }
        Record::Catalogue(write) => {
            let mut bytes = Vec::new();
            write.encode(&mut bytes);
            sql.prepare_cached("INSERT OR REPLACE INTO catalogue VALUES (?1, ?2, ?3)")?.execute(params![
                write.doc.0,
                write.field.register(),
                bytes
            ])?;
            set_vector(sql, &write.stamp.agent, write.stamp.seq)?;
        }
        Record::Vector(vector) => {
            for (agent, count) in vector {
                set_vector(sql, agent, *count)?;
            }
        }
        Record::File { doc, state } => {
            sql.prepare_cached("INSERT OR REPLACE INTO files VALUES (?1, ?2)")?
                .execute(params![doc.0, state])?;
        }
        Record::NoFile(doc) => {
            sql.prepare_cached("DELETE FROM files WHERE doc = ?1")?.execute(params![doc.0])?;
        }
        Record::Intent { doc, intent } => {
            sql.prepare_cached("INSERT OR REPLACE INTO intents VALUES (?1, ?2)")?
                .execute(params![doc.0, intent])?;
        }
        Record::NoIntent(doc) => {
            sql.prepare_cached("DELETE FROM intents WHERE doc = ?1")?.execute(params![doc.0])?;
        }
        Record::Content { hash, bytes } => {
            let text = format!(
                "INSERT INTO contents (hash, bytes, kept_ms) VALUES (?1, ?2, {NOW_MS})
                 ON CONFLICT (hash) DO UPDATE SET kept_ms = excluded.kept_ms"
            );
            sql.prepare_cached(&text)?.execute(params![hash, bytes])?;
        }
        Record::NoContent(hash) => {
            for table in ["contents", "displaced"] {
                let text = format!("DELETE FROM {table} WHERE hash = ?1");
                sql.prepare_cached(&text)?.execute(params![hash])?;
            }
        }
        Record::Displaced(Displaced { doc, time_ms, author, content }) => {
            sql.prepare_cached("INSERT INTO displaced (doc, time_ms, author, hash) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![doc.0, *time_ms as i64, author, content])?;
            sql.prepare_cached(
                "DELETE FROM displaced WHERE doc = ?1 AND id <=
                 (SELECT id FROM displaced WHERE doc = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![doc.0, DISPLACED as i64])?;
        }
        Record::Decision { doc, time_ms, what } => {
            sql.prepare_cached("INSERT INTO decisions (doc, time_ms, what) VALUES (?1, ?2, ?3)")?
                .execute(params![doc.0, *time_ms as i64, what])?;
            sql.prepare_cached(
                "DELETE FROM decisions WHERE doc = ?1 AND id <=
                 (SELECT id FROM decisions WHERE doc = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![doc.0, DECISIONS as i64])?;
        }
        Record::Request { key, result } => {
            let text = format!("INSERT OR REPLACE INTO requests VALUES (?1, ?2, {NOW_MS})");
            sql.prepare_cached(&text)?.execute(params![key, result])?;
            let text = format!("DELETE FROM requests WHERE time_ms < {NOW_MS} - ?1");
            sql.prepare_cached(&text)?.execute(params![REQUEST_MS])?;
        }
        Record::DiffSession { session, doc, identity, state } => {
            let text = format!("INSERT OR REPLACE INTO diff_sessions VALUES (?1, ?2, ?3, ?4, {NOW_MS})");
            sql.prepare_cached(&text)?.execute(params![session, doc.0, identity, state])?;
            // Here rather than now and then, so that it is bounded by use alone; the index makes it a look.
            let text = format!("DELETE FROM diff_sessions WHERE used_ms < {NOW_MS} - ?1");
            sql.prepare_cached(&text)?.execute(params![DIFF_SESSION_MS])?;
        }
        Record::SetAside { doc, what } => {
            for rows in ["snapshots WHERE doc = ?1", "batches WHERE doc = ?1 ORDER BY n"] {
                let text = format!(
                    "INSERT INTO damaged (doc, time_ms, what, bytes) SELECT ?1, {NOW_MS}, ?2, bytes FROM {rows}"
                );
                sql.prepare_cached(&text)?.execute(params![doc.0, what])?;
            }
            for table in ["snapshots", "batches", "documents", "files", "intents"] {
                let text = format!("DELETE FROM {table} WHERE doc = ?1");
                sql.prepare_cached(&text)?.execute(params![doc.0])?;
            }
        }
        Record::Setting { name, value } => {
            sql.prepare_cached("INSERT OR REPLACE INTO settings VALUES (?1, ?2)")?
                .execute(params![name, value])?;
        }
    }
    Ok(())
}

fn set_vector(sql: &Transaction<'_>, agent: &AgentId, count: u64) -> rusqlite::Result<usize> {
    sql.prepare_cached(
        "INSERT INTO vector VALUES (?1, ?2) ON CONFLICT (agent) DO UPDATE SET count = MAX(count, ?2)",
    )?
    .execute(params![agent.as_bytes(), count as i64])
}
