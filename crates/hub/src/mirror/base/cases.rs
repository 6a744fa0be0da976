//! What a file held, what was saved, and the base that it must have.

use super::*;
use Evidence::{Read, Unread};
use Maker::{Other, Us};
use syncline_engine::Version;

/// A table of cases: what the file held, the save, and the base it must have.
fn infer(held: &[(&str, Maker, Evidence)], text: &str, change: impl Fn(&mut Save<'_>)) -> (usize, bool, Why) {
    let mut candidates: Vec<Candidate> = Vec::new();
    for (text, maker, evidence) in held {
        let mut candidate = Candidate::new(Version::root(), text.as_bytes(), *maker, *evidence);
        candidate.base = candidates.last().map(|before: &Candidate| before.hash);
        candidates.push(candidate);
    }
    let texts = Texts::new(held.len(), |index| Some(Arc::new(held[index].0.to_owned())));
    let bases: Vec<_> = candidates.iter().map(|each| (each.maker, each.base, each.hash)).collect();
    let includes = |index: usize, other: usize| included(&bases, index, other);
    let mut save = Save {
        candidates: &candidates,
        texts: &texts,
        includes: &includes,
        text,
        repeated: false,
        git: false,
    };
    change(&mut save);
    let base = infer_base(&save).unwrap();
    (base.index, base.edit, base.why)
}

/// As if every save were made from the version that is named as its base, and every write of ours from all.
fn included(
    all: &[(Maker, Option<syncline_disk::ContentHash>, syncline_disk::ContentHash)],
    index: usize,
    other: usize,
) -> bool {
    let mut at = index;
    while at > other && all[at].0 == Other {
        match all[..at].iter().rposition(|older| Some(older.2) == all[at].1) {
            Some(base) => at = base,
            None => return false,
        }
    }
    at >= other
}

const OLD: &str = "one\ntwo\nthree\nfour\n";
const FOREIGN: &str = "one\ntwo, changed by B\nthree\nfour\n";

#[test]
fn a_stale_save_has_the_version_its_maker_saw_as_its_base() {
    for evidence in [Unread, Read, Evidence::Unknown] {
        let held = [(OLD, Other, Read), (FOREIGN, Us, evidence)];
        let stale = "one\ntwo\nthree\nfour, mine\n";
        assert_eq!(infer(&held, stale, |_| {}), (0, true, Why::Stale), "{evidence:?}");
        let fresh = "one\ntwo, changed by B\nthree\nfour, mine\n";
        assert_eq!(infer(&held, fresh, |_| {}), (1, true, Why::LeastChange), "{evidence:?}");
    }
}

#[test]
fn stale_in_the_same_line() {
    let held = [("abc def\n", Other, Read), ("abc def ghi\n", Us, Read)];
    assert_eq!(infer(&held, "xabc def\n", |_| {}), (0, true, Why::Stale));
    assert_eq!(infer(&held, "xabc def ghi\n", |_| {}), (1, true, Why::LeastChange));
}

#[test]
fn a_line_of_somebody_elses_that_was_changed_is_not_a_new_line() {
    let held = [("a\nb\n", Other, Read), ("a\nby B\nb\n", Us, Unread)];
    assert_eq!(infer(&held, "a\nby B, and me\nb\n", |_| {}), (1, true, Why::LeastChange));
}

#[test]
fn two_who_append_to_one_line() {
    // The blank between the words must not make B's word look replaced.
    let held = [("one\nline here\nthree\n", Other, Read), ("one\nline here left000\nthree\n", Us, Unread)];
    assert_eq!(infer(&held, "one\nline here right11\nthree\n", |_| {}), (0, true, Why::Stale));
}

#[test]
fn lines_alike_at_one_place_by_two_who_did_not_see_each_other() {
    // Taken for a change of B's line, this would cost less than a line of one's own.
    let held = |evidence| [("one\ntwo\n", Other, Read), ("one\nlog 0012 from B\ntwo\n", Us, evidence)];
    let save = "one\nlog 0017 from A\ntwo\n";
    assert_eq!(infer(&held(Unread), save, |_| {}), (0, true, Why::Stale));
    assert_eq!(infer(&held(Evidence::Opened), save, |_| {}), (0, true, Why::Stale));
    assert_eq!(infer(&held(Evidence::Unknown), save, |_| {}), (0, true, Why::Stale));
    // Nor when it came with others of which that is not known either.
    let both = "one\nlog 0012 from B\ntwo and\n";
    let unknown = [held(Evidence::Unknown)[0], held(Evidence::Unknown)[1], (both, Us, Evidence::Unknown)];
    assert_eq!(infer(&unknown, save, |_| {}), (0, true, Why::Stale));
    // Who has read it may well have changed it.
    assert_eq!(infer(&held(Read), save, |_| {}), (1, true, Why::LeastChange));
    // A write without a change does not hide what was read before.
    let again = [("one\ntwo\n", Other, Read), ("one\ntwo\n", Us, Unread), held(Unread)[1]];
    assert_eq!(infer(&again, save, |_| {}), (1, true, Why::Stale));
}

#[test]
fn words_alike_by_chance_do_not_make_an_older_version_the_base() {
    // B's change of line 1 was written; the maker's own stale save changed line 2; both were merged. Now
    // the maker, who has seen all that, changes line 2 again, to a word more like the one of old.
    let held = [
        ("one A\ntwo mknew000064qqqqqb\n", Us, Read),
        ("one\ntwo mknew000066ztatlh\n", Other, Read),
        ("one A\ntwo mknew000066ztatlh\n", Us, Read),
    ];
    assert_eq!(infer(&held, "one A\ntwo mknew000068mofkvb\n", |_| {}), (2, true, Why::LeastChange));
}

#[test]
fn words_alike_by_chance_in_a_version_before_the_one_that_was_read() {
    let held = [
        ("line 03 mknew000101ppfbdc\nline 15 mknew000102ygxiga\n", Us, Read),
        ("line 03 mknew000101ppfbdc\nline 15 mknew000104ubdpka\n", Us, Unread),
        ("line 03 mknew000103iwevqq\nline 15 mknew000102ygxiga\n", Other, Read),
        ("line 03 mknew000103iwevqq\nline 15 mknew000104ubdpka\n", Us, Read),
        ("line 03 mknew000103iwevqq\nline 15 mknew000106pbqkcw\n", Us, Unread),
    ];
    assert_eq!(
        infer(&held, "line 03 mknew000105pjoylc\nline 15 mknew000104ubdpka\n", |_| {}),
        (3, true, Why::Stale)
    );
}

#[test]
fn a_small_foreign_edit_is_kept_beside_a_large_one_of_ones_own() {
    let lines: String = (0..40).map(|n| format!("line {n}\n")).collect();
    let foreign = lines.replace("line 7\n", "line 7.\n");
    let own = lines.replace("line 30\n", &"a new paragraph of many words\n".repeat(20));
    let held = [(lines.as_str(), Other, Read), (foreign.as_str(), Us, Read)];
    assert_eq!(infer(&held, &own, |_| {}), (0, true, Why::Stale));
    let fresh = own.replace("line 7\n", "line 7.\n");
    assert_eq!(infer(&held, &fresh, |_| {}), (1, true, Why::LeastChange));
}

#[test]
fn an_append_to_a_version_nobody_read_keeps_it() {
    let held = [(OLD, Other, Read), (FOREIGN, Us, Unread)];
    let appended = format!("{FOREIGN}five\n");
    assert_eq!(infer(&held, &appended, |_| {}), (1, true, Why::LeastChange));
}

#[test]
fn two_words_in_brackets_at_the_end_of_one_line() {
    let held = [("one\ntwo\n", Other, Read), ("one <by 4 B>\ntwo\n", Us, Evidence::Unknown)];
    assert_eq!(infer(&held, "one <mine 1>\ntwo\nthree\nfour\n", |_| {}), (0, true, Why::Stale));
    assert_eq!(infer(&held, "one <by 4, B>\ntwo\nthree\nfour\n", |_| {}), (1, true, Why::LeastChange));
}

#[test]
fn many_lines_behind_a_word_of_somebody_elses() {
    // The word ends the file, without a line end; what is put behind it is far more than it.
    let word = format!("{OLD} word ");
    let held = [(OLD, Other, Read), (word.as_str(), Us, Read)];
    let filler: String = (0..4000).map(|number| format!("filler {number}\n")).collect();
    assert_eq!(infer(&held, &format!("{word}{filler}"), |_| {}), (1, true, Why::LeastChange));
    assert_eq!(infer(&held, &format!("{OLD}{filler}"), |_| {}), (0, true, Why::Stale));
}

#[test]
fn an_editor_that_never_reloads_saves_again_and_again() {
    let first = "one\ntwo\nthree\nfour, a\n";
    let merged = "one\ntwo, changed by B\nthree\nfour, a\n";
    let held = [(OLD, Other, Read), (FOREIGN, Us, Read), (first, Other, Read), (merged, Us, Read)];
    let second = "one\ntwo\nthree\nfour, a, b\n";
    assert_eq!(infer(&held, second, |_| {}), (2, true, Why::Stale));
    // Unchanged: no edit, and the second time it is meant.
    assert_eq!(infer(&held, first, |_| {}), (2, false, Why::Unchanged));
    assert_eq!(infer(&held, first, |save| save.repeated = true), (3, true, Why::Repeated));
}

#[test]
fn removing_a_foreign_edit_is_meant_once_a_save_contained_it() {
    let with_own = format!("{FOREIGN}five\n");
    let held = [
        (OLD, Other, Read),
        (FOREIGN, Us, Read),
        (with_own.as_str(), Other, Read),
        ("unrelated write\n", Us, Unread),
    ];
    let removed = format!("{OLD}five\n");
    assert_eq!(infer(&held[..3], &removed, |_| {}).0, 2, "the maker's own save contained it");
    assert_eq!(infer(&held[..2], OLD, |_| {}), (0, false, Why::Unchanged), "nobody can have known it");
}

#[test]
fn a_person_alone_may_take_back_what_they_wrote() {
    let held = [(OLD, Other, Read), (FOREIGN, Other, Read)];
    assert_eq!(infer(&held, OLD, |_| {}), (1, true, Why::Newest), "back to the old bytes is an edit");
    let merged_unchanged = [(OLD, Other, Read), (FOREIGN, Other, Read), (FOREIGN, Us, Unread)];
    assert_eq!(infer(&merged_unchanged, OLD, |_| {}), (2, true, Why::Newest));
    let own = format!("{FOREIGN}five\n");
    let after_a_write = [(OLD, Other, Read), (FOREIGN, Us, Read), (own.as_str(), Other, Read)];
    assert_eq!(infer(&after_a_write, FOREIGN, |_| {}), (2, true, Why::Newest), "undone");
    assert_eq!(infer(&after_a_write, OLD, |_| {}), (0, false, Why::Unchanged), "an old buffer");
}

#[test]
fn a_line_that_somebody_else_changed_is_changed_again() {
    let changed = |word: &str| format!("one\ntwo {word}\nthree\nfour\n");
    let (first, second) = (changed("mknew000104xxxxxx"), changed("mknew000106juvkci"));
    for evidence in [Read, Evidence::Unknown] {
        let held = [(first.as_str(), Other, Read), (second.as_str(), Us, evidence)];
        assert_eq!(infer(&held, &changed("mknew000108aimkrd"), |_| {}).0, 1, "{evidence:?}");
    }
}

#[test]
fn a_save_with_lines_of_an_earlier_one_is_not_made_from_a_later_one_without_them() {
    // X has OLD and adds a line; B's change comes; Y, who has OLD too, saves; X saves again.
    let (by_x, by_y) = ("one\ntwo\nx\nthree\nfour\n", "one\ntwo\nthree\nfour\ny\n");
    let merged = "one\ntwo, changed by B\nx\nthree\nfour\n";
    let held = [(OLD, Us, Read), (by_x, Other, Read), (merged, Us, Read), (by_y, Other, Read)];
    let again = "one\ntwo\nx\nthree\nfour\nx again\n";
    let from_old = |save: &mut Save<'_>| {
        let mut candidates = save.candidates.to_vec();
        candidates[3].base = Some(candidates[0].hash);
        let candidates: &[Candidate] = Box::leak(candidates.into_boxed_slice());
        let bases: Vec<_> = candidates.iter().map(|each| (each.maker, each.base, each.hash)).collect();
        save.candidates = candidates;
        save.includes = Box::leak(Box::new(move |index, other| included(&bases, index, other)));
    };
    assert_eq!(infer(&held, again, from_old), (1, true, Why::Stale));
}

#[test]
fn replacements() {
    let held = [(OLD, Other, Read), (FOREIGN, Us, Read)];
    assert_eq!(infer(&held, "#!/bin/sh\nexec true\n", |_| {}), (1, true, Why::Unrelated));
    assert_eq!(infer(&held, OLD, |save| save.git = true), (1, true, Why::Git));
    let blind = [(OLD, Us, Unread), (FOREIGN, Us, Unread)];
    assert_eq!(infer(&blind, "one\ntwo\nthree\n", |_| {}), (1, true, Why::Blind));
    assert!(infer(&held, "", |_| {}).1, "emptying a file is an edit");
}

#[test]
fn stale_over_a_fresh_save_by_another_program() {
    // X read OLD; our write brought B's edit; Y read that and appended; X saves its stale buffer.
    let fresh = format!("{FOREIGN}by Y\n");
    let held = [(OLD, Other, Read), (FOREIGN, Us, Read), (fresh.as_str(), Other, Read)];
    let stale = "zero\none\ntwo\nthree\nfour\n";
    assert_eq!(infer(&held, stale, |_| {}), (0, true, Why::Stale));
}

/// What nobody is known to have read, for the program was killed.
fn after_a_kill<'a>(old: &'a str, theirs: &'a str) -> [(&'a str, Maker, Evidence); 2] {
    [(old, Other, Read), (theirs, Us, Evidence::Unknown)]
}

#[test]
fn lines_alike_all_around_do_not_hide_whose_lines_a_save_has() {
    let line = |mark: &str| format!("{mark} several\nlines at once\n\n");
    let old = format!("{}{}filler 6\n{}end\n", line("mark1"), line("mark2"), line("mark3"));
    let theirs =
        format!("{}{}filler 6\n{}{}end\n", line("mark1"), line("mark2"), line("mark3"), line("mark4"));
    let held = after_a_kill(&old, &theirs);
    for mine in ["mark5 word word\n\n".to_owned(), line("mark5")] {
        let text = theirs
            .replace("filler 6\n", "")
            .replace("mark4 several\nlines at once\n\n", &format!("mark4 several\nlines at once\n{mine}"));
        assert_eq!(infer(&held, &text, |_| {}), (1, true, Why::LeastChange), "{text}");
    }
}

#[test]
fn who_takes_out_the_same_line_has_not_therefore_seen_what_came_with_that() {
    let old = "one\nlines at once\n\nlines at once\nfiller 7\nend\n";
    let theirs = "one\n\nlines  by another at once\nfiller 7\nend\n";
    let held = after_a_kill(old, theirs);
    assert_eq!(infer(&held, "one\n\nlines at once\nmine, a line\nend\n", |_| {}), (0, true, Why::Stale));
}

#[test]
fn letters_alike_by_chance_are_nothing_of_what_somebody_put_in() {
    let (old, theirs) =
        ("one\n\nmark0001abcdef several\nfour\n", "one\n mark0018xfyugo \nmark0001abcdef several\nfour\n");
    let held = after_a_kill(old, theirs);
    let mine = "one\nmark0024xgyuho several\nlines at once\n\n\nmark0001abcdef several\nfour\n";
    assert_eq!(infer(&held, mine, |_| {}), (0, true, Why::Stale));
}

#[test]
fn who_takes_out_a_line_that_somebody_replaced_has_not_therefore_seen_what_stands_there() {
    let (old, theirs) =
        ("one\nfiller 3\nthree\nfiller 5\nfour\n", "one\nby another\nthree\nfiller 5\nfour\n");
    let held = after_a_kill(old, theirs);
    assert_eq!(infer(&held, "one\nthree\nfour\nmine, a line\n", |_| {}), (0, true, Why::Stale));
}

#[test]
fn a_line_of_somebody_elses_that_was_changed_inside_is_theirs_by_a_word_that_nobody_else_has() {
    let (old, theirs) = ("one\ntwo\nfour\n", "one\nmkub000039rdeckr several\nlines at once\n\ntwo\nfour\n");
    let held = after_a_kill(old, theirs);
    let mine = "one\nmkub000039rdeckr  mine several\n\ntwo\nmine, a line\nfour\n";
    assert_eq!(infer(&held, mine, |_| {}), (1, true, Why::LeastChange));
}

#[test]
fn words_that_anybody_uses_are_nothing_of_what_somebody_put_in() {
    let (old, theirs) = (
        "filler 0\nfiller 1\nfiller 2\n",
        "filler 0\nmkuc000002lufvkx several\nlines at once\n\nfiller 1\nfiller 2\n",
    );
    let held = after_a_kill(old, theirs);
    let mine = "mkub000003buycam word\nmkub000006cleufs several\nlines at once\n\nfiller 2\n";
    assert_eq!(infer(&held, mine, |_| {}), (0, true, Why::Stale));
}

#[test]
fn a_line_that_is_there_was_not_taken_out_however_the_texts_line_up() {
    let old = "filler 6\n mkuc000018rneneq mkub000001ftviyd word \nmkua000028lcmpzb several\nlines at once\n\nend\n";
    let brought = "mkub000031qqntzu word word word \n";
    let theirs = old.replacen(" mkuc", &format!("{brought} mkuc"), 1);
    let held = [(old, Other, Read), (theirs.as_str(), Us, Read)];
    let mine = theirs
        .replacen(
            brought,
            &format!("mkua000037zobycn several\nlines at once\n\n{brought}  mkua000036dqfjpi"),
            1,
        )
        .replacen("several\nlines at once\n\nend", "several\n\nend", 1);
    assert_eq!(infer(&held, &mine, |_| {}), (1, true, Why::LeastChange), "{mine}");
}

#[test]
fn two_who_write_into_one_empty_line_without_seeing_each_other() {
    let (old, theirs) = (
        "one\nmkua000015lckqaa several\n\nfour\n",
        "one\nmkua000015lckqaa several\n mkua000017rcrlsr \nfour\n",
    );
    let held = after_a_kill(old, theirs);
    let mine = "one\nmkua000015lckqaa several\n mkuc000022cqzgro \nmine, a line\nfour\n";
    assert_eq!(infer(&held, mine, |_| {}), (0, true, Why::Stale));
}

#[test]
fn what_a_save_that_raced_with_a_write_of_ours_took_out_is_taken_out_again() {
    let shown = "by me\nfiller 3\nfiller 4\nfour\nfive\nsix\n";
    let raced = "by me\nfour\nraced, a line of mine\nfive\nsix\n";
    let written = "mkua000009hnfibb word\nby me\nfiller 3\nfiller 4\nfour\nfive\nsix\n";
    let unknown = Evidence::Unknown;
    let held = [(shown, Us, unknown), (raced, Other, unknown), (written, Us, unknown)];
    let apart: &dyn Fn(usize, usize) -> bool = &|index, other| index >= other && (index, other) != (2, 1);
    let mine = "mkua000009hnfibb word\nby me\nfour\nfive\nmine, another line\nsix\n";
    assert_eq!(infer(&held, mine, |save| save.includes = apart), (2, true, Why::LeastChange));
}

#[test]
fn what_two_may_both_have_put_in_does_not_take_back_what_else_somebody_did() {
    let old = "import os\n\ntimeout = 30\nretries = 11\nrun()\n";
    let theirs = "import os\nimport json\n\ntimeout = 60\nretries = 22\nrun()\n";
    let mine = "import os\nimport json\n\ntimeout = 30\nretries = 11\nrun(json)\n";
    for evidence in [Unread, Evidence::Unknown] {
        let held = [(old, Other, Read), (theirs, Us, evidence)];
        assert_eq!(infer(&held, mine, |_| {}).0, 0, "{evidence:?}");
    }
}

#[test]
fn who_has_the_beginning_of_what_came_has_not_seen_the_rest() {
    let (old, lines) =
        ("one\ntwo\n", |count: usize| (0..count).map(|n| format!("line {n} by B\n")).collect::<String>());
    let theirs = format!("one\n{}two\n", lines(200));
    let mine = format!("one\n{}two\n", lines(65));
    let held = [(old, Other, Read), (theirs.as_str(), Us, Unread)];
    assert_eq!(infer(&held, &mine, |_| {}).0, 0);
    let (old, mine) = ("meeting notes\nend\n", "meeting notes\nBob will bring cake\nend\nmine\n");
    let theirs =
        "meeting notes\nBob will bring cake\nthe next meeting is on Monday at ten in the small room\nend\n";
    let held = [(old, Other, Read), (theirs, Us, Evidence::Unknown)];
    assert_eq!(infer(&held, mine, |_| {}).0, 0);
}

#[test]
fn who_has_two_of_three_changes_took_the_third_out() {
    let (old, theirs) = ("colour = red\nsize = 3\nend\n", "colour = blue\nsize = 4\nDebug print here\nend\n");
    let held = after_a_kill(old, theirs);
    assert_eq!(infer(&held, "colour = blue\nsize = 4\nend\n", |_| {}).0, 1);
}

/// Two who tidy up the same lines. That a version was read says only that its file was: by somebody who had saved over it.
#[test]
fn who_takes_out_the_same_lines_has_not_therefore_seen_a_line_that_came_with_that() {
    let old = "filler 1\nfiller 2\nfiller 3\nfour\nfive\nsix\nseven\n";
    let theirs = "four\nmkuf000075zcueib \nfive\nsix\nseven\n";
    let mine = "four\nfive\nsix\nmkul000080nddegz several\nlines at once\nseven mkul000081ayumos \n";
    for evidence in [Read, Unread, Evidence::Unknown] {
        let held = [(old, Us, Read), (theirs, Us, evidence)];
        assert_eq!(infer(&held, mine, |_| {}), (0, true, Why::Stale), "{evidence:?}");
    }
    // Who has it, and took the same out, has seen it.
    let seen = "four\nmkuf000075zcueib \nfive, mine\nsix\nseven\n";
    assert_eq!(infer(&[(old, Us, Read), (theirs, Us, Read)], seen, |_| {}), (1, true, Why::LeastChange));
}
