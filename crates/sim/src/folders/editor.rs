//! People and programs at a folder: they read files, think, and save, each in their own way.

use std::sync::atomic::Ordering;
use std::time::Duration;
use syncline_disk::RelPath;
use syncline_hub::Party;
use tokio::time::{sleep, timeout};

use super::ledger::markers;
use super::machine::Machine;
use super::plan::{Act, Planned, Style};
use super::world::World;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Carries out what somebody does.
pub async fn act(world: &World, planned: &Planned) {
    let mut rng = fastrand::Rng::with_seed(planned.seed);
    let machine = &world.machines[planned.machine];
    let power = machine.power_cuts.load(Ordering::SeqCst);
    let acting = act_on(world, machine, &mut rng, planned);
    let cut = async {
        while machine.power_cuts.load(Ordering::SeqCst) == power {
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        biased;
        // A program does not outlive its machine.
        () = cut => {}
        () = acting => {}
    }
}

async fn act_on(world: &World, machine: &Machine, rng: &mut fastrand::Rng, planned: &Planned) {
    if machine.disk.is_killed() {
        return;
    }
    match &planned.act {
        Act::Edit { file, style, think, saves } => {
            edit(world, machine, rng, (*file, *style, *think, *saves)).await;
        }
        Act::Append { file } => append(world, machine, rng, *file),
        Act::Create => create(world, machine, rng),
        Act::Delete { file } => delete(world, machine, *file),
        Act::Rename { file } => rename(world, machine, rng, *file),
        Act::Canary => canary(machine),
        Act::Upload { file, think, base } => upload(world, machine, rng, (*file, *think, *base)).await,
        _ => {}
    }
}

/// One of the files that are there now.
fn pick(machine: &Machine, file: usize) -> Option<RelPath> {
    // Not what a program left half done when the power went.
    let mut there = machine.disk.peek_all();
    there.retain(|(path, _)| path.as_str().ends_with(".txt"));
    there.get(file % there.len().max(1)).map(|(path, _)| path.clone())
}

/// A text as somebody has it, and what they change in it.
struct Buffer {
    lines: Vec<String>,
}

/// What a change puts in and takes out.
struct Change {
    put_in: Vec<String>,
    taken_out: Vec<String>,
}

impl Buffer {
    fn new(text: &str) -> Buffer {
        Buffer { lines: text.lines().map(str::to_owned).collect() }
    }

    fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    fn change(&mut self, rng: &mut fastrand::Rng, world: &World, machine: usize) -> Change {
        let mut change = Change { put_in: Vec::new(), taken_out: Vec::new() };
        if self.lines.len() > 2 && rng.u8(0..8) == 0 {
            let line = self.lines.remove(rng.usize(0..self.lines.len()));
            change.taken_out = markers(&line).0;
        }
        let marker = world.ledger.marker(machine, world.now());
        change.put_in.push(marker.clone());
        if !self.lines.is_empty() && rng.u8(0..4) == 0 {
            let at = rng.usize(0..self.lines.len());
            self.lines[at].push(' ');
            self.lines[at].push_str(&marker);
        } else {
            self.lines.insert(rng.usize(0..=self.lines.len()), marker);
        }
        change
    }
}

async fn edit(
    world: &World,
    machine: &Machine,
    rng: &mut fastrand::Rng,
    (file, style, think, saves): (usize, Style, u64, usize),
) {
    let Some(path) = pick(machine, file) else { return };
    let Ok(bytes) = machine.disk.foreign_read(&path) else { return };
    let Ok(text) = String::from_utf8(bytes) else { return };
    if half_written(world, machine, &path) || !markers(&text).1.is_empty() {
        // Whoever opens a file that is being written sees half of it, and would save half of it.
        return;
    }
    world.note(format_args!("{} reads {path}: {text:?}", machine.number));
    let mut buffer = Buffer::new(&text);
    for _ in 0..saves {
        sleep(Duration::from_millis(think)).await;
        wait_for_room(machine).await;
        // An editor that finds its file gone asks; ours does not save then.
        if machine.disk.peek(&path).is_none() || half_written(world, machine, &path) {
            return;
        }
        let change = buffer.change(rng, world, machine.number);
        let text = buffer.text();
        world.note(format_args!("{} saves {path}: {text:?}", machine.number));
        let before = machine.disk.peek(&path).unwrap_or_default();
        world.ledger.saves(machine.number, path.as_str(), &String::from_utf8_lossy(&before), &text);
        let saved = match style {
            Style::InPlace => machine.disk.foreign_write_in_place(&path, text.as_bytes()).is_ok(),
            Style::Rename => machine.disk.foreign_save_by_rename(&path, text.as_bytes()).is_ok(),
            Style::Slow(pause) => save_slowly(world, machine, &path, &text, pause).await,
        };
        world.ledger.taken_out(change.taken_out);
        if machine.running().is_none_or(|running| running.hub.waits_for_peer() || running.hub.unsettled() > 0)
        {
            // Seen only together with the saves after it: whoever saves this one again has it twice.
            world.ledger.may_be_twice(&text);
        }
        if saved {
            world.ledger.count("saves", 1);
            world.ledger.written(&change.put_in);
        }
    }
}

/// Whether another of our own programs is in the middle of writing this file.
fn half_written(world: &World, machine: &Machine, path: &RelPath) -> bool {
    world.writing(machine.number, path)
}

async fn wait_for_room(machine: &Machine) {
    while machine.full.load(Ordering::SeqCst) {
        sleep(Duration::from_millis(20)).await;
    }
}

async fn save_slowly(world: &World, machine: &Machine, path: &RelPath, text: &str, pause: u64) -> bool {
    let Some(_writing) = world.begin_writing(machine.number, path) else { return false };
    let Ok(writer) = machine.disk.foreign_truncate_then_write(path) else { return false };
    let mut at = 0;
    let piece = text.len().div_ceil(3).max(1);
    while at < text.len() {
        sleep(Duration::from_millis(pause)).await;
        wait_for_room(machine).await;
        let end = (at + piece).min(text.len());
        if machine.disk.foreign_write(writer, at, &text.as_bytes()[at..end]).is_err() {
            // The power went: what the file held may be gone, by the writer's own doing.
            world.ledger.taken_out(markers(text).0);
            return false;
        }
        at = end;
    }
    sleep(Duration::from_millis(pause)).await;
    let closed = machine.disk.foreign_close(writer).is_ok();
    world.note(format_args!("{} closes {path}", machine.number));
    closed
}

fn append(world: &World, machine: &Machine, rng: &mut fastrand::Rng, file: usize) {
    let Some(path) = pick(machine, file) else { return };
    if machine.full.load(Ordering::SeqCst) || half_written(world, machine, &path) {
        return;
    }
    // A line that ends without a break would be continued: that is what `>>` does.
    if machine.disk.peek(&path).is_some_and(|bytes| !bytes.is_empty() && bytes.last() != Some(&b'\n')) {
        return;
    }
    let marker = world.ledger.marker(machine.number, world.now());
    let before = String::from_utf8_lossy(&machine.disk.peek(&path).unwrap_or_default()).into_owned();
    world.ledger.saves(machine.number, path.as_str(), &before, &format!("{before}{marker}\n"));
    world.note(format_args!("{} appends {marker} to {path}", machine.number));
    let appended = machine.disk.foreign_open_writer(&path).and_then(|writer| {
        machine.disk.foreign_append(writer, format!("{marker}\n").as_bytes())?;
        machine.disk.foreign_close(writer)
    });
    if appended.is_ok() {
        world.ledger.count("appends", 1);
        world.ledger.written(&[marker]);
    }
    let _ = rng;
}

fn canary(machine: &Machine) {
    let Some(path) = pick(machine, 0) else { return };
    let text = String::from_utf8_lossy(&machine.disk.foreign_read(&path).unwrap_or_default()).into_owned();
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    let _ = machine.disk.foreign_save_by_rename(&path, rest.as_bytes());
}

fn new_path(rng: &mut fastrand::Rng) -> Option<RelPath> {
    let dir = if rng.bool() { "" } else { "sub/" };
    RelPath::parse(&format!("{dir}n{}.txt", rng.u32(..))).ok()
}

fn create(world: &World, machine: &Machine, rng: &mut fastrand::Rng) {
    let Some(path) = new_path(rng) else { return };
    if machine.full.load(Ordering::SeqCst) {
        return;
    }
    // Of a file of one line nobody can tell whether it was changed or replaced.
    let markers: Vec<String> = (0..4).map(|_| world.ledger.marker(machine.number, world.now())).collect();
    let text: String = markers.iter().flat_map(|marker| [marker, "\n"]).collect();
    world.note(format_args!("{} creates {path}: {text:?}", machine.number));
    if machine.disk.foreign_write_in_place(&path, text.as_bytes()).is_ok() {
        world.ledger.written(&markers);
    }
}

fn delete(world: &World, machine: &Machine, file: usize) {
    let Some(path) = pick(machine, file) else { return };
    // Not the last ones: a folder that is emptied is held for somebody to decide.
    if half_written(world, machine, &path) || machine.disk.peek_all().len() < 3 {
        return;
    }
    let text = machine.disk.peek(&path).unwrap_or_default();
    world.note(format_args!("{} deletes {path}", machine.number));
    world.ledger.taken_out(markers(&String::from_utf8_lossy(&text)).0);
    let _ = machine.disk.foreign_remove(&path);
}

fn rename(world: &World, machine: &Machine, rng: &mut fastrand::Rng, file: usize) {
    let (Some(path), Some(to)) = (pick(machine, file), new_path(rng)) else { return };
    if half_written(world, machine, &path) {
        return;
    }
    world.note(format_args!("{} renames {path} to {to}", machine.number));
    let text = machine.disk.peek(&path).unwrap_or_default();
    world.ledger.renames(machine.number, &String::from_utf8_lossy(&text));
    if machine.power_cuts.load(Ordering::SeqCst) > 0 {
        world.ledger.may_be_twice(&String::from_utf8_lossy(&text));
    }
    let _ = machine.disk.foreign_rename(&path, &to);
}

async fn upload(
    world: &World,
    machine: &Machine,
    rng: &mut fastrand::Rng,
    (file, think, base): (usize, u64, bool),
) {
    let (Some(running), Some(path)) = (machine.running(), pick(machine, file)) else { return };
    let party = Party { name: format!("client of {}", machine.number), channel: "content" };
    let uploading = async {
        let mut session = running.hub.open_text(Some(path.as_str()), party).await.ok()?;
        let seen = session.current().await.ok()?;
        let mut buffer = Buffer::new(&seen.text);
        sleep(Duration::from_millis(think)).await;
        let change = buffer.change(rng, world, machine.number);
        world.note(format_args!("{} uploads {path}: {:?}", machine.number, buffer.text()));
        world.ledger.taken_out(change.taken_out);
        session.upload(buffer.text(), base.then_some(seen.version), None).await.ok()?;
        Some(change.put_in)
    };
    if let Ok(Some(put_in)) = timeout(PATIENCE, uploading).await {
        world.note(format_args!("{} acknowledges {put_in:?}", machine.number));
        world.ledger.count("uploads", 1);
        world.ledger.written(&put_in);
    }
}
