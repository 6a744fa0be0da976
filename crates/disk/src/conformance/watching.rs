//! What a watch says about others, and about our own saves.

use super::*;
use std::time::{Duration, Instant};

pub(super) const CASES: &[(&str, Case)] = &[
    ("files_1_every_save_by_rename_is_seen", files_1_every_save_by_rename_is_seen),
    ("files_6_new_directories_are_watched", files_6_new_directories_are_watched),
    ("files_17_cookies_join_renames", files_17_cookies_join_renames),
    ("rules_3_own_saves_are_one_hint", rules_3_own_saves_are_one_hint),
    (
        "rules_3_a_reader_before_our_save_is_seen_before_it",
        rules_3_a_reader_before_our_save_is_seen_before_it,
    ),
    ("own_removals_are_removals", own_removals_are_removals),
];

/// Hints until one is what is waited for; that one is the last.
pub(crate) fn until(watch: &mut dyn Watch, wanted: impl Fn(&Hint) -> bool) -> Vec<Hint> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut seen = Vec::new();
    loop {
        for hint in watch.next(deadline.saturating_duration_since(Instant::now())).unwrap() {
            seen.push(hint);
            if seen.last().is_some_and(&wanted) {
                return seen;
            }
        }
        assert!(Instant::now() < deadline, "not seen; seen: {seen:#?}");
    }
}

/// Makes a file nobody else makes and waits for it: all hints of what came before are there then.
pub(crate) fn settle(rig: &dyn Rig, watch: &mut dyn Watch, nth: u32) -> Vec<Hint> {
    let mark = path(&format!("mark-{nth}"));
    rig.write(&mark, b"");
    let mut seen = until(watch, |hint| hint.path.as_ref() == Some(&mark) && hint.what == What::ClosedWrite);
    seen.retain(|hint| hint.path.as_ref() != Some(&mark));
    seen
}

fn at(seen: &[Hint], at: &str) -> Vec<What> {
    seen.iter().filter(|h| h.path.as_ref() == Some(&path(at))).map(|h| h.what.clone()).collect()
}

fn files_1_every_save_by_rename_is_seen(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"0");
    let mut watch = rig.folder().watch().unwrap();
    for nth in 1..=10 {
        rig.save_by_rename(&path("f"), &[nth]);
        until(&mut *watch, |h| h.path == Some(path("f")) && matches!(h.what, What::MovedTo { .. }));
    }
}

fn files_6_new_directories_are_watched(rig: Arc<dyn Rig>) {
    let mut watch = rig.folder().watch().unwrap();
    rig.write(&path("a/b/c/f"), b"1");
    let seen = until(&mut *watch, |h| h.path == Some(path("a/b/c/f")) && h.what == What::ClosedWrite);
    assert!(at(&seen, "a").contains(&What::Created { dir: true }));
    assert!(at(&seen, "a/b/c/f").contains(&What::Created { dir: false }));
    settle(&*rig, &mut *watch, 1);
    rig.write(&path("a/b/c/f"), b"2");
    let seen = settle(&*rig, &mut *watch, 2);
    assert!(at(&seen, "a/b/c/f").contains(&What::Modified), "{seen:?}");
}

fn files_17_cookies_join_renames(rig: Arc<dyn Rig>) {
    rig.write(&path("d/f"), b"1");
    rig.write(&path("x"), b"1");
    let mut watch = rig.folder().watch().unwrap();
    rig.rename(&path("x"), &path("d/x"));
    rig.rename(&path("d"), &path("e"));
    rig.write(&path("e/f"), b"2");
    let seen = settle(&*rig, &mut *watch, 1);
    for (from, to, is_dir) in [("x", "d/x", false), ("d", "e", true)] {
        let (from, to) = (at(&seen, from), at(&seen, to));
        match (from.as_slice(), to.as_slice()) {
            ([What::MovedFrom { cookie, dir }], [What::MovedTo { cookie: second, dir: also }]) => {
                assert_eq!((cookie, *dir, *also), (second, is_dir, is_dir));
            }
            other => panic!("{other:?}"),
        }
    }
    // The watch went with the directory.
    assert!(at(&seen, "e/f").contains(&What::ClosedWrite), "{seen:?}");
    assert_eq!(at(&seen, "d/f"), []);
}

fn rules_3_own_saves_are_one_hint(rig: Arc<dyn Rig>) {
    let mut watch = rig.folder().watch().unwrap();
    let folder = rig.folder();
    folder.save(&save("f", "1", Expect::Absent, 1)).unwrap();
    folder.save(&save("f", "2", holding("1"), 2)).unwrap();
    folder.save(&save("f", "3", holding("2"), 3)).unwrap();
    let seen = settle(&*rig, &mut *watch, 1);
    let own = |nth| What::Exchanged { temporary: temporary_name(nth) };
    assert_eq!(at(&seen, "f"), [own(1), own(2), own(3)]);
    assert_eq!(seen.len(), 3, "{seen:?}");
}

fn rules_3_a_reader_before_our_save_is_seen_before_it(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"1");
    let mut watch = rig.folder().watch().unwrap();
    rig.read(&path("f"));
    rig.folder().save(&save("f", "2", holding("1"), 1)).unwrap();
    rig.read(&path("f"));
    rig.folder().save(&save("f", "3", holding("2"), 2)).unwrap();
    let seen = at(&settle(&*rig, &mut *watch, 1), "f");
    let read = [What::Opened, What::Accessed, What::ClosedNoWrite];
    let own = |nth| [What::Exchanged { temporary: temporary_name(nth) }];
    assert_eq!(seen, [&read[..], &own(1), &read, &own(2)].concat());
}

fn own_removals_are_removals(rig: Arc<dyn Rig>) {
    rig.write(&path("f"), b"1");
    let mut watch = rig.folder().watch().unwrap();
    rig.folder().remove(&path("f"), &holding("1"), &temporary_name(1)).unwrap();
    let seen = at(&settle(&*rig, &mut *watch, 1), "f");
    assert_eq!(seen.last(), Some(&What::Removed { dir: false }), "{seen:?}");
    assert!(!seen.iter().any(|what| matches!(what, What::Exchanged { .. } | What::Created { .. })));
}
