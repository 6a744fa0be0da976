//! Who may do what, tried out over a real listener: every channel, every holder, every verb, against the one
//! function that decides; and the table of its answers in the documentation.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::access::{Connection, HOLDERS, Holder, NAMES, SECRET_TEXT, TEXT, grants};
use support::{PATIENCE, Served, eventually, keep, serve_with};
use syncline_net::{Access, Grants};
use syncline_protocol::access::{Ask, Channel, Verb, decide};
use syncline_protocol::{ErrorCode, ProtocolError};
use tokio::sync::watch;
use tokio::time::timeout;

/// What the function says of a holder, a channel and a verb on `a.txt`.
fn expected(holder: Holder, channel: Channel, verb: Verb) -> Result<(), ErrorCode> {
    let about_text = matches!(verb, Verb::Read | Verb::Edit);
    let ask = Ask { channel, verb, document: about_text.then_some("a.txt") };
    let grant = holder.grant();
    let decided = decide(holder.of(grant.as_ref()), ask, support::access::NOW_MS);
    decided.map_err(|refusal| ProtocolError::from(refusal).code)
}

async fn served() -> (Served, watch::Sender<Arc<Grants>>) {
    let kept = keep(&[("a.txt", TEXT), ("b.txt", SECRET_TEXT)], false, 1).await;
    let (sender, grants) = watch::channel(Arc::new(Grants::new(grants())));
    let access = Access::new(support::token(), support::capability()).with_grants(grants);
    (serve_with(kept, access).await, sender)
}

/// Every way in that a holder can try on a channel.
async fn try_all(served: &Served, channel: Channel, holder: Holder, connection: Connection) {
    for &verb in channel.verbs() {
        let before = served.kept.text("a.txt").await;
        let outcome = connection.attempt(served, holder, verb).await;
        let wanted = expected(holder, channel, verb);
        assert_eq!(outcome, wanted, "{holder:?} {connection:?} {verb:?}");
        let changed = served.kept.text("a.txt").await != before;
        assert_eq!(changed, verb == Verb::Edit && wanted.is_ok(), "{holder:?} {connection:?} {verb:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_does_what_the_function_says() {
    let (served, _grants) = served().await;
    for &holder in HOLDERS {
        try_all(&served, Channel::Content, holder, Connection::Content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn diffsync_in_lines_does_what_the_function_says() {
    let (served, _grants) = served().await;
    for &holder in HOLDERS.iter().filter(|holder| holder.has_token()) {
        try_all(&served, Channel::Diffsync, holder, Connection::Lines).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn diffsync_over_a_websocket_does_what_the_function_says() {
    let (served, _grants) = served().await;
    for &holder in HOLDERS.iter().filter(|holder| holder.has_token()) {
        try_all(&served, Channel::Diffsync, holder, Connection::DiffSocket).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_does_what_the_function_says() {
    let (served, _grants) = served().await;
    for &holder in HOLDERS.iter().filter(|holder| holder.has_token()) {
        let files = served.kept.hub.document_paths();
        let joined = support::access::join(&served, holder).await;
        for &verb in Channel::Replica.verbs() {
            let wanted = expected(holder, Channel::Replica, verb);
            assert_eq!(joined.outcome, wanted, "{holder:?} {verb:?}");
        }
        if joined.outcome.is_err() {
            assert_eq!(
                joined.kept.hub.document_paths(),
                Vec::<String>::new(),
                "{holder:?} was told something"
            );
            assert_eq!(served.kept.hub.document_paths(), files, "{holder:?} changed something");
            continue;
        }
        eventually("the text is there", || joined.kept.read("b.txt") == SECRET_TEXT).await;
        let name = format!("{}.txt", holder.name().replace(' ', "-"));
        std::fs::write(joined.kept.path(&name), "made by a joined folder\n").unwrap();
        eventually("what it makes comes over", || served.kept.path(&name).exists()).await;
    }
}

/// Another document's text, or even its existence, is learnt by nobody whose token is for one document.
#[tokio::test(flavor = "multi_thread")]
async fn a_documents_token_cannot_tell_what_else_there_is() {
    let (served, _grants) = served().await;
    for connection in [Connection::Content, Connection::Lines, Connection::DiffSocket] {
        for holder in [Holder::OwnReader, Holder::OwnWriter] {
            let (there, not_there) = (
                connection.open(&served, holder, Some("b.txt")).await.unwrap_err(),
                connection.open(&served, holder, Some("no such file")).await.unwrap_err(),
            );
            assert_eq!(there.to_string(), not_there.to_string());
            assert_eq!(there.code, ErrorCode::Forbidden);
            // Without a name it is its own document that is opened.
            assert_eq!(connection.open(&served, holder, None).await.unwrap(), "a.txt");
        }
    }
}

/// Sends what the owner decided to a running hub, and waits for the end of a standing connection.
async fn revoked_on(connection: Connection) {
    let (served, grants) = served().await;
    let mut standing = connection.stand(&served, Holder::Writer).await;
    let others = connection.stand(&served, Holder::Admin).await;
    grants.send_replace(Arc::new(Grants::new(support::access::grants_without(Holder::Writer))));
    let said = timeout(Duration::from_secs(5), standing.until_closed()).await.expect("closed within 5 s");
    assert_eq!(said, Some(ErrorCode::Revoked), "{connection:?}");
    assert_eq!(
        connection.attempt(&served, Holder::Writer, Verb::Connect).await,
        Err(ErrorCode::Unauthorized)
    );
    drop(others);
    assert_eq!(connection.attempt(&served, Holder::Admin, Verb::Read).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_its_content_connections() {
    revoked_on(Connection::Content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_its_diffsync_lines() {
    revoked_on(Connection::Lines).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_its_diffsync_sockets() {
    revoked_on(Connection::DiffSocket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_a_joined_folder() {
    let (served, grants) = served().await;
    let mut joined = support::access::join(&served, Holder::Writer).await;
    assert_eq!(joined.outcome, Ok(()));
    let others = support::access::join(&served, Holder::Admin).await;
    eventually("both have their files", || {
        joined.kept.read("a.txt") == TEXT && others.kept.read("b.txt") == SECRET_TEXT
    })
    .await;
    grants.send_replace(Arc::new(Grants::new(support::access::grants_without(Holder::Writer))));
    let refused = timeout(Duration::from_secs(5), joined.ended()).await.expect("closed within 5 s");
    assert_eq!(refused, Some(ErrorCode::Revoked));
    // Its copy stays, and what it writes from now on stays there.
    assert_eq!(joined.kept.read("a.txt"), TEXT);
    std::fs::write(joined.kept.path("a.txt"), "changed after the end\n").unwrap();
    std::fs::write(others.kept.path("b.txt"), "changed by another\n").unwrap();
    eventually("the others go on", || served.kept.read("b.txt") == "changed by another\n").await;
    assert_eq!(served.kept.read("a.txt"), TEXT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tokens_time_ends_its_connections() {
    let (served, grants) = served().await;
    let mut standing = Connection::Content.stand(&served, Holder::Reader).await;
    grants.send_replace(Arc::new(Grants::new(support::access::grants_ending_soon(Holder::Reader))));
    let said = timeout(Duration::from_secs(5), standing.until_closed()).await.expect("closed within 5 s");
    assert_eq!(said, Some(ErrorCode::Expired));
}

/// A client that takes nothing of what is sent to it must not keep its connection by that.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_client_is_revoked_too() {
    let long = "a line of a long text\n".repeat(1 << 20);
    let kept = keep(&[("a.txt", &long)], false, 1).await;
    let (sender, grants) = watch::channel(Arc::new(Grants::new(grants())));
    let access = Access::new(support::token(), support::capability()).with_grants(grants);
    let served = serve_with(kept, access).await;
    let stalled = support::access::Stalled::dial(&served, Holder::Reader).await;
    sender.send_replace(Arc::new(Grants::default()));
    let taken = timeout(PATIENCE, stalled.read_after(Duration::from_millis(3_500))).await.expect("an end");
    assert!(taken < long.len(), "all {taken} bytes of it came");
}

#[test]
fn the_documented_table_is_what_the_function_says() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocols/access.md");
    let text = std::fs::read_to_string(document).unwrap();
    let table = table();
    assert!(text.contains(&table), "docs/protocols/access.md must contain:\n\n{table}");
}

/// One table for each channel: holders down, verbs across.
fn table() -> String {
    let mut out = String::new();
    for &channel in Channel::ALL {
        let verbs: Vec<&str> = channel.verbs().iter().map(|verb| verb.name()).collect();
        out += &format!("| on `{}` | {} |\n", channel.name(), verbs.join(" | "));
        out += &format!("|---|{}\n", "---|".repeat(verbs.len()));
        for (&holder, name) in HOLDERS.iter().zip(NAMES) {
            let cells = channel.verbs().iter().map(|&verb| match expected(holder, channel, verb) {
                Ok(()) => "yes".to_owned(),
                Err(code) => format!("`{}`", code.code()),
            });
            out += &format!("| {name} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
        }
        out += "\n";
    }
    out.trim_end().to_owned()
}
