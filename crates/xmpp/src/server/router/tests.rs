//! Rooms with many occupants and the queues of those who enter them, without sockets.

use futures_util::FutureExt as _;

use super::*;
use crate::server::{DomainConfig, RoomConfig};
use crate::wire::ns;
use crate::wire::stanza::ElementExt;

const ROOM: &str = "jobs@conference.x";

fn domain(limits: &Limits) -> Domain {
    let room = RoomConfig { members_max: usize::MAX, ..RoomConfig::new("jobs", None) };
    let config = DomainConfig {
        domain: "x".into(),
        rooms_domain: "conference.x".into(),
        rooms: vec![room],
        create_rooms: false,
        owners: Vec::new(),
        software_name: "test".into(),
        software_version: "1".into(),
        rooms_max: limits.rooms_max,
        rooms_per_session_max: limits.rooms_per_session_max,
        sessions_per_account_max: usize::MAX,
    };
    Domain::new(config).unwrap()
}

/// A domain with so many in the room, named so that they sort by number.
fn crowd(limits: &Limits, occupants: usize) -> Domain {
    let mut domain = domain(limits);
    let mut effects = Vec::new();
    for n in 0..occupants {
        let nick = format!("a{n:05}");
        let (session, _) = domain.bind("a", &nick, &mut effects).unwrap();
        domain.handle(session, entering(&nick), &mut effects);
        effects.clear();
    }
    domain
}

fn presence(nick: &str) -> Element {
    Element::bare("presence", ns::CLIENT).with("to", &format!("{ROOM}/{nick}"))
}

fn entering(nick: &str) -> Element {
    presence(nick).with_child(Element::bare("x", ns::MUC))
}

fn enter(router: &Arc<Router>, nick: &str) -> Attached {
    let attached = router.attach(nick, "1", None).unwrap();
    attached.route(entering(nick), 100);
    attached
}

/// What waits for a session, without waiting for more.
fn waiting(session: &mut Attached) -> Vec<Arc<Element>> {
    std::iter::from_fn(|| match session.next().now_or_never()? {
        Next::Stanza(stanza) => Some(stanza),
        Next::End(condition) => panic!("ended: {condition}"),
    })
    .collect()
}

fn from(stanza: &Element) -> &str {
    stanza.attr("from").unwrap_or_default()
}

fn is_self(stanza: &Element) -> bool {
    stanza.get_child("x", ns::MUC_USER).is_some_and(|x| x.children().any(|c| c.attr("code") == Some("110")))
}

#[test]
fn five_thousand_occupants_are_told_in_order_and_cost_a_newcomer_one_place_of_its_queue() {
    const OCCUPANTS: usize = 5000;
    let limits = Limits::default();
    let router = Router::new(crowd(&limits, OCCUPANTS), &limits);
    // In the middle of the order of the room.
    let mut leaving = enter(&router, "a02500-b");
    assert_eq!(waiting(&mut leaving).len(), OCCUPANTS + 2);
    let mut newcomer = enter(&router, "n");
    assert_eq!(newcomer.load.stanzas.load(Ordering::Relaxed), 3);
    assert!(newcomer.load.bytes.load(Ordering::Relaxed) < limits.queue_bytes_max / 100);
    // One leaves before and one enters while the newcomer is being told of all others.
    let told: Vec<_> = (0..10).filter_map(|_| newcomer.try_next()).collect();
    assert_eq!(told.len(), 10);
    drop(leaving);
    let later = enter(&router, "a00000-b");
    assert!(newcomer.is_being_told());
    let told: Vec<_> = told.into_iter().chain(waiting(&mut newcomer)).collect();
    assert!(!newcomer.is_being_told());
    let (others, then) = told.split_at(OCCUPANTS + 1);
    assert!(others.iter().all(|p| p.attr("type").is_none() && !is_self(p)));
    assert!(others.windows(2).all(|pair| from(&pair[0]) < from(&pair[1])));
    assert!(others.iter().any(|p| from(p) == format!("{ROOM}/a02500-b")));
    let then: Vec<_> = then.iter().map(|s| (s.name(), from(s), s.attr("type"), is_self(s))).collect();
    let (own, gone, new) = (format!("{ROOM}/n"), format!("{ROOM}/a02500-b"), format!("{ROOM}/a00000-b"));
    assert_eq!(
        then,
        [
            ("presence", &*own, None, true),
            ("message", ROOM, Some("groupchat"), false),
            ("presence", &*gone, Some("unavailable"), false),
            ("presence", &*new, None, false),
        ]
    );
    newcomer.route(presence("n").with("type", "unavailable"), 100);
    let left = waiting(&mut newcomer);
    assert!(left.len() == 1 && is_self(&left[0]), "{left:?}");
    assert_eq!(newcomer.load.stanzas.load(Ordering::Relaxed), 0);
    assert_eq!(newcomer.load.bytes.load(Ordering::Relaxed), 0);
    assert_eq!(router.counters().slow_readers_ended, 0);
    drop(later);
}

#[test]
fn a_room_tells_everyone_the_same_allocation() {
    let limits = Limits::default();
    let router = Router::new(domain(&limits), &limits);
    let mut inside: Vec<_> = ["a", "b", "c"].map(|nick| enter(&router, nick)).into();
    inside.iter_mut().for_each(|session| drop(waiting(session)));
    let newcomer = enter(&router, "n");
    let mut later = enter(&router, "z");
    let of_newcomer = |session: &mut Attached| {
        let all = waiting(session);
        all.into_iter().find(|s| from(s).ends_with("/n") && s.name() == "presence").unwrap()
    };
    let told: Vec<_> = inside.iter_mut().chain([&mut later]).map(of_newcomer).collect();
    assert!(told.iter().all(|one| Arc::ptr_eq(one, &told[0])));
    let message = Element::bare("message", ns::CLIENT).with("to", ROOM).with("type", "groupchat");
    newcomer.route(message.with_child(Element::bare("body", ns::CLIENT).with_text("hi")), 100);
    let said: Vec<_> = inside.iter_mut().map(|session| waiting(session).pop().unwrap()).collect();
    assert!(said.iter().all(|one| Arc::ptr_eq(one, &said[0]) && one.attr("to").is_none()));
}

#[test]
fn who_does_not_take_what_a_room_tells_is_ended_before_the_rest_of_it() {
    let limits = Limits { queue_stanzas_max: 8, ..Limits::default() };
    let router = Router::new(crowd(&limits, 100), &limits);
    let mut slow = enter(&router, "slow");
    let mut other = enter(&router, "other");
    for _ in 0..limits.queue_stanzas_max {
        other.route(presence("other"), 100);
        waiting(&mut other);
    }
    assert!(matches!(slow.next().now_or_never(), Some(Next::End("resource-constraint"))));
    assert_eq!(router.counters().slow_readers_ended, 1);
}

#[test]
fn all_others_may_come_and_go_at_once() {
    // The defaults' relation, of fewer.
    let Limits { queue_stanzas_max, connections_max, .. } = Limits::default();
    assert!(queue_stanzas_max >= 2 * connections_max);
    let limits = Limits { queue_stanzas_max: 2 * 200, connections_max: 200, ..Limits::default() };
    let router = Router::new(domain(&limits), &limits);
    let mut stays = enter(&router, "stays");
    waiting(&mut stays);
    let others: Vec<_> = (1..limits.connections_max).map(|n| enter(&router, &format!("a{n}"))).collect();
    let count = others.len();
    drop(others);
    assert_eq!(waiting(&mut stays).len(), 2 * count);
    assert_eq!(router.counters().slow_readers_ended, 0);
}
