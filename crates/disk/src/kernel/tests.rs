//! What only a real file system can show.

use crate::conformance::{RealRig, Rig, clean, holding, path, save};
use crate::*;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn rig() -> RealRig {
    RealRig::new(RealOptions::default())
}

fn until(watch: &mut dyn Watch, wanted: impl Fn(&Hint) -> bool) -> Vec<Hint> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut seen = Vec::new();
    loop {
        seen.extend(watch.next(deadline.saturating_duration_since(Instant::now())).unwrap());
        if seen.iter().any(&wanted) {
            return seen;
        }
        assert!(Instant::now() < deadline, "not seen; seen: {seen:#?}");
    }
}

#[test]
fn rules_4_a_writer_that_waits_for_the_lease_is_not_lost() {
    let rig = rig();
    rig.write(&path("f"), b"old");
    let at = rig.at(&path("f"));
    let writing = Arc::new(Mutex::new(None));
    let slot = writing.clone();
    rig.real().set_hook(move |step, _| {
        if step == Step::BeforeExchange {
            // Breaks the lease at once; then one that waits for it, as an editor does.
            let refused = std::fs::OpenOptions::new().append(true).custom_flags(0o4000).open(&at);
            assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
            let before = at.clone();
            let open = std::thread::spawn(move || std::fs::OpenOptions::new().append(true).open(before));
            *slot.lock().unwrap() = Some(open);
        }
    });
    let Saved::Done { displaced: Some(id), .. } =
        rig.real().save(&save("f", "new", holding("old"), 1)).unwrap()
    else {
        panic!("not kept");
    };
    let mut file = writing.lock().unwrap().take().unwrap().join().unwrap().unwrap();
    file.write_all(b" and late").unwrap();
    // It came before or after the exchange: either way the text is found.
    drop(file);
    let kept = match rig.real().settle(&id).unwrap() {
        Settled::Quiet { bytes, .. } => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    };
    let now = String::from_utf8(rig.peek(&path("f")).unwrap()).unwrap();
    assert!(kept == "old and late" || now == "new and late", "{kept} {now}");
    rig.real().forget(&id).unwrap();
    clean(&rig);
}

#[test]
fn metadata_is_kept() {
    let rig = rig();
    rig.write(&path("f"), b"old");
    let at = rig.at(&path("f"));
    let flags = rustix::fs::XattrFlags::empty();
    let xattrs = rig.real().probe().xattrs;
    if xattrs {
        rustix::fs::setxattr(&at, "user.note", b"kept", flags).unwrap();
    }
    let root = rustix::process::geteuid().is_root();
    if root {
        std::os::unix::fs::chown(&at, Some(1234), Some(4321)).unwrap();
    }
    rig.chmod(&path("f"), 0o604);
    let saved = rig.real().save(&save("f", "new", holding("old"), 1)).unwrap();
    let Saved::Done { stat, how: How::Exchange, .. } = saved else { panic!("{saved:?}") };
    assert_eq!(stat.mode, 0o604);
    if root {
        assert_eq!((stat.uid, stat.gid), (1234, 4321));
    }
    if xattrs {
        let mut value = [0; 8];
        let len = rustix::fs::getxattr(&at, "user.note", &mut value).unwrap();
        assert_eq!(&value[..len], b"kept");
    }
}

#[test]
fn files_13_no_call_leaves_the_root() {
    for old_kernel in [false, true] {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("f"), "old").unwrap();
        let rig = rig();
        if old_kernel {
            rig.real().pretend_old_kernel();
        }
        let target = outside.path().to_str().unwrap();
        rig.link(&path("d"), target);
        rig.link(&path("l"), &format!("{target}/f"));
        rig.write(&path("real/f"), b"x");
        let folder = rig.real();
        assert!(folder.save(&save("d/f", "new", holding("old"), 1)).is_err());
        assert!(folder.save(&save("d/g", "new", Expect::Absent, 2)).is_err());
        assert!(folder.save(&save("d/e/g", "new", Expect::Absent, 3)).is_err());
        assert!(matches!(folder.save(&save("l", "new", holding("old"), 4)), Ok(Saved::Differs(_))));
        assert!(folder.remove(&path("d/f"), &holding("old"), &temporary_name(5)).is_err());
        assert!(folder.rename(&path("d/f"), &path("g")).is_err());
        assert!(folder.rename(&path("real/f"), &path("d/h")).is_err());
        assert!(folder.make_dir(&path("d/sub")).is_err());
        assert!(folder.set_mode(&path("l"), 0o777).is_err());
        assert!(folder.append_or_patch(&path("d/f"), ContentHash::of(b"old"), b"new").is_err());
        assert_eq!(folder.read(&path("d/f"), 9).unwrap(), Reading::Missing);
        assert_eq!(folder.stat(&path("d/f")).unwrap(), None);
        let names: Vec<_> =
            std::fs::read_dir(outside.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["f"]);
        assert_eq!(std::fs::read(outside.path().join("f")).unwrap(), b"old");
    }
}

#[test]
fn sockets_and_fifos_are_not_opened() {
    let rig = rig();
    let _socket = std::os::unix::net::UnixListener::bind(rig.at(&path("s"))).unwrap();
    rig.fifo(&path("p"));
    for name in ["s", "p"] {
        let reading = rig.real().read(&path(name), 9).unwrap();
        assert!(matches!(reading, Reading::NotAFile { stat } if stat.kind == FileKind::Other));
        let patched = rig.real().append_or_patch(&path(name), ContentHash::of(b""), b"x").unwrap();
        assert!(matches!(patched, Patched::Differs(Found::NotAFile { .. })));
        let removed = rig.real().remove(&path(name), &holding(""), &temporary_name(1)).unwrap();
        assert!(matches!(removed, Removed::Differs(Found::NotAFile { .. })));
    }
}

#[test]
fn names_that_are_no_paths_are_listed_as_refused() {
    use std::os::unix::ffi::OsStrExt;
    let rig = rig();
    rig.write(&path("fine"), b"");
    for name in [&b"caf\xe9"[..], b"a\nb", "a\u{202e}b".as_bytes()] {
        std::fs::write(rig.root().join(std::ffi::OsStr::from_bytes(name)), "").unwrap();
    }
    std::fs::create_dir(rig.root().join(".git")).unwrap();
    let listing = rig.real().list(None).unwrap();
    assert_eq!(listing.entries.len(), 1);
    assert_eq!(listing.refused.len(), 3, "{:?}", listing.refused);
    assert_eq!(rig.real().git_state(None).unwrap(), GitState::Quiet);
    std::fs::write(rig.root().join(".git/index.lock"), "").unwrap();
    assert_eq!(rig.real().git_state(None).unwrap(), GitState::AtWork);
    // A work tree's `.git` is a file.
    std::fs::remove_dir_all(rig.root().join(".git")).unwrap();
    std::fs::write(rig.root().join(".git"), "gitdir: elsewhere").unwrap();
    assert_eq!(rig.real().git_state(None).unwrap(), GitState::Quiet);
}

#[test]
fn files_7_at_the_limit_the_rest_is_polled_and_said() {
    let options = RealOptions { watches: Some(2), poll: Duration::from_millis(20), ..RealOptions::default() };
    let rig = RealRig::new(options);
    rig.write(&path("a/f"), b"1");
    rig.write(&path("b/c/f"), b"1");
    let mut watch = rig.real().watch().unwrap();
    let seen = until(&mut *watch, |h| matches!(h.what, What::LimitReached { .. }));
    assert!(format!("{seen:?}").contains("fs.inotify.max_user_watches"));
    for (at, bytes) in [("a/f", "2"), ("b/c/f", "2"), ("b/c/g", "1")] {
        rig.write(&path(at), bytes.as_bytes());
        until(&mut *watch, |h| h.path == Some(path(at)) && h.what == What::ClosedWrite);
    }
    rig.remove(&path("b/c/f"));
    until(&mut *watch, |h| h.path == Some(path("b/c/f")) && matches!(h.what, What::Removed { .. }));
}

#[test]
fn files_16_a_vanished_root_is_said_and_is_no_empty_folder() {
    let options = RealOptions { poll: Duration::from_millis(20), ..RealOptions::default() };
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    for removed in [false, true] {
        std::fs::create_dir(&root).unwrap();
        let folder = RealFolder::open(&root, options.clone()).unwrap();
        let mut watch = folder.watch().unwrap();
        if removed {
            std::fs::remove_dir_all(&root).unwrap();
        } else {
            std::fs::rename(&root, dir.path().join("elsewhere")).unwrap();
        }
        until(&mut *watch, |h| h.what == What::RootGone);
        assert!(matches!(folder.list(None), Err(DiskError::RootGone { .. })));
        assert!(matches!(folder.read(&path("f"), 9), Err(DiskError::RootGone { .. })));
        assert!(matches!(watch.next(Duration::from_secs(20)), Err(DiskError::RootGone { .. })));
    }
}

#[test]
fn files_18_git_is_only_activity() {
    let rig = rig();
    std::fs::create_dir_all(rig.root().join("p/.git/refs")).unwrap();
    let mut watch = rig.real().watch().unwrap();
    std::fs::write(rig.root().join("p/.git/config"), "x").unwrap();
    std::fs::write(rig.root().join("p/.git/refs/x"), "x").unwrap();
    std::fs::write(rig.root().join("p/.git/index.lock"), "x").unwrap();
    let seen = until(&mut *watch, |h| h.what == What::GitActivity);
    assert_eq!(seen, [Hint::at(path("p"), What::GitActivity)]);
}

#[test]
fn a_probe_of_this_machine_leaves_nothing_behind() {
    let rig = rig();
    let probe = rig.real().probe();
    assert!(probe.case_sensitive && probe.events, "{probe:?}");
    assert!(rig.real().list(None).unwrap().entries.is_empty());
    assert_eq!(std::fs::read_dir(rig.root().join(".syncline/probe")).unwrap().count(), 0);
}

#[test]
fn rules_are_loaded_from_the_folder() {
    let rig = rig();
    assert!(!IgnoreRules::load(rig.real()).unwrap().unwrap().is_ignored(&path("x.log"), false));
    rig.write(&path(IGNORE_FILE), b"*.log\n");
    assert!(IgnoreRules::load(rig.real()).unwrap().unwrap().is_ignored(&path("x.log"), false));
}

#[test]
fn a_file_in_a_directory_that_may_not_be_written_is_read_only() {
    if rustix::process::geteuid().is_root() {
        println!("SKIPPED: root may write anywhere; only the folder in memory shows a read-only directory");
        return;
    }
    let rig = rig();
    rig.write(&path("d/f"), b"old");
    rig.chmod(&path("d"), 0o555);
    let saved = rig.real().save(&save("d/f", "new", holding("old"), 1));
    rig.chmod(&path("d"), 0o755);
    assert!(matches!(saved, Err(DiskError::ReadOnly { .. })), "{saved:?}");
}

#[test]
fn files_6_a_storm_of_events_loses_nothing() {
    let rig = rig();
    rig.write(&path("d/f"), b"");
    let mut watch = rig.real().watch().unwrap();
    for nth in 0..20_000 {
        // Distinct neighbours, so that the kernel cannot join them: more than its queue holds.
        std::fs::File::open(rig.at(&path(if nth % 2 == 0 { "d" } else { "d/f" }))).unwrap();
    }
    rig.write(&path("d/new/last"), b"x");
    let last = |h: &Hint| {
        h.what == What::Rescan || h.path == Some(path("d/new/last")) && h.what == What::ClosedWrite
    };
    until(&mut *watch, last);
    // Whatever happened above, the new directory is watched now.
    rig.write(&path("d/new/last"), b"y");
    until(&mut *watch, |h| h.path == Some(path("d/new/last")));
}

#[test]
fn rules_3_a_thousand_own_saves_are_a_thousand_hints() {
    let rig = rig();
    rig.write(&path("f"), b"0");
    let mut watch = rig.real().watch().unwrap();
    for nth in 1..=1000u64 {
        let request = Save {
            sync: Sync::Deferred,
            ..save("f", &nth.to_string(), holding(&(nth - 1).to_string()), nth)
        };
        let saved = rig.real().save(&request).unwrap();
        assert!(matches!(saved, Saved::Done { displaced: None, .. }), "{nth}: {saved:?}");
    }
    let last = What::Exchanged { temporary: temporary_name(1000) };
    let seen = until(&mut *watch, |h| h.what == last);
    for (nth, hint) in seen.iter().enumerate() {
        let temporary = temporary_name(nth as u64 + 1);
        assert_eq!(*hint, Hint::at(path("f"), What::Exchanged { temporary }));
    }
}

/// Access control lists as the kernel stores them (acl(5), `system.posix_acl_access`): owner, a named user, group,
/// mask, others.
#[test]
fn files_15_access_control_lists_are_kept_and_no_defaults_are_inherited() {
    let entry = |tag: u16, rights: u16, id: u32| {
        [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let nobody = u32::MAX;
    let list = |user: u32| {
        let entries = [
            entry(1, 6, nobody),
            entry(2, 4, user),
            entry(4, 4, nobody),
            entry(16, 4, nobody),
            entry(32, 0, nobody),
        ];
        [2u32.to_le_bytes().to_vec(), entries.concat()].concat()
    };
    let rig = rig();
    rig.write(&path("f"), b"old");
    let set = |at: &std::path::Path, name: &str, value: &[u8]| {
        rustix::fs::setxattr(at, name, value, rustix::fs::XattrFlags::empty())
    };
    match set(&rig.at(&path("f")), "system.posix_acl_access", &list(4242)) {
        Err(rustix::io::Errno::OPNOTSUPP) => {
            eprintln!("SKIPPED: no access control lists on this file system");
            return;
        }
        answer => answer.unwrap(),
    }
    rig.real().save(&save("f", "new", holding("old"), 1)).unwrap();
    let of = |name: &str| {
        let mut value = vec![0; 256];
        let len = rustix::fs::getxattr(rig.at(&path(name)), "system.posix_acl_access", &mut value).ok()?;
        value.truncate(len);
        Some(value)
    };
    assert_eq!(of("f"), Some(list(4242)));
    // A file that does without a list does so after a save too, whatever its directory has.
    rig.write(&path("plain"), b"old");
    set(rig.root(), "system.posix_acl_default", &list(4242)).unwrap();
    rig.real().save(&save("plain", "new", holding("old"), 2)).unwrap();
    assert_eq!(of("plain"), None);
    clean(&rig);
}
