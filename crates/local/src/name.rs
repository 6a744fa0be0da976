//! What users and groups may be called, and what the things they share are called.

use crate::error::LocalError;

/// The longest name of a user or a group, in bytes.
pub const MAX_NAME: usize = 32;

/// A user's or a group's name: short, and of characters that every name of a shared thing may have.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name(String);

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// [`LocalError::BadName`].
    pub fn parse(text: &str) -> Result<Name, LocalError> {
        let fits = (1..=MAX_NAME).contains(&text.len());
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if fits && text.chars().all(plain) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            Ok(Name(text.to_owned()))
        } else {
            Err(LocalError::BadName { name: text.chars().take(2 * MAX_NAME).collect() })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Those of one account who find each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its name.
    pub name: Name,
    /// The account: the effective user id of its processes.
    pub uid: u32,
}

impl Group {
    /// This account's group of that name.
    ///
    /// # Errors
    /// [`LocalError::BadName`].
    pub fn of_this_account(name: &str) -> Result<Group, LocalError> {
        Ok(Group { name: Name::parse(name)?, uid: rustix::process::geteuid().as_raw() })
    }

    /// The name of the registry in POSIX shared memory.
    pub(crate) fn registry(&self) -> String {
        format!("/syncline-{}-{}", self.uid, self.name)
    }

    /// The name of a user's message queue.
    pub(crate) fn queue(&self, user: &Name) -> String {
        format!("/syncline-{}-{}-{user}", self.uid, self.name)
    }

    /// The abstract address of a user's socket, at which rings in shared memory are handed over. The generation
    /// makes it a new one at every start.
    pub(crate) fn socket(&self, slot: usize, generation: u32) -> String {
        format!("syncline-{}-{}-{slot}-{generation}", self.uid, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_lead_elsewhere_are_refused() {
        for good in ["user_1", "a", "A-b.c", &"x".repeat(32)] {
            assert_eq!(Name::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "../x", "a/b", ".a", "-a", "ä", "a b", "a\0", "a\n", &"x".repeat(33)] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
    }
}
