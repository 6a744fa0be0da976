//! Secrets that let somebody in.

use std::fmt;

/// A secret of 256 random bits, written as 43 characters of base64url. It is never shown by `Debug`, and
/// comparing two takes the same time whether they differ in the first bit or the last.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// What is written is not a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a token: it must be 43 letters, digits, '-' and '_'")]
pub struct TokenError;

/// The digits of base64url (RFC 4648, section 5).
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// 256 bits in digits of 6 bits.
const LENGTH: usize = 43;

impl Token {
    /// The token of these bits, which the caller draws from the system's secure random source.
    pub fn from_random(bits: [u8; 32]) -> Token {
        Token(bits)
    }

    /// Reads a token as [`Token::secret`] writes it.
    pub fn parse(text: &str) -> Result<Token, TokenError> {
        if text.len() != LENGTH {
            return Err(TokenError);
        }
        let mut bits = [0; 32];
        let mut bytes = bits.iter_mut();
        let (mut held, mut count) = (0u32, 0u32);
        for digit in text.bytes() {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return Err(TokenError),
            };
            held = held << 6 | u32::from(value);
            count += 6;
            if count >= 8 {
                count -= 8;
                *bytes.next().ok_or(TokenError)? = (held >> count) as u8;
                held &= (1 << count) - 1;
            }
        }
        // The last digit has two bits to spare; one spelling only.
        if held != 0 { Err(TokenError) } else { Ok(Token(bits)) }
    }

    /// The secret, to be stored in a file that only its owner can read, or shown to that person.
    pub fn secret(&self) -> String {
        let mut out = String::with_capacity(LENGTH);
        let (mut held, mut count) = (0u32, 0u32);
        let mut push = |value: u32| out.push(char::from(DIGITS[(value & 63) as usize]));
        for &byte in &self.0 {
            held = held << 8 | u32::from(byte);
            count += 8;
            while count >= 6 {
                count -= 6;
                push(held >> count);
                held &= (1 << count) - 1;
            }
        }
        push(held << (6 - count));
        out
    }

    /// What may be stored where others could read it: the secret cannot be found from it.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.0).as_bytes()
    }

    /// Whether a token that somebody presented is this one, in constant time.
    pub fn admits(&self, presented: &Token) -> bool {
        // `blake3::Hash` compares in constant time; hashing also hides where the secrets differ.
        blake3::hash(&self.0) == blake3::hash(&presented.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.admits(other)
    }
}

impl Eq for Token {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        for seed in 0..64u8 {
            let mut bits = [0; 32];
            bits.iter_mut()
                .enumerate()
                .for_each(|(at, bit)| *bit = seed.wrapping_mul(37) ^ (at as u8).wrapping_mul(11));
            let token = Token::from_random(bits);
            let secret = token.secret();
            assert_eq!(secret.len(), LENGTH);
            assert!(token.admits(&Token::parse(&secret).unwrap()));
        }
        assert_eq!(Token::from_random([0xff; 32]).secret(), format!("{}8", "_".repeat(42)));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let secret = Token::from_random([7; 32]).secret();
        let bad = ["", "abc", &secret[1..], &format!("{secret}A"), &secret.replace('B', "+"), "ä"];
        for text in bad {
            assert_eq!(Token::parse(text), Err(TokenError), "{text}");
        }
        // The spare bits of the last digit must be zero, so that a token has one spelling.
        assert_eq!(Token::parse(&"_".repeat(43)), Err(TokenError));
    }

    #[test]
    fn a_token_is_never_debug_printed() {
        let token = Token::from_random([9; 32]);
        assert!(!format!("{token:?}").contains(&token.secret()));
        assert_ne!(token, Token::from_random([8; 32]));
    }
}
