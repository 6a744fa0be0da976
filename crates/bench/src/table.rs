//! The table that a benchmark prints.

use std::fmt;

use crate::percentiles::{Summary, ms};

/// One line of the table.
struct Row {
    cells: [String; 6],
    verdict: &'static str,
}

const TITLES: [&str; 6] = ["", "n", "p50", "p95", "max", "target"];

/// Lines of measured values.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Times in milliseconds, or microseconds if they are short; `target` is its text and whether it was met, if there is one.
    pub fn times(&mut self, name: &str, summary: &Summary, target: Option<(String, bool)>) {
        let micros = ms(summary.p50) < 0.1;
        let cell = |time| match micros {
            true => format!("{:.1} us", 1_000.0 * ms(time)),
            false => format!("{:.2} ms", ms(time)),
        };
        let values = [cell(summary.p50), cell(summary.p95), cell(summary.max)];
        self.push(name, summary.count, values, target);
    }

    /// One value.
    pub fn value(&mut self, name: &str, value: String, target: Option<(String, bool)>) {
        self.push(name, 1, [value, String::new(), String::new()], target);
    }

    fn push(&mut self, name: &str, count: usize, values: [String; 3], target: Option<(String, bool)>) {
        let [p50, p95, max] = values;
        let verdict = match &target {
            Some((_, true)) => "ok",
            Some((_, false)) => "MISSED",
            None => "",
        };
        let target = target.map(|(text, _)| text).unwrap_or_default();
        self.rows.push(Row { cells: [name.to_owned(), count.to_string(), p50, p95, max, target], verdict });
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = TITLES.map(|title| title.chars().count());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(&row.cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut line = |cells: &[String; 6], verdict: &str| {
            let mut out = format!("{:<width$}", cells[0], width = widths[0]);
            for (cell, width) in cells.iter().zip(widths).skip(1) {
                out.push_str(&format!("  {cell:>width$}"));
            }
            writeln!(f, "{}", format!("{out}  {verdict}").trim_end())
        };
        line(&TITLES.map(str::to_owned), "")?;
        self.rows.iter().try_for_each(|row| line(&row.cells, row.verdict))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::default();
        table.value("short", "1 s".into(), Some(("<= 2 s".into(), true)));
        table.value("a longer name", "30 MB".into(), Some(("<= 2 MB".into(), false)));
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].ends_with("ok") && lines[2].ends_with("MISSED"));
        assert_eq!(lines[1].find("1 s").map(|at| at + 3), lines[2].find("30 MB").map(|at| at + 5));
    }
}
