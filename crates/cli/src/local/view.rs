//! What the terminal display of `syncline local` shows, and how it is laid out. Drawing is a function of the view.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Scrollbar, ScrollbarOrientation, ScrollbarState};

/// How many events are kept to be shown.
const EVENTS: usize = 200;

/// A user in the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// Their name.
    pub name: String,
    /// The way to them; empty for oneself, and for whom there is no session with.
    pub way: String,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Operations by saves here.
    pub changes: u64,
    /// How many of them were broadcast.
    pub broadcast: u64,
    /// Batches of others' changes.
    pub receipts: u64,
    /// Conflicts that were decided.
    pub conflicts: u64,
}

/// Everything that is on the screen.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Whose screen it is.
    pub name: String,
    /// Their copy.
    pub file: String,
    /// What is done about conflicts.
    pub policy: &'static str,
    /// The document as it is recorded.
    pub text: String,
    /// The first line of it that is shown.
    pub top: usize,
    /// Everybody who is here, oneself first.
    pub users: Vec<User>,
    /// What is counted.
    pub counts: Counts,
    /// What happened, oldest first.
    pub events: VecDeque<String>,
}

impl View {
    /// Something happened.
    pub fn note(&mut self, event: String) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Shows lines further down, or up.
    pub fn scroll(&mut self, lines: isize) {
        let last = self.text.lines().count().saturating_sub(1);
        self.top = self.top.saturating_add_signed(lines).min(last);
    }

    /// Draws it. Usable from 80 columns and 24 lines on; smaller, parts are cut.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let [head, middle, events, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Min(6),
            Constraint::Length(8),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        let [document, side] =
            Layout::horizontal([Constraint::Min(30), Constraint::Length(26)]).areas(middle);
        let [users, counts] = Layout::vertical([Constraint::Min(3), Constraint::Length(7)]).areas(side);
        let title = Line::from(vec![
            Span::styled(" syncline ", Style::new().add_modifier(Modifier::REVERSED)),
            Span::raw(format!(" {}  {}", self.name, self.file)),
        ]);
        frame.render_widget(title, head);
        self.document(frame, document);
        self.users(frame, users);
        self.counts(frame, counts);
        self.events(frame, events);
        let hint = format!("↑ ↓ PgUp PgDn scroll   q quits; nothing is lost   conflicts: {}", self.policy);
        frame.render_widget(Line::from(hint).style(Style::new().fg(Color::DarkGray)), foot);
    }

    fn document(&self, frame: &mut Frame<'_>, area: Rect) {
        let count = self.text.lines().count();
        let block = Block::new().borders(Borders::ALL).title(format!(" document, {count} lines "));
        let inner = block.inner(area);
        let height = usize::from(inner.height);
        let top = self.top.min(count.saturating_sub(1));
        let shown: Vec<Line<'_>> =
            self.text.lines().skip(top).take(height).map(|line| Line::from(plain(line))).collect();
        frame.render_widget(Paragraph::new(shown).block(block), area);
        if count > height {
            let mut state = ScrollbarState::new(count.saturating_sub(height)).position(top);
            frame.render_stateful_widget(
                Scrollbar::new(ScrollbarOrientation::VerticalRight),
                area,
                &mut state,
            );
        }
    }

    fn users(&self, frame: &mut Frame<'_>, area: Rect) {
        let block = Block::new().borders(Borders::ALL).title(format!(" {} users ", self.users.len()));
        let room = usize::from(block.inner(area).height);
        let mut lines: Vec<Line<'_>> = self
            .users
            .iter()
            .map(|user| {
                let style = match user.way.is_empty() {
                    true => Style::new().add_modifier(Modifier::BOLD),
                    false => Style::new().fg(Color::Green),
                };
                Line::from(vec![Span::styled(plain(&user.name), style), Span::raw(format!(" {}", user.way))])
            })
            .collect();
        if lines.len() > room && room > 0 {
            let hidden = lines.len() - room + 1;
            lines.truncate(room - 1);
            lines.push(Line::from(format!("and {hidden} others")));
        }
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }

    fn counts(&self, frame: &mut Frame<'_>, area: Rect) {
        let line = |name: &str, count: u64| Line::from(format!("{name:<14}{count:>8}"));
        let waiting = self.counts.changes.saturating_sub(self.counts.broadcast);
        let lines = vec![
            line("changes", self.counts.changes),
            line("broadcast", self.counts.broadcast),
            line("waiting", waiting),
            line("receipts", self.counts.receipts),
            line("conflicts", self.counts.conflicts),
        ];
        frame.render_widget(Paragraph::new(lines).block(Block::new().borders(Borders::ALL)), area);
    }

    fn events(&self, frame: &mut Frame<'_>, area: Rect) {
        let block = Block::new().borders(Borders::ALL).title(" events ");
        let room = usize::from(block.inner(area).height);
        let from = self.events.len().saturating_sub(room);
        let lines: Vec<Line<'_>> =
            self.events.iter().skip(from).map(|event| Line::from(plain(event))).collect();
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }
}

/// Without what a terminal would obey: texts and names come from others. Tabs are shown as blanks.
fn plain(text: &str) -> String {
    crate::report::safe(&text.replace('\t', "    "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn drawn(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let rows = buffer.content().chunks(usize::from(width));
        rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
    }

    fn view() -> View {
        let mut view = View {
            name: "user_1".into(),
            file: "/tmp/user_1_doc.txt".into(),
            policy: "last-writer-wins",
            text: (1..=40).map(|n| format!("line {n}\n")).collect(),
            counts: Counts { changes: 12, broadcast: 10, receipts: 7, conflicts: 3 },
            ..View::default()
        };
        view.users = (1..=5)
            .map(|n| User {
                name: format!("user_{n}"),
                way: if n > 1 { "shared memory".into() } else { String::new() },
            })
            .collect();
        for n in 0..20 {
            view.note(format!("event {n}"));
        }
        view
    }

    #[test]
    fn all_of_it_is_seen_at_80_by_24() {
        let screen = drawn(&view(), 80, 24);
        for seen in [
            "user_1",
            "user_1_doc.txt",
            "line 1 ",
            "line 12",
            "user_5 shared memory",
            "5 users",
            "changes",
            "12",
            "waiting",
            "event 19",
            "event 14",
            "last-writer-wins",
            "q quits",
        ] {
            assert!(screen.contains(seen), "{seen} is not on the screen:\n{screen}");
        }
        assert!(!screen.contains("event 13") && !screen.contains("line 13"));
    }

    #[test]
    fn it_scrolls_and_stops_at_the_end() {
        let mut view = view();
        view.scroll(30);
        assert!(drawn(&view, 80, 24).contains("line 31"));
        view.scroll(1_000);
        assert!(drawn(&view, 80, 24).contains("line 40"));
        view.scroll(-2_000);
        assert!(drawn(&view, 80, 24).contains("line 1 "));
    }

    #[test]
    fn what_others_write_moves_nothing_on_the_terminal() {
        let mut view = view();
        view.text = "a\u{1b}[31mred\u{7}\tb\n".into();
        let screen = drawn(&view, 80, 24);
        assert!(!screen.contains('\u{1b}') && screen.contains("red"), "{screen}");
        // However small the terminal is.
        for (width, height) in [(1, 1), (10, 3), (30, 8), (300, 100)] {
            drawn(&view, width, height);
        }
    }
}
