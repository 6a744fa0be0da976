//! In what positions are counted, and how they are converted.

/// What a client counts positions in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Unicode scalar values, as everything here does inside.
    Scalar,
    /// UTF-16 units (JavaScript, Java, C#).
    Utf16,
    /// Bytes of UTF-8 (Go, Rust, C).
    Utf8,
}

impl Unit {
    /// The unit of that name.
    pub fn of(name: &str) -> Option<Unit> {
        [Unit::Scalar, Unit::Utf16, Unit::Utf8].into_iter().find(|unit| unit.name() == name)
    }

    /// How it is written.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Scalar => "scalar",
            Unit::Utf16 => "utf16",
            Unit::Utf8 => "utf8",
        }
    }

    /// How many of it a character takes.
    pub fn width(self, character: char) -> usize {
        match self {
            Unit::Scalar => 1,
            Unit::Utf16 => character.len_utf16(),
            Unit::Utf8 => character.len_utf8(),
        }
    }

    /// How many of it a text takes.
    pub fn length(self, text: &str) -> usize {
        match self {
            Unit::Utf8 => text.len(),
            _ => text.chars().map(|character| self.width(character)).sum(),
        }
    }
}

/// Positions in a text, from one unit to another, in any order. `None` if one lies beyond the end or inside a
/// character. Costs the text up to the last of them, once.
pub fn converted(text: &str, from: Unit, to: Unit, positions: &[usize]) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = (0..positions.len()).collect();
    order.sort_unstable_by_key(|&index| positions[index]);
    let mut out = vec![0; positions.len()];
    let (mut at, mut place) = (0, 0);
    let mut characters = text.chars();
    for index in order {
        while at < positions[index] {
            let character = characters.next()?;
            at += from.width(character);
            place += to.width(character);
        }
        if at != positions[index] {
            return None;
        }
        out[index] = place;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_position_is_inside_a_character_or_beyond_the_end() {
        let text = "a\u{e4}\u{1f600}z";
        assert_eq!(converted(text, Unit::Utf8, Unit::Scalar, &[8, 0, 3]), Some(vec![4, 0, 2]));
        assert_eq!(converted(text, Unit::Utf8, Unit::Scalar, &[2]), None);
        assert_eq!(converted(text, Unit::Utf16, Unit::Scalar, &[3]), None);
        assert_eq!(converted(text, Unit::Utf16, Unit::Utf8, &[4, 5]), Some(vec![7, 8]));
        assert_eq!(converted(text, Unit::Scalar, Unit::Utf16, &[5]), None);
    }

    proptest! {
        #[test]
        fn there_and_back_is_the_same(text in "[a\u{e4}\u{1f600}]{0,12}", seed in proptest::collection::vec(0usize..12, 0..5)) {
            let length = Unit::Scalar.length(&text);
            let positions: Vec<usize> = seed.iter().map(|at| at % (length + 1)).collect();
            for unit in [Unit::Scalar, Unit::Utf16, Unit::Utf8] {
                let there = converted(&text, Unit::Scalar, unit, &positions).unwrap();
                prop_assert_eq!(converted(&text, unit, Unit::Scalar, &there), Some(positions.clone()));
            }
        }
    }
}
