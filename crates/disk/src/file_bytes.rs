//! The bytes of a file that is to be written, wherever they are.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// So much is gathered from small pieces before it is hashed or written at once, in bytes.
const BLOCK: usize = 1 << 20;

/// Bytes that are in memory piece by piece.
pub trait Pieces: Send + Sync {
    /// How many bytes they are together.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All pieces in order.
    fn pieces(&self) -> Box<dyn Iterator<Item = &[u8]> + '_>;
}

/// Bytes for a file, shared with whoever made them: a large text is never copied to be written.
#[derive(Clone)]
pub enum FileBytes {
    /// In one piece.
    Whole(Arc<dyn AsRef<[u8]> + Send + Sync>),
    /// In many.
    Pieces(Arc<dyn Pieces>),
}

impl FileBytes {
    /// How many bytes.
    pub fn len(&self) -> usize {
        match self {
            FileBytes::Whole(bytes) => (**bytes).as_ref().len(),
            FileBytes::Pieces(pieces) => pieces.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them in order, in the pieces in which they are in memory.
    pub(crate) fn pieces(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        match self {
            FileBytes::Whole(bytes) => Box::new(std::iter::once((**bytes).as_ref())),
            FileBytes::Pieces(pieces) => pieces.pieces(),
        }
    }

    /// All of them, put together if need be.
    pub fn to_bytes(&self) -> Cow<'_, [u8]> {
        match self {
            FileBytes::Whole(bytes) => Cow::Borrowed((**bytes).as_ref()),
            FileBytes::Pieces(pieces) => {
                let mut all = Vec::with_capacity(pieces.len());
                pieces.pieces().for_each(|piece| all.extend_from_slice(piece));
                Cow::Owned(all)
            }
        }
    }

    /// Gives them in order, in as few blocks as is reasonable: a call of the kernel, or of the hash, for every
    /// small piece would cost more than to gather them.
    ///
    /// # Errors
    /// The first of `take`.
    pub fn blocks<E>(&self, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        match self {
            FileBytes::Whole(bytes) => take((**bytes).as_ref()),
            FileBytes::Pieces(pieces) => blocks(pieces.pieces(), take),
        }
    }
}

/// Gathers pieces to blocks.
pub(crate) fn blocks<'a, E>(
    pieces: impl Iterator<Item = &'a [u8]>,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut block = Vec::new();
    for piece in pieces {
        if block.len() + piece.len() > BLOCK && !block.is_empty() {
            take(&block)?;
            block.clear();
        }
        if piece.len() > BLOCK {
            take(piece)?;
        } else {
            block.extend_from_slice(piece);
        }
    }
    if block.is_empty() { Ok(()) } else { take(&block) }
}

impl From<Vec<u8>> for FileBytes {
    fn from(bytes: Vec<u8>) -> FileBytes {
        FileBytes::Whole(Arc::new(bytes))
    }
}

impl From<Arc<String>> for FileBytes {
    fn from(text: Arc<String>) -> FileBytes {
        FileBytes::Whole(text)
    }
}

impl From<Arc<[u8]>> for FileBytes {
    fn from(bytes: Arc<[u8]>) -> FileBytes {
        FileBytes::Whole(Arc::new(bytes))
    }
}

impl fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// Bytes cut somewhere, for tests.
#[cfg(test)]
pub(crate) struct Cut(pub Vec<Vec<u8>>);

#[cfg(test)]
impl Pieces for Cut {
    fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    fn pieces(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        Box::new(self.0.iter().map(Vec::as_slice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ContentHash;

    #[test]
    fn the_same_bytes_in_whatever_pieces() {
        for sizes in [
            vec![],
            vec![0],
            vec![1, 2, 3],
            vec![BLOCK, 1],
            vec![BLOCK - 1, 2, BLOCK * 3, 0, 5],
            vec![700; 900],
        ] {
            let cut: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(at, len)| vec![at as u8; *len]).collect();
            let whole = FileBytes::from(cut.concat());
            let pieces = FileBytes::Pieces(Arc::new(Cut(cut)));
            assert_eq!(pieces.len(), whole.len());
            assert_eq!(pieces.to_bytes(), whole.to_bytes());
            assert_eq!(ContentHash::of_pieces(pieces.pieces()), ContentHash::of(&whole.to_bytes()));
            let (mut together, mut blocks) = (Vec::new(), 0);
            let taken: Result<(), ()> = pieces.blocks(|block| {
                together.extend_from_slice(block);
                blocks += 1;
                Ok(())
            });
            assert_eq!((taken, together), (Ok(()), whole.to_bytes().into_owned()));
            assert!(
                blocks <= sizes.len().min(pieces.len() / (BLOCK / 2) + 2),
                "{blocks} blocks of {sizes:?}"
            );
        }
    }
}
