//! Two documents created independently at one path become one (docs/decisions/0008). Only the hub that others dial
//! does this, one join at a time per path.

use std::sync::PoisonError;
use std::time::Duration;
use syncline_engine::catalogue::{DocId, Field, Joined, Kind};
use syncline_engine::{Heads, Meta, diff};
use syncline_store::Record;

use crate::document::{Command, Request, TextAt};
use crate::error::HubError;
use crate::event::HubEvent;
use crate::hub::Hub;
use crate::mirror::{carry_over, union_edits};

/// After so long it is told that a text has not come; one that need not come is waited for no longer.
const LATE: Duration = Duration::from_secs(3);
/// After a failure that may pass (a full disk, a damaged document), the next try.
const RETRY: Duration = Duration::from_secs(5);

/// Makes one of two documents at one path, or gives the greater another name.
pub(crate) async fn resolve(hub: Hub, path: String, survivor: DocId, loser: DocId) {
    let pair = (survivor, loser);
    if !hub.0.resolving.lock().unwrap_or_else(PoisonError::into_inner).insert(pair) {
        return;
    }
    tokio::select! {
        () = hub.closed() => {}
        () = resolve_once_known(&hub, &path, survivor, loser) => {}
    }
    hub.0.resolving.lock().unwrap_or_else(PoisonError::into_inner).remove(&pair);
}

async fn resolve_once_known(hub: &Hub, path: &str, survivor: DocId, loser: DocId) {
    let mut told = false;
    loop {
        for doc in [survivor, loser] {
            wait_for_text(hub, path, doc).await;
        }
        let one = hub.0.joins.lock().await;
        let both_text = {
            let catalogue = hub.catalogue();
            let still = catalogue.at(path);
            if !(still.contains(&survivor) && still.contains(&loser)) {
                return;
            }
            let text = |doc| catalogue.get(doc).and_then(|entry| entry.kind()) == Some(&Kind::Text);
            let created = |doc: &DocId| created_here(&catalogue, doc);
            text(&survivor) && text(&loser) && created(&survivor) && created(&loser)
        };
        let done = if both_text { join(hub, survivor, loser).await } else { rename(hub, path, loser).await };
        let path = path.to_owned();
        match done {
            Ok(renamed) if renamed.is_empty() => return hub.tell(HubEvent::Joined { path }),
            Ok(renamed) => return hub.tell(HubEvent::Clash { path, renamed }),
            Err(error) if !told => hub.tell(HubEvent::Trouble { path, what: error.to_string() }),
            Err(_) => {}
        }
        told = true;
        drop(one);
        tokio::time::sleep(RETRY).await;
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

/// A catalogue entry may come long before the text it is about, over a slow line. Taken for empty meanwhile, the text
/// would be there twice when it comes. Returns when it is there, or the document is at the path no longer.
async fn wait_for_text(hub: &Hub, path: &str, doc: DocId) {
    let mut changes = hub.changes();
    let late = tokio::time::sleep(LATE);
    tokio::pin!(late);
    let mut told = false;
    loop {
        let founded = {
            let catalogue = hub.catalogue();
            let entry = catalogue.get(&doc).filter(|_| catalogue.at(path).contains(&doc));
            let Some(entry) = entry else { return };
            entry.founded().cloned()
        };
        let known = !hub.heads_of(doc).is_root();
        let arrived = match founded {
            Some(heads) if known => hub.ask(doc, |reply| Command::Known { heads, reply }).await.is_ok(),
            Some(_) => false,
            // It began empty, or comes from a hub that does not say with what it began.
            None => known || told,
        };
        if arrived {
            return;
        }
        // Only what comes for this document is worth asking it again, which may have to be loaded for that.
        let came = async { while !changes.next().await.iter().any(|(changed, _)| *changed == doc) {} };
        tokio::select! {
            () = came => {}
            () = &mut late, if !told => {
                told = true;
                if hub.catalogue().get(&doc).is_some_and(|entry| entry.founded().is_some()) {
                    let what = "made on two machines apart; the text of one has not come yet".to_owned();
                    hub.tell(HubEvent::Trouble { path: path.to_owned(), what });
                }
            }
        }
    }
}

async fn text(hub: &Hub, doc: DocId) -> Result<TextAt, HubError> {
    hub.ask(doc, |reply| Command::Text { reply }).await
}

fn meta(hub: &Hub) -> Meta {
    Meta { author: hub.0.author.clone(), channel: "join".into(), time_ms: hub.now_ms() }
}

async fn join(hub: &Hub, survivor: DocId, loser: DocId) -> Result<String, HubError> {
    // The union and the marker are two commits. With the union it is recorded what it is of, so that after a kill
    // between the two it is asked for again, which its key makes the same edit.
    let name = format!("joining {loser}");
    let mut key = b"join ".to_vec();
    key.extend(survivor.0);
    key.extend(loser.0);
    let theirs = match recorded(hub, &key, &name).await? {
        Some(heads) => hub.ask(loser, |reply| Command::TextAt { heads, reply }).await?,
        None => text(hub, loser).await?,
    };
    let ours = text(hub, survivor).await?;
    let (version, edits) = (ours.version, union_edits(&ours.text, &theirs.text));
    let union_at = if edits.is_empty() {
        ours.heads
    } else {
        let records = vec![Record::Setting { name, value: theirs.heads.encode() }];
        let (meta, request) = (meta(hub), Some(Request { key, records }));
        hub.ask(survivor, |reply| Command::Edit { version, edits, meta, request, reply }).await?.heads
    };
    let joined = Joined { into: survivor, loser_at: theirs.heads, union_at };
    hub.write_catalogue(vec![(loser, Field::Joined(joined))], Vec::new()).await?;
    Ok(String::new())
}

/// The heads that were recorded under a name together with the edit of this key, if that was carried out.
async fn recorded(hub: &Hub, key: &[u8], name: &str) -> Result<Option<Heads>, HubError> {
    let (key, name) = (key.to_vec(), name.to_owned());
    let heads = hub.read_journal(move |reader| Ok(reader.request(&key)?.and(reader.setting(&name)?)));
    Ok(heads.await?.and_then(|heads| Heads::decode(&heads).ok()))
}

async fn rename(hub: &Hub, path: &str, loser: DocId) -> Result<String, HubError> {
    let renamed = suffixed(path, &loser.to_string());
    hub.write_catalogue(vec![(loser, Field::Path(renamed.clone()))], Vec::new()).await?;
    Ok(renamed)
}

/// `notes.txt` -> `notes.~1a2b3c4d.txt`, with the beginning of what it is told apart by: the same on whichever hub
/// decides.
pub(crate) fn suffixed(path: &str, id: &str) -> String {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
    let suffix: String = id.chars().take(8).collect();
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
    let carried = recorded(hub, &key, &name).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clashing_names() {
        let doc = DocId([0x1a; 16]).to_string();
        assert_eq!(suffixed("notes.txt", &doc), "notes.~1a1a1a1a.txt");
        assert_eq!(suffixed("a.b/Makefile", &doc), "a.b/Makefile.~1a1a1a1a");
        assert_eq!(suffixed(".profile", &doc), ".profile.~1a1a1a1a");
    }
}
