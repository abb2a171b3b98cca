//! Files on their way to a server of the site's own: FTP, FTPS, SFTP, S3.
//!
//! An [`Uploader`] puts one file after the other there. Whatever the protocol, a file is seen under its name only when it is complete
//! and checked; a connection that breaks is made again, and the file goes on where it was; every wait has a limit.
//!
//! What it is not: it knows nothing of jobs, processes or agents, and chooses no names. It opens no HTTP connection of its own: S3 goes
//! through `egress`.
//!
//! Read first: [`Settings`] (where to), [`Uploader::upload`] (how), [`UploadError`] (what may go wrong).

#![warn(missing_docs)]

mod digest;
mod ftp;
mod limits;
mod s3;
mod sftp;
mod upload;

pub use ftp::{Ftp, FtpTls};
pub use limits::Limits;
pub use s3::S3;
pub use sftp::{HostKeys, Sftp, SftpSecret};
pub use upload::{RemotePath, Settings, Target, UploadError, Uploaded, Uploader, Verify};
