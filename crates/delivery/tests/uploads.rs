//! Uploads to real servers: pyftpdlib, OpenSSH's sshd, moto.

#![expect(clippy::unwrap_used, reason = "tests, and helpers that only tests call")]

#[path = "uploads/ftp.rs"]
mod ftp;
#[path = "uploads/link.rs"]
mod link;
#[path = "uploads/s3.rs"]
mod s3;
#[path = "uploads/sftp.rs"]
mod sftp;
#[path = "uploads/support.rs"]
mod support;
