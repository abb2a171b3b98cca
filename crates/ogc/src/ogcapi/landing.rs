//! The landing page (§7.2).

use super::link::{BaseUrl, Link};
use crate::service::ServiceInfo;
use serde::Serialize;

/// The media type of an API definition (req/oas30/oas-definition-1).
pub const OPENAPI_MEDIA_TYPE: &str = "application/vnd.oai.openapi+json;version=3.0";

/// The landing page (`landingPage.yaml`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LandingPage {
    /// Of the service.
    pub title: String,
    /// Of the service.
    pub description: String,
    /// To everything else.
    pub links: Vec<Link>,
}

/// Makes the landing page.
#[must_use]
pub fn landing_page(service: &ServiceInfo, base: &BaseUrl) -> LandingPage {
    let mut links = base.own_links("/", "");
    let json = super::MEDIA_TYPE;
    links.extend([
        Link::new("service-desc", OPENAPI_MEDIA_TYPE, base.at("/api")).titled("the API definition"),
        Link::new("service-doc", "text/html", base.at("/api?f=html")).titled("the API definition as HTML"),
        Link::ogc("conformance", json, base.at("/conformance")).titled("what this server conforms to"),
        Link::ogc("processes", json, base.at("/processes")).titled("the processes"),
        Link::ogc("job-list", json, base.at("/jobs")).titled("the jobs"),
    ]);
    LandingPage { title: service.title.clone(), description: service.description.clone(), links }
}
