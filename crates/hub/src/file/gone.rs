//! Files that vanish, are removed, or get another name.

use syncline_disk::{DiskError, DisplacedId, Expect, RelPath, Removed, Renamed, temporary_name};
use syncline_store::Record;

use super::session::*;
use crate::document::DocumentTask;
use crate::error::HubError;
use crate::event::HubEvent;
use crate::folder::{FolderCommand, Vanished};
use crate::mirror::{Displaced, OnDisk};

impl DocumentTask {
    pub(super) async fn report_vanished(&mut self) -> Result<(), HubError> {
        self.file.reported = true;
        self.file.look_at = None;
        let Some(on_disk) = &self.file.on_disk else { return Ok(()) };
        let seen = self.document().map(|document| document.portable(&on_disk.version)).unwrap_or_default();
        let vanished = Vanished {
            path: on_disk.path.clone(),
            since: self.file.missing_since.unwrap_or_else(|| self.hub.uptime()),
            stat: on_disk.stat,
            seen,
            hash: *on_disk.hash.as_bytes(),
        };
        self.hub.tell_folder(FolderCommand::Vanished { doc: self.id, vanished }).await;
        Ok(())
    }

    pub(super) async fn remove(&mut self) -> Result<(), HubError> {
        let Some(on_disk) = self.file.on_disk.clone() else { return Ok(()) };
        let (path, temporary) = (on_disk.path.clone(), temporary_name(self.hub.random_u64()));
        let expect = match on_disk.stat.kind {
            syncline_disk::FileKind::Link => match self.hub.content(*on_disk.hash.as_bytes()).await? {
                Some(target) => Expect::Link(String::from_utf8_lossy(&target).into_owned()),
                None => Expect::File(on_disk.hash),
            },
            _ => Expect::File(on_disk.hash),
        };
        let removed = self.hub.on_disk(move |folder| folder.remove(&path, &expect, &temporary)).await?;
        let now = self.hub.uptime();
        match removed {
            Removed::Done { displaced } => self.gone(displaced, &on_disk).await,
            Removed::Busy => {
                self.file.write_at = now + BUSY_RETRY;
                self.file.visited = true;
                Ok(())
            }
            Removed::Differs(syncline_disk::Found::Missing) => self.gone(None, &on_disk).await,
            Removed::Differs(_) => {
                self.file.look_at = Some(now);
                Ok(())
            }
            Removed::Raced { displaced, .. } => {
                // Settling it enters what was saved in the last moment, which brings the document back.
                self.file.settle_first.push(displaced.clone());
                self.gone(Some(displaced), &on_disk).await
            }
        }
    }

    pub(super) async fn forget_file(&mut self) -> Result<(), HubError> {
        let Some(on_disk) = self.file.on_disk.clone() else { return Ok(()) };
        self.gone(None, &on_disk).await?;
        self.hub.tell_folder(FolderCommand::LookAt { path: on_disk.path }).await;
        Ok(())
    }

    pub(super) async fn gone(
        &mut self,
        displaced: Option<DisplacedId>,
        on_disk: &OnDisk,
    ) -> Result<(), HubError> {
        self.hub.take_startup(self.id);
        self.hub.forget_inode(self.id, &on_disk.stat);
        self.hub.note_place(self.id, None);
        if let Some(id) = displaced {
            self.file.displaced.push(Displaced { id, version: on_disk.version.clone(), hash: on_disk.hash });
        }
        (self.file.on_disk, self.file.seen, self.file.removed) = (None, None, false);
        self.file.missing_since = Some(self.hub.uptime());
        self.file.reported = false;
        self.hub.tell(HubEvent::Deleted { path: on_disk.path.to_string() });
        let records = if self.file.displaced.is_empty() {
            vec![Record::NoFile(self.id), Record::NoIntent(self.id)]
        } else {
            self.file_record()
        };
        self.commit(records).await
    }

    pub(super) async fn rename(&mut self, to: RelPath) -> Result<(), HubError> {
        let Some(on_disk) = self.file.on_disk.clone() else { return Ok(()) };
        let (from, target) = (on_disk.path.clone(), to.clone());
        let renamed = self.hub.on_disk(move |folder| folder.rename(&from, &target)).await;
        self.file.seen = None;
        let now = self.hub.uptime();
        if let Err(HubError::Disk(error)) = &renamed
            && let DiskError::SyncFailed { path, placed: true, .. } = &**error
            && (*path == to.as_str() || *path == on_disk.path.as_str())
        {
            // The file, and not only a directory for it, has its new name, durable or not: looked for under the old
            // one it would be thought deleted.
            self.set_on_disk(to.clone(), on_disk.hash, on_disk.version.clone(), on_disk.stat);
            self.file.look_at = Some(now);
        }
        match renamed? {
            Renamed::Done { stat } => {
                self.hub.tell(HubEvent::Renamed { from: on_disk.path.to_string(), to: to.to_string() });
                if (on_disk.stat.mtime_ns, on_disk.stat.len) != (stat.mtime_ns, stat.len) {
                    // Somebody saved before, and this stat would hide it.
                    self.file.look_at = Some(now);
                }
                self.set_on_disk(to, on_disk.hash, on_disk.version, stat);
            }
            Renamed::Missing => {
                // Renamed here already (that is how the catalogue learnt of it), or gone: look there.
                self.set_on_disk(to, on_disk.hash, on_disk.version, on_disk.stat);
                self.file.missing_since = None;
                self.file.look_at = Some(now);
            }
            Renamed::TargetExists { stat } if self.hub.doc_of_inode(&stat) == Some(self.id) => {
                self.set_on_disk(to, on_disk.hash, on_disk.version, stat);
                self.file.look_at = Some(now);
            }
            Renamed::TargetExists { .. } if self.is_alone_at(&to) => return self.take_up(to, on_disk).await,
            Renamed::TargetExists { .. } => {
                // Another document's file is there: the clash of the two is resolved.
                self.file.write_at = now + RETRY / 8;
                self.file.visited = true;
                self.hub.tell_folder(FolderCommand::LookAt { path: to }).await;
            }
        }
        Ok(())
    }
}
