//! `bench local`: users of one machine.

use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::futex;
use serde_json::json;
use syncline_local::measure::{Receiver, Sender, Shared};

use crate::Fallible;
use crate::files::{Text, Way, build, latencies, rounded};
use crate::floor::commits_and_save;
use crate::hubs::LocalUsers;
use crate::machine;
use crate::percentiles::{Summary, ms};
use crate::table::Table;

/// How much is measured.
struct Plan {
    /// Saves.
    rounds: usize,
    /// Messages to a sleeping reader.
    wakes: usize,
    /// Events through a ring.
    events: u32,
    /// For so long nothing happens.
    idle: Duration,
    quick: bool,
}

impl Plan {
    fn read(words: &[&str]) -> Fallible<Plan> {
        let (idle, short) = (Duration::from_secs(10), Duration::from_secs(2));
        match words {
            [] => Ok(Plan { rounds: 200, wakes: 5_000, events: 20_000_000, idle, quick: false }),
            ["--quick"] => Ok(Plan { rounds: 20, wakes: 300, events: 1_000_000, idle: short, quick: true }),
            _ => Err("the only argument is --quick; see --help".into()),
        }
    }
}

/// How many users there are when their memory and idle time is measured.
const USERS: usize = 5;
/// The text that is saved.
const TEXT: usize = 10 << 10;
/// So often it changes whether a bare wake or a message is timed.
const TURNS: usize = 20;
/// Saves that are not counted.
const WARM_UP: usize = 5;
/// A small event.
const EVENT: [u8; 16] = [7; 16];

/// Runs the benchmark and prints what it found.
pub fn run(words: &[&str]) -> Fallible<()> {
    let plan = Plan::read(words)?;
    let (binary, place) = build()?;
    let machine = machine::facts(tempfile::Builder::new().prefix("bench-probe-").tempdir_in(&place)?.path())?;
    let mut table = Table::default();
    let mut figure = serde_json::Map::from_iter([("figure".to_owned(), json!("local"))]);
    let mut note = |key: &str, value: f64| drop(figure.insert(key.to_owned(), json!(rounded(value))));

    eprintln!("bench: the commits and the save on the way, alone");
    let floor = commits_and_save(&place, TEXT, plan.rounds)?;
    let floor = Summary::of(&floor.whole);
    table.times("the floor: commits and save alone", &floor, None);
    note("floor_p50_ms", ms(floor.p50));
    for (way, name, target) in [("mq", "message queues", 5.0), ("shm", "shared memory", 4.0)] {
        eprintln!("bench: from a save to another user's file, by {name}");
        let summary = saves(&binary, &place, way, plan.rounds)?;
        // What the disk takes is not the way's. What took longer alone than with all the rest is no floor: the disk
        // was busy with something else.
        let floor = Some(ms(floor.p50)).filter(|floor| *floor <= ms(summary.p50));
        let target = rounded(floor.map_or(target, |floor| f64::max(target, floor + 1.5)));
        let met = ms(summary.p50) <= target;
        table.times(&format!("save to file, {name}"), &summary, Some((format!("p50 <= {target} ms"), met)));
        note(&format!("save_{way}_p50_ms"), ms(summary.p50));
        note(&format!("save_{way}_p95_ms"), ms(summary.p95));
        note(&format!("save_{way}_max_ms"), ms(summary.max));
    }

    eprintln!("bench: one way to a sleeping reader");
    // By turns: where the kernel puts two threads decides more than what they do.
    let (mut bare, mut ring) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        bare.extend(futex_wakes(plan.wakes / TURNS));
        ring.extend(ring_wakes(plan.wakes / TURNS)?);
    }
    let (bare, ring) = (Summary::of(&bare), Summary::of(&ring));
    let ratio = ring.p50.as_secs_f64() / bare.p50.as_secs_f64();
    table.times("a bare futex wake", &bare, None);
    let target = ("<= 1.3 x the bare wake".to_owned(), ratio <= 1.3);
    table.times(&format!("a message through a ring ({ratio:.2} x)"), &ring, Some(target));
    note("futex_wake_p50_us", bare.p50.as_secs_f64() * 1e6);
    note("ring_wake_p50_us", ring.p50.as_secs_f64() * 1e6);
    note("futex_wake_p95_us", bare.p95.as_secs_f64() * 1e6);
    note("ring_wake_p95_us", ring.p95.as_secs_f64() * 1e6);
    note("ring_wake_ratio", ratio);

    eprintln!("bench: events through a ring");
    let per_second = events(plan.events)?;
    let target = (">= 2,000,000".to_owned(), per_second >= 2e6);
    table.value("small events/s through a ring", format!("{per_second:.0}"), Some(target));
    note("events_per_s", per_second);

    eprintln!("bench: {USERS} users while nothing happens");
    for way in ["mq", "shm"] {
        let (memory, cpu) = idle(&binary, &place, way, plan.idle)?;
        table.value(&format!("memory of a user, {way}"), format!("{memory:.1} MB"), None);
        table.value(&format!("processor of an idle user, {way}"), format!("{cpu:.3} %"), None);
        note(&format!("memory_{way}_mb"), memory);
        note(&format!("idle_{way}_cpu_percent"), cpu);
    }

    println!("{machine}");
    println!(
        "from a save of 10 KB in one user's file to the bytes in another's, durable on both sides;\nthe target is at least the floor + 1.5 ms;"
    );
    println!("rings between two threads, with the memory that two processes would share\n");
    println!("{table}");
    if plan.quick {
        println!("--quick: too little was measured to compare these figures with others\n");
        figure.insert("quick".into(), json!(true));
    }
    println!("{}", serde_json::Value::Object(figure));
    Ok(())
}

fn saves(binary: &Path, place: &Path, way: &str, rounds: usize) -> Fallible<Summary> {
    let users = LocalUsers::start(binary, place, 2, way)?;
    let [one, other] = users.copies.as_slice() else { return Err("two users were started".into()) };
    // The first saves bring the text, and what is done once. Every save is made from what stands in the file: another
    // text would be judged by what of it its maker cannot have seen.
    let mut text = Text::of(TEXT);
    latencies(one, other, &mut text, 0..WARM_UP, Way::InPlace)?;
    let (first, second) = (WARM_UP..WARM_UP + rounds, WARM_UP + rounds..WARM_UP + 2 * rounds);
    let mut times = latencies(one, other, &mut text, first, Way::InPlace)?;
    times.extend(latencies(other, one, &mut text, second, Way::InPlace)?);
    Ok(Summary::of(&times))
}

/// Nanoseconds since the clock was started.
fn since(clock: Instant) -> u64 {
    u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// A pause in which the other thread has surely gone to sleep once it has said that it will.
fn settle() {
    std::thread::sleep(Duration::from_micros(300));
}

/// What waking another thread costs with nothing around it.
fn futex_wakes(count: usize) -> Vec<Duration> {
    let (word, asleep, sent, clock) =
        (AtomicU32::new(0), AtomicU32::new(0), AtomicU64::new(0), Instant::now());
    let mut times = Vec::with_capacity(count);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=count as u32 {
                while asleep.load(Ordering::Acquire) != round {
                    std::thread::yield_now();
                }
                settle();
                sent.store(since(clock), Ordering::Release);
                word.store(round, Ordering::Release);
                let _ = futex::wake(&word, futex::Flags::empty(), 1);
            }
        });
        for round in 1..=count as u32 {
            asleep.store(round, Ordering::Release);
            while word.load(Ordering::Acquire) != round {
                let _ = futex::wait(&word, futex::Flags::empty(), round - 1, None);
            }
            times.push(Duration::from_nanos(since(clock) - sent.load(Ordering::Acquire)));
        }
    });
    times
}

fn ring_wakes(count: usize) -> Fallible<Vec<Duration>> {
    let (shared, clock) = (Shared::default(), Instant::now());
    let mut times = Vec::with_capacity(count);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sender = Sender::default();
            for _ in 0..count {
                while !shared.is_asleep() {
                    std::thread::yield_now();
                }
                settle();
                sender.send(&shared, &since(clock).to_le_bytes());
            }
        });
        let (mut receiver, mut frame) = (Receiver::new(false), Vec::new());
        for _ in 0..count {
            if !receiver.receive(&shared, &mut frame) {
                return Err("the ring broke".into());
            }
            let now = since(clock);
            let sent = frame.as_slice().try_into().map(u64::from_le_bytes)?;
            times.push(Duration::from_nanos(now - sent));
        }
        Ok(times)
    })
}

/// Small events a second from one thread to another, each a frame of its own.
fn events(count: u32) -> Fallible<f64> {
    let shared = Shared::default();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sender = Sender::default();
            (0..count).all(|_| sender.send(&shared, &EVENT))
        });
        let (mut receiver, mut frame) = (Receiver::new(true), Vec::new());
        for _ in 0..count {
            if !receiver.receive(&shared, &mut frame) || frame != EVENT {
                return Err("the ring broke".into());
            }
        }
        Ok(f64::from(count) / begun.elapsed().as_secs_f64())
    })
}

/// Memory of a user in megabytes, and the share of a processor that one takes while nothing happens, in percent.
fn idle(binary: &Path, place: &Path, way: &str, length: Duration) -> Fallible<(f64, f64)> {
    let users = LocalUsers::start(binary, place, USERS, way)?;
    // Documents leave the memory when nobody has needed them for a while.
    std::thread::sleep(Duration::from_secs(5));
    let cpu = || users.users.iter().map(|user| user.cpu_seconds()).sum::<Fallible<f64>>();
    let before = cpu()?;
    std::thread::sleep(length);
    let used = (cpu()? - before) / length.as_secs_f64() / USERS as f64;
    let memory = users.users.iter().map(|user| user.resident_mb()).sum::<Fallible<f64>>()? / USERS as f64;
    Ok((memory, used * 100.0))
}
