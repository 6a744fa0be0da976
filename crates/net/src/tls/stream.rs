//! A TCP connection, with TLS over it or without.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use syncline_protocol::{Trust, limits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::{Certificate, trust};
use crate::head::{PLAIN, refusal_bytes};

/// A connection to the other side.
#[derive(Debug)]
pub struct Stream(Carrier);

#[derive(Debug)]
enum Carrier {
    Plain(TcpStream),
    // In a box: the state of TLS is large.
    Tls(Box<TlsStream<TcpStream>>),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Stream {
        // Keystrokes are small: waiting to fill a packet would cost 40 ms each. A stream that cannot be told so
        // is slower, no more.
        let _ = stream.set_nodelay(true);
        Stream(Carrier::Plain(stream))
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody is there, or the network does not lead there.
    #[error("cannot reach it: {0}")]
    Unreachable(io::Error),
    /// It took too long.
    #[error("it did not answer within 10 s")]
    Slow,
    /// It is another certificate than the one that is pinned.
    #[error(
        "its certificate is not the one in the link: somebody is in between, or it has a new one (then ask for a new \
         link)"
    )]
    OtherCertificate,
    /// Nobody vouches for the certificate.
    #[error("its certificate is not good: {0}")]
    BadCertificate(String),
    /// What answers speaks something else.
    #[error("it does not speak TLS, as the link says")]
    NoTls,
    /// TLS cannot be spoken here, or broke off.
    #[error("no TLS with it: {0}")]
    Failed(String),
}

impl ConnectError {
    /// Whether it is what was dialed, and not the network, that must change first.
    pub fn is_lasting(&self) -> bool {
        matches!(self, ConnectError::OtherCertificate | ConnectError::BadCertificate(_) | ConnectError::NoTls)
    }
}

/// Dials a hub, and makes sure that it is the one that `trust` means. `host` is a name or an address, an IPv6
/// address without brackets.
///
/// # Errors
/// Why there is no connection.
pub async fn connect(host: &str, port: u16, trust: Trust) -> Result<Stream, ConnectError> {
    let config = trust::client_config(trust).map_err(|error| ConnectError::Failed(error.to_string()))?;
    let dial = async {
        let stream = TcpStream::connect((host, port)).await.map_err(ConnectError::Unreachable)?;
        let Some(config) = config else { return Ok(Stream::from(stream)) };
        let _ = stream.set_nodelay(true);
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| ConnectError::Failed(error.to_string()))?;
        let connected = Box::pin(TlsConnector::from(config).connect(name, stream)).await;
        let stream = connected.map_err(|error| refused(&error, trust))?;
        Ok(Stream(Carrier::Tls(Box::new(stream.into()))))
    };
    match timeout(limits::HEAD_TIMEOUT, dial).await {
        Ok(dialed) => dialed,
        Err(_) => Err(ConnectError::Slow),
    }
}

/// What a failed handshake means.
fn refused(error: &io::Error, trust: Trust) -> ConnectError {
    use tokio_rustls::rustls::Error;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match (inner, trust) {
        (Some(Error::InvalidCertificate(_)), Trust::Fingerprint(_)) => ConnectError::OtherCertificate,
        (Some(Error::InvalidCertificate(why)), _) => ConnectError::BadCertificate(why.to_string()),
        (Some(Error::InvalidMessage(_)), _) => ConnectError::NoTls,
        _ => ConnectError::Failed(error.to_string()),
    }
}

/// How long such a one is read from, so that the answer arrives before the reset.
const LINGER: Duration = Duration::from_secs(1);

/// The accepting side; `None` if the other side does not do its part, in time.
pub(crate) async fn accept(stream: TcpStream, certificate: Option<&Certificate>) -> Option<Stream> {
    let Some(certificate) = certificate else { return Some(Stream::from(stream)) };
    let _ = stream.set_nodelay(true);
    let accepting = async {
        let mut first = [0];
        // A TLS handshake begins with this byte, which no message of ours and no HTTP request does.
        if stream.peek(&mut first).await.is_ok_and(|count| count == 1) && first != [0x16] {
            say_that_it_is_tls(stream).await;
            return None;
        }
        // In a box: otherwise every connection would keep the room of a handshake.
        let stream = Box::pin(TlsAcceptor::from(certificate.config()).accept(stream)).await.ok()?;
        Some(Stream(Carrier::Tls(Box::new(stream.into()))))
    };
    timeout(limits::HEAD_TIMEOUT, accepting).await.unwrap_or_default()
}

async fn say_that_it_is_tls(mut stream: TcpStream) {
    let _ = timeout(LINGER, async {
        stream.write_all(&refusal_bytes(&PLAIN)).await?;
        stream.shutdown().await?;
        let (mut rest, mut count) = ([0; 1024], 0);
        while count < (64 << 10) {
            match stream.read(&mut rest).await? {
                0 => break,
                more => count += more,
            }
        }
        io::Result::Ok(())
    })
    .await;
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Carrier::Plain(stream) => Pin::new(stream).poll_read(cx, out),
            Carrier::Tls(stream) => Pin::new(stream).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Carrier::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Carrier::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Carrier::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Carrier::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Carrier::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Carrier::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
