//! Every dependency's licence is in the allow-list of deny.toml, and every dependency comes from
//! crates.io. Needs nothing but Cargo and no network.

use crate::cargo::{host, output_of, root};

/// Where a dependency that is not in the workspace has to come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Debug)]
struct Package {
    name: String,
    licence: Option<String>,
    source: Option<String>,
}

/// Checks the dependencies of the workspace on this kind of machine and returns what is wrong.
pub fn check() -> Result<Vec<String>, String> {
    let path = root().join("deny.toml");
    let rules = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let allowed = allowed_licences(&rules);
    if allowed.is_empty() {
        return Err("deny.toml: no `allow = [\"…\"]` in the section [licenses]".to_owned());
    }
    // Only this platform's dependencies: those of others need not have been downloaded.
    let platform = host()?;
    let metadata =
        output_of(&["metadata", "--offline", "--format-version", "1", "--filter-platform", &platform])?;
    Ok(faults(&packages(&metadata)?, &allowed))
}

/// The strings of `allow` in the section `[licenses]`.
fn allowed_licences(rules: &str) -> Vec<String> {
    let mut allowed = Vec::new();
    let (mut in_section, mut in_list) = (false, false);
    for line in rules.lines() {
        let mut rest = line.split('#').next().unwrap_or_default().trim();
        if rest.starts_with('[') && !in_list {
            in_section = rest == "[licenses]";
        }
        if let Some(value) = rest.strip_prefix("allow").map(str::trim_start)
            && in_section
            && let Some(list) = value.strip_prefix('=')
        {
            in_list = true;
            rest = list;
        }
        if in_list {
            allowed.extend(rest.split('"').skip(1).step_by(2).map(str::to_owned));
            in_list = !rest.ends_with(']');
        }
    }
    allowed
}

/// Reads what `cargo metadata` prints.
fn packages(metadata: &str) -> Result<Vec<Package>, String> {
    let metadata: serde_json::Value =
        serde_json::from_str(metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let read = packages.iter().map(|package| Package {
        name: format!(
            "{} {}",
            package["name"].as_str().unwrap_or_default(),
            package["version"].as_str().unwrap_or_default()
        ),
        licence: text(&package["license"]),
        source: text(&package["source"]),
    });
    Ok(read.collect())
}

fn faults(packages: &[Package], allowed: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    for package in packages {
        let name = &package.name;
        if let Some(source) = &package.source
            && source != REGISTRY
        {
            faults.push(format!("{name} comes from {source}, not from crates.io"));
        }
        match package.licence.as_deref().map(|licence| (licence, accepts(licence, allowed))) {
            None => faults.push(format!("{name} names no licence")),
            Some((licence, None)) => faults.push(format!("{name}: cannot read the licence `{licence}`")),
            Some((licence, Some(false))) => {
                faults.push(format!("{name}: `{licence}` is not allowed by deny.toml"));
            }
            Some((_, Some(true))) => {}
        }
    }
    faults
}

/// Whether an SPDX expression can be satisfied with the allowed licences; nothing when it cannot be
/// read. `A/B` is the old way to write `A OR B`.
fn accepts(expression: &str, allowed: &[String]) -> Option<bool> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, allowed };
    let answer = reader.any()?;
    reader.words.is_empty().then_some(answer)
}

/// A reader of SPDX expressions; `AND` binds closer than `OR`.
struct Reader<'a> {
    words: &'a [&'a str],
    allowed: &'a [String],
}

impl Reader<'_> {
    fn any(&mut self) -> Option<bool> {
        let mut answer = self.all()?;
        while self.skip("OR") {
            answer |= self.all()?;
        }
        Some(answer)
    }

    fn all(&mut self) -> Option<bool> {
        let mut answer = self.one()?;
        while self.skip("AND") {
            answer &= self.one()?;
        }
        Some(answer)
    }

    fn one(&mut self) -> Option<bool> {
        if self.skip("(") {
            let answer = self.any()?;
            return self.skip(")").then_some(answer);
        }
        let mut licence = self.name()?.to_owned();
        if self.skip("WITH") {
            licence = format!("{licence} WITH {}", self.name()?);
        }
        Some(self.allowed.contains(&licence))
    }

    fn name(&mut self) -> Option<&str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        (!matches!(*first, "(" | ")" | "AND" | "OR" | "WITH")).then_some(*first)
    }

    fn skip(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if *first == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<String> {
        ["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).to_vec()
    }

    #[test]
    fn expressions_are_judged() {
        for (expression, expected) in [
            ("MIT", Some(true)),
            ("GPL-3.0", Some(false)),
            ("GPL-3.0 OR MIT", Some(true)),
            ("GPL-3.0 AND MIT", Some(false)),
            ("MIT/GPL-3.0", Some(true)),
            ("Apache-2.0 / GPL-2.0", Some(true)),
            ("(MIT OR GPL-2.0) AND Unicode-3.0", Some(true)),
            ("MIT OR GPL-2.0 AND GPL-3.0", Some(true)),
            ("(MIT OR GPL-2.0) AND GPL-3.0", Some(false)),
            ("Apache-2.0 WITH LLVM-exception", Some(true)),
            ("MIT WITH LLVM-exception", Some(false)),
            ("MIT OR", None),
            ("(MIT", None),
            ("MIT MIT", None),
            ("", None),
        ] {
            assert_eq!(accepts(expression, &allowed()), expected, "{expression}");
        }
    }

    #[test]
    fn the_allow_list_is_read_from_its_section_only() {
        let rules = "[bans]\nallow = [\"nothing\"]\n[licenses]\nallow = [ # comment\n  \"MIT\", # why\n  \"ISC\",\n]\n\
                     [sources]\nallow-registry = [\"x\"]\n";
        assert_eq!(allowed_licences(rules), ["MIT", "ISC"]);
        assert_eq!(
            allowed_licences("[licenses]\nallow = [\"MIT\", \"ISC\"]\nconfidence = \"x\"\n"),
            ["MIT", "ISC"]
        );
        assert!(allowed_licences("").is_empty());
    }

    #[test]
    fn faults_name_the_package_and_the_reason() {
        let metadata = r#"{"packages": [
            {"name": "good", "version": "1.0.0", "license": "MIT", "source": null},
            {"name": "bare", "version": "1.0.0", "license": null, "source": null},
            {"name": "copyleft", "version": "2.0.0", "license": "GPL-3.0", "source": null},
            {"name": "foreign", "version": "1.0.0", "license": "MIT", "source": "git+https://example.org/x"}]}"#;
        let faults = faults(&packages(metadata).unwrap(), &allowed());
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[0].starts_with("bare 1.0.0") && faults[1].contains("GPL-3.0"), "{faults:?}");
        assert!(faults[2].contains("example.org"), "{faults:?}");
    }
}
