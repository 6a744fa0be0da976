//! A stream of lines within its limits: one JSON message a line, alive or closed.
//!
//! An idle connection keeps no buffer: what is read passes through one on the stack, and only an unfinished
//! line is kept. Reading can be given up at any point and goes on where it was.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use syncline_protocol::{ErrorCode, ProtocolError, limits};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::head::gone;
use crate::socket::Broken;
use crate::tls::Stream;

/// Read at once.
const CHUNK: usize = 16 << 10;

/// An unfinished line that needed more room than this gives it back when it is finished.
const KEPT: usize = 4 << 10;

/// How long a refused connection is read from, so that the refusal arrives before the reset.
const LINGER: Duration = Duration::from_secs(1);

/// A stream of lines.
pub(crate) struct Lines {
    stream: Stream,
    /// What came and was not taken yet: perhaps some lines, and the beginning of another.
    unread: Vec<u8>,
    /// So many bytes of it are known to hold no end of a line.
    searched: usize,
    limit: usize,
    /// Bytes that came.
    read: u64,
}

impl Lines {
    /// Lines of at most `limit` bytes.
    pub fn new(stream: Stream, limit: usize) -> Lines {
        Lines { stream, unread: Vec::new(), searched: 0, limit, read: 0 }
    }

    /// From now on lines may have so many bytes.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// How many bytes came so far.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// The next line that is not empty, without its end. Cancel-safe.
    pub async fn next(&mut self) -> Result<String, Broken> {
        loop {
            while let Some(line) = self.take_line()? {
                if !line.trim_ascii().is_empty() {
                    return text(line);
                }
            }
            match poll_fn(|cx| self.poll_fill(cx)).await {
                Ok(0) => return Err(Broken::Gone("the other side closed".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(Broken::Gone(gone(&error))),
            }
        }
    }

    /// Takes a whole line, if one is there.
    fn take_line(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let new = self.unread.get(self.searched..).unwrap_or_default();
        let end = new.iter().position(|byte| *byte == b'\n').map(|at| self.searched + at);
        if end.unwrap_or(self.unread.len()) > self.limit {
            let message = format!("a line of more than {} bytes", self.limit);
            return Err(Broken::Rule(ProtocolError::new(ErrorCode::TooLarge, message)));
        }
        let Some(end) = end else {
            self.searched = self.unread.len();
            return Ok(None);
        };
        self.searched = 0;
        let line = if end + 1 == self.unread.len() {
            // The usual case: one whole line. It is handed over with its room.
            let mut line = std::mem::take(&mut self.unread);
            line.truncate(end);
            line
        } else {
            let rest = self.unread.split_off(end + 1);
            let mut line = std::mem::replace(&mut self.unread, rest);
            line.truncate(end);
            line
        };
        if self.unread.is_empty() && self.unread.capacity() > KEPT {
            self.unread = Vec::new();
        }
        Ok(Some(line))
    }

    /// Reads what is there. The buffer is on the stack only while it is read: nobody waits with one.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk))?;
        self.unread.extend_from_slice(chunk.filled());
        self.read += chunk.filled().len() as u64;
        Poll::Ready(Ok(chunk.filled().len()))
    }

    /// Sends a line. Not cancel-safe: whoever gives it up must close.
    pub async fn send(&mut self, mut line: String) -> Result<(), Broken> {
        line.push('\n');
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            let written = match timeout(limits::PROGRESS_CLOSE, self.stream.write(rest)).await {
                Ok(Ok(written)) => written,
                Ok(Err(error)) => return Err(Broken::Gone(gone(&error))),
                Err(_) => return Err(Broken::Gone("it took nothing for 30 s".to_owned())),
            };
            rest = rest.get(written..).unwrap_or_default();
        }
        // TLS keeps what it has encrypted.
        match timeout(limits::PROGRESS_CLOSE, self.stream.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Broken::Gone(gone(&error))),
            Err(_) => Err(Broken::Gone("it took nothing for 30 s".to_owned())),
        }
    }

    /// Closes, and reads on for a moment: closing with unread bytes resets the connection, and the last line
    /// would be lost with it.
    pub async fn close(mut self) {
        let _ = timeout(LINGER, async {
            self.stream.shutdown().await?;
            loop {
                self.unread.clear();
                if poll_fn(|cx| self.poll_fill(cx)).await? == 0 {
                    return io::Result::Ok(());
                }
            }
        })
        .await;
    }
}

/// Without the carriage return that some programs send.
fn text(mut line: Vec<u8>) -> Result<String, Broken> {
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    let not_text = |_| Broken::Rule(ProtocolError::new(ErrorCode::BadMessage, "a line that is not UTF-8"));
    String::from_utf8(line).map_err(not_text)
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair(limit: usize) -> (Lines, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialed = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Lines::new(listener.accept().await.unwrap().0.into(), limit), dialed)
    }

    #[tokio::test]
    async fn lines_come_whole_however_they_are_cut() {
        let (mut lines, mut other) = pair(100).await;
        other.write_all("één\r\n\n  \nzwei\ndr".as_bytes()).await.unwrap();
        assert_eq!(lines.next().await.unwrap(), "één");
        assert_eq!(lines.next().await.unwrap(), "zwei");
        {
            // Given up in the middle of a line, again and again: nothing is lost.
            for part in ["e", "i", "!"] {
                let next = lines.next();
                tokio::pin!(next);
                tokio::select! {
                    biased;
                    line = &mut next => panic!("{line:?}"),
                    sent = other.write_all(part.as_bytes()) => sent.unwrap(),
                }
            }
        }
        other.write_all(b"\n").await.unwrap();
        assert_eq!(lines.next().await.unwrap(), "drei!");
        assert_eq!(lines.read(), "één\r\n\n  \nzwei\ndrei!\n".len() as u64);
        drop(other);
        assert!(matches!(lines.next().await, Err(Broken::Gone(_))));
    }

    #[tokio::test]
    async fn a_line_that_never_ends_is_refused_at_its_limit() {
        let (mut lines, mut other) = pair(10).await;
        other.write_all(b"0123456789\n01234567890").await.unwrap();
        assert_eq!(lines.next().await.unwrap(), "0123456789");
        let Err(Broken::Rule(error)) = lines.next().await else { panic!("no error") };
        assert_eq!(error.code, ErrorCode::TooLarge);
        let (mut lines, mut other) = pair(10).await;
        other.write_all(b"\xff\n").await.unwrap();
        assert!(matches!(lines.next().await, Err(Broken::Rule(_))));
    }
}
