//! The checksum that both ends compare after every step.
//!
//! The UTF-8 bytes of a text, read as one big-endian integer, modulo the prime 2^128 - 159; beside it their
//! number. In Python: `int.from_bytes(text.encode(), 'big') % (2**128 - 159)`. The checksum of two texts in a
//! row follows from those of the parts, so a tree over a text can keep it current under small changes
//! ([`SummedText`](super::SummedText)). It detects accidents, not attackers.

use std::fmt;
use std::str::FromStr;

/// 2^128 is 159 more than the modulus: what is carried out of 128 bits comes back 159-fold.
const CARRY: u128 = 159;
/// 2^128 - 159.
const MODULUS: u128 = u128::MAX - (CARRY - 1);

/// A text's checksum: what is compared, and what is sent as `HEX:BYTES` (32 hexadecimal digits, a colon, the
/// number of bytes in decimal).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum {
    /// The bytes as a number, modulo 2^128 - 159.
    pub hash: u128,
    /// How many bytes.
    pub bytes: u64,
}

/// What is written is not a checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a checksum: it is 32 hexadecimal digits, a colon, and the number of bytes")]
pub struct SumError;

impl Sum {
    /// The checksum of a text.
    pub fn of(text: &str) -> Sum {
        Summed::of(text).sum()
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}:{}", self.hash, self.bytes)
    }
}

impl FromStr for Sum {
    type Err = SumError;

    fn from_str(text: &str) -> Result<Sum, SumError> {
        let (hash, bytes) = text.split_once(':').ok_or(SumError)?;
        // `from_str_radix` and `parse` would also take a sign.
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hash.len() != 32 || !digits(hash) || !digits(bytes) {
            return Err(SumError);
        }
        let hash = u128::from_str_radix(hash, 16).map_err(|_| SumError)?;
        let bytes = bytes.parse().map_err(|_| SumError)?;
        Ok(Sum { hash, bytes })
    }
}

/// A checksum with what is needed to put another one behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Summed {
    hash: u128,
    /// 256 to the number of bytes: how far what stands before is moved.
    power: u128,
    bytes: u64,
}

impl Summed {
    /// Of no text.
    pub const EMPTY: Summed = Summed { hash: 0, power: 1, bytes: 0 };

    pub fn of(text: &str) -> Summed {
        let bytes = text.as_bytes();
        let (head, blocks) = bytes.split_at(bytes.len() % 16);
        let number = |bytes: &[u8]| bytes.iter().fold(0u128, |number, byte| number << 8 | u128::from(*byte));
        let mut hash = number(head);
        let mut power = 1u128 << (8 * head.len());
        for block in blocks.chunks_exact(16) {
            // A move by 16 bytes is a multiplication by 2^128, which is 159 here.
            hash = add(times_carry(hash), reduced(number(block)));
            power = times_carry(power);
        }
        Summed { hash, power, bytes: bytes.len() as u64 }
    }

    /// Of this text and then that one.
    pub fn then(self, next: Summed) -> Summed {
        Summed {
            hash: add(times(self.hash, next.power), next.hash),
            power: times(self.power, next.power),
            bytes: self.bytes + next.bytes,
        }
    }

    pub fn sum(self) -> Sum {
        Sum { hash: self.hash, bytes: self.bytes }
    }
}

fn reduced(number: u128) -> u128 {
    if number >= MODULUS { number - MODULUS } else { number }
}

/// Both less than the modulus.
fn add(a: u128, b: u128) -> u128 {
    match a.overflowing_add(b) {
        (sum, false) => reduced(sum),
        (sum, true) => reduced(sum + CARRY),
    }
}

/// `high * 2^128 + low`, reduced. `high` must be so small that 159-fold it fits.
fn folded(high: u128, low: u128) -> u128 {
    match low.overflowing_add(high * CARRY) {
        (sum, false) => reduced(sum),
        // After an overflow little is left: adding the carry cannot overflow again.
        (sum, true) => reduced(sum + CARRY),
    }
}

fn times_carry(number: u128) -> u128 {
    let (high, low) = wide(number, CARRY);
    folded(high, low)
}

fn times(a: u128, b: u128) -> u128 {
    let (high, low) = wide(a, b);
    // high * 2^128 is high * 159, which is again wider than 128 bits, by eight.
    let (higher, lower) = wide(high, CARRY);
    let (sum, over) = low.overflowing_add(lower);
    folded(higher + u128::from(over), sum)
}

/// The product as two halves.
fn wide(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0) = (a >> 64, a & LOW);
    let (b1, b0) = (b >> 64, b & LOW);
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 64);
    let other = a0 * b1 + (middle & LOW);
    (a1 * b1 + (middle >> 64) + (other >> 64), other << 64 | low & LOW)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_sums() {
        // Computed with Python: int.from_bytes(text.encode(), 'big') % (2**128 - 159).
        let long = "Syncline keeps text files live. ".repeat(40);
        let cases = [
            ("", "00000000000000000000000000000000:0"),
            ("a", "00000000000000000000000000000061:1"),
            ("Hello, Welt! Ünïcödé 🌍", "c39c9bbaadbb1cc2ccd9f11f4cc01f6d:29"),
            ("\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}", "f48fbfbff48fbfbff48fbfbff48fbfbf:16"),
            (&long, "5ffb945e1ca5bec947fdb0912fd083c7:1280"),
        ];
        for (text, sum) in cases {
            assert_eq!(Sum::of(text).to_string(), sum, "{text:.20}");
            assert_eq!(sum.parse(), Ok(Sum::of(text)));
        }
    }

    #[test]
    fn what_is_no_sum_is_refused() {
        let zeros = "0".repeat(32);
        for bad in [
            "",
            ":",
            "0:0",
            &zeros,
            &format!("{zeros}:"),
            &format!("{zeros}:-1"),
            &format!("+{}:1", &zeros[1..]),
        ] {
            assert_eq!(bad.parse::<Sum>(), Err(SumError), "{bad}");
        }
        assert!(format!("{zeros}:18446744073709551616").parse::<Sum>().is_err());
    }

    /// Against arithmetic one byte at a time.
    fn slowly(text: &str) -> u128 {
        text.bytes().fold(0, |hash, byte| {
            let mut hash = hash;
            for _ in 0..8 {
                hash = add(hash, hash);
            }
            add(hash, u128::from(byte))
        })
    }

    proptest! {
        #[test]
        fn it_is_the_number_that_the_bytes_are(text in any::<String>()) {
            prop_assert_eq!(Sum::of(&text).hash, slowly(&text));
        }

        #[test]
        fn it_composes(a in "[\u{0}-\u{10ffff}]{0,40}", b in "[\u{0}-\u{10ffff}]{0,40}") {
            let both = Summed::of(&a).then(Summed::of(&b));
            prop_assert_eq!(both, Summed::of(&(a + &b)));
        }

        #[test]
        fn products_are_those_of_repeated_addition(a: u128, b: u128) {
            let (a, b) = (reduced(a), reduced(b));
            let mut slow = 0;
            for bit in (0..128).rev() {
                slow = add(slow, slow);
                if b >> bit & 1 == 1 {
                    slow = add(slow, a);
                }
            }
            prop_assert_eq!(times(a, b), slow);
        }
    }
}
