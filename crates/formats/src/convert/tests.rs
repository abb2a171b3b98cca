use super::*;

/// Rows of many columns that say nothing: short in GeoJSON, long in tables.
fn sparse() -> Data {
    let names: Vec<String> =
        (0..200).map(|column| format!(r#""a column with a long name, {column}":1"#)).collect();
    let first = format!(r#"{{"type":"Feature","properties":{{{}}},"geometry":null}}"#, names.join(","));
    let other = r#"{"type":"Feature","properties":{},"geometry":{"type":"Point","coordinates":[8.25,50.5]}}"#;
    let features = std::iter::once(first.as_str()).chain(std::iter::repeat_n(other, 20_000));
    Data::Bytes(features.collect::<Vec<_>>().join("\n").into())
}

#[test]
fn no_more_is_written_than_there_is_room_for() {
    const BYTES_MAX: u64 = 100_000;
    let (data, from) = (sparse(), Convertible::of("application/geo+json-seq").unwrap());
    for format in from.others() {
        let to = Convertible::of(&format.media_type).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let mut out = Vec::new();
        let room = Room { scratch: scratch.path(), bytes_max: BYTES_MAX };
        let refused = convert(&data, from, to, &room, &mut out, &|| false);
        assert!(
            matches!(refused, Err(FormatError::TooLarge { bytes_max: BYTES_MAX })),
            "{format:?}: {refused:?}"
        );
        assert!(out.len() as u64 <= BYTES_MAX, "{format:?}: {}", out.len());
    }
}

#[test]
fn kinds_are_not_mixed() {
    let of = |media_type| Convertible::of(media_type).unwrap();
    let (features, cells) = (of("application/geo+json"), of("image/tiff"));
    assert!(!features.is_convertible_to(cells) && !cells.is_convertible_to(features));
    let media_types: Vec<_> = cells.others().map(|format| format.media_type).collect();
    assert_eq!(media_types, ["application/arcgrid"]);
    let scratch = tempfile::tempdir().unwrap();
    let room = Room { scratch: scratch.path(), bytes_max: 1 };
    let error = convert(&sparse(), features, cells, &room, &mut Vec::new(), &|| false).unwrap_err();
    assert_eq!(error.to_string(), "GeoTIFF can't hold what GeoJSON holds");
}
