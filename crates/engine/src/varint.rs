//! The bytes that all encodings are made of: LEB128 numbers, length-prefixed bytes, and a reader that
//! never allocates more than its input holds.

/// Why bytes could not be decoded. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside a value.
    #[error("the data ends early, at byte {at}")]
    Truncated {
        /// Byte offset.
        at: usize,
    },
    /// The data does not begin as this format does, or with a newer major version.
    #[error("not Syncline data, or of a newer version than this program reads")]
    WrongFormat,
    /// The checksum does not fit: the data was damaged.
    #[error("the checksum is wrong: the data was damaged")]
    Checksum,
    /// A value that cannot be.
    #[error("invalid {what} at byte {at}")]
    Invalid {
        /// What was being read.
        what: &'static str,
        /// Byte offset.
        at: usize,
    },
}

/// Appends a number as LEB128.
pub fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what `put_*` wrote.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// From the first byte on.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// Bytes not read yet.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Bytes read so far.
    pub fn at(&self) -> usize {
        self.at
    }

    /// All bytes not read yet.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at = self.bytes.len();
        rest
    }

    /// An error about the value just read.
    pub fn invalid(&self, what: &'static str) -> DecodeError {
        DecodeError::Invalid { what, at: self.at }
    }

    /// The next byte.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.bytes.get(self.at).ok_or(DecodeError::Truncated { at: self.at })?;
        self.at += 1;
        Ok(byte)
    }

    /// A number of at most 64 bits.
    #[inline]
    pub fn number(&mut self) -> Result<u64, DecodeError> {
        // Most numbers are small.
        if let Some(&byte) = self.bytes.get(self.at)
            && byte < 0x80
        {
            self.at += 1;
            return Ok(u64::from(byte));
        }
        self.long_number()
    }

    fn long_number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.invalid("number"))
    }

    /// A number that fits this machine's `usize`.
    #[inline]
    pub fn size(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(self.number()?).map_err(|_| self.invalid("size"))
    }

    /// How many items follow, of which each takes at least `least` bytes: so the caller may allocate.
    pub fn count(&mut self, least: usize) -> Result<usize, DecodeError> {
        let count = self.size()?;
        match count.checked_mul(least) {
            Some(bytes) if bytes <= self.left() => Ok(count),
            _ => Err(DecodeError::Truncated { at: self.bytes.len() }),
        }
    }

    /// Exactly `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(DecodeError::Truncated { at: self.bytes.len() })?;
        let bytes = &self.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    /// A length and that many bytes.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.size()?;
        self.take(len)
    }

    /// A length and that many bytes of UTF-8.
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.invalid("text"))
    }

    /// Nothing may be left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.left() == 0 { Ok(()) } else { Err(self.invalid("trailing bytes")) }
    }
}
