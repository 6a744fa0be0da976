//! `.syncline/tokens.json`: the tokens that the owner made, without their secrets. Readable by the owner only,
//! replaced whole, changed by one program at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use syncline_protocol::access::{Grant, Role, Scope};
use syncline_protocol::{fingerprint_text, is_document_path, parse_fingerprint};

use crate::failure::Failure;

/// So many tokens, expired and revoked ones included.
pub const MOST: usize = 10_000;
/// Each takes less than this in the file, in bytes; the longest path included.
const EACH: u64 = 8 << 10;
/// The format of the file.
const VERSION: u64 = 1;

/// The file of a state directory; it need not exist.
pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    /// That of this state directory.
    pub fn of(state: &Path) -> TokenFile {
        TokenFile { path: state.join("tokens.json") }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tokens in it.
    ///
    /// # Errors
    /// If it cannot be read, others could read it too, or it is not what this program writes.
    pub fn read(&self) -> Result<Vec<Grant>, Failure> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed(error.to_string())),
        };
        let metadata = file.metadata().map_err(|error| self.failed(error.to_string()))?;
        if metadata.permissions().mode() & 0o077 != 0 {
            let hint = format!("chmod 600 '{}'", self.path.display());
            return Err(Failure::usage(format!("{} can be read by others", self.path.display()), hint));
        }
        let (mut text, most) = (String::new(), MOST as u64 * EACH);
        let read = Read::by_ref(&mut file).take(most + 1).read_to_string(&mut text);
        read.map_err(|error| self.failed(error.to_string()))?;
        if text.len() as u64 > most {
            return Err(self.failed(format!("longer than {most} bytes")));
        }
        parse(&text).map_err(|what| self.failed(what))
    }

    /// Changes the tokens, alone: another program that wants to waits. Durable on return.
    ///
    /// # Errors
    /// As [`TokenFile::read`], and what `change` returns; nothing is changed then.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut Vec<Grant>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let fail = |error: std::io::Error| self.failed(error.to_string());
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(self.path.with_extension("lock")).map_err(fail)?;
        lock.lock().map_err(fail)?;
        let mut grants = self.read()?;
        let result = change(&mut grants)?;
        let new = self.path.with_extension("new");
        // Left by a program that was killed.
        let _ = fs::remove_file(&new);
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
        let written = written.and_then(|mut file| {
            file.write_all(to_text(&grants).as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        });
        written.map_err(fail)?;
        Ok(result)
    }

    fn failed(&self, what: String) -> Failure {
        Failure::other(
            format!("{}: {what}", self.path.display()),
            "while it cannot be read, no token lets in",
        )
    }
}

/// The tokens as text.
fn to_text(grants: &[Grant]) -> String {
    let tokens: Vec<Value> = grants.iter().map(to_json).collect();
    format!("{:#}\n", json!({"version": VERSION, "tokens": tokens}))
}

/// A token, as it is kept and listed. Nothing of it lets anybody in.
pub fn to_json(grant: &Grant) -> Value {
    let document = match &grant.scope {
        Scope::Folder => Value::Null,
        Scope::Document(path) => json!(path),
    };
    json!({
        "hash": fingerprint_text(&grant.hash), "name": grant.name, "role": grant.role.name(),
        "document": document, "created_ms": grant.created_ms, "expires_ms": grant.expires_ms,
        "revoked_ms": grant.revoked_ms,
    })
}

/// What [`to_text`] wrote. All or nothing: a token that is left out could be a revoked one.
fn parse(text: &str) -> Result<Vec<Grant>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    match value.get("version").and_then(Value::as_u64) {
        Some(VERSION) => {}
        Some(other) => return Err(format!("made by another version of Syncline (format {other})")),
        None => return Err("not a list of tokens".to_owned()),
    }
    let tokens = value.get("tokens").and_then(Value::as_array).ok_or("not a list of tokens")?;
    if tokens.len() > MOST {
        return Err(format!("more than {MOST} tokens"));
    }
    let numbered = tokens.iter().enumerate();
    numbered.map(|(at, token)| of_json(token).ok_or(format!("token {} is not whole", at + 1))).collect()
}

fn of_json(token: &Value) -> Option<Grant> {
    let token = token.as_object()?;
    let text = |name: &str| token.get(name)?.as_str();
    Some(Grant {
        hash: parse_fingerprint(text("hash")?)?,
        name: text("name")?.to_owned(),
        role: Role::of(text("role")?)?,
        scope: match token.get("document")? {
            Value::Null => Scope::Folder,
            Value::String(path) if is_document_path(path) => Scope::Document(path.clone()),
            _ => return None,
        },
        created_ms: token.get("created_ms")?.as_u64()?,
        expires_ms: moment(token, "expires_ms")?,
        revoked_ms: moment(token, "revoked_ms")?,
    })
}

/// A moment, or that there is none. A key that is missing or of a wrong type is a fault, not "never".
fn moment(token: &Map<String, Value>, name: &str) -> Option<Option<u64>> {
    match token.get(name)? {
        Value::Null => Some(None),
        value => Some(Some(value.as_u64()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(number: u8) -> Grant {
        Grant {
            hash: [number; 32],
            name: format!("name {number} ä"),
            role: Role::Write,
            scope: if number.is_multiple_of(2) { Scope::Folder } else { Scope::Document("a/b.txt".into()) },
            created_ms: 1,
            expires_ms: (number > 1).then_some(u64::MAX),
            revoked_ms: (number > 2).then_some(3),
        }
    }

    #[test]
    fn tokens_are_read_as_they_were_written() {
        let grants: Vec<Grant> = (0..4).map(grant).collect();
        assert_eq!(parse(&to_text(&grants)), Ok(grants));
        assert_eq!(parse(&to_text(&[])), Ok(Vec::new()));
    }

    #[test]
    fn a_list_that_is_not_whole_is_refused_whole() {
        let text = to_text(&[grant(1), grant(3)]);
        let cuts: [(&str, &str); 9] = [
            ("\"version\": 1", "\"version\": 2"),
            ("\"version\": 1", "\"version\": \"1\""),
            ("\"role\": \"write\"", "\"role\": \"owner\""),
            ("\"revoked_ms\": 3", "\"revoked\": 3"),
            ("\"revoked_ms\": 3", "\"revoked_ms\": -3"),
            ("\"revoked_ms\": 3", "\"revoked_ms\": \"3\""),
            ("a/b.txt", "../b.txt"),
            ("\"created_ms\": 1", "\"created_ms\": 1.5"),
            ("0303", "03"),
        ];
        for (from, to) in cuts {
            assert!(text.contains(from), "{from} in {text}");
            assert!(parse(&text.replacen(from, to, 1)).is_err(), "{from} -> {to}");
        }
        assert!(parse(&text[..text.len() / 2]).is_err());
        assert!(parse("").is_err());
    }
}
