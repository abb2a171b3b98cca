//! Names of formats that say less, or other things, than they mean.

use anabranch_model::Format;

/// The format that a name of 2012 means: clients of that time say `text/xml` and a schema, and call a GeoTIFF what they like.
#[must_use]
pub fn meant(named: &Format) -> Format {
    let media_type = named.media_type.trim().to_ascii_lowercase();
    let gml = named.schema.as_deref().and_then(|schema| schema.split("/gml/").nth(1)?.split('/').next());
    match (media_type.as_str(), gml) {
        ("text/xml", Some(version)) => {
            let version = if version.starts_with("2.") { "2.1.2" } else { version };
            Format { media_type: format!("text/xml; subtype=gml/{version}"), ..named.clone() }
        }
        ("text/xml; subtype=gml/2.1.2.1", _) => {
            Format { media_type: "text/xml; subtype=gml/2.1.2".into(), ..named.clone() }
        }
        ("image/tiff" | "image/geotiff" | "application/geotiff" | "application/x-geotiff", _) => {
            Format::base64(Format::GEOTIFF)
        }
        _ => named.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_2012_mean_what_is_known() {
        let schema = |schema: &str, media_type: &str| Format {
            schema: Some(format!("http://schemas.opengis.net/gml/{schema}/feature.xsd")),
            ..Format::new(media_type)
        };
        for (named, media_type) in [
            (schema("2.1.2.1", "text/xml"), "text/xml; subtype=gml/2.1.2"),
            (schema("2.1.2", "text/xml; subtype=gml/2.1.2"), "text/xml; subtype=gml/2.1.2"),
            (schema("2.1.2.1", "text/xml; subtype=gml/2.1.2.1"), "text/xml; subtype=gml/2.1.2"),
            (schema("3.1.1", "text/xml"), "text/xml; subtype=gml/3.1.1"),
            (Format::base64("application/x-geotiff"), Format::GEOTIFF),
            (Format::new("application/geo+json"), "application/geo+json"),
        ] {
            assert_eq!(meant(&named).media_type, media_type);
        }
    }
}
