//! The machine that a benchmark ran on: figures travel only with it.

use std::path::Path;

use syncline_disk::{Folder, RealFolder, RealOptions};

use crate::Fallible;

/// One line: cores, processor, kernel, and the file system at `place` (an empty directory).
pub fn facts(place: &Path) -> Fallible<String> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let file_system = RealFolder::open(place, RealOptions::default())?.probe().file_system;
    let model = model_of(&processors);
    Ok(format!("{cores} cores, {model}, Linux {}, {file_system}", kernel.trim()))
}

fn model_of(processors: &str) -> &str {
    let line = processors.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':')).map_or("unknown processor", |(_, model)| model.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_the_first_processors() {
        let text = "processor\t: 0\nmodel name\t: A Fast One @ 3 GHz\nprocessor\t: 1\nmodel name\t: B\n";
        assert_eq!(model_of(text), "A Fast One @ 3 GHz");
        assert_eq!(model_of(""), "unknown processor");
    }
}
