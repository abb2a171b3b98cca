//! What HTML forms send: `application/x-www-form-urlencoded` and `multipart/form-data`, as a list of fields.

use anabranch_model::description::media_type_essence;
use anabranch_model::{Error, Fault, FaultKind, Subject};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use std::convert::Infallible;

/// Fields of one form: more than any process page has, too few to be work.
const FIELDS_MAX: usize = 2_000;

/// The fields of a form, in the order in which they were sent.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, Content)>);

/// What a field holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Typed, chosen or ticked.
    Text(String),
    /// A file; no bytes where none was chosen.
    File(Bytes),
}

impl Fields {
    /// Their names; a name may come several times.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The texts of that name, in order; empty ones too, because their place counts.
    pub(crate) fn texts(&self, name: &str) -> Vec<&str> {
        let of_name = self.0.iter().filter(|(own, _)| own == name);
        of_name
            .filter_map(|(_, content)| match content {
                Content::Text(text) => Some(text.as_str()),
                Content::File(_) => None,
            })
            .collect()
    }

    /// The files of that name, in order; empty ones too.
    pub(crate) fn files(&self, name: &str) -> Vec<&Bytes> {
        let of_name = self.0.iter().filter(|(own, _)| own == name);
        of_name
            .filter_map(|(_, content)| match content {
                Content::File(bytes) => Some(bytes),
                Content::Text(_) => None,
            })
            .collect()
    }

    fn push(&mut self, name: String, content: Content) -> Result<(), Error> {
        if self.0.len() >= FIELDS_MAX {
            return Err(malformed(
                FaultKind::TooMany,
                format!("must not have more than {FIELDS_MAX} fields"),
            ));
        }
        self.0.push((name, content));
        Ok(())
    }
}

/// How the fields of a form are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    UrlEncoded,
    Multipart { boundary: String },
}

impl Encoding {
    /// By the header `Content-Type`; `None` where the body is no form.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        match media_type_essence(content_type).as_str() {
            "application/x-www-form-urlencoded" => Some(Self::UrlEncoded),
            "multipart/form-data" => {
                let boundary = multer::parse_boundary(content_type).unwrap_or_default();
                Some(Self::Multipart { boundary })
            }
            _ => None,
        }
    }

    /// Reads the fields of a body, which is whole and within the limit of all bodies.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the body is no form, or has more than [`FIELDS_MAX`] fields.
    pub(crate) async fn parse(&self, body: Bytes) -> Result<Fields, Error> {
        match self {
            Self::UrlEncoded => url_encoded(&body),
            Self::Multipart { boundary } => multipart(body, boundary).await,
        }
    }
}

fn url_encoded(body: &[u8]) -> Result<Fields, Error> {
    let mut fields = Fields::default();
    for (name, value) in url::form_urlencoded::parse(body) {
        fields.push(name.into_owned(), Content::Text(value.into_owned()))?;
    }
    Ok(fields)
}

async fn multipart(body: Bytes, boundary: &str) -> Result<Fields, Error> {
    let broken = |error: multer::Error| {
        malformed(FaultKind::Malformed, format!("must be multipart/form-data: {error}"))
    };
    let stream = futures_util::stream::once(std::future::ready(Ok::<_, Infallible>(body)));
    let mut parts = multer::Multipart::new(stream, boundary);
    let mut fields = Fields::default();
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        let Some(name) = part.name().map(str::to_owned) else {
            return Err(malformed(FaultKind::Malformed, "must have a name for each field".into()));
        };
        let is_file = part.file_name().is_some();
        let bytes = part.bytes().await.map_err(broken)?;
        let content = if is_file {
            Content::File(bytes)
        } else {
            let text = String::from_utf8(bytes.into()).map_err(|_not_text| {
                malformed(FaultKind::Malformed, format!("must be UTF-8 in the field {name}"))
            })?;
            Content::Text(text)
        };
        fields.push(name, content)?;
    }
    Ok(fields)
}

fn malformed(kind: FaultKind, rule: String) -> Error {
    Error::invalid(Fault::new(Subject::Parameter("body".into()), kind, rule))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn encoding(content_type: &'static str) -> Option<Encoding> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Encoding::of(&headers)
    }

    #[tokio::test]
    async fn both_encodings_give_the_same_fields() {
        let plain = encoding("application/x-www-form-urlencoded").unwrap();
        let plain = plain.parse("a=1+%C3%BC&b=&a=2&c".into()).await.unwrap();
        let parts = encoding("Multipart/Form-Data; boundary=\"x y\"").unwrap();
        let body = "--x y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1 ü\r\n\
                    --x y\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n\r\n\
                    --x y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n2\r\n\
                    --x y\r\nContent-Disposition: form-data; name=\"c\"\r\n\r\n\r\n--x y--\r\n";
        let parts = parts.parse(body.into()).await.unwrap();
        assert_eq!(plain.0, parts.0);
        assert_eq!(plain.texts("a"), ["1 ü", "2"]);
        assert_eq!(plain.texts("b"), [""]);
        assert!(plain.texts("d").is_empty() && plain.files("a").is_empty());
    }

    #[tokio::test]
    async fn files_keep_their_bytes() {
        let mut body = b"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.tif\"\r\n\
                         Content-Type: image/tiff\r\n\r\n"
            .to_vec();
        body.extend([0, 255, b'\r', b'\n', b'-', b'-']);
        body.extend(
            b"\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"\"\r\n\r\n\r\n--b--\r\n",
        );
        let fields = encoding("multipart/form-data; boundary=b").unwrap().parse(body.into()).await.unwrap();
        let files = fields.files("f");
        assert_eq!(files[0].as_ref(), [0, 255, b'\r', b'\n', b'-', b'-']);
        assert!(files[1].is_empty() && fields.texts("f").is_empty());
    }

    #[tokio::test]
    async fn what_is_no_form_is_refused_with_the_reason() {
        assert_eq!(encoding("application/json"), None);
        let parts = encoding("multipart/form-data; boundary=b").unwrap();
        let not_text = b"--b\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\n\xFF\r\n--b--\r\n";
        let nameless = b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n";
        for body in [&b"--b\r\nhalf a part"[..], b"", not_text, nameless] {
            let refused = parts.parse(Bytes::from_static(body)).await.unwrap_err();
            assert!(refused.client_text().contains("body"), "{refused}");
        }
        let without_boundary = encoding("multipart/form-data").unwrap();
        assert!(without_boundary.parse("x".into()).await.is_err());
        let many = "a=1&".repeat(FIELDS_MAX + 1);
        assert!(Encoding::UrlEncoded.parse(many.into()).await.unwrap_err().client_text().contains("2000"));
    }
}
