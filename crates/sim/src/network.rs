//! The connection between a leaf and the centre: messages arrive late and in order, until it breaks.

use syncline_protocol::replica::Link;

/// One end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The replica in the middle, which was dialed.
    Centre,
    /// The other one, which dialed.
    Leaf,
}

impl End {
    /// Both.
    pub const BOTH: [End; 2] = [End::Centre, End::Leaf];

    /// The one at the other side.
    pub fn other(self) -> End {
        match self {
            End::Centre => End::Leaf,
            End::Leaf => End::Centre,
        }
    }
}

/// The connection of one leaf, standing or not.
#[derive(Default)]
pub struct Wire {
    /// Which connection it is: what belongs to an earlier one is lost.
    number: u64,
    links: Option<[Link; 2]>,
    /// When the last message in each direction arrives.
    arrivals: [u64; 2],
}

impl Wire {
    /// The number of the connection that stands or stood.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether it stands.
    pub fn is_up(&self) -> bool {
        self.links.is_some()
    }

    /// A new connection, with the links of the centre and of the leaf.
    pub fn connect(&mut self, centre: Link, leaf: Link) {
        self.number += 1;
        self.links = Some([centre, leaf]);
        self.arrivals = [0, 0];
    }

    /// It breaks; whether it stood.
    pub fn cut(&mut self) -> bool {
        self.links.take().is_some()
    }

    /// One end's link, if this connection (still) stands.
    pub fn link(&mut self, number: u64, end: End) -> Option<&mut Link> {
        if number != self.number {
            return None;
        }
        let [centre, leaf] = self.links.as_mut()?;
        Some(match end {
            End::Centre => centre,
            End::Leaf => leaf,
        })
    }

    /// When a message arrives that would arrive at `at` if it overtook those before it.
    pub fn arrival(&mut self, to: End, at: u64) -> u64 {
        let last = match to {
            End::Centre => &mut self.arrivals[0],
            End::Leaf => &mut self.arrivals[1],
        };
        *last = at.max(*last);
        *last
    }
}
