//! `[login]` and what becomes of it: who may log in how, and what roles may do.

use crate::folder::Folder;
use anabranch_egress::{Egress, Policy};
use anabranch_login::{Catalogue, IssuerConfig, Login, Refused, Right, Rights, Settings};
use anyhow::{Context as _, anyhow, ensure};
use axum::http::{HeaderMap, HeaderName};
use serde::Deserialize;
use std::net::IpAddr;
use std::path::PathBuf;

/// `[login]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) users_file: PathBuf,
    pub(crate) catalogue: Catalogue,
    #[serde(default)]
    pub(crate) rights: Vec<Right>,
    #[serde(default)]
    pub(crate) oidc: Vec<IssuerConfig>,
    pub(crate) proxy: Option<Proxy>,
}

/// A proxy that says who its clients are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proxy {
    /// The header with the user's name.
    header: String,
    /// The header with the user's roles, with commas; empty for none.
    #[serde(default)]
    roles_header: String,
    /// The addresses of proxies; from all others the headers count for nothing.
    from: Vec<IpAddr>,
}

impl Config {
    /// Reads no file.
    ///
    /// # Errors
    /// Names the key.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.rights()?;
        for issuer in &self.oidc {
            issuer.check().map_err(|rule| anyhow!("login.oidc: {rule}"))?;
        }
        if let Some(proxy) = &self.proxy {
            ensure!(!proxy.from.is_empty(), "login.proxy.from must hold at least one address");
            for name in [&proxy.header, &proxy.roles_header].into_iter().filter(|name| !name.is_empty()) {
                HeaderName::from_bytes(name.as_bytes())
                    .with_context(|| format!("login.proxy: {name:?} is no header"))?;
            }
            ensure!(!proxy.header.is_empty(), "login.proxy.header must name a header");
        }
        Ok(())
    }

    /// What roles may do.
    ///
    /// # Errors
    /// Names the right and the rule that it breaks.
    pub(crate) fn rights(&self) -> anyhow::Result<Rights> {
        Ok(Rights::new(self.catalogue, &self.rights)?)
    }

    /// The users file: the configured one, or that of the data folder.
    pub(crate) fn users(&self, folder: &Folder) -> PathBuf {
        if self.users_file.as_os_str().is_empty() { folder.users() } else { self.users_file.clone() }
    }

    /// Puts it together; `site` is what else holds for requests of this server.
    ///
    /// # Errors
    /// Where an issuer's address can't be used, or nothing can be hashed.
    pub(crate) fn login(
        &self,
        folder: &Folder,
        site: &Policy,
        by_certificate: bool,
    ) -> anyhow::Result<Login> {
        let settings = Settings {
            users: self.users(folder),
            issuers: self.oidc.clone(),
            by_other_means: by_certificate || self.proxy.is_some(),
        };
        Ok(Login::new(settings, &Egress::new(issuers_policy(&self.oidc, site)?))?)
    }
}

/// Issuers are named by the operator, so that they may be reached wherever they are; their keys may lie elsewhere in public.
fn issuers_policy(issuers: &[IssuerConfig], site: &Policy) -> anyhow::Result<Policy> {
    let mut policy = site.clone();
    for issuer in issuers {
        let url = url::Url::parse(&issuer.issuer)?;
        let host = url.host_str().context("login.oidc: an issuer has no host")?;
        let rule = format!("{host}:{}", url.port_or_known_default().unwrap_or(443));
        policy.allow.push(rule.parse().map_err(|error| anyhow!("login.oidc: {error}"))?);
    }
    Ok(policy)
}

impl Proxy {
    pub(crate) fn is_from(&self, address: IpAddr) -> bool {
        self.from.iter().any(|proxy| proxy.to_canonical() == address.to_canonical())
    }

    /// The user and roles that the proxy names; `None` where it names none.
    ///
    /// # Errors
    /// Where a header is there more than once or is no text: then somebody else has put it there.
    pub(crate) fn user(&self, headers: &HeaderMap) -> Result<Option<(String, Vec<String>)>, Refused> {
        let one = |name: &str| {
            let mut given = headers.get_all(name).iter();
            match (given.next(), given.next()) {
                (None, _) => Ok(None),
                (Some(value), None) => value.to_str().map(Some).map_err(|_no_text| Refused::Wrong),
                (Some(_), Some(_)) => Err(Refused::Wrong),
            }
        };
        let Some(user) = one(&self.header)?.filter(|user| !user.is_empty()) else { return Ok(None) };
        let roles = if self.roles_header.is_empty() { None } else { one(&self.roles_header)? };
        let roles = roles.unwrap_or_default().split(',').map(|role| role.trim().to_owned());
        Ok(Some((user.to_owned(), roles.filter(|role| !role.is_empty()).collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn proxy() -> Proxy {
        let text = "header = \"X-Remote-User\"\nroles_header = \"X-Roles\"\nfrom = [\"10.0.0.1\"]";
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_proxy_is_trusted_by_its_address() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(proxy().is_from(ip("10.0.0.1")) && proxy().is_from(ip("::ffff:10.0.0.1")));
        assert!(!proxy().is_from(ip("10.0.0.2")) && !proxy().is_from(ip("::1")));
    }

    #[test]
    fn a_header_that_is_there_twice_is_nobodys() {
        let mut headers = HeaderMap::new();
        assert_eq!(proxy().user(&headers), Ok(None));
        headers.append("x-remote-user", HeaderValue::from_static("anna"));
        headers.append("x-roles", HeaderValue::from_static("forest, ,operator"));
        let roles = vec!["forest".to_owned(), "operator".to_owned()];
        assert_eq!(proxy().user(&headers), Ok(Some(("anna".into(), roles))));
        headers.append("x-remote-user", HeaderValue::from_static("ben"));
        assert_eq!(proxy().user(&headers), Err(Refused::Wrong));
    }
}
