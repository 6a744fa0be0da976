//! Who may do what. Every check of a secret is made here and nowhere else.

use std::net::SocketAddr;

use syncline_protocol::{ErrorCode, ProtocolError, Token};

use crate::error::NetError;

/// The secrets of a hub, as loaded from its 0600 file by whoever runs it.
#[derive(Clone, Debug)]
pub struct Access {
    token: Token,
    content_capability: Token,
    host_names: Vec<String>,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// Between hubs: everything.
    Replica,
    /// Whole texts as JSON.
    Content,
    /// What changed, as JSON, both ways.
    Diffsync,
}

/// What somebody shows to be let in.
#[derive(Clone, Copy)]
pub enum Presented<'a> {
    /// The token of a hello.
    Token(&'a str),
    /// The part of an address that is a secret.
    Capability(&'a str),
}

/// Somebody who was let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Where to.
    pub channel: Channel,
    /// A hash of the secret that let them in: what is kept for them is kept for who has that secret.
    pub id: [u8; 32],
}

/// Somebody who was not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this token does not let in here")]
pub struct Denied;

impl From<Denied> for ProtocolError {
    fn from(denied: Denied) -> ProtocolError {
        ProtocolError::new(ErrorCode::Unauthorized, denied.to_string())
    }
}

impl Access {
    /// Lets in whoever shows `token`, and to `content` also whoever's address contains `content_capability`
    /// (a separate secret: an address is seen by more eyes than a token).
    pub fn new(token: Token, content_capability: Token) -> Access {
        Access { token, content_capability, host_names: Vec::new() }
    }

    /// Also accepts requests for these host names, besides addresses and `localhost`. A page of another site
    /// whose name was made to point here (DNS rebinding) is refused by its name.
    pub fn with_host_names(mut self, names: Vec<String>) -> Access {
        self.host_names = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        self
    }

    /// The token of the join link.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// The path at which `content` works as it is.
    pub fn content_path(&self) -> String {
        format!("/content/{}", self.content_capability.secret())
    }

    pub(crate) fn knows_host(&self, name: &str) -> bool {
        self.host_names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Whether what is presented lets in, in constant time.
    pub fn allow(&self, channel: Channel, presented: Presented<'_>) -> Result<Identity, Denied> {
        let (secret, text) = match (channel, presented) {
            (_, Presented::Token(text)) => (&self.token, text),
            (Channel::Content, Presented::Capability(text)) => (&self.content_capability, text),
            (Channel::Replica | Channel::Diffsync, Presented::Capability(_)) => return Err(Denied),
        };
        let presented = Token::parse(text).map_err(|_| Denied)?;
        if secret.admits(&presented) { Ok(Identity { channel, id: secret.hash() }) } else { Err(Denied) }
    }
}

/// Whether it is safe to listen there: without TLS only on the machine itself.
pub fn check_bind(address: SocketAddr) -> Result<(), NetError> {
    if address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(NetError::PublicWithoutTls { address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_secret_opens_its_own_door() {
        let (token, capability) = (Token::from_random([1; 32]), Token::from_random([2; 32]));
        let access = Access::new(token.clone(), capability.clone());
        let (token, capability) = (token.secret(), capability.secret());
        let allow = |channel, presented| access.allow(channel, presented).is_ok();
        assert!(allow(Channel::Replica, Presented::Token(&token)));
        assert!(allow(Channel::Content, Presented::Token(&token)));
        assert!(allow(Channel::Content, Presented::Capability(&capability)));
        assert!(!allow(Channel::Replica, Presented::Capability(&capability)));
        assert!(allow(Channel::Diffsync, Presented::Token(&token)));
        assert!(!allow(Channel::Diffsync, Presented::Capability(&capability)));
        assert!(!allow(Channel::Replica, Presented::Token(&capability)));
        assert!(!allow(Channel::Content, Presented::Capability(&token)));
        for wrong in ["", "x", &token[..42], &token.to_lowercase()] {
            assert!(!allow(Channel::Replica, Presented::Token(wrong)));
        }
        assert!(!format!("{access:?}").contains(&token));
    }

    #[test]
    fn only_loopback_is_bound_without_tls() {
        for address in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:7000", "[::ffff:127.0.0.1]:1"] {
            assert!(check_bind(address.parse().unwrap()).is_ok(), "{address}");
        }
        for address in ["0.0.0.0:0", "[::]:7000", "192.168.1.2:1", "[fe80::1]:1"] {
            let error = check_bind(address.parse().unwrap()).unwrap_err();
            assert!(error.to_string().contains("SSH tunnel"), "{address}: {error}");
        }
    }
}
