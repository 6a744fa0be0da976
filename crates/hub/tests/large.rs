//! Large texts: read, compared and written without being held in memory whole, and exact all the same.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::fs;
use support::{eventually, serve, session, shows};

/// Above the length from which a text is treated so, in bytes.
const LONG: usize = 5 << 20;

fn long_text() -> String {
    (0..LONG / 40).map(|line| format!("line {line:08} with some wörds in it and more\n")).collect()
}

type Change = Box<dyn Fn(&mut String)>;

/// Saves of all kinds, one upon the other: the document has each, byte by byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_entered_as_it_was_saved() {
    let mut text = long_text();
    let served = serve(&[("f.txt", text.as_bytes())]).await;
    let mut b = session(&served, "f.txt").await;
    let half = text.len() / 2;
    let line = half + text[half..].find('\n').unwrap() + 1;
    let changes: Vec<Change> = vec![
        Box::new(move |text| text.insert_str(line + 5, "a word ")),
        Box::new(|text| text.insert_str(0, "first ö\n")),
        Box::new(|text| text.push_str("no newline at the end: é")),
        Box::new(|text| text.truncate(text.len() - "é".len())),
        // Another second byte of the same character.
        Box::new(move |text| {
            let at = line + text[line..].find('ö').unwrap();
            text.replace_range(at..at + 2, "é");
        }),
        // At both ends: too far apart to be told as one change.
        Box::new(|text| {
            text.insert(0, 'x');
            text.push('y');
        }),
        Box::new(move |text| text.replace_range(line - 500..line, "")),
        // A carriage return, and what is not one line end but many.
        Box::new(move |text| text.insert_str(line, "a\rb\r\n")),
        Box::new(|text| text.insert(0, '\u{feff}')),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        change(&mut text);
        let at = served.path("f.txt");
        if number % 2 == 0 {
            fs::write(&at, &text).unwrap();
        } else {
            fs::write(served.path(".goutputstream-1"), &text).unwrap();
            fs::rename(served.path(".goutputstream-1"), &at).unwrap();
        }
        shows(&mut b, |now| now == text.trim_start_matches('\u{feff}')).await;
        assert_eq!(fs::read(&at).unwrap(), text.as_bytes(), "change {number}");
    }
}

/// What others change is written, exactly, and what is saved upon it is merged.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_written_and_saved_in_turns() {
    let mut text = long_text();
    let served = serve(&[("f.txt", text.as_bytes())]).await;
    let mut b = session(&served, "f.txt").await;
    b.current().await.unwrap();
    for round in 0..4 {
        text.insert_str(0, &format!("by another {round}\n"));
        b.upload(text.clone(), None, None).await.unwrap();
        eventually("it is in the file", || served.read("f.txt") == text).await;
        text.push_str(&format!("saved {round}\n"));
        fs::write(served.path("f.txt"), &text).unwrap();
        shows(&mut b, |now| now == text).await;
    }
    let left = |place: &str| fs::read_dir(served.path(place)).map_or(0, Iterator::count);
    eventually("nothing is left", || left(".syncline/ahead") + left(".syncline/displaced") == 0).await;
    assert!(served.path(".syncline/ahead").exists(), "it was written ahead");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_ahead_before_a_kill_goes_at_the_next_start() {
    let mut served = serve(&[("f.txt", b"text\n")]).await;
    let left = served.path(".syncline/ahead/0123456789abcdef");
    fs::create_dir_all(left.parent().unwrap()).unwrap();
    fs::write(&left, "half of a text").unwrap();
    served.restart(2).await;
    eventually("it is gone", || !left.exists()).await;
}
