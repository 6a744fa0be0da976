//! `syncline token`: makes, lists and revokes what lets others in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use syncline_protocol::access::{Grant, Role, Scope, Standing};
use syncline_protocol::{JoinLink, Token, Trust, is_document_path, parse_fingerprint};

use crate::args::TokenVerb;
use crate::control::ask;
use crate::failure::Failure;
use crate::report::{date_of, json_line, now_ms, safe};
use crate::state_dir::state_path;
use crate::token_file::{MOST, TokenFile, to_json};

/// Tokens that have not let in for so long are forgotten when new ones are made.
const FORGOTTEN: Duration = Duration::from_secs(90 * 24 * 3600);
/// The longest name, in bytes.
const MAX_NAME: usize = 64;

/// `syncline token …`.
pub async fn run(verb: TokenVerb, json: bool) -> Result<(), Failure> {
    match verb {
        TokenVerb::Create { role, document, expires, name, folder } => {
            let root = shared_root(&folder)?;
            let scope = match document {
                None => Scope::Folder,
                Some(path) => Scope::Document(document_in(&root, &folder, &path)?),
            };
            create(&root, role.into(), scope, expires, name.unwrap_or_default(), json).await
        }
        TokenVerb::List { folder } => list(&shared_root(&folder)?, json),
        TokenVerb::Revoke { token, folder } => revoke(&shared_root(&folder)?, &token, json).await,
    }
}

async fn create(
    root: &Path,
    role: Role,
    scope: Scope,
    expires: Option<Duration>,
    name: String,
    json: bool,
) -> Result<(), Failure> {
    if name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(Failure::usage(
            "that is no name for a token",
            format!("at most {MAX_NAME} bytes, one line"),
        ));
    }
    let mut bits = [0; 32];
    getrandom::fill(&mut bits).map_err(|error| Failure::other(error.to_string(), ""))?;
    let (token, now) = (Token::from_random(bits), now_ms());
    let expires_ms = expires.map(|time| now.saturating_add(time.as_millis() as u64));
    let grant =
        Grant { hash: token.hash(), name, role, scope, created_ms: now, expires_ms, revoked_ms: None };
    let new = grant.clone();
    TokenFile::of(&state_path(root)).change(move |grants| add(grants, new, now))?;
    let link = match nudged(root).await {
        Some(status) => link_from(&status, &token, &grant.scope),
        None => None,
    };
    tell_created(&grant, &token, link.as_ref(), now, json);
    Ok(())
}

/// Has the hub that runs on the folder, if one does, read its tokens; gives its status.
async fn nudged(root: &Path) -> Option<Value> {
    ask(root, json!({"command": "tokens"})).await?;
    ask(root, json!({"command": "status"})).await
}

/// Adds a token, and forgets those whose time is long over.
fn add(grants: &mut Vec<Grant>, new: Grant, now: u64) -> Result<(), Failure> {
    let kept = FORGOTTEN.as_millis() as u64;
    grants.retain(|grant| {
        let end = [grant.revoked_ms, grant.expires_ms].into_iter().flatten().min();
        end.is_none_or(|end| end.saturating_add(kept) > now)
    });
    let named = |grant: &&Grant| grant.name == new.name && grant.standing(now) == Standing::Valid;
    if !new.name.is_empty() && grants.iter().any(|grant| named(&grant)) {
        return Err(Failure::usage(
            format!("there is a token of the name {} already", safe(&new.name)),
            "choose another name, or revoke that one first",
        ));
    }
    if grants.len() >= MOST {
        return Err(Failure::usage(
            format!("there are {MOST} tokens"),
            "revoke some; those are forgotten after 90 days",
        ));
    }
    grants.push(new);
    Ok(())
}

/// The link that leads to the hub that runs on the folder.
fn link_from(status: &Value, token: &Token, scope: &Scope) -> Option<JoinLink> {
    let host = status.get("link_host")?.as_str()?;
    let port = u16::try_from(status.get("link_port")?.as_u64()?).ok()?;
    let trust = match status.get("tls").and_then(Value::as_str) {
        None => Trust::Plain,
        Some("authorities") => Trust::Authorities,
        Some(digits) => Trust::Fingerprint(parse_fingerprint(digits)?),
    };
    let link = JoinLink::new(host, port, token.clone()).ok()?.with_trust(trust);
    match scope {
        Scope::Folder => Some(link),
        Scope::Document(path) => link.to_document(path).ok(),
    }
}

fn tell_created(grant: &Grant, token: &Token, link: Option<&JoinLink>, now: u64, json: bool) {
    if json {
        let mut line = listed(grant, now);
        line["token"] = json!(token.secret());
        line["link"] = json!(link.map(ToString::to_string));
        return json_line(&line);
    }
    println!("Made the token {}: {}.", called(grant), described(grant));
    let joins = grant.role >= Role::Write && grant.scope == Scope::Folder;
    match link {
        Some(link) if joins => println!("  join it   syncline join '{link}' DIR"),
        Some(link) => println!("  link      {link}"),
        None => println!("  (no hub runs on this folder: with one, there is a link too)"),
    }
    println!("  token     {}", token.secret());
    println!("It is shown this once. `syncline token revoke {}` takes it back.", grant.id());
}

fn list(root: &Path, json: bool) -> Result<(), Failure> {
    let (grants, now) = (TokenFile::of(&state_path(root)).read()?, now_ms());
    for grant in &grants {
        if json {
            json_line(&listed(grant, now));
        } else {
            let standing = standing_name(grant.standing(now));
            println!("{}  {standing:7}  {}: {}", grant.id(), called(grant), described(grant));
        }
    }
    if grants.is_empty() && !json {
        println!("No tokens. `syncline token create` makes one.");
    }
    Ok(())
}

async fn revoke(root: &Path, wanted: &str, json: bool) -> Result<(), Failure> {
    let now = now_ms();
    let revoked = TokenFile::of(&state_path(root)).change(|grants| take_back(grants, wanted, now))?;
    nudged(root).await;
    if json {
        json_line(&listed(&revoked, now));
    } else {
        println!("{} does not let in any more.", called(&revoked));
    }
    Ok(())
}

/// Revokes the token of that id or name. One that is revoked already stays as it is.
fn take_back(grants: &mut [Grant], wanted: &str, now: u64) -> Result<Grant, Failure> {
    let is_wanted = |grant: &Grant| grant.id() == wanted || (!wanted.is_empty() && grant.name == wanted);
    let mut found: Vec<&mut Grant> = grants.iter_mut().filter(|grant| is_wanted(grant)).collect();
    // A name may have been used before.
    if found.len() > 1 {
        found.retain(|grant| grant.standing(now) == Standing::Valid);
    }
    match found.as_mut_slice() {
        [grant] => {
            grant.revoked_ms = grant.revoked_ms.or(Some(now));
            Ok(grant.clone())
        }
        [] => Err(Failure::usage(
            format!("there is no token {}", safe(wanted)),
            "`syncline token list` shows them with their names and ids",
        )),
        _ => Err(Failure::usage(format!("several tokens are called {}", safe(wanted)), "name one by its id")),
    }
}

/// What programs are told of a token.
fn listed(grant: &Grant, now: u64) -> Value {
    let mut line = to_json(grant);
    line["id"] = json!(grant.id());
    line["standing"] = json!(standing_name(grant.standing(now)));
    line
}

fn standing_name(standing: Standing) -> &'static str {
    match standing {
        Standing::Valid => "valid",
        Standing::Expired => "expired",
        Standing::Revoked => "revoked",
    }
}

fn called(grant: &Grant) -> String {
    if grant.name.is_empty() { grant.id() } else { safe(&grant.name) }
}

fn described(grant: &Grant) -> String {
    let scope = match &grant.scope {
        Scope::Folder => "the whole folder".to_owned(),
        Scope::Document(path) => safe(path),
    };
    let end = match (grant.revoked_ms, grant.expires_ms) {
        (Some(ms), _) => format!("revoked {}", date_of(ms)),
        (None, Some(ms)) => format!("until {}", date_of(ms)),
        (None, None) => "until it is revoked".to_owned(),
    };
    format!("{}, {scope}, {end}", grant.role.name())
}

/// The shared folder that a path is, or is in.
fn shared_root(folder: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(folder).map_err(|error| Failure::other(error.to_string(), ""))?;
    let root = absolute.ancestors().find(|folder| state_path(folder).is_dir());
    root.map(Path::to_owned).ok_or_else(|| {
        Failure::usage(format!("{} is not shared", folder.display()), "share it with `syncline serve`")
    })
}

/// A document's path in the shared folder.
fn document_in(root: &Path, folder: &Path, path: &Path) -> Result<String, Failure> {
    let absolute =
        std::path::absolute(folder.join(path)).map_err(|error| Failure::other(error.to_string(), ""))?;
    let inside = absolute.strip_prefix(root).ok().and_then(Path::to_str);
    let inside = inside.filter(|path| is_document_path(path));
    inside.map(str::to_owned).ok_or_else(|| {
        Failure::usage(
            format!("{} is no file of {}", path.display(), root.display()),
            "name a file in the shared folder",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(number: u8, name: &str) -> Grant {
        let (role, scope) = (Role::Read, Scope::Folder);
        let hash = [number; 32];
        Grant { hash, name: name.into(), role, scope, created_ms: 1, expires_ms: None, revoked_ms: None }
    }

    #[test]
    fn a_name_is_of_one_valid_token_at_a_time() {
        let mut grants = Vec::new();
        add(&mut grants, grant(1, "ann"), 10).unwrap();
        assert!(add(&mut grants, grant(2, "ann"), 10).is_err());
        add(&mut grants, grant(3, ""), 10).unwrap();
        add(&mut grants, grant(4, ""), 10).unwrap();
        assert_eq!(take_back(&mut grants, "ann", 20).unwrap().revoked_ms, Some(20));
        assert_eq!(take_back(&mut grants, "ann", 30).unwrap().revoked_ms, Some(20), "it stays as it was");
        add(&mut grants, grant(2, "ann"), 40).unwrap();
        assert_eq!(take_back(&mut grants, "ann", 50).unwrap().hash, [2; 32]);
        assert_eq!(take_back(&mut grants, "030303030303", 60).unwrap().hash, [3; 32]);
        assert!(take_back(&mut grants, "nobody", 60).is_err());
        assert!(take_back(&mut grants, "", 60).is_err(), "those without a name have none");
    }

    #[test]
    fn what_is_long_over_is_forgotten() {
        let kept = FORGOTTEN.as_millis() as u64;
        let mut grants = vec![
            Grant { revoked_ms: Some(5), ..grant(1, "a") },
            Grant { expires_ms: Some(5), ..grant(2, "b") },
            grant(3, "c"),
        ];
        add(&mut grants, grant(4, "d"), kept).unwrap();
        assert_eq!(grants.len(), 4);
        add(&mut grants, grant(5, "e"), kept + 5).unwrap();
        assert_eq!(grants.iter().map(|grant| grant.name.as_str()).collect::<String>(), "cde");
    }

    #[test]
    fn a_link_leads_where_the_hub_says() {
        let (token, status) = (Token::from_random([1; 32]), json!({"link_host": "::1", "link_port": 7420}));
        let link = link_from(&status, &token, &Scope::Document("a b.txt".into())).unwrap();
        assert_eq!(link.to_string(), format!("syncline://[::1]:7420/a%20b.txt#k={}", token.secret()));
        let status = json!({"link_host": "notes.example", "link_port": 7420, "tls": "ab".repeat(32)});
        let link = link_from(&status, &token, &Scope::Folder).unwrap();
        assert_eq!(link.trust(), Trust::Fingerprint([0xab; 32]));
        for broken in [json!({}), json!({"link_host": "a", "link_port": 70_000})] {
            assert_eq!(link_from(&broken, &token, &Scope::Folder), None);
        }
    }
}
