use super::*;
use crate::ogcapi::conformance::{ConformanceClass, conformance};
use crate::ogcapi::landing::landing_page;
use crate::ogcapi::processes::list;
use crate::ogcapi::query::Page;
use crate::service::ServiceInfo;
use crate::testing::{check_golden_json, faults, process, processes};
use anabranch_model::FaultKind;
use std::sync::Arc;

fn base() -> BaseUrl {
    BaseUrl::new("http://localhost:8080/")
}

#[test]
fn descriptions_have_a_schema_for_every_kind_of_data() {
    check_golden_json("ogcapi/process.json", &describe(&process(), &base()));
}

#[test]
fn landing_page_and_conformance_link_to_everything() {
    check_golden_json("ogcapi/landing.json", &landing_page(&ServiceInfo::default(), &base()));
    let classes = [ConformanceClass::Core, ConformanceClass::JobList];
    check_golden_json("ogcapi/conformance.json", &conformance(&classes, &base()));
}

#[test]
fn lists_are_cut_into_pages_that_lead_to_each_other() {
    let three = vec![Arc::new(process()), Arc::new(process()), Arc::new(process())];
    let page = Page::parse("limit=2").unwrap();
    let first = list(&three, &page, &base()).unwrap();
    assert_eq!(first.processes.len(), 2);
    let next = first.links.iter().find(|link| link.rel == "next").unwrap();
    assert_eq!(next.href, "http://localhost:8080/processes?limit=2&cursor=2");
    let query = next.href.split_once('?').unwrap().1;
    let last = list(&three, &Page::parse(query).unwrap(), &base()).unwrap();
    assert_eq!(last.processes.len(), 1);
    assert!(last.links.iter().all(|link| link.rel != "next"));
    assert!(last.links.iter().any(|link| link.rel == "prev"));
    check_golden_json("ogcapi/processes.json", &list(&processes(), &Page::default(), &base()).unwrap());
}

#[test]
fn pages_refuse_what_is_no_number() {
    for bad in ["limit=0", "limit=-1", "limit=ten", "limit="] {
        let error = Page::parse(bad).unwrap_err();
        assert_eq!(faults(&error), [(FaultKind::Malformed, "limit".into())], "{bad}");
    }
    assert_eq!(Page::parse("limit=1000000&x=1").unwrap().limit, 1_000);
    let error = list(&processes(), &Page::parse("cursor=x").unwrap(), &base()).unwrap_err();
    assert_eq!(faults(&error), [(FaultKind::Malformed, "cursor".into())]);
}
