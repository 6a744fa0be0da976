//! Rows about the whole folder that cannot be read: they are set aside, so that the others can be.

use rusqlite::types::Value;
use rusqlite::{Transaction, params};
use syncline_engine::catalogue::{DocId, Write};
use syncline_engine::varint::Reader;
use syncline_engine::{AgentId, Heads};

use super::NOW_MS;
use crate::log::{Loaded, Unreadable};

/// A row by its key (one or two columns), and why it cannot be read.
struct Bad {
    key: [Value; 2],
    what: String,
}

/// Moves what cannot be read of the catalogue, the versions and the files to `damaged`.
pub(super) fn set_aside(sql: &Transaction<'_>) -> rusqlite::Result<Vec<Unreadable>> {
    let mut found = Vec::new();
    let bad = rows(sql, "SELECT doc, register, write FROM catalogue", |[_, _, write]| match write {
        Value::Blob(bytes) => Write::read(&mut Reader::new(bytes)).err().map(|error| error.to_string()),
        _ => Some("no bytes".to_owned()),
    })?;
    for Bad { key, what } in &bad {
        let doc = doc_of(&key[0]);
        let what = format!("what the journal says of it in the catalogue is damaged ({what})");
        keep(sql, "CAST(write AS BLOB) FROM catalogue WHERE doc IS ?2 AND register IS ?3", &what, key)?;
        sql.execute("DELETE FROM catalogue WHERE doc IS ?1 AND register IS ?2", params![key[0], key[1]])?;
        // Of a document that is not known whole it must not seem that its file is here: it would be taken away.
        for table in ["files", "intents"] {
            sql.execute(&format!("DELETE FROM {table} WHERE doc IS ?1"), params![key[0]])?;
        }
        found.push(Unreadable { doc, what });
    }
    if !bad.is_empty() {
        // Which writes are known is not known any more: all are asked for.
        sql.execute("DELETE FROM vector", [])?;
    }
    for Bad { key, what } in
        rows(sql, "SELECT agent, count, 0 FROM vector", |[agent, count, _]| match (agent, count) {
            (Value::Blob(agent), Value::Integer(0..)) if AgentId::new(agent).is_some() => None,
            _ => Some("no agent and count".to_owned()),
        })?
    {
        let what = format!("how much of the catalogue is known is damaged in the journal ({what})");
        keep(sql, "CAST(count AS BLOB) FROM vector WHERE agent IS ?2 AND count IS ?3", &what, &key)?;
        sql.execute("DELETE FROM vector WHERE agent IS ?1", params![key[0]])?;
        found.push(Unreadable { doc: None, what });
    }
    for Bad { key, what } in
        rows(sql, "SELECT doc, 0, heads FROM documents", |[doc, _, heads]| match (doc_of(doc), heads) {
            (Some(_), Value::Blob(bytes)) => Heads::decode(bytes).err().map(|error| error.to_string()),
            _ => Some("no document and version".to_owned()),
        })?
    {
        let doc = doc_of(&key[0]);
        let what = format!("its version is damaged in the journal ({what})");
        keep(sql, "CAST(heads AS BLOB) FROM documents WHERE doc IS ?2", &what, &key)?;
        sql.execute("DELETE FROM documents WHERE doc IS ?1", params![key[0]])?;
        if let Some(heads) = doc.map(|doc| heads_of(sql, doc)).transpose()?.flatten() {
            let text = format!("INSERT INTO documents VALUES (?1, ?2, {NOW_MS})");
            sql.execute(&text, params![key[0], heads.encode()])?;
        }
        found.push(Unreadable { doc, what });
    }
    for (table, value) in [("files", "state"), ("intents", "intent")] {
        let text = format!("SELECT doc, 0, {value} FROM {table}");
        for Bad { key, what } in rows(sql, &text, |[doc, _, state]| {
            let sound = doc_of(doc).is_some() && matches!(state, Value::Blob(_));
            (!sound).then(|| "no document and state".to_owned())
        })? {
            let what = format!("what the journal knew of its file is damaged ({what})");
            keep(sql, &format!("CAST({value} AS BLOB) FROM {table} WHERE doc IS ?2"), &what, &key)?;
            sql.execute(&format!("DELETE FROM {table} WHERE doc IS ?1"), params![key[0]])?;
            found.push(Unreadable { doc: doc_of(&key[0]), what });
        }
    }
    Ok(found)
}

/// The rows in which `wrong` finds something. A query gives the key in its first two columns.
fn rows(
    sql: &Transaction<'_>,
    query: &str,
    wrong: impl Fn([&Value; 3]) -> Option<String>,
) -> rusqlite::Result<Vec<Bad>> {
    let mut statement = sql.prepare(query)?;
    let mut rows = statement.query([])?;
    let mut bad = Vec::new();
    while let Some(row) = rows.next()? {
        let [first, second, third]: [Value; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
        if let Some(what) = wrong([&first, &second, &third]) {
            bad.push(Bad { key: [first, second], what });
        }
    }
    Ok(bad)
}

/// Keeps the bytes of a row for whoever may want to look at them.
fn keep(sql: &Transaction<'_>, bytes_from: &str, what: &str, key: &[Value; 2]) -> rusqlite::Result<()> {
    let text = format!(
        "INSERT INTO damaged (doc, time_ms, what, bytes)
         SELECT COALESCE(CAST(?2 AS BLOB), x''), {NOW_MS}, ?1, {bytes_from}"
    );
    let mut statement = sql.prepare(&text)?;
    if statement.parameter_count() == 3 {
        statement.execute(params![what, key[0], key[1]])?;
    } else {
        statement.execute(params![what, key[0]])?;
    }
    Ok(())
}

fn doc_of(value: &Value) -> Option<DocId> {
    match value {
        Value::Blob(bytes) => bytes.as_slice().try_into().ok().map(DocId),
        _ => None,
    }
}

/// The version of a document as its events have it. `None`: they cannot be read either; whoever opens it finds that.
fn heads_of(sql: &Transaction<'_>, doc: DocId) -> rusqlite::Result<Option<Heads>> {
    let bytes = |text| -> rusqlite::Result<Vec<Vec<u8>>> {
        sql.prepare(text)?.query_map(params![doc.0], |row| row.get(0))?.collect()
    };
    let loaded = Loaded {
        snapshot: bytes("SELECT CAST(bytes AS BLOB) FROM snapshots WHERE doc = ?1")?.pop(),
        batches: bytes("SELECT CAST(bytes AS BLOB) FROM batches WHERE doc = ?1 ORDER BY n")?,
    };
    Ok(loaded.to_document().ok().map(|document| document.portable(document.version())))
}
