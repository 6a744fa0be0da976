//! The line a person copies from one machine to another.

use std::fmt;

use crate::token::Token;

/// A link to a shared folder: `syncline://HOST:PORT/#k=TOKEN`. The secret is in the fragment, which no
/// program sends over a network by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinLink {
    host: String,
    port: u16,
    token: Token,
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
    /// There is something in it that a link does not have.
    #[error("the join link has a path or a query; it has the form syncline://HOST:PORT/#k=TOKEN")]
    Surplus,
}

impl JoinLink {
    /// A link to a hub that listens at this host and port. A host that is an IPv6 address may be given with
    /// or without brackets.
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
        Ok(JoinLink { host: bare.to_ascii_lowercase(), port, token })
    }

    /// Reads a link; spaces around it do not matter.
    pub fn parse(text: &str) -> Result<JoinLink, LinkError> {
        let rest = text.trim().strip_prefix("syncline://").ok_or(LinkError::Scheme)?;
        let (place, fragment) = rest.split_once('#').ok_or(LinkError::Token)?;
        let secret = fragment.strip_prefix("k=").ok_or(LinkError::Token)?;
        let token = Token::parse(secret).map_err(|_| LinkError::Token)?;
        let (place, path) = match place.find(['/', '?']) {
            Some(at) => place.split_at(at),
            None => (place, ""),
        };
        if !matches!(path, "" | "/") {
            return Err(LinkError::Surplus);
        }
        let (host, port) = place.rsplit_once(':').ok_or(LinkError::Port)?;
        if host.contains(':') && !host.starts_with('[') {
            return Err(LinkError::Host);
        }
        JoinLink::new(host, port.parse().map_err(|_| LinkError::Port)?, token)
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
        format!("ws://{}/replica", self.place())
    }
}

/// The whole link, secret included.
impl fmt::Display for JoinLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "syncline://{}/#k={}", self.place(), self.token.secret())
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
    fn each_mistake_has_its_own_message() {
        let secret = Token::from_random([3; 32]).secret();
        let cases = [
            ("http://a:1/#k=".to_owned() + &secret, LinkError::Scheme),
            (format!("syncline://a:1/?k={secret}"), LinkError::Token),
            (format!("syncline://a:1/#k={}", &secret[..20]), LinkError::Token),
            (format!("syncline://a:1/x#k={secret}"), LinkError::Surplus),
            (format!("syncline://a:1?x#k={secret}"), LinkError::Surplus),
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
