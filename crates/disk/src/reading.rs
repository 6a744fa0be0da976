//! Looking: listing, stat, and reading a file only when nobody is writing it.

use crate::medium::Medium;
use crate::on_medium::{OnMedium, fault, read_fault};
use crate::relay::{BLOCK, Giver, Taker, in_two_threads};
use crate::splice::Splicing;
use crate::stat::Hasher;
use crate::*;
use rustix::io::Errno;

impl<M: Medium> OnMedium<M> {
    pub(crate) fn list_dir(&self, dir: Option<&RelPath>) -> Result<Listing, DiskError> {
        let failed = |e: Errno| match dir {
            Some(path) => read_fault(path, e),
            None => DiskError::Io { doing: "listing", path: "the root".into(), source: e.into() },
        };
        // An empty listing of a root that vanished would look like a folder from which all was deleted.
        self.medium.root_alive()?;
        let open = self.medium.open_dir(dir).map_err(failed)?;
        let mut listing = Listing::default();
        for name in self.medium.names(&open).map_err(failed)? {
            let name = match String::from_utf8(name) {
                Ok(name) => name,
                Err(e) => {
                    let shown = path::shown(&String::from_utf8_lossy(e.as_bytes()));
                    listing.refused.push(PathError::NotUtf8(shown));
                    continue;
                }
            };
            let path = match RelPath::beneath(dir, &name) {
                Ok(path) if is_temporary_name(path.file_name()) => continue,
                Ok(path) => path,
                Err(PathError::Git(_) | PathError::Reserved(_)) => continue,
                Err(refused) => {
                    listing.refused.push(refused);
                    continue;
                }
            };
            match self.medium.stat(&open, &name) {
                Ok(stat) => listing.entries.push(Entry { path, stat }),
                // Removed between the listing and the look.
                Err(Errno::NOENT) => {}
                Err(e) => return Err(fault("looking at", &path, e)),
            }
        }
        listing.entries.sort_by(|a, b| a.path.cmp(&b.path));
        listing.refused.sort_by_key(ToString::to_string);
        Ok(listing)
    }

    pub(crate) fn stat_path(&self, path: &RelPath) -> Result<Option<FileStat>, DiskError> {
        let dir = match self.parent_of(path) {
            Ok(Some(dir)) => dir,
            Ok(None) | Err(DiskError::NotADirectory(_)) => return Ok(None),
            Err(e) => return Err(e),
        };
        let stat = self.stat_in(&dir, path.file_name(), path)?;
        if stat.is_none() {
            self.medium.root_alive()?;
        }
        Ok(stat)
    }

    pub(crate) fn read_path(&self, path: &RelPath, limit: u64) -> Result<Reading, DiskError> {
        let (dir, stat) = match self.file_to_read(path, limit)? {
            Ok(found) => found,
            Err(reading) => return Ok(reading),
        };
        let read = |file: &M::File| self.medium.read_file(file, limit).map(Some);
        Ok(match self.read_file_in(&dir, path, stat, read)? {
            Ok((bytes, stat, writers)) if stat.len == bytes.len() as u64 => {
                Reading::Stable { bytes, stat, writers }
            }
            Ok((_, stat, _)) => Reading::Busy { stat },
            Err(other) => other.unwrap_or(Reading::Busy { stat }),
        })
    }

    /// Reads a file block by block, comparing it with known bytes; whole, if it is too different.
    pub(crate) fn compare_path(
        &self,
        path: &RelPath,
        limit: u64,
        known: &FileBytes,
    ) -> Result<Compared, DiskError> {
        let (dir, stat) = match self.file_to_read(path, limit)? {
            Ok(found) => found,
            Err(reading) => return Ok(Compared::Read(reading)),
        };
        match self.read_file_in(&dir, path, stat, |file| self.compare_file(file, limit, known))? {
            Ok(((splice, hash), stat, _)) => Ok(Compared::Spliced { splice, hash, stat }),
            Err(Some(reading)) => Ok(Compared::Read(reading)),
            Err(None) => self.read_path(path, limit).map(Compared::Read),
        }
    }

    /// The directory and stat of a regular file, or what is to be said instead of reading.
    fn file_to_read(
        &self,
        path: &RelPath,
        limit: u64,
    ) -> Result<Result<(M::Dir, FileStat), Reading>, DiskError> {
        let dir = match self.parent_of(path) {
            Ok(Some(dir)) => dir,
            Ok(None) | Err(DiskError::NotADirectory(_)) => return Ok(Err(Reading::Missing)),
            Err(e) => return Err(e),
        };
        Ok(match self.found(&dir, path.file_name(), path)? {
            Found::Missing => Err(Reading::Missing),
            Found::Link { target, stat } => Err(Reading::Link { target, stat }),
            Found::NotAFile { stat } => Err(Reading::NotAFile { stat }),
            Found::File { stat, .. } if stat.len > limit => Err(Reading::TooLarge { stat, limit }),
            Found::File { stat, .. } => Ok((dir, stat)),
        })
    }

    /// Reads a file whoever has it open: no lease, so two equal stats must do.
    pub(crate) fn read_open_path(
        &self,
        path: &RelPath,
        limit: u64,
    ) -> Result<Option<(Vec<u8>, FileStat)>, DiskError> {
        let Some(dir) = self.parent_of(path)? else { return Ok(None) };
        let read = self.medium.open_read(&dir, path.file_name()).and_then(|file| {
            let before = self.medium.stat_file(&file)?;
            let bytes = match before.kind {
                FileKind::File => self.medium.read_file(&file, limit)?,
                _ => return Ok(None),
            };
            let after = self.medium.stat_file(&file)?;
            let stood = after.same_content(&before) && after.len == bytes.len() as u64;
            Ok(stood.then_some((bytes, after)))
        });
        match read {
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::AGAIN | Errno::FBIG) => Ok(None),
            read => read.map_err(|e| read_fault(path, e)),
        }
    }

    /// Reads a file by `read`, which is called twice where nobody can tell whether somebody is writing it. Gives
    /// what it read, or what is to be said instead (`None`: it gave nothing).
    #[expect(clippy::type_complexity, reason = "said in two lines")]
    fn read_file_in<T: PartialEq>(
        &self,
        dir: &M::Dir,
        path: &RelPath,
        stat: FileStat,
        read: impl Fn(&M::File) -> Result<Option<T>, Errno>,
    ) -> Result<Result<(T, FileStat, Writers), Option<Reading>>, DiskError> {
        let failed = |e| read_fault(path, e);
        let busy = |stat| Ok(Err(Some(Reading::Busy { stat })));
        let file = match self.medium.open_read(dir, path.file_name()) {
            Ok(file) => file,
            // Between the look and now it was removed, or became a link or something else; its event follows.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::AGAIN) => return busy(stat),
            Err(e) => return Err(failed(e)),
        };
        let before = self.medium.stat_file(&file).map_err(failed)?;
        if before.kind != FileKind::File {
            return Ok(Err(Some(Reading::NotAFile { stat: before })));
        }
        let lease = match self.medium.lease(&file) {
            Ok(Some(lease)) => Some(lease),
            Ok(None) => return busy(before),
            Err(_) => None,
        };
        let content = match read(&file) {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(Err(None)),
            // It has grown beyond the limit since it was looked at: the next look says so.
            Err(Errno::FBIG) => return busy(before),
            Err(e) => return Err(failed(e)),
        };
        let after = self.medium.stat_file(&file).map_err(failed)?;
        if !after.same_content(&before) {
            return busy(after);
        }
        if let Some(lease) = &lease {
            return match self.medium.broken(lease) {
                true => busy(after),
                false => Ok(Ok((content, after, Writers::None))),
            };
        }
        // No leases: a second look by name, which also notices a save by rename in between.
        let again = self
            .medium
            .open_read(dir, path.file_name())
            .and_then(|file| Ok((read(&file)?, self.medium.stat_file(&file)?)));
        match again {
            Ok((Some(second), last)) if second == content && last.same_content(&after) => {
                Ok(Ok((content, last, Writers::Unknown)))
            }
            _ => busy(after),
        }
    }

    /// Reads a file block by block, comparing it with known bytes. `None`: too much is different.
    fn compare_file(
        &self,
        file: &M::File,
        limit: u64,
        known: &FileBytes,
    ) -> Result<Option<(Splice, ContentHash)>, Errno> {
        let len = self.medium.stat_file(file)?.len;
        let all = usize::try_from(len).map_err(|_| Errno::FBIG)?;
        let compare = |blocks: Taker| {
            let mut splicing = Splicing::new(known, all);
            let near = blocks.each(|block| if splicing.add(block) { Ok(()) } else { Err(()) });
            near.ok().and_then(|()| splicing.finish())
        };
        let read = |give: Giver| {
            let (mut hasher, mut at) = (Hasher::default(), 0);
            loop {
                let mut block = give.buffer();
                block.resize(BLOCK.min(all).max(1), 0);
                let count = self.medium.read_at(file, at, &mut block)?;
                block.truncate(count);
                at += count as u64;
                if at > limit {
                    return Err(Errno::FBIG);
                }
                hasher.add_here(&block);
                if count == 0 || !give.give(block) {
                    return Ok(hasher);
                }
            }
        };
        // Without a second thread it is read whole.
        let Ok((splice, hasher)) = in_two_threads(|give, take| (take, give), compare, read) else {
            return Ok(None);
        };
        let hasher = hasher?;
        Ok(splice.map(|splice| (splice, hasher.finish())))
    }
}
