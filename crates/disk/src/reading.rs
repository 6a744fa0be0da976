//! Looking: listing, stat, and reading a file only when nobody is writing it.

use crate::medium::Medium;
use crate::on_medium::{OnMedium, fault, read_fault};
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
        let dir = match self.parent_of(path) {
            Ok(Some(dir)) => dir,
            Ok(None) | Err(DiskError::NotADirectory(_)) => return Ok(Reading::Missing),
            Err(e) => return Err(e),
        };
        match self.found(&dir, path.file_name(), path)? {
            Found::Missing => Ok(Reading::Missing),
            Found::Link { target, stat } => Ok(Reading::Link { target, stat }),
            Found::NotAFile { stat } => Ok(Reading::NotAFile { stat }),
            Found::File { stat, .. } if stat.len > limit => Ok(Reading::TooLarge { stat, limit }),
            Found::File { stat, .. } => self.read_file_in(&dir, path, stat, limit),
        }
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

    fn read_file_in(
        &self,
        dir: &M::Dir,
        path: &RelPath,
        stat: FileStat,
        limit: u64,
    ) -> Result<Reading, DiskError> {
        let failed = |e| read_fault(path, e);
        let file = match self.medium.open_read(dir, path.file_name()) {
            Ok(file) => file,
            // Between the look and now it was removed, or became a link or something else; its event follows.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::AGAIN) => {
                return Ok(Reading::Busy { stat });
            }
            Err(e) => return Err(failed(e)),
        };
        let before = self.medium.stat_file(&file).map_err(failed)?;
        if before.kind != FileKind::File {
            return Ok(Reading::NotAFile { stat: before });
        }
        let lease = match self.medium.lease(&file) {
            Ok(Some(lease)) => Some(lease),
            Ok(None) => return Ok(Reading::Busy { stat: before }),
            Err(_) => None,
        };
        let (bytes, unbroken) = match self.read_held(&file, lease.as_ref(), limit) {
            Ok(read) => read,
            Err(Errno::FBIG) => return Ok(Reading::TooLarge { stat: before, limit }),
            Err(e) => return Err(failed(e)),
        };
        let after = self.medium.stat_file(&file).map_err(failed)?;
        if !after.same_content(&before) || after.len != bytes.len() as u64 {
            return Ok(Reading::Busy { stat: after });
        }
        if lease.is_some() {
            return Ok(match unbroken {
                true => Reading::Stable { bytes, stat: after, writers: Writers::None },
                false => Reading::Busy { stat: after },
            });
        }
        // No leases: a second look by name, which also notices a save by rename in between.
        let again = self.medium.open_read(dir, path.file_name()).and_then(|file| {
            let bytes = self.medium.read_file(&file, limit)?;
            Ok((bytes, self.medium.stat_file(&file)?))
        });
        match again {
            Ok((second, last)) if second == bytes && last.same_content(&after) => {
                Ok(Reading::Stable { bytes, stat: last, writers: Writers::Unknown })
            }
            _ => Ok(Reading::Busy { stat: after }),
        }
    }
}
