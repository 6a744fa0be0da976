//! A session as the journal keeps it: the document's path as its client knows it, versions in their portable form,
//! numbers, and what the client was told.

use std::sync::Arc;

use syncline_engine::varint::{DecodeError, Reader, put_bytes, put_number};
use syncline_engine::{Document, Heads, Version};
use syncline_protocol::diffsync::{Answered, Delta, Parts};

/// The first byte, should there ever be another form. The first one knew no path.
const FORM: u8 = 2;

/// The session as bytes.
pub fn encode(parts: &Parts<Version>, path: &str, document: &Document) -> Vec<u8> {
    let mut out = vec![FORM];
    put_bytes(&mut out, path.as_bytes());
    for version in [&parts.shadow, &parts.backup] {
        put_bytes(&mut out, &document.portable(version).encode());
    }
    for number in [parts.n, parts.backup_m, parts.last_seq] {
        put_number(&mut out, number);
    }
    out.push(match parts.answered {
        Answered::Nothing => 0,
        Answered::Sync => 1,
        Answered::Resync => 2,
    });
    put_number(&mut out, parts.told.len() as u64);
    for (delta, version) in &parts.told {
        put_bytes(&mut out, delta.to_json().as_bytes());
        put_bytes(&mut out, &document.portable(version).encode());
    }
    out
}

/// The document's path as the client knows it.
///
/// # Errors
/// If the bytes are damaged, or of another form.
pub fn path(bytes: &[u8]) -> Result<&str, DecodeError> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != FORM {
        return Err(DecodeError::WrongFormat);
    }
    reader.text()
}

/// Reads what [`encode`] wrote; `None` if the document does not have its versions (any more).
///
/// # Errors
/// If it is damaged.
pub fn decode(bytes: &[u8], document: &Document) -> Result<Option<Parts<Version>>, DecodeError> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != FORM {
        return Err(DecodeError::WrongFormat);
    }
    reader.text()?;
    let shadow = Heads::decode(reader.bytes()?)?;
    let backup = Heads::decode(reader.bytes()?)?;
    let (n, backup_m, last_seq) = (reader.number()?, reader.number()?, reader.number()?);
    let answered = match reader.byte()? {
        0 => Answered::Nothing,
        1 => Answered::Sync,
        2 => Answered::Resync,
        _ => return Err(reader.invalid("answer")),
    };
    let mut told = Vec::new();
    for _ in 0..reader.number()? {
        let delta = Delta::from_json(reader.text()?).map_err(|_| reader.invalid("delta"))?;
        told.push((Arc::new(delta), Heads::decode(reader.bytes()?)?));
    }
    reader.finish()?;
    let local = |heads: &Heads| document.local(heads).ok();
    let parts = || {
        let told = told.into_iter().map(|(delta, after)| Some((delta, local(&after)?)));
        let (shadow, backup, told) = (local(&shadow)?, local(&backup)?, told.collect::<Option<_>>()?);
        Some(Parts { shadow, backup, n, backup_m, told, last_seq, answered })
    };
    Ok(parts())
}

#[cfg(test)]
mod tests {
    use syncline_engine::{AgentId, Edit, Meta};

    use super::*;

    #[test]
    fn a_session_survives_its_bytes_and_damage_is_an_error() {
        let mut document = Document::new();
        let agent = AgentId::from_random(1);
        let first = document.edit(&[Edit::insert(0, "text")], agent, &Meta::default()).unwrap().version;
        let second = document.edit(&[Edit::insert(0, "more ")], agent, &Meta::default()).unwrap().version;
        let delta = Delta::of(&[Edit::insert(0, "more é")], 4);
        let parts = Parts {
            shadow: second.clone(),
            backup: first,
            n: 300,
            backup_m: 1,
            told: vec![(delta.into(), second)],
            last_seq: u64::MAX,
            answered: Answered::Sync,
        };
        let bytes = encode(&parts, "dir/é.txt", &document);
        assert_eq!(path(&bytes), Ok("dir/é.txt"));
        assert_eq!(decode(&bytes, &document), Ok(Some(parts.clone())));
        assert_eq!(decode(&bytes, &Document::new()), Ok(None));
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end], &document).is_err());
        }
        let nothing = Parts { told: vec![], answered: Answered::Nothing, ..parts };
        assert_eq!(decode(&encode(&nothing, "", &document), &document), Ok(Some(nothing)));
    }
}
