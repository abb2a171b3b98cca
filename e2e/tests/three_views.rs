//! One job, three views: submitted by any interface, watched, fetched and dismissed by any other.

#![allow(clippy::unwrap_used)]

use e2e::{DEADLINE, Reply, Server, eventually, script_service};
use serde_json::json;

const WPS_1: &str = r#"service="WPS" version="1.0.0" xmlns:wps="http://www.opengis.net/wps/1.0.0"
    xmlns:ows="http://www.opengis.net/ows/1.1" xmlns:xlink="http://www.w3.org/1999/xlink""#;
const WPS_2: &str = r#"service="WPS" version="2.0.0" xmlns:wps="http://www.opengis.net/wps/2.0"
    xmlns:ows="http://www.opengis.net/ows/2.0" xmlns:xlink="http://www.w3.org/1999/xlink""#;
const CORNERS: &str = "<ows:LowerCorner>1 2</ows:LowerCorner><ows:UpperCorner>3 4</ows:UpperCorner>";
const CRS: &str = "http://www.opengis.net/def/crs/OGC/1.3/CRS84";

#[derive(Clone, Copy, Debug)]
enum Interface {
    OgcApi,
    Wps1,
    Wps2,
}

const ALL: [Interface; 3] = [Interface::OgcApi, Interface::Wps1, Interface::Wps2];

/// What is executed.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Echoes a literal, a box, and a document whose output is wanted by reference.
    Echo,
    /// Takes ten minutes.
    Sleep,
    /// A program that ends with exit code 3.
    Fail,
    /// An echo of what can't be fetched.
    Fetch,
}

/// What a view shows of an echo, the referenced document fetched.
#[derive(Debug, PartialEq)]
struct Outputs {
    literal: String,
    corners: [f64; 4],
    document: String,
}

async fn start() -> (Server, tempfile::TempDir) {
    let services = tempfile::tempdir().unwrap();
    let fail = script_service("Fail", "echo 'no contours' >&2; exit 3", "");
    std::fs::write(services.path().join("fail.toml"), fail).unwrap();
    let folder = services.path().to_str().unwrap().to_owned();
    (
        Server::with_config(&format!("[services]\nfolder = {folder:?}\n[egress]\nallow = [\"127.0.0.0/8\"]"))
            .await,
        services,
    )
}

/// The text between the first occurrence of `before` and the next `end`.
#[track_caller]
fn between(document: &str, before: &str, end: char) -> String {
    let (_, rest) = document.split_once(before).unwrap_or_else(|| panic!("{before}: {document}"));
    rest.split_once(end).unwrap().0.to_owned()
}

impl Interface {
    async fn submit(self, server: &Server, work: Work) -> String {
        match self {
            Self::OgcApi => submit_by_ogc_api(server, work).await,
            Self::Wps1 => {
                let reply = server.post("/wps", "text/xml", execute_1(server, work)).await;
                between(&reply.text(), "/wps/status/", '"')
            }
            Self::Wps2 => {
                let reply = server.post("/wps", "text/xml", execute_2(server, work)).await;
                between(&reply.text(), "<wps:JobID>", '<')
            }
        }
    }

    async fn status(self, server: &Server, job: &str) -> Reply {
        match self {
            Self::OgcApi => server.get(&format!("/jobs/{job}")).await,
            Self::Wps1 => of_job_1(server, "GetExecutionStatus", job).await,
            Self::Wps2 => of_job_2(server, "GetStatus", job).await,
        }
    }

    /// WPS 1.0.0 has one document for both.
    async fn result(self, server: &Server, job: &str) -> Reply {
        match self {
            Self::OgcApi => server.get(&format!("/jobs/{job}/results")).await,
            Self::Wps1 => of_job_1(server, "GetExecutionStatus", job).await,
            Self::Wps2 => of_job_2(server, "GetResult", job).await,
        }
    }

    async fn dismiss(self, server: &Server, job: &str) -> Reply {
        match self {
            Self::OgcApi => server.delete(&format!("/jobs/{job}")).await,
            Self::Wps1 => of_job_1(server, "Dismiss", job).await,
            Self::Wps2 => of_job_2(server, "Dismiss", job).await,
        }
    }

    /// In the words of OGC API - Processes.
    async fn state(self, server: &Server, job: &str) -> String {
        let reply = self.status(server, job).await;
        assert_eq!(reply.status, 200, "{self:?}: {}", reply.text());
        self.state_in(&reply)
    }

    fn state_in(self, reply: &Reply) -> String {
        let text = reply.text();
        match self {
            Self::OgcApi => reply.json()["status"].as_str().unwrap().to_owned(),
            // WPS 1.0.0 has no word for jobs that were dismissed.
            Self::Wps1 if text.contains("<ows:ExceptionText>the job was dismissed") => "dismissed".into(),
            Self::Wps1 => {
                let states = [
                    ("<wps:ProcessAccepted", "accepted"),
                    ("<wps:ProcessStarted", "running"),
                    ("<wps:ProcessSucceeded", "successful"),
                    ("<wps:ProcessFailed", "failed"),
                ];
                let (_, state) = states.iter().find(|(element, _)| text.contains(element)).unwrap();
                (*state).to_owned()
            }
            Self::Wps2 => match between(&text, "<wps:Status>", '<').as_str() {
                "Succeeded" => "successful".into(),
                other => other.to_ascii_lowercase(),
            },
        }
    }

    async fn outputs(self, server: &Server, job: &str) -> Outputs {
        let reply = self.result(server, job).await;
        assert_eq!(reply.status, 200, "{self:?}: {}", reply.text());
        let text = reply.text();
        let (literal, corners, href) = match self {
            Self::OgcApi => {
                let results = reply.json();
                let corners = serde_json::from_value(results["boundingBoxOutput"]["bbox"].clone()).unwrap();
                let string = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
                (string(&results["literalOutput"]), corners, string(&results["complexOutput"]["href"]))
            }
            Self::Wps1 => (
                between(&between_elements(&text, "wps:LiteralData"), ">", '<'),
                box_in(&text),
                between(&text, "<wps:Reference href=\"", '"'),
            ),
            Self::Wps2 => (
                between(&between_elements(&text, "wps:LiteralValue"), ">", '<'),
                box_in(&text),
                between(&text, "<wps:Reference xlink:href=\"", '"'),
            ),
        };
        let document = e2e::try_get(&href).await.unwrap().text();
        Outputs { literal, corners, document }
    }
}

/// The first element of that name, its tags included.
fn between_elements(text: &str, name: &str) -> String {
    let start = text.find(&format!("<{name}")).unwrap_or_else(|| panic!("{name}: {text}"));
    let end = text.find(&format!("</{name}>")).unwrap();
    text[start..=end].to_owned()
}

fn box_in(text: &str) -> [f64; 4] {
    let corners = between(text, "<ows:LowerCorner>", '<') + " " + &between(text, "<ows:UpperCorner>", '<');
    let numbers: Vec<f64> = corners.split(' ').map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

async fn of_job_1(server: &Server, operation: &str, job: &str) -> Reply {
    server.get(&format!("/wps?service=WPS&version=1.0.0&request={operation}&executionId={job}")).await
}

async fn of_job_2(server: &Server, operation: &str, job: &str) -> Reply {
    server.get(&format!("/wps?service=WPS&version=2.0.0&request={operation}&jobid={job}")).await
}

/// Nothing is there.
fn missing_url(server: &Server) -> String {
    server.url("/nothing")
}

async fn submit_by_ogc_api(server: &Server, work: Work) -> String {
    let inputs = match work {
        Work::Echo => json!({
            "literalInput": "grüß",
            "boundingBoxInput": { "bbox": [1, 2, 3, 4], "crs": CRS },
            "complexInput": { "value": { "a": 1 }, "mediaType": "application/json" }
        }),
        Work::Sleep => json!({ "pause": 600, "literalInput": "x" }),
        Work::Fail => json!({}),
        Work::Fetch => json!({ "literalInput": { "href": missing_url(server) } }),
    };
    let outputs = match work {
        Work::Echo => json!({
            "literalOutput": {}, "boundingBoxOutput": {}, "complexOutput": { "transmissionMode": "reference" }
        }),
        Work::Sleep | Work::Fetch => json!({ "literalOutput": {} }),
        Work::Fail => json!({ "said": {} }),
    };
    let body = json!({ "inputs": inputs, "outputs": outputs, "response": "document" });
    server.submit(process(work), &body).await
}

fn process(work: Work) -> &'static str {
    match work {
        Work::Echo | Work::Sleep | Work::Fetch => "echo",
        Work::Fail => "default:Fail",
    }
}

fn execute_1(server: &Server, work: Work) -> String {
    let input =
        |id: &str, data: &str| format!("<wps:Input><ows:Identifier>{id}</ows:Identifier>{data}</wps:Input>");
    let literal = |id, text: &str| {
        input(id, &format!("<wps:Data><wps:LiteralData>{text}</wps:LiteralData></wps:Data>"))
    };
    let output = |id: &str, more: &str| {
        format!("<wps:Output {more}><ows:Identifier>{id}</ows:Identifier></wps:Output>")
    };
    let inputs = match work {
        Work::Echo => [
            literal("literalInput", "grüß"),
            input("boundingBoxInput", &format!("<wps:Data><wps:BoundingBoxData crs=\"{CRS}\">{CORNERS}</wps:BoundingBoxData></wps:Data>")),
            input("complexInput", "<wps:Data><wps:ComplexData mimeType=\"application/json\">{\"a\":1}</wps:ComplexData></wps:Data>"),
        ]
        .concat(),
        Work::Sleep => literal("pause", "600") + &literal("literalInput", "x"),
        Work::Fail => String::new(),
        Work::Fetch => input("literalInput", &format!("<wps:Reference xlink:href=\"{}\"/>", missing_url(server))),
    };
    let outputs = match work {
        Work::Echo => [
            output("literalOutput", ""),
            output("boundingBoxOutput", ""),
            output("complexOutput", "asReference=\"true\""),
        ]
        .concat(),
        Work::Sleep | Work::Fetch => output("literalOutput", ""),
        Work::Fail => output("said", ""),
    };
    format!(
        "<wps:Execute {WPS_1}><ows:Identifier>{}</ows:Identifier><wps:DataInputs>{inputs}</wps:DataInputs><wps:ResponseForm>\
         <wps:ResponseDocument storeExecuteResponse=\"true\" status=\"true\">{outputs}</wps:ResponseDocument></wps:ResponseForm></wps:Execute>",
        process(work)
    )
}

fn execute_2(server: &Server, work: Work) -> String {
    let input = |id: &str, inner: &str| format!("<wps:Input id=\"{id}\">{inner}</wps:Input>");
    let data = |id, inner: &str| input(id, &format!("<wps:Data>{inner}</wps:Data>"));
    let inputs = match work {
        Work::Echo => [
            data("literalInput", "<wps:LiteralValue>grüß</wps:LiteralValue>"),
            data("boundingBoxInput", &format!("<ows:BoundingBox crs=\"{CRS}\">{CORNERS}</ows:BoundingBox>")),
            input("complexInput", "<wps:Data mimeType=\"application/json\">{\"a\":1}</wps:Data>"),
        ]
        .concat(),
        Work::Sleep => data("pause", "600") + &data("literalInput", "x"),
        Work::Fail => String::new(),
        Work::Fetch => {
            input("literalInput", &format!("<wps:Reference xlink:href=\"{}\"/>", missing_url(server)))
        }
    };
    let outputs = match work {
        Work::Echo => {
            "<wps:Output id=\"literalOutput\"/><wps:Output id=\"boundingBoxOutput\"/><wps:Output id=\"complexOutput\" transmission=\"reference\"/>"
        }
        Work::Sleep | Work::Fetch => "<wps:Output id=\"literalOutput\"/>",
        Work::Fail => "<wps:Output id=\"said\"/>",
    };
    format!(
        "<wps:Execute {WPS_2} mode=\"async\" response=\"document\"><ows:Identifier>{}</ows:Identifier>{inputs}{outputs}</wps:Execute>",
        process(work)
    )
}

async fn until(server: &Server, job: &str, state: &str) {
    for view in ALL {
        eventually(&format!("{job} {state} by {view:?}"), DEADLINE, async || {
            (view.state(server, job).await == state).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn results_are_the_same_by_every_interface() {
    let (server, _services) = start().await;
    for by in ALL {
        let job = by.submit(&server, Work::Echo).await;
        until(&server, &job, "successful").await;
        for view in ALL {
            let outputs = view.outputs(&server, &job).await;
            let expected = Outputs {
                literal: "grüß".into(),
                corners: [1.0, 2.0, 3.0, 4.0],
                document: "{\"a\":1}".into(),
            };
            let document = outputs.document.replace(' ', "");
            assert_eq!(Outputs { document, ..outputs }, expected, "submitted by {by:?}, seen by {view:?}");
        }
        let stored = server.get(&format!("/wps/status/{job}")).await.text();
        assert_eq!(stored, Interface::Wps1.status(&server, &job).await.text());
        assert!(
            stored.contains(&format!("statusLocation=\"{}/wps/status/{job}\"", server.url(""))),
            "{stored}"
        );
    }
}

#[tokio::test]
async fn a_job_is_dismissed_by_any_interface() {
    let (server, _services) = start().await;
    for by in ALL {
        for other in ALL {
            let job = by.submit(&server, Work::Sleep).await;
            until(&server, &job, "running").await;
            check_not_ready(&server, &job).await;
            let dismissed = other.dismiss(&server, &job).await;
            assert_eq!(dismissed.status, 200, "{by:?} {other:?}: {}", dismissed.text());
            assert_eq!(other.state_in(&dismissed), "dismissed", "{by:?} {other:?}");
            until(&server, &job, "dismissed").await;
            check_dismissed(&server, &job).await;
        }
    }
}

async fn check_not_ready(server: &Server, job: &str) {
    let early = Interface::OgcApi.result(server, job).await;
    assert_eq!(early.status, 404, "{}", early.text());
    assert!(early.text().contains("/result-not-ready"), "{}", early.text());
    let early = Interface::Wps2.result(server, job).await;
    assert!(early.status == 400 && early.text().contains("ResultNotReady"), "{}", early.text());
    assert!(!Interface::Wps1.result(server, job).await.text().contains("<wps:ProcessOutputs>"));
}

/// There are no results; WPS 1.0.0 and 2.0 know no such job when it is to be dismissed again.
async fn check_dismissed(server: &Server, job: &str) {
    assert_eq!(Interface::OgcApi.result(server, job).await.status, 410);
    assert_eq!(Interface::Wps2.result(server, job).await.status, 410);
    let again = Interface::Wps1.dismiss(server, job).await;
    assert!(again.status == 404 && again.text().contains("executionId"), "{}", again.text());
    let again = Interface::Wps2.dismiss(server, job).await;
    assert!(again.status == 400 && again.text().contains("NoSuchJob"), "{}", again.text());
}

#[tokio::test]
async fn a_failure_means_the_same_by_every_interface() {
    let (server, _services) = start().await;
    for by in ALL {
        for (work, status, code, cause) in [
            (Work::Fail, 500, "NoApplicableCode", "no contours"),
            (Work::Fetch, 400, "DataNotAccessible", "literalInput"),
        ] {
            let job = by.submit(&server, work).await;
            until(&server, &job, "failed").await;
            let of_api = Interface::OgcApi.result(&server, &job).await;
            let of_wps_1 = Interface::Wps1.result(&server, &job).await;
            let of_wps_2 = Interface::Wps2.result(&server, &job).await;
            for reply in [&of_api, &of_wps_1, &of_wps_2] {
                assert!(reply.text().contains(cause), "{by:?} {work:?}: {}", reply.text());
            }
            // The stored response of WPS 1.0.0 exists, whatever it says.
            assert_eq!(
                [of_api.status, of_wps_1.status, of_wps_2.status],
                [status, 200, status],
                "{by:?} {work:?}"
            );
            assert!(of_wps_2.text().contains(&format!("exceptionCode=\"{code}\"")), "{}", of_wps_2.text());
            assert!(of_wps_1.text().contains("<ows:ExceptionReport"), "{}", of_wps_1.text());
        }
    }
}

#[tokio::test]
async fn an_unknown_job_is_unknown_to_every_interface_and_a_removed_one_is_gone() {
    let (server, _services) = start().await;
    let finished = Interface::OgcApi.submit(&server, Work::Echo).await;
    until(&server, &finished, "successful").await;
    assert_eq!(
        Interface::Wps1.dismiss(&server, &finished).await.status,
        200,
        "it is removed with its results"
    );
    for job in [finished.as_str(), "8f2e0b1c-5b1e-4b5e-9c3e-0d6c1b0a7f11", "nonsense"] {
        for view in ALL {
            for reply in [
                view.status(&server, job).await,
                view.result(&server, job).await,
                view.dismiss(&server, job).await,
            ] {
                let (unknown, meaning) = match view {
                    Interface::OgcApi => (404, "/no-such-job"),
                    Interface::Wps1 => (404, "locator=\"executionId\""),
                    Interface::Wps2 => (400, "exceptionCode=\"NoSuchJob\""),
                };
                let status = if job == finished { 410 } else { unknown };
                assert!(
                    reply.status == status && reply.text().contains(meaning),
                    "{view:?} {job}: {} {}",
                    reply.status,
                    reply.text()
                );
            }
        }
    }
}
