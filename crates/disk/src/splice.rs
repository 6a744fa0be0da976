//! What a file holds instead of the middle of bytes that are known: found while it is read block by block, so that
//! a large file of which a word was changed is never held in memory whole.

use crate::FileBytes;

/// So many bytes may stand in the middle, or be held until it is known whether they do.
const MOST: usize = 4 << 20;

/// A file's bytes, as a change of bytes that are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    /// How many bytes at the beginning are those known. Perhaps only a part of a character's.
    pub start: usize,
    /// What follows.
    pub bytes: Vec<u8>,
    /// How many bytes at the end are those at the known end; with `start` never more than are known.
    pub tail: usize,
}

/// Compares blocks of a file, of a length that is known, with bytes.
pub(crate) struct Splicing<'k> {
    known: &'k FileBytes,
    /// What is still to come, at the beginning: the same place in the known bytes and in the file; after the first
    /// difference: the same distance from the end.
    place: Place<'k>,
    /// Bytes of the file that were taken, and all.
    at: usize,
    len: usize,
    start: usize,
    differs: bool,
    /// The file's bytes from `start` on, as far as they are held.
    held: Vec<u8>,
    /// How many of these are before the last difference.
    dirty: usize,
    /// Bytes equal to those known were let go: another difference after them is too far away.
    closed: bool,
}

impl<'k> Splicing<'k> {
    /// For a file of `len` bytes.
    pub fn new(known: &'k FileBytes, len: usize) -> Splicing<'k> {
        let place = Place { pieces: known.pieces(), piece: &[] };
        let (at, start, held) = (0, 0, Vec::new());
        Splicing { known, place, at, len, start, differs: false, held, dirty: 0, closed: false }
    }

    /// The next block. `false`: too much is different, or the file is longer than it was.
    pub fn add(&mut self, block: &[u8]) -> bool {
        self.at += block.len();
        let mut rest = block;
        while !self.differs && !rest.is_empty() {
            let known = self.place.piece();
            let same = common_prefix(known, rest);
            self.start += same;
            rest = rest.get(same..).unwrap_or_default();
            // A difference, or the end of what is known.
            self.differs = !rest.is_empty() && (same < known.len() || known.is_empty());
            self.place.pass(same);
            if self.differs && !self.turn() {
                return false;
            }
        }
        // What was put in, if the file is longer than what is known.
        let put_in = self.dirty.saturating_sub(self.held.len()).min(rest.len());
        let (new, mut rest) = rest.split_at(put_in);
        self.held.extend_from_slice(new);
        while !rest.is_empty() {
            let known = self.place.piece();
            let len = known.len().min(rest.len());
            if len == 0 {
                return false;
            }
            let (run, after) = rest.split_at(len);
            let known = known.get(..len).unwrap_or_default();
            if !self.compared(run, known) {
                return false;
            }
            self.place.pass(len);
            rest = after;
        }
        self.at <= self.len && self.dirty <= MOST
    }

    /// The first difference was found: from here on the ends are compared.
    fn turn(&mut self) -> bool {
        let known = self.known.len();
        let put_in = self.len.saturating_sub(known);
        if put_in > MOST || self.len < self.start {
            return false;
        }
        self.dirty = put_in;
        self.place = Place { pieces: self.known.pieces(), piece: &[] };
        // Where as much is left of the known bytes as of the file.
        self.place.skip(self.start + known.saturating_sub(self.len))
    }

    /// Takes bytes that stand as far from the end as these known ones.
    fn compared(&mut self, run: &[u8], known: &[u8]) -> bool {
        let same = run == known;
        if self.closed {
            return same;
        }
        self.held.extend_from_slice(run);
        if !same {
            self.dirty = self.held.len() - common_suffix(run, known);
        } else if self.held.len() > self.dirty + MOST {
            self.held.truncate(self.dirty);
            self.closed = true;
        }
        true
    }

    /// All blocks were taken. `None`: the file was shorter than it was said to be.
    pub fn finish(mut self) -> Option<Splice> {
        if self.at != self.len {
            return None;
        }
        self.held.truncate(self.dirty);
        let tail = self.len - self.start - self.held.len();
        Some(Splice { start: self.start, bytes: self.held, tail })
    }
}

/// A place in bytes that are in pieces.
struct Place<'k> {
    pieces: Box<dyn Iterator<Item = &'k [u8]> + 'k>,
    /// What is left of the piece.
    piece: &'k [u8],
}

impl<'k> Place<'k> {
    /// What follows here, in one piece; empty at the end.
    fn piece(&mut self) -> &'k [u8] {
        while self.piece.is_empty() {
            match self.pieces.next() {
                Some(piece) => self.piece = piece,
                None => break,
            }
        }
        self.piece
    }

    fn pass(&mut self, len: usize) {
        self.piece = self.piece.get(len..).unwrap_or_default();
    }

    /// Goes on by `len` bytes; `false` if there are not so many.
    fn skip(&mut self, mut len: usize) -> bool {
        while len > 0 {
            let step = self.piece().len().min(len);
            if step == 0 {
                return false;
            }
            self.pass(step);
            len -= step;
        }
        true
    }
}

/// How many bytes are the same at the beginning. By pieces: equal slices are compared as fast as memory is read.
fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    let len = one.len().min(other.len());
    if one.get(..len) == other.get(..len) {
        return len;
    }
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

/// How many bytes are the same at the end of two slices of one length.
fn common_suffix(one: &[u8], other: &[u8]) -> usize {
    one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file_bytes::Cut;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn splice(known: &[u8], piece: usize, file: &[u8], block: usize) -> Option<Splice> {
        let known = FileBytes::Pieces(Arc::new(Cut(known.chunks(piece).map(Vec::from).collect())));
        let mut splicing = Splicing::new(&known, file.len());
        file.chunks(block).all(|block| splicing.add(block)).then(|| splicing.finish()).flatten()
    }

    fn apply(known: &[u8], splice: &Splice) -> Vec<u8> {
        [&known[..splice.start], &splice.bytes, &known[known.len() - splice.tail..]].concat()
    }

    #[test]
    fn cases() {
        let of = |known: &str, file: &str| splice(known.as_bytes(), 2, file.as_bytes(), 3).unwrap();
        let (start, bytes) = (2, b"X".to_vec());
        assert_eq!(of("abcd", "abXd"), Splice { start, bytes: bytes.clone(), tail: 1 });
        assert_eq!(of("abcd", "abXcd"), Splice { start, bytes: bytes.clone(), tail: 2 });
        assert_eq!(of("abcd", "abX"), Splice { start, bytes, tail: 0 });
        assert_eq!(of("abcd", "abd"), Splice { start: 2, bytes: vec![], tail: 1 });
        assert_eq!(of("aaaa", "aa"), Splice { start: 2, bytes: vec![], tail: 0 });
        assert_eq!(of("", "xy"), Splice { start: 0, bytes: b"xy".to_vec(), tail: 0 });
        assert_eq!(of("xy", ""), Splice { start: 0, bytes: vec![], tail: 0 });
        assert_eq!(of("ab", "ab"), Splice { start: 2, bytes: vec![], tail: 0 });
    }

    #[test]
    fn differences_far_apart_are_given_up() {
        let known = vec![b'a'; 3 * MOST];
        let mut file = known.clone();
        (file[0], file[MOST / 2]) = (b'b', b'b');
        assert_eq!(apply(&known, &splice(&known, 1 << 16, &file, 1 << 20).unwrap()), file);
        file[3 * MOST - 1] = b'b';
        assert_eq!(splice(&known, 1 << 16, &file, 1 << 20), None);
        assert_eq!(splice(b"", 1, &known, 1 << 20), None);
    }

    #[test]
    fn a_file_of_another_length_than_it_was_said_to_have() {
        let known = FileBytes::from(b"abc".to_vec());
        for (len, file) in [(3, "ab"), (2, "abc"), (2, "xbc"), (9, "abx")] {
            let mut splicing = Splicing::new(&known, len);
            let taken = splicing.add(file.as_bytes());
            assert!(!taken || splicing.finish().is_none(), "{file}");
        }
    }

    proptest! {
        #[test]
        fn the_splice_of_known_bytes_is_the_file(
            known in "[ab]{0,20}", file in "[ab]{0,20}", piece in 1usize..5, block in 1usize..5,
        ) {
            let (known, file) = (known.as_bytes(), file.as_bytes());
            let splice = splice(known, piece, file, block).unwrap();
            prop_assert!(splice.start + splice.tail <= known.len().min(file.len()));
            prop_assert_eq!(apply(known, &splice), file);
        }
    }
}
