//! The one line that takes an agent to its server: `anabranch://NAME:SECRET@HOST:PORT?domain=…&room=…&…`.

use anyhow::{Context as _, ensure};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::fmt;

/// All an agent needs to know of a server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Join {
    /// Local part of the account.
    pub(crate) account: String,
    pub(crate) secret: String,
    pub(crate) host: String,
    /// Port for STARTTLS.
    pub(crate) port: u16,
    /// XMPP domain.
    pub(crate) domain: String,
    /// Bare JID of the room.
    pub(crate) room: String,
    pub(crate) room_password: String,
    /// SHA-256 of the server's certificate, in hexadecimal.
    pub(crate) pin: String,
}

impl Join {
    /// Reads the line.
    ///
    /// # Errors
    /// Names the part that is missing or wrong; never repeats the secret.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let url =
            url::Url::parse(text.trim()).context("--join takes the URL that `anabranch invite` printed")?;
        ensure!(
            url.scheme() == "anabranch",
            "--join takes a URL with the scheme anabranch, not {:?}",
            url.scheme()
        );
        let parameter = |name: &str| {
            url.query_pairs()
                .find_map(|(key, value)| (key == name).then(|| value.into_owned()))
                .with_context(|| format!("the --join URL has no parameter '{name}'"))
        };
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let secret = url.password().context("the --join URL has no secret")?;
        ensure!(!url.username().is_empty(), "the --join URL has no account");
        Ok(Self {
            account: decode(url.username()),
            secret: decode(secret),
            host: url.host_str().context("the --join URL has no host")?.trim_matches(['[', ']']).to_owned(),
            port: url.port().context("the --join URL has no port")?,
            domain: parameter("domain")?,
            room: parameter("room")?,
            room_password: parameter("room_password")?,
            pin: parameter("pin")?,
        })
    }
}

impl fmt::Display for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(
            f,
            "anabranch://{}:{}@{host}:{}?domain={}&room={}&room_password={}&pin={}",
            encode(&self.account),
            encode(&self.secret),
            self.port,
            encode(&self.domain),
            encode(&self.room),
            encode(&self.room_password),
            self.pin,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join() -> Join {
        Join {
            account: "field-1".into(),
            secret: "s/e:c@r?t".into(),
            host: "gis.example.org".into(),
            port: 5222,
            domain: "anabranch.local".into(),
            room: "default@conference.anabranch.local".into(),
            room_password: "r&p".into(),
            pin: "00ff".into(),
        }
    }

    #[test]
    fn the_line_round_trips() {
        for host in ["gis.example.org", "10.0.0.1", "fd00::1"] {
            let join = Join { host: host.into(), ..join() };
            assert!(Join::parse(&join.to_string()).unwrap() == join, "{host}");
        }
    }

    #[test]
    fn faults_are_named_without_the_secret() {
        let line = join().to_string();
        for (text, fault) in [
            (line.replace("anabranch://", "https://"), "scheme"),
            (line.replace("&pin=00ff", ""), "'pin'"),
            (line.replace(":5222", ""), "port"),
            ("nonsense".to_owned(), "anabranch invite"),
        ] {
            let Err(error) = Join::parse(&text) else { panic!("{text} must be refused") };
            let error = format!("{error:#}");
            assert!(error.contains(fault), "{error}");
            assert!(!error.contains("s/e"), "{error}");
        }
    }
}
