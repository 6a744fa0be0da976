//! Random histories: three documents of three agents that edit and exchange events in a random order.
#![allow(dead_code)] // each test file uses a part

use syncline_engine::{AgentId, Document, Edit, EventBatch, Meta, Version, apply_to_str};

/// One step of a history, as plain numbers: who, what, and where.
pub type Step = (u8, u8, u16, u16);

const TEXTS: [&str; 8] = ["a", "bc", "def", "é", "🦀x", "\r\n", "ghijk", "e\u{301}"];

/// A repeatable sequence of numbers.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    pub fn steps(&mut self, count: usize) -> Vec<Step> {
        (0..count)
            .map(|_| {
                let number = self.roll();
                (number as u8, (number >> 8) as u8, (number >> 16) as u16, (number >> 32) as u16)
            })
            .collect()
    }
}

pub fn agent(number: usize) -> AgentId {
    AgentId::new([&b"ann"[..], b"bob", b"cy"][number % 3]).unwrap()
}

pub fn meta(number: u16) -> Meta {
    let author = ["", "Ann", "Bob"][usize::from(number) % 3];
    Meta { author: author.into(), channel: "test".into(), time_ms: u64::from(number / 3 % 4) * 1_000 }
}

/// Three documents, and versions that each of them had.
pub struct History {
    pub documents: [Document; 3],
    pub versions: [Vec<Version>; 3],
}

impl History {
    /// Takes the steps one by one. What each edit and merge says it changed is checked against the text.
    pub fn of(steps: &[Step]) -> History {
        let mut history = History { documents: Default::default(), versions: Default::default() };
        for &step in steps {
            history.take(step);
        }
        history
    }

    fn take(&mut self, (who, what, x, y): Step) {
        let who = usize::from(who) % 3;
        if what % 8 < 3 {
            let from = (who + 1 + usize::from(x) % 2) % 3;
            return self.send(from, who, y.is_multiple_of(2));
        }
        let document = &mut self.documents[who];
        // Mostly at what the document holds, sometimes at what somebody saw earlier.
        let version = match self.versions[who].len() {
            seen if seen > 0 && what % 8 == 7 => self.versions[who][usize::from(x) % seen].clone(),
            _ => document.version().clone(),
        };
        let length = document.text_at(&version).len();
        let edits = edits(length, what / 8, usize::from(x), usize::from(y));
        let before = document.text().to_string();
        let applied = document.edit_at(&version, &edits, agent(who), &meta(y)).unwrap();
        assert_eq!(apply_to_str(&before, &applied.effect), document.text().to_string());
        self.versions[who].push(applied.version);
        let newest = document.version().clone();
        self.versions[who].push(newest);
    }

    /// Sends what the other lacks, and sometimes more than that, as bytes.
    pub fn send(&mut self, from: usize, to: usize, exactly: bool) {
        let (source, target) = (&self.documents[from], &self.documents[to]);
        let known = if exactly {
            source.version_of_vector(&target.vector())
        } else {
            source.known_part(&target.portable(target.version()))
        };
        let bytes = source.events_since(&known).encode();
        let target = &mut self.documents[to];
        let before = target.text().to_string();
        let merged = target.merge(&EventBatch::decode(&bytes).unwrap()).unwrap();
        assert_eq!(apply_to_str(&before, &merged.effect), target.text().to_string());
        let newest = target.version().clone();
        self.versions[to].push(newest);
    }

    /// Everybody gets everything.
    pub fn exchange_all(&mut self) {
        for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 1)] {
            self.send(from, to, true);
        }
    }
}

/// One or two edits that fit a text of this length.
fn edits(length: usize, kind: u8, x: usize, y: usize) -> Vec<Edit> {
    let at = x % (length + 1);
    let end = (at + 1 + y % 3).min(length);
    let text = TEXTS[y % TEXTS.len()];
    match kind % 4 {
        0 | 1 => vec![Edit::insert(at, text)],
        2 => vec![Edit {
            range: at..end,
            insert: if y.is_multiple_of(2) { String::new() } else { text.to_owned() },
        }],
        _ => {
            let second = end + y % (length - end + 1);
            vec![Edit::delete(at..end), Edit::insert(second, text)]
        }
    }
}
