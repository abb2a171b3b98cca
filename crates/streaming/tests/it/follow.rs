//! Full streaming: playlists that grow, fail, lie and stop.

use crate::doubles::{Base, Server, Sink, collection, complex, describe, ids, run, streaming};
use anabranch_model::{Error, Format, LiteralType, LiteralValue, Process, Value};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const IN: &str = "application/x-ogc-playlist+application/geo+json";
const END: &str = "#PLAYLIST-END\n";

fn idle(ms: u64) -> Value {
    Value::Literal(LiteralValue::new(LiteralType::Integer, ms.to_string()))
}

async fn followed(server: &Server, sink: &Arc<Sink>, ms: u64) -> Result<(), Error> {
    let process = streaming(&Base::giving(), "FullStreaming", std::slice::from_ref(&server.authority));
    follow(&process, &server.at("/list"), ms, 0, sink).await
}

async fn follow(
    process: &Arc<dyn Process>,
    list: &str,
    ms: u64,
    written: u64,
    sink: &Arc<Sink>,
) -> Result<(), Error> {
    run(process, vec![("data", complex(list, IN)), ("MaxTimeIdle", idle(ms))], IN, written, sink).await
}

fn all_ids(sink: &Sink) -> Vec<u64> {
    sink.chunks().iter().flat_map(|chunk| ids(chunk)).collect()
}

#[tokio::test]
async fn chunks_come_out_while_the_playlist_grows_and_it_ends_with_it() {
    let (server, sink) = (Server::start().await, Sink::new());
    server.list(1, "");
    let grow = async {
        sink.has(1).await;
        server.list(3, "");
        sink.has(3).await;
        server.list(4, END);
    };
    let (ended, ()) = tokio::join!(followed(&server, &sink, 10_000), grow);
    ended.unwrap();
    assert_eq!(all_ids(&sink), [10, 11, 20, 21, 30, 31, 40, 41]);
}

#[tokio::test]
async fn an_empty_playlist_ends_at_once() {
    let (server, sink) = (Server::start().await, Sink::new());
    server.list(0, END);
    followed(&server, &sink, 10_000).await.unwrap();
    assert!(sink.is_started() && sink.chunks().is_empty());
}

#[tokio::test]
async fn redirects_and_relative_addresses_are_followed() {
    let (server, sink) = (Server::start().await, Sink::new());
    server.set("/list", (302, "text/plain", "/streams/a/list.txt".into()));
    let list = format!("{}chunk1\n/chunk2#part\n?id=chunk3\n{END}", "#EXTM3U\n");
    server.set("/streams/a/list.txt", (200, "text/plain", list));
    server.set("/streams/a/chunk1", (302, "text/plain", "/moved".into()));
    server.set("/moved", (200, Format::GEOJSON, collection(1, 1)));
    server.set("/chunk2", (200, Format::GEOJSON, collection(2, 1)));
    server.set("/streams/a/list.txt?id=chunk3", (200, Format::GEOJSON, collection(3, 1)));
    followed(&server, &sink, 10_000).await.unwrap();
    assert_eq!(all_ids(&sink), [1, 2, 3]);
}

#[tokio::test]
async fn a_playlist_that_is_not_updated_ends_the_stream() {
    let (server, sink) = (Server::start().await, Sink::new());
    server.list(2, "");
    let error = followed(&server, &sink, 150).await.unwrap_err().client_text();
    assert!(error.starts_with("Maximum time being idle has been exceeded."), "{error}");
    assert_eq!(sink.chunks().len(), 2);
    // Also where looking at it fails.
    let sink = Sink::new();
    server.set("/list", (500, "text/plain", "oops".into()));
    let error = followed(&server, &sink, 150).await.unwrap_err().client_text();
    assert!(error.starts_with("Maximum time being idle has been exceeded."), "{error}");
}

#[tokio::test]
async fn what_helps_itself_is_waited_for() {
    let (server, sink) = (Server::start().await, Sink::new());
    server.set("/list", (503, "text/plain", "later".into()));
    server.failures.store(3, Ordering::SeqCst);
    let mend = async {
        server.was_asked("/list", 3).await;
        server.list(1, END);
    };
    let (ended, ()) = tokio::join!(followed(&server, &sink, 10_000), mend);
    ended.unwrap();
    assert_eq!(all_ids(&sink), [10, 11]);
}

#[tokio::test]
async fn a_chunk_that_can_not_be_had_ends_the_stream() {
    let (server, sink) = (Server::start().await, Sink::new());
    server.list(3, END);
    server.failures.store(1000, Ordering::SeqCst);
    let error = followed(&server, &sink, 10_000).await.unwrap_err().client_text();
    assert!(error.starts_with("chunk 1: ") && error.contains("status 503"), "{error}");
    assert!(sink.chunks().is_empty());
}

#[tokio::test]
async fn an_exception_upstream_is_carried_on() {
    let (server, sink) = (Server::start().await, Sink::new());
    server.list(1, &format!("#EXCEPTION:{}\n{END}", server.at("/report")));
    let report = r#"<ows:ExceptionReport xmlns:ows="http://www.opengis.net/ows/1.1"><ows:Exception exceptionCode="NoApplicableCode">
        <ows:ExceptionText>the sensor fell over</ows:ExceptionText></ows:Exception></ows:ExceptionReport>"#;
    server.set("/report", (500, "text/xml", report.into()));
    let error = followed(&server, &sink, 10_000).await.unwrap_err().client_text();
    assert_eq!(error, "the input playlist ended with an exception: the sensor fell over");
}

#[tokio::test]
async fn playlists_that_lie_are_refused_by_name() {
    let long = format!("#SPATIAL-DATA-PLAYLIST\nhttp://x/{}\n", "a".repeat(10_000));
    let cases = [
        ((200, "text/html", "<html>\n<body>Sorry</body>\n".to_owned()), "a page of HTML"),
        ((200, "text/plain", "not a url at all\n".to_owned()), "'not a url at all', which is no address"),
        ((200, "text/plain", "file:///etc/passwd\n".to_owned()), "the scheme 'file' is not allowed"),
        (
            (200, "text/plain", "http://169.254.169.254/latest\n".to_owned()),
            "not allowed by this server's policy",
        ),
        ((200, "text/plain", "http://127.0.0.1:1/x\n".to_owned()), "not allowed by this server's policy"),
        ((200, "text/plain", long), "line 2 of the playlist has more than 8192 bytes"),
        ((404, "text/plain", "none".to_owned()), "status 404"),
        (
            (302, "text/plain", "http://169.254.169.254/latest".to_owned()),
            "redirects to an address that is not allowed",
        ),
    ];
    for (answer, expected) in cases {
        let (server, sink) = (Server::start().await, Sink::new());
        server.set("/list", answer);
        let error = followed(&server, &sink, 10_000).await.unwrap_err().client_text();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn what_was_listed_may_not_change() {
    for changed in ["#SPATIAL-DATA-PLAYLIST\n", "#SPATIAL-DATA-PLAYLIST\n/chunk2\n/chunk1\n/chunk3\n"] {
        let (server, sink) = (Server::start().await, Sink::new());
        server.list(2, "");
        let change = async {
            sink.has(2).await;
            server.set("/list", (200, "text/plain", changed.into()));
        };
        let (ended, ()) = tokio::join!(followed(&server, &sink, 10_000), change);
        let error = ended.unwrap_err().client_text();
        assert!(error.contains("has become shorter") || error.contains("has changed"), "{error}");
    }
}

#[tokio::test]
async fn a_window_may_slide() {
    let (server, sink) = (Server::start().await, Sink::new());
    server.list(2, "");
    let slide = async {
        sink.has(2).await;
        server.list(4, "");
        let window = format!("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:2\n/chunk3\n/chunk4\n{END}");
        server.set("/list", (200, "text/plain", window));
    };
    let (ended, ()) = tokio::join!(followed(&server, &sink, 10_000), slide);
    ended.unwrap();
    assert_eq!(all_ids(&sink), [10, 11, 20, 21, 30, 31, 40, 41]);
}

#[tokio::test]
async fn a_playlist_may_be_in_the_request() {
    let (server, sink) = (Server::start().await, Sink::new());
    server.list(3, END);
    let process = streaming(&Base::giving(), "FullStreaming", std::slice::from_ref(&server.authority));
    let playlist = format!("#SPATIAL-DATA-PLAYLIST\n{}\n{}\n", server.at("/chunk1"), server.at("/chunk3"));
    follow(&process, &playlist, 10_000, 0, &sink).await.unwrap();
    assert_eq!(all_ids(&sink), [10, 11, 30, 31]);
    for (wrong, expected) in
        [("ftp://x/y", "scheme 'ftp'"), ("chunks/1", "not an absolute URL"), ("http://10.0.0.1/", "policy")]
    {
        let error = follow(&process, wrong, 10_000, 0, &Sink::new()).await.unwrap_err().client_text();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_stream_goes_on_after_the_chunks_that_are_there() {
    let (server, sink) = (Server::start().await, Sink::new());
    server.list(4, END);
    let process = streaming(&Base::giving(), "FullStreaming", std::slice::from_ref(&server.authority));
    follow(&process, &server.at("/list"), 10_000, 3, &sink).await.unwrap();
    assert_eq!(all_ids(&sink), [40, 41]);
}

#[tokio::test]
async fn a_dismissed_stream_stops_following() {
    let (server, sink) = (Server::start().await, Sink::new());
    server.list(1, "");
    let cancel = async {
        sink.is_open().await;
        sink.has(1).await;
        sink.cancel.cancel();
    };
    let (ended, ()) = tokio::join!(followed(&server, &sink, 60_000), cancel);
    assert_eq!(ended, Err(Error::Dismissed));
}

#[tokio::test]
async fn chunks_of_several_inputs_go_together_by_position() {
    let server = Server::start().await;
    server.list(3, END);
    server.set("/short", (200, "text/plain", format!("/chunk3\n/chunk1\n{END}")));
    server.set("/other", (200, "text/plain", format!("/chunk3\n/chunk2\n/chunk1\n{END}")));
    let base = Base::of(describe(&["left", "right"]), |chunk| async move { chunk.give().await });
    let process = streaming(&base, "FullStreaming", std::slice::from_ref(&server.authority));
    let inputs = |right: &str| {
        vec![("left", complex(&server.at("/list"), IN)), ("right", complex(&server.at(right), IN))]
    };
    let sink = Sink::new();
    run(&process, inputs("/other"), IN, 0, &sink).await.unwrap();
    let pairs: Vec<_> = sink.chunks().iter().map(|chunk| ids(chunk)).collect();
    assert_eq!(pairs, [[10, 11, 30, 31], [20, 21, 20, 21], [30, 31, 10, 11]]);
    let error = run(&process, inputs("/short"), IN, 0, &Sink::new()).await.unwrap_err().client_text();
    assert_eq!(
        error,
        "the playlist of input 'right' has ended after 2 chunks, and that of input 'left' has more"
    );
}

#[tokio::test]
async fn base64_chunks_are_decoded_where_they_are_base64() {
    let (server, sink) = (Server::start().await, Sink::new());
    server.list(2, END);
    // {"id":5,} in base64; the second chunk is plain although base64 was said.
    server.set("/chunk1", (200, "text/plain", "eyJpZCI6NSx9\r\n".into()));
    let format = Format { encoding: Some("base64".into()), ..Format::new(IN) };
    let Value::Complex(list) = complex(&server.at("/list"), IN) else { unreachable!() };
    let list = Value::Complex(anabranch_model::ComplexValue { format, ..list });
    let process = streaming(&Base::giving(), "FullStreaming", std::slice::from_ref(&server.authority));
    run(&process, vec![("data", list)], IN, 0, &sink).await.unwrap();
    assert_eq!(all_ids(&sink), [5, 20, 21]);
}
