//! A session as the journal keeps it: versions in their portable form, numbers, and the answer's delta.

use syncline_engine::varint::{DecodeError, Reader, put_bytes, put_number};
use syncline_engine::{Document, Heads, Version};
use syncline_protocol::diffsync::{Answered, Delta, Parts};

/// The first byte, should there ever be another form.
const FORM: u8 = 1;

/// The session as bytes.
pub fn encode(parts: &Parts<Version>, document: &Document) -> Vec<u8> {
    let mut out = vec![FORM];
    for version in [&parts.shadow, &parts.backup] {
        put_bytes(&mut out, &document.portable(version).encode());
    }
    for number in [parts.n, parts.m, parts.backup_m, parts.last_seq] {
        put_number(&mut out, number);
    }
    out.push(match parts.answered {
        Answered::Nothing => 0,
        Answered::Sync => 1,
        Answered::Resync => 2,
    });
    match &parts.pending {
        None => out.push(0),
        Some((base_m, delta)) => {
            out.push(1);
            put_number(&mut out, *base_m);
            put_bytes(&mut out, delta.to_json().as_bytes());
        }
    }
    out
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
    let shadow = Heads::decode(reader.bytes()?)?;
    let backup = Heads::decode(reader.bytes()?)?;
    let (n, m, backup_m, last_seq) = (reader.number()?, reader.number()?, reader.number()?, reader.number()?);
    let answered = match reader.byte()? {
        0 => Answered::Nothing,
        1 => Answered::Sync,
        2 => Answered::Resync,
        _ => return Err(reader.invalid("answer")),
    };
    let pending = match reader.byte()? {
        0 => None,
        1 => {
            let base_m = reader.number()?;
            let delta = Delta::from_json(reader.text()?).map_err(|_| reader.invalid("delta"))?;
            Some((base_m, delta.into()))
        }
        _ => return Err(reader.invalid("delta")),
    };
    reader.finish()?;
    let (Ok(shadow), Ok(backup)) = (document.local(&shadow), document.local(&backup)) else {
        return Ok(None);
    };
    Ok(Some(Parts { shadow, backup, n, m, backup_m, pending, last_seq, answered }))
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
            shadow: second,
            backup: first,
            n: 300,
            m: 2,
            backup_m: 1,
            pending: Some((1, delta.into())),
            last_seq: u64::MAX,
            answered: Answered::Sync,
        };
        let bytes = encode(&parts, &document);
        assert_eq!(decode(&bytes, &document), Ok(Some(parts.clone())));
        assert_eq!(decode(&bytes, &Document::new()), Ok(None));
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end], &document).is_err());
        }
        let nothing = Parts { pending: None, answered: Answered::Nothing, ..parts };
        assert_eq!(decode(&encode(&nothing, &document), &document), Ok(Some(nothing)));
    }
}
