//! Large files: read against what is known, and written ahead of their save.

use super::*;

pub(super) const CASES: &[(&str, Case)] = &[
    ("what_is_known_is_not_read_again", what_is_known_is_not_read_again),
    ("comparing_gives_what_reading_gives", comparing_gives_what_reading_gives),
    ("rules_4_a_held_file_is_not_compared", rules_4_a_held_file_is_not_compared),
    ("a_save_takes_what_was_written_ahead", a_save_takes_what_was_written_ahead),
    ("what_was_written_ahead_and_not_saved_goes", what_was_written_ahead_and_not_saved_goes),
    ("two_names_are_written_in_place_all_the_same", two_names_are_written_in_place_all_the_same),
    ("somebody_saved_after_it_was_written_ahead", somebody_saved_after_it_was_written_ahead),
];

fn bytes(text: &str) -> FileBytes {
    FileBytes::from(text.as_bytes().to_vec())
}

fn what_is_known_is_not_read_again(rig: Arc<dyn Rig>) {
    let long = "line\n".repeat(1000);
    let file = format!("{long}a word {long}");
    rig.write(&path("f"), file.as_bytes());
    for pretend in [true, false] {
        rig.pretend(pretend, true);
        let known = bytes(&format!("{long}{long}"));
        let read = rig.folder().read_against(&path("f"), 1 << 20, &known).unwrap();
        let Compared::Spliced { splice, hash, stat } = read else { panic!("read: {read:?}") };
        assert_eq!(splice, Splice { start: 5000, bytes: b"a word ".to_vec(), tail: 5000 });
        assert_eq!((hash, stat.len), (ContentHash::of(file.as_bytes()), 10_007));
    }
}

fn comparing_gives_what_reading_gives(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"12345");
    rig.link(&path("l"), "f");
    rig.make_dir(&path("d"));
    for (name, limit) in [("f", 4), ("l", 9), ("d", 9), ("missing", 9), ("f/x", 9)] {
        let read = rig.folder().read(&path(name), limit).unwrap();
        let compared = rig.folder().read_against(&path(name), limit, &bytes("12345")).unwrap();
        assert_eq!(compared, Compared::Read(read), "{name}");
    }
    // Nothing alike, and more of it than is held.
    rig.write(&path("f"), &vec![b'x'; 5 << 20]);
    let compared = rig.folder().read_against(&path("f"), 1 << 30, &bytes("12345")).unwrap();
    assert!(matches!(compared, Compared::Read(Reading::Stable { bytes, .. }) if bytes.len() == 5 << 20));
}

fn rules_4_a_held_file_is_not_compared(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"one\n");
    let held = rig.write_and_hold(&path("f"), b"two\n");
    let compared = || rig.folder().read_against(&path("f"), 100, &bytes("one\n")).unwrap();
    assert!(matches!(compared(), Compared::Read(Reading::Busy { .. })));
    drop(held);
    assert!(matches!(compared(), Compared::Spliced { .. }));
}

fn ahead(rig: &dyn Rig, at: &str, text: &str, nth: u64) {
    let hash = rig.folder().write_ahead(&path(at), &bytes(text), &temporary_name(nth)).unwrap();
    assert_eq!(hash, Some(ContentHash::of(text.as_bytes())));
}

/// What is told here is not what was written ahead: what the file holds afterwards shows which of them was taken.
fn save_ahead(at: &str, told: &str, expect: Expect, nth: u64) -> Save {
    Save { ahead: true, ..save(at, told, expect, nth) }
}

fn a_save_takes_what_was_written_ahead(rig: Arc<dyn Rig>) {
    rig.write(&path("d/f"), b"old");
    rig.chmod(&path("d/f"), 0o640);
    ahead(&*rig, "d/f", "new", 1);
    assert_eq!(text(&*rig, "d/f").as_deref(), Some("old"));
    let saved = rig.folder().save(&save_ahead("d/f", "told", holding("old"), 1)).unwrap();
    assert!(matches!(saved, Saved::Done { how: How::Exchange, displaced: None, .. }), "{saved:?}");
    assert_eq!(text(&*rig, "d/f").as_deref(), Some("new"));
    assert_eq!(rig.folder().stat(&path("d/f")).unwrap().unwrap().mode, 0o640);
    clean(&*rig);
}

fn what_was_written_ahead_and_not_saved_goes(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"old");
    for only in [Some(temporary_name(1)), None] {
        ahead(&*rig, "f", "new", 1);
        rig.folder().clear_ahead(only.as_deref()).unwrap();
        rig.folder().clear_ahead(only.as_deref()).unwrap();
        // It is gone, and the bytes that are told are written.
        rig.folder().save(&save_ahead("f", "told", holding("old"), 1)).unwrap();
        assert_eq!(text(&*rig, "f").as_deref(), Some("told"));
        clean(&*rig);
        rig.save_by_rename(&path("f"), b"old");
    }
    let bad = rig.folder().write_ahead(&path("f"), &bytes("x"), "../../x");
    assert!(matches!(bad, Err(DiskError::BadTemporary(_))), "{bad:?}");
}

fn two_names_are_written_in_place_all_the_same(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"old");
    ahead(&*rig, "f", "new", 1);
    rig.hard_link(&path("f"), &path("second"));
    let saved = rig.folder().save(&save_ahead("f", "new", holding("old"), 1)).unwrap();
    assert!(matches!(saved, Saved::Done { how: How::InPlace, .. }), "{saved:?}");
    assert_eq!(text(&*rig, "second").as_deref(), Some("new"));
    rig.folder().clear_ahead(Some(&temporary_name(1))).unwrap();
    clean(&*rig);
}

fn somebody_saved_after_it_was_written_ahead(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"old");
    ahead(&*rig, "f", "new", 1);
    rig.save_by_rename(&path("f"), b"theirs");
    let saved = rig.folder().save(&save_ahead("f", "new", holding("old"), 1)).unwrap();
    let Saved::Raced { bytes, displaced, .. } = saved else { panic!("not raced: {saved:?}") };
    assert_eq!(bytes, b"theirs");
    rig.folder().forget(&displaced).unwrap();
    clean(&*rig);
}
