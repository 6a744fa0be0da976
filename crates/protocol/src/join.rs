//! The line a person copies from one machine to another.

use std::fmt;

use crate::limits;
use crate::percent;
use crate::token::Token;

/// A link to a shared folder, `syncline://HOST:PORT/#k=TOKEN`, or to one document of it,
/// `syncline://HOST:PORT/PATH#k=TOKEN`. Where TLS is spoken, `&fp=` and the SHA-256 of the hub's certificate
/// follow the token, or `&tls=1` if the system's authorities vouch for the certificate. The secret is in the
/// fragment, which no program sends over a network by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinLink {
    host: String,
    port: u16,
    token: Token,
    trust: Trust,
    document: Option<String>,
}

/// How a hub's end of a connection is known to be the hub's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Not at all, and everybody on the way can read along: for connections that stay on one machine.
    Plain,
    /// Its certificate has this SHA-256.
    Fingerprint([u8; 32]),
    /// The system's authorities vouch for its certificate and its name.
    Authorities,
}

/// What was given is not a join link.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LinkError {
    /// It does not begin as one.
    #[error("a join link begins with syncline:// (copy the whole line that `syncline serve` printed)")]
    Scheme,
    /// There is no host.
    #[error("the join link names no host: it has the form syncline://HOST:PORT/#k=TOKEN")]
    Host,
    /// There is no port, or none that can be.
    #[error("the join link names no port: it has the form syncline://HOST:PORT/#k=TOKEN")]
    Port,
    /// There is no token in the fragment, or not a whole one.
    #[error("the join link has no whole token after #k= (in a shell, put the link in quotes)")]
    Token,
    /// The fingerprint is not one.
    #[error("the join link has no whole fingerprint after &fp= (in a shell, put the link in quotes)")]
    Fingerprint,
    /// The document's path cannot be one.
    #[error("the path in the join link is no document's")]
    Path,
    /// There is something in it that a link does not have.
    #[error("the join link has something that a link has not; it has the form syncline://HOST:PORT/#k=TOKEN")]
    Surplus,
}

impl JoinLink {
    /// A link to a hub that listens at this host and port, without TLS. A host that is an IPv6 address may be
    /// given with or without brackets.
    pub fn new(host: &str, port: u16, token: Token) -> Result<JoinLink, LinkError> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let address = bare.parse::<std::net::Ipv6Addr>().is_ok();
        let name = !bare.is_empty()
            && bare.len() <= 253
            && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if !(address || name) {
            return Err(LinkError::Host);
        }
        if port == 0 {
            return Err(LinkError::Port);
        }
        Ok(JoinLink { host: bare.to_ascii_lowercase(), port, token, trust: Trust::Plain, document: None })
    }

    /// The same, over TLS or not.
    pub fn with_trust(self, trust: Trust) -> JoinLink {
        JoinLink { trust, ..self }
    }

    /// The same, to one document.
    pub fn to_document(self, path: &str) -> Result<JoinLink, LinkError> {
        if !is_document_path(path) {
            return Err(LinkError::Path);
        }
        Ok(JoinLink { document: Some(path.to_owned()), ..self })
    }

    /// Reads a link; spaces around it do not matter.
    pub fn parse(text: &str) -> Result<JoinLink, LinkError> {
        let rest = text.trim().strip_prefix("syncline://").ok_or(LinkError::Scheme)?;
        let (place, fragment) = rest.split_once('#').ok_or(LinkError::Token)?;
        let mut parts = fragment.split('&');
        let secret = parts.next().and_then(|part| part.strip_prefix("k=")).ok_or(LinkError::Token)?;
        let token = Token::parse(secret).map_err(|_| LinkError::Token)?;
        let trust = match (parts.next(), parts.next()) {
            (None, _) => Trust::Plain,
            (Some("tls=1"), None) => Trust::Authorities,
            (Some(part), None) => {
                let digits = part.strip_prefix("fp=").ok_or(LinkError::Surplus)?;
                Trust::Fingerprint(parse_fingerprint(digits).ok_or(LinkError::Fingerprint)?)
            }
            (Some(_), Some(_)) => return Err(LinkError::Surplus),
        };
        let (place, path) = place.split_once('/').unwrap_or((place, ""));
        if place.contains('?') || path.contains('?') {
            return Err(LinkError::Surplus);
        }
        let (host, port) = place.rsplit_once(':').ok_or(LinkError::Port)?;
        if host.contains(':') && !host.starts_with('[') {
            return Err(LinkError::Host);
        }
        let link = JoinLink::new(host, port.parse().map_err(|_| LinkError::Port)?, token)?.with_trust(trust);
        match path {
            "" => Ok(link),
            path => link.to_document(&percent::decode(path).ok_or(LinkError::Path)?),
        }
    }

    /// The host, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The secret in it.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// How the hub is known.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// The document it leads to; `None`: the folder.
    pub fn document(&self) -> Option<&str> {
        self.document.as_deref()
    }

    /// `HOST:PORT`, an IPv6 address in brackets; contains no secret and may be shown.
    pub fn place(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The address at which the hub speaks `replica`.
    pub fn replica_url(&self) -> String {
        self.url("replica")
    }

    /// The address at which the hub speaks `content`, with a hello.
    pub fn content_url(&self) -> String {
        self.url("content")
    }

    fn url(&self, protocol: &str) -> String {
        let scheme = if self.trust == Trust::Plain { "ws" } else { "wss" };
        format!("{scheme}://{}/{protocol}", self.place())
    }
}

/// Reads the 64 hexadecimal digits of a SHA-256; colons between them are ignored.
pub fn parse_fingerprint(text: &str) -> Option<[u8; 32]> {
    let mut digits = text.bytes().filter(|byte| *byte != b':').map(|byte| char::from(byte).to_digit(16));
    let mut bytes = [0; 32];
    for byte in &mut bytes {
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    digits.next().is_none().then_some(bytes)
}

/// The 64 hexadecimal digits of a SHA-256.
pub fn fingerprint_text(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a text can be the path of a document: relative, of plain parts.
pub fn is_document_path(path: &str) -> bool {
    path.len() <= limits::MAX_PATH
        && !path.chars().any(|c| c.is_control() || c == '\\')
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The whole link, secret included.
impl fmt::Display for JoinLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = percent::encode(self.document.as_deref().unwrap_or_default());
        write!(f, "syncline://{}/{path}#k={}", self.place(), self.token.secret())?;
        match &self.trust {
            Trust::Plain => Ok(()),
            Trust::Authorities => f.write_str("&tls=1"),
            Trust::Fingerprint(bytes) => write!(f, "&fp={}", fingerprint_text(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_as_it_was_written() {
        for host in ["127.0.0.1", "localhost", "::1", "[fe80::1]", "my-host.example"] {
            let link = JoinLink::new(host, 7000, Token::from_random([3; 32])).unwrap();
            assert_eq!(JoinLink::parse(&format!("  {link}\n")), Ok(link.clone()));
            assert!(link.replica_url().starts_with("ws://"));
            assert!(!link.place().contains(&link.token().secret()));
        }
        let link = JoinLink::new("::1", 80, Token::from_random([3; 32])).unwrap();
        assert_eq!(link.replica_url(), "ws://[::1]:80/replica");
    }

    #[test]
    fn a_link_over_tls_or_to_a_document_is_read_as_it_was_written() {
        let plain = JoinLink::new("10.0.0.1", 7000, Token::from_random([3; 32])).unwrap();
        for trust in [Trust::Plain, Trust::Authorities, Trust::Fingerprint([0xab; 32])] {
            for path in ["a.txt", "a b/ä#&%.txt", "f?"] {
                let link = plain.clone().with_trust(trust).to_document(path).unwrap();
                assert_eq!(JoinLink::parse(&link.to_string()), Ok(link.clone()), "{link}");
                assert_eq!(link.document(), Some(path));
                let secure = trust != Trust::Plain;
                assert_eq!(link.replica_url().starts_with("wss://"), secure);
            }
        }
        for wrong in ["", "/a", "a//b", "../a", "a\\b", "a\nb"] {
            assert_eq!(plain.clone().to_document(wrong), Err(LinkError::Path), "{wrong:?}");
        }
    }

    #[test]
    fn a_fingerprint_is_read_as_other_programs_write_it() {
        let colons = "AB:".repeat(31) + "AB";
        assert_eq!(parse_fingerprint(&colons), Some([0xab; 32]));
        assert_eq!(parse_fingerprint(&fingerprint_text(&[7; 32])), Some([7; 32]));
        for wrong in ["", "ab", &"ab".repeat(33), &"zz".repeat(32)] {
            assert_eq!(parse_fingerprint(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn each_mistake_has_its_own_message() {
        let secret = Token::from_random([3; 32]).secret();
        let cases = [
            ("http://a:1/#k=".to_owned() + &secret, LinkError::Scheme),
            (format!("syncline://a:1/?k={secret}"), LinkError::Token),
            (format!("syncline://a:1/#k={}", &secret[..20]), LinkError::Token),
            (format!("syncline://a:1/x?y#k={secret}"), LinkError::Surplus),
            (format!("syncline://a:1?x#k={secret}"), LinkError::Surplus),
            (format!("syncline://a:1/#k={secret}&x=y"), LinkError::Surplus),
            (format!("syncline://a:1/#k={secret}&tls=1&x"), LinkError::Surplus),
            (format!("syncline://a:1/#k={secret}&fp=12"), LinkError::Fingerprint),
            (format!("syncline://a:1/#k={secret}&fp={}0", "12".repeat(32)), LinkError::Fingerprint),
            (format!("syncline://a:1/../x#k={secret}"), LinkError::Path),
            (format!("syncline://a:1/a%2f..%2fb#k={secret}"), LinkError::Path),
            (format!("syncline://a:1/%zz#k={secret}"), LinkError::Path),
            (format!("syncline://a/#k={secret}"), LinkError::Port),
            (format!("syncline://a:0/#k={secret}"), LinkError::Port),
            (format!("syncline://a:70000/#k={secret}"), LinkError::Port),
            (format!("syncline://:1/#k={secret}"), LinkError::Host),
            (format!("syncline://u@a:1/#k={secret}"), LinkError::Host),
            (format!("syncline://a b:1/#k={secret}"), LinkError::Host),
        ];
        for (text, error) in cases {
            assert_eq!(JoinLink::parse(&text), Err(error), "{text}");
        }
    }
}
