use super::*;
use crate::bus::OccupantChange;
use crate::bus::Role;

const ROOM: &str = "jobs@conference.x";

fn conversation() -> Conversation {
    let join = RoomJoin { room: ROOM.into(), nick: "orch".into(), password: Some("pw".into()) };
    Conversation::new(Timing::default(), 10_000, vec![join]).unwrap()
}

fn xml(text: &str) -> Element {
    text.replacen(' ', " xmlns='jabber:client' ", 1).parse().unwrap()
}

fn own_presence(nick: &str) -> Element {
    xml(&format!(
        "<presence from='{ROOM}/{nick}'><x xmlns='http://jabber.org/protocol/muc#user'>\
         <item affiliation='owner' role='moderator' jid='orch@x/1'/><status code='100'/><status code='110'/></x></presence>"
    ))
}

fn error_presence(condition: &str) -> Element {
    xml(&format!(
        "<presence from='{ROOM}/orch' type='error'><x xmlns='http://jabber.org/protocol/muc'/><error type='cancel'>\
         <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
    ))
}

fn nick_asked(actions: &[Action]) -> Option<String> {
    actions.iter().find_map(|action| match action {
        Action::Send(e) if e.name() == "presence" => Some(e.attr("to")?.split_once('/')?.1.to_owned()),
        _ => None,
    })
}

#[test]
fn messages_wait_until_the_rooms_are_entered_again() {
    let (mut talk, now) = (conversation(), Instant::now());
    for _ in 0..2 {
        assert!(!talk.is_settled(now));
        let actions = talk.link_up("orch@x/1".into(), now);
        assert_eq!(actions[0], Action::Emit(BusEvent::Up { jid: "orch@x/1".into() }));
        assert_eq!(nick_asked(&actions).as_deref(), Some("orch"));
        assert!(!talk.is_settled(now));
        let actions = talk.handle(&own_presence("orch"), now);
        let joined = Action::Emit(BusEvent::Joined { room: ROOM.into(), nick: "orch".into() });
        assert_eq!(actions[1], joined);
        assert!(talk.is_settled(now));
        talk.link_down();
    }
}

#[test]
fn a_room_that_does_not_answer_blocks_messages_for_a_while_only() {
    let (mut talk, now) = (conversation(), Instant::now());
    talk.link_up("orch@x/1".into(), now);
    let later = talk.next_timer(now).unwrap();
    assert_eq!(later, now + Timing::default().join_timeout);
    assert!(nick_asked(&talk.tick(later)).is_some());
    assert!(talk.is_settled(later));
}

#[test]
fn a_taken_nickname_gets_a_suffix_after_a_while() {
    let (mut talk, mut now) = (conversation(), Instant::now());
    let mut asked = vec![nick_asked(&talk.link_up("orch@x/1".into(), now)).unwrap()];
    for _ in 0..3 {
        assert_eq!(talk.handle(&error_presence("conflict"), now), []);
        now += Timing::default().nick_retry_after;
        asked.extend(nick_asked(&talk.tick(now)));
    }
    assert_eq!(asked, ["orch", "orch", "orch-2", "orch-3"]);
}

#[test]
fn a_wrong_room_password_is_fatal_and_a_full_room_is_not() {
    let (mut talk, now) = (conversation(), Instant::now());
    talk.link_up("orch@x/1".into(), now);
    let actions = talk.handle(&error_presence("not-authorized"), now);
    assert_eq!(actions, [Action::Fatal(ClientError::RoomPassword { room: ROOM.into() })]);
    talk.link_up("orch@x/1".into(), now);
    assert_eq!(talk.handle(&error_presence("service-unavailable"), now), []);
    assert!(nick_asked(&talk.tick(now + Timing::default().room_retry_after)).is_some());
}

#[test]
fn history_reflections_and_subjects_are_not_news() {
    let (mut talk, now) = (conversation(), Instant::now());
    talk.link_up("orch@x/1".into(), now);
    talk.handle(&own_presence("orch"), now);
    for stale in [
        format!(
            "<message from='{ROOM}/a' type='groupchat'><body>x</body><delay xmlns='urn:xmpp:delay' stamp=''/></message>"
        ),
        format!(
            "<message from='{ROOM}/a' type='groupchat'><body>x</body><x xmlns='jabber:x:delay' stamp=''/></message>"
        ),
        format!("<message from='{ROOM}/orch' type='groupchat'><body>mine</body></message>"),
        format!("<message from='{ROOM}' type='groupchat'><subject/></message>"),
        format!(
            "<message from='{ROOM}' type='groupchat'><x xmlns='http://jabber.org/protocol/muc#user'>\
             <status code='104'/></x></message>"
        ),
    ] {
        assert_eq!(talk.handle(&xml(&stale), now), [], "{stale}");
    }
}

#[test]
fn the_real_sender_of_a_private_message_comes_from_the_room_and_not_from_the_message() {
    let (mut talk, now) = (conversation(), Instant::now());
    talk.link_up("orch@x/1".into(), now);
    talk.handle(&own_presence("orch"), now);
    let pm = xml(&format!(
        "<message from='{ROOM}/a@b/c' type='chat' id='7'><body>x</body><other xmlns='u'/></message>"
    ));
    let real_jid = |talk: &mut Conversation| match talk.handle(&pm, now).pop() {
        Some(Action::Emit(BusEvent::Message(incoming))) => {
            assert_eq!((incoming.nick.as_deref(), incoming.payloads.len()), (Some("a@b/c"), 1));
            incoming.real_jid
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(real_jid(&mut talk), None);
    let presence = own_presence("a@b/c").attr("from").map(|from| {
        xml(&format!(
            "<presence from='{from}'><x xmlns='http://jabber.org/protocol/muc#user'>\
             <item affiliation='none' role='participant' jid='a@x/9'/></x></presence>"
        ))
    });
    let actions = talk.handle(&presence.unwrap(), now);
    let occupant = BusEvent::Occupant {
        room: ROOM.into(),
        nick: "a@b/c".into(),
        real_jid: Some("a@x/9".into()),
        role: Role::Participant,
        change: OccupantChange::Joined,
    };
    assert_eq!(actions, [Action::Emit(occupant)]);
    assert_eq!(real_jid(&mut talk).as_deref(), Some("a@x/9"));
    talk.command(Command::Leave { room: ROOM.into() }, now);
    assert_eq!(real_jid(&mut talk), None);
}

#[test]
fn a_dead_link_is_noticed() {
    let (mut talk, now) = (conversation(), Instant::now());
    talk.link_up("orch@x/1".into(), now);
    talk.handle(&own_presence("orch"), now);
    let ping_at = talk.next_timer(now).unwrap();
    assert!(matches!(talk.tick(ping_at).as_slice(), [Action::Send(e)] if e.name() == "iq"));
    let by = talk.next_timer(ping_at).unwrap();
    assert!(matches!(talk.tick(by).as_slice(), [Action::Reconnect(_)]));
    talk.handle(&xml("<iq type='result' id='ping-1'/>"), by);
    assert_eq!(talk.tick(by), []);
}

#[test]
fn a_room_that_lost_us_is_entered_again() {
    let (mut talk, now) = (conversation(), Instant::now());
    talk.link_up("orch@x/1".into(), now);
    talk.handle(&own_presence("orch"), now);
    let later = now + Timing::default().self_ping_every;
    assert!(
        talk.tick(later)
            .iter()
            .any(|a| matches!(a, Action::Send(e) if e.attr("to") == Some("jobs@conference.x/orch")))
    );
    let answer = xml(&format!(
        "<iq type='error' id='self-ping-{ROOM}' from='{ROOM}/orch'><error type='cancel'>\
         <not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    ));
    let actions = talk.handle(&answer, later);
    assert!(matches!(&actions[0], Action::Emit(BusEvent::Occupant { change: OccupantChange::Left, .. })));
    assert_eq!(nick_asked(&actions).as_deref(), Some("orch"));
}

#[test]
fn a_room_that_begins_to_show_accounts_is_entered_again_to_learn_them() {
    let (mut talk, now) = (conversation(), Instant::now());
    talk.link_up("orch@x/1".into(), now);
    talk.handle(&own_presence("orch"), now);
    let configured = xml(&format!(
        "<message from='{ROOM}' type='groupchat'><x xmlns='http://jabber.org/protocol/muc#user'><status code='172'/></x></message>"
    ));
    assert_eq!(talk.handle(&configured, now), [], "every account is known");
    let ann = |jid: &str| {
        xml(&format!(
            "<presence from='{ROOM}/ann'><x xmlns='http://jabber.org/protocol/muc#user'><item role='participant'{jid}/></x></presence>"
        ))
    };
    talk.handle(&ann(""), now);
    let actions = talk.handle(&configured, now);
    let left = actions.iter().filter(|action| {
        matches!(action, Action::Emit(BusEvent::Occupant { change: OccupantChange::Left, .. }))
    });
    assert_eq!(left.count(), 2);
    assert_eq!(nick_asked(&actions[actions.len() - 1..]).as_deref(), Some("orch"));
    assert!(!talk.is_settled(now));
    talk.handle(&ann(" jid='ann@x/1'"), now);
    talk.handle(&own_presence("orch"), now);
    assert!(talk.is_settled(now));
    assert_eq!(talk.handle(&configured, now), []);
}

#[test]
fn what_cannot_be_written_is_reported_at_once() {
    let mut talk = conversation();
    let send = |to: &str, body: &str| Command::Send(Outgoing::text(to, MessageKind::Chat, body));
    let long = "x".repeat(10_000);
    for (to, body) in [("a@x", "nul \0"), ("a@", "fine"), ("a@x", &long)] {
        let actions = talk.command(send(to, body), Instant::now());
        assert!(matches!(actions.as_slice(), [Action::Emit(BusEvent::Dropped { .. })]), "{to}");
    }
}
