//! Power cuts at every call, and the faults of a disk.

use crate::conformance::{FakeRig, Rig, clean, holding, path, save};
use crate::*;
use std::sync::Arc;

const SEEDS: u64 = 12;

/// Cuts the power at each call of `operation` in turn, under several seeds, and judges what is left.
fn cut_everywhere<T>(
    prepare: impl Fn(&FakeFolder),
    operation: impl Fn(&FakeFolder) -> Result<T, DiskError>,
    judge: impl Fn(&FakeFolder, Option<T>, &str),
) {
    let made = || {
        let FakeRig(folder) = FakeRig::default();
        prepare(&folder);
        folder.sync_all().unwrap();
        folder
    };
    let length = {
        let folder = made();
        let before = folder.calls();
        assert!(operation(&folder).is_ok());
        folder.calls() - before
    };
    assert!(length > 5);
    for cut in 0..=length + 1 {
        for seed in 0..SEEDS {
            let folder = made();
            folder.power_cut_after(cut, seed * 1000 + cut);
            let answer = operation(&folder).ok();
            folder.power_cut(seed);
            folder.power_on();
            judge(&folder, answer, &format!("cut {cut} seed {seed}"));
        }
    }
}

fn temporaries_hold_only(folder: &FakeFolder, known: &[&str], at: &str) {
    for (temporary, hash) in folder.temporaries().unwrap() {
        let bytes = folder.read_temporary(&temporary).unwrap();
        // A torn temporary is none of these, but then it is ours and a beginning of the new bytes.
        let torn = known.iter().any(|text| text.as_bytes().starts_with(&bytes));
        assert!(torn, "{at}: {:?}", String::from_utf8_lossy(&bytes));
        assert!(folder.remove_temporary(&temporary, hash).unwrap());
    }
}

#[test]
fn promise_10_after_a_power_cut_the_file_is_wholly_old_or_wholly_new() {
    for (leases, exchange) in [(true, true), (false, true), (true, false), (false, false)] {
        cut_everywhere(
            |folder| {
                folder.foreign_write_in_place(&path("d/f"), b"the old text").unwrap();
                folder.set_leases(leases);
                folder.set_exchange(exchange);
            },
            |folder| folder.save(&save("d/f", "the new text", holding("the old text"), 1)),
            |folder, answer, at| {
                let now = folder.peek(&path("d/f")).unwrap();
                match answer {
                    Some(Saved::Done { .. }) => assert_eq!(now, b"the new text", "{at}"),
                    Some(other) => panic!("{at}: {other:?}"),
                    None => assert!(now == b"the new text" || now == b"the old text", "{at}: {now:?}"),
                }
                temporaries_hold_only(folder, &["the old text", "the new text"], at);
            },
        );
    }
}

#[test]
fn a_created_file_is_durable_with_its_directories_or_absent() {
    cut_everywhere(
        |_| {},
        |folder| folder.save(&save("a/b/f", "the new text", Expect::Absent, 1)),
        |folder, answer, at| match (answer, folder.peek(&path("a/b/f"))) {
            (_, Some(bytes)) => assert_eq!(bytes, b"the new text", "{at}"),
            (None, None) => {}
            (Some(_), None) => panic!("{at}: a saved file is gone"),
        },
    );
}

#[test]
fn promise_11_a_racing_save_survives_every_power_cut() {
    cut_everywhere(
        |folder| {
            folder.foreign_write_in_place(&path("f"), b"old").unwrap();
            let other = folder.clone();
            folder.set_hook(move |step, _| {
                if step == Step::BeforeExchange {
                    // Their editor syncs what it saves. The power may be off already.
                    if other.foreign_save_by_rename(&path("f"), b"theirs").is_ok() {
                        other.state().disk.sync_all();
                    }
                }
            });
        },
        |folder| folder.save(&save("f", "ours", holding("old"), 1)),
        |folder, answer, at| {
            if folder.calls() < 3 {
                return;
            }
            let mut places: Vec<Vec<u8>> = folder.peek(&path("f")).into_iter().collect();
            for (temporary, _) in folder.temporaries().unwrap() {
                places.push(folder.read_temporary(&temporary).unwrap());
            }
            for id in folder.displaced().unwrap() {
                match folder.settle(&id).unwrap() {
                    Settled::Quiet { bytes, .. } => places.push(bytes),
                    other => panic!("{at}: {other:?}"),
                }
            }
            let raced = matches!(answer, Some(Saved::Raced { .. }));
            let untouched = places.contains(&b"old".to_vec()) && !raced;
            assert!(places.contains(&b"theirs".to_vec()) || untouched, "{at}: {places:?}");
        },
    );
}

#[test]
fn a_removal_is_done_or_undone_by_a_power_cut() {
    cut_everywhere(
        |folder| folder.foreign_write_in_place(&path("d/f"), b"old").unwrap(),
        |folder| folder.remove(&path("d/f"), &holding("old"), &temporary_name(1)),
        |folder, answer, at| {
            match (answer, folder.peek(&path("d/f"))) {
                (Some(_), Some(_)) => panic!("{at}: came back"),
                (_, Some(bytes)) => assert_eq!(bytes, b"old", "{at}"),
                (_, None) => {}
            }
            temporaries_hold_only(folder, &["old"], at);
        },
    );
}

#[test]
fn without_the_fsyncs_a_power_cut_is_noticed() {
    // The canary: the same judgement fails for a deferred save, so the fake does lose what is not synced.
    let lost = (0..50).any(|seed| {
        let FakeRig(folder) = FakeRig::default();
        folder.foreign_write_in_place(&path("f"), b"the old text").unwrap();
        folder.sync_all().unwrap();
        let deferred = Save { sync: Sync::Deferred, ..save("f", "the new text", holding("the old text"), 1) };
        folder.save(&deferred).unwrap();
        folder.power_cut(seed);
        folder.power_on();
        folder.peek(&path("f")).is_none_or(|bytes| bytes != b"the new text" && bytes != b"the old text")
    });
    assert!(lost);
    let FakeRig(folder) = FakeRig::default();
    let deferred = Save { sync: Sync::Deferred, ..save("a/f", "text", Expect::Absent, 1) };
    folder.save(&deferred).unwrap();
    folder.sync_all().unwrap();
    folder.power_cut(7);
    folder.power_on();
    assert_eq!(folder.peek(&path("a/f")).unwrap(), b"text");
}

#[test]
fn a_failed_fsync_exchanges_nothing_and_leaves_nothing() {
    let rig = FakeRig::default();
    rig.write(&path("f"), b"old");
    rig.0.fail_fsyncs(1);
    let saved = rig.0.save(&save("f", "new", holding("old"), 1));
    assert!(matches!(saved, Err(DiskError::SyncFailed { placed: false, .. })), "{saved:?}");
    assert_eq!(rig.peek(&path("f")).unwrap(), b"old");
    clean(&rig);
    // Of the directory, after the exchange: in place, not believed.
    let folder = rig.0.clone();
    rig.0.set_hook(move |step, _| {
        if step == Step::AfterExchange {
            folder.fail_fsyncs(1);
        }
    });
    let saved = rig.0.save(&save("f", "new", holding("old"), 2));
    assert!(matches!(saved, Err(DiskError::SyncFailed { placed: true, .. })), "{saved:?}");
    let expected = [(path(&temporary_name(2)), ContentHash::of(b"old"))];
    assert_eq!(rig.0.temporaries().unwrap(), expected);
}

#[test]
fn full_and_read_only_disks_change_nothing() {
    let rig = FakeRig::default();
    rig.write(&path("f"), b"old");
    rig.write(&path("two"), b"old");
    rig.hard_link(&path("two"), &path("names"));
    rig.0.set_full(true);
    for (nth, at) in ["f", "two"].into_iter().enumerate() {
        let saved = rig.0.save(&save(at, "new and longer", holding("old"), nth as u64));
        assert!(matches!(saved, Err(DiskError::StorageFull { .. })), "{saved:?}");
        assert_eq!(rig.peek(&path(at)).unwrap(), b"old");
    }
    rig.0.set_full(false);
    rig.0.set_read_only(true);
    let saved = rig.0.save(&save("f", "new", holding("old"), 3));
    assert!(matches!(saved, Err(DiskError::ReadOnly { .. })), "{saved:?}");
    rig.0.set_read_only(false);
    rig.chmod(&path("f"), 0o444);
    let saved = rig.0.save(&save("f", "new", holding("old"), 4));
    assert!(matches!(saved, Err(DiskError::ReadOnly { .. })), "{saved:?}");
    clean(&rig);
}

#[test]
fn rules_4_a_writer_that_came_in_the_last_moment_is_not_lost() {
    let rig = FakeRig::default();
    rig.write(&path("f"), b"old");
    let (folder, writer) = (rig.0.clone(), Arc::new(std::sync::Mutex::new(None)));
    let slot = writer.clone();
    rig.0.set_hook(move |step, _| {
        if step == Step::BeforeExchange {
            *slot.lock().unwrap() = Some(folder.foreign_open_writer(&path("f")).unwrap());
        }
    });
    let Saved::Done { displaced: Some(id), .. } = rig.0.save(&save("f", "new", holding("old"), 1)).unwrap()
    else {
        panic!("not kept");
    };
    rig.0.clear_hook();
    let writer = writer.lock().unwrap().take().unwrap();
    assert_eq!(rig.0.settle(&id).unwrap(), Settled::StillOpen);
    rig.0.foreign_append(writer, b" and late").unwrap();
    rig.0.foreign_close(writer).unwrap();
    assert!(matches!(rig.0.settle(&id).unwrap(), Settled::Quiet { bytes, .. } if bytes == b"old and late"));
    rig.0.forget(&id).unwrap();
    clean(&rig);
}

#[test]
fn a_vanished_root_is_an_error_never_an_empty_folder() {
    let rig = FakeRig::default();
    rig.0.set_root_gone(true);
    assert!(matches!(rig.0.list(None), Err(DiskError::RootGone { .. })));
    assert!(matches!(rig.0.stat(&path("f")), Err(DiskError::RootGone { .. })));
    assert!(matches!(rig.0.read(&path("f"), 9), Err(DiskError::RootGone { .. })));
    assert!(rig.0.watch().is_err());
}

#[test]
fn hints_can_be_held_dropped_and_overflown() {
    let rig = FakeRig::default();
    let mut watch = rig.0.watch().unwrap();
    let mut next = || watch.next(std::time::Duration::ZERO).unwrap();
    rig.0.hold_hints(true);
    rig.write(&path("f"), b"x");
    assert_eq!(next(), []);
    assert_eq!(rig.0.drop_hints(2), 2);
    rig.0.release_hints(1);
    assert_eq!(next(), [Hint::at(path("f"), What::Modified)]);
    rig.0.overflow_hints();
    rig.0.hold_hints(false);
    assert_eq!(next(), [Hint::everywhere(What::Rescan)]);
}
