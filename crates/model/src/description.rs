//! Process descriptions: what a process takes and gives (WPS 1.0.0 §9, WPS 2.0 §9, OGC API - Processes §7.10).

use crate::group::GroupDescription;
use crate::id::ProcessId;
use serde::{Deserialize, Serialize};

/// A process as its clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessDescription {
    /// Identifier, unique on a server.
    pub id: ProcessId,
    /// One line for people.
    pub title: String,
    /// What it does, in sentences; may be empty.
    #[serde(default)]
    pub description: String,
    /// Words to find it by.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// Links to more about it.
    #[serde(default)]
    pub metadata: Vec<Metadata>,
    /// Version of the process, not of the protocol.
    pub version: String,
    /// In the order in which they are shown.
    pub inputs: Vec<InputDescription>,
    /// In the order in which they are shown; at least one.
    pub outputs: Vec<OutputDescription>,
    /// What inputs and outputs with dots in their identifiers belong to (see [`crate::group`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupDescription>,
    /// May be executed synchronously.
    #[serde(default = "yes")]
    pub sync_execute: bool,
    /// May be executed asynchronously.
    #[serde(default = "yes")]
    pub async_execute: bool,
    /// Running it twice does no harm: a lost run may be repeated on its own.
    #[serde(default)]
    pub idempotent: bool,
    /// What becomes of runs that die with their agent; where absent, `idempotent` decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_agent_restart: Option<OnAgentRestart>,
    /// How it can be run piece by piece, where it can: it is offered as streaming processes too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunking: Option<Chunking>,
}

/// How a process can be run piece by piece: what it does with a part of its input does not depend on the other parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunking {
    /// Identifiers of the inputs that are cut, or arrive in pieces; never empty. Several are cut alike, and their pieces go together
    /// by position.
    pub inputs: Vec<String>,
    /// Identifier of the output that comes in pieces.
    pub output: String,
    /// What the pieces are.
    pub cut: Cut,
    /// Cells on each side of a tile that are given with it, as far as the raster reaches: for what depends on neighbours. They are cut off
    /// what comes out, which has to have the cells of what went in.
    #[serde(default)]
    pub overlap: u32,
    /// One run takes all pieces while they come ([`Execution::feed`](crate::Execution::feed)); else each has a run of its own.
    #[serde(default)]
    pub is_fed: bool,
}

impl Chunking {
    /// A run for each piece, and tiles that do not overlap.
    #[must_use]
    pub fn new(inputs: Vec<String>, output: impl Into<String>, cut: Cut) -> Self {
        Self { inputs, output: output.into(), cut, overlap: 0, is_fed: false }
    }
}

/// What data is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// Vector data, into collections of whole features.
    Features,
    /// Rasters, into tiles.
    Tiles,
}

fn yes() -> bool {
    true
}

/// What becomes of a run that died with its agent. Nobody takes it up again: an agent's processes die with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnAgentRestart {
    /// Its job fails and says why.
    Fail,
    /// Its job is queued again.
    Requeue,
}

impl ProcessDescription {
    /// Whether a run that died with its agent is repeated.
    #[must_use]
    pub fn repeats_lost_runs(&self) -> bool {
        self.on_agent_restart.map_or(self.idempotent, |wanted| wanted == OnAgentRestart::Requeue)
    }

    /// A process of which nothing is said yet but its identifier: without inputs and outputs, executed in both modes, not to be repeated.
    #[must_use]
    pub fn new(id: ProcessId) -> Self {
        Self {
            title: id.to_string(),
            id,
            description: String::new(),
            keywords: Vec::new(),
            metadata: Vec::new(),
            version: "1.0.0".into(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            groups: Vec::new(),
            sync_execute: true,
            async_execute: true,
            idempotent: false,
            on_agent_restart: None,
            chunking: None,
        }
    }

    /// All that is left to say of a process that is not published any more.
    #[must_use]
    pub fn withdrawn(id: ProcessId) -> Self {
        Self { version: "unknown".into(), sync_execute: false, async_execute: false, ..Self::new(id) }
    }

    /// The input of that identifier.
    #[must_use]
    pub fn input(&self, id: &str) -> Option<&InputDescription> {
        self.inputs.iter().find(|input| input.id == id)
    }

    /// The group of that identifier.
    #[must_use]
    pub fn group(&self, id: &str) -> Option<&GroupDescription> {
        self.groups.iter().find(|group| group.id == id)
    }

    /// The output of that identifier.
    #[must_use]
    pub fn output(&self, id: &str) -> Option<&OutputDescription> {
        self.outputs.iter().find(|output| output.id == id)
    }
}

/// A link from a description to more about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// For people.
    pub title: String,
    /// Where it leads.
    pub href: String,
    /// What the link means, as a URI; may be empty.
    #[serde(default)]
    pub role: String,
}

/// How often an input may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurs {
    /// 0 makes it optional.
    pub min: u32,
    /// `None` is unbounded.
    pub max: Option<u32>,
}

impl Occurs {
    /// Exactly one value.
    pub const ONE: Self = Self { min: 1, max: Some(1) };
    /// One value or none.
    pub const OPTIONAL: Self = Self { min: 0, max: Some(1) };

    /// Takes more than one value: OGC API - Processes gives such inputs as arrays.
    #[must_use]
    pub fn is_many(&self) -> bool {
        self.max != Some(1)
    }
}

/// One input of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputDescription {
    /// Identifier, unique among the inputs.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// In sentences; may be empty.
    #[serde(default)]
    pub description: String,
    /// Words to find it by.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// How often it may be given.
    pub occurs: Occurs,
    /// What it holds.
    pub data: DataDescription,
}

impl InputDescription {
    /// An input of which no more is said.
    #[must_use]
    pub fn new(id: impl Into<String>, occurs: Occurs, data: DataDescription) -> Self {
        let id = id.into();
        Self { title: id.clone(), id, description: String::new(), keywords: Vec::new(), occurs, data }
    }
}

/// One output of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputDescription {
    /// Identifier, unique among the outputs.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// In sentences; may be empty.
    #[serde(default)]
    pub description: String,
    /// Words to find it by.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// What it holds.
    pub data: DataDescription,
    /// How it is meant to be shown by a map server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publication: Option<Publication>,
}

impl OutputDescription {
    /// An output of which no more is said.
    #[must_use]
    pub fn new(id: impl Into<String>, data: DataDescription) -> Self {
        let id = id.into();
        Self {
            title: id.clone(),
            id,
            description: String::new(),
            keywords: Vec::new(),
            data,
            publication: None,
        }
    }
}

/// How an output is meant to be shown by a map server: WPS Remote's `publish_…`, carried along for whoever can do it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// It is to become a layer.
    #[serde(default)]
    pub as_layer: bool,
    /// Name of the layer.
    #[serde(default)]
    pub layer_name: Option<String>,
    /// Style that it is drawn with.
    #[serde(default)]
    pub default_style: Option<String>,
    /// Workspace of the map server.
    #[serde(default)]
    pub workspace: Option<String>,
    /// It is a map of the layers of these outputs, not a layer itself.
    #[serde(default)]
    pub context_of: Vec<String>,
}

/// The three kinds of data of all OGC processing interfaces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataDescription {
    /// A number, a text, a date.
    Literal(LiteralDomain),
    /// A box with its coordinate reference system.
    BoundingBox(BoundingBoxDomain),
    /// Anything with a media type.
    Complex(ComplexDomain),
}

/// The type of a literal, with the names of XML Schema part 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LiteralType {
    /// Any characters.
    String,
    /// `true`, `false`, `1`, `0`.
    Boolean,
    /// A whole number between -2^63 and 2^63 - 1.
    Integer,
    /// An IEEE 754 double.
    Double,
    /// ISO 8601 date and time, with or without offset.
    DateTime,
    /// ISO 8601 date.
    Date,
    /// ISO 8601 time of day.
    Time,
    /// A URI.
    #[serde(rename = "anyURI")]
    AnyUri,
}

impl LiteralType {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::String,
        Self::Boolean,
        Self::Integer,
        Self::Double,
        Self::DateTime,
        Self::Date,
        Self::Time,
        Self::AnyUri,
    ];

    /// The local name in XML Schema part 2, e.g. `dateTime`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::DateTime => "dateTime",
            Self::Date => "date",
            Self::Time => "time",
            Self::AnyUri => "anyURI",
        }
    }

    /// By a name in use: the one of [`LiteralType::name`], or a synonym (`int`, `long`, `float`, `decimal`, …), bare, as `xs:name`
    /// or as the URI `http://www.w3.org/TR/xmlschema-2/#name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let local = name.rsplit(['#', ':', '/']).next().unwrap_or(name);
        Some(match local {
            "string" | "String" | "token" | "normalizedString" => Self::String,
            "boolean" | "bool" => Self::Boolean,
            "integer" | "int" | "long" | "short" | "byte" | "nonNegativeInteger" | "positiveInteger" => {
                Self::Integer
            }
            "double" | "float" | "decimal" | "number" => Self::Double,
            "dateTime" | "datetime" => Self::DateTime,
            "date" => Self::Date,
            "time" => Self::Time,
            "anyURI" | "uri" => Self::AnyUri,
            _ => return None,
        })
    }
}

/// What a literal may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiteralDomain {
    /// Its type.
    pub data_type: LiteralType,
    /// Values and ranges allowed; empty allows any of the type.
    #[serde(default)]
    pub allowed: Vec<AllowedValue>,
    /// Taken where the client gives none.
    #[serde(default)]
    pub default: Option<String>,
    /// Units of measure; the first is the default; empty where it has no unit. A value in any other unit is refused. None is converted:
    /// a process that describes several is told which one it got ([`crate::LiteralValue::uom`]), and `allowed` holds in each of them.
    #[serde(default)]
    pub uoms: Vec<String>,
}

impl LiteralDomain {
    /// Any value of a type.
    #[must_use]
    pub fn any(data_type: LiteralType) -> Self {
        Self { data_type, allowed: Vec::new(), default: None, uoms: Vec::new() }
    }
}

/// A value or a range allowed for a literal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowedValue {
    /// Exactly this.
    Value(String),
    /// Between two values of the type; an end that is `None` is open to infinity.
    Range {
        /// Lowest.
        minimum: Option<String>,
        /// Highest.
        maximum: Option<String>,
        /// Which ends belong to it.
        closure: RangeClosure,
    },
}

/// Which ends belong to a range (OWS Common 1.1 §10.7, `rangeClosure`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RangeClosure {
    /// Both.
    Closed,
    /// Neither.
    Open,
    /// The upper end only.
    OpenClosed,
    /// The lower end only.
    ClosedOpen,
}

/// What a bounding box may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundingBoxDomain {
    /// Identifiers of coordinate reference systems; the first is the default; never empty.
    pub crs: Vec<String>,
}

/// What complex data may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComplexDomain {
    /// The first is the default; never empty.
    pub formats: Vec<Format>,
    /// Largest size taken, in bytes; `None` leaves it to the server's own limit.
    #[serde(default)]
    pub bytes_max: Option<u64>,
}

/// How complex data is written: the triple of WPS.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Format {
    /// Media type, e.g. `application/geo+json`.
    pub media_type: String,
    /// `base64` where the data is binary and has to travel in text, else `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// URL of an XML or JSON schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
}

impl Format {
    /// GeoJSON, RFC 7946.
    pub const GEOJSON: &'static str = "application/geo+json";
    /// GeoJSON as it was before RFC 7946: its member `crs` may name any coordinate reference system. A process that has it among its own
    /// formats is given data in the system that it came in.
    pub const GEOJSON_2008: &'static str = "application/vnd.geo+json";
    /// GeoTIFF, OGC 19-008r4.
    pub const GEOTIFF: &'static str = "image/tiff; application=geotiff";

    /// Esri ASCII grid, as GeoServer names it.
    pub const ARCGRID: &'static str = "application/arcgrid";
    /// A playlist of chunks (52°North's Streaming based WPS); `+` and the media type of the chunks may follow.
    pub const PLAYLIST: &'static str = "application/x-ogc-playlist";

    /// A format with a media type only.
    #[must_use]
    pub fn new(media_type: impl Into<String>) -> Self {
        Self { media_type: media_type.into(), encoding: None, schema: None }
    }

    /// Data that is not text: it travels as base64 inside XML and JSON.
    #[must_use]
    pub fn base64(media_type: impl Into<String>) -> Self {
        Self { media_type: media_type.into(), encoding: Some("base64".into()), schema: None }
    }

    /// A playlist of chunks in `chunks`: its schema and encoding are those of the chunks.
    #[must_use]
    pub fn playlist_of(chunks: &Self) -> Self {
        Self { media_type: format!("{}+{}", Self::PLAYLIST, chunks.media_type), ..chunks.clone() }
    }

    /// A playlist, of whatever chunks.
    #[must_use]
    pub fn is_playlist(&self) -> bool {
        is_playlist(&self.media_type)
    }

    /// What the chunks of this playlist are written in; `None` where it is no playlist, or does not say.
    #[must_use]
    pub fn of_chunks(&self) -> Option<Self> {
        let media_type = self.media_type.split_once('+').filter(|_| self.is_playlist())?.1.trim();
        (!media_type.is_empty()).then(|| Self { media_type: media_type.to_owned(), ..self.clone() })
    }

    /// Binary data: declared base64, or of a media type that is no text. A playlist is text whatever its chunks are.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        if self.is_playlist() {
            return false;
        }
        self.encoding.as_deref().is_some_and(|e| e.eq_ignore_ascii_case("base64"))
            || !media_type_is_text(&self.media_type)
    }

    /// JSON or a `+json` type. A playlist is no JSON, whatever its chunks are.
    #[must_use]
    pub fn is_json(&self) -> bool {
        if self.is_playlist() {
            return false;
        }
        let essence = media_type_essence(&self.media_type);
        essence == "application/json" || essence.ends_with("+json")
    }

    /// XML or a `+xml` type. A playlist is no XML, whatever its chunks are.
    #[must_use]
    pub fn is_xml(&self) -> bool {
        if self.is_playlist() {
            return false;
        }
        let essence = media_type_essence(&self.media_type);
        essence == "application/xml" || essence == "text/xml" || essence.ends_with("+xml")
    }
}

/// The type and subtype in lower case, without parameters: `Text/XML; charset=utf-8` is `text/xml`.
#[must_use]
pub fn media_type_essence(media_type: &str) -> String {
    essence_as_written(media_type).to_ascii_lowercase()
}

fn essence_as_written(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// The media type of a playlist of chunks. WPS's compound types are `application/x-ogc-playlist+` and the type of the chunks.
#[must_use]
pub fn is_playlist(media_type: &str) -> bool {
    let essence = media_type_essence(media_type);
    essence.split('+').next().unwrap_or_default().trim_end() == Format::PLAYLIST
}

/// The same media type: equal types and subtypes, and every parameter but `charset` that both name is equal.
#[must_use]
pub fn media_types_match(a: &str, b: &str) -> bool {
    fn parameters(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
        text.split(';').skip(1).filter_map(|p| {
            let (key, value) = p.split_once('=')?;
            let key = key.trim().to_ascii_lowercase();
            (key != "charset").then(|| (key, value.trim().trim_matches('"').to_ascii_lowercase()))
        })
    }
    // Each request compares dozens, most of which differ here: without a copy.
    essence_as_written(a).eq_ignore_ascii_case(essence_as_written(b))
        && parameters(a).all(|(key, value)| parameters(b).all(|(k, v)| k != key || v == value))
}

fn media_type_is_text(media_type: &str) -> bool {
    let essence = media_type_essence(media_type);
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(
            essence.as_str(),
            "application/json"
                | "application/xml"
                | "application/geo+json-seq"
                | "application/json-seq"
                | "application/javascript"
                | "application/yaml"
                | "application/toml"
                | "application/x-ndjson"
                | "application/wkt"
                | "application/arcgrid"
                | "application/x-esri-ascii-grid"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_match_by_essence_and_shared_parameters() {
        assert!(media_types_match("text/xml", "TEXT/XML; charset=utf-8"));
        assert!(media_types_match("image/tiff", "image/tiff; application=geotiff"));
        assert!(!media_types_match("text/xml; subtype=gml/2.1.2", "text/xml; subtype=gml/3.2.1"));
        assert!(!media_types_match("text/xml", "application/xml"));
    }

    #[test]
    fn playlists_say_what_their_chunks_are() {
        let gml = Format {
            schema: Some("http://x/feature.xsd".into()),
            ..Format::new("text/xml; subtype=gml/2.1.2")
        };
        let playlist = Format::playlist_of(&gml);
        assert_eq!(playlist.media_type, "application/x-ogc-playlist+text/xml; subtype=gml/2.1.2");
        assert!(playlist.is_playlist() && !playlist.is_binary());
        assert!(!playlist.is_xml() && !Format::playlist_of(&Format::new(Format::GEOJSON)).is_json());
        assert_eq!(playlist.of_chunks(), Some(gml));
        let kml = Format::new("Application/X-OGC-Playlist+application/vnd.google-earth.kml+xml");
        assert_eq!(kml.of_chunks().unwrap().media_type, "application/vnd.google-earth.kml+xml");
        assert!(!Format::playlist_of(&Format::base64("image/tiff")).is_binary());
        let bare = Format::new(Format::PLAYLIST);
        assert!(bare.is_playlist() && bare.of_chunks().is_none());
        assert!(
            !Format::new("application/x-ogc-playlists").is_playlist()
                && Format::new("a+b").of_chunks().is_none()
        );
    }

    #[test]
    fn types_have_names_in_use() {
        for data_type in LiteralType::ALL {
            assert_eq!(LiteralType::from_name(data_type.name()), Some(data_type));
        }
        assert_eq!(LiteralType::from_name("xs:int"), Some(LiteralType::Integer));
        assert_eq!(
            LiteralType::from_name("http://www.w3.org/TR/xmlschema-2/#float"),
            Some(LiteralType::Double)
        );
        assert_eq!(LiteralType::from_name("raster"), None);
    }

    #[test]
    fn binary_formats_are_known_by_encoding_or_type() {
        assert!(Format::new("image/tiff").is_binary());
        assert!(Format::base64("text/plain").is_binary());
        assert!(!Format::new(Format::GEOJSON).is_binary());
        assert!(!Format::new("image/svg+xml").is_binary());
    }
}
