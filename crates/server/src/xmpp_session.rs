//! Configuration words as the XMPP client's settings, for the server at an external XMPP server and for agents.

use crate::config::Tls;
use anabranch_xmpp::client::Security;
use anabranch_xmpp::{ClientError, Trust};
use anyhow::{Context as _, bail};
use std::path::Path;

/// How the server's certificate is judged: `roots`, `sha256:HEX`, or the path of a PEM file.
///
/// # Errors
/// Names the value and what it should be.
pub(crate) fn trust(text: &str) -> anyhow::Result<Trust> {
    if text == "roots" {
        return Ok(Trust::SystemRoots);
    }
    if let Some(pin) = text.strip_prefix("sha256:") {
        let pin = pin.parse().map_err(|error| anyhow::anyhow!("certificate pin {pin:?}: {error}"))?;
        return Ok(Trust::Fingerprint(pin));
    }
    let pem =
        std::fs::read_to_string(text).with_context(|| format!("can't read the certificate file {text:?}"))?;
    Ok(Trust::Pem(pem))
}

/// What protects the connection; plain text goes to this very machine only.
///
/// # Errors
/// Where plain text is asked for to another host, or the certificate's word can't be read.
pub(crate) fn security(tls: Tls, certificate: &str, host: &str) -> anyhow::Result<Security> {
    Ok(match tls {
        Tls::Starttls => Security::StartTls(trust(certificate)?),
        Tls::Direct => Security::DirectTls(trust(certificate)?),
        Tls::Plain if is_loopback(host) => Security::Plaintext,
        Tls::Plain => bail!("tls = \"plain\" is for loopback hosts, not {host:?}"),
    })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The local part and domain of an account.
///
/// # Errors
/// Where it has no `@`.
pub(crate) fn split_account(account: &str) -> anyhow::Result<(String, String)> {
    let (user, domain) =
        account.split_once('@').with_context(|| format!("an account is name@domain, not {account:?}"))?;
    Ok((user.to_owned(), domain.to_owned()))
}

/// A secret kept in a file.
///
/// # Errors
/// Names the file.
pub(crate) fn read_secret(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("can't read the secret in {}", file.display()))?;
    Ok(text.trim().to_owned())
}

/// The session was refused for good: nothing that a retry would mend.
pub(crate) fn is_refusal(error: &ClientError) -> bool {
    !matches!(error, ClientError::Config { .. })
}
