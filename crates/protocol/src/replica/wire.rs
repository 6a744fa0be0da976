//! The messages as bytes: a kind, then its fields in order. Numbers are LEB128, texts and byte strings are
//! preceded by their length. At the end the CRC-32 of all before it, 4 bytes little-endian: what carries the message
//! may spoil it (TCP's own sum lets one in 65,536 spoilt segments pass), and a spoilt register would be believed by
//! all. Every count is checked against the bytes that are left and against its limit
//! before anything is allocated.

use std::collections::BTreeMap;

use syncline_engine::catalogue::{DocId, Write};
use syncline_engine::varint::{DecodeError, Reader, put_bytes, put_number};
use syncline_engine::{AgentId, Heads};

use super::message::{Hello, Message, Welcome};
use crate::error::{ErrorCode, ProtocolError};
use crate::limits;

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const CATALOGUE_VECTOR: u8 = 3;
const CATALOGUE: u8 = 4;
const HAVE: u8 = 5;
const VECTOR: u8 = 6;
const EVENTS: u8 = 7;
const ACK: u8 = 8;
const REFUSED: u8 = 9;
const WANT_CONTENT: u8 = 10;
const CONTENT: u8 = 11;
const NO_CONTENT: u8 = 12;
const ERROR: u8 = 13;
const BYE: u8 = 14;

impl Message {
    /// The message as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Message::Hello(hello) => {
                out.push(HELLO);
                put_number(&mut out, u64::from(hello.proto));
                put_bytes(&mut out, hello.token.as_bytes());
                put_bytes(&mut out, hello.agent.as_bytes());
                out.push(u8::from(hello.folder.is_some()));
                out.extend_from_slice(hello.folder.as_ref().map_or(&[], |folder| folder.as_slice()));
                put_bytes(&mut out, hello.name.as_bytes());
            }
            Message::Welcome(welcome) => {
                out.push(WELCOME);
                put_number(&mut out, u64::from(welcome.proto));
                put_bytes(&mut out, welcome.agent.as_bytes());
                out.extend_from_slice(&welcome.folder);
                put_bytes(&mut out, welcome.name.as_bytes());
                out.push(u8::from(welcome.single_file));
            }
            Message::CatalogueVector { vector } => {
                out.push(CATALOGUE_VECTOR);
                put_vector(&mut out, vector.iter());
            }
            Message::Catalogue { writes, vector } => {
                out.push(CATALOGUE);
                put_number(&mut out, writes.len() as u64);
                writes.iter().for_each(|write| write.encode(&mut out));
                out.push(u8::from(vector.is_some()));
                if let Some(vector) = vector {
                    put_vector(&mut out, vector.iter());
                }
            }
            Message::Have { docs, last } => {
                out.push(HAVE);
                out.push(u8::from(*last));
                put_number(&mut out, docs.len() as u64);
                for (doc, heads) in docs {
                    out.extend_from_slice(&doc.0);
                    out.extend_from_slice(&heads.encode());
                }
            }
            Message::Vector { doc, vector } => {
                out.push(VECTOR);
                out.extend_from_slice(&doc.0);
                put_vector(&mut out, vector.iter().map(|(agent, count)| (agent, count)));
            }
            Message::Events { doc, answer, more, heads, batch } => {
                out.reserve(batch.len() + 128);
                out.push(EVENTS);
                out.extend_from_slice(&doc.0);
                out.push(u8::from(*answer) | u8::from(*more) << 1);
                out.extend_from_slice(&heads.encode());
                put_bytes(&mut out, batch);
            }
            Message::Ack { doc, heads } => {
                out.push(ACK);
                out.extend_from_slice(&doc.0);
                out.extend_from_slice(&heads.encode());
            }
            Message::Refused { doc, answer, error } => {
                out.push(REFUSED);
                out.extend_from_slice(&doc.0);
                out.push(u8::from(*answer));
                put_error(&mut out, error);
            }
            Message::WantContent { hash, offset } => {
                out.push(WANT_CONTENT);
                out.extend_from_slice(hash);
                put_number(&mut out, *offset);
            }
            Message::Content { hash, offset, total, bytes } => {
                out.reserve(bytes.len() + 64);
                out.push(CONTENT);
                out.extend_from_slice(hash);
                put_number(&mut out, *offset);
                put_number(&mut out, *total);
                put_bytes(&mut out, bytes);
            }
            Message::NoContent { hash } => {
                out.push(NO_CONTENT);
                out.extend_from_slice(hash);
            }
            Message::Error(error) => {
                out.push(ERROR);
                put_error(&mut out, error);
            }
            Message::Bye => out.push(BYE),
        }
        seal(&mut out);
        out
    }

    /// Reads what [`Message::encode`] wrote. Anything else is one `bad_message`; nothing is half read.
    pub fn decode(bytes: &[u8]) -> Result<Message, ProtocolError> {
        let spoilt = || ProtocolError::new(ErrorCode::BadMessage, "spoilt on its way: its checksum is wrong");
        let (bytes, sum) = bytes.split_last_chunk::<4>().ok_or_else(spoilt)?;
        if crc32fast::hash(bytes) != u32::from_le_bytes(*sum) {
            return Err(spoilt());
        }
        let mut reader = Reader::new(bytes);
        let message = read(&mut reader).and_then(|message| reader.finish().map(|()| message));
        message.map_err(|error| ProtocolError::new(ErrorCode::BadMessage, error.to_string()))
    }
}

fn seal(out: &mut Vec<u8>) {
    let sum = crc32fast::hash(out);
    out.extend_from_slice(&sum.to_le_bytes());
}

fn read(reader: &mut Reader<'_>) -> Result<Message, DecodeError> {
    Ok(match reader.byte()? {
        HELLO => {
            let proto = u32::try_from(reader.number()?).map_err(|_| reader.invalid("version"))?;
            let token = text(reader, limits::MAX_NAME)?;
            let agent = agent(reader)?;
            let folder = if flag(reader)? { Some(array(reader)?) } else { None };
            Message::Hello(Hello { proto, token, agent, folder, name: text(reader, limits::MAX_NAME)? })
        }
        WELCOME => Message::Welcome(Welcome {
            proto: u32::try_from(reader.number()?).map_err(|_| reader.invalid("version"))?,
            agent: agent(reader)?,
            folder: array(reader)?,
            name: text(reader, limits::MAX_NAME)?,
            single_file: flag(reader)?,
        }),
        CATALOGUE_VECTOR => {
            Message::CatalogueVector { vector: vector(reader)?.into_iter().collect::<BTreeMap<_, _>>() }
        }
        CATALOGUE => {
            // The shortest write: document, time, agent, number, register, value's length.
            let count = at_most(reader, 16 + 6, limits::MAX_WRITES)?;
            let mut writes = Vec::with_capacity(count);
            for _ in 0..count {
                // A register of a newer version of the program is skipped.
                writes.extend(Write::read(reader)?);
            }
            let vector = if flag(reader)? { Some(vector(reader)?.into_iter().collect()) } else { None };
            Message::Catalogue { writes, vector }
        }
        HAVE => {
            let last = flag(reader)?;
            let count = at_most(reader, 17, limits::MAX_HAVE)?;
            let mut docs = Vec::with_capacity(count);
            for _ in 0..count {
                docs.push((DocId(array(reader)?), Heads::read(reader)?));
            }
            Message::Have { docs, last }
        }
        VECTOR => Message::Vector { doc: DocId(array(reader)?), vector: vector(reader)? },
        EVENTS => {
            let doc = DocId(array(reader)?);
            let flags = reader.byte()?;
            if flags > 3 {
                return Err(reader.invalid("flags"));
            }
            let heads = Heads::read(reader)?;
            let batch = reader.bytes()?.to_vec();
            Message::Events { doc, answer: flags & 1 != 0, more: flags & 2 != 0, heads, batch }
        }
        ACK => Message::Ack { doc: DocId(array(reader)?), heads: Heads::read(reader)? },
        REFUSED => {
            let (doc, answer) = (DocId(array(reader)?), flag(reader)?);
            Message::Refused { doc, answer, error: error(reader)? }
        }
        WANT_CONTENT => Message::WantContent { hash: array(reader)?, offset: reader.number()? },
        CONTENT => {
            let (hash, offset, total) = (array(reader)?, reader.number()?, reader.number()?);
            let bytes = reader.bytes()?;
            if bytes.len() > limits::MAX_CHUNK {
                return Err(reader.invalid("length of a piece"));
            }
            Message::Content { hash, offset, total, bytes: bytes.to_vec() }
        }
        NO_CONTENT => Message::NoContent { hash: array(reader)? },
        ERROR => Message::Error(error(reader)?),
        BYE => Message::Bye,
        _ => return Err(reader.invalid("kind of message")),
    })
}

fn put_vector<'a>(out: &mut Vec<u8>, vector: impl ExactSizeIterator<Item = (&'a AgentId, &'a u64)>) {
    put_number(out, vector.len() as u64);
    for (agent, count) in vector {
        put_bytes(out, agent.as_bytes());
        put_number(out, *count);
    }
}

fn vector(reader: &mut Reader<'_>) -> Result<Vec<(AgentId, u64)>, DecodeError> {
    let count = at_most(reader, 3, limits::MAX_AGENTS)?;
    let mut vector = Vec::with_capacity(count);
    for _ in 0..count {
        vector.push((agent(reader)?, reader.number()?));
    }
    Ok(vector)
}

fn put_error(out: &mut Vec<u8>, error: &ProtocolError) {
    put_bytes(out, error.code.code().as_bytes());
    let mut end = error.message.len().min(limits::MAX_ERROR_TEXT);
    while !error.message.is_char_boundary(end) {
        end -= 1;
    }
    put_bytes(out, &error.message.as_bytes()[..end]);
}

fn error(reader: &mut Reader<'_>) -> Result<ProtocolError, DecodeError> {
    let code = ErrorCode::of(&text(reader, limits::MAX_NAME)?);
    Ok(ProtocolError { code, message: text(reader, limits::MAX_ERROR_TEXT)? })
}

fn at_most(reader: &mut Reader<'_>, least: usize, most: usize) -> Result<usize, DecodeError> {
    let count = reader.count(least)?;
    if count > most { Err(reader.invalid("count")) } else { Ok(count) }
}

fn text(reader: &mut Reader<'_>, most: usize) -> Result<String, DecodeError> {
    let text = reader.text()?;
    if text.len() > most { Err(reader.invalid("length of a text")) } else { Ok(text.to_owned()) }
}

fn agent(reader: &mut Reader<'_>) -> Result<AgentId, DecodeError> {
    AgentId::new(reader.bytes()?).ok_or(reader.invalid("agent"))
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(reader.invalid("flag")),
    }
}

fn array<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], DecodeError> {
    let mut out = [0; N];
    out.copy_from_slice(reader.take(N)?);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use syncline_engine::EventId;
    use syncline_engine::catalogue::Field;

    use super::*;

    fn one_of_each() -> Vec<Message> {
        let agent = AgentId::from_random(77);
        let heads = Heads::new(vec![EventId { agent, seq: 300 }]);
        let doc = DocId([5; 16]);
        let vector = BTreeMap::from([(agent, 301)]);
        let mut catalogue = syncline_engine::catalogue::Catalogue::new();
        let write = catalogue.write(doc, Field::Path("a/ü".into()), agent);
        let error = ProtocolError::new(ErrorCode::Resync, "ä".repeat(10));
        let hello = Hello { proto: 1, token: "t".into(), agent, folder: Some([1; 16]), name: "n".into() };
        vec![
            Message::Hello(hello.clone()),
            Message::Hello(Hello { folder: None, ..hello }),
            Message::Welcome(Welcome {
                proto: 1,
                agent,
                folder: [2; 16],
                name: "x".into(),
                single_file: true,
            }),
            Message::CatalogueVector { vector: vector.clone() },
            Message::Catalogue { writes: vec![write], vector: Some(vector.clone()) },
            Message::Catalogue { writes: Vec::new(), vector: None },
            Message::Have {
                docs: vec![(doc, heads.clone()), (DocId([6; 16]), Heads::default())],
                last: true,
            },
            Message::Vector { doc, vector: vector.into_iter().collect() },
            Message::Events { doc, answer: true, more: false, heads: heads.clone(), batch: vec![1, 2, 3] },
            Message::Ack { doc, heads },
            Message::Refused { doc, answer: true, error: error.clone() },
            Message::WantContent { hash: [3; 32], offset: 1 << 40 },
            Message::Content { hash: [3; 32], offset: 0, total: 2, bytes: vec![1, 2] },
            Message::NoContent { hash: [3; 32] },
            Message::Error(error),
            Message::Bye,
        ]
    }

    #[test]
    fn every_message_survives_and_no_part_of_one_does() {
        for message in one_of_each() {
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes), Ok(message.clone()));
            for cut in 0..bytes.len() {
                assert!(Message::decode(&bytes[..cut]).is_err(), "{message:?} cut at {cut}");
            }
            let longer = [bytes, vec![0]].concat();
            assert!(Message::decode(&longer).is_err(), "{message:?} with a trailing byte");
        }
    }

    #[test]
    fn a_declared_length_is_checked_before_allocation() {
        let huge = |kind: u8, before: usize| {
            let mut bytes = vec![kind];
            bytes.extend(std::iter::repeat_n(0, before));
            put_number(&mut bytes, 1_000_000_000);
            bytes.extend([1, 2, 3]);
            seal(&mut bytes);
            bytes
        };
        for bytes in [huge(HAVE, 1), huge(CATALOGUE, 0), huge(CATALOGUE_VECTOR, 0), huge(VECTOR, 16)] {
            let error = Message::decode(&bytes).unwrap_err();
            assert_eq!(error.code, ErrorCode::BadMessage);
        }
        assert!(Message::decode(&huge(EVENTS, 18)).is_err());
        assert!(Message::decode(&huge(CONTENT, 34)).is_err());
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let error = ProtocolError::new(ErrorCode::Internal, "ä".repeat(2_000));
        let Ok(Message::Error(read)) = Message::decode(&Message::Error(error).encode()) else {
            panic!("an error that is too long must still be readable");
        };
        assert_eq!(read.message.len(), limits::MAX_ERROR_TEXT);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            prop_assert!(Message::decode(&bytes).is_err(), "no sum");
            seal(&mut bytes);
            if let Ok(message) = Message::decode(&bytes) {
                prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
            }
        }

        #[test]
        fn a_changed_byte_never_panics(which in 0usize..16, at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let mut bytes = one_of_each()[which].encode();
            let at = at.index(bytes.len());
            let before = std::mem::replace(&mut bytes[at], to);
            prop_assert_eq!(Message::decode(&bytes).is_ok(), before == to, "a changed byte is noticed");
            bytes.truncate(bytes.len() - 4);
            seal(&mut bytes);
            let _ = Message::decode(&bytes);
        }
    }
}
