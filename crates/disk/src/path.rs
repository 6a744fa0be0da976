//! Paths inside a synchronised folder: what may be named at all, and what the network may never name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest part of a path, in bytes (what ext4, xfs, btrfs and apfs allow).
pub const MAX_PART: usize = 255;
/// The longest whole path, in bytes.
pub const MAX_PATH: usize = 4096;
/// The folder's own state directory, directly below the root; never part of what is synchronised.
pub const STATE_DIR: &str = ".syncline";
/// How the names of our temporary files begin; 16 hexadecimal digits follow.
pub const TEMPORARY_PREFIX: &str = ".syncline-tmp-";

/// A validated path relative to the root of a folder: UTF-8, parts separated by `/`.
///
/// Never absolute, never `.` or `..`, no control characters, nothing inside `.git` or the root's
/// `.syncline`. Cloning is cheap; order is byte order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Arc<str>);

/// Why a text is no [`RelPath`]. Every variant carries the offending text, escaped for showing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path has no characters at all.
    #[error("the path is empty")]
    Empty,
    /// The path begins with `/`.
    #[error("the path \"{0}\" is absolute")]
    Absolute(String),
    /// Two `/` in a row, or a `/` at the end.
    #[error("the path \"{0}\" has an empty part")]
    EmptyPart(String),
    /// A part is `.`.
    #[error("the path \"{0}\" has a part \".\"")]
    Dot(String),
    /// A part is `..`.
    #[error("the path \"{0}\" has a part \"..\"")]
    DotDot(String),
    /// The path holds a NUL character.
    #[error("the path \"{0}\" holds a NUL character")]
    Nul(String),
    /// The path holds a newline, another control character, or a line or paragraph separator.
    #[error("the path \"{0}\" holds a control character")]
    Control(String),
    /// The path holds a character that reorders how text is shown (bidi embedding, override, isolate).
    #[error("the path \"{0}\" holds a character that changes the direction of text")]
    Bidi(String),
    /// A part has more than [`MAX_PART`] bytes.
    #[error("a part of the path \"{text}\" has {len} bytes; at most {MAX_PART} are allowed")]
    PartTooLong {
        /// The beginning of the part, escaped.
        text: String,
        /// Its length in bytes.
        len: usize,
    },
    /// The path has more than [`MAX_PATH`] bytes.
    #[error("the path \"{text}\" has {len} bytes; at most {MAX_PATH} are allowed")]
    TooLong {
        /// The beginning of the path, escaped.
        text: String,
        /// Its length in bytes.
        len: usize,
    },
    /// The first part is `.syncline` (in any case).
    #[error("the path \"{0}\" lies in the folder's own state directory")]
    Reserved(String),
    /// A part is `.git` (in any case: on some file systems `.GIT` is the same directory).
    #[error("the path \"{0}\" lies in a git directory")]
    Git(String),
    /// A name found on disk that is not UTF-8.
    #[error("the name \"{0}\" is not UTF-8")]
    NotUtf8(String),
    /// A joined name holds a `/`.
    #[error("the name \"{0}\" holds a \"/\"")]
    Separator(String),
}

impl RelPath {
    /// Checks `text` and makes a path of it.
    ///
    /// # Errors
    /// One [`PathError`] variant per reason; the first that applies.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.len() > MAX_PATH {
            return Err(PathError::TooLong { text: shown(text), len: text.len() });
        }
        if text.starts_with('/') {
            return Err(PathError::Absolute(shown(text)));
        }
        for (nth, part) in text.split('/').enumerate() {
            check_part(part, text)?;
            if nth == 0 && part.eq_ignore_ascii_case(STATE_DIR) {
                return Err(PathError::Reserved(shown(text)));
            }
        }
        Ok(Self(Arc::from(text)))
    }

    /// The whole path, parts separated by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The path without its last part; `None` for a path directly below the root.
    pub fn parent(&self) -> Option<RelPath> {
        self.0.rsplit_once('/').map(|(head, _)| Self(Arc::from(head)))
    }

    /// The path of `name` inside this directory.
    ///
    /// # Errors
    /// As [`RelPath::parse`], and [`PathError::Separator`] when `name` holds a `/`.
    pub fn join(&self, name: &str) -> Result<RelPath, PathError> {
        Self::beneath(Some(self), name)
    }

    /// The path of `name` inside `dir`, `None` being the root.
    ///
    /// # Errors
    /// As [`RelPath::join`].
    pub fn beneath(dir: Option<&RelPath>, name: &str) -> Result<RelPath, PathError> {
        if name.contains('/') {
            return Err(PathError::Separator(shown(name)));
        }
        match dir {
            None => Self::parse(name),
            Some(dir) => Self::parse(&format!("{dir}/{name}")),
        }
    }

    /// The parts from the root downwards.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether this path lies below `dir` (a path does not lie below itself).
    pub fn is_below(&self, dir: &RelPath) -> bool {
        self.0.strip_prefix(&*dir.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

fn check_part(part: &str, whole: &str) -> Result<(), PathError> {
    match part {
        "" => return Err(PathError::EmptyPart(shown(whole))),
        "." => return Err(PathError::Dot(shown(whole))),
        ".." => return Err(PathError::DotDot(shown(whole))),
        _ => {}
    }
    if part.len() > MAX_PART {
        return Err(PathError::PartTooLong { text: shown(part), len: part.len() });
    }
    if part.contains('\0') {
        return Err(PathError::Nul(shown(whole)));
    }
    if part.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(PathError::Control(shown(whole)));
    }
    if part.chars().any(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')) {
        return Err(PathError::Bidi(shown(whole)));
    }
    if part.eq_ignore_ascii_case(".git") {
        return Err(PathError::Git(shown(whole)));
    }
    Ok(())
}

/// `text` escaped so that no terminal or page is misled by it, and cut to a length that fits a message.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut out = String::new();
    for c in text.chars() {
        if out.len() >= LONGEST {
            out.push('…');
            break;
        }
        if matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_unicode());
        } else {
            out.extend(c.escape_debug());
        }
    }
    out
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl FromStr for RelPath {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

impl AsRef<str> for RelPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Whether no remote party may ever name, read or write this path: secrets (`.ssh`, `.gnupg`, `.env`,
/// `.env.*`), `.git`, any `.syncline`, and our temporaries. Judged without regard to ASCII case.
pub fn is_refused_from_network(path: &RelPath) -> bool {
    path.parts().any(|part| {
        let part = part.to_ascii_lowercase();
        matches!(part.as_str(), ".git" | STATE_DIR | ".ssh" | ".gnupg" | ".env")
            || part.starts_with(".env.")
            || part.starts_with(TEMPORARY_PREFIX)
    })
}

/// The name of a temporary file for the given random number: `.syncline-tmp-` and 16 hexadecimal
/// digits. The caller draws the number and journals the name before using it.
pub fn temporary_name(random: u64) -> String {
    format!("{TEMPORARY_PREFIX}{random:016x}")
}

/// Whether `name` (one part) is exactly what [`temporary_name`] makes.
pub fn is_temporary_name(name: &str) -> bool {
    name.strip_prefix(TEMPORARY_PREFIX).is_some_and(is_id)
}

/// Whether `text` is 16 lower-case hexadecimal digits.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_named_and_why_not() {
        let long = "x".repeat(256);
        let deep = "x/".repeat(2048) + "xy";
        for text in [
            "a",
            "a/b",
            ".a",
            "a b",
            "a\\b",
            "...",
            "é",
            "e\u{301}",
            "a/.syncline",
            ".gitignore",
            "..%2fx",
            &"x".repeat(255),
        ] {
            assert_eq!(RelPath::parse(text).unwrap().as_str(), text);
        }
        use PathError::*;
        for (text, expected) in [
            ("", Empty),
            ("/a", Absolute("/a".into())),
            ("a//b", EmptyPart("a//b".into())),
            ("a/", EmptyPart("a/".into())),
            (".", Dot(".".into())),
            ("a/./b", Dot("a/./b".into())),
            ("../x", DotDot("../x".into())),
            ("a/..", DotDot("a/..".into())),
            ("a\0b", Nul("a\\0b".into())),
            ("a\nb", Control("a\\nb".into())),
            ("a\u{7f}b", Control("a\\u{7f}b".into())),
            ("a\u{85}b", Control("a\\u{85}b".into())),
            ("a\u{2028}b", Control("a\\u{2028}b".into())),
            ("a\u{202e}b", Bidi("a\\u{202e}b".into())),
            ("a\u{2066}b", Bidi("a\\u{2066}b".into())),
            (".git", Git(".git".into())),
            ("a/.GIT/hooks/x", Git("a/.GIT/hooks/x".into())),
            (".syncline/journal", Reserved(".syncline/journal".into())),
            (".Syncline", Reserved(".Syncline".into())),
        ] {
            assert_eq!(RelPath::parse(text), Err(expected), "{text:?}");
        }
        assert!(matches!(RelPath::parse(&long), Err(PartTooLong { len: 256, .. })));
        assert!(matches!(RelPath::parse(&deep), Err(TooLong { len: 4098, .. })));
    }

    #[test]
    fn parents_names_and_joining() {
        let path = RelPath::parse("a/b/c").unwrap();
        assert_eq!(path.file_name(), "c");
        assert_eq!(path.parent().unwrap().to_string(), "a/b");
        assert_eq!(RelPath::parse("a").unwrap().parent(), None);
        assert_eq!(path.join("d").unwrap().as_str(), "a/b/c/d");
        assert!(matches!(path.join("d/e"), Err(PathError::Separator(_))));
        assert!(matches!(path.join(".."), Err(PathError::DotDot(_))));
        let a = RelPath::parse("a").unwrap();
        assert!(path.is_below(&a) && !a.is_below(&a) && !RelPath::parse("ab").unwrap().is_below(&a));
    }

    #[test]
    fn the_network_may_not_name_secrets() {
        let refused = |text| is_refused_from_network(&RelPath::parse(text).unwrap());
        for text in [
            ".ssh/id",
            "a/.gnupg/x",
            ".env",
            "a/.ENV.local",
            "a/.syncline/x",
            ".syncline-tmp-0123456789abcdef",
        ] {
            assert!(refused(text), "{text}");
        }
        for text in ["a", "env", ".environment", "ssh", ".gitignore", ".synclineignore"] {
            assert!(!refused(text), "{text}");
        }
    }

    #[test]
    fn temporaries_have_exactly_one_form() {
        let name = temporary_name(0xabc);
        assert_eq!(name, ".syncline-tmp-0000000000000abc");
        assert!(is_temporary_name(&name));
        for other in [".syncline-tmp-", ".syncline-tmp-0000000000000ABC", "x.syncline-tmp-0000000000000abc"] {
            assert!(!is_temporary_name(other));
        }
    }
}
