//! The secrets of a hub and the tokens its owner made, and whose is what somebody shows. What its holder may
//! do is decided by [`syncline_protocol::access::decide`]; that is asked in [`Pass`](crate::pass::Pass).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use syncline_protocol::Token;
use syncline_protocol::access::{Ask, Channel, Grant, Holder, Refusal, Verb, decide};
use tokio::sync::watch;

/// The tokens that the owner made, by the hash of their secret. Immutable: what changes is a new one.
#[derive(Clone, Default, Debug)]
pub struct Grants(HashMap<[u8; 32], Grant>);

impl Grants {
    /// These tokens. Of two with the same secret the last one counts.
    pub fn new(grants: impl IntoIterator<Item = Grant>) -> Grants {
        Grants(grants.into_iter().map(|grant| (grant.hash, grant)).collect())
    }

    fn get(&self, hash: &[u8; 32]) -> Option<&Grant> {
        self.0.get(hash)
    }
}

/// The secrets of a hub, as loaded from its 0600 files by whoever runs it.
#[derive(Clone, Debug)]
pub struct Access {
    token: Token,
    content_capability: Token,
    host_names: Vec<String>,
    /// Changes while the hub runs: who is taken something away loses it at once.
    grants: watch::Receiver<Arc<Grants>>,
    clock: fn() -> u64,
}

/// What somebody shows to be let in.
#[derive(Clone, Copy)]
pub(crate) enum Presented<'a> {
    /// The token of a hello.
    Token(&'a str),
    /// The part of an address that is a secret.
    Capability(&'a str),
}

/// Whose a secret is. Kept instead of the secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// The owner's.
    Owner,
    /// That of the `content` address.
    Capability,
    /// A token's, by its hash.
    Token([u8; 32]),
}

impl Access {
    /// Lets in whoever shows `token`, the owner's, and to `content` also whoever's address contains
    /// `content_capability` (a separate secret: an address is seen by more eyes than a token).
    pub fn new(token: Token, content_capability: Token) -> Access {
        // Without its sender it never changes.
        let (_, grants) = watch::channel(Arc::default());
        Access { token, content_capability, host_names: Vec::new(), grants, clock: now_ms }
    }

    /// Also lets in the tokens that the owner made, each as far as it goes. What the sender says later holds
    /// at once, on connections that stand as well.
    pub fn with_grants(mut self, grants: watch::Receiver<Arc<Grants>>) -> Access {
        self.grants = grants;
        self
    }

    /// Also accepts requests for these host names, besides addresses and `localhost`. A page of another site
    /// whose name was made to point here (DNS rebinding) is refused by its name.
    pub fn with_host_names(mut self, names: Vec<String>) -> Access {
        self.host_names = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        self
    }

    /// The token of the owner's join link.
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

    /// Whose the secret is, compared in constant time; for tokens the owner made, by a hash of it.
    pub(crate) fn key_of(&self, presented: Presented<'_>) -> Option<Key> {
        match presented {
            Presented::Capability(text) => {
                let shown = Token::parse(text).ok()?;
                self.content_capability.admits(&shown).then_some(Key::Capability)
            }
            Presented::Token(text) => {
                let shown = Token::parse(text).ok()?;
                if self.token.admits(&shown) {
                    return Some(Key::Owner);
                }
                let hash = shown.hash();
                self.grants.borrow().get(&hash).map(|_| Key::Token(hash))
            }
        }
    }

    /// What whoever is known by this key may do now.
    pub(crate) fn decide(&self, key: Option<Key>, ask: Ask<'_>) -> Result<(), Refusal> {
        let now = (self.clock)();
        match key {
            None => decide(Holder::Nobody, ask, now),
            Some(Key::Owner) => decide(Holder::Owner, ask, now),
            Some(Key::Capability) => decide(Holder::Capability, ask, now),
            Some(Key::Token(hash)) => {
                let grants = self.grants.borrow();
                // A token that is gone from the list was taken back, however that was done.
                let grant = grants.get(&hash).ok_or(Refusal::Revoked)?;
                decide(Holder::Token(grant), ask, now)
            }
        }
    }

    /// The document that is meant when none is named: a token for one document means that one.
    pub(crate) fn own_document(&self, key: Option<Key>) -> Option<String> {
        let Some(Key::Token(hash)) = key else { return None };
        match &self.grants.borrow().get(&hash)?.scope {
            syncline_protocol::access::Scope::Document(path) => Some(path.clone()),
            syncline_protocol::access::Scope::Folder => None,
        }
    }

    /// A hash of the secret: what is kept for its holder is kept for who has that secret.
    pub(crate) fn identity(&self, key: Key) -> [u8; 32] {
        match key {
            Key::Owner => self.token.hash(),
            Key::Capability => self.content_capability.hash(),
            Key::Token(hash) => hash,
        }
    }

    /// Waits until a connection's right to be there has ended, and why. Cancel-safe.
    pub(crate) async fn ended(&self, key: Key, channel: Channel) -> Refusal {
        let Key::Token(hash) = key else { return std::future::pending().await };
        let mut grants = self.grants.clone();
        loop {
            grants.mark_unchanged();
            let ask = Ask { channel, verb: Verb::Connect, document: None };
            if let Err(refusal) = self.decide(Some(key), ask) {
                return refusal;
            }
            let end = grants.borrow().get(&hash).and_then(|grant| grant.expires_ms);
            let rest = end.map(|end| Duration::from_millis(end.saturating_sub((self.clock)())));
            // The clock may be set meanwhile.
            let rest = rest.map_or(LOOK_AGAIN, |rest| rest.min(LOOK_AGAIN));
            tokio::select! {
                changed = grants.changed() => if changed.is_err() {
                    // Nobody will change anything any more; the time still runs.
                    tokio::time::sleep(rest).await;
                },
                () = tokio::time::sleep(rest) => {}
            }
        }
    }
}

/// How often a token's time is looked at, at least.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_secret_opens_its_own_door() {
        let (token, capability) = (Token::from_random([1; 32]), Token::from_random([2; 32]));
        let access = Access::new(token.clone(), capability.clone());
        let (token, capability) = (token.secret(), capability.secret());
        let key = |presented| access.key_of(presented);
        assert_eq!(key(Presented::Token(&token)), Some(Key::Owner));
        assert_eq!(key(Presented::Capability(&capability)), Some(Key::Capability));
        assert_eq!(key(Presented::Capability(&token)), None);
        assert_eq!(key(Presented::Token(&capability)), None);
        for wrong in ["", "x", &token[..42], &token.to_lowercase()] {
            assert_eq!(key(Presented::Token(wrong)), None);
        }
        assert!(!format!("{access:?}").contains(&token));
        let ask = |channel| Ask { channel, verb: Verb::Connect, document: None };
        assert_eq!(access.decide(Some(Key::Owner), ask(Channel::Replica)), Ok(()));
        assert_eq!(access.decide(Some(Key::Capability), ask(Channel::Diffsync)), Err(Refusal::Unknown));
        assert_eq!(access.decide(None, ask(Channel::Content)), Err(Refusal::Unknown));
    }
}
