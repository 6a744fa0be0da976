//! Reading Rust source as far as the layer rules need it: code without comments and literals, code
//! without its tests, and where a path or a word is used.
//!
//! This is no parser. It knows comments, strings, characters, brackets and attributes, which is enough
//! to never take a word in a comment for code, and never a test for the product.

/// The source with every comment, string and character literal blanked. Lines keep their numbers.
pub fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end = match bytes[at] {
            b'/' if rest.starts_with(b"//") => end_of_line(bytes, at),
            b'/' if rest.starts_with(b"/*") => end_of_block_comment(bytes, at),
            b'"' => end_of_string(bytes, at),
            b'r' if starts_literal(bytes, at) => end_of_raw_string(bytes, at).unwrap_or(at),
            b'\'' => end_of_character(text, at).unwrap_or(at),
            _ => at,
        };
        if end > at {
            blank(&mut out[at..end]);
            at = end;
        } else {
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Code (from [`code`]) with everything under `#[cfg(test)]` blanked.
pub fn without_tests(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    if code.contains("#![cfg(test)]") {
        blank(&mut out);
    }
    for (start, end) in test_items(code) {
        blank(&mut out[start..end]);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The names of the modules that exist only for tests and have a file of their own
/// (`#[cfg(test)] mod cases;`).
pub fn test_modules(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (start, end) in test_items(code) {
        let item = code[start..end].trim_end();
        let Some(declaration) = item.strip_suffix(';') else { continue };
        if let Some((_, name)) = declaration.rsplit_once("mod ") {
            names.push(name.trim().to_owned());
        }
    }
    names
}

/// The lines in which `root::leaf` is named, be it in full or in a group such as `use root::{leaf, …}`.
pub fn path_uses(code: &str, root: &str, leaf: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    for at in words(code, root) {
        let Some(rest) = code[at + root.len()..].strip_prefix("::") else { continue };
        let from = code.len() - rest.len();
        let found = if rest.starts_with('{') { group_members(code, from) } else { vec![from] };
        for member in found {
            if word_at(code, member) == leaf {
                lines.push(line_of(code, member));
            }
        }
    }
    lines
}

/// The offsets at which `word` stands as a whole word.
pub fn words(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for (at, _) in code.match_indices(word) {
        let before = at == 0 || !is_word(bytes[at - 1]);
        let after = bytes.get(at + word.len()).is_none_or(|byte| !is_word(*byte));
        if before && after {
            found.push(at);
        }
    }
    found
}

/// Whether what follows `at` is a call without arguments, `()` or `::<…>()`.
pub fn is_empty_call(code: &str, at: usize) -> bool {
    let mut rest = code[at..].trim_start();
    if let Some(generic) = rest.strip_prefix("::<") {
        let mut depth = 1;
        let end = generic.find(|c: char| {
            depth += match c {
                '<' => 1,
                '>' => -1,
                _ => 0,
            };
            depth == 0
        });
        let Some(end) = end else { return false };
        rest = generic[end + 1..].trim_start();
    }
    rest.strip_prefix('(').is_some_and(|inside| inside.trim_start().starts_with(')'))
}

/// The number of the line that holds the byte at `at`, counted from 1.
pub fn line_of(code: &str, at: usize) -> usize {
    code.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Where each item under a test attribute starts and ends, attribute included.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let bytes = code.as_bytes();
    let mut items: Vec<(usize, usize)> = Vec::new();
    for (start, _) in code.match_indices("#[cfg(") {
        let inside = &code[start + "#[cfg(".len()..];
        let is_test = inside.starts_with("test)") || inside.starts_with("all(test,");
        let nested = items.last().is_some_and(|(_, end)| start < *end);
        if is_test && !nested {
            items.push((start, end_of_item(bytes, start)));
        }
    }
    items
}

/// The end of the item whose first attribute is at `start`: its `;`, or the `}` of its body.
fn end_of_item(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut depth = 0_usize;
    while at < bytes.len() {
        match bytes[at] {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return at + 1,
            b'{' if depth == 0 => return end_of_braces(bytes, at),
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

fn end_of_braces(bytes: &[u8], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    bytes.len()
}

/// The offsets of the first words of a group's own members; those of inner groups do not count.
fn group_members(code: &str, open: usize) -> Vec<usize> {
    let bytes = code.as_bytes();
    let mut members = Vec::new();
    let (mut depth, mut expected) = (0_usize, false);
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'{' => {
                depth += 1;
                expected = depth == 1;
            }
            b'}' if depth == 1 => break,
            b'}' => depth -= 1,
            b',' => expected = depth == 1,
            byte if is_word(*byte) && expected => {
                members.push(at);
                expected = false;
            }
            _ => {}
        }
    }
    members
}

fn word_at(code: &str, at: usize) -> &str {
    let rest = &code[at..];
    let end = rest.bytes().position(|byte| !is_word(byte)).unwrap_or(rest.len());
    &rest[..end]
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Whether an `r` at `at` can begin a raw string: alone, or after `b` or `c`, and not inside a word.
fn starts_literal(bytes: &[u8], at: usize) -> bool {
    let before = |distance: usize| at.checked_sub(distance).map(|index| bytes[index]);
    match before(1) {
        Some(b'b' | b'c') => before(2).is_none_or(|byte| !is_word(byte)),
        Some(byte) => !is_word(byte),
        None => true,
    }
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn end_of_line(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
}

fn end_of_block_comment(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn end_of_raw_string(bytes: &[u8], start: usize) -> Option<usize> {
    let hashes = bytes[start + 1..].iter().take_while(|byte| **byte == b'#').count();
    let open = start + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let inside = &bytes[open + 1..];
    let length = inside.windows(close.len()).position(|window| window == close);
    Some(length.map_or(bytes.len(), |length| open + 1 + length + close.len()))
}

/// The end of a character literal, or nothing when the quote begins a lifetime.
fn end_of_character(text: &str, start: usize) -> Option<usize> {
    let inside = &text[start + 1..];
    let first = inside.chars().next()?;
    if first == '\\' {
        // The escaped character itself may be a quote, so the closing one is looked for behind it.
        let escaped = inside.chars().nth(1)?;
        let behind = start + 1 + 1 + escaped.len_utf8();
        return text[behind..].find('\'').map(|length| behind + length + 1);
    }
    let close = start + 1 + first.len_utf8();
    text[close..].starts_with('\'').then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_kept() {
        let text = "let a = \"unsafe // \\\" x\"; // unsafe\n/* unsafe /* nested */ unsafe */ let b = 1;\n";
        let code = code(text);
        assert!(!code.contains("unsafe"), "{code}");
        assert!(code.contains("let a =") && code.contains("let b = 1;"), "{code}");
        assert_eq!(code.len(), text.len());
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn raw_strings_end_where_they_end() {
        let code = code("f(r#\"unsafe \" unsafe\"#, br\"unsafe\", b\"unsafe\", r\"\\\"); let r#type = bar\n");
        assert!(!code.contains("unsafe"), "{code}");
        assert!(code.contains("let r#type = bar"), "{code}");
    }

    #[test]
    fn a_quote_in_a_character_opens_no_string() {
        let code = code("match c { '\"' => 1, '\\'' => 2, '\\u{1F600}' => 3, 'é' => 4, _ => done::<'a>() }");
        assert!(code.contains("=> 1") && code.contains("=> 3") && code.contains("done::<'a>()"), "{code}");
        assert!(!code.contains('"') && !code.contains("1F600") && !code.contains('é'), "{code}");
    }

    #[test]
    fn a_test_module_is_not_the_product() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { if x { y } } }\nfn c() {}\n";
        let product = without_tests(&code(text));
        assert!(
            product.contains("fn a") && product.contains("fn c") && !product.contains("fn b"),
            "{product}"
        );
        assert_eq!(product.lines().count(), text.lines().count());
    }

    #[test]
    fn a_test_item_ends_at_its_own_end() {
        let text = "#[cfg(test)]\n#[allow(x)]\nfn b(a: [u8; 3]) -> u8 { a[0] }\nfn c() {}\n#[cfg(test)]\nuse x::y;\nfn d() {}";
        let product = without_tests(text);
        assert!(product.contains("fn c") && product.contains("fn d"), "{product}");
        assert!(!product.contains("fn b") && !product.contains("x::y"), "{product}");
        let every =
            without_tests("#[cfg(all(test, unix))]\nmod a {}\n#[cfg(any(test, feature = x))]\nmod b {}");
        assert!(!every.contains("mod a") && every.contains("mod b"), "{every}");
        assert_eq!(without_tests("#![cfg(test)]\nfn a() {}").trim(), "");
    }

    #[test]
    fn test_modules_in_files_are_found() {
        let text = "#[cfg(test)]\nmod cases;\n#[cfg(test)]\npub(crate) mod oracle;\n#[cfg(test)]\nmod here {}\nmod product;";
        assert_eq!(test_modules(text), ["cases", "oracle"]);
    }

    #[test]
    fn paths_are_found_in_full_and_in_groups() {
        let text = "use std::fs;\nuse std::{\n    io::{self, fs2},\n    fs::File,\n};\nstd::fs::read(x);\nuse std::{io::{fs}};\nmystd::fs::x();\nuse std::fsx;\n";
        assert_eq!(path_uses(text, "std", "fs"), [1, 4, 6]);
    }

    #[test]
    fn words_are_whole_words() {
        assert_eq!(words("unsafe_code unsafe xunsafe unsafe{", "unsafe"), [12, 27]);
    }

    #[test]
    fn empty_calls_are_told_from_calls_with_arguments() {
        for (text, expected) in [
            ("()", true),
            ("::<Vec<u8>>()", true),
            ("( )", true),
            ("(4)", false),
            ("::<u8>(4)", false),
            (";", false),
        ] {
            assert_eq!(is_empty_call(text, 0), expected, "{text}");
        }
    }
}
