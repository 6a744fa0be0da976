//! `bench files`: what it costs to keep two folders in step.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Fallible;
use crate::arrival::Arrival;
use crate::floor;
use crate::hubs::Pair;
use crate::machine;
use crate::percentiles::{Summary, ms};
use crate::table::Table;

/// From the beginning of one save to the next.
const PACE: Duration = Duration::from_millis(50);
/// Between two saves of the big file, and before each floor.
const BIG_PACE: Duration = Duration::from_millis(1_000);
/// How long a save may take to arrive.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a latency may have above its floor.
const ABOVE_FLOOR_MS: f64 = 1.5;
/// How long the idle hubs are watched.
const IDLE: Duration = Duration::from_secs(20);
/// Seconds in that time, for both hubs: four ticks of the kernel's accounting, 0.1 % of one core each.
const IDLE_CPU: f64 = 0.04;
/// How long hubs may take to become idle.
const CALM: Duration = Duration::from_secs(30);

const SMALL: usize = 10 << 10;
const LARGE: usize = 1 << 20;
const FILE: usize = 4 << 10;

/// How much is measured.
struct Plan {
    rounds: usize,
    large_rounds: usize,
    big_rounds: usize,
    files: usize,
    big: usize,
    quick: bool,
}

impl Plan {
    fn read(words: &[&str]) -> Fallible<Plan> {
        let mut plan = Plan {
            rounds: 200,
            large_rounds: 50,
            big_rounds: 15,
            files: 10_000,
            big: 50_000_000,
            quick: words.contains(&"--quick"),
        };
        if plan.quick {
            plan = Plan { rounds: 20, large_rounds: 5, big_rounds: 2, files: 500, big: 5_000_000, ..plan };
        }
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => {}
                "--rounds" => {
                    let number = words.next().ok_or("--rounds needs a number")?;
                    plan.rounds = number.parse().map_err(|_| format!("--rounds {number}: not a number"))?;
                }
                other => return Err(format!("unknown argument {other:?}; see --help").into()),
            }
        }
        if plan.rounds == 0 { Err("--rounds must be at least 1".into()) } else { Ok(plan) }
    }
}

/// A text of numbered lines in which one word after the other is changed.
pub struct Text {
    text: String,
    lines: Vec<usize>,
}

impl Text {
    /// A text of this many bytes.
    pub fn of(len: usize) -> Text {
        let (mut text, mut lines) = (String::with_capacity(len + 80), Vec::new());
        while text.len() < len {
            lines.push(text.len());
            text.push_str(&format!(
                "{:08} is a line of this text and no other has its number\n",
                lines.len()
            ));
        }
        text.truncate(len);
        // The word to be changed stands at a line's beginning; the last line may have been cut.
        lines.retain(|start| start + 8 <= len);
        Text { text, lines }
    }

    /// Changes one word, somewhere else each round.
    pub fn change(&mut self, round: usize) {
        if let Some(&start) = self.lines.get(round.wrapping_mul(7_919) % self.lines.len().max(1)) {
            self.text.replace_range(start..start + 8, &format!("w{:07}", round % 10_000_000));
        }
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// How a program saves.
#[derive(Clone, Copy)]
pub enum Way<'a> {
    /// It truncates the file and writes it.
    InPlace,
    /// It renames a finished file (prepared in this directory) over it.
    ByRename(&'a Path),
}

/// Saves and gives the moment from which the others may have it: the beginning of the write, or the rename.
fn save(path: &Path, bytes: &[u8], way: Way<'_>) -> std::io::Result<Instant> {
    match way {
        Way::InPlace => {
            let begun = Instant::now();
            fs::write(path, bytes)?;
            Ok(begun)
        }
        Way::ByRename(directory) => {
            // The name that `sed -i` would choose.
            let prepared = directory.join("sedAb3dEf");
            fs::write(&prepared, bytes)?;
            let begun = Instant::now();
            fs::rename(&prepared, path)?;
            Ok(begun)
        }
    }
}

/// Saves a file again and again, each time with one more change, and waits for the bytes in the other one.
pub fn latencies(
    path: &Path,
    other: &Path,
    text: &mut Text,
    rounds: Range<usize>,
    way: Way<'_>,
) -> Fallible<Vec<Duration>> {
    let mut arrival = Arrival::watch(other)?;
    let mut times = Vec::with_capacity(rounds.len());
    for round in rounds {
        text.change(round);
        let begun = save(path, text.as_bytes(), way)?;
        let there = arrival.wait_for(text.as_bytes(), PATIENCE)?;
        times.push(there - begun);
        std::thread::sleep(PACE.saturating_sub(begun.elapsed()));
    }
    Ok(times)
}

struct Bench {
    plan: Plan,
    binary: PathBuf,
    place: PathBuf,
    table: Table,
    figure: serde_json::Map<String, serde_json::Value>,
}

/// Runs the benchmark and prints what it found.
pub fn run(words: &[&str]) -> Fallible<()> {
    let plan = Plan::read(words)?;
    let (binary, place) = build()?;
    let machine = machine::facts(tempfile::Builder::new().prefix("bench-probe-").tempdir_in(&place)?.path())?;
    let mut bench = Bench { plan, binary, place, table: Table::default(), figure: serde_json::Map::new() };
    bench.figure.insert("figure".into(), json!("files"));
    let commits = bench.saves()?;
    bench.many_files()?;
    bench.big_file(commits)?;
    println!("{machine}");
    println!("from a save in A to the bytes in B; the target of a latency is at least its floor + 1.5 ms\n");
    println!("{}", bench.table);
    if bench.plan.quick {
        println!("--quick: too little was measured to compare these figures with others\n");
        bench.figure.insert("quick".into(), json!(true));
    }
    println!("{}", serde_json::Value::Object(bench.figure));
    Ok(())
}

/// Builds the command in release mode. Gives it, and the target folder: a real file system to work on.
pub fn build() -> Fallible<(PathBuf, PathBuf)> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "syncline-cli"])
        .current_dir(here)
        .status()?;
    if !built.success() {
        return Err("the command could not be built".into());
    }
    // This program stands in the folder of its profile; the command beside it, or beside that folder.
    let this = std::env::current_exe()?;
    let target = this.ancestors().nth(2).ok_or("this program stands in no target folder")?;
    let binary = target.join("release").join("syncline");
    if !binary.is_file() {
        return Err(format!("{} was not built", binary.display()).into());
    }
    Ok((binary, target.to_owned()))
}

/// To three digits behind the point.
pub fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

impl Bench {
    fn note(&mut self, key: &str, value: f64) {
        self.figure.insert(key.to_owned(), json!(rounded(value)));
    }

    /// Latencies of small and large saves, and their floor. Gives the p50 of the commits alone.
    fn saves(&mut self) -> Fallible<Duration> {
        eprintln!("bench: saves of 10 KB and 1 MB");
        let pair = Pair::start(&self.binary, &self.place, |a| {
            fs::write(a.join("in-place.txt"), Text::of(SMALL).as_bytes())?;
            fs::write(a.join("by-rename.txt"), Text::of(SMALL).as_bytes())?;
            fs::write(a.join("large.txt"), Text::of(LARGE).as_bytes())
        })?;
        let (rounds, large_rounds) = (self.plan.rounds, self.plan.large_rounds);
        let in_place = latencies(
            &pair.a.join("in-place.txt"),
            &pair.b.join("in-place.txt"),
            &mut Text::of(SMALL),
            0..rounds,
            Way::InPlace,
        )?;
        let by_rename = latencies(
            &pair.a.join("by-rename.txt"),
            &pair.b.join("by-rename.txt"),
            &mut Text::of(SMALL),
            0..rounds,
            Way::ByRename(&pair.a),
        )?;
        let large = latencies(
            &pair.a.join("large.txt"),
            &pair.b.join("large.txt"),
            &mut Text::of(LARGE),
            0..large_rounds,
            Way::InPlace,
        )?;
        drop(pair);
        let small_floor = floor::commits_and_save(&self.place, SMALL, rounds)?;
        let large_floor = floor::commits_and_save(&self.place, LARGE, large_rounds)?;
        let (commits, save) = (Summary::of(&small_floor.commits), Summary::of(&small_floor.save));
        let (floor, above_large) = (Summary::of(&small_floor.whole), Summary::of(&large_floor.whole));
        for (name, times) in [("10 KB, in place", &in_place), ("10 KB, by rename", &by_rename)] {
            let summary = Summary::of(times);
            let target = small_target(&summary, ms(floor.p50), ms(floor.p95));
            self.table.times(name, &summary, Some(target));
        }
        let large = Summary::of(&large);
        let most = 40.0_f64.max(ms(above_large.p50) + ABOVE_FLOOR_MS);
        let target = (format!("p50 <= {most:.1} ms"), ms(large.p50) <= most);
        self.table.times("1 MB, one word, in place", &large, Some(target));
        self.table.times("  floor: 3 commits", &commits, None);
        self.table.times("  floor: save of 10 KB", &save, None);
        self.table.times("  floor of 10 KB: both", &floor, None);
        self.table.times("  floor of 1 MB: both", &above_large, None);
        // The slower way of saving is the figure.
        let (one, other) = (Summary::of(&in_place), Summary::of(&by_rename));
        self.note("save_10k_p50_ms", ms(one.p50.max(other.p50)));
        self.note("save_10k_p95_ms", ms(one.p95.max(other.p95)));
        self.note("save_1m_p50_ms", ms(large.p50));
        self.note("floor_ms", ms(floor.p50));
        Ok(commits.p50)
    }

    /// The first synchronisation of many files, and what idle hubs cost.
    fn many_files(&mut self) -> Fallible<()> {
        let files = self.plan.files;
        eprintln!("bench: {files} files of 4 KB");
        let pair = Pair::start(&self.binary, &self.place, |a| fill(a, files))?;
        become_idle(&pair)?;
        let before = pair.cpu_seconds()?;
        std::thread::sleep(IDLE);
        let idle = pair.cpu_seconds()? - before;
        let (served, joined) = (pair.served.resident_mb()?, pair.joined.resident_mb()?);
        for number in 0..files {
            let path = path_of(number);
            if fs::read(pair.a.join(&path))? != fs::read(pair.b.join(&path))? {
                return Err(format!("{} differs in B", path.display()).into());
            }
        }
        let (scanned, synced) = (pair.scanned.as_secs_f64(), pair.synced.as_secs_f64());
        self.table.value(&format!("{files} files: first scan"), format!("{scanned:.2} s"), None);
        let target = ("<= 20 s".to_owned(), synced <= 20.0);
        self.table.value(&format!("{files} files: join to synced"), format!("{synced:.2} s"), Some(target));
        let target = (format!("<= {IDLE_CPU} s"), idle <= IDLE_CPU + 1e-6);
        self.table.value(
            &format!("idle: CPU of both hubs in {} s", IDLE.as_secs()),
            format!("{idle:.2} s"),
            Some(target),
        );
        for (name, memory) in [("serving", served), ("joined", joined)] {
            let target = ("<= 150 MB".to_owned(), memory <= 150.0);
            self.table.value(&format!("idle: memory, {name}"), format!("{memory:.1} MB"), Some(target));
        }
        self.note("initial_10000_s", synced);
        self.note("scan_10000_s", scanned);
        self.note("idle_cpu_s", idle);
        self.note("rss_mb", served);
        self.note("rss_joined_mb", joined);
        Ok(())
    }

    /// One word in a very large file.
    fn big_file(&mut self, commits: Duration) -> Fallible<()> {
        let (len, rounds) = (self.plan.big, self.plan.big_rounds);
        eprintln!("bench: a file of {} MB", len / 1_000_000);
        let pair = Pair::start(&self.binary, &self.place, |a| {
            fs::write(a.join("big.txt"), Text::of(len).as_bytes())
        })?;
        let (from, to) = (pair.a.join("big.txt"), pair.b.join("big.txt"));
        let mut arrival = Arrival::watch(&to)?;
        let mut text = Text::of(len);
        let mut floor = floor::ReadAndWrite::prepare(&pair.beside, text.as_bytes())?;
        let (mut times, mut renames) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
        // One after the other, each after the same pause: what memory costs depends on how long it was not used.
        for round in 0..rounds {
            text.change(round);
            std::thread::sleep(BIG_PACE);
            // Counted from when the save is done, as the floor is: renaming over a file makes ext4 send the new
            // one's bytes to the disk at once (ext4(5), auto_da_alloc) and free the old one's.
            let renaming = save(&from, text.as_bytes(), Way::ByRename(&pair.beside))?;
            let saved = Instant::now();
            renames.push(saved - renaming);
            times.push(arrival.wait_for(text.as_bytes(), PATIENCE)?.saturating_duration_since(saved));
            std::thread::sleep(BIG_PACE);
            floor.measure(text.as_bytes())?;
        }
        let floor = Summary::of(&floor.times);
        let summary = Summary::of(&times);
        let most = ms(floor.p50) + ms(commits) + ABOVE_FLOOR_MS;
        let target = (format!("p50 <= {most:.0} ms"), ms(summary.p50) <= most);
        self.table.times(&format!("{} MB, one word, by rename", len / 1_000_000), &summary, Some(target));
        self.table.times("  before that: the rename itself", &Summary::of(&renames), None);
        self.table.times("  floor: read, write, fsync, rename", &floor, None);
        self.note("big_s", summary.p50.as_secs_f64());
        self.note("big_floor_s", floor.p50.as_secs_f64());
        Ok(())
    }
}

fn small_target(summary: &Summary, floor_p50: f64, floor_p95: f64) -> (String, bool) {
    let p50 = 15.0_f64.max(floor_p50 + ABOVE_FLOOR_MS);
    let p95 = 40.0_f64.max(floor_p95 + ABOVE_FLOOR_MS);
    (format!("p50 <= {p50:.1}, p95 <= {p95:.1} ms"), ms(summary.p50) <= p50 && ms(summary.p95) <= p95)
}

fn path_of(number: usize) -> PathBuf {
    PathBuf::from(format!("{:03}/{number:05}.txt", number / 100))
}

fn fill(root: &Path, files: usize) -> std::io::Result<()> {
    let mut text = Text::of(FILE);
    for number in 0..files {
        let path = root.join(path_of(number));
        if number % 100 == 0
            && let Some(parent) = path.parent()
        {
            fs::create_dir_all(parent)?;
        }
        text.change(number);
        fs::write(path, text.as_bytes())?;
    }
    Ok(())
}

/// Waits until the hubs have used hardly any processor time for some seconds: what came with a join is put away a few
/// seconds after it, all at once.
fn become_idle(pair: &Pair) -> Fallible<()> {
    let deadline = Instant::now() + CALM;
    let mut used = pair.cpu_seconds()?;
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_secs(5));
        let now = pair.cpu_seconds()?;
        if now - used < 0.010 {
            return Ok(());
        }
        used = now;
    }
    eprintln!("bench: the hubs are still busy after {CALM:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_word_and_keeps_the_length() {
        for len in [100, SMALL, SMALL + 3] {
            let mut text = Text::of(len);
            let before = text.as_bytes().to_vec();
            assert_eq!(before.len(), len);
            text.change(5);
            assert_eq!(text.as_bytes().len(), len);
            let differing = before.iter().zip(text.as_bytes()).filter(|(one, other)| one != other).count();
            assert!((1..=8).contains(&differing), "{differing}");
        }
    }

    #[test]
    fn arguments_are_read() {
        assert_eq!(Plan::read(&["--rounds", "7"]).unwrap().rounds, 7);
        assert_eq!(Plan::read(&["--rounds", "7", "--quick"]).unwrap().files, 500);
        for bad in [&["--rounds"][..], &["--rounds", "x"], &["--rounds", "0"], &["--loud"]] {
            assert!(Plan::read(bad).is_err(), "{bad:?}");
        }
    }
}
