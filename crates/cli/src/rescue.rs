//! `syncline rescue`: lists everything that was displaced in a folder, and gives it back. Nothing is overwritten: what
//! comes back comes into a file of its own.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use syncline_disk::{RelPath, is_refused_from_network};
use syncline_engine::catalogue::Catalogue;
use syncline_hub::rescue::{Displacements, How, Rescuable, Wanted, bytes_of, find, list};
use syncline_store::LogReader;

use crate::args::{RescueArgs, RescueVerb, Whose};
use crate::failure::Failure;
use crate::history::Place;
use crate::report::{date_of, json_line, now_ms, safe};
use crate::status::read_catalogue_at;

/// The shortest beginning of an id that is looked for: shorter ones are typing errors.
const LEAST_ID: usize = 4;
/// How many names beside the file are tried before a person has to choose one.
const NAMES: u32 = 100;

/// What is asked about: a shared folder, a folder or file in one, or a local user's copy.
struct Asked {
    /// The folder that files come back to.
    root: PathBuf,
    /// Its hub's state.
    state: PathBuf,
    /// The file or folder in it; `None`: all of it.
    only: Option<String>,
    /// The file that a local user has, whatever the document is called.
    copy: Option<PathBuf>,
}

impl Asked {
    /// Of several users who have a copy each in a folder, all.
    fn about(path: &Path, user: Option<&str>) -> Result<Vec<Asked>, Failure> {
        let whose = Whose { file: path.to_owned(), user: user.map(str::to_owned) };
        let asked = |place: Place| {
            let copy = place.copy();
            Asked { root: place.root, state: place.state, only: place.path, copy }
        };
        Ok(Place::all_of(&whose)?.into_iter().map(asked).collect())
    }

    fn read(&self) -> Result<(Catalogue, Box<dyn LogReader>), Failure> {
        read_catalogue_at(&self.state)
    }

    /// Where a file of the hub is, or was.
    fn place_of(&self, it: &Rescuable) -> PathBuf {
        let within = |path: &Path| {
            let parent = path.ancestors().skip(1).find_map(|above| above.canonicalize().ok());
            self.root.canonicalize().is_ok_and(|root| parent.is_some_and(|parent| parent.starts_with(root)))
        };
        // A peer chose the name: it must be one that the hub would write, and no link may lead out of the folder.
        let named = RelPath::parse(&it.path).ok().filter(|path| !is_refused_from_network(path));
        let own = named.map(|path| self.root.join(path.as_str())).filter(|path| within(path));
        self.copy.clone().or(own).unwrap_or_else(|| self.root.join("rescued"))
    }
}

/// `syncline rescue`, all of it.
pub fn run(args: RescueArgs, json: bool) -> Result<(), Failure> {
    match args.verb {
        None => tell(&args, json),
        Some(RescueVerb::Show { id, path, whole }) => show(&Asked::about(&path, None)?, &id, whole, json),
        Some(RescueVerb::Put { id, path, to, whole }) => {
            put(&Asked::about(&path, None)?, &id, to.as_deref(), whole, json)
        }
    }
}

fn tell(args: &RescueArgs, json: bool) -> Result<(), Failure> {
    let since_ms = args.since.map_or(0, |ago| now_ms().saturating_sub(ago.as_millis() as u64));
    let (mut seen, mut damage, mut left_out) = (BTreeSet::new(), BTreeSet::new(), 0);
    for asked in Asked::about(&args.path, args.user.as_deref())? {
        let (catalogue, reader) = asked.read()?;
        let wanted = Wanted {
            path: asked.only.as_deref(),
            since_ms,
            least: args.least,
            id: None,
            newest: args.newest,
        };
        let Displacements { found, older, damaged } = list(&catalogue, reader.as_ref(), &wanted)?;
        left_out = left_out.max(older);
        damage.extend(damaged);
        // Users who share a document have one history of it: each entry is told once.
        for it in found.iter().filter(|it| seen.insert(it.id.clone())) {
            match json {
                true => json_line(&as_json(it)),
                false => println!("{}", as_text(it)),
            }
        }
    }
    if json {
        if left_out > 0 {
            json_line(&json!({"older": left_out}));
        }
        damage.iter().for_each(|path| json_line(&json!({"damaged": path})));
        return Ok(());
    }
    if seen.is_empty() {
        println!("Nothing was displaced in {}.", args.path.display());
    }
    if left_out > 0 {
        println!("{left_out} older ones are left out; --newest N shows more");
    }
    for path in damage {
        println!("{}: its history is damaged in the journal, and cannot be listed", safe(&path));
    }
    Ok(())
}

fn as_json(it: &Rescuable) -> Value {
    let winner = match &it.how {
        How::Lost { winner } => Some(winner),
        _ => None,
    };
    json!({
        "id": it.id, "time_ms": it.time_ms, "path": it.path, "how": it.how.word(), "author": it.author,
        "winner": winner, "amount": it.amount, "first_line": it.first_line,
    })
}

fn as_text(it: &Rescuable) -> String {
    let when = if it.time_ms == 0 { "long ago".to_owned() } else { date_of(it.time_ms) };
    let who = if it.author.is_empty() { "somebody elsewhere" } else { &it.author };
    let what = match &it.how {
        How::Overwritten => format!("{} characters taken out by {who}", it.amount),
        How::Deleted => format!("deleted by {who}, {} bytes", it.amount),
        How::Lost { winner } if winner.is_empty() => {
            format!("{} characters of {who} lost to a later change", it.amount)
        }
        How::Lost { winner } => format!("{} characters of {who} lost to {winner}", it.amount),
        How::Replaced => format!("replaced by {who}, {} bytes", it.amount),
        How::Kept if it.doc.is_some() => format!("kept as {who} had it, {} bytes", it.amount),
        How::Kept => format!("kept, of a file not recorded, {} bytes", it.amount),
    };
    let path = if it.path.is_empty() { "-" } else { &it.path };
    let begins = if it.first_line.is_empty() { String::new() } else { format!(": {}", it.first_line) };
    safe(&format!("{}  {when}  {path}  {what}{begins}", it.id))
}

/// Something displaced, its bytes, and the mode of its file.
type Fetched = (Rescuable, Vec<u8>, Option<u32>);

/// What an id means, and whose it is: the first of those who know it.
fn fetch<'a>(all: &'a [Asked], id: &str, whole: bool) -> Result<(&'a Asked, Fetched), Failure> {
    let mut refused =
        Failure::usage(format!("nothing displaced is called {id}"), "`syncline rescue` lists them");
    for asked in all {
        match fetch_from(asked, id, whole) {
            Ok(fetched) => return Ok((asked, fetched)),
            Err(failure) => refused = failure,
        }
    }
    Err(refused)
}

fn fetch_from(asked: &Asked, id: &str, whole: bool) -> Result<Fetched, Failure> {
    let hint = "`syncline rescue` lists them";
    if id.len() < LEAST_ID || !id.chars().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(Failure::usage(format!("{id:?} is no id: {LEAST_ID} to 12 hexadecimal digits"), hint));
    }
    let id = id.to_ascii_lowercase();
    let (catalogue, reader) = asked.read()?;
    let mut found = find(&catalogue, reader.as_ref(), &id)?;
    let it = match (found.pop(), found.pop()) {
        (Some(it), None) => it,
        (None, _) => return Err(Failure::usage(format!("nothing displaced is called {id}"), hint)),
        (Some(_), Some(_)) => {
            return Err(Failure::usage(format!("more than one is called {id}…"), "give more of its digits"));
        }
    };
    let mode = it.doc.and_then(|doc| catalogue.get(&doc)?.mode().copied());
    match bytes_of(&catalogue, reader.as_ref(), &it, whole)? {
        Some(bytes) => Ok((it, bytes, mode)),
        None => Err(Failure::other(
            format!("{id} is not kept any longer"),
            "1 GiB of old contents is kept, the newest; another machine may still have it",
        )),
    }
}

fn show(asked: &[Asked], id: &str, whole: bool, json: bool) -> Result<(), Failure> {
    let (_, (it, bytes, _)) = fetch(asked, id, whole)?;
    if json {
        let mut line = as_json(&it);
        match std::str::from_utf8(&bytes) {
            Ok(text) => line["text"] = json!(text),
            Err(_) => line["hex"] = json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        }
        json_line(&line);
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    let written = out.write_all(&bytes).and_then(|()| out.flush());
    written.map_err(|error| Failure::other(format!("standard output: {error}"), ""))
}

fn put(asked: &[Asked], id: &str, to: Option<&Path>, whole: bool, json: bool) -> Result<(), Failure> {
    let (asked, (it, bytes, mode)) = fetch(asked, id, whole)?;
    let path = match to {
        Some(path) => {
            let hint = "nothing is overwritten: name a file that does not exist";
            let written = write_new(path, &bytes, mode);
            written.map_err(|error| Failure::usage(format!("{}: {error}", path.display()), hint))?;
            path.to_owned()
        }
        None => put_beside(&asked.place_of(&it), &it, &bytes, mode)?,
    };
    if json {
        json_line(&json!({"ok": true, "id": it.id, "path": path, "bytes": bytes.len()}));
    } else {
        println!("{} is in {} again", it.id, path.display());
    }
    Ok(())
}

/// Writes a file where it was, if it is gone as a whole and nothing is there now, or else beside it.
fn put_beside(place: &Path, it: &Rescuable, bytes: &[u8], mode: Option<u32>) -> Result<PathBuf, Failure> {
    let own = (it.how == How::Deleted).then(|| place.to_owned());
    let beside = (0..NAMES).map(|number| beside(place, &it.id, number));
    for path in own.into_iter().chain(beside) {
        match write_new(&path, bytes, mode) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(Failure::other(
                    format!("{}: {error}", path.display()),
                    "--to FILE names another",
                ));
            }
        }
    }
    Err(Failure::usage(
        format!("{} files beside {} have such names", NAMES, place.display()),
        "--to FILE names another",
    ))
}

/// `a.txt` becomes `a.rescued-ID.txt`.
fn beside(place: &Path, id: &str, number: u32) -> PathBuf {
    let part = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let stem = part(place.file_stem()).unwrap_or_default();
    let again = if number == 0 { String::new() } else { format!("-{number}") };
    let ending = part(place.extension()).map(|ending| format!(".{ending}")).unwrap_or_default();
    place.with_file_name(format!("{stem}.rescued-{id}{again}{ending}"))
}

/// Writes a file that must not exist yet, and has it on the disk when it returns.
fn write_new(path: &Path, bytes: &[u8], mode: Option<u32>) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(mode.unwrap_or(0o666)).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let written = written.and_then(|()| fs::File::open(parent)?.sync_all());
    // Half of it would be shared as if it were all.
    written.inspect_err(|_| drop(fs::remove_file(path)))
}

#[cfg(test)]
mod tests {
    use syncline_hub::rescue::Source;

    use super::*;

    #[test]
    fn names_beside_a_file_keep_its_ending() {
        for (place, number, expected) in [
            ("d/a.txt", 0, "d/a.rescued-12ab.txt"),
            ("d/a.txt", 2, "d/a.rescued-12ab-2.txt"),
            ("a", 0, "a.rescued-12ab"),
            (".profile", 0, ".profile.rescued-12ab"),
        ] {
            assert_eq!(beside(Path::new(place), "12ab", number), Path::new(expected));
        }
    }

    #[test]
    fn what_comes_back_stays_in_the_folder() {
        let [folder, outside] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let root = folder.path().to_owned();
        std::os::unix::fs::symlink(outside.path(), root.join("link")).unwrap();
        let asked = Asked { root: root.clone(), state: root.join(".syncline"), only: None, copy: None };
        let placed = |path: &str| {
            asked.place_of(&Rescuable {
                id: String::new(),
                doc: None,
                path: path.to_owned(),
                time_ms: 0,
                how: How::Deleted,
                author: String::new(),
                amount: 0,
                first_line: String::new(),
                source: Source::Content([0; 32]),
            })
        };
        assert_eq!(placed("new/sub/a.txt"), root.join("new/sub/a.txt"));
        for path in ["", "link/a.txt", "link/new/a.txt", "../a.txt", "/etc/a", ".env", ".syncline/token"] {
            assert_eq!(placed(path), root.join("rescued"), "{path}");
        }
    }

    #[test]
    fn a_file_that_exists_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/a.txt");
        write_new(&path, b"one", Some(0o600)).unwrap();
        let refused = write_new(&path, b"two", None).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        assert!(write_new(&folder.path().join("link"), b"two", None).is_err(), "nor a link followed");
    }
}
