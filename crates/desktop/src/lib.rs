//! A window on a shared text: what it says now, and an editor.
//!
//! Everything that decides is a state machine without sockets, files and clocks: [`Desk`] is one document as a person
//! works on it, over the client of the protocol `content`; [`undo`] takes back one's own edits only, [`marks`] shows what
//! changed under a draft. Thin shells carry it out: [`Document`] is a desk with its surroundings,
//! [`DocumentView`] draws it in any egui program, [`Line`] has the connection, [`KeptFile`] writes down what is not sent yet, and [`app`] is the window of `syncline-desktop`.

#![forbid(unsafe_code)]

pub mod app;
mod desk;
mod document;
mod editor_text;
mod kept_file;
mod line;
pub mod marks;
pub mod undo;
pub mod widget;

pub use desk::{Connection, Desk, DeskInput, DeskOutput, Mode, Standing};
pub use document::{Carrier, Document};
pub use kept_file::{KeptFile, state_dir};
pub use line::Line;
pub use widget::DocumentView;
