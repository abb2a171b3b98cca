//! Who is it? Credentials in, an identity out.

use crate::guesses::Guesses;
use crate::issuer::{Issuer, IssuerConfig, Now};
use crate::jwt::issuer_of;
use crate::password::{PASSWORD_BYTES_MAX, PasswordHash, PasswordRefused};
use crate::roles::Roles;
use crate::token::{NewToken, PREFIX};
use crate::user::Users;
use crate::users_file::UsersFile;
use crate::verifier::Verifier;
use anabranch_egress::Egress;
use anabranch_model::{Timestamp, UserName};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// When to come again where too many logins are being checked, in seconds.
const OVERRUN_RETRY_S: u32 = 2;

/// What a login is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The users file; it need not be there.
    pub users: PathBuf,
    /// Issuers whose tokens are taken.
    pub issuers: Vec<IssuerConfig>,
    /// Users also come by certificates or by a proxy, so that there is a login without a users file.
    pub by_other_means: bool,
}

/// What somebody logs in with.
pub enum Credentials<'a> {
    /// A name and a password.
    Password {
        /// As it was sent; may be no name.
        user: &'a str,
        /// As it was sent.
        password: &'a str,
    },
    /// A bearer token, ours or an issuer's.
    Bearer(&'a str),
    /// A name that somebody else vouches for: a certificate authority or a proxy.
    Vouched {
        /// The name.
        user: &'a str,
        /// Roles that are vouched for too.
        roles: Vec<String>,
        /// By whom.
        means: Means,
    },
}

/// How somebody has logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// By password; browsers send it by themselves.
    Password,
    /// By a bearer token; nobody sends it by itself.
    Token,
    /// By a client certificate; browsers send it by themselves.
    Certificate,
    /// By a proxy; browsers are logged in there.
    Proxy,
}

/// Who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name.
    pub user: UserName,
    /// The roles.
    pub roles: Roles,
    /// How that is known.
    pub means: Means,
}

/// Why a login is refused. It tells nobody whether a user exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The user, the password or the token is wrong, or of use no more.
    #[error("wrong user, password or token")]
    Wrong,
    /// Too many wrong ones of this address or as this user.
    #[error("too many failed logins; try again in {retry_after_s} s")]
    TooMany {
        /// When.
        retry_after_s: u32,
    },
    /// Too many logins are being checked.
    #[error("too many logins at once; try again in {retry_after_s} s")]
    Busy {
        /// When.
        retry_after_s: u32,
    },
}

/// Knows users and issuers.
pub struct Login {
    users: UsersFile,
    issuers: Vec<Issuer>,
    by_other_means: bool,
    verifier: Verifier,
    guesses: Guesses,
}

impl Login {
    /// Takes tens of milliseconds: it hashes a password of nobody.
    ///
    /// # Errors
    /// Where nothing can be hashed.
    pub fn new(settings: Settings, egress: &Egress) -> Result<Self, PasswordRefused> {
        let issuer = |config| Issuer::new(config, egress.clone());
        Ok(Self {
            users: UsersFile::new(settings.users),
            issuers: settings.issuers.into_iter().map(issuer).collect(),
            by_other_means: settings.by_other_means,
            verifier: Verifier::new(PasswordHash::of(NewToken::random().secret())?),
            guesses: Guesses::default(),
        })
    }

    /// Whether there are users at all. Where not, everyone is an operator.
    pub fn is_on(&self) -> bool {
        self.by_other_means || !self.issuers.is_empty() || self.users.users().is_some()
    }

    /// Who it is that comes from an address with these credentials.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn identify(&self, credentials: Credentials<'_>, address: IpAddr) -> Result<Identity, Refused> {
        let users = self.users.users().unwrap_or_default();
        match credentials {
            Credentials::Password { user, password } => {
                self.by_password(&users, user, password, address).await
            }
            Credentials::Bearer(token) => self.by_token(&users, token, address).await,
            Credentials::Vouched { user, roles, means } => {
                let user = UserName::new(user).map_err(|_no_name| Refused::Wrong)?;
                let known = users.0.get(&user).map(|user| user.roles.clone()).unwrap_or_default();
                Ok(Identity { roles: Roles::of_user(known.into_iter().chain(roles)), user, means })
            }
        }
    }

    async fn by_password(
        &self,
        users: &Arc<Users>,
        name: &str,
        password: &str,
        address: IpAddr,
    ) -> Result<Identity, Refused> {
        let Ok(name) = UserName::new(name) else { return self.failed(address, None) };
        let user = users.0.get(&name);
        let hash = user.and_then(|user| user.password.as_ref());
        let roles = || Roles::of_user(user.iter().flat_map(|user| user.roles.iter().cloned()));
        // Before all limits: nobody can lock out a user by guessing at their name.
        if hash.is_some_and(|hash| self.verifier.is_known(&name, hash, password)) {
            return Ok(Identity { roles: roles(), user: name, means: Means::Password });
        }
        self.check(address, Some(&name))?;
        if password.len() > PASSWORD_BYTES_MAX {
            return self.failed(address, Some(&name));
        }
        match self.verifier.verify(&name, hash, password).await {
            Ok(true) => Ok(Identity { roles: roles(), user: name, means: Means::Password }),
            Ok(false) => self.failed(address, Some(&name)),
            Err(_overrun) => Err(Refused::Busy { retry_after_s: OVERRUN_RETRY_S }),
        }
    }

    async fn by_token(&self, users: &Users, token: &str, address: IpAddr) -> Result<Identity, Refused> {
        if token.starts_with(PREFIX) {
            if let Some(name) = users.of_token(token, Timestamp::now()) {
                let roles = users.0.get(name).map(|user| user.roles.clone()).unwrap_or_default();
                return Ok(Identity {
                    user: name.clone(),
                    roles: Roles::of_user(roles),
                    means: Means::Token,
                });
            }
            self.check(address, None)?;
            return self.failed(address, None);
        }
        self.check(address, None)?;
        let issuer = issuer_of(token).and_then(|name| self.issuers.iter().find(|issuer| issuer.is(&name)));
        let Some(issuer) = issuer else { return self.failed(address, None) };
        match issuer.verify(token, Now::read()).await {
            Ok(bearer) => Ok(Identity { user: bearer.user, roles: bearer.roles, means: Means::Token }),
            Err(error) => {
                tracing::info!(%error, "a token is not taken");
                self.failed(address, None)
            }
        }
    }

    fn check(&self, address: IpAddr, user: Option<&UserName>) -> Result<(), Refused> {
        let tried = self.guesses.check(address, user, Instant::now());
        tried.map_err(|retry_after_s| Refused::TooMany { retry_after_s })
    }

    fn failed(&self, address: IpAddr, user: Option<&UserName>) -> Result<Identity, Refused> {
        self.guesses.failed(address, user, Instant::now());
        Err(Refused::Wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::User;
    use anabranch_egress::Policy;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn login(users: Option<&Users>) -> (tempfile::TempDir, Login) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.json");
        if let Some(users) = users {
            std::fs::write(&path, users.to_text()).unwrap();
        }
        let settings = Settings { users: path, issuers: Vec::new(), by_other_means: false };
        (folder, Login::new(settings, &Egress::new(Policy::default())).unwrap())
    }

    fn anna() -> (Users, NewToken) {
        let token = NewToken::random();
        let far = "2100-01-01T00:00:00Z".parse().unwrap();
        let user = User {
            roles: ["forest".to_owned()].into(),
            password: Some(PasswordHash::of("correct horse").unwrap()),
            tokens: vec![token.kept("ci", Timestamp::UNIX_EPOCH, far)],
        };
        (Users([(UserName::new("anna").unwrap(), user)].into()), token)
    }

    #[tokio::test]
    async fn passwords_and_tokens_tell_who_it_is() {
        let (users, token) = anna();
        let (_folder, login) = login(Some(&users));
        assert!(login.is_on());
        let password = |user, password| Credentials::Password { user, password };
        let by_password = login.identify(password("anna", "correct horse"), HERE).await.unwrap();
        assert_eq!((by_password.user.as_str(), by_password.means), ("anna", Means::Password));
        assert!(by_password.roles.has("forest") && by_password.roles.has("user"));
        let by_token = login.identify(Credentials::Bearer(token.secret()), HERE).await.unwrap();
        assert_eq!((by_token.user.as_str(), by_token.means), ("anna", Means::Token));
        for wrong in [("anna", "correct hors"), ("ben", "correct horse"), ("a/b", "x"), ("", "")] {
            assert_eq!(login.identify(password(wrong.0, wrong.1), HERE).await, Err(Refused::Wrong));
        }
        for token in ["", "anabranch_x", "a.b.c"] {
            assert_eq!(login.identify(Credentials::Bearer(token), HERE).await, Err(Refused::Wrong));
        }
        let vouched =
            Credentials::Vouched { user: "anna", roles: vec!["x".into()], means: Means::Certificate };
        let vouched = login.identify(vouched, HERE).await.unwrap();
        assert!(vouched.roles.has("forest") && vouched.roles.has("x"));
    }

    #[tokio::test]
    async fn guessing_is_slowed_down_and_locks_nobody_out_who_is_in() {
        let (users, token) = anna();
        let (_folder, login) = login(Some(&users));
        let right = || Credentials::Password { user: "anna", password: "correct horse" };
        login.identify(right(), HERE).await.unwrap();
        let there = IpAddr::from([203, 0, 113, 7]);
        let guess = || Credentials::Password { user: "anna", password: "guess" };
        for _ in 0..10 {
            assert_eq!(login.identify(guess(), there).await, Err(Refused::Wrong));
        }
        assert!(matches!(login.identify(guess(), there).await, Err(Refused::TooMany { .. })));
        login.identify(right(), HERE).await.unwrap();
        login.identify(Credentials::Bearer(token.secret()), there).await.unwrap();
    }

    #[tokio::test]
    async fn without_users_there_is_no_login() {
        let (_folder, login) = login(None);
        assert!(!login.is_on());
        let anyone = Credentials::Password { user: "anna", password: "x" };
        assert_eq!(login.identify(anyone, HERE).await, Err(Refused::Wrong));
    }
}
