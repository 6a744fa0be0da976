//! A version in one document's own numbering.

use smallvec::SmallVec;

/// The number of an event in one document: events are numbered in the order in which this document
/// learnt of them, one number per inserted or deleted character. Not portable; see [`crate::Heads`].
pub type Lv = usize;

/// The heads of the event graph that somebody has seen, sorted. It means the events named and all that
/// they build on. Empty is the version before the first event. Valid for the document that issued it,
/// and for that document reopened from its journal.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Version(pub(crate) SmallVec<[Lv; 2]>);

impl Version {
    /// The version before the first event.
    pub fn root() -> Version {
        Version::default()
    }

    /// The version whose single head is this event.
    pub(crate) fn of(lv: Lv) -> Version {
        Version(smallvec::smallvec![lv])
    }

    /// Whether this is the version before the first event.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The heads, sorted, in this document's numbering.
    pub fn heads(&self) -> &[Lv] {
        &self.0
    }

    /// Replaces the heads that `parents` names by the event `last` (which has those parents, perhaps
    /// through a run that ends in `last`).
    pub(crate) fn advance(&mut self, parents: &Version, last: Lv) {
        if self == parents {
            // Made at the newest version, as nearly all events are.
            *self = Version::of(last);
            return;
        }
        self.0.retain(|head| !parents.0.contains(head));
        let at = self.0.partition_point(|&head| head < last);
        self.0.insert(at, last);
    }
}
