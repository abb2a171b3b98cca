//! Coordinate reference systems as well-known text (OGC 01-009), as `.prj` files and GeoPackages write them.

use super::{Feature, FormatError, names};
use crate::crs::{Crs, UnsupportedCrs};

/// Code, tab, well-known text in ESRI's dialect; written by `scripts/prj.py`.
static TABLE: &str = include_str!("projection/esri.tsv");

/// Bytes of a well-known text that are looked at; the longest of the table has 700.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The well-known text of a system.
pub(super) fn well_known_text(crs: Crs) -> Result<&'static str, FormatError> {
    let code = crs.epsg_code();
    let row = rows().find(|row| row.0 == code);
    Ok(row.map(|row| row.1).ok_or_else(|| UnsupportedCrs(format!("EPSG:{code}")))?)
}

/// The system that a well-known text describes: by the EPSG code it gives itself, else by its name.
///
/// # Errors
/// [`FormatError::UnsupportedCrs`] with the name, where neither is known.
pub(super) fn of_well_known_text(text: &str) -> Result<Crs, FormatError> {
    let text = names::cut(text, TEXT_BYTES_MAX);
    if let Some(code) = own_code(text) {
        return Ok(Crs::epsg(code)?);
    }
    let name = name(text).unwrap_or(text);
    let wanted = normalised(name);
    let row = rows().find(|(_, known)| self::name(known).is_some_and(|known| normalised(known) == wanted));
    match row {
        Some((code, _)) => Ok(Crs::epsg(code)?),
        None => Err(UnsupportedCrs(name.chars().take(200).collect()).into()),
    }
}

/// For formats that name one system for all features.
///
/// # Errors
/// Where a feature is in another one.
pub(super) fn check_same(format: &'static str, crs: Crs, feature: &Feature) -> Result<(), FormatError> {
    if feature.crs == crs {
        return Ok(());
    }
    let what = format!(
        "features in several coordinate reference systems ({} and {})",
        crs.name(),
        feature.crs.name()
    );
    Err(FormatError::Unrepresentable { format, what })
}

fn rows() -> impl Iterator<Item = (u32, &'static str)> {
    TABLE.lines().filter_map(|line| {
        let (code, text) = line.split_once('\t')?;
        Some((code.parse().ok()?, text))
    })
}

/// What stands between the first pair of quotation marks.
fn name(text: &str) -> Option<&str> {
    text.split('"').nth(1)
}

/// `WGS 84 / UTM zone 33N` and `WGS_84_UTM_zone_33N` are the same.
fn normalised(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|character| character.to_ascii_lowercase()).collect()
}

/// The code of the whole, which is a child of the root: `AUTHORITY["EPSG","2154"]` in WKT 1, `ID["EPSG",2154]` in WKT 2.
fn own_code(text: &str) -> Option<u32> {
    let mut depth = 0_usize;
    let mut quoted = false;
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '[' | '(' => {
                let keyword = text[..at].trim_end().rsplit(|c: char| !c.is_ascii_alphabetic()).next()?;
                if depth == 1 && ["AUTHORITY", "ID"].iter().any(|known| keyword.eq_ignore_ascii_case(known)) {
                    let inner = text[at + 1..].split([']', ')']).next()?;
                    let mut parts = inner.split(',').map(|part| part.trim().trim_matches('"'));
                    if parts.next()?.eq_ignore_ascii_case("EPSG") {
                        return parts.next()?.parse().ok();
                    }
                }
                depth += 1;
            }
            ']' | ')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_the_table_is_found_again_by_its_name() {
        for (code, text) in rows() {
            let crs = of_well_known_text(text).expect(text);
            assert_eq!(well_known_text(crs).expect(text), text, "{code}");
        }
    }

    #[test]
    fn the_code_of_the_whole_counts_not_those_of_its_parts() {
        let lambert = r#"PROJCS["any name",GEOGCS["RGF93",AUTHORITY["EPSG","4171"]],UNIT["metre",1,AUTHORITY["EPSG","9001"]],AUTHORITY["EPSG","2154"]]"#;
        assert_eq!(of_well_known_text(lambert).unwrap().epsg_code(), 2154);
        let second = r#"GEOGCRS["WGS 84",DATUM["x",ID["EPSG",6326]],ID["EPSG",4326]]"#;
        assert_eq!(of_well_known_text(second).unwrap().epsg_code(), 4326);
    }

    #[test]
    fn an_unknown_system_is_named() {
        for text in
            ["PROJCS[\"Mars 2000\"]", "LOCAL_CS[\"site, \\\"grid\\\"\"]", "", "]]]", "[[[[", "\"", "A[\"é"]
        {
            assert!(matches!(of_well_known_text(text), Err(FormatError::UnsupportedCrs(_))), "{text}");
        }
        let error = of_well_known_text("PROJCS[\"Mars 2000\"]").unwrap_err().to_string();
        assert!(error.contains("Mars 2000"), "{error}");
    }
}
