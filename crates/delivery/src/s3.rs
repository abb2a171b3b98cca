//! S3 and what speaks like it: by object_store, whose requests go through `egress`.
//!
//! An object is seen when it is complete: that is S3's own way. What is large goes in parts, and those that are there are not sent again.
//! Each is signed with its SHA-256, which the server checks.

use crate::upload::{Part, UploadError};
use anabranch_egress::{Body, Egress, Fault, Method, Policy, Request};
use async_trait::async_trait;
use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path as Key;
use object_store::{ClientOptions, MultipartId, ObjectStoreExt as _, PutPayload, RetryConfig};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, SeekFrom};

/// Size of a part, in bytes: 5 MiB is S3's least, one is held in memory, and a broken connection sends one again.
const PART_BYTES: u64 = 8 << 20;

/// Most parts of an object that S3 takes; larger objects have larger parts.
const PARTS_MAX: u64 = 10_000;

/// Largest answer read, in bytes: they are short documents.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// A bucket.
#[derive(Clone)]
pub struct S3 {
    /// URL of the server; without it Amazon's own for the region.
    pub endpoint: Option<String>,
    /// Region; servers other than Amazon's mostly take any.
    pub region: String,
    /// Bucket, which has to exist.
    pub bucket: String,
    /// Identifier of the access key.
    pub access_key: String,
    /// The secret that belongs to it.
    pub secret_key: String,
    /// PEM file with authorities to trust besides the built-in ones.
    pub ca_file: Option<std::path::PathBuf>,
}

/// An upload in parts that was begun.
pub(crate) struct Multipart {
    id: MultipartId,
    parts: Vec<PartId>,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3")
            .field("endpoint", &self.endpoint)
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

impl S3 {
    pub(crate) fn url(&self) -> String {
        format!("s3://{}", self.bucket)
    }

    /// Whether it can be one.
    pub(crate) fn check(&self) -> Result<(), UploadError> {
        self.host()?;
        self.store(&crate::limits::Limits::default()).map(drop)
    }

    fn endpoint(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| format!("https://s3.{}.amazonaws.com", self.region))
    }

    /// Host and port: the only ones that requests may go to, whatever the server answers.
    fn host(&self) -> Result<String, UploadError> {
        let endpoint = self.endpoint();
        let url = url::Url::parse(&endpoint).ok();
        let host = url
            .as_ref()
            .and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)));
        let plain = url.as_ref().is_some_and(|url| url.path() == "/" && url.query().is_none());
        host.filter(|_| plain).ok_or_else(|| {
            UploadError::lasting(format!(
                "endpoint must be a URL of a server, such as https://s3.example.org, not {endpoint:?}"
            ))
        })
    }

    fn store(&self, limits: &crate::limits::Limits) -> Result<AmazonS3, UploadError> {
        let host = self.host()?;
        let rule = host.parse().map_err(|error| UploadError::lasting(format!("endpoint: {error}")))?;
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1);
        let policy = Policy {
            allow: vec![rule],
            public_allowed: false,
            redirects_max: 0,
            ca_file: self.ca_file.clone(),
            body_bytes_max: ANSWER_BYTES_MAX,
            request_body_bytes_max: u64::MAX,
            connect_ms_max: ms(limits.connect),
            idle_ms_max: ms(limits.stall),
            total_ms_max: ms(limits.whole),
            ..Policy::default()
        };
        let none = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        AmazonS3Builder::new()
            .with_http_connector(Through(Egress::new(policy)))
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_region(&self.region)
            .with_bucket_name(&self.bucket)
            .with_access_key_id(&self.access_key)
            .with_secret_access_key(&self.secret_key)
            .with_checksum_algorithm(Checksum::SHA256)
            // The tries are ours.
            .with_retry(none)
            .build()
            .map_err(|error| UploadError::lasting(error.to_string()))
    }

    pub(crate) async fn attempt(&self, part: &mut Part<'_>) -> Result<(), UploadError> {
        let store = self.store(part.limits)?;
        let key = key(&part.finished)?;
        let part_bytes = PART_BYTES.max(part.bytes.div_ceil(PARTS_MAX));
        if part.bytes <= part_bytes {
            let whole = read(part, 0, part.bytes).await?;
            store.put(&key, PutPayload::from(whole)).await.map_err(|error| failed("storing", &error))?;
        } else {
            self.put_parts(&store, &key, part, part_bytes).await?;
        }
        part.there = part.bytes;
        let head = store.head(&key).await.map_err(|error| failed("asking for a size", &error))?;
        if head.size != part.bytes {
            (part.there, part.multipart) = (0, None);
            let (bytes, own) = (head.size, part.bytes);
            return Err(UploadError::transient(format!("the object has {bytes} bytes instead of {own}")));
        }
        part.checked = "size and SHA-256";
        Ok(())
    }

    async fn put_parts(
        &self,
        store: &AmazonS3,
        key: &Key,
        part: &mut Part<'_>,
        part_bytes: u64,
    ) -> Result<(), UploadError> {
        let mut multipart = match part.multipart.take() {
            Some(multipart) => multipart,
            None => {
                let id = store.create_multipart(key).await.map_err(|error| failed("beginning", &error))?;
                Multipart { id, parts: Vec::new() }
            }
        };
        part.begun = true;
        let result = async {
            loop {
                let n = multipart.parts.len() as u64;
                let offset = n * part_bytes;
                if offset >= part.bytes {
                    break;
                }
                let bytes = read(part, offset, part_bytes.min(part.bytes - offset)).await?;
                let count = bytes.len() as u64;
                let sent =
                    store.put_part(key, &multipart.id, multipart.parts.len(), PutPayload::from(bytes)).await;
                multipart.parts.push(sent.map_err(|error| failed("sending", &error))?);
                part.there = offset + count;
            }
            let parts = multipart.parts.clone();
            store
                .complete_multipart(key, &multipart.id, parts)
                .await
                .map_err(|error| failed("storing", &error))
        }
        .await;
        match result {
            // It is an object now.
            Ok(_stored) => {
                part.begun = false;
                Ok(())
            }
            Err(error) => {
                part.multipart = Some(multipart);
                Err(error)
            }
        }
    }

    pub(crate) async fn discard(&self, part: &Part<'_>) -> Result<(), UploadError> {
        let Some(multipart) = &part.multipart else { return Ok(()) };
        let store = self.store(part.limits)?;
        let aborted = store.abort_multipart(&key(&part.finished)?, &multipart.id).await;
        aborted.map_err(|error| failed("removing", &error))
    }
}

fn key(path: &str) -> Result<Key, UploadError> {
    Key::parse(path.trim_start_matches('/')).map_err(|error| UploadError::lasting(error.to_string()))
}

async fn read(part: &Part<'_>, offset: u64, count: u64) -> Result<Bytes, UploadError> {
    let unreadable = |error: std::io::Error| UploadError::lasting(format!("the file can't be read: {error}"));
    let mut file = tokio::fs::File::open(part.file).await.map_err(unreadable)?;
    file.seek(SeekFrom::Start(offset)).await.map_err(unreadable)?;
    let mut bytes = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    file.take(count).read_to_end(&mut bytes).await.map_err(unreadable)?;
    if bytes.len() as u64 == count {
        Ok(bytes.into())
    } else {
        Err(UploadError::lasting("the file became shorter while it was sent".into()))
    }
}

fn failed(what: &str, error: &object_store::Error) -> UploadError {
    use object_store::Error as E;
    let (said, transient) = match error {
        E::Unauthenticated { .. } | E::PermissionDenied { .. } => ("the server refuses this key", false),
        E::NotFound { .. } => ("there is no such bucket, or an upload that was begun is gone", false),
        E::InvalidPath { .. } | E::NotSupported { .. } | E::NotImplemented { .. } => {
            ("it is not possible", false)
        }
        _ => ("the server can't be reached, or can't do it now", true),
    };
    let mut reason = format!("{what}: {said}");
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if inner.source().is_none() {
            reason = format!("{reason} ({inner})");
        }
        source = inner.source();
    }
    UploadError { reason, transient }
}

/// The one way out.
#[derive(Debug)]
struct Through(Egress);

impl HttpConnector for Through {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Self(self.0.clone())))
    }
}

#[async_trait]
impl HttpService for Through {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        let unusable = |why: String| HttpError::new(HttpErrorKind::Unknown, std::io::Error::other(why));
        let url = url::Url::parse(&head.uri.to_string()).map_err(|error| unusable(error.to_string()))?;
        let method = match head.method.as_str() {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            other => return Err(unusable(format!("method {other}"))),
        };
        let mut own = Request::new(method, url);
        for (name, value) in &head.headers {
            // These are the transport's, and it makes the very same.
            if matches!(name.as_str(), "host" | "content-length") {
                continue;
            }
            let value = value.to_str().map_err(|error| unusable(error.to_string()))?;
            own = own.header(name.as_str(), value);
        }
        own.body = match collected(body).await? {
            bytes if bytes.is_empty() && matches!(method, Method::Get | Method::Head | Method::Delete) => {
                Body::Empty
            }
            bytes => Body::Bytes(bytes),
        };
        let answer = self.0.fetch_any_status(own).await.map_err(|error| http_error(&error))?;
        let mut built = http::Response::builder().status(answer.status);
        for name in ["etag", "content-length", "content-type", "last-modified", "x-amz-version-id"] {
            if let Some(value) = answer.header(name) {
                built = built.header(name, value);
            }
        }
        let bytes = if matches!(method, Method::Head) {
            Bytes::new()
        } else {
            answer.bytes(ANSWER_BYTES_MAX).await.map_err(|error| http_error(&error))?
        };
        built.body(bytes.into()).map_err(|error| unusable(error.to_string()))
    }
}

/// A body in one piece.
async fn collected(body: object_store::client::HttpRequestBody) -> Result<Bytes, HttpError> {
    use futures_util::TryStreamExt as _;
    match body.as_bytes() {
        Some(bytes) => Ok(bytes.clone()),
        None => {
            let pieces: Vec<Bytes> =
                object_store::client::HttpResponseBody::new(body).bytes_stream().try_collect().await?;
            Ok(match <[Bytes; 1]>::try_from(pieces) {
                Ok([one]) => one,
                Err(pieces) => pieces.concat().into(),
            })
        }
    }
}

fn http_error(error: &anabranch_egress::EgressError) -> HttpError {
    let kind = match &error.fault {
        Fault::Lookup(_) | Fault::Connect(_) => HttpErrorKind::Connect,
        Fault::TimedOut { .. } => HttpErrorKind::Timeout,
        Fault::Transfer(_) => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, std::io::Error::other(error.to_string()))
}
