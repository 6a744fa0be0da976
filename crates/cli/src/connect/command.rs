//! What can be said to `syncline connect`, and what it does to a text: pure functions over lines.

use std::ops::Range;

use syncline_engine::{Edit, diff};

/// What `help` prints.
pub const HELP: &str = "\x20 edit TEXT            the whole text becomes TEXT; only what differs is sent
  insert AT TEXT       a new line before line AT ($: at the end), or TEXT at @POS
  delete AT            line 3, lines 3-5, or characters @POS+COUNT
  replace AT TEXT      the same, by TEXT
  show                 the text
  stats                the connection, and what was sent and received
  history              who changed how much, and when
  help                 this
  quit                 leave; what you typed is saved first
AT is a line (3), lines (3-5), the end ($), or a position in characters from 0 (@7, @7+2).
In TEXT, \\n is a new line, \\t a tab and \\\\ a backslash.";

/// A place in a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// Lines, counted from 1, both included.
    Lines(usize, usize),
    /// Behind the last line.
    End,
    /// Characters, counted from 0: where, and how many.
    Chars(usize, usize),
}

/// A command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Replace the whole text.
    Edit(String),
    /// Insert at a place.
    Insert(At, String),
    /// Delete a place.
    Delete(At),
    /// Replace a place.
    Replace(At, String),
    /// Print the text.
    Show,
    /// Print numbers.
    Stats,
    /// Print who changed what.
    History,
    /// Print the commands.
    Help,
    /// Leave.
    Quit,
    /// An empty line.
    Nothing,
}

impl Command {
    /// Reads a line; an error is a sentence for whoever typed it.
    pub fn parse(line: &str) -> Result<Command, String> {
        let (word, rest) = split_word(line.trim_end_matches(['\r', '\n']));
        let alone = |command: Command| match rest.trim() {
            "" => Ok(command),
            _ => Err(format!("`{word}` stands alone")),
        };
        let at_and_text = || {
            let (at, text) = split_word(rest);
            Ok::<_, String>((At::parse(at)?, unescape(text)?))
        };
        match word {
            "" => Ok(Command::Nothing),
            "edit" => Ok(Command::Edit(unescape(rest)?)),
            "insert" => at_and_text().map(|(at, text)| Command::Insert(at, text)),
            "replace" => at_and_text().map(|(at, text)| Command::Replace(at, text)),
            "delete" => Ok(Command::Delete(At::parse(rest.trim())?)),
            "show" => alone(Command::Show),
            "stats" => alone(Command::Stats),
            "history" => alone(Command::History),
            "help" | "?" => Ok(Command::Help),
            "quit" | "exit" => alone(Command::Quit),
            other => Err(format!("there is no command `{other}`; `help` lists what there is")),
        }
    }

    /// What it changes in a text: a batch of edits; `None` if it is no command that changes one.
    pub fn edits(&self, text: &str) -> Option<Result<Vec<Edit>, String>> {
        match self {
            Command::Edit(new) => Some(Ok(diff(text, new))),
            Command::Insert(at, new) => Some(insertion(text, *at, new)),
            Command::Delete(at) => Some(at.range(text).map(|range| vec![Edit::delete(range)])),
            Command::Replace(at, new) => Some(replacement(text, *at, new)),
            _ => None,
        }
    }
}

/// The first word, and what stands behind the one space after it.
fn split_word(line: &str) -> (&str, &str) {
    let line = line.trim_start();
    line.split_once(char::is_whitespace).unwrap_or((line, ""))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('\\') => '\\',
                _ => return Err("after a backslash comes n, t or another backslash".to_owned()),
            },
            other => other,
        });
    }
    Ok(out)
}

impl At {
    fn parse(text: &str) -> Result<At, String> {
        let number = |text: &str| -> Result<usize, String> {
            text.parse().map_err(|_| format!("`{text}` is no place: say 3, 3-5, $, @7 or @7+2"))
        };
        if text == "$" {
            return Ok(At::End);
        }
        if let Some(position) = text.strip_prefix('@') {
            let (at, count) = position.split_once('+').unwrap_or((position, "0"));
            return Ok(At::Chars(number(at)?, number(count)?));
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (number(first)?, number(last)?);
        if first == 0 || last < first {
            return Err("lines are counted from 1, the first before the last".to_owned());
        }
        Ok(At::Lines(first, last))
    }

    /// The characters there, line ends included.
    fn range(self, text: &str) -> Result<Range<usize>, String> {
        let range = match self {
            At::End => return Err("$ is the place behind the last line: nothing stands there".to_owned()),
            At::Chars(_, 0) => return Err("say how many characters: @7+2".to_owned()),
            At::Chars(at, count) => at..at.saturating_add(count),
            At::Lines(first, last) => {
                let starts = line_starts(text);
                // The last start is the end of the text.
                let lines = starts.len() - 1;
                if last > lines {
                    return Err(format!("there is no line {last}; the text has {lines}"));
                }
                starts[first - 1]..starts[last]
            }
        };
        let length = text.chars().count();
        if range.end > length {
            return Err(format!("the text has only {length} characters"));
        }
        Ok(range)
    }
}

/// Where each line begins, in characters, and where the text ends.
fn line_starts(text: &str) -> Vec<usize> {
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.chars().count();
        starts.push(at);
    }
    starts
}

fn insertion(text: &str, at: At, new: &str) -> Result<Vec<Edit>, String> {
    let starts = line_starts(text);
    let end = starts.last().copied().unwrap_or_default();
    let (at, new) = match at {
        At::Chars(at, 0) if at <= end => (at, new.to_owned()),
        At::Chars(_, 0) => return Err(format!("the text has only {end} characters")),
        At::Chars(..) => return Err("an insertion has a place and no length: @7".to_owned()),
        At::Lines(line, last) if line == last => match starts.get(line - 1) {
            Some(&start) if start < end => (start, format!("{new}\n")),
            _ => return Err(format!("there is no line {line}; $ is the end")),
        },
        At::Lines(..) => return Err("insert before one line, not several".to_owned()),
        // A last line without an end gets one first.
        At::End if text.is_empty() || text.ends_with('\n') => (end, format!("{new}\n")),
        At::End => (end, format!("\n{new}\n")),
    };
    Ok(vec![Edit::insert(at, new)])
}

fn replacement(text: &str, at: At, new: &str) -> Result<Vec<Edit>, String> {
    let range = at.range(text)?;
    let lines = matches!(at, At::Lines(..));
    let old: String = text.chars().skip(range.start).take(range.len()).collect();
    // Whole lines stay whole lines.
    let new = if lines && old.ends_with('\n') { format!("{new}\n") } else { new.to_owned() };
    let shift = range.start;
    let edits = diff(&old, &new).into_iter();
    Ok(edits
        .map(|edit| Edit { range: edit.range.start + shift..edit.range.end + shift, insert: edit.insert })
        .collect())
}

#[cfg(test)]
mod tests {
    use syncline_engine::apply_to_str;

    use super::*;

    fn after(line: &str, text: &str) -> String {
        let edits = Command::parse(line).unwrap().edits(text).unwrap().unwrap();
        apply_to_str(text, &edits)
    }

    fn refused(line: &str, text: &str) -> String {
        match Command::parse(line) {
            Err(why) => why,
            Ok(command) => command.edits(text).unwrap().unwrap_err(),
        }
    }

    #[test]
    fn commands_change_what_they_name() {
        let text = "one\ntwö\nthree\n";
        let cases = [
            ("edit new\\ttext\\\\", "new\ttext\\"),
            ("edit", ""),
            ("insert 1 zero", "zero\none\ntwö\nthree\n"),
            ("insert 3 2\\n2.5", "one\ntwö\n2\n2.5\nthree\n"),
            ("insert $ four", "one\ntwö\nthree\nfour\n"),
            ("insert @6 X", "one\ntwXö\nthree\n"),
            ("insert @14   spaced", "one\ntwö\nthree\n  spaced"),
            ("delete 2", "one\nthree\n"),
            ("delete 1-3", ""),
            ("delete @4+4", "one\nthree\n"),
            ("replace 2 TWO", "one\nTWO\nthree\n"),
            ("replace 2-3 rest", "one\nrest\n"),
            ("replace @0+3 ONE", "ONE\ntwö\nthree\n"),
        ];
        for (line, expected) in cases {
            assert_eq!(after(line, text), expected, "{line}");
        }
        assert_eq!(after("insert $ b", "a"), "a\nb\n");
        assert_eq!(after("insert $ a", ""), "a\n");
        assert_eq!(after("replace 1 b", "a"), "b");
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let text = "one\ntwo\n";
        for line in [
            "delete 3",
            "delete 0",
            "delete 2-1",
            "delete $",
            "delete @9+1",
            "delete @1",
            "delete x",
            "insert 3 x",
            "insert @9 x",
            "insert @1+1 x",
            "insert 1-2 x",
            "replace $ x",
            "replace 9 x",
            "edit \\q",
            "show me",
            "frob",
            "delete @99999999999999999999+1",
            "delete -1",
        ] {
            assert!(!refused(line, text).is_empty(), "{line}");
        }
        assert_eq!(Command::parse("  quit "), Ok(Command::Quit));
        assert_eq!(Command::parse("\r\n"), Ok(Command::Nothing));
        assert_eq!(Command::parse("?"), Ok(Command::Help));
    }
}
