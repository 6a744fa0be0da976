use super::*;

const NOW: u64 = 1_000;

fn grant(role: Role, scope: Scope) -> Grant {
    let (expires_ms, revoked_ms) = (Some(NOW + 1), None);
    Grant { hash: [7; 32], name: "ann".into(), role, scope, created_ms: 1, expires_ms, revoked_ms }
}

fn ask(channel: Channel, verb: Verb, document: Option<&str>) -> Ask<'_> {
    Ask { channel, verb, document }
}

/// Every question that can be asked about a document.
fn asks(document: Option<&str>) -> Vec<Ask<'_>> {
    let channels = Channel::ALL.iter();
    channels.flat_map(|&channel| Verb::ALL.iter().map(move |&verb| ask(channel, verb, document))).collect()
}

#[test]
fn nobody_may_do_nothing_and_the_owner_everything() {
    for question in asks(None).into_iter().chain(asks(Some("a.txt"))) {
        assert_eq!(decide(Holder::Nobody, question, NOW), Err(Refusal::Unknown));
        assert_eq!(decide(Holder::Owner, question, NOW), Ok(()));
    }
}

#[test]
fn expired_and_revoked_tokens_may_do_nothing_and_say_which() {
    let admin = grant(Role::Admin, Scope::Folder);
    let expired = Grant { expires_ms: Some(NOW), ..admin.clone() };
    let revoked = Grant { revoked_ms: Some(NOW), ..admin.clone() };
    // Revoked wins: that was somebody's decision.
    let both = Grant { revoked_ms: Some(NOW), ..expired.clone() };
    for question in asks(Some("a.txt")) {
        assert_eq!(decide(Holder::Token(&expired), question, NOW), Err(Refusal::Expired));
        assert_eq!(decide(Holder::Token(&revoked), question, NOW), Err(Refusal::Revoked));
        assert_eq!(decide(Holder::Token(&both), question, NOW), Err(Refusal::Revoked));
        assert_ne!(decide(Holder::Token(&expired), question, NOW - 1), Err(Refusal::Expired));
    }
}

#[test]
fn a_read_token_changes_nothing_anywhere() {
    for scope in [Scope::Folder, Scope::Document("a.txt".into())] {
        let reader = grant(Role::Read, scope);
        for question in asks(Some("a.txt")).into_iter().chain(asks(None)) {
            let changes = matches!(question.verb, Verb::Edit | Verb::Arrange | Verb::Administer);
            let allowed = decide(Holder::Token(&reader), question, NOW).is_ok();
            assert!(!(changes && allowed), "{question:?}");
            assert!(!(question.channel == Channel::Replica && allowed), "{question:?}");
        }
    }
    let reader = grant(Role::Read, Scope::Folder);
    let read = |channel| decide(Holder::Token(&reader), ask(channel, Verb::Read, Some("x")), NOW);
    assert_eq!(read(Channel::Content), Ok(()));
    assert_eq!(read(Channel::Diffsync), Ok(()));
}

#[test]
fn roles_grow_and_never_shrink() {
    for scope in [Scope::Folder, Scope::Document("a.txt".into())] {
        for pair in Role::ALL.windows(2) {
            let (less, more) = (grant(pair[0], scope.clone()), grant(pair[1], scope.clone()));
            for question in asks(Some("a.txt")).into_iter().chain(asks(Some("b"))).chain(asks(None)) {
                let allowed = decide(Holder::Token(&less), question, NOW).is_ok();
                assert!(!allowed || decide(Holder::Token(&more), question, NOW).is_ok(), "{question:?}");
            }
        }
    }
}

#[test]
fn a_documents_token_sees_that_document_and_nothing_else() {
    for &role in Role::ALL {
        let own = grant(role, Scope::Document("a.txt".into()));
        for question in asks(Some("b.txt")).into_iter().chain(asks(Some("a.txt/"))).chain(asks(Some(""))) {
            assert!(decide(Holder::Token(&own), question, NOW).is_err(), "{question:?}");
        }
        for question in asks(None) {
            let allowed = decide(Holder::Token(&own), question, NOW).is_ok();
            assert!(!allowed || question.verb == Verb::Connect, "{question:?}");
            assert!(!(allowed && question.channel == Channel::Replica));
        }
        let read = ask(Channel::Content, Verb::Read, Some("a.txt"));
        assert_eq!(decide(Holder::Token(&own), read, NOW), Ok(()));
    }
}

#[test]
fn the_capability_opens_content_only() {
    for question in asks(Some("a.txt")) {
        let allowed = decide(Holder::Capability, question, NOW).is_ok();
        let texts =
            matches!(question.verb, Verb::Connect | Verb::List | Verb::Read | Verb::Edit | Verb::Arrange);
        assert_eq!(allowed, question.channel == Channel::Content && texts, "{question:?}");
    }
}

#[test]
fn a_folders_write_token_joins() {
    for role in [Role::Write, Role::Admin] {
        let writer = grant(role, Scope::Folder);
        for &verb in Channel::Replica.verbs() {
            assert_eq!(decide(Holder::Token(&writer), ask(Channel::Replica, verb, None), NOW), Ok(()));
        }
    }
}

#[test]
fn each_refusal_says_something_of_its_own() {
    use Refusal::*;
    let all = [
        Unknown,
        Expired,
        Revoked,
        WrongChannel,
        JoinNeedsWrite,
        JoinNeedsFolder,
        OnlyReads,
        NotAdmin,
        OtherDocument,
        NotFolder,
    ];
    let said: std::collections::BTreeSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), all.len());
    assert_eq!(ProtocolError::from(Revoked).code.code(), "revoked");
    assert_eq!(ProtocolError::from(Expired).code.code(), "expired");
    assert_eq!(ProtocolError::from(Unknown).code.code(), "unauthorized");
    assert_eq!(ProtocolError::from(OnlyReads).code.code(), "forbidden");
}

#[test]
fn names_are_read_as_they_are_written() {
    for &role in Role::ALL {
        assert_eq!(Role::of(role.name()), Some(role));
    }
    assert_eq!(Role::of("owner"), None);
    assert_eq!(grant(Role::Read, Scope::Folder).id(), "070707070707");
}
