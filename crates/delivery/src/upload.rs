//! One file to its place: tries, pauses, and what is left when it is given up.

use crate::ftp::Ftp;
use crate::limits::Limits;
use crate::s3::S3;
use crate::sftp::Sftp;
use std::path::Path;
use std::time::Duration;

/// Longest time for removing what an upload that was given up has left on the server.
const DISCARD_MAX: Duration = Duration::from_secs(10);

/// Where files go, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server.
    pub target: Target,
    /// A folder there in which all are put; empty is where the account starts.
    pub folder: String,
    /// Where clients find that folder, by HTTP say; without it a file's address is that of the protocol.
    pub public_url: Option<String>,
    /// How a file is checked once it is there.
    pub verify: Verify,
    /// How long it may take.
    pub limits: Limits,
}

/// A server that takes files.
#[derive(Clone, Debug)]
pub enum Target {
    /// By FTP, with or without TLS.
    Ftp(Ftp),
    /// By SFTP.
    Sftp(Sftp),
    /// To a bucket.
    S3(S3),
}

/// How a file is checked once it is there. Its size always is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// By a checksum where the server computes one (FTP: HASH or XSHA256; S3 does).
    #[default]
    Offered,
    /// By a checksum of the whole file, read back where the server computes none.
    ReadBack,
}

/// The path of a file below [`Settings::folder`]: parts that are no `.` or `..` and hold no slashes or control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotePath(Vec<String>);

impl RemotePath {
    /// A path of these parts; each may have slashes in it, and is taken apart there.
    ///
    /// # Errors
    /// Names the part that can't be one.
    pub fn new<'a>(parts: impl IntoIterator<Item = &'a str>) -> Result<Self, UploadError> {
        let parts = parts.into_iter().flat_map(|part| part.split('/')).filter(|part| !part.is_empty());
        let parts: Vec<String> = parts.map(str::to_owned).collect();
        let wrong = parts.iter().find(|part| {
            matches!(part.as_str(), "." | "..") || part.contains(|c: char| c.is_control() || c == '\\')
        });
        match wrong {
            Some(part) => Err(UploadError::lasting(format!("{part:?} can't be part of a path"))),
            None if parts.is_empty() => Err(UploadError::lasting("the path is empty".into())),
            None => Ok(Self(parts)),
        }
    }

    /// Its folders, and its name.
    fn split(&self) -> (&[String], &str) {
        match self.0.split_last() {
            Some((name, folders)) => (folders, name),
            None => (&[], ""),
        }
    }
}

impl std::fmt::Display for RemotePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

/// Why a file is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct UploadError {
    /// For the run's log and its client: names no secret.
    pub reason: String,
    /// Trying again may help.
    pub transient: bool,
}

impl UploadError {
    pub(crate) fn transient(reason: String) -> Self {
        Self { reason, transient: true }
    }

    pub(crate) fn lasting(reason: String) -> Self {
        Self { reason, transient: false }
    }
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// From the root of the server, or from where the account starts: what WPS Remote's agents report.
    pub path: String,
    /// Its address: below [`Settings::public_url`], or of the protocol.
    pub url: String,
    /// How it was checked: `size`, or a checksum's name too.
    pub checked: &'static str,
    /// Tries that it took.
    pub tries: u32,
}

/// What one try needs to know, and tells the next one.
pub(crate) struct Part<'a> {
    pub(crate) file: &'a Path,
    pub(crate) bytes: u64,
    /// Folders that have to be there; the first is absolute where the folder of all is.
    pub(crate) folders: Vec<String>,
    /// The file while it is not complete.
    pub(crate) unfinished: String,
    /// The file when it is.
    pub(crate) finished: String,
    pub(crate) limits: &'a Limits,
    pub(crate) verify: Verify,
    /// There may be something of it on the server.
    pub(crate) begun: bool,
    /// It was complete and checked; what may be missing is its name.
    pub(crate) renaming: bool,
    /// Bytes that are known to be on the server.
    pub(crate) there: u64,
    /// S3: the upload that was begun, and its parts that are there.
    pub(crate) multipart: Option<crate::s3::Multipart>,
    pub(crate) checked: &'static str,
}

/// Puts files onto a server.
#[derive(Clone, Debug)]
pub struct Uploader {
    settings: Settings,
}

impl Uploader {
    /// An uploader; nothing is connected before there is something to upload.
    ///
    /// # Errors
    /// Where the folder can't be one, or the server's settings can't be used.
    pub fn new(settings: Settings) -> Result<Self, UploadError> {
        if !settings.folder.trim_matches('/').is_empty() {
            RemotePath::new([settings.folder.as_str()])?;
        }
        if let Target::S3(s3) = &settings.target {
            s3.check()?;
        }
        Ok(Self { settings })
    }

    /// Puts a file to its place. `report` is told of each try that failed and is repeated.
    /// When `cancelled` ends, the upload does, and what it has left is removed.
    ///
    /// # Errors
    /// Why the file is not there. Nothing of it is left then, as far as the server can be reached; `None` where it was cancelled.
    pub async fn upload(
        &self,
        file: &Path,
        to: &RemotePath,
        report: &(dyn Fn(String) + Send + Sync),
        cancelled: impl Future<Output = ()> + Send,
    ) -> Result<Uploaded, Option<UploadError>> {
        let mut part = self.part(file, to).await?;
        let limits = &self.settings.limits;
        let result = tokio::select! {
            result = self.tries(&mut part, report) => result.map_err(Some),
            () = cancelled => Err(None),
            () = tokio::time::sleep(limits.whole) => {
                let seconds = limits.whole.as_secs();
                Err(Some(UploadError::lasting(format!("it took longer than {seconds} s"))))
            }
        };
        if result.is_err() && part.begun {
            let discarded = tokio::time::timeout(DISCARD_MAX, self.discard(&part));
            if !matches!(discarded.await, Ok(Ok(()))) {
                report(format!("{} may be left on the server, incomplete", part.unfinished));
            }
        }
        let tries = result?;
        Ok(Uploaded { url: self.url(&part.finished, to), path: part.finished, checked: part.checked, tries })
    }

    async fn part<'a>(&'a self, file: &'a Path, to: &RemotePath) -> Result<Part<'a>, UploadError> {
        let metadata = tokio::fs::metadata(file).await;
        let bytes = match metadata {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(_) => return Err(UploadError::lasting("it is no regular file".into())),
            Err(error) => return Err(UploadError::lasting(format!("it can't be read: {error}"))),
        };
        let (folders, name) = to.split();
        let (mut path, mut made) = (String::new(), Vec::new());
        if self.settings.folder.starts_with('/') {
            path.push('/');
        }
        let above = self.settings.folder.split('/').filter(|part| !part.is_empty());
        for folder in above.chain(folders.iter().map(String::as_str)) {
            path.push_str(folder);
            made.push(path.clone());
            path.push('/');
        }
        Ok(Part {
            file,
            bytes,
            folders: made,
            unfinished: format!("{path}.{name}.part"),
            finished: format!("{path}{name}"),
            limits: &self.settings.limits,
            verify: self.settings.verify,
            begun: false,
            renaming: false,
            there: 0,
            multipart: None,
            checked: "size",
        })
    }

    /// Tries until it is there; gives how many it took.
    async fn tries(
        &self,
        part: &mut Part<'_>,
        report: &(dyn Fn(String) + Send + Sync),
    ) -> Result<u32, UploadError> {
        let limits = &self.settings.limits;
        let (mut in_vain, mut pause, mut most) = (0, limits.pause_min, 0);
        for tries in 1.. {
            let error = match self.attempt(part).await {
                Ok(()) => return Ok(tries),
                Err(error) => error,
            };
            if part.there > most {
                (in_vain, pause, most) = (0, limits.pause_min, part.there);
            } else {
                in_vain += 1;
            }
            if !error.transient || in_vain >= limits.tries_max {
                return Err(error);
            }
            let UploadError { reason, .. } = error;
            let (there, bytes) = (part.there, part.bytes);
            report(format!("{reason}; {there} of {bytes} bytes are there, tried again in {pause:?}"));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(limits.pause_max);
        }
        Ok(u32::MAX)
    }

    async fn attempt(&self, part: &mut Part<'_>) -> Result<(), UploadError> {
        match &self.settings.target {
            Target::Ftp(ftp) => ftp.attempt(part).await,
            Target::Sftp(sftp) => sftp.attempt(part).await,
            Target::S3(s3) => s3.attempt(part).await,
        }
    }

    async fn discard(&self, part: &Part<'_>) -> Result<(), UploadError> {
        match &self.settings.target {
            Target::Ftp(ftp) => ftp.discard(part).await,
            Target::Sftp(sftp) => sftp.discard(part).await,
            Target::S3(s3) => s3.discard(part).await,
        }
    }

    fn url(&self, finished: &str, to: &RemotePath) -> String {
        let (base, path) = match &self.settings.public_url {
            Some(base) => (base.clone(), to.to_string()),
            None => (self.protocol_url(), finished.trim_start_matches('/').to_owned()),
        };
        let Ok(mut url) = url::Url::parse(&base) else { return format!("{base}/{path}") };
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        url.into()
    }

    fn protocol_url(&self) -> String {
        match &self.settings.target {
            Target::Ftp(ftp) => ftp.url(),
            Target::Sftp(sftp) => sftp.url(),
            Target::S3(s3) => s3.url(),
        }
    }

    /// What it is, for a log: protocol, host, folder.
    #[must_use]
    pub fn place(&self) -> String {
        let folder = self.settings.folder.trim_matches('/');
        format!("{}/{folder}", self.protocol_url())
    }
}

/// The host as it stands in a URL.
pub(crate) fn authority(host: &str, port: u16, usual: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == usual { host } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_their_folder() {
        let path = |parts: &[&str]| RemotePath::new(parts.iter().copied()).map(|path| path.to_string());
        assert_eq!(
            path(&["/remote-wps/default/", "1", "out put.zip"]).unwrap(),
            "remote-wps/default/1/out put.zip"
        );
        for wrong in ["..", "a/../b", ".", "a\nb", "a\\b", "", "/"] {
            assert!(path(&[wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn hosts_are_written_as_urls_have_them() {
        assert_eq!(authority("::1", 21, 21), "[::1]");
        assert_eq!(authority("h", 2121, 21), "h:2121");
    }
}
