//! Which files are nobody's business: editors' leftovers, secrets, and what `.synclineignore` names.

use crate::{DiskError, Folder, Reading, RelPath, STATE_DIR, is_temporary_name};
use ::ignore::Match;
use ::ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The file in the root with a person's own rules, in the syntax of `.gitignore`.
pub const IGNORE_FILE: &str = ".synclineignore";

/// Rules longer than this (bytes) are not read.
const LONGEST: u64 = 1 << 20;

/// Ignored unless re-included by a `!` rule. What a glob cannot say is in [`is_random_name`].
const BUILT_IN: &[&str] = &[
    "*.swp",
    "*.swo",
    "*.swx",
    "4913",
    ".#*",
    "*~",
    r"\#*\#",
    ".goutputstream-*",
    ".DS_Store",
    "Thumbs.db",
    ".nfs*",
    ".env",
    ".env.*",
    ".ssh",
    ".gnupg",
];

/// The rules in force for a folder.
#[derive(Debug)]
pub struct IgnoreRules {
    built_in: Gitignore,
    own: Gitignore,
    text: String,
    problems: Vec<String>,
}

impl IgnoreRules {
    /// The built-in rules and those of the folder's `.synclineignore`. `None`: it is being written.
    ///
    /// # Errors
    /// When the file cannot be read. A rule that makes no sense is left out and reported by
    /// [`IgnoreRules::problems`].
    pub fn load(folder: &dyn Folder) -> Result<Option<Self>, DiskError> {
        let path = RelPath::parse(IGNORE_FILE)?;
        match folder.read(&path, LONGEST)? {
            Reading::Stable { bytes, .. } => Ok(Some(Self::with_rules(&String::from_utf8_lossy(&bytes)))),
            Reading::Missing | Reading::NotAFile { .. } => Ok(Some(Self::with_rules(""))),
            Reading::Link { .. } => Ok(Some(Self::with_problem("it is a link and is not followed"))),
            Reading::TooLarge { .. } => Ok(Some(Self::with_problem("it is longer than 1 MiB"))),
            // Half of it, or none, would share what is meant to be ignored.
            Reading::Busy { .. } => Ok(None),
        }
    }

    fn with_problem(problem: &str) -> Self {
        let mut rules = Self::with_rules("");
        rules.problems.push(problem.to_owned());
        rules
    }

    /// The built-in rules and these, one per line.
    pub fn with_rules(text: &str) -> Self {
        let mut problems = Vec::new();
        let built_in = build(BUILT_IN.iter().copied(), &mut problems);
        let own = build(text.trim_start_matches('\u{feff}').lines(), &mut problems);
        Self { built_in, own, text: text.to_owned(), problems }
    }

    /// The folder's own rules as they are written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Rules that were left out, and why.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Whether a path, or a directory above it, is ignored.
    pub fn is_ignored(&self, path: &RelPath, is_dir: bool) -> bool {
        let never = |part: &str| {
            part.eq_ignore_ascii_case(".git")
                || part.eq_ignore_ascii_case(STATE_DIR)
                || is_temporary_name(part)
        };
        if path.parts().any(never) {
            return true;
        }
        match self.own.matched_path_or_any_parents(path.as_str(), is_dir) {
            Match::Ignore(_) => true,
            Match::Whitelist(_) => false,
            Match::None => {
                self.built_in.matched_path_or_any_parents(path.as_str(), is_dir).is_ignore()
                    || (!is_dir && is_random_name(path.file_name()))
            }
        }
    }
}

fn build<'l>(lines: impl Iterator<Item = &'l str>, problems: &mut Vec<String>) -> Gitignore {
    let mut builder = GitignoreBuilder::new("");
    for line in lines {
        if let Err(e) = builder.add_line(None, line) {
            problems.push(e.to_string());
        }
    }
    builder.build().unwrap_or_else(|e| {
        problems.push(e.to_string());
        Gitignore::empty()
    })
}

/// The temporaries of `sed -i` (`sedXXXXXX`) and rsync (`.name.XXXXXX`): six random letters and digits.
/// Six small letters are left to be a word (`sediments`, `.app.config`).
fn is_random_name(name: &str) -> bool {
    let random = match name.strip_prefix("sed") {
        Some(rest) if rest.len() == 6 => rest,
        _ => match name.strip_prefix('.').and_then(|rest| rest.rsplit_once('.')) {
            Some((stem, rest)) if !stem.is_empty() && rest.len() == 6 => rest,
            _ => return false,
        },
    };
    random.bytes().all(|b| b.is_ascii_alphanumeric()) && random.bytes().any(|b| !b.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(rules: &str, path: &str) -> bool {
        IgnoreRules::with_rules(rules).is_ignored(&RelPath::parse(path).unwrap(), false)
    }

    #[test]
    fn files_14_editors_leftovers_are_ignored() {
        for path in [
            ".a.txt.swp",
            "d/.a.swo",
            ".a.swx",
            "4913",
            "d/4913",
            ".#a.txt",
            "a.txt~",
            "d/#a.txt#",
            ".goutputstream-X1Y2Z3",
            ".DS_Store",
            "d/Thumbs.db",
            "sedAb3dEf",
            "d/sed123456",
            ".a.txt.Xy12ab",
            ".nfs000000000123",
            ".env",
            "d/.env.local",
            ".ssh/id",
            ".gnupg/x",
            "x/.syncline/journal",
            ".syncline-tmp-0123456789abcdef",
        ] {
            assert!(ignored("", path), "{path}");
        }
        for path in [
            "a.txt",
            "49130",
            "a.tmp",
            "sediments",
            "sed",
            "sed1234567",
            "used123456",
            ".app.config",
            "#a",
            "a#",
            ".environment",
            "env",
            ".syncline-tmp-x",
            "a.swp.txt",
        ] {
            assert!(!ignored("", path), "{path}");
        }
    }

    #[test]
    fn own_rules_ignore_and_include_again_but_never_git_or_our_state() {
        let rules =
            "# comment\nbuild/\n*.log\n!keep.log\n!*.swp\n!.git\n!.syncline\n!.syncline-tmp-*\n/top\n";
        for path in
            ["build/x", "a/build/x", "x.log", "top", "x/.syncline/y", ".syncline-tmp-0123456789abcdef"]
        {
            assert!(ignored(rules, path), "{path}");
        }
        for path in ["keep.log", "a.swp", "a/top", "comment", "builds"] {
            assert!(!ignored(rules, path), "{path}");
        }
    }

    #[test]
    fn a_directory_rule_does_not_match_a_file() {
        let rules = IgnoreRules::with_rules("build/");
        let path = RelPath::parse("build").unwrap();
        assert!(rules.is_ignored(&path, true));
        assert!(!rules.is_ignored(&path, false));
    }

    #[test]
    fn a_senseless_rule_is_reported_and_the_others_hold() {
        let rules = IgnoreRules::with_rules("a{b\nx\n");
        assert_eq!(rules.problems().len(), 1);
        assert!(rules.is_ignored(&RelPath::parse("x").unwrap(), false));
    }
}
