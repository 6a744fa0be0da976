//! Whose history a path is about, and that history, read from the journal: whether a hub runs or not.

use std::path::{Path, PathBuf};
use syncline_engine::Document;
use syncline_engine::catalogue::DocId;
use syncline_local::Name;
use syncline_store::LogReader;

use crate::args::Whose;
use crate::control::shared_folder_of;
use crate::failure::Failure;
use crate::local;
use crate::state_dir::{JOURNAL, STATE_OF_USERS, state_path, user_state_path};
use crate::status::read_catalogue_at;

/// A file, and whose hub knows it by what path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The folder that it is in.
    pub root: PathBuf,
    /// The state directory of the hub.
    pub state: PathBuf,
    /// The path, as the hub knows it; `None`: all of the folder.
    pub path: Option<String>,
    /// Whose copy it is, of the users of this machine who have one each.
    pub user: Option<String>,
}

/// The users who have a copy of a document in a folder, in the order of their names.
pub fn local_users(root: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root.join(STATE_OF_USERS)) else { return Vec::new() };
    let names = entries.flatten().filter(|entry| entry.path().join(JOURNAL).is_file());
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| Name::parse(name).is_ok()).collect();
    names.sort();
    names
}

impl Place {
    /// What a path is about: a file of a shared folder, a local user's copy, or, if it is the folder in which users have
    /// copies or the name that their document has for all of them, the copy of each.
    pub fn all_of(whose: &Whose) -> Result<Vec<Place>, Failure> {
        let Whose { file, user } = whose;
        let absolute = std::path::absolute(file).map_err(|error| {
            Failure::other(format!("{}: {error}", file.display()), "name a folder or a file")
        })?;
        let (root, inside) = match state_path(&absolute).is_dir() {
            true => (absolute, None),
            false => shared_folder_of(&absolute).map(|(root, inside)| (root, Some(inside)))?,
        };
        let users = local_users(&root);
        let folder = state_path(&root);
        let shared = folder.join(JOURNAL).is_file();
        let copy = |user: &String| Place {
            root: root.clone(),
            state: user_state_path(&root, user),
            path: Some(local::SHARED.to_owned()),
            user: Some(user.clone()),
        };
        let owner = inside.as_deref().and_then(|inside| inside.strip_suffix(local::COPY));
        let owner = owner.and_then(|owner| users.iter().find(|user| *user == owner));
        let all = inside.as_deref().is_none_or(|inside| inside == local::SHARED && !shared);
        match (user, owner) {
            (Some(user), _) if !users.contains(user) => {
                Err(Failure::usage(format!("{user} has no copy in {}", root.display()), those(&users)))
            }
            (Some(user), None) if all => Ok(vec![copy(user)]),
            (Some(user), owner) if owner != Some(user) => {
                Err(Failure::usage(format!("{} is not a copy of {user}'s", file.display()), those(&users)))
            }
            (_, Some(owner)) => Ok(vec![copy(owner)]),
            (None, None) if all && !shared && !users.is_empty() => Ok(users.iter().map(copy).collect()),
            (None, None) if !shared && !users.is_empty() => {
                Err(Failure::usage(format!("{} is nobody's copy", file.display()), those(&users)))
            }
            _ => Ok(vec![Place { root: root.clone(), state: folder, path: inside, user: None }]),
        }
    }

    /// The same, if it is one file of one hub.
    pub fn of(whose: &Whose) -> Result<Place, Failure> {
        let mut places = Place::all_of(whose)?;
        match (places.pop(), places.is_empty()) {
            (Some(place), true) => Ok(place),
            _ => Err(Failure::usage(
                format!("each user of {} has a copy of their own", whose.file.display()),
                those(&local_users(places.first().map_or(Path::new("."), |place| &place.root))),
            )),
        }
    }

    /// The file that a user of this machine has.
    pub fn copy(&self) -> Option<PathBuf> {
        self.user.as_ref().map(|user| self.root.join(format!("{user}{}", local::COPY)))
    }

    /// The path, as the hub knows it.
    pub fn file(&self) -> Result<&str, Failure> {
        self.path.as_deref().ok_or_else(|| {
            Failure::usage(format!("{} is a whole folder", self.root.display()), "name a file in it")
        })
    }

    /// The file's document in the journal, and the journal's reader.
    pub fn document(&self) -> Result<(DocId, Box<dyn LogReader>), Failure> {
        let path = self.file()?;
        let (catalogue, reader) = read_catalogue_at(&self.state)?;
        let Some(doc) = catalogue.at(path).first() else {
            return Err(Failure::usage(format!("{path} is not shared"), "`syncline status` shows what is"));
        };
        Ok((*doc, reader))
    }

    /// The file's document, with all its events.
    pub fn read(&self) -> Result<Document, Failure> {
        let (doc, reader) = self.document()?;
        let path = self.file()?;
        reader.document(doc)?.to_document().map_err(|error| {
            Failure::other(format!("{path} in the journal: {error}"), "the other documents are not affected")
        })
    }
}

/// Which users there are to choose from.
fn those(users: &[String]) -> String {
    match users {
        [] => "nobody has one: `syncline local NAME` makes it".to_owned(),
        [first, ..] => {
            format!("name one: {first}{}, or --user with one of {}", local::COPY, users.join(", "))
        }
    }
}

/// Does something for each of several places; a person is told whose what follows is.
pub fn for_each(
    places: &[Place],
    json: bool,
    mut each: impl FnMut(&Place) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for place in places {
        if let Some(user) = place.user.as_ref().filter(|_| places.len() > 1 && !json) {
            println!("{user}:");
        }
        each(place)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose(file: &Path, user: Option<&str>) -> Whose {
        Whose { file: file.to_owned(), user: user.map(str::to_owned) }
    }

    /// User and path.
    type Found = (Option<String>, Option<String>);

    fn found(file: &Path, user: Option<&str>) -> Result<Vec<Found>, String> {
        let places = Place::all_of(&whose(file, user)).map_err(|failure| failure.what().to_owned())?;
        Ok(places.into_iter().map(|place| (place.user, place.path)).collect())
    }

    #[test]
    fn a_path_is_about_a_file_a_copy_or_every_copy() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for user in ["bob", "ann", "not a name"] {
            std::fs::create_dir_all(user_state_path(root, user)).unwrap();
            std::fs::write(user_state_path(root, user).join(JOURNAL), "").unwrap();
        }
        // Somebody who never came to have a journal.
        std::fs::create_dir_all(user_state_path(root, "eve")).unwrap();
        let copy = |user: &str| (Some(user.to_owned()), Some(local::SHARED.to_owned()));
        let both = Ok(vec![copy("ann"), copy("bob")]);
        assert_eq!(found(root, None), both);
        assert_eq!(found(&root.join(local::SHARED), None), both);
        for (file, user) in [
            (root.join("ann_doc.txt"), None),
            (root.join("ann_doc.txt"), Some("ann")),
            (root.to_owned(), Some("ann")),
            (root.join(local::SHARED), Some("ann")),
        ] {
            assert_eq!(found(&file, user), Ok(vec![copy("ann")]), "{} {user:?}", file.display());
        }
        for (file, user) in [
            (root.to_owned(), Some("eve")),
            (root.join("ann_doc.txt"), Some("bob")),
            (root.join("other.txt"), Some("bob")),
            (root.join("other.txt"), None),
            (root.join("eve_doc.txt"), None),
        ] {
            assert!(found(&file, user).is_err(), "{} {user:?}", file.display());
        }
        assert!(Place::of(&whose(root, None)).is_err());
        assert!(Place::of(&whose(root, Some("bob"))).is_ok());
        // Once the folder itself is shared, a path that is no copy is its own.
        std::fs::write(state_path(root).join(JOURNAL), "").unwrap();
        assert_eq!(found(root, None), Ok(vec![(None, None)]));
        assert_eq!(found(&root.join("other.txt"), None), Ok(vec![(None, Some("other.txt".to_owned()))]));
        assert_eq!(found(&root.join("ann_doc.txt"), None), Ok(vec![copy("ann")]));
        assert_eq!(found(root, Some("bob")), Ok(vec![copy("bob")]));
    }
}
