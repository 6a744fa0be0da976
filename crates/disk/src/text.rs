//! Between the bytes of a file and the text of a document, exactly, in both directions.

/// What of a file is not in its text: needed to write the same bytes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TextForm {
    /// The file begins with the UTF-8 byte order mark.
    pub bom: bool,
    /// How its lines end.
    pub endings: LineEndings,
}

/// How the lines of a file end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LineEndings {
    /// All by LF, or there is only one line. A CR without LF is a character of the text.
    Lf,
    /// All by CR LF; the text has LF.
    CrLf,
    /// Some by the one and some by the other: the CRs stay in the text, so every line keeps its own.
    AsIs,
}

impl TextForm {
    /// The form of a new file: no mark, LF.
    pub const PLAIN: TextForm = TextForm { bom: false, endings: LineEndings::Lf };
}

/// What a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// UTF-8 text.
    Text {
        /// The text; the final newline, if there is one, is its last character.
        text: String,
        /// What else is needed to write it.
        form: TextForm,
    },
    /// Not UTF-8, or holding a NUL (UTF-16 among them): carried as bytes, these, never altered.
    Opaque(Vec<u8>),
}

const BOM: &str = "\u{feff}";

/// Decodes strictly. `encode(text, form)` gives exactly `bytes` again.
pub fn decode(bytes: Vec<u8>) -> Decoded {
    if bytes.contains(&0) {
        return Decoded::Opaque(bytes);
    }
    let whole = match String::from_utf8(bytes) {
        Ok(whole) => whole,
        Err(error) => return Decoded::Opaque(error.into_bytes()),
    };
    let (bom, body) = match whole.strip_prefix(BOM) {
        Some(body) => (true, body.to_owned()),
        None => (false, whole),
    };
    let (endings, text) = if !body.as_bytes().contains(&b'\r') {
        (LineEndings::Lf, body)
    } else {
        let all = body.bytes().filter(|byte| *byte == b'\n').count();
        match body.matches("\r\n").count() {
            0 => (LineEndings::Lf, body),
            n if n == all => (LineEndings::CrLf, body.replace("\r\n", "\n")),
            _ => (LineEndings::AsIs, body),
        }
    };
    Decoded::Text { text, form: TextForm { bom, endings } }
}

/// The bytes of a text in a form.
pub fn encode(text: &str, form: &TextForm) -> Vec<u8> {
    let mut out = String::with_capacity(text.len() + BOM.len());
    if form.bom {
        out.push_str(BOM);
    }
    match form.endings {
        LineEndings::Lf | LineEndings::AsIs => out.push_str(text),
        LineEndings::CrLf => {
            let mut lines = text.split('\n');
            out.push_str(lines.next().unwrap_or_default());
            for line in lines {
                out.push_str("\r\n");
                out.push_str(line);
            }
        }
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> (String, bool, LineEndings) {
        match decode(bytes.to_vec()) {
            Decoded::Text { text, form } => (text, form.bom, form.endings),
            Decoded::Opaque(_) => panic!("opaque: {bytes:?}"),
        }
    }

    #[test]
    fn files_11_line_endings_table() {
        use LineEndings::*;
        for (bytes, expected, bom, endings) in [
            ("", "", false, Lf),
            ("a", "a", false, Lf),
            ("a\n", "a\n", false, Lf),
            ("a\nb", "a\nb", false, Lf),
            ("a\r\nb\r\n", "a\nb\n", false, CrLf),
            ("a\r\nb", "a\nb", false, CrLf),
            ("a\r\nb\n", "a\r\nb\n", false, AsIs),
            ("a\rb", "a\rb", false, Lf),
            ("a\rb\n", "a\rb\n", false, Lf),
            ("a\r\r\n", "a\r\n", false, CrLf),
            ("\r", "\r", false, Lf),
            ("\n", "\n", false, Lf),
            ("\u{feff}", "", true, Lf),
            ("\u{feff}a\r\n", "a\n", true, CrLf),
            ("\u{feff}\u{feff}a", "\u{feff}a", true, Lf),
            ("a\u{feff}", "a\u{feff}", false, Lf),
        ] {
            assert_eq!(text(bytes.as_bytes()), (expected.to_owned(), bom, endings), "{bytes:?}");
        }
    }

    #[test]
    fn files_12_what_is_not_text_is_opaque() {
        for bytes in [
            &b"a\0b"[..],
            b"\xff\xfea\0",
            b"\xfe\xff\0a",
            b"caf\xe9",
            b"\xc0\x80",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xe2\x82",
        ] {
            assert_eq!(decode(bytes.to_vec()), Decoded::Opaque(bytes.to_vec()), "{bytes:?}");
        }
    }

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\r\n".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\r".to_vec()),
            Just("\u{feff}".as_bytes().to_vec()),
            "[a-zé😀 ]{0,3}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..2),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_is_decoded_is_encoded_to_the_same_bytes(bytes in pieces()) {
            if let Decoded::Text { text, form } = decode(bytes.clone()) {
                prop_assert_eq!(encode(&text, &form), bytes);
            }
        }

        #[test]
        fn all_utf8_without_nul_is_text(text in "[^\0]{0,20}") {
            let is_text = matches!(decode(text.into_bytes()), Decoded::Text { .. });
            prop_assert!(is_text);
        }
    }
}
