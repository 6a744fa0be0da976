//! A crowd of clients on one document: what each costs in memory, and how long a change takes to reach all.
//!
//! All of the crowd speaks the whole protocol. Every hundredth is the protocol's own client, which keeps the
//! text and checks every sum; the others acknowledge what they get by the server's sum, so that the measuring
//! program leaves the processor to the hub.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use syncline_engine::Edit;
use syncline_protocol::diffsync::{ClientInput, ClientOutput};
use syncline_protocol::limits;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, mpsc};

use super::{Connected, client};
use crate::Fallible;
use crate::files::Text;
use crate::hubs::Served;
use crate::percentiles::Summary;

const EDITS_PER_SECOND: u32 = 50;

/// What was measured.
pub struct Measured {
    pub kb_per_client: f64,
    pub summary: Summary,
    pub p99: Duration,
    pub edits_per_s: f64,
    pub deliveries_per_s: f64,
    pub cores: f64,
}

/// When each edit was made, in nanoseconds since the beginning.
struct Clock {
    started: Instant,
    made: Vec<AtomicU64>,
}

type Times = Vec<Duration>;

/// Connects the crowd and writes to it for a while.
pub fn measure(binary: &Path, place: &Path, clients: usize, time: Duration) -> Fallible<Measured> {
    let served = Served::start(binary, place, |root| {
        std::fs::write(root.join("shared.txt"), Text::of(10 << 10).as_bytes())
    })?;
    let edits = (time.as_secs_f64() * f64::from(EDITS_PER_SECOND)) as usize;
    let clock =
        Arc::new(Clock { started: Instant::now(), made: (0..edits).map(|_| AtomicU64::new(0)).collect() });
    let mut writer = Connected::dial(served.diffsync, 0, &served.token)?;
    let before = served.hub.resident_mb()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // One place more: whoever measures.
    let open = Arc::new(Barrier::new(clients + 1));
    let (done, mut finished) = mpsc::channel::<Result<Times, String>>(clients);
    for number in 1..=clients {
        let (address, token) = (served.diffsync, served.token.clone());
        let (clock, open, done) = (clock.clone(), open.clone(), done.clone());
        runtime.spawn(async move {
            let run = one(number as u64, address, &token, &clock, &open);
            // The receiver waits for all of them.
            let _ = done.send(run.await.map_err(|error| error.to_string())).await;
        });
    }
    runtime.block_on(open.wait());
    let after = served.hub.resident_mb()?;
    let crowd = std::thread::spawn(move || {
        runtime.block_on(async {
            let mut all: Times = Vec::new();
            for _ in 0..clients {
                all.extend(finished.recv().await.ok_or("the crowd is gone")??);
            }
            Ok::<Times, String>(all)
        })
    });
    let (begun, cpu) = (Instant::now(), served.hub.cpu_seconds()?);
    for number in 0..edits {
        let due = begun + Duration::from_secs(1) / EDITS_PER_SECOND * number as u32;
        while Instant::now() < due || !writer.client.is_saved() {
            if writer.client.is_saved() {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            } else {
                writer.step()?;
            }
        }
        let now = clock.started.elapsed().as_nanos() as u64;
        clock.made[number].store(now, Ordering::Relaxed);
        writer.input(ClientInput::Edited(vec![Edit::insert(number * 13 % 5_000, format!("<{number}>"))]))?;
    }
    while !writer.client.is_saved() {
        writer.step()?;
    }
    let all = crowd.join().map_err(|_| "the crowd panicked")??;
    let (spent, cores) = (begun.elapsed().as_secs_f64(), served.hub.cpu_seconds()? - cpu);
    let mut sorted = all.clone();
    sorted.sort_unstable();
    let p99 = sorted.get(sorted.len() * 99 / 100).copied().unwrap_or_default();
    Ok(Measured {
        kb_per_client: (after - before) * 1024.0 / clients as f64,
        summary: Summary::of(&all),
        p99,
        edits_per_s: edits as f64 / spent,
        deliveries_per_s: all.len() as f64 / spent,
        cores: cores / spent,
    })
}

/// One of the crowd: until it has heard of every edit. Gives how long each took.
async fn one(
    number: u64,
    address: SocketAddr,
    token: &str,
    clock: &Clock,
    open: &Barrier,
) -> Fallible<Times> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::with_capacity(1 << 10, read);
    let mut whole = client(number, token);
    let checks = number.is_multiple_of(100);
    let mut line = String::new();
    let (least, most) = limits::ACKNOWLEDGE_AFTER.into_inner();
    let patience = usize::from(least) + number as usize % usize::from(most - least + 1);
    let mut light = Light { patience, ..Light::default() };
    let mut times = Vec::with_capacity(clock.made.len());
    for output in whole.handle(ClientInput::Connected, Duration::ZERO) {
        if let ClientOutput::Send(text) = output {
            write.write_all(format!("{text}\n").as_bytes()).await?;
        }
    }
    while times.len() < clock.made.len() {
        line.clear();
        if read.read_line(&mut line).await? == 0 {
            return Err("the hub closed the connection".into());
        }
        let opened = line.starts_with(r#"{"type":"ConnectOk""#);
        let sync = line.starts_with(r#"{"type":"ServerSync""#);
        if sync && !checks && !light.wants(&line) {
            continue;
        }
        let (now, heard) = (clock.started.elapsed(), times.len());
        for mark in line.split('<').skip(1).take_while(|_| sync) {
            let number: usize = mark.split('>').next().unwrap_or_default().parse()?;
            let made = clock.made.get(number).ok_or("an edit that nobody made")?;
            times.push(now - Duration::from_nanos(made.load(Ordering::Relaxed)));
        }
        let mut answer = String::new();
        if checks {
            let before = whole.text().chars();
            // Time stands still for it: it asks when it has to acknowledge.
            for output in whole.handle(ClientInput::Received(std::mem::take(&mut line)), Duration::ZERO) {
                match output {
                    ClientOutput::Send(request) => answer = request + "\n",
                    ClientOutput::Resynced => return Err("a resync without corruption".into()),
                    ClientOutput::Redial(why) => return Err(why.into()),
                    _ => {}
                }
            }
            if whole.text().chars() == before {
                // It crossed with its request, and comes again.
                times.truncate(heard);
            }
        } else {
            answer = light.answer(&line)?;
        }
        if !answer.is_empty() {
            write.write_all(answer.as_bytes()).await?;
        }
        if opened {
            open.wait().await;
        }
    }
    Ok(times)
}

/// A client that keeps no text: it acknowledges by the server's own sum.
#[derive(Default)]
struct Light {
    m: u64,
    seq: u64,
    /// What it was told since it acknowledged, and when it does so again.
    told: usize,
    patience: usize,
}

impl Light {
    /// Whether a message answers its request; if not, the same comes again.
    fn wants(&self, line: &str) -> bool {
        let seq = line.split(r#""seq":"#).nth(1).and_then(|rest| rest.split(',').next());
        seq.and_then(|seq| seq.parse().ok()) == Some(self.seq)
    }

    /// What it says to a message: nothing to most, and now and then what it has.
    fn answer(&mut self, line: &str) -> Fallible<String> {
        if line.starts_with(r#"{"type":"ServerSync""#) {
            // The server sends one edit or none.
            self.m += u64::from(line.contains(r#""edits":[["#));
            self.told += 1;
            if self.told < self.patience {
                return Ok(String::new());
            }
        } else if !line.starts_with(r#"{"type":"ConnectOk""#) {
            return Err(format!("unexpected: {line:.80}").into());
        }
        let (_, sum) = line.rsplit_once(r#""sum":""#).ok_or("no sum")?;
        let sum = sum.split('"').next().unwrap_or_default();
        (self.seq, self.told) = (self.seq + 1, 0);
        let Light { m, seq, .. } = self;
        Ok(format!(
            "{{\"type\":\"ClientSync\",\"doc\":\"shared.txt\",\"seq\":{seq},\"m_ack\":{m},\"edits\":[],\"sum\":\"{sum}\",\"wait\":true}}\n"
        ))
    }
}
