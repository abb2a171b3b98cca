//! The folders of a run, and its inputs as files in them.

use crate::service::{InputDefault, InputRule, OutputSource, Service};
use anabranch_model::description::media_type_essence;
use anabranch_model::{ComplexValue, Data, DataDescription, Error, Inputs, Value};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folders of a run, all below its scratch folder.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    /// Where the executable runs: inputs and outputs.
    pub(crate) work: PathBuf,
    /// Its home: what it leaves there is no output.
    pub(crate) home: PathBuf,
    /// For its temporary files.
    pub(crate) temporary: PathBuf,
    /// What comes on standard output, where that is an output.
    pub(crate) stdout: PathBuf,
}

/// Paths of the files of each complex input.
pub(crate) type InputFiles = Vec<(String, Vec<PathBuf>)>;

/// Makes the folders, afresh: a run that is repeated finds nothing of the one before.
pub(crate) fn make(scratch: &Path, service: &Service) -> io::Result<Folders> {
    let folders = Folders {
        work: scratch.join("work"),
        home: scratch.join("home"),
        temporary: scratch.join("tmp"),
        stdout: scratch.join("stdout"),
    };
    for folder in [&folders.work, &folders.home, &folders.temporary] {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(folder)?,
        }
    }
    for rule in &service.outputs {
        if let Some(folder) = output_folder(&rule.source) {
            fs::create_dir_all(folders.work.join(folder))?;
        }
    }
    Ok(folders)
}

/// The folder into which an output is written, relative to the run's: executables rarely make it themselves.
pub(crate) fn output_folder(source: &OutputSource) -> Option<&Path> {
    match source {
        // An absolute path is not ours to make.
        OutputSource::File(path) => Path::new(path).parent().filter(|folder| folder.is_relative()),
        OutputSource::Glob { pattern, .. } => {
            let fixed = pattern.find(['*', '?', '[']).map_or(pattern.as_str(), |at| &pattern[..at]);
            Some(Path::new(fixed.rfind('/').map_or("", |at| &fixed[..at])))
        }
        OutputSource::Layers(_)
        | OutputSource::Stdout
        | OutputSource::Records(_)
        | OutputSource::Line { .. } => None,
    }
}

/// Writes complex inputs into the run's folder. Always a copy (a cheap one, where the file system can share blocks): whatever the
/// executable does to it, the original stays as it is.
pub(crate) fn write_inputs(
    service: &Service,
    inputs: &Inputs,
    folders: &Folders,
) -> Result<InputFiles, Error> {
    let mut files = Vec::new();
    for (input, rule) in service.description.inputs.iter().zip(&service.inputs) {
        let DataDescription::Complex(domain) = &input.data else { continue };
        if service.command.stdin.as_ref().is_some_and(|stdin| stdin.input == input.id) {
            continue;
        }
        // What is asked for as text only must not stand in the way of files that are made of it.
        let is_text = rule.file_name.is_none() && service.takes_text_only(&input.id);
        let folder = if is_text { &folders.temporary } else { &folders.work };
        let values: Vec<&ComplexValue> = inputs.all(&input.id).iter().filter_map(complex).collect();
        let mut paths = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            let path = folder.join(file_name(rule, &value.format.media_type, index));
            write(&value.data, &path).map_err(|error| storage(&input.id, &path, &error))?;
            paths.push(path);
        }
        if values.is_empty()
            && let Some(default) = &rule.default
        {
            let media_type = domain.formats.first().map_or("", |format| format.media_type.as_str());
            let path = folder.join(file_name(rule, media_type, 0));
            write_default(default, &path).map_err(|error| storage(&input.id, &path, &error))?;
            paths.push(path);
        }
        files.push((input.id.clone(), paths));
    }
    Ok(files)
}

fn complex(value: &Value) -> Option<&ComplexValue> {
    match value {
        Value::Complex(value) => Some(value),
        Value::Literal(_) | Value::BoundingBox(_) => None,
    }
}

fn write(data: &Data, path: &Path) -> io::Result<()> {
    match data {
        Data::Bytes(bytes) => fs::write(path, bytes),
        Data::File(file) => {
            fs::copy(&file.path, path)?;
            make_writable(path)
        }
    }
}

fn write_default(default: &InputDefault, path: &Path) -> io::Result<()> {
    match default {
        InputDefault::Text(text) => fs::write(path, text),
        InputDefault::File(file) => {
            fs::copy(file, path)?;
            make_writable(path)
        }
    }
}

/// Copies keep the rights of the original, and tools open their input for update.
fn make_writable(path: &Path) -> io::Result<()> {
    let mut permissions = fs::metadata(path)?.permissions();
    if permissions.readonly() {
        #[expect(clippy::permissions_set_readonly_false, reason = "a copy of ours, in a folder of ours")]
        permissions.set_readonly(false);
        fs::set_permissions(path, permissions)?;
    }
    Ok(())
}

fn storage(input: &str, path: &Path, error: &io::Error) -> Error {
    let detail = format!("input '{input}' can't be written to {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NotEnoughStorage { detail },
        _ => Error::internal(detail),
    }
}

/// `dem.tif`, and `dem-2.tif` for the second value.
fn file_name(rule: &InputRule, media_type: &str, index: usize) -> String {
    let generated;
    let name = match &rule.file_name {
        Some(name) => name.as_str(),
        None => {
            // Identifiers may hold ':' and '~', which tools take for drives and homes.
            let stem: String = rule
                .id
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' })
                .collect();
            generated = format!("{stem}{}", extension(media_type));
            generated.as_str()
        }
    };
    if index == 0 {
        return name.to_owned();
    }
    match name.split_once('.') {
        Some((stem, rest)) if !stem.is_empty() => format!("{stem}-{}.{rest}", index + 1),
        _ => format!("{name}-{}", index + 1),
    }
}

/// What tools expect at the end of a file's name.
pub(crate) fn extension(media_type: &str) -> &'static str {
    match media_type_essence(media_type).as_str() {
        "application/geo+json" | "application/vnd.geo+json" => ".geojson",
        "image/tiff" | "image/geotiff" | "application/geotiff" | "application/x-geotiff" => ".tif",
        "application/arcgrid" | "application/x-esri-ascii-grid" => ".asc",
        "application/json" => ".json",
        "application/gml+xml" => ".gml",
        "text/xml" | "application/xml" => ".xml",
        "application/vnd.google-earth.kml+xml" => ".kml",
        "application/geopackage+sqlite3" => ".gpkg",
        "application/x-netcdf" | "application/netcdf" => ".nc",
        "application/zip" | "application/x-zipped-shp" => ".zip",
        "application/flatgeobuf" => ".fgb",
        "text/csv" => ".csv",
        "text/plain" => ".txt",
        "image/png" => ".png",
        "image/jpeg" => ".jpg",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Complete;

    #[test]
    fn file_names_are_plain_and_numbered() {
        let mut rule = InputRule {
            id: "my:dem~1".into(),
            file_name: None,
            default: None,
            date_format: None,
            allow_leading_dash: false,
        };
        assert_eq!(file_name(&rule, "image/tiff; application=geotiff", 0), "my_dem_1.tif");
        assert_eq!(file_name(&rule, "application/arcgrid", 0), "my_dem_1.asc");
        assert_eq!(file_name(&rule, "x/y", 1), "my_dem_1-2");
        rule.file_name = Some("in.tar.gz".into());
        assert_eq!(file_name(&rule, "x/y", 2), "in-3.tar.gz");
    }

    #[test]
    fn the_fixed_folder_of_a_pattern_is_made() {
        let folder = |pattern: &str| {
            let source =
                OutputSource::Glob { pattern: pattern.into(), announced: None, complete: Complete::AtEnd };
            output_folder(&source).unwrap().to_owned()
        };
        assert_eq!(folder("tiles/*/x.tif"), Path::new("tiles"));
        assert_eq!(folder("*.tif"), Path::new(""));
        assert_eq!(folder("a/b/c-?.tif"), Path::new("a/b"));
    }
}
