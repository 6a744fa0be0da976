//! Names that are two here and one elsewhere: case, and the normal forms of Unicode.

use crate::{Probe, RelPath};
use unicode_normalization::UnicodeNormalization;

/// Whether a file system distinguishes case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CaseRule {
    /// `A` and `a` are two names.
    Sensitive,
    /// They are one.
    Insensitive,
}

impl CaseRule {
    /// The rule of a probed folder.
    pub fn of(probe: &Probe) -> Self {
        if probe.case_sensitive { CaseRule::Sensitive } else { CaseRule::Insensitive }
    }
}

/// A key that two paths share if they cannot both exist under the rule, or look the same to a person
/// (two normal forms of one text). For comparing only: names are stored as they were given.
pub fn clash_key(path: &RelPath, rule: CaseRule) -> String {
    name_key(path.as_str(), rule)
}

pub(crate) fn name_key(name: &str, rule: CaseRule) -> String {
    if name.is_ascii() {
        return match rule {
            CaseRule::Sensitive => name.to_owned(),
            CaseRule::Insensitive => name.to_ascii_lowercase(),
        };
    }
    let composed: String = name.nfc().collect();
    match rule {
        CaseRule::Sensitive => composed,
        // By way of the capitals, `ß` meets `SS` and the long s meets `S`, as full case folding has it.
        CaseRule::Insensitive => composed.to_uppercase().to_lowercase().nfc().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_9_and_10_twins() {
        let key = |text, rule| clash_key(&RelPath::parse(text).unwrap(), rule);
        for (one, other, sensitive, insensitive) in [
            ("a", "a", true, true),
            ("a", "A", false, true),
            ("d/a", "D/a", false, true),
            ("caf\u{e9}", "cafe\u{301}", true, true),
            ("CAF\u{c9}", "cafe\u{301}", false, true),
            ("straße", "STRASSE", false, true),
            ("a", "b", false, false),
            ("d/a", "da", false, false),
        ] {
            use CaseRule::*;
            assert_eq!(key(one, Sensitive) == key(other, Sensitive), sensitive, "{one} {other}");
            assert_eq!(key(one, Insensitive) == key(other, Insensitive), insensitive, "{one} {other}");
        }
    }
}
