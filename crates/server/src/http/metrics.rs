//! `GET /metrics`: the server as monitors see it, in Prometheus' text format.
//!
//! What is counted where it happens is registered as it is; what is so at this moment is asked at each reading.

use super::answer::{self, Asked};
use super::caller::Caller;
use crate::app::{App, Parts};
use anabranch_engine::Room;
use anabranch_login::Operation;
use anabranch_remote::Orchestrator;
use anabranch_xmpp::server::ServerHandle;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

/// Of the text format (Prometheus, "Exposition formats").
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn metrics(State(app): State<App>, caller: Caller, headers: HeaderMap) -> Response {
    if let Err(error) = caller.check_any(Operation::Operate) {
        let asked = Asked { app: &app, caller: &caller, headers: &headers, query: None, path: "/metrics" };
        return asked.error(&error);
    }
    let mut text = String::new();
    match encode(&mut text, &registry(&app)) {
        Ok(()) => answer::with_type(StatusCode::OK, MEDIA_TYPE, text),
        Err(error) => {
            tracing::error!(%error, "the metrics can't be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn registry(app: &Parts) -> Registry {
    let mut registry = Registry::with_prefix("anabranch");
    let version = ConstGauge::new(1_i64);
    let labels = [("version".into(), env!("CARGO_PKG_VERSION").into())];
    registry.sub_registry_with_labels(labels.into_iter()).register("build", "The program", version);
    registry.register("draining", "1 while no new jobs are taken", flag(app.engine.is_draining()));
    app.engine.register_metrics(&mut registry);
    app.requests.register(&mut registry);
    app.connections.register(&mut registry);
    agents(&mut registry, &app.orchestrator);
    if let Some(xmpp) = &app.xmpp {
        sessions(&mut registry, xmpp);
    }
    let refusals = labelled("reason", app.egress.refusals());
    registry.register("egress_refusals", "References that the policy has refused, by reason", refusals);
    disk(&mut registry, app.engine.room());
    registry
}

fn agents(registry: &mut Registry, orchestrator: &Orchestrator) {
    let agents = orchestrator.agents();
    let connected = || agents.iter().filter(|agent| agent.connected);
    let lost = agents.len() - connected().count();
    let states = Family::<[(&str, &str); 1], Gauge>::default();
    for (state, count) in [("connected", connected().count()), ("lost", lost)] {
        states.get_or_create(&[("state", state)]).set(gauge(count as u64));
    }
    registry.register("agents", "Agents, by state", states);
    let slots: u32 = connected().map(|agent| agent.capacity).sum();
    let taken: u32 = connected().map(|agent| agent.running).sum();
    let draining = connected().filter(|agent| agent.draining).count() as u64;
    let counters = orchestrator.counters();
    for (name, help, value) in [
        ("agents_draining", "Agents that take no new runs", draining),
        ("agent_slots", "Slots of connected agents", slots.into()),
        ("agent_slots_taken", "Slots that runs have", taken.into()),
        ("runs_waiting", "Runs that wait for an agent", counters.runs_waiting),
    ] {
        registry.register(name, help, ConstGauge::new(gauge(value)));
    }
    let online = flag(counters.online);
    registry.register("xmpp_online", "1 while the server is connected to its XMPP server", online);
    let runs = labelled(
        "event",
        [
            ("sent", counters.runs_sent),
            ("completed", counters.runs_completed),
            ("failed", counters.runs_failed),
            ("aborted", counters.runs_aborted),
            ("lost", counters.runs_lost),
            ("refused", counters.runs_refused),
            ("reattached", counters.runs_reattached),
        ],
    );
    registry.register("runs", "What has happened to runs at agents", runs);
    let messages = labelled(
        "event",
        [
            ("received", counters.messages_received),
            ("resent", counters.messages_resent),
            ("rejected", counters.messages_rejected),
        ],
    );
    registry.register("agent_messages", "Messages of the agent protocol", messages);
}

fn sessions(registry: &mut Registry, xmpp: &ServerHandle) {
    let counters = xmpp.counters();
    let sessions = ConstGauge::new(gauge(xmpp.sessions().len() as u64));
    registry.register("xmpp_sessions", "Sessions at the embedded XMPP server", sessions);
    let events = labelled(
        "event",
        [
            ("connection_accepted", counters.connections_accepted),
            ("connection_refused", counters.connections_refused),
            ("negotiation_failed", counters.negotiations_failed),
            ("login", counters.logins),
            ("login_failed", counters.logins_failed),
            ("stanza_received", counters.stanzas_received),
            ("stanza_delivered", counters.stanzas_delivered),
            ("slow_reader_ended", counters.slow_readers_ended),
            ("bad_stream_ended", counters.bad_streams_ended),
        ],
    );
    registry.register("xmpp_events", "What has happened at the embedded XMPP server", events);
}

/// Room where results lie. A file system that says nothing is left out.
fn disk(registry: &mut Registry, room: Option<Room>) {
    let Some(room) = room else { return };
    for (name, help, bytes) in [
        ("disk_free", "Bytes free where results are kept", room.free_bytes),
        ("disk_size", "Bytes of that file system", room.total_bytes),
    ] {
        registry.register_with_unit(name, help, Unit::Bytes, ConstGauge::new(gauge(bytes)));
    }
}

fn labelled(
    label: &'static str,
    counts: impl IntoIterator<Item = (&'static str, u64)>,
) -> Family<[(&'static str, &'static str); 1], Counter> {
    let family = Family::<[(&str, &str); 1], Counter>::default();
    for (name, count) in counts {
        family.get_or_create(&[(label, name)]).inc_by(count);
    }
    family
}

fn flag(on: bool) -> ConstGauge {
    ConstGauge::new(i64::from(on))
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count that is kept elsewhere.
pub(crate) fn counter(count: u64) -> ConstCounter {
    ConstCounter::new(count)
}
