//! A text that knows its checksum, of which older states stay at hand.
//!
//! A balanced tree whose leaves are short pieces of the text and whose nodes know the length and the checksum
//! of what is below them. Nodes never change: an edit makes new ones along its path and shares the rest, so a
//! shadow is one pointer into what all shadows of a document have in common, an edit costs what it changes and
//! the height of the tree, and the checksum of every state is known. Trying an edit out costs nothing that
//! must be undone: that is how a request is verified before anything is entered.

use std::sync::Arc;

use syncline_engine::{Edit, EditError, byte_offset, check_batch};

use super::checksum::{Sum, Summed};

/// The most bytes in a leaf. In tests as few as can be, so that every case of the tree occurs.
const LEAF: usize = if cfg!(test) { 8 } else { 1024 };

/// A text with its checksum. Cloning copies a pointer.
#[derive(Clone, Debug)]
pub struct SummedText {
    root: Option<Arc<Node>>,
}

#[derive(Debug)]
struct Node {
    summed: Summed,
    /// Scalars below here.
    chars: usize,
    /// 0 for a leaf.
    height: u8,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Leaf(Box<str>),
    Branch(Arc<Node>, Arc<Node>),
}

impl From<&str> for SummedText {
    fn from(text: &str) -> SummedText {
        SummedText { root: build(text) }
    }
}

impl SummedText {
    /// The empty text.
    pub fn new() -> SummedText {
        SummedText { root: None }
    }

    /// The checksum.
    pub fn sum(&self) -> Sum {
        self.root.as_ref().map_or(Summed::EMPTY, |root| root.summed).sum()
    }

    /// The length in Unicode scalar values.
    pub fn chars(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.chars)
    }

    /// The length in bytes of UTF-8.
    pub fn bytes(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.summed.sum().bytes as usize)
    }

    /// The text after a batch of edits: sorted, not overlapping, in scalars of this text.
    ///
    /// # Errors
    /// What is wrong with the batch.
    pub fn edited(&self, edits: &[Edit]) -> Result<SummedText, EditError> {
        check_batch(edits, self.chars())?;
        let mut root = self.root.clone();
        // From the end on: what stands before keeps its place.
        for edit in edits.iter().rev() {
            root = replaced(root, edit.range.start, edit.range.end, &edit.insert);
        }
        Ok(SummedText { root })
    }

    /// The pieces of the text, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        let mut open: Vec<&Node> = self.root.as_deref().into_iter().collect();
        std::iter::from_fn(move || {
            loop {
                match &open.pop()?.content {
                    Content::Leaf(text) => return Some(&**text),
                    Content::Branch(left, right) => {
                        open.push(right);
                        open.push(left);
                    }
                }
            }
        })
    }

    /// A part, in scalars; what lies beyond the end is left out.
    pub fn slice(&self, range: std::ops::Range<usize>) -> String {
        let mut out = String::new();
        if let Some(root) = &self.root {
            collect(root, range.start, range.end, &mut out);
        }
        out
    }
}

impl Default for SummedText {
    fn default() -> Self {
        SummedText::new()
    }
}

impl std::fmt::Display for SummedText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.pieces().try_for_each(|piece| f.write_str(piece))
    }
}

impl PartialEq<str> for SummedText {
    fn eq(&self, other: &str) -> bool {
        let mut rest = other.as_bytes();
        self.bytes() == rest.len()
            && self.pieces().all(|piece| {
                let (head, tail) = rest.split_at(piece.len());
                rest = tail;
                head == piece.as_bytes()
            })
    }
}

fn leaf(text: &str) -> Arc<Node> {
    let chars = text.chars().count();
    Arc::new(Node { summed: Summed::of(text), chars, height: 0, content: Content::Leaf(text.into()) })
}

fn branch(left: Arc<Node>, right: Arc<Node>) -> Arc<Node> {
    Arc::new(Node {
        summed: left.summed.then(right.summed),
        chars: left.chars + right.chars,
        height: left.height.max(right.height) + 1,
        content: Content::Branch(left, right),
    })
}

/// A balanced tree over a text.
fn build(text: &str) -> Option<Arc<Node>> {
    if text.is_empty() {
        return None;
    }
    if text.len() <= LEAF {
        return Some(leaf(text));
    }
    let mut middle = text.len() / 2;
    while !text.is_char_boundary(middle) {
        middle += 1;
    }
    let (left, right) = text.split_at(middle);
    join(build(left), build(right))
}

/// One tree of two, balanced as an AVL tree is: the heights of siblings differ by at most one.
fn join(left: Option<Arc<Node>>, right: Option<Arc<Node>>) -> Option<Arc<Node>> {
    let (left, right) = match (left, right) {
        (None, other) | (other, None) => return other,
        (Some(left), Some(right)) => (left, right),
    };
    Some(join_nodes(left, right))
}

fn join_nodes(left: Arc<Node>, right: Arc<Node>) -> Arc<Node> {
    if let (Content::Leaf(a), Content::Leaf(b)) = (&left.content, &right.content)
        && a.len() + b.len() <= LEAF
    {
        return leaf(&format!("{a}{b}"));
    }
    if left.height > right.height + 1
        && let Content::Branch(a, b) = &left.content
    {
        return balanced(a.clone(), join_nodes(b.clone(), right));
    }
    if right.height > left.height + 1
        && let Content::Branch(a, b) = &right.content
    {
        return balanced(join_nodes(left, a.clone()), b.clone());
    }
    branch(left, right)
}

/// A branch of two trees whose heights differ by at most two.
fn balanced(left: Arc<Node>, right: Arc<Node>) -> Arc<Node> {
    if left.height > right.height + 1
        && let Content::Branch(a, b) = &left.content
    {
        if a.height >= b.height {
            return branch(a.clone(), branch(b.clone(), right));
        }
        if let Content::Branch(b1, b2) = &b.content {
            return branch(branch(a.clone(), b1.clone()), branch(b2.clone(), right));
        }
    }
    if right.height > left.height + 1
        && let Content::Branch(a, b) = &right.content
    {
        if b.height >= a.height {
            return branch(branch(left, a.clone()), b.clone());
        }
        if let Content::Branch(a1, a2) = &a.content {
            return branch(branch(left, a1.clone()), branch(a2.clone(), b.clone()));
        }
    }
    branch(left, right)
}

/// The tree with `start..end` (scalars, within it) replaced by `text`.
fn replaced(node: Option<Arc<Node>>, start: usize, end: usize, text: &str) -> Option<Arc<Node>> {
    let Some(node) = node else { return build(text) };
    if start == 0 && end == node.chars {
        return build(text);
    }
    match &node.content {
        Content::Leaf(old) => {
            let from = byte_offset(old, start);
            let to = from + byte_offset(&old[from..], end - start);
            let whole = [&old[..from], text, &old[to..]].concat();
            build(&whole)
        }
        Content::Branch(left, right) => {
            let (left, right, middle) = (left.clone(), right.clone(), left.chars);
            if end <= middle {
                join(replaced(Some(left), start, end, text), Some(right))
            } else if start >= middle {
                join(Some(left), replaced(Some(right), start - middle, end - middle, text))
            } else {
                let left = replaced(Some(left), start, middle, text);
                join(left, replaced(Some(right), 0, end - middle, ""))
            }
        }
    }
}

fn collect(node: &Node, start: usize, end: usize, out: &mut String) {
    let end = end.min(node.chars);
    if start >= end {
        return;
    }
    match &node.content {
        Content::Leaf(text) => {
            let from = byte_offset(text, start);
            let to = from + byte_offset(&text[from..], end - start);
            out.push_str(&text[from..to]);
        }
        Content::Branch(left, right) => {
            collect(left, start, end, out);
            collect(right, start.saturating_sub(left.chars), end.saturating_sub(left.chars), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use syncline_engine::apply_to_str;

    use super::*;

    /// Checks the whole tree and gives its height.
    fn height(node: &Node) -> u8 {
        match &node.content {
            Content::Leaf(text) => {
                assert!(!text.is_empty() && text.len() <= LEAF + 3);
                assert_eq!((node.height, node.chars), (0, text.chars().count()));
            }
            Content::Branch(left, right) => {
                let (a, b) = (height(left), height(right));
                assert!(a.abs_diff(b) <= 1, "out of balance: {a} and {b}");
                assert_eq!(node.height, a.max(b) + 1);
            }
        }
        node.height
    }

    fn check(text: &SummedText, expected: &str) {
        assert_eq!(text.to_string(), expected);
        assert!(*text == *expected);
        assert_eq!((text.sum(), text.chars()), (Sum::of(expected), expected.chars().count()));
        if let Some(root) = &text.root {
            height(root);
        }
    }

    proptest! {
        /// Against a `String`; and the states before stay what they were.
        #[test]
        fn edits_do_to_it_what_they_do_to_a_string(
            start in "[a-dé🌍]{0,60}",
            steps in proptest::collection::vec(
                proptest::collection::vec((0usize..40, 0usize..30, "[A-Cü🌱]{0,20}"), 0..4), 0..12),
        ) {
            let mut states = vec![(SummedText::from(start.as_str()), start)];
            for step in steps {
                let (text, string) = states.last().cloned().unwrap();
                let (mut at, mut edits) = (0, Vec::new());
                for (skip, delete, insert) in step {
                    let start = (at + skip).min(text.chars());
                    let end = (start + delete).min(text.chars());
                    edits.push(Edit { range: start..end, insert });
                    at = end;
                }
                states.push((text.edited(&edits).unwrap(), apply_to_str(&string, &edits)));
            }
            for (text, string) in &states {
                check(text, string);
            }
        }

        #[test]
        fn a_part_is_the_strings_part(text in "[a-dé🌍]{0,60}", start in 0usize..70, len in 0usize..70) {
            let part: String = text.chars().skip(start).take(len).collect();
            prop_assert_eq!(SummedText::from(text.as_str()).slice(start..start + len), part);
        }
    }

    #[test]
    fn a_batch_that_does_not_fit_is_refused() {
        let text = SummedText::from("aé");
        assert!(text.edited(&[Edit::delete(1..3)]).is_err());
        assert!(text.edited(&[Edit::insert(2, "x"), Edit::insert(1, "y")]).is_err());
        check(&text.edited(&[Edit::delete(1..2)]).unwrap(), "a");
    }

    #[test]
    fn typing_into_a_long_text_keeps_it_balanced() {
        let mut text = SummedText::new();
        for number in 0..3_000usize {
            let at = number * 7_919 % (text.chars() + 1);
            text = text.edited(&[Edit::insert(at, "xy")]).unwrap();
        }
        assert!(height(text.root.as_ref().unwrap()) <= 16, "6,000 bytes in leaves of at most 8");
    }
}
