//! Who somebody in the registry is, and the words in a slot that say so.

use crate::name::{MAX_NAME, Name};

/// How many words say who somebody is: ticket, process, length of the name, the name.
pub(crate) const ABOUT_WORDS: usize = 3 + MAX_NAME / 4;

/// By which ways a user can be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Abilities {
    /// By a message queue.
    pub queue: bool,
    /// By rings in shared memory.
    pub rings: bool,
}

/// Who somebody is, as they say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Introduction {
    /// The name.
    pub name: Name,
    /// The process.
    pub pid: u32,
}

/// A user who is here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// The slot's number.
    pub slot: usize,
    /// The slot's generation.
    pub generation: u32,
    /// Who came earlier has a smaller one.
    pub ticket: u32,
    /// Whether what their file held at their start is entered.
    pub settled: bool,
    /// How they can be reached; by no way yet, as long as they are still preparing.
    pub abilities: Abilities,
    /// The first 16 bytes of their hub's agent.
    pub agent: [u8; 16],
    /// Who they are.
    pub who: Introduction,
}

/// The words that say who somebody is.
pub(crate) fn about(ticket: u32, who: &Introduction) -> Vec<u32> {
    let name = who.name.as_str().as_bytes();
    let mut padded = [0; MAX_NAME];
    padded.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    let mut words = vec![ticket, who.pid, name.len() as u32];
    words.extend(words_of(&padded));
    words
}

/// Bytes as words; fewer than four at the end are left out.
pub(crate) fn words_of(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}

/// Who the words of a slot say is there; `None` if they are not what anybody of ours would write.
pub(crate) fn introduced(about: &[u32]) -> Option<(u32, Introduction)> {
    let [ticket, pid, length, name @ ..] = about else { return None };
    let bytes: Vec<u8> = name.iter().flat_map(|word| word.to_le_bytes()).collect();
    let name = Name::parse(std::str::from_utf8(bytes.get(..*length as usize)?).ok()?).ok()?;
    Some((*ticket, Introduction { name, pid: *pid }))
}
