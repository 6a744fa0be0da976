//! `syncline conflicts`: where two people changed one place, who won, and what the other had written.

use serde_json::{Value, json};
use syncline_engine::{Conflict, Version};
use syncline_hub::conflict_id;

use crate::args::Whose;
use crate::control::{ask_at, show};
use crate::failure::Failure;
use crate::history::{Place, for_each};
use crate::report::{json_line, moment_of, safe};

/// How much of a lost text a person is shown.
const SHOWN: usize = 60;

/// Lists a file's conflicts, oldest first, or restores what was lost in one.
pub async fn run(whose: &Whose, restore: Option<&str>, json: bool) -> Result<(), Failure> {
    let places = Place::all_of(whose)?;
    let Some(id) = restore else {
        return for_each(&places, json, |place| list(place, whose, json));
    };
    // A conflict is the same for everybody: any copy whose hub runs will do, and the others get it from there.
    let mut answer = None;
    for place in &places {
        let question = json!({"command": "reinstate", "path": place.file()?, "conflict": id});
        answer = ask_at(&place.state, question).await;
        if answer.is_some() {
            break;
        }
    }
    show(answer, &format!("what was lost in {id} is in {} again", whose.file.display()), json)
}

fn list(place: &Place, whose: &Whose, json: bool) -> Result<(), Failure> {
    let conflicts = place.read()?.conflicts_since(&Version::root());
    if json {
        conflicts.iter().for_each(|conflict| json_line(&as_json(conflict, place)));
    } else if conflicts.is_empty() {
        let file = whose.file.display();
        println!("Nobody changed the same place of {file} without knowing of each other.");
    } else {
        conflicts.iter().for_each(|conflict| println!("{}", as_text(conflict)));
    }
    Ok(())
}

fn as_json(conflict: &Conflict, place: &Place) -> Value {
    let Conflict { winner, loser } = conflict;
    json!({
        "id": conflict_id(loser), "winner": winner.author, "winner_ms": winner.time_ms,
        "loser": loser.author, "loser_ms": loser.time_ms, "won": winner.inserted, "lost": loser.inserted,
        "both_stand": loser.standing > 0, "at": loser.at, "user": place.user,
    })
}

fn as_text(conflict: &Conflict) -> String {
    let Conflict { winner, loser } = conflict;
    let time = moment_of(winner.time_ms);
    let (won, lost) = (safe(&winner.author), safe(&loser.author));
    if loser.inserted.is_empty() {
        return format!("{time}  {won} after {lost}, who only took something out");
    }
    let mut text: String = loser.inserted.chars().take(SHOWN).collect();
    if text.len() < loser.inserted.len() {
        text.push('…');
    }
    let text = safe(&text.replace('\n', "⏎"));
    match loser.standing {
        0 => format!("{time}  {won} won over {lost}; lost: \"{text}\"  (--restore {})", conflict_id(loser)),
        _ => format!("{time}  {won} after {lost}; both stand: \"{text}\""),
    }
}
