//! Compressed messages, where both ends agreed on it when connecting.
//!
//! `{"type":"Packed","zlib":"…"}`: the message as JSON, compressed as zlib does (RFC 1950), in base64. Any
//! language has both. Short messages go as they are.

use std::borrow::Cow;

use data_encoding::BASE64;
use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
use serde::Deserialize;

use crate::error::{ErrorCode, ProtocolError};
use crate::json::{bad, describe};
use crate::limits;

/// The name of the compression, as offered and accepted.
pub const ZLIB: &str = "zlib";

/// Fast rather than small: what is compressed is short-lived.
const LEVEL: u8 = 3;

/// The message as it goes over the wire: packed if that was agreed and makes it shorter.
pub fn pack(json: String, agreed: bool) -> String {
    if !agreed || json.len() < limits::MIN_PACKED {
        return json;
    }
    let packed = compress_to_vec_zlib(json.as_bytes(), LEVEL);
    let line = format!(r#"{{"type":"Packed","zlib":"{}"}}"#, BASE64.encode(&packed));
    if line.len() < json.len() { line } else { json }
}

/// The message that a line holds. What would unpack to more than `most` bytes is refused before it does.
///
/// # Errors
/// [`ErrorCode::TooLarge`], [`ErrorCode::BadMessage`].
pub fn unpack(line: &str, agreed: bool, most: usize) -> Result<Cow<'_, str>, ProtocolError> {
    #[derive(Deserialize)]
    struct Packed<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        #[serde(borrow)]
        zlib: Option<Cow<'a, str>>,
    }
    // Most lines are not packed, and need not be read twice to know that.
    if !names_packed(line) {
        return Ok(Cow::Borrowed(line));
    }
    let packed: Packed<'_> = serde_json::from_str(line).map_err(|error| describe(&error))?;
    if packed.r#type != "Packed" {
        return Ok(Cow::Borrowed(line));
    }
    if !agreed {
        return Err(bad("a packed message, and no compression was agreed"));
    }
    let packed = packed.zlib.ok_or_else(|| bad("the key \"zlib\" is missing"))?;
    let bytes = BASE64.decode(packed.as_bytes()).map_err(|_| bad("a packed message is not base64"))?;
    let json = decompress_to_vec_zlib_with_limit(&bytes, most).map_err(|error| match error.status {
        miniz_oxide::inflate::TINFLStatus::HasMoreOutput => {
            ProtocolError::new(ErrorCode::TooLarge, format!("a packed message of more than {most} bytes"))
        }
        _ => bad("a packed message is not zlib"),
    })?;
    let json = String::from_utf8(json).map_err(|_| bad("a packed message is not UTF-8"))?;
    Ok(Cow::Owned(json))
}

/// Whether the word stands where the type of a packed message does: before its only long value, or behind it.
fn names_packed(line: &str) -> bool {
    const NAME: &[u8] = b"\"Packed\"";
    let line = line.as_bytes();
    let (first, last) = (line.first_chunk::<NEAR>(), line.last_chunk::<NEAR>());
    let ends = [first.map_or(line, |first| first), last.map_or(line, |last| last)];
    ends.iter().any(|end| end.windows(NAME.len()).any(|part| part == NAME))
}

/// So near to an end of the line, in bytes, its type is looked for.
const NEAR: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_packed_and_read_again() {
        let long = format!(r#"{{"type":"Ping","x":"{}"}}"#, "a line of text ".repeat(1_000));
        let packed = pack(long.clone(), true);
        assert!(packed.len() * 10 < long.len());
        assert_eq!(unpack(&packed, true, 1 << 20).unwrap(), long);
        assert_eq!(pack(long.clone(), false), long);
        assert_eq!(pack("{}".into(), true), "{}");
        assert_eq!(unpack("{}", true, 10).unwrap(), "{}");
    }

    #[test]
    fn any_json_of_a_packed_message_is_read() {
        let long = format!(r#"{{"type":"Ping","x":"{}"}}"#, "a line of text ".repeat(1_000));
        let zlib = BASE64.encode(&compress_to_vec_zlib(long.as_bytes(), 6));
        for line in [
            format!(r#"{{"type": "Packed", "zlib": "{zlib}"}}"#),
            format!(r#"  {{ "zlib":"{zlib}",   "type" : "Packed" }} "#),
            format!(r#"{{"type":"Packed","zlib":"{}"}}"#, zlib.replace('/', "\\/")),
        ] {
            assert_eq!(unpack(&line, true, 1 << 20).unwrap(), long);
        }
        // A document of that name is none.
        let other = r#"{"type":"History","doc":"Packed"}"#;
        assert_eq!(unpack(other, true, 1 << 20).unwrap(), other);
    }

    #[test]
    fn bombs_and_what_is_not_packed_are_refused() {
        let bomb = pack(" ".repeat(50 << 20), true);
        assert!(bomb.len() < 100 << 10);
        let code = |line: &str, agreed| unpack(line, agreed, 1 << 20).unwrap_err().code;
        assert_eq!(code(&bomb, true), ErrorCode::TooLarge);
        assert_eq!(code(&bomb, false), ErrorCode::BadMessage);
        for bad in [
            r#"{"type":"Packed"}"#,
            r#"{"type":"Packed","zlib":7}"#,
            r#"{"type":"Packed","zlib":"?"}"#,
            r#"{"type":"Packed","zlib":""}"#,
            r#"{"type":"Packed","zlib":"AAAA"}"#,
            r#"{"type":"Packed","zlib":"AAAA","zlib":"AAAA"}"#,
        ] {
            assert_eq!(code(bad, true), ErrorCode::BadMessage, "{bad}");
        }
        let not_text =
            format!(r#"{{"type":"Packed","zlib":"{}"}}"#, BASE64.encode(&compress_to_vec_zlib(&[0xff], 1)));
        assert_eq!(code(&not_text, true), ErrorCode::BadMessage);
    }
}
