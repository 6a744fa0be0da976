//! Saving and reading: wholly old or wholly new, and nothing of anybody lost.

use super::*;

pub(super) const CASES: &[(&str, Case)] = &[
    ("save_creates_with_parents", save_creates_with_parents),
    ("save_exchanges", save_exchanges),
    ("save_keeps_and_sets_mode", save_keeps_and_sets_mode),
    ("rules_4_open_writer_is_busy", rules_4_open_writer_is_busy),
    ("rules_4_late_save_in_place_is_raced", rules_4_late_save_in_place_is_raced),
    ("late_save_by_rename_is_raced", late_save_by_rename_is_raced),
    ("late_removal_differs", late_removal_differs),
    ("late_create_differs", late_create_differs),
    ("late_link_is_put_back", late_link_is_put_back),
    ("without_leases_the_old_file_is_kept", without_leases_the_old_file_is_kept),
    ("without_exchange_is_checked", without_exchange_is_checked),
    ("files_15_two_names_are_written_in_place", files_15_two_names_are_written_in_place),
    ("files_13_links", files_13_links),
    ("files_13_parent_swapped_for_a_link", files_13_parent_swapped_for_a_link),
    ("reading_kinds_and_limits", reading_kinds_and_limits),
    ("files_2_reading_a_held_file_is_busy", files_2_reading_a_held_file_is_busy),
    ("rules_4_held_files_are_appended_or_patched", rules_4_held_files_are_appended_or_patched),
    ("bad_temporary_names_are_refused", bad_temporary_names_are_refused),
];

fn done(saved: Saved, how: How) -> Option<DisplacedId> {
    match saved {
        Saved::Done { how: by, displaced, .. } if by == how => displaced,
        other => panic!("not done by {how:?}: {other:?}"),
    }
}

fn once(rig: &Arc<dyn Rig>, at: Step, act: impl Fn(&dyn Rig) + Send + std::marker::Sync + 'static) {
    // Weak: the folder would own the hook that owns the folder.
    let weak = Arc::downgrade(rig);
    let acted = std::sync::atomic::AtomicBool::new(false);
    rig.set_hook(Box::new(move |step, _| {
        if step == at
            && !acted.swap(true, std::sync::atomic::Ordering::SeqCst)
            && let Some(rig) = weak.upgrade()
        {
            act(&*rig);
        }
    }));
}

fn save_creates_with_parents(rig: Arc<dyn Rig>) {
    assert_eq!(done(rig.folder().save(&save("a/b/c", "x", Expect::Absent, 1)).unwrap(), How::Create), None);
    assert_eq!(text(&*rig, "a/b/c").as_deref(), Some("x"));
    let again = rig.folder().save(&save("a/b/c", "y", Expect::Absent, 2)).unwrap();
    assert!(matches!(again, Saved::Differs(Found::File { .. })), "{again:?}");
    assert_eq!(text(&*rig, "a/b/c").as_deref(), Some("x"));
    clean(&*rig);
}

fn save_exchanges(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"old");
    let before = rig.folder().stat(&path("f")).unwrap().unwrap();
    assert_eq!(done(rig.folder().save(&save("f", "new", holding("old"), 1)).unwrap(), How::Exchange), None);
    assert_eq!(text(&*rig, "f").as_deref(), Some("new"));
    assert_ne!(rig.folder().stat(&path("f")).unwrap().unwrap().inode, before.inode);
    clean(&*rig);
    let missing = rig.folder().save(&save("g", "new", holding("old"), 2)).unwrap();
    assert_eq!(missing, Saved::Differs(Found::Missing));
    let missing = rig.folder().save(&save("d/g", "new", holding("old"), 3)).unwrap();
    assert_eq!(missing, Saved::Differs(Found::Missing));
    clean(&*rig);
}

fn save_keeps_and_sets_mode(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"old");
    rig.chmod(&path("f"), 0o640);
    let mode = |rig: &dyn Rig| rig.folder().stat(&path("f")).unwrap().unwrap().mode;
    rig.folder().save(&save("f", "new", holding("old"), 1)).unwrap();
    assert_eq!(mode(&*rig), 0o640);
    let executable = Save { mode: Some(0o4755), ..save("f", "newer", holding("new"), 2) };
    rig.folder().save(&executable).unwrap();
    assert_eq!(mode(&*rig), 0o755);
    assert_eq!(rig.folder().set_mode(&path("f"), 0o4600).unwrap().mode, 0o600);
    rig.link(&path("l"), "f");
    assert!(matches!(rig.folder().set_mode(&path("l"), 0o666), Err(DiskError::NotFound(_))));
    assert_eq!(mode(&*rig), 0o600);
}

fn rules_4_open_writer_is_busy(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"old");
    let held = rig.write_and_hold(&path("f"), b"+");
    assert_eq!(rig.folder().save(&save("f", "new", holding("old"), 1)).unwrap(), Saved::Busy);
    let removed = rig.folder().remove(&path("f"), &holding("old"), &temporary_name(2)).unwrap();
    assert_eq!(removed, Removed::Busy);
    assert_eq!(text(&*rig, "f").as_deref(), Some("old+"));
    drop(held);
    done(rig.folder().save(&save("f", "new", holding("old+"), 3)).unwrap(), How::Exchange);
    clean(&*rig);
}

fn raced(rig: &Arc<dyn Rig>, expected: &str) {
    match rig.folder().save(&save("f", "ours", holding("old"), 1)).unwrap() {
        Saved::Raced { bytes, displaced, .. } => {
            assert_eq!(bytes, expected.as_bytes());
            assert_eq!(text(&**rig, "f").as_deref(), Some("ours"));
            assert_eq!(rig.folder().displaced().unwrap(), std::slice::from_ref(&displaced));
            match rig.folder().settle(&displaced).unwrap() {
                Settled::Quiet { bytes, .. } => assert_eq!(bytes, expected.as_bytes()),
                other => panic!("{other:?}"),
            }
            rig.folder().forget(&displaced).unwrap();
            assert_eq!(rig.folder().settle(&displaced).unwrap(), Settled::Missing);
        }
        other => panic!("{other:?}"),
    }
    clean(&**rig);
}

fn rules_4_late_save_in_place_is_raced(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"old");
    // Before the lease: with it, the writer waits.
    once(&rig, Step::TemporaryWritten, |rig| rig.write(&path("f"), b"theirs"));
    raced(&rig, "theirs");
}

fn late_save_by_rename_is_raced(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"old");
    once(&rig, Step::BeforeExchange, |rig| rig.save_by_rename(&path("f"), b"theirs"));
    raced(&rig, "theirs");
}

fn late_removal_differs(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"old");
    once(&rig, Step::BeforeExchange, |rig| rig.remove(&path("f")));
    let saved = rig.folder().save(&save("f", "ours", holding("old"), 1)).unwrap();
    assert_eq!(saved, Saved::Differs(Found::Missing));
    assert_eq!(text(&*rig, "f"), None);
    clean(&*rig);
}

fn late_create_differs(rig: Arc<dyn Rig>) {
    once(&rig, Step::BeforeExchange, |rig| rig.write(&path("f"), b"theirs"));
    let saved = rig.folder().save(&save("f", "ours", Expect::Absent, 1)).unwrap();
    assert!(matches!(saved, Saved::Differs(Found::File { .. })), "{saved:?}");
    assert_eq!(text(&*rig, "f").as_deref(), Some("theirs"));
    clean(&*rig);
}

fn late_link_is_put_back(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"old");
    once(&rig, Step::BeforeExchange, |rig| {
        rig.remove(&path("f"));
        rig.link(&path("f"), "elsewhere");
    });
    let saved = rig.folder().save(&save("f", "ours", holding("old"), 1)).unwrap();
    assert!(matches!(saved, Saved::Differs(Found::Link { .. })), "{saved:?}");
    let reading = rig.folder().read(&path("f"), 10).unwrap();
    assert!(matches!(reading, Reading::Link { target, .. } if target == "elsewhere"));
    clean(&*rig);
}

fn without_leases_the_old_file_is_kept(rig: Arc<dyn Rig>) {
    rig.pretend(false, true);
    rig.write(&path("f"), b"old");
    let held = rig.write_and_hold(&path("f"), b"");
    let saved = rig.folder().save(&save("f", "new", holding("old"), 1)).unwrap();
    let displaced = done(saved, How::Exchange).unwrap();
    assert_eq!(displaced, DisplacedId::of_temporary(&temporary_name(1)).unwrap());
    drop(held);
    assert_eq!(rig.folder().settle(&displaced).unwrap(), Settled::StillOpen);
    rig.pretend(true, true);
    assert!(
        matches!(rig.folder().settle(&displaced).unwrap(), Settled::Quiet { bytes, .. } if bytes == b"old")
    );
    rig.pretend(false, true);
    let reading = rig.folder().read(&path("f"), 10).unwrap();
    assert!(matches!(reading, Reading::Stable { writers: Writers::Unknown, .. }), "{reading:?}");
}

fn without_exchange_is_checked(rig: Arc<dyn Rig>) {
    rig.pretend(true, false);
    rig.write(&path("f"), b"old");
    let saved = rig.folder().save(&save("f", "new", holding("old"), 1)).unwrap();
    assert_eq!(done(saved, How::RenameChecked), None);
    assert_eq!(text(&*rig, "f").as_deref(), Some("new"));
    let saved = rig.folder().save(&save("f", "newer", holding("old"), 2)).unwrap();
    let hash = Some(ContentHash::of(b"new"));
    assert!(matches!(&saved, Saved::Differs(Found::File { hash: found, .. }) if *found == hash), "{saved:?}");
    assert_eq!(text(&*rig, "f").as_deref(), Some("new"));
    clean(&*rig);
}

fn files_15_two_names_are_written_in_place(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"old text");
    rig.hard_link(&path("f"), &path("g"));
    let saved = rig.folder().save(&save("f", "new text, longer", holding("old text"), 1)).unwrap();
    done(saved, How::InPlace);
    assert_eq!(text(&*rig, "g").as_deref(), Some("new text, longer"));
    done(rig.folder().save(&save("g", "short", holding("new text, longer"), 2)).unwrap(), How::InPlace);
    assert_eq!(text(&*rig, "f").as_deref(), Some("short"));
    let saved = rig.folder().save(&save("f", "x", holding("else"), 3)).unwrap();
    assert!(matches!(saved, Saved::Differs(_)));
    let held = rig.write_and_hold(&path("f"), b"");
    assert_eq!(rig.folder().save(&save("f", "x", holding("short"), 4)).unwrap(), Saved::Busy);
    drop(held);
    clean(&*rig);
}

fn files_13_links(rig: Arc<dyn Rig>) {
    rig.write(&path("d/f"), b"old");
    rig.link(&path("l"), "d/f");
    rig.link(&path("out"), "../out");
    rig.link(&path("dangling"), "nowhere");
    // Through a link that stays inside, only with the expected bytes, and only one step.
    done(rig.folder().save(&save("l", "new", holding("old"), 1)).unwrap(), How::InPlace);
    assert_eq!(text(&*rig, "d/f").as_deref(), Some("new"));
    for name in ["out", "dangling"] {
        let saved = rig.folder().save(&save(name, "x", holding("old"), 2)).unwrap();
        assert!(matches!(saved, Saved::Differs(Found::Link { .. })), "{name}: {saved:?}");
    }
    // A link as such: made, replaced, removed; a file in its place.
    let folder = rig.folder();
    done(folder.make_link(&path("m"), "a", &Expect::Absent, &temporary_name(3)).unwrap(), How::Create);
    let expect = Expect::Link("a".into());
    done(folder.make_link(&path("m"), "b", &expect, &temporary_name(4)).unwrap(), How::Exchange);
    let saved = folder.make_link(&path("m"), "c", &expect, &temporary_name(5)).unwrap();
    assert!(matches!(saved, Saved::Differs(Found::Link { target, .. }) if target == "b"));
    done(folder.save(&save("m", "file", Expect::Link("b".into()), 6)).unwrap(), How::Exchange);
    done(folder.make_link(&path("m"), "d", &holding("file"), &temporary_name(7)).unwrap(), How::Exchange);
    let removed = folder.remove(&path("m"), &Expect::Link("d".into()), &temporary_name(8)).unwrap();
    assert_eq!(removed, Removed::Done { displaced: None });
    assert_eq!(folder.stat(&path("m")).unwrap(), None);
    clean(&*rig);
}

fn files_13_parent_swapped_for_a_link(rig: Arc<dyn Rig>) {
    rig.write(&path("d/f"), b"old");
    rig.write(&path("other/f"), b"old");
    once(&rig, Step::DirectoryOpened, |rig| {
        rig.rename(&path("d"), &path("was-d"));
        rig.link(&path("d"), "other");
    });
    // The directory that was opened is the one that is written, whatever its name leads to now.
    done(rig.folder().save(&save("d/f", "new", holding("old"), 1)).unwrap(), How::Exchange);
    assert_eq!(text(&*rig, "other/f").as_deref(), Some("old"));
    assert_eq!(text(&*rig, "was-d/f").as_deref(), Some("new"));
    let saved = rig.folder().save(&save("d/f", "newer", holding("old"), 2));
    assert!(matches!(saved, Err(DiskError::NotADirectory(_))), "{saved:?}");
    let saved = rig.folder().save(&save("d/new", "x", Expect::Absent, 3));
    assert!(matches!(saved, Err(DiskError::NotADirectory(_))), "{saved:?}");
    assert_eq!(rig.folder().read(&path("d/f"), 9).unwrap(), Reading::Missing);
    assert!(rig.folder().list(Some(&path("d"))).is_err());
    assert_eq!(rig.peek(&path("other/new")), None);
    clean(&*rig);
}

fn reading_kinds_and_limits(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"12345");
    rig.make_dir(&path("d"));
    rig.fifo(&path("p"));
    let read = |at, limit| rig.folder().read(&path(at), limit).unwrap();
    match read("f", 5) {
        Reading::Stable { bytes, stat, writers } => {
            assert_eq!((bytes.as_slice(), stat.len, writers), (&b"12345"[..], 5, Writers::None));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(read("f", 4), Reading::TooLarge { limit: 4, .. }));
    assert_eq!(read("none", 5), Reading::Missing);
    assert_eq!(read("f/x", 5), Reading::Missing);
    assert!(matches!(read("d", 5), Reading::NotAFile { stat } if stat.kind == FileKind::Directory));
    assert!(matches!(read("p", 5), Reading::NotAFile { stat } if stat.kind == FileKind::Other));
    let saved = rig.folder().save(&save("p", "x", holding("y"), 1)).unwrap();
    assert!(matches!(saved, Saved::Differs(Found::NotAFile { .. })));
}

fn files_2_reading_a_held_file_is_busy(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"a");
    let held = rig.write_and_hold(&path("f"), b"b");
    assert!(matches!(rig.folder().read(&path("f"), 9).unwrap(), Reading::Busy { .. }));
    drop(held);
    assert!(
        matches!(rig.folder().read(&path("f"), 9).unwrap(), Reading::Stable { bytes, .. } if bytes == b"ab")
    );
}

fn rules_4_held_files_are_appended_or_patched(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"one\n");
    let held = rig.write_and_hold(&path("f"), b"two\n");
    let patch = |expect: &str, new: &str| {
        let hash = ContentHash::of(expect.as_bytes());
        rig.folder().append_or_patch(&path("f"), hash, new.as_bytes()).unwrap()
    };
    assert!(matches!(patch("one\n", "x"), Patched::Differs(Found::File { .. })));
    let patched = patch("one\ntwo\n", "one\ntwo\nthree\n");
    assert!(matches!(patched, Patched::Done { appended: true, .. }));
    let patched = patch("one\ntwo\nthree\n", "one\n2\nthree\n");
    assert!(matches!(patched, Patched::Done { appended: false, .. }));
    assert_eq!(text(&*rig, "f").as_deref(), Some("one\n2\nthree\n"));
    drop(held);
}

fn bad_temporary_names_are_refused(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"old");
    for name in
        ["f", "../f", ".syncline-tmp-", ".syncline-tmp-000000000000000G", ".syncline-tmp-00000000000000001"]
    {
        let request = Save { temporary: name.into(), ..save("f", "new", holding("old"), 1) };
        assert!(matches!(rig.folder().save(&request), Err(DiskError::BadTemporary(_))), "{name}");
        assert!(rig.folder().remove(&path("f"), &holding("old"), name).is_err());
    }
    assert!(rig.folder().read_temporary(&path("f")).is_err());
    assert!(rig.folder().remove_temporary(&path("f"), ContentHash::of(b"old")).is_err());
    assert_eq!(text(&*rig, "f").as_deref(), Some("old"));
}
