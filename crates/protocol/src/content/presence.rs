//! Who else is here, and where their cursors are.

use serde::{Deserialize, Serialize};
use syncline_engine::Edit;

use crate::error::ProtocolError;
use crate::json::bad;

/// Where a client's cursor is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Marks {
    /// The version of the text that the positions are in.
    pub version: String,
    /// Where the cursor is; `None`: nowhere.
    pub cursor: Option<usize>,
    /// The other end of the selection, if something is selected.
    pub anchor: Option<usize>,
}

/// Another session of the same document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Present {
    /// The same for one connection as long as it stands, and never another's.
    pub id: u64,
    /// How it named itself; may be empty.
    pub name: String,
    /// In what colour it wants to be seen: `#rrggbb`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// Where its cursor is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<usize>,
    /// The other end of its selection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<usize>,
}

impl Present {
    /// Its positions in the text after these edits.
    pub fn shift(&mut self, edits: &[Edit]) {
        for position in [&mut self.cursor, &mut self.anchor].into_iter().flatten() {
            *position = shifted(*position, edits);
        }
    }
}

/// Where a position of a text is after a batch of edits (both in scalars). What is inserted at it stands before it: whoever
/// typed there has their cursor behind what they typed. A position inside what was taken out is behind what was put
/// there.
pub fn shifted(position: usize, edits: &[Edit]) -> usize {
    let mut shift = 0isize;
    for edit in edits {
        let inserted = edit.insert.chars().count();
        if edit.range.start > position {
            break;
        }
        if edit.range.end > position {
            return (edit.range.start + inserted).saturating_add_signed(shift);
        }
        shift += inserted as isize - edit.range.len() as isize;
    }
    position.saturating_add_signed(shift)
}

/// Where a position of the text after a batch was before it; what was put in is at the place where it was put.
pub fn unshifted(position: usize, edits: &[Edit]) -> usize {
    let mut shift = 0isize;
    for edit in edits {
        let inserted = edit.insert.chars().count();
        let start = edit.range.start.saturating_add_signed(shift);
        if position <= start {
            break;
        }
        if position <= start + inserted {
            return edit.range.end;
        }
        shift += inserted as isize - edit.range.len() as isize;
    }
    position.saturating_add_signed(-shift)
}

/// Whether this is a colour.
pub(super) fn check_color(color: &str) -> Result<(), ProtocolError> {
    let digits = color.strip_prefix('#').unwrap_or_default();
    if digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(())
    } else {
        Err(bad("a color that is not of the form #rrggbb"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_move_with_the_text() {
        let edits = [Edit::insert(2, "xy"), Edit { range: 4..6, insert: "z".into() }];
        let places: Vec<usize> = (0..9).map(|at| shifted(at, &edits)).collect();
        assert_eq!(places, [0, 1, 4, 5, 7, 7, 7, 8, 9]);
    }

    #[test]
    fn positions_move_back() {
        let edits = [Edit::insert(2, "xy"), Edit { range: 4..6, insert: "z".into() }];
        let places: Vec<usize> = (0..10).map(|at| unshifted(at, &edits)).collect();
        assert_eq!(places, [0, 1, 2, 2, 2, 3, 4, 6, 7, 8]);
    }

    #[test]
    fn a_color_is_six_digits() {
        assert!(check_color("#00ffAA").is_ok());
        for bad in ["", "red", "#fff", "#00ffA\u{e4}", "00ffaa", "#00ffaaa"] {
            assert!(check_color(bad).is_err(), "{bad}");
        }
    }
}
