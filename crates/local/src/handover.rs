//! How two users come to share a pair of rings: one makes the memory (memfd_create(2)), seals its size, and passes
//! the descriptor over a Unix socket (unix(7), `SCM_RIGHTS`). The kernel says who is at the other end
//! (`SO_PEERCRED`): another account is sent away.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg, sockopt,
};

use crate::conversation::Ends;
use crate::error::LocalError;
use crate::mapping::Mapping;
use crate::name::Group;
use crate::ring::RING_WORDS;

/// How long either side may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The words of both rings, the dialer's outgoing one first.
const WORDS: usize = 2 * RING_WORDS;
/// "SYLR", the sender's slot, both generations, the session.
const GREETING: usize = 24;
const MAGIC: u32 = 0x5359_4C52;
/// What nobody may do to the memory any more: a size that changed would kill who has it mapped.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Two rings between us and another user.
pub(crate) struct Shared {
    /// Both rings.
    pub memory: Mapping,
    /// Whether the first of them is ours to write.
    pub dialed: bool,
}

/// Rings that somebody handed over.
pub(crate) struct Offered {
    pub shared: Shared,
    /// Open as long as the other side lives.
    pub lifeline: UnixStream,
    /// The slot of whoever it was, as they say.
    pub from: usize,
    /// The session, from our side.
    pub ends: Ends,
}

/// Listens for those who hand over rings.
pub(crate) fn listen(group: &Group, slot: usize, generation: u32) -> Result<UnixListener, LocalError> {
    let name = group.socket(slot, generation);
    let bound = SocketAddr::from_abstract_name(&name).and_then(|address| UnixListener::bind_addr(&address));
    bound.map_err(|error| LocalError::NoCarriage { way: "shared memory", why: format!("{name}: {error}") })
}

/// Makes rings and hands them to the user of a slot. The stream stays open as long as the other side lives.
pub(crate) fn dial(group: &Group, slot: usize, ends: Ends) -> Result<(Shared, UnixStream), LocalError> {
    let what = group.socket(slot, ends.to_generation);
    let fail = |doing, error: std::io::Error| LocalError::io(doing, &what, error);
    let address = SocketAddr::from_abstract_name(&what).map_err(|error| fail("naming", error))?;
    let stream = UnixStream::connect_addr(&address).map_err(|error| fail("reaching", error))?;
    prepare(&stream, group, &what)?;
    let file = memfd_create("syncline-rings", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(|error| fail("making memory for", error.into()))?;
    ftruncate(&file, (WORDS * 4) as u64).map_err(|error| fail("making memory for", error.into()))?;
    fcntl_add_seals(&file, SEALS).map_err(|error| fail("sealing memory for", error.into()))?;
    let memory = Mapping::new(&file, WORDS).map_err(|error| fail("mapping memory for", error))?;
    let greeting = greeting(&ends);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let files = [std::os::fd::AsFd::as_fd(&file)];
    ancillary.push(SendAncillaryMessage::ScmRights(&files));
    let sent = sendmsg(&stream, &[IoSlice::new(&greeting)], &mut ancillary, SendFlags::NOSIGNAL);
    match sent {
        Ok(GREETING) => {}
        Ok(_) => return Err(fail("greeting", std::io::ErrorKind::WriteZero.into())),
        Err(error) => return Err(fail("greeting", error.into())),
    }
    // The other side's yes: before it, nobody reads the rings.
    let mut yes = [0];
    std::io::Read::read_exact(&mut &stream, &mut yes).map_err(|error| fail("waiting for", error))?;
    Ok((Shared { memory, dialed: true }, stream))
}

/// Takes rings from whoever connected.
pub(crate) fn accept(
    stream: UnixStream,
    group: &Group,
    slot: usize,
    generation: u32,
) -> Result<Offered, LocalError> {
    let what = "whoever connected".to_owned();
    let fail = |doing, error: std::io::Error| LocalError::io(doing, &what, error);
    let bad = |why: &str| LocalError::NoCarriage { way: "shared memory", why: why.to_owned() };
    prepare(&stream, group, &what)?;
    let mut greeting = [0; GREETING];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(&stream, &mut [IoSliceMut::new(&mut greeting)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
            .map_err(|error| fail("hearing", error.into()))?;
    let mut files: Vec<OwnedFd> = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            files.extend(passed);
        }
    }
    let numbers: Vec<u32> = greeting
        .chunks_exact(4)
        .map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
        .collect();
    let (GREETING, [MAGIC, from, from_generation, to_generation, low, high], Some(file)) =
        (received.bytes, numbers.as_slice(), files.pop())
    else {
        return Err(bad("a greeting of another kind"));
    };
    if *to_generation != generation {
        return Err(bad("a greeting for a former user of this slot"));
    }
    let seals = fcntl_get_seals(&file).map_err(|error| fail("looking at the memory of", error.into()))?;
    let stat = fstat(&file).map_err(|error| fail("looking at the memory of", error.into()))?;
    if !seals.contains(SEALS) || stat.st_size != (WORDS * 4) as i64 {
        return Err(bad("memory that is not sealed, or of another size"));
    }
    let memory = Mapping::new(&file, WORDS).map_err(|error| fail("mapping the memory of", error))?;
    std::io::Write::write_all(&mut &stream, &[1]).map_err(|error| fail("answering", error))?;
    let ends = Ends {
        from: slot,
        from_generation: generation,
        to_generation: *from_generation,
        session: u64::from(*high) << 32 | u64::from(*low),
    };
    Ok(Offered { shared: Shared { memory, dialed: false }, lifeline: stream, from: *from as usize, ends })
}

/// Only our own account, and not for ever.
fn prepare(stream: &UnixStream, group: &Group, what: &str) -> Result<(), LocalError> {
    let peer =
        sockopt::socket_peercred(stream).map_err(|error| LocalError::io("asking who is", what, error))?;
    if peer.uid.as_raw() != group.uid {
        return Err(LocalError::Foreign { what: format!("the process at {what}") });
    }
    let bounded = stream.set_read_timeout(Some(PATIENCE)).and(stream.set_write_timeout(Some(PATIENCE)));
    bounded.map_err(|error| LocalError::io("preparing", what, error))
}

fn greeting(ends: &Ends) -> Vec<u8> {
    let numbers = [
        MAGIC,
        ends.from as u32,
        ends.from_generation,
        ends.to_generation,
        ends.session as u32,
        (ends.session >> 32) as u32,
    ];
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

impl Shared {
    /// The ring that we write, and the one that we read.
    pub fn rings(&self) -> (&[std::sync::atomic::AtomicU32], &[std::sync::atomic::AtomicU32]) {
        let (first, second) = self.memory.words().split_at(RING_WORDS);
        if self.dialed { (first, second) } else { (second, first) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{Reader, Writer};

    fn group() -> Group {
        Group::of_this_account(&format!("test-{}", fastrand::u64(..) >> 20)).unwrap()
    }

    const ENDS: Ends = Ends { from: 4, from_generation: 7, to_generation: 3, session: 1 << 40 | 5 };

    #[test]
    fn two_users_share_rings() {
        let group = group();
        let listener = listen(&group, 1, 3).unwrap();
        let theirs = group.clone();
        let dialer = std::thread::spawn(move || dial(&theirs, 1, ENDS).unwrap());
        let (stream, _) = listener.accept().unwrap();
        let Offered { shared: mine, from, ends, .. } = accept(stream, &group, 1, 3).unwrap();
        let (other, _lifeline) = dialer.join().unwrap();
        assert_eq!((from, ends.session, ends.to_generation), (4, ENDS.session, 7));
        let (mut frame, mut reader) = (Vec::new(), Reader::default());
        Writer::default().put(other.rings().0, b"hello").unwrap();
        assert!(reader.take(mine.rings().1, &mut frame).unwrap());
        assert_eq!(frame, b"hello");
    }

    #[test]
    fn memory_that_could_shrink_is_refused() {
        let group = group();
        let listener = listen(&group, 1, 3).unwrap();
        for sealed in [false, true] {
            let address = SocketAddr::from_abstract_name(group.socket(1, 3)).unwrap();
            let stream = UnixStream::connect_addr(&address).unwrap();
            let file = memfd_create("x", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
            ftruncate(&file, if sealed { 4096 } else { (WORDS * 4) as u64 }).unwrap();
            if sealed {
                fcntl_add_seals(&file, SEALS).unwrap();
            }
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            let files = [std::os::fd::AsFd::as_fd(&file)];
            ancillary.push(SendAncillaryMessage::ScmRights(&files));
            sendmsg(&stream, &[IoSlice::new(&greeting(&ENDS))], &mut ancillary, SendFlags::empty()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            assert!(accept(accepted, &group, 1, 3).is_err());
        }
    }

    #[test]
    fn a_greeting_that_is_none_is_refused() {
        let group = group();
        let listener = listen(&group, 1, 3).unwrap();
        for bytes in [&b""[..], b"x", &[0; GREETING], &greeting(&ENDS)] {
            let address = SocketAddr::from_abstract_name(group.socket(1, 3)).unwrap();
            let mut stream = UnixStream::connect_addr(&address).unwrap();
            std::io::Write::write_all(&mut stream, bytes).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            assert!(accept(accepted, &group, 1, 3).is_err());
        }
    }
}
