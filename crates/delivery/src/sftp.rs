//! SFTP, version 3 as OpenSSH speaks it, over SSH.
//!
//! The server's key is always checked: against one that is pinned, or files of known hosts. Who is asked for a password by an unknown
//! server does not give it.

use crate::digest::{Sum, sha256};
use crate::limits::within;
use crate::upload::{Part, UploadError, Verify, authority};
use russh::Disconnect;
use russh::client::{self, Handle};
use russh::keys::{
    HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate, known_hosts,
};
use russh_sftp::client::SftpSession;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::{OpenFlags, StatusCode};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _, SeekFrom};
use tokio::net::TcpStream;

/// Bytes handed over at once: the limit for stalls counts from one to the next.
const SEND_BYTES: usize = 64 * 1024;

/// How far before the end of what is there an interrupted upload goes on: 16 writes of 32 KiB are under way at once, and a server that
/// does several of them at a time could have left out one.
const OVERLAP_BYTES: u64 = 1 << 20;

/// The port of SSH.
const PORT: u16 = 22;

/// An SFTP server.
#[derive(Clone)]
pub struct Sftp {
    /// Name or address.
    pub host: String,
    /// Port; 22 where absent.
    pub port: Option<u16>,
    /// Account.
    pub user: String,
    /// What it proves itself by.
    pub secret: SftpSecret,
    /// How the server does.
    pub host_keys: HostKeys,
}

/// What an account proves itself by.
#[derive(Clone)]
pub enum SftpSecret {
    /// A password.
    Password(String),
    /// A private key as text, in the form of OpenSSH or PKCS#8, and the passphrase that it is encrypted with. Ed25519 or ECDSA: keys of
    /// RSA are not read.
    Key {
        /// The text.
        pem: String,
        /// Its passphrase.
        passphrase: Option<String>,
    },
}

/// How a server proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKeys {
    /// By the key with this fingerprint: `SHA256:…`, as `ssh-keygen -l` shows it.
    Pinned(String),
    /// By a key that stands in one of these files, which need not exist.
    Known(Vec<PathBuf>),
}

impl std::fmt::Debug for Sftp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sftp").field("url", &self.url()).field("user", &self.user).finish_non_exhaustive()
    }
}

/// Judges the server's key, and keeps why it was refused.
struct Judge {
    host: String,
    port: u16,
    host_keys: HostKeys,
    refused: Arc<Mutex<Option<String>>>,
}

impl client::Handler for Judge {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let refused = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.refusal(key),
            PublicKeyOrCertificate::Certificate(_) => Some("it shows a certificate instead of a key".into()),
        };
        let trusted = refused.is_none();
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
        Ok(trusted)
    }
}

impl Judge {
    fn refusal(&self, key: &PublicKey) -> Option<String> {
        let print = key.fingerprint(HashAlg::Sha256).to_string();
        match &self.host_keys {
            HostKeys::Pinned(pinned) if *pinned == print => None,
            HostKeys::Pinned(pinned) => Some(format!("its key is {print}, and {pinned} is pinned")),
            HostKeys::Known(files) => {
                for file in files {
                    match known_hosts::check_known_hosts_path(&self.host, self.port, key, file) {
                        Ok(true) => return None,
                        Ok(false) => {}
                        Err(error) => {
                            return Some(format!("its key is {print}, and {}: {error}", file.display()));
                        }
                    }
                }
                let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
                Some(format!("its key {print} is in none of {}", names.join(", ")))
            }
        }
    }
}

impl Sftp {
    fn port(&self) -> u16 {
        self.port.unwrap_or(PORT)
    }

    pub(crate) fn url(&self) -> String {
        format!("sftp://{}", authority(&self.host, self.port(), PORT))
    }

    pub(crate) async fn attempt(&self, part: &mut Part<'_>) -> Result<(), UploadError> {
        let (ssh, sftp) = self.log_in(part).await?;
        let result = self.attempt_in(&sftp, part).await;
        let _goodbye = within(part.limits.reply, "goodbye", async {
            let _closed = sftp.close().await;
            ssh.disconnect(Disconnect::ByApplication, "", "").await
        })
        .await;
        result
    }

    async fn attempt_in(&self, sftp: &SftpSession, part: &mut Part<'_>) -> Result<(), UploadError> {
        let reply = part.limits.reply;
        if part.renaming && size(sftp, part, &part.finished).await? == Some(part.bytes) {
            // It was renamed, and the answer was lost.
            return Ok(());
        }
        for folder in &part.folders {
            // Most exist; where one can't be made, the file in it can't be either, and that says why.
            match within(reply, "making a folder", sftp.create_dir(folder)).await? {
                Ok(()) | Err(SftpError::Status(_)) => {}
                Err(error) => return Err(failed("making a folder", error)),
            }
        }
        let mut there = 0;
        if part.begun {
            there = size(sftp, part, &part.unfinished).await?.unwrap_or(0);
        }
        if there < part.bytes || !part.begun || there > part.bytes {
            let offset = if there > part.bytes { 0 } else { there.saturating_sub(OVERLAP_BYTES) };
            send(sftp, part, offset).await?;
        }
        verify(sftp, part).await?;
        part.renaming = true;
        within(reply, "renaming", sftp.rename(&part.unfinished, &part.finished))
            .await?
            .map_err(|error| failed("renaming", error))
    }

    async fn log_in(&self, part: &Part<'_>) -> Result<(Handle<Judge>, SftpSession), UploadError> {
        let (connect, reply) = (part.limits.connect, part.limits.reply);
        let refused = Arc::new(Mutex::new(None));
        let judge = Judge {
            host: self.host.clone(),
            port: self.port(),
            host_keys: self.host_keys.clone(),
            refused: Arc::clone(&refused),
        };
        let socket = within(connect, "connecting", TcpStream::connect((self.host.as_str(), self.port())))
            .await?
            .map_err(|error| UploadError::transient(format!("connecting: {error}")))?;
        let config = Arc::new(client::Config { nodelay: true, ..client::Config::default() });
        let connected = within(connect, "SSH", client::connect_stream(config, socket, judge)).await?;
        let mut ssh = connected.map_err(|error| {
            match refused.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(why) => UploadError::lasting(format!(
                    "the server {} is not known: {why}; pin its key, or put it into a file of known hosts (ssh-keyscan)",
                    authority(&self.host, self.port(), PORT)
                )),
                None => UploadError::transient(format!("SSH: {error}")),
            }
        })?;
        let user = self.user.as_str();
        let answer = match &self.secret {
            SftpSecret::Password(password) => {
                within(reply, "logging in", ssh.authenticate_password(user, password)).await?
            }
            SftpSecret::Key { pem, passphrase } => {
                let key = private_key(pem, passphrase.as_deref())?;
                within(reply, "logging in", ssh.authenticate_publickey(user, key)).await?
            }
        };
        let ended = |error: russh::Error| UploadError::transient(format!("logging in: {error}"));
        if !answer.map_err(ended)?.success() {
            return Err(UploadError::lasting(format!(
                "logging in: the server refuses {user:?} and its secret"
            )));
        }
        let opening = async {
            let channel = ssh.channel_open_session().await?;
            channel.request_subsystem(true, "sftp").await?;
            Ok::<_, russh::Error>(channel)
        };
        let channel = within(reply, "SFTP", opening)
            .await?
            .map_err(|error| UploadError::transient(format!("SFTP: {error}")))?;
        let sftp = within(reply, "SFTP", SftpSession::new(channel.into_stream()))
            .await?
            .map_err(|error| failed("SFTP", error))?;
        sftp.set_timeout(reply.as_secs().max(1));
        Ok((ssh, sftp))
    }

    pub(crate) async fn discard(&self, part: &Part<'_>) -> Result<(), UploadError> {
        let (_ssh, sftp) = self.log_in(part).await?;
        sftp.remove_file(&part.unfinished).await.map_err(|error| failed("removing", error))
    }
}

fn private_key(pem: &str, passphrase: Option<&str>) -> Result<PrivateKeyWithHashAlg, UploadError> {
    let key: PrivateKey = russh::keys::decode_secret_key(pem, passphrase)
        .map_err(|error| UploadError::lasting(format!("the private key can't be read: {error}")))?;
    Ok(PrivateKeyWithHashAlg::new(Arc::new(key), None))
}

async fn size(sftp: &SftpSession, part: &Part<'_>, path: &str) -> Result<Option<u64>, UploadError> {
    match within(part.limits.reply, "asking for a size", sftp.metadata(path)).await? {
        Ok(metadata) => Ok(metadata.size),
        Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(None),
        Err(error) => Err(failed("asking for a size", error)),
    }
}

/// Sends the file from an offset on.
async fn send(sftp: &SftpSession, part: &mut Part<'_>, offset: u64) -> Result<(), UploadError> {
    let (reply, stall) = (part.limits.reply, part.limits.stall);
    let mut flags = OpenFlags::CREATE | OpenFlags::WRITE;
    if offset == 0 {
        flags |= OpenFlags::TRUNCATE;
    }
    let mut remote = within(reply, "storing", sftp.open_with_flags(&part.unfinished, flags))
        .await?
        .map_err(|error| failed("storing", error))?;
    part.begun = true;
    part.there = part.there.min(offset);
    let unreadable = |error: std::io::Error| UploadError::lasting(format!("the file can't be read: {error}"));
    let mut file = tokio::fs::File::open(part.file).await.map_err(unreadable)?;
    file.seek(SeekFrom::Start(offset)).await.map_err(unreadable)?;
    let broken =
        |error: std::io::Error| UploadError::transient(format!("sending: {}", explained(&error.to_string())));
    remote.seek(SeekFrom::Start(offset)).await.map_err(broken)?;
    let (mut bytes, mut sent) = (vec![0; SEND_BYTES], offset);
    loop {
        let count = file.read(&mut bytes).await.map_err(unreadable)?;
        if count == 0 {
            break;
        }
        within(stall, "sending", remote.write_all(&bytes[..count])).await?.map_err(broken)?;
        sent += count as u64;
        part.there = sent.saturating_sub(OVERLAP_BYTES).max(part.there);
    }
    within(reply, "the end of the file", remote.flush()).await?.map_err(broken)?;
    within(reply, "the end of the file", remote.sync_all())
        .await?
        .map_err(|error| failed("storing", error))?;
    within(reply, "the end of the file", remote.close()).await?.map_err(broken)?;
    part.there = sent;
    Ok(())
}

async fn verify(sftp: &SftpSession, part: &mut Part<'_>) -> Result<(), UploadError> {
    let unfinished = part.unfinished.clone();
    let bytes = size(sftp, part, &unfinished).await?;
    if bytes.is_some_and(|bytes| bytes != part.bytes) {
        part.there = 0;
        part.begun = false;
        let (bytes, own) = (bytes.unwrap_or_default(), part.bytes);
        return Err(UploadError::transient(format!(
            "the file has {bytes} bytes on the server instead of {own}"
        )));
    }
    if part.verify == Verify::Offered {
        return Ok(());
    }
    let broken = |error: std::io::Error| UploadError::transient(format!("reading back: {error}"));
    let mut remote = within(part.limits.reply, "reading back", sftp.open(&unfinished))
        .await?
        .map_err(|error| failed("reading back", error))?;
    let (mut sum, mut read) = (Sum::default(), vec![0; SEND_BYTES]);
    loop {
        let count =
            within(part.limits.stall, "reading back", remote.read(&mut read)).await?.map_err(broken)?;
        if count == 0 {
            break;
        }
        sum.add(&read[..count]);
    }
    let own = sha256(part.file)
        .await
        .map_err(|error| UploadError::lasting(format!("the file can't be read: {error}")))?;
    if sum.hex() != own {
        part.there = 0;
        part.begun = false;
        return Err(UploadError::transient("the checksum of the file on the server is another one".into()));
    }
    part.checked = "size and SHA-256, read back";
    Ok(())
}

/// Version 3 has no word for a full disk.
fn explained(text: &str) -> String {
    if text == "Failure" {
        "the server says: Failure (a full disk or a quota, mostly)".into()
    } else {
        text.to_owned()
    }
}

fn failed(what: &str, error: SftpError) -> UploadError {
    match error {
        SftpError::Status(status) => {
            let lasting = matches!(
                status.status_code,
                StatusCode::PermissionDenied | StatusCode::NoSuchFile | StatusCode::OpUnsupported
            );
            let said = if status.error_message.is_empty() {
                status.status_code.to_string()
            } else {
                status.error_message
            };
            let reason = format!("{what}: {}", explained(&said));
            UploadError { reason, transient: !lasting }
        }
        other => UploadError::transient(format!("{what}: {other}")),
    }
}
