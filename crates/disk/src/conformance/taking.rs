//! Removing, renaming, listing, and what is found after a crash.

use super::*;

pub(super) const CASES: &[(&str, Case)] = &[
    ("remove_takes_what_is_expected", remove_takes_what_is_expected),
    ("remove_puts_back_what_differs", remove_puts_back_what_differs),
    ("remove_keeps_both_when_raced", remove_keeps_both_when_raced),
    ("rename_never_replaces", rename_never_replaces),
    ("rename_makes_parents_and_moves_directories", rename_makes_parents_and_moves_directories),
    ("list_hides_what_is_ours", list_hides_what_is_ours),
    ("rules_1_temporaries_are_found_and_removed_by_hash", rules_1_temporaries_are_found_and_removed_by_hash),
    ("directories", directories),
];

fn remove(rig: &dyn Rig, at: &str, expect: &Expect, nth: u64) -> Removed {
    rig.folder().remove(&path(at), expect, &temporary_name(nth)).unwrap()
}

fn remove_takes_what_is_expected(rig: Arc<dyn Rig>) {
    rig.write(&path("a/b/f"), b"x");
    rig.write(&path("a/g"), b"y");
    assert_eq!(remove(&*rig, "a/b/f", &holding("x"), 1), Removed::Done { displaced: None });
    // Emptied parents go; those with something in them stay.
    assert_eq!(rig.folder().stat(&path("a/b")).unwrap(), None);
    assert_eq!(text(&*rig, "a/g").as_deref(), Some("y"));
    assert_eq!(remove(&*rig, "a/b/f", &holding("x"), 2), Removed::Differs(Found::Missing));
    clean(&*rig);
}

fn remove_puts_back_what_differs(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"x");
    let differs = remove(&*rig, "f", &holding("y"), 1);
    let hash = Some(ContentHash::of(b"x"));
    assert!(matches!(&differs, Removed::Differs(Found::File { hash: found, .. }) if *found == hash));
    let weak = Arc::downgrade(&rig);
    rig.set_hook(Box::new(move |step, _| {
        if step == Step::BeforeExchange
            && let Some(rig) = weak.upgrade()
        {
            rig.save_by_rename(&path("f"), b"theirs");
        }
    }));
    assert!(matches!(remove(&*rig, "f", &holding("x"), 2), Removed::Differs(_)));
    assert_eq!(text(&*rig, "f").as_deref(), Some("theirs"));
    clean(&*rig);
}

fn remove_keeps_both_when_raced(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"x");
    let weak = Arc::downgrade(&rig);
    rig.set_hook(Box::new(move |step, _| match (step, weak.upgrade()) {
        (Step::BeforeExchange, Some(rig)) => rig.save_by_rename(&path("f"), b"theirs"),
        (Step::AfterTaking, Some(rig)) => rig.write(&path("f"), b"later"),
        _ => {}
    }));
    match remove(&*rig, "f", &holding("x"), 1) {
        Removed::Raced { bytes, displaced } => {
            assert_eq!(bytes, b"theirs");
            rig.folder().forget(&displaced).unwrap();
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(text(&*rig, "f").as_deref(), Some("later"));
    clean(&*rig);
}

fn rename_never_replaces(rig: Arc<dyn Rig>) {
    rig.write(&path("a"), b"a");
    rig.write(&path("b"), b"b");
    let rename = |from, to| rig.folder().rename(&path(from), &path(to)).unwrap();
    assert!(matches!(rename("a", "b"), Renamed::TargetExists { .. }));
    assert!(matches!(rename("a", "a"), Renamed::TargetExists { .. }));
    assert_eq!(rename("none", "c"), Renamed::Missing);
    // Two names of one inode are two files, not two spellings.
    rig.hard_link(&path("a"), &path("A"));
    assert!(matches!(rename("a", "A"), Renamed::TargetExists { .. }));
    rig.remove(&path("A"));
    assert!(matches!(rename("a", "A"), Renamed::Done { .. }));
    assert_eq!((text(&*rig, "a"), text(&*rig, "A").as_deref()), (None, Some("a")));
    assert_eq!(text(&*rig, "b").as_deref(), Some("b"));
}

fn rename_makes_parents_and_moves_directories(rig: Arc<dyn Rig>) {
    rig.write(&path("d/f"), b"x");
    assert!(rig.folder().rename(&path("d"), &path("d/e")).is_err());
    let renamed = rig.folder().rename(&path("d"), &path("p/q/d")).unwrap();
    assert!(matches!(renamed, Renamed::Done { stat } if stat.kind == FileKind::Directory));
    assert_eq!(text(&*rig, "p/q/d/f").as_deref(), Some("x"));
}

fn list_hides_what_is_ours(rig: Arc<dyn Rig>) {
    for at in ["b", "a/x", "c"] {
        rig.write(&path(at), b"x");
    }
    rig.write(&path(&temporary_name(9)), b"ours");
    rig.link(&path("l"), "a");
    rig.pretend(false, true);
    rig.folder().save(&save("b", "y", holding("x"), 1)).unwrap();
    let listing = rig.folder().list(None).unwrap();
    let names: Vec<_> = listing.entries.iter().map(|e| (e.path.as_str(), e.stat.kind)).collect();
    use FileKind::*;
    assert_eq!(names, [("a", Directory), ("b", File), ("c", File), ("l", Link)]);
    assert_eq!(rig.folder().list(Some(&path("a"))).unwrap().entries[0].path, path("a/x"));
    assert!(matches!(rig.folder().list(Some(&path("none"))), Err(DiskError::NotFound(_))));
    assert!(matches!(rig.folder().list(Some(&path("l"))), Err(DiskError::NotADirectory(_))));
}

fn rules_1_temporaries_are_found_and_removed_by_hash(rig: Arc<dyn Rig>) {
    let (one, two) = (temporary_name(1), format!("d/e/{}", temporary_name(2)));
    rig.write(&path(&one), b"one");
    rig.write(&path(&two), b"two");
    rig.write(&path("d/.syncline-tmp-not"), b"a person's");
    let expected = [(path(&one), ContentHash::of(b"one")), (path(&two), ContentHash::of(b"two"))];
    assert_eq!(rig.folder().temporaries().unwrap(), expected);
    assert_eq!(rig.folder().read_temporary(&path(&two)).unwrap(), b"two");
    assert!(!rig.folder().remove_temporary(&path(&two), ContentHash::of(b"else")).unwrap());
    for (path, hash) in expected {
        assert!(rig.folder().remove_temporary(&path, hash).unwrap());
        assert!(!rig.folder().remove_temporary(&path, hash).unwrap());
    }
    clean(&*rig);
}

fn directories(rig: Arc<dyn Rig>) {
    rig.folder().make_dir(&path("a/b")).unwrap();
    rig.folder().make_dir(&path("a/b")).unwrap();
    assert!(!rig.folder().remove_dir(&path("a")).unwrap());
    assert!(rig.folder().remove_dir(&path("a/b")).unwrap());
    assert!(!rig.folder().remove_dir(&path("a/b")).unwrap());
    rig.write(&path("f"), b"x");
    assert!(matches!(rig.folder().make_dir(&path("f")), Err(DiskError::NotADirectory(_))));
    assert!(!rig.folder().remove_dir(&path("f")).unwrap());
    assert_eq!(rig.folder().git_state(None).unwrap(), GitState::Absent);
}
