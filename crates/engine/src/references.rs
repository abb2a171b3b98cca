//! Inputs by reference: checked before the job is accepted, fetched when its run begins.

use crate::arrival;
use crate::engine::Inner;
use crate::folders::{self, blocking, io_error};
use crate::hints;
use crate::live::Live;
use anabranch_egress::{
    Body, Egress, EgressError, Fault as EgressFault, Method, Request, Response, parse_url,
};
use anabranch_model::bind::bind_fetched;
use anabranch_model::description::is_playlist;
use anabranch_model::{
    Arriving, BoundRequest, BoundValue, ComplexDomain, Data, DataDescription, DataFile, Error,
    ExecuteRequest, Fault, FaultKind, Format, FormatHint, HttpMethod, InputData, InputDescription, Inputs,
    ProcessDescription, Reference, ReferenceBody, Subject, Value, Viewer,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::try_join;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Refuses references that can't be fetched whatever is behind them.
pub(crate) fn check(engine: &Inner, request: &ExecuteRequest) -> Result<(), Error> {
    match refused(engine, request).next() {
        None => Ok(()),
        Some((input, reason)) => Err(inaccessible(input, reason)),
    }
}

/// The same as faults, all of them.
pub(crate) fn faults(engine: &Inner, request: &ExecuteRequest) -> Vec<Fault> {
    let fault = |(input, reason): (&str, String)| {
        let rule = format!("must be accessible: {reason}");
        Fault::new(Subject::Input(input.to_owned()), FaultKind::NotAllowed, rule)
    };
    refused(engine, request).map(fault).collect()
}

/// Inputs with addresses that must not or can't be asked, and why.
fn refused<'a>(
    engine: &'a Inner,
    request: &'a ExecuteRequest,
) -> impl Iterator<Item = (&'a str, String)> + 'a {
    let addresses = request.inputs.iter().flat_map(|item| {
        let InputData::Reference(reference) = &item.data else { return [None, None] };
        let body = match &reference.body {
            Some(ReferenceBody::Href(href)) => Some((item.id.as_str(), href.as_str())),
            Some(ReferenceBody::Inline(_)) | None => None,
        };
        [Some((item.id.as_str(), reference.href.as_str())), body]
    });
    addresses
        .flatten()
        .filter(|(_, href)| engine.own_place(href).is_none())
        .filter_map(|(input, href)| check_url(&engine.egress, href).err().map(|reason| (input, reason)))
}

fn check_url(egress: &Egress, href: &str) -> Result<(), String> {
    let url = parse_url(href).map_err(|refused| refused.client_text())?;
    egress.check(&url).map_err(|refused| refused.client_text())
}

fn inaccessible(input: &str, reason: String) -> Error {
    Error::DataNotAccessible { input: input.to_owned(), reason }
}

/// The inputs of a run that is found again: its values at hand are those it was begun with, the rest it has itself.
pub(crate) fn at_hand(bound: &BoundRequest) -> Inputs {
    let inputs = bound.inputs.iter().map(|(id, values)| {
        let values = values.iter().filter_map(|value| match value {
            BoundValue::Value(value) => Some(value.clone()),
            BoundValue::Reference { .. } => None,
        });
        (id.clone(), values.collect())
    });
    Inputs::new(inputs.collect())
}

/// What a run is given.
#[derive(Default)]
pub(crate) struct Resolved {
    /// All that is there.
    pub(crate) inputs: Inputs,
    /// What has begun to arrive, and the task that fetches it.
    pub(crate) arriving: Option<(Arriving, AbortOnDropHandle<()>)>,
}

impl Resolved {
    /// All is there.
    pub(crate) fn at_hand(bound: &BoundRequest) -> Self {
        Self { inputs: at_hand(bound), arriving: None }
    }
}

/// The inputs of a run, with all references fetched; but `arriving`, where it is one of another server's, has only begun to arrive.
pub(crate) async fn resolve(
    engine: &Inner,
    live: &Live,
    description: &ProcessDescription,
    bound: &BoundRequest,
    arriving: Option<&str>,
    cancel: &CancellationToken,
) -> Result<Resolved, Error> {
    let is_reference = |value: &BoundValue| matches!(value, BoundValue::Reference { .. });
    if !bound.inputs.iter().any(|(_, values)| values.iter().any(is_reference)) {
        return Ok(Resolved::at_hand(bound));
    }
    let folder = engine.folders.fetched(live.id);
    let made = folder.clone();
    blocking(move || {
        // What an earlier attempt fetched may be half a file, or old.
        folders::remove_folder(&made);
        folders::make(&made).map_err(|error| io_error("can't make", &made, &error))
    })
    .await??;
    let owner = Viewer::owner(live.owner.as_ref());
    let mut files = 0_usize;
    let (mut values, mut begun, mut whole) = (Vec::new(), None, Vec::new());
    for (id, given) in &bound.inputs {
        if let (true, [value]) = (arriving == Some(id), given.as_slice())
            && let Some(coming) = Coming::of(engine, description, id, value)?
        {
            begun = Some(coming);
            continue;
        }
        for value in given {
            files += 1;
            values.push(one(engine, &owner, description, id, value, folder.join(files.to_string())));
        }
        whole.push((id, given.len()));
    }
    let parallel = engine.limits.references_parallel_max.max(1);
    let values = stream::iter(values).buffered(parallel).try_collect::<Vec<_>>();
    let begun = async {
        match begun {
            Some(coming) => {
                let (dismissed, cancel) = (live.cancel.clone(), cancel.clone());
                let ended = async move {
                    tokio::select! {
                        () = dismissed.cancelled() => {}
                        () = cancel.cancelled() => {}
                    }
                };
                coming.begin(engine, folder.join("arriving"), ended).await.map(Some)
            }
            None => Ok(None),
        }
    };
    let (values, arriving) = try_join!(values, begun)?;
    let mut values = values.into_iter();
    let inputs = whole.into_iter().map(|(id, count)| (id.clone(), values.by_ref().take(count).collect()));
    Ok(Resolved { inputs: Inputs::new(inputs.collect()), arriving })
}

/// A reference to what its run can read while it is fetched.
struct Coming<'a> {
    input: &'a InputDescription,
    domain: &'a ComplexDomain,
    reference: &'a Reference,
    format: &'a FormatHint,
}

impl<'a> Coming<'a> {
    /// `None` where there is nothing to fetch from another server, or where it has to be whole to be understood.
    fn of(
        engine: &Inner,
        description: &'a ProcessDescription,
        id: &str,
        value: &'a BoundValue,
    ) -> Result<Option<Self>, Error> {
        let (BoundValue::Reference { reference, format }, Some(input)) = (value, description.input(id))
        else {
            return Ok(None);
        };
        let DataDescription::Complex(domain) = &input.data else { return Ok(None) };
        let is_elsewhere = engine.own_place(&reference.href).is_none();
        let is_plain = playlist(input, reference, format)?.is_none() && format.encoding.is_none();
        Ok((is_elsewhere && is_plain).then_some(Self { input, domain, reference, format }))
    }

    /// Waits until it is known what it is. No more is fetched once the run has `ended`.
    async fn begin(
        self,
        engine: &Inner,
        path: PathBuf,
        ended: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(Arriving, AbortOnDropHandle<()>), Error> {
        let id = self.input.id.clone();
        let response = ask(&engine.egress, self.reference, self.format, self.domain.bytes_max, &path).await;
        let response = response.map_err(|error| fetch_error(&id, &error))?;
        let content_type = response.content_type.clone();
        let (arrival, fetching) = arrival::begin(&path.clone(), |teller| {
            let id = id.clone();
            async move {
                let saving = response.save_to_and_tell(&path, |bytes| teller.there(bytes));
                tokio::select! {
                    saved = saving => saved.map_err(|error| fetch_error(&id, &error)),
                    // Who waits for more is not left waiting.
                    () = ended => Err(Error::Dismissed),
                }
            }
        });
        let head = Data::Bytes(arrival.head().await?);
        let format = hints::of_fetched(self.format, content_type.as_deref(), self.domain, &head);
        let Value::Complex(value) = bind_fetched(self.input, head, &format).map_err(Error::invalid)? else {
            return Err(Error::internal(format!("input '{id}' is no data")));
        };
        Ok((Arriving { input: id, format: value.format, data: Arc::new(arrival) }, fetching))
    }
}

async fn one(
    engine: &Inner,
    owner: &Viewer,
    description: &ProcessDescription,
    id: &str,
    value: &BoundValue,
    path: PathBuf,
) -> Result<Value, Error> {
    let (reference, format) = match value {
        BoundValue::Value(value) => return Ok(value.clone()),
        BoundValue::Reference { reference, format } => (reference, format),
    };
    let input = description.input(id);
    let input =
        input.ok_or_else(|| Error::internal(format!("input '{id}' has vanished from its process")))?;
    if let Some(playlist) = playlist(input, reference, format)? {
        return Ok(playlist);
    }
    if let Some(place) = engine.own_place(&reference.href) {
        let (data, format) = engine
            .own_data(owner, place, format, path)
            .await
            .map_err(|error| inaccessible(id, error.client_text()))?;
        return bound_fetched(input.clone(), data, format, None).await;
    }
    let bytes_max = match &input.data {
        DataDescription::Complex(domain) => domain.bytes_max,
        DataDescription::Literal(_) | DataDescription::BoundingBox(_) => {
            Some(anabranch_model::bind::LITERAL_BYTES_MAX)
        }
    };
    let (bytes, content_type) = fetch(&engine.egress, reference, format, bytes_max, &path)
        .await
        .map_err(|error| fetch_error(id, &error))?;
    let data = Data::File(DataFile { path, bytes });
    bound_fetched(input.clone(), data, format.clone(), content_type).await
}

async fn bound_fetched(
    input: InputDescription,
    data: Data,
    format: FormatHint,
    content_type: Option<String>,
) -> Result<Value, Error> {
    blocking(move || {
        let format = match &input.data {
            DataDescription::Complex(domain) => {
                hints::of_fetched(&format, content_type.as_deref(), domain, &data)
            }
            DataDescription::Literal(_) | DataDescription::BoundingBox(_) => format,
        };
        bind_fetched(&input, data, &format)
    })
    .await?
    .map_err(Error::invalid)
}

/// A playlist is not fetched but followed, by the process: its value is its address. `None` for everything else.
fn playlist(
    input: &InputDescription,
    reference: &Reference,
    format: &FormatHint,
) -> Result<Option<Value>, Error> {
    if !is_playlist_of(input, format) {
        return Ok(None);
    }
    let value =
        bind_fetched(input, Data::Bytes(reference.href.clone().into()), format).map_err(Error::invalid)?;
    Ok(Some(value))
}

/// The client says so, or the input takes nothing else.
fn is_playlist_of(input: &InputDescription, format: &FormatHint) -> bool {
    let DataDescription::Complex(domain) = &input.data else { return false };
    match &format.media_type {
        Some(media_type) => is_playlist(media_type),
        None => domain.formats.iter().all(Format::is_playlist),
    }
}

async fn fetch(
    egress: &Egress,
    reference: &Reference,
    format: &FormatHint,
    bytes_max: Option<u64>,
    path: &Path,
) -> Result<(u64, Option<String>), EgressError> {
    let response = ask(egress, reference, format, bytes_max, path).await?;
    let content_type = response.content_type.clone();
    Ok((response.save_to(path).await?, content_type))
}

/// Asks for a reference that goes to `path`, beside which its request's body is kept.
async fn ask(
    egress: &Egress,
    reference: &Reference,
    format: &FormatHint,
    bytes_max: Option<u64>,
    path: &Path,
) -> Result<Response, EgressError> {
    let method = match reference.method {
        HttpMethod::Get => Method::Get,
        HttpMethod::Post => Method::Post,
    };
    let mut request = Request::new(method, parse_url(&reference.href)?);
    request.headers.clone_from(&reference.headers);
    request.body_bytes_max = bytes_max;
    let names_accept = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept"));
    if let (false, Some(media_type)) = (names_accept, &format.media_type) {
        request = request.header("Accept", format!("{media_type}, */*;q=0.1"));
    }
    request.body = match (&reference.body, method) {
        (Some(ReferenceBody::Inline(text)), Method::Post) => Body::from(text.clone()),
        (Some(ReferenceBody::Href(href)), Method::Post) => {
            let body = path.with_extension("body");
            egress.fetch(Request::get(parse_url(href)?)).await?.save_to(&body).await?;
            Body::File(body)
        }
        (Some(_) | None, _) => Body::Empty,
    };
    egress.fetch(request).await
}

fn fetch_error(input: &str, error: &EgressError) -> Error {
    tracing::info!(input, %error, "a reference could not be read");
    match &error.fault {
        EgressFault::TooLarge { bytes_max } => {
            Error::TooLarge { what: format!("input '{input}'"), bytes_max: *bytes_max }
        }
        EgressFault::Save { path, source } => io_error("can't save", path, source),
        _ => inaccessible(input, error.client_text()),
    }
}
