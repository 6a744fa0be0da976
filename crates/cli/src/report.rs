//! What happens, told to a person (a line with the time) or a program (a line of JSON).

use serde_json::{Value, json};
use std::io::Write;
use syncline_hub::HubEvent;

/// Prints a line of JSON at once. A reader that has gone ends the program's talk, not its work.
pub fn json_line(value: &Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{value}").and_then(|()| out.flush());
}

/// Tells of an event. The progress of a scan is a bar's matter and not told here to people.
pub fn tell(event: &HubEvent, json: bool) {
    if json {
        json_line(&as_json(event));
    } else if let Some(line) = line(event) {
        println!("{line}");
    }
}

/// An event as a line for a person, with the time; `None`: nothing that people are told.
pub fn line(event: &HubEvent) -> Option<String> {
    as_text(event).map(|text| format!("{} {}", time_of_day(), safe(&text)))
}

/// Without what a terminal would obey: names come from others.
pub fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Tells of something that is wrong and does not end the program.
pub fn trouble(what: &str, json: bool) {
    if json {
        json_line(&json!({"event": "trouble", "path": "", "what": what}));
    } else {
        println!("{} trouble: {}", time_of_day(), safe(what));
    }
}

fn time_of_day() -> String {
    clock_of(now_ms())
}

/// The time, in milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

/// The day and the minute of a moment in milliseconds since 1970, in the calendar of everyday life (the days of
/// an era of 400 years, counted from the first of March; Howard Hinnant, "chrono-compatible low-level date
/// algorithms").
pub fn date_of(time_ms: u64) -> String {
    let minutes = time_ms / 60_000;
    let days = minutes / 1_440 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    format!("{year}-{month:02}-{day:02} {:02}:{:02}Z", minutes / 60 % 24, minutes % 60)
}

/// When something was, in milliseconds since 1970: the time of day if it was today, else the day and the minute.
pub fn moment_of(time_ms: u64) -> String {
    const DAY_MS: u64 = 86_400_000;
    if time_ms / DAY_MS == now_ms() / DAY_MS { clock_of(time_ms) } else { date_of(time_ms) }
}

/// The time of day of a moment in milliseconds since 1970.
fn clock_of(time_ms: u64) -> String {
    let seconds = time_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn as_json(event: &HubEvent) -> Value {
    match event {
        HubEvent::Scanning { done, total } => json!({"event": "scanning", "done": done, "total": total}),
        HubEvent::Created { path } => json!({"event": "created", "path": path}),
        HubEvent::Saved { path, why, changes } => {
            json!({"event": "saved", "path": path, "why": why, "changes": changes})
        }
        HubEvent::Conflict { path, winner, loser, lost } => {
            json!({"event": "conflict", "path": path, "winner": winner, "loser": loser, "lost": lost})
        }
        HubEvent::Written { path } => json!({"event": "written", "path": path}),
        HubEvent::Deleted { path } => json!({"event": "deleted", "path": path}),
        HubEvent::Renamed { from, to } => json!({"event": "renamed", "from": from, "to": to}),
        HubEvent::Joined { path } => json!({"event": "joined", "path": path}),
        HubEvent::Clash { path, renamed } => json!({"event": "clash", "path": path, "renamed": renamed}),
        HubEvent::Held { path } => json!({"event": "held", "path": path}),
        HubEvent::Trouble { path, what } => json!({"event": "trouble", "path": path, "what": what}),
        HubEvent::Brake { files, why } => json!({"event": "brake", "files": files, "why": why}),
        HubEvent::Polled { file_system } => json!({"event": "polled", "file_system": file_system}),
        HubEvent::WatchLimit { hint } => json!({"event": "watch_limit", "hint": hint}),
    }
}

fn as_text(event: &HubEvent) -> Option<String> {
    Some(match event {
        HubEvent::Scanning { .. } => return None,
        HubEvent::Created { path } => format!("{path}  new"),
        HubEvent::Saved { path, why, .. } => format!("{path}  saved ({why})"),
        HubEvent::Conflict { path, winner, loser, lost } if lost.is_empty() => {
            format!("{path}  {winner} and {loser} changed one place: {winner} wins")
        }
        HubEvent::Conflict { path, winner, loser, lost } => {
            let lost: String = lost.chars().take(40).collect();
            format!("{path}  {winner} wins over {loser}, whose {lost:?} goes (syncline conflicts)")
        }
        HubEvent::Written { path } => format!("{path}  updated"),
        HubEvent::Deleted { path } => format!("{path}  deleted (syncline restore brings it back)"),
        HubEvent::Renamed { from, to } => format!("{from}  renamed to {to}"),
        HubEvent::Joined { path } => {
            format!("{path}  two files of this name became one, with the lines of both")
        }
        HubEvent::Clash { path, renamed } => format!("{path}  two files of this name: one is now {renamed}"),
        HubEvent::Held { path } => {
            format!("{path}  held open by another program; written in place until it closes")
        }
        HubEvent::Trouble { path, what } if path.is_empty() => format!("trouble: {what}"),
        HubEvent::Trouble { path, what } => format!("{path}  trouble: {what}"),
        HubEvent::Brake { files, why } => format!(
            "{files} files vanished at once ({why}): not passed on. `syncline deletions pass-on` if that is meant, `syncline deletions take-back` to write them again"
        ),
        HubEvent::Polled { file_system } => {
            format!(
                "{file_system} does not tell of changes by others: the folder is looked at every few seconds"
            )
        }
        HubEvent::WatchLimit { hint } => format!("the system's limit of watched folders is reached; {hint}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01 00:00Z"),
            (951_782_400, "2000-02-29 00:00Z"),
            (951_868_800, "2000-03-01 00:00Z"),
            (1_735_689_599, "2024-12-31 23:59Z"),
            (4_107_542_400, "2100-03-01 00:00Z"),
        ];
        for (seconds, date) in cases {
            assert_eq!(date_of(seconds * 1000), date);
        }
    }
}
