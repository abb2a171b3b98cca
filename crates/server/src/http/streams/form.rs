//! Which rendering of a log a client wants.

use crate::http::negotiate::preferred;
use anabranch_formats::playlist::{M3U8, events, features, writer};
use anabranch_model::{Error, Fault, FaultKind, Format, Subject};
use axum::http::HeaderMap;

/// A rendering of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text(writer::Form),
    Json,
    Html,
    Events,
    Features(features::Framing),
}

/// Every form with its name and its media type, the preferred ones first.
const ALL: [(Form, &str, &str); 7] = [
    (Form::Json, "json", "application/json"),
    (Form::Html, "html", "text/html"),
    (Form::Text(writer::Form::Plain), "playlist", Format::PLAYLIST),
    (Form::Text(writer::Form::M3u8), "m3u8", M3U8),
    (Form::Events, "sse", events::MEDIA_TYPE),
    (Form::Features(features::Framing::Sequence), "geojsonseq", features::SEQUENCE),
    (Form::Features(features::Framing::Lines), "ndjson", features::LINES),
];

impl Form {
    /// `?f=` wins over `Accept`; who names none of the forms gets `default`.
    ///
    /// # Errors
    /// Where `f` is none of the names.
    pub(crate) fn wanted(query: Option<&str>, headers: &HeaderMap, default: Self) -> Result<Self, Error> {
        let f = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("f="));
        if let Some(f) = f {
            let named = ALL.iter().find(|(_, name, _)| *name == f);
            return named.map(|(form, ..)| *form).ok_or_else(|| {
                let names: Vec<_> = ALL.iter().map(|(_, name, _)| *name).collect();
                let rule = format!("must be one of {}", names.join(", "));
                let fault = Fault::new(Subject::Parameter("f".into()), FaultKind::NotAllowed, rule);
                Error::invalid(fault.with_value(f))
            });
        }
        let media_types = ALL.map(|(_, _, media_type)| media_type);
        Ok(preferred(headers, &media_types).map_or(default, |index| ALL[index].0))
    }

    /// The name that `f` has for it.
    pub(crate) fn name(self) -> &'static str {
        ALL.iter().find(|(form, ..)| *form == self).map_or("", |(_, name, _)| name)
    }

    pub(crate) fn media_type(self) -> &'static str {
        ALL.iter().find(|(form, ..)| *form == self).map_or("", |(_, _, media_type)| media_type)
    }

    /// For people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Text(writer::Form::Plain) => "playlist of 2012",
            Self::Text(writer::Form::M3u8) => "m3u8 playlist",
            Self::Json => "JSON playlist",
            Self::Html => "page",
            Self::Events => "server-sent events",
            Self::Features(features::Framing::Sequence) => "features as a GeoJSON text sequence",
            Self::Features(features::Framing::Lines) => "features as newline-delimited GeoJSON",
        }
    }

    /// All others, for links.
    pub(crate) fn others(self) -> impl Iterator<Item = Self> {
        ALL.into_iter().map(|(form, ..)| form).filter(move |form| *form != self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header;

    #[test]
    fn a_form_is_named_by_parameter_or_media_type() {
        let wanted = |query: Option<&str>, accept: &str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            Form::wanted(query, &headers, Form::Json)
        };
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let plain = Form::Text(writer::Form::Plain);
        for (query, accept, form) in [
            (None, "", Form::Json),
            (None, "*/*", Form::Json),
            (None, browser, Form::Html),
            (None, "text/event-stream", Form::Events),
            (
                None,
                "application/geo+json-seq, application/json;q=0.5",
                Form::Features(features::Framing::Sequence),
            ),
            (None, "application/json;q=0.5, application/x-ogc-playlist", plain),
            (Some("after=1&f=m3u8"), browser, Form::Text(writer::Form::M3u8)),
            (Some("f=ndjson"), "", Form::Features(features::Framing::Lines)),
        ] {
            assert_eq!(wanted(query, accept), Ok(form), "{query:?} {accept}");
        }
        assert!(wanted(Some("f=xml"), "").is_err());
    }
}
