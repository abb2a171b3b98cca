//! Elements that several documents share (OWS Common 1.1 and 2.0, which differ in their namespaces only where nothing else is said).

use crate::service::ServiceInfo;
use crate::xml::Writer;
use anabranch_model::{AllowedValue, BoundingBox, LiteralType, Metadata, RangeClosure};
use std::io;

/// Where the names of literal types are defined.
const XML_SCHEMA: &str = "http://www.w3.org/TR/xmlschema-2/#";

/// Identifier, title and abstract (§10.6).
pub(crate) fn description(
    xml: &mut Writer<'_>,
    identifier: &str,
    title: &str,
    description: &str,
) -> io::Result<()> {
    xml.leaf("ows:Identifier", identifier)?;
    xml.leaf("ows:Title", title)?;
    if description.is_empty() { Ok(()) } else { xml.leaf("ows:Abstract", description) }
}

/// The same and more in the order of OWS Common 2.0 (06-121r9, `BasicIdentificationType`) and WPS 2.0.
pub(crate) fn description_2_0(
    xml: &mut Writer<'_>,
    identifier: &str,
    title: &str,
    description: &str,
    words: &[String],
) -> io::Result<()> {
    xml.leaf("ows:Title", title)?;
    if !description.is_empty() {
        xml.leaf("ows:Abstract", description)?;
    }
    keywords(xml, words)?;
    xml.leaf("ows:Identifier", identifier)
}

fn keywords(xml: &mut Writer<'_>, words: &[String]) -> io::Result<()> {
    if words.is_empty() {
        return Ok(());
    }
    xml.start("ows:Keywords")?;
    words.iter().try_for_each(|word| xml.leaf("ows:Keyword", word))?;
    xml.end()
}

pub(crate) fn metadata(xml: &mut Writer<'_>, metadata: &[Metadata]) -> io::Result<()> {
    for metadata in metadata {
        xml.start("ows:Metadata")?;
        xml.attribute("xlink:href", &metadata.href)?;
        if !metadata.role.is_empty() {
            xml.attribute("xlink:role", &metadata.role)?;
        }
        xml.attribute("xlink:title", &metadata.title)?;
        xml.end()?;
    }
    Ok(())
}

/// §7.4.3.
pub(crate) fn service_identification(
    xml: &mut Writer<'_>,
    service: &ServiceInfo,
    versions: &[&str],
) -> io::Result<()> {
    xml.start("ows:ServiceIdentification")?;
    xml.leaf("ows:Title", &service.title)?;
    if !service.description.is_empty() {
        xml.leaf("ows:Abstract", &service.description)?;
    }
    keywords(xml, &service.keywords)?;
    xml.leaf("ows:ServiceType", "WPS")?;
    for version in versions {
        xml.leaf("ows:ServiceTypeVersion", version)?;
    }
    xml.leaf("ows:Fees", &service.fees)?;
    xml.leaf("ows:AccessConstraints", &service.access_constraints)?;
    xml.end()
}

/// §7.4.4.
pub(crate) fn service_provider(xml: &mut Writer<'_>, service: &ServiceInfo) -> io::Result<()> {
    let provider = &service.provider;
    xml.start("ows:ServiceProvider")?;
    xml.leaf("ows:ProviderName", &provider.name)?;
    if let Some(site) = &provider.site {
        xml.start("ows:ProviderSite")?;
        xml.attribute("xlink:href", site)?;
        xml.end()?;
    }
    xml.start("ows:ServiceContact")?;
    if let Some(contact) = &provider.contact {
        xml.leaf("ows:IndividualName", contact)?;
    }
    if let Some(email) = &provider.email {
        xml.start("ows:ContactInfo")?;
        xml.start("ows:Address")?;
        xml.leaf("ows:ElectronicMailAddress", email)?;
        xml.end()?;
        xml.end()?;
    }
    xml.end()?;
    xml.end()
}

/// How an operation is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Methods {
    GetAndPost,
    GetOnly,
    PostOnly,
}

/// §7.4.5: one operation at one URL.
pub(crate) fn operation(xml: &mut Writer<'_>, name: &str, url: &str, methods: Methods) -> io::Result<()> {
    xml.start("ows:Operation")?;
    xml.attribute("name", name)?;
    xml.start("ows:DCP")?;
    xml.start("ows:HTTP")?;
    // Clients append their parameters to what stands here (§7.4.5).
    let get = if url.contains('?') { url.to_owned() } else { format!("{url}?") };
    let get = (methods != Methods::PostOnly).then_some(("ows:Get", get.as_str()));
    let post = (methods != Methods::GetOnly).then_some(("ows:Post", url));
    for (method, href) in get.into_iter().chain(post) {
        xml.start(method)?;
        xml.attribute("xlink:href", href)?;
        xml.end()?;
    }
    xml.end()?;
    xml.end()?;
    xml.end()
}

/// The URI of a literal type.
pub(crate) fn data_type_uri(data_type: LiteralType) -> String {
    format!("{XML_SCHEMA}{}", data_type.name())
}

pub(crate) fn data_type(xml: &mut Writer<'_>, data_type: LiteralType) -> io::Result<()> {
    xml.start("ows:DataType")?;
    xml.attribute("ows:reference", &data_type_uri(data_type))?;
    xml.text(data_type.name())?;
    xml.end()
}

/// `AllowedValues` (§10.7), or `AnyValue` where nothing is excluded.
pub(crate) fn allowed_values(xml: &mut Writer<'_>, allowed: &[AllowedValue]) -> io::Result<()> {
    if allowed.is_empty() {
        xml.start("ows:AnyValue")?;
        return xml.end();
    }
    xml.start("ows:AllowedValues")?;
    for allowed in allowed {
        match allowed {
            AllowedValue::Value(value) => xml.leaf("ows:Value", value)?,
            AllowedValue::Range { minimum, maximum, closure } => {
                xml.start("ows:Range")?;
                xml.attribute("ows:rangeClosure", closure_name(*closure))?;
                for (name, bound) in [("ows:MinimumValue", minimum), ("ows:MaximumValue", maximum)] {
                    if let Some(bound) = bound {
                        xml.leaf(name, bound)?;
                    }
                }
                xml.end()?;
            }
        }
    }
    xml.end()
}

fn closure_name(closure: RangeClosure) -> &'static str {
    match closure {
        RangeClosure::Closed => "closed",
        RangeClosure::Open => "open",
        RangeClosure::OpenClosed => "open-closed",
        RangeClosure::ClosedOpen => "closed-open",
    }
}

/// Attributes and corners of a box (§10.2); the element itself is the caller's.
pub(crate) fn corners(xml: &mut Writer<'_>, bounding_box: &BoundingBox) -> io::Result<()> {
    xml.attribute_if("crs", bounding_box.crs.as_deref())?;
    xml.attribute("dimensions", &bounding_box.lower.len().to_string())?;
    xml.leaf("ows:LowerCorner", &numbers(&bounding_box.lower))?;
    xml.leaf("ows:UpperCorner", &numbers(&bounding_box.upper))
}

fn numbers(numbers: &[f64]) -> String {
    numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
}
