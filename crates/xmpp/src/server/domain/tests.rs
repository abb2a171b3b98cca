//! Dialogues without sockets: someone sends, and who receives what is compared as short text.

use super::*;
use crate::server::Limits;

const MUC: &str = "http://jabber.org/protocol/muc";

struct Stage {
    domain: Domain,
    sessions: BTreeMap<&'static str, SessionId>,
}

fn stage() -> Stage {
    let limits = Limits::default();
    let crowded = RoomConfig { members_max: 1, ..RoomConfig::new("crowded", None) };
    let config = DomainConfig {
        domain: "x".into(),
        rooms_domain: "conference.x".into(),
        rooms: vec![RoomConfig::new("jobs", Some("pw")), RoomConfig::new("open", None), crowded],
        create_rooms: true,
        owners: vec!["orch".into()],
        software_name: "test".into(),
        software_version: "1".into(),
        rooms_max: 5,
        rooms_per_session_max: limits.rooms_per_session_max,
        sessions_per_account_max: limits.sessions_per_account_max,
    };
    let mut stage = Stage { domain: Domain::new(config).unwrap(), sessions: BTreeMap::new() };
    for user in ["orch", "ann", "bob"] {
        let (id, _) = stage.domain.bind(user, "1", &mut Vec::new()).unwrap();
        stage.sessions.insert(user, id);
    }
    stage
}

impl Stage {
    /// Sends a stanza; gives what everyone receives, in order.
    fn say(&mut self, who: &str, stanza: &str) -> Vec<String> {
        let stanza: Element = stanza
            .replacen([' ', '>'], " xmlns='jabber:client' ", 1)
            .parse()
            .unwrap_or_else(|_| stanza.replacen('>', " xmlns='jabber:client'>", 1).parse().unwrap());
        let mut effects = Vec::new();
        self.domain.handle(self.sessions[who], stanza, &mut effects);
        self.show(effects)
    }

    fn enter(&mut self, who: &str, occupant: &str) -> Vec<String> {
        self.say(
            who,
            &format!("<presence to='{occupant}'><x xmlns='{MUC}'><password>pw</password></x></presence>"),
        )
    }

    fn drop(&mut self, who: &str) -> Vec<String> {
        let mut effects = Vec::new();
        self.domain.unbind(self.sessions[who], &mut effects);
        self.show(effects)
    }

    fn show(&self, effects: Vec<Effect>) -> Vec<String> {
        let name = |id| self.sessions.iter().find(|(_, s)| **s == id).map_or("?", |(name, _)| name);
        effects
            .into_iter()
            .flat_map(|effect| match effect {
                Effect::Deliver { to, stanza } => vec![format!("{} < {}", name(to), short(&stanza))],
                Effect::TellOccupants { to, presences } => {
                    presences.iter().map(|p| format!("{} < {}", name(to), short(p))).collect()
                }
                Effect::End { session, condition } => vec![format!("{} ends: {condition}", name(session))],
            })
            .collect()
    }
}

/// Kind, sender, and what matters of the content.
fn short(stanza: &Element) -> String {
    let mut parts = vec![stanza.name().to_owned()];
    parts.extend(stanza.attr("type").map(|t| format!(":{t}")));
    parts.extend(stanza.attr("from").map(|from| format!(" {from}")));
    if let Some(user) = stanza.get_child("x", ns::MUC_USER) {
        for child in user.children() {
            match child.name() {
                "item" => {
                    parts.push(format!(" {}", child.attr("role").unwrap_or_default()));
                    parts.extend(child.attr("jid").map(|jid| format!("={jid}")));
                    parts.extend(child.attr("nick").map(|nick| format!(" now:{nick}")));
                }
                _ => parts.extend(child.attr("code").map(|code| format!(" {code}"))),
            }
        }
    }
    if stanza.attr("type") == Some("error") {
        parts.push(format!(" !{}", crate::wire::stanza::error_condition(stanza)));
        if stanza.has_child("x", ns::MUC) {
            parts.push(" muc".to_owned());
        }
    }
    for child in stanza.children().filter(|c| matches!(c.name(), "body" | "subject" | "show")) {
        parts.push(format!(" {}={}", child.name(), child.text()));
    }
    parts.concat()
}

#[test]
fn entering_tells_in_the_order_that_clients_wait_for() {
    let mut stage = stage();
    assert_eq!(
        stage.enter("orch", "jobs@conference.x/orch"),
        [
            "orch < presence jobs@conference.x/orch moderator=orch@x/1 100 110",
            "orch < message:groupchat jobs@conference.x subject=",
        ]
    );
    assert_eq!(
        stage.enter("ann", "jobs@conference.x/a@b/c"),
        [
            "ann < presence jobs@conference.x/orch moderator=orch@x/1",
            "orch < presence jobs@conference.x/a@b/c participant=ann@x/1",
            "ann < presence jobs@conference.x/a@b/c participant=ann@x/1 100 110",
            "ann < message:groupchat jobs@conference.x subject=",
        ]
    );
}

#[test]
fn refusals_say_that_they_come_from_a_room() {
    let mut stage = stage();
    stage.enter("orch", "jobs@conference.x/orch");
    assert_eq!(
        stage.say("ann", "<presence to='jobs@conference.x/ann'/>"),
        ["ann < presence:error jobs@conference.x/ann !not-authorized muc"]
    );
    assert_eq!(
        stage.enter("ann", "jobs@conference.x/orch"),
        ["ann < presence:error jobs@conference.x/orch !conflict muc"]
    );
    assert_eq!(
        stage.enter("ann", "jobs@conference.x"),
        ["ann < presence:error jobs@conference.x !jid-malformed muc"]
    );
    stage.enter("ann", "crowded@conference.x/ann");
    assert_eq!(
        stage.enter("bob", "crowded@conference.x/bob"),
        ["bob < presence:error crowded@conference.x/bob !service-unavailable muc"]
    );
    // The one who runs the rooms always fits, and takes no one's place.
    assert_eq!(stage.enter("orch", "crowded@conference.x/orch").len(), 4);
    stage.drop("ann");
    assert!(stage.enter("bob", "crowded@conference.x/bob").last().unwrap().contains("subject"));
}

#[test]
fn messages_go_to_all_or_to_one_and_need_an_occupant() {
    let mut stage = stage();
    stage.enter("orch", "open@conference.x/orch");
    stage.enter("ann", "open@conference.x/ann");
    assert_eq!(
        stage.say("ann", "<message type='groupchat' to='open@conference.x'><body>hi</body></message>"),
        [
            "ann < message:groupchat open@conference.x/ann body=hi",
            "orch < message:groupchat open@conference.x/ann body=hi",
        ]
    );
    for kind in ["chat", "normal"] {
        let forged = "<x xmlns='http://jabber.org/protocol/muc#user'><status code='301'/></x>";
        let message =
            format!("<message type='{kind}' to='open@conference.x/orch'><body>p</body>{forged}</message>");
        assert_eq!(
            stage.say("ann", &message),
            [format!("orch < message:{kind} open@conference.x/ann body=p")]
        );
    }
    for (who, message, answer) in [
        ("ann", "type='chat' to='open@conference.x/nobody'", "open@conference.x/nobody !item-not-found"),
        ("ann", "type='groupchat' to='open@conference.x/orch'", "open@conference.x/orch !bad-request"),
        ("bob", "type='groupchat' to='open@conference.x'", "open@conference.x !not-acceptable"),
        ("bob", "type='chat' to='open@conference.x/orch'", "open@conference.x/orch !not-acceptable"),
        ("bob", "type='groupchat' to='none@conference.x'", "none@conference.x !item-not-found"),
    ] {
        assert_eq!(
            stage.say(who, &format!("<message {message}/>")),
            [format!("{who} < message:error {answer}")]
        );
    }
}

#[test]
fn the_subject_is_kept_for_the_next_occupant_and_set_by_moderators() {
    let mut stage = stage();
    stage.enter("orch", "open@conference.x/orch");
    let subject = "<message type='groupchat' to='open@conference.x'><subject>work</subject></message>";
    assert_eq!(stage.say("orch", subject), ["orch < message:groupchat open@conference.x/orch subject=work"]);
    let entered = stage.enter("ann", "open@conference.x/ann");
    assert_eq!(entered.last().unwrap(), "ann < message:groupchat open@conference.x/orch subject=work");
    assert_eq!(stage.say("ann", subject), ["ann < message:error open@conference.x !forbidden"]);
}

#[test]
fn nicknames_and_status_change() {
    let mut stage = stage();
    stage.enter("orch", "open@conference.x/orch");
    stage.enter("ann", "open@conference.x/ann");
    assert_eq!(
        stage.say("ann", "<presence to='open@conference.x/anna'/>"),
        [
            "ann < presence:unavailable open@conference.x/ann participant=ann@x/1 now:anna 303 110",
            "orch < presence:unavailable open@conference.x/ann participant=ann@x/1 now:anna 303",
            "ann < presence open@conference.x/anna participant=ann@x/1 100 110",
            "orch < presence open@conference.x/anna participant=ann@x/1",
        ]
    );
    assert_eq!(
        stage.say("ann", "<presence to='open@conference.x/orch'/>"),
        ["ann < presence:error open@conference.x/orch !conflict muc"]
    );
    let away = stage.say("ann", "<presence to='open@conference.x/anna'><show>away</show></presence>");
    assert_eq!(away[1], "orch < presence open@conference.x/anna participant=ann@x/1 show=away");
    // The status is told to those who come later.
    assert!(stage.enter("bob", "open@conference.x/bob")[0].ends_with("show=away"));
    // Whoever enters twice is told everything once more.
    assert_eq!(stage.enter("ann", "open@conference.x/anna").len(), 2 + 2 + 2);
}

#[test]
fn leaving_and_dropping_are_announced() {
    let mut stage = stage();
    stage.enter("orch", "open@conference.x/orch");
    stage.enter("ann", "open@conference.x/ann");
    assert_eq!(
        stage.say("ann", "<presence type='unavailable' to='open@conference.x/ann'/>"),
        [
            "ann < presence:unavailable open@conference.x/ann none=ann@x/1 110",
            "orch < presence:unavailable open@conference.x/ann none=ann@x/1",
        ]
    );
    assert_eq!(stage.say("ann", "<presence type='unavailable' to='open@conference.x/ann'/>"), [""; 0]);
    stage.enter("ann", "open@conference.x/ann");
    assert_eq!(stage.drop("ann"), ["orch < presence:unavailable open@conference.x/ann none=ann@x/1"]);
    stage.enter("bob", "open@conference.x/bob");
    let away = stage.say("bob", "<presence type='unavailable'/>");
    assert_eq!(away, ["orch < presence:unavailable open@conference.x/bob none=bob@x/1"]);
}

#[test]
fn kicking_is_for_moderators_and_not_of_owners() {
    let mut stage = stage();
    stage.enter("orch", "open@conference.x/orch");
    stage.enter("ann", "open@conference.x/ann");
    stage.enter("bob", "open@conference.x/bob");
    let kick = |nick: &str| {
        format!(
            "<iq type='set' id='k' to='open@conference.x'><query xmlns='http://jabber.org/protocol/muc#admin'>\
             <item nick='{nick}' role='none'><reason>order</reason></item></query></iq>"
        )
    };
    assert_eq!(stage.say("bob", &kick("ann")), ["bob < iq:error open@conference.x !forbidden"]);
    assert_eq!(
        stage.say("orch", &kick("ann")),
        [
            "ann < presence:unavailable open@conference.x/ann none=ann@x/1 307 110",
            "bob < presence:unavailable open@conference.x/ann none=ann@x/1 307",
            "orch < presence:unavailable open@conference.x/ann none=ann@x/1 307",
            "orch < iq:result open@conference.x",
        ]
    );
    assert_eq!(stage.say("orch", &kick("ann")), ["orch < iq:error open@conference.x !item-not-found"]);
    assert_eq!(stage.say("orch", &kick("orch")), ["orch < iq:error open@conference.x !not-allowed"]);
}

#[test]
fn a_ping_to_oneself_tells_whether_one_is_inside() {
    let mut stage = stage();
    let ping = "<iq type='get' id='p' to='open@conference.x/ann'><ping xmlns='urn:xmpp:ping'/></iq>";
    assert_eq!(stage.say("ann", ping), ["ann < iq:error open@conference.x/ann !not-acceptable"]);
    stage.enter("ann", "open@conference.x/ann");
    assert_eq!(stage.say("ann", ping), ["ann < iq:result open@conference.x/ann"]);
    // A ping to someone else goes there, and so does the answer.
    stage.enter("bob", "open@conference.x/bob");
    assert_eq!(stage.say("bob", ping), ["ann < iq:get open@conference.x/bob"]);
    let answer = "<iq type='result' id='p' to='open@conference.x/bob'/>";
    assert_eq!(stage.say("ann", answer), ["bob < iq:result open@conference.x/ann"]);
}

#[test]
fn rooms_are_made_on_entering_where_allowed_and_vanish_when_empty() {
    let mut stage = stage();
    assert!(stage.enter("ann", "new@conference.x/ann")[0].ends_with("100 110 201"));
    // Her password is the room's.
    assert_eq!(
        stage.say("bob", "<presence to='new@conference.x/bob'/>"),
        ["bob < presence:error new@conference.x/bob !not-authorized muc"]
    );
    assert!(stage.enter("bob", "newer@conference.x/bob")[0].ends_with("201"));
    assert_eq!(
        stage.enter("bob", "one-too-many@conference.x/bob"),
        ["bob < presence:error one-too-many@conference.x/bob !not-allowed muc"]
    );
    stage.drop("ann");
    assert!(stage.say("bob", "<presence to='new@conference.x/bob'/>")[0].ends_with("201"));
}

#[test]
fn a_full_jid_belongs_to_its_newest_session() {
    let mut stage = stage();
    stage.enter("ann", "open@conference.x/ann");
    stage.enter("bob", "open@conference.x/bob");
    let mut effects = Vec::new();
    let (newer, jid) = stage.domain.bind("ANN", "1", &mut effects).unwrap();
    assert_eq!(jid, "ann@x/1");
    let old = "bob < presence:unavailable open@conference.x/ann none=ann@x/1";
    assert_eq!(stage.show(effects), [old, "ann ends: conflict"]);
    stage.drop("ann");
    assert_eq!(stage.domain.sessions_of("ann"), [newer]);
}

#[test]
fn requests_that_are_not_well_formed_are_refused() {
    let mut stage = stage();
    for iq in [
        "<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>",
        "<iq type='get' id='1'/>",
        "<iq type='odd' id='1'/>",
    ] {
        assert_eq!(stage.say("ann", iq), ["ann < iq:error !bad-request"], "{iq}");
    }
    assert_eq!(stage.say("ann", "<iq type='result' id='1'/>"), [""; 0]);
}
