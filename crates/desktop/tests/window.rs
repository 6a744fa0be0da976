//! The window, driven as a person drives it, over a channel that is only a list.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use eframe::egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use serde_json::{Value, json};
use syncline_desktop::app::{App, Beginning};
use syncline_desktop::{Carrier, Desk, Document, Mode};
use syncline_net::{LineEvent, LineOrder};
use syncline_protocol::content::{Greeting, Unit};

/// The other end of the window's line.
#[derive(Clone, Default)]
struct Hub(Rc<RefCell<Wires>>);

#[derive(Default)]
struct Wires {
    up: VecDeque<Value>,
    down: VecDeque<LineEvent>,
}

impl Carrier for Hub {
    fn take(&mut self) -> Option<LineEvent> {
        self.0.borrow_mut().down.pop_front()
    }

    fn order(&mut self, order: LineOrder) {
        if let LineOrder::Send { text, .. } = order {
            self.0.borrow_mut().up.push_back(serde_json::from_str(&text).unwrap());
        }
    }
}

impl Hub {
    fn event(&self, event: LineEvent) {
        self.0.borrow_mut().down.push_back(event);
    }

    fn say(&self, message: Value) {
        self.event(LineEvent::Received(message.to_string()));
    }

    fn content(&self, text: &str, version: &str) {
        self.say(json!({"type": "content_update", "content": text, "version": version, "document": "a.txt"}));
    }

    fn update(&self, base: &str, version: &str, edits: Value, request_id: Option<&Value>) {
        self.say(json!({
            "type": "edit_update", "base": base, "version": version, "edits": edits, "request_id": request_id}));
    }

    /// The edits that the window has sent since this was asked last.
    fn requests(&self) -> Vec<Value> {
        let messages: Vec<Value> = self.0.borrow_mut().up.drain(..).collect();
        messages.into_iter().filter(|message| message["type"] == "edit_request").collect()
    }

    /// A connection stands, and the text comes.
    fn open(&self, text: &str, version: &str) {
        self.event(LineEvent::Connected { line: 1 });
        self.content(text, version);
    }
}

/// A window in front of somebody; the hub has sent it a text.
fn window(mode: Mode, text: &str) -> (Harness<'static, App>, Hub) {
    let hub = Hub::default();
    let greeting = Greeting {
        token: None,
        document: None,
        name: "ann".into(),
        color: None,
        unit: Unit::Scalar,
        nonce: "n".into(),
    };
    let document = Document::with(Desk::new(greeting, mode, None), Box::new(hub.clone()));
    let beginning = Beginning { name: "ann".into(), mode, font_size: 14.0, json: false };
    let app = App::with(document, beginning);
    let builder = Harness::builder().with_size([1000.0, 600.0]).with_max_steps(64).with_step_dt(0.01);
    let mut window = builder.build_eframe(|_| app);
    hub.open(text, "v1");
    steps(&mut window);
    (window, hub)
}

/// Lets the window draw until nothing moves; a blinking cursor is no movement.
fn steps(window: &mut Harness<'static, App>) {
    window.run_steps(4);
}

fn typed(window: &mut Harness<'static, App>, text: &str) {
    window.get_by_label("Editor").type_text(text);
    steps(window);
}

fn pressed(window: &mut Harness<'static, App>, modifiers: Modifiers, key: Key) {
    window.key_press_modifiers(modifiers, key);
    steps(window);
}

fn text(window: &Harness<'static, App>) -> String {
    window.state().document().desk().text().to_owned()
}

fn shared(window: &Harness<'static, App>) -> String {
    window.state().document().desk().shared().to_owned()
}

fn to_end(window: &mut Harness<'static, App>) {
    pressed(window, Modifiers::COMMAND, Key::End);
}

#[test]
fn a_draft_is_typed_and_uploaded() {
    let (mut window, hub) = window(Mode::Draft, "one two");
    to_end(&mut window);
    typed(&mut window, " three");
    assert_eq!((text(&window).as_str(), shared(&window).as_str()), ("one two three", "one two"));
    assert!(hub.requests().is_empty(), "a draft is not shared");
    window.get_by_label_contains("Draft, not uploaded");
    window.get_by_label("Upload").click();
    steps(&mut window);
    let request = hub.requests().remove(0);
    assert_eq!((&request["base"], &request["edits"][0]["insert"]), (&json!("v1"), &json!(" three")));
    window.get_by_label("Sending");
    assert!(window.query_by_label("Saved").is_none(), "nothing is saved before the hub says so");
    hub.update("v1+", "v2", json!([]), Some(&request["request_id"]));
    steps(&mut window);
    window.get_by_label("Saved");
    assert_eq!(shared(&window), "one two three");
}

#[test]
fn a_draft_is_moved_under_what_others_change_and_that_is_marked() {
    let (mut window, hub) = window(Mode::Draft, "one two");
    to_end(&mut window);
    typed(&mut window, "!");
    hub.update("v1", "v2", json!([{"at": 0, "insert": "zero "}]), None);
    steps(&mut window);
    assert_eq!((text(&window).as_str(), shared(&window).as_str()), ("zero one two!", "zero one two"));
    assert_eq!(window.state().document().desk().marks()[0].range, 0..5);
    // The cursor has moved with the text.
    typed(&mut window, "?");
    assert_eq!(text(&window), "zero one two!?");
    pressed(&mut window, Modifiers::COMMAND, Key::Enter);
    let request = hub.requests().remove(0);
    assert_eq!((&request["base"], &request["edits"][0]["at"]), (&json!("v2"), &json!(12)));
}

#[test]
fn live_keys_are_shared_at_once_and_only_ones_own_are_taken_back() {
    let (mut window, hub) = window(Mode::Live, "one");
    to_end(&mut window);
    typed(&mut window, "a");
    let request = hub.requests().remove(0);
    assert_eq!(request["edits"], json!([{"at": 3, "delete": 0, "insert": "a"}]));
    typed(&mut window, "b");
    assert!(hub.requests().is_empty(), "one request at a time");
    hub.update("v1+", "v2", json!([{"at": 0, "insert": "theirs "}]), Some(&request["request_id"]));
    steps(&mut window);
    let request = hub.requests().remove(0);
    assert_eq!((text(&window).as_str(), &request["edits"][0]["at"]), ("theirs oneab", &json!(11)));
    hub.update("v2+", "v3", json!([]), Some(&request["request_id"]));
    steps(&mut window);
    pressed(&mut window, Modifiers::COMMAND, Key::Z);
    assert_eq!(text(&window), "theirs one");
    pressed(&mut window, Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    assert_eq!(text(&window), "theirs oneab");
}

#[test]
fn what_is_typed_offline_is_told_to_wait_and_is_sent_after_the_reconnect() {
    let (mut window, hub) = window(Mode::Live, "one");
    hub.event(LineEvent::Lost { why: "the cable is out".into(), retry_in: Duration::from_secs(1) });
    steps(&mut window);
    to_end(&mut window);
    typed(&mut window, " offline");
    assert!(hub.requests().is_empty());
    window.get_by_label_contains("the cable is out");
    window.get_by_label_contains("Not saved");
    assert_eq!(text(&window), "one offline");
    hub.event(LineEvent::Connected { line: 2 });
    hub.content("ONE", "v5");
    steps(&mut window);
    let request = hub.requests().remove(0);
    assert_eq!(
        (&request["base"], &request["edits"][0]["at"]),
        (&json!("v1"), &json!(3)),
        "at the version it was made at"
    );
    hub.update("v1+", "v6", json!([{"at": 0, "delete": 3, "insert": "ONE"}]), Some(&request["request_id"]));
    steps(&mut window);
    assert_eq!(text(&window), "ONE offline");
    window.get_by_label("Saved");
}

#[test]
fn who_may_only_read_keeps_the_text_and_is_told() {
    let (mut window, hub) = window(Mode::Live, "one");
    to_end(&mut window);
    typed(&mut window, "!");
    let request = hub.requests().remove(0);
    hub.say(json!({
        "type": "error", "code": "forbidden", "message": "this token may read and not change",
        "request_id": request["request_id"]}));
    steps(&mut window);
    window.get_by_label_contains("this token may read and not change");
    window.get_by_label_contains("Draft, not uploaded");
    assert_eq!((text(&window).as_str(), shared(&window).as_str()), ("one!", "one"));
}

#[test]
fn the_window_can_be_used_by_keyboard_and_by_ear() {
    let (mut window, hub) = window(Mode::Draft, "one two one");
    hub.say(json!({"type": "documents", "documents": ["a.txt", "b/c.txt"], "more": false}));
    hub.say(json!({
        "type": "presence_update", "version": "v1", "others": [{"id": 1, "name": "bob", "color": "#aa0000", "cursor": 3}]}));
    steps(&mut window);
    for label in
        ["Editor", "Live view", "Upload", "Draft", "Live", "a.txt", "b/c.txt", "Here: bob", "Connected"]
    {
        assert!(window.query_all_by_label(label).next().is_some(), "nothing is called {label}");
    }
    assert!(window.query_all_by_label("Editor").any(|node| node.accesskit_node().is_focused()));
    pressed(&mut window, Modifiers::COMMAND, Key::F);
    window.get_by_label("Find:").type_text("one");
    steps(&mut window);
    pressed(&mut window, Modifiers::NONE, Key::F3);
    pressed(&mut window, Modifiers::NONE, Key::F3);
    pressed(&mut window, Modifiers::NONE, Key::Escape);
    typed(&mut window, "ONE");
    assert_eq!(text(&window), "one two ONE");
    pressed(&mut window, Modifiers::COMMAND, Key::L);
    assert_eq!(window.state().document().desk().mode(), Mode::Live);
    pressed(&mut window, Modifiers::NONE, Key::F1);
    window.get_by_label("Undo your own last edit");
}
