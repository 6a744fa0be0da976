//! A stream that counts, and that can be read without reading ahead.
//!
//! Two limits need it. A connection that has not said who it is may send 16 KiB in all, and its WebSocket
//! must be configured for messages of that size; once it is let in, for messages of 96 MiB. The WebSocket
//! library cannot change its configuration on the way, but a new WebSocket can be laid over the same stream,
//! if the old one has read nothing that belongs to the new one. So before the hello the gate is *narrow* and
//! hands over one byte at a time (from its own buffer): nothing is ever read beyond the message in hand.
//!
//! It reads much at once whatever room is offered, so that the WebSocket above it needs little, and it keeps a
//! buffer only while something is in it: an idle connection has none.
//!
//! And a message that never ends (fragments without payload, for ever) is ended by the allowance.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Read at once.
const CHUNK: usize = 16 << 10;

/// What is known of a gate from outside.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Bytes that may still be read before something must happen.
    allowance: AtomicU64,
    /// Bytes read so far.
    read: AtomicU64,
}

impl Meter {
    /// So many bytes may be read from now on.
    pub fn allow(&self, bytes: u64) {
        self.allowance.store(bytes, Ordering::Relaxed);
    }

    /// Bytes read so far: whether the other side is alive.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

/// A stream behind its gate.
#[derive(Debug)]
pub(crate) struct Gate<S> {
    stream: S,
    /// What was read and not yet taken, from `start` on; no room at all if that is nothing.
    buffer: Vec<u8>,
    start: usize,
    narrow: bool,
    meter: Arc<Meter>,
}

impl<S> Gate<S> {
    /// A wide gate through which so many bytes may come.
    pub fn new(stream: S, allowance: u64) -> Gate<S> {
        let meter = Meter { allowance: AtomicU64::new(allowance), read: AtomicU64::new(0) };
        Gate { stream, buffer: Vec::new(), start: 0, narrow: false, meter: Arc::new(meter) }
    }

    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// From now on one byte at a time, or as many as there are.
    pub fn set_narrow(&mut self, narrow: bool) {
        self.narrow = narrow;
    }

    /// What was read and not taken yet.
    pub fn buffered(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Takes so many of the buffered bytes.
    pub fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count);
        if self.start >= self.buffer.len() {
            (self.buffer, self.start) = (Vec::new(), 0);
        }
    }
}

impl<S: AsyncRead + Unpin> Gate<S> {
    /// Reads something if nothing is buffered. At the end of the stream nothing stays buffered.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.buffered().is_empty() {
            return Poll::Ready(Ok(()));
        }
        let allowance = self.meter.allowance.load(Ordering::Relaxed);
        if allowance == 0 {
            return Poll::Ready(Err(too_much()));
        }
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let most = usize::try_from(allowance).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = ReadBuf::uninit(chunk.get_mut(..most).unwrap_or_default());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk))?;
        (self.buffer, self.start) = (chunk.filled().to_vec(), 0);
        let count = chunk.filled().len() as u64;
        self.meter.allowance.fetch_sub(count, Ordering::Relaxed);
        self.meter.read.fetch_add(count, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

/// The error of a stream that used up its allowance.
fn too_much() -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, "more than may be sent here")
}

/// Whether that is the error of a stream that used up its allowance.
pub(crate) fn is_too_much(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::QuotaExceeded
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_fill(cx))?;
        let most = if self.narrow { 1 } else { out.remaining() };
        let bytes = self.buffered();
        let bytes = bytes.get(..most).unwrap_or(bytes);
        out.put_slice(bytes);
        let count = bytes.len();
        self.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_narrow_gate_hands_over_one_byte_at_a_time() {
        let mut gate = Gate::new(&b"abcdef"[..], 100);
        gate.set_narrow(true);
        let mut room = [0; 4];
        assert_eq!(gate.read(&mut room).await.unwrap(), 1);
        gate.set_narrow(false);
        assert_eq!(gate.read(&mut room).await.unwrap(), 4);
        assert_eq!(&room, b"bcde");
        assert_eq!(gate.buffered(), b"f");
        assert_eq!(gate.meter().read(), 6);
    }

    #[tokio::test]
    async fn no_more_than_the_allowance_comes_through() {
        let mut gate = Gate::new(&b"abcdef"[..], 4);
        let mut all = Vec::new();
        let error = gate.read_to_end(&mut all).await.unwrap_err();
        assert!(is_too_much(&error));
        assert_eq!(all, b"abcd");
        gate.meter().allow(100);
        gate.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"abcdef");
    }
}
