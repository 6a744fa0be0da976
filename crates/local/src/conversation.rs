//! Whole messages over datagrams that arrive late, twice, or not at all: pieces, acknowledgements, and sending
//! again.
//!
//! A queue that is full delays and never drops, so pieces are rarely sent twice: when a receiver was stopped, or
//! put off what it had no room for. Pieces are numbered, the receiver takes them in order and says how far it
//! is; what is not acknowledged within a time that doubles is sent again from the first missing piece on
//! (go-back-N, as in Tanenbaum, "Computer Networks", section 3.4.2).

use std::collections::VecDeque;
use std::time::Duration;

use syncline_protocol::limits::MAX_MESSAGE_BYTES;

use crate::datagram::{HEADER, Header, Kind, set_ack};

/// How many pieces may be under way.
const WINDOW: usize = 64;
/// How many messages wait to be taken apart; more stay with whoever sends them.
const WAITING: usize = 4;
/// How many whole messages, and how many bytes of them, wait to be taken; beyond that pieces are put off.
const READY: usize = 64;
const READY_BYTES: usize = 32 << 20;
/// After so long without an acknowledgement pieces are sent again; it doubles.
const RESEND: Duration = Duration::from_millis(200);
/// The longest such time.
const MAX_RESEND: Duration = Duration::from_secs(5);
/// An acknowledgement that nothing else carries is sent after so many pieces, or when nothing more has come.
const ACK_EVERY: u64 = 16;

/// Whose datagrams these are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ends {
    pub from: usize,
    pub from_generation: u32,
    pub to_generation: u32,
    pub session: u64,
}

impl Ends {
    pub fn header(&self, kind: Kind) -> Header {
        let Ends { from, from_generation, to_generation, session } = *self;
        Header { kind, from, from_generation, to_generation, session, seq: 0, ack: 0 }
    }
}

/// Why a session cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the other side does not know this session any more")]
    Gone,
    #[error("a message is longer than {MAX_MESSAGE_BYTES} bytes")]
    TooLong,
}

/// One end of a session between two users.
pub(crate) struct Conversation {
    ends: Ends,
    /// How much of a message one datagram takes.
    piece: usize,
    waiting: VecDeque<Vec<u8>>,
    /// How much of the first waiting message is in pieces already.
    cut: usize,
    /// Pieces that are not acknowledged, from number `first` on.
    under_way: VecDeque<Vec<u8>>,
    first: u64,
    /// The next piece to hand to the carriage.
    next: u64,
    /// The carriage had all pieces before this one, at least once.
    sent: u64,
    /// The other side's pieces that have arrived.
    arrived: u64,
    /// How many of them it was told of.
    told: u64,
    /// It sent something again: it may not know.
    tell: bool,
    partial: Vec<u8>,
    ready: VecDeque<Vec<u8>>,
    ready_bytes: usize,
    /// When something was acknowledged or sent last.
    moved: Duration,
    resend: Duration,
}

impl Conversation {
    /// A session whose carriage takes datagrams of `size` bytes.
    pub fn new(ends: Ends, size: usize) -> Conversation {
        Conversation {
            ends,
            piece: size.saturating_sub(HEADER).max(1),
            waiting: VecDeque::new(),
            cut: 0,
            under_way: VecDeque::new(),
            first: 0,
            next: 0,
            sent: 0,
            arrived: 0,
            told: 0,
            tell: false,
            partial: Vec::new(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            moved: Duration::ZERO,
            resend: RESEND,
        }
    }

    /// Whether another message may be handed in.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < WAITING
    }

    /// Takes a message to send.
    pub fn send(&mut self, message: Vec<u8>) {
        self.waiting.push_back(message);
    }

    /// Whether everything that was handed in is with the carriage.
    pub fn is_drained(&self) -> bool {
        self.waiting.is_empty() && self.next == self.first + self.under_way.len() as u64
    }

    /// Whether everything that was handed in has arrived.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// The next whole message that came.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        let message = self.ready.pop_front()?;
        self.ready_bytes -= message.len();
        Some(message)
    }

    /// A datagram of this session came.
    pub fn received(&mut self, header: &Header, payload: &[u8], now: Duration) -> Result<(), Broken> {
        // An acknowledgement of what was never sent says nothing.
        if header.ack > self.first && header.ack <= self.sent {
            let count = (header.ack - self.first) as usize;
            self.under_way.drain(..count.min(self.under_way.len()));
            self.first = header.ack;
            self.next = self.next.max(self.first);
            (self.moved, self.resend) = (now, RESEND);
        }
        match header.kind {
            Kind::Gone => Err(Broken::Gone),
            Kind::Ack => Ok(()),
            Kind::Piece | Kind::Last => self.piece(header, payload),
        }
    }

    fn piece(&mut self, header: &Header, payload: &[u8]) -> Result<(), Broken> {
        if header.seq != self.arrived {
            // Seen before, or one before it was put off: say where we are.
            self.tell |= header.seq < self.arrived;
            return Ok(());
        }
        if self.ready.len() >= READY || self.ready_bytes >= READY_BYTES {
            // Not taken, so not acknowledged: it comes again.
            return Ok(());
        }
        if self.partial.len() + payload.len() > MAX_MESSAGE_BYTES {
            return Err(Broken::TooLong);
        }
        self.arrived += 1;
        self.partial.extend_from_slice(payload);
        if header.kind == Kind::Last {
            let message = std::mem::take(&mut self.partial);
            self.ready_bytes += message.len();
            self.ready.push_back(message);
        }
        Ok(())
    }

    /// The datagram that the carriage should take next, if there is one; call [`Conversation::passed`] when it
    /// has.
    pub fn datagram(&mut self) -> Option<&[u8]> {
        self.cut();
        let datagram = self.under_way.get_mut((self.next - self.first) as usize)?;
        set_ack(datagram, self.arrived);
        Some(datagram)
    }

    /// A datagram that only says what has arrived, if that should be said now. `quiet`: nothing that came waits
    /// to be looked at.
    pub fn ack(&self, quiet: bool) -> Option<Vec<u8>> {
        let untold = self.arrived - self.told;
        let due = self.tell || untold >= ACK_EVERY || untold > 0 && quiet;
        due.then(|| Header { ack: self.arrived, ..self.ends.header(Kind::Ack) }.datagram(&[]))
    }

    /// The carriage took what [`Conversation::datagram`] gave.
    pub fn passed(&mut self, now: Duration) {
        if self.next == self.first {
            self.moved = now;
        }
        self.next += 1;
        self.sent = self.sent.max(self.next);
        self.acked();
    }

    /// The carriage took what [`Conversation::ack`] gave.
    pub fn acked(&mut self) {
        (self.told, self.tell) = (self.arrived, false);
    }

    /// When [`Conversation::tick`] should be called at the latest.
    pub fn wake_at(&self) -> Option<Duration> {
        let waiting = self.next > self.first;
        waiting.then_some(self.moved + self.resend)
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) {
        if self.wake_at().is_some_and(|at| at <= now) {
            self.next = self.first;
            self.moved = now;
            self.resend = (self.resend * 2).min(MAX_RESEND);
        }
    }

    /// Cuts waiting messages into pieces, as far as there is room.
    fn cut(&mut self) {
        while self.under_way.len() < WINDOW
            && let Some(message) = self.waiting.front()
        {
            let end = message.len().min(self.cut + self.piece);
            let kind = if end == message.len() { Kind::Last } else { Kind::Piece };
            let seq = self.first + self.under_way.len() as u64;
            let header = Header { seq, ..self.ends.header(kind) };
            self.under_way.push_back(header.datagram(message.get(self.cut..end).unwrap_or_default()));
            self.cut = end;
            if kind == Kind::Last {
                self.waiting.pop_front();
                self.cut = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(size: usize) -> [Conversation; 2] {
        let ends = |from| Ends { from, from_generation: 1, to_generation: 1, session: 9 };
        [Conversation::new(ends(0), size), Conversation::new(ends(1), size)]
    }

    /// Moves everything that `from` has to `to`, losing and repeating some of it.
    fn carry(from: &mut Conversation, to: &mut Conversation, now: Duration, lossy: &mut impl FnMut() -> u32) {
        let mut carried = Vec::new();
        while let Some(datagram) = from.datagram() {
            carried.push(datagram.to_vec());
            from.passed(now);
        }
        carried.extend(from.ack(true).inspect(|_| from.acked()));
        for datagram in carried {
            let (header, payload) = Header::read(&datagram).unwrap();
            for _ in 0..lossy() {
                to.received(&header, payload, now).unwrap();
            }
        }
    }

    #[test]
    fn messages_arrive_once_and_in_order_whatever_the_carriage_does() {
        for seed in 0..if cfg!(miri) { 2 } else { 200 } {
            let mut random = fastrand::Rng::with_seed(seed);
            let [mut one, mut two] = pair(HEADER + 1 + random.usize(..40));
            let messages: Vec<Vec<u8>> =
                (0..20).map(|_| (0..random.usize(..300)).map(|_| random.u8(..)).collect()).collect();
            let mut to_send = messages.iter().cloned().collect::<VecDeque<_>>();
            let (mut got, mut now) = (Vec::new(), Duration::ZERO);
            while got.len() < messages.len() || !one.is_done() {
                while one.has_room()
                    && let Some(message) = to_send.pop_front()
                {
                    one.send(message);
                }
                let mut lossy = || random.u32(..4).min(2);
                carry(&mut one, &mut two, now, &mut lossy);
                carry(&mut two, &mut one, now, &mut lossy);
                got.extend(std::iter::from_fn(|| two.take()));
                now += Duration::from_millis(50);
                one.tick(now);
                assert!(now < Duration::from_secs(3_000), "seed {seed} does not come to an end");
            }
            assert_eq!(got, messages, "seed {seed}");
        }
    }

    #[test]
    fn nothing_is_sent_twice_when_nothing_is_lost() {
        let [mut one, mut two] = pair(100);
        one.send(vec![7; 10_000]);
        let mut datagrams = 0;
        for round in 0..20 {
            let now = Duration::from_millis(round);
            carry(&mut one, &mut two, now, &mut || {
                datagrams += 1;
                1
            });
            carry(&mut two, &mut one, now, &mut || 1);
            one.tick(now);
        }
        assert_eq!(two.take(), Some(vec![7; 10_000]));
        assert!(one.is_done() && one.is_drained());
        assert_eq!(datagrams, 10_000usize.div_ceil(100 - HEADER));
    }

    #[test]
    fn a_stopped_receiver_delays_and_costs_little() {
        let [mut one, mut two] = pair(1_000);
        one.send(b"text".to_vec());
        let (mut sent, mut now) = (0, Duration::ZERO);
        while now < Duration::from_secs(60) {
            while one.datagram().is_some() {
                one.passed(now);
                sent += 1;
            }
            now = one.wake_at().unwrap();
            one.tick(now);
        }
        assert!(sent < 25, "{sent} datagrams in a minute");
        carry(&mut one, &mut two, now, &mut || 1);
        assert_eq!(two.take(), Some(b"text".to_vec()));
    }

    #[test]
    fn what_nobody_takes_is_put_off() {
        let [mut one, mut two] = pair(100);
        let mut now = Duration::ZERO;
        for _ in 0..4 * READY {
            if one.has_room() {
                one.send(vec![1]);
            }
            carry(&mut one, &mut two, now, &mut || 1);
            carry(&mut two, &mut one, now, &mut || 1);
            now += MAX_RESEND;
            one.tick(now);
        }
        assert_eq!(two.ready.len(), READY);
        assert!(!one.has_room());
    }

    #[test]
    fn hostile_datagrams_break_nothing() {
        let mut random = fastrand::Rng::with_seed(3);
        let [mut one, mut two] = pair(200);
        for _ in 0..if cfg!(miri) { 200 } else { 20_000 } {
            let kind = random.choice([Kind::Piece, Kind::Last, Kind::Ack]).unwrap();
            let number = |random: &mut fastrand::Rng| match random.u8(..4) {
                0 => random.u64(..),
                1 => u64::MAX,
                _ => random.u64(..4),
            };
            let ends = Ends { from: 0, from_generation: 1, to_generation: 1, session: 9 };
            let (seq, ack) = (number(&mut random), number(&mut random));
            let header = Header { seq, ack, ..ends.header(kind) };
            let _ = two.received(&header, &[0; 50], Duration::ZERO);
            two.take();
            if random.u8(..10) == 0 {
                two.send(vec![0; 500]);
            }
            while two.datagram().is_some() {
                two.passed(Duration::ZERO);
            }
        }
        let gone = Ends { from: 0, from_generation: 1, to_generation: 1, session: 9 }.header(Kind::Gone);
        assert_eq!(one.received(&gone, &[], Duration::ZERO), Err(Broken::Gone));
    }
}
