//! What was caught between the original's agents and its server, played to our server by stand-ins for the agents: each says
//! at its time what it was caught saying, and has to hear what it was caught hearing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anabranch_model::*;
use anabranch_remote::message::{CarriedValue, Payload};
use anabranch_remote::wire::wps_remote::{Body, decode};
use anabranch_remote::{Message, RunId};
use anabranch_xmpp::Element;
use tokio::time::Instant;

use crate::cluster::{Cluster, Job, Server};
use crate::doubles::Seen;
use crate::stock::{Occupant, read, testdata};

/// One line of a transcript.
pub(crate) enum Line {
    Joined {
        account: String,
        nick: String,
    },
    Left {
        nick: String,
    },
    Said {
        nick: String,
        body: String,
    },
    /// By the server.
    Heard {
        nick: String,
        body: String,
    },
}

pub(crate) fn lines(name: &str) -> Vec<(Duration, Line)> {
    let text = testdata(&format!("transcripts/{name}.jsonl"));
    text.lines().filter_map(line).collect()
}

/// `None` for what is between the XMPP server and the orchestrator alone.
fn line(text: &str) -> Option<(Duration, Line)> {
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    let at = Duration::from_secs_f64(json["t"].as_f64().unwrap());
    let stanza = json["xml"].as_str().unwrap().replacen(' ', " xmlns='jabber:client' ", 1);
    let stanza: Element = stanza.parse().unwrap();
    let body = stanza.get_child("body", "jabber:client").map(Element::text);
    let nick = |attribute| {
        Some(stanza.attr(attribute)?.strip_prefix("default@conference.geoserver.org/")?.to_owned())
    };
    if json["dir"] == "SEND" {
        return Some((at, Line::Heard { nick: nick("to")?, body: body? }));
    }
    let nick = nick("from").filter(|nick| nick.contains('/'))?;
    let line = match (stanza.name(), stanza.attr("type")) {
        ("message", _) => Line::Said { nick, body: body? },
        (_, Some("unavailable")) => Line::Left { nick },
        _ => {
            let user = stanza.get_child("x", "http://jabber.org/protocol/muc#user")?;
            let jid = user.get_child("item", "http://jabber.org/protocol/muc#user")?.attr("jid")?;
            Line::Joined { account: jid.split('@').next()?.to_owned(), nick }
        }
    };
    Some((at, line))
}

/// A transcript on its way.
struct Play {
    _cluster: Cluster,
    server: Server,
    occupants: BTreeMap<String, Occupant>,
    /// By the names that they were caught with.
    jobs: BTreeMap<String, (RunId, Job)>,
    /// Who said that they had completed.
    completed: BTreeSet<String>,
}

/// How a job was seen, and how it ended; `None` where it goes on.
struct Outcome {
    seen: Seen,
    result: Option<Result<(), Error>>,
}

impl Outcome {
    fn failure(&self) -> String {
        self.result.as_ref().expect("ended").as_ref().expect_err("failed").client_text()
    }

    fn outputs(&self) -> Vec<(&str, &str)> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        self.seen.outputs.iter().map(|(id, bytes)| (id.as_str(), text(bytes))).collect()
    }
}

impl Play {
    /// Plays all lines; then waits until what has to end has ended.
    async fn all(name: &str) -> (Self, BTreeMap<String, Outcome>) {
        let cluster = Cluster::new();
        let server = cluster.server();
        let mut play = Self {
            server,
            occupants: BTreeMap::new(),
            jobs: BTreeMap::new(),
            completed: BTreeSet::new(),
            _cluster: cluster,
        };
        let begun = Instant::now();
        for (at, line) in lines(name) {
            tokio::time::sleep_until(begun + at).await;
            play.line(line).await;
        }
        // Longer than any wait for a sign of life: a job that has not ended by then never does.
        let deadline = Instant::now() + Duration::from_secs(90);
        let mut outcomes = BTreeMap::new();
        for (name, (_, mut job)) in std::mem::take(&mut play.jobs) {
            let ended = tokio::time::timeout_at(deadline, &mut job.result).await;
            let result = ended.ok().map(|result| result.expect("the job's task does not panic"));
            outcomes.insert(name, Outcome { seen: job.sink.seen(), result });
        }
        (play, outcomes)
    }

    async fn line(&mut self, line: Line) {
        match line {
            Line::Joined { account, nick } => {
                let (room, nick) = (self._cluster.room.clone(), self.ours(&nick));
                let occupant = if nick.contains("/master@") {
                    Occupant::master(&room, &account, &nick).await
                } else {
                    Occupant::enter(&room, &account, &nick).await
                };
                self.occupants.insert(nick, occupant);
            }
            Line::Left { nick } => drop(self.occupants.remove(&self.ours(&nick))),
            Line::Said { nick, body } => {
                let (nick, body) = (self.ours(&nick), self.ours(&body));
                self.occupants[&nick].say(&body).await;
                if body.starts_with("topic=completed") {
                    self.completed.insert(nick);
                }
            }
            Line::Heard { nick, body } => self.heard(&nick, &body).await,
        }
    }

    /// What the server was caught saying: it has to say that now.
    async fn heard(&mut self, nick: &str, body: &str) {
        let occupant = self.ours(nick);
        match decode(body, Some(&process(nick))) {
            Some(Ok(Body { execution: Some(execution), messages, base_url, .. })) if base_url.is_ascii() => {
                let Message::Execute(execute) = &messages[0] else { panic!("{body}") };
                let execution = execution.to_string();
                self.execute(nick, &execution, &execute.inputs).await;
                let (run, _) = &self.jobs[&execution];
                let Some(occupant) = self.occupants.get(&occupant) else { return };
                let begins = format!("topic=request&id={run}&");
                let sent = || occupant.heard("request").into_iter().find(|body| body.starts_with(&begins));
                crate::cluster::eventually("the request", || sent().is_some()).await;
                let Message::Execute(ours) = &read(&sent().unwrap()).messages[0] else { panic!("a request") };
                assert_eq!(sorted(&ours.inputs), sorted(&execute.inputs), "{body}");
            }
            Some(Ok(Body { execution: None, messages, .. })) => match &messages[0] {
                Message::Abort => {
                    let (_, job) = self.job_of(nick);
                    job.sink.cancel.cancel();
                    self.occupants[&occupant].hears("abort", 1).await;
                }
                // Ours says nothing after an error, nor to runs that were begun before the transcript.
                Message::Finish if self.completed.contains(&occupant) => {
                    self.occupants[&occupant].hears("finish", 1).await;
                }
                Message::Finish => {}
                Message::Invite => {
                    if let Some(occupant) = self.occupants.get(&occupant) {
                        occupant.hears("invite", 1).await;
                    }
                }
                Message::LoadQuery => self.occupants[&occupant].hears("getloadavg", 1).await,
                other => panic!("{other:?}"),
            },
            // Wrong on purpose, to see what the original's agents do; ours is not to say such things.
            _ => {}
        }
    }

    async fn execute(&mut self, nick: &str, execution: &str, inputs: &[(String, Vec<CarriedValue>)]) {
        let process = process(nick);
        let description = self.server.registry.published(process.as_str()).await.description();
        let inputs = inputs.iter().map(|(id, values)| {
            let data = &description.input(id).unwrap().data;
            (id.clone(), values.iter().map(|value| typed(data, value)).collect())
        });
        let job = self.server.execute_with(process.as_str(), Inputs::new(inputs.collect())).await;
        let run = RunId::whole(job.id, 1);
        self.jobs.insert(execution.to_owned(), (run, job));
    }

    fn job_of(&self, nick: &str) -> &(RunId, Job) {
        self.jobs.iter().find(|(name, _)| nick.contains(name.as_str())).map(|(_, job)| job).unwrap()
    }

    /// With the names of our runs instead of those caught.
    fn ours(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, (run, _)) in &self.jobs {
            text = text.replace(name.as_str(), &run.to_string());
        }
        text
    }
}

pub(crate) fn process(nick: &str) -> ProcessId {
    ProcessId::new(format!("default:{}", nick.split('@').next().unwrap())).unwrap()
}

/// A map is in no order.
fn sorted(inputs: &[(String, Vec<CarriedValue>)]) -> BTreeMap<&String, &Vec<CarriedValue>> {
    inputs.iter().map(|(id, values)| (id, values)).collect()
}

fn typed(data: &DataDescription, value: &CarriedValue) -> Value {
    let CarriedValue::Literal { text: Payload::Inline(bytes), .. } = value else { panic!("{value:?}") };
    match data {
        DataDescription::Complex(domain) => {
            Value::Complex(ComplexValue::new(Data::Bytes(bytes.clone()), domain.formats[0].clone()))
        }
        DataDescription::Literal(domain) => {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            Value::Literal(LiteralValue::new(domain.data_type, text))
        }
        DataDescription::BoundingBox(_) => panic!("WPS Remote has no boxes"),
    }
}

const HELLO: &str = "hello <&> \"world\" = 100%\nsecond line\n";

#[tokio::test(start_paused = true)]
async fn happy_a_run_with_lists_dates_progress_log_and_three_outputs() {
    let (play, outcomes) = Play::all("happy").await;
    let run = &outcomes["b00000000000001"];
    assert_eq!(run.result, Some(Ok(())));
    assert_eq!(run.seen.started, ["default.dummy@test/Dummy@vm"]);
    assert_eq!(run.seen.progress, [41.67, 50.0, 58.33, 66.67, 75.0, 83.33, 91.67, 100.0, 100.0]);
    assert_eq!(run.seen.log, ["plain info line", "step a=1 & b=2, 50% done + more", "[WARN] careful"]);
    let [zip, tiff, text] = &run.outputs()[..] else { panic!("{:?}", run.outputs()) };
    assert!(zip.0 == "result2" && zip.1.starts_with("/srv/agent-dummy/out/") && zip.1.ends_with("/out.zip"));
    assert_eq!(*tiff, ("result3", "/srv/agent-dummy/share/2d2fe255-2192-4a33-9186-8526fc5288ee/out.tif"));
    assert_eq!(*text, ("result1", HELLO));
    let counters = play.server.orchestrator.counters();
    assert_eq!((counters.runs_completed, counters.messages_rejected), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn s1_happy_early_messages_are_lost_and_the_end_is_said_twice() {
    let (_play, outcomes) = Play::all("s1-happy").await;
    let run = &outcomes["aaaaaaaaaaaa001"];
    assert_eq!(run.result, Some(Ok(())));
    assert_eq!((run.seen.outputs.len(), run.seen.progress.len()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn errors_come_one_to_three_times_and_the_first_counts() {
    let (play, outcomes) = Play::all("errors").await;
    assert_eq!(outcomes["e00000000000013"].failure(), "something = bad & 100% odd; cafe");
    assert!(outcomes["e00000000000014"].failure().contains("PId 7801 terminated with exit code -9"));
    assert!(outcomes["e00000000000016"].failure().starts_with("process exit code is 0: failure\n"));
    // The transcript ends before this one does: nothing is heard of it any more, but its occupant is there.
    assert_eq!(outcomes["e0000000badstrg"].result, None);
    assert_eq!(play.server.orchestrator.counters().runs_failed, 3);
}

#[tokio::test(start_paused = true)]
async fn abort_ends_a_run_when_its_occupant_has_left() {
    let (_play, outcomes) = Play::all("abort").await;
    let run = &outcomes["c00000000000099"];
    assert_eq!(run.result, Some(Err(Error::Dismissed)));
    assert_eq!(run.seen.progress, [15.0]);
    assert!(run.seen.log.last().unwrap().contains("may leave an executable"));
}

#[tokio::test(start_paused = true)]
async fn capacity_refused_runs_wait_and_are_offered_again() {
    let (play, outcomes) = Play::all("capacity").await;
    for name in ["d00000000000000", "d00000000000001"] {
        assert_eq!(outcomes[name].result, Some(Ok(())), "{name}");
    }
    for name in ["d00000000000002", "d00000000000003", "d00000000000004"] {
        assert!(
            outcomes[name].seen.log.iter().any(|line| line.starts_with("waiting for an agent: ")),
            "{name}"
        );
        let lost = matches!(&outcomes[name].result, Some(Err(Error::AgentLost { reason })) if reason.contains("did not begin"));
        assert!(
            lost,
            "offered again, and nobody answers for the agent any more: {:?}",
            outcomes[name].result
        );
    }
    assert!(play.server.orchestrator.counters().runs_refused >= 3);
}

#[tokio::test(start_paused = true)]
async fn joins_agents_that_come_after_the_server_are_invited() {
    let (play, _) = Play::all("joins").await;
    for process in ["default:Dummy", "default:Dummy2"] {
        play.server.registry.published(process).await;
    }
    let agents = play.server.orchestrator.agents();
    assert_eq!(agents.len(), 2);
    assert!(agents.iter().all(|agent| agent.connected && agent.load.is_some()), "{agents:?}");
}

#[tokio::test(start_paused = true)]
async fn odd_a_request_without_inputs_runs_and_foreign_runs_are_finished() {
    let (play, outcomes) = Play::all("odd").await;
    let run = &outcomes["zzz2"];
    assert_eq!(run.result, Some(Ok(())));
    assert_eq!(run.outputs()[2], ("result1", HELLO));
    assert_eq!(play.occupants.len(), 3, "two agents and the run, which was told to finish and has not left");
}

#[tokio::test(start_paused = true)]
async fn files_a_list_of_json_goes_out_and_a_blacklisted_agent_refuses() {
    let (play, outcomes) = Play::all("files").await;
    assert!(outcomes.contains_key("f00000000000001"));
    assert!(play.server.orchestrator.counters().runs_refused >= 1);
}

#[tokio::test(start_paused = true)]
async fn files2_text_and_map_context_come_as_text_and_other_names_as_well() {
    let (_play, outcomes) = Play::all("files2").await;
    let run = &outcomes["f00000000000011"];
    assert_eq!(run.result, Some(Ok(())));
    assert_eq!(run.outputs()[..2], [("result_text", "<a/>"), ("result_ctx", " ;")]);
    assert!(run.outputs()[2].1.ends_with("/o.txt"));
    assert!(outcomes["f00000000000013"].failure().contains("process exit code is"));
}

#[tokio::test(start_paused = true)]
async fn gdal_the_contour_sample_end_to_end() {
    let (_play, outcomes) = Play::all("gdal").await;
    let run = &outcomes["a1b2c3d4e5f6071"];
    assert_eq!(run.result, Some(Ok(())));
    assert_eq!(run.seen.progress, [100.0]);
    assert!(run.seen.log[0].starts_with("0...10...20"));
    assert!(run.outputs()[0].1.ends_with("/contour.zip"));
}

#[tokio::test(start_paused = true)]
async fn upload_results_named_by_relative_paths_are_taken() {
    let (_play, outcomes) = Play::all("upload").await;
    let run = &outcomes["a00000000000001"];
    assert_eq!(run.result, Some(Ok(())));
    assert_eq!(
        run.outputs()[0],
        ("result2", "/remote-wps/default/c74e478f-1288-4e09-8d28-101a54705fdc/out.zip")
    );
    assert_eq!(run.outputs()[1], ("result3", "e64345a5-0373-44e9-84a2-b64e1f756ebc/out.tif"));
}

#[tokio::test(start_paused = true)]
async fn direct_only_private_messages_through_the_room_are_used() {
    let (play, _) = Play::all("direct").await;
    play.server.registry.published("default:Dummy2").await;
}

#[tokio::test(start_paused = true)]
async fn vanish_a_run_waits_for_an_agent_that_is_killed_and_comes_back() {
    let (play, outcomes) = Play::all("vanish").await;
    let run = &outcomes["v00000000000001"];
    assert!(run.seen.log.iter().any(|line| line.starts_with("waiting for an agent: ")), "{:?}", run.seen.log);
    assert_eq!(
        play.occupants["Dummy2@geoserver.org/master@vm"].heard("request").len(),
        1,
        "sent when it is back"
    );
}

#[tokio::test(start_paused = true)]
async fn back_an_agent_registers_again_after_a_restart_of_the_xmpp_server() {
    let (play, _) = Play::all("back").await;
    play.server.registry.published("default:Dummy2").await;
}

#[tokio::test(start_paused = true)]
async fn edge_log_lines_are_utf8_and_a_run_outlives_its_agent() {
    let (_play, outcomes) = Play::all("edge").await;
    assert_eq!(outcomes["h00000000000019"].result, Some(Err(Error::Dismissed)));
    assert!(outcomes["h00000000000018"].seen.log[0].starts_with("café 東"));
    for name in ["h00000000000018", "h00000000000111"] {
        assert_eq!(outcomes[name].result, Some(Ok(())), "{name}");
    }
}
