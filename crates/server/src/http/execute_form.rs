//! The form of a process page: its fields as an execute request, submitted as a job.
//!
//! Names of fields are `what:input`. Where an input may come several times, the *n*th field of a name belongs to the *n*th value.

use super::answer::{self, Asked};
use super::form::{Encoding, Fields};
use super::negotiate::Form;
use super::pages::process::ProcessPage;
use super::same_site::refuse_foreign;
use super::waiting::until_finished;
use super::{acting, body, processes};
use anabranch_login::Operation;
use anabranch_model::{
    DataDescription, Error, ExecuteRequest, ExecutionMode, Fault, FaultKind, FormatHint, InputData,
    InputDescription, InputItem, LiteralType, ProcessDescription, Reference, ResponseForm, Subject, TextForm,
};
use anabranch_ogc::ogcapi::Problem;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// The characters of a value; of complex data too.
pub(crate) const VALUE: &str = "value";
/// What a box for ticking means where it is not ticked.
pub(crate) const UNTICKED: &str = "unticked";
/// A unit of measure.
pub(crate) const UOM: &str = "uom";
/// The four numbers of a bounding box, in the order of its corners.
pub(crate) const CORNERS: [&str; 4] = ["minx", "miny", "maxx", "maxy"];
/// A coordinate reference system.
pub(crate) const CRS: &str = "crs";
/// A file.
pub(crate) const FILE: &str = "file";
/// Where data is.
pub(crate) const LINK: &str = "link";
/// A media type.
pub(crate) const FORMAT: &str = "format";
/// The button that asks for one more row of an input.
pub(crate) const MORE: &str = "more";

const NAMES: [&str; 12] =
    [VALUE, UNTICKED, UOM, CORNERS[0], CORNERS[1], CORNERS[2], CORNERS[3], CRS, FILE, LINK, FORMAT, MORE];

/// The name of a field.
pub(crate) fn name(what: &str, input: &str) -> String {
    format!("{what}:{input}")
}

/// `POST /processes/{process}/execution` by a form: 303 to the page of the job, or the form again with its faults.
pub(crate) async fn submit(asked: &Asked<'_>, id: &str, encoding: &Encoding, body: Body) -> Response {
    if let Some(problem) = refuse_foreign(asked.headers, &asked.app.base) {
        return asked.problem(problem);
    }
    match submit_in(asked, id, encoding, body).await {
        Ok(response) => response,
        Err(error) => asked.error(&error),
    }
}

async fn submit_in(asked: &Asked<'_>, id: &str, encoding: &Encoding, body: Body) -> Result<Response, Error> {
    let app = asked.app;
    let process = processes::find(asked, Operation::Execute, id)?.description();
    let body = body::read(body, app.body_bytes_max).await?;
    let fields = encoding.parse(body).await?;
    if !fields.names().any(is_ours) {
        return Ok(asked.problem(no_form()));
    }
    let as_page = Form::wanted(asked.query, asked.headers)? == Form::Html;
    if as_page && fields.names().any(|name| name.starts_with("more:")) {
        let page = ProcessPage::new(asked.page(), process, &app.base).filled_in(&fields, &[]);
        return Ok(answer::html(StatusCode::OK, &page));
    }
    let handle = match request(&process, &fields) {
        Ok(request) => acting::submit(app, asked.caller, request).await,
        Err(error) => Err(error),
    };
    let handle = match handle {
        Err(Error::Invalid(faults)) if as_page => {
            let page = ProcessPage::new(asked.page(), process, &app.base).filled_in(&fields, &faults);
            return Ok(answer::html(StatusCode::BAD_REQUEST, &page));
        }
        submitted => submitted?,
    };
    let job = handle.id();
    if !process.async_execute {
        until_finished(app, handle).await?;
    }
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(location) = HeaderValue::from_str(&app.base.job(&job)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn is_ours(name: &str) -> bool {
    name.split_once(':').is_some_and(|(what, _)| NAMES.contains(&what))
}

/// Many programs say that they send a form when they only send: what has no field of ours was meant as JSON.
fn no_form() -> Problem {
    let detail = "execute requests are application/json, not a form; the forms of the process pages have fields \
                  such as value:INPUT";
    Problem::http(415, "unsupported media type", detail)
}

/// Makes the execute request; what is empty counts as not given.
fn request(process: &ProcessDescription, fields: &Fields) -> Result<ExecuteRequest, Error> {
    let mut faults = Vec::new();
    for name in fields.names() {
        let input = name.split_once(':').filter(|(what, _)| NAMES.contains(what)).map(|(_, input)| input);
        if input.is_none_or(|input| process.input(input).is_none()) {
            let rule = "is no field of the form of this process";
            faults.push(Fault::new(Subject::Parameter(name.into()), FaultKind::Unknown, rule));
        }
    }
    let mut inputs = Vec::new();
    for input in &process.inputs {
        match &input.data {
            DataDescription::Literal(domain) => {
                literals(input, domain.data_type, fields, &mut inputs);
            }
            DataDescription::BoundingBox(_) => bounding_boxes(input, fields, &mut inputs, &mut faults),
            DataDescription::Complex(_) => complex(input, fields, &mut inputs, &mut faults),
        }
    }
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    Ok(ExecuteRequest {
        process: process.id.clone(),
        inputs,
        outputs: Vec::new(),
        mode: if process.async_execute { ExecutionMode::Async } else { ExecutionMode::Sync },
        response: ResponseForm::Document,
        lineage: false,
        subscriber: None,
    })
}

fn item(input: &InputDescription, data: InputData) -> InputItem {
    InputItem { id: input.id.clone(), data, format: FormatHint::default(), data_type: None, uom: None }
}

fn untyped(text: impl Into<String>) -> InputData {
    InputData::Text { text: text.into(), form: TextForm::Untyped }
}

fn literals(input: &InputDescription, data_type: LiteralType, fields: &Fields, items: &mut Vec<InputItem>) {
    let texts = fields.texts(&name(VALUE, &input.id));
    let uoms = fields.texts(&name(UOM, &input.id));
    if texts.is_empty() && data_type == LiteralType::Boolean {
        let unticked = fields.texts(&name(UNTICKED, &input.id));
        items.extend(unticked.into_iter().map(|text| item(input, untyped(text))));
        return;
    }
    for (index, text) in texts.into_iter().enumerate().filter(|(_, text)| !text.is_empty()) {
        let uom = uoms.get(index).filter(|uom| !uom.is_empty()).map(|uom| (*uom).to_owned());
        items.push(InputItem { uom, ..item(input, untyped(text)) });
    }
}

/// The order of WPS KVP: `minx,miny,maxx,maxy,crs`, whose numbers and count are checked where all requests are checked.
fn bounding_boxes(
    input: &InputDescription,
    fields: &Fields,
    items: &mut Vec<InputItem>,
    faults: &mut Vec<Fault>,
) {
    let corners = CORNERS.map(|corner| fields.texts(&name(corner, &input.id)));
    let crs = fields.texts(&name(CRS, &input.id));
    let rows = corners.iter().map(Vec::len).max().unwrap_or(0);
    for row in 0..rows {
        let numbers = corners.each_ref().map(|of_corner| of_corner.get(row).copied().unwrap_or("").trim());
        if numbers.iter().all(|number| number.is_empty()) {
            continue;
        }
        if numbers.iter().any(|number| number.is_empty() || number.contains(',')) {
            let fault = Fault::new(
                Subject::Input(input.id.clone()),
                FaultKind::Malformed,
                "must have all four numbers of a box",
            );
            faults.push(fault.with_value(numbers.join(",")));
            continue;
        }
        let mut text = numbers.join(",");
        if let Some(crs) = crs.get(row).filter(|crs| !crs.is_empty()) {
            text.push(',');
            text.push_str(crs);
        }
        items.push(item(input, untyped(text)));
    }
}

/// Each value is typed, a file, or a link.
fn complex(input: &InputDescription, fields: &Fields, items: &mut Vec<InputItem>, faults: &mut Vec<Fault>) {
    let of = |what| fields.texts(&name(what, &input.id));
    let (texts, links, formats) = (of(VALUE), of(LINK), of(FORMAT));
    let files = fields.files(&name(FILE, &input.id));
    let rows = texts.len().max(links.len()).max(files.len());
    for row in 0..rows {
        let text = texts.get(row).filter(|text| !text.trim().is_empty());
        let link = links.get(row).map(|link| link.trim()).filter(|link| !link.is_empty());
        let file = files.get(row).filter(|file| !file.is_empty());
        // Browsers send every line end of a text area as CRLF, whatever was typed.
        let text = text.map(|text| untyped(text.replace("\r\n", "\n")));
        let file = file.map(|file| InputData::Bytes(anabranch_model::Data::Bytes((*file).clone())));
        let link = link.map(|link| InputData::Reference(Reference::get(link)));
        let mut given = [text, file, link].into_iter().flatten();
        let Some(data) = given.next() else { continue };
        if given.next().is_some() {
            let rule = "must be given once: as text, as a file or as a link";
            faults.push(Fault::new(Subject::Input(input.id.clone()), FaultKind::TooMany, rule));
            continue;
        }
        let media_type = formats.get(row).filter(|format| !format.is_empty()).map(|f| (*f).to_owned());
        items.push(InputItem {
            format: FormatHint { media_type, ..FormatHint::default() },
            ..item(input, data)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anabranch_algorithms::Echo;
    use anabranch_model::{Process as _, bind};

    async fn asked(form: &str) -> Result<ExecuteRequest, Error> {
        let fields = Encoding::UrlEncoded.parse(form.to_owned().into()).await.unwrap();
        request(&Echo::new().description(), &fields)
    }

    #[tokio::test]
    async fn fields_become_values_that_fit() {
        let form = "value:literalInput=a+b&value:doubleInput=&value:booleanInput=true&unticked:booleanInput=false\
                    &value:arrayInput=1&value:arrayInput=&value:arrayInput=3\
                    &minx:boundingBoxInput=1&miny:boundingBoxInput=2&maxx:boundingBoxInput=3&maxy:boundingBoxInput=4\
                    &crs:boundingBoxInput=EPSG:4326&value:mixedInput=a%0D%0Ab&format:mixedInput=text/plain\
                    &value:complexInput=&link:complexInput=http://x/y&format:complexInput=text/xml";
        let request = asked(form).await.unwrap();
        let ids: Vec<_> = request.inputs.iter().map(|item| item.id.as_str()).collect();
        let expected =
            "literalInput complexInput boundingBoxInput booleanInput arrayInput arrayInput mixedInput";
        assert_eq!(ids.join(" "), expected);
        assert_eq!(request.inputs[6].data, untyped("a\nb"));
        assert_eq!(request.inputs[3].data, untyped("true"));
        assert!(matches!(&request.inputs[1].data, InputData::Reference(at) if at.href == "http://x/y"));
        bind(&Echo::new().description(), &request).unwrap();
        let unticked = asked("unticked:booleanInput=false").await.unwrap();
        assert_eq!(unticked.inputs[0].data, untyped("false"));
    }

    #[tokio::test]
    async fn what_does_not_fit_together_is_named() {
        let form = "value:nothing=1&other=2&minx:boundingBoxInput=1&miny:boundingBoxInput=\
                    &value:complexInput=x&link:complexInput=http://x/y";
        let Err(Error::Invalid(faults)) = asked(form).await else { panic!("it is refused") };
        let names: Vec<_> = faults.iter().map(|fault| fault.subject.name()).collect();
        assert_eq!(names, ["value:nothing", "other", "complexInput", "boundingBoxInput"]);
    }
}
