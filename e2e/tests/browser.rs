//! The pages in a real browser, as people with eyes, a keyboard and a telephone meet them. Every page is looked at: screenshots lie in
//! `target/screenshots`.

#![allow(clippy::unwrap_used)]

use e2e::producer::Producer;
use e2e::{DEADLINE, Server, command, eventually, free_port, processes_with, try_get};
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::key::Key;
use fantoccini::{Client, ClientBuilder, Locator};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::Child;

/// A PNG of a blank page of these sizes has far fewer bytes.
const SCREENSHOT_BYTES_MIN: usize = 6000;

/// Chromium, driven through chromedriver; both end with the test.
struct Browser {
    client: Client,
    _driver: Child,
    profile: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A test that fails has not closed its browser, and a driver that is killed leaves it behind.
        for pid in processes_with(&self.profile.path().display().to_string()) {
            let _ended_meanwhile = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
    }
}

impl Browser {
    async fn start() -> Self {
        let port = free_port();
        let driver =
            command("chromedriver").arg(format!("--port={port}")).stdout(std::process::Stdio::null()).spawn();
        let driver = driver.expect("chromedriver is there: scripts/install-tools.sh e2e");
        let url = format!("http://127.0.0.1:{port}");
        eventually("chromedriver answers", DEADLINE, async || try_get(&format!("{url}/status")).await.ok())
            .await;
        let profile = tempfile::tempdir().unwrap();
        let arguments = json!([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            format!("--user-data-dir={}", profile.path().display()),
        ]);
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&url)
            .await
            .unwrap();
        Self { client, _driver: driver, profile }
    }

    async fn see(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    async fn script(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Presses keys one after the other, wherever the focus is.
    async fn press(&self, keys: impl IntoIterator<Item = char>) {
        let actions = keys.into_iter().fold(KeyActions::new("keyboard".into()), |actions, value| {
            actions.then(KeyAction::Down { value }).then(KeyAction::Up { value })
        });
        self.client.perform_actions(actions).await.unwrap();
    }

    /// Tabs until the element with this id has the focus.
    async fn tab_to(&self, selector: &str) {
        // More than the longest page has, which is that of the API definition.
        for _ in 0..400 {
            let focused = format!("return document.activeElement.matches({selector:?})");
            if self.script(&focused).await == true {
                return;
            }
            self.press([Key::Tab.into()]).await;
        }
        panic!("{selector} can't be reached by keyboard on {}", self.client.current_url().await.unwrap());
    }

    async fn text(&self, selector: &str) -> String {
        self.client.find(Locator::Css(selector)).await.unwrap().text().await.unwrap()
    }

    /// Waits until an element shows a text.
    async fn shows(&self, selector: &str, text: &str) {
        eventually(&format!("{selector} shows {text:?}"), DEADLINE, async || {
            // The page may be loading anew at this moment.
            let element = self.client.find(Locator::Css(selector)).await.ok()?;
            element.text().await.ok()?.contains(text).then_some(())
        })
        .await;
    }

    /// Takes a screenshot on a desk and one on a telephone, and checks what shows in both: nothing is wider than the screen, every
    /// control has a name.
    async fn look(&self, name: &str) {
        for (size, width, height) in [("desk", 1200, 900), ("telephone", 390, 800)] {
            self.client.set_window_size(width, height).await.unwrap();
            let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../screenshots");
            std::fs::create_dir_all(&folder).unwrap();
            let picture = self.client.screenshot().await.unwrap();
            std::fs::write(folder.join(format!("{name}-{size}.png")), &picture).unwrap();
            assert!(picture.len() > SCREENSHOT_BYTES_MIN, "{name} on a {size} is blank");
            let wider = "const width = document.documentElement.clientWidth;
                if (document.documentElement.scrollWidth <= width) return [];
                return [...document.querySelectorAll('body *')]
                    .filter((element) => element.getBoundingClientRect().right > width)
                    .map((element) => element.outerHTML.slice(0, 200))";
            assert_eq!(self.script(wider).await, json!([]), "{name} is wider than a {size}");
        }
        let nameless = "return [...document.querySelectorAll('input:not([type=hidden]), select, textarea')]
            .filter((field) => field.labels.length == 0).map((field) => field.outerHTML)";
        assert_eq!(self.script(nameless).await, json!([]), "{name}: fields without a label");
        let silent = "return [...document.querySelectorAll('a, button')]
            .filter((element) => !(element.textContent.trim() || element.ariaLabel)).map((e) => e.outerHTML)";
        assert_eq!(self.script(silent).await, json!([]), "{name}: links and buttons without a name");
        self.client.set_window_size(1200, 900).await.unwrap();
    }

    async fn close(self) {
        self.client.clone().close().await.unwrap();
    }
}

#[tokio::test]
async fn a_process_is_executed_by_keyboard_and_followed_to_its_results() {
    let server = Server::start().await;
    let browser = Browser::start().await;
    browser.see(&server.url("/")).await;
    browser.look("landing").await;
    browser.tab_to("nav a[href$='/processes']").await;
    browser.press([Key::Enter.into()]).await;
    browser.shows("h1", "Processes").await;
    browser.look("processes").await;
    browser.tab_to("a[href$='/processes/echo']").await;
    browser.press([Key::Enter.into()]).await;
    browser.shows("h2#execute", "Execute").await;
    browser.look("process").await;

    browser.tab_to("[name='value:literalInput']").await;
    browser.press("an anabranch".chars()).await;
    browser.tab_to("[name='value:pause']").await;
    browser.press("1".chars()).await;
    browser.tab_to("button.main").await;
    browser.press([Key::Enter.into()]).await;
    browser.shows("#state", "running").await;
    browser.look("job-running").await;
    // Nobody touches anything: the page follows the job.
    browser.shows("#state", "successful").await;
    browser.look("job-successful").await;
    browser.tab_to("a[href$='/results?f=html']").await;
    browser.press([Key::Enter.into()]).await;
    browser.shows("main", "an anabranch").await;
    browser.look("results").await;
    browser.close().await;
}

#[tokio::test]
async fn a_job_is_dismissed_on_its_page_and_faults_are_shown() {
    let server = Server::start().await;
    let browser = Browser::start().await;
    let job = server.submit("echo", &json!({ "inputs": { "pause": 600 } })).await;
    browser.see(&server.url(&format!("/jobs/{job}?f=html"))).await;
    browser.shows("#state", "running").await;
    browser.tab_to("#dismiss button").await;
    browser.press([Key::Enter.into()]).await;
    browser.shows("#state", "dismissed").await;
    browser.look("job-dismissed").await;
    browser.see(&server.url("/jobs?f=html")).await;
    browser.shows("main", &job).await;
    browser.look("jobs").await;

    browser.see(&server.url("/processes/simplify_douglas_peucker?f=html")).await;
    browser.tab_to("[name='value:data']").await;
    browser.press("no GeoJSON".chars()).await;
    browser.tab_to("button.main").await;
    // What the browser itself would refuse is left to the server here.
    browser.script("document.querySelector('main form').noValidate = true").await;
    browser.press([Key::Enter.into()]).await;
    browser.shows("[role=alert]", "tolerance").await;
    assert_eq!(
        browser.text("textarea[name='value:data']").await,
        "no GeoJSON",
        "what was typed is still there"
    );
    browser.look("faults").await;
    browser.close().await;
}

#[tokio::test]
async fn operations_are_tried_on_the_page_of_the_api_definition() {
    let server = Server::start().await;
    let browser = Browser::start().await;
    browser.see(&server.url("/api?f=html")).await;
    browser.look("api").await;
    browser
        .script("document.querySelectorAll('details').forEach((details) => { details.open = true })")
        .await;
    let form = "form.try[data-path='/processes/echo/execution'][data-method=POST]";
    browser.tab_to(&format!("{form} textarea")).await;
    browser.script(&format!("document.querySelector({form:?}).querySelector('textarea').value = ''")).await;
    browser.press(r#"{"inputs":{"literalInput":"tried"}}"#.chars()).await;
    browser.tab_to(&format!("{form} button")).await;
    browser.press([Key::Enter.into()]).await;
    browser.shows(&format!("{form} pre"), "200").await;
    browser.shows(&format!("{form} pre"), "tried").await;
    browser.look("api-tried").await;

    let form = "form.try[data-path='/jobs'][data-method=GET]";
    browser.tab_to(&format!("{form} [name=limit]")).await;
    browser.press("nothing".chars()).await;
    browser.press([Key::Enter.into()]).await;
    browser.shows(&format!("{form} pre"), "/jobs?limit=nothing").await;
    browser.shows(&format!("{form} pre"), "400").await;
    browser.close().await;
}

impl Browser {
    /// Waits until a map shows so many features or rasters, and no fault.
    async fn draws(&self, count: usize) {
        let end = Instant::now() + DEADLINE;
        loop {
            let shown = "const place = document.querySelector('.watch');
                return [place?.dataset.drawn, place?.querySelector('.error')?.textContent, place?.textContent]";
            let shown = self.script(shown).await;
            assert!(matches!(shown[1].as_str(), None | Some("")), "{shown}");
            if shown[0].as_str().is_some_and(|drawn| drawn.parse() == Ok(count)) {
                break;
            }
            assert!(Instant::now() < end, "{count} are not drawn: {shown}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        assert_eq!(self.script("return document.querySelector('.watch canvas') !== null").await, true);
    }
}

#[tokio::test]
async fn a_stream_appears_on_a_map_as_it_comes() {
    let producer = Producer::start().await;
    let allow = format!("[egress]\nallow = [\"{}\"]\n[streaming]\npoll_ms = 50\n", producer.address);
    let server = Server::with_config(&allow).await;
    let browser = Browser::start().await;
    let data = json!({ "href": producer.url(), "type": "application/x-ogc-playlist+application/geo+json" });
    // The map shows GML too.
    let gml = json!({ "format": { "mediaType": "application/x-ogc-playlist+text/xml; subtype=gml/2.1.2" } });
    let body = json!({ "inputs": { "data": data, "tolerance": 0.1 }, "outputs": { "result": gml } });
    let job = server.submit("FullStreamingSimplifyDouglasPeucker", &body).await;
    producer.add();
    browser.see(&server.url(&format!("/jobs/{job}?f=html"))).await;
    browser.draws(1).await;
    (0..24).for_each(|_| producer.add());
    browser.draws(25).await;
    browser.shows(".watch .numbers", "25 chunks").await;
    browser.shows(".watch .numbers", "more may come").await;
    browser.look("stream-running").await;
    producer.fail();
    browser.shows(".watch .error", "the sensor is on fire").await;
    browser.shows("#state", "failed").await;
    browser.see(&server.url(&format!("/jobs/{job}/results/result/playlist?f=html"))).await;
    browser.shows(".watch .error", "the sensor is on fire").await;
    browser.shows("#chunks tr:last-child", "25").await;
    browser.look("stream-failed").await;
    browser.close().await;
}

#[tokio::test]
async fn a_playlist_of_another_server_is_watched() {
    let producer = Producer::start().await;
    let server = Server::with_config(&format!("[egress]\nallow = [\"{}\"]\n", producer.address)).await;
    let browser = Browser::start().await;
    browser.see(&server.url("/watch")).await;
    browser.look("watch").await;
    browser.tab_to("#url").await;
    browser.press(producer.url().chars()).await;
    browser.press([Key::Enter.into()]).await;
    browser.shows("main", &producer.url()).await;
    producer.add_at("/dem.tif");
    browser.draws(1).await;
    browser.shows("#chunks", "1").await;
    let picture = "const image = document.querySelector('.watch img.leaflet-image-layer');
        return image !== null && image.complete && image.naturalWidth > 0";
    eventually("the picture is there", DEADLINE, async || {
        (browser.script(picture).await == true).then_some(())
    })
    .await;
    browser.look("watch-raster").await;
    producer.fail();
    browser.shows(".watch .error", "the sensor is on fire").await;

    // Where the policy says no, the page says so, and nothing more.
    let refused = server.get("/watch/chunk?url=http%3A%2F%2F127.0.0.1%3A1%2F").await;
    assert!(refused.status == 400 && refused.text().contains("policy"), "{}", refused.text());
    browser.close().await;
}

#[tokio::test]
async fn the_other_pages_are_looked_at_too() {
    let server = Server::start().await;
    let browser = Browser::start().await;
    let job = server
        .submit("simplify_douglas_peucker", &json!({ "inputs": { "data": "x", "tolerance": 1 } }))
        .await;
    server.job_in(&job, &["failed"], DEADLINE).await;
    let failed = format!("/jobs/{job}");
    // One that the console shows.
    let long = json!({ "inputs": { "literalInput": "x", "pause": 600 } });
    let running = server.submit("echo", &long).await;
    server.job_in(&running, &["running"], DEADLINE).await;
    for (name, path) in [
        ("conformance", "/conformance"),
        ("console", "/console"),
        ("job-failed", &failed),
        ("not-found", "/nowhere"),
    ] {
        browser.see(&server.url(path)).await;
        browser.look(name).await;
    }
    assert!(tokio::time::timeout(Duration::from_secs(10), browser.close()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_never_runs() {
    let server = Server::start().await;
    let program = "<html xmlns='http://www.w3.org/1999/xhtml'><head><title>quiet</title></head>\
                   <body><script>document.title = 'ran'</script><p>shown</p></body></html>";
    let input = json!({ "value": program, "mediaType": "application/xml" });
    let job = server.submit("echo", &json!({ "inputs": { "complexInput": input } })).await;
    server.job_in(&job, &["successful"], DEADLINE).await;
    let browser = Browser::start().await;
    for path in
        [format!("/jobs/{job}/results/complexOutput"), format!("/jobs/{job}/results/complexOutput/chunks/1")]
    {
        browser.see(&server.url(&path)).await;
        assert_eq!(browser.client.title().await.unwrap(), "quiet", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_logs_in_and_pages_of_other_sites_can_not_act_with_that() {
    let server = Server::start().await;
    let added = command(e2e::binary())
        .args(["user", "add", "anna", "--data"])
        .arg(server.data_folder())
        .env("ANABRANCH_PASSWORD", "correct horse")
        .status()
        .await
        .unwrap();
    assert!(added.success());
    eventually("login is on", DEADLINE, async || (server.get("/console").await.status == 401).then_some(()))
        .await;
    let browser = Browser::start().await;
    browser.see(&server.url("/")).await;
    browser.shows("nav", "Log in").await;
    let with_password = server.url("/login").replace("http://", "http://anna:correct%20horse@");
    browser.see(&with_password).await;
    browser.shows("nav", "anna").await;
    // A page of another site sends a form here, and the browser adds the password.
    let form = format!(
        "<form method=post enctype=text/plain action='{}'><input name='<x a' value='b'></form>\
         <script>document.forms[0].submit()</script>",
        server.url("/wps")
    );
    let page = format!(
        "data:text/html,{}",
        url::form_urlencoded::byte_serialize(form.as_bytes()).collect::<String>().replace('+', "%20")
    );
    browser.see(&page).await;
    browser.shows("body", "another site").await;
}
