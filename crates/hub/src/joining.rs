//! Two documents created independently at one path become one (docs/decisions/0008). Only the hub that others dial
//! does this, one join at a time per path.

use std::sync::PoisonError;
use std::time::Duration;
use syncline_engine::catalogue::{DocId, Field, Joined, Kind};
use syncline_engine::{Edit, Heads, Meta, diff};
use syncline_store::Record;

use crate::document::{Command, Request, TextAt};
use crate::error::HubError;
use crate::event::HubEvent;
use crate::hub::Hub;
use crate::mirror::union_edits;

/// How long the loser's events may take to arrive after its catalogue entry.
const ARRIVAL: Duration = Duration::from_secs(3);

/// Makes one of two documents at one path, or gives the greater another name.
pub(crate) async fn resolve(hub: Hub, path: String, survivor: DocId, loser: DocId) {
    wait_for_events(&hub, survivor).await;
    wait_for_events(&hub, loser).await;
    let _one = hub.0.joins.lock().await;
    let both_text = {
        let catalogue = hub.catalogue();
        let still = catalogue.at(&path);
        if !(still.contains(&survivor) && still.contains(&loser)) {
            return;
        }
        let text = |doc| catalogue.get(doc).and_then(|entry| entry.kind()) == Some(&Kind::Text);
        let created = |doc: &DocId| created_here(&catalogue, doc);
        text(&survivor) && text(&loser) && created(&survivor) && created(&loser)
    };
    let done = if both_text { join(&hub, survivor, loser).await } else { rename(&hub, &path, loser).await };
    match done {
        Ok(renamed) if renamed.is_empty() => hub.tell(HubEvent::Joined { path }),
        Ok(renamed) => hub.tell(HubEvent::Clash { path, renamed }),
        Err(error) => hub.tell(HubEvent::Trouble { path, what: error.to_string() }),
    }
}

/// Of documents whose names are one name on this folder's disk, all but the first get another one: both files are
/// kept, and no half of a rename is carried out. Every hub whose disk is like this decides the same.
pub(crate) async fn part_twins(hub: Hub, path: String) {
    let _one = hub.0.joins.lock().await;
    let newcomers = hub.0.twins.newcomers(&hub.catalogue(), &path);
    for (at, doc) in newcomers {
        match rename(&hub, &at, doc).await {
            Ok(renamed) => hub.tell(HubEvent::Clash { path: at, renamed }),
            Err(error) => hub.tell(HubEvent::Trouble { path: at, what: error.to_string() }),
        }
    }
}

/// Whether the document was made at its path (and not renamed to it later): its path and its kind were then
/// written one after the other.
fn created_here(catalogue: &syncline_engine::catalogue::Catalogue, doc: &DocId) -> bool {
    let stamps = catalogue.get(doc).and_then(|entry| Some((entry.stamp(1)?, entry.stamp(3)?)));
    stamps.is_some_and(|(path, kind)| path.agent == kind.agent && path.seq + 1 == kind.seq)
}

/// A catalogue entry may come before the text it is about; a text that is really empty has nothing to lose.
async fn wait_for_events(hub: &Hub, doc: DocId) {
    let mut changes = hub.changes();
    let arrived = async {
        while hub.heads_of(doc).is_root() {
            changes.next().await;
        }
    };
    let _ = tokio::time::timeout(ARRIVAL, arrived).await;
}

async fn text(hub: &Hub, doc: DocId) -> Result<TextAt, HubError> {
    hub.ask(doc, |reply| Command::Text { reply }).await
}

fn meta(hub: &Hub) -> Meta {
    Meta { author: hub.0.author.clone(), channel: "join".into(), time_ms: hub.now_ms() }
}

async fn join(hub: &Hub, survivor: DocId, loser: DocId) -> Result<String, HubError> {
    let (ours, theirs) = (text(hub, survivor).await?, text(hub, loser).await?);
    let edits = union_edits(&ours.text, &theirs.text);
    let heads = enter(hub, survivor, ours, edits).await?;
    let joined = Joined { into: survivor, loser_at: theirs.heads, union_at: heads };
    hub.write_catalogue(vec![(loser, Field::Joined(joined))], Vec::new()).await?;
    Ok(String::new())
}

/// Enters edits at a version; gives the version of the result.
async fn enter(hub: &Hub, doc: DocId, at: TextAt, edits: Vec<Edit>) -> Result<Heads, HubError> {
    if edits.is_empty() {
        return Ok(at.heads);
    }
    let meta = meta(hub);
    let edited = hub
        .ask(doc, |reply| Command::Edit { version: at.version, edits, meta, request: None, reply })
        .await?;
    Ok(edited.heads)
}

async fn rename(hub: &Hub, path: &str, loser: DocId) -> Result<String, HubError> {
    let renamed = suffixed(path, loser);
    hub.write_catalogue(vec![(loser, Field::Path(renamed.clone()))], Vec::new()).await?;
    Ok(renamed)
}

/// `notes.txt` -> `notes.~1a2b3c4d.txt`: the same on whichever hub decides.
fn suffixed(path: &str, doc: DocId) -> String {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
    let suffix = &doc.to_string()[..8];
    let name = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => format!("{stem}.~{suffix}.{extension}"),
        _ => format!("{name}.~{suffix}"),
    };
    if folder.is_empty() { name } else { format!("{folder}/{name}") }
}

/// Passes on what still arrives for a document that was joined into another: only its changes since then.
pub(crate) async fn follow(hub: Hub, loser: DocId) {
    if !hub.0.following.lock().unwrap_or_else(PoisonError::into_inner).insert(loser) {
        // One follower for each; it reads the marker anew each time.
        return;
    }
    let mut changes = hub.changes();
    loop {
        let joined = {
            let catalogue = hub.catalogue();
            catalogue.get(&loser).and_then(|entry| entry.joined().cloned())
        };
        let Some(joined) = joined else {
            hub.0.following.lock().unwrap_or_else(PoisonError::into_inner).remove(&loser);
            return;
        };
        if hub.heads_of(loser) != joined.loser_at {
            match pass_on(&hub, loser, &joined).await {
                // More may have come meanwhile.
                Ok(()) if hub.heads_of(loser) != joined.loser_at => continue,
                Ok(()) => {}
                Err(error) => {
                    hub.tell(HubEvent::Trouble { path: loser.to_string(), what: error.to_string() })
                }
            }
        }
        tokio::select! {
            biased;
            () = hub.closed() => return,
            _ = changes.next() => {}
        }
    }
}

async fn pass_on(hub: &Hub, loser: DocId, joined: &Joined) -> Result<(), HubError> {
    let now = text(hub, loser).await?;
    if now.heads == joined.loser_at {
        return Ok(());
    }
    // The edit and the marker are two commits. With the edit it is recorded how far it carries, so that after
    // a kill between the two it is asked for again, which its key makes the same edit.
    let name = format!("carried {loser}");
    let mut key = b"carry ".to_vec();
    key.extend(loser.0);
    key.extend(joined.loser_at.encode());
    let (wanted, read_key) = (name.clone(), key.clone());
    let carried = hub
        .read_journal(move |reader| Ok(reader.request(&read_key)?.and(reader.setting(&wanted)?)))
        .await?
        .and_then(|heads| Heads::decode(&heads).ok());
    let now = match carried {
        Some(heads) => hub.ask(loser, |reply| Command::TextAt { heads, reply }).await?,
        None => now,
    };
    let loser_at = now.heads;
    let then = hub.ask(loser, |reply| Command::TextAt { heads: joined.loser_at.clone(), reply }).await?;
    let union =
        hub.ask(joined.into, |reply| Command::TextAt { heads: joined.union_at.clone(), reply }).await?;
    let edits = carry_over(&diff(&then.text, &now.text), &diff(&then.text, &union.text));
    let union_at = if edits.is_empty() {
        union.heads
    } else {
        let records = vec![Record::Setting { name, value: loser_at.encode() }];
        let (version, meta, request) = (union.version, meta(hub), Some(Request { key, records }));
        let edited =
            hub.ask(joined.into, |reply| Command::Edit { version, edits, meta, request, reply }).await?;
        edited.heads
    };
    let joined = Joined { into: joined.into, loser_at, union_at };
    hub.write_catalogue(vec![(loser, Field::Joined(joined))], Vec::new()).await
}

/// Carries edits of one text over to another, of which `to` is the difference from the first: insertions go
/// to the corresponding place, deletions take only characters that the other text has too.
fn carry_over(edits: &[Edit], to: &[Edit]) -> Vec<Edit> {
    let mut out = Vec::new();
    for edit in edits {
        // The parts of the edit's range that lie between the changes of `to`.
        let mut shift = 0isize;
        let mut at = edit.range.start;
        let mut place = None;
        for change in to {
            if change.range.start >= edit.range.end.max(edit.range.start + 1) {
                break;
            }
            if at < change.range.start {
                let end = edit.range.end.min(change.range.start);
                place.get_or_insert((at as isize + shift) as usize);
                if end > at {
                    out.push(Edit::delete((at as isize + shift) as usize..(end as isize + shift) as usize));
                }
            }
            shift += change.insert.chars().count() as isize - change.range.len() as isize;
            at = at.max(change.range.end);
        }
        let here = (at as isize + shift) as usize;
        if at < edit.range.end {
            out.push(Edit::delete(here..(edit.range.end as isize + shift) as usize));
        }
        if !edit.insert.is_empty() {
            let place = place.unwrap_or(here);
            let before = out.iter().rposition(|other| other.range.start < place).map_or(0, |index| index + 1);
            out.insert(before, Edit::insert(place, edit.insert.clone()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_engine::{apply_to_str, check_batch};

    #[test]
    fn later_changes_reach_the_union() {
        let (then, union) = ("a\nb\nc\n", "x\na\nb\ny\nc\n");
        for (now, expected) in [
            ("a\nB\nc\n", "x\na\nB\ny\nc\n"),
            ("a\nc\n", "x\na\ny\nc\n"),
            ("new\na\nb\nc\nend\n", "x\nnew\na\nb\ny\nc\nend\n"),
            ("a\nb\nc\n", union),
        ] {
            let edits = carry_over(&diff(then, now), &diff(then, union));
            assert!(check_batch(&edits, union.chars().count()).is_ok(), "{edits:?}");
            assert_eq!(apply_to_str(union, &edits), expected, "{now:?}");
        }
    }

    #[test]
    fn clashing_names() {
        let doc = DocId([0x1a; 16]);
        assert_eq!(suffixed("notes.txt", doc), "notes.~1a1a1a1a.txt");
        assert_eq!(suffixed("a.b/Makefile", doc), "a.b/Makefile.~1a1a1a1a");
        assert_eq!(suffixed(".profile", doc), ".profile.~1a1a1a1a");
    }
}
