//! What a hub's errors are called on the wire.

use crate::error::HubError;
use syncline_protocol::{ErrorCode, ProtocolError};

/// The error as it is told to the other side. Of the journal's and the disk's own errors only that there was
/// one: they can name paths of this machine.
pub fn refusal(error: &HubError) -> ProtocolError {
    let code = match error {
        HubError::Missing { .. } => ErrorCode::Resync,
        HubError::Equivocation { .. } => ErrorCode::Equivocation,
        HubError::BadPosition { .. } => ErrorCode::BadEvents,
        HubError::UnknownDocument { .. } | HubError::WhichDocument { .. } => ErrorCode::UnknownDocument,
        HubError::BadName(_) => ErrorCode::BadName,
        HubError::NotText { .. } => ErrorCode::NotText,
        HubError::TooLarge { .. } => ErrorCode::TooLarge,
        HubError::BadBase => ErrorCode::BadBase,
        HubError::NotYours => ErrorCode::Forbidden,
        HubError::StorageFull => ErrorCode::StorageFull,
        HubError::ReadOnly => ErrorCode::ReadOnly,
        HubError::IgnoreFileHeld => ErrorCode::Closing,
        HubError::Closed => ErrorCode::Closing,
        HubError::Damaged { .. } => ErrorCode::Damaged,
        _ => return ProtocolError::new(ErrorCode::Internal, "the hub could not do it"),
    };
    ProtocolError::new(code, error.to_string())
}
