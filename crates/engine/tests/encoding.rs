//! Documents and batches as bytes: what was written is read again, and nothing else is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use support::{Dice, History, meta};
use syncline_engine::varint::{DecodeError, put_bytes, put_number};
use syncline_engine::{
    AgentId, Document, Edit, EventBatch, EventRun, Heads, Snapshot, Version, apply_to_str,
};

const MAGIC: &[u8] = b"SYL\x01";

/// A history with concurrency, and a batch that a new reader would be sent.
fn sample(seed: u64, steps: usize) -> (Document, EventBatch) {
    let mut history = History::of(&Dice(seed).steps(steps));
    history.exchange_all();
    let [document, ..] = history.documents;
    let batch = document.events_since(&Version::root());
    (document, batch)
}

/// The bytes with these as the content, under a checksum that fits.
fn sealed(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.extend_from_slice(&crc32fast::hash(content).to_le_bytes());
    bytes
}

fn unsealed(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len() - 4]
}

/// How much memory decoded runs hold.
fn held(batch: &EventBatch) -> usize {
    let runs = batch.runs.iter().map(|run| run.parents.ids().len() * 48 + run.count().min(1 << 16));
    batch.runs.capacity() * size_of::<EventRun>() + runs.sum::<usize>()
}

#[test]
fn batches_come_back() {
    for seed in 0..100 {
        let (document, batch) = sample(seed, 40);
        let bytes = batch.encode();
        let decoded = EventBatch::decode(&bytes).unwrap();
        assert_eq!(decoded, batch);
        assert_eq!(decoded.encode(), bytes);
        let mut copy = Document::new();
        copy.merge(&decoded).unwrap();
        assert_eq!(copy.text().to_string(), document.text().to_string());
        // A part of it, as a link sends it.
        let half = document.events_in(document.events() / 2..document.events());
        assert_eq!(EventBatch::decode(&half.encode()).unwrap(), half);
    }
    assert_eq!(EventBatch::decode(&EventBatch::default().encode()), Ok(EventBatch::default()));
}

#[test]
fn documents_come_back_and_their_versions_stay_valid() {
    for seed in 0..60 {
        let history = History::of(&Dice(seed).steps(40));
        for (mut document, versions) in history.documents.into_iter().zip(history.versions) {
            let bytes = document.encode();
            let mut copy = Document::decode(&bytes).unwrap();
            assert_eq!(copy.encode(), bytes);
            assert_eq!(copy.text().to_string(), document.text().to_string());
            assert_eq!((copy.version(), copy.vector()), (document.version(), document.vector()));
            for version in &versions {
                assert_eq!(copy.portable(version), document.portable(version));
                assert_eq!(copy.text_at(version).to_string(), document.text_at(version).to_string());
                let since = copy.changes_since(version).unwrap();
                let then = copy.text_at(version).to_string();
                assert_eq!(apply_to_str(&then, &since), document.text().to_string());
            }
            // An edit at any of them does in both the same.
            let Some(version) = versions.get(versions.len() / 3) else { continue };
            let agent = AgentId::new(b"later").unwrap();
            let edit = [Edit::insert(copy.text_at(version).len() / 2, "später")];
            let applied = document.edit_at(version, &edit, agent, &meta(1)).unwrap();
            assert_eq!(copy.edit_at(version, &edit, agent, &meta(1)).unwrap(), applied);
            assert_eq!(copy.text().to_string(), document.text().to_string());
        }
    }
}

#[test]
fn heads_come_back() {
    let (document, _) = sample(1, 40);
    let heads = document.portable(document.version());
    let bytes = heads.encode();
    assert_eq!(Heads::decode(&bytes), Ok(heads));
    for end in 0..bytes.len() {
        assert!(Heads::decode(&bytes[..end]).is_err());
    }
}

#[test]
fn every_truncation_is_an_error() {
    let (document, batch) = sample(2, 30);
    for bytes in [batch.encode(), document.encode()] {
        for end in 0..bytes.len() {
            assert!(EventBatch::decode(&bytes[..end]).is_err(), "{end}");
            assert!(Document::decode(&bytes[..end]).is_err(), "{end}");
        }
    }
    // Also where the checksum fits: the parts inside are cut.
    let content = unsealed(&document.encode()).to_vec();
    for end in 0..content.len() {
        let cut = sealed(&content[..end]);
        assert!(Document::decode(&cut).is_err(), "{end}");
        if let Ok(decoded) = EventBatch::decode(&cut) {
            assert_eq!(decoded, batch, "only the text was cut off");
        }
    }
}

#[test]
fn flipped_bytes_are_an_error() {
    let (_, batch) = sample(3, 40);
    let bytes = batch.encode();
    let mut dice = Dice(3);
    for _ in 0..2_000 {
        let mut flipped = bytes.clone();
        let at = dice.below(flipped.len());
        flipped[at] ^= 1 + dice.below(255) as u8;
        match EventBatch::decode(&flipped) {
            Ok(decoded) => assert_eq!(decoded, batch),
            Err(DecodeError::WrongFormat) => assert!(at < MAGIC.len()),
            Err(error) => assert_eq!(error, DecodeError::Checksum),
        }
    }
}

/// What somebody made on purpose: the checksum fits, the content does not.
#[test]
fn forged_bytes_do_no_harm() {
    let (_, batch) = sample(4, 40);
    let content = unsealed(&batch.encode()).to_vec();
    let mut dice = Dice(4);
    let mut accepted = 0;
    for number in 0..2_000 {
        let mut forged = content.clone();
        for _ in 0..=number % 3 {
            let at = MAGIC.len() + dice.below(forged.len() - MAGIC.len());
            forged[at] = [dice.roll() as u8, 0, 0x7f, 0xff][dice.below(4)];
        }
        let bytes = sealed(&forged);
        let Ok(decoded) = EventBatch::decode(&bytes) else { continue };
        assert!(held(&decoded) <= 64 * bytes.len(), "{} bytes hold {}", bytes.len(), held(&decoded));
        let mut document = Document::new();
        if document.merge(&decoded).is_err() {
            assert_eq!((document.events(), document.encode()), (0, Document::new().encode()));
            continue;
        }
        accepted += 1;
        let mut copy = Document::new();
        copy.merge(&document.events_since(&Version::root())).unwrap();
        assert_eq!(copy.text().to_string(), document.text().to_string());
    }
    assert!(accepted > 0, "some forgeries only change a letter");
}

/// Address space: what was asked for, whether or not it was ever touched.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or(0) * 1024
}

#[test]
fn a_declared_length_allocates_nothing() {
    let before = peak_bytes();
    for length in [1_000_000_000, u64::from(u32::MAX), 1 << 40, u64::MAX >> 1, u64::MAX] {
        // A section of that length; then a table, runs, or parents of that count inside a section.
        for kind in 0..10 {
            let mut whole = MAGIC.to_vec();
            put_number(&mut whole, kind);
            put_number(&mut whole, length);
            whole.extend_from_slice(b"abc");
            assert!(matches!(EventBatch::decode(&sealed(&whole)), Err(DecodeError::Truncated { .. })));
        }
        for counted in 1..=3 {
            let mut content = MAGIC.to_vec();
            for kind in 1..=4 {
                let mut section = Vec::new();
                match kind {
                    _ if kind == counted => {
                        put_number(&mut section, length);
                        section.extend_from_slice(b"abc");
                    }
                    4 => {}
                    _ => put_number(&mut section, 0),
                }
                put_number(&mut content, kind);
                put_bytes(&mut content, &section);
            }
            assert!(EventBatch::decode(&sealed(&content)).is_err());
            assert!(Document::decode(&sealed(&content)).is_err());
        }
        let mut heads = Vec::new();
        put_number(&mut heads, length);
        heads.extend_from_slice(b"abc");
        assert!(Heads::decode(&heads).is_err());
    }
    assert!(peak_bytes() - before < 900_000_000, "{} bytes more", peak_bytes() - before);
}

/// One insertion says it has more characters than there are; one deletion may have any number.
#[test]
fn a_run_cannot_have_more_characters_than_came_with_it() {
    for (kind, fits) in [(0u8, false), (1, true)] {
        let mut content = MAGIC.to_vec();
        let mut runs = vec![1, 0, 0, 1, kind, 0];
        put_number(&mut runs, 1_000_000_000);
        runs.extend_from_slice(&[0, 0]);
        let inserted: &[u8] = if fits { b"" } else { b"abc" };
        for (number, section) in [(1, &[1, 1, b'a'][..]), (2, &[1, 0, 0]), (3, &runs), (4, inserted)] {
            put_number(&mut content, number);
            put_bytes(&mut content, section);
        }
        let decoded = EventBatch::decode(&sealed(&content));
        assert_eq!(decoded.is_ok(), fits, "{decoded:?}");
        if let Ok(batch) = decoded {
            assert!(Document::new().merge(&batch).is_err());
        }
    }
}

#[test]
fn sections_of_later_versions_are_skipped_and_doubled_ones_refused() {
    let (document, batch) = sample(5, 30);
    let bytes = document.encode();
    for kind in [0, 9, 99, u64::MAX] {
        let mut content = unsealed(&bytes).to_vec();
        put_number(&mut content, kind);
        put_bytes(&mut content, b"from the future");
        let newer = sealed(&content);
        assert_eq!(EventBatch::decode(&newer), Ok(batch.clone()));
        assert_eq!(Document::decode(&newer).unwrap().encode(), bytes);
    }
    for kind in 1..=8 {
        let mut content = unsealed(&bytes).to_vec();
        put_number(&mut content, kind);
        put_bytes(&mut content, b"again");
        assert!(matches!(EventBatch::decode(&sealed(&content)), Err(DecodeError::Invalid { .. })), "{kind}");
    }
}

#[test]
fn the_checksum_and_the_version_are_looked_at_first() {
    let (_, batch) = sample(6, 20);
    let bytes = batch.encode();
    for bit in 0..32 {
        let mut wrong = bytes.clone();
        let at = wrong.len() - 1 - bit / 8;
        wrong[at] ^= 1 << (bit % 8);
        assert_eq!(EventBatch::decode(&wrong), Err(DecodeError::Checksum));
    }
    let mut newer = bytes.clone();
    newer[3] = 2;
    assert_eq!(EventBatch::decode(&newer), Err(DecodeError::WrongFormat));
    assert_eq!(EventBatch::decode(b""), Err(DecodeError::WrongFormat));
    assert!(matches!(EventBatch::decode(MAGIC), Err(DecodeError::Truncated { .. })));
}

#[test]
fn a_snapshot_is_the_text_and_later_the_document() {
    for seed in 0..40 {
        let (document, _) = sample(seed, 40);
        let bytes = document.encode();
        let snapshot = Snapshot::open(bytes.clone()).unwrap();
        assert_eq!(snapshot.text(), document.text().to_string());
        assert_eq!(snapshot.document().unwrap().encode(), bytes);
        for end in 0..bytes.len() {
            assert!(Snapshot::open(bytes[..end].to_vec()).is_err());
        }
    }
    let (_, batch) = sample(1, 40);
    assert!(Snapshot::open(batch.encode()).is_err(), "a batch has no text");
}

/// As documents were stored before there were columns.
#[test]
fn a_document_stored_as_rows_opens() {
    let (document, batch) = sample(7, 20);
    let mut content = unsealed(&batch.encode()).to_vec();
    assert_eq!(content[MAGIC.len()], 1);
    put_number(&mut content, 5);
    put_bytes(&mut content, document.text().to_string().as_bytes());
    let bytes = sealed(&content);
    assert_eq!(Document::decode(&bytes).unwrap().encode(), document.encode());
    assert_eq!(Snapshot::open(bytes).unwrap().text(), document.text().to_string());
}

#[test]
fn a_long_batch_comes_back() {
    let (document, batch) = sample(8, 400);
    assert!(batch.runs.len() > 64);
    let bytes = batch.encode();
    assert_eq!(EventBatch::decode(&bytes), Ok(batch));
    let mut text = Document::new();
    let edit = [Edit::insert(0, "a long line, again and again\n".repeat(4_000))];
    text.edit(&edit, AgentId::new(b"ann").unwrap(), &meta(0)).unwrap();
    for document in [document, text] {
        assert_eq!(Document::decode(&document.encode()).unwrap().encode(), document.encode());
    }
}

/// What somebody made on purpose of a history in columns: an error or another history, never more.
#[test]
fn forged_columns_do_no_harm() {
    let (document, _) = sample(9, 300);
    let content = unsealed(&document.encode()).to_vec();
    let mut dice = Dice(9);
    let mut accepted = 0;
    for number in 0..4_000 {
        let mut forged = content.clone();
        for _ in 0..=number % 3 {
            let at = MAGIC.len() + dice.below(forged.len() - MAGIC.len());
            forged[at] = [dice.roll() as u8, 0, 0x7f, 0xff][dice.below(4)];
        }
        let bytes = sealed(&forged);
        if let Ok(batch) = EventBatch::decode(&bytes) {
            let _ = Document::new().merge(&batch);
            accepted += usize::from(Document::decode(&bytes).is_ok());
        }
        let _ = Snapshot::open(bytes);
    }
    assert!(accepted > 0, "some forgeries only change a letter");
}

/// A few bytes that unpack to many are refused by the length they name, and by what they hold.
#[test]
fn a_column_cannot_be_a_bomb() {
    let bomb = miniz_oxide::deflate::compress_to_vec(&vec![b'a'; 50_000_000], 9);
    for length in [1_000, bomb.len() as u64 * 16, bomb.len() as u64 * 17, 50_000_000, u64::MAX] {
        let mut packed = vec![1];
        put_number(&mut packed, length);
        put_bytes(&mut packed, &bomb);
        let empty_columns = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut content = MAGIC.to_vec();
        for (kind, section) in [(1, &[0][..]), (2, &[0]), (6, &empty_columns), (7, &packed)] {
            put_number(&mut content, kind);
            put_bytes(&mut content, section);
        }
        assert!(
            matches!(EventBatch::decode(&sealed(&content)), Err(DecodeError::Invalid { .. })),
            "{length}"
        );
    }
}

/// What is sent key by key.
#[test]
fn single_runs_come_back() {
    let mut dice = Dice(10);
    let mut accepted = 0;
    for seed in 0..20 {
        let (_, batch) = sample(seed, 40);
        for run in batch.runs {
            let batch = EventBatch { runs: vec![run] };
            let bytes = batch.encode();
            assert_eq!(bytes[MAGIC.len()], 8);
            assert_eq!(EventBatch::decode(&bytes).as_ref(), Ok(&batch));
            let content = unsealed(&bytes);
            for end in 0..content.len() {
                assert!(EventBatch::decode(&bytes[..end]).is_err());
                assert!(EventBatch::decode(&sealed(&content[..end])).is_err(), "{end}");
            }
            let mut newer = content.to_vec();
            put_number(&mut newer, 99);
            put_bytes(&mut newer, b"from the future");
            assert_eq!(EventBatch::decode(&sealed(&newer)).as_ref(), Ok(&batch));
            put_number(&mut newer, 8);
            put_bytes(&mut newer, b"");
            assert!(EventBatch::decode(&sealed(&newer)).is_err());
            for _ in 0..20 {
                let mut forged = content.to_vec();
                let at = MAGIC.len() + dice.below(forged.len() - MAGIC.len());
                forged[at] = [dice.roll() as u8, 0, 0x7f, 0xff][dice.below(4)];
                if let Ok(decoded) = EventBatch::decode(&sealed(&forged)) {
                    assert!(held(&decoded) <= 64 * bytes.len());
                    let _ = Document::new().merge(&decoded);
                    accepted += 1;
                }
            }
        }
    }
    assert!(accepted > 0, "some forgeries only change a letter");
}
