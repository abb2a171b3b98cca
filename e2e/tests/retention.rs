//! Outputs that are kept less long than their job: when they go is said before, and that they are gone afterwards, in every interface.

#![allow(clippy::unwrap_used)]

use e2e::producer::Producer;
use e2e::{DEADLINE, Reply, Server, check_store, eventually, get_with};
use serde_json::json;

fn finished(status: &serde_json::Value) -> jiff::Timestamp {
    status["finished"].as_str().unwrap().parse().unwrap()
}

fn sunset(at: jiff::Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

async fn gone(server: &Server, path: &str) -> Reply {
    eventually(&format!("{path} is gone"), DEADLINE, async || {
        let reply = server.get(path).await;
        (reply.status != 200).then_some(reply)
    })
    .await
}

#[tokio::test]
async fn an_output_of_a_short_lived_class_goes_before_its_job_in_every_interface() {
    let config = "[limits.outputs_keep_s]\n\"application/*\" = 3600\n[processes.\"ech*\".limits]\noutputs_keep_s = { \"*/json\" = 3 }";
    let server = Server::with_config(config).await;
    let input = json!({ "value": { "a": "x".repeat(100_000) }, "mediaType": "application/json" });
    let body = json!({ "inputs": { "literalInput": "known", "complexInput": input } });
    let job = server.submit("echo", &body).await;
    let end = finished(&server.job_in(&job, &["successful"], DEADLINE).await);
    let seconds = |seconds| end + jiff::SignedDuration::from_secs(seconds);
    let (early, late) = (sunset(seconds(3)), sunset(seconds(86_400)));
    let all = format!("/jobs/{job}/results");
    let output = format!("{all}/complexOutput");
    for (path, expected) in [
        (format!("/jobs/{job}"), &late),
        (all.clone(), &early),
        (output.clone(), &early),
        (format!("{all}/literalOutput"), &late),
        (format!("{all}?outputs=literalOutput"), &late),
        (format!("/wps/status/{job}"), &early),
    ] {
        let reply = server.get(&path).await;
        assert_eq!((reply.status, reply.header("sunset")), (200, Some(expected.as_str())), "{path}");
    }
    let known = server.get(&all).await.header("etag").unwrap().to_owned();
    let of_2 = |request: &str| format!("/wps?service=WPS&version=2.0.0&request={request}&jobId={job}");
    for request in ["GetStatus", "GetResult"] {
        let text = server.get(&of_2(request)).await.text();
        assert!(text.contains(&format!("<wps:ExpirationDate>{}</wps:ExpirationDate>", seconds(3))), "{text}");
    }

    let reason = "is kept less long than its job";
    for path in [&all, &output, &format!("{output}/chunks/1"), &format!("{output}/playlist")] {
        let reply = gone(&server, path).await;
        assert_eq!(reply.status, 410, "{path}: {}", reply.text());
        assert!(reply.json()["detail"].as_str().unwrap().contains(reason), "{path}: {}", reply.text());
    }
    let again = get_with(&server.url(&all), &[("if-none-match", &known)]).await;
    assert_eq!(again.status, 410, "a copy that was right is right no more");
    for (path, code) in
        [(format!("/wps/status/{job}"), "InvalidParameterValue"), (of_2("GetResult"), "NoSuchOutput")]
    {
        let reply = server.get(&path).await;
        let text = reply.text();
        assert_eq!(reply.status, 410, "{path}: {text}");
        assert!(text.contains(&format!("exceptionCode=\"{code}\" locator=\"complexOutput\"")), "{text}");
        assert!(text.contains(reason), "{text}");
    }

    // The job stays, and says so; and so does the rest of what it put out.
    let status = server.job(&job).await;
    assert_eq!(status["status"], "successful");
    assert!(status["message"].as_str().unwrap().contains("'complexOutput'"), "{status}");
    let page = server.get(&format!("/jobs/{job}?f=html")).await;
    assert_eq!((page.status, page.header("sunset")), (200, Some(late.as_str())));
    assert!(page.text().contains("were removed"), "{}", page.text());
    assert_eq!(server.get(&format!("{all}/literalOutput")).await.text(), "known");
    let rest = server.get(&format!("{all}?outputs=literalOutput")).await;
    assert_eq!((rest.status, rest.header("sunset")), (200, Some(late.as_str())));
    let by_2 = server.get(&of_2("GetStatus")).await.text();
    assert!(by_2.contains(&format!("<wps:ExpirationDate>{}", seconds(86_400))), "{by_2}");
}

#[tokio::test]
async fn the_playlist_of_a_short_lived_stream_goes_whole_also_over_a_kill() {
    let producer = Producer::start().await;
    let config = format!(
        "[egress]\nallow = [\"{}\"]\n[streaming]\npoll_ms = 50\n[limits]\noutputs_keep_s = {{ \"application/geo+json\" = 2 }}\n",
        producer.address
    );
    let mut server = Server::with_config(&config).await;
    let playlist = "application/x-ogc-playlist+application/geo+json";
    let body = json!({
        "inputs": { "data": { "href": producer.url(), "type": playlist }, "tolerance": 0.1 },
        "outputs": { "result": { "format": { "mediaType": playlist } } },
    });
    let job = server.submit("FullStreamingSimplifyDouglasPeucker", &body).await;
    for _ in 0..3 {
        producer.add();
    }
    producer.end();
    let end = finished(&server.job_in(&job, &["successful"], DEADLINE).await);
    let path = format!("/jobs/{job}/results/result/playlist");
    let shown = server.get(&path).await;
    assert_eq!(shown.json()["chunks"].as_array().unwrap().len(), 3);
    let expected = sunset(end + jiff::SignedDuration::from_secs(2));
    assert_eq!(shown.header("sunset"), Some(expected.as_str()));
    for path in
        [path.clone(), format!("/jobs/{job}/results/result"), format!("/jobs/{job}/results/result/chunks/1")]
    {
        assert_eq!(gone(&server, &path).await.status, 410, "{path}");
    }
    server.kill().await;
    server.start_again().await;
    // The sweep at the start has nothing in its way.
    let stored = server.data_folder().join("results").join(&job).join("result");
    eventually("its files are gone", DEADLINE, async || (!stored.exists()).then_some(())).await;
    assert_eq!(server.get(&path).await.status, 410);
    assert_eq!(server.job(&job).await["status"], "successful");
    server.stop().await;
    let checked = check_store(&server.data_folder()).await;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}
