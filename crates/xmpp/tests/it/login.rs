use std::time::Duration;

use anabranch_xmpp::client::{self, ClientConfig, Security};
use anabranch_xmpp::{
    AcceptAnyCertificateForTests, BusEvent, ClientError, Fingerprint, Identity, MessageKind, Outgoing, Trust,
};

use crate::support::{DOMAIN, Raw, header, limits, start, until, until_message, until_up};

async fn fatal(config: ClientConfig) -> ClientError {
    let mut bus = client::connect(config).unwrap();
    let error =
        until(&mut bus, "fatal error", |e| if let BusEvent::Fatal(e) = e { Some(e.clone()) } else { None })
            .await;
    assert_eq!(bus.next().await, None);
    error
}

#[tokio::test]
async fn logs_in_by_starttls_direct_tls_and_plaintext() {
    let server = start(limits()).await;
    let trust = server.trust();
    let pem = Trust::Pem(server.identity.certificate_pem.clone());
    let any = Trust::AcceptAny(AcceptAnyCertificateForTests);
    for security in [
        Security::StartTls(trust.clone()),
        Security::DirectTls(trust),
        Security::StartTls(pem),
        Security::DirectTls(any),
        Security::Plaintext,
    ] {
        let mut bus = client::connect(server.client_config("ann", security)).unwrap();
        assert_eq!(until_up(&mut bus).await, "ann@localhost/test");
        let sessions = server.handle.sessions();
        assert_eq!((sessions[0].user.as_str(), sessions[0].resource.as_str()), ("ann", "test"));
        bus.sender().close().await.unwrap();
        while bus.next().await.is_some() {}
    }
    assert_eq!(server.handle.counters().logins, 5);
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_password_or_an_unknown_user_is_fatal() {
    let server = start(limits()).await;
    for user in ["ann", "nobody"] {
        let config = server.client_config(user, Security::StartTls(server.trust()));
        let error = fatal(ClientConfig { password: "wrong".into(), ..config }).await;
        let host = "127.0.0.1".to_owned();
        let condition = "not-authorized".to_owned();
        assert_eq!(error, ClientError::WrongPassword { user: user.into(), host, condition });
    }
    assert_eq!(server.handle.counters().logins_failed, 2);
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_that_is_not_the_pinned_one_is_fatal() {
    let server = start(limits()).await;
    let other = Identity::generate(&[DOMAIN.to_owned()]).unwrap();
    for trust in [Trust::Fingerprint(Fingerprint([0; 32])), Trust::Pem(other.certificate_pem)] {
        for security in [Security::StartTls(trust.clone()), Security::DirectTls(trust.clone())] {
            let error = fatal(server.client_config("ann", security)).await;
            assert!(matches!(error, ClientError::Certificate { .. }), "{error}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn the_newest_session_of_a_full_jid_wins() {
    let server = start(limits()).await;
    let config = server.client_config("ann", Security::Plaintext);
    let mut first = client::connect(config.clone()).unwrap();
    until_up(&mut first).await;
    let mut second = client::connect(config).unwrap();
    until_up(&mut second).await;
    let error =
        until(&mut first, "conflict", |e| if let BusEvent::Fatal(e) = e { Some(e.clone()) } else { None })
            .await;
    assert_eq!(error, ClientError::Conflict { jid: "ann@localhost/test".into() });
    assert_eq!(server.handle.sessions().len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_revoked_account_is_disconnected_and_stays_out() {
    let server = start(limits()).await;
    let config = server.client_config("ann", Security::Plaintext);
    let mut bus = client::connect(config).unwrap();
    until_up(&mut bus).await;
    assert_eq!(server.handle.disconnect("ann"), 1);
    until(&mut bus, "loss", |e| matches!(e, BusEvent::Down { .. }).then_some(())).await;
    server.stop().await;
}

#[tokio::test]
async fn three_failed_logins_end_the_connection() {
    let server = start(limits()).await;
    let mut raw = Raw::connect(&server).await;
    raw.say(&header()).await;
    raw.hear("</stream:features>").await;
    for _ in 0..3 {
        raw.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGFubgB3cm9uZw==</auth>")
            .await;
        assert!(raw.hear("</failure>").await.contains("not-authorized"));
    }
    assert!(raw.hear_all().await.contains("policy-violation"));
    server.stop().await;
}

#[tokio::test]
async fn failed_logins_from_an_address_block_it_for_a_while() {
    let server = start(anabranch_xmpp::server::Limits {
        failed_logins_max: 1,
        failed_logins_window: Duration::from_secs(600),
        ..limits()
    })
    .await;
    let wrong = ClientConfig { password: "wrong".into(), ..server.client_config("ann", Security::Plaintext) };
    fatal(wrong).await;
    let mut raw = Raw::connect(&server).await;
    raw.say(&header()).await;
    raw.say(
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGFubgBhbm4tcGFzc3dvcmQ=</auth>",
    )
    .await;
    assert!(raw.hear("</failure>").await.contains("temporary-auth-failure"));
    server.stop().await;
}

#[tokio::test]
async fn the_wrong_domain_and_unknown_mechanisms_are_refused() {
    let server = start(limits()).await;
    let mut raw = Raw::connect(&server).await;
    raw.say(&header().replace(DOMAIN, "elsewhere")).await;
    assert!(raw.hear_all().await.contains("host-unknown"));
    let mut raw = Raw::connect(&server).await;
    raw.say(&header()).await;
    raw.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='DIGEST-MD5'/>").await;
    assert!(raw.hear("</failure>").await.contains("invalid-mechanism"));
    raw.say("<message xmlns='jabber:client' to='ann@localhost'><body>hi</body></message>").await;
    assert!(raw.hear_all().await.contains("not-authorized"));
    server.stop().await;
}

#[tokio::test]
async fn direct_messages_name_their_sender_and_bounce_when_nobody_is_there() {
    let server = start(limits()).await;
    let mut ann = client::connect(server.client_config("ann", Security::Plaintext)).unwrap();
    let mut bob = client::connect(server.client_config("bob", Security::StartTls(server.trust()))).unwrap();
    let (ann_jid, bob_jid) = (until_up(&mut ann).await, until_up(&mut bob).await);
    for (to, kind) in [(bob_jid.as_str(), MessageKind::Normal), ("bob@localhost", MessageKind::Chat)] {
        ann.send(Outgoing { id: Some("7".into()), ..Outgoing::text(to, kind, "a < b & \"c\"") })
            .await
            .unwrap();
        let got = until_message(&mut bob).await;
        assert_eq!((got.from.as_str(), got.kind, got.id.as_deref()), (ann_jid.as_str(), kind, Some("7")));
        assert_eq!((got.real_jid.as_ref(), got.room.as_ref()), (Some(&ann_jid), None));
        assert_eq!(got.body.as_deref(), Some("a < b & \"c\""));
    }
    for to in ["bob@localhost/elsewhere", "cat@localhost", "nobody@localhost"] {
        ann.send(Outgoing::text(to, MessageKind::Chat, "x")).await.unwrap();
        let bounced = until_message(&mut ann).await;
        assert_eq!(
            (bounced.kind, bounced.error_condition()),
            (MessageKind::Error, Some("service-unavailable")),
            "{to}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn the_small_services_answer() {
    let server = start(limits()).await;
    let mut raw = Raw::logged_in(&server, "ann", "raw").await;
    for (to, kind, query, expected) in [
        ("localhost", "get", "<ping xmlns='urn:xmpp:ping'/>", "type='result'"),
        ("localhost", "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "<identity"),
        (
            "localhost",
            "get",
            "<query xmlns='http://jabber.org/protocol/disco#items'/>",
            "conference.localhost",
        ),
        ("localhost", "get", "<query xmlns='jabber:iq:version'/>", "<version>1</version>"),
        (
            "conference.localhost",
            "get",
            "<query xmlns='http://jabber.org/protocol/disco#items'/>",
            "jobs@conference",
        ),
        (
            "jobs@conference.localhost",
            "get",
            "<query xmlns='http://jabber.org/protocol/disco#info'/>",
            "muc_passwordprotected",
        ),
        ("ann@localhost", "get", "<query xmlns='jabber:iq:roster'/>", "jabber:iq:roster"),
        ("ann@localhost", "get", "<vCard xmlns='vcard-temp'/>", "vcard-temp"),
        ("ann@localhost", "set", "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>", "type='result'"),
        ("ann@localhost", "set", "<vCard xmlns='vcard-temp'/>", "not-allowed"),
        ("bob@localhost", "get", "<vCard xmlns='vcard-temp'/>", "service-unavailable"),
        ("elsewhere.org", "get", "<ping xmlns='urn:xmpp:ping'/>", "remote-server-not-found"),
        ("localhost", "get", "<query xmlns='jabber:iq:register'/>", "service-unavailable"),
        ("a@b@c/", "get", "<ping xmlns='urn:xmpp:ping'/>", "jid-malformed"),
    ] {
        raw.say(&format!("<iq type='{kind}' id='q' to='{to}'>{query}</iq>")).await;
        raw.say("<iq type='get' id='end'><ping xmlns='urn:xmpp:ping'/></iq>").await;
        let answer = raw.hear("id='end'").await;
        let answer = if answer.contains("id=\"end\"") { answer } else { answer + &raw.hear(">").await };
        assert!(answer.replace('"', "'").contains(expected), "{query} to {to}: {answer}");
    }
    server.stop().await;
}
