//! `syncline connect`: a diff-sync client in a terminal, or at the end of a pipe.

mod command;
mod talk;
mod terminal;

use std::fmt;
use std::path::{Path, PathBuf};

use syncline_protocol::diffsync::{Client, SessionId, Settings};
use syncline_protocol::{Token, Trust};

use self::talk::Talk;
use self::terminal::Terminal;
use crate::failure::Failure;
use crate::state_dir::{read_secret, state_path};

/// Where the token may be given besides a file: not as an argument, which every user of the machine can read.
const TOKEN_VARIABLE: &str = "SYNCLINE_TOKEN";

/// Where a hub is, and how it is known to be that hub.
pub struct Place {
    /// A name or an address, an IPv6 address without brackets.
    pub host: String,
    /// The port of `--diffsync`.
    pub port: u16,
    /// By TLS, or not at all.
    pub trust: Trust,
}

/// `HOST:PORT`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Place {
    /// Reads `HOST:PORT`.
    fn parse(text: &str, trust: Trust) -> Option<Place> {
        let (host, port) = text.rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        // An IPv6 address without brackets would end in another port.
        let host = bare.or_else(|| (!host.contains(':')).then_some(host)).filter(|host| !host.is_empty())?;
        Some(Place { host: host.to_owned(), port: port.parse().ok()?, trust })
    }
}

/// Runs until `quit` or the end of the input. `place` is HOST:PORT.
pub async fn run(
    (place, trust): (&str, Trust),
    doc: Option<String>,
    token_file: Option<&Path>,
    name: Option<String>,
    json: bool,
) -> Result<(), Failure> {
    let place = Place::parse(place, trust).ok_or_else(|| {
        Failure::usage(
            format!("{place} is no address"),
            "it has the form HOST:PORT, as `syncline serve --diffsync` printed it",
        )
    })?;
    let token = token(token_file)?;
    let mut session = [0; 16];
    getrandom::fill(&mut session).map_err(|error| Failure::other(error.to_string(), ""))?;
    let name = name.or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty()));
    let settings = Settings {
        session: SessionId(session),
        doc,
        auth: Some(token.secret()),
        name,
        compress: true,
        wait: true,
    };
    let talk = Talk::new(place, Client::new(settings));
    let (terminal, typed) = Terminal::open(json)?;
    talk.run(terminal, typed).await
}

/// From the file named, the environment, or the shared folder that this is called in.
fn token(file: Option<&Path>) -> Result<Token, Failure> {
    if let Some(file) = file {
        return read_secret(file)?.ok_or_else(|| {
            Failure::usage(format!("there is no {}", file.display()), "name the token's file")
        });
    }
    if let Ok(text) = std::env::var(TOKEN_VARIABLE) {
        return Token::parse(text.trim())
            .map_err(|error| Failure::usage(format!("{TOKEN_VARIABLE}: {error}"), "copy the whole token"));
    }
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    for folder in here.ancestors() {
        if let Some(token) = read_secret(&state_path(folder).join("token"))? {
            return Ok(token);
        }
    }
    Err(Failure::usage(
        "no token: who may connect?",
        format!("--token-file FOLDER/.syncline/token, or {TOKEN_VARIABLE}, or call it in the shared folder"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for text in ["127.0.0.1:7421", "localhost:1", "[::1]:7421"] {
            assert_eq!(Place::parse(text, Trust::Plain).unwrap().to_string(), text);
        }
        for wrong in ["", "localhost", ":1", "localhost:", "localhost:70000", "::1:7421"] {
            assert!(Place::parse(wrong, Trust::Plain).is_none(), "{wrong}");
        }
    }
}
