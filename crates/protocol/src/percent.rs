//! Paths of documents in addresses and links: `%` and two hexadecimal digits for every byte that could mean
//! something else there (RFC 3986, section 2.1).

/// A path as part of an address.
pub fn encode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// What [`encode`] wrote, or any other program; `None` if it is not UTF-8, or a `%` has no two digits.
pub fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_path_is_read_as_it_was_written(path in any::<String>()) {
            let encoded = encode(&path);
            prop_assert!(encoded.is_ascii() && !encoded.contains(['#', '?', '&', ' ']));
            prop_assert_eq!(decode(&encoded), Some(path));
        }

        #[test]
        fn any_text_is_decoded_or_refused(text in any::<String>()) {
            let _ = decode(&text);
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for wrong in ["%", "%4", "%zz", "%ff", "a%c3"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
        assert_eq!(decode("a%20b+c"), Some("a b+c".to_owned()));
    }
}
