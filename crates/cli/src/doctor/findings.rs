//! What the facts mean, and what to change: a pure function with a table of cases.

use std::time::Duration;

use super::facts::{Facts, MOST_DIRECTORIES};

/// How good it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// As it should be.
    Ok,
    /// Works, but not as well as it could.
    Warning,
    /// Must be changed.
    Problem,
}

impl Standing {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Ok => "ok",
            Standing::Warning => "warning",
            Standing::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What was looked at, in a word.
    pub check: &'static str,
    /// How good it is.
    pub standing: Standing,
    /// What there is.
    pub said: String,
    /// What to change, unless it is as it should be.
    pub advice: Option<String>,
}

/// A durable write that takes longer than this is felt by a person.
const SLOW_WRITE: Duration = Duration::from_millis(20);
/// A hub stops being live beyond this.
const VERY_SLOW_WRITE: Duration = Duration::from_millis(500);
const MIB: u64 = 1 << 20;
/// The journal needs some room for every save.
const LITTLE_SPACE: u64 = 1024 * MIB;
const NO_SPACE: u64 = 64 * MIB;
/// A hub that serves all the connections it admits, and holds files open.
const MANY_FILES: u64 = 8_192;
const FEW_FILES: u64 = 1_024;
/// A clock before this (the beginning of 2025) was never set.
const UNSET_MS: u64 = 1_735_689_600_000;
/// A file system's time that is further away is another machine's.
const SKEW_MS: u64 = 2_000;
/// What one local user's message queue takes: 10 messages of 8 KiB, and the kernel's own words.
const QUEUE_BYTES: u64 = 90_000;

fn ok(check: &'static str, said: impl Into<String>) -> Finding {
    Finding { check, standing: Standing::Ok, said: said.into(), advice: None }
}

fn warning(check: &'static str, said: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { check, standing: Standing::Warning, said: said.into(), advice: Some(advice.into()) }
}

fn problem(check: &'static str, said: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { check, standing: Standing::Problem, said: said.into(), advice: Some(advice.into()) }
}

/// Everything that was looked at, in a fixed order.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut all = vec![hub(facts)];
    all.extend(file_system(facts));
    all.extend([watches(facts), writes(facts), space(facts), open_files(facts), clock(facts)]);
    all.extend([queues(facts), shared_memory(facts), secrets(facts)]);
    all
}

fn hub(facts: &Facts) -> Finding {
    match facts.hub {
        Some(pid) => ok("hub", format!("runs on this folder, process {pid}")),
        None => ok("hub", "none runs on this folder"),
    }
}

fn file_system(facts: &Facts) -> Vec<Finding> {
    let probe = match &facts.probe {
        Ok(probe) => probe,
        Err(why) => {
            return vec![problem(
                "folder",
                format!("cannot be used: {why}"),
                "make it yours to read and to write",
            )];
        }
    };
    let kind = &probe.file_system;
    let events = if probe.events {
        ok("events", format!("changes on this file system ({kind}) are told by the kernel"))
    } else {
        warning(
            "events",
            format!("changes on this file system ({kind}) are not told: folders are polled"),
            "run the hub on the machine that has the disk",
        )
    };
    let exchange = if probe.exchange {
        ok("exchange", "files are saved by exchanging names, in one step")
    } else {
        warning(
            "exchange",
            "names cannot be exchanged: a save in the same instant is found by looking twice",
            "use ext4, XFS, Btrfs or tmpfs, if you can choose",
        )
    };
    let leases = if probe.leases {
        ok("leases", "programs that still write to a file are noticed")
    } else {
        warning(
            "leases",
            "programs that still write to a file are not noticed: displaced files are kept and read again for a minute",
            "run the hub as the owner of the files, on a local file system",
        )
    };
    let names = match (probe.case_sensitive, probe.normalisation_sensitive) {
        (true, true) => ok("names", "names that differ in case or accents are different files"),
        (false, _) => warning(
            "names",
            "names that differ in case only are one file here",
            "of two such files that others have, one gets a longer name here; rename them there",
        ),
        (true, false) => warning(
            "names",
            "names that differ in the form of their accents only are one file here",
            "of two such files that others have, one gets a longer name here; rename them there",
        ),
    };
    let attributes = if probe.xattrs {
        ok("attributes", "extended attributes are kept")
    } else {
        warning("attributes", "this file system has no extended attributes", "nothing, unless you use them")
    };
    vec![events, exchange, leases, names, attributes]
}

fn watches(facts: &Facts) -> Finding {
    let (Some(watches), Some(watchers)) = (facts.watches, facts.watchers) else {
        return warning("watches", "the kernel does not say how many it allows", "is /proc mounted?");
    };
    let events = facts.queued_events.unwrap_or_default();
    let more = if facts.directories >= MOST_DIRECTORIES { "at least " } else { "" };
    let said = format!(
        "{more}{} directories here; the kernel allows {watches} watches, {watchers} programs, {events} waiting events",
        facts.directories
    );
    let wanted = facts.directories.saturating_mul(2).max(65_536).next_power_of_two();
    if facts.directories > watches {
        let advice =
            format!("sudo sysctl fs.inotify.max_user_watches={wanted} (the rest is polled until then)");
        problem("watches", said, advice)
    } else if facts.directories.saturating_mul(2) > watches {
        warning("watches", said, format!("sudo sysctl fs.inotify.max_user_watches={wanted}"))
    } else if watchers < 16 {
        warning("watches", said, "sudo sysctl fs.inotify.max_user_instances=128")
    } else {
        ok("watches", said)
    }
}

fn writes(facts: &Facts) -> Finding {
    let times = match &facts.writes {
        Ok(times) => times,
        Err(why) => return problem("durable write", format!("failed: {why}"), "make the folder writable"),
    };
    let (Some(middle), Some(slowest)) = (times.get(times.len() / 2), times.last()) else {
        return warning("durable write", "not measured", "try again");
    };
    let ms = |time: &Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let said = format!("{} (the slowest of {}: {})", ms(middle), times.len(), ms(slowest));
    let advice =
        "every save waits for one: use a local SSD, and let no other program flush this disk all the time";
    if *middle > VERY_SLOW_WRITE {
        problem("durable write", said, advice)
    } else if *middle > SLOW_WRITE {
        warning("durable write", said, advice)
    } else {
        ok("durable write", said)
    }
}

fn space(facts: &Facts) -> Finding {
    let Some((free, all)) = facts.space else {
        return warning("space", "the file system does not say how much there is", "look yourself");
    };
    let files = facts.inodes.map_or(String::new(), |inodes| format!(", {inodes} more files"));
    let said = format!("{} MiB of {} MiB free{files}", free / MIB, all / MIB);
    let advice = "free some: the journal keeps every version of every file";
    match facts.inodes {
        Some(inodes) if inodes < 100 => problem("space", said, "remove files: no more can be made"),
        _ if free < NO_SPACE => problem("space", said, advice),
        _ if free < LITTLE_SPACE => warning("space", said, advice),
        _ => ok("space", said),
    }
}

fn open_files(facts: &Facts) -> Finding {
    let (now, most) = facts.open_files;
    let said = format!("a process may have {now} files open");
    let advice = match most {
        Some(most) if most < MANY_FILES => {
            format!("have an administrator allow more than {most} (limits.conf)")
        }
        _ => format!("ulimit -n {MANY_FILES} before `syncline serve`, or LimitNOFILE= in its unit"),
    };
    if now < FEW_FILES {
        problem("open files", said, advice)
    } else if now < MANY_FILES {
        warning("open files", format!("{said}: enough for about {} connections", now / 2), advice)
    } else {
        ok("open files", said)
    }
}

fn clock(facts: &Facts) -> Finding {
    let date = crate::report::date_of(facts.now_ms);
    if facts.now_ms < UNSET_MS {
        return problem("clock", format!("says {date}"), "set it: tokens expire by it, and certificates");
    }
    match facts.skew_ms {
        Some(skew) if skew > SKEW_MS => warning(
            "clock",
            format!("says {date}; the file system's is {} s away", skew / 1000),
            "set both by the network (NTP): times in the history are compared",
        ),
        _ => ok("clock", format!("says {date}")),
    }
}

fn queues(facts: &Facts) -> Finding {
    let Some([count, messages, bytes]) = facts.queues else {
        return warning(
            "message queues",
            "this kernel has no POSIX message queues",
            "`syncline local` uses shared memory alone; nothing to do",
        );
    };
    let allowed = facts.queue_bytes.map_or("any number of".to_owned(), |bytes| bytes.to_string());
    let said =
        format!("{count} queues of {messages} messages of {bytes} bytes, {allowed} bytes for this user");
    if messages < 10 || bytes < 8_192 {
        warning("message queues", said, "sudo sysctl fs.mqueue.msg_max=10 fs.mqueue.msgsize_max=8192")
    } else if facts.queue_bytes.is_some_and(|bytes| bytes < 5 * QUEUE_BYTES) {
        warning("message queues", said, "ulimit -q 819200: five local users need about 450,000 bytes")
    } else {
        ok("message queues", said)
    }
}

fn shared_memory(facts: &Facts) -> Finding {
    match &facts.shared_memory {
        Ok(()) => ok("shared memory", "can be made in /dev/shm"),
        Err(why) => warning(
            "shared memory",
            format!("cannot be made in /dev/shm: {why}"),
            "mount a tmpfs there (in a container: --shm-size); only `syncline local` needs it",
        ),
    }
}

fn secrets(facts: &Facts) -> Finding {
    if facts.open_secrets.is_empty() {
        return ok("secrets", "are readable by their owner only");
    }
    let paths = facts.open_secrets.join("' '");
    problem(
        "secrets",
        format!("others can read '{paths}'"),
        format!("chmod 600 '{paths}'; then make new ones"),
    )
}

#[cfg(test)]
mod tests {
    use syncline_disk::Probe;

    use super::*;

    fn healthy() -> Facts {
        Facts {
            probe: Ok(Probe {
                exchange: true,
                leases: true,
                case_sensitive: true,
                normalisation_sensitive: true,
                xattrs: true,
                events: true,
                file_system: "ext4".into(),
                boot: None,
            }),
            directories: 10,
            watches: Some(65_536),
            watchers: Some(128),
            queued_events: Some(16_384),
            writes: Ok(vec![Duration::from_millis(1); 9]),
            space: Some((100 << 30, 200 << 30)),
            inodes: Some(1_000_000),
            open_files: (65_536, Some(65_536)),
            now_ms: UNSET_MS + 1,
            skew_ms: Some(4),
            queues: Some([256, 10, 8_192]),
            queue_bytes: Some(819_200),
            shared_memory: Ok(()),
            open_secrets: Vec::new(),
            hub: None,
        }
    }

    fn probe(change: impl Fn(&mut Probe)) -> Facts {
        let mut facts = healthy();
        if let Ok(probe) = &mut facts.probe {
            change(probe);
        }
        facts
    }

    #[test]
    fn a_healthy_folder_has_nothing_to_change() {
        for facts in [healthy(), Facts { hub: Some(7), ..healthy() }] {
            for finding in findings(&facts) {
                assert_eq!((finding.standing, finding.advice.clone()), (Standing::Ok, None), "{finding:?}");
            }
        }
    }

    #[test]
    fn each_lack_is_found_and_nothing_else() {
        use Standing::{Problem, Warning};
        let slow = |ms| Ok(vec![Duration::from_millis(ms); 9]);
        let base = healthy;
        let cases: Vec<(&str, Standing, Facts)> = vec![
            ("events", Warning, probe(|probe| probe.events = false)),
            ("exchange", Warning, probe(|probe| probe.exchange = false)),
            ("leases", Warning, probe(|probe| probe.leases = false)),
            ("names", Warning, probe(|probe| probe.case_sensitive = false)),
            ("names", Warning, probe(|probe| probe.normalisation_sensitive = false)),
            ("attributes", Warning, probe(|probe| probe.xattrs = false)),
            ("watches", Problem, Facts { directories: 70_000, ..base() }),
            ("watches", Warning, Facts { directories: 40_000, ..base() }),
            ("watches", Warning, Facts { watchers: Some(8), ..base() }),
            ("watches", Warning, Facts { watches: None, ..base() }),
            ("durable write", Warning, Facts { writes: slow(50), ..base() }),
            ("durable write", Problem, Facts { writes: slow(900), ..base() }),
            ("durable write", Problem, Facts { writes: Err("read-only".into()), ..base() }),
            ("durable write", Warning, Facts { writes: Ok(Vec::new()), ..base() }),
            ("space", Warning, Facts { space: Some((500 << 20, 1 << 40)), ..base() }),
            ("space", Problem, Facts { space: Some((1 << 20, 1 << 40)), ..base() }),
            ("space", Problem, Facts { inodes: Some(3), ..base() }),
            ("open files", Warning, Facts { open_files: (1_024, Some(65_536)), ..base() }),
            ("open files", Problem, Facts { open_files: (256, Some(256)), ..base() }),
            ("clock", Problem, Facts { now_ms: 1_000, ..base() }),
            ("clock", Warning, Facts { skew_ms: Some(60_000), ..base() }),
            ("message queues", Warning, Facts { queues: None, ..base() }),
            ("message queues", Warning, Facts { queues: Some([256, 5, 8_192]), ..base() }),
            ("message queues", Warning, Facts { queue_bytes: Some(100_000), ..base() }),
            ("shared memory", Warning, Facts { shared_memory: Err("no".into()), ..base() }),
            ("secrets", Problem, Facts { open_secrets: vec!["token".into()], ..base() }),
        ];
        for (check, standing, facts) in cases {
            let lacks: Vec<Finding> =
                findings(&facts).into_iter().filter(|finding| finding.standing != Standing::Ok).collect();
            let [lack] = lacks.as_slice() else { panic!("{check}: {lacks:?}") };
            assert_eq!((lack.check, lack.standing), (check, standing), "{lack:?}");
            assert!(lack.advice.is_some());
        }
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_a_problem() {
        let facts = Facts { probe: Err("permission denied".into()), ..healthy() };
        assert_eq!(
            findings(&facts).iter().filter(|finding| finding.standing == Standing::Problem).count(),
            1
        );
    }
}
