//! Playlists as JSON.

use super::Chunk;
use serde::Serialize;

/// Some chunks of a log, and how far it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Always `geo-playlist`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The job.
    pub job: String,
    /// Where the job stands, in the words of OGC API - Processes.
    pub status: String,
    /// What the chunks are written in, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Number of the first chunk that is listed here.
    pub media_sequence: u64,
    /// How many chunks were removed again, of a stream that keeps the last ones only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<u64>,
    /// How many chunks there will be, where that is known before the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    /// In order, without gaps.
    pub chunks: Vec<Chunk>,
    /// No more chunks will come after these.
    pub end: bool,
    /// Why not, where the work failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<Exception>,
    /// This playlist in other forms, the job, and where the next chunks are listed.
    pub links: Vec<Link>,
}

/// Why there are no more chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exception {
    /// For people.
    pub detail: String,
    /// Address of the report.
    pub href: String,
}

/// A link (RFC 8288).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Relation.
    pub rel: String,
    /// Media type of what is found there.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Absolute address.
    pub href: String,
}

impl Document {
    /// The value of `type`.
    pub const KIND: &'static str = "geo-playlist";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_agreed() {
        let chunk = |seq, count, bytes, bbox| Chunk {
            seq,
            href: format!("http://wps.example/jobs/3f/chunks/{seq}.gml"),
            count: Some(count),
            bytes: Some(bytes),
            bbox: Some(bbox),
            ..Chunk::default()
        };
        let link = |rel: &str, media_type: Option<&str>, href: &str| Link {
            rel: rel.into(),
            media_type: media_type.map(str::to_owned),
            href: href.into(),
        };
        let document = Document {
            kind: Document::KIND,
            job: "3f".into(),
            status: "successful".into(),
            media_type: Some("text/xml; subtype=gml/2.1.2".into()),
            media_sequence: 1,
            removed: None,
            expected: Some(2),
            chunks: vec![chunk(1, 2, 612, [3.0, 1.0, 5.0, 5.0]), chunk(2, 3, 804, [2.0, 0.0, 12.0, 11.5])],
            end: true,
            exception: None,
            links: vec![
                link("self", None, "http://wps.example/jobs/3f/results/result?f=json"),
                link(
                    "alternate",
                    Some("application/x-ogc-playlist"),
                    "http://wps.example/wps/RetrieveResultServlet?id=playlist3f",
                ),
            ],
        };
        // Numbers are compared as numbers: 3 and 3.0 are one.
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../testdata/playlist/stream.json")).unwrap();
        let mut written = serde_json::to_value(&document).unwrap();
        let boxes = |value: &mut serde_json::Value| {
            let chunks = value["chunks"].as_array_mut().unwrap().iter_mut();
            let boxes: Vec<Vec<f64>> = chunks
                .map(|chunk| {
                    serde_json::from_value(chunk.as_object_mut().unwrap().remove("bbox").unwrap()).unwrap()
                })
                .collect();
            boxes
        };
        let mut golden = golden;
        assert_eq!(boxes(&mut written), boxes(&mut golden));
        assert_eq!(written, golden);
    }
}
