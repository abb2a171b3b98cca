//! Where playlists, chunks and exception reports are.
//!
//! Those of 2012 are found by the parameter `id` of one servlet:
//!
//! ```text
//! id        = playlist | chunk | exception | job
//! playlist  = "playlist" job
//! chunk     = "dirplaylist" job "_chunk" number    ; "dir" in any case, numbers from 1
//! exception = "playlist" job "exception"
//! ```
//!
//! The job stands where 52°North had a time: identifiers are not guessed, and two requests in one millisecond share nothing.

use anabranch_model::JobId;
use anabranch_ogc::ogcapi::BaseUrl;

/// The servlet's path.
const SERVLET: &str = "/wps/RetrieveResultServlet";

/// What an `id` of the servlet names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Playlist(JobId),
    Chunk(JobId, u64),
    Exception(JobId),
    /// The stored document of a job: what the servlet was there for before there were playlists.
    Job(JobId),
}

impl Named {
    /// `None` where it names nothing.
    pub(crate) fn parse(id: &str) -> Option<Self> {
        if let Some(job) = job(id) {
            return Some(Self::Job(job));
        }
        if let Some(rest) = id.strip_prefix("playlist") {
            return match rest.strip_suffix("exception") {
                Some(text) => job(text).map(Self::Exception),
                None => job(rest).map(Self::Playlist),
            };
        }
        let (dir, rest) = id.split_at_checked(3)?;
        if !dir.eq_ignore_ascii_case("dir") {
            return None;
        }
        let (text, number) = rest.strip_prefix("playlist")?.split_once("_chunk")?;
        Some(Self::Chunk(job(text)?, chunk_number(number)?))
    }
}

/// In the one form that this server writes: what can be written in several ways is cached several times.
fn job(text: &str) -> Option<JobId> {
    text.parse().ok().filter(|job: &JobId| job.to_string() == text)
}

/// A number of a chunk, from 1, as this server writes it.
pub(crate) fn chunk_number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| *number > 0 && number.to_string() == text)
}

/// Which addresses stand in a playlist: those by which its reader came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// Those of the job's resources.
    Resources,
    /// Those of 2012.
    Servlet,
}

impl Addresses {
    /// Of a chunk, counted from 1.
    pub(crate) fn chunk(self, base: &BaseUrl, job: &JobId, output: &str, number: u64) -> String {
        match self {
            Self::Resources => format!("{}/chunks/{number}", base.output(job, output)),
            Self::Servlet => base.at(&format!("{SERVLET}?id=dirplaylist{job}_chunk{number}")),
        }
    }

    /// Of the playlist of 2012.
    pub(crate) fn playlist(self, base: &BaseUrl, job: &JobId, output: &str) -> String {
        match self {
            Self::Resources => format!("{}/playlist?f=playlist", base.output(job, output)),
            Self::Servlet => base.at(&format!("{SERVLET}?id=playlist{job}")),
        }
    }
}

/// Of the report that tells why a job failed.
pub(crate) fn exception(base: &BaseUrl, job: &JobId) -> String {
    base.at(&format!("{SERVLET}?id=playlist{job}exception"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let (base, job) = (BaseUrl::new("http://h"), JobId::from_bytes([0xab; 16]));
        let id = |href: &str| Named::parse(href.split_once("?id=").unwrap().1);
        let servlet = Addresses::Servlet;
        assert_eq!(id(&servlet.playlist(&base, &job, "r")), Some(Named::Playlist(job)));
        assert_eq!(id(&servlet.chunk(&base, &job, "r", 12)), Some(Named::Chunk(job, 12)));
        assert_eq!(id(&exception(&base, &job)), Some(Named::Exception(job)));
        assert_eq!(Named::parse(&job.to_string()), Some(Named::Job(job)));
        assert_eq!(Named::parse(&format!("DIRplaylist{job}_chunk1")), Some(Named::Chunk(job, 1)));
    }

    #[test]
    fn anything_else_names_nothing() {
        let job = JobId::from_bytes([0xab; 16]);
        for id in [
            String::new(),
            "playlist".into(),
            "playlist1349368020000".into(),
            "dir".into(),
            "di\u{e4}playlist".into(),
            "../../etc/passwd".into(),
            format!("playlist{job}x"),
            format!("playlist{{{job}}}"),
            format!("playlist{}", job.to_string().to_uppercase()),
            format!("dirplaylist{job}"),
            format!("dirplaylist{job}_chunk"),
            format!("dirplaylist{job}_chunk0"),
            format!("dirplaylist{job}_chunk01"),
            format!("dirplaylist{job}_chunk+1"),
            format!("dirplaylist{job}_chunk-1"),
            format!("dirplaylist{job}_chunk1/../2"),
            format!("dirplaylist{job}_chunk99999999999999999999999"),
        ] {
            assert_eq!(Named::parse(&id), None, "{id}");
        }
    }
}
