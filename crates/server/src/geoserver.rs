//! GeoServer's REST interface, as far as layers are made by it: workspaces, stores from files, layers, their styles.
//!
//! Every call can be repeated: what is there is taken as it is, or written over.

use anabranch_egress::{Body, Egress, EgressError, Method, Policy, Request};
use anabranch_model::Data;
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use url::Url;

/// Holds the password; wins over the file.
const PASSWORD_VARIABLE: &str = "ANABRANCH_GEOSERVER_PASSWORD";

/// Longest answer that is read, in bytes: lists of tables are the longest.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Longest call, in milliseconds: GeoServer reads a whole file before it answers.
const CALL_MS_MAX: u64 = 30 * 60_000;

/// `[geoserver]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Up to its name: `https://maps.example.org/geoserver`.
    pub(crate) url: String,
    pub(crate) user: String,
    #[serde(default)]
    pub(crate) password_file: PathBuf,
    /// Of layers whose service names none.
    pub(crate) workspace: String,
}

impl Config {
    /// Reads no file.
    ///
    /// # Errors
    /// Names the key.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let fits = Url::parse(&self.url)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none());
        ensure!(
            fits,
            "geoserver.url must be an HTTP URL such as https://maps.example.org/geoserver, not {:?}",
            self.url
        );
        ensure!(
            is_name(&self.workspace),
            "geoserver.workspace must be letters, digits and -_., not {:?}",
            self.workspace
        );
        Ok(())
    }
}

/// Whether something can be called so there: it becomes part of an XML name.
pub(crate) fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(fits)
}

/// What a layer is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Shapefile,
    GeoPackage,
    GeoTiff,
}

impl Kind {
    /// By a media type without parameters.
    pub(crate) fn of(media_type: &str) -> Option<Self> {
        match media_type {
            "application/zip" | "application/x-zipped-shp" => Some(Self::Shapefile),
            "application/geopackage+sqlite3" | "application/vnd.opengeospatial.geopackage+sqlite3" => {
                Some(Self::GeoPackage)
            }
            "image/tiff" | "image/geotiff" | "application/geotiff" => Some(Self::GeoTiff),
            _ => None,
        }
    }

    fn stores(self) -> &'static str {
        if self == Self::GeoTiff { "coveragestores" } else { "datastores" }
    }

    /// The last part of the path, and the media type that goes with it.
    fn file(self) -> (&'static str, &'static str) {
        match self {
            Self::Shapefile => ("file.shp", "application/zip"),
            Self::GeoPackage => ("file.gpkg", "application/geopackage+sqlite3"),
            Self::GeoTiff => ("file.geotiff", "image/tiff"),
        }
    }
}

/// A layer to be made.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) workspace: String,
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) keywords: Vec<String>,
    pub(crate) style: Option<String>,
    /// Kept with the layer.
    pub(crate) metadata: Vec<(&'static str, String)>,
    pub(crate) kind: Kind,
    pub(crate) data: Data,
}

/// Why a layer is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct PublishError {
    /// For the job's log.
    pub(crate) reason: String,
    /// Trying again may help.
    pub(crate) transient: bool,
}

/// A GeoServer.
#[derive(Clone)]
pub(crate) struct GeoServer {
    egress: Egress,
    base: Url,
    authorization: String,
    workspace: String,
}

impl GeoServer {
    /// One that is configured; `site` is what else holds for requests of this server.
    ///
    /// # Errors
    /// Where the configuration can't be used; names the key.
    pub(crate) fn new(config: &Config, site: &Policy) -> anyhow::Result<Self> {
        config.check()?;
        let base = Url::parse(config.url.trim_end_matches('/'))?;
        let host = base.host_str().context("geoserver.url has no host")?;
        let rule = format!("{host}:{}", base.port_or_known_default().unwrap_or(80));
        let policy = Policy {
            // It, and nothing else.
            allow: vec![rule.parse().map_err(|error| anyhow::anyhow!("geoserver.url: {error}"))?],
            public_allowed: false,
            redirects_max: 0,
            body_bytes_max: ANSWER_BYTES_MAX,
            request_body_bytes_max: u64::MAX,
            idle_ms_max: CALL_MS_MAX,
            total_ms_max: CALL_MS_MAX,
            ca_file: site.ca_file.clone(),
            hosts: site.hosts.clone(),
            ..Policy::default()
        };
        let password = match std::env::var(PASSWORD_VARIABLE) {
            Ok(password) => password,
            Err(_unset) if config.password_file.as_os_str().is_empty() => {
                anyhow::bail!("geoserver.password_file is missing: it, or the variable {PASSWORD_VARIABLE}")
            }
            Err(_unset) => crate::xmpp_session::read_secret(&config.password_file)?,
        };
        let authorization = format!("Basic {}", STANDARD.encode(format!("{}:{password}", config.user)));
        Ok(Self { egress: Egress::new(policy), base, authorization, workspace: config.workspace.clone() })
    }

    /// Of layers whose service names none.
    pub(crate) fn workspace(&self) -> &str {
        &self.workspace
    }

    /// Where a workspace's maps are.
    pub(crate) fn maps(&self, workspace: &str) -> String {
        format!("{}/{workspace}/ows", self.base)
    }

    /// Makes a layer; gives the names of those that there are now, with what was not possible, for the job's log.
    ///
    /// # Errors
    /// Where it is not there.
    pub(crate) async fn publish(&self, layer: &Layer) -> Result<Vec<String>, PublishError> {
        self.make_workspace(&layer.workspace).await?;
        let names = match layer.kind {
            Kind::GeoTiff => self.make_coverage(layer).await?,
            Kind::Shapefile | Kind::GeoPackage => self.make_feature_types(layer).await?,
        };
        let mut said = Vec::new();
        for name in names {
            let style = match &layer.style {
                None => String::new(),
                Some(style) if self.set_style(layer, &name, style).await? => format!(" with style {style}"),
                Some(style) => format!(", without its style: there is no {style}"),
            };
            said.push(format!("{}:{name}{style}", layer.workspace));
        }
        Ok(said)
    }

    async fn make_workspace(&self, workspace: &str) -> Result<(), PublishError> {
        if self.exists(&["workspaces", &format!("{workspace}.json")]).await? {
            return Ok(());
        }
        let body = json!({ "workspace": { "name": workspace } });
        match self.send(Method::Post, &["workspaces"], &[], &body).await {
            // Another job made it meanwhile.
            Err(_) if self.exists(&["workspaces", &format!("{workspace}.json")]).await? => Ok(()),
            sent => sent,
        }
    }

    async fn make_coverage(&self, layer: &Layer) -> Result<Vec<String>, PublishError> {
        let query = [("configure", "first"), ("coverageName", layer.name.as_str()), ("update", "overwrite")];
        self.put_file(layer, &query).await?;
        let path = ["workspaces", &layer.workspace, "coveragestores", &layer.name, "coverages", &layer.name];
        let mut described = described(layer, &layer.name);
        described["enabled"] = true.into();
        self.send(Method::Put, &path, &[], &json!({ "coverage": described })).await?;
        Ok(vec![layer.name.clone()])
    }

    async fn make_feature_types(&self, layer: &Layer) -> Result<Vec<String>, PublishError> {
        self.put_file(layer, &[("configure", "none"), ("update", "overwrite")]).await?;
        let types = ["workspaces", &layer.workspace, "datastores", &layer.name, "featuretypes"];
        let list = [&types[..4], &["featuretypes.json"]].concat();
        let mut available = self.names(&list, &[("list", "available")], "/list/string").await?;
        // Those that an earlier try has made are no longer on that list.
        let made = self.names(&list, &[], "/featureTypes/featureType").await?;
        available.sort();
        let is_only = available.len() + made.len() == 1;
        let mut names = made;
        for native in available {
            let name =
                if is_only { layer.name.clone() } else { format!("{}_{}", layer.name, plain(&native)) };
            let mut described = described(layer, &name);
            described["nativeName"] = native.into();
            self.send(Method::Post, &types, &[], &json!({ "featureType": described })).await?;
            names.push(name);
        }
        if names.is_empty() {
            let reason = "GeoServer finds no data in the file".to_owned();
            return Err(PublishError { reason, transient: false });
        }
        Ok(names)
    }

    /// False where there is no such style, neither for all nor in the workspace.
    async fn set_style(&self, layer: &Layer, name: &str, style: &str) -> Result<bool, PublishError> {
        let file = format!("{style}.json");
        let style = if self.exists(&["styles", &file]).await? {
            json!({ "name": style })
        } else if self.exists(&["workspaces", &layer.workspace, "styles", &file]).await? {
            json!({ "name": style, "workspace": layer.workspace })
        } else {
            return Ok(false);
        };
        let body = json!({ "layer": { "defaultStyle": style } });
        self.send(Method::Put, &["layers", &format!("{}:{name}", layer.workspace)], &[], &body).await?;
        Ok(true)
    }

    async fn put_file(&self, layer: &Layer, query: &[(&str, &str)]) -> Result<(), PublishError> {
        let (file, media_type) = layer.kind.file();
        let path = ["workspaces", &layer.workspace, layer.kind.stores(), &layer.name, file];
        let body = match &layer.data {
            Data::File(file) => Body::File(file.path.clone()),
            Data::Bytes(bytes) => Body::Bytes(bytes.clone()),
        };
        let request = Request::put(self.url(&path, query), body).header("Content-Type", media_type);
        self.call(request).await?.map_err(|status| refused("PUT", &path, status))
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: &Json,
    ) -> Result<(), PublishError> {
        let mut request = Request::new(method, self.url(path, query));
        request.body = Body::Bytes(body.to_string().into());
        let word = if method == Method::Post { "POST" } else { "PUT" };
        let answer = self.call(request.header("Content-Type", "application/json")).await?;
        answer.map_err(|status| refused(word, path, status))
    }

    async fn exists(&self, path: &[&str]) -> Result<bool, PublishError> {
        match self.call(Request::get(self.url(path, &[]))).await? {
            Ok(()) => Ok(true),
            Err(404) => Ok(false),
            Err(status) => Err(refused("GET", path, status)),
        }
    }

    /// Texts, or members `name`, of an array in an answer; an empty list is an empty text there.
    async fn names(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        at: &str,
    ) -> Result<Vec<String>, PublishError> {
        let request = self.prepared(Request::get(self.url(path, query)));
        let answer = self.egress.fetch_any_status(request).await.map_err(|error| failed(&error))?;
        if answer.status != 200 {
            return Err(refused("GET", path, answer.status));
        }
        let bytes = answer.bytes(ANSWER_BYTES_MAX).await.map_err(|error| failed(&error))?;
        let no_json =
            |_| PublishError { reason: format!("GET {} gave no JSON", path.join("/")), transient: false };
        let document: Json = serde_json::from_slice(&bytes).map_err(no_json)?;
        let found = document.pointer(at).and_then(Json::as_array).cloned().unwrap_or_default();
        let name = |entry: &Json| entry.as_str().or_else(|| entry["name"].as_str()).map(str::to_owned);
        Ok(found.iter().filter_map(name).collect())
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("rest").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    fn prepared(&self, request: Request) -> Request {
        request.header("Authorization", self.authorization.clone()).header("Accept", "application/json")
    }

    /// Sends; gives the status where it is no success.
    async fn call(&self, request: Request) -> Result<Result<(), u16>, PublishError> {
        let answer = self.egress.fetch_any_status(self.prepared(request)).await;
        match answer.map_err(|error| failed(&error))?.status {
            200..=299 => Ok(Ok(())),
            status => Ok(Err(status)),
        }
    }
}

/// What layers of either kind are told of themselves.
fn described(layer: &Layer, name: &str) -> Json {
    let entry = |(key, text): &(&str, String)| json!({ "@key": key, "$": text });
    let entries: Vec<Json> = layer.metadata.iter().map(entry).collect();
    json!({
        "name": name,
        "title": layer.title,
        "abstract": layer.description,
        "keywords": { "string": layer.keywords },
        "metadata": { "entry": entries },
    })
}

/// What is in a name of somebody else's, as far as it can be in ours.
fn plain(name: &str) -> String {
    name.chars().map(|c| if is_name(&format!("_{c}")) { c } else { '_' }).collect()
}

fn refused(method: &str, path: &[&str], status: u16) -> PublishError {
    let reason = match status {
        401 | 403 => format!("GeoServer refuses the account: {method} {} gave {status}", path.join("/")),
        status => format!("{method} {} gave {status}", path.join("/")),
    };
    PublishError { reason, transient: matches!(status, 408 | 429 | 500..=599) }
}

fn failed(error: &EgressError) -> PublishError {
    tracing::debug!(%error, "GeoServer was not reached");
    PublishError { reason: format!("GeoServer: {}", error.client_text()), transient: error.is_transient() }
}
