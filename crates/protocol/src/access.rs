//! Who may do what: one pure function, [`decide`], that every channel asks.
//!
//! A *holder* has shown something (nothing, the owner's token, the capability of the `content` address, or a
//! token that the owner made). It asks, on a *channel*, to use a *verb* on a document. The answer is yes, or a
//! [`Refusal`] with an error of its own. There is no other place where a role, a scope or an expiry is looked
//! at; the table of all answers is in `docs/protocols/access.md` and tested against a real listener.

use crate::error::{ErrorCode, ProtocolError};

/// What is spoken on a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Channel {
    /// Between hubs: the whole history of the whole folder, other people's edits included.
    Replica,
    /// Whole texts as JSON.
    Content,
    /// What changed, as JSON, both ways.
    Diffsync,
    /// The socket in `.syncline/`, through which the owner talks to the running hub.
    Control,
}

impl Channel {
    /// All channels.
    pub const ALL: &[Channel] = &[Channel::Replica, Channel::Content, Channel::Diffsync, Channel::Control];

    /// The verbs that this channel has.
    pub fn verbs(self) -> &'static [Verb] {
        match self {
            Channel::Replica => &[Verb::Connect, Verb::List, Verb::Read, Verb::Edit, Verb::Arrange],
            Channel::Content => &[Verb::Connect, Verb::List, Verb::Read, Verb::Edit],
            Channel::Diffsync => &[Verb::Connect, Verb::Read, Verb::Edit],
            Channel::Control => &[Verb::Connect, Verb::List, Verb::Edit, Verb::Arrange, Verb::Administer],
        }
    }

    /// How it is called in documents and messages.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Replica => "replica",
            Channel::Content => "content",
            Channel::Diffsync => "diffsync",
            Channel::Control => "control",
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Verb {
    /// To be let in at all.
    Connect,
    /// To learn which documents there are.
    List,
    /// To get a document's text or history.
    Read,
    /// To change a document's text.
    Edit,
    /// To create, rename, delete or restore documents.
    Arrange,
    /// To decide about held deletions, tokens and the like.
    Administer,
}

impl Verb {
    /// All verbs.
    pub const ALL: &[Verb] =
        &[Verb::Connect, Verb::List, Verb::Read, Verb::Edit, Verb::Arrange, Verb::Administer];

    /// The least role that has it.
    fn least(self) -> Role {
        match self {
            Verb::Connect | Verb::List | Verb::Read => Role::Read,
            Verb::Edit | Verb::Arrange => Role::Write,
            Verb::Administer => Role::Admin,
        }
    }

    /// How it is called in documents and messages.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Connect => "connect",
            Verb::List => "list",
            Verb::Read => "read",
            Verb::Edit => "edit",
            Verb::Arrange => "arrange",
            Verb::Administer => "administer",
        }
    }
}

/// How much a token allows; each role has what the one before it has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Role {
    /// Look on.
    Read,
    /// Change texts; with the whole folder in scope also everything that a joined folder does.
    Write,
    /// Decide for the owner.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: &[Role] = &[Role::Read, Role::Write, Role::Admin];

    /// How it is written.
    pub fn name(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Write => "write",
            Role::Admin => "admin",
        }
    }

    /// The role of that name.
    pub fn of(name: &str) -> Option<Role> {
        Role::ALL.iter().copied().find(|role| role.name() == name)
    }
}

/// What a token is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Everything in the folder.
    Folder,
    /// The document at this path, and nothing else: not even that there is something else.
    Document(String),
}

/// A token that the owner made, without its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The hash of the secret ([`Token::hash`](crate::Token::hash)).
    pub hash: [u8; 32],
    /// What people call it.
    pub name: String,
    /// How much it allows.
    pub role: Role,
    /// Where.
    pub scope: Scope,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// From when on it does not let in any more.
    pub expires_ms: Option<u64>,
    /// When the owner took it back.
    pub revoked_ms: Option<u64>,
}

/// How a token stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It lets in.
    Valid,
    /// It did, until its time was over.
    Expired,
    /// It did, until the owner took it back.
    Revoked,
}

impl Grant {
    /// How it stands at a moment.
    pub fn standing(&self, now_ms: u64) -> Standing {
        if self.revoked_ms.is_some() {
            Standing::Revoked
        } else if self.expires_ms.is_some_and(|end| now_ms >= end) {
            Standing::Expired
        } else {
            Standing::Valid
        }
    }

    /// The twelve hexadecimal digits by which it is named on a command line.
    pub fn id(&self) -> String {
        self.hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Holder<'a> {
    /// Somebody who has shown nothing, or nothing that is known.
    Nobody,
    /// Who has the token in `.syncline/token`, or is the account that the hub runs as.
    Owner,
    /// Who has the capability of the `content` address: the folder's texts, to read and to write.
    Capability,
    /// Who has a token that the owner made.
    Token(&'a Grant),
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Where.
    pub channel: Channel,
    /// What is to be done.
    pub verb: Verb,
    /// To which document, by its path; `None` for what concerns the folder, or no document yet.
    pub document: Option<&'a str>,
}

/// Why not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Nothing was shown, or nothing that is known here.
    #[error("this token does not let in here")]
    Unknown,
    /// The token's time is over.
    #[error("this token has expired")]
    Expired,
    /// The owner took the token back.
    #[error("this token was revoked")]
    Revoked,
    /// The channel is not for this holder, whatever is asked there.
    #[error("this token is not for this address")]
    WrongChannel,
    /// A joined folder sends changes, its own and others': it needs more than reading.
    #[error("this token may read and not change: a folder cannot be joined with it")]
    JoinNeedsWrite,
    /// A joined folder is the whole folder.
    #[error("this token is for one document: a folder cannot be joined with it")]
    JoinNeedsFolder,
    /// The role is too small.
    #[error("this token may read and not change")]
    OnlyReads,
    /// The role is too small.
    #[error("this token may read and change texts, not decide for the owner")]
    NotAdmin,
    /// The scope is another document. Said alike whether there is such a document or not.
    #[error("this token is for another document")]
    OtherDocument,
    /// The scope is one document.
    #[error("this token is for one document, not for the folder")]
    NotFolder,
}

impl Refusal {
    /// Its code on the wire.
    pub fn code(self) -> ErrorCode {
        match self {
            Refusal::Unknown => ErrorCode::Unauthorized,
            Refusal::Expired => ErrorCode::Expired,
            Refusal::Revoked => ErrorCode::Revoked,
            _ => ErrorCode::Forbidden,
        }
    }
}

impl From<Refusal> for ProtocolError {
    fn from(refusal: Refusal) -> ProtocolError {
        ProtocolError::new(refusal.code(), refusal.to_string())
    }
}

/// Whether a holder may do what it asks, at `now_ms` (milliseconds since 1970).
///
/// # Errors
/// Why not.
pub fn decide(holder: Holder<'_>, ask: Ask<'_>, now_ms: u64) -> Result<(), Refusal> {
    let (role, scope) = match holder {
        Holder::Nobody => return Err(Refusal::Unknown),
        Holder::Owner => return Ok(()),
        // An address is seen by more eyes than a token: it opens the one channel that it is for.
        Holder::Capability if ask.channel == Channel::Content => (Role::Write, &Scope::Folder),
        Holder::Capability => return Err(Refusal::Unknown),
        Holder::Token(grant) => match grant.standing(now_ms) {
            Standing::Revoked => return Err(Refusal::Revoked),
            Standing::Expired => return Err(Refusal::Expired),
            Standing::Valid => (grant.role, &grant.scope),
        },
    };
    match ask.channel {
        // The kernel says who is at the other end of it: the owner, or nobody.
        Channel::Control => return Err(Refusal::WrongChannel),
        Channel::Replica if *scope != Scope::Folder => return Err(Refusal::JoinNeedsFolder),
        Channel::Replica if role < Role::Write => return Err(Refusal::JoinNeedsWrite),
        _ => {}
    }
    // The scope first: whoever may not see a document is not told what more it would take to change it.
    if let Scope::Document(own) = scope {
        match (ask.verb, ask.document) {
            (Verb::Connect, None) => {}
            (Verb::Connect | Verb::Read | Verb::Edit, Some(asked)) if asked == own => {}
            (Verb::Connect | Verb::Read | Verb::Edit, _) => return Err(Refusal::OtherDocument),
            (Verb::List | Verb::Arrange | Verb::Administer, _) => return Err(Refusal::NotFolder),
        }
    }
    match ask.verb.least() {
        least if role >= least => Ok(()),
        Role::Admin => Err(Refusal::NotAdmin),
        _ => Err(Refusal::OnlyReads),
    }
}

#[cfg(test)]
mod tests;
