//! A session that takes no more: what is to be said waits for room, in its order, and none of it is lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch_model::*;
use anabranch_remote::message::{Execute, WantedOutput, Welcome};
use anabranch_remote::wire::{self, Envelope};
use anabranch_remote::*;
use anabranch_xmpp::bus::COMMANDS_MAX;
use anabranch_xmpp::{
    Bus, BusDriver, BusEvent, ClientError, Command, Incoming, MessageKind, OccupantChange, RoomJoin,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, eventually, services};
use crate::doubles::*;
use crate::room::ROOM;
use crate::session::{AGENT, ServersSession, all, executed, hello, message, occupant, said};

const SERVER: &str = "orchestrator";
/// More than the session takes at once.
const RUNS: usize = COMMANDS_MAX + 100;

/// Submits all runs and waits until the session is full of them; gives them in their order.
async fn fill(session: &ServersSession) -> Vec<RunId> {
    let runs = (0..RUNS).map(|_| session.execute(false).0).collect();
    eventually("all are sent", || session.orchestrator.counters().runs_sent as usize == RUNS).await;
    runs
}

#[tokio::test(start_paused = true)]
async fn runs_leave_in_their_order_as_soon_as_there_is_room() {
    let mut session = ServersSession::open(Arc::new(Web::default()), |_| {}).await;
    let runs = fill(&session).await;
    let mut left = Vec::new();
    // One by one, so that room comes for one at a time.
    while let Some(envelope) = message(&mut session.driver).await {
        left.extend(executed(&[envelope]));
    }
    assert_eq!(left, runs, "in their order, each once");
    session.accept(&runs).await;
    assert_eq!(executed(&all(&mut session.driver).await), []);
}

#[tokio::test(start_paused = true)]
async fn no_run_is_lost_when_a_full_session_is_replaced() {
    let mut session = ServersSession::open(Arc::new(Web::default()), |_| {}).await;
    let runs = fill(&session).await;
    session.driver.link_lost("cut".into()).await;
    session.driver.emit(BusEvent::Up { jid: "orchestrator@test/server".into() }).await;
    session.driver.emit(occupant(AGENT, OccupantChange::Joined)).await;
    session.driver.emit(said(AGENT, &hello())).await;
    // What had been handed over may have left, and is repeated when it is not acknowledged.
    let (mut left, start) = (Vec::new(), Instant::now());
    while left.len() < RUNS {
        assert!(start.elapsed().as_secs() < 10, "{} of {RUNS} are repeated", left.len());
        let more = executed(&all(&mut session.driver).await);
        session.accept(&more).await;
        left.extend(more);
    }
    left.sort_unstable();
    let mut wanted = runs;
    wanted.sort_unstable();
    assert_eq!(left, wanted, "each once");
    assert_eq!(session.orchestrator.counters().runs_lost, 0);
}

#[tokio::test(start_paused = true)]
async fn an_agent_goes_on_as_soon_as_its_session_has_room() {
    /// Ten runs of 40 outputs each are more than the session takes at once.
    const OUTPUTS: usize = 40;
    const AT_ONCE: u32 = 10;
    let (bus, mut driver) = Bus::channel();
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let many = Script::new("default:Many", move |execution: Execution| {
        let count = Arc::clone(&count);
        async move {
            for n in 0..OUTPUTS {
                execution.sink.write("out", text(n.to_string())).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let join = RoomJoin { room: ROOM.into(), nick: AGENT.into(), password: None };
    let settings = AgentSettings::new(vec![join], "host", folder.path());
    settings.profile.send_modify(|profile| profile.capacity = AT_ONCE);
    let (_services, offered) = tokio::sync::watch::channel(services(vec![many]));
    let web = Cluster::new().web;
    let agent = Agent::run(bus, offered, settings, web, Arc::new(Idle), CancellationToken::new());
    let agent = tokio::spawn(agent);

    driver.emit(BusEvent::Up { jid: "a1@test/agent".into() }).await;
    driver.emit(occupant(SERVER, OccupantChange::Joined)).await;
    let Some(Envelope { message: Message::Hello(hello), .. }) = message(&mut driver).await else {
        panic!("an agent introduces itself")
    };
    let welcome = Message::Welcome(Welcome {
        incarnation: hello.incarnation,
        version: "test".into(),
        wire: wire::NATIVE.into(),
        load_interval_ms: 60_000,
    });
    driver.emit(said(SERVER, &Envelope::session(welcome))).await;
    all(&mut driver).await;
    for _ in 0..AT_ONCE {
        let run = RunId { job: JobId::random(), attempt: 1, part: None };
        let outputs = vec![WantedOutput {
            request: OutputRequest {
                id: "out".into(),
                format: FormatHint::default(),
                transmission: Transmission::Value,
                uom: None,
            },
            upload_url: None,
        }];
        let execute = Execute {
            process: ProcessId::new("default:Many").unwrap(),
            offer: 1,
            inputs: Vec::new(),
            outputs,
            fed: None,
            cpu_s_max: None,
        };
        let message = Message::Execute(Box::new(execute));
        driver.emit(said(SERVER, &Envelope { run: Some(run), seq: 1, ack: 0, message })).await;
    }
    // Nothing is read until the runs have said all.
    eventually("all is written", || written.load(Ordering::Relaxed) == OUTPUTS * AT_ONCE as usize).await;
    let start = Instant::now();
    let mut heard = BTreeMap::<RunId, Vec<u64>>::new();
    while let Some(envelope) = message(&mut driver).await {
        let Some(run) = envelope.run.filter(|_| envelope.seq > 0) else { continue };
        let numbers = heard.entry(run).or_default();
        numbers.push(envelope.seq);
        let acknowledge =
            Envelope { run: Some(run), seq: 0, ack: envelope.seq, message: Message::Acknowledge };
        driver.emit(said(SERVER, &acknowledge)).await;
    }
    let passed = start.elapsed();
    assert!(passed <= Duration::from_millis(1), "no time went by with waiting: {passed:?}");
    assert_eq!(heard.len(), AT_ONCE as usize);
    for (run, numbers) in heard {
        let wanted: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert!(numbers == wanted && numbers.len() > OUTPUTS, "{run}: {numbers:?}");
    }
    agent.abort();
}

/// Sessions in the hands of the test, in the order in which they were opened.
#[derive(Default)]
struct Opened(Mutex<Vec<BusDriver>>);

impl Sessions for Opened {
    fn open(&self, _resource: &str, _room: RoomJoin) -> Result<Bus, ClientError> {
        let (bus, driver) = Bus::channel();
        self.0.lock().unwrap().push(driver);
        Ok(bus)
    }
}

impl Opened {
    /// The next one, when it is open and in the room.
    async fn next(&self) -> BusDriver {
        eventually("a session", || !self.0.lock().unwrap().is_empty()).await;
        let mut driver = self.0.lock().unwrap().remove(0);
        driver.emit(BusEvent::Up { jid: "default.dummy@test/vm".into() }).await;
        driver.emit(BusEvent::Joined { room: ROOM.into(), nick: "Dummy@geoserver.org".into() }).await;
        driver
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_of_wps_remote_tells_the_end_as_soon_as_there_is_room() {
    const PROGRESS: usize = COMMANDS_MAX + 50;
    let has_ended = Arc::new(AtomicUsize::new(0));
    let end = Arc::clone(&has_ended);
    // Without a shared folder there is no way for outputs.
    let without_outputs = ProcessDescription { outputs: Vec::new(), ..description("default:Dummy") };
    let chatty = Script::described(without_outputs, move |execution: Execution| {
        let end = Arc::clone(&end);
        async move {
            for n in 0..PROGRESS {
                execution.sink.progress(n as f32 / 10.0, None);
                execution.sink.sleep(Duration::from_millis(250)).await;
            }
            end.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let settings = WpsRemoteSettings {
        rooms: vec![ROOM.into()],
        room_password: None,
        domain: "geoserver.org".into(),
        host: "vm".into(),
        orchestrator: "admin@test".into(),
        capacity: 1,
        folder: folder.path().into(),
        shared_folder: None,
        shared_keep: None,
        shutdown: Duration::from_secs(10),
    };
    let (_services, offered) = tokio::sync::watch::channel(services(vec![chatty]));
    let opened = Arc::new(Opened::default());
    let sessions = Arc::clone(&opened) as Arc<dyn Sessions>;
    let agent = WpsRemoteAgent::run(sessions, offered, settings, Arc::new(Idle), CancellationToken::new());
    let agent = tokio::spawn(agent);

    let mut master = opened.next().await;
    let body = "topic=request&id=b1&baseURL=http://h/&message=%80%02%7Dq%00%28u.";
    let request = BusEvent::Message(Incoming {
        from: format!("{ROOM}/admin@geoserver.org"),
        room: Some(ROOM.into()),
        nick: Some("admin@geoserver.org".into()),
        real_jid: Some("admin@test/geoserver".into()),
        kind: MessageKind::Chat,
        id: None,
        body: Some(body.into()),
        payloads: Vec::new(),
    });
    master.emit(request).await;
    let mut run = opened.next().await;
    eventually("the work has ended", || has_ended.load(Ordering::Relaxed) == 1).await;
    let (start, mut bodies) = (Instant::now(), Vec::new());
    while !bodies.last().is_some_and(|body: &String| body.starts_with("topic=completed&")) {
        if let Some(Command::Send(sent)) = run.next_command().await {
            bodies.extend(sent.body);
        }
    }
    assert!(start.elapsed() < Duration::from_millis(1), "time went by with waiting: {:?}", start.elapsed());
    assert!(bodies.len() > COMMANDS_MAX, "the session was full: {}", bodies.len());
    agent.abort();
}
