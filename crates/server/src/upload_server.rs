//! A server of the site's own that outputs are uploaded to: `[upload]` of a configuration, or `[UPLOADER]` of `remote.config`.

use crate::xmpp_session::{read_secret, trust};
use anabranch_delivery::{
    Ftp, FtpTls, HostKeys, Limits, S3, Settings, Sftp, SftpSecret, Target, Uploader, Verify,
};
use anyhow::{Context as _, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Holds the account's password, or the secret of an S3 key; wins over the file.
pub(crate) const PASSWORD_VARIABLE: &str = "ANABRANCH_UPLOADER_PASSWORD";

/// Holds the passphrase of a private key; wins over the file.
pub(crate) const PASSPHRASE_VARIABLE: &str = "ANABRANCH_UPLOADER_PASSPHRASE";

/// Where OpenSSH looks for keys of servers: in the home, and for all.
const KNOWN_HOSTS: [&str; 2] = [".ssh/known_hosts", "/etc/ssh/ssh_known_hosts"];

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    Ftp,
    /// Encrypted after the greeting.
    Ftps,
    /// Encrypted from the first byte.
    FtpsImplicit,
    Sftp,
    S3,
}

impl Protocol {
    fn is_ftps(self) -> bool {
        matches!(self, Self::Ftps | Self::FtpsImplicit)
    }
}

/// How a file is checked once it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Checked {
    #[default]
    Offered,
    ReadBack,
}

/// `[upload]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UploadServer {
    pub(crate) protocol: Protocol,
    /// Not of S3.
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    /// The account; the identifier of S3's access key.
    pub(crate) user: String,
    pub(crate) password_file: Option<PathBuf>,
    /// A password from elsewhere, which no file of ours holds.
    #[serde(skip)]
    pub(crate) password: Option<String>,
    pub(crate) private_key_file: Option<PathBuf>,
    pub(crate) passphrase_file: Option<PathBuf>,
    /// `SHA256:…`
    pub(crate) host_key: Option<String>,
    pub(crate) known_hosts: Option<PathBuf>,
    /// `roots`, `sha256:HEX`, or the path of a PEM file.
    pub(crate) certificate: Option<String>,
    #[serde(default)]
    pub(crate) folder: String,
    pub(crate) public_url: Option<String>,
    #[serde(default)]
    pub(crate) verify: Checked,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) bucket: Option<String>,
    pub(crate) ca_file: Option<PathBuf>,
}

impl UploadServer {
    /// One at a host, as the original's agents have it.
    pub(crate) fn at(protocol: Protocol, host: String, port: Option<u16>, user: String) -> Self {
        Self {
            protocol,
            host: Some(host),
            port,
            user,
            password_file: None,
            password: None,
            private_key_file: None,
            passphrase_file: None,
            host_key: None,
            known_hosts: None,
            certificate: None,
            folder: String::new(),
            public_url: None,
            verify: Checked::default(),
            endpoint: None,
            region: None,
            bucket: None,
            ca_file: None,
        }
    }

    /// Paths start at this folder.
    pub(crate) fn relative_to(mut self, folder: &Path) -> Self {
        let paths = [
            &mut self.password_file,
            &mut self.private_key_file,
            &mut self.passphrase_file,
            &mut self.known_hosts,
            &mut self.ca_file,
        ];
        for path in paths.into_iter().flatten() {
            *path = folder.join(&*path);
        }
        if let Some(certificate) = &mut self.certificate
            && certificate != "roots"
            && !certificate.starts_with("sha256:")
        {
            *certificate = folder.join(&*certificate).display().to_string();
        }
        self
    }

    /// Whether its keys go together. Reads no file.
    ///
    /// # Errors
    /// Names the key.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let only = |key: &str, given: bool, with: bool, protocols: &str| {
            ensure!(!given || with, "upload.{key} is for {protocols} only");
            Ok(())
        };
        let is = |protocol: Protocol| self.protocol == protocol;
        let s3 = is(Protocol::S3);
        for (key, given) in [("endpoint", self.endpoint.is_some()), ("ca_file", self.ca_file.is_some())] {
            only(key, given, s3, "s3")?;
        }
        only("region", self.region.is_some(), s3, "s3")?;
        only("bucket", self.bucket.is_some(), s3, "s3")?;
        for (key, given) in [("host", self.host.is_some()), ("port", self.port.is_some())] {
            only(key, given, !s3, "ftp, ftps, ftps-implicit and sftp")?;
        }
        only("certificate", self.certificate.is_some(), self.protocol.is_ftps(), "ftps and ftps-implicit")?;
        let sftp = is(Protocol::Sftp);
        for (key, given) in [
            ("private_key_file", self.private_key_file.is_some()),
            ("passphrase_file", self.passphrase_file.is_some()),
            ("host_key", self.host_key.is_some()),
            ("known_hosts", self.known_hosts.is_some()),
        ] {
            only(key, given, sftp, "sftp")?;
        }
        ensure!(s3 || self.host.as_ref().is_some_and(|host| !host.is_empty()), "upload.host is missing");
        ensure!(
            !s3 || self.bucket.as_ref().is_some_and(|bucket| !bucket.is_empty()),
            "upload.bucket is missing"
        );
        if let Some(pin) = &self.host_key {
            ensure!(
                pin.starts_with("SHA256:"),
                "upload.host_key must be SHA256:…, as `ssh-keygen -l` shows it, not {pin:?}"
            );
        }
        if let Some(url) = &self.public_url {
            let fits = url::Url::parse(url).is_ok_and(|url| !url.cannot_be_a_base());
            ensure!(fits, "upload.public_url must be a URL, not {url:?}");
        }
        Ok(())
    }

    /// What uploads there.
    ///
    /// # Errors
    /// Where a secret, key or certificate can't be read, or something else can't be used; names the key.
    pub(crate) fn uploader(&self) -> anyhow::Result<Uploader> {
        self.check()?;
        let verify = match self.verify {
            Checked::Offered => Verify::Offered,
            Checked::ReadBack => Verify::ReadBack,
        };
        let settings = Settings {
            target: self.target()?,
            folder: self.folder.clone(),
            public_url: self.public_url.clone(),
            verify,
            limits: Limits::default(),
        };
        Uploader::new(settings).map_err(|error| anyhow::anyhow!("upload: {error}"))
    }

    fn target(&self) -> anyhow::Result<Target> {
        let (host, port, user) = (self.host.clone().unwrap_or_default(), self.port, self.user.clone());
        Ok(match self.protocol {
            Protocol::Ftp | Protocol::Ftps | Protocol::FtpsImplicit => {
                let tls = || {
                    let trusted = trust(self.certificate.as_deref().unwrap_or("roots"))?;
                    trusted.client_config().context("upload.certificate")
                };
                let tls = match self.protocol {
                    Protocol::Ftps => FtpTls::Explicit(tls()?),
                    Protocol::FtpsImplicit => FtpTls::Implicit(tls()?),
                    _ => FtpTls::None,
                };
                Target::Ftp(Ftp { host, port, user, password: self.password()?, tls })
            }
            Protocol::Sftp => Target::Sftp(Sftp {
                host,
                port,
                user,
                secret: self.sftp_secret()?,
                host_keys: self.host_keys(),
            }),
            Protocol::S3 => Target::S3(S3 {
                endpoint: self.endpoint.clone(),
                region: self.region.clone().unwrap_or_else(|| "us-east-1".into()),
                bucket: self.bucket.clone().unwrap_or_default(),
                access_key: user,
                secret_key: self.password()?,
                ca_file: self.ca_file.clone(),
            }),
        })
    }

    fn password(&self) -> anyhow::Result<String> {
        secret(PASSWORD_VARIABLE, self.password_file.as_deref())?
            .or_else(|| self.password.clone())
            .with_context(|| {
                format!("upload.password_file is missing: it, or the variable {PASSWORD_VARIABLE}")
            })
    }

    fn sftp_secret(&self) -> anyhow::Result<SftpSecret> {
        let Some(file) = &self.private_key_file else { return Ok(SftpSecret::Password(self.password()?)) };
        let pem = std::fs::read_to_string(file)
            .with_context(|| format!("can't read upload.private_key_file {}", file.display()))?;
        let passphrase = secret(PASSPHRASE_VARIABLE, self.passphrase_file.as_deref())?;
        Ok(SftpSecret::Key { pem, passphrase })
    }

    fn host_keys(&self) -> HostKeys {
        match (&self.host_key, &self.known_hosts) {
            (Some(pin), _) => HostKeys::Pinned(pin.clone()),
            (None, Some(file)) => HostKeys::Known(vec![file.clone()]),
            (None, None) => {
                let home = std::env::home_dir().unwrap_or_default();
                HostKeys::Known(KNOWN_HOSTS.iter().map(|file| home.join(file)).collect())
            }
        }
    }
}

/// From the environment, else from a file.
fn secret(variable: &str, file: Option<&Path>) -> anyhow::Result<Option<String>> {
    match std::env::var(variable) {
        Ok(value) => Ok(Some(value)),
        Err(_unset) => file.map(read_secret).transpose(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        match toml::from_str::<UploadServer>(text) {
            Ok(server) => server.check().map_or_else(|error| error.to_string(), |()| String::new()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn keys_go_with_their_protocols() {
        assert_eq!(fault("protocol = 'sftp'\nhost = 'h'\nuser = 'u'\nhost_key = 'SHA256:x'"), "");
        assert_eq!(fault("protocol = 's3'\nbucket = 'b'\nuser = 'u'\nendpoint = 'http://h'"), "");
        for (text, expected) in [
            ("protocol = 'ftp'\nuser = 'u'", "upload.host is missing"),
            ("protocol = 's3'\nuser = 'u'", "upload.bucket is missing"),
            (
                "protocol = 's3'\nuser = 'u'\nbucket = 'b'\nhost = 'h'",
                "upload.host is for ftp, ftps, ftps-implicit and sftp only",
            ),
            (
                "protocol = 'ftp'\nuser = 'u'\nhost = 'h'\ncertificate = 'roots'",
                "upload.certificate is for ftps and ftps-implicit only",
            ),
            (
                "protocol = 'ftps'\nuser = 'u'\nhost = 'h'\nhost_key = 'SHA256:x'",
                "upload.host_key is for sftp only",
            ),
            ("protocol = 'sftp'\nuser = 'u'\nhost = 'h'\nhost_key = 'x'", "must be SHA256:…"),
            (
                "protocol = 'sftp'\nuser = 'u'\nhost = 'h'\npublic_url = 'x'",
                "upload.public_url must be a URL, not \"x\"",
            ),
            ("protocol = 'scp'\nuser = 'u'\nhost = 'h'", "unknown variant `scp`"),
            ("protocol = 'ftp'\nuser = 'u'\nhost = 'h'\nhots = 'h'", "unknown field `hots`"),
        ] {
            assert!(fault(text).contains(expected), "{text}: {}", fault(text));
        }
    }

    #[test]
    fn a_secret_that_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let server: UploadServer = toml::from_str("protocol = 'ftp'\nhost = 'h'\nuser = 'u'").unwrap();
        let error = server.uploader().unwrap_err().to_string();
        assert!(error.contains("upload.password_file is missing"), "{error}");
        std::fs::write(folder.path().join("secret"), "s\n").unwrap();
        let with_file = UploadServer { password_file: Some("secret".into()), ..server };
        let uploader = with_file.relative_to(folder.path()).uploader().unwrap();
        assert_eq!(uploader.place(), "ftp://h/");
    }
}
