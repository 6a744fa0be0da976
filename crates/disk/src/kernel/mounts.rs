//! What needs a mount of its own: full and read-only file systems, and a file that is itself a mount point.

use crate::conformance::{RealRig, Rig, holding, path, save};
use crate::*;
use std::path::Path;
use std::process::Command;

/// Something mounted, until it is dropped.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    /// `None`, and said so: mounting is not allowed here.
    fn new(arguments: &[&str], at: &'a Path) -> Option<Mount<'a>> {
        let mounted = Command::new("mount").args(arguments).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Mount(at));
        }
        println!("SKIPPED: mounting is not allowed here: {arguments:?} was not tried");
        None
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}

#[test]
fn files_15_a_file_that_is_a_mount_point_is_written_in_place() {
    let rig = RealRig::new(RealOptions::default());
    let outside = tempfile::tempdir().unwrap();
    let elsewhere = outside.path().join("mounted");
    std::fs::write(&elsewhere, "old").unwrap();
    rig.write(&path("f"), b"");
    let at = rig.at(&path("f"));
    let Some(_mount) = Mount::new(&["--bind", elsewhere.to_str().unwrap()], &at) else { return };
    let saved = rig.real().save(&save("f", "new", holding("old"), 1)).unwrap();
    assert!(matches!(saved, Saved::Done { how: How::InPlace, .. }), "{saved:?}");
    assert_eq!(std::fs::read(&elsewhere).unwrap(), b"new");
    let differs = rig.real().save(&save("f", "newer", holding("other"), 2)).unwrap();
    assert!(matches!(differs, Saved::Differs(_)), "{differs:?}");
}

#[test]
fn faults_a_full_disk_is_said_and_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(&["-t", "tmpfs", "-o", "size=128k", "none"], dir.path()) else { return };
    std::fs::write(dir.path().join("f"), "old").unwrap();
    let folder = RealFolder::open(dir.path(), RealOptions::default()).unwrap();
    let large = "x".repeat(256 << 10);
    let full = folder.save(&save("f", &large, holding("old"), 1));
    assert!(matches!(full, Err(DiskError::StorageFull { .. })), "{full:?}");
    assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"old");
    assert_eq!(folder.temporaries().unwrap(), []);
    // And it recovers unaided.
    let saved = folder.save(&save("f", "new", holding("old"), 2)).unwrap();
    assert!(matches!(saved, Saved::Done { .. }), "{saved:?}");
}

#[test]
fn faults_a_read_only_file_system_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(&["-t", "tmpfs", "none"], dir.path()) else { return };
    std::fs::write(dir.path().join("f"), "old").unwrap();
    let folder = RealFolder::open(dir.path(), RealOptions::default()).unwrap();
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(dir.path()).status().unwrap();
    assert!(remounted.success());
    let refused = folder.save(&save("f", "new", holding("old"), 1));
    assert!(matches!(refused, Err(DiskError::ReadOnly { .. })), "{refused:?}");
    let Reading::Stable { bytes, .. } = folder.read(&path("f"), 100).unwrap() else { panic!("not read") };
    assert_eq!(bytes, b"old");
}
