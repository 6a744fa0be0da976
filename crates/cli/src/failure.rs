//! How the program ends when it cannot do what was asked: one line that says what, and one that says what
//! to do about it.

use std::process::ExitCode;
use syncline_hub::HubError;
use syncline_local::LocalError;
use syncline_store::{LockError, StoreError};

/// Wrong use: a bad link, a public address without protection, a port in use.
const USAGE: u8 = 2;
/// Another hub runs on the folder (`EX_CANTCREAT` of sysexits.h, as documented).
const LOCKED: u8 = 73;

/// Why the program ends.
#[derive(Debug)]
pub struct Failure {
    what: String,
    hint: String,
    code: u8,
    pid: Option<u32>,
}

impl Failure {
    /// Something failed.
    pub fn other(what: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure { what: what.into(), hint: hint.into(), code: 1, pid: None }
    }

    /// It was called wrongly.
    pub fn usage(what: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure { code: USAGE, ..Failure::other(what, hint) }
    }

    /// What happened, in a sentence.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The same, and more about it.
    pub fn saying(self, more: &str) -> Failure {
        Failure { what: format!("{}: {more}", self.what), ..self }
    }

    /// Prints it and gives the exit code.
    pub fn show(&self, json: bool) -> ExitCode {
        if json {
            let line = serde_json::json!({
                "error": self.what, "hint": self.hint, "exit": self.code, "pid": self.pid,
            });
            println!("{line}");
        }
        eprintln!("syncline: {}", self.what);
        if !self.hint.is_empty() {
            eprintln!("  {}", self.hint);
        }
        ExitCode::from(self.code)
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Failure {
        match &error {
            LockError::Held { pid } => Failure {
                what: error.to_string(),
                hint: "one hub per folder; `syncline status` shows what it does".to_owned(),
                code: LOCKED,
                pid: *pid,
            },
            LockError::Shared => Failure {
                code: LOCKED,
                ..Failure::other(
                    error.to_string(),
                    "end them first (`syncline status` names them), or choose another folder",
                )
            },
            LockError::Io { .. } => Failure::other(error.to_string(), "is the folder writable?"),
        }
    }
}

impl From<LocalError> for Failure {
    fn from(error: LocalError) -> Failure {
        let what = error.to_string();
        match &error {
            LocalError::BadName { .. } => Failure::usage(what, ""),
            LocalError::Full { .. } => Failure {
                code: LOCKED,
                ..Failure::other(what, "wait until somebody leaves, or allow more with --max-users N")
            },
            LocalError::NameTaken { pid, .. } => Failure {
                code: LOCKED,
                pid: Some(*pid),
                ..Failure::other(what, "choose another name, or end that process first")
            },
            LocalError::NoCarriage { .. } => Failure::other(what, "try another --transport"),
            LocalError::Foreign { .. } | LocalError::Unknown { .. } => {
                Failure::other(what, "choose another --group, or have it removed from /dev/shm")
            }
            LocalError::Io { .. } => Failure::other(what, ""),
        }
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Failure {
        let hint = match &error {
            HubError::IgnoreFileHeld => "close the program that has it open, and start again",
            HubError::StorageFull => "free some space; nothing that was acknowledged is lost",
            HubError::ReadOnly => {
                "look at the disk (`syncline doctor`), then end Syncline and start it again"
            }
            HubError::Damaged { .. } => "the other documents are served; a peer's copy refills this one",
            HubError::UnknownDocument { .. } => "`syncline status` lists what there is",
            _ => "",
        };
        Failure::other(error.to_string(), hint)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let hint = match &error {
            StoreError::Newer { .. } => "use the newer program, or serve another folder",
            StoreError::Damaged { .. } => {
                "move .syncline aside and serve again: the files are untouched, their history starts anew"
            }
            _ => "",
        };
        Failure::other(error.to_string(), hint)
    }
}
