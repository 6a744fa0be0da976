//! The table of all engines, and the comparison in one line.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::Fallible;
use crate::engine::Engine;
use crate::ours::{BareRope, Ours};
use crate::percentiles::Summary;
use crate::trace::Trace;
use crate::trial::{self, FIGURES, Outcome, Patience};

/// (figure, trace) -> what each engine showed.
#[derive(Default)]
pub struct Report {
    measured: BTreeMap<(usize, String), Vec<(&'static str, Outcome)>>,
}

impl Report {
    /// Measures an engine on a trace.
    pub fn take<E: Engine>(&mut self, trace: &Trace, patience: Patience) -> Fallible<()> {
        // An engine that does not do its work is a row of the table, unless it is ours. Some say so by a panic.
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| trial::run::<E>(trace, patience)))
                .unwrap_or_else(|_| Err(format!("{} panicked", E::NAME).into()));
        let figures = match outcome {
            Ok(figures) => figures,
            Err(error) if E::NAME == Ours::NAME => return Err(error),
            Err(error) => {
                vec![(if trace.concurrent { "merge" } else { "local" }, Outcome::Nothing(error.to_string()))]
            }
        };
        for (name, outcome) in figures {
            let figure = FIGURES.iter().position(|figure| *figure == name).unwrap_or(0);
            self.measured.entry((figure, trace.name.clone())).or_default().push((E::NAME, outcome));
        }
        Ok(())
    }

    /// Measures what local edits cost without a history.
    pub fn take_rope(&mut self, trace: &Trace, patience: Patience) -> Fallible<()> {
        if !trace.concurrent {
            let outcome = trial::local::<BareRope>(trace, patience)?;
            self.measured.entry((0, trace.name.clone())).or_default().push((BareRope::NAME, outcome));
        }
        Ok(())
    }

    /// For each figure the smallest peer's median divided by ours, on the worst trace.
    pub fn json(&self) -> String {
        let mut line = serde_json::json!({ "figure": "engine" });
        for (index, name) in FIGURES.iter().enumerate() {
            let rows = self.measured.iter().filter(|((figure, _), _)| *figure == index);
            let ratios = rows.filter_map(|(_, engines)| {
                let of = |ours: bool| {
                    let engines = engines.iter().filter(|(name, _)| *name != BareRope::NAME);
                    let engines = engines.filter(move |(name, _)| (*name == Ours::NAME) == ours);
                    engines.filter_map(|(_, outcome)| size(outcome)).reduce(f64::min)
                };
                Some(of(false)? / of(true)?)
            });
            if let Some(worst) = ratios.reduce(f64::min) {
                line[*name] = serde_json::json!((worst * 1000.0).round() / 1000.0);
            }
        }
        line.to_string()
    }
}

/// The median, or the bytes.
fn size(outcome: &Outcome) -> Option<f64> {
    match outcome {
        Outcome::Times(times) => Some(Summary::of(times).p50.as_secs_f64()),
        Outcome::Bytes(bytes) => Some(*bytes as f64),
        Outcome::Nothing(_) => None,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((figure, trace), engines) in &self.measured {
            let name = FIGURES[*figure];
            writeln!(f, "\n{name}, {trace}")?;
            for (engine, outcome) in engines {
                match outcome {
                    Outcome::Times(times) => {
                        let Summary { count, p50, p95, max } = Summary::of(times);
                        let [p50, p95, max] = [p50, p95, max].map(shown);
                        writeln!(
                            f,
                            "  {engine:<20} n {count:>3}  p50 {p50:>11}  p95 {p95:>11}  max {max:>11}"
                        )?;
                    }
                    Outcome::Bytes(bytes) => writeln!(f, "  {engine:<20} {:>11} bytes", bytes)?,
                    Outcome::Nothing(why) => writeln!(f, "  {engine:<20} not measured: {why}")?,
                }
            }
        }
        Ok(())
    }
}

fn shown(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1_000.0 { format!("{micros:.2} us") } else { format!("{:.2} ms", micros / 1e3) }
}

/// One line about the machine: figures travel only with it.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = processors.lines().find(|line| line.starts_with("model name"));
    let model =
        line.and_then(|line| line.split_once(':')).map_or("unknown processor", |(_, model)| model.trim());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{cores} cores, {model}, Linux {}, load {load} at the start", kernel.trim())
}
