//! The name of a session, by which a client comes back to it.

use std::fmt;
use std::str::FromStr;

/// 128 random bits that the client draws, written as 32 hexadecimal digits. Only the identity that opened a
/// session can come back to it, so the name alone opens nothing; it is not shown by `Debug` all the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

/// What is written is no session's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a session is 32 hexadecimal digits: 128 bits that the client draws at random")]
pub struct SessionIdError;

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

impl FromStr for SessionId {
    type Err = SessionIdError;

    fn from_str(text: &str) -> Result<SessionId, SessionIdError> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(SessionIdError);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| SessionIdError)?;
        Ok(SessionId(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_written() {
        let id = SessionId([7; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "7", &"g".repeat(32), &format!("+{}", "0".repeat(31)), &"é".repeat(16)] {
            assert_eq!(bad.parse::<SessionId>(), Err(SessionIdError));
        }
        assert!(!format!("{id:?}").contains("07"));
    }
}
