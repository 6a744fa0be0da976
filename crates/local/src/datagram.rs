//! The unit that a carriage moves: a short header, and a piece of a message.

/// The length of the header, in bytes.
pub(crate) const HEADER: usize = 36;

/// What a datagram is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A piece of a message; more of it follows.
    Piece,
    /// The last piece of a message.
    Last,
    /// Only says what has arrived.
    Ack,
    /// This session is not known (any more).
    Gone,
}

/// Who sends what to whom. All numbers are little-endian.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub kind: Kind,
    /// The sender's slot in the registry.
    pub from: usize,
    /// The generation of the sender's slot.
    pub from_generation: u32,
    /// The generation of the receiver's slot: what was meant for a former user of it is told apart.
    pub to_generation: u32,
    /// The session, drawn by whoever dialed.
    pub session: u64,
    /// Which piece of the session it is, from 0. Only of pieces.
    pub seq: u64,
    /// How many of the receiver's pieces have arrived.
    pub ack: u64,
}

impl Header {
    /// A datagram.
    pub fn datagram(&self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + payload.len());
        let kind = match self.kind {
            Kind::Piece => 1,
            Kind::Last => 2,
            Kind::Ack => 3,
            Kind::Gone => 4,
        };
        out.extend([kind, u8::try_from(self.from).unwrap_or(u8::MAX), 0, 0]);
        out.extend(self.from_generation.to_le_bytes());
        out.extend(self.to_generation.to_le_bytes());
        out.extend(self.session.to_le_bytes());
        out.extend(self.seq.to_le_bytes());
        out.extend(self.ack.to_le_bytes());
        out.extend_from_slice(payload);
        out
    }

    /// Takes a datagram apart. `None`: it is none.
    pub fn read(datagram: &[u8]) -> Option<(Header, &[u8])> {
        let (header, payload) = datagram.split_at_checked(HEADER)?;
        let kind = match header.first()? {
            1 => Kind::Piece,
            2 => Kind::Last,
            3 => Kind::Ack,
            4 => Kind::Gone,
            _ => return None,
        };
        let from = usize::from(*header.get(1)?);
        let short = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(header.get(at..at + 8)?.try_into().ok()?));
        let header = Header {
            kind,
            from,
            from_generation: short(4)?,
            to_generation: short(8)?,
            session: long(12)?,
            seq: long(20)?,
            ack: long(28)?,
        };
        Some((header, payload))
    }
}

/// Writes into a datagram that waits to be sent how many pieces have arrived by now.
pub(crate) fn set_ack(datagram: &mut [u8], ack: u64) {
    if let Some(place) = datagram.get_mut(28..HEADER) {
        place.copy_from_slice(&ack.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let header = Header {
            kind: Kind::Last,
            from: 63,
            from_generation: 0x3fff_ffff,
            to_generation: 2,
            session: u64::MAX - 1,
            seq: 1 << 40,
            ack: 3,
        };
        let mut datagram = header.datagram(b"text");
        assert_eq!(Header::read(&datagram), Some((header, &b"text"[..])));
        set_ack(&mut datagram, 9);
        assert_eq!(Header::read(&datagram), Some((Header { ack: 9, ..header }, &b"text"[..])));
    }

    #[test]
    fn anything_else_is_none() {
        let mut random = fastrand::Rng::with_seed(1);
        for length in 0..100 {
            let bytes: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
            if let Some((header, payload)) = Header::read(&bytes) {
                assert!(length >= HEADER && payload.len() == length - HEADER && bytes[0] <= 4);
                assert!(header.from <= 255);
            }
        }
        assert_eq!(Header::read(&[0; HEADER]), None);
        assert_eq!(Header::read(&[1; HEADER - 1]), None);
    }
}
