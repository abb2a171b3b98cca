//! FTP (RFC 959, 3659) and FTPS (RFC 4217), passive only.
//!
//! The address that a server names for data connections is not believed: they go where the control connection went.

use crate::digest::{Sum, sha256};
use crate::limits::within;
use crate::upload::{Part, UploadError, Verify, authority};
use std::sync::Arc;
use std::time::Duration;
use suppaftp::tokio::{AsyncRustlsConnector, AsyncRustlsFtpStream};
use suppaftp::types::{FileType, Mode};
use suppaftp::{FtpError, Status};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _, SeekFrom};
use tokio::net::TcpStream;

/// Bytes sent at once: the limit for stalls counts from one to the next.
const SEND_BYTES: usize = 64 * 1024;

/// Longest wait for the reason why a data connection was closed: it was sent with the close, or never.
const REASON_MAX: Duration = Duration::from_secs(3);

/// The port of FTP, and of FTPS that begins in plain text (explicit).
const PORT: u16 = 21;

/// The port of FTPS that is encrypted from its first byte (implicit).
const PORT_IMPLICIT: u16 = 990;

/// An FTP server.
#[derive(Clone)]
pub struct Ftp {
    /// Name or address.
    pub host: String,
    /// Port of the control connection; the usual one where absent.
    pub port: Option<u16>,
    /// Account.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Encryption.
    pub tls: FtpTls,
}

/// How FTP is encrypted: the control connection and the data, or neither.
#[derive(Clone)]
pub enum FtpTls {
    /// Not at all: password and data can be read on the way.
    None,
    /// The connection begins in plain text and is encrypted before the password (`AUTH TLS`).
    Explicit(Arc<rustls::ClientConfig>),
    /// Encrypted from the first byte.
    Implicit(Arc<rustls::ClientConfig>),
}

impl std::fmt::Debug for Ftp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ftp").field("url", &self.url()).field("user", &self.user).finish_non_exhaustive()
    }
}

impl Ftp {
    fn port(&self) -> u16 {
        let usual = if matches!(self.tls, FtpTls::Implicit(_)) { PORT_IMPLICIT } else { PORT };
        self.port.unwrap_or(usual)
    }

    pub(crate) fn url(&self) -> String {
        match self.tls {
            FtpTls::None => format!("ftp://{}", authority(&self.host, self.port(), PORT)),
            FtpTls::Explicit(_) => format!("ftps://{}", authority(&self.host, self.port(), PORT)),
            FtpTls::Implicit(_) => format!("ftps://{}", authority(&self.host, self.port(), 0)),
        }
    }

    pub(crate) async fn attempt(&self, part: &mut Part<'_>) -> Result<(), UploadError> {
        let reply = part.limits.reply;
        let mut session = self.log_in(part).await?;
        if part.renaming && size(&mut session, part, &part.finished).await? == Some(part.bytes) {
            // It was renamed, and the answer was lost.
            return Ok(());
        }
        for folder in &part.folders {
            // Most exist; where one can't be made, the file in it can't be either, and that says why.
            match within(reply, "making a folder", session.mkdir(folder)).await? {
                Ok(()) | Err(FtpError::UnexpectedResponse(_)) => {}
                Err(error) => return Err(failed("making a folder", error)),
            }
        }
        let mut there = 0;
        if part.begun {
            there = size(&mut session, part, &part.unfinished).await?.unwrap_or(0);
            if there > part.bytes {
                there = 0;
            }
        }
        if there < part.bytes || !part.begun {
            self.send(&mut session, part, there).await?;
        }
        verify(&mut session, part).await?;
        part.renaming = true;
        within(reply, "renaming", session.rename(part.unfinished.as_str(), part.finished.as_str()))
            .await?
            .map_err(|error| failed("renaming", error))?;
        // Who is told goodbye need not wait for more; an answer changes nothing.
        let _goodbye = within(reply, "goodbye", session.quit()).await;
        Ok(())
    }

    /// Sends the file from an offset on.
    async fn send(
        &self,
        session: &mut AsyncRustlsFtpStream,
        part: &mut Part<'_>,
        mut offset: u64,
    ) -> Result<(), UploadError> {
        let (reply, stall) = (part.limits.reply, part.limits.stall);
        if offset > 0 {
            let at = usize::try_from(offset).unwrap_or(usize::MAX);
            match within(reply, "going on at an offset", session.resume_transfer(at)).await? {
                Ok(()) => {}
                // From the start, then: writing on at the end could write twice what is still on its way there.
                Err(FtpError::UnexpectedResponse(_)) => offset = 0,
                Err(error) => return Err(failed("going on at an offset", error)),
            }
        }
        part.begun = true;
        part.there = offset;
        let path = part.unfinished.clone();
        let mut stream = within(reply, "opening a data connection", session.put_with_stream(&path))
            .await?
            .map_err(|error| failed("storing", error))?;
        let mut file = open(part, offset).await?;
        let mut bytes = vec![0; SEND_BYTES];
        loop {
            let count = file.read(&mut bytes).await.map_err(|error| unreadable(&error))?;
            if count == 0 {
                break;
            }
            let sent = within(stall, "sending", stream.write_all(&bytes[..count])).await?;
            if let Err(error) = sent {
                // Where the server closed the data connection it says why on the other one: a full disk, say. To be read while there is
                // a stream: once that is dropped its answer is thrown away.
                return Err(refusal(session).await.unwrap_or_else(|| broken("sending", &error)));
            }
            part.there += count as u64;
        }
        within(reply, "the end of the file", stream.finish()).await?.map_err(|error| failed("storing", error))
    }

    async fn log_in(&self, part: &Part<'_>) -> Result<AsyncRustlsFtpStream, UploadError> {
        let (connect, reply) = (part.limits.connect, part.limits.reply);
        let address = (self.host.as_str(), self.port());
        let mut session = match &self.tls {
            FtpTls::Implicit(config) => {
                let connector = connector(config);
                within(
                    connect,
                    "connecting",
                    AsyncRustlsFtpStream::connect_secure_implicit(address, connector, &self.host),
                )
                .await?
                .map_err(|error| failed("connecting", error))?
            }
            FtpTls::None | FtpTls::Explicit(_) => {
                let socket = within(connect, "connecting", TcpStream::connect(address))
                    .await?
                    .map_err(|error| broken("connecting", &error))?;
                within(reply, "the server's greeting", AsyncRustlsFtpStream::connect_with_stream(socket))
                    .await?
                    .map_err(|error| failed("the server's greeting", error))?
            }
        };
        if let FtpTls::Explicit(config) = &self.tls {
            session = within(connect, "TLS", session.into_secure(connector(config), &self.host))
                .await?
                .map_err(|error| failed("TLS", error))?;
        }
        let is_v6 = session.get_ref().await.peer_addr().is_ok_and(|address| address.is_ipv6());
        session.set_mode(if is_v6 { Mode::ExtendedPassive } else { Mode::Passive });
        session.set_passive_nat_workaround(true);
        within(reply, "logging in", session.login(self.user.as_str(), self.password.as_str()))
            .await?
            .map_err(|error| failed("logging in", error))?;
        if matches!(self.tls, FtpTls::Implicit(_)) {
            // Most servers of this old form encrypt data anyway and refuse to hear of it.
            for command in ["PBSZ 0", "PROT P"] {
                let _asked =
                    within(reply, "TLS", session.custom_command(command, &[Status::CommandOk])).await?;
            }
        }
        within(reply, "binary mode", session.transfer_type(FileType::Binary))
            .await?
            .map_err(|error| failed("binary mode", error))?;
        Ok(session)
    }

    pub(crate) async fn discard(&self, part: &Part<'_>) -> Result<(), UploadError> {
        let mut session = self.log_in(part).await?;
        session.rm(&part.unfinished).await.map_err(|error| failed("removing", error))
    }
}

fn connector(config: &Arc<rustls::ClientConfig>) -> AsyncRustlsConnector {
    tokio_rustls::TlsConnector::from(Arc::clone(config)).into()
}

async fn open(part: &Part<'_>, offset: u64) -> Result<tokio::fs::File, UploadError> {
    let mut file = tokio::fs::File::open(part.file).await.map_err(|error| unreadable(&error))?;
    file.seek(SeekFrom::Start(offset)).await.map_err(|error| unreadable(&error))?;
    Ok(file)
}

/// Size of a file on the server; `None` where there is none, or the server can't tell.
async fn size(
    session: &mut AsyncRustlsFtpStream,
    part: &Part<'_>,
    path: &str,
) -> Result<Option<u64>, UploadError> {
    match within(part.limits.reply, "asking for a size", session.size(path)).await? {
        Ok(bytes) => Ok(Some(bytes as u64)),
        Err(FtpError::UnexpectedResponse(_) | FtpError::BadResponse) => Ok(None),
        Err(error) => Err(failed("asking for a size", error)),
    }
}

/// Holds what is there against what was sent.
async fn verify(session: &mut AsyncRustlsFtpStream, part: &mut Part<'_>) -> Result<(), UploadError> {
    let unfinished = part.unfinished.clone();
    if let Some(bytes) = size(session, part, &unfinished).await?.filter(|bytes| *bytes != part.bytes) {
        part.there = 0;
        discard_wrong(session, part).await;
        return Err(UploadError::transient(format!(
            "the file has {bytes} bytes on the server instead of {}",
            part.bytes
        )));
    }
    let (sum, how) = match offered_sum(session, part).await? {
        Some(sum) => (sum, "size and SHA-256"),
        None if part.verify == Verify::ReadBack => {
            (read_back(session, part).await?, "size and SHA-256, read back")
        }
        None => return Ok(()),
    };
    let own = sha256(part.file).await.map_err(|error| unreadable(&error))?;
    if !sum.eq_ignore_ascii_case(&own) {
        part.there = 0;
        discard_wrong(session, part).await;
        return Err(UploadError::transient("the checksum of the file on the server is another one".into()));
    }
    part.checked = how;
    Ok(())
}

/// What is wrong is sent again from its start.
async fn discard_wrong(session: &mut AsyncRustlsFtpStream, part: &mut Part<'_>) {
    let removed = within(part.limits.reply, "removing", session.rm(&part.unfinished)).await;
    part.begun = !matches!(removed, Ok(Ok(())));
}

/// The SHA-256 that the server computes, where it does (draft-bryan-ftpext-hash, or the older `XSHA256`).
async fn offered_sum(
    session: &mut AsyncRustlsFtpStream,
    part: &Part<'_>,
) -> Result<Option<String>, UploadError> {
    let reply = part.limits.reply;
    let Ok(features) = within(reply, "asking for features", session.feat()).await? else { return Ok(None) };
    let hash = features.get("HASH").is_some_and(|kinds| {
        kinds.as_ref().is_some_and(|kinds| kinds.to_ascii_uppercase().contains("SHA-256"))
    });
    let command = if hash {
        let selected = within(reply, "choosing a checksum", session.opts("HASH", Some("SHA-256"))).await?;
        if selected.is_err() {
            return Ok(None);
        }
        format!("HASH {}", part.unfinished)
    } else if features.contains_key("XSHA256") {
        format!("XSHA256 {}", part.unfinished)
    } else {
        return Ok(None);
    };
    // The whole file is read there: that may take as long as an upload that is not interrupted.
    let expected = [Status::File, Status::RequestedFileActionOk];
    let answer = within(part.limits.whole, "a checksum", session.custom_command(command, &expected)).await?;
    let Ok(answer) = answer else { return Ok(None) };
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let is_sum = |word: &&str| word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit());
    Ok(text.split_whitespace().find(is_sum).map(str::to_owned))
}

async fn read_back(session: &mut AsyncRustlsFtpStream, part: &Part<'_>) -> Result<String, UploadError> {
    let (reply, stall) = (part.limits.reply, part.limits.stall);
    let mut stream = within(reply, "reading back", session.retr_as_stream(&part.unfinished))
        .await?
        .map_err(|error| failed("reading back", error))?;
    let (mut sum, mut bytes) = (Sum::default(), vec![0; SEND_BYTES]);
    loop {
        let count = within(stall, "reading back", stream.read(&mut bytes))
            .await?
            .map_err(|error| broken("reading back", &error))?;
        if count == 0 {
            break;
        }
        sum.add(&bytes[..count]);
    }
    within(reply, "reading back", stream.finish()).await?.map_err(|error| failed("reading back", error))?;
    Ok(sum.hex())
}

/// What the server says of a transfer that it ended.
async fn refusal(session: &mut AsyncRustlsFtpStream) -> Option<UploadError> {
    let answer = session.read_response_in(&[Status::ClosingDataConnection, Status::RequestedFileActionOk]);
    match within(REASON_MAX, "the reason", answer).await {
        Ok(Err(error @ FtpError::UnexpectedResponse(_))) => Some(failed("storing", error)),
        _ => None,
    }
}

fn broken(what: &str, error: &std::io::Error) -> UploadError {
    UploadError::transient(format!("{what}: {error}"))
}

fn unreadable(error: &std::io::Error) -> UploadError {
    UploadError::lasting(format!("the file can't be read: {error}"))
}

fn failed(what: &str, error: FtpError) -> UploadError {
    match error {
        FtpError::UnexpectedResponse(answer) => {
            // RFC 959 §4.2.1: 4yz may succeed later, 5yz will not.
            let code = answer.status.code();
            let text = String::from_utf8_lossy(&answer.body).trim().to_owned();
            let reason = format!("{what}: the server says: {text}");
            if (500..600).contains(&code) {
                UploadError::lasting(reason)
            } else {
                UploadError::transient(reason)
            }
        }
        FtpError::SecureError(reason) if is_certificate(&reason) => {
            UploadError::lasting(format!("{what}: the server's certificate is not trusted: {reason}"))
        }
        other => UploadError::transient(format!("{what}: {other}")),
    }
}

/// The library gives text only, which rustls begins so.
fn is_certificate(reason: &str) -> bool {
    reason.contains("invalid peer certificate")
}
