//! Identifiers of coordinate reference systems, in all the forms that are in use.

use super::{Crs, CrsForm, CrsRef, EpsgCode};

/// Characters of an identifier that an error repeats: the longest sound one has about 50.
const SHOWN_CHARS: usize = 100;

/// Codes that software gave Web Mercator before the register had one, and the register's own withdrawn ones.
const WEB_MERCATOR: [u32; 5] = [3785, 900_913, 102_100, 102_113, 41001];

/// `None` where the identifier names no system that is known.
///
/// ```text
/// short     EPSG:4326   OGC:CRS84   CRS:84
/// fragment  http://www.opengis.net/gml/srs/epsg.xml#4326
/// urn       urn:ogc:def:crs:EPSG::4326   urn:ogc:def:crs:EPSG:6.9:4326   urn:x-ogc:def:crs:EPSG:4326   urn:ogc:def:crs:OGC:1.3:CRS84
/// uri       http(s)://www.opengis.net/def/crs/EPSG/0/4326   …/OGC/1.3/CRS84   …/OGC/0/CRS84h
/// curie     [EPSG:4326]   [OGC:CRS84]
/// ```
pub(super) fn parse(identifier: &str) -> Option<CrsRef> {
    let text = identifier.trim().to_ascii_lowercase();
    if let Some(rest) = text.strip_prefix('[') {
        let (authority, code) = rest.strip_suffix(']')?.split_once(':')?;
        return Some(system(authority, code)?.in_form(CrsForm::Curie));
    }
    if let Some(rest) =
        text.strip_prefix("urn:ogc:def:crs:").or_else(|| text.strip_prefix("urn:x-ogc:def:crs:"))
    {
        // The version, which may be empty, was left out in the first drafts of the scheme.
        let (authority, rest) = rest.split_once(':')?;
        let code = rest.split_once(':').map_or(rest, |(_version, code)| code);
        return Some(system(authority, code)?.in_form(CrsForm::Urn));
    }
    if let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) {
        let rest = rest.strip_prefix("www.").unwrap_or(rest);
        if let Some(code) = rest.strip_prefix("opengis.net/gml/srs/epsg.xml#") {
            return Some(system("epsg", code)?.in_form(CrsForm::Fragment));
        }
        let (authority, rest) = rest.strip_prefix("opengis.net/def/crs/")?.split_once('/')?;
        let (_version, code) = rest.split_once('/')?;
        return Some(system(authority, code)?.in_form(CrsForm::Uri));
    }
    let (authority, code) = text.split_once(':')?;
    Some(system(authority, code)?.in_form(CrsForm::Short))
}

/// The system of an authority's code, both in lower case.
fn system(authority: &str, code: &str) -> Option<Crs> {
    match (authority, code) {
        // CRS84h has a height besides; ours may have one anyway.
        ("ogc" | "crs", "crs84" | "84") | ("ogc", "crs84h") => Some(Crs::Crs84),
        ("epsg", code) if code.bytes().all(|byte| byte.is_ascii_digit()) => {
            let code = code.parse().ok()?;
            let code = if WEB_MERCATOR.contains(&code) { 3857 } else { code };
            EpsgCode::new(code).map(Crs::Epsg)
        }
        _ => None,
    }
}

/// An identifier as an error may repeat it.
pub(super) fn shortened(identifier: &str) -> String {
    match identifier.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &identifier[..end]),
        None => identifier.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::crs::{AxisOrder, Crs, CrsForm, EpsgCode};

    fn epsg(code: u32) -> Crs {
        Crs::epsg(code).unwrap()
    }

    #[test]
    fn every_form_is_read() {
        use AxisOrder::{Xy, Yx};
        use CrsForm::{Curie, Fragment, Short, Uri, Urn};
        for (identifier, crs, form, order) in [
            ("EPSG:4326", epsg(4326), Short, Xy),
            (" epsg:4326\n", epsg(4326), Short, Xy),
            ("http://www.opengis.net/gml/srs/epsg.xml#4326", epsg(4326), Fragment, Xy),
            ("urn:ogc:def:crs:EPSG::4326", epsg(4326), Urn, Yx),
            ("URN:OGC:DEF:CRS:EPSG::4326", epsg(4326), Urn, Yx),
            ("urn:ogc:def:crs:EPSG:6.9:4326", epsg(4326), Urn, Yx),
            ("urn:x-ogc:def:crs:EPSG:4326", epsg(4326), Urn, Yx),
            ("urn:x-ogc:def:crs:EPSG:6.11.2:4326", epsg(4326), Urn, Yx),
            ("http://www.opengis.net/def/crs/EPSG/0/4326", epsg(4326), Uri, Yx),
            ("https://www.opengis.net/def/crs/EPSG/9.9.1/4326", epsg(4326), Uri, Yx),
            ("http://opengis.net/def/crs/EPSG/0/32633", epsg(32633), Uri, Xy),
            ("urn:ogc:def:crs:EPSG::3857", epsg(3857), Urn, Xy),
            ("urn:ogc:def:crs:EPSG::3035", epsg(3035), Urn, Yx),
            ("EPSG:3035", epsg(3035), Short, Xy),
            ("[EPSG:4326]", epsg(4326), Curie, Yx),
            ("[OGC:CRS84]", Crs::Crs84, Curie, Xy),
            ("OGC:CRS84", Crs::Crs84, Short, Xy),
            ("CRS:84", Crs::Crs84, Short, Xy),
            ("urn:ogc:def:crs:OGC:1.3:CRS84", Crs::Crs84, Urn, Xy),
            ("urn:ogc:def:crs:OGC::CRS84", Crs::Crs84, Urn, Xy),
            ("http://www.opengis.net/def/crs/OGC/1.3/CRS84", Crs::Crs84, Uri, Xy),
            ("https://www.opengis.net/def/crs/OGC/0/CRS84h", Crs::Crs84, Uri, Xy),
            ("EPSG:900913", epsg(3857), Short, Xy),
            ("urn:ogc:def:crs:EPSG::102100", epsg(3857), Urn, Xy),
        ] {
            let parsed = Crs::parse(identifier).unwrap();
            assert_eq!((parsed.crs, parsed.form, parsed.order()), (crs, form, order), "{identifier}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        use CrsForm::{Curie, Fragment, Short, Uri, Urn};
        for form in [Short, Fragment, Urn, Uri, Curie] {
            for crs in EpsgCode::all().map(Crs::Epsg) {
                assert_eq!(Crs::parse(&crs.in_form(form).to_string()), Ok(crs.in_form(form)));
            }
            let written = Crs::Crs84.in_form(form);
            let read = Crs::parse(&written.to_string()).unwrap();
            assert_eq!(read.order(), AxisOrder::Xy);
            assert_eq!(read.crs, if form == Fragment { epsg(4326) } else { Crs::Crs84 });
        }
    }

    #[test]
    fn other_identifiers_are_named_in_the_error() {
        for identifier in [
            "",
            "4326",
            "EPSG:",
            "EPSG:+4326",
            "EPSG:27700",
            "EPSG:4294967297",
            "CRS:83",
            "OGC:4326",
            "[EPSG:4326",
            "urn:ogc:def:crs:EPSG",
            "urn:ogc:def:crs,crs:EPSG::4326,crs:EPSG::5773",
            "http://www.opengis.net/def/crs/EPSG/4326",
            "http://example.org/def/crs/EPSG/0/4326",
            "urn:ogc:def:datum:EPSG::6326",
        ] {
            let error = Crs::parse(identifier).unwrap_err().to_string();
            assert!(error.contains(&format!("{identifier:?}")), "{error}");
        }
        let error = Crs::parse(&"ü".repeat(1_000_000)).unwrap_err().to_string();
        assert!(error.len() < 500, "{error}");
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(EpsgCode::all().is_sorted_by(|a, b| a.code() < b.code()));
        assert_eq!(Crs::epsg(27700).unwrap_err().0, "EPSG:27700");
    }
}
