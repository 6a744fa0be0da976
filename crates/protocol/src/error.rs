//! What can go wrong on any channel, and how it is said there.

use std::fmt;

use serde::Serialize;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $hint:literal;)*) => {
        /// What kind of error it is. Programs compare the [`code`](ErrorCode::code), people read the hint.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorCode {
            /// All codes.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The code as it is sent.
            pub fn code(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $code,)*
                }
            }

            /// What to do about it.
            pub fn hint(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $hint,)*
                }
            }

            /// The code that is sent so; a code of a newer version is read as [`ErrorCode::Internal`].
            pub fn of(code: &str) -> ErrorCode {
                match code {
                    $($code => ErrorCode::$variant,)*
                    _ => ErrorCode::Internal,
                }
            }
        }
    };
}

codes! {
    /// The message is not one of this protocol, or not at this point.
    BadMessage = "bad_message", "send one message as the protocol's page in docs/protocols describes it";
    /// Something is longer than the limit.
    TooLarge = "too_large", "a document has at most 64 MiB; before the hello at most 16 KiB may be sent";
    /// No token, or a wrong one.
    Unauthorized = "unauthorized", "use the join link or the token that `syncline serve` printed";
    /// The token's time is over.
    Expired = "expired", "ask whoever shares the folder for a new link";
    /// The owner took the token back.
    Revoked = "revoked", "ask whoever shares the folder";
    /// Known, but not allowed to do this.
    Forbidden = "forbidden", "ask whoever shares the folder";
    /// No such document.
    UnknownDocument = "unknown_document", "name a file of the shared folder, relative to it";
    /// The base is not a version that this hub knows.
    BadBase = "bad_base", "use the version of the newest content_update, or leave the base out";
    /// A file cannot have this name.
    BadName = "bad_name", "paths are relative, with parts of at most 255 bytes, without `..` and control characters";
    /// The document is not text.
    NotText = "not_text", "only UTF-8 text can be edited here";
    /// The disk of the hub is full.
    StorageFull = "storage_full", "keep the edit and send it again when there is space";
    /// The document or the hub takes no changes now.
    ReadOnly = "read_only", "keep the edit and send it again later";
    /// What was sent builds on what is not known here; send what is missing.
    Resync = "resync", "send again what was not acknowledged";
    /// An event id came twice with different content.
    Equivocation = "equivocation", "enter the unacknowledged edits again under a fresh agent";
    /// Events that no version of the document can have.
    BadEvents = "bad_events", "the sender's copy of this document is damaged; compare it with others";
    /// What the journal holds of the document cannot be read.
    Damaged = "damaged", "wait: the hub asks the other machines for it; other documents are not affected";
    /// A version of the protocol that this program does not speak.
    UnsupportedVersion = "unsupported_version", "use the same version of Syncline on both sides";
    /// Something that this program does not do (yet).
    Unsupported = "unsupported", "see docs/protocols for what is";
    /// The link leads to another folder than the one kept here.
    WrongFolder = "wrong_folder", "join into an empty directory, or use the link of the folder kept here";
    /// The hub was asked to join itself.
    SameHub = "same_hub", "a folder cannot join itself; join it into another directory";
    /// It took too long.
    Timeout = "timeout", "try again";
    /// More at once than is allowed.
    TooMany = "too_many", "wait for the answers before sending more";
    /// The session was taken over by a newer connection.
    Replaced = "replaced", "only one connection at a time can have a session; draw another one";
    /// The hub is going away.
    Closing = "closing", "connect again";
    /// A fault of this program or its machine.
    Internal = "internal", "see the hub's own messages";
}

/// An error as it is told to the other side: a code for programs, a sentence for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message} ({code})")]
pub struct ProtocolError {
    /// What kind.
    pub code: ErrorCode,
    /// What happened, in a sentence; never contains a secret or a text.
    pub message: String,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl ProtocolError {
    /// An error of this kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> ProtocolError {
        ProtocolError { code, message: message.into() }
    }

    /// The form it has on every text channel: `{"type":"error","code":…,"message":…,"hint":…}`.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Json<'a> {
            r#type: &'a str,
            code: &'a str,
            message: &'a str,
            hint: &'a str,
        }
        let json =
            Json { r#type: "error", code: self.code.code(), message: &self.message, hint: self.code.hint() };
        // Four strings can always be written.
        serde_json::to_string(&json).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_as_what_was_sent() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::of(code.code()), code);
            assert!(!code.hint().is_empty());
        }
        assert_eq!(ErrorCode::of("of the future"), ErrorCode::Internal);
    }

    #[test]
    fn an_error_is_one_json_object() {
        let json = ProtocolError::new(ErrorCode::BadBase, "no \"such\" version").to_json();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["type"], "error");
        assert_eq!(value["code"], "bad_base");
        assert_eq!(value["message"], "no \"such\" version");
        assert!(value["hint"].is_string());
    }
}
