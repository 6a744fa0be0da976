//! The terminal of the display: keys in, drawings out.

use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use crate::local::view::View;

/// What somebody does at the keyboard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// Show what is further down (or up), by so many lines.
    Scroll(isize),
    /// Draw again: the terminal has another size.
    Draw,
    /// End.
    Quit,
}

/// How often the thread that reads keys looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);
/// A page, in lines.
const PAGE: isize = 10;

/// The terminal while the display has it; given back when dropped.
pub struct Screen {
    terminal: DefaultTerminal,
    /// What is done at the keyboard.
    pub keys: mpsc::Receiver<Key>,
}

impl Screen {
    /// Takes the terminal.
    pub fn take() -> std::io::Result<Screen> {
        let terminal = ratatui::try_init()?;
        let (sender, keys) = mpsc::channel(16);
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || read_keys(&sender))?;
        Ok(Screen { terminal, keys })
    }

    /// Draws.
    pub fn draw(&mut self, view: &View) {
        // A terminal that went away ends the program by its signal.
        let _ = self.terminal.draw(|frame| view.draw(frame));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn read_keys(sender: &mpsc::Sender<Key>) {
    while !sender.is_closed() {
        match event::poll(LOOK) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(_) => return,
        }
        let Ok(event) = event::read() else { return };
        if let Some(key) = meaning(&event)
            && sender.blocking_send(key).is_err()
        {
            return;
        }
    }
}

fn meaning(event: &Event) -> Option<Key> {
    match event {
        Event::Resize(..) => Some(Key::Draw),
        Event::Key(key) if key.kind != KeyEventKind::Release => match key.code {
            KeyCode::Char('q') => Some(Key::Quit),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
            KeyCode::Down | KeyCode::Char('j') => Some(Key::Scroll(1)),
            KeyCode::Up | KeyCode::Char('k') => Some(Key::Scroll(-1)),
            KeyCode::PageDown | KeyCode::Char(' ') => Some(Key::Scroll(PAGE)),
            KeyCode::PageUp => Some(Key::Scroll(-PAGE)),
            KeyCode::Home => Some(Key::Scroll(isize::MIN / 2)),
            KeyCode::End => Some(Key::Scroll(isize::MAX / 2)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::crossterm::event::KeyEvent;

    #[test]
    fn keys_mean_what_the_last_line_says() {
        let press = |code, modifiers| meaning(&Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(press(KeyCode::Char('q'), KeyModifiers::NONE), Some(Key::Quit));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Quit));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(press(KeyCode::PageDown, KeyModifiers::NONE), Some(Key::Scroll(PAGE)));
        assert_eq!(meaning(&Event::Resize(80, 24)), Some(Key::Draw));
    }
}
