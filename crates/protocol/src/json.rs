//! What all channels of JSON text have in common: how it is written, how deep it may be, and how an error in it is described.

use serde::Serialize;

use crate::error::{ErrorCode, ProtocolError};
use crate::limits;

/// A message that is not one of its protocol.
pub(crate) fn bad(what: impl Into<String>) -> ProtocolError {
    ProtocolError::new(ErrorCode::BadMessage, what)
}

/// A message as text.
pub(crate) fn json(message: &impl Serialize) -> String {
    // Strings, numbers, booleans and lists of them can always be written.
    serde_json::to_string(message).unwrap_or_default()
}

/// What serde says without repeating the message's own text, which may be private.
pub(crate) fn describe(error: &serde_json::Error) -> ProtocolError {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends early",
        serde_json::error::Category::Syntax => "it is not JSON",
        serde_json::error::Category::Data => "a key is missing, twice there, or of a wrong type",
        serde_json::error::Category::Io => "it cannot be read",
    };
    bad(format!("not a message: {what} (line {}, column {})", error.line(), error.column()))
}

/// Refuses deep nesting before anything is parsed: what is ignored is skipped by serde without a limit.
pub(crate) fn check_depth(text: &str) -> Result<(), ProtocolError> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > limits::MAX_DEPTH {
                    return Err(bad(format!("nested more than {} deep", limits::MAX_DEPTH)));
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}
